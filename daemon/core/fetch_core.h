/* Who is asked for each piece of a tensor that a load wants: pure. Other boards that may have it (holders) come first,
 * so that many boards that load at once are not bound by the coordinator's one link; the coordinator, which has
 * everything, is asked where there is no holder, or none is left.
 *
 *   a holder:  USABLE ---- closed, silent, or answered with what it was not asked for ----> LOST, until the next load
 *   a chunk:   wanted -> asked of a holder -> ... of the next -> ... of the coordinator -> its bytes go to the loader
 *                  |  not here, or the holder was lost  ^                |  it is silent: again     ^
 *                  +------------------------------------+                +--------------------------+
 *
 * Nothing here trusts a holder: bytes count only from whom they were asked of (or from the coordinator), and whether
 * they are right is told by the tensor's hash, later, by the loader, which then wants the tensor from the coordinator.
 *
 * Invariants (fetch_core_broken checks them): a chunk is with one source, which is the coordinator or a usable holder
 * among those that the chunk names; no two outstanding chunks are the same.
 *
 * Memory: one struct of fixed size. Threads: none; one caller. Errors: none; a wrong event is a fault or ignored.
 */
#ifndef DAEMON_CORE_FETCH_CORE_H
#define DAEMON_CORE_FETCH_CORE_H

#include "base/hash.h"
#include "base/mono.h"

#include <stdbool.h>
#include <stdint.h>

#define FETCH_CHUNKS      8                 /* asked for and not yet here */
#define FETCH_HOLDERS_MAX 8                 /* that one load may ask */
#define FETCH_COORDINATOR FETCH_HOLDERS_MAX /* as a source; holders are 0, 1, ... */
#define FETCH_SOURCES     (FETCH_HOLDERS_MAX + 1)
#define FETCH_EFFECTS_MAX (FETCH_CHUNKS + FETCH_HOLDERS_MAX)

/* A piece of a tensor. */
struct fetch_chunk {
    struct hash hash;
    uint64_t offset;
    uint32_t bytes;
    uint32_t holders; /* bit i: holder i may have the tensor; 0: the coordinator alone is to be asked */
};

/* What happened. The comment lists the members that count. */
enum fetch_event_type {
    FETCH_BEGAN,    /* holders: a load with so many begins; whatever was before is forgotten */
    FETCH_ENDED,    /* it is over, one way or the other */
    FETCH_WANTED,   /* chunk: the loader wants it; at most FETCH_CHUNKS are outstanding */
    FETCH_PART,     /* source, chunk (but holders): bytes came */
    FETCH_NOT_HERE, /* source, chunk.hash: it has not got that tensor */
    FETCH_CLOSED,   /* source: the connection to a holder is no more, or never was */
    FETCH_TICK,     /* time has passed */
};

struct fetch_event {
    enum fetch_event_type type;
    unsigned holders, source;
    struct fetch_chunk chunk;
};

/* What is to be done, in this order. */
enum fetch_effect_type {
    FETCH_ASK,   /* source, chunk: connect, if need be, and ask for it */
    FETCH_STORE, /* chunk: the bytes that came with this event are those wanted */
    FETCH_LEAVE, /* source: close the connection to this holder, nothing is asked of it any more */
};

struct fetch_effect {
    enum fetch_effect_type type;
    unsigned source;
    struct fetch_chunk chunk;
};

enum fetch_fault {
    FETCH_FAULT_NONE,
    FETCH_FAULT_STALE,     /* bytes that were not asked for, or come too late */
    FETCH_FAULT_MALFORMED, /* bytes that were, but not as many */
};

struct fetch_effects {
    enum fetch_fault fault;
    unsigned count;
    struct fetch_effect effect[FETCH_EFFECTS_MAX];
};

struct fetch_core {
    bool active;
    unsigned holders;
    uint32_t usable; /* bit i: holder i */
    unsigned turn;   /* with whom the next search for the least busy begins */
    struct {
        bool used;
        unsigned source;
        struct fetch_chunk chunk;
    } chunk[FETCH_CHUNKS];
    mono_t silent_since[FETCH_SOURCES]; /* while something is asked of it */
    int64_t coordinator_patience_ns;
    struct {
        struct hash hash;
        uint32_t holders;   /* that have not got it */
    } absent[FETCH_CHUNKS]; /* of the last tensors that a holder had not; next to be overwritten: */
    unsigned oldest_absent;
    uint64_t bytes[FETCH_SOURCES]; /* that came from each in this load */
};

void fetch_core_init(struct fetch_core *core);

/* One event. *effects is overwritten. */
void fetch_core_step(struct fetch_core *core, const struct fetch_event *event, mono_t now,
                     struct fetch_effects *effects);

/* When FETCH_TICK is wanted at the latest; false when nothing is waited for. */
bool fetch_core_deadline(const struct fetch_core *core, mono_t *deadline);

/* NULL, or which invariant does not hold. For tests. */
const char *fetch_core_broken(const struct fetch_core *core);

#endif
