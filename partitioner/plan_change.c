/* What replacing one plan by another takes: memory while both are there, weights to be moved, and the time for that;
 * see partitioner.h. Times are an estimate: weights come over the coordinator's links, to all boards at once as the
 * plan has it, and are packed at PACK_RATE. */
#include "partitioner/partitioner.h"
#include "partitioner/price.h"

#include <math.h>

#define PACK_RATE 1e9 /* bytes per second, of a small board */

static uint64_t weights_of(const struct problem *problem, const struct plan_stage *stage) {
    uint64_t bytes = 0;
    for (unsigned unit = stage->first; unit < stage->end; unit++)
        bytes += weights_begin(problem, stage->first, unit) ? problem->weight_bytes[unit] : 0;
    return bytes;
}

struct plan_change plan_change(const struct problem *problem, const struct plan *from, const struct plan *to) {
    struct plan_change change = {.beside = true};
    struct problem both = *problem;
    both.beside = from;
    unsigned coordinator = problem->boards * (problem->boards + 1);
    for (unsigned i = 0; i < to->stages; i++) {
        const struct plan_stage *stage = &to->stage[i];
        struct held_bytes held = held_bytes_of(&both, stage->board);
        for (unsigned unit = stage->first; unit < stage->end; unit++)
            held_bytes_share(&held, problem, stage->first, unit);
        if (plan_board_memory(&both, stage->board, stage->first, stage->end) > problem->memory_bytes[stage->board])
            change.beside = false;
        uint64_t moved = weights_of(problem, stage) - held.shared;
        double rate = problem->bandwidth[coordinator + stage->board];
        double seconds = (double)moved / PACK_RATE + (rate > 0 && isfinite(rate) ? (double)moved / rate : 0);
        change.moved_bytes += moved;
        change.load_s = seconds > change.load_s ? seconds : change.load_s;
    }
    return change;
}
