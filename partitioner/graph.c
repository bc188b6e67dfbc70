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

void graph_close(struct graph *graph) {
    release(graph->arc_begin);
    release(graph->arc);
    release(graph->crossing);
    release(graph->reach);
    release(graph->allowed);
    release(graph->receive_class);
    release(graph->send_class);
    release(graph->busy);
}

#define RECEIVE_CLASSES 6

static double lesser(double left, double right) {
    return left < right ? left : right;
}

static size_t add_arcs(struct graph *graph, size_t arcs, unsigned type, unsigned first, enum graph_cost cost) {
    const struct fleet *fleet = graph->fleet;
    const uint64_t *fits = fleet_fits(fleet, type, first);
    uint64_t *reach = graph->reach + ((size_t)type * fleet->units + first) * fleet->words;
    for (unsigned end = first + 1; end <= fleet->units; end++) {
        if (!(fleet_units_compute(fleet, type, first, end) <= graph->period))
            break;
        double seconds = fleet_compute(fleet, type, first, end);
        if (!(seconds <= graph->period) || !bit_test(fits, end))
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

/* Lowers least[cut][end] to the shortest transfer that `end` may receive before `cut`. The coordinator's own wire is no
 * board's. */
static void least_received(const struct fleet *fleet, double *least) {
    size_t ends = fleet->ends;
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned to = 0; to < ends; to++) {
            double *now = &least[cut * ends + to];
            *now = to == fleet->types ? 0 : cut == 0 ? INFINITY : now[-(ptrdiff_t)ends];
            for (unsigned from = 0; cut > 0 && from < ends; from++)
                *now = lesser(*now, fleet_transfer(fleet, cut - 1, from, to));
        }
}

/* The same for what it may send after `cut`. */
static void least_sent(const struct fleet *fleet, double *least) {
    size_t ends = fleet->ends;
    for (unsigned cut = fleet->cuts; cut-- > 0;)
        for (unsigned from = 0; from < ends; from++) {
            double *now = &least[cut * ends + from];
            *now = from == fleet->types ? 0 : cut == fleet->units ? INFINITY : now[ends];
            for (unsigned to = 0; cut < fleet->units && to < ends; to++)
                *now = lesser(*now, fleet_transfer(fleet, cut + 1, from, to));
        }
}

/* busy: the transfer itself and the shortest other transfer of whichever of its ends has the longer one. */
static void fill_busy(struct graph *graph) {
    const struct fleet *fleet = graph->fleet;
    size_t ends = fleet->ends, at = 0;
    double *received = allocate(fleet->cuts * ends, sizeof *received);
    double *sent = allocate(fleet->cuts * ends, sizeof *sent);
    least_received(fleet, received);
    least_sent(fleet, sent);
    graph->busy = allocate(fleet->cuts * ends * ends, sizeof *graph->busy);
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned from = 0; from < ends; from++)
            for (unsigned to = 0; to < ends; to++, at++)
                graph->busy[at] = fleet->transfer[at] + fmax(received[cut * ends + from], sent[cut * ends + to]);
    release(received);
    release(sent);
}

static void build_crossings(struct graph *graph, enum graph_cost cost) {
    const struct fleet *fleet = graph->fleet;
    const double *busy = graph->busy ? graph->busy : fleet->transfer;
    size_t ends = fleet->ends, at = 0;
    memset(graph->allowed, 0, ends * ends * fleet->words * sizeof *graph->allowed);
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned from = 0; from < ends; from++)
            for (unsigned to = 0; to < ends; to++, at++) {
                bool possible = busy[at] <= graph->period && busy[at] < INFINITY;
                graph->crossing[at] = !possible ? INFINITY : cost == GRAPH_SECONDS ? fleet->transfer[at] : 0;
                if (possible)
                    bit_set(graph->allowed + (from * ends + to) * fleet->words, cut);
            }
}

/* Only for transfers that are allowed at all. The sender's class is rounded up by a hair, so that rounding never
 * forbids a pair that just fits. The coordinator may always send. */
static void build_classes(struct graph *graph) {
    const struct fleet *fleet = graph->fleet;
    size_t at = 0;
    graph->class_scale = graph->period > 0 ? graph->classes / graph->period : 0;
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned from = 0; from < fleet->ends; from++)
            for (unsigned to = 0; to < fleet->ends; to++, at++)
                if (graph->crossing[at] < INFINITY) {
                    double left = graph->period - fleet->transfer[at];
                    graph->receive_class[at] = (unsigned char)graph_class(graph, fleet->transfer[at]);
                    graph->send_class[at] =
                        (unsigned char)(from == fleet->types ? graph->classes - 1
                                                             : graph_class(graph, left + 1e-9 * graph->period));
                }
}

void graph_init(struct graph *graph, const struct fleet *fleet) {
    memset(graph, 0, sizeof *graph);
    graph->fleet = fleet;
    graph->arc_begin = allocate((size_t)fleet->types * fleet->units + 1, sizeof *graph->arc_begin);
    graph->crossing = allocate((size_t)fleet->cuts * fleet->ends * fleet->ends, sizeof *graph->crossing);
    graph->reach = allocate((size_t)fleet->types * fleet->units * fleet->words, sizeof *graph->reach);
    graph->allowed = allocate((size_t)fleet->ends * fleet->ends * fleet->words, sizeof *graph->allowed);
    graph->classes = 1;
    if (!fleet->problem->half_duplex)
        return;
    graph->classes = RECEIVE_CLASSES;
    graph->receive_class = allocate((size_t)fleet->cuts * fleet->ends * fleet->ends, sizeof *graph->receive_class);
    graph->send_class = allocate((size_t)fleet->cuts * fleet->ends * fleet->ends, sizeof *graph->send_class);
    fill_busy(graph);
}

void graph_build(struct graph *graph, double period, enum graph_cost cost) {
    graph->period = period;
    build_arcs(graph, cost);
    build_crossings(graph, cost);
    if (graph->classes > 1)
        build_classes(graph);
}
