/* Events as they are kept, logged and printed: the ring, JSON that a strict reader takes, and tables. */
#include "daemon/event_log.h"

#include "base/allocate.h"
#include "base/log.h"
#include "daemon/output.h"
#include "daemon/status_print.h"
#include "model/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOON UINT64_C(1769860800123) /* 2026-01-31 12:00 UTC, and a little */

static const struct fleet_event serving = {.kind = FLEET_SERVING,
                                           .board = FLEET_NO_BOARD,
                                           .epoch = {3},
                                           .stages = 4,
                                           .took_ns = 2500000000,
                                           .unserved_ns = 2000000000,
                                           .text = "stage \"b\" left"};
static const struct fleet_event lost = {.kind = FLEET_LOST, .board = 7, .text = "was lost"};

static struct json *parse(const char *text) {
    struct error error;
    struct json *document = json_parse(text, strlen(text), "printed", &error);
    if (!document)
        fail_msg("%s: %s", error.text, text);
    return document;
}

static const char *text_of(const struct json *object, const char *key) {
    const char *text = "(none)";
    assert_true(json_optional_string(object, key, &text, NULL));
    return text;
}

static double number_of(const struct json *object, const char *key) {
    double number = -1;
    assert_true(json_optional_number(object, key, 0, 1e18, &number, NULL));
    return number;
}

/* ---- the ring ---- */

static void test_ring_keeps_the_last(void **state) {
    struct event_log *log = *state;
    struct event_status events[EVENT_LOG_MAX];
    char board[16];
    assert_int_equal(event_log_list(log, events), 0);
    for (unsigned i = 1; i <= EVENT_LOG_MAX + 10; i++) {
        snprintf(board, sizeof board, "b%u", i);
        assert_int_equal(event_log_add(log, &lost, board, NOON + i)->number, i);
        assert_int_equal(event_log_list(log, events), i < EVENT_LOG_MAX ? i : EVENT_LOG_MAX);
    }
    for (unsigned i = 0; i < EVENT_LOG_MAX; i++) {
        snprintf(board, sizeof board, "b%u", i + 11);
        assert_int_equal(events[i].number, i + 11);
        assert_int_equal(events[i].unix_ms, NOON + i + 11);
        assert_string_equal(events[i].board, board);
        assert_string_equal(events[i].kind, "lost");
    }
}

static void test_ring_copies_texts(void **state) {
    struct event_log *log = *state;
    char board[] = "b1", reason[CORE_REASON_MAX + 50];
    memset(reason, 'x', sizeof reason - 1);
    reason[sizeof reason - 1] = '\0';
    struct fleet_event event = {.kind = FLEET_LOST, .board = 0, .text = reason};
    const struct event_status *told = event_log_add(log, &event, board, NOON);
    memset(board, '?', 2);
    memset(reason, '?', sizeof reason - 1);
    assert_string_equal(told->board, "b1");
    assert_int_equal(strlen(told->reason), CORE_REASON_MAX - 1);
    assert_int_equal(strncmp(told->text, "board b1 xxx", 12), 0);
    event.board = FLEET_NO_BOARD;
    assert_string_equal(event_log_add(log, &event, "not looked at", NOON)->board, "");
}

/* ---- JSON ---- */

static void print_object(FILE *to, const void *event) {
    fputs("{\"time\": \"", to);
    event_print_time(to, event);
    fputs("\", ", to);
    event_print_members(to, event);
    fputs("\"end\": true}", to);
}

static void test_members(void **state) {
    struct event_log *log = *state;
    char *text = printed_text(print_object, event_log_add(log, &serving, "", NOON));
    struct json *object = parse(text);
    assert_string_equal(text_of(object, "time"), "2026-01-31T12:00:00.123Z");
    assert_string_equal(text_of(object, "event"), "serving");
    assert_string_equal(text_of(object, "reason"), "stage \"b\" left");
    assert_true(number_of(object, "number") == 1);
    assert_true(number_of(object, "epoch") == 3);
    assert_true(number_of(object, "stages") == 4);
    assert_true(number_of(object, "took_s") == 2.5);
    assert_true(number_of(object, "unserved_s") == 2);
    assert_null(json_find(object, "board")); /* what does not matter is not there */
    assert_null(json_find(object, "items"));
    assert_null(json_find(object, "pace"));
    json_destroy(&object);
    release(text);
}

/* What log_members writes to stderr. */
static void logged(char text[8192], const char *members, const char *words) {
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_members(LOG_WARN, members, "%s", words);
    dup2(before, STDERR_FILENO);
    close(before);
    close(ends[1]);
    ssize_t size = read(ends[0], text, 8191);
    close(ends[0]);
    assert_true(size > 0);
    text[size] = '\0';
}

static void test_log_lines(void **state) {
    (void)state;
    char text[8192], long_words[3000];
    log_set_name("coordinator \"x\"");
    log_set_json(true);
    logged(text, "\"event\": \"lost\", \"board\": \"b1\"", "board b1\nsays \"no\"");
    struct json *object = parse(text);
    assert_string_equal(text_of(object, "level"), "warn");
    assert_string_equal(text_of(object, "speaker"), "coordinator \"x\"");
    assert_string_equal(text_of(object, "event"), "lost");
    assert_string_equal(text_of(object, "board"), "b1");
    assert_string_equal(text_of(object, "text"), "board b1?says \"no\"");
    assert_int_equal(strlen(text_of(object, "time")), 24);
    json_destroy(&object);
    memset(long_words, '"', sizeof long_words - 1); /* the longest line there is, and one of a kind */
    long_words[sizeof long_words - 1] = '\0';
    logged(text, "", long_words);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    object = parse(text);
    json_destroy(&object);
    log_set_json(false);
    logged(text, "\"event\": \"lost\"", "board b1 was lost");
    assert_string_equal(text + 24, " warn  coordinator \"x\": board b1 was lost\n");
}

