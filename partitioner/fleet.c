/* Boards into types, sums, memory and links into tables; see fleet.h.
 *
 * Two boards are of one type when swapping them changes nothing: same times, of payloads too, same memory with the same
 * in it and the same needs of it, and the same links to and from everyone else and between each other. (Same rows alone
 * would not do: with three equal boards of which only two are joined by a cable, it matters which.) Swaps generate all
 * permutations, so it is enough to compare each board with the first of a type. Identical boards then cost the search
 * nothing: it counts how many of a type are used instead of which.
 */
#include "partitioner/fleet.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

static bool same_link(const struct problem *problem, size_t left, size_t right) {
    return problem->bandwidth[left] == problem->bandwidth[right] && problem->latency[left] == problem->latency[right];
}

static bool interchangeable(const struct problem *problem, unsigned left, unsigned right) {
    size_t units = problem->units, ends = problem->boards + 1;
    if (problem->memory_bytes[left] != problem->memory_bytes[right] ||
        (problem->handling && problem->handling[left] != problem->handling[right]))
        return false;
    struct held_bytes held_left = held_bytes_of(problem, left), held_right = held_bytes_of(problem, right);
    if (held_left.first != held_right.first || held_left.end != held_right.end || held_left.total != held_right.total)
        return false;
    for (size_t unit = 0; unit < units; unit++)
        if (problem->unit_seconds[left * units + unit] != problem->unit_seconds[right * units + unit] ||
            problem->workspace_bytes[left * units + unit] != problem->workspace_bytes[right * units + unit])
            return false;
    for (size_t other = 0; other < ends; other++)
        if (other != left && other != right &&
            (!same_link(problem, left * ends + other, right * ends + other) ||
             !same_link(problem, other * ends + left, other * ends + right)))
            return false;
    return same_link(problem, left * ends + right, right * ends + left);
}

static void gather_types(struct fleet *fleet) {
    const struct problem *problem = fleet->problem;
    for (unsigned board = 0; board < problem->boards; board++) {
        unsigned type = 0;
        while (type < fleet->types && !interchangeable(problem, fleet->member[type][0], board))
            type++;
        if (type == fleet->types)
            fleet->types++;
        fleet->member[type][fleet->count[type]++] = (unsigned char)board;
    }
    fleet->ends = fleet->types + 1;
}

static void fill_sums(struct fleet *fleet) {
    for (unsigned type = 0; type < fleet->types; type++) {
        const double *seconds = fleet->problem->unit_seconds + (size_t)fleet->member[type][0] * fleet->units;
        struct running_sum *sums = fleet->sums + (size_t)type * fleet->cuts;
        for (unsigned unit = 0; unit < fleet->units; unit++)
            sums[unit + 1] = running_sum_add(sums[unit], seconds[unit]);
    }
}

static void fill_ends(struct fleet *fleet) {
    for (unsigned type = 0; type < fleet->types; type++)
        for (unsigned cut = 0; cut < fleet->cuts; cut++) {
            const unsigned board = fleet->member[type][0];
            double seconds = price_handling(fleet->problem, board, cut);
            fleet->entry[(size_t)type * fleet->cuts + cut] = price_entry(fleet->problem, board, cut);
            fleet->handling[(size_t)type * fleet->cuts + cut] = seconds;
            fleet->handling_most[type] = fmax(fleet->handling_most[type], seconds);
        }
}

static uint64_t scaled(uint64_t bytes, double scale) {
    if (scale == 1)
        return bytes;
    double product = (double)bytes * scale;
    return product >= 0x1p63 ? UINT64_MAX : (uint64_t)product;
}

static void fill_fits_of(struct fleet *fleet, unsigned type, double memory_scale) {
    const unsigned board = fleet->member[type][0];
    const uint64_t memory = scaled(fleet->problem->memory_bytes[board], memory_scale);
    struct held_bytes held = held_bytes_of(fleet->problem, board);
    for (unsigned first = 0; first < fleet->units; first++) {
        struct slice_bytes slice = slice_bytes_at(fleet->problem, board, first);
        held.shared = 0;
        while (slice.end < fleet->units) {
            slice_bytes_grow(&slice);
            held_bytes_share(&held, fleet->problem, first, slice.end - 1);
            if (held_bytes_beside(&held, slice_bytes_total(&slice)) <= memory)
                bit_set(fleet->fits + ((size_t)type * fleet->cuts + first) * fleet->words, slice.end);
        }
    }
}

/* A board that stands for an end of a link; the second of its type when the link joins two of one type. */
static unsigned end_board(const struct fleet *fleet, unsigned end, bool second) {
    return end == fleet->types ? fleet->problem->boards : fleet->member[end][second];
}

static void fill_transfer(struct fleet *fleet) {
    for (unsigned from = 0; from < fleet->ends; from++)
        for (unsigned to = 0; to < fleet->ends; to++) {
            bool joined = from != to || (from < fleet->types && fleet->count[from] > 1);
            for (unsigned cut = 0; cut < fleet->cuts; cut++)
                fleet->transfer[((size_t)cut * fleet->ends + from) * fleet->ends + to] =
                    joined ? price_transfer(fleet->problem, end_board(fleet, from, false),
                                            end_board(fleet, to, from == to), cut)
                           : INFINITY;
        }
}

void fleet_init(struct fleet *fleet, const struct problem *problem, double memory_scale) {
    memset(fleet, 0, sizeof *fleet);
    fleet->problem = problem;
    fleet->units = problem->units;
    fleet->cuts = problem->units + 1;
    fleet->words = (fleet->cuts + 63) / 64;
    gather_types(fleet);
    fleet->sums = allocate((size_t)fleet->types * fleet->cuts, sizeof *fleet->sums);
    fleet->fits = allocate((size_t)fleet->types * fleet->cuts * fleet->words, sizeof *fleet->fits);
    fleet->transfer = allocate((size_t)fleet->cuts * fleet->ends * fleet->ends, sizeof *fleet->transfer);
    fleet->handling = allocate((size_t)fleet->types * fleet->cuts, sizeof *fleet->handling);
    fleet->entry = allocate((size_t)fleet->types * fleet->cuts, sizeof *fleet->entry);
    fill_sums(fleet);
    fill_ends(fleet);
    for (unsigned type = 0; type < fleet->types; type++)
        fill_fits_of(fleet, type, memory_scale);
    fill_transfer(fleet);
}

void fleet_close(struct fleet *fleet) {
    release(fleet->sums);
    release(fleet->fits);
    release(fleet->transfer);
    release(fleet->handling);
    release(fleet->entry);
}

void route_price(const struct fleet *fleet, const struct route *route, struct plan *plan) {
    unsigned taken[PARTITIONER_BOARDS_MAX] = {0};
    plan->stages = route->stages;
    for (unsigned index = 0; index < route->stages; index++) {
        const struct route_stop *stop = &route->stop[index];
        unsigned board = fleet->member[stop->type][taken[stop->type]++];
        plan->stage[index] = (struct plan_stage){.board = board, .first = stop->first, .end = stop->end};
    }
    plan_cost(fleet->problem, plan);
}
