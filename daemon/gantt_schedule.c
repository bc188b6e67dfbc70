/* A small event simulation; see gantt_schedule.h.
 *
 * Each step of each microbatch waits for the step before it, for the same step of the microbatch before it (a board
 * computes, receives and sends one thing at a time), and for a buffer: a stage receives only into a free input slot,
 * which computing frees, and computes only into a free output slot, which sending frees. On half-duplex boards the two
 * transfers of a stage wait for each other too. Of all steps that may come next the earliest is taken, the one furthest
 * down the pipeline if there are several; so starts never go back in time and nothing already decided changes.
 *
 * With two slots of each kind a full-duplex pipeline settles at the period of the cost model exactly. Half-duplex
 * neighbours may have to wait for each other a little longer than the model says, as they would in life.
 */
#include "daemon/gantt_schedule.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

#define SLOTS_LEAST 2 /* fewer would not overlap, which the cost model takes for granted */

struct simulation {
    struct schedule *schedule;
    const struct problem *problem;
    const struct plan *plan;
    unsigned input_slots, output_slots;
    unsigned next[2 * PARTITIONER_BOARDS_MAX + 1]; /* by step: the microbatch that is up */
    double wire_free[PARTITIONER_BOARDS_MAX];      /* by stage, of half-duplex boards */
};

static double step_seconds(const struct plan *plan, unsigned step) {
    if (step == 2 * plan->stages)
        return plan->stage[plan->stages - 1].send_s;
    return step % 2 ? plan->stage[step / 2].compute_s : plan->stage[step / 2].receive_s;
}

/* Puts *start behind the end of that step of that microbatch; false when it is not decided yet. */
static bool wait_for(const struct simulation *simulation, unsigned step, unsigned microbatch, double *start) {
    if (microbatch >= simulation->next[step])
        return false;
    *start = fmax(*start, simulation->schedule->end[schedule_at(simulation->schedule, step, microbatch)]);
    return true;
}

static bool wait_for_slot(const struct simulation *simulation, unsigned step, unsigned microbatch, double *start) {
    unsigned slots = step % 2 ? simulation->output_slots : simulation->input_slots;
    return step + 1 == simulation->schedule->steps || microbatch < slots ||
           wait_for(simulation, step + 1, microbatch - slots, start);
}

static double wire_free(const struct simulation *simulation, unsigned step) {
    double start = 0;
    if (step % 2 || !simulation->problem->half_duplex)
        return 0;
    if (step / 2 < simulation->plan->stages)
        start = simulation->wire_free[step / 2];
    return step ? fmax(start, simulation->wire_free[step / 2 - 1]) : start;
}

/* When the next microbatch could start this step; INFINITY when that cannot be said yet or none is left. */
static double earliest(const struct simulation *simulation, unsigned step) {
    unsigned microbatch = simulation->next[step];
    double start = wire_free(simulation, step);
    bool known = microbatch < simulation->schedule->microbatches &&
                 (step == 0 || wait_for(simulation, step - 1, microbatch, &start)) &&
                 (microbatch == 0 || wait_for(simulation, step, microbatch - 1, &start)) &&
                 wait_for_slot(simulation, step, microbatch, &start);
    return known ? start : INFINITY;
}

static void take(struct simulation *simulation, unsigned step, double start) {
    struct schedule *schedule = simulation->schedule;
    size_t at = schedule_at(schedule, step, simulation->next[step]++);
    schedule->start[at] = start;
    schedule->end[at] = start + step_seconds(simulation->plan, step);
    if (step % 2)
        return;
    if (step / 2 < schedule->stages)
        simulation->wire_free[step / 2] = schedule->end[at];
    if (step)
        simulation->wire_free[step / 2 - 1] = schedule->end[at];
}

void schedule_init(struct schedule *schedule, const struct problem *problem, const struct plan *plan,
                   unsigned microbatches) {
    unsigned steps = 2 * plan->stages + 1;
    *schedule = (struct schedule){.stages = plan->stages, .steps = steps, .microbatches = microbatches};
    schedule->start = allocate((size_t)steps * microbatches, sizeof *schedule->start);
    schedule->end = allocate((size_t)steps * microbatches, sizeof *schedule->end);
    struct simulation simulation = {
        .schedule = schedule,
        .problem = problem,
        .plan = plan,
        .input_slots = problem->input_slots > SLOTS_LEAST ? problem->input_slots : SLOTS_LEAST,
        .output_slots = problem->output_slots > SLOTS_LEAST ? problem->output_slots : SLOTS_LEAST,
    };
    for (unsigned left = steps * microbatches; left > 0; left--) {
        unsigned best = 0;
        double best_start = INFINITY;
        for (unsigned step = steps; step-- > 0;) {
            double start = earliest(&simulation, step);
            if (start < best_start) {
                best = step;
                best_start = start;
            }
        }
        take(&simulation, best, best_start);
    }
}

void schedule_close(struct schedule *schedule) {
    release(schedule->start);
    release(schedule->end);
    memset(schedule, 0, sizeof *schedule);
}

double schedule_length(const struct schedule *schedule) {
    return schedule->end[schedule_at(schedule, schedule->steps - 1, schedule->microbatches - 1)];
}
