/* What the two halves of the loader share: loader.c (its thread, its queues, and what other threads call) and
 * loader_load.c (one load). Only the loader's thread comes past here. */
#ifndef DAEMON_LOADER_INTERNAL_H
#define DAEMON_LOADER_INTERNAL_H

#include "base/queue.h"
#include "daemon/cache.h"
#include "daemon/loader.h"

#include <pthread.h>

#define LOADER_REPORTS_MAX 64

enum loader_command_type { COMMAND_LOAD, COMMAND_STORE, COMMAND_CANCEL, COMMAND_STOP };

struct loader_command {
    enum loader_command_type type;
    struct assignment *assignment;
    struct stage_engine *old;          /* owned */
    const struct stage_engine *beside; /* borrowed */
    struct stage_chunk chunk;
    const void *bytes;
    void (*release)(void *context);
    void *context;
};

struct loader {
    struct loader_settings settings;
    struct cache *cache;
    struct queue *commands, *reports;
    pthread_t thread;
    bool started;
    bool stopped; /* by the thread: COMMAND_STOP was seen */
};

/* Frees a command and what it still owns. */
void loader_command_destroy(struct loader_command *command);
void loader_report_send(struct loader *loader, const struct loader_report *report);

/* Carries out a COMMAND_LOAD, which it takes, and sends its last report. */
void loader_load(struct loader *loader, struct loader_command *command);

#endif
