/* What replacing one plan by another takes: memory while both are there, weights to be moved, and the time for that;
 * see partitioner.h. Times are an estimate: weights come over the coordinator's links, to all boards at once as the
 * plan has it, and are packed at PACK_RATE. */
#include "partitioner/partitioner.h"

#include <math.h>

#define PACK_RATE 1e9 /* bytes per second, of a small board */

static const struct plan_stage *stage_of(const struct plan *plan, unsigned board) {
    for (unsigned i = 0; i < plan->stages; i++)
        if (plan->stage[i].board == board)
            return &plan->stage[i];
    return NULL;
}

static uint64_t weights_between(const struct problem *problem, unsigned first, unsigned end) {
    uint64_t bytes = 0;
    for (unsigned unit = first; unit < end; unit++)
        bytes += problem->weight_bytes[unit];
    return bytes;
}

/* Weights of the units that both slices have. */
static uint64_t shared_weights(const struct problem *problem, const struct plan_stage *left,
                               const struct plan_stage *right) {
    unsigned first = left->first > right->first ? left->first : right->first;
    unsigned end = left->end < right->end ? left->end : right->end;
    return first < end ? weights_between(problem, first, end) : 0;
}

struct plan_change plan_change(const struct problem *problem, const struct plan *from, const struct plan *to) {
    struct plan_change change = {.beside = true};
    struct problem both = *problem;
    both.beside = from;
    unsigned coordinator = problem->boards * (problem->boards + 1);
    for (unsigned i = 0; i < to->stages; i++) {
        const struct plan_stage *stage = &to->stage[i], *old = stage_of(from, stage->board);
        uint64_t shared = old ? shared_weights(problem, old, stage) : 0;
        if (plan_board_memory(&both, stage->board, stage->first, stage->end) > problem->memory_bytes[stage->board])
            change.beside = false;
        uint64_t moved = weights_between(problem, stage->first, stage->end) - shared;
        double rate = problem->bandwidth[coordinator + stage->board];
        double seconds = (double)moved / PACK_RATE + (rate > 0 && isfinite(rate) ? (double)moved / rate : 0);
        change.moved_bytes += moved;
        change.load_s = seconds > change.load_s ? seconds : change.load_s;
    }
    return change;
}
