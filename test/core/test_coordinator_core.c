/* The coordinator's state machine against its contract: events in, effects out, no socket and no clock. The last test
 * drives it through seeded random histories and holds the invariants after every step. */
#include "daemon/core/coordinator_parts.h"
#include "test/core/coordinator_fixture.h"

#define HISTORIES 300
#define STEPS     600

static void test_waits_for_all_boards(void **state) {
    struct fixture *f = *state;
    start(f, 3, 4);
    join(f, "a");
    join(f, "b");
    assert_int_equal(count_of(f, CORE_PLAN), 0);
    assert_string_equal(f->core.reason, "2 of 3 boards are here");
    join(f, "c");
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.board_count, 3);
    planned(f);
    ready(f, 0);
    ready(f, 2);
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
    ready(f, 1);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(f->core.epoch.number, 1);
}

static void test_ready_of_another_epoch_is_ignored(void **state) {
    struct fixture *f = *state;
    start(f, 1, 4);
    join(f, "a");
    planned(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_READY, .board = 0, .epoch = {7}});
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
}

static void test_full_microbatch_goes_at_once(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    writable(f);
    for (unsigned i = 0; i < 3; i++)
        admit(f, i);
    assert_int_equal(count_of(f, CORE_DISPATCH), 0);
    admit(f, 3);
    const struct coordinator_effect *effect = first_of(f, CORE_DISPATCH);
    assert_non_null(effect);
    assert_int_equal(effect->items, 4);
    const struct core_flight *flight = core_flight_find(&f->core, effect->sequence);
    for (unsigned row = 0; row < 4; row++)
        assert_int_equal(core_flight_item(&f->core, flight, row), row);
}

static void test_partial_microbatch_waits(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    writable(f);
    admit(f, 9);
    assert_int_equal(count_of(f, CORE_DISPATCH), 0);
    assert_true(mono_since(coordinator_core_deadline(&f->core, f->now), f->now) <= 5 * MONO_MS);
    tick_after(f, 5 * MONO_MS);
    assert_int_equal(first_of(f, CORE_DISPATCH)->items, 1);
}

