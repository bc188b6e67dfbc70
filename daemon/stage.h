/* The stage daemon: one process per board, which computes a slice of the model for a coordinator. */
#ifndef DAEMON_STAGE_H
#define DAEMON_STAGE_H

#include "base/error.h"
#include "daemon/identity.h"

#include <stdbool.h>
#include <stdint.h>

struct stage_options {
    const char *coordinator;         /* "tcp://HOST:PORT" */
    const char *name;                /* of this board; a valid board name */
    uint64_t memory_bytes;           /* for the process, weights, scratch and slots; 0: no limit of ours */
    unsigned threads;                /* that compute, at least 1 */
    const char *kernels;             /* set, NULL: the fastest */
    const char *cache_directory;     /* for fetched tensors; may be shared by several stages */
    uint64_t cache_limit_bytes;      /* 0: no limit */
    const struct identity *identity; /* the keys to use, borrowed; NULL: none */
    bool insecure;                   /* may listen beyond loopback without keys */
    const char
        *listen; /* "tcp://ADDRESS:PORT" for microbatches; NULL: where the coordinator is reached from, any port */
};

/* Serves until SIGTERM or SIGINT asks to leave and the coordinator lets go (true), or until it cannot go on (false).
 * Blocks those signals and sets malloc's thresholds for the whole process; call it once, before other threads are
 * started. */
bool stage_run(const struct stage_options *options, struct error *error);

#endif
