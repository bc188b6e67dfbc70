/* The optimum by trying everything, and an independent answer to "is there a plan of this period?". Deliberately naive:
 * shares no line with the solver, forms its own sums, and is only fit for small fleets. */
#ifndef TEST_PARTITIONER_BRUTE_FORCE_H
#define TEST_PARTITIONER_BRUTE_FORCE_H

#include "base/allocate.h"
#include "partitioner/partitioner.h"

#include <math.h>

#define BRUTE_TOLERANCE 1e-9 /* periods and latencies this close, relatively, count as equal */

/* Which weights the unit computes with: the first unit that has them. */
static inline unsigned brute_weights(const struct problem *problem, unsigned unit) {
    return problem->same_weights && problem->same_weights[unit] ? brute_weights(problem, unit - 1) : unit;
}

static inline double brute_compute(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    double sum = problem->handling ? ((double)problem->payload_bytes[first] + (double)problem->payload_bytes[end]) /
                                         problem->handling[board]
                                   : 0;
    for (unsigned unit = first; unit < end; unit++)
        sum += problem->unit_seconds[board * problem->units + unit];
    unsigned reader = brute_weights(problem, first); /* of the first unit's weights, where the slice had them all */
    double reading = problem->unit_seconds[board * problem->units + reader];
    if (reading > problem->unit_seconds[board * problem->units + first])
        sum += reading - problem->unit_seconds[board * problem->units + first];
    return sum;
}

static inline double brute_transfer(const struct problem *problem, unsigned from, unsigned to, unsigned cut) {
    double bandwidth = problem->bandwidth[from * (problem->boards + 1) + to];
    if (bandwidth == 0)
        return INFINITY;
    return problem->latency[from * (problem->boards + 1) + to] + (double)problem->payload_bytes[cut] / bandwidth;
}

/* Workspace and slots of a slice. */
static inline double brute_buffers(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    double workspace = 0;
    for (unsigned weights = 0; weights < end; weights++) {
        double together = 0;
        for (unsigned unit = first; unit < end; unit++)
            if (brute_weights(problem, unit) == weights)
                together += (double)problem->workspace_bytes[board * problem->units + unit];
        workspace = fmax(workspace, together);
    }
    unsigned inputs = problem->input_slots - (first == 0 ? problem->source_slots_spared : 0);
    if (first == 0)
        workspace += (double)problem->first_workspace_bytes[end];
    return workspace + inputs * (double)problem->payload_bytes[first] +
           problem->output_slots * (double)problem->payload_bytes[end];
}

/* Buffers of the slice, and of what the board holds in the plan beside; weights of whatever is in either. */
static inline bool brute_fits(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    double bytes = (double)problem->process_bytes + brute_buffers(problem, board, first, end);
    bool needed[PARTITIONER_UNITS_MAX] = {false};
    for (unsigned unit = first; unit < end; unit++)
        needed[brute_weights(problem, unit)] = true;
    for (unsigned i = 0; problem->beside && i < problem->beside->stages; i++) {
        const struct plan_stage *stage = &problem->beside->stage[i];
        if (stage->board != board)
            continue;
        bytes += brute_buffers(problem, board, stage->first, stage->end);
        for (unsigned unit = stage->first; unit < stage->end; unit++)
            needed[brute_weights(problem, unit)] = true;
    }
    for (unsigned unit = 0; unit < problem->units; unit++)
        bytes += needed[unit] ? (double)problem->weight_bytes[unit] : 0;
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

/* least[set][last][cut]: the least time in which the last board may have received; INFINITY where the state cannot be
 * reached. */
struct brute_table {
    const struct problem *problem;
    double period, *least;
};

static inline double *brute_cell(const struct brute_table *table, size_t set, unsigned last, unsigned cut) {
    return &table->least[(set * table->problem->boards + last) * (table->problem->units + 1) + cut];
}

/* Lets `next` compute from `cut` on, which it received in `receive` s. */
static inline void brute_compute_on(struct brute_table *table, size_t set, unsigned next, unsigned cut,
                                    double receive) {
    const struct problem *problem = table->problem;
    for (unsigned end = cut + 1; end <= problem->units; end++) {
        double *cell = brute_cell(table, set | (size_t)1 << next, next, end);
        if (brute_compute(problem, next, cut, end) > table->period)
            continue; /* a later one may have less to send */
        if (receive < *cell && brute_fits(problem, next, cut, end))
            *cell = receive;
    }
}

/* Sends on from one state to every board that is left, or to the coordinator: true when that completes a plan. */
static inline bool brute_send_on(struct brute_table *table, size_t set, unsigned last, unsigned cut, double receive) {
    const struct problem *problem = table->problem;
    bool source = last == problem->boards;
    for (unsigned next = 0; next <= problem->boards; next++) {
        double send = brute_transfer(problem, last, next, cut);
        double busy = problem->half_duplex && !source ? receive + send : send;
        if (!(busy <= table->period) || send == INFINITY)
            continue;
        if (next == problem->boards && cut == problem->units)
            return true;
        if (next < problem->boards && !(set >> next & 1) && cut < problem->units)
            brute_compute_on(table, set, next, cut, send);
    }
    return false;
}

/* Is there a plan of at most `period`? Dynamic programming over (set of boards, last board, cut), for up to a dozen
 * boards. */
static inline bool brute_feasible(const struct problem *problem, double period) {
    size_t sets = (size_t)1 << problem->boards, cells = sets * problem->boards * (problem->units + 1);
    struct brute_table table = {problem, period, allocate(cells, sizeof(double))};
    for (size_t cell = 0; cell < cells; cell++)
        table.least[cell] = INFINITY;
    bool found = brute_send_on(&table, 0, problem->boards, 0, 0);
    for (size_t set = 1; set < sets && !found; set++)
        for (unsigned last = 0; last < problem->boards; last++)
            for (unsigned cut = 1; cut <= problem->units && !found; cut++) {
                double receive = *brute_cell(&table, set, last, cut);
                if (receive < INFINITY)
                    found = brute_send_on(&table, set, last, cut, receive);
            }
    release(table.least);
    return found;
}

#endif