static void test_back_pressure(void **state) {
    struct fixture *f = *state;
    serve(f, 1); /* 2 * 1 + 2 = 4 flights allowed */
    for (unsigned i = 0; i < 40; i++)
        admit(f, i);
    assert_int_equal(f->core.flights, 0); /* not writable yet */
    for (unsigned i = 0; i < 10; i++)
        writable(f);
    assert_int_equal(f->core.flights, 4);
    tick_after(f, MONO_SECOND); /* a microbatch is overdue, but none may go: the loop must be free to sleep */
    assert_true(mono_since(coordinator_core_deadline(&f->core, f->now), f->now) >= 50 * MONO_MS);
    result(f, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(count_of(f, CORE_DISPATCH), 1); /* writability was still known */
    assert_int_equal(f->core.flights, 4);
}

/* As many as the plan needs, or as the setting says. */
static void test_flights_by_plan(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    struct plan *plan = &f->core.pipeline[f->core.epoch.number % MESSAGE_LANES].plan;
    plan->period_s = 2;
    plan->latency_s = 10;
    assert_int_equal(core_flights_allowed(&f->core), 9);
    plan->latency_s = 1e9;
    assert_int_equal(core_flights_allowed(&f->core), CORE_IN_FLIGHT_MAX);
    f->core.settings.in_flight = 5;
    assert_int_equal(core_flights_allowed(&f->core), 5);
    f->core.settings.in_flight = 2 * CORE_IN_FLIGHT_MAX;
    assert_int_equal(core_flights_allowed(&f->core), CORE_IN_FLIGHT_MAX);
}

static void test_lost_stage_comes_back_and_its_flights_are_replayed(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    admit(f, 4); /* stays queued */
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    assert_int_equal(count_of(f, CORE_FAIL), 0);
    assert_int_equal(f->core.items_replayed, 4);
    assert_non_null(strstr(f->core.cause, "stage b1 (units 6 to 11) was lost"));
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    assert_non_null(strstr(f->core.reason, "1 of 2 boards are here"));
    assert_int_equal(f->core.queued, 1);
    assert_int_equal(join(f, "b1"), 1);
    planned(f);
    assert_int_equal(f->core.epoch.number, 2);
    ready(f, 0);
    ready(f, 1);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->items, 4); /* the same items together as before */
    assert_int_equal(first_of(f, CORE_DISPATCH)->sequence.number, 2);
    assert_int_equal(core_flight_find(&f->core, first_of(f, CORE_DISPATCH)->sequence)->attempts, 2);
    step(f, (struct coordinator_event){.type = CORE_RESULT, .epoch = {1}, .sequence = {1}, .items = 4});
    assert_int_equal(f->effects.count, 0); /* of the old epoch */
    writable(f);
    tick_after(f, 5 * MONO_MS);
    assert_int_equal(count_of(f, CORE_DISPATCH), 1);
    result(f, 2, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(first_of(f, CORE_ANSWER)->item, 0);
    result(f, 3, 1);
    assert_int_equal(first_of(f, CORE_ANSWER)->item, 4);
}

static void test_poisonous_microbatch_is_given_up(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    admit(f, 0);
    for (unsigned attempt = 1; attempt <= CORE_SUSPECTED_MAX; attempt++) {
        writable(f);
        tick_after(f, 5 * MONO_MS);
        assert_int_equal(count_of(f, CORE_DISPATCH), attempt == 1 ? 1 : 0); /* replays need not wait */
        assert_int_equal(f->core.sent, 1);
        step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
        assert_int_equal(count_of(f, CORE_FAIL), attempt == CORE_SUSPECTED_MAX ? 1 : 0);
        if (attempt < CORE_SUSPECTED_MAX) {
            join(f, "b0");
            planned(f);
            ready(f, 0);
        }
    }
    assert_non_null(strstr(first_of(f, CORE_FAIL)->text, "given up after 8 attempts: stage b0"));
}

/* Who is sent through pipelines that die of something else, however often, is innocent. */
static void test_innocent_microbatches_are_not_given_up(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    for (unsigned i = 0; i < 12; i++)
        admit(f, i);
    for (unsigned death = 1; death <= 3 * CORE_SUSPECTED_MAX; death++) {
        for (unsigned i = 0; i < 3; i++)
            writable(f); /* three microbatches */
        assert_int_equal(f->core.sent, 3);
        const struct core_flight *first = &f->core.flight[0];
        struct message_heartbeat beat = {.epoch = f->core.epoch,
                                         .microbatches = 9,
                                         .busy_ns = 9 * 30 * MONO_SECOND, /* of half a minute each */
                                         .computed = first->sequence};
        step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
        step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
        if (death == CORE_SUSPECTED_MAX) {
            assert_int_equal(count_of(f, CORE_FAIL), 8); /* the second and third, that it may have been computing */
            break;
        }
        assert_int_equal(count_of(f, CORE_FAIL), 0);
        join(f, "b0");
        planned(f);
        ready(f, 0);
    }
    assert_int_equal(f->core.flights, 1);
    assert_int_equal(f->core.flight[0].suspected, 0);
    assert_int_equal(f->core.flight[0].attempts, CORE_SUSPECTED_MAX);
}

/* A stage far behind the first one has computed nothing yet when it dies: it may have begun with the first microbatches
 * at most, at the pace that is planned. */
static void test_a_stage_that_has_not_begun(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    f->core.settings.measured_first = true;
    f->core.pipeline[epoch_lane(f->core.epoch)].plan.stage[0].compute_s = 10;
    for (unsigned i = 0; i < 16; i++)
        admit(f, i);
    for (unsigned i = 0; i < 4; i++)
        writable(f);
    assert_int_equal(f->core.sent, 4);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(f->core.flight[i].suspected, i < 2);
}

/* The plan's time is that of a full microbatch; of those with a single item it may have begun more. */
static void test_a_stage_that_has_not_begun_on_few_items(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    f->core.settings.measured_first = true;
    f->core.pipeline[epoch_lane(f->core.epoch)].plan.stage[0].compute_s = 6; /* 1.5 s an item, or half of that */
    for (unsigned i = 0; i < 4; i++) {
        admit(f, i);
        writable(f);
        tick_after(f, 5 * MONO_MS);
        assert_int_equal(f->core.flight[i].count, 1);
    }
    assert_int_equal(f->core.sent, 4);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(f->core.flight[i].suspected, i < 3);
}

/* Whatever heartbeats say, nothing is sent for ever. */
static void test_attempts_have_an_end(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    admit(f, 0);
    for (unsigned attempt = 1; attempt <= CORE_ATTEMPTS_MAX; attempt++) {
        writable(f);
        tick_after(f, 5 * MONO_MS);
        struct message_heartbeat beat = {
            .epoch = f->core.epoch, .microbatches = 1, .busy_ns = 1, .computed = {UINT64_MAX}};
        step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
        step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
        assert_int_equal(count_of(f, CORE_FAIL), attempt == CORE_ATTEMPTS_MAX ? 1 : 0);
        if (attempt < CORE_ATTEMPTS_MAX) {
            join(f, "b0");
            planned(f);
            ready(f, 0);
        }
    }
}

static void test_replay_waits_no_longer_than_patience(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    tick_after(f, 59 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 0);
    tick_after(f, 2 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 4);
    assert_int_equal(f->core.flights, 0);
}

static void test_spare_board_takes_over(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    join(f, "spare");
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.boards[0], 1);
    assert_int_equal(f->effects.boards[1], 2);
}

