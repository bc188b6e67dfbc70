/* The coordinator's state machine; its states, invariants and vocabulary are in coordinator_core.h.
 *
 * coordinator_core_step is the one entry: it lets the event change what is known (boards, pipelines, flights, queue),
 * then lets advance() draw the consequences: plan when enough boards are here or another plan is wished for, pause when
 * that cannot be had otherwise, dispatch when the first stage takes more. Epochs begin and end in
 * coordinator_pipelines.c, items and microbatches are in coordinator_flights.c.
 */
#include "daemon/core/coordinator_parts.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define HANGS_MOST   10
#define STEP_SLOWEST 2    /* times the longer of the periods before and after */
#define SAME_PERIOD  1e-9 /* relative */

const char *coordinator_state_name(enum coordinator_state state) {
    static const char *const names[] = {"waiting", "preparing", "serving", "pausing", "ended"};
    return names[state];
}

const char *board_state_name(enum board_state state) {
    static const char *const names[] = {"absent", "idle", "loading", "ready", "unfit", "leaving"};
    return names[state];
}

void coordinator_core_init(struct coordinator_core *core, const struct coordinator_settings *settings, mono_t now) {
    memset(core, 0, sizeof *core);
    core->settings = *settings;
    core->state = COORDINATOR_WAITING;
    core->queue_first = core->queue_last = NOTHING;
    core->unserved_since = core->progressed = core->joined_at = now;
    snprintf(core->reason, sizeof core->reason, "no board has joined yet");
}

void core_caused(struct coordinator_core *core, mono_t now) {
    if (!core->caused)
        core->caused_at = now;
    core->caused = true;
}

bool core_serves_and_leaves(const struct coordinator_core *core) {
    for (unsigned i = 0; i < core->boards; i++)
        if (core->board[i].state == BOARD_LEAVING && core->board[i].stage >= 0)
            return true;
    return false;
}

void core_wish_again(struct coordinator_core *core) {
    core->wish = core_serves_and_leaves(core) ? WISH_OTHER : WISH_BETTER;
    core->changed = true;
}

/* Nothing is left that another epoch is to answer. */
static void forget_cause(struct coordinator_core *core) {
    core->wish = WISH_NONE;
    core->caused = false;
    core->cause[0] = '\0';
}

static bool available(const struct core_board *board) {
    return board->state == BOARD_IDLE || board->state == BOARD_LOADING || board->state == BOARD_READY;
}

static unsigned available_boards(const struct coordinator_core *core) {
    unsigned count = 0;
    for (unsigned i = 0; i < core->boards; i++)
        count += available(&core->board[i]);
    return count;
}

void coordinator_core_unlist(struct coordinator_core *core, unsigned board) {
    core->board[board].listed = false;
}

bool coordinator_core_spares(const struct coordinator_core *core, unsigned board) {
    unsigned here = available_boards(core), wanted = core->settings.stages > 0 ? core->settings.stages : 1;
    return !available(&core->board[board]) || here != wanted;
}

/* ---- boards ---- */

static unsigned board_find_or_add(struct coordinator_core *core, const char *name) {
    for (unsigned i = 0; i < core->boards; i++)
        if (strcmp(core->board[i].name, name) == 0)
            return i;
    if (core->boards == CORE_BOARDS_MAX) { /* forget one that is not here; whoever comes is worth more */
        for (unsigned i = 0; i < core->boards; i++)
            if (core->board[i].state == BOARD_ABSENT && core->board[i].stage < 0)
                return snprintf(core->board[i].name, sizeof core->board[i].name, "%s", name), i;
        return NOTHING;
    }
    struct core_board *board = &core->board[core->boards];
    memset(board, 0, sizeof *board);
    snprintf(board->name, sizeof board->name, "%s", name);
    board->stage = -1;
    return core->boards++;
}

