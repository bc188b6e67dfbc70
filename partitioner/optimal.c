/* Policy "optimal": the exact plan, or the best one found and how far from optimal it can be.
 *
 * Generalises EdgePipe's partitioner (arXiv 2110.14895, section III-B), which is exact too but walks all orders of all
 * subsets. Three ideas keep it short. One period at a time: whether a plan of period T exists is a question of sets
 * (reach.c; labels.c for half-duplex fleets), and only finitely many T can be the answer (candidates.c). Bounds: a
 * relaxation with prices (relax.c) refutes most periods at once and, inside the search, most states. Types: identical
 * boards are counted, not named (fleet.c).
 *
 *   bracket    the largest period the relaxation refutes, and from there upwards the first at which a beam finds a plan
 *   narrow     bisection over the candidate periods between the two, each decided exactly: the period is now proven
 *   shorten    among plans of that period (within 1e-9) the least latency, then the least number of boards (labels.c)
 *
 * Each step leaves a valid plan and a valid bound behind, so running out of time or memory anywhere only means that
 * less is proven. All memory lives for one call. A fleet without a plan is diagnosed in infeasible.c.
 */
#include "partitioner/optimal.h"

#include "partitioner/infeasible.h"

#include <math.h>
#include <string.h>

#define SAME_PERIOD 1e-9  /* periods and latencies this close, relatively, count as equal */
#define SAME_SUM    1e-13 /* two sums of the same times in another order */

/* What one search may fill. Up to 16 boards whatever it takes to be exact, which is a few megabytes on all fleets but
 * the oddest. */
#define EXACT_BOARDS   16
#define BYTES_EXACT    ((size_t)1 << 30)
#define BYTES_MOST     ((size_t)64 << 20)
#define CANDIDATE_MOST 4096 /* looked at in one step of the bisection */

/* Effort. Nothing but the time of a solve depends on these; they were tuned on the fleets of bench_partitioner. */
#define BRACKET_RATIO    1.004 /* how closely the relaxation's own limit is enclosed before searching */
#define BRACKET_ROUNDS   60    /* of the relaxation, for each period of that bisection */
#define REFUTE_ROUNDS    150   /* for a period that is worth it */
#define OPEN_ROUNDS      12    /* for one longer than a period which could not be refuted */
#define RAISE_ROUNDS     200   /* of raising the bound of the latency, each turn */
#define RAISE_TURNS      2
#define DEEPEN_FIRST     (1.0 / 256) /* of the gap above that bound: the first search */
#define DEEPEN_FACTOR    4
#define LONG_SEARCH      5000 /* states; see next_period */
#define BEAM_WIDTH       48
#define WIDEST_BEAM      3072
#define WIDEN_STEPS      6
#define WIDEN_RATIO      1e-4
#define TIME_FOR_LATENCY 0.3 /* of the time limit */

/* Prices to start from: a board is worth what it computes in a second. */
static void set_prices(struct solver *solver) {
    const struct fleet *fleet = &solver->fleet;
    for (unsigned type = 0; type < fleet->types; type++)
        solver->feasible.price[type] =
            1 / fmax(fleet_compute(fleet, type, 0, fleet->units), 1e-9 * solver->longest + 1e-300);
}

void solver_init(struct solver *solver, const struct problem *problem, double memory_scale,
                 const struct policy_options *options) {
    memset(solver, 0, sizeof *solver);
    fleet_init(&solver->fleet, problem, memory_scale);
    graph_init(&solver->graph, &solver->fleet);
    relaxation_init(&solver->feasible, &solver->fleet, solver->graph.classes);
    relaxation_init(&solver->cheap, &solver->fleet, solver->graph.classes);
    reach_init(&solver->reach, &solver->fleet);
    labels_init(&solver->labels, &solver->fleet);
    solver->limits.bytes = problem->boards <= EXACT_BOARDS ? BYTES_EXACT : BYTES_MOST;
    if (options && options->clock && options->time_limit_s > 0) {
        solver->limits.clock = options->clock;
        solver->limits.clock_context = options->clock_context;
        solver->time_limit = options->time_limit_s;
        solver->limits.deadline = options->clock(options->clock_context) + options->time_limit_s;
    }
    solver->longest = candidates_longest(&solver->fleet);
    solver->open = INFINITY;
    solver->impossible = -1;
    solver->best.period_s = INFINITY;
    set_prices(solver);
}

void solver_close(struct solver *solver) {
    candidates_close(&solver->candidates);
    labels_close(&solver->labels);
    reach_close(&solver->reach);
    relaxation_close(&solver->cheap);
    relaxation_close(&solver->feasible);
    graph_close(&solver->graph);
    fleet_close(&solver->fleet);
}

/* Keeps the plan of a route if it is better than the best so far. */
static void offer(struct solver *solver, const struct route *route) {
    struct plan plan = {.stages = 0};
    route_price(&solver->fleet, route, &plan);
    if (plan.period_s < solver->best.period_s ||
        (plan.period_s == solver->best.period_s && plan.latency_s < solver->best.latency_s))
        solver->best = plan;
}

