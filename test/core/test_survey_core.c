/* The survey against its contract: profiles at the same time, then disjoint pairs; what is known is not measured again;
 * boards that come, go and fall silent in the middle. The last test drives it through random histories and holds the
 * invariants after every step; SURVEY_SEED=N replays one. */
#include "test/core/survey_fixture.h"

#include <stdlib.h>
#include <string.h>

static void test_profiles_first_then_disjoint_pairs(void **state) {
    (void)state;
    struct fixture f = start(4);
    assert_int_equal(f.effects.count, 0); /* nobody is wanted yet */
    assert_true(survey_core_done(&f.core));
    for (unsigned i = 0; i < 4; i++) {
        want(&f, i);
        assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1); /* at once: none waits for another */
    }
    for (unsigned i = 0; i < 3; i++) {
        profiled(&f, i, true);
        assert_int_equal(f.effects.count, 0);
    }
    struct survey_progress progress = survey_core_progress(&f.core);
    assert_int_equal(progress.boards, 4);
    assert_int_equal(progress.profiled, 3);
    assert_int_equal(progress.links, 10);
    assert_int_equal(progress.probed, 0);
    profiled(&f, 3, true);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 2); /* of five ends */
    unsigned probes = 0;
    while (finish_probe(&f))
        probes++;
    assert_int_equal(probes, 10);
    assert_true(survey_core_done(&f.core));
    double latency, rate;
    survey_core_way(&f.core, 1, 3, &latency, &rate);
    assert_true(latency == 0.001 && rate == 1003);
    survey_core_way(&f.core, SURVEY_COORDINATOR, 2, &latency, &rate);
    assert_true(latency == 0.001 && rate == 1000.0 * SURVEY_COORDINATOR + 2);
}

static void test_what_is_known_is_not_measured_again(void **state) {
    (void)state;
    struct fixture f = known(3);
    for (unsigned i = 0; i < 3; i++)
        want(&f, i);
    assert_int_equal(f.effects.count, 0);
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 1});
    assert_true(survey_core_done(&f.core));
    join(&f, 1, true); /* its profile is at hand; its links are not what they were */
    want(&f, 1);
    unsigned probes = 0;
    while (finish_probe(&f))
        probes++;
    assert_int_equal(probes, 3);
}

/* Boards that are known do not wait for one that is being measured. */
static void test_a_plan_waits_for_its_boards_only(void **state) {
    (void)state;
    struct fixture f = known(3);
    static const unsigned three[] = {2, 0, 1}, four[] = {0, 1, 2, 3};
    join(&f, 3, true);
    want(&f, 3);
    assert_false(survey_core_board_done(&f.core, 0));
    assert_true(survey_core_boards_done(&f.core, three, 3));
    assert_false(survey_core_boards_done(&f.core, four, 4));
    while (finish_probe(&f)) {
    }
    assert_true(survey_core_boards_done(&f.core, four, 4));
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 1});
    assert_true(survey_core_boards_done(&f.core, four, 4)); /* of who is here */
    join(&f, 1, true);
    want(&f, 1);
    while (f.core.link[1][SURVEY_COORDINATOR].state != SURVEY_KNOWN)
        assert_true(finish_probe(&f));
    assert_false(survey_core_boards_done(&f.core, three, 3)); /* its links to the others are not known */
    while (finish_probe(&f)) {
    }
    assert_true(survey_core_boards_done(&f.core, three, 3));
}

static void test_a_board_goes_while_it_is_profiled(void **state) {
    (void)state;
    struct fixture f = start(2);
    want(&f, 0);
    want(&f, 1);
    profiled(&f, 0, true);
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 1});
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1); /* 0 and the coordinator */
    assert_true(finish_probe(&f));
    assert_true(survey_core_done(&f.core));
}

static void test_a_board_goes_while_it_is_probed(void **state) {
    (void)state;
    struct fixture f = start(0);
    join(&f, 0, true);
    want(&f, 0);
    uint64_t number = f.effects.effect[0].number;
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 0});
    assert_int_equal(count_of(&f, SURVEY_STOP_PROBE), 1);
    tell(&f, SURVEY_COORDINATOR, number, 5); /* too late */
    assert_true(survey_core_done(&f.core));
    join(&f, 0, true);
    want(&f, 0);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1);
    tell(&f, 0, number, 5); /* of the old one */
    assert_false(survey_core_done(&f.core));
    assert_true(finish_probe(&f));
    assert_true(survey_core_done(&f.core));
}

