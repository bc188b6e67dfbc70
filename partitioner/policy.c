/* The table of policies and the one door to them.
 *
 * plan_solve looks the policy up, refuses problems that no solver could work with, lets the policy choose boards and
 * slices, and prices what came out with plan_cost: a policy never states its own figures. Failures: an unknown policy
 * or options it cannot use (ERROR_USAGE), a malformed problem (ERROR_INPUT), no plan (ERROR_INFEASIBLE). Nothing is
 * kept between calls; any thread.
 */
#include "partitioner/policy.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    policy_solve *solve;
} policies[] = {
    {"optimal", policy_optimal},
    {"pipedream", policy_pipedream},
    {"even", policy_even},
    {"manual", policy_manual},
};

#define POLICIES (sizeof policies / sizeof policies[0])

const char *policy_name(size_t index) {
    return index < POLICIES ? policies[index].name : NULL;
}

static bool check_times(const struct problem *problem, struct error *error) {
    for (unsigned board = 0; board < problem->boards; board++)
        for (unsigned unit = 0; unit < problem->units; unit++) {
            double seconds = problem->unit_seconds[(size_t)board * problem->units + unit];
            if (!isfinite(seconds) || seconds < 0)
                return error_set(error, ERROR_INPUT, "board %s: unit %u: got %g s, want a finite time of at least 0",
                                 problem->board_names ? problem->board_names[board] : "?", unit, seconds);
        }
    return true;
}

static bool check_handling(const struct problem *problem, struct error *error) {
    for (unsigned board = 0; problem->handling && board < problem->boards; board++)
        if (!(problem->handling[board] >= 1)) /* so that times are finite */
            return error_set(error, ERROR_INPUT, "board %s: handles %g bytes per second, want at least 1",
                             problem->board_names ? problem->board_names[board] : "?", problem->handling[board]);
    return true;
}

static bool check_links(const struct problem *problem, struct error *error) {
    unsigned ends = problem->boards + 1;
    for (unsigned from = 0; from < ends; from++)
        for (unsigned to = 0; to < ends; to++) {
            size_t link = (size_t)from * ends + to;
            if (from != to && !(problem->bandwidth[link] >= 0 && problem->latency[link] >= 0))
                return error_set(error, ERROR_INPUT, "link %u to %u: bandwidth %g, latency %g: want at least 0", from,
                                 to, problem->bandwidth[link], problem->latency[link]);
        }
    return true;
}

static bool check_weights(const struct problem *problem, struct error *error) {
    for (unsigned unit = 0; problem->same_weights && unit < problem->units; unit++)
        if (problem->same_weights[unit] &&
            (unit == 0 || problem->weight_bytes[unit] != problem->weight_bytes[unit - 1]))
            return error_set(error, ERROR_INPUT,
                             "unit %u: the weights of the unit before it, want one with as many bytes", unit);
    return true;
}

bool problem_check(const struct problem *problem, struct error *error) {
    if (problem->boards < 1 || problem->boards > PARTITIONER_BOARDS_MAX)
        return error_set(error, ERROR_INPUT, "%u boards, want 1 to %u", problem->boards, PARTITIONER_BOARDS_MAX);
    if (problem->units < 1 || problem->units > PARTITIONER_UNITS_MAX)
        return error_set(error, ERROR_INPUT, "%u units, want 1 to %u", problem->units, PARTITIONER_UNITS_MAX);
    return check_times(problem, error) && check_weights(problem, error) && check_handling(problem, error) &&
           check_links(problem, error);
}

bool plan_solve(const struct problem *problem, const char *policy, const struct policy_options *options,
                struct plan *plan, struct error *error) {
    static const struct policy_options defaults;
    if (!options)
        options = &defaults;
    size_t index = 0;
    while (index < POLICIES && strcmp(policies[index].name, policy) != 0)
        index++;
    if (index == POLICIES)
        return error_set(error, ERROR_USAGE, "policy %s: want optimal, pipedream, even or manual", policy);
    if (!problem_check(problem, error))
        return false;
    double start = options->clock ? options->clock(options->clock_context) : 0;
    memset(plan, 0, sizeof *plan);
    plan->policy = policies[index].name;
    if (!policies[index].solve(problem, options, plan, error))
        return error_wrap(error, "policy %s", policies[index].name);
    plan_cost(problem, plan);
    plan->solve_s = options->clock ? options->clock(options->clock_context) - start : 0;
    return true;
}
