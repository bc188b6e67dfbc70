/* Which slices and transfers a period leaves; see graph.h.
 *
 * With half-duplex boards a transfer must leave time for the other transfer of both boards. Which one that will be is
 * not known here, so a crossing stays only if the cheapest one would do: necessary, not sufficient. The search checks
 * the real pair. Memory: the tables are sized once, the list of arcs grows to the largest period tried.
 */
#include "partitioner/graph.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

void graph_init(struct graph *graph, const struct fleet *fleet) {
    memset(graph, 0, sizeof *graph);
    graph->fleet = fleet;
    graph->arc_begin = allocate((size_t)fleet->types * fleet->units + 1, sizeof *graph->arc_begin);
    graph->crossing = allocate((size_t)fleet->cuts * fleet->ends * fleet->ends, sizeof *graph->crossing);
    graph->reach = allocate((size_t)fleet->types * fleet->units * fleet->words, sizeof *graph->reach);
    graph->allowed = allocate((size_t)fleet->ends * fleet->ends * fleet->words, sizeof *graph->allowed);
}

void graph_close(struct graph *graph) {
    release(graph->arc_begin);
    release(graph->arc);
    release(graph->crossing);
    release(graph->reach);
    release(graph->allowed);
}

static size_t add_arcs(struct graph *graph, size_t arcs, unsigned type, unsigned first, enum graph_cost cost) {
    const struct fleet *fleet = graph->fleet;
    const uint64_t *fits = fleet_fits(fleet, type, first);
    uint64_t *reach = graph->reach + ((size_t)type * fleet->units + first) * fleet->words;
    for (unsigned end = first + 1; end <= fleet->units; end++) {
        double seconds = fleet_compute(fleet, type, first, end);
        if (!(seconds <= graph->period))
            break;
        if (!bit_test(fits, end))
            continue;
        graph->arc[arcs++] = (struct arc){cost == GRAPH_SECONDS ? seconds : 0, end};
        bit_set(reach, end);
    }
    return arcs;
}

static void build_arcs(struct graph *graph, enum graph_cost cost) {
    const struct fleet *fleet = graph->fleet;
    size_t arcs = 0, lists = 0;
    memset(graph->reach, 0, (size_t)fleet->types * fleet->units * fleet->words * sizeof *graph->reach);
    for (unsigned type = 0; type < fleet->types; type++)
        for (unsigned first = 0; first < fleet->units; first++) {
            void *memory = graph->arc;
            allocate_grow(&memory, &graph->arc_capacity, arcs + fleet->units, sizeof *graph->arc);
            graph->arc = memory;
            graph->arc_begin[lists++] = arcs;
            arcs = add_arcs(graph, arcs, type, first, cost);
        }
    graph->arc_begin[lists] = arcs;
}

/* For each end and cut, the least seconds that any transfer takes which the end may receive before that cut, or send
 * after it. */
struct other_transfer {
    double *received_before, *sent_after; /* [cuts][ends] */
};

static void least_transfers(const struct fleet *fleet, struct other_transfer *other) {
    size_t ends = fleet->ends;
    for (size_t at = 0; at < fleet->cuts * ends; at++)
        other->received_before[at] = other->sent_after[at] = INFINITY;
    for (unsigned cut = 0; cut < fleet->units; cut++)
        for (unsigned from = 0; from < ends; from++)
            for (unsigned to = 0; to < ends; to++) {
                double *least = &other->received_before[(cut + 1) * ends + to];
                *least = fmin(*least, fmin(least[-(ptrdiff_t)ends], fleet_transfer(fleet, cut, from, to)));
            }
    for (unsigned cut = fleet->units; cut > 0; cut--)
        for (unsigned from = 0; from < ends; from++)
            for (unsigned to = 0; to < ends; to++) {
                double *least = &other->sent_after[(cut - 1) * ends + from];
                *least = fmin(*least, fmin(least[ends], fleet_transfer(fleet, cut, from, to)));
            }
    for (unsigned cut = 0; cut < fleet->cuts; cut++) /* the coordinator's own wire is no board's */
        other->received_before[cut * ends + fleet->types] = other->sent_after[cut * ends + fleet->types] = 0;
}

static void build_crossings(struct graph *graph, enum graph_cost cost, const struct other_transfer *other) {
    const struct fleet *fleet = graph->fleet;
    size_t ends = fleet->ends, at = 0;
    memset(graph->allowed, 0, ends * ends * fleet->words * sizeof *graph->allowed);
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned from = 0; from < ends; from++)
            for (unsigned to = 0; to < ends; to++, at++) {
                double seconds = fleet->transfer[at], busy = seconds;
                if (other)
                    busy += fmax(other->received_before[cut * ends + from], other->sent_after[cut * ends + to]);
                bool possible = busy <= graph->period && isfinite(seconds);
                graph->crossing[at] = !possible ? INFINITY : cost == GRAPH_SECONDS ? seconds : 0;
                if (possible)
                    bit_set(graph->allowed + (from * ends + to) * fleet->words, cut);
            }
}

void graph_build(struct graph *graph, double period, enum graph_cost cost) {
    const struct fleet *fleet = graph->fleet;
    graph->period = period;
    build_arcs(graph, cost);
    if (!fleet->problem->half_duplex) {
        build_crossings(graph, cost, NULL);
        return;
    }
    struct other_transfer other = {.received_before = allocate((size_t)fleet->cuts * fleet->ends, sizeof(double)),
                                   .sent_after = allocate((size_t)fleet->cuts * fleet->ends, sizeof(double))};
    least_transfers(fleet, &other);
    build_crossings(graph, cost, &other);
    release(other.received_before);
    release(other.sent_after);
}
