/* The optimum by trying everything, and an independent answer to "is there a plan of this period?". Deliberately naive:
 * shares no line with the solver, forms its own sums, and is only fit for small fleets. */
#ifndef TEST_PARTITIONER_BRUTE_FORCE_H
#define TEST_PARTITIONER_BRUTE_FORCE_H

#include "base/allocate.h"
#include "partitioner/partitioner.h"

#include <math.h>

#define BRUTE_TOLERANCE 1e-9 /* periods and latencies this close, relatively, count as equal */

static inline double brute_compute(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    double sum = 0;
    for (unsigned unit = first; unit < end; unit++)
        sum += problem->unit_seconds[board * problem->units + unit];
    return sum;
}

static inline double brute_transfer(const struct problem *problem, unsigned from, unsigned to, unsigned cut) {
    double bandwidth = problem->bandwidth[from * (problem->boards + 1) + to];
    if (bandwidth == 0)
        return INFINITY;
    return problem->latency[from * (problem->boards + 1) + to] + (double)problem->payload_bytes[cut] / bandwidth;
}

static inline bool brute_fits(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    double bytes = 0, workspace = 0;
    for (unsigned unit = first; unit < end; unit++) {
        bytes += (double)problem->weight_bytes[unit];
        workspace = fmax(workspace, (double)problem->workspace_bytes[unit]);
    }
    unsigned inputs = problem->input_slots - (first == 0 ? problem->source_slots_spared : 0);
    bytes += workspace + inputs * (double)problem->payload_bytes[first];
    bytes += problem->output_slots * (double)problem->payload_bytes[end];
    return bytes <= (double)problem->memory_bytes[board];
}

struct brute {
    const struct problem *problem;
    double period_limit, latency_limit; /* plans beyond are not looked at */
    double period, latency;             /* least found */
    unsigned stages;
};

/* Walks all continuations of a partial plan whose last board received in `receive` s and computed up to `cut`. */
static inline void brute_walk(struct brute *brute, unsigned used, unsigned last, unsigned cut, double receive,
                              double period, double latency, unsigned stages) {
    const struct problem *problem = brute->problem;
    bool done = cut == problem->units;
    for (unsigned next = 0; next <= problem->boards; next++) {
        if (done != (next == problem->boards) || (!done && used >> next & 1))
            continue;
        double send = brute_transfer(problem, last, next, cut);
        double busy = last == problem->boards ? 0 : problem->half_duplex ? receive + send : send;
        double longest = fmax(period, fmax(busy, send));
        if (!(longest <= brute->period_limit) || !(latency + send <= brute->latency_limit) || longest == INFINITY)
            continue;
        if (done) {
            brute->period = fmin(brute->period, longest);
            brute->latency = fmin(brute->latency, latency + send);
            brute->stages = stages < brute->stages ? stages : brute->stages;
            continue;
        }
        for (unsigned end = cut + 1; end <= problem->units; end++) {
            double compute = brute_compute(problem, next, cut, end);
            if (compute <= brute->period_limit && brute_fits(problem, next, cut, end))
                brute_walk(brute, used | 1u << next, next, end, send, fmax(longest, compute), latency + send + compute,
                           stages + 1);
        }
    }
}

/* The least period, among such plans the least latency, among those the least number of boards. False if there is no
 * plan. */
static inline bool brute_force(const struct problem *problem, struct brute *best) {
    *best = (struct brute){problem, INFINITY, INFINITY, INFINITY, INFINITY, 1000};
    brute_walk(best, 0, problem->boards, 0, 0, 0, 0, 0);
    if (best->stages == 1000)
        return false;
    struct brute tighter = {problem, best->period * (1 + BRUTE_TOLERANCE), INFINITY, INFINITY, INFINITY, 1000};
    brute_walk(&tighter, 0, problem->boards, 0, 0, 0, 0, 0);
    struct brute tightest = tighter;
    tightest.latency_limit = tighter.latency * (1 + BRUTE_TOLERANCE);
    tightest.stages = 1000;
    brute_walk(&tightest, 0, problem->boards, 0, 0, 0, 0, 0);
    best->latency = tighter.latency;
    best->stages = tightest.stages;
    return true;
}

/* Is there a plan of at most `period`? Dynamic program over (set of boards, last board, cut): the least time in which
 * the last board may have received. Up to a dozen boards. */
static inline bool brute_feasible(const struct problem *problem, double period) {
    unsigned boards = problem->boards, cuts = problem->units + 1;
    size_t sets = (size_t)1 << boards;
    double *least = allocate(sets * boards * cuts, sizeof *least);
    for (size_t at = 0; at < sets * boards * cuts; at++)
        least[at] = INFINITY;
    bool found = false;
    for (size_t set = 0; set < sets; set++)
        for (unsigned last = 0; last <= boards; last++) {
            if (set == 0 ? last < boards : last == boards || !(set >> last & 1))
                continue;
            for (unsigned cut = 0; cut < cuts; cut++) {
                double receive = set == 0 ? (cut == 0 ? 0 : INFINITY) : least[(set * boards + last) * cuts + cut];
                if (receive == INFINITY)
                    continue;
                for (unsigned next = 0; next <= boards; next++) {
                    double send = brute_transfer(problem, last, next, cut);
                    double busy = problem->half_duplex && last < boards ? receive + send : send;
                    if (send == INFINITY || busy > period || send > period || (next < boards && set >> next & 1))
                        continue;
                    if (next == boards) {
                        found |= cut == problem->units;
                        continue;
                    }
                    double compute = 0;
                    for (unsigned end = cut + 1; end < cuts; end++) {
                        compute += problem->unit_seconds[next * problem->units + end - 1];
                        double *cell = &least[((set | (size_t)1 << next) * boards + next) * cuts + end];
                        if (compute > period)
                            break;
                        if (send < *cell && brute_fits(problem, next, cut, end))
                            *cell = send;
                    }
                }
            }
        }
    release(least);
    return found;
}

#endif