/* The first complete plan of the last search with labels. */
static void any_route(const struct labels *labels, struct route *route) {
    unsigned stages = 1;
    while (labels->best[stages] == INFINITY)
        stages++;
    labels_route(labels, stages, route);
}

/* Searches the graph that was built last. */
static enum search_result search(struct solver *solver, size_t width) {
    struct search_limits limits = solver->limits;
    limits.width = width;
    if (width == BEAM_WIDTH)
        limits.clock = NULL; /* little work: even the shortest time limit is to end with a plan */
    struct route route;
    enum search_result result;
    if (!solver->fleet.problem->half_duplex) {
        result = reach_search(&solver->reach, &solver->graph, &solver->feasible, &limits, &route);
    } else {
        struct label_bound bound = {&solver->feasible, false, RELAXATION_SLACK};
        result = labels_search(&solver->labels, &solver->graph, &bound, 1, 0, true, &limits);
        if (result == SEARCH_FOUND)
            any_route(&solver->labels, &route);
    }
    if (result == SEARCH_FOUND)
        offer(solver, &route);
    return result;
}

/* Asks the relaxation alone about a period. */
static enum relaxation_verdict refute(struct solver *solver, double period, unsigned rounds) {
    graph_build(&solver->graph, period, GRAPH_FREE);
    if (period >= solver->open && rounds > OPEN_ROUNDS)
        rounds = OPEN_ROUNDS;
    enum relaxation_verdict verdict = relaxation_refute(&solver->feasible, &solver->graph, rounds);
    if (verdict == RELAXATION_IMPOSSIBLE)
        solver->impossible = fmax(solver->impossible, period);
    else
        solver->open = fmin(solver->open, period);
    if (verdict == RELAXATION_REAL)
        offer(solver, &solver->feasible.route);
    return verdict;
}

enum search_result solver_try(struct solver *solver, double period, size_t width) {
    if (refute(solver, period, REFUTE_ROUNDS) == RELAXATION_IMPOSSIBLE)
        return SEARCH_NONE;
    if (solver->best.period_s <= period)
        return SEARCH_FOUND;
    enum search_result result = SEARCH_NONE;
    if (width != 0)
        result = search(solver, width);
    else if (search(solver, BEAM_WIDTH) == SEARCH_FOUND)
        result = SEARCH_FOUND;
    else if ((result = search(solver, 0)) == SEARCH_NONE)
        solver->impossible = fmax(solver->impossible, period);
    return result;
}

/* The period if computing were all and could be cut anywhere. */
static double guess_period(const struct solver *solver) {
    double speed = 0;
    for (unsigned type = 0; type < solver->fleet.types; type++)
        speed += solver->fleet.count[type] * solver->feasible.price[type];
    return 1 / speed;
}

/* The smallest period, to `ratio`, that the relaxation does not refute. Gallops upwards from the guess, then bisects: a
 * period too short is refuted in a few rounds, one that is not takes them all. */
static double refute_up_to(struct solver *solver, double guess, double ratio) {
    double low = 0, high = INFINITY, period = guess, step = 2 * (ratio - 1);
    while (!(high <= low * ratio) && period > 1e-12 * solver->longest && period < 2 * solver->longest) {
        if (refute(solver, period, BRACKET_ROUNDS) == RELAXATION_IMPOSSIBLE)
            low = period;
        else
            high = fmin(period, solver->best.period_s);
        if (low > 0 && high < INFINITY) {
            period = sqrt(low * high);
        } else {
            period = low > 0 ? low * (1 + step) : high / (1 + step);
            step *= 2;
        }
    }
    return high < INFINITY ? high : period;
}

/* Finds a first plan. SEARCH_NONE: proven that there is none. */
static enum search_result bracket(struct solver *solver) {
    double guess = guess_period(solver);
    double period = solver->longest > 0 ? refute_up_to(solver, guess, BRACKET_RATIO) : 0;
    for (double step = 0.005; solver->best.period_s == INFINITY && period < solver->longest; step *= 2) {
        period *= 1 + step;
        solver_try(solver, period, BEAM_WIDTH);
    }
    return solver->best.period_s < INFINITY ? SEARCH_FOUND : solver_try(solver, solver->longest, 0);
}

/* The next period to decide, strictly between what is refuted and what is found; false when there is none: the period
 * is proven. The higher a period, the more states the search must look at, and most above the optimum: once searches
 * have become long, the periods tried lie nearer to the lower end. */
static bool next_period(struct solver *solver, double *period) {
    double above = solver->impossible, below = solver->best.period_s * (1 - SAME_SUM);
    bool all = candidates_between(&solver->candidates, &solver->fleet, above, below, CANDIDATE_MOST);
    size_t count = solver->candidates.count;
    if (count == 0)
        return false;
    unsigned part = solver->reach.states.groups > LONG_SEARCH || solver->labels.count > LONG_SEARCH ? 4 : 2;
    *period = all ? solver->candidates.seconds[count / part] : above + (below - above) / part;
    return true;
}

