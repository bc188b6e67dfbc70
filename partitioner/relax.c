/* The priced relaxation and two ways of finding good prices; see relax.h.
 *
 * Feasibility is a zero-sum game: one player mixes boards (prices that sum to 1), the other picks a route and pays for
 * the boards it uses. If the first can make every route cost more than 1, no plan exists, because a plan uses each
 * board at most once. For latency the bound is to come as close as it can to the cost of the best plan known. Both
 * times the bound is concave in the prices with slope (uses - count), and both times the value aimed at is known. On
 * real fleets the best bound is mostly the optimum itself: the relaxation is as strong as the linear program over all
 * routes.
 */
#include "partitioner/relax.h"

#include "base/allocate.h"
#include "partitioner/ascent.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#define HOPELESS_ROUNDS 30    /* a value that after so many rounds */
#define HOPELESS_VALUE  0.8   /* is still below this will not reach 1 */
#define REFUTE_TARGET   1.001 /* aim a little above what is needed: steps towards the limit itself become too short */

void relaxation_init(struct relaxation *relaxation, const struct fleet *fleet, unsigned classes) {
    memset(relaxation, 0, sizeof *relaxation);
    relaxation->fleet = fleet;
    relaxation->classes = classes;
    relaxation->togo = allocate((size_t)fleet->types * classes * fleet->cuts, sizeof *relaxation->togo);
    relaxation->enter = allocate((size_t)fleet->types * classes * fleet->cuts, sizeof *relaxation->enter);
}

void relaxation_close(struct relaxation *relaxation) {
    release(relaxation->togo);
    release(relaxation->enter);
}

static inline double least_of(double a, double b) {
    return a < b ? a : b;
}

/* Four minima at a time: one alone would wait for the last comparison at every step, and this is where the time goes.
 */
static double cheapest_arc(const struct graph *graph, const double *togo, unsigned type, unsigned first) {
    struct arc_list arcs = graph_arcs(graph, type, first);
    double best[4] = {INFINITY, INFINITY, INFINITY, INFINITY};
    const struct arc *arc = arcs.at;
    for (; arcs.end - arc >= 4; arc += 4)
        for (unsigned i = 0; i < 4; i++)
            best[i] = least_of(arc[i].cost + togo[arc[i].end], best[i]);
    for (; arc < arcs.end; arc++)
        best[0] = least_of(arc->cost + togo[arc->end], best[0]);
    return least_of(least_of(best[0], best[1]), least_of(best[2], best[3]));
}

static double cheapest_crossing(const double *crossing, const double *enter, unsigned types) {
    double best[4] = {INFINITY, INFINITY, INFINITY, INFINITY};
    unsigned to = 0;
    for (; types - to >= 4; to += 4)
        for (unsigned i = 0; i < 4; i++)
            best[i] = least_of(crossing[to + i] + enter[to + i], best[i]);
    for (; to < types; to++)
        best[0] = least_of(crossing[to] + enter[to], best[0]);
    return least_of(least_of(best[0], best[1]), least_of(best[2], best[3]));
}

/* The rest of a route that crosses from `from` to `to` at `cut`. */
static double beyond(const struct relaxation *relaxation, const struct graph *graph, unsigned cut, unsigned from,
                     unsigned to) {
    const struct fleet *fleet = relaxation->fleet;
    size_t at = ((size_t)cut * fleet->ends + from) * fleet->ends + to;
    unsigned class = relaxation->classes > 1 ? graph->receive_class[at] : 0;
    if (to == fleet->types)
        return cut == fleet->units ? graph->crossing[at] : INFINITY;
    return cut == fleet->units ? INFINITY : graph->crossing[at] + relaxation_enter(relaxation, cut, class)[to];
}

/* The largest class of receive times of `from` that leaves time for the crossing. */
static unsigned send_class(const struct relaxation *relaxation, const struct graph *graph, unsigned cut, unsigned from,
                           unsigned to) {
    const struct fleet *fleet = relaxation->fleet;
    return relaxation->classes > 1 ? graph->send_class[((size_t)cut * fleet->ends + from) * fleet->ends + to] : 0;
}

