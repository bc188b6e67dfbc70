/* The epochs of the coordinator's core: pipelines are prepared, serve, drain and end here, and nowhere else; see
 * coordinator_core.h. What boards and items a change concerns is told to the parts that keep them. */
#include "daemon/core/coordinator_parts.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- which is which ---- */

struct core_pipeline *pipeline_in(struct coordinator_core *core, enum pipeline_state state) {
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        if (core->pipeline[lane].state == state)
            return &core->pipeline[lane];
    return NULL;
}

const struct core_pipeline *core_pipeline_in(const struct coordinator_core *core, enum pipeline_state state) {
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        if (core->pipeline[lane].state == state)
            return &core->pipeline[lane];
    return NULL;
}

const struct core_pipeline *core_pipeline_of(const struct coordinator_core *core, epoch_t epoch) {
    const struct core_pipeline *pipeline = &core->pipeline[epoch_lane(epoch)];
    return epoch.number != 0 && pipeline->epoch.number == epoch.number ? pipeline : NULL;
}

const struct core_pipeline *core_pipeline_in_force(const struct coordinator_core *core) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    return serving ? serving : core_pipeline_in(core, PIPELINE_PREPARING);
}

unsigned core_lane_free(const struct coordinator_core *core) {
    unsigned lane = 0;
    while (lane < MESSAGE_LANES && core->pipeline[lane].state != PIPELINE_NONE)
        lane++;
    return lane;
}

bool core_plan_may_wait(const struct coordinator_core *core) {
    return core->state == COORDINATOR_SERVING || !core->served;
}

int pipeline_stage_of(const struct core_pipeline *pipeline, unsigned board) {
    for (unsigned i = 0; pipeline->state != PIPELINE_NONE && i < pipeline->plan.stages; i++)
        if (pipeline->plan.stage[i].board == board)
            return (int)i;
    return -1;
}

bool pipelines_include(const struct coordinator_core *core, unsigned board) {
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        if (pipeline_stage_of(&core->pipeline[lane], board) >= 0)
            return true;
    return false;
}

/* ---- what follows for boards ---- */

/* What the pipelines make of a board that is here and neither unfit nor leaving. */
static enum board_state state_of(const struct coordinator_core *core, unsigned board) {
    enum board_state state = BOARD_IDLE;
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++) {
        const struct core_pipeline *pipeline = &core->pipeline[lane];
        int stage = pipeline_stage_of(pipeline, board);
        if (stage < 0)
            continue;
        if (pipeline->state != PIPELINE_PREPARING || pipeline->ready[stage])
            return BOARD_READY;
        state = BOARD_LOADING;
    }
    return state;
}

static void settle_boards(struct coordinator_core *core) {
    const struct core_pipeline *in_force = core_pipeline_in_force(core);
    for (unsigned i = 0; i < core->boards; i++) {
        struct core_board *board = &core->board[i];
        board->stage = in_force ? pipeline_stage_of(in_force, i) : -1;
        if (board->state == BOARD_IDLE || board->state == BOARD_LOADING || board->state == BOARD_READY)
            board->state = state_of(core, i);
    }
}

/* ---- beginnings ---- */

/* Only in its lane is an epoch apart from the one that is still there. */
static epoch_t next_epoch(const struct coordinator_core *core) {
    epoch_t epoch = {core->epoch.number + 1};
    while (core->pipeline[epoch_lane(epoch)].state != PIPELINE_NONE)
        epoch.number++;
    return epoch;
}

void pipeline_prepare(struct coordinator_core *core, const struct plan *plan, bool step, mono_t now,
                      struct coordinator_effects *effects) {
    assert(core_lane_free(core) < MESSAGE_LANES);
    core->epoch = next_epoch(core);
    struct core_pipeline *pipeline = &core->pipeline[epoch_lane(core->epoch)];
    *pipeline = (struct core_pipeline){.state = PIPELINE_PREPARING,
                                       .epoch = core->epoch,
                                       .beside = core->state == COORDINATOR_SERVING,
                                       .step = step,
                                       .progressed = now,
                                       .plan = *plan};
    if (!pipeline->beside) {
        core->state = COORDINATOR_PREPARING;
        snprintf(core->reason, sizeof core->reason, "stages are loading their slices");
    }
    settle_boards(core);
    for (unsigned i = 0; i < plan->stages; i++) {
        struct coordinator_effect *effect = effects_add(effects, CORE_ASSIGN);
        effect->board = plan->stage[i].board;
        effect->epoch = core->epoch;
    }
}

