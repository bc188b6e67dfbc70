/* The pace of boards under virtual time: a board computes microbatches, tells of them twice a second, and gets slower
 * and faster as the tests want it. What counts is when its factor changes, how often, and to what. */
#include "daemon/core/pace_core.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define FULL    8
#define BEAT_NS (MONO_SECOND / 2)
#define MINUTE  60.0
#define HOUR    3600.0

struct fixture {
    struct pace_core core;
    mono_t now;
    struct pace_beat beat;
    double slowness;    /* what its microbatches take, as a multiple of the profile's time */
    double work;        /* share of the time that it computes */
    unsigned items;     /* in each microbatch */
    double computed_ns; /* of the microbatch that is being computed */
    mono_t changed_at;
};

static struct pace_board *board(struct fixture *f) {
    return &f->core.board[3];
}

static bool hear(struct fixture *f) {
    bool changed = pace_core_heard(&f->core, 3, &f->beat, f->now);
    if (changed)
        f->changed_at = f->now;
    return changed;
}

/* A microbatch costs a fifth of a full one, whatever is in it, and the rest by its items. */
static double cost_ns(const struct fixture *f) {
    return f->slowness * f->beat.profile_s * 1e9 * (0.2 + 0.8 * f->items / FULL);
}

/* Returns how often its factor changed. */
static unsigned run(struct fixture *f, double slowness, double seconds) {
    unsigned changes = 0;
    f->slowness = slowness;
    for (double passed = 0; passed < seconds; passed += 0.5) {
        f->computed_ns += (double)BEAT_NS * f->work;
        for (; f->work > 0 && f->computed_ns >= cost_ns(f); f->computed_ns -= cost_ns(f)) {
            f->beat.microbatches++;
            f->beat.items += f->items;
            f->beat.busy_ns += (uint64_t)cost_ns(f);
        }
        f->now = mono_after(f->now, BEAT_NS);
        changes += hear(f);
    }
    return changes;
}

static void begin_epoch(struct fixture *f) {
    f->beat.epoch.number++;
    f->beat.microbatches = f->beat.items = f->beat.busy_ns = 0;
    hear(f);
}

static void start(struct fixture *f, int64_t after_ns) {
    const struct pace_settings settings = {.after_ns = after_ns};
    *f = (struct fixture){.work = 1, .items = FULL, .beat = {.full = FULL, .profile_s = 0.1}};
    f->now.ns = 1000 * MONO_SECOND;
    pace_core_init(&f->core, &settings);
    begin_epoch(f);
}

#define assert_near(value, want) assert_true(fabs((value) / (want)-1) < 0.02)

static void test_a_board_that_keeps_its_pace(void **state) {
    struct fixture *f = *state;
    assert_true(board(f)->factor == 1);
    assert_int_equal(run(f, 1, HOUR), 0);
    assert_int_equal(run(f, 1.14, HOUR), 0);
    assert_int_equal(run(f, 0.88, HOUR), 0);
    assert_true(board(f)->factor == 1);
}

static void test_a_slow_board(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 1.5, 40), 0); /* 5 s for the epoch to settle, 6 to lean, 30 to be believed */
    assert_int_equal(run(f, 1.5, 5), 1);
    assert_near(board(f)->factor, 1.5);
    assert_int_equal(run(f, 1.5, HOUR), 0); /* it is planned with now */
    assert_int_equal(run(f, 1.65, HOUR), 0);
    assert_int_equal(run(f, 1.5 * 1.2, MINUTE), 1);
    assert_near(board(f)->factor, 1.5 * 1.2);
}

static void test_a_fast_board(void **state) {
    struct fixture *f = *state;
    assert_int_equal(run(f, 0.5, MINUTE), 1);
    assert_near(board(f)->factor, 0.5);
}

