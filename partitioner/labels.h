/* The cheapest plan in a graph, for each number of boards: exact search (or a beam) with labels.
 *
 * A label says: with these boards used and this one last, the model can be computed up to this cut at this cost. With
 * half-duplex boards it also says how long the last board receives, since that leaves less time to send; then neither
 * of two labels at one cut need dominate the other, and all that are not dominated are kept (Pareto labels). In a graph
 * without costs what remains is the least receive time, which is all that feasibility needs. */
#ifndef PARTITIONER_LABELS_H
#define PARTITIONER_LABELS_H

#include "partitioner/relax.h"
#include "partitioner/states.h"

struct label {
    double cost;
    double receive; /* seconds; 0 with full-duplex boards, where it does not matter */
    uint32_t parent;
    uint16_t cut;
    uint8_t type;
};

/* Labels at one cut that do not dominate each other, by rising cost and falling receive time. */
struct front_node {
    double cost, receive;
    uint32_t parent, next;
};
struct fronts {
    uint32_t *head; /* [cuts] */
    struct front_node *node;
    size_t nodes, capacity;
    unsigned first, end; /* only cuts in [first, end) have any */
};

/* A state is hopeless when its cost (if the relaxation has costs) and the relaxed rest, less the prices of the boards
 * still unused, exceed the limit. */
struct label_bound {
    const struct relaxation *relaxation;
    bool costs;
    double limit;
};

struct labels {
    const struct fleet *fleet;
    struct states states;
    struct label *label;
    size_t count, capacity;
    struct fronts arrivals, departures;
    /* The cheapest complete plan of k boards, for each k: its cost and last label. */
    double best[PARTITIONER_BOARDS_MAX + 1];
    uint32_t best_label[PARTITIONER_BOARDS_MAX + 1];
};

void labels_init(struct labels *labels, const struct fleet *fleet);
void labels_close(struct labels *labels);

/* Searches `graph` under up to STATES_BOUNDS bounds, whose relaxations were evaluated on graphs of the same period. The
 * last bound with costs is tightened as complete plans are found, by the relative `tolerance` above the best. With
 * `any`, stops at the first complete plan. SEARCH_FOUND: best[k] is finite for some k. Plans that cost more than the
 * limit do not count. */
enum search_result labels_search(struct labels *labels, const struct graph *graph, struct label_bound *bounds,
                                 unsigned bound_count, double tolerance, bool any, const struct search_limits *limits);

/* The plan of `stages` boards behind best[stages]. */
void labels_route(const struct labels *labels, unsigned stages, struct route *route);

#endif
