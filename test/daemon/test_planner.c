/* The planner thread: a plan and, where boards have no memory for it beside the one in force, the steps that lead
 * there. */
#include "daemon/planner.h"

#include "base/allocate.h"
#include "daemon/fleet_problem.h"
#include "partitioner/price.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define BOARDS 3

static const char model[] =
    "{\"architectures\": [\"ViTForImageClassification\"], \"hidden_size\": 64,"
    " \"num_attention_heads\": 2, \"intermediate_size\": 256, \"image_size\": 32}"; /* twelve blocks */

/* Three equal boards of this memory in a row, each with a cable to the next one only, all with one to the coordinator.
 * All work is in the blocks. */
static struct fleet_file *chain_new(const struct model_config *config, uint64_t memory) {
    double seconds[PARTITIONER_UNITS_MAX] = {0};
    struct fleet_file *fleet = fleet_file_new();
    fleet->units = model_units(config);
    for (unsigned unit = 1; unit + 1 < fleet->units; unit++)
        seconds[unit] = 0.01;
    for (unsigned from = 0; from < BOARDS; from++) {
        char name[] = {(char)('a' + from), '\0'};
        struct fleet_board *board = &fleet->board[fleet->boards++];
        board->name = allocate_string(name);
        board->memory_bytes = memory;
        fleet_board_add_times(board, 1, seconds, fleet->units);
        for (unsigned to = 0; to < BOARDS; to++)
            if (to != from + 1)
                fleet->link[from][to].bandwidth = 0;
    }
    return fleet;
}

static void plan_with(struct fleet_file *fleet, const struct model_config *config, const struct plan *in_force,
                      struct plan *plan, struct plan *step, struct planner_result *result) {
    struct error error;
    const struct planner_settings settings = {
        .config = config, .microbatch = 1, .policy = "optimal", .time_limit_s = 10, .in_force = in_force};
    struct planner *planner = planner_new_take(fleet, &settings, &error);
    assert_non_null(planner);
    struct pollfd waiting = {.fd = planner_descriptor(planner), .events = POLLIN};
    while (!planner_finished(planner, result))
        assert_true(poll(&waiting, 1, -1) > 0);
    if (!result->ok)
        fail_msg("%s", result->error->text);
    *plan = *result->plan;
    if (result->step)
        *step = *result->step;
    planner_destroy(&planner);
}

/* The least memory with which two such boards hold the model, to a KiB. */
static uint64_t least_memory(const struct model_config *config) {
    uint64_t low = 0, high = UINT64_C(1) << 30;
    while (high - low > 1024) {
        uint64_t middle = low + (high - low) / 2;
        struct fleet_file *fleet = chain_new(config, middle);
        struct fleet_problem made;
        struct plan plan;
        struct error error;
        bool filled = fleet_problem_fill(&made, fleet, config, 1, &error);
        assert_true(filled);
        made.problem.boards = 2; /* rows of the links stay as long as they are: a and b are those of the first two */
        double bandwidth[9], latency[9] = {0};
        for (unsigned i = 0; i < 9; i++)
            bandwidth[i] = 1e9;
        made.problem.bandwidth = bandwidth;
        made.problem.latency = latency;
        bool fits = plan_solve(&made.problem, "optimal", NULL, &plan, NULL);
        made.problem.boards = BOARDS;
        fleet_problem_close(&made);
        fleet_file_destroy(&fleet);
        *(fits ? &high : &low) = middle;
    }
    return high;
}

/* a and b serve; c has come and can only be the last. b is to give its end to c and to get as much from a, for which it
 * has no memory before it has given. */
static void test_steps_along_a_chain(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = model_config_new(model, sizeof model - 1, NULL, 0, &error);
    assert_non_null(config);
    uint64_t memory = FLEET_PROCESS_BYTES + (least_memory(config) - FLEET_PROCESS_BYTES) * 23 / 20;
    unsigned units = model_units(config), steps = 0;
    struct plan in_force = {.stages = 2,
                            .stage = {{.board = 0, .end = units / 2}, {.board = 1, .first = units / 2, .end = units}}};
    struct plan plan, step;
    struct planner_result result;
    double before = 1;
    do {
        plan_with(chain_new(config, memory), config, &in_force, &plan, &step, &result);
        assert_int_equal(plan.stages, BOARDS);
        if (!result.change.beside) {
            assert_non_null(result.step);
            assert_true(step.period_s < before && step.period_s > plan.period_s);
            before = step.period_s;
            in_force = step;
        } else
            assert_null(result.step);
        assert_true(++steps < 6);
    } while (!result.change.beside);
    print_message("%u steps\n", steps);
    assert_true(steps > 1);
    model_config_destroy(&config);
}

