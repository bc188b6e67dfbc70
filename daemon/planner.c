/* One plan being made; see planner.h. Happy path: write the fleet file where one is wanted, make a problem of fleet and
 * model, have the policy solve it, check the plan, say so through a queue of one. Where any number of boards will do, a
 * board that is too small for its slice is left out and the rest planned again ("optimal" leaves out by itself).
 * Failures come back as the error. Threads: the planner belongs to its thread until that is in the queue. */
#include "daemon/planner.h"

#include "base/allocate.h"
#include "base/mono.h"
#include "base/queue.h"
#include "daemon/fleet_problem.h"
#include "daemon/fleet_write.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct planner {
    struct planner_settings settings;
    struct fleet_file *fleet;
    unsigned boards;                        /* that are not left out */
    unsigned index[PARTITIONER_BOARDS_MAX]; /* of each of them in the fleet */
    struct queue *done;
    bool finished;
    atomic_bool abandoned; /* by its owner, read by its thread */
    pthread_t thread;
    /* the result */
    bool ok, unwritten, has_step;
    struct plan plan, step, in_force;
    double in_force_s;
    struct plan_change change;
    struct error error, write_error;
};

/* For a planner that is not wanted any more it is too late at once. */
static double seconds_now(void *context) {
    struct planner *planner = context;
    return atomic_load(&planner->abandoned) ? INFINITY : (double)mono_now().ns / 1e9;
}

/* The plan in force by the boards of the problem. *complete: they are all in it. */
static struct plan in_force_of(const struct planner *planner, bool *complete) {
    struct plan plan = planner->in_force;
    *complete = plan.stages > 0;
    for (unsigned i = 0; i < plan.stages; i++) {
        unsigned place = 0;
        while (place < planner->boards && planner->index[place] != plan.stage[i].board)
            place++;
        plan.stage[i].board = place < planner->boards ? place : PLAN_NO_BOARD;
        *complete = *complete && place < planner->boards;
    }
    return plan;
}

/* With the plan in force. If there is no memory for the new one beside it, there may be for another one; which is not
 * looked for where not even the best one would be any better. */
static void compare(struct planner *planner, const struct problem *problem, const struct policy_options *options) {
    bool complete;
    struct plan before = in_force_of(planner, &complete);
    struct problem beside = *problem;
    beside.beside = &before;
    if (complete)
        plan_cost(problem, &before);
    planner->in_force_s = complete ? before.period_s : 0;
    planner->change = plan_change(problem, &before, &planner->plan);
    bool best = complete && before.period_s <= planner->plan.bound_s;
    planner->has_step = !planner->change.beside && !best &&
                        plan_solve(&beside, planner->settings.policy, options, &planner->step, NULL) &&
                        plan_check(&beside, &planner->step, NULL);
}

static bool solve(struct planner *planner, struct error *error) {
    const struct planner_settings *settings = &planner->settings;
    struct fleet_problem made = {0};
    unsigned all = planner->fleet->boards, units = model_units(settings->config);
    const struct policy_options options = {.cuts = settings->cuts,
                                           .cut_count = settings->cut_count,
                                           .stages = planner->boards < units ? planner->boards : units,
                                           .time_limit_s = settings->time_limit_s,
                                           .clock = seconds_now,
                                           .clock_context = planner};
    bool ok = fleet_problem_fill(&made, planner->fleet, settings->config, settings->microbatch, error);
    if (ok && planner->boards < all)
        fleet_problem_keep(&made, planner->index, planner->boards);
    ok = ok && plan_solve(&made.problem, settings->policy, &options, &planner->plan, error) &&
         plan_check(&made.problem, &planner->plan, error);
    if (ok)
        compare(planner, &made.problem, &options);
    fleet_problem_close(&made);
    return ok;
}

static void leave_out_smallest(struct planner *planner) {
    unsigned smallest = 0;
    for (unsigned i = 1; i < planner->boards; i++)
        if (planner->fleet->board[planner->index[i]].memory_bytes <
            planner->fleet->board[planner->index[smallest]].memory_bytes)
            smallest = i;
    planner->boards--;
    memmove(&planner->index[smallest], &planner->index[smallest + 1],
            (planner->boards - smallest) * sizeof planner->index[0]);
}

/* From the boards that are not left out to all. */
static void number_by_fleet(const struct planner *planner, struct plan *plan) {
    for (unsigned i = 0; i < plan->stages; i++)
        plan->stage[i].board = planner->index[plan->stage[i].board];
}

static void *thread_main(void *context) {
    struct planner *planner = context;
    const struct planner_settings *settings = &planner->settings;
    planner->unwritten = settings->fleet_path && !fleet_write(planner->fleet, settings->fleet_comment,
                                                              settings->fleet_path, &planner->write_error);
    planner->ok = solve(planner, &planner->error);
    while (!planner->ok && settings->leave_out && planner->boards > 1 && !atomic_load(&planner->abandoned)) {
        leave_out_smallest(planner);
        planner->ok = solve(planner, NULL);
    }
    if (planner->ok)
        number_by_fleet(planner, &planner->plan);
    if (planner->ok && planner->has_step)
        number_by_fleet(planner, &planner->step);
    bool accepted = queue_put(planner->done, planner);
    assert(accepted);
    (void)accepted;
    return NULL;
}

static void release_all(struct planner *planner) {
    queue_destroy(&planner->done);
    fleet_file_destroy(&planner->fleet);
    release(planner);
}

struct planner *planner_new_take(struct fleet_file *fleet, const struct planner_settings *settings,
                                 struct error *error) {
    struct planner *planner = allocate(1, sizeof *planner);
    planner->settings = *settings;
    if (settings->in_force)
        planner->in_force = *settings->in_force;
    planner->fleet = fleet;
    planner->boards = fleet->boards;
    for (unsigned i = 0; i < fleet->boards; i++)
        planner->index[i] = i;
    planner->done = queue_new(1, error);
    if (planner->done && (errno = pthread_create(&planner->thread, NULL, thread_main, planner)) == 0)
        return planner;
    if (planner->done)
        error_set_errno(error, "planning thread");
    release_all(planner);
    return NULL;
}

void planner_destroy(struct planner **pointer) {
    struct planner *planner = *pointer;
    *pointer = NULL;
    if (!planner)
        return;
    planner_abandon(planner);
    pthread_join(planner->thread, NULL);
    release_all(planner);
}

void planner_abandon(struct planner *planner) {
    atomic_store(&planner->abandoned, true);
}

int planner_descriptor(const struct planner *planner) {
    return queue_descriptor(planner->done);
}

bool planner_finished(struct planner *planner, struct planner_result *result) {
    if (!planner->finished && !queue_take(planner->done))
        return false;
    planner->finished = true;
    *result = (struct planner_result){.ok = planner->ok,
                                      .plan = &planner->plan,
                                      .in_force_s = planner->in_force_s,
                                      .change = planner->change,
                                      .step = planner->has_step ? &planner->step : NULL,
                                      .error = &planner->error,
                                      .left_out = planner->ok ? planner->fleet->boards - planner->boards : 0,
                                      .write_error = planner->unwritten ? &planner->write_error : NULL};
    return true;
}
