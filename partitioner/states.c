/* Layers of search states; see states.h.
 *
 * Groups and blocks are appended to two growing arrays and referred to by index, since both move when they grow. Only
 * the newest layer is hashed: a state is reached from the layer before it and from nowhere else. Memory is kept between
 * searches of one solve, which tries a dozen periods in turn.
 */
#include "partitioner/states.h"

#include "base/allocate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define FIRST_SLOTS 256

void states_init(struct states *states, const struct fleet *fleet) {
    memset(states, 0, sizeof *states);
    states->fleet = fleet;
    unsigned shift = 0;
    for (unsigned type = 0; type < fleet->types; type++) {
        unsigned bits = 0;
        while (fleet->count[type] >> bits)
            bits++;
        states->shift[type] = (unsigned char)shift;
        states->mask[type] = (UINT64_C(1) << bits) - 1;
        shift += bits; /* never above 64: n boards of a type take at most n bits */
    }
    states->slots = FIRST_SLOTS;
    states->slot = allocate(states->slots, sizeof *states->slot);
    states_clear(states);
}

void states_close(struct states *states) {
    release(states->group);
    release(states->block);
    release(states->slot);
}

static void clear_slots(struct states *states) {
    memset(states->slot, 0xff, states->slots * sizeof *states->slot);
}

void states_clear(struct states *states) {
    states->groups = states->blocks = 0;
    states->layers = 0;
    clear_slots(states);
}

void states_begin_layer(struct states *states) {
    assert(states->layers < sizeof states->layer_begin / sizeof states->layer_begin[0]);
    states->layer_begin[states->layers++] = (uint32_t)states->groups;
    clear_slots(states);
}

/* The slot where a key is or would be: multiplicative hashing (Knuth), linear probing. */
static uint32_t *find_slot(const struct states *states, uint64_t key) {
    size_t at = (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    for (;; at++) {
        uint32_t *slot = &states->slot[at & (states->slots - 1)];
        if (*slot == STATES_NONE || states->group[*slot].key == key)
            return slot;
    }
}

static void grow_slots(struct states *states) {
    release(states->slot);
    states->slots *= 4;
    states->slot = allocate(states->slots, sizeof *states->slot);
    clear_slots(states);
    for (uint32_t group = states->layer_begin[states->layers - 1]; group < states->groups; group++)
        *find_slot(states, states->group[group].key) = group;
}

uint32_t states_group(struct states *states, uint64_t key, bool *made) {
    uint32_t *slot = find_slot(states, key);
    *made = *slot == STATES_NONE;
    if (!*made)
        return *slot;
    void *memory = states->group;
    allocate_grow(&memory, &states->group_capacity, states->groups + 1, sizeof *states->group);
    states->group = memory;
    uint32_t group = (uint32_t)states->groups++;
    *slot = group;
    states->group[group] = (struct group){.key = key, .block = STATES_NONE, .promise = INFINITY};
    if (2 * (states->groups - states->layer_begin[states->layers - 1]) > states->slots)
        grow_slots(states);
    return group;
}

void states_add_block(struct states *states, uint32_t group, struct block block) {
    void *memory = states->block;
    allocate_grow(&memory, &states->block_capacity, states->blocks + 1, sizeof *states->block);
    states->block = memory;
    block.next = states->group[group].block;
    states->group[group].block = (uint32_t)states->blocks;
    states->block[states->blocks++] = block;
}

static void swap_groups(struct group *left, struct group *right) {
    struct group kept = *left;
    *left = *right;
    *right = kept;
}

/* Quickselect: afterwards the `width` smallest promises come first. */
static void select_groups(struct group *group, size_t count, size_t width) {
    size_t low = 0, high = count - 1;
    while (low < high) {
        float pivot = group[low + (high - low) / 2].promise;
        size_t left = low, right = high;
        for (;;) {
            while (group[left].promise < pivot)
                left++;
            while (group[right].promise > pivot)
                right--;
            if (left >= right)
                break;
            swap_groups(&group[left++], &group[right--]);
        }
        if (right >= width)
            high = right;
        else
            low = right + 1;
    }
}

void states_trim(struct states *states, size_t width) {
    size_t begin = states->layer_begin[states->layers - 1], count = states->groups - begin;
    if (count <= width)
        return;
    select_groups(states->group + begin, count, width);
    states->groups = begin + width;
}

bool search_out_of_time(const struct search_limits *limits) {
    return limits->clock && limits->clock(limits->clock_context) >= limits->deadline;
}
