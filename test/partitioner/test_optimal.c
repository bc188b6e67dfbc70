/* The exact solver against everything that can be tried on small fleets, and against an independent feasibility check
 * on larger ones. A failure prints the seed; every fleet is made from its seed alone. */
#include "partitioner/candidates.h"
#include "test/partitioner/brute_force.h"
#include "test/partitioner/fleets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

/* Processor time: what else the machine does must not fail a test. */
static double seconds_now(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool close_to(double left, double right) {
    return left == right || fabs(left - right) <= 3e-9 * fmax(fabs(left), fabs(right));
}

/* ---- small fleets ---- */

/* A time, often one of few values so that ties are common, sometimes 0. */
static double some_seconds(struct dice *dice, bool ties) {
    if (ties)
        return dice_below(dice, 4);
    return dice_below(dice, 20) == 0 ? 0 : dice_between(dice, 0.1, 2);
}

static void make_links(struct made_fleet *made, struct dice *dice, bool ties, double low, double high) {
    unsigned ends = made->problem.boards + 1;
    for (unsigned link = 0; link < ends * ends; link++) {
        unsigned kind = dice_below(dice, 25);
        made->bandwidth[link] = kind == 0   ? 0
                                : kind == 1 ? INFINITY
                                : ties      ? 1 << dice_below(dice, 3)
                                            : dice_between(dice, low, high);
        made->latency[link] = ties || dice_below(dice, 2) ? 0 : dice_between(dice, 0, 0.3);
    }
}

/* Nobody's processors handle payloads, or some boards' do, of which many bytes then make a slice too long. */
static void make_handling(struct made_fleet *made, struct dice *dice, bool ties, double low, double high) {
    for (unsigned board = 0; board < made->problem.boards; board++)
        made->handling[board] = dice_below(dice, 3) == 0 ? INFINITY
                                : ties                   ? 1 << dice_below(dice, 4)
                                                         : dice_between(dice, low, high);
    if (dice_below(dice, 2))
        made->problem.handling = NULL;
}

/* Now and then neighbours have the same weights, as the parts of an MLP. */
static void make_same_weights(struct made_fleet *made, struct dice *dice) {
    if (dice_below(dice, 2))
        return;
    for (unsigned unit = 1; unit < made->problem.units; unit++) {
        made->same_weights[unit] = dice_below(dice, 2);
        if (made->same_weights[unit])
            made->weight_bytes[unit] = made->weight_bytes[unit - 1];
    }
}

static void make_small(struct made_fleet *made, struct dice *dice) {
    unsigned boards = 1 + dice_below(dice, 5), units = 1 + dice_below(dice, 10);
    bool ties = dice_below(dice, 3) == 0, tight = dice_below(dice, 2);
    made_fleet_init(made, boards, units);
    made->problem.half_duplex = dice_below(dice, 2);
    made->problem.input_slots = dice_below(dice, 4);
    made->problem.output_slots = dice_below(dice, 3);
    made->problem.process_bytes = dice_below(dice, 6);
    made->problem.source_slots_spared = made->problem.input_slots ? dice_below(dice, made->problem.input_slots + 1) : 0;
    for (unsigned unit = 0; unit < units; unit++)
        made->weight_bytes[unit] = dice_below(dice, 20);
    bool alike = dice_below(dice, 2); /* the same needs on every board */
    for (unsigned at = 0; at < boards * units; at++)
        made->workspace_bytes[at] = alike && at >= units ? made->workspace_bytes[at - units] : dice_below(dice, 6);
    for (unsigned cut = 0; cut <= units; cut++)
        made->payload_bytes[cut] = ties ? dice_below(dice, 3) : dice_below(dice, 8);
    for (unsigned end = 1 + dice_below(dice, 2 * units); end <= units; end++)
        made->first_workspace_bytes[end] = made->first_workspace_bytes[end - 1] + dice_below(dice, 8);
    for (unsigned board = 0; board < boards; board++) {
        made->memory_bytes[board] = tight ? 10 + dice_below(dice, 60) : 1000;
        for (unsigned unit = 0; unit < units; unit++)
            made->unit_seconds[board * units + unit] = some_seconds(dice, ties);
    }
    double slow = dice_below(dice, 2) ? 0.5 : 5;
    make_links(made, dice, ties, slow, 8 * slow);
    make_handling(made, dice, ties, 1, 20 * slow);
    make_same_weights(made, dice);
}

/* Makes some boards like others, so that types have more than one board (or nearly: links may still tell them apart).
 */
static void make_twins(struct made_fleet *made, struct dice *dice) {
    unsigned boards = made->problem.boards, units = made->problem.units, ends = boards + 1;
    for (unsigned board = 1; board < boards; board++) {
        unsigned like = dice_below(dice, board);
        if (dice_below(dice, 3) == 0)
            continue;
        made->memory_bytes[board] = made->memory_bytes[like];
        memcpy(made->unit_seconds + board * units, made->unit_seconds + like * units, units * sizeof(double));
        made->handling[board] = dice_below(dice, 4) ? made->handling[like] : made->handling[board];
        for (unsigned other = 0; other < ends; other++) {
            made->bandwidth[board * ends + other] = made->bandwidth[like * ends + other];
            made->latency[board * ends + other] = made->latency[like * ends + other];
            made->bandwidth[other * ends + board] = made->bandwidth[other * ends + like];
            made->latency[other * ends + board] = made->latency[other * ends + like];
        }
        if (dice_below(dice, 2)) {
            double bandwidth = dice_between(dice, 0.5, 4);
            made->bandwidth[board * ends + like] = made->bandwidth[like * ends + board] = bandwidth;
            made->latency[board * ends + like] = made->latency[like * ends + board] = 0;
        }
    }
}

/* A plan in force: any boards, any slices, some of a board that is gone. */
static void make_beside(const struct problem *problem, struct dice *dice, struct plan *plan) {
    *plan = (struct plan){0};
    for (unsigned next = 0, board = 0; next < problem->units && board < problem->boards; board++) {
        if (dice_below(dice, 4) == 0)
            continue;
        unsigned end = next + 1 + dice_below(dice, problem->units - next);
        unsigned who = dice_below(dice, 5) == 0 ? PLAN_NO_BOARD : board;
        plan->stage[plan->stages++] = (struct plan_stage){.board = who, .first = next, .end = end};
        next = end;
    }
}

static void check_against_brute_force(uint64_t seed) {
    struct dice dice = {seed};
    struct made_fleet made;
    make_small(&made, &dice);
    if (dice_below(&dice, 3) == 0)
        make_twins(&made, &dice);
    struct brute best;
    struct plan plan, in_force;
    make_beside(&made.problem, &dice, &in_force);
    if (dice_below(&dice, 3) == 0)
        made.problem.beside = &in_force;
    struct error error = {0};
    bool exists = brute_force(&made.problem, &best);
    bool solved = plan_solve(&made.problem, "optimal", NULL, &plan, &error);
    bool good = exists == solved;
    if (!exists)
        good = good && error.code == ERROR_INFEASIBLE;
    else if (good)
        good = plan_check(&made.problem, &plan, &error) && plan.optimal && plan.latency_optimal &&
               close_to(plan.period_s, best.period) && close_to(plan.latency_s, best.latency) &&
               plan.stages == best.stages && plan.bound_s <= plan.period_s && close_to(plan.bound_s, best.period);
    if (!good)
        fail_msg(
            "seed %lu: %u boards, %u units: brute force %s %.12g s, %.12g s, %u boards; solver %s %.12g s, %.12g s, %u "
            "boards, bound %.12g, optimal %d %d; %s",
            (unsigned long)seed, made.problem.boards, made.problem.units, exists ? "found" : "found none:", best.period,
            best.latency, best.stages, solved ? "found" : "found none:", plan.period_s, plan.latency_s, plan.stages,
            plan.bound_s, plan.optimal, plan.latency_optimal, error.text);
    made_fleet_close(&made);
}

static void test_brute_force(void **state) {
    (void)state;
    const char *only = getenv("SEED");
    if (only) {
        check_against_brute_force(strtoull(only, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= 8000; seed++)
        check_against_brute_force(seed);
}

/* ---- candidates: every slice whose time lies between two, also where times do not grow with the slice ---- */

static bool listed(const struct candidates *candidates, double seconds) {
    for (size_t at = 0; at < candidates->count; at++)
        if (candidates->seconds[at] == seconds)
            return true;
    return false;
}

static void check_candidates(const struct fleet *fleet, double above, double below, uint64_t seed) {
    struct candidates candidates = {0};
    assert_true(candidates_between(&candidates, fleet, above, below, 100000));
    for (unsigned type = 0; type < fleet->types; type++)
        for (unsigned first = 0; first < fleet->units; first++)
            for (unsigned end = first + 1; end < fleet->cuts; end++) {
                double seconds = fleet_compute(fleet, type, first, end);
                bool wanted = seconds > above && seconds < below && bit_test(fleet_fits(fleet, type, first), end);
                if (wanted && !listed(&candidates, seconds))
                    fail_msg("seed %lu: units [%u, %u) of type %u take %g s, which is not listed", (unsigned long)seed,
                             first, end, type, seconds);
            }
    for (size_t at = 0; at < candidates.count; at++)
        assert_true(candidates.seconds[at] > above && candidates.seconds[at] < below);
    candidates_close(&candidates);
}

static void test_candidates(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct dice dice = {seed};
        struct made_fleet made;
        struct fleet fleet;
        make_small(&made, &dice);
        made.problem.handling = made.handling;
        for (unsigned cut = 0; cut <= made.problem.units; cut++) /* what crosses weighs more than what is computed */
            made.payload_bytes[cut] = dice_below(&dice, 30);
        fleet_init(&fleet, &made.problem, 1);
        double above = dice_between(&dice, 0, 10);
        check_candidates(&fleet, above, above + dice_between(&dice, 0, 10), seed);
        fleet_close(&fleet);
        made_fleet_close(&made);
    }
}

/* Two equal boards that have different parts of the same weights in the plan in force: of one type as long as those
 * parts take as much memory. */
static void test_types_with_parts(void **state) {
    (void)state;
    struct made_fleet made;
    struct fleet fleet;
    struct plan in_force = {.stages = 2,
                            .stage = {{.board = 0, .first = 1, .end = 2}, {.board = 1, .first = 2, .end = 4}}};
    made_fleet_init(&made, 2, 4);
    made.same_weights[2] = made.same_weights[3] = true;
    for (unsigned link = 0; link < 9; link++)
        made.bandwidth[link] = 1;
    made.problem.beside = &in_force;
    fleet_init(&fleet, &made.problem, 1);
    assert_int_equal(fleet.types, 1);
    fleet_close(&fleet);
    for (unsigned at = 0; at < 8; at++)
        made.workspace_bytes[at] = 3;
    fleet_init(&fleet, &made.problem, 1);
    assert_int_equal(fleet.types, 2);
    fleet_close(&fleet);
    made_fleet_close(&made);
}

/* ---- medium fleets: no plan of a period smaller by 1e-6 exists ---- */

static void make_medium(struct made_fleet *made, struct dice *dice, unsigned boards, unsigned units) {
    bool tight = dice_below(dice, 2), slow_links = dice_below(dice, 2);
    made_fleet_init(made, boards, units);
    made->problem.half_duplex = dice_below(dice, 3) == 0;
    made->problem.input_slots = made->problem.output_slots = 2;
    for (unsigned unit = 0; unit < units; unit++) {
        made->weight_bytes[unit] = 20 + dice_below(dice, 80);
    }
    for (unsigned at = 0; at < boards * units; at++)
        made->workspace_bytes[at] = dice_below(dice, 20);
    for (unsigned cut = 0; cut <= units; cut++)
        made->payload_bytes[cut] = 1 + dice_below(dice, 30);
    for (unsigned board = 0; board < boards; board++) {
        double speed = dice_between(dice, 1, 4);
        made->memory_bytes[board] = tight ? 60 * units / boards + dice_below(dice, 60 * units / boards + 150) : 100000;
        for (unsigned unit = 0; unit < units; unit++)
            made->unit_seconds[board * units + unit] = dice_between(dice, 0.5, 1.5) / speed;
    }
    make_links(made, dice, false, slow_links ? 5 : 50, slow_links ? 30 : 500);
    make_handling(made, dice, false, 10, 200);
    make_same_weights(made, dice);
}

static void test_certificate(void **state) {
    (void)state;
    unsigned solved = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct dice dice = {seed};
        struct made_fleet made;
        struct plan plan;
        struct error error;
        make_medium(&made, &dice, 6 + dice_below(&dice, 3), 16 + dice_below(&dice, 10));
        if (!plan_solve(&made.problem, "optimal", NULL, &plan, &error)) {
            if (brute_feasible(&made.problem, 1e6))
                fail_msg("seed %lu: %s, but there is a plan", (unsigned long)seed, error.text);
        } else {
            solved++;
            if (!plan_check(&made.problem, &plan, &error) || !plan.optimal || !plan.latency_optimal)
                fail_msg("seed %lu: %s", (unsigned long)seed, error.text);
            if (brute_feasible(&made.problem, plan.period_s * (1 - 1e-6)))
                fail_msg("seed %lu: a plan faster than %.12g s exists", (unsigned long)seed, plan.period_s);
            if (!brute_feasible(&made.problem, plan.period_s * (1 + 1e-9)))
                fail_msg("seed %lu: the check itself finds no plan of %.12g s", (unsigned long)seed, plan.period_s);
        }
        made_fleet_close(&made);
    }
    assert_true(solved > 60);
}

/* Models of more cuts than fit the few words for which reach.c has loops of its own. */
static void test_wide_models(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct dice dice = {seed};
        struct made_fleet made;
        struct plan plan;
        struct error error = {0};
        make_medium(&made, &dice, 5, 60 * (unsigned)seed);
        if (!plan_solve(&made.problem, "optimal", NULL, &plan, &error) || !plan_check(&made.problem, &plan, &error))
            fail_msg("seed %lu: %s", (unsigned long)seed, error.text);
        assert_true(plan.optimal && plan.latency_optimal);
        assert_false(brute_feasible(&made.problem, plan.period_s * (1 - 1e-6)));
        made_fleet_close(&made);
    }
}

