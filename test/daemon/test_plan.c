/* stagecoach plan: words, reasons, the schedule and its picture, and the command itself: what it prints for scripts and
 * the status it ends with. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/commands.h"
#include "daemon/gantt.h"
#include "daemon/gantt_schedule.h"
#include "daemon/plan_reason.h"
#include "daemon/plan_text.h"
#include "daemon/slice_words.h"
#include "model/json.h"
#include "test/partitioner/fleets.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL  "test/data/golden/vit_head_size_20"
#define FLEET  "configs/fleet.yaml"
#define CASES  "test/data/planner/"
#define OUTPUT ((size_t)1 << 20)

/* ---- words ---- */

static void test_slices_in_words(void **state) {
    static const char json[] = "{\"architectures\": [\"ViTForImageClassification\"]}"; /* twelve blocks */
    static const struct {
        unsigned first, end;
        const char *words;
    } cases[] = {
        {0, 74, "embed, blocks 0-11, head"},
        {0, 1, "embed"},
        {73, 74, "head"},
        {1, 7, "block 0"},
        {1, 2, "block 0.1"},
        {1, 3, "blocks 0.1-0.2"},
        {3, 7, "blocks 0.3-0.6"},
        {4, 5, "block 0.4"},
        {1, 13, "blocks 0-1"},
        {0, 4, "embed, blocks 0.1-0.3"},
        {20, 32, "blocks 3.2-5.1"},
        {68, 74, "blocks 11.2-11.6, head"},
        {67, 74, "block 11, head"},
    };
    struct error error;
    char words[SLICE_WORDS_MAX];
    (void)state;
    struct model_config *config = model_config_new(json, sizeof json - 1, NULL, 0, &error);
    assert_non_null(config);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(slice_words(config, cases[i].first, cases[i].end, words), cases[i].words);
    assert_string_equal(slice_words(NULL, 4, 12, words), "layers 5-12");
    assert_string_equal(slice_words(NULL, 4, 5, words), "layer 5");
    model_config_destroy(&config);
}

/* ---- a small fleet to ask about ---- */

static const char *const names[] = {"one", "two", "three", "four", "five"};

/* Units of 1 s on every board, 10 bytes each, transfers of 0.1 s. */
static void make_fleet(struct made_fleet *made, unsigned boards, unsigned units) {
    made_fleet_init(made, boards, units);
    for (unsigned at = 0; at < boards * units; at++)
        made->unit_seconds[at] = 1;
    for (unsigned at = 0; at < (boards + 1) * (boards + 1); at++) {
        made->bandwidth[at] = 10;
        made->latency[at] = 0;
    }
    for (unsigned unit = 0; unit < units; unit++)
        made->weight_bytes[unit] = 10;
    for (unsigned cut = 0; cut <= units; cut++)
        made->payload_bytes[cut] = 1;
    for (unsigned board = 0; board < boards; board++)
        made->memory_bytes[board] = 1000;
    made->problem.input_slots = made->problem.output_slots = 2;
    made->problem.board_names = names;
}

static void assert_reason(const struct made_fleet *made, unsigned board, const char *expected) {
    char reason[PLAN_REASON_MAX];
    struct plan plan;
    struct error error = {0};
    if (!plan_solve(&made->problem, "optimal", NULL, &plan, &error))
        fail_msg("%s", error.text);
    for (unsigned index = 0; index < plan.stages; index++)
        assert_int_not_equal(plan.stage[index].board, board);
    plan_unused_reason(&made->problem, &plan, board, reason);
    if (!strstr(reason, expected))
        fail_msg("got '%s', want '%s'", reason, expected);
}

/* Units of a second each, and a byte handled in a second. */
static double least_busy(const struct made_fleet *made) {
    double least = INFINITY;
    for (unsigned first = 0; first < made->problem.units; first++)
        for (unsigned end = first + 1; end <= made->problem.units; end++)
            least = fmin(least, end - first + (double)made->payload_bytes[first] + (double)made->payload_bytes[end]);
    assert_true(least > 1);
    return least;
}

