/* Everything that a plan may consist of if its period is to be at most a given one: slices that a board computes in
 * time and holds in memory, and transfers that are done in time. Rebuilt for each period that is tried. */
#ifndef PARTITIONER_GRAPH_H
#define PARTITIONER_GRAPH_H

#include "partitioner/fleet.h"

/* A slice that ends at `end`; where it begins and on which type of board, its place in the list says. */
struct arc {
    double cost;
    unsigned end;
};

struct graph {
    const struct fleet *fleet;
    double period;
    size_t *arc_begin; /* [types * units + 1]: arcs of (type, first) are arc[arc_begin[type * units + first] ...] */
    struct arc *arc;   /* ascending ends within one (type, first) */
    size_t arc_capacity;
    double *crossing;  /* [cuts][ends][ends]: cost of sending from row to column; INFINITY where it takes too long */
    uint64_t *reach;   /* [types][units][words]: ends of the arcs once more, as bit sets */
    uint64_t *allowed; /* [ends][ends][words]: the finite cuts of crossing[.][from][to], as bit sets */

    /* Half duplex only. A board that received in some time has the rest of the period left to send. Receive times are
     * put into classes of equal width, each standing for its shortest time. */
    unsigned classes;             /* 1 with full duplex */
    double class_scale;           /* classes per second */
    unsigned char *receive_class; /* [cuts][ends][ends]: class of the transfer for who receives it */
    unsigned char *send_class;    /* [cuts][ends][ends]: the largest class of the sender that leaves time for it */
    double *busy; /* [cuts][ends][ends]: seconds of the transfer and of the shortest other one of either end */
};

/* What an arc or a crossing costs: nothing, when only feasibility is asked, or its seconds, when latency is. */
enum graph_cost { GRAPH_FREE, GRAPH_SECONDS };

void graph_init(struct graph *graph, const struct fleet *fleet);
void graph_close(struct graph *graph);
void graph_build(struct graph *graph, double period, enum graph_cost cost);

struct arc_list {
    const struct arc *at, *end;
};

static inline struct arc_list graph_arcs(const struct graph *graph, unsigned type, unsigned first) {
    const size_t *begin = graph->arc_begin + (size_t)type * graph->fleet->units + first;
    return (struct arc_list){graph->arc + begin[0], graph->arc + begin[1]};
}

static inline const double *graph_crossing(const struct graph *graph, unsigned cut, unsigned from) {
    return graph->crossing + ((size_t)cut * graph->fleet->ends + from) * graph->fleet->ends;
}

static inline unsigned graph_class(const struct graph *graph, double receive_seconds) {
    double class = receive_seconds * graph->class_scale;
    return class < graph->classes - 1 ? (unsigned)class : graph->classes - 1;
}

#endif