/* Where even that cannot be, there is none. */
static void test_no_step(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = model_config_new(model, sizeof model - 1, NULL, 0, &error);
    assert_non_null(config);
    unsigned units = model_units(config);
    struct plan in_force = {.stages = 2,
                            .stage = {{.board = 1, .end = units / 2}, {.board = 0, .first = units / 2, .end = units}}};
    struct plan plan, step;
    struct planner_result result;
    plan_with(chain_new(config, least_memory(config)), config, &in_force, &plan, &step, &result);
    assert_false(result.change.beside);
    assert_null(result.step);
    model_config_destroy(&config);
}

/* A board that is too small is left out, and the others keep what is theirs: their memory goes by their own scratch. */
static void test_left_out(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = model_config_new(model, sizeof model - 1, NULL, 0, &error);
    assert_non_null(config);
    struct fleet_file *fleet = chain_new(config, UINT64_C(1) << 30);
    struct fleet_problem whole;
    fleet->board[0].memory_bytes = 1024;
    for (unsigned i = 0; i < BOARDS; i++) {
        fleet->board[i].kernels = allocate_string("portable");
        fleet->board[i].threads = 1 + 3 * i;
        fleet->board[i].handling = 1e6 * (1 + i);
    }
    assert_true(fleet_problem_fill(&whole, fleet, config, 1, &error));
    unsigned units = whole.problem.units;
    assert_true(whole.workspace_bytes[units + 1] > whole.workspace_bytes[1]);
    const struct planner_settings settings = {
        .config = config, .microbatch = 1, .policy = "even", .time_limit_s = 10, .leave_out = true};
    struct planner *planner = planner_new_take(fleet, &settings, &error);
    struct planner_result result;
    assert_non_null(planner);
    struct pollfd waiting = {.fd = planner_descriptor(planner), .events = POLLIN};
    while (!planner_finished(planner, &result))
        assert_true(poll(&waiting, 1, -1) > 0);
    assert_true(result.ok && result.left_out == 1 && result.plan->stages == 2);
    for (unsigned i = 0; i < result.plan->stages; i++) {
        const struct plan_stage *stage = &result.plan->stage[i];
        assert_int_equal(stage->board, i + 1);
        assert_int_equal(stage->memory_bytes, plan_slice_memory(&whole.problem, i + 1, stage->first, stage->end));
        assert_true(stage->compute_s == price_compute(&whole.problem, i + 1, stage->first, stage->end));
    }
    planner_destroy(&planner);
    fleet_problem_close(&whole);
    model_config_destroy(&config);
}

/* Thirty-two different boards on slow links take the search far longer than a test may. */
static void test_abandoned(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = model_config_new(model, sizeof model - 1, NULL, 0, &error);
    assert_non_null(config);
    struct fleet_file *fleet = fleet_file_new();
    fleet->units = model_units(config);
    for (unsigned number = 0; number < 32; number++) {
        char name[8];
        double seconds[PARTITIONER_UNITS_MAX];
        snprintf(name, sizeof name, "b%u", number);
        for (unsigned unit = 0; unit < fleet->units; unit++)
            seconds[unit] = 0.01 * (1 + (unit * 7 + number * 13) % 11 + 0.01 * number);
        struct fleet_board *board = &fleet->board[fleet->boards++];
        board->name = allocate_string(name);
        board->memory_bytes = UINT64_C(1) << 30;
        fleet_board_add_times(board, 1, seconds, fleet->units);
        for (unsigned to = 0; to < 32; to++)
            fleet->link[number][to] = (struct fleet_link){1e6 * (1 + (number * 5 + to * 3) % 7), 0.001 * (to % 5)};
    }
    const struct planner_settings settings = {
        .config = config, .microbatch = 1, .policy = "optimal", .time_limit_s = 3600};
    struct planner *planner = planner_new_take(fleet, &settings, &error);
    assert_non_null(planner);
    struct pollfd waiting = {.fd = planner_descriptor(planner), .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 200), 0); /* at work */
    planner_abandon(planner);
    assert_int_equal(poll(&waiting, 1, 60000), 1);
    planner_destroy(&planner);
    model_config_destroy(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_along_a_chain),
        cmocka_unit_test(test_no_step),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_abandoned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
