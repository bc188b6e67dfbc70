/* Why a plan leaves a board out, and which of a stage's resources binds. */
#ifndef DAEMON_PLAN_REASON_H
#define DAEMON_PLAN_REASON_H

#include "partitioner/partitioner.h"

#include <stddef.h>

#define PLAN_REASON_MAX 200

enum stage_resource { RESOURCE_COMPUTE, RESOURCE_RECEIVE, RESOURCE_SEND, RESOURCE_TRANSFERS };

/* What sets this stage's pace; RESOURCE_TRANSFERS is receive and send together on a half-duplex board. *seconds (may be
 * NULL) is how long one microbatch keeps it busy. */
enum stage_resource stage_binds(const struct problem *problem, const struct plan_stage *stage, double *seconds);
const char *stage_resource_name(enum stage_resource resource);

/* The first stage that sets the plan's pace. */
unsigned plan_bottleneck(const struct problem *problem, const struct plan *plan);

/* Can the stage's board take neither the unit before its slice nor the one after it? False where there is none. */
bool stage_memory_full(const struct problem *problem, const struct plan_stage *stage);

/* In words, why `board`, which has no stage, has none; buffer is filled and returned. */
const char *plan_unused_reason(const struct problem *problem, const struct plan *plan, unsigned board,
                               char buffer[PLAN_REASON_MAX]);

#endif
