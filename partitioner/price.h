/* The arithmetic of costs, in one place: solvers' tables, plan_cost and plan_check all price with these functions, so
 * that a plan's figures are the same bits wherever they were computed. Pure functions; any thread. */
#ifndef PARTITIONER_PRICE_H
#define PARTITIONER_PRICE_H

#include "partitioner/partitioner.h"

/* A running sum that keeps its rounding error beside it (Knuth's two-sum). The time of a slice is the difference of two
 * running sums; with plain doubles a unit of 1e9 s, which some people write for "never here", would swallow the digits
 * of its neighbours. */
struct running_sum {
    double high, low;
};

static inline struct running_sum running_sum_add(struct running_sum sum, double term) {
    double high = sum.high + term;
    double part = high - sum.high;
    double lost = (sum.high - (high - part)) + (term - part);
    return (struct running_sum){high, sum.low + lost};
}

/* Seconds between two points of the same running sum; exactly 0 when nothing was added between them. */
static inline double running_sum_between(struct running_sum from, struct running_sum to) {
    return (to.high - from.high) + (to.low - from.low);
}

/* Seconds that a board's processors spend on receiving, or on sending, the payload of `cut`. */
double price_handling(const struct problem *problem, unsigned board, unsigned cut);

/* Seconds that a slice on a board takes more than its units because it begins in the midst of units with the same
 * weights. */
double price_entry(const struct problem *problem, unsigned board, unsigned first);

/* Seconds that a board's processors are busy with units [first, end) of one microbatch: computing, and handling the
 * payloads of both cuts. */
double price_compute(const struct problem *problem, unsigned board, unsigned first, unsigned end);

/* Seconds to move the payload of `cut` from one board to another (either may be the coordinator, = problem->boards).
 * A bandwidth of 0 is no link at all: INFINITY, whatever the payload. */
double price_transfer(const struct problem *problem, unsigned from, unsigned to, unsigned cut);

/* Does the slice that begins with `first` and takes in `unit` as its last get the weights of that by it? Not if the
 * unit before has them already. */
bool weights_begin(const struct problem *problem, unsigned first, unsigned unit);

/* Bytes of one slice on a board as its end moves to the right, in O(1) a step; starts with no unit. Sums stop at
 * UINT64_MAX. */
struct slice_bytes {
    const struct problem *problem;
    unsigned board, first, end;
    uint64_t weights, workspace;
    uint64_t step; /* workspace of the last units, those with the same weights */
};
struct slice_bytes slice_bytes_at(const struct problem *problem, unsigned board, unsigned first);
void slice_bytes_grow(struct slice_bytes *slice); /* takes unit `end` in */
uint64_t slice_bytes_total(const struct slice_bytes *slice);

/* What a board holds already, as problem.beside has it, and how much of that a slice from `first` on shares as it grows
 * by a unit. */
struct held_bytes {
    unsigned first, end;    /* the slice held, and units whose weights it has by that; equal: none */
    uint64_t total, shared; /* total: without the process, which is there once */
};
struct held_bytes held_bytes_of(const struct problem *problem, unsigned board);
void held_bytes_share(struct held_bytes *held, const struct problem *problem, unsigned first, unsigned unit);
/* The whole need of a board whose slice takes slice_total and shares held->shared. */
uint64_t held_bytes_beside(const struct held_bytes *held, uint64_t slice_total);

#endif