/* least[class]: the cheapest way on from `from`, had it received in that class. What a long receive time leaves room
 * for, a shorter one does too. */
static void cheapest_by_class(const struct relaxation *relaxation, const struct graph *graph, unsigned cut,
                              unsigned from, double *least) {
    assert(relaxation->classes > 0);
    for (unsigned class = 0; class < relaxation->classes; class ++)
        least[class] = INFINITY;
    for (unsigned to = 0; to < relaxation->fleet->ends; to++) {
        double cost = beyond(relaxation, graph, cut, from, to);
        unsigned class = cost < INFINITY ? send_class(relaxation, graph, cut, from, to) : 0;
        least[class] = cost < least[class] ? cost : least[class];
    }
    for (unsigned class = relaxation->classes - 1; class > 0; class --)
        least[class - 1] = least[class] < least[class - 1] ? least[class] : least[class - 1];
}

static void evaluate_togo(struct relaxation *relaxation, const struct graph *graph, unsigned cut) {
    const struct fleet *fleet = relaxation->fleet;
    double least[UCHAR_MAX + 1];
    for (unsigned type = 0; type < fleet->types; type++) {
        double *togo = relaxation->togo + (size_t)type * relaxation->classes * fleet->cuts + cut;
        if (relaxation->classes == 1 && cut < fleet->units) { /* the same, but this is where the time goes */
            const double *enter = relaxation_enter(relaxation, cut, 0);
            *togo = cheapest_crossing(graph_crossing(graph, cut, type), enter, fleet->types);
            continue;
        }
        cheapest_by_class(relaxation, graph, cut, type, least);
        for (unsigned class = 0; class < relaxation->classes; class ++)
            togo[(size_t) class * fleet->cuts] = least[class];
    }
}

static void evaluate_enter(struct relaxation *relaxation, const struct graph *graph, unsigned cut) {
    unsigned types = relaxation->fleet->types;
    for (unsigned class = 0; class < relaxation->classes; class ++) {
        double *enter = relaxation->enter + ((size_t)cut * relaxation->classes + class) * types;
        for (unsigned type = 0; type < types; type++)
            enter[type] =
                relaxation->price[type] + cheapest_arc(graph, relaxation_togo(relaxation, type, class), type, cut);
    }
}

static void evaluate_tables(struct relaxation *relaxation, const struct graph *graph) {
    double least[UCHAR_MAX + 1];
    evaluate_togo(relaxation, graph, relaxation->fleet->units);
    for (unsigned cut = relaxation->fleet->units; cut-- > 0;) {
        evaluate_enter(relaxation, graph, cut);
        if (cut > 0)
            evaluate_togo(relaxation, graph, cut);
    }
    cheapest_by_class(relaxation, graph, 0, relaxation->fleet->types, least);
    relaxation->value = least[0];
}

/* One stage further along the cheapest route from `from`, which received in class *class: which type receives at `cut`
 * (and in which class), and where its slice ends. The sums are formed as in the tables, so that equality is exact. */
static struct route_stop follow(const struct relaxation *relaxation, const struct graph *graph, unsigned from,
                                unsigned cut, double cost, unsigned *class) {
    const struct fleet *fleet = relaxation->fleet;
    unsigned type = 0;
    while (type + 1 < fleet->types && (beyond(relaxation, graph, cut, from, type) != cost ||
                                       send_class(relaxation, graph, cut, from, type) < *class))
        type++;
    *class =
        relaxation->classes > 1 ? graph->receive_class[((size_t)cut * fleet->ends + from) * fleet->ends + type] : 0;
    double enter = relaxation_enter(relaxation, cut, *class)[type];
    const double *togo = relaxation_togo(relaxation, type, *class);
    struct arc_list arcs = graph_arcs(graph, type, cut);
    const struct arc *arc = arcs.at;
    while (arc + 1 < arcs.end && relaxation->price[type] + (arc->cost + togo[arc->end]) != enter)
        arc++;
    return (struct route_stop){.type = type, .first = cut, .end = arc->end};
}

