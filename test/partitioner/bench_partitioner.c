/* How long the exact solver takes and how much memory it fills, over seeds, in each regime that the partitioner
 * promises something for. Prints one line per regime: median and worst time, largest memory, and how many plans were
 * proven. Each solve runs in a child process, so that the memory of one is not the memory of all.
 *
 *   bench_partitioner [SEEDS [NAME]]     20 seeds; only regimes whose name contains NAME
 */
#include "test/partitioner/fleets.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Processor time, so that what else the machine does counts less. */
static double seconds_now(void *context) {
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct outcome {
    double seconds, gap;
    long kilobytes;
    bool solved, optimal, latency_optimal;
};

struct bench {
    const char *name;
    enum regime regime;
    unsigned boards, types;
    bool half_duplex;
    double time_limit_s;
};

static struct outcome solve_here(const struct bench *bench, uint64_t seed) {
    struct made_fleet made;
    struct plan plan;
    struct error error;
    struct rusage before, after;
    made_fleet_rack(&made, bench->regime, bench->boards, bench->types, seed);
    made.problem.half_duplex = bench->half_duplex;
    struct policy_options options = {.clock = seconds_now, .time_limit_s = bench->time_limit_s};
    getrusage(RUSAGE_SELF, &before);
    double start = seconds_now(NULL);
    bool solved = plan_solve(&made.problem, "optimal", &options, &plan, &error);
    struct outcome outcome = {.seconds = seconds_now(NULL) - start, .solved = solved};
    getrusage(RUSAGE_SELF, &after);
    outcome.kilobytes = after.ru_maxrss - before.ru_maxrss;
    if (!solved || !plan_check(&made.problem, &plan, &error)) {
        fprintf(stderr, "%s, seed %lu: %s\n", bench->name, (unsigned long)seed, error.text);
    } else {
        outcome.optimal = plan.optimal;
        outcome.latency_optimal = plan.latency_optimal;
        outcome.gap = plan.period_s / plan.bound_s - 1;
    }
    made_fleet_close(&made);
    return outcome;
}

static struct outcome solve_apart(const struct bench *bench, uint64_t seed) {
    struct outcome outcome = {.solved = false};
    int ends[2];
    if (pipe(ends))
        return outcome;
    pid_t child = fork();
    if (child == 0) {
        outcome = solve_here(bench, seed);
        _exit(write(ends[1], &outcome, sizeof outcome) != sizeof outcome);
    }
    close(ends[1]);
    if (child < 0 || read(ends[0], &outcome, sizeof outcome) != sizeof outcome)
        outcome.solved = false;
    close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return outcome;
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void run(const struct bench *bench, unsigned seeds) {
    double *seconds = allocate(seeds, sizeof *seconds), worst_gap = 0;
    unsigned solved = 0, optimal = 0, latency_optimal = 0;
    long kilobytes = 0;
    for (unsigned seed = 0; seed < seeds; seed++) {
        struct outcome outcome = solve_apart(bench, seed + 1);
        seconds[seed] = outcome.seconds;
        solved += outcome.solved;
        optimal += outcome.optimal;
        latency_optimal += outcome.latency_optimal;
        kilobytes = outcome.kilobytes > kilobytes ? outcome.kilobytes : kilobytes;
        worst_gap = fmax(worst_gap, outcome.gap);
    }
    qsort(seconds, seeds, sizeof *seconds, by_value);
    printf("%-44s %8.1f ms %8.1f ms %7.1f MB  %2u solved %2u proven %2u shortest  gap %.2f %%\n", bench->name,
           1e3 * seconds[seeds / 2], 1e3 * seconds[seeds - 1], (double)kilobytes / 1024, solved, optimal,
           latency_optimal, 100 * worst_gap);
    fflush(stdout);
    release(seconds);
}

int main(int argc, char **argv) {
    static const struct bench benches[] = {
        {"16 different, compute-bound", REGIME_COMPUTE, 16, 16, false, 0},
        {"16 different, communication-bound", REGIME_COMMUNICATION, 16, 16, false, 0},
        {"16 different, memory tight", REGIME_MEMORY, 16, 16, false, 0},
        {"16 different, mixed", REGIME_MIXED, 16, 16, false, 0},
        {"16 different, coordinator's link", REGIME_COORDINATOR, 16, 16, false, 0},
        {"16 different, half duplex, compute-bound", REGIME_COMPUTE, 16, 16, true, 0},
        {"16 different, half duplex, communication", REGIME_COMMUNICATION, 16, 16, true, 0},
        {"16 different, half duplex, memory tight", REGIME_MEMORY, 16, 16, true, 0},
        {"16 different, half duplex, mixed", REGIME_MIXED, 16, 16, true, 0},
        {"16 different, half duplex, coordinator", REGIME_COORDINATOR, 16, 16, true, 0},
        {"16 of 4 types, compute-bound", REGIME_COMPUTE, 16, 4, false, 0},
        {"16 of 4 types, mixed", REGIME_MIXED, 16, 4, false, 0},
        {"16 equal, compute-bound", REGIME_COMPUTE, 16, 1, false, 0},
        {"16 equal, communication-bound", REGIME_COMMUNICATION, 16, 1, false, 0},
        {"64 of 4 types, compute-bound", REGIME_COMPUTE, 64, 4, false, 0},
        {"64 of 4 types, mixed", REGIME_MIXED, 64, 4, false, 0},
        {"20 different, compute-bound", REGIME_COMPUTE, 20, 20, false, 0},
        {"20 different, communication-bound", REGIME_COMMUNICATION, 20, 20, false, 0},
        {"20 different, mixed", REGIME_MIXED, 20, 20, false, 0},
        {"growth: 2 different, mixed", REGIME_MIXED, 2, 2, false, 0},
        {"growth: 4 different, mixed", REGIME_MIXED, 4, 4, false, 0},
        {"growth: 8 different, mixed", REGIME_MIXED, 8, 8, false, 0},
        {"growth: 12 different, mixed", REGIME_MIXED, 12, 12, false, 0},
        {"growth: 24 different, compute-bound, 4.5 s", REGIME_COMPUTE, 24, 24, false, 4.5},
        {"growth: 32 different, compute-bound, 4.5 s", REGIME_COMPUTE, 32, 32, false, 4.5},
        {"growth: 64 different, compute-bound, 4.5 s", REGIME_COMPUTE, 64, 64, false, 4.5},
    };
    unsigned seeds = argc > 1 ? (unsigned)atoi(argv[1]) : 20;
    printf("%-44s %11s %11s %10s\n", "regime", "median", "worst", "memory");
    for (size_t index = 0; index < sizeof benches / sizeof benches[0]; index++)
        if (argc < 3 || strstr(benches[index].name, argv[2]))
            run(&benches[index], seeds ? seeds : 1);
    return 0;
}