static void board_gone(struct coordinator_core *core, unsigned number, const char *what, mono_t now,
                       struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    if (board->state == BOARD_ABSENT)
        return;
    board->state = BOARD_ABSENT;
    core->changed = true;
    effects_tell_of(effects, FLEET_LOST, number, what);
    pipelines_without(core, number, what, now, effects);
}

static void wish_for(struct coordinator_core *core, enum core_wish wish, const char *cause, mono_t now) {
    core->wish = wish > core->wish ? wish : core->wish;
    core->changed = true;
    core_caused(core, now);
    if (!core->cause[0])
        snprintf(core->cause, sizeof core->cause, "%s", cause);
}

void core_wish_next_step(struct coordinator_core *core, mono_t now) {
    wish_for(core, WISH_BETTER, "the last plan was a step", now);
}

/* A board that is new to the plan in force might make a better one possible. */
static void consider(struct coordinator_core *core, const struct core_board *board, mono_t now) {
    char cause[CORE_REASON_MAX];
    if (core->settings.stages > 0 || core->state == COORDINATOR_WAITING || board->state != BOARD_IDLE)
        return;
    snprintf(cause, sizeof cause, "board %s joined", board->name);
    wish_for(core, WISH_BETTER, cause, now);
}

static void on_joined(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                      struct coordinator_effects *effects) {
    unsigned number = board_find_or_add(core, event->name);
    effects->board = number;
    if (number == NOTHING)
        return;
    board_gone(core, number, "started anew", now, effects); /* the old one, if it was still thought to be here */
    struct core_board *board = &core->board[number];
    board->state = BOARD_IDLE;
    board->memory_bytes = event->memory_bytes;
    board->heard = now;
    board->measured = !core->settings.measured_first;
    board->listed = false;
    board->hang = HANG_NONE;
    board->hangs = 0;
    board->reason[0] = '\0';
    memset(&board->last, 0, sizeof board->last);
    effects_tell_of(effects, FLEET_JOINED, number, event->text ? effects_keep(effects, event->text) : "");
    core->joined_at = now;
    if (core->state == COORDINATOR_WAITING) {
        core->changed = true;
        core_caused(core, now);
    } else if (board->measured)
        consider(core, board, now);
}

static void on_measured(struct coordinator_core *core, struct core_board *board, mono_t now) {
    if (board->state == BOARD_ABSENT)
        return;
    board->measured = true;
    core->changed = core->changed || core->state == COORDINATOR_WAITING;
    consider(core, board, now);
}

/* A plan made with other times is no longer the best, or never was. */
static void on_drifted(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                       struct coordinator_effects *effects) {
    char cause[CORE_REASON_MAX];
    const struct core_board *board = &core->board[event->board];
    if (board->state == BOARD_ABSENT)
        return;
    struct fleet_event *told = effects_tell_of(effects, FLEET_DRIFTED, event->board, "");
    told->pace = event->pace;
    if (core->state == COORDINATOR_SERVING && available(board))
        wish_for(core, WISH_BETTER, fleet_event_words(told, board->name, cause, sizeof cause), now);
}

static void on_leaving(struct coordinator_core *core, unsigned number, bool drained, mono_t now,
                       struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    char cause[CORE_REASON_MAX];
    if (board->state == BOARD_ABSENT || board->state == BOARD_LEAVING)
        return;
    board->state = BOARD_LEAVING;
    effects_tell_of(effects, FLEET_LEAVING, number, drained ? "it is drained" : "it asks to");
    core->changed = true;
    snprintf(cause, sizeof cause, "stage %s %s", board->name, drained ? "is drained" : "left");
    struct core_pipeline *preparing = pipeline_in(core, PIPELINE_PREPARING);
    if (preparing && preparing->beside && pipeline_stage_of(preparing, number) >= 0) {
        pipeline_retire(core, preparing, effects);
        core_wish_again(core);
    }
    const struct core_pipeline *in_force = core_pipeline_in_force(core);
    if (in_force && pipeline_stage_of(in_force, number) >= 0)
        wish_for(core, WISH_OTHER, cause, now);
}

