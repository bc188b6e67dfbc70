/* The simple policies, pricing, and plan_check, which must see through every kind of wrong plan. */
#include "partitioner/price.h"
#include "test/partitioner/fleets.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Two boards (1 s and 2 s a unit), four units, payloads of 10 bytes at 10 bytes/s, a latency of 0.5 s everywhere. */
static void make_two(struct made_fleet *made) {
    made_fleet_init(made, 2, 4);
    for (unsigned unit = 0; unit < 4; unit++) {
        made->unit_seconds[unit] = 1;
        made->unit_seconds[4 + unit] = 2;
        made->weight_bytes[unit] = 100;
        made->workspace_bytes[unit] = unit;
        made->workspace_bytes[4 + unit] = 2 * unit;
    }
    for (unsigned cut = 0; cut <= 4; cut++)
        made->payload_bytes[cut] = 10;
    for (unsigned link = 0; link < 9; link++) {
        made->bandwidth[link] = 10;
        made->latency[link] = 0.5;
    }
    made->memory_bytes[0] = made->memory_bytes[1] = 1000;
    made->problem.input_slots = 2;
    made->problem.output_slots = 3;
}

static void assert_seconds(double got, double want) {
    if (!(fabs(got - want) <= 1e-12 * fabs(want)))
        fail_msg("got %.17g, want %.17g", got, want);
}

static bool solve(const struct made_fleet *made, const char *policy, const struct policy_options *options,
                  struct plan *plan) {
    struct error error = {0};
    if (!plan_solve(&made->problem, policy, options, plan, &error))
        return false;
    if (!plan_check(&made->problem, plan, &error))
        fail_msg("%s: %s", policy, error.text);
    return true;
}

/* Where the wire takes as long as computing, as many microbatches are on it as are computed. */
static void test_in_flight(void **state) {
    (void)state;
    static const struct {
        double period_s, latency_s;
        unsigned flights;
    } cases[] = {{0, 0, 6},     {0, 7, 6},  {1, 0.5, 6},          {1, 2, 6}, {1, 2.0001, 7}, {1, 2 + 1e-9, 6},
                 {0.1, 0.4, 8}, {2, 10, 9}, {1e-9, 1e9, UINT_MAX}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plan plan = {.stages = 2, .period_s = cases[i].period_s, .latency_s = cases[i].latency_s};
        assert_int_equal(plan_in_flight(&plan), cases[i].flights);
    }
}