void pipelines_ready(struct coordinator_core *core, unsigned board, epoch_t epoch) {
    struct core_pipeline *pipeline = pipeline_in(core, PIPELINE_PREPARING);
    if (!pipeline || pipeline->epoch.number != epoch.number)
        return;
    int stage = pipeline_stage_of(pipeline, board);
    if (stage < 0)
        return;
    pipeline->ready[stage] = true;
    settle_boards(core);
}

static bool all_ready(const struct core_pipeline *pipeline) {
    for (unsigned i = 0; i < pipeline->plan.stages; i++)
        if (!pipeline->ready[i])
            return false;
    return true;
}

static void tell_serving(const struct coordinator_core *core, const struct core_pipeline *pipeline, mono_t now,
                         struct coordinator_effects *effects) {
    struct fleet_event *event = effects_tell(effects, FLEET_SERVING, effects_keep(effects, core->cause));
    event->epoch = pipeline->epoch;
    event->stages = pipeline->plan.stages;
    event->took_ns = core->caused ? mono_since(now, core->caused_at) : 0;
    event->unserved_ns = core->served && core->state != COORDINATOR_SERVING ? mono_since(now, core->unserved_since) : 0;
}

/* New microbatches take the new way. */
static void serve(struct coordinator_core *core, struct core_pipeline *pipeline, mono_t now,
                  struct coordinator_effects *effects) {
    struct core_pipeline *before = pipeline_in(core, PIPELINE_SERVING);
    tell_serving(core, pipeline, now, effects);
    if (before) {
        before->state = PIPELINE_DRAINING;
        before->progressed = now;
    }
    pipeline->state = PIPELINE_SERVING;
    core->state = COORDINATOR_SERVING;
    core->reason[0] = core->cause[0] = '\0';
    core->writable = core->caused = core->unmeasured = false;
    core->served = true;
    core->progressed = now;
    for (unsigned i = 0; i < pipeline->plan.stages; i++)
        memset(&core->board[pipeline->plan.stage[i].board].last, 0, sizeof core->board[0].last);
    settle_boards(core);
    if (core->wish == WISH_OTHER && !core_serves_and_leaves(core))
        core->wish = WISH_BETTER; /* who was to go has no part in it any more */
    if (pipeline->step)
        core_wish_next_step(core, now);
    effects_add(effects, CORE_SERVE)->epoch = pipeline->epoch;
}

/* ---- ends ---- */

void pipeline_retire(struct coordinator_core *core, struct core_pipeline *pipeline,
                     struct coordinator_effects *effects) {
    assert(pipeline->sent == 0);
    if (pipeline->state == PIPELINE_NONE)
        return;
    effects_add(effects, CORE_RETIRE)->epoch = pipeline->epoch;
    pipeline->state = PIPELINE_NONE;
    settle_boards(core);
}

static void retire_all(struct coordinator_core *core, struct coordinator_effects *effects) {
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        pipeline_retire(core, &core->pipeline[lane], effects);
}

/* From now on nothing is dispatched. */
static void stop_serving(struct coordinator_core *core, enum coordinator_state state, mono_t now) {
    if (core->state == COORDINATOR_SERVING)
        core->unserved_since = now;
    core->state = state;
    core->writable = false;
    core->wish = WISH_NONE;
}

static void wait_for_plan(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    retire_all(core, effects);
    stop_serving(core, COORDINATOR_WAITING, now);
    core->changed = true;
}

/* Nothing serves nor is prepared any more: all pipelines end and what is under way is sent again. */
static void break_all(struct coordinator_core *core, unsigned board, const char *why, mono_t now,
                      struct coordinator_effects *effects) {
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        flights_replay_without(core, core->pipeline[lane].epoch, board, why, now, effects);
    wait_for_plan(core, now, effects);
}

