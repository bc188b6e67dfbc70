/* Reasons for waiting: what a socket's events and a status amount to, in words, and when they are news. */
#include "daemon/waiting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define ENDPOINT "tcp://127.0.0.1:7600"

static void happen(struct waiting *waiting, enum net_event_kind kind) {
    const struct net_event event = {.kind = kind};
    waiting_event(waiting, &event);
}

static void assert_words(const struct waiting *waiting, const char *part) {
    char words[WAITING_WORDS_MAX];
    waiting_words(waiting, ENDPOINT, true, words);
    if (strncmp(words, ENDPOINT ": ", strlen(ENDPOINT) + 2) != 0 || !strstr(words, part))
        fail_msg("want \"%s\" in \"%s\"", part, words);
}

static void test_what_became_of_connecting(void **state) {
    struct waiting waiting = {0};
    (void)state;
    assert_words(&waiting, "its host does not answer");
    happen(&waiting, NET_UNREACHED);
    assert_words(&waiting, "nothing listens there");
    happen(&waiting, NET_OPENED);
    assert_words(&waiting, "something listens there, but it does not answer");
    happen(&waiting, NET_HANDSHAKE_FAILED);
    happen(&waiting, NET_CLOSED);
    assert_words(&waiting, "not a Stagecoach coordinator");
    happen(&waiting, NET_UNREACHED); /* libzmq's pause before it connects again: no attempt failed */
    assert_words(&waiting, "not a Stagecoach coordinator");
    waiting.keyless = true;
    assert_words(&waiting, "demands keys: present a token once with --token");
    waiting.keyless = false;
    waiting_begin(&waiting); /* a socket made anew forgets nothing of a stranger */
    assert_words(&waiting, "not a Stagecoach coordinator");
    happen(&waiting, NET_UNREACHED);
    assert_words(&waiting, "nothing listens there");
}

static void test_a_coordinator_that_was_heard(void **state) {
    struct waiting waiting = {.stranger = true};
    (void)state;
    happen(&waiting, NET_OPENED);
    waiting_heard(&waiting);
    assert_words(&waiting, "the coordinator does not answer");
    waiting_begin(&waiting);
    happen(&waiting, NET_UNREACHED);
    assert_words(&waiting, "nothing listens there");
}

static void test_unknown_host(void **state) {
    const struct waiting waiting = {.unreached = true};
    char words[WAITING_WORDS_MAX];
    (void)state;
    waiting_words(&waiting, "tcp://no-such-host.invalid:7600", true, words);
    assert_non_null(strstr(words, "unknown host \"no-such-host.invalid\""));
    waiting_words(&waiting, "tcp://no-such-host.invalid:7600", false, words);
    assert_non_null(strstr(words, "nothing listens there"));
}

static void test_status(void **state) {
    static const struct {
        const char *state, *reason, *words;
    } cases[] = {
        {"waiting", "2 of 4 boards are here", "2 of 4 boards are here"},
        {"waiting", "", "waiting"},
        {"measuring", "measuring boards: 1 of 4 profiled", "the coordinator measures boards and links"},
        {"preparing", "stages are loading their slices", "stages are loading their slices"},
        {"serving", "", ""},
    };
    char words[WAITING_WORDS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct message_status status = {.state = cases[i].state, .reason = cases[i].reason};
        assert_string_equal(waiting_status_words(&status, words), cases[i].words);
    }
}

static void test_news(void **state) {
    struct waiting waiting = {0};
    (void)state;
    assert_false(waiting_is_news(&waiting, ""));
    assert_true(waiting_is_news(&waiting, "one"));
    assert_false(waiting_is_news(&waiting, "one"));
    assert_true(waiting_is_news(&waiting, "two"));
    assert_true(waiting_is_news(&waiting, "one"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_became_of_connecting),
        cmocka_unit_test(test_a_coordinator_that_was_heard),
        cmocka_unit_test(test_unknown_host),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
