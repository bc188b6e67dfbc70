/* Policy "manual": the cuts a person gave, on boards in the given order.
 *
 * Refuses cuts that are not strictly ascending inside the model and more slices than boards (ERROR_USAGE). Memory is
 * not looked at: plan_check tells whether the plan can run. Allocates nothing.
 */
#include "partitioner/policy.h"

static bool check_cuts(const struct problem *problem, const struct policy_options *options, struct error *error) {
    if (options->cut_count >= problem->boards)
        return error_set(error, ERROR_USAGE, "%u cuts make %u slices, but there are %u boards", options->cut_count,
                         options->cut_count + 1, problem->boards);
    unsigned last = 0;
    for (unsigned index = 0; index < options->cut_count; index++) {
        unsigned cut = options->cuts[index];
        if (cut <= last || cut >= problem->units)
            return error_set(error, ERROR_USAGE, "cut %u: want cuts in ascending order from 1 to %u", cut,
                             problem->units - 1);
        last = cut;
    }
    return true;
}

bool policy_manual(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                   struct error *error) {
    if (!check_cuts(problem, options, error))
        return false;
    plan->stages = options->cut_count + 1;
    for (unsigned index = 0; index < plan->stages; index++) {
        struct plan_stage *stage = &plan->stage[index];
        stage->board = index;
        stage->first = index ? options->cuts[index - 1] : 0;
        stage->end = index < options->cut_count ? options->cuts[index] : problem->units;
    }
    return true;
}
