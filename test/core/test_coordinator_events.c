/* What the coordinator's core tells of a fleet: each change once, with its cause, its time and what it cost. */
#include "test/core/coordinator_fixture.h"

static void test_a_first_epoch_is_told(void **state) {
    struct fixture *f = *state;
    start(f, 2, 4);
    unsigned a = join(f, "a");
    assert_int_equal(told(f, FLEET_JOINED)->board, a);
    assert_null(told(f, FLEET_PLANNING));
    f->now = mono_after(f->now, MONO_SECOND);
    join(f, "b");
    assert_int_equal(told(f, FLEET_PLANNING)->boards, 2);
    f->now = mono_after(f->now, 2 * MONO_SECOND);
    planned(f);
    const struct fleet_event *event = told(f, FLEET_PLANNED);
    assert_int_equal(event->epoch.number, 1);
    assert_int_equal(event->stages, 2);
    assert_int_equal(event->boards, 2);
    assert_int_equal(event->took_ns, 2 * MONO_SECOND);
    assert_true(event->period_s == 0.25);
    f->now = mono_after(f->now, MONO_SECOND);
    ready(f, 0);
    assert_null(told(f, FLEET_SERVING));
    ready(f, 1);
    event = told(f, FLEET_SERVING);
    assert_int_equal(event->epoch.number, 1);
    assert_int_equal(event->stages, 2);
    assert_int_equal(event->took_ns, 4 * MONO_SECOND); /* since the first board joined */
    assert_int_equal(event->unserved_ns, 0);           /* none served before */
}

static void test_what_a_lost_stage_costs_is_told(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    join(f, "spare");
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    assert_int_equal(told(f, FLEET_LOST)->board, 1);
    assert_string_equal(told(f, FLEET_LOST)->text, "was lost");
    assert_int_equal(told(f, FLEET_REPLANNING)->epoch.number, 1);
    assert_string_equal(told(f, FLEET_REPLANNING)->text, "stage b1 (units 6 to 11) was lost");
    assert_int_equal(told(f, FLEET_REPLAYED)->items, 4);
    assert_int_equal(told(f, FLEET_REPLAYED)->microbatches, 1);
    assert_int_equal(told(f, FLEET_PLANNING)->boards, 2);
    f->now = mono_after(f->now, 3 * MONO_SECOND);
    planned(f);
    ready(f, 0);
    ready(f, 2);
    const struct fleet_event *event = told(f, FLEET_SERVING);
    assert_int_equal(event->epoch.number, 2);
    assert_int_equal(event->took_ns, 3 * MONO_SECOND);
    assert_int_equal(event->unserved_ns, 3 * MONO_SECOND);
    assert_string_equal(event->text, "stage b1 (units 6 to 11) was lost");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 2}); /* the clock starts anew */
    f->now = mono_after(f->now, MONO_SECOND);
    join(f, "spare");
    planned(f);
    ready(f, 0);
    ready(f, 2);
    assert_int_equal(told(f, FLEET_SERVING)->took_ns, MONO_SECOND);
}

static void test_a_lost_spare_ends_no_epoch(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    unsigned spare = join(f, "spare");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = spare});
    assert_int_equal(told(f, FLEET_LOST)->board, spare);
    assert_null(told(f, FLEET_REPLANNING));
    assert_int_equal(f->effects.count, 1);
}

static void test_a_board_at_another_pace_is_told(void **state) {
    struct fixture *f = *state;
    char words[128];
    serve(f, 2);
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRIFTED, .board = 1, .pace = 1.5});
    const struct fleet_event *event = told(f, FLEET_DRIFTED);
    assert_int_equal(event->board, 1);
    assert_true(event->pace == 1.5);
    assert_string_equal(fleet_event_words(event, "b1", words, sizeof words),
                        "board b1 takes 1.5 times as long as its profile says");
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned(f); /* the same as before */
    assert_int_equal(told(f, FLEET_KEPT)->epoch.number, 1);
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRIFTED, .board = 1, .pace = 1});
    assert_string_equal(fleet_event_words(told(f, FLEET_DRIFTED), "b1", words, sizeof words),
                        "board b1 is planned with its profile again");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRIFTED, .board = 1, .pace = 2});
    assert_null(told(f, FLEET_DRIFTED)); /* it is not here */
}

static void test_why_there_is_no_plan_is_told(void **state) {
    struct fixture *f = *state;
    start(f, 1, 4);
    join(f, "a");
    step(f, (struct coordinator_event){.type = CORE_PLANNED, .text = "too little memory"});
    assert_string_equal(told(f, FLEET_NO_PLAN)->text, "too little memory");
    assert_int_equal(told(f, FLEET_NO_PLAN)->boards, 1);
    assert_string_equal(f->core.reason, "no plan: too little memory");
}

