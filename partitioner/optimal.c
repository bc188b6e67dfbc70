/* Placeholder until the exact solver stands. */
#include "partitioner/policy.h"

bool policy_optimal(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                    struct error *error) {
    return policy_even(problem, options, plan, error);
}
