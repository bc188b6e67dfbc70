/* One profile being made; see profiler.h. Happy path: read the configuration, start a pool of the size the board serves
 * with, measure, write the profile as JSON, say so through a queue of one. Failures (a configuration of an unknown
 * family, no memory, cancelled) end the same way with their text. Threads: `profiler` belongs to its maker but for what
 * the thread writes before it puts itself into the queue, and the flag that cancels. */
#include "daemon/profiler.h"

#include "base/allocate.h"
#include "base/key.h"
#include "base/log.h"
#include "base/queue.h"
#include "daemon/handling.h"
#include "daemon/profile.h"
#include "kernels/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define STRETCH 10 /* the coordinator has patience for that */

struct profiler {
    struct profiler_settings settings;
    struct key_pair keys; /* settings.keys is this */
    uint64_t survey;
    void *config, *preprocessor;
    size_t config_bytes, preprocessor_bytes;
    unsigned microbatches[MESSAGE_SIZES_MAX], sizes;
    double budget_s;
    atomic_bool cancelled;
    struct queue *done;
    bool finished;
    pthread_t thread;
    /* the result */
    char *json;
    struct error error;
};

static bool go_on(void *context) {
    struct profiler *profiler = context;
    return !atomic_load(&profiler->cancelled);
}

static bool measure_with(struct profiler *profiler, const struct model_config *config, struct pool *pool,
                         struct profile *profile) {
    const struct profile_settings settings = {
        .config = config,
        .kernels = profiler->settings.kernels,
        .pool = pool,
        .microbatches = profiler->microbatches,
        .sizes = profiler->sizes,
        .budget_s = profiler->budget_s,
        .stretch = STRETCH,
        .memory_bytes = profiler->settings.memory_bytes,
        .go_on = go_on,
        .context = profiler,
    };
    const struct handling_settings handling = {
        .config = config, .keys = profiler->settings.keys, .go_on = go_on, .context = profiler};
    struct error error;
    if (!profile_measure(&settings, profile, &profiler->error))
        return false;
    if (!handling_measure(&handling, profile, &error)) {
        if (!go_on(profiler))
            return error_set(&profiler->error, ERROR_SYSTEM, "cancelled");
        log_warn("not measured what receiving and sending cost: %s", error.text); /* plans take it for nothing */
    }
    profile->memory_bytes = profiler->settings.memory_bytes;
    profiler->json = profile_to_json(profile);
    return true;
}

static bool measure(struct profiler *profiler) {
    struct error *error = &profiler->error;
    struct pool *pool = NULL;
    struct model_config *config = model_config_new(profiler->config, profiler->config_bytes, profiler->preprocessor,
                                                   profiler->preprocessor_bytes, error);
    bool ok = config && (pool = pool_new(profiler->settings.threads, error));
    struct profile *profile = allocate(1, sizeof *profile);
    ok = ok && measure_with(profiler, config, pool, profile);
    release(profile);
    if (pool)
        pool_destroy(&pool);
    model_config_destroy(&config);
    return ok;
}

static void *thread_main(void *context) {
    struct profiler *profiler = context;
    if (!measure(profiler))
        profiler->json = NULL;
    bool accepted = queue_put(profiler->done, profiler);
    assert(accepted);
    (void)accepted;
    return NULL;
}

static void *copy(const void *bytes, size_t size) {
    if (!bytes)
        return NULL;
    void *made = allocate(size, 1); /* a decoded message: bounded */
    memcpy(made, bytes, size);
    return made;
}

static void release_all(struct profiler *profiler) {
    queue_destroy(&profiler->done);
    release(profiler->config);
    release(profiler->preprocessor);
    release(profiler->json);
    key_forget(&profiler->keys, sizeof profiler->keys);
    release(profiler);
}

struct profiler *profiler_new(const struct message_profile_get *get, const struct profiler_settings *settings,
                              struct error *error) {
    struct profiler *profiler = allocate(1, sizeof *profiler);
    profiler->settings = *settings;
    if (settings->keys) {
        profiler->keys = *settings->keys;
        profiler->settings.keys = &profiler->keys;
    }
    profiler->survey = get->survey;
    profiler->config = copy(get->config, get->config_bytes);
    profiler->config_bytes = get->config_bytes;
    profiler->preprocessor = copy(get->preprocessor, get->preprocessor_bytes);
    profiler->preprocessor_bytes = get->preprocessor_bytes;
    profiler->sizes = (unsigned)get->microbatch_count;
    for (unsigned i = 0; i < profiler->sizes; i++)
        profiler->microbatches[i] = get->microbatches[i];
    profiler->budget_s = get->budget_ms / 1e3;
    atomic_init(&profiler->cancelled, false);
    profiler->done = queue_new(1, error);
    if (profiler->done && (errno = pthread_create(&profiler->thread, NULL, thread_main, profiler)) == 0)
        return profiler;
    if (profiler->done)
        error_set_errno(error, "profile thread");
    release_all(profiler);
    return NULL;
}

void profiler_cancel(struct profiler *profiler) {
    atomic_store(&profiler->cancelled, true);
}

void profiler_destroy(struct profiler **pointer) {
    struct profiler *profiler = *pointer;
    *pointer = NULL;
    if (!profiler)
        return;
    profiler_cancel(profiler);
    pthread_join(profiler->thread, NULL);
    release_all(profiler);
}

int profiler_descriptor(const struct profiler *profiler) {
    return queue_descriptor(profiler->done);
}

bool profiler_finished(struct profiler *profiler, struct message_profile *answer) {
    if (!profiler->finished && !queue_take(profiler->done))
        return false;
    profiler->finished = true;
    *answer = (struct message_profile){.survey = profiler->survey,
                                       .error = profiler->json ? "" : profiler->error.text,
                                       .json = profiler->json,
                                       .json_bytes = profiler->json ? strlen(profiler->json) : 0};
    return true;
}