static void test_a_newcomer_is_profiled_between_probes(void **state) {
    (void)state;
    struct fixture f = start(0);
    for (unsigned i = 0; i < 3; i++)
        join(&f, i, true);
    for (unsigned i = 0; i < 3; i++)
        want(&f, i);
    join(&f, 3, false);
    want(&f, 3);
    assert_int_equal(f.effects.count, 0); /* two pairs are under way */
    assert_true(finish_probe(&f));
    assert_int_equal(f.effects.count, 0);
    assert_true(finish_probe(&f));
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 0);
    profiled(&f, 3, true);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 2);
}

static void test_a_refused_profile_is_asked_for_again(void **state) {
    (void)state;
    struct fixture f = start(1);
    want(&f, 0);
    for (unsigned attempt = 1; attempt < 3; attempt++) {
        profiled(&f, 0, false);
        assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 0);
        while (survey_core_probing(&f.core, 0))
            finish_probe(&f);
        mono_t deadline;
        assert_true(survey_core_deadline(&f.core, &deadline));
        assert_int_equal(mono_since(deadline, f.now), MONO_SECOND);
        tick_after(&f, MONO_SECOND);
        assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
    }
    profiled(&f, 0, false);
    assert_int_equal(f.core.board[0].profile, SURVEY_FAILED);
    assert_true(survey_core_done(&f.core));
}

static void test_a_pair_that_does_not_answer_fails_alone(void **state) {
    (void)state;
    struct fixture f = start(0);
    join(&f, 0, true);
    join(&f, 1, true);
    want(&f, 0);
    while (finish_probe(&f)) {
    }
    want(&f, 1);
    assert_true(finish_probe(&f)); /* 1 and the coordinator */
    for (unsigned attempt = 0; attempt < 2; attempt++) {
        assert_int_equal(f.core.link[0][1].state, SURVEY_ASKED);
        tell(&f, 0, f.core.link[0][1].number, 0);
        tick_after(&f, PROBE_LIMIT);
    }
    assert_int_equal(f.core.link[0][1].state, SURVEY_FAILED);
    assert_int_equal(count_of(&f, SURVEY_LINK_FAILED), 1);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 0);
    assert_true(survey_core_done(&f.core));
    double latency, rate;
    survey_core_way(&f.core, 0, 1, &latency, &rate);
    assert_true(rate == 0);
    survey_core_way(&f.core, 1, SURVEY_COORDINATOR, &latency, &rate);
    assert_true(rate > 0);
}

static void test_no_probe_begins_while_held(void **state) {
    (void)state;
    struct fixture f = known(2);
    step(&f, (struct survey_event){.type = SURVEY_HOLD, .ok = true});
    join(&f, 2, false);
    want(&f, 2);
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
    profiled(&f, 2, true);
    assert_int_equal(f.effects.count, 0);
    assert_false(survey_core_done(&f.core));
    step(&f, (struct survey_event){.type = SURVEY_HOLD, .ok = false});
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1); /* of the newcomer: all others are known */
}

static void test_a_failure_is_not_waited_for_twice(void **state) {
    (void)state;
    struct fixture f = start(0);
    join(&f, 0, true);
    want(&f, 0);
    tell(&f, SURVEY_COORDINATOR, f.core.link[0][SURVEY_COORDINATOR].number, 0);
    mono_t deadline;
    assert_true(survey_core_deadline(&f.core, &deadline));
    assert_int_equal(mono_since(deadline, f.now), 2 * MONO_SECOND);
    tick_after(&f, 2 * MONO_SECOND);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1); /* once more */
}

static void again(struct fixture *f) {
    step(f, (struct survey_event){.type = SURVEY_AGAIN});
}

static void test_a_link_that_failed_is_tried_when_a_plan_is_asked_for(void **state) {
    (void)state;
    struct fixture f = known(1);
    double latency, rate;
    join(&f, 1, true);
    want(&f, 1);
    assert_true(finish_probe(&f));
    fail_link(&f, 0, 1);
    assert_true(survey_core_done(&f.core)); /* nobody waits for it */
    again(&f);
    assert_int_equal(f.effects.count, 0); /* it is too soon */
    assert_false(survey_core_may_try_again(&f.core, f.now));
    for (int64_t pause = 10; pause < 1000; pause *= 2) { /* longer each time, but not for ever */
        tick_after(&f, MONO_SECOND * (pause > 300 ? 300 : pause));
        assert_int_equal(f.effects.count, 0); /* time alone changes nothing */
        assert_true(survey_core_may_try_again(&f.core, f.now));
        again(&f);
        assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1);
        assert_false(survey_core_done(&f.core)); /* who plans now waits for one attempt */
        fail_link(&f, 0, 1);
        assert_int_equal(count_of(&f, SURVEY_START_PROBE), 0);
        tick_after(&f, 9 * MONO_SECOND);
        assert_false(survey_core_may_try_again(&f.core, f.now));
    }
    tick_after(&f, 300 * MONO_SECOND);
    again(&f);
    assert_true(finish_probe(&f)); /* it is healed */
    assert_true(survey_core_done(&f.core));
    survey_core_way(&f.core, 0, 1, &latency, &rate);
    assert_true(latency == 0.001 && rate == 1);
}