/* While another serves, that one stays. A plan without the board may be of use to others; where a board wants to leave
 * there is another way than beside. */
static void failed_beside(struct coordinator_core *core, struct core_pipeline *pipeline, unsigned number,
                          const char *text, mono_t now, struct coordinator_effects *effects) {
    pipeline_retire(core, pipeline, effects);
    effects_tell(effects, FLEET_KEPT, effects_keep(effects, text))->epoch = pipeline->epoch;
    if (core->board[number].state != BOARD_READY) {
        core->board[number].state = BOARD_UNFIT;
        core_wish_again(core);
    } else if (core_serves_and_leaves(core))
        pipelines_pause(core, now, effects);
    else
        forget_cause(core);
}

static void on_failed(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                      struct coordinator_effects *effects) {
    struct core_board *board = &core->board[event->board];
    struct core_pipeline *pipeline = &core->pipeline[epoch_lane(event->epoch)];
    if (event->epoch.number != pipeline->epoch.number || pipeline_stage_of(pipeline, event->board) < 0)
        return;
    snprintf(board->reason, sizeof board->reason, "%s", event->text);
    effects_tell_of(effects, FLEET_UNFIT, event->board, effects_keep(effects, event->text))->epoch = event->epoch;
    if (pipeline->state == PIPELINE_PREPARING && core->state == COORDINATOR_SERVING) {
        failed_beside(core, pipeline, event->board, event->text, now, effects);
        return;
    }
    char what[CORE_REASON_MAX];
    snprintf(what, sizeof what, "cannot serve: %.240s", event->text);
    if (board->state != BOARD_LEAVING)
        board->state = BOARD_UNFIT;
    core->changed = true;
    pipelines_without(core, event->board, what, now, effects);
}

/* What the plans give the board for a microbatch, at most: one of an epoch that is over may still be at work. 0: it has
 * no part in a pipeline. */
static double planned_seconds(const struct coordinator_core *core, unsigned board) {
    double longest = 0;
    for (unsigned lane = 0; pipelines_include(core, board) && lane < MESSAGE_LANES; lane++) {
        const struct plan *plan = &core->pipeline[lane].plan;
        for (unsigned i = 0; i < plan->stages; i++)
            if (plan->stage[i].board == board)
                longest = fmax(longest, plan->stage[i].compute_s);
    }
    return longest;
}

/* Its heart beats, but it has been computing one microbatch for much longer than planned, and neither serves nor gets
 * ready for another epoch. One that is to leave stays so. */
static void judge_computing(struct coordinator_core *core, unsigned number, mono_t now,
                            struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    if (core->settings.hung_ns == 0 || !pipelines_include(core, number))
        return;
    double planned_s = planned_seconds(core, number), seconds = (double)board->last.computing_ns / 1e9;
    double limit_s = fmax(HUNG_FACTOR * planned_s, (double)core->settings.hung_ns / 1e9) * (double)(1u << board->hangs);
    if (seconds < limit_s)
        return;
    snprintf(board->reason, sizeof board->reason, "has been computing one microbatch for %.1f s, planned were %.3g s",
             seconds, planned_s);
    if (board->state != BOARD_LEAVING) {
        board->state = BOARD_UNFIT;
        board->hang = HANG_COMPUTING;
    }
    board->hangs += board->hangs < HANGS_MOST;
    core->changed = true;
    effects_tell_of(effects, FLEET_UNFIT, number, effects_keep(effects, board->reason))->epoch = core->epoch;
    pipelines_without(core, number, board->reason, now, effects);
}

/* Its disk, or whoever is to send the weights, does not answer. That counts as a failure to prepare its slice; what it
 * serves meanwhile goes on, and what nobody waits for is not judged. */