static void test_reasons(void **state) {
    struct made_fleet made;
    char slow[100];
    (void)state;
    make_fleet(&made, 3, 4);
    made.memory_bytes[2] = 13;
    assert_reason(&made, 2, "no slice fits its memory: the smallest needs 0.0 MiB");
    made.memory_bytes[2] = 1000;
    for (unsigned unit = 0; unit < 4; unit++)
        made.unit_seconds[2 * 4 + unit] = 50;
    assert_reason(&made, 2, "too slow: it computes no slice in less than 50.000 s");
    for (unsigned unit = 0; unit < 4; unit++)
        made.unit_seconds[2 * 4 + unit] = 1;
    made.handling[2] = 1;
    snprintf(slow, sizeof slow, "too slow: it computes no slice in less than %.3f s", least_busy(&made));
    assert_reason(&made, 2, slow);
    made.handling[2] = INFINITY;
    for (unsigned other = 0; other < 4; other++)
        made.bandwidth[2 * 4 + other] = 0.1;
    assert_reason(&made, 2, "its links are too slow: receiving or sending takes at least 10.000 s");
    for (unsigned other = 0; other < 4; other++)
        made.bandwidth[2 * 4 + other] = 0;
    assert_reason(&made, 2, "not linked");
    made_fleet_close(&made);
    make_fleet(&made, 3, 2); /* two units for three boards */
    assert_reason(&made, 2, "no plan that uses it is better (proven)");
    made_fleet_close(&made);
}

static void test_what_binds(void **state) {
    struct made_fleet made;
    struct plan_stage stage = {.first = 1, .end = 2, .compute_s = 3, .receive_s = 2, .send_s = 2.5};
    double seconds;
    (void)state;
    make_fleet(&made, 1, 4);
    assert_int_equal(stage_binds(&made.problem, &stage, &seconds), RESOURCE_COMPUTE);
    assert_true(seconds == 3);
    made.problem.half_duplex = true;
    assert_int_equal(stage_binds(&made.problem, &stage, &seconds), RESOURCE_TRANSFERS);
    assert_true(seconds == 4.5);
    assert_false(stage_memory_full(&made.problem, &stage));
    made.memory_bytes[0] = 14; /* one unit and four slots */
    assert_true(stage_memory_full(&made.problem, &stage));
    made_fleet_close(&made);
}

/* ---- the schedule ---- */

/* Filled, a pipeline delivers once a period; the first microbatch is alone and takes exactly the latency. */
static void test_schedule_is_the_model(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct made_fleet made;
        struct schedule schedule;
        struct plan plan;
        struct error error = {0};
        enum regime regime = (enum regime)(seed % REGIMES);
        made_fleet_rack(&made, regime, 5, 3, seed);
        if (!plan_solve(&made.problem, regime == REGIME_MEMORY ? "optimal" : "even", NULL, &plan, &error))
            fail_msg("%s", error.text);
        schedule_init(&schedule, &made.problem, &plan, 60);
        const double *done = schedule.end + schedule_at(&schedule, schedule.steps - 1, 0);
        assert_true(fabs(done[0] - plan.latency_s) <= 1e-9 * plan.latency_s);
        assert_true(fabs(done[59] - done[58] - plan.period_s) <= 1e-6 * plan.period_s);
        for (unsigned step = 0; step < schedule.steps; step++)
            for (unsigned microbatch = 1; microbatch < 60; microbatch++)
                assert_true(schedule.start[schedule_at(&schedule, step, microbatch)] >=
                            schedule.end[schedule_at(&schedule, step, microbatch - 1)]);
        schedule_close(&schedule);
        made_fleet_close(&made);
    }
}

static void test_half_duplex_takes_turns(void **state) {
    struct made_fleet made;
    struct schedule schedule;
    struct plan plan;
    (void)state;
    make_fleet(&made, 3, 6);
    made.problem.half_duplex = true;
    for (unsigned at = 0; at < 16; at++)
        made.bandwidth[at] = 0.5;
    assert_true(plan_solve(&made.problem, "even", NULL, &plan, NULL));
    schedule_init(&schedule, &made.problem, &plan, 12);
    for (unsigned stage = 0; stage < schedule.stages; stage++)
        for (unsigned in = 0; in < 12; in++)
            for (unsigned out = 0; out < 12; out++) {
                size_t receive = schedule_at(&schedule, 2 * stage, in),
                       send = schedule_at(&schedule, 2 * stage + 2, out);
                assert_true(schedule.end[receive] <= schedule.start[send] ||
                            schedule.end[send] <= schedule.start[receive]);
            }
    schedule_close(&schedule);
    made_fleet_close(&made);
}

