/* Plans: asked for by the core, made by the partitioner in a thread, checked against what has happened meanwhile.
 *
 * The core lists boards (CORE_PLAN). When they are surveyed, where the policy needs that, and the model is hashed, the
 * live state becomes a fleet file (fleet_file.h) and a planner works on it; its answer goes back to the core. A board
 * that goes or starts anew meanwhile makes the answer stale: the core then asks again. In an open fleet (no --stages)
 * boards that nobody reaches are left out; they come in later, as newcomers (coordinator_survey.c). What was measured
 * is planned with, profiles multiplied by what boards were found to take since (coordinator_pace.c); a board that could
 * not be measured counts as fast as the slowest that was, and where nothing is measured boards count as equal and links
 * as free.
 */
#include "base/allocate.h"
#include "base/log.h"
#include "base/seconds.h"
#include "daemon/coordinator_internal.h"
#include "daemon/fleet_pool.h"
#include "daemon/fleet_profile.h"
#include "daemon/fleet_write.h"
#include "daemon/slice_words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MEMORY_UNLIMITED (UINT64_C(1) << 50)
#define THREADS_MOST     256 /* that a board is believed; scratch memory goes with them */
#define SPEED_UNKNOWN    1e9 /* the same for all: only proportions matter */

bool plan_includes(const struct coordinator *c, unsigned board) {
    const struct plan_work *work = &c->plan_work;
    bool included = false;
    for (unsigned i = 0; c->core.planning && i < work->board_count; i++)
        included = included || work->boards[i] == board;
    return included;
}

/* Takes the boards off the list that nobody reaches, unless that would be all. */
static void leave_out(struct coordinator *c) {
    char why[REACH_WORDS_MAX];
    struct plan_work *work = &c->plan_work;
    struct plan_work kept = *work;
    kept.board_count = 0;
    for (unsigned i = 0; i < work->board_count; i++)
        if (!survey_out_of_reach(c, work->boards[i], why, sizeof why)) {
            kept.boards[kept.board_count] = work->boards[i];
            kept.joined[kept.board_count++] = work->joined[i];
        }
    if (c->core.settings.stages > 0 || kept.board_count == 0)
        return;
    for (unsigned i = 0; i < work->board_count; i++)
        if (survey_out_of_reach(c, work->boards[i], why, sizeof why))
            coordinator_core_unlist(&c->core, work->boards[i]);
    *work = kept;
}

/* In an open fleet all that are here are expected to be planned with. */
static void log_left_out(struct coordinator *c) {
    char why[REACH_WORDS_MAX];
    for (unsigned board = 0; c->core.settings.stages == 0 && board < c->core.boards; board++) {
        if (c->core.board[board].state != BOARD_IDLE || plan_includes(c, board))
            continue;
        bool unreached = survey_out_of_reach(c, board, why, sizeof why);
        log_warn("planned without board %s: %s", c->core.board[board].name, unreached ? why : "it is not measured yet");
    }
}

void plan_asked(struct coordinator *c) {
    struct plan_work *work = &c->plan_work;
    work->wanted = true;
    work->board_count = c->effects.board_count;
    work->noted = false;
    for (unsigned i = 0; i < work->board_count; i++)
        work->boards[i] = c->effects.boards[i];
    survey_plan_asked(c);
    leave_out(c);
    log_left_out(c);
}

/* ---- the live state as a fleet ---- */

/* Operations per second that the slowest of the measured boards has on the whole model, 0 when none is measured. */
static double slowest_speed(struct coordinator *c) {
    const struct plan_work *work = &c->plan_work;
    unsigned units = model_units(c->config), items = c->options->microbatch;
    double slowest = 0, flops = 0;
    for (unsigned unit = 0; unit < units; unit++)
        flops += items * model_unit_flops(c->config, unit);
    for (unsigned i = 0; i < work->board_count; i++) {
        const double *seconds = survey_unit_seconds(c, work->boards[i]);
        double sum = 0;
        for (unsigned unit = 0; seconds && unit < units; unit++)
            sum += seconds[unit];
        if (sum > 0 && (slowest == 0 || flops / sum < slowest))
            slowest = flops / sum;
    }
    return slowest;
}

/* What was measured since counts, not what the profile or anybody else says. */
static void apply_pace(struct fleet_board *board, unsigned units, double factor) {
    board->speed /= factor;
    board->handling = board->handling > 0 ? fmax(board->handling / factor, 1) : 0;
    for (unsigned i = 0; i < board->time_count; i++)
        for (unsigned unit = 0; unit < units; unit++)
            board->times[i].seconds[unit] *= factor;
}