static void judge_loading(struct coordinator_core *core, unsigned number, mono_t now,
                          struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    const struct core_pipeline *preparing = core_pipeline_in(core, PIPELINE_PREPARING);
    int stage = preparing ? pipeline_stage_of(preparing, number) : -1;
    uint64_t limit = (uint64_t)core->settings.load_hung_ns << board->hangs;
    if (limit == 0 || stage < 0 || preparing->ready[stage] || board->last.loading_ns < limit)
        return;
    char why[CORE_REASON_MAX];
    snprintf(why, sizeof why, "has been loading for %.1f s without getting on", (double)board->last.loading_ns / 1e9);
    board->hangs += board->hangs < HANGS_MOST;
    on_failed(core, &(struct coordinator_event){.board = number, .epoch = preparing->epoch, .text = why}, now, effects);
    if (board->state == BOARD_UNFIT)
        board->hang = HANG_LOADING;
}

/* It was slow, not dead. */
static void take_back(struct coordinator_core *core, unsigned number, mono_t now, struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    board->state = BOARD_IDLE;
    board->hang = HANG_NONE;
    board->reason[0] = '\0';
    core->changed = true;
    effects_tell_of(effects, FLEET_JOINED, number, "it gets on after all");
    consider(core, board, now);
}

/* What it hung in is over. */
static bool gets_on(const struct core_board *board, const struct message_heartbeat *heartbeat) {
    switch (board->hang) {
    case HANG_COMPUTING:
        return heartbeat->computing_ns < board->last.computing_ns;
    case HANG_LOADING:
        return heartbeat->loading_ns < board->last.loading_ns;
    default:
        return false;
    }
}

static void on_heartbeat(struct coordinator_core *core, unsigned number, const struct message_heartbeat *heartbeat,
                         mono_t now, struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    const struct core_pipeline *pipeline = core_pipeline_of(core, heartbeat->epoch);
    if (pipeline && pipeline->state != PIPELINE_NONE && heartbeat->busy_ns != board->last.busy_ns)
        core->progressed = now;
    bool back = board->state == BOARD_UNFIT && gets_on(board, heartbeat);
    board->last = *heartbeat;
    if (back)
        take_back(core, number, now, effects);
    judge_computing(core, number, now, effects);
    judge_loading(core, number, now, effects);
}

/* ---- asking for a plan ---- */

/* A board that is not measured would hold up a plan that others need; it is planned with when it is, or when there is
 * no other way. */
static bool plannable(const struct coordinator_core *core, const struct core_board *board) {
    bool known = board->measured || core->unmeasured || !core->served;
    return available(board) && known;
}

static unsigned plannable_boards(const struct coordinator_core *core) {
    unsigned count = 0;
    for (unsigned i = 0; i < core->boards; i++)
        count += plannable(core, &core->board[i]);
    return count;
}

/* Keeps boards[0..count) in the order of their names, "b2" before "b10": the order that they came in differs from one
 * start of a fleet to the next, and with it would their slices, which they have cached. */
static void insert_by_name(const struct coordinator_core *core, struct coordinator_effects *effects, unsigned number) {
    unsigned place = effects->board_count++;
    for (; place > 0; place--) {
        unsigned before = effects->boards[place - 1];
        if (strverscmp(core->board[before].name, core->board[number].name) <= 0)
            break;
        effects->boards[place] = before;
    }
    effects->boards[place] = number;
}

static void tell_planning(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    core->planning_since = now;
    core->planned_boards = effects->board_count;
    effects_tell(effects, FLEET_PLANNING, "")->boards = effects->board_count;
}

static void ask_for_plan(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    unsigned wanted = core->settings.stages;
    core->changed = false;
    core->planning = true;
    effects->board_count = 0;
    for (unsigned i = 0; i < core->boards; i++) {
        struct core_board *board = &core->board[i];
        board->listed = plannable(core, board) && (wanted == 0 || effects->board_count < wanted);
        if (board->listed)
            insert_by_name(core, effects, i);
    }
    tell_planning(core, now, effects);
    effects_add(effects, CORE_PLAN);
}

