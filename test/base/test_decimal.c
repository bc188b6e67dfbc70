/* Whole numbers of a text: all of it digits, none above the bound, nothing written when it is refused. */
#include "base/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_taken(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t most, number;
    } cases[] = {{"0", 0, 0},
                 {"7", 7, 7},
                 {"65535", 65535, 65535},
                 {"0080", 65535, 80},
                 {"9223372036854775807", INT64_MAX, INT64_MAX},
                 {"18446744073709551615", UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t number = 1;
        assert_true(decimal_parse(cases[i].text, cases[i].most, &number));
        assert_true(number == cases[i].number);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t most;
    } cases[] = {{"", 9},
                 {"8", 7},
                 {"1", 0},
                 {"65536", 65535},
                 {"70000", 65535},
                 {"+1", 9},
                 {"-1", UINT64_MAX},
                 {" 1", 9},
                 {"1 ", 9},
                 {"1.0", 9},
                 {"0x1", 9},
                 {"9223372036854775808", INT64_MAX},
                 {"18446744073709551616", UINT64_MAX},
                 {"184467440737095516150", UINT64_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t number = 41;
        assert_false(decimal_parse(cases[i].text, cases[i].most, &number));
        assert_true(number == 41);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_taken), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
