/* How fast boards are beside their profiles (core/pace_core.h), from their heartbeats: what serves is judged, the
 * planner and `status` are told the factors, and the core hears of a board that is to be planned with another one.
 *
 * Compared is what the plan says of the board's slice, without the factor that it was made with; so that is kept, for
 * each lane. Judged is only who serves alone: a pipeline that drains or is prepared beside takes time on the same
 * boards. Where nothing is surveyed there is nothing to compare with. */
#include "daemon/coordinator_internal.h"

#include <math.h>

void pace_init(struct coordinator *c) {
    const struct pace_settings settings = {.after_ns = c->survey.needed ? c->options->drift_after_s * MONO_SECOND : 0};
    pace_core_init(&c->pace.core, &settings);
}

void pace_forget(struct coordinator *c, unsigned board) {
    pace_core_forget(&c->pace.core, board);
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        c->pace.planned[lane][board] = 0;
    for (unsigned i = 0; i < c->plan_work.board_count; i++)
        if (c->plan_work.boards[i] == board)
            c->plan_work.pace[i] = 0;
}

double pace_factor(const struct coordinator *c, unsigned board) {
    return c->pace.core.board[board].factor;
}

void pace_planned(struct coordinator *c, epoch_t epoch) {
    for (unsigned i = 0; i < c->plan_work.board_count; i++)
        c->pace.planned[epoch_lane(epoch)][c->plan_work.boards[i]] = c->plan_work.pace[i];
}

/* What the profile says of a full microbatch there; 0: what the plan says is not of that profile. */
static double profile_seconds(const struct coordinator *c, epoch_t epoch, const struct plan_stage *stage) {
    double planned = c->pace.planned[epoch_lane(epoch)][stage->board];
    return planned > 0 ? stage->compute_s / planned : 0;
}

double pace_compute_seconds(const struct coordinator *c, epoch_t epoch, const struct plan_stage *stage) {
    double seconds = profile_seconds(c, epoch, stage);
    return seconds > 0 ? seconds * pace_factor(c, stage->board) : stage->compute_s;
}

double pace_period_seconds(const struct coordinator *c, const struct core_pipeline *pipeline) {
    double period = 0;
    for (unsigned i = 0; i < pipeline->plan.stages; i++) {
        const struct plan_stage *stage = &pipeline->plan.stage[i];
        double compute = pace_compute_seconds(c, pipeline->epoch, stage);
        period = fmax(period, fmax(compute, fmax(stage->receive_s, stage->send_s)));
    }
    return period;
}

/* The pipeline that serves, NULL while there is none or another one beside it. */
static const struct core_pipeline *serving_alone(const struct coordinator *c) {
    bool alone = core_lane_free(&c->core) < MESSAGE_LANES && c->core.state == COORDINATOR_SERVING;
    return alone ? core_pipeline_in(&c->core, PIPELINE_SERVING) : NULL;
}

void pace_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat) {
    struct pace_beat beat = {
        .epoch = heartbeat->epoch,
        .microbatches = heartbeat->microbatches,
        .items = heartbeat->items,
        .busy_ns = heartbeat->busy_ns > heartbeat->computing_ns ? heartbeat->busy_ns - heartbeat->computing_ns : 0,
        .full = c->options->microbatch,
    };
    const struct core_pipeline *serving = serving_alone(c);
    int stage = c->core.board[board].stage;
    if (serving && stage >= 0 && serving->epoch.number == beat.epoch.number) {
        const struct plan_stage *planned = &serving->plan.stage[stage];
        double profile_s = profile_seconds(c, beat.epoch, planned);
        beat.handling_s = profile_s * planned->handling_s / planned->compute_s;
        beat.profile_s = profile_s - beat.handling_s;
    }
    beat.spare = serving && c->core.board[board].state == BOARD_IDLE;
    if (pace_core_heard(&c->pace.core, board, &beat, mono_now()))
        coordinator_step(
            c, &(struct coordinator_event){.type = CORE_BOARD_DRIFTED, .board = board, .pace = pace_factor(c, board)});
}