/* More boards may be about to come. */
static bool settling(const struct coordinator_core *core, mono_t now) {
    return core->settings.stages == 0 && mono_since(now, core->joined_at) < core->settings.settle_ns;
}

/* A plan to begin with. */
static void seek_plan(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    unsigned wanted = core->settings.stages, here = available_boards(core);
    if (core->planning || !core->changed)
        return;
    if (here == 0 || here < wanted) {
        snprintf(core->reason, sizeof core->reason, "%.200s%s%u of %u boards are here", core->cause,
                 core->cause[0] ? "; " : "", here, wanted > 0 ? wanted : 1);
        return;
    }
    if (settling(core, now)) {
        snprintf(core->reason, sizeof core->reason, "waiting a moment for more boards");
        return;
    }
    if (plannable_boards(core) == 0 || plannable_boards(core) < wanted)
        core->unmeasured = true;
    ask_for_plan(core, now, effects);
}

/* Another plan than the one in force. */
static void seek_other(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    unsigned wanted = core->settings.stages, here = plannable_boards(core);
    if (core->planning || core_lane_free(core) == MESSAGE_LANES)
        return;
    if (core->wish == WISH_OTHER && (here == 0 || here < wanted))
        pipelines_pause(core, now, effects);
    else if (core->wish == WISH_OTHER || !settling(core, now))
        ask_for_plan(core, now, effects);
}

/* ---- a plan has come ---- */

static struct fleet_event *tell_planned(const struct coordinator_core *core, enum fleet_event_kind kind,
                                        const char *text, mono_t now, struct coordinator_effects *effects) {
    struct fleet_event *event = effects_tell(effects, kind, text);
    event->boards = core->planned_boards;
    event->took_ns = mono_since(now, core->planning_since);
    return event;
}

/* A plan becomes the next epoch. */
static void take_plan(struct coordinator_core *core, const struct plan *plan, bool step, mono_t now,
                      struct coordinator_effects *effects) {
    char why[CORE_REASON_MAX] = "";
    for (unsigned i = 0; i < core->boards; i++)
        core->board[i].measured = core->board[i].measured || core->board[i].listed;
    pipeline_prepare(core, plan, step, now, effects);
    if (core->state == COORDINATOR_SERVING)
        snprintf(why, sizeof why, "%.240s%s", core->cause, step ? "; a step, as far as memory allows" : "");
    struct fleet_event *event = tell_planned(core, FLEET_PLANNED, effects_keep(effects, why), now, effects);
    event->epoch = core->epoch;
    event->stages = plan->stages;
    event->period_s = plan->period_s;
}

static void no_plan(struct coordinator_core *core, const char *text, mono_t now, struct coordinator_effects *effects) {
    tell_planned(core, FLEET_NO_PLAN, effects_keep(effects, text), now, effects);
    if (core->state == COORDINATOR_SERVING) {
        if (core->wish == WISH_OTHER)
            pipelines_pause(core, now, effects);
        else
            forget_cause(core);
        return;
    }
    snprintf(core->reason, sizeof core->reason, "no plan: %s", text);
    if (!core->unmeasured && plannable_boards(core) < available_boards(core))
        core->unmeasured = core->changed = true;
}

static bool same_plan(const struct plan *left, const struct plan *right) {
    if (left->stages != right->stages)
        return false;
    for (unsigned i = 0; i < left->stages; i++) {
        const struct plan_stage *a = &left->stage[i], *b = &right->stage[i];
        if (a->board != b->board || a->first != b->first || a->end != b->end)
            return false;
    }
    return true;
}

/* Is it worth it? Faster, by the gain that is asked for; and where it costs a pause, so much faster that what is not
 * done in the pause is made good in time. Otherwise *why says why not. */