/* Both ends of a slice cost its processors. */
static void test_handling(void **state) {
    (void)state;
    struct made_fleet made;
    make_two(&made);
    struct plan plan = {.stages = 2, .stage = {{.board = 0, .end = 2}, {.board = 1, .first = 2, .end = 4}}};
    made.payload_bytes[0] = 6;
    made.handling[0] = 4;
    plan_cost(&made.problem, &plan);
    assert_seconds(plan.stage[0].handling_s, (6 + 10) / 4.0);
    assert_seconds(plan.stage[0].compute_s, 2 + 4);
    assert_true(plan.stage[1].handling_s == 0);
    assert_seconds(plan.stage[1].compute_s, 4);
    made_fleet_close(&made);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal(policy_name(0), "optimal");
    assert_string_equal(policy_name(1), "pipedream");
    assert_string_equal(policy_name(2), "even");
    assert_string_equal(policy_name(3), "manual");
    assert_null(policy_name(4));
    struct made_fleet made;
    struct plan plan;
    struct error error = {0};
    make_two(&made);
    assert_false(plan_solve(&made.problem, "best", NULL, &plan, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    made_fleet_close(&made);
}

static void test_prices(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    make_two(&made);
    unsigned cuts[] = {3};
    struct policy_options options = {.cuts = cuts, .cut_count = 1};
    assert_true(solve(&made, "manual", &options, &plan));
    assert_int_equal(plan.stages, 2);
    assert_seconds(plan.stage[0].compute_s, 3);
    assert_seconds(plan.stage[0].receive_s, 1.5);
    assert_seconds(plan.stage[1].send_s, 1.5);
    assert_seconds(plan.period_s, 3);
    assert_seconds(plan.latency_s, 1.5 + 3 + 1.5 + 2 + 1.5);
    assert_seconds(plan.throughput, 8.0 / 3);
    assert_int_equal(plan.stage[0].memory_bytes, 300 + 2 + 20 + 30);
    made.problem.source_slots_spared = 1;
    assert_int_equal(plan_slice_memory(&made.problem, 0, 0, 3), 300 + 2 + 10 + 30);
    assert_int_equal(plan_slice_memory(&made.problem, 1, 3, 4), 100 + 6 + 20 + 30);
    made.problem.process_bytes = 7;
    assert_int_equal(plan_slice_memory(&made.problem, 1, 3, 4), 7 + 100 + 6 + 20 + 30);
    made_fleet_close(&made);
}

static void test_half_duplex_price(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    make_two(&made);
    made.problem.half_duplex = true;
    made.payload_bytes[2] = 90;
    unsigned cuts[] = {2};
    struct policy_options options = {.cuts = cuts, .cut_count = 1};
    assert_true(solve(&made, "manual", &options, &plan));
    assert_seconds(plan.period_s, 1.5 + 9.5);
    made_fleet_close(&made);
}

static void test_manual_refuses(void **state) {
    (void)state;
    static const struct { unsigned cuts[2], count; } wrong[] = {{{0}, 1}, {{4}, 1}, {{5}, 1}, {{1, 2}, 2}};
    struct made_fleet made;
    make_two(&made);
    for (size_t at = 0; at < sizeof wrong / sizeof wrong[0]; at++) {
        struct policy_options options = {.cuts = wrong[at].cuts, .cut_count = wrong[at].count};
        struct plan plan;
        struct error error = {0};
        assert_false(plan_solve(&made.problem, "manual", &options, &plan, &error));
        assert_int_equal(error.code, ERROR_USAGE);
    }
    made_fleet_close(&made);
}

static void test_even(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    make_two(&made);
    assert_true(solve(&made, "even", NULL, &plan));
    assert_int_equal(plan.stages, 2);
    assert_int_equal(plan.stage[0].end, 2);
    made.unit_seconds[0] = made.unit_seconds[4] = 6; /* now the first unit weighs as much as the others together */
    assert_true(solve(&made, "even", NULL, &plan));
    assert_int_equal(plan.stage[0].end, 1);
    struct policy_options options = {.stages = 1};
    assert_true(solve(&made, "even", &options, &plan));
    assert_int_equal(plan.stages, 1);
    options.stages = 3;
    assert_false(solve(&made, "even", &options, &plan));
    made_fleet_close(&made);
}

/* The largest slice of `even` is the smallest possible: against all ways to cut. */
static void test_even_is_minimal(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct dice dice = {seed};
        struct made_fleet made;
        struct plan plan;
        unsigned units = 3 + dice_below(&dice, 8);
        made_fleet_init(&made, 3, units);
        for (unsigned unit = 0; unit < units; unit++)
            for (unsigned board = 0; board < 3; board++)
                made.unit_seconds[board * units + unit] = dice_below(&dice, 5);
        for (unsigned link = 0; link < 16; link++)
            made.bandwidth[link] = INFINITY;
        assert_true(solve(&made, "even", NULL, &plan));
        double best = INFINITY, got = 0, sums[16] = {0};
        for (unsigned unit = 0; unit < units; unit++)
            sums[unit + 1] = sums[unit] + made.unit_seconds[unit] + made.unit_seconds[units + unit] +
                             made.unit_seconds[2 * units + unit];
        for (unsigned left = 1; left < units - 1; left++)
            for (unsigned right = left + 1; right < units; right++)
                best = fmin(best, fmax(sums[left], fmax(sums[right] - sums[left], sums[units] - sums[right])));
        for (unsigned stage = 0; stage < 3; stage++)
            got = fmax(got, sums[plan.stage[stage].end] - sums[plan.stage[stage].first]);
        assert_true(fabs(got - best) < 1e-9);
        made_fleet_close(&made);
    }
}

/* PipeDream cuts where little is sent, and does not use boards that do not help. */
static void test_pipedream(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    make_two(&made);
    made.payload_bytes[2] = 1000;
    assert_true(solve(&made, "pipedream", NULL, &plan));
    assert_int_equal(plan.stages, 2);
    assert_true(plan.stage[0].end == 1 || plan.stage[0].end == 3);
    made.payload_bytes[1] = made.payload_bytes[3] = 1000;
    assert_true(solve(&made, "pipedream", NULL, &plan));
    assert_int_equal(plan.stages, 1);
    made_fleet_close(&made);
}

static void test_bad_problems(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 10; kind++) {
        struct made_fleet made;
        struct plan plan;
        struct error error = {0};
        make_two(&made);
        double *wrong[] = {&made.unit_seconds[5], &made.unit_seconds[5], &made.bandwidth[1],
                           &made.latency[2],      &made.handling[0],     &made.handling[1]};
        static const double values[] = {-1, NAN, NAN, -0.1, 1e-303, NAN};
        if (kind < 6)
            *wrong[kind] = values[kind];
        else if (kind == 6)
            made.problem.boards = 0;
        else if (kind == 7)
            made.same_weights[0] = true;
        else if (kind == 8)
            made.same_weights[2] = true, made.weight_bytes[2]++;
        else
            made.problem.units = PARTITIONER_UNITS_MAX + 1;
        assert_false(plan_solve(&made.problem, "optimal", NULL, &plan, &error));
        assert_int_equal(error.code, ERROR_INPUT);
        made_fleet_close(&made);
    }
}

