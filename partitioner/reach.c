/* Forward search over (boards used, last board, set of cuts); see reach.h.
 *
 * A state is expanded once for each type q that has a board left: the cuts at which any of its last boards may send to
 * q are gathered word by word, each of them opens the set of ends that q reaches from there, and what the relaxation
 * proves hopeless is masked off. The pair (boards used + q, q) has exactly one origin, so nothing is ever merged. The
 * masks come from one binary search per pair: cuts are sorted by their price to go once per search.
 *
 * The work per pair is a few words, so the loops are compiled for each small number of words. Rows live in one growing
 * array that is given room before a group is expanded, so that pointers into it hold meanwhile.
 */
#include "partitioner/reach.h"

#include "base/allocate.h"

#include <math.h>
#include <string.h>

#define INLINE               static inline __attribute__((always_inline))
#define GROUPS_BETWEEN_LOOKS 64 /* at the clock and at the memory used */

void reach_init(struct reach *reach, const struct fleet *fleet) {
    memset(reach, 0, sizeof *reach);
    reach->fleet = fleet;
    states_init(&reach->states, fleet);
    reach->threshold = allocate((size_t)fleet->types * fleet->cuts, sizeof *reach->threshold);
    reach->within = allocate((size_t)fleet->types * (fleet->cuts + 1) * fleet->words, sizeof *reach->within);
    reach->order = allocate(fleet->cuts, sizeof *reach->order);
}

void reach_close(struct reach *reach) {
    states_close(&reach->states);
    release(reach->row);
    release(reach->threshold);
    release(reach->within);
    release(reach->order);
}

/* Cuts of one type in ascending order of `togo`. Insertion: prices to go nearly fall with the cut, so starting from the
 * last cut there is little to do. */
static void sort_cuts(uint16_t *order, const double *togo, unsigned cuts) {
    for (unsigned count = 0; count < cuts; count++) {
        uint16_t cut = (uint16_t)(cuts - 1 - count);
        unsigned at = count;
        for (; at > 0 && togo[order[at - 1]] > togo[cut]; at--)
            order[at] = order[at - 1];
        order[at] = cut;
    }
}

static void build_masks(struct reach *reach, const struct relaxation *relaxation) {
    const struct fleet *fleet = reach->fleet;
    unsigned words = fleet->words;
    for (unsigned type = 0; type < fleet->types; type++) {
        const double *togo = relaxation_togo(relaxation, type, 0);
        double *threshold = reach->threshold + (size_t)type * fleet->cuts;
        uint64_t *within = reach->within + (size_t)type * (fleet->cuts + 1) * words;
        sort_cuts(reach->order, togo, fleet->cuts);
        memset(within, 0, words * sizeof *within);
        for (unsigned rank = 0; rank < fleet->cuts; rank++, within += words) {
            threshold[rank] = togo[reach->order[rank]];
            memcpy(within + words, within, words * sizeof *within);
            bit_set(within + words, reach->order[rank]);
        }
    }
}

/* The cuts from which `type` can go on with what the unused boards are worth. */
INLINE const uint64_t *hopeful(const struct reach *reach, unsigned type, double rest, unsigned words) {
    unsigned cuts = reach->fleet->cuts, low = 0;
    const double *threshold = reach->threshold + (size_t)type * cuts;
    for (unsigned span = cuts; span > 0;) {
        unsigned half = (span + 1) / 2;
        low += threshold[low + half - 1] <= rest ? half : 0;
        span -= half;
    }
    return reach->within + ((size_t)type * (cuts + 1) + low) * words;
}

