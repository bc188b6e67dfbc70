/* Who is planned as equal: boards whose profiles noise alone sets apart, and no others. */
#include "base/allocate.h"
#include "daemon/fleet_pool.h"
#include "daemon/fleet_profile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define UNITS 3

/* Adds a board whose units take these seconds, as a profile of one microbatch of 2 and one of 4 with `runs` runs. */
static struct fleet_board *add(struct fleet_file *file, const char *kernels, const double seconds[UNITS], double spread,
                               unsigned runs) {
    struct profile *profile = allocate(1, sizeof *profile);
    struct fleet_board *board = &file->board[file->boards++];
    char name[8];
    snprintf(name, sizeof name, "b%u", file->boards);
    board->name = allocate_string(name);
    snprintf(profile->kernels, sizeof profile->kernels, "%s", kernels);
    profile->threads = 4;
    profile->units = UNITS;
    profile->sizes = 2;
    profile->handling_bytes_per_second = 1e8 * file->boards;
    for (unsigned size = 0; size < 2; size++) {
        struct profile_times *times = &profile->times[size];
        times->microbatch = 2 + 2 * size;
        times->spread = spread;
        times->runs = runs;
        for (unsigned unit = 0; unit < UNITS; unit++)
            times->unit_s[unit] = (1 + size) * seconds[unit];
    }
    fleet_board_set_profile(board, profile);
    release(profile);
    return board;
}

static struct fleet_file *fleet_new(void) {
    struct fleet_file *file = fleet_file_new();
    file->units = UNITS;
    return file;
}

static void assert_seconds(const struct fleet_board *board, double first, double second, double third) {
    const double want[UNITS] = {first, second, third};
    for (unsigned unit = 0; unit < UNITS; unit++)
        for (unsigned size = 0; size < 2; size++)
            if (fabs(board->times[size].seconds[unit] - (1 + size) * want[unit]) > 1e-12)
                fail_msg("%s: unit %u takes %g", board->name, unit, board->times[size].seconds[unit]);
}

/* Half of 0.2: up to 10 %. */
static void test_alike(void **state) {
    struct fleet_file *file = fleet_new();
    (void)state;
    const struct fleet_board *a = add(file, "neon", (double[]){1, 2, 3.2}, 0.2, 4);
    const struct fleet_board *slow = add(file, "neon", (double[]){2, 3, 4}, 0.2, 4);
    const struct fleet_board *b = add(file, "neon", (double[]){1.2, 2.2, 2.8}, 0.01, 100);
    const struct fleet_board *other = add(file, "portable", (double[]){1, 2, 3.2}, 0.2, 4);
    fleet_pool(file);
    assert_seconds(a, 1.1, 2.1, 3);
    assert_seconds(b, 1.1, 2.1, 3);
    assert_memory_equal(a->times[1].seconds, b->times[1].seconds, UNITS * sizeof(double)); /* one type for the solver */
    assert_true(a->handling == b->handling && fabs(a->handling - 1.5e8) < 1);              /* 1e8 and 3e8 */
    assert_seconds(slow, 2, 3, 4);
    assert_seconds(other, 1, 2, 3.2);
    fleet_file_destroy(&file);
}