static bool worth_it(const struct coordinator_core *core, const struct coordinator_event *event,
                     const struct plan *plan, const struct plan *in_force, char why[CORE_REASON_MAX]) {
    double before = event->period_s > 0 ? event->period_s : in_force->period_s, after = plan->period_s;
    if (same_plan(in_force, plan)) {
        snprintf(why, CORE_REASON_MAX, "it is the best there is");
        return false;
    }
    if (!(before > after && before >= after * (1 + core->settings.gain))) {
        snprintf(why, CORE_REASON_MAX, "another would be %.1f %% faster, wanted are %.1f %%",
                 after > 0 && before > after ? 100 * (before / after - 1) : 0.0, 100 * core->settings.gain);
        return false;
    }
    double repay_s = (double)core->settings.repay_ns / 1e9;
    if (event->beside || plan == event->step || repay_s * (1 / after - 1 / before) > event->pause_s / before)
        return true;
    snprintf(why, CORE_REASON_MAX, "another would be %.1f %% faster, but cost a pause of %.1f s",
             100 * (before / after - 1), event->pause_s);
    return false;
}

/* A crawl is no better than a pause of seconds. */
static bool bearable(const struct coordinator_event *event, const struct plan *in_force) {
    return event->step->period_s <= STEP_SLOWEST * fmax(in_force->period_s, event->plan->period_s);
}

/* While one serves: beside it if that can be, else by a step, else in a pause. */
static void replace_plan(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                         struct coordinator_effects *effects) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    bool must = core->wish == WISH_OTHER;
    char why[CORE_REASON_MAX];
    bool step = !event->beside && event->step &&
                (must ? bearable(event, &serving->plan) : worth_it(core, event, event->step, &serving->plan, why));
    if (!must && !step && !worth_it(core, event, event->plan, &serving->plan, why)) {
        effects_tell(effects, FLEET_KEPT, effects_keep(effects, why))->epoch = serving->epoch;
        forget_cause(core);
        return;
    }
    core->wish = WISH_NONE;
    if (step) /* of a period as good as the best one's there is no other to come */
        take_plan(core, event->step, event->step->period_s > event->plan->period_s * (1 + SAME_PERIOD), now, effects);
    else if (event->beside)
        take_plan(core, event->plan, false, now, effects);
    else
        pipelines_pause(core, now, effects);
}

static bool all_available(const struct coordinator_core *core, const struct plan *plan) {
    for (unsigned i = 0; i < plan->stages; i++)
        if (!available(&core->board[plan->stage[i].board]))
            return false;
    return true;
}

static void on_planned(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                       struct coordinator_effects *effects) {
    core->planning = false;
    bool other = core->state == COORDINATOR_SERVING && core->wish != WISH_NONE;
    if (core->state != COORDINATOR_WAITING && !other)
        return;
    if (event->stale)
        core->changed = true;
    if (event->stale || (core->settings.stages == 0 && core->changed))
        return; /* it would leave out who came meanwhile; advance() asks again */
    if (!event->plan) {
        no_plan(core, event->text, now, effects);
        return;
    }
    if (!all_available(core, event->plan) || (event->step && !all_available(core, event->step))) {
        core->changed = true; /* one went away meanwhile; advance() asks again */
        return;
    }
    if (other)
        replace_plan(core, event, now, effects);
    else
        take_plan(core, event->plan, false, now, effects);
}

/* ---- time ---- */

static void drop_silent_boards(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    for (unsigned i = 0; i < core->boards; i++)
        if (core->board[i].state != BOARD_ABSENT &&
            mono_since(now, core->board[i].heard) > core->settings.board_silence_ns)
            board_gone(core, i, "fell silent", now, effects);
}

static void release_leaving(struct coordinator_core *core, struct coordinator_effects *effects) {
    for (unsigned i = 0; i < core->boards; i++) {
        if (core->board[i].state != BOARD_LEAVING || pipelines_include(core, i))
            continue;
        core->board[i].state = BOARD_ABSENT;
        effects_tell_of(effects, FLEET_LEFT, i, "");
        effects_add(effects, CORE_RELEASE)->board = i;
    }
}