static void test_a_board_is_back_within_seven_percent(void **state) {
    struct fixture *f = *state;
    run(f, 1.5, HOUR);
    assert_int_equal(run(f, 1.1, HOUR), 1);
    assert_near(board(f)->factor, 1.1);
    run(f, 1.5, 2 * HOUR);
    assert_int_equal(run(f, 1.05, HOUR), 1);
    assert_true(board(f)->factor == 1);
}

/* Beyond 15 % it leans, between that and 7 % it goes on leaning, within 7 % it no longer does. */
static void test_hysteresis(void **state) {
    struct fixture *f = *state;
    run(f, 1, 10);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(run(f, 1.3, 20), 0);
        assert_int_equal(run(f, 1.05, 20), 0);
    }
    run(f, 1.2, 12);
    assert_int_equal(run(f, 1.1, HOUR), 0); /* leans, but not that much */
    run(f, 1, MINUTE);
    run(f, 1.3, 20);
    assert_int_equal(run(f, 1.12, 8), 0);
    assert_int_equal(run(f, 1.3, 15), 1);
    assert_true(board(f)->factor > 1.2 && board(f)->factor < 1.3);
}

static void test_one_good_bucket_is_not_a_recovery(void **state) {
    struct fixture *f = *state;
    run(f, 1.5, 23);
    run(f, 1, 8);
    assert_int_equal(run(f, 1.5, 16), 1);
}

static void test_a_spike_is_nothing(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(run(f, 3, 10), 0);
        assert_int_equal(run(f, 1, 50), 0);
    }
}

/* Faster than anybody could plan for: the mean is as good as any other pace. */
static void test_quick_swings_are_a_pace(void **state) {
    struct fixture *f = *state;
    unsigned changes = 0;
    for (unsigned i = 0; i < 360; i++) /* an hour */
        changes += run(f, 2, 5) + run(f, 1, 5);
    assert_int_equal(changes, 1);
    assert_true(board(f)->factor > 1.2 && board(f)->factor < 1.5);
}

static void test_a_change_cools_down(void **state) {
    struct fixture *f = *state;
    run(f, 1.5, MINUTE);
    mono_t changed_at = f->changed_at;
    assert_int_equal(run(f, 3, HOUR), 1);
    int64_t between = mono_since(f->changed_at, changed_at);
    assert_true(between >= 120 * MONO_SECOND && between < 130 * MONO_SECOND);
    changed_at = f->changed_at;
    assert_int_equal(run(f, 1, 10 * MINUTE), 1); /* long after: at once */
    assert_true(f->changed_at.ns >= changed_at.ns + 120 * MONO_SECOND);
}

/* However it swings, each change can cost a plan. */
static unsigned swing(struct fixture *f, double phase_s, double seconds) {
    unsigned changes = 0;
    start(f, 30 * MONO_SECOND);
    for (double passed = 0; passed < seconds; passed += 2 * phase_s)
        changes += run(f, 2, phase_s) + run(f, 1, phase_s);
    return changes;
}

static void test_swings_cause_few_changes(void **state) {
    struct fixture *f = *state;
    unsigned changes = swing(f, MINUTE, HOUR);
    assert_in_range(changes, 1, 5); /* of 60 swings */
    assert_in_range(swing(f, MINUTE, 24 * HOUR), 20, 51);
    assert_in_range(swing(f, 3 * MINUTE, 24 * HOUR), 20, 51);
    assert_in_range(swing(f, 10 * MINUTE, 24 * HOUR), 20, 51);
    for (double phase = 7; phase < 2000; phase *= 1.37)
        assert_in_range(swing(f, phase, 24 * HOUR), 0, 51);
    run(f, board(f)->factor, 3 * HOUR); /* forgiven after two quiet hours */
    run(f, 5, MINUTE);
    assert_int_equal(board(f)->cool_ns, 120 * MONO_SECOND);
}

static void test_idle_times_do_not_matter(void **state) {
    struct fixture *f = *state;
    f->work = 0.1;
    assert_int_equal(run(f, 1, HOUR), 0);
    assert_int_equal(run(f, 1.5, 290), 0); /* less than 30 s of computing */
    assert_int_equal(run(f, 1.5, 190), 1);
    assert_near(board(f)->factor, 1.5);
    f->work = 0;
    assert_int_equal(run(f, 1, HOUR), 0);
}

