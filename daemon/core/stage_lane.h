/* What stage_core.c and stage_lane.c share: the part of the stage's state machine that is about microbatches, and the
 * tools that both need. Nobody else includes it. */
#ifndef DAEMON_CORE_STAGE_LANE_H
#define DAEMON_CORE_STAGE_LANE_H

#include "daemon/core/stage_core.h"

/* Adds an effect, zeroed but for its type and lane. */
struct stage_effect *stage_effect_add(struct stage_effects *effects, enum stage_effect_type type, unsigned lane);

/* Is none of the lane's slots in use? */
bool lane_at_rest(const struct stage_lane *lane);
/* Drops what waits and what is ready; what the compute worker and the network hold comes back by its own event. */
void lane_drop(struct stage_core *core, unsigned lane, struct stage_effects *effects);
/* From READY to SERVING; counters begin anew. */
void lane_serve(struct stage_core *core, unsigned lane, mono_t now);

/* Events about microbatches, from STAGE_ARRIVED to STAGE_LET_GO. */
void lane_event(struct stage_core *core, const struct stage_event *event, mono_t now, struct stage_effects *effects);
/* Computes what waits, in order of arrival, and sends what is ready. */
void lanes_advance(struct stage_core *core, mono_t now, struct stage_effects *effects);

/* Is the compute worker at work? */
bool lanes_computing(const struct stage_core *core);

#endif
