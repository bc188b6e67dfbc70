/* The optimum on every reference case (test/data/planner), found by an independent exact solver, to 1e-9. */
#include "test/partitioner/pipeedge_files.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CASES "test/data/planner/"

static void open_case(const char *folder_name, const char *model, struct made_fleet *made) {
    struct pipeedge_folder folder;
    char path[256];
    snprintf(path, sizeof path, CASES "%s", folder_name);
    assert_true(pipeedge_open(&folder, path));
    assert_true(pipeedge_problem(&folder, model, made));
    pipeedge_close(&folder);
}

static double read_optimum(const char *folder, const char *file) {
    char path[256];
    void *contents;
    size_t size;
    struct error error;
    double optimum = NAN;
    snprintf(path, sizeof path, CASES "%s/%s", folder, file);
    assert_true(file_read(path, 1 << 16, &contents, &size, &error));
    assert_int_equal(sscanf(contents, "optimum %lf", &optimum), 1);
    release(contents);
    return optimum;
}

static void test_optima(void **state) {
    (void)state;
    static const struct {
        const char *folder, *model, *optimum;
    } cases[] = {
        {"a3-16same-bw10", "vit-huge-like", "optimum.txt"},
        {"b1-2x8-fastfirst-free", "vit-huge-like", "optimum.txt"},
        {"c3-4x4-mem", "vit-huge-like", "optimum.txt"},
        {"d08m-all-different-mem", "vit-huge-like", "optimum.txt"},
        {"d12-all-different", "vit-huge-like", "optimum.txt"},
        {"r2-readme-sample-fixed-name", "google/vit-base-patch16-224", "optimum.vit-base-patch16-224.txt"},
        {"r2-readme-sample-fixed-name", "google/vit-large-patch16-224", "optimum.vit-large-patch16-224.txt"},
    };
    for (size_t at = 0; at < sizeof cases / sizeof cases[0]; at++) {
        struct made_fleet made;
        struct plan plan;
        struct error error = {0};
        open_case(cases[at].folder, cases[at].model, &made);
        double optimum = read_optimum(cases[at].folder, cases[at].optimum);
        if (!plan_solve(&made.problem, "optimal", NULL, &plan, &error) || !plan_check(&made.problem, &plan, &error))
            fail_msg("%s: %s", cases[at].folder, error.text);
        if (fabs(plan.period_s - optimum) > 1e-9 * optimum || !plan.optimal || !plan.latency_optimal)
            fail_msg("%s: got %.12g s, want %.12g s", cases[at].folder, plan.period_s, optimum);
        made_fleet_close(&made);
    }
}

static void test_infeasible(void **state) {
    (void)state;
    struct made_fleet made;
    struct plan plan;
    struct error error = {0};
    open_case("a5-16same-mem160-infeasible", "vit-huge-like", &made);
    assert_false(plan_solve(&made.problem, "optimal", NULL, &plan, &error));
    assert_int_equal(error.code, ERROR_INFEASIBLE);
    if (!strstr(error.text, "more memory on each"))
        fail_msg("%s", error.text);
    made_fleet_close(&made);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optima),
        cmocka_unit_test(test_infeasible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