static void test_a_board_out_of_reach_is_not_tried_with_all(void **state) {
    (void)state;
    struct fixture f = known(5);
    join(&f, 5, true);
    want(&f, 5);
    fail_link(&f, 5, SURVEY_COORDINATOR);
    assert_false(survey_core_out_of_reach(&f.core, 5)); /* others may reach it */
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1);
    tell(&f, 0, f.core.link[0][5].number, 0);
    tell(&f, 5, f.core.link[0][5].number, 0);
    assert_int_equal(f.core.link[0][5].state, SURVEY_FAILED); /* one attempt is enough */
    assert_true(survey_core_out_of_reach(&f.core, 5));
    assert_false(survey_core_out_of_reach(&f.core, 0));
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 0);
    assert_true(survey_core_done(&f.core));
    struct survey_progress progress = survey_core_progress(&f.core);
    assert_int_equal(progress.links, progress.probed);
    tick_after(&f, 10 * MONO_SECOND);
    again(&f);
    unsigned probes = 0;
    while (finish_probe(&f)) /* reached now: all that was left out is made good */
        probes++;
    assert_int_equal(probes, 6);
    assert_true(survey_core_done(&f.core));
}

static void test_a_board_that_the_coordinator_does_not_reach_but_others_do(void **state) {
    (void)state;
    struct fixture f = known(3);
    join(&f, 3, true);
    want(&f, 3);
    fail_link(&f, 3, SURVEY_COORDINATOR);
    unsigned probes = 0;
    while (finish_probe(&f))
        probes++;
    assert_int_equal(probes, 3);
    assert_false(survey_core_out_of_reach(&f.core, 3));
    assert_true(survey_core_done(&f.core));
}

static void test_a_board_that_dies_of_its_profile_is_not_waited_for(void **state) {
    (void)state;
    struct fixture f = start(1);
    want(&f, 0);
    for (unsigned death = 1; death <= 3; death++) {
        assert_int_equal(f.core.board[0].profile, SURVEY_ASKED);
        step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 0});
        join(&f, 0, false); /* it is back at once */
        tick_after(&f, MONO_SECOND);
        want(&f, 0);
    }
    assert_int_equal(f.core.board[0].profile, SURVEY_FAILED);
    while (finish_probe(&f)) {
    }
    assert_true(survey_core_done(&f.core));
    tick_after(&f, 10 * MONO_SECOND);
    again(&f);
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1); /* the way back */
    profiled(&f, 0, true);
    assert_int_equal(f.core.board[0].profile, SURVEY_KNOWN);
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 0});
    join(&f, 0, false);
    want(&f, 0);
    assert_int_equal(f.core.board[0].profile, SURVEY_ASKED); /* nothing is held against it any more */
}

static void test_deaths_are_not_held_against_another_board(void **state) {
    (void)state;
    struct fixture f = start(1);
    for (unsigned death = 1; death <= 3; death++) {
        want(&f, 0);
        step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 0});
        join(&f, 0, false);
        tick_after(&f, MONO_SECOND);
    }
    assert_int_equal(f.core.board[0].profile, SURVEY_FAILED);
    step(&f, (struct survey_event){.type = SURVEY_JOINED, .board = 0, .stranger = true});
    want(&f, 0);
    assert_int_equal(f.core.board[0].profile, SURVEY_ASKED);
}

static void refuse_busy(struct fixture *f, unsigned board) {
    step(f, (struct survey_event){
                .type = SURVEY_PROFILED, .board = board, .number = f->core.board[board].number, .busy = true});
}

