/* The periods that a plan can have at all: the time of a slice, of a transfer or, half duplex, of two transfers of one
 * board. There are finitely many, so a bisection over them ends with the exact optimum. */
#ifndef PARTITIONER_CANDIDATES_H
#define PARTITIONER_CANDIDATES_H

#include "partitioner/fleet.h"

struct candidates {
    double *seconds; /* ascending, each once */
    size_t count, capacity;
};

void candidates_close(struct candidates *candidates);

/* Gathers those strictly between two periods. False when there are more than `most`: then only some were gathered. */
bool candidates_between(struct candidates *candidates, const struct fleet *fleet, double above, double below,
                        size_t most);

/* The largest finite one: a plan that exists has no longer period. */
double candidates_longest(const struct fleet *fleet);

#endif