/* ---- racks of ViT-Huge: every regime is solved and proven ---- */

static void test_racks(void **state) {
    (void)state;
    static const unsigned sizes[][2] = {{2, 2}, {8, 8}, {16, 16}, {16, 4}, {16, 1}, {64, 4}};
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++)
        for (enum regime regime = 0; regime < REGIMES; regime++) {
            struct made_fleet made;
            struct plan plan, even;
            struct error error = {0};
            made_fleet_rack(&made, regime, sizes[size][0], sizes[size][1], 7);
            if (!plan_solve(&made.problem, "optimal", NULL, &plan, &error) || !plan_check(&made.problem, &plan, &error))
                fail_msg("%s, %u boards: %s", regime_name[regime], sizes[size][0], error.text);
            assert_true(plan.optimal && plan.latency_optimal);
            assert_true(plan_solve(&made.problem, "even", NULL, &even, &error));
            assert_true(!plan_check(&made.problem, &even, &error) || plan.period_s <= even.period_s * (1 + 1e-12));
            made_fleet_close(&made);
        }
}

/* ---- limits ---- */

static double fast_clock_seconds;
static double fast_clock(void *context) {
    (void)context;
    return fast_clock_seconds += 0.001;
}

/* However little time there is, what comes back is a valid plan with a valid bound. */
static void test_time_limit(void **state) {
    (void)state;
    for (double limit = 0.002; limit < 2; limit *= 3) {
        struct made_fleet made;
        struct plan plan, exact;
        struct error error = {0};
        made_fleet_rack(&made, REGIME_MIXED, 12, 12, 3);
        struct policy_options options = {.clock = fast_clock, .time_limit_s = limit};
        assert_true(plan_solve(&made.problem, "optimal", NULL, &exact, &error));
        if (plan_solve(&made.problem, "optimal", &options, &plan, &error)) {
            assert_true(plan_check(&made.problem, &plan, &error));
            assert_true(plan.bound_s <= exact.period_s * (1 + 1e-9));
            assert_true(plan.bound_s <= plan.period_s);
            assert_true(exact.period_s <= plan.period_s * (1 + 1e-9));
            assert_true(!plan.optimal || close_to(plan.period_s, exact.period_s));
            assert_true(!plan.latency_optimal || close_to(plan.latency_s, exact.latency_s));
        } else {
            assert_int_equal(error.code, ERROR_INFEASIBLE);
        }
        made_fleet_close(&made);
    }
}