static void test_silent_board_is_lost(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->now = mono_after(f->now, 4 * MONO_SECOND);
    f->core.board[0].heard = f->now;
    step(f, (struct coordinator_event){.type = CORE_TICK});
    assert_int_equal(f->core.board[1].state, BOARD_ABSENT);
    assert_non_null(strstr(f->core.cause, "fell silent"));
}

static void test_leaving_drains_first(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    writable(f);
    for (unsigned i = 0; i < 8; i++)
        admit(f, i);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    assert_int_equal(f->core.state, COORDINATOR_PAUSING);
    writable(f);
    assert_int_equal(count_of(f, CORE_DISPATCH), 0);
    result(f, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(first_of(f, CORE_RELEASE)->board, 0);
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    assert_int_equal(f->core.queued, 4);
}

static void test_which_boards_can_be_spared(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    assert_false(coordinator_core_spares(&f->core, 0));
    unsigned spare = join(f, "spare");
    assert_true(coordinator_core_spares(&f->core, 0));
    assert_true(coordinator_core_spares(&f->core, spare));
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = spare});
    assert_false(coordinator_core_spares(&f->core, 0));
    assert_true(coordinator_core_spares(&f->core, spare)); /* it goes already */
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    assert_true(coordinator_core_spares(&f->core, 0)); /* nothing serves anyway */
    start(f, 0, 4);
    join(f, "a");
    assert_false(coordinator_core_spares(&f->core, 0));
    join(f, "b");
    assert_true(coordinator_core_spares(&f->core, 0));
}

/* Found by test/sim: "the pipeline is not serving: " and no word why. */
static void test_pausing_says_why(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    writable(f);
    for (unsigned i = 0; i < 5; i++)
        admit(f, i);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    assert_int_equal(f->core.state, COORDINATOR_PAUSING);
    assert_string_equal(f->core.reason, "stage b0 left; a new plan waits for the microbatches in flight");
}

static void test_unfit_board_says_why(void **state) {
    struct fixture *f = *state;
    start(f, 1, 4);
    join(f, "a");
    planned(f);
    step(f, (struct coordinator_event){
                .type = CORE_BOARD_FAILED, .board = 0, .epoch = f->core.epoch, .text = "3 MB of memory are missing"});
    assert_int_equal(f->core.board[0].state, BOARD_UNFIT);
    assert_non_null(strstr(f->core.reason, "3 MB of memory are missing"));
    assert_int_equal(count_of(f, CORE_PLAN), 0);
    join(f, "a"); /* started anew, perhaps with more memory */
    assert_int_equal(count_of(f, CORE_PLAN), 1);
}