static void test_an_unfit_board_is_told(void **state) {
    struct fixture *f = *state;
    start(f, 1, 4);
    join(f, "a");
    planned(f);
    step(f, (struct coordinator_event){
                .type = CORE_BOARD_FAILED, .board = 0, .epoch = f->core.epoch, .text = "3 MB of memory are missing"});
    assert_string_equal(told(f, FLEET_UNFIT)->text, "3 MB of memory are missing");
    assert_int_equal(told(f, FLEET_UNFIT)->board, 0);
    assert_non_null(told(f, FLEET_REPLANNING));
}

static void test_failures_are_told_once(void **state) {
    struct fixture *f = *state;
    start(f, 2, 4);
    for (unsigned i = 0; i < 3; i++)
        admit(f, i);
    tick_after(f, 61 * MONO_SECOND);
    assert_int_equal(told(f, FLEET_FAILED)->items, 3);
    assert_non_null(strstr(told(f, FLEET_FAILED)->text, "the pipeline is not serving"));
    tick_after(f, MONO_SECOND);
    assert_null(told(f, FLEET_FAILED));
}

/* Each of more flights than there are texts in a step is failed with the reason of all. */
static void test_many_given_up_flights_say_the_same(void **state) {
    struct fixture *f = *state;
    serve(f, 8); /* 18 flights */
    for (unsigned i = 0; i < 18 * 4; i++)
        admit(f, i);
    for (unsigned attempt = 1; attempt <= CORE_SUSPECTED_MAX; attempt++) {
        for (unsigned i = 0; i < 18; i++)
            writable(f);
        assert_int_equal(f->core.sent, 18);
        step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
        if (attempt == CORE_SUSPECTED_MAX)
            break;
        join(f, "b0");
        planned(f);
        for (unsigned i = 0; i < 8; i++)
            ready(f, i);
    }
    assert_int_equal(count_of(f, CORE_FAIL), 18 * 4);
    assert_int_equal(told(f, FLEET_FAILED)->items, 18 * 4);
    assert_null(told(f, FLEET_REPLAYED));
    for (unsigned i = 0; i < f->effects.count; i++)
        if (f->effects.effect[i].type == CORE_FAIL)
            assert_string_equal(f->effects.effect[i].text, told(f, FLEET_FAILED)->text);
}

static void test_open_fleet_tells_who_it_replans_for(void **state) {
    struct fixture *f = *state;
    start(f, 0, 4);
    join(f, "a");
    tick_after(f, MONO_SECOND);
    planned(f);
    join(f, "b"); /* while the first loads */
    assert_string_equal(told(f, FLEET_REPLANNING)->text, "board b joined");
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
}

static void test_all_boards_fall_silent_at_once(void **state) {
    struct fixture *f = *state;
    char name[16];
    start(f, CORE_BOARDS_MAX, 4);
    for (unsigned i = 0; i < CORE_BOARDS_MAX; i++) {
        snprintf(name, sizeof name, "b%u", i);
        join(f, name);
    }
    f->now = mono_after(f->now, 4 * MONO_SECOND);
    step(f, (struct coordinator_event){.type = CORE_TICK});
    assert_int_equal(f->effects.events, CORE_BOARDS_MAX);
}

static void test_words(void **state) {
    (void)state;
    char text[400], tiny[8];
    const struct fleet_event serving = {.kind = FLEET_SERVING,
                                        .board = FLEET_NO_BOARD,
                                        .epoch = {3},
                                        .stages = 4,
                                        .took_ns = 2310 * MONO_MS,
                                        .unserved_ns = 2 * MONO_SECOND,
                                        .text = "stage b left"};
    assert_string_equal(fleet_event_words(&serving, "", text, sizeof text),
                        "epoch 3 serves with 4 stages, after a pause of 2.00 s, 2.31 s after its cause: stage b left");
    const struct fleet_event replayed = {
        .kind = FLEET_REPLAYED, .board = FLEET_NO_BOARD, .items = 1, .microbatches = 1, .text = "why"};
    assert_string_equal(fleet_event_words(&replayed, "", text, sizeof text), "1 item in 1 microbatch sent again: why");
    const struct fleet_event joined = {.kind = FLEET_JOINED, .board = 0, .text = ""};
    assert_string_equal(fleet_event_words(&joined, "b1", text, sizeof text), "board b1 joined");
    assert_string_equal(fleet_event_words(&joined, "b1", tiny, sizeof tiny), "board b");
    assert_string_equal(fleet_event_kind_name(FLEET_FAILED), "failed");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_first_epoch_is_told),
        TEST(test_what_a_lost_stage_costs_is_told),
        TEST(test_a_lost_spare_ends_no_epoch),
        TEST(test_a_board_at_another_pace_is_told),
        TEST(test_why_there_is_no_plan_is_told),
        TEST(test_an_unfit_board_is_told),
        TEST(test_failures_are_told_once),
        TEST(test_many_given_up_flights_say_the_same),
        TEST(test_open_fleet_tells_who_it_replans_for),
        TEST(test_all_boards_fall_silent_at_once),
        TEST(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
