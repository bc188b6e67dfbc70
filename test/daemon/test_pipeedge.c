/* PipeEdge's files through the product's own reader: the known optimum of every case, and faults with their places. The
 * cases (test/data/planner) were solved by an independent exact solver; test/partitioner reads them in its own way. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/pipeedge.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CASES "test/data/planner/"

static bool solve_case(const char *directory, const char *model, struct plan *plan, struct error *error) {
    struct fleet_problem made;
    if (!pipeedge_read(&made, directory, model, 8, error))
        fail_msg("%s", error->text);
    bool ok = plan_solve(&made.problem, "optimal", NULL, plan, error) && plan_check(&made.problem, plan, error);
    fleet_problem_close(&made);
    return ok;
}

static void test_optimum(void **state) {
    static const struct {
        const char *directory, *model;
        double period; /* of optimum*.txt */
    } cases[] = {
        {CASES "a3-16same-bw10", "vit-huge-like", 8.03125},
        {CASES "b1-2x8-fastfirst-free", "vit-huge-like", 4.69439585},
        {CASES "c3-4x4-mem", "vit-huge-like", 6.963965493},
        {CASES "d08m-all-different-mem", "vit-huge-like", 8.850439576},
        {CASES "d12-all-different", "vit-huge-like", 5.281677671},
        {CASES "r2-readme-sample-fixed-name", "google/vit-base-patch16-224", 1.54876000881},
        {CASES "r2-readme-sample-fixed-name", "google/vit-large-patch16-224", 5.0428330183},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct plan plan;
        struct error error = {0};
        if (!solve_case(cases[i].directory, cases[i].model, &plan, &error))
            fail_msg("%s: %s", cases[i].directory, error.text);
        assert_true(plan.optimal && plan.latency_optimal);
        if (!(fabs(plan.period_s - cases[i].period) <= 1e-9 * cases[i].period))
            fail_msg("%s: period %.12g, want %.12g", cases[i].directory, plan.period_s, cases[i].period);
    }
}

static void test_infeasible(void **state) {
    struct plan plan;
    struct error error = {0};
    (void)state;
    assert_false(solve_case(CASES "a5-16same-mem160-infeasible", "vit-huge-like", &plan, &error));
    assert_int_equal(error.code, ERROR_INFEASIBLE);
    assert_non_null(strstr(error.text, "more memory"));
}

/* ---- small files of our own ---- */

#define MODELS  "m: {layers: 2, parameters_in: 100, parameters_out: [50, 10], mem_MB: [1.5, 2.25]}\n"
#define PROFILE "model_profiles: {m: [{batch_size: 8, dtype: torch.float32, time_s: [1, 2]}]}"
#define TYPES   "t: {bw_Mbps: 100, mem_MB: 4, " PROFILE "}\nu: {bw_Mbps: 50, mem_MB: 4, " PROFILE "}\nv: {}\n"

struct files {
    char directory[64];
};

static void put(const struct files *files, const char *name, const char *text) {
    char path[128];
    struct error error;
    snprintf(path, sizeof path, "%s/%s", files->directory, name);
    assert_true(file_write_atomic(path, text, strlen(text), &error));
}

static void make_files(struct files *files, const char *models, const char *types, const char *devices) {
    snprintf(files->directory, sizeof files->directory, "/tmp/stagecoach-test-pipeedge-XXXXXX");
    assert_non_null(mkdtemp(files->directory));
    put(files, "models.yml", models);
    put(files, "device_types.yml", types);
    put(files, "devices.yml", devices);
}

static void remove_files(const struct files *files) {
    static const char *const names[] = {"models.yml", "device_types.yml", "devices.yml"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", files->directory, names[i]);
        unlink(path);
    }
    rmdir(files->directory);
}