static void test_many_boards_in_time(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    struct error error = {0};
    made_fleet_rack(&made, REGIME_COMPUTE, 64, 64, 1);
    struct policy_options options = {.clock = seconds_now, .time_limit_s = 1};
    assert_true(plan_solve(&made.problem, "optimal", &options, &plan, &error));
    assert_true(plan_check(&made.problem, &plan, &error));
    assert_true(plan.period_s <= 1.05 * plan.bound_s);
    made_fleet_close(&made);
}

/* ---- fleets without a plan, and the reasons given ---- */

static void expect_reason(struct made_fleet *made, const char *words) {
    struct plan plan;
    struct error error = {0};
    assert_false(plan_solve(&made->problem, "optimal", NULL, &plan, &error));
    assert_int_equal(error.code, ERROR_INFEASIBLE);
    if (!strstr(error.text, words))
        fail_msg("got \"%s\", want \"%s\"", error.text, words);
    made_fleet_close(made);
}

static void test_reasons(void **state) {
    (void)state;
    struct made_fleet made;
    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    made.weight_bytes[13] = UINT64_C(9) << 30; /* attention of block 2 */
    expect_reason(
        &made, "unit 13 fits no board: with buffers and process it needs 9302.6 MiB; the nearest to that, a board, has "
               "8192.0 MiB: 1110.6 MiB are missing");
    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    const char *units[PARTITIONER_UNITS_MAX];
    for (unsigned unit = 0; unit < made.problem.units; unit++)
        units[unit] = unit == 13 ? "block 2.1" : "another";
    made.problem.unit_names = units;
    made.weight_bytes[13] = UINT64_C(9) << 30; /* attention of block 2 */
    expect_reason(&made, "unit 13 (block 2.1) fits no board");
    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    for (unsigned board = 0; board < 4; board++)
        made.memory_bytes[board] = made.payload_bytes[0] / 2;
    expect_reason(&made, "unit 7 fits no board: with buffers and process it needs 105.3 MiB; the nearest to that, a "
                         "board, has 2.3 MiB: ");

    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    for (unsigned board = 0; board < 4; board++)
        made.memory_bytes[board] = UINT64_C(500) << 20;
    expect_reason(&made, "of memory: 411.0 MiB are missing");

    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    for (unsigned board = 0; board < 4; board++)
        made.memory_bytes[board] = UINT64_C(650) << 20;
    expect_reason(&made, "more memory on each");

    made_fleet_rack(&made, REGIME_COMPUTE, 4, 4, 1);
    for (unsigned board = 0; board < 4; board++)
        made.bandwidth[board * 5 + 4] = 0;
    expect_reason(&made, "no chain of links");
}