/* Quiet profiles tell boards apart that noisy ones do not; nothing makes 11 % equal. */
static void test_noise(void **state) {
    static const struct {
        double ratio, spread;
        unsigned runs;
        bool equal;
    } cases[] = {
        {1.019, 0.001, 100, true}, {1.021, 0.001, 100, false}, {1.04, 0.1, 25, true}, {1.06, 0.1, 25, false},
        {1.04, 0, 1, true},        {1.06, 0, 2, false},        {1.03, 0, 3, false},   {1.06, 0, 0, false},
        {1.09, 0.3, 1, true},      {1.11, 9, 1, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fleet_file *file = fleet_new();
        const struct fleet_board *a = add(file, "neon", (double[]){1, 1, 1}, cases[i].spread, cases[i].runs);
        const double times = cases[i].ratio;
        const struct fleet_board *b =
            add(file, "neon", (double[]){times, times, times}, cases[i].spread, cases[i].runs);
        fleet_pool(file);
        if ((a->times[0].seconds[0] == b->times[0].seconds[0]) != cases[i].equal)
            fail_msg("%g, spread %g over %u runs", times, cases[i].spread, cases[i].runs);
        fleet_file_destroy(&file);
    }
}

/* As fast in all, but not in each unit: 30 % of noise would be a third of that. */
static void test_other_processors(void **state) {
    struct fleet_file *file = fleet_new();
    (void)state;
    const struct fleet_board *a = add(file, "neon", (double[]){2, 1, 1}, 0.2, 10);
    const struct fleet_board *b = add(file, "neon", (double[]){1.3, 1.7, 1}, 0.2, 10);
    fleet_pool(file);
    assert_seconds(a, 2, 1, 1);
    assert_seconds(b, 1.3, 1.7, 1);
    fleet_file_destroy(&file);
}

/* Nor boards of which one does more at once, or moves bytes at quite another rate. */
static void test_other_boards(void **state) {
    struct fleet_file *file = fleet_new();
    (void)state;
    const struct fleet_board *a = add(file, "neon", (double[]){1, 1, 1}, 0.2, 10);
    struct fleet_board *threads = add(file, "neon", (double[]){1.02, 1, 1}, 0.2, 10);
    struct fleet_board *bytes = add(file, "neon", (double[]){1.04, 1, 1}, 0.2, 10);
    struct fleet_board *free = add(file, "neon", (double[]){1.06, 1, 1}, 0.2, 10);
    threads->threads = 2;
    bytes->handling = 4.1 * a->handling;
    free->handling = 0;
    fleet_pool(file);
    assert_seconds(a, 1, 1, 1);
    assert_seconds(threads, 1.02, 1, 1);
    assert_seconds(bytes, 1.04, 1, 1);
    assert_seconds(free, 1.06, 1, 1);
    assert_true(bytes->handling == 4.1 * a->handling && free->handling == 0);
    fleet_file_destroy(&file);
}

/* One that was measured with more sizes than its twin is its twin all the same. */
static void test_other_sizes(void **state) {
    struct fleet_file *file = fleet_new();
    (void)state;
    const struct fleet_board *a = add(file, "neon", (double[]){1, 1, 1}, 0.001, 10);
    struct fleet_board *b = add(file, "neon", (double[]){1.01, 1.01, 1.01}, 0.001, 10);
    assert_true(fleet_board_add_times(b, 16, (double[]){9, 9, 9}, UNITS));
    fleet_pool(file);
    assert_seconds(a, 1.005, 1.005, 1.005);
    assert_seconds(b, 1.005, 1.005, 1.005);
    assert_true(fleet_board_seconds(b, 16)[0] == 9);
    fleet_file_destroy(&file);
}

/* Neighbours that are each within the noise make no chain: the slowest is compared with the fastest. */
static void test_chain(void **state) {
    struct fleet_file *file = fleet_new();
    double seen[5];
    unsigned kinds = 0;
    (void)state;
    for (unsigned i = 0; i < 5; i++) { /* 4 % apart, the slowest first */
        double times = pow(1.04, 4 - i);
        add(file, "neon", (double[]){times, times, times}, 0.2, 25);
    }
    fleet_pool(file);
    for (unsigned i = 0; i < 5; i++) {
        bool known = false;
        for (unsigned k = 0; k < kinds; k++)
            known = known || seen[k] == file->board[i].times[0].seconds[0];
        if (!known)
            seen[kinds++] = file->board[i].times[0].seconds[0];
    }
    assert_int_equal(kinds, 2); /* 1, 1.04, 1.082; 1.125, 1.17 */
    assert_true(file->board[2].times[0].seconds[0] == file->board[4].times[0].seconds[0]);
    assert_true(file->board[0].times[0].seconds[0] == file->board[1].times[0].seconds[0]);
    fleet_file_destroy(&file);
}

/* What somebody wrote down is what they mean. */
static void test_times_are_left_alone(void **state) {
    static const char text[] = "boards:\n"
                               "  - {name: a, memory: 1GiB, times: [{microbatch: 8, unit_seconds: [1, 2]}]}\n"
                               "  - {name: b, memory: 1GiB, times: [{microbatch: 8, unit_seconds: [1.001, 2]}]}\n"
                               "  - {name: c, memory: 1GiB, speed: 1GFLOPS}\n";
    struct error error;
    (void)state;
    struct fleet_file *file = fleet_file_parse(text, sizeof text - 1, "fleet.yaml", NULL, &error);
    assert_non_null(file);
    fleet_pool(file);
    assert_true(file->board[0].times[0].seconds[0] == 1 && file->board[1].times[0].seconds[0] == 1.001);
    fleet_file_destroy(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_other_processors),
        cmocka_unit_test(test_other_boards),
        cmocka_unit_test(test_other_sizes),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_times_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