/* ---- plan_check ---- */

static void change_first_gap(struct plan *plan) {
    plan->stage[1].first++;
}
static void change_empty(struct plan *plan) {
    plan->stage[0].end = plan->stage[1].first = 0;
}
static void change_short(struct plan *plan) {
    plan->stage[1].end--;
}
static void change_long(struct plan *plan) {
    plan->stage[1].end++;
}
static void change_same_board(struct plan *plan) {
    plan->stage[1].board = plan->stage[0].board;
}
static void change_no_board(struct plan *plan) {
    plan->stage[1].board = 2;
}
static void change_no_stage(struct plan *plan) {
    plan->stages = 0;
}
static void change_many_stages(struct plan *plan) {
    plan->stages = 3;
}
static void change_period(struct plan *plan) {
    plan->period_s *= 1 - 1e-6;
}
static void change_latency(struct plan *plan) {
    plan->latency_s *= 1 + 1e-6;
}
static void change_throughput(struct plan *plan) {
    plan->throughput *= 1.01;
}
static void change_compute(struct plan *plan) {
    plan->stage[0].compute_s = NAN;
}
static void change_send(struct plan *plan) {
    plan->stage[0].send_s = 0;
}
static void change_memory(struct plan *plan) {
    plan->stage[0].memory_bytes--;
}
static void change_bound(struct plan *plan) {
    plan->bound_s = plan->period_s * 1.001;
}

static void test_check_rejects(void **state) {
    (void)state;
    void (*const changes[])(struct plan *) = {
        change_first_gap, change_empty,      change_short,  change_long,    change_same_board,
        change_no_board,  change_no_stage,   change_period, change_latency, change_many_stages,
        change_compute,   change_throughput, change_send,   change_memory,  change_bound,
    };
    struct made_fleet made;
    struct plan plan;
    make_two(&made);
    unsigned cuts[] = {2};
    struct policy_options options = {.cuts = cuts, .cut_count = 1};
    assert_true(solve(&made, "manual", &options, &plan));
    for (size_t at = 0; at < sizeof changes / sizeof changes[0]; at++) {
        struct plan changed = plan;
        struct error error = {0};
        changes[at](&changed);
        if (plan_check(&made.problem, &changed, &error))
            fail_msg("change %zu was not noticed", at);
        assert_int_equal(error.code, ERROR_INPUT);
    }
    made_fleet_close(&made);
}

static void test_check_limits(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    struct error error = {0};
    make_two(&made);
    made.memory_bytes[1] = 200;
    assert_true(plan_solve(&made.problem, "even", NULL, &plan, &error));
    assert_false(plan_check(&made.problem, &plan, &error));
    assert_int_equal(error.code, ERROR_INFEASIBLE);
    assert_non_null(strstr(error.text, "stage 1"));
    made.memory_bytes[1] = 1000;
    made.bandwidth[0 * 3 + 1] = 0;
    assert_true(plan_solve(&made.problem, "even", NULL, &plan, &error));
    assert_false(plan_check(&made.problem, &plan, &error));
    assert_int_equal(error.code, ERROR_INFEASIBLE);
    made_fleet_close(&made);
}