static double ticks(void *context) {
    return ++*(unsigned *)context;
}

/* However short the time is, what is said is true: no number, or one that is enough and not beyond reason. */
static void test_reasons_in_little_time(void **state) {
    (void)state;
    unsigned told = 0, untold = 0;
    for (unsigned limit = 1; limit < 1000000; limit += 1 + limit / 2) {
        struct made_fleet made;
        struct plan plan;
        struct error error = {0};
        unsigned ticked = 0;
        const struct policy_options options = {.time_limit_s = limit, .clock = ticks, .clock_context = &ticked};
        made_fleet_rack(&made, REGIME_MIXED, 12, 12, 3);
        for (unsigned board = 0; board < 12; board++)
            made.memory_bytes[board] = (UINT64_C(207) + board % 4) << 20;
        assert_false(plan_solve(&made.problem, "optimal", &options, &plan, &error));
        const char *more = strstr(error.text, "a plan would need ");
        told += more != NULL;
        untold += more == NULL;
        if (more) {
            double percent = strtod(strpbrk(more, "0123456789"), NULL);
            assert_true(percent > 0 && percent <= 100);
        }
        made_fleet_close(&made);
    }
    assert_true(told > 0 && untold > 0);
}

/* A unit that cannot run somewhere is often written as a huge time: the digits of its neighbours must survive. */
static void test_huge_times(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    struct error error = {0};
    made_fleet_init(&made, 2, 4);
    static const double seconds[8] = {1e12, 1e12, 1e-4, 3e-4, 2e-4, 1e-4, 1e12, 1e12};
    memcpy(made.unit_seconds, seconds, sizeof seconds);
    for (unsigned link = 0; link < 9; link++)
        made.bandwidth[link] = INFINITY;
    assert_true(plan_solve(&made.problem, "optimal", NULL, &plan, &error));
    assert_true(plan_check(&made.problem, &plan, &error));
    assert_true(close_to(plan.period_s, 4e-4));
    assert_true(close_to(plan.latency_s, 7e-4));
    assert_int_equal(plan.stage[0].board, 1);
    made_fleet_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_candidates),       cmocka_unit_test(test_brute_force),
        cmocka_unit_test(test_certificate),      cmocka_unit_test(test_racks),
        cmocka_unit_test(test_time_limit),       cmocka_unit_test(test_many_boards_in_time),
        cmocka_unit_test(test_reasons),          cmocka_unit_test(test_reasons_in_little_time),
        cmocka_unit_test(test_huge_times),       cmocka_unit_test(test_wide_models),
        cmocka_unit_test(test_types_with_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