/* ---- status ---- */

static const struct board_status boards[] = {
    {.name = "b1",
     .state = "serving",
     .units = "embed to block 3",
     .kernels = "avx2",
     .endpoint = "tcp://10.0.0.1:7",
     .end = 13,
     .items = 400,
     .busy = 0.97,
     .weight_bytes = 100,
     .memory_bytes = 1000,
     .planned_memory_bytes = 120300000,
     .memory_used = 140200000,
     .payload_bytes = 787968,
     .busy_ns = UINT64_C(3000000000),
     .serving_ns = UINT64_C(4000000000),
     .predicted_compute_s = 0.1,
     .predicted_receive_s = 0.02,
     .predicted_send_s = 0.03,
     .measured_compute_s = 0.11,
     .pace = 1},
    {.name = "b2", .state = "spare", .units = "-", .kernels = "", .endpoint = "", .pace = 1.52},
    {.name = "gone", .state = "absent", .units = "", .kernels = "", .endpoint = "", .silent_ms = 299999},
    {.name = "forgotten", .state = "absent", .units = "", .kernels = "", .endpoint = "", .silent_ms = 300000},
};

static struct message_status example(struct event_log *log, struct event_status events[EVENT_LOG_MAX]) {
    event_log_add(log, &lost, "b3", NOON);
    event_log_add(log, &serving, "", NOON + 2500);
    return (struct message_status){.version = "1",
                                   .state = "serving",
                                   .architecture = "ViT",
                                   .policy = "optimal",
                                   .reason = "",
                                   .data_endpoint = "",
                                   .epoch = {3},
                                   .microbatch = 8,
                                   .items_done = 12,
                                   .items_replayed = 8,
                                   .waiting = 5,
                                   .in_flight = 2,
                                   .predicted_period_s = 0.1,
                                   .measured_period_s = 0.125,
                                   .boards = boards,
                                   .board_count = sizeof boards / sizeof *boards,
                                   .events = events,
                                   .event_count = event_log_list(log, events)};
}

static void print_json(FILE *to, const void *status) {
    status_print_json(to, status);
}

static void test_status_as_json(void **state) {
    struct event_status kept[EVENT_LOG_MAX];
    const struct message_status status = example(*state, kept);
    char *text = printed_text(print_json, &status);
    struct json *object = parse(text);
    const struct json *list = json_find(object, "boards"), *events = json_find(object, "events");
    assert_int_equal(json_count(list), 4); /* those absent, too */
    assert_string_equal(text_of(json_at(list, 3), "state"), "absent");
    assert_true(number_of(json_at(list, 0), "busy_ns") == 3e9);
    assert_true(number_of(json_at(list, 0), "serving_ns") == 4e9);
    assert_true(number_of(json_at(list, 0), "planned_memory_bytes") == 120300000);
    assert_true(number_of(json_at(list, 0), "payload_bytes") == 787968);
    assert_true(number_of(json_at(list, 0), "predicted_period_s") == 0.1);
    assert_true(number_of(json_at(list, 0), "pace") == 1);
    assert_true(number_of(json_at(list, 1), "pace") == 1.52);
    assert_null(json_find(json_at(list, 2), "pace")); /* nothing was compared */
    assert_int_equal(json_count(events), 2);
    assert_string_equal(text_of(json_at(events, 0), "text"), "board b3 was lost");
    assert_string_equal(text_of(json_at(events, 1), "event"), "serving");
    assert_string_equal(text_of(json_at(events, 1), "time"), "2026-01-31T12:00:02.623Z");
    json_destroy(&object);
    release(text);
}

static void print_last_event(FILE *to, const void *status) {
    status_print_text(to, status, 1);
}

static void test_status_as_text(void **state) {
    struct event_status kept[EVENT_LOG_MAX];
    const struct message_status status = example(*state, kept);
    char *text = printed_text(print_last_event, &status);
    assert_non_null(strstr(text, "12 items done, 0 failed, 8 sent again; 5 waiting, 2 microbatches in flight"));
    assert_non_null(strstr(
        text, "\nb1               serving   0-12        97 %       400     120.3     140.2  embed to block 3\n"));
    assert_non_null(strstr(text, "\nb2               spare     -"));
    assert_non_null(strstr(text, "-  takes 1.52 times as long as profiled\n"));
    assert_non_null(strstr(text, "\ngone             absent "));
    assert_null(strstr(text, "forgotten"));
    assert_non_null(strstr(text, "1 more board, absent for over 5 minutes"));
    assert_non_null(strstr(text, "predicted  measured  measured\nms/microbatch"));
    assert_non_null(strstr(text, "\nb1                   20.00    100.00     30.00    100.00    110.00\n"));
    assert_non_null(
        strstr(text, "\npipeline                                          100.00              125.00  predicted"));
    assert_non_null(strstr(text, "\nevents\n"));
    assert_non_null(strstr(text, "epoch 3 serves with 4 stages"));
    assert_null(strstr(text, "board b3 was lost")); /* only the last one was asked for */
    release(text);
}

static int make_log(void **state) {
    setenv("TZ", "UTC", 1);
    *state = allocate(1, sizeof(struct event_log));
    return 0;
}

static int free_log(void **state) {
    release(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_log, free_log)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_ring_keeps_the_last), TEST(test_ring_copies_texts), TEST(test_members),
        TEST(test_log_lines),           TEST(test_status_as_json),    TEST(test_status_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
