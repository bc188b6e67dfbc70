/* Why a fleet has no plan: the person who reads this wants to know what to buy, move or make smaller.
 *
 * Looks for the plainest reason first: a unit that no slice around it brings onto any board; weights that exceed all
 * memory together; links that join too few boards, which is so when even endless memory does not help. What remains is
 * memory that would do in sum but not in its pieces: then the reason is how much more each board would need, found by
 * solving with all memory scaled, which is exact but for the last tenth of a percent.
 */
#include "partitioner/infeasible.h"

#include "partitioner/optimal.h"

#include <math.h>
#include <stdio.h>

#define SCALE_RATIO 1.001
#define SCALE_MOST  1048576.0
#define MEBIBYTE    1048576.0
#define AMOUNT_TEXT 32

static const char *amount(double bytes, char text[AMOUNT_TEXT]) {
    if (bytes < 0.1 * MEBIBYTE)
        snprintf(text, AMOUNT_TEXT, "%.0f bytes", ceil(bytes));
    else
        snprintf(text, AMOUNT_TEXT, "%.1f MiB", bytes / MEBIBYTE);
    return text;
}

static const char *board_name(const struct problem *problem, unsigned board) {
    return problem->board_names ? problem->board_names[board] : "a board";
}

static unsigned largest_board(const struct problem *problem) {
    unsigned largest = 0;
    for (unsigned board = 1; board < problem->boards; board++)
        if (problem->memory_bytes[board] > problem->memory_bytes[largest])
            largest = board;
    return largest;
}

/* least[unit]: bytes of the smallest slice of that board that holds the unit; a longer slice can need less than a short
 * one with large payloads. For each first unit, the slices that hold a unit are those that end after it: a minimum from
 * the right. */
static void least_bytes(const struct problem *problem, unsigned board, uint64_t *least) {
    uint64_t bytes[PARTITIONER_UNITS_MAX];
    for (unsigned unit = 0; unit < problem->units; unit++)
        least[unit] = bytes[unit] = UINT64_MAX;
    for (unsigned first = 0; first < problem->units; first++) {
        struct slice_bytes slice = slice_bytes_at(problem, board, first);
        while (slice.end < problem->units) {
            slice_bytes_grow(&slice);
            bytes[slice.end - 1] = slice_bytes_total(&slice);
        }
        uint64_t smallest = UINT64_MAX;
        for (unsigned unit = problem->units; unit-- > first;) {
            smallest = bytes[unit] < smallest ? bytes[unit] : smallest;
            least[unit] = smallest < least[unit] ? smallest : least[unit];
        }
    }
}

/* A unit that no board can hold, and the board that is nearest to it. */
struct misfit {
    unsigned unit, board;
    uint64_t needed, missing; /* 0 missing: there is none */
};

/* Of those units that fit no board, the one that is furthest from it. */
static struct misfit worst_misfit(const struct problem *problem) {
    struct misfit worst = {.missing = 0};
    uint64_t least[PARTITIONER_UNITS_MAX] = {0};
    struct misfit nearest[PARTITIONER_UNITS_MAX] = {{0}};
    for (unsigned board = 0; board < problem->boards; board++) {
        const uint64_t memory = problem->memory_bytes[board];
        least_bytes(problem, board, least);
        for (unsigned unit = 0; unit < problem->units; unit++) {
            uint64_t missing = least[unit] > memory ? least[unit] - memory : 0;
            if (board == 0 || missing < nearest[unit].missing)
                nearest[unit] = (struct misfit){unit, board, least[unit], missing};
        }
    }
    for (unsigned unit = 0; unit < problem->units; unit++)
        if (nearest[unit].missing > worst.missing)
            worst = nearest[unit];
    return worst;
}

static bool explain_unit(const struct problem *problem, struct error *error) {
    const struct misfit worst = worst_misfit(problem);
    char name[64] = "", needs[AMOUNT_TEXT], has[AMOUNT_TEXT], missing[AMOUNT_TEXT];
    if (worst.missing == 0)
        return false;
    if (problem->unit_names)
        snprintf(name, sizeof name, " (%.60s)", problem->unit_names[worst.unit]);
    error_set(error, ERROR_INFEASIBLE,
              "unit %u%s fits no board: with buffers and process it needs %s; the nearest to that, %s, has %s: %s are "
              "missing",
              worst.unit, name, amount((double)worst.needed, needs), board_name(problem, worst.board),
              amount((double)problem->memory_bytes[worst.board], has), amount((double)worst.missing, missing));
    return true;
}

