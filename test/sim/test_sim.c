/* Random histories of a fleet (sim.h), each from its seed: all must hold the invariants. Then the same with one thing
 * broken on purpose: some history must notice.
 *
 *   SIM_SEED=N                replay that history          SIM_TRACE=1      tell what happens in it
 *   SIM_HISTORIES=N           how many to run              SIM_FIRST=N      the first seed
 *   SIM_SABOTAGE=N            break something (enum sim_sabotage) in the replayed history
 */
#include "test/sim/sim.h"

#include "base/allocate.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define HISTORIES 10000
#define SECONDS   60 /* enough for all where nothing slows the processor down twentyfold; the rest is left out */

static volatile uint64_t running; /* for the report of a failed assertion */

static uint64_t number_of(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    return text && text[0] ? strtoull(text, NULL, 10) : otherwise;
}

static void report_abort(int number) {
    char text[64];
    int length = snprintf(text, sizeof text, "aborted in SIM_SEED=%llu\n", (unsigned long long)running);
    ssize_t written = write(STDERR_FILENO, text, (size_t)length);
    (void)written;
    signal(number, SIG_DFL);
    raise(number);
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool history(struct world *world, uint64_t seed, enum sim_sabotage sabotage, struct sim_counts *counts) {
    running = seed;
    return sim_history(world, seed, sabotage, number_of("SIM_TRACE", 0) != 0, counts);
}

static void test_random_histories(void **state) {
    struct world *world = *state;
    struct sim_counts counts = {0};
    uint64_t replay = number_of("SIM_SEED", 0), first = replay ? replay : number_of("SIM_FIRST", 1);
    uint64_t histories = replay ? 1 : number_of("SIM_HISTORIES", HISTORIES);
    enum sim_sabotage sabotage = replay ? (enum sim_sabotage)number_of("SIM_SABOTAGE", SIM_SOUND) : SIM_SOUND;
    bool limited = !getenv("SIM_HISTORIES");
    double start = seconds_now();
    for (uint64_t seed = first; seed < first + histories && (!limited || seconds_now() - start < SECONDS); seed++)
        if (!history(world, seed, sabotage, &counts))
            fail_msg("SIM_SEED=%" PRIu64 " %s", seed, world->failure);
    double took = seconds_now() - start;
    print_message(
        "%" PRIu64 " histories in %.1f s (%.0f/s), %" PRIu64 " steps: %" PRIu64 " deaths, %" PRIu64 " cuts, %" PRIu64
        " freezes, %" PRIu64 " stuck loads, %" PRIu64 " leaves, %" PRIu64 " drains, %" PRIu64
        " restarts of the coordinator, %" PRIu64 " damaged; %" PRIu64 " epochs, %" PRIu64
        " of them beside the last one, %" PRIu64 " as a step; %" PRIu64 " times a board at another pace; %" PRIu64
        " items answered, %" PRIu64 " sent again, %" PRIu64 " failed\n",
        counts.histories, took, (double)counts.histories / took, counts.steps, counts.deaths, counts.cuts,
        counts.freezes, counts.jams, counts.leaves, counts.drains, counts.restarts, counts.damages, counts.epochs,
        counts.besides, counts.strides, counts.drifts, counts.answered, counts.replayed, counts.failed);
}

static void test_same_seed_same_history(void **state) {
    struct world *world = *state;
    struct sim_counts first = {0}, second = {0};
    assert_true(history(world, 7, SIM_SOUND, &first));
    assert_true(history(world, 7, SIM_SOUND, &second));
    assert_memory_equal(&first, &second, sizeof first);
}

/* The violation that the sabotage must be noticed by is part of its proof. */
static void test_sabotage_is_noticed(void **state) {
    static const struct {
        enum sim_sabotage sabotage;
        const char *noticed;
    } cases[] = {
        {SIM_NO_REPLAY, "the core knows of"},
        {SIM_REPLAY_UNSENT, "for no good reason: given up"},
        {SIM_REPLAY_ANSWERED, "is answered"},
        {SIM_RESULT_BLIND, "wrong answer"},
        {SIM_SKIP_UNIT, "wrong answer"},
        {SIM_EARLY_LET_GO, "held"},
        {SIM_OVERFULL, "memory"},
        {SIM_RETIRE_EARLY, "sent again though nothing went wrong"},
    };
    struct world *world = *state;
    if (number_of("SIM_SEED", 0))
        skip();
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_counts counts = {0};
        uint64_t seed = 1;
        while (seed <= 300 && history(world, seed, cases[i].sabotage, &counts))
            seed++;
        print_message("sabotage %d: seed %" PRIu64 " %s\n", (int)cases[i].sabotage, seed, world->failure);
        assert_non_null(strstr(world->failure, cases[i].noticed));
    }
}

static int make_world(void **state) {
    *state = allocate(1, sizeof(struct world));
    signal(SIGABRT, report_abort);
    return 0;
}

static int free_world(void **state) {
    release(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_random_histories, make_world, free_world),
        cmocka_unit_test_setup_teardown(test_same_seed_same_history, make_world, free_world),
        cmocka_unit_test_setup_teardown(test_sabotage_is_noticed, make_world, free_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
