/* What the parts of the coordinator's core share: coordinator_core.c (boards, plans, time), coordinator_pipelines.c
 * (epochs) and coordinator_flights.c (items and microbatches). Nobody else includes it. */
#ifndef DAEMON_CORE_COORDINATOR_PARTS_H
#define DAEMON_CORE_COORDINATOR_PARTS_H

#include "daemon/core/coordinator_core.h"
#include "daemon/core/coordinator_effects.h"

#define NOTHING     UINT32_MAX
#define HUNG_FACTOR 10 /* times what is planned: not slow, but hung */

/* Something has happened that another epoch is to answer; its clock starts with the first such thing. */
void core_caused(struct coordinator_core *core, mono_t now);
/* Does a board that is to leave have a part in what serves? */
bool core_serves_and_leaves(const struct coordinator_core *core);
/* What was prepared beside the plan in force has come to nothing, while its reasons may still hold. */
void core_wish_again(struct coordinator_core *core);
/* A step serves; boards hold other units now, and there may be memory for a better plan. */
void core_wish_next_step(struct coordinator_core *core, mono_t now);

/* ---- coordinator_pipelines.c ---- */

/* Like core_pipeline_in, to be changed. */
struct core_pipeline *pipeline_in(struct coordinator_core *core, enum pipeline_state state);
/* The board's stage in the pipeline's plan, -1: none, or the pipeline is in no lane. */
int pipeline_stage_of(const struct core_pipeline *pipeline, unsigned board);
/* Has the board a part in any pipeline? */
bool pipelines_include(const struct coordinator_core *core, unsigned board);
/* Makes the plan the next epoch and has its stages load. A lane is free. step: a better plan is wished for after it. */
void pipeline_prepare(struct coordinator_core *core, const struct plan *plan, bool step, mono_t now,
                      struct coordinator_effects *effects);
/* Ends it; what is under way in it must have been dealt with. */
void pipeline_retire(struct coordinator_core *core, struct core_pipeline *pipeline,
                     struct coordinator_effects *effects);
/* A board is gone, or cannot do its part. what: "was lost". Ends the pipelines that cannot go on without it. */
void pipelines_without(struct coordinator_core *core, unsigned board, const char *what, mono_t now,
                       struct coordinator_effects *effects);
/* Finishes the plan in force without beginning anything new; then WAITING. */
void pipelines_pause(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects);
/* Draws the consequences: what is ready serves, what has drained is retired. */
void pipelines_advance(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects);
void pipelines_ready(struct coordinator_core *core, unsigned board, epoch_t epoch);

/* ---- coordinator_flights.c ---- */

void flights_admit(struct coordinator_core *core, unsigned item, mono_t now);
/* Lets go of an item that is still queued; in a flight it stays. */
void flights_withdraw(struct coordinator_core *core, unsigned item, struct coordinator_effects *effects);
void flights_dispatch(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects);
void flights_result(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                    struct coordinator_effects *effects);
/* The microbatches under way in that epoch will not arrive, for nobody knows what reason: they are to be sent again, or
 * are given up. */
void flights_replay(struct coordinator_core *core, epoch_t epoch, const char *why, struct coordinator_effects *effects);
/* The same, because of what has become of a board. */
void flights_replay_without(struct coordinator_core *core, epoch_t epoch, unsigned board, const char *why, mono_t now,
                            struct coordinator_effects *effects);
/* Replays what makes no progress. */
void flights_stalled(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects);
/* Fails what has waited for too long for a pipeline that does not serve. */
void flights_impatient(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects);
unsigned flights_in_service(const struct coordinator_core *core);

#endif