/* A minute a microbatch: as good a measure as hundreds of short ones. */
static void test_slow_microbatches(void **state) {
    struct fixture *f = *state;
    f->beat.profile_s = 30;
    begin_epoch(f);
    assert_int_equal(run(f, 1, HOUR), 0);
    assert_int_equal(run(f, 2, 5 * MINUTE), 0);
    assert_int_equal(run(f, 2, 3 * MINUTE), 1);
    assert_near(board(f)->factor, 2);
    run(f, 2, HOUR);
    run(f, 5, 150); /* one odd microbatch */
    assert_int_equal(run(f, 2, HOUR), 0);
}

static void test_short_times_still_take_twenty_microbatches(void **state) {
    struct fixture *f = *state;
    start(f, MONO_SECOND);
    assert_int_equal(run(f, 2, 3), 0); /* 0.2 s each */
    assert_int_equal(run(f, 2, 3), 1);
}

static void test_microbatches_that_are_not_full(void **state) {
    struct fixture *f = *state;
    f->items = 1; /* costs 0.3 of a full one, 2.4 times as much an item */
    assert_int_equal(run(f, 1, HOUR), 0);
    f->items = 6;
    assert_int_equal(run(f, 1, HOUR), 0);
    assert_int_equal(run(f, 2, HOUR), 1);
    assert_near(board(f)->factor, 2 * 0.8); /* at least */
    f->items = FULL;
    assert_int_equal(run(f, 2, HOUR), 1);
    assert_near(board(f)->factor, 2);
    f->items = 4;
    assert_int_equal(run(f, 0.2, HOUR), 1);
    assert_near(board(f)->factor, 0.2 * 1.2); /* at most */
}

/* Payloads may fall into computing, into waiting, or half and half: within that nothing is slow or fast. */
static void test_payloads(void **state) {
    struct fixture *f = *state;
    f->beat.handling_s = 0.05;
    for (double slowness = 0.9; slowness < 1.7; slowness += 0.2)
        assert_int_equal(run(f, slowness, HOUR), 0);
    assert_int_equal(run(f, 3, HOUR), 1);
    assert_near(board(f)->factor, 3 / 1.5); /* at least */
    assert_int_equal(run(f, 0.5, HOUR), 1);
    assert_near(board(f)->factor, 0.5); /* at most */
}

static void test_not_while_two_epochs_share_the_board(void **state) {
    struct fixture *f = *state;
    double profile_s = f->beat.profile_s;
    for (unsigned i = 0; i < 10; i++) {
        f->beat.profile_s = profile_s;
        assert_int_equal(run(f, 1.5, 25), 0);
        f->slowness = 0; /* what it computes is another epoch's, too */
        f->beat.profile_s = 0;
        f->beat.microbatches += 1000;
        f->beat.items += 1000;
        f->beat.busy_ns += 600 * MONO_SECOND;
        f->now = mono_after(f->now, 600 * MONO_SECOND);
        assert_false(hear(f));
    }
}

static void test_an_epoch_that_begins_settles(void **state) {
    struct fixture *f = *state;
    for (unsigned i = 0; i < 10; i++) {
        begin_epoch(f);
        assert_int_equal(run(f, 9, 4.5), 0);
        assert_int_equal(run(f, 1, 2 * MINUTE), 0);
        begin_epoch(f);
        assert_int_equal(run(f, 2, 30), 0); /* each epoch is judged by itself */
    }
}

static void test_forgetting(void **state) {
    struct fixture *f = *state;
    run(f, 2, MINUTE);
    assert_near(board(f)->factor, 2);
    pace_core_forget(&f->core, 3);
    assert_true(board(f)->factor == 1);
    assert_int_equal(run(f, 2, MINUTE), 1);
}

