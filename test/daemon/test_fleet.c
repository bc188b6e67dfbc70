/* Fleet files: every key means what docs/FLEET.md says, what is printed reads back, and every fault has its line. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/fleet_problem.h"
#include "daemon/fleet_quantity.h"
#include "daemon/stage_engine.h"
#include "test/daemon/fleet_same.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define EVERYTHING "test/data/fleet/everything.yaml"
#define MODEL      "test/data/golden/vit_head_size_20"

static struct fleet_file *read_fleet(const char *path, const char *architecture, unsigned units) {
    struct error error = {0};
    struct fleet_file *file = fleet_file_read(path, &(struct fleet_model){architecture, units, NULL}, &error);
    if (!file)
        fail_msg("%s", error.text);
    return file;
}

static struct fleet_file *parse_fleet(const char *text, size_t size) {
    struct error error = {0};
    struct fleet_file *file = fleet_file_parse(text, size, "fleet.yaml", NULL, &error);
    if (!file)
        fail_msg("%s in\n%s", error.text, text);
    return file;
}

/* What fleet_file_print writes, from allocate. */
static char *printed(const struct fleet_file *file) {
    size_t room = (size_t)1 << 20;
    char *text = allocate(room, 1);
    FILE *to = fmemopen(text, room, "w");
    assert_non_null(to);
    fleet_file_print(file, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

/* ---- quantities ---- */

static bool read_quantity(enum quantity quantity, const char *text, double *value, struct error *error) {
    char document[100];
    snprintf(document, sizeof document, "q: %s\n", text);
    struct yaml *root = yaml_parse(document, strlen(document), "f", error);
    assert_non_null(root);
    bool ok = quantity_read(yaml_find(root, "q"), quantity, value, error);
    yaml_destroy(&root);
    return ok;
}

static void test_quantities(void **state) {
    static const struct {
        enum quantity quantity;
        const char *text;
        double value;
    } cases[] = {
        {QUANTITY_SIZE, "1.5GiB", 1.5 * 1073741824},
        {QUANTITY_SIZE, "512 MiB", 536870912},
        {QUANTITY_SIZE, "0", 0},
        {QUANTITY_SIZE, "7B", 7},
        {QUANTITY_RATE, "100Mbit/s", 12.5e6},
        {QUANTITY_RATE, "80MB/s", 80e6},
        {QUANTITY_RATE, "unlimited", INFINITY},
        {QUANTITY_RATE, "none", 0},
        {QUANTITY_TIME, "0.3ms", 0.3 * 1e-3},
        {QUANTITY_TIME, "2s", 2},
        {QUANTITY_SPEED, "17GFLOPS", 17e9},
    };
    struct error error;
    double value;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!read_quantity(cases[i].quantity, cases[i].text, &value, &error))
            fail_msg("%s", error.text);
        assert_true(value == cases[i].value);
    }
}

static void test_quantities_refused(void **state) {
    static const struct {
        enum quantity quantity;
        const char *text, *expected;
    } cases[] = {
        {QUANTITY_SIZE, "1.5Gib", "f:1:4: q: got '1.5Gib' in an unknown unit 'Gib', want one of GiB, MiB"},
        {QUANTITY_SIZE, "1.5", "got '1.5' without a unit, want a size such as 1.5GiB"},
        {QUANTITY_SIZE, "-1GiB", "want a size such as"},
        {QUANTITY_SIZE, "0x10B", "want a size such as"},
        {QUANTITY_SIZE, "1e30GiB", "too large"},
        {QUANTITY_SIZE, "unlimited", "want a size"},
        {QUANTITY_RATE, "100Mbps", "unknown unit 'Mbps', want one of Mbit/s"},
        {QUANTITY_RATE, "inf", "want a rate such as 100Mbit/s"},
        {QUANTITY_TIME, "nan", "want a time such as 0.3ms"},
        {QUANTITY_SPEED, "[1]", "want a speed such as 17GFLOPS"},
    };
    struct error error;
    double value;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_false(read_quantity(cases[i].quantity, cases[i].text, &value, &error));
        if (!strstr(error.text, cases[i].expected))
            fail_msg("%s: got '%s', want '%s'", cases[i].text, error.text, cases[i].expected);
    }
}