static void test_cost_model(void **state) {
    struct files files;
    struct fleet_problem made;
    struct error error;
    (void)state;
    make_files(&files, MODELS, TYPES, "t: [a, b]\nu: [c]\nv: []\n");
    assert_true(pipeedge_read(&made, files.directory, "m", 8, &error));
    const struct problem *problem = &made.problem;
    assert_int_equal(problem->boards, 3);
    assert_int_equal(problem->units, 2);
    assert_true(problem->payload_bytes[0] == 3200 && problem->payload_bytes[1] == 1600);
    assert_true(problem->weight_bytes[1] == 2359296);
    assert_true(problem->memory_bytes[0] == 4194303); /* what is needed must be less than what is there */
    assert_true(problem->bandwidth[0 * 4 + 1] == 100 * 1048576.0 / 8);
    assert_true(problem->bandwidth[0 * 4 + 2] == 50 * 1048576.0 / 8 && problem->bandwidth[2 * 4 + 0] == 6553600);
    assert_true(isinf(problem->bandwidth[3 * 4 + 0]) && isinf(problem->bandwidth[1 * 4 + 3]));
    uint64_t first = 1572864 + 3200 + 3 * 1600, last = 2359296 + 3 * 1600 + 3 * 320;
    assert_true(plan_slice_memory(problem, 0, 0, 1) == first && plan_slice_memory(problem, 0, 1, 2) == last);
    fleet_problem_close(&made);
    remove_files(&files);
}

static void test_faults(void **state) {
    static const struct {
        const char *models, *types, *devices, *expected;
    } cases[] = {
        {"n: {}\n", TYPES, "t: [a]\n", "models.yml:1:1: no model 'm'"},
        {"m: {layers: 0}\n", TYPES, "t: [a]\n", "models.yml:1:13: layers: got '0'"},
        {"m: {layers: 2, parameters_in: 1, parameters_out: [1], mem_MB: [1, 1]}\n", TYPES, "t: [a]\n",
         "parameters_out: 1 numbers, want one for each of the 2 layers"},
        {"m: {layers: 1, parameters_in: 1, parameters_out: [-1], mem_MB: [1]}\n", TYPES, "t: [a]\n", "got '-1'"},
        {MODELS, TYPES, "w: [a]\n", "devices.yml:1:1: w: no such type in device_types.yml"},
        {MODELS, TYPES, "t: [a, a]\n", "devices.yml:1:8: the device 'a' is there twice"},
        {MODELS, TYPES, "t: [[a]]\n", "devices.yml:1:5: got a list"},
        {MODELS, TYPES, "t: a\n", "devices.yml:1:1: no device of a type with a profile of m"},
        {MODELS, "t: {bw_Mbps: 1}\n", "t: [a]\n", "device_types.yml:1:4: t: 'mem_MB' is missing"},
        {MODELS, "t: {bw_Mbps: 1, mem_MB: 1, model_profiles: {m: [{batch_size: 8, time_s: [1, 0]}]}}\n", "t: [a]\n",
         "got '0', want seconds above 0"},
        {MODELS, "t: {bw_Mbps: 1, mem_MB: 1, model_profiles: {m: [{batch_size: 8, time_s: [1]}]}}\n", "t: [a]\n",
         "time_s: 1 numbers"},
        {MODELS, "t: {bw_Mbps: 1, mem_MB: 1, model_profiles: {m: [{batch_size: 4, time_s: [1, 1]}]}}\n", "t: [a]\n",
         "no device of a type with a profile of m for batch_size 8"},
        {MODELS, "t: {bw_Mbps: 1, mem_MB: 1, model_profiles: }\n", "t: [a]\n", "no device of a type with a profile"},
        {"[]\n", TYPES, "t: [a]\n", "models.yml:1:1: got a list"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct files files;
        struct fleet_problem made;
        struct error error = {0};
        make_files(&files, cases[i].models, cases[i].types, cases[i].devices);
        bool ok = pipeedge_read(&made, files.directory, "m", 8, &error);
        fleet_problem_close(&made);
        remove_files(&files);
        assert_false(ok);
        assert_int_equal(error.code, ERROR_USAGE);
        if (!strstr(error.text, cases[i].expected))
            fail_msg("got '%s', want '%s'", error.text, cases[i].expected);
    }
}

static void test_missing_directory(void **state) {
    struct fleet_problem made;
    struct error error = {0};
    (void)state;
    assert_false(pipeedge_read(&made, "no/such/directory", "m", 8, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "models.yml"));
    fleet_problem_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimum), cmocka_unit_test(test_infeasible),        cmocka_unit_test(test_cost_model),
        cmocka_unit_test(test_faults),  cmocka_unit_test(test_missing_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