/* Bisects until the period is proven (true) or the limits are reached. */
static bool narrow(struct solver *solver) {
    double period;
    while (next_period(solver, &period))
        if (solver_try(solver, period, 0) == SEARCH_GAVE_UP)
            return false;
    return true;
}

/* Where exact search is out of reach: wider and wider beams for better plans, as long as there is time. Without a limit
 * of time, some. */
static void widen(struct solver *solver) {
    for (size_t width = 4 * BEAM_WIDTH; width <= WIDEST_BEAM; width *= 2) {
        double low = solver->impossible;
        for (unsigned step = 0; step < WIDEN_STEPS && solver->best.period_s > low * (1 + WIDEN_RATIO); step++) {
            double period = low + (solver->best.period_s - low) / 2;
            enum search_result result = solver_try(solver, period, width);
            if (result == SEARCH_GAVE_UP)
                return;
            if (result == SEARCH_NONE)
                low = period;
        }
    }
}

/* The smallest period that is not refuted. */
static double lower_bound(struct solver *solver) {
    double below = solver->best.period_s;
    if (!candidates_between(&solver->candidates, &solver->fleet, solver->impossible, below, CANDIDATE_MOST))
        return fmax(solver->impossible, 0);
    return solver->candidates.count ? solver->candidates.seconds[0] : below;
}

/* Takes over the best plan of the last search with labels: least latency, then fewest boards. */
static void take_shortest(struct solver *solver) {
    const struct labels *labels = &solver->labels;
    double least = INFINITY;
    for (unsigned stages = 1; stages <= PARTITIONER_BOARDS_MAX; stages++)
        least = fmin(least, labels->best[stages]);
    if (!(least <= solver->best.latency_s * (1 + SAME_PERIOD)))
        return;
    unsigned stages = 1;
    while (!(labels->best[stages] <= least * (1 + SAME_PERIOD)))
        stages++;
    struct route route;
    labels_route(labels, stages, &route);
    route_price(&solver->fleet, &route, &solver->best);
}

/* One search for a latency of at most `limit`, under the best bounds known. */
static enum search_result search_shorter(struct solver *solver, size_t width, double limit) {
    struct label_bound bounds[] = {
        {&solver->cheap, true, limit},
        {&solver->feasible, false, RELAXATION_SLACK},
    };
    struct search_limits limits = solver->limits;
    limits.width = width;
    enum search_result result =
        labels_search(&solver->labels, &solver->graph, bounds, 2, 2 * SAME_PERIOD, false, &limits);
    if (result == SEARCH_FOUND)
        take_shortest(solver);
    return result;
}

/* Searches ever further above the lower bound until something is found, in the end as far as the best plan known. The
 * bound is mostly tight, and close to it there is almost nothing to search. */
static enum search_result deepen(struct solver *solver, size_t width) {
    double bound = solver->cheap.value - solver->cheap.total, gap = solver->best.latency_s - bound;
    enum search_result result = SEARCH_NONE;
    for (double share = DEEPEN_FIRST; result == SEARCH_NONE && share <= 1; share *= DEEPEN_FACTOR)
        result = search_shorter(solver, width, (bound + share * gap) * (1 + 2 * SAME_PERIOD));
    return result;
}

/* Least latency within the period; true when proven. Better prices lead the beam to better plans, and the latency of a
 * better plan is a better aim for the prices. */
static bool shorten(struct solver *solver, double period) {
    graph_build(&solver->graph, period, GRAPH_FREE);
    relaxation_evaluate(&solver->feasible, &solver->graph);
    graph_build(&solver->graph, period, GRAPH_SECONDS);
    for (unsigned turn = 0; turn < RAISE_TURNS; turn++) {
        relaxation_raise(&solver->cheap, &solver->graph, RAISE_ROUNDS, solver->best.latency_s);
        deepen(solver, BEAM_WIDTH);
    }
    return deepen(solver, 0) == SEARCH_FOUND;
}

/* All steps for a fleet that has a plan, after the first one was found. */
static void improve(struct solver *solver, struct plan *plan) {
    double deadline = solver->limits.deadline;
    solver->limits.deadline -= TIME_FOR_LATENCY * solver->time_limit;
    bool proven = narrow(solver);
    if (!proven)
        widen(solver);
    double bound = lower_bound(solver);
    solver->limits.deadline = deadline;
    bool shortest = shorten(solver, solver->best.period_s * (proven ? 1 + SAME_PERIOD : 1));
    const char *name = plan->policy;
    *plan = solver->best;
    plan->policy = name;
    plan->optimal = proven;
    plan->latency_optimal = proven && shortest;
    plan->bound_s = bound;
}

bool policy_optimal(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                    struct error *error) {
    struct solver solver;
    solver_init(&solver, problem, 1, options);
    enum search_result result = bracket(&solver);
    if (result == SEARCH_FOUND)
        improve(&solver, plan);
    solver_close(&solver);
    if (result == SEARCH_NONE)
        return explain_infeasible(problem, options, error);
    if (result == SEARCH_GAVE_UP)
        return error_set(error, ERROR_INFEASIBLE,
                         "found no plan within the limits of time and memory; it is not proven that there is none");
    return true;
}
