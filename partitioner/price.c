/* What things cost; see price.h.
 *
 * EdgePipe (arXiv 2110.14895, section III) prices a stage by its compute and by the transfer to its successor. Here a
 * stage also pays for what it receives, in time of the link and in time of its processors, the coordinator is the first
 * sender and the last receiver, and links are directed. Whether a board's receive and send overlap is decided by
 * whoever combines these prices (plan.c and the solvers).
 *
 * Sizes come from files and peers: sums of bytes stop at UINT64_MAX instead of wrapping round into something that fits.
 */
#include "partitioner/price.h"

#include <math.h>

double price_handling(const struct problem *problem, unsigned board, unsigned cut) {
    return problem->handling ? (double)problem->payload_bytes[cut] / problem->handling[board] : 0;
}

double price_entry(const struct problem *problem, unsigned board, unsigned first) {
    const double *seconds = problem->unit_seconds + (size_t)board * problem->units;
    unsigned reader = first;
    while (reader > 0 && reader < problem->units && !weights_begin(problem, 0, reader))
        reader--;
    return reader < first ? fmax(seconds[reader] - seconds[first], 0) : 0;
}

double price_compute(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    const double *seconds = problem->unit_seconds + (size_t)board * problem->units;
    struct running_sum from = {0}, to;
    for (unsigned unit = 0; unit < first; unit++)
        from = running_sum_add(from, seconds[unit]);
    to = from;
    for (unsigned unit = first; unit < end; unit++)
        to = running_sum_add(to, seconds[unit]);
    return running_sum_between(from, to) + price_entry(problem, board, first) + price_handling(problem, board, first) +
           price_handling(problem, board, end);
}

double price_transfer(const struct problem *problem, unsigned from, unsigned to, unsigned cut) {
    size_t link = (size_t)from * (problem->boards + 1) + to;
    if (!(problem->bandwidth[link] > 0))
        return INFINITY;
    return problem->latency[link] + (double)problem->payload_bytes[cut] / problem->bandwidth[link];
}

static uint64_t add(uint64_t left, uint64_t right) {
    uint64_t sum;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

static uint64_t multiply(uint64_t left, uint64_t right) {
    uint64_t product;
    return __builtin_mul_overflow(left, right, &product) ? UINT64_MAX : product;
}

bool weights_begin(const struct problem *problem, unsigned first, unsigned unit) {
    return unit == first || !problem->same_weights || !problem->same_weights[unit];
}

struct slice_bytes slice_bytes_at(const struct problem *problem, unsigned board, unsigned first) {
    return (struct slice_bytes){.problem = problem, .board = board, .first = first, .end = first};
}

void slice_bytes_grow(struct slice_bytes *slice) {
    unsigned unit = slice->end++;
    const struct problem *problem = slice->problem;
    uint64_t workspace = problem->workspace_bytes[(size_t)slice->board * problem->units + unit];
    if (weights_begin(problem, slice->first, unit)) {
        slice->weights = add(slice->weights, problem->weight_bytes[unit]);
        slice->step = workspace;
    } else {
        slice->step = add(slice->step, workspace);
    }
    if (slice->workspace < slice->step)
        slice->workspace = slice->step;
}

uint64_t slice_bytes_total(const struct slice_bytes *slice) {
    const struct problem *problem = slice->problem;
    unsigned spared = slice->first == 0 ? problem->source_slots_spared : 0;
    unsigned input_slots = problem->input_slots > spared ? problem->input_slots - spared : 0;
    uint64_t input = multiply(input_slots, problem->payload_bytes[slice->first]);
    uint64_t output = multiply(problem->output_slots, problem->payload_bytes[slice->end]);
    bool is_first = slice->first == 0 && problem->first_workspace_bytes;
    uint64_t workspace = add(slice->workspace, is_first ? problem->first_workspace_bytes[slice->end] : 0);
    return add(add(problem->process_bytes, slice->weights), add(workspace, add(input, output)));
}

/* Is it a unit between whose weights and those of the unit before nothing is shared? */
static bool stands_alone(const struct problem *problem, unsigned unit) {
    return unit == 0 || unit == problem->units || weights_begin(problem, 0, unit);
}

struct held_bytes held_bytes_of(const struct problem *problem, unsigned board) {
    struct held_bytes held = {0};
    const struct plan *plan = problem->beside;
    for (unsigned i = 0; plan && i < plan->stages; i++) {
        if (plan->stage[i].board != board)
            continue;
        struct slice_bytes slice = slice_bytes_at(problem, board, plan->stage[i].first);
        while (slice.end < plan->stage[i].end)
            slice_bytes_grow(&slice);
        uint64_t beside_process = slice_bytes_total(&slice) - problem->process_bytes;
        held = (struct held_bytes){.first = slice.first, .end = slice.end, .total = beside_process};
        while (!stands_alone(problem, held.first))
            held.first--;
        while (!stands_alone(problem, held.end))
            held.end++;
    }
    return held;
}

void held_bytes_share(struct held_bytes *held, const struct problem *problem, unsigned first, unsigned unit) {
    if (unit >= held->first && unit < held->end && weights_begin(problem, first, unit))
        held->shared = add(held->shared, problem->weight_bytes[unit]);
}

uint64_t held_bytes_beside(const struct held_bytes *held, uint64_t slice_total) {
    return add(slice_total, held->total - held->shared); /* what is shared is part of the total */
}