static void trace(struct relaxation *relaxation, const struct graph *graph) {
    const struct fleet *fleet = relaxation->fleet;
    memset(relaxation->uses, 0, sizeof relaxation->uses);
    relaxation->route.stages = 0;
    if (!isfinite(relaxation->value))
        return;
    unsigned from = fleet->types, cut = 0, stages = 0, class = 0;
    double cost = relaxation->value;
    while (cut < fleet->units) {
        struct route_stop stop = follow(relaxation, graph, from, cut, cost, &class);
        relaxation->uses[stop.type]++;
        if (stages < PARTITIONER_BOARDS_MAX)
            relaxation->route.stop[stages] = stop;
        stages++;
        from = stop.type;
        cut = stop.end;
        cost = relaxation_togo(relaxation, from, class)[cut];
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
    const struct fleet *fleet = relaxation->fleet;
    double total = 0;
    for (unsigned type = 0; type < fleet->types; type++)
        total += fleet->count[type] * relaxation->price[type];
    for (unsigned type = 0; type < fleet->types; type++)
        relaxation->price[type] = total > 0 ? relaxation->price[type] / total : 1.0 / fleet->problem->boards;
}

/* uses, made orthogonal to count: along it the prices keep their sum. */
static void slope_of_game(const struct relaxation *relaxation, double *slope) {
    const struct fleet *fleet = relaxation->fleet;
    double length = 0, along = 0;
    for (unsigned type = 0; type < fleet->types; type++) {
        length += (double)fleet->count[type] * fleet->count[type];
        along += (double)relaxation->uses[type] * fleet->count[type];
    }
    for (unsigned type = 0; type < fleet->types; type++)
        slope[type] = relaxation->uses[type] - fleet->count[type] * along / length;
}

enum relaxation_verdict relaxation_refute(struct relaxation *relaxation, const struct graph *graph, unsigned rounds) {
    struct ascent ascent;
    double slope[PARTITIONER_BOARDS_MAX];
    ascent_begin(&ascent, relaxation->fleet->types);
    for (unsigned round = 0; round < rounds && !ascent_exhausted(&ascent); round++) {
        normalise(relaxation);
        relaxation_evaluate(relaxation, graph);
        if (relaxation->value > 1 + RELAXATION_SLACK)
            return RELAXATION_IMPOSSIBLE;
        if (relaxation_is_real(relaxation))
            return RELAXATION_REAL;
        if (round >= HOPELESS_ROUNDS && ascent.best < HOPELESS_VALUE)
            break;
        slope_of_game(relaxation, slope);
        double gap = REFUTE_TARGET - relaxation->value;
        ascent_note(&ascent, relaxation->price, relaxation->value);
        ascent_step(&ascent, relaxation->price, slope, gap);
    }
    memcpy(relaxation->price, ascent.price, sizeof ascent.price);
    relaxation_evaluate(relaxation, graph);
    return RELAXATION_OPEN;
}

void relaxation_raise(struct relaxation *relaxation, const struct graph *graph, unsigned rounds, double enough) {
    struct ascent ascent;
    double slope[PARTITIONER_BOARDS_MAX];
    ascent_begin(&ascent, relaxation->fleet->types);
    for (unsigned round = 0; round < rounds && !ascent_exhausted(&ascent); round++) {
        relaxation_evaluate(relaxation, graph);
        double bound = relaxation->value - relaxation->total;
        for (unsigned type = 0; type < relaxation->fleet->types; type++)
            slope[type] = (double)relaxation->uses[type] - relaxation->fleet->count[type];
        ascent_note(&ascent, relaxation->price, bound);
        if (!isfinite(bound) || bound >= enough)
            break;
        ascent_step(&ascent, relaxation->price, slope, enough - bound);
    }
    memcpy(relaxation->price, ascent.price, sizeof ascent.price);
    relaxation_evaluate(relaxation, graph);
}