/* Draws the consequences of whatever has changed. */
static void advance(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    bool idle = core->queued == 0 && core->flights == 0;
    pipelines_advance(core, now, effects);
    if (core->state == COORDINATOR_SERVING && core->wish != WISH_NONE && !core->ending)
        seek_other(core, now, effects);
    pipelines_advance(core, now, effects); /* a pause with nothing under way is over at once */
    release_leaving(core, effects);
    if (core->state == COORDINATOR_WAITING && !(core->ending && idle))
        seek_plan(core, now, effects);
    if (core->state == COORDINATOR_SERVING)
        flights_dispatch(core, now, effects);
    if (core->ending && core->queued == 0 && core->flights == 0 && core->state != COORDINATOR_ENDED) {
        core->state = COORDINATOR_ENDED;
        effects_add(effects, CORE_EXIT);
    }
}

static void apply_board_event(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                              struct coordinator_effects *effects) {
    assert(event->board < core->boards);
    struct core_board *board = &core->board[event->board];
    if (event->type != CORE_BOARD_LOST) /* an end is no sign of life */
        board->heard = now;
    switch (event->type) {
    case CORE_BOARD_LOST:
        board_gone(core, event->board, "was lost", now, effects);
        break;
    case CORE_BOARD_LEAVING:
        on_leaving(core, event->board, false, now, effects);
        break;
    case CORE_BOARD_READY:
        pipelines_ready(core, event->board, event->epoch);
        break;
    case CORE_BOARD_FAILED:
        on_failed(core, event, now, effects);
        break;
    case CORE_HEARTBEAT:
        on_heartbeat(core, event->board, event->heartbeat, now, effects);
        break;
    default:
        break; /* CORE_BOARD_HEARD: noted above */
    }
}

void coordinator_core_step(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                           struct coordinator_effects *effects) {
    effects->count = effects->texts = effects->events = 0;
    switch (event->type) {
    case CORE_BOARD_JOINED:
        on_joined(core, event, now, effects);
        break;
    case CORE_BOARD_MEASURED: /* said by us, not by the board */
        on_measured(core, &core->board[event->board], now);
        break;
    case CORE_BOARD_DRIFTED:
        on_drifted(core, event, now, effects);
        break;
    case CORE_BOARD_DRAINED:
        on_leaving(core, event->board, true, now, effects);
        break;
    case CORE_PLANNED:
        on_planned(core, event, now, effects);
        break;
    case CORE_ITEM_ADMITTED:
        flights_admit(core, event->item, now);
        break;
    case CORE_ITEM_WITHDRAWN:
        flights_withdraw(core, event->item, effects);
        break;
    case CORE_RESULT:
        flights_result(core, event, now, effects);
        break;
    case CORE_WRITABLE:
        core->writable = true;
        break;
    case CORE_TICK:
        drop_silent_boards(core, now, effects);
        flights_stalled(core, now, effects);
        flights_impatient(core, now, effects);
        break;
    case CORE_SHUTDOWN:
        core->ending = true;
        break;
    default:
        apply_board_event(core, event, now, effects);
        break;
    }
    advance(core, now, effects);
}

mono_t coordinator_core_deadline(const struct coordinator_core *core, mono_t now) {
    int64_t wait = 100 * MONO_MS; /* the slow clocks (silence, patience, stall) need no better */
    /* while all flights allowed are out, only a result lets another go: no deadline, or the loop would never sleep */
    if (core->state == COORDINATOR_SERVING && core->queued > 0 && core->writable &&
        flights_in_service(core) < core_flights_allowed(core)) {
        int64_t left = core->settings.microbatch_wait_ns - mono_since(now, core->admitted[core->queue_first]);
        wait = left < wait ? left : wait;
    }
    return mono_after(now, wait > 0 ? wait : 0);
}
