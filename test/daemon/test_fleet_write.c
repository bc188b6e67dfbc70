/* Fleets at random: what fleet_write writes reads back number by number. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/fleet_write.h"
#include "test/daemon/fleet_same.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t roll(uint64_t *state, uint64_t below) {
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (z ^ z >> 31) % below;
}

/* Above 0, over ten orders of magnitude, with all bits in use or a few. */
static double number(uint64_t *state) {
    double mantissa = 1 + (double)roll(state, UINT64_C(1) << 52) / 0x1p52;
    return roll(state, 2) ? ldexp(mantissa, (int)roll(state, 34) - 17) : (double)(1 + roll(state, 1000));
}

static const char *const names[] = {"pi",  "it's", "a b", "\xc3\xa9", "#1",  "null",
                                    "- x", "\"",   "\\",  "yes",      "1e3", "{"};

static void make_board(uint64_t *state, struct fleet_file *file, struct fleet_board *board, unsigned index) {
    char name[40];
    double seconds[PARTITIONER_UNITS_MAX];
    snprintf(name, sizeof name, "%s %u", names[roll(state, sizeof names / sizeof names[0])], index);
    board->name = allocate_string(name);
    board->memory_bytes = roll(state, UINT64_C(1) << 40) + 1;
    board->reserve_bytes = roll(state, 2) ? roll(state, UINT64_C(1) << 30) : 0;
    board->storage = roll(state, 2) ? 1e6 * number(state) : 0;
    board->handling = roll(state, 2) ? 1e6 * number(state) : 0;
    board->kernels = roll(state, 2) ? allocate_string("neon") : NULL;
    board->threads = (unsigned)roll(state, 5);
    board->speed = file->units ? 0 : 1e9 * number(state);
    for (unsigned size = 1; file->units && size <= 1 + roll(state, 4); size++) {
        for (unsigned unit = 0; unit < file->units; unit++)
            seconds[unit] = number(state) / 1000;
        fleet_board_add_times(board, size, seconds, file->units);
    }
}

static struct fleet_link make_link(uint64_t *state) {
    static const double rates[] = {INFINITY, 0, 125e6, 12.5e6};
    uint64_t which = roll(state, 6);
    return (struct fleet_link){which < 4 ? rates[which] : 1e6 * number(state),
                               roll(state, 2) ? 3e-4 : number(state) / 1000};
}

static struct fleet_file *make_fleet(uint64_t seed) {
    uint64_t state = seed;
    struct fleet_file *file = fleet_file_new();
    file->units = roll(&state, 4) ? (unsigned)(1 + roll(&state, 20)) : 0;
    file->architecture = roll(&state, 2) ? allocate_string("ViTModel") : NULL;
    if (roll(&state, 2))
        memcpy(file->fingerprint, "0123456789abcdef0123456789abcdef", sizeof file->fingerprint);
    file->half_duplex = roll(&state, 2);
    unsigned boards = (unsigned)(1 + roll(&state, 6));
    for (; file->boards < boards; file->boards++)
        make_board(&state, file, &file->board[file->boards], file->boards);
    for (unsigned row = 0; row <= boards; row++)
        for (unsigned column = 0; column <= boards; column++) {
            unsigned from = row < boards ? row : FLEET_COORDINATOR, to = column < boards ? column : FLEET_COORDINATOR;
            if (from != to)
                file->link[from][to] = make_link(&state);
        }
    return file;
}

static void test_random_fleets(void **state) {
    char path[] = "/tmp/stagecoach-fleet.XXXXXX";
    int descriptor = mkstemp(path);
    (void)state;
    assert_true(descriptor >= 0);
    close(descriptor);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct error error = {0};
        struct fleet_file *file = make_fleet(seed);
        if (!fleet_write(file, seed % 2 ? "a comment\n\nof lines" : NULL, path, &error))
            fail_msg("seed %u: %s", (unsigned)seed, error.text);
        struct fleet_file *again = fleet_file_read(path, NULL, &error);
        if (!again)
            fail_msg("seed %u: %s", (unsigned)seed, error.text);
        if (!same_fleet(file, again))
            fail_msg("seed %u: not the same", (unsigned)seed);
        fleet_file_destroy(&again);
        fleet_file_destroy(&file);
    }
    unlink(path);
}

/* The longest run of digits and points outside of quotes and comments. */
static size_t longest_number(const char *text) {
    size_t longest = 0;
    bool quoted = false;
    for (size_t length; *text; text += length) {
        length = strspn(text, "0123456789.");
        longest = !quoted && length > longest ? length : longest;
        if (length == 0) {
            quoted = *text == '"' ? !quoted : quoted;
            length = *text == '\\' && quoted ? 2 : 1;
        }
    }
    return longest;
}

/* Measured values are rounded once; then they are short in the file, and read back to the same bits. */
static void test_rounded_fleets(void **state) {
    char path[] = "/tmp/stagecoach-fleet.XXXXXX";
    int descriptor = mkstemp(path);
    (void)state;
    assert_true(descriptor >= 0);
    close(descriptor);
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct error error = {0};
        size_t size;
        void *text = NULL;
        struct fleet_file *exact = make_fleet(seed), *file = make_fleet(seed);
        for (unsigned index = 0; index < file->boards; index++)
            file->board[index].reserve_bytes = 0; /* what a person has said stays as it is */
        fleet_round(file);
        assert_true(fabs(file->link[0][FLEET_COORDINATOR].latency - exact->link[0][FLEET_COORDINATOR].latency) <=
                    1e-4 * exact->link[0][FLEET_COORDINATOR].latency);
        assert_true(file->board[0].memory_bytes <= exact->board[0].memory_bytes);
        assert_true(fleet_write(file, NULL, path, &error) && file_read(path, 1 << 20, &text, &size, &error));
        if (longest_number(text) > 10)
            fail_msg("seed %u: a number of %zu characters in\n%s", (unsigned)seed, longest_number(text), (char *)text);
        struct fleet_file *again = fleet_file_read(path, NULL, &error);
        assert_true(again && same_fleet(file, again));
        release(text);
        fleet_file_destroy(&again);
        fleet_file_destroy(&file);
        fleet_file_destroy(&exact);
    }
    unlink(path);
}

static void test_no_folder(void **state) {
    struct error error = {0};
    struct fleet_file *file = make_fleet(1);
    (void)state;
    assert_false(fleet_write(file, NULL, "/no/such/folder/fleet.yaml", &error));
    assert_non_null(strstr(error.text, "/no/such/folder/fleet.yaml"));
    fleet_file_destroy(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_fleets),
        cmocka_unit_test(test_rounded_fleets),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