/* Cuts at which some last board of the group may send to `type`. */
INLINE bool gather(const struct reach *reach, const struct graph *graph, uint32_t block, unsigned type,
                   uint64_t *arrive, unsigned words) {
    uint64_t any = 0;
    for (unsigned word = 0; word < words; word++)
        arrive[word] = 0;
    for (; block != STATES_NONE; block = reach->states.block[block].next) {
        const struct block *last = &reach->states.block[block];
        const uint64_t *row = reach->row + last->data;
        const uint64_t *allowed = graph->allowed + ((size_t)last->type * reach->fleet->ends + type) * words;
        for (unsigned word = 0; word < words; word++)
            arrive[word] |= row[word] & allowed[word];
    }
    for (unsigned word = 0; word < words; word++)
        any |= arrive[word];
    return any != 0;
}

/* Where `type` may have computed to, if it received at any of the cuts in `arrive`. */
INLINE bool extend(const struct reach *reach, const struct graph *graph, unsigned type, const uint64_t *arrive,
                   const uint64_t *hope, uint64_t *row, unsigned words) {
    uint64_t any = 0;
    const uint64_t *ends = graph->reach + (size_t)type * reach->fleet->units * words;
    for (unsigned word = 0; word < words; word++)
        row[word] = 0;
    for (unsigned word = 0; word < words; word++)
        for (uint64_t left = arrive[word]; left; left &= left - 1) {
            size_t cut = word * 64 + (unsigned)__builtin_ctzll(left);
            if (cut < reach->fleet->units)
                for (unsigned at = 0; at < words; at++)
                    row[at] |= ends[cut * words + at];
        }
    for (unsigned word = 0; word < words; word++)
        any |= row[word] &= hope[word];
    return any != 0;
}

static float promise_of(const struct reach *reach, const struct relaxation *relaxation, unsigned type,
                        const uint64_t *row, double rest) {
    const double *togo = relaxation_togo(relaxation, type, 0);
    double least = INFINITY;
    for (unsigned cut = 0; cut < reach->fleet->cuts; cut++)
        if (bit_test(row, cut))
            least = fmin(least, togo[cut]);
    return (float)(least - rest);
}

/* Keeps the row just written at the end of the array as what is known of (group + type, type). */
static uint32_t keep_row(struct reach *reach, const struct relaxation *relaxation, uint32_t from, unsigned type,
                         double rest) {
    struct states *states = &reach->states;
    bool made;
    uint32_t group = states_group(states, states_use(states, states->group[from].key, type), &made);
    states->group[group].rest[0] = rest;
    states_add_block(states, group, (struct block){.from = from, .type = type, .data = reach->words_used});
    if (reach->beam) {
        float promise = promise_of(reach, relaxation, type, reach->row + reach->words_used, rest);
        if (states->group[group].promise > promise)
            states->group[group].promise = promise;
    }
    reach->words_used += reach->fleet->words;
    return group;
}

static void make_room(struct reach *reach, size_t rows) {
    void *memory = reach->row;
    allocate_grow(&memory, &reach->words_capacity, reach->words_used + rows * reach->fleet->words, sizeof *reach->row);
    reach->row = memory;
}

/* Expands one group; true when a plan is complete, whose last block is then the newest of all. */
INLINE bool expand(struct reach *reach, const struct graph *graph, const struct relaxation *relaxation, uint32_t from,
                   unsigned words) {
    const struct fleet *fleet = reach->fleet;
    struct states *states = &reach->states;
    uint64_t arrive[PARTITIONER_UNITS_MAX / 64 + 1];
    make_room(reach, fleet->types);
    for (unsigned type = 0; type < fleet->types; type++) {
        const struct group *group = &states->group[from];
        double rest = group->rest[0] - relaxation->price[type];
        uint64_t *row = reach->row + reach->words_used;
        if (!states_can_use(states, group->key, type) || !gather(reach, graph, group->block, type, arrive, words) ||
            !extend(reach, graph, type, arrive, hopeful(reach, type, rest + RELAXATION_SLACK, words), row, words))
            continue;
        keep_row(reach, relaxation, from, type, rest);
        if (bit_test(row, fleet->units))
            return true;
    }
    return false;
}