static void test_quantities_read_back(void **state) {
    struct error error;
    char text[QUANTITY_TEXT_MAX];
    double value;
    (void)state;
    assert_string_equal(quantity_text(QUANTITY_SIZE, 1.5 * 1073741824, text), "1.5GiB");
    assert_string_equal(quantity_text(QUANTITY_RATE, 12.5e6, text), "100Mbit/s");
    assert_string_equal(quantity_text(QUANTITY_SPEED, 17e9, text), "17GFLOPS");
    srand(1);
    for (unsigned i = 0; i < 2000; i++) {
        double wanted = ldexp(rand(), rand() % 60 - 50);
        enum quantity quantity = (enum quantity)(i % 3 + 1);
        assert_true(read_quantity(quantity, quantity_text(quantity, wanted, text), &value, &error));
        assert_true(value == wanted);
        wanted = (double)((uint64_t)rand() << (rand() % 20));
        assert_true(read_quantity(QUANTITY_SIZE, quantity_text(QUANTITY_SIZE, wanted, text), &value, &error));
        assert_true(value == wanted);
    }
}

/* ---- files ---- */

static void assert_link(const struct fleet_file *file, unsigned from, unsigned to, double bandwidth, double latency) {
    const struct fleet_link *link = &file->link[from][to];
    if (link->bandwidth != bandwidth || link->latency != latency)
        fail_msg("%u to %u: got %g, %g", from, to, link->bandwidth, link->latency);
}

static void test_every_key(void **state) {
    (void)state;
    struct fleet_file *file = read_fleet(EVERYTHING, "ViTForImageClassification", 6);
    const struct fleet_board *fast = &file->board[1], *measured = &file->board[2], *last = &file->board[3];
    assert_int_equal(file->boards, 4);
    assert_true(file->half_duplex);
    assert_string_equal(file->board[0].name, "fast-1");
    assert_string_equal(fast->name, "fast-2");
    assert_true(fast->memory_bytes == 1610612736 && fast->reserve_bytes == 536870912 && fast->storage == 80e6);
    assert_true(fast->handling == 310e6 && file->board[0].handling == 310e6 && measured->handling == 0);
    assert_string_equal(fast->kernels, "ref");
    assert_int_equal(fast->threads, 4);
    assert_int_equal(fast->times[0].microbatch, 1);
    assert_true(fleet_board_seconds(fast, 8)[5] == 0.6 && fleet_board_seconds(fast, 1)[0] == 0.01);
    assert_true(measured->memory_bytes == 268435456 && measured->threads == 2);
    assert_true(fleet_board_seconds(measured, 8)[5] == 0.0011);
    assert_string_equal(last->name, "it's");
    assert_true(last->speed == 17e9 && last->memory_bytes == 2000000000);
    fleet_file_destroy(&file);
}

static void test_links(void **state) {
    double usual = 0.3 * 1e-3, slow = 2 * 1e-3;
    (void)state;
    struct fleet_file *file = read_fleet(EVERYTHING, NULL, 0);
    assert_link(file, 0, 1, INFINITY, usual);
    assert_link(file, 0, 2, 0, slow);
    assert_link(file, 1, 2, 1e6, slow);
    assert_link(file, 2, 1, 10e6, slow);
    assert_link(file, 0, 3, 12.5e6, usual);
    assert_link(file, 0, FLEET_COORDINATOR, 12.5e6, usual);
    assert_link(file, FLEET_COORDINATOR, 3, 12.5e6, 7 * 1e-6);
    fleet_file_destroy(&file);
}

static void test_printed_reads_back(void **state) {
    static const char *const paths[] = {EVERYTHING, "configs/fleet.yaml", "test/data/fleet/half_duplex.yaml"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct fleet_file *file = read_fleet(paths[i], NULL, 0);
        char *text = printed(file);
        struct fleet_file *again = parse_fleet(text, strlen(text));
        assert_true(same_fleet(file, again));
        fleet_file_destroy(&again);
        fleet_file_destroy(&file);
        release(text);
    }
}

static void test_microbatches(void **state) {
    unsigned sizes[FLEET_MICROBATCHES];
    (void)state;
    struct fleet_file *file = read_fleet(EVERYTHING, NULL, 0);
    assert_int_equal(fleet_file_microbatches(file, sizes), 2);
    assert_true(sizes[0] == 1 && sizes[1] == 8);
    file->board[1].times[0].microbatch = 3;
    assert_int_equal(fleet_file_microbatches(file, sizes), 1);
    fleet_file_destroy(&file);
    file = read_fleet("configs/fleet.yaml", NULL, 0);
    assert_int_equal(fleet_file_microbatches(file, sizes), 6);
    fleet_file_destroy(&file);
}

#define BOARD(text) "boards: [{name: a, memory: 1GiB, " text "}]\n"
#define LETTERS     "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh" /* sixty */
#define TIMES(list) BOARD("times: [{microbatch: 8, unit_seconds: " list "}]")