static void test_picture(void **state) {
    static const char *const wild[] = {"<a & \"b'>", "\x01\xc3\xbc", "a name of more than twenty-six letters"};
    struct made_fleet made;
    struct plan plan;
    char *text = allocate(OUTPUT, 1);
    FILE *to = fmemopen(text, OUTPUT, "w");
    (void)state;
    make_fleet(&made, 3, 6);
    made.problem.board_names = wild;
    assert_true(plan_solve(&made.problem, "even", NULL, &plan, NULL));
    const struct plan_report report = {.model = "m<", .problem = &made.problem, .plan = &plan};
    gantt_print(&report, to);
    assert_int_equal(fclose(to), 0);
    assert_int_equal(strncmp(text, "<svg ", 5), 0);
    assert_non_null(strstr(text, ">m&#60; on 3 boards: "));
    assert_non_null(strstr(text, ">&#60;a &#38; &#34;b&#39;&#62;<"));
    assert_non_null(strstr(text, ">?\xc3\xbc<"));
    assert_non_null(strstr(text, ">a name of more than twenty…<"));
    assert_non_null(strstr(text, "class=\"bound"));
    assert_non_null(strstr(text, "period 2.000 s"));
    assert_non_null(strstr(text, "</svg>\n"));
    release(text);
    made_fleet_close(&made);
}

/* ---- the command ---- */

/* Runs `plan` with words that end with NULL; output (from allocate) receives stdout. */
static int run_plan(const char *const *words, char **output) {
    char path[] = "/tmp/stagecoach-test-plan-XXXXXX", *copies[32], *operands[32];
    struct error error = {0};
    bool handled;
    unsigned operand_count;
    int count = 0, status;
    size_t size;
    void *contents, *values = allocate(1, command_plan.values_size);
    for (; words[count]; count++)
        copies[count] = allocate_string(words[count]);
    fflush(stdout);
    int kept = dup(STDOUT_FILENO), file = mkstemp(path);
    assert_true(kept >= 0 && file >= 0 && dup2(file, STDOUT_FILENO) >= 0);
    if (options_parse(&command_plan, count, copies, values, operands, &operand_count, &handled, &error))
        status = command_plan.run(values, operands, operand_count);
    else
        status = command_fail(&error);
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    close(file);
    assert_true(file_read(path, OUTPUT, &contents, &size, &error));
    unlink(path);
    for (int i = 0; i < count; i++)
        release(copies[i]);
    release(values);
    *output = contents;
    return status;
}

#define RUN(output, ...) run_plan((const char *const[]){__VA_ARGS__, NULL}, output)

static void assert_members(const struct json *object, const char *expected) {
    char members[400] = "";
    for (size_t i = 0; i < json_count(object); i++)
        snprintf(members + strlen(members), sizeof members - strlen(members), "%s%s", i ? " " : "",
                 json_key(json_at(object, i)));
    assert_string_equal(members, expected);
}

static void test_json(void **state) {
    struct error error = {0};
    char *output;
    const struct json *stages, *unused;
    double period;
    (void)state;
    int status = RUN(&output, "--pipeedge", CASES "d12-all-different", "--model-name", "vit-huge-like", "--microbatch",
                     "8", "--json");
    assert_int_equal(status, 0);
    struct json *root = json_parse(output, strlen(output), "plan", &error);
    assert_non_null(root);
    assert_members(
        root, "policy optimal latency_optimal bound_s period_s latency_s throughput in_flight solve_s stages unused");
    assert_true(json_get_number(root, "period_s", 0, 100, &period, &error));
    assert_true(fabs(period - 5.281677671) <= 1e-9 * period);
    assert_true(json_get_array(root, "stages", &stages, &error));
    assert_members(json_at(stages, 0), "board first end compute_s recv_s send_s memory_bytes");
    assert_true(json_get_array(root, "unused", &unused, &error));
    assert_int_equal(json_count(stages) + json_count(unused), 12);
    if (json_count(unused))
        assert_members(json_at(unused, 0), "board reason");
    json_destroy(&root);
    release(output);
}