/* Sizes that overflow when multiplied or summed must never look small. */
static void test_huge_sizes(void **state) {
    (void)state;
    struct made_fleet made;
    make_two(&made);
    made.payload_bytes[0] = UINT64_MAX / 2 + 1;
    assert_true(plan_slice_memory(&made.problem, 0, 0, 4) == UINT64_MAX);
    made.weight_bytes[1] = UINT64_MAX - 5;
    assert_true(plan_slice_memory(&made.problem, 0, 1, 3) == UINT64_MAX);
    made.problem.process_bytes = 7;
    struct plan in_force = {.stages = 1, .stage = {{.board = 0, .first = 1, .end = 3}}};
    made.problem.beside = &in_force;
    assert_true(plan_board_memory(&made.problem, 0, 1, 3) == UINT64_MAX);
    assert_true(plan_board_memory(&made.problem, 0, 0, 4) == UINT64_MAX);
    made_fleet_close(&made);
}

/* Units 1 to 3 have the same weights: a slice with any of them holds those once, with several the scratch of all. */
static void test_same_weights(void **state) {
    (void)state;
    struct made_fleet made;
    make_two(&made);
    const uint64_t slots = 5 * 10, *workspace = made.workspace_bytes;
    made.same_weights[2] = made.same_weights[3] = true;
    assert_int_equal(plan_slice_memory(&made.problem, 0, 1, 2), slots + 100 + workspace[1]);
    assert_int_equal(plan_slice_memory(&made.problem, 0, 2, 4), slots + 100 + workspace[2] + workspace[3]);
    assert_int_equal(plan_slice_memory(&made.problem, 0, 0, 4),
                     slots + 200 + workspace[1] + workspace[2] + workspace[3]);
    struct plan in_force = {.stages = 1, .stage = {{.board = 0, .first = 0, .end = 2}}};
    made.problem.beside = &in_force; /* unit 3 computes with what unit 1 has there; the slots are there twice */
    assert_int_equal(plan_board_memory(&made.problem, 0, 3, 4), 2 * slots + 200 + workspace[1] + workspace[3]);
    in_force.stage[0] = (struct plan_stage){.board = 0, .first = 3, .end = 4};
    assert_int_equal(plan_board_memory(&made.problem, 0, 0, 2), 2 * slots + 200 + workspace[1] + workspace[3]);
    made.problem.beside = NULL;
    const struct plan to = {.stages = 2,
                            .stage = {{.board = 1, .first = 0, .end = 2}, {.board = 0, .first = 2, .end = 4}}};
    made.unit_seconds[1] = 5; /* board 0 reads the weights in 4 s, which it pays wherever its slice begins */
    assert_seconds(price_compute(&made.problem, 0, 1, 4), 5 + 1 + 1);
    assert_seconds(price_compute(&made.problem, 0, 2, 4), 1 + 1 + 4);
    assert_seconds(price_compute(&made.problem, 0, 3, 4), 1 + 4);
    assert_seconds(price_compute(&made.problem, 0, 0, 2), 1 + 5);
    struct plan_change change = plan_change(&made.problem, &in_force, &to);
    assert_int_equal(change.moved_bytes, 200); /* to board 1; board 0 has the weights of units 2 and 3 */
    assert_true(change.beside);
    made_fleet_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_flight),     cmocka_unit_test(test_handling),
        cmocka_unit_test(test_names),         cmocka_unit_test(test_prices),
        cmocka_unit_test(test_even),          cmocka_unit_test(test_half_duplex_price),
        cmocka_unit_test(test_pipedream),     cmocka_unit_test(test_manual_refuses),
        cmocka_unit_test(test_bad_problems),  cmocka_unit_test(test_even_is_minimal),
        cmocka_unit_test(test_check_rejects), cmocka_unit_test(test_check_limits),
        cmocka_unit_test(test_huge_sizes),    cmocka_unit_test(test_same_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