static void test_a_busy_board_is_asked_later(void **state) {
    (void)state;
    struct fixture f = start(1);
    want(&f, 0);
    for (unsigned refusals = 0; refusals < 5; refusals++) {
        mono_t deadline;
        refuse_busy(&f, 0);
        assert_int_equal(f.core.board[0].profile, SURVEY_UNKNOWN);
        while (finish_probe(&f)) {
        }
        assert_true(survey_core_deadline(&f.core, &deadline));
        tick_after(&f, mono_since(deadline, f.now));
        assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
    }
    assert_int_equal(mono_since(f.now, (mono_t){MONO_SECOND}) / MONO_SECOND, 1 + 2 + 4 + 8 + 8);
    assert_int_equal(f.core.board[0].attempts, 0); /* none of them was a failure */
    refuse_busy(&f, 0);
    assert_int_equal(f.core.board[0].profile, SURVEY_FAILED); /* it is not waited for any longer */
    assert_true(survey_core_done(&f.core));
    tick_after(&f, 10 * MONO_SECOND);
    again(&f);
    profiled(&f, 0, true);
    assert_int_equal(f.core.board[0].profile, SURVEY_KNOWN);
}

static void test_a_newcomer_is_reached_then_profiled(void **state) {
    (void)state;
    struct fixture f = known(2);
    step(&f, (struct survey_event){.type = SURVEY_HOLD, .ok = true});
    join(&f, 2, false);
    newcomer(&f, 2);
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 0);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1); /* though a pipeline serves: it has no part in that */
    assert_true(f.effects.effect[0].brief && f.effects.effect[0].other == SURVEY_COORDINATOR);
    assert_true(survey_core_done(&f.core)); /* nobody waits */
    assert_true(finish_probe(&f));
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
    assert_false(survey_core_newcomer_done(&f.core, 2));
    profiled(&f, 2, true);
    assert_true(survey_core_newcomer_done(&f.core, 2));
    double latency, rate;
    survey_core_way(&f.core, 2, SURVEY_COORDINATOR, &latency, &rate);
    assert_true(rate == 0); /* that it is reached is no measurement */
    step(&f, (struct survey_event){.type = SURVEY_HOLD, .ok = false});
    want(&f, 2);
    unsigned probes = 0;
    while (finish_probe(&f))
        probes++;
    assert_int_equal(probes, 3);
    survey_core_way(&f.core, 2, SURVEY_COORDINATOR, &latency, &rate);
    assert_true(rate > 0);
}

static void test_a_newcomer_out_of_reach_stays_outside(void **state) {
    (void)state;
    struct fixture f = known(2);
    step(&f, (struct survey_event){.type = SURVEY_HOLD, .ok = true});
    join(&f, 2, false);
    newcomer(&f, 2);
    fail_link(&f, 2, SURVEY_COORDINATOR);
    assert_true(survey_core_out_of_reach(&f.core, 2));
    assert_int_equal(mono_since(survey_core_again_at(&f.core, 2), f.now), 10 * MONO_SECOND);
    newcomer(&f, 2);
    again(&f);
    assert_int_equal(f.effects.count, 0);
    tick_after(&f, 10 * MONO_SECOND);
    newcomer(&f, 2);
    assert_int_equal(count_of(&f, SURVEY_START_PROBE), 1);
    assert_true(finish_probe(&f));
    assert_int_equal(count_of(&f, SURVEY_ASK_PROFILE), 1);
}

static void test_no_link_waits_for_the_profile_of_a_newcomer(void **state) {
    (void)state;
    struct fixture f = known(2);
    join(&f, 2, false);
    newcomer(&f, 2);
    assert_true(finish_probe(&f));
    assert_int_equal(f.core.board[2].profile, SURVEY_ASKED);
    join(&f, 1, true); /* started anew; a plan is asked for, with it and without the newcomer */
    want(&f, 1);
    while (finish_probe(&f)) {
    }
    assert_true(survey_core_done(&f.core));
    assert_int_equal(f.core.link[0][1].state, SURVEY_KNOWN);
    assert_int_equal(f.core.link[1][2].state, SURVEY_UNKNOWN);
}

static void test_sixteen_boards_take_few_rounds(void **state) {
    (void)state;
    struct fixture f = start(0);
    for (unsigned i = 0; i < 16; i++)
        join(&f, i, true);
    for (unsigned i = 0; i < 16; i++)
        want(&f, i);
    unsigned rounds = 0;
    for (; !survey_core_done(&f.core); rounds++) { /* all that are under way end together */
        uint64_t numbers[SURVEY_ENDS];
        unsigned lowers[SURVEY_ENDS], highers[SURVEY_ENDS], count = 0;
        for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
            for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
                if (f.core.link[lower][higher].state == SURVEY_ASKED) {
                    lowers[count] = lower;
                    highers[count] = higher;
                    numbers[count++] = f.core.link[lower][higher].number;
                }
        assert_true(count > 0);
        for (unsigned i = 0; i < count; i++) {
            tell(&f, lowers[i], numbers[i], 1);
            tell(&f, highers[i], numbers[i], 1);
        }
    }
    assert_true(rounds <= 40); /* 17 would be the least */
}