static bool expand_any(struct reach *reach, const struct graph *graph, const struct relaxation *relaxation,
                       uint32_t from) {
    switch (reach->fleet->words) {
    case 1:
        return expand(reach, graph, relaxation, from, 1);
    case 2:
        return expand(reach, graph, relaxation, from, 2);
    case 3:
        return expand(reach, graph, relaxation, from, 3);
    case 4:
        return expand(reach, graph, relaxation, from, 4);
    default:
        return expand(reach, graph, relaxation, from, reach->fleet->words);
    }
}

/* The block and cut that a block's `cut` was reached from. */
static uint32_t step_back(const struct reach *reach, const struct graph *graph, uint32_t at, unsigned cut,
                          unsigned *first) {
    const struct fleet *fleet = reach->fleet;
    const struct block *block = &reach->states.block[at];
    const uint64_t *ends = graph->reach + (size_t)block->type * fleet->units * fleet->words;
    uint32_t before = reach->states.group[block->from].block;
    for (; before != STATES_NONE; before = reach->states.block[before].next) {
        const struct block *last = &reach->states.block[before];
        const uint64_t *allowed = graph->allowed + ((size_t)last->type * fleet->ends + block->type) * fleet->words;
        for (*first = 0; *first < cut; ++*first)
            if (bit_test(reach->row + last->data, *first) && bit_test(allowed, *first) &&
                bit_test(ends + (size_t)*first * fleet->words, cut))
                return before;
    }
    return STATES_NONE;
}

static void trace(const struct reach *reach, const struct graph *graph, unsigned stages, struct route *route) {
    uint32_t at = (uint32_t)reach->states.blocks - 1;
    unsigned cut = reach->fleet->units;
    route->stages = stages;
    while (stages-- > 0) {
        struct route_stop *stop = &route->stop[stages];
        stop->type = reach->states.block[at].type;
        stop->end = cut;
        at = step_back(reach, graph, at, cut, &cut);
        stop->first = cut;
    }
}

/* The coordinator holds the whole model's input: one group, no board used, "computed" up to cut 0. */
static void begin(struct reach *reach) {
    struct states *states = &reach->states;
    bool made;
    states_clear(states);
    reach->words_used = 0;
    make_room(reach, 1);
    memset(reach->row, 0, reach->fleet->words * sizeof *reach->row);
    bit_set(reach->row, 0);
    states_begin_layer(states);
    uint32_t root = states_group(states, 0, &made);
    states->group[root].rest[0] = 1;
    states_add_block(states, root, (struct block){.type = reach->fleet->types, .data = 0});
    reach->words_used = reach->fleet->words;
}

static bool must_give_up(const struct reach *reach, const struct search_limits *limits) {
    size_t bytes = reach->words_used * sizeof *reach->row + reach->states.blocks * sizeof(struct block) +
                   reach->states.groups * sizeof(struct group);
    return bytes > limits->bytes || search_out_of_time(limits);
}

enum search_result reach_search(struct reach *reach, const struct graph *graph, const struct relaxation *relaxation,
                                const struct search_limits *limits, struct route *route) {
    struct states *states = &reach->states;
    reach->beam = limits->width > 0;
    build_masks(reach, relaxation);
    begin(reach);
    uint32_t next = 0;
    for (unsigned stages = 1; stages <= reach->fleet->problem->boards && next < states->groups; stages++) {
        uint32_t end = (uint32_t)states->groups;
        states_begin_layer(states);
        for (; next < end; next++) {
            if (next % GROUPS_BETWEEN_LOOKS == 0 && must_give_up(reach, limits))
                return SEARCH_GAVE_UP;
            if (expand_any(reach, graph, relaxation, next)) {
                trace(reach, graph, stages, route);
                return SEARCH_FOUND;
            }
        }
        if (limits->width)
            states_trim(states, limits->width);
    }
    return SEARCH_NONE;
}