static void test_results_out_of_place(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    for (unsigned i = 0; i < 12; i++)
        admit(f, i);
    for (unsigned i = 0; i < 3; i++)
        writable(f);
    result(f, 9, 4); /* never sent */
    assert_int_equal(f->effects.count, 0);
    step(f, (struct coordinator_event){.type = CORE_RESULT, .epoch = {77}, .sequence = {1}, .items = 4});
    assert_int_equal(f->effects.count, 0);
    result(f, 1, 3); /* wrong number of items */
    assert_int_equal(f->effects.count, 0);
    assert_int_equal(f->core.stale, 3);
    result(f, 3, 4); /* 1 and 2 can no longer come */
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(count_of(f, CORE_DISPATCH), 0);
    assert_int_equal(f->core.items_replayed, 8);
    result(f, 3, 4); /* a second time */
    assert_int_equal(f->effects.count, 0);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->sequence.number, 4);
    assert_int_equal(core_flight_find(&f->core, (sequence_t){4})->first, 0);
    result(f, 2, 4); /* comes after all, before it was sent again */
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(f->core.flights, 1);
    result(f, 4, 4);
    assert_int_equal(f->core.flights, 0);
}

static void test_stalled_flights_are_replayed(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    struct message_heartbeat busy = {.epoch = f->core.epoch};
    for (unsigned i = 0; i < 5; i++) { /* slow, but at work */
        tick_after(f, 15 * MONO_SECOND);
        busy.busy_ns += 15 * MONO_SECOND;
        step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &busy});
        assert_int_equal(f->core.flights, 1);
    }
    tick_after(f, 21 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 0);
    assert_int_equal(f->core.sent, 0);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->items, 4);
}

/* What a board had before its connection ended is judged by when it was heard last, and that was not its end. */
static void test_an_end_is_no_heartbeat(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    mono_t heard = f->core.board[1].heard;
    f->now = mono_after(f->now, 2 * MONO_SECOND);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    assert_int_equal(mono_since(f->core.board[1].heard, heard), 0);
}

/* Of a payload that is long on its way nobody hears until it is there. */
static void test_long_transfers_are_no_stall(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->core.pipeline[f->core.epoch.number % MESSAGE_LANES].plan.stage[1].receive_s = 39;
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    assert_int_equal(f->core.sent, 1);
    tick_after(f, 380 * MONO_SECOND);
    assert_int_equal(f->core.sent, 1);
    tick_after(f, 20 * MONO_SECOND);
    assert_int_equal(f->core.sent, 0);
    assert_int_equal(f->core.flights, 1); /* to be sent again */
}

static void test_patience_ends(void **state) {
    struct fixture *f = *state;
    start(f, 2, 4);
    join(f, "a");
    tick_after(f, 30 * MONO_SECOND);
    admit(f, 0);
    tick_after(f, 59 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 0);
    admit(f, 1);
    tick_after(f, 2 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 1);
    assert_non_null(strstr(first_of(f, CORE_FAIL)->text, "1 of 2 boards are here"));
    assert_int_equal(f->core.queued, 1);
}

static void test_first_stage_out_of_reach(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    admit(f, 0); /* the first stage never takes a microbatch */
    tick_after(f, 59 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 0);
    tick_after(f, 2 * MONO_SECOND);
    assert_int_equal(count_of(f, CORE_FAIL), 1);
    assert_non_null(strstr(first_of(f, CORE_FAIL)->text, "stage b0 takes no microbatches"));
    assert_int_equal(f->core.queued, 0);
}

static void test_open_fleet_uses_a_board_that_joins_during_planning(void **state) {
    struct fixture *f = *state;
    start(f, 0, 4);
    join(f, "a");
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    unsigned boards[CORE_BOARDS_MAX];
    memcpy(boards, f->effects.boards, sizeof boards);
    join(f, "b");
    f->effects.board_count = 1;
    memcpy(f->effects.boards, boards, sizeof boards);
    planned(f); /* for "a" alone */
    assert_int_equal(count_of(f, CORE_ASSIGN), 0);
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.board_count, 2);
}

static void test_a_stale_plan_is_asked_for_again(void **state) {
    struct fixture *f = *state;
    start(f, 2, 4);
    join(f, "a");
    join(f, "b");
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    step(f, (struct coordinator_event){.type = CORE_PLANNED, .stale = true});
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    planned(f);
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
}

