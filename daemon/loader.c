/* The loader's thread and its queues; see loader.h. Commands go one way, reports the other; what a load does is in
 * loader_load.c.
 *
 * Failures: of a load, in its last report; of the start, an error. Threads: the loader's runs loader_main, everything
 * else here is called by its owner; the two queues are all they share. Memory: commands and reports are allocated by
 * one side and freed by the other; what is in them when the loader is destroyed goes with it.
 */
#include "daemon/loader_internal.h"

#include "base/allocate.h"

#include <assert.h>
#include <errno.h>

#define COMMANDS_MAX (STAGE_CHUNKS + 8)

void assignment_destroy(struct assignment **pointer) {
    struct assignment *assignment = *pointer;
    *pointer = NULL;
    if (!assignment)
        return;
    arena_destroy(&assignment->arena);
    release(assignment);
}

void loader_report_destroy(struct loader_report **report) {
    release(*report);
    *report = NULL;
}

/* ---- commands and reports ---- */

static void command_send(struct loader *loader, const struct loader_command *command) {
    struct loader_command *copy = allocate(1, sizeof *copy);
    *copy = *command;
    bool accepted = queue_put(loader->commands, copy);
    assert(accepted); /* one load, its window of chunks, one cancel and one stop */
    (void)accepted;
}

void loader_command_destroy(struct loader_command *command) {
    if (command->release)
        command->release(command->context);
    assignment_destroy(&command->assignment);
    stage_engine_destroy(&command->old);
    release(command);
}

void loader_report_send(struct loader *loader, const struct loader_report *report) {
    struct loader_report *copy = allocate(1, sizeof *copy);
    *copy = *report;
    bool accepted = queue_put(loader->reports, copy);
    assert(accepted);
    (void)accepted;
}

/* ---- the thread ---- */

static void *loader_main(void *context) {
    struct loader *loader = context;
    for (struct loader_command *command; !loader->stopped && (command = queue_wait(loader->commands));) {
        if (command->type == COMMAND_LOAD) {
            loader_load(loader, command);
            continue;
        }
        loader->stopped = command->type == COMMAND_STOP;
        loader_command_destroy(command); /* bytes or a cancel that came after the end of their load */
    }
    return NULL;
}

/* ---- the other threads' side ---- */

struct loader *loader_new(const struct loader_settings *settings, struct error *error) {
    struct loader *loader = allocate(1, sizeof *loader);
    loader->settings = *settings;
    if ((loader->cache = cache_new(settings->cache_directory, settings->cache_limit_bytes, error)) &&
        (loader->commands = queue_new(COMMANDS_MAX, error)) &&
        (loader->reports = queue_new(LOADER_REPORTS_MAX, error))) {
        errno = pthread_create(&loader->thread, NULL, loader_main, loader);
        loader->started = errno == 0;
        if (loader->started)
            return loader;
        error_set_errno(error, "loader thread");
    }
    loader_destroy(&loader);
    return NULL;
}

/* What the thread left behind when it stopped. */
static void empty_queues(struct loader *loader) {
    struct loader_command *command;
    while (loader->commands && (command = queue_take(loader->commands)))
        loader_command_destroy(command);
    struct loader_report *report;
    while (loader->reports && (report = queue_take(loader->reports))) {
        stage_engine_destroy(&report->engine);
        loader_report_destroy(&report);
    }
}

void loader_destroy(struct loader **pointer) {
    struct loader *loader = *pointer;
    *pointer = NULL;
    if (!loader)
        return;
    if (loader->started) {
        command_send(loader, &(struct loader_command){.type = COMMAND_STOP});
        pthread_join(loader->thread, NULL);
    }
    empty_queues(loader);
    queue_destroy(&loader->reports);
    queue_destroy(&loader->commands);
    cache_destroy(&loader->cache);
    release(loader);
}

void loader_load_take(struct loader *loader, struct assignment *assignment, struct stage_engine *old,
                      const struct stage_engine *beside) {
    command_send(
        loader, &(struct loader_command){.type = COMMAND_LOAD, .assignment = assignment, .old = old, .beside = beside});
}

void loader_store(struct loader *loader, const struct stage_chunk *chunk, const void *bytes,
                  void (*release_bytes)(void *context), void *context) {
    command_send(
        loader,
        &(struct loader_command){
            .type = COMMAND_STORE, .chunk = *chunk, .bytes = bytes, .release = release_bytes, .context = context});
}

void loader_cancel(struct loader *loader) {
    command_send(loader, &(struct loader_command){.type = COMMAND_CANCEL});
}

struct loader_report *loader_take(struct loader *loader) {
    return queue_take(loader->reports);
}

int loader_descriptor(const struct loader *loader) {
    return queue_descriptor(loader->reports);
}
