/* The policies behind plan_solve; one file each, one row each in policy.c.
 *
 * A policy gets a problem that problem_check accepted and a plan cleared but for its name. It fills in stages and, of
 * each stage, board, first and end; plan_solve prices the result. `optimal` also says what it proved. */
#ifndef PARTITIONER_POLICY_H
#define PARTITIONER_POLICY_H

#include "partitioner/partitioner.h"

typedef bool policy_solve(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                          struct error *error);

policy_solve policy_optimal;
policy_solve policy_pipedream;
policy_solve policy_even;
policy_solve policy_manual;

/* Are sizes, times, bandwidths and latencies ones that a solver can work with? Zero times, zero payloads and infinite
 * or zero bandwidths are. ERROR_INPUT names the culprit. */
bool problem_check(const struct problem *problem, struct error *error);

/* Cuts [0, units) into fewest to most slices for boards 0, 1, ... so that the largest price is smallest, with as few
 * slices as that takes: the price of a slice is its summed unit_seconds or, if larger, the cut_seconds[] at its inner
 * end; cut_seconds may be NULL. 1 <= fewest <= most <= boards and units. O(most units^2). */
void split_in_order(const struct problem *problem, unsigned fewest, unsigned most, const double *unit_seconds,
                    const double *cut_seconds, struct plan *plan);

/* unit_seconds[units]: the mean over all boards. */
void mean_unit_seconds(const struct problem *problem, double *unit_seconds);

#endif