static void test_open_fleet_measures_a_board_before_it_plans(void **state) {
    struct fixture *f = *state;
    start(f, 0, 4);
    f->core.settings.measured_first = true;
    join(f, "a");
    tick_after(f, MONO_SECOND);
    planned(f);
    ready(f, 0);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    unsigned newcomer = join(f, "b");
    tick_after(f, 10 * MONO_MS);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    step(f, (struct coordinator_event){.type = CORE_BOARD_MEASURED, .board = newcomer});
    tick_after(f, MONO_SECOND);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.board_count, 2);
}

static void test_shutdown_finishes_what_was_admitted(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    writable(f);
    admit(f, 0);
    step(f, (struct coordinator_event){.type = CORE_SHUTDOWN});
    assert_int_equal(count_of(f, CORE_DISPATCH), 1); /* nobody else is coming: no waiting for company */
    assert_int_equal(count_of(f, CORE_EXIT), 0);
    result(f, 1, 1);
    assert_int_equal(count_of(f, CORE_EXIT), 1);
    tick_after(f, MONO_MS);
    assert_int_equal(f->effects.count, 0);
}

/* ---- random histories ---- */

struct history {
    struct fixture f;
    uint32_t random;
    bool admitted[CORE_ITEMS_MAX], answered[CORE_ITEMS_MAX];
    unsigned next_item;
    struct core_flight sent[4 * CORE_FLIGHTS_MAX]; /* dispatched, on their way back */
    epoch_t epochs[4 * CORE_FLIGHTS_MAX];
    unsigned sent_count;
    bool plan_wanted;
    unsigned boards[CORE_BOARDS_MAX], board_count;
};

static unsigned dice(struct history *h, unsigned sides) {
    h->random = h->random * 1664525u + 1013904223u;
    return (h->random >> 10) % sides;
}

static void account(struct history *h) {
    for (unsigned i = 0; i < h->f.effects.count; i++) {
        const struct coordinator_effect *effect = &h->f.effects.effect[i];
        if (effect->type == CORE_ANSWER || effect->type == CORE_FAIL || effect->type == CORE_DROP) {
            assert_true(h->admitted[effect->item]);
            assert_false(h->answered[effect->item]);
            h->answered[effect->item] = true;
        }
        if (effect->type == CORE_DISPATCH) {
            assert_int_equal(h->f.core.state, COORDINATOR_SERVING);
            h->epochs[h->sent_count] = effect->epoch;
            h->sent[h->sent_count++] = *core_flight_find(&h->f.core, effect->sequence);
        }
        if (effect->type == CORE_PLAN) {
            h->plan_wanted = true;
            h->board_count = h->f.effects.board_count;
            memcpy(h->boards, h->f.effects.boards, sizeof h->boards);
        }
    }
    unsigned waiting = h->f.core.queued;
    for (unsigned i = 0; i < h->f.core.flights; i++)
        waiting += h->f.core.flight[i].count;
    unsigned open = 0;
    for (unsigned i = 0; i < h->next_item; i++)
        open += h->admitted[i] && !h->answered[i];
    assert_int_equal(open, waiting); /* every unanswered item is in exactly one place */
}

