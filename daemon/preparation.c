/* The image preparers; see preparation.h. Each thread owns one preparer (decoder scratch, coefficient tables), which
 * grows to the largest image seen and is then reused. A file that is no image is an error in its job and nothing else.
 */
#include "daemon/preparation.h"

#include "base/allocate.h"
#include "base/mono.h"
#include "base/queue.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

struct worker {
    struct preparation *team;
    struct preparer *preparer;
    pthread_t thread;
};

struct preparation {
    struct queue *waiting, *finished;
    unsigned threads;
    struct worker *workers;
};

static void *work(void *context) {
    struct worker *worker = context;
    struct preparation_job *job;
    while ((job = queue_wait(worker->team->waiting))) {
        mono_t began = mono_now();
        job->ok = !atomic_load(&job->withdrawn) &&
                  prepare_image(worker->preparer, job->file, job->file_bytes, job->pixels, &job->error);
        job->seconds = (double)mono_since(mono_now(), began) / 1e9;
        queue_put(worker->team->finished, job);
    }
    return NULL;
}

struct preparation *preparation_new(const struct model_config *config, unsigned threads, size_t capacity,
                                    struct error *error) {
    struct preparation *team = allocate(1, sizeof *team);
    team->workers = allocate(threads, sizeof *team->workers);
    team->waiting = queue_new(capacity, error);
    team->finished = team->waiting ? queue_new(capacity, error) : NULL;
    if (!team->finished)
        goto fail;
    for (; team->threads < threads; team->threads++) {
        struct worker *worker = &team->workers[team->threads];
        worker->team = team;
        worker->preparer = preparer_new(config);
        errno = pthread_create(&worker->thread, NULL, work, worker);
        if (errno != 0) {
            error_set_errno(error, "image preparation: thread");
            preparer_destroy(&worker->preparer);
            goto fail;
        }
    }
    return team;
fail:
    preparation_destroy(&team);
    return NULL;
}

void preparation_destroy(struct preparation **pointer) {
    struct preparation *team = *pointer;
    *pointer = NULL;
    if (!team)
        return;
    if (team->waiting) {
        while (queue_take(team->waiting))
            continue;
        queue_close(team->waiting);
    }
    for (unsigned i = 0; i < team->threads; i++) {
        pthread_join(team->workers[i].thread, NULL);
        preparer_destroy(&team->workers[i].preparer);
    }
    queue_destroy(&team->waiting);
    queue_destroy(&team->finished);
    release(team->workers);
    release(team);
}

void preparation_put(struct preparation *preparation, struct preparation_job *job) {
    bool put = queue_put(preparation->waiting, job);
    assert(put);
    (void)put;
}

struct preparation_job *preparation_take(struct preparation *preparation) {
    return queue_take(preparation->finished);
}

int preparation_descriptor(const struct preparation *preparation) {
    return queue_descriptor(preparation->finished);
}