static bool explain_sum(const struct problem *problem, struct error *error) {
    double weights = 0, memory = 0;
    char needs[AMOUNT_TEXT], have[AMOUNT_TEXT], missing[AMOUNT_TEXT];
    for (unsigned unit = 0; unit < problem->units; unit++)
        weights += weights_begin(problem, 0, unit) ? (double)problem->weight_bytes[unit] : 0;
    for (unsigned board = 0; board < problem->boards; board++)
        memory += (double)problem->memory_bytes[board];
    if (weights <= memory)
        return false;
    error_set(error, ERROR_INFEASIBLE,
              "the weights alone are %s, all %u boards together have %s of memory: %s are missing",
              amount(weights, needs), problem->boards, amount(memory, have), amount(weights - memory, missing));
    return true;
}

/* What is left of the time that all of the explaining may take. */
struct trials {
    const struct problem *problem;
    struct policy_options options;
    double deadline; /* by the options' clock; without one there is no limit */
};

static struct trials trials_begin(const struct problem *problem, const struct policy_options *options) {
    struct trials trials = {.problem = problem};
    if (options)
        trials.options = *options;
    if (trials.options.clock)
        trials.deadline = trials.options.clock(trials.options.clock_context) + trials.options.time_limit_s;
    return trials;
}

/* Is there a plan, however slow, if every board has `scale` times its memory? */
static enum search_result solve_scaled(const struct trials *trials, double scale) {
    struct policy_options options = trials->options;
    struct solver solver;
    if (options.clock && options.time_limit_s > 0) {
        options.time_limit_s = trials->deadline - options.clock(options.clock_context);
        if (options.time_limit_s <= 0)
            return SEARCH_GAVE_UP;
    }
    solver_init(&solver, trials->problem, scale, &options);
    enum search_result result = solver_try(&solver, solver.longest, 0);
    solver_close(&solver);
    return result;
}

static bool explain_scale(const struct trials *trials, struct error *error) {
    const struct problem *problem = trials->problem;
    unsigned board = largest_board(problem);
    double low = 1, high = 2;
    char more[AMOUNT_TEXT];
    enum search_result result;
    while ((result = solve_scaled(trials, high)) == SEARCH_NONE) {
        low = high;
        high *= 2;
    }
    if (result == SEARCH_GAVE_UP)
        return error_set(error, ERROR_INFEASIBLE,
                         "weights and buffers do not fit the boards; how much memory is missing was not found in the "
                         "time and memory allowed");
    while (result != SEARCH_GAVE_UP && high > low * SCALE_RATIO) {
        double middle = sqrt(low * high);
        result = solve_scaled(trials, middle);
        if (result == SEARCH_FOUND)
            high = middle;
        else
            low = middle;
    }
    return error_set(
        error, ERROR_INFEASIBLE,
        "weights and buffers do not fit the boards: a plan would need %s %.1f %% more memory on each of them, "
        "%s more on the largest, %s",
        result == SEARCH_GAVE_UP ? "at most" : "about", 100 * (high - 1),
        amount((high - 1) * (double)problem->memory_bytes[board], more), board_name(problem, board));
}

bool explain_infeasible(const struct problem *problem, const struct policy_options *options, struct error *error) {
    if (problem->beside) /* who asks for that goes on with what is in force, or without it */
        return error_set(error, ERROR_INFEASIBLE, "no plan fits the boards beside the one in force");
    if (explain_unit(problem, error) || explain_sum(problem, error))
        return false;
    const struct trials trials = trials_begin(problem, options);
    enum search_result result = solve_scaled(&trials, SCALE_MOST);
    if (result == SEARCH_NONE)
        return error_set(error, ERROR_INFEASIBLE,
                         "no chain of links leads from the coordinator through boards and back: look for links of no "
                         "bandwidth to and from it");
    if (result == SEARCH_GAVE_UP)
        return error_set(error, ERROR_INFEASIBLE,
                         "no plan fits the boards; whether memory or links are missing was not found in the time and "
                         "memory allowed");
    return explain_scale(&trials, error);
}