static void test_table(void **state) {
    static const char *const parts[] = {"policy optimal, proven optimal",
                                        "compute ms",
                                        "period ",
                                        "throughput ",
                                        "latency ",
                                        "in flight   ",
                                        "cuts        none",
                                        "speed-up ",
                                        " over even",
                                        " over pipedream",
                                        "embed"};
    char *output;
    (void)state;
    assert_int_equal(RUN(&output, "--model", MODEL, "--fleet", FLEET, "--microbatch", "auto"), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!strstr(output, parts[i]))
            fail_msg("no '%s' in\n%s", parts[i], output);
    release(output);
}

static void test_microbatch_is_chosen(void **state) {
    struct error error;
    char *output;
    double microbatch;
    (void)state;
    assert_int_equal(RUN(&output, "--model", MODEL, "--fleet", FLEET, "--microbatch", "1,64", "--json"), 0);
    struct json *root = json_parse(output, strlen(output), "plan", &error);
    assert_non_null(root);
    assert_true(json_get_number(root, "microbatch", 64, 64, &microbatch, &error)); /* latencies of links weigh less */
    json_destroy(&root);
    release(output);
}

static void test_exit_status(void **state) {
    static const struct {
        const char *words[12];
        int status;
    } cases[] = {
        {{"--pipeedge", CASES "a5-16same-mem160-infeasible", "--model-name", "vit-huge-like", "--json"}, 1},
        {{"--model", MODEL, "--fleet", FLEET, "--policy", "even"}, 0},
        {{"--model", MODEL, "--fleet", FLEET, "--cuts", "3,5"}, 0},
        {{"--model", MODEL, "--fleet", FLEET, "--cuts", "3,500"}, 2},
        {{"--model", MODEL, "--fleet", FLEET, "--cuts", "3", "--policy", "even"}, 2},
        {{"--model", MODEL, "--fleet", FLEET, "--policy", "best"}, 2},
        {{"--model", MODEL, "--fleet", FLEET, "--microbatch", "0"}, 2},
        {{"--model", MODEL, "--fleet", FLEET, "--microbatch", "100000"}, 2},
        {{"--model", "no/such/model", "--fleet", FLEET}, 2},
        {{"--model", MODEL "/config.json", "--fleet", FLEET}, 2},
        {{"--model", MODEL, "--fleet", FLEET, "--svg", "/no/such/folder/plan.svg"}, 2},
        {{"--model", MODEL, "--fleet", "no/such/fleet.yaml"}, 2},
        {{"--model", MODEL, "--fleet", "test/data/fleet/everything.yaml"}, 2},
        {{"--model", MODEL}, 2},
        {{"--fleet", FLEET}, 2},
        {{"--pipeedge", CASES "d12-all-different"}, 2},
        {{"--pipeedge", CASES "d12-all-different", "--model-name", "no-such-model"}, 2},
        {{"--pipeedge", CASES "d12-all-different", "--model-name", "vit-huge-like", "--model", MODEL}, 2},
        {{"--pipeedge", CASES "d12-all-different", "--model-name", "vit-huge-like", "--microbatch", "auto"}, 2},
    };
    char *output;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = run_plan(cases[i].words, &output);
        if (status != cases[i].status)
            fail_msg("case %zu: status %d, want %d", i, status, cases[i].status);
        assert_true((status == 0) == (output[0] != '\0')); /* nothing on stdout but an answer */
        release(output);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_in_words),
        cmocka_unit_test(test_reasons),
        cmocka_unit_test(test_what_binds),
        cmocka_unit_test(test_schedule_is_the_model),
        cmocka_unit_test(test_half_duplex_takes_turns),
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_microbatch_is_chosen),
        cmocka_unit_test(test_exit_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
