/* Why a fleet has no plan. */
#ifndef PARTITIONER_INFEASIBLE_H
#define PARTITIONER_INFEASIBLE_H

#include "partitioner/partitioner.h"

/* Sets an ERROR_INFEASIBLE that says what is missing: which unit fits no board, how much memory, or a link. For a
 * problem that is known to have no plan. Always false. May solve the problem a dozen times with more memory, within the
 * time limit of the options. */
bool explain_infeasible(const struct problem *problem, const struct policy_options *options, struct error *error);

#endif