/* What is prepared without the board goes on being prepared, though nothing serves meanwhile. */
static void break_serving(struct coordinator_core *core, struct core_pipeline *serving, unsigned board, const char *why,
                          mono_t now, struct coordinator_effects *effects) {
    flights_replay_without(core, serving->epoch, board, why, now, effects);
    pipeline_retire(core, serving, effects);
    stop_serving(core, COORDINATOR_PREPARING, now);
    settle_boards(core);
}

/* The words of a board's part that has ended. */
static void say_why(struct coordinator_core *core, const struct core_pipeline *pipeline, unsigned board,
                    const char *what) {
    const struct plan_stage *stage = &pipeline->plan.stage[pipeline_stage_of(pipeline, board)];
    snprintf(core->cause, sizeof core->cause, "stage %s (units %u to %u) %s", core->board[board].name, stage->first,
             stage->end - 1, what);
}

void pipelines_without(struct coordinator_core *core, unsigned board, const char *what, mono_t now,
                       struct coordinator_effects *effects) {
    struct core_pipeline *preparing = pipeline_in(core, PIPELINE_PREPARING);
    struct core_pipeline *draining = pipeline_in(core, PIPELINE_DRAINING);
    struct core_pipeline *serving = pipeline_in(core, PIPELINE_SERVING);
    bool prepares = preparing && pipeline_stage_of(preparing, board) >= 0;
    bool serves = serving && pipeline_stage_of(serving, board) >= 0;
    epoch_t over = serving ? serving->epoch : core->epoch; /* what is prepared is the newest */
    if (draining && pipeline_stage_of(draining, board) >= 0) {
        say_why(core, draining, board, what);
        flights_replay_without(core, draining->epoch, board, core->cause, now, effects);
        pipeline_retire(core, draining, effects);
        if (!serves)
            core->cause[0] = '\0';
    }
    if (prepares) {
        say_why(core, preparing, board, what);
        pipeline_retire(core, preparing, effects);
        if (serving)
            core_wish_again(core);
    }
    if (!serves && !(prepares && !serving))
        return;
    if (serves)
        say_why(core, serving, board, what);
    snprintf(core->reason, sizeof core->reason, "%s", core->cause);
    core_caused(core, now);
    effects_tell(effects, FLEET_REPLANNING, effects_keep(effects, core->cause))->epoch = over;
    if (serves && preparing && !prepares)
        break_serving(core, serving, board, core->cause, now, effects);
    else
        break_all(core, board, core->cause, now, effects);
}

void pipelines_pause(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    struct core_pipeline *preparing = pipeline_in(core, PIPELINE_PREPARING);
    if (preparing)
        pipeline_retire(core, preparing, effects);
    stop_serving(core, COORDINATOR_PAUSING, now);
    core_caused(core, now);
    snprintf(core->reason, sizeof core->reason, "%.200s%sa new plan waits for the microbatches in flight", core->cause,
             core->cause[0] ? "; " : "");
    if (serving)
        effects_tell(effects, FLEET_REPLANNING, effects_keep(effects, core->cause))->epoch = serving->epoch;
}

void pipelines_advance(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    struct core_pipeline *preparing = pipeline_in(core, PIPELINE_PREPARING);
    if (core->state == COORDINATOR_PREPARING && core->wish != WISH_NONE) { /* nothing is lost by another plan */
        effects_tell(effects, FLEET_REPLANNING, effects_keep(effects, core->cause))->epoch = core->epoch;
        wait_for_plan(core, now, effects);
    } else if (preparing && all_ready(preparing))
        serve(core, preparing, now, effects);
    struct core_pipeline *draining = pipeline_in(core, PIPELINE_DRAINING);
    if (draining && draining->sent == 0)
        pipeline_retire(core, draining, effects);
    if (core->state == COORDINATOR_PAUSING && core->sent == 0)
        wait_for_plan(core, now, effects);
}
