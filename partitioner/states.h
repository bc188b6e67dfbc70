/* The states of a search, layer by layer: which boards have been used so far. A layer holds the states with one board
 * more than the last. Boards of one type are interchangeable, so a state is how many of each type are used, packed into
 * 64 bits.
 *
 * Each group is one such state; its blocks say what is known for each type that may have come last. What a block holds
 * is the business of the search that uses it (bit sets in reach.c, labels in labels.c). */
#ifndef PARTITIONER_STATES_H
#define PARTITIONER_STATES_H

#include "partitioner/fleet.h"

#define STATES_NONE   UINT32_MAX
#define STATES_BOUNDS 2 /* how many relaxations may bound a search */

struct block {
    uint32_t from; /* the group it was reached from */
    uint32_t next; /* another block of the same group, or STATES_NONE */
    uint32_t type;
    uint32_t count; /* entries, if the search wants to know */
    size_t data;    /* where the search keeps what it knows */
};

struct group {
    uint64_t key;               /* boards used of each type */
    uint32_t block;             /* the first one */
    float promise;              /* the smaller the better; orders a beam */
    double rest[STATES_BOUNDS]; /* sum of prices of the boards still unused, in each relaxation */
};

struct states {
    const struct fleet *fleet;
    unsigned char shift[PARTITIONER_BOARDS_MAX]; /* where a type's count lies in a key */
    uint64_t mask[PARTITIONER_BOARDS_MAX];       /* its largest value, before shifting */
    struct group *group;
    struct block *block;
    size_t groups, group_capacity, blocks, block_capacity;
    unsigned layers;                                  /* begun so far */
    uint32_t layer_begin[PARTITIONER_BOARDS_MAX + 2]; /* first group of each layer */
    uint32_t *slot;                                   /* hash table over the newest layer: a group, or STATES_NONE */
    size_t slots;
};

void states_init(struct states *states, const struct fleet *fleet);
void states_close(struct states *states);
/* Forgets everything but the memory. */
void states_clear(struct states *states);

/* Starts the next layer; its groups come after all others. */
void states_begin_layer(struct states *states);

/* The group with that key in the newest layer, made if it is new (*made says so; then it has no block and a promise of
 * INFINITY). Pointers to groups and blocks are valid until the next call. */
uint32_t states_group(struct states *states, uint64_t key, bool *made);

/* Adds a block to a group of the newest layer. */
void states_add_block(struct states *states, uint32_t group, struct block block);

/* Keeps the `width` most promising groups of the newest layer. No states_group for this layer afterwards. */
void states_trim(struct states *states, size_t width);

static inline unsigned states_used(const struct states *states, uint64_t key, unsigned type) {
    return (unsigned)(key >> states->shift[type] & states->mask[type]);
}

static inline bool states_can_use(const struct states *states, uint64_t key, unsigned type) {
    return states_used(states, key, type) < states->fleet->count[type];
}

static inline uint64_t states_use(const struct states *states, uint64_t key, unsigned type) {
    return key + (UINT64_C(1) << states->shift[type]);
}

/* How a search is told to hold back, and how it ends. */
struct search_limits {
    size_t width;                   /* groups per layer; 0 = all: the search is exact */
    size_t bytes;                   /* memory it may fill */
    double (*clock)(void *context); /* NULL: no limit of time */
    void *clock_context;
    double deadline;
};

enum search_result {
    SEARCH_FOUND,
    SEARCH_NONE,    /* nothing there: a proof if the width was 0 */
    SEARCH_GAVE_UP, /* out of time or memory: nothing is known */
};

bool search_out_of_time(const struct search_limits *limits);

#endif