static void test_faults(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "fleet.yaml:1:1: 'boards' is missing"},
        {"boards: []\n", "boards: no boards"},
        {"boars: []\n", "fleet.yaml:1:1: boars: unknown key, want one of model,"},
        {BOARD("speed: 1GFLOPS, color: red"), "color: unknown key"},
        {"boards: [{memory: 1GiB, speed: 1GFLOPS}]\n", "'name' is missing"},
        {"boards: [{name: a, speed: 1GFLOPS}]\n", "board a: 'memory' is missing"},
        {BOARD(""), "want one of profile, speed and times"},
        {BOARD("speed: 1GFLOPS, profile: x"), "want one of profile, speed and times"},
        {BOARD("speed: 0GFLOPS"), "want more than 0"},
        {BOARD("speed: 1GFLOPS, handling: none"), "handling: want at least 1B/s, or 'unlimited'"},
        {BOARD("speed: 1GFLOPS, handling: 0.9B/s"), "handling: want at least 1B/s"},
        {BOARD("speed: 1GFLOPS, handling: 3"), "handling: got '3'"},
        {BOARD("speed: 1GFLOPS, count: 65"), "want a whole number from 1 to 64"},
        {"boards:\n  - {name: a, memory: 1GiB, speed: 1GFLOPS}\n  - {name: a, memory: 1GiB, speed: 1GFLOPS}\n",
         "fleet.yaml:3:12: name: the name 'a' is taken"},
        {"boards:\n  - {name: a-1, memory: 1GiB, speed: 1GFLOPS}\n"
         "  - {name: a, count: 2, memory: 1GiB, speed: 1GFLOPS}\n",
         "the name 'a-1' is taken"},
        {"boards: [{name: coordinator, memory: 1GiB, speed: 1GFLOPS}]\n", "the name 'coordinator' is taken"},
        {"boards: [{name: " LETTERS "12345, memory: 1GiB, speed: 1GFLOPS}]\n", "at most 64 characters"},
        {"boards: [{name: " LETTERS "12, count: 10, memory: 1GiB, speed: 1GFLOPS}]\n", "at most 64 characters"},
        {"boards: [{name: \"a\\nb\", memory: 1GiB, speed: 1GFLOPS}]\n", "a control character"},
        {TIMES("[1, 0]"), "unit 1 takes no time"},
        {TIMES("[1, -1]"), "got '-1', want a number"},
        {TIMES("[1, .nan]"), "got '.nan', want a number"},
        {TIMES("[]"), "0 times"},
        {"units: 3\n" TIMES("[1, 2]"), "2 times, want one for each of the 3 units"},
        {BOARD("times: [{microbatch: 0, unit_seconds: [1]}]"), "microbatch: got '0'"},
        {BOARD("times: [{microbatch: 1, unit_seconds: [1]}, {microbatch: 1, unit_seconds: [1]}]"), "there twice"},
        {BOARD("profile: no_such_profile.json"), "fleet.yaml:1:43: profile: no_such_profile.json"},
        {BOARD("speed: 1GFLOPS") "links: [{from: a, to: b, latency: 1ms}]\n", "no board is called 'b'"},
        {BOARD("speed: 1GFLOPS") "links: [{from: a, to: a, latency: 1ms}]\n", "to itself"},
        {BOARD("speed: 1GFLOPS") "links: [{from: a, latency: 1ms}]\n", "want 'from' and 'to'"},
        {BOARD("speed: 1GFLOPS") "links: [{between: [a], latency: 1ms}]\n", "want 'from' and 'to'"},
        {BOARD("speed: 1GFLOPS") "links: [{from: a, to: coordinator}]\n", "want a bandwidth or a latency"},
        {BOARD("speed: 1GFLOPS") "half_duplex: maybe\n", "want true or false"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error = {0};
        struct fleet_file *file = fleet_file_parse(cases[i].text, strlen(cases[i].text), "fleet.yaml", NULL, &error);
        assert_null(file);
        assert_int_equal(error.code, ERROR_USAGE);
        if (!strstr(error.text, cases[i].expected))
            fail_msg("got '%s', want '%s'", error.text, cases[i].expected);
    }
}

static void test_another_models_fleet(void **state) {
    struct error error;
    (void)state;
    assert_null(fleet_file_read(EVERYTHING, &(struct fleet_model){"DeiTForImageClassification", 6, NULL}, &error));
    assert_non_null(strstr(error.text, "everything.yaml:2:8: model: got 'ViTForImageClassification', but --model is"));
    assert_null(fleet_file_read(EVERYTHING, &(struct fleet_model){"ViTForImageClassification", 50, NULL}, &error));
    assert_non_null(strstr(error.text, "everything.yaml:3:8: units: got 6, but --model has 50"));
}

