/* The priced relaxation and two ways of finding good prices; see relax.h.
 *
 * Feasibility is a zero-sum game: one player mixes boards (prices that sum to 1), the other picks a route and pays for
 * the boards it uses. If the first can make every route cost more than 1, no plan exists, because a plan uses each
 * board at most once. Multiplicative weights find good mixes quickly: boards that the route uses too often become
 * dearer. For latency the bound is raised along subgradients (uses - count) with Polyak's step towards the cost of the
 * best plan known.
 */
#include "partitioner/relax.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

void relaxation_init(struct relaxation *relaxation, const struct fleet *fleet) {
    memset(relaxation, 0, sizeof *relaxation);
    relaxation->fleet = fleet;
    relaxation->togo = allocate((size_t)fleet->types * fleet->cuts, sizeof *relaxation->togo);
    relaxation->enter = allocate((size_t)fleet->types * fleet->cuts, sizeof *relaxation->enter);
}

void relaxation_close(struct relaxation *relaxation) {
    release(relaxation->togo);
    release(relaxation->enter);
}

static double cheapest_arc(const struct graph *graph, const double *togo, unsigned type, unsigned first) {
    struct arc_list arcs = graph_arcs(graph, type, first);
    double best = INFINITY;
    for (const struct arc *arc = arcs.at; arc < arcs.end; arc++) {
        double cost = arc->cost + togo[arc->end];
        best = cost < best ? cost : best;
    }
    return best;
}

static double cheapest_crossing(const double *crossing, const double *enter, unsigned types) {
    double best = INFINITY;
    for (unsigned to = 0; to < types; to++) {
        double cost = crossing[to] + enter[to];
        best = cost < best ? cost : best;
    }
    return best;
}

static void evaluate_tables(struct relaxation *relaxation, const struct graph *graph) {
    const struct fleet *fleet = relaxation->fleet;
    unsigned types = fleet->types;
    for (unsigned type = 0; type < types; type++)
        relaxation->togo[(size_t)type * fleet->cuts + fleet->units] = graph_crossing(graph, fleet->units, type)[types];
    for (unsigned cut = fleet->units; cut-- > 0;) {
        double *enter = relaxation->enter + (size_t)cut * types;
        for (unsigned type = 0; type < types; type++)
            enter[type] =
                relaxation->price[type] + cheapest_arc(graph, relaxation->togo + (size_t)type * fleet->cuts, type, cut);
        for (unsigned type = 0; type < types; type++)
            relaxation->togo[(size_t)type * fleet->cuts + cut] =
                cheapest_crossing(graph_crossing(graph, cut, type), enter, types);
    }
    relaxation->value = cheapest_crossing(graph_crossing(graph, 0, types), relaxation->enter, types);
}

/* One stage further along the cheapest route: which type receives at `cut`, and where its slice ends. The sums are
 * formed as in the tables, so that equality is exact. */
static struct route_stop follow(const struct relaxation *relaxation, const struct graph *graph, unsigned from,
                                unsigned cut, double cost) {
    const struct fleet *fleet = relaxation->fleet;
    const double *crossing = graph_crossing(graph, cut, from), *enter = relaxation->enter + (size_t)cut * fleet->types;
    unsigned type = 0;
    while (type + 1 < fleet->types && crossing[type] + enter[type] != cost)
        type++;
    struct arc_list arcs = graph_arcs(graph, type, cut);
    const double *togo = relaxation->togo + (size_t)type * fleet->cuts;
    const struct arc *arc = arcs.at;
    while (arc + 1 < arcs.end && relaxation->price[type] + (arc->cost + togo[arc->end]) != enter[type])
        arc++;
    return (struct route_stop){.type = type, .first = cut, .end = arc->end};
}

static void trace(struct relaxation *relaxation, const struct graph *graph) {
    const struct fleet *fleet = relaxation->fleet;
    memset(relaxation->uses, 0, sizeof relaxation->uses);
    relaxation->route.stages = 0;
    if (!isfinite(relaxation->value))
        return;
    unsigned from = fleet->types, cut = 0, stages = 0;
    double cost = relaxation->value;
    while (cut < fleet->units) {
        struct route_stop stop = follow(relaxation, graph, from, cut, cost);
        relaxation->uses[stop.type]++;
        if (stages < PARTITIONER_BOARDS_MAX)
            relaxation->route.stop[stages] = stop;
        stages++;
        from = stop.type;
        cut = stop.end;
        cost = relaxation->togo[(size_t)from * fleet->cuts + cut];
    }
    relaxation->route.stages = stages <= PARTITIONER_BOARDS_MAX ? stages : 0;
}

