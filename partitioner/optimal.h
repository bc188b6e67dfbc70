/* The state of one exact solve, shared between the solver (optimal.c) and the diagnosis of fleets without a plan
 * (infeasible.c). */
#ifndef PARTITIONER_OPTIMAL_H
#define PARTITIONER_OPTIMAL_H

#include "partitioner/candidates.h"
#include "partitioner/labels.h"
#include "partitioner/policy.h"
#include "partitioner/reach.h"

struct solver {
    struct fleet fleet;
    struct graph graph;
    struct relaxation feasible; /* prices for graphs without costs */
    struct relaxation cheap;    /* prices for latency */
    struct reach reach;
    struct labels labels;
    struct candidates candidates;
    struct search_limits limits;
    double time_limit; /* 0 = none */
    double longest;    /* no plan needs a longer period */
    double impossible; /* proven: no plan has a period of this or less; -1 while nothing is */
    double open; /* the shortest period that the relaxation failed to refute: longer ones are not worth much effort */
    struct plan best; /* so far; a period of INFINITY while there is none */
};

/* Memory of all boards is scaled by `memory_scale`. `options` may be NULL: no limit of time. */
void solver_init(struct solver *solver, const struct problem *problem, double memory_scale,
                 const struct policy_options *options);
void solver_close(struct solver *solver);

/* Looks for a plan of at most this period, exactly if width is 0, else with a beam of that many states per layer. What
 * is learnt goes into best and impossible. */
enum search_result solver_try(struct solver *solver, double period, size_t width);

#endif
