/* Is there a plan of at most this period? Exact search (or a beam) for full-duplex fleets, with bit sets.
 *
 * What can be done with a set of boards used and one of them last is a set of cuts: up to where the model may have been
 * computed. The farthest cut does not dominate the others (a nearer one may carry less, and memory for payloads makes
 * the feasible ends of a slice an arbitrary set), so all are kept, one bit each: a few machine words say everything
 * about a state. */
#ifndef PARTITIONER_REACH_H
#define PARTITIONER_REACH_H

#include "partitioner/relax.h"
#include "partitioner/states.h"

struct reach {
    const struct fleet *fleet;
    struct states states;
    uint64_t *row; /* [.][words]: one set of cuts per block */
    size_t words_used, words_capacity;
    double *threshold; /* [types][cuts]: relaxation's togo, ascending */
    uint64_t *within;  /* [types][cuts + 1][words]: the cuts whose togo are the first k thresholds */
    uint16_t *order;   /* [cuts] */
    bool beam;         /* the states must be compared with each other */
};

void reach_init(struct reach *reach, const struct fleet *fleet);
void reach_close(struct reach *reach);

/* Searches a graph without costs, leaving out states from which `relaxation`, evaluated on the same graph with prices
 * that sum to 1, sees no way on. SEARCH_FOUND fills in the route. */
enum search_result reach_search(struct reach *reach, const struct graph *graph, const struct relaxation *relaxation,
                                const struct search_limits *limits, struct route *route);

#endif