static void test_another_models_profile(void **state) {
    static const char text[] = "boards: [{name: a, profile: profile.json}]\n";
    struct error error;
    (void)state;
    assert_null(fleet_file_parse(text, sizeof text - 1, "test/data/fleet/x.yaml", &(struct fleet_model){NULL, 50, NULL},
                                 &error));
    assert_non_null(strstr(error.text, "units: got 6, want 50: this is another model's profile"));
    assert_null(fleet_file_parse(text, sizeof text - 1, "test/data/fleet/x.yaml",
                                 &(struct fleet_model){"DeiTModel", 6, NULL}, &error));
    assert_non_null(strstr(error.text, "another model's profile"));
    assert_int_equal(error.code, ERROR_USAGE);
}

/* ---- problems ---- */

/* No slice is planned with less than its board counts for it, nor with much more. */
static void check_slice_memory(const struct problem *problem, const struct model_config *config, unsigned board,
                               const struct kernels *kernels, unsigned threads) {
    for (unsigned first = 0; first < problem->units; first++)
        for (unsigned end = first + 1; end <= problem->units; end++) {
            uint64_t planned = plan_slice_memory(problem, board, first, end);
            uint64_t taken = stage_engine_bytes(config, (struct slice){first, end}, problem->items, kernels, threads);
            uint64_t largest = problem->payload_bytes[2]; /* what is between attention and projection */
            /* Parts of an MLP are planned with a scratch each: here a part is of 17 rows, its matrices of 40 x 40. */
            uint64_t scratch = 3 * kernels->linear_scratch_bytes(17, 40, 40, threads);
            if (planned < taken || planned > taken + largest + scratch)
                fail_msg("board %u, units [%u, %u): planned %llu bytes, taken %llu", board, first, end,
                         (unsigned long long)planned, (unsigned long long)taken);
        }
}

/* Kernels that only another architecture's boards have. */
static const char *foreign_kernels(void) {
    return kernels_get("neon", NULL) ? "avx2" : "neon";
}

static void test_problem(void **state) {
    static const char text[] =
        "link: {bandwidth: 1MB/s, latency: 1ms}\n"
        "boards:\n"
        "  - {name: a, memory: 3MiB, reserve: 1MiB, speed: 2GFLOPS}\n"
        "  - {name: b, memory: 1MiB, reserve: 2MiB, speed: 4GFLOPS, kernels: portable, threads: 5,\n"
        "     handling: 50MB/s}\n"
        "  - {name: c, memory: 1MiB, speed: 1GFLOPS, kernels: %s}\n";
    char with_foreign[sizeof text + 16];
    struct error error = {0};
    struct fleet_problem made;
    struct payload payload;
    (void)state;
    struct model *model = model_open(MODEL, &error);
    assert_non_null(model);
    const struct model_config *config = model_borrow_config(model);
    int length = snprintf(with_foreign, sizeof with_foreign, text, foreign_kernels());
    struct fleet_file *file = parse_fleet(with_foreign, (size_t)length);
    assert_true(fleet_problem_fill(&made, file, config, 4, &error));
    const struct problem *problem = &made.problem;
    unsigned units = model_units(config);
    assert_int_equal(problem->units, units);
    assert_int_equal(problem->items, 4);
    assert_true(problem->unit_seconds[units + 2] == 4 * model_unit_flops(config, 2) / 4e9);
    assert_true(problem->weight_bytes[1] == model_unit_weight_bytes(config, 1));
    /* Each by its own kernels and threads; what this machine has not, as the portable set. */
    check_slice_memory(problem, config, 0, kernels_get("ref", NULL), 1);
    check_slice_memory(problem, config, 1, kernels_get("portable", NULL), 5);
    check_slice_memory(problem, config, 2, kernels_get("portable", NULL), 1);
    assert_true(problem->workspace_bytes[units + 1] > problem->workspace_bytes[1]);
    assert_int_equal(problem->input_slots, STAGE_INPUTS + 2);
    model_cut(config, 2, &payload);
    assert_true(problem->payload_bytes[2] == 4 * payload_bytes(&payload));
    assert_true(problem->memory_bytes[0] == 2097152 && problem->memory_bytes[1] == 0);
    assert_true(problem->bandwidth[3] == 1e6 && problem->latency[3] == 1e-3); /* board 0 to the coordinator */
    assert_true(isinf(problem->handling[0]) && problem->handling[1] == 50e6);
    assert_string_equal(problem->board_names[1], "b");
    fleet_problem_close(&made);
    fleet_file_destroy(&file);
    model_close(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_quantities_refused),
        cmocka_unit_test(test_quantities_read_back),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_printed_reads_back),
        cmocka_unit_test(test_microbatches),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_another_models_fleet),
        cmocka_unit_test(test_another_models_profile),
        cmocka_unit_test(test_problem),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