/* ---- random histories ---- */

static unsigned roll(uint64_t *random, unsigned sides) {
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(*random >> 33) % sides;
}

static void random_step(struct fixture *f, uint64_t *random, unsigned boards) {
    unsigned board = roll(random, boards), end = roll(random, 6) ? board : SURVEY_COORDINATOR;
    uint64_t number = f->core.number - roll(random, 8);
    switch (roll(random, 8)) {
    case 0:
        join(f, board, roll(random, 2));
        break;
    case 1:
        if (roll(random, 4) == 0)
            step(f, (struct survey_event){.type = SURVEY_HOLD, .ok = roll(random, 2)});
        else if (roll(random, 3) == 0)
            step(f, (struct survey_event){.type = SURVEY_GONE, .board = board});
        else
            again(f);
        break;
    case 2:
        if (roll(random, 3))
            want(f, board);
        else
            newcomer(f, board);
        break;
    case 3:
        if (roll(random, 3))
            profiled(f, board, roll(random, 3));
        else
            refuse_busy(f, board);
        break;
    case 4:
        tick_after(f, roll(random, 4) ? MONO_SECOND / 3 : 20 * MONO_SECOND);
        break;
    case 5:
        tell(f, end, number, roll(random, 4) ? 9 : 0);
        break;
    default:
        finish_probe(f);
        break;
    }
}

/* Left alone, with ends that answer, every survey ends. */
static void calm_down(struct fixture *f, unsigned boards) {
    step(f, (struct survey_event){.type = SURVEY_HOLD, .ok = false});
    f->now = mono_after(f->now, 300 * MONO_SECOND);
    again(f);
    for (unsigned turns = 0; !survey_core_done(&f->core); turns++) {
        assert_true(turns < 1000);
        for (unsigned i = 0; i < boards; i++)
            if (f->core.board[i].profile == SURVEY_ASKED)
                profiled(f, i, true);
        while (finish_probe(f)) {
        }
        tick_after(f, MONO_SECOND);
    }
    struct survey_progress progress = survey_core_progress(&f->core);
    assert_int_equal(progress.boards, progress.profiled);
    assert_int_equal(progress.links, progress.probed);
    for (unsigned i = 0; i < boards; i++)
        assert_true(!f->core.board[i].wanted || f->core.board[i].profile == SURVEY_KNOWN);
}

static void test_random_histories(void **state) {
    (void)state;
    const char *only = getenv("SURVEY_SEED");
    for (uint64_t seed = 1; seed <= (only ? 1 : 200); seed++) {
        uint64_t random = only ? strtoull(only, NULL, 10) : seed;
        struct fixture *f = malloc(sizeof *f);
        *f = start(0);
        unsigned boards = 1 + roll(&random, 9);
        for (unsigned i = 0; i < 400; i++)
            random_step(f, &random, boards);
        calm_down(f, boards);
        free(f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_profiles_first_then_disjoint_pairs),
        cmocka_unit_test(test_what_is_known_is_not_measured_again),
        cmocka_unit_test(test_a_plan_waits_for_its_boards_only),
        cmocka_unit_test(test_a_board_goes_while_it_is_profiled),
        cmocka_unit_test(test_a_board_goes_while_it_is_probed),
        cmocka_unit_test(test_a_newcomer_is_profiled_between_probes),
        cmocka_unit_test(test_a_refused_profile_is_asked_for_again),
        cmocka_unit_test(test_a_pair_that_does_not_answer_fails_alone),
        cmocka_unit_test(test_no_probe_begins_while_held),
        cmocka_unit_test(test_a_failure_is_not_waited_for_twice),
        cmocka_unit_test(test_a_link_that_failed_is_tried_when_a_plan_is_asked_for),
        cmocka_unit_test(test_a_board_out_of_reach_is_not_tried_with_all),
        cmocka_unit_test(test_a_board_that_the_coordinator_does_not_reach_but_others_do),
        cmocka_unit_test(test_a_board_that_dies_of_its_profile_is_not_waited_for),
        cmocka_unit_test(test_deaths_are_not_held_against_another_board),
        cmocka_unit_test(test_a_busy_board_is_asked_later),
        cmocka_unit_test(test_a_newcomer_is_reached_then_profiled),
        cmocka_unit_test(test_a_newcomer_out_of_reach_stays_outside),
        cmocka_unit_test(test_no_link_waits_for_the_profile_of_a_newcomer),
        cmocka_unit_test(test_sixteen_boards_take_few_rounds),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
