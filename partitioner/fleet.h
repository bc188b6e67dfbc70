/* A problem as the exact solver sees it: boards gathered into types, and everything that does not depend on the period
 * worked out once. Read-only after fleet_init; one solve, one thread. */
#ifndef PARTITIONER_FLEET_H
#define PARTITIONER_FLEET_H

#include "partitioner/partitioner.h"
#include "partitioner/price.h"

struct fleet {
    const struct problem *problem;
    unsigned units, cuts;                   /* cuts = units + 1 */
    unsigned words;                         /* of 64 bits, that hold one bit per cut */
    unsigned types, ends;                   /* ends = types + 1: what a link may join; end `types` is the coordinator */
    unsigned count[PARTITIONER_BOARDS_MAX]; /* boards of a type */
    unsigned char member[PARTITIONER_BOARDS_MAX][PARTITIONER_BOARDS_MAX]; /* which ones, ascending */

    struct running_sum *sums; /* [types][cuts]: seconds of units [0, cut) */
    uint64_t *fits;           /* [types][cuts][words]: bit `end` of [type][first]: units [first, end) fit its memory */
    double *transfer;         /* [cuts][ends][ends]: seconds from row to column; INFINITY where no link */
    double *handling;         /* [types][cuts]: seconds of its processors to receive or to send at a cut */
    double handling_most[PARTITIONER_BOARDS_MAX]; /* of a type */
    double *entry; /* [types][cuts]: seconds more than those of its units for a slice that begins there */
};

/* Borrows the problem. With `memory_scale` every board has that many times its memory (1 but for finding out what is
 * missing). */
void fleet_init(struct fleet *fleet, const struct problem *problem, double memory_scale);
void fleet_close(struct fleet *fleet);

/* Seconds of the units alone: they grow with the end. */
static inline double fleet_units_compute(const struct fleet *fleet, unsigned type, unsigned first, unsigned end) {
    const struct running_sum *sums = fleet->sums + (size_t)type * fleet->cuts;
    return running_sum_between(sums[first], sums[end]);
}

/* Seconds of a slice, with its payloads; price_compute's bits. They need not grow with the end, where a smaller payload
 * crosses. */
static inline double fleet_compute(const struct fleet *fleet, unsigned type, unsigned first, unsigned end) {
    const double *handling = fleet->handling + (size_t)type * fleet->cuts;
    double entry = fleet->entry[(size_t)type * fleet->cuts + first];
    return fleet_units_compute(fleet, type, first, end) + entry + handling[first] + handling[end];
}

/* No slice of those units, or with fewer at its end, takes longer. */
static inline double fleet_compute_most(const struct fleet *fleet, unsigned type, unsigned first, unsigned end) {
    double entry = fleet->entry[(size_t)type * fleet->cuts + first];
    return fleet_units_compute(fleet, type, first, end) + entry + fleet->handling_most[type] +
           fleet->handling_most[type];
}

static inline const uint64_t *fleet_fits(const struct fleet *fleet, unsigned type, unsigned first) {
    return fleet->fits + ((size_t)type * fleet->cuts + first) * fleet->words;
}

static inline double fleet_transfer(const struct fleet *fleet, unsigned cut, unsigned from, unsigned to) {
    return fleet->transfer[((size_t)cut * fleet->ends + from) * fleet->ends + to];
}

static inline bool bit_test(const uint64_t *words, unsigned bit) {
    return words[bit / 64] >> (bit % 64) & 1;
}

static inline void bit_set(uint64_t *words, unsigned bit) {
    words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* A plan in terms of types. */
struct route {
    unsigned stages;
    struct route_stop {
        unsigned type, first, end;
    } stop[PARTITIONER_BOARDS_MAX];
};

/* Gives each stop a board of its type and prices the plan; only the stages and figures of `plan` change. */
void route_price(const struct fleet *fleet, const struct route *route, struct plan *plan);

#endif