void relaxation_evaluate(struct relaxation *relaxation, const struct graph *graph) {
    relaxation->total = 0;
    for (unsigned type = 0; type < relaxation->fleet->types; type++)
        relaxation->total += relaxation->fleet->count[type] * relaxation->price[type];
    evaluate_tables(relaxation, graph);
    trace(relaxation, graph);
}

bool relaxation_is_real(const struct relaxation *relaxation) {
    if (!relaxation->route.stages)
        return false;
    for (unsigned type = 0; type < relaxation->fleet->types; type++)
        if (relaxation->uses[type] > relaxation->fleet->count[type])
            return false;
    return true;
}

static void normalise(struct relaxation *relaxation) {
    double total = 0;
    for (unsigned type = 0; type < relaxation->fleet->types; type++)
        total += relaxation->fleet->count[type] * relaxation->price[type];
    for (unsigned type = 0; type < relaxation->fleet->types; type++)
        relaxation->price[type] /= total;
}

enum relaxation_verdict relaxation_refute(struct relaxation *relaxation, const struct graph *graph, unsigned rounds) {
    const struct fleet *fleet = relaxation->fleet;
    double best = -1, best_price[PARTITIONER_BOARDS_MAX];
    bool current = false; /* the tables belong to best_price */
    for (unsigned round = 0; round < rounds; round++) {
        normalise(relaxation);
        relaxation_evaluate(relaxation, graph);
        if (relaxation->value > 1 + RELAXATION_SLACK)
            return RELAXATION_IMPOSSIBLE;
        if (relaxation_is_real(relaxation))
            return RELAXATION_REAL;
        current = relaxation->value > best;
        if (current) {
            best = relaxation->value;
            memcpy(best_price, relaxation->price, sizeof best_price);
        }
        double step = 0.4 / sqrt(round + 1.0);
        for (unsigned type = 0; type < fleet->types; type++)
            relaxation->price[type] *= exp(step * ((double)relaxation->uses[type] / fleet->count[type] - 1));
    }
    memcpy(relaxation->price, best_price, sizeof best_price);
    if (!current)
        relaxation_evaluate(relaxation, graph);
    return RELAXATION_OPEN;
}

/* Moves the prices along uses - count, as far as would close the gap if the bound were linear, times `share`. */
static void step_up(struct relaxation *relaxation, double gap, double share) {
    const struct fleet *fleet = relaxation->fleet;
    double length = 0;
    for (unsigned type = 0; type < fleet->types; type++) {
        double slope = (double)relaxation->uses[type] - fleet->count[type];
        if (slope > 0 || relaxation->price[type] > 0)
            length += slope * slope;
    }
    if (!(length > 0))
        return;
    for (unsigned type = 0; type < fleet->types; type++) {
        double slope = (double)relaxation->uses[type] - fleet->count[type];
        relaxation->price[type] = fmax(0, relaxation->price[type] + share * gap / length * slope);
    }
}

void relaxation_raise(struct relaxation *relaxation, const struct graph *graph, unsigned rounds, double enough) {
    double best = -INFINITY, best_price[PARTITIONER_BOARDS_MAX], share = 1;
    unsigned stale = 0;
    for (unsigned round = 0; round < rounds; round++) {
        relaxation_evaluate(relaxation, graph);
        double bound = relaxation->value - relaxation->total;
        if (bound > best) {
            best = bound;
            memcpy(best_price, relaxation->price, sizeof best_price);
            stale = 0;
        } else if (++stale == 4) {
            share /= 2;
            stale = 0;
        }
        if (!isfinite(bound) || bound >= enough)
            break;
        step_up(relaxation, enough - bound, share);
    }
    memcpy(relaxation->price, best_price, sizeof best_price);
    relaxation_evaluate(relaxation, graph);
}