static void fill_board(struct coordinator *c, unsigned number, double speed, struct fleet_board *board) {
    const struct core_board *core = &c->core.board[number];
    const struct profile *profile = survey_profile(c, number);
    board->name = allocate_string(core->name);
    if (profile)
        fleet_board_set_profile(board, profile);
    else {
        board->kernels = allocate_string(c->board[number].kernels);
        board->threads = c->board[number].threads;
        board->speed = speed > 0 ? speed : SPEED_UNKNOWN;
    }
    if (board->threads > THREADS_MOST) /* whoever says so, the board or its profile */
        board->threads = THREADS_MOST;
    bool limited = core->memory_bytes > 0 && core->memory_bytes < MEMORY_UNLIMITED;
    board->memory_bytes = limited ? core->memory_bytes : MEMORY_UNLIMITED;
}

static void fill_links(struct coordinator *c, struct fleet_file *fleet) {
    const struct plan_work *work = &c->plan_work;
    for (unsigned row = 0; row <= fleet->boards; row++)
        for (unsigned column = 0; column <= fleet->boards; column++) {
            struct fleet_link *link = &fleet->link[row < fleet->boards ? row : FLEET_COORDINATOR]
                                                  [column < fleet->boards ? column : FLEET_COORDINATOR];
            if (row != column)
                survey_core_way(&c->survey.core, row < fleet->boards ? work->boards[row] : SURVEY_COORDINATOR,
                                column < fleet->boards ? work->boards[column] : SURVEY_COORDINATOR, &link->latency,
                                &link->bandwidth);
        }
}

static struct fleet_file *live_fleet(struct coordinator *c) {
    struct fleet_file *fleet = fleet_file_new();
    double speed = c->survey.needed ? slowest_speed(c) : 0;
    fleet->architecture = allocate_string(model_architecture(c->config));
    profile_fingerprint(c->config, fleet->fingerprint);
    fleet->units = model_units(c->config);
    fleet->boards = c->plan_work.board_count;
    for (unsigned i = 0; i < fleet->boards; i++) {
        fill_board(c, c->plan_work.boards[i], speed, &fleet->board[i]);
        c->plan_work.pace[i] = pace_factor(c, c->plan_work.boards[i]);
    }
    fleet_pool(fleet);
    for (unsigned i = 0; i < fleet->boards; i++)
        apply_pace(&fleet->board[i], fleet->units, c->plan_work.pace[i]);
    if (c->survey.needed)
        fill_links(c, fleet);
    fleet_round(fleet); /* so that the file of this fleet makes the very same plan */
    return fleet;
}

/* ---- the planner ---- */

/* Not when the plan is asked for: that may be while a board's hello is being dealt with. */
static void note_boards(struct coordinator *c) {
    struct plan_work *work = &c->plan_work;
    for (unsigned i = 0; !work->noted && i < work->board_count; i++)
        work->joined[i] = c->board[work->boards[i]].joined;
    work->noted = true;
}

/* Has the fleet changed since the plan was asked for, so that it would be one for boards that are not there? */
static bool stale(const struct coordinator *c) {
    const struct plan_work *work = &c->plan_work;
    if (c->core.settings.stages == 0 && c->core.changed)
        return true;
    for (unsigned i = 0; i < work->board_count; i++) {
        enum board_state state = c->core.board[work->boards[i]].state;
        if (state == BOARD_ABSENT || state == BOARD_UNFIT || state == BOARD_LEAVING ||
            c->board[work->boards[i]].joined != work->joined[i])
            return true;
    }
    return false;
}

/* Is a board slower or faster by now than the planner was told? */
static bool outpaced(const struct coordinator *c) {
    const struct plan_work *work = &c->plan_work;
    for (unsigned i = 0; i < work->board_count; i++)
        if (work->pace[i] != pace_factor(c, work->boards[i]))
            return true;
    return false;
}

/* The plan in force, by the boards' places in the list. */
static struct plan in_force(const struct coordinator *c) {
    const struct plan_work *work = &c->plan_work;
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    struct plan plan = {0};
    if (serving)
        plan = serving->plan;
    for (unsigned i = 0; i < plan.stages; i++) {
        unsigned place = 0;
        while (place < work->board_count && work->boards[place] != plan.stage[i].board)
            place++;
        plan.stage[i].board = place < work->board_count ? place : PLAN_NO_BOARD;
    }
    return plan;
}

/* Boards that were asked about are not to be taken for newcomers; those that nobody reaches are, so that they get
 * another chance. */
static void mark_measured(struct coordinator *c) {
    const struct plan_work *work = &c->plan_work;
    for (unsigned i = 0; i < work->board_count; i++)
        c->board[work->boards[i]].measured = !survey_core_out_of_reach(&c->survey.core, work->boards[i]);
}

static void begin(struct coordinator *c) {
    struct error error;
    const struct plan before = in_force(c);
    struct plan_work *work = &c->plan_work;
    const struct planner_settings settings = {
        .config = c->config,
        .microbatch = c->options->microbatch,
        .policy = c->policy,
        .cuts = c->options->cuts,
        .cut_count = c->options->cut_count,
        .time_limit_s = c->options->plan_seconds,
        .in_force = &before,
        .leave_out = c->core.settings.stages == 0 && strcmp(c->policy, "optimal") != 0,
        .fleet_path = c->options->write_fleet,
        .fleet_comment = "Measured by a coordinator; see docs/FLEET.md.",
    };
    work->wanted = work->abandoned = false;
    mark_measured(c);
    leave_out(c);
    work->planner = planner_new_take(live_fleet(c), &settings, &error);
    if (!work->planner)
        coordinator_step(c, &(struct coordinator_event){.type = CORE_PLANNED, .text = error.text});
}

