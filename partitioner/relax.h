/* A relaxation of the search: boards may serve twice, but each use has a price.
 *
 * Without the rule "each board at most once" the cheapest route through a graph is a short dynamic program over (type,
 * cut). Give each use of a board of type t a price p[t] >= 0 and hand back p[t] for every board that exists: no real
 * plan pays more than it gets, so "cheapest priced route - sum of count[t] p[t]" is a lower bound on the cost of every
 * real plan (Lagrangian relaxation; state-space relaxation of Christofides, Mingozzi and Toth, 1981). The same holds
 * for what is still to be done from any state of the search, which is what makes the search short. */
#ifndef PARTITIONER_RELAX_H
#define PARTITIONER_RELAX_H

#include "partitioner/graph.h"

struct relaxation {
    const struct fleet *fleet;
    double price[PARTITIONER_BOARDS_MAX]; /* per use of a board of each type */
    double total;                         /* sum of count[t] price[t] */
    double value;                         /* cheapest priced route; INFINITY where there is none */
    unsigned classes;                     /* of receive times: graph.h */
    /* [types][classes][cuts]: cheapest priced rest of a route after `type`, which received in that class, has computed
     * up to a cut */
    double *togo;
    /* [cuts][classes][types]: the same when `type` has just received at the cut, its own price included */
    double *enter;
    unsigned uses[PARTITIONER_BOARDS_MAX]; /* of each type, on the cheapest route */
    struct route route;                    /* that route; stages = 0 where it has more than a route can hold */
};

static inline const double *relaxation_togo(const struct relaxation *relaxation, unsigned type, unsigned class) {
    return relaxation->togo + ((size_t)type * relaxation->classes + class) * relaxation->fleet->cuts;
}

static inline const double *relaxation_enter(const struct relaxation *relaxation, unsigned cut, unsigned class) {
    return relaxation->enter + ((size_t)cut * relaxation->classes + class) * relaxation->fleet->types;
}

/* `classes` as in the graphs it will be evaluated on. */
void relaxation_init(struct relaxation *relaxation, const struct fleet *fleet, unsigned classes);
void relaxation_close(struct relaxation *relaxation);

/* Works out all of the above from the prices. */
void relaxation_evaluate(struct relaxation *relaxation, const struct graph *graph);

/* No type is used more often than there are boards of it: the route is a real plan (but for half-duplex pairs). */
bool relaxation_is_real(const struct relaxation *relaxation);

enum relaxation_verdict {
    RELAXATION_IMPOSSIBLE, /* proven: no plan in this graph */
    RELAXATION_REAL,       /* its route is one */
    RELAXATION_OPEN,
};

/* For a graph without costs: looks for prices, summing to 1, under which every route costs more than 1, which proves
 * that there is no plan. Starts from the prices that are there; leaves the best ones found, evaluated. */
enum relaxation_verdict relaxation_refute(struct relaxation *relaxation, const struct graph *graph, unsigned rounds);

/* For a graph with costs: looks for prices that make the lower bound (value - total) large, and stops at `enough`. */
void relaxation_raise(struct relaxation *relaxation, const struct graph *graph, unsigned rounds, double enough);

/* Slack that covers the rounding of sums of prices when bounds are compared. */
#define RELAXATION_SLACK 1e-9

#endif
