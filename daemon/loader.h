/* The loader of a stage: one thread that turns an assignment into an engine.
 *
 * Units that engines at hand have already are shared with them. For the others it looks for tensors in the cache, asks
 * for the missing ones piece by piece (LOADER_WANTS; loader_store brings the bytes), checks and caches them, and packs.
 * So the I/O thread never touches the disk nor hashes anything. Each loader_load ends with exactly one report of
 * LOADER_LOADED, LOADER_FAILED or LOADER_CANCELLED, which gives back an engine.
 */
#ifndef DAEMON_LOADER_H
#define DAEMON_LOADER_H

#include "base/error.h"
#include "daemon/core/fetch_core.h"
#include "daemon/stage_engine.h"
#include "proto/codec.h"

#include <stdint.h>

struct loader_settings {
    const char *cache_directory; /* borrowed until loader_destroy */
    uint64_t cache_limit_bytes;  /* 0: no limit */
    uint64_t memory_bytes;       /* for the process, weights, scratch and slots; 0: no limit */
    unsigned threads;            /* that will compute */
    const struct kernels *kernels;
};

/* An ASSIGN message with the arena it lives in. */
struct assignment {
    struct arena *arena;
    struct message_assign message;
};
/* NULL is fine; *assignment becomes NULL. */
void assignment_destroy(struct assignment **assignment);

enum loader_report_type {
    LOADER_WANTS,     /* chunk: have it sent; at most FETCH_CHUNKS are wanted at a time */
    LOADER_PROGRESS,  /* done, total, fetched */
    LOADER_LOADED,    /* engine; done, total, fetched */
    LOADER_FAILED,    /* error; engine: the old one if it still lives, else NULL */
    LOADER_CANCELLED, /* likewise */
};

struct loader_report {
    enum loader_report_type type;
    struct fetch_chunk chunk;
    uint64_t done, total; /* bytes of tensors that are here and checked, and of all */
    uint64_t fetched;     /* bytes that came over the network for this load */
    struct stage_engine *engine;
    struct error error;
};
/* Frees the report, not its engine. */
void loader_report_destroy(struct loader_report **report);

struct loader;

struct loader *loader_new(const struct loader_settings *settings, struct error *error);
/* Cancels, waits for the thread, and destroys what it still holds. *loader becomes NULL. NULL is fine. */
void loader_destroy(struct loader **loader);

/* Prepares the assignment, which it takes. One load at a time.
 *
 * old (NULL: none) is taken too. If its weights are all those wanted, it comes back, with buffers for the new
 * microbatches. Else its units that are wanted are shared, and it is destroyed: before packing when what is not shared
 * does not fit the memory beside it, after it otherwise. A load that fails before that gives it back as it was.
 *
 * beside (NULL: none) is borrowed until the load's last report: an engine that goes on serving. It may compute
 * meanwhile; the loader reads it, shares its units and never changes it. A slice that would fit alone but not beside it
 * fails with ERROR_BUSY; one that does not fit at all with ERROR_SYSTEM. */
void loader_load_take(struct loader *loader, struct assignment *assignment, struct stage_engine *old,
                      const struct stage_engine *beside);
/* Bytes of a chunk that was wanted. They stay the caller's until the loader calls release(context), from its thread. */
void loader_store(struct loader *loader, const struct fetch_chunk *chunk, const void *bytes,
                  void (*release)(void *context), void *context);
/* Stops the load as soon as may be; without one, nothing happens. */
void loader_cancel(struct loader *loader);

/* The next report, NULL when there is none. */
struct loader_report *loader_take(struct loader *loader);
/* Readable while loader_take has something. */
int loader_descriptor(const struct loader *loader);

#endif