static bool has_part(const struct plan *plan, unsigned board) {
    unsigned i = 0;
    while (i < plan->stages && plan->stage[i].board != board)
        i++;
    return i < plan->stages;
}

static void log_unused(struct coordinator *c, const struct core_pipeline *pipeline,
                       const struct planner_result *result) {
    const struct plan_work *work = &c->plan_work;
    const struct plan *plan = &pipeline->plan;
    const char *is = pipeline->step ? "a step for which there is memory" : result->left_out ? "possible" : "no slower";
    for (unsigned i = 0; i < work->board_count; i++)
        if (!has_part(plan, work->boards[i]))
            log_info("  %-16s not used: the plan is %s without it", c->core.board[work->boards[i]].name, is);
}

static void log_plan(struct coordinator *c, const struct planner_result *result) {
    char words[SLICE_WORDS_MAX], duration[SECONDS_WORDS_MAX], predicted[48] = "";
    const struct core_pipeline *pipeline = core_pipeline_of(&c->core, c->core.epoch);
    const struct plan *plan = &pipeline->plan;
    bool best = strcmp(c->policy, "optimal") != 0 || plan->optimal;
    log_info("epoch %llu, policy %s:", (unsigned long long)c->core.epoch.number, c->policy);
    for (unsigned i = 0; i < plan->stages; i++) {
        const struct plan_stage *stage = &plan->stage[i];
        if (c->survey.needed)
            snprintf(predicted, sizeof predicted, ", %s", seconds_words(stage->compute_s, duration));
        log_info("  %-16s %s (units %u-%u)%s", c->core.board[stage->board].name,
                 slice_words(c->config, stage->first, stage->end, words), stage->first, stage->end - 1, predicted);
    }
    log_unused(c, pipeline, result);
    if (c->survey.needed)
        log_info("predicted: %s for a microbatch of %u, %.4g images/s%s", seconds_words(plan->period_s, duration),
                 c->options->microbatch, c->options->microbatch / plan->period_s,
                 pipeline->step ? "; a better plan is to follow"
                 : best         ? ""
                                : "; perhaps not the best plan");
}

/* As the core numbers boards. */
static const struct plan *by_board(const struct coordinator *c, const struct plan *planned, struct plan *plan) {
    *plan = *planned;
    for (unsigned i = 0; i < plan->stages; i++)
        plan->stage[i].board = c->plan_work.boards[plan->stage[i].board];
    return plan;
}

static void tell_core(struct coordinator *c, const struct planner_result *result) {
    struct plan plan, step;
    struct coordinator_event event = {.type = CORE_PLANNED, .text = result->error->text};
    uint64_t before = c->core.epoch.number;
    if (result->left_out > 0)
        log_warn("planned without %u of %u boards: %s", result->left_out, c->plan_work.board_count,
                 result->error->text);
    if (result->ok) {
        event.plan = by_board(c, result->plan, &plan);
        event.step = result->step ? by_board(c, result->step, &step) : NULL;
        event.period_s = result->in_force_s;
        event.beside = result->change.beside;
        event.pause_s = result->change.load_s;
    }
    coordinator_step(c, &event);
    if (c->core.epoch.number == before)
        return;
    pace_planned(c, c->core.epoch);
    log_plan(c, result);
}

static void finish(struct coordinator *c) {
    struct planner_result result;
    struct planner *planner = c->plan_work.planner;
    if (!planner_finished(planner, &result))
        return;
    c->plan_work.planner = NULL; /* before the core is told: it may ask for the next one */
    if (result.write_error)
        log_warn("--write-fleet: %s", result.write_error->text);
    if (c->plan_work.abandoned || stale(c) || outpaced(c))
        coordinator_step(c, &(struct coordinator_event){.type = CORE_PLANNED, .stale = true});
    else
        tell_core(c, &result);
    planner_destroy(&planner);
}

void plan_turn(struct coordinator *c) {
    struct plan_work *work = &c->plan_work;
    if (work->planner && !work->abandoned && stale(c)) {
        planner_abandon(work->planner);
        work->abandoned = true;
    }
    if (work->planner)
        finish(c);
    if (!work->wanted || work->planner)
        return;
    note_boards(c);
    if (stale(c)) {
        work->wanted = false;
        coordinator_step(c, &(struct coordinator_event){.type = CORE_PLANNED, .stale = true});
        return;
    }
    if (manifest_ready(c->manifest) && survey_ready(c, work->boards, work->board_count))
        begin(c);
}

void plan_close(struct coordinator *c) {
    planner_destroy(&c->plan_work.planner);
}