/* Three times as slow, it gets no part, so that nobody can see whether it still is. */
static void test_a_slow_spare_gets_another_chance(void **state) {
    struct fixture *f = *state;
    double profile_s = f->beat.profile_s;
    unsigned changes = 0;
    for (double passed = 0; passed < 24 * HOUR; passed += 10) {
        f->beat.spare = board(f)->factor > 1;
        f->beat.profile_s = f->beat.spare ? 0 : profile_s;
        f->work = f->beat.spare ? 0 : 1;
        changes += run(f, 3, 10);
    }
    assert_in_range(changes, 20, 51);
    f->beat.spare = false;
    f->beat.profile_s = profile_s;
    f->work = 1;
    run(f, 3, 2 * HOUR);
    assert_near(board(f)->factor, 3);
    f->beat.profile_s = f->work = 0;
    assert_int_equal(run(f, 3, HOUR), 0); /* not judged, but it has its part */
    f->beat.spare = true;
    run(f, 3, HOUR);
    assert_true(board(f)->factor == 1);
    assert_int_equal(run(f, 3, 24 * HOUR), 0); /* once is enough */
}

static void test_nothing_is_judged_where_that_is_not_wanted(void **state) {
    struct fixture *f = *state;
    start(f, 0);
    assert_int_equal(run(f, 9, HOUR), 0);
}

/* Nobody believes a board what cannot be, and no lie makes a factor that cannot be planned with. */
static void test_lies(void **state) {
    struct fixture *f = *state;
    srand(1);
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t much = (uint64_t)rand() << (rand() % 34);
        f->beat.microbatches += rand() % 3 ? (uint64_t)rand() % 50 : much;
        f->beat.items += rand() % 3 ? (uint64_t)rand() % 400 : much;
        f->beat.busy_ns += rand() % 3 ? (uint64_t)rand() : much;
        f->now = mono_after(f->now, BEAT_NS);
        hear(f);
        assert_true(board(f)->factor >= 1 / PACE_MOST && board(f)->factor <= PACE_MOST);
    }
    start(f, 30 * MONO_SECOND);
    run(f, 1e6, HOUR);
    f->beat.microbatches += 20;
    f->beat.items += 20 * FULL;
    for (unsigned i = 0; i < 100; i++) { /* as slow as can be planned with: said once */
        f->beat.microbatches++;
        f->beat.items += FULL;
        f->beat.busy_ns += 1000 * (uint64_t)MONO_SECOND;
        f->now = mono_after(f->now, 1000 * MONO_SECOND);
        assert_true(!hear(f) || i < 10);
    }
    assert_true(board(f)->factor == PACE_MOST);
}

static int make_fixture(void **state) {
    *state = calloc(1, sizeof(struct fixture));
    if (*state)
        start(*state, 30 * MONO_SECOND);
    return *state ? 0 : -1;
}

static int free_fixture(void **state) {
    free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, free_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_a_board_that_keeps_its_pace),
        TEST(test_a_slow_board),
        TEST(test_a_fast_board),
        TEST(test_a_board_is_back_within_seven_percent),
        TEST(test_hysteresis),
        TEST(test_one_good_bucket_is_not_a_recovery),
        TEST(test_a_spike_is_nothing),
        TEST(test_quick_swings_are_a_pace),
        TEST(test_a_change_cools_down),
        TEST(test_swings_cause_few_changes),
        TEST(test_idle_times_do_not_matter),
        TEST(test_slow_microbatches),
        TEST(test_short_times_still_take_twenty_microbatches),
        TEST(test_microbatches_that_are_not_full),
        TEST(test_payloads),
        TEST(test_not_while_two_epochs_share_the_board),
        TEST(test_an_epoch_that_begins_settles),
        TEST(test_forgetting),
        TEST(test_a_slow_spare_gets_another_chance),
        TEST(test_nothing_is_judged_where_that_is_not_wanted),
        TEST(test_lies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
