/* "tcp://HOST:PORT" as text: what is accepted, the port behind, whose address it is, what others can be told. No socket
 * is opened. */
#include "daemon/net/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_endpoints(void **state) {
    (void)state;
    static const char *const good[] = {"tcp://127.0.0.1:7600",  "tcp://pi-3.local:1", "tcp://*:7600",
                                       "tcp://0.0.0.0:0",       "tcp://[::1]:65535",  "tcp://[fe80::1%eth0]:7600",
                                       "tcp://rack_2.lan:7600", "tcp://127.0.0.1:*"};
    static const char *const bad[] = {"",
                                      "tcp://",
                                      "127.0.0.1:7600",
                                      "udp://127.0.0.1:7600",
                                      "ipc:///tmp/x",
                                      "tcp://127.0.0.1",
                                      "tcp://127.0.0.1:",
                                      "tcp://:7600",
                                      "tcp://host:65536",
                                      "tcp://host:-1",
                                      "tcp://host:76x",
                                      "tcp://host:000080",
                                      "tcp://ho st:7600",
                                      "tcp://host;other:7600",
                                      "tcp://::1:7600",
                                      "tcp://[]:7600",
                                      "tcp://[::1:7600",
                                      "tcp://ho\nst:7600",
                                      "TCP://host:7600"};
    struct error error;
    char long_one[300] = "tcp://";
    memset(long_one + 6, 'a', 280);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!net_endpoint_check(good[i], &error))
            fail_msg("%s", error.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        error = (struct error){0};
        if (net_endpoint_check(bad[i], &error) || error.code != ERROR_USAGE)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(error.text, "want tcp://HOST:PORT"));
    }
    assert_false(net_endpoint_check(long_one, &error));
}

static void test_endpoints_behind(void **state) {
    (void)state;
    struct error error;
    char at[NET_ENDPOINT_MAX];
    assert_true(net_endpoint_behind("tcp://[fe80::1]:7600", 2, at, &error));
    assert_string_equal(at, "tcp://[fe80::1]:7602");
    assert_true(net_endpoint_behind("tcp://board:9999", 1, at, &error));
    assert_string_equal(at, "tcp://board:10000");
    assert_true(net_endpoint_behind("tcp://127.0.0.1:0", 1, at, &error));
    assert_string_equal(at, "tcp://127.0.0.1:0");
    assert_true(net_endpoint_behind("tcp://*:*", 1, at, &error));
    assert_string_equal(at, "tcp://*:*");
    assert_true(net_endpoint_behind("tcp://*:65534", 1, at, &error));
    assert_false(net_endpoint_behind("tcp://*:65535", 1, at, &error));
    assert_false(net_endpoint_behind("tcp://10.0.0.7:65534", 2, at, &error));
    assert_non_null(strstr(error.text, "port 65536 is needed too"));
}

static void test_addresses(void **state) {
    (void)state;
    struct error error = {0};
    char address[64];
    assert_true(net_local_address("tcp://127.0.0.1:7600", address, &error));
    assert_string_equal(address, "127.0.0.1");
    assert_false(net_local_address("tcp://no-such-host.invalid:7600", address, &error));
    assert_non_null(strstr(error.text, "unknown host \"no-such-host.invalid\""));
    assert_false(net_local_address("nonsense", address, &error));
    assert_true(net_is_loopback("tcp://127.0.0.1:7600"));
    assert_true(net_is_loopback("tcp://127.9.9.9:7600"));
    assert_true(net_is_loopback("tcp://localhost:7600"));
    assert_true(net_is_loopback("tcp://[::1]:7600"));
    assert_false(net_is_loopback("tcp://*:7600"));
    assert_false(net_is_loopback("tcp://0.0.0.0:7600"));
    assert_false(net_is_loopback("tcp://192.168.1.7:7600"));
    assert_false(net_is_loopback("tcp://127.example.org:7600"));
    assert_false(net_is_loopback("nonsense"));
    assert_true(net_is_everywhere("tcp://0.0.0.0:7600") && net_is_everywhere("tcp://*:7600"));
    assert_true(net_is_everywhere("tcp://[::]:7600") && net_is_everywhere("tcp://[0:0::0]:7600"));
    assert_false(net_is_everywhere("tcp://127.0.0.1:7600") || net_is_everywhere("tcp://10.0.0.0:7600"));
    assert_false(net_is_everywhere("tcp://localhost:7600") || net_is_everywhere("tcp://[::1]:7600"));
}

/* What others are told to connect to must cost them no question to a resolver, and be one place. */
static void test_numeric_endpoints(void **state) {
    (void)state;
    static const char *const good[] = {"tcp://192.168.1.7:7601", "tcp://127.0.0.1:1", "tcp://[::1]:65535",
                                       "tcp://[2001:db8::7]:7601"};
    static const char *const bad[] = {"tcp://board:7601",         "tcp://localhost:7601",
                                      "tcp://0.0.0.0:7601",       "tcp://*:7601",
                                      "tcp://[::]:7601",          "tcp://0:7601",
                                      "tcp://192.168.1.7:0",      "tcp://192.168.1.7:*",
                                      "tcp://192.168.1.256:7601", "tcp://[board]:7601",
                                      "tcp://[127.0.0.1]:7601",   "tcp://1.2.3.4.in-addr.arpa:1",
                                      "udp://192.168.1.7:7601",   ""};
    struct error error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!net_endpoint_check_numeric(good[i], &error))
            fail_msg("%s", error.text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (net_endpoint_check_numeric(bad[i], &error))
            fail_msg("accepted: %s", bad[i]);
    assert_false(net_endpoint_check_numeric("tcp://board:7601", &error));
    assert_non_null(strstr(error.text, "\"tcp://board:7601\": want one address in numbers"));
}

static void assert_told(const char *want, const char *asker, const char *local) {
    char told[NET_ENDPOINT_MAX];
    net_endpoint_from("tcp://127.0.0.1:7700", asker, local, told);
    assert_string_equal(told, want);
}

static void test_loopback_as_others_are_told_it(void **state) {
    (void)state;
    assert_told("tcp://10.0.0.1:7700", "tcp://10.0.0.2:41000", "10.0.0.1");
    assert_told("tcp://10.0.0.1:7700", "tcp://10.0.0.12:41000", "10.0.0.1"); /* which begins alike */
    assert_told("tcp://[fd00::1]:7700", "tcp://[fd00::2]:41000", "[fd00::1]");
    assert_told("tcp://127.0.0.1:7700", "tcp://10.0.0.1:41000", "10.0.0.1");
    assert_told("tcp://127.0.0.1:7700", "tcp://127.0.0.1:41000", "127.0.0.1");
    assert_told("tcp://127.0.0.1:7700", "tcp://127.0.0.2:41000", "127.0.0.1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_endpoints),
        cmocka_unit_test(test_endpoints_behind),
        cmocka_unit_test(test_loopback_as_others_are_told_it),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_numeric_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