static void random_step(struct history *h) {
    char name[16];
    struct fixture *f = &h->f;
    unsigned board = f->core.boards ? dice(h, f->core.boards) : 0;
    f->now = mono_after(f->now, dice(h, 20) * MONO_MS);
    switch (dice(h, 13)) {
    case 0:
        snprintf(name, sizeof name, "b%u", dice(h, 6));
        join(f, name);
        break;
    case 1:
        if (f->core.boards && dice(h, 4) == 0)
            step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = board});
        else
            f->effects.count = 0;
        break;
    case 2:
        if (f->core.boards && dice(h, 4) == 0)
            step(f, (struct coordinator_event){.type = dice(h, 2) ? CORE_BOARD_LEAVING : CORE_BOARD_DRAINED,
                                               .board = board});
        else
            f->effects.count = 0;
        break;
    case 3:
    case 4:
        f->effects.count = 0;
        if (f->core.boards)
            ready(f, board);
        break;
    case 5:
        if (h->plan_wanted) {
            h->plan_wanted = false;
            f->effects.board_count = h->board_count;
            memcpy(f->effects.boards, h->boards, sizeof h->boards);
            if (dice(h, 5) == 0)
                step(f, (struct coordinator_event){.type = CORE_PLANNED, .stale = true});
            else
                planned(f);
        } else if (f->core.boards)
            step(f, (struct coordinator_event){.type = CORE_BOARD_MEASURED, .board = board});
        else
            f->effects.count = 0;
        break;
    case 6:
    case 7:
        h->admitted[h->next_item] = true;
        admit(f, h->next_item++);
        break;
    case 8:
        writable(f);
        break;
    case 11: /* one that waits, is under way, or is answered already */
        f->effects.count = 0;
        if (h->next_item > 0 && dice(h, 2))
            step(f, (struct coordinator_event){.type = CORE_ITEM_WITHDRAWN, .item = dice(h, h->next_item)});
        break;
    case 9:
    case 10:
        f->effects.count = 0;
        if (h->sent_count > 0) { /* usually the oldest; sometimes one is lost or comes twice */
            unsigned which = dice(h, 8) == 0 ? dice(h, h->sent_count) : 0;
            struct core_flight flight = h->sent[which];
            step(f, (struct coordinator_event){.type = CORE_RESULT,
                                               .epoch = h->epochs[which],
                                               .sequence = flight.sequence,
                                               .items = flight.count});
            if (dice(h, 10) > 0) {
                h->sent_count--;
                memmove(&h->sent[which], &h->sent[which + 1], (h->sent_count - which) * sizeof h->sent[0]);
                memmove(&h->epochs[which], &h->epochs[which + 1], (h->sent_count - which) * sizeof h->epochs[0]);
            }
        }
        break;
    default:
        tick_after(f, dice(h, 100) == 0 ? 61 * MONO_SECOND : 10 * MONO_MS);
    }
    account(h);
}

static void test_random_histories(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= HISTORIES; seed++) {
        struct history *h = calloc(1, sizeof *h);
        h->random = seed;
        start(&h->f, dice(h, 4), 1 + dice(h, 5));
        for (unsigned i = 0; i < STEPS && h->sent_count < 3 * CORE_FLIGHTS_MAX; i++)
            random_step(h);
        step(&h->f, (struct coordinator_event){.type = CORE_SHUTDOWN});
        account(h);
        for (unsigned i = 0; i < h->f.core.boards; i++) { /* even with nobody left it ends and leaves nothing open */
            step(&h->f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = i});
            account(h);
        }
        tick_after(&h->f, 61 * MONO_SECOND);
        account(h);
        tick_after(&h->f, 61 * MONO_SECOND);
        account(h);
        for (unsigned i = 0; i < h->next_item; i++)
            if (!h->answered[i])
                fail_msg("seed %u: item %u was never answered", seed, i);
        assert_int_equal(h->f.core.state, COORDINATOR_ENDED);
        free(h);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_waits_for_all_boards),
        TEST(test_ready_of_another_epoch_is_ignored),
        TEST(test_full_microbatch_goes_at_once),
        TEST(test_partial_microbatch_waits),
        TEST(test_back_pressure),
        TEST(test_flights_by_plan),
        TEST(test_lost_stage_comes_back_and_its_flights_are_replayed),
        TEST(test_poisonous_microbatch_is_given_up),
        TEST(test_innocent_microbatches_are_not_given_up),
        TEST(test_a_stage_that_has_not_begun),
        TEST(test_a_stage_that_has_not_begun_on_few_items),
        TEST(test_attempts_have_an_end),
        TEST(test_replay_waits_no_longer_than_patience),
        TEST(test_spare_board_takes_over),
        TEST(test_silent_board_is_lost),
        TEST(test_leaving_drains_first),
        TEST(test_which_boards_can_be_spared),
        TEST(test_pausing_says_why),
        TEST(test_unfit_board_says_why),
        TEST(test_results_out_of_place),
        TEST(test_stalled_flights_are_replayed),
        TEST(test_long_transfers_are_no_stall),
        TEST(test_an_end_is_no_heartbeat),
        TEST(test_patience_ends),
        TEST(test_first_stage_out_of_reach),
        TEST(test_open_fleet_uses_a_board_that_joins_during_planning),
        TEST(test_a_stale_plan_is_asked_for_again),
        TEST(test_open_fleet_measures_a_board_before_it_plans),
        TEST(test_shutdown_finishes_what_was_admitted),
        TEST(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
