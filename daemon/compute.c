/* The compute worker; see compute.h. Happy path: wait for a job, compare the checksum of its inputs, run the slice,
 * take the checksum of the outputs, give the job back. Both checksums are taken here and not in the I/O thread, because
 * they read megabytes that the computation reads anyway. Failures: damaged inputs are told in the job; there are no
 * others. Threads: the worker and its pool touch a job and its engine only between compute_submit and compute_take. */
#include "daemon/compute.h"

#include "base/allocate.h"
#include "base/mono.h"
#include "base/queue.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

struct compute {
    struct queue *todo, *done;
    struct pool *pool;
    pthread_t worker;
    bool started;
};

static size_t part_bytes(const struct payload *payload, unsigned part, unsigned items) {
    return payload_part_bytes(&payload->part[part]) * items;
}

static uint64_t checksum_of_parts(const struct payload *payload, unsigned items, void *const part[]) {
    uint64_t checksum = 0;
    for (unsigned p = 0; p < payload->parts; p++)
        checksum = checksum_of(part[p], part_bytes(payload, p, items), checksum);
    return checksum;
}

static void run(struct compute *compute, struct compute_job *job) {
    mono_t start = mono_now();
    const struct stage_engine *engine = job->engine;
    job->damaged = checksum_of_parts(&engine->in, job->items, job->in) != job->checksum;
    if (!job->damaged) {
        slice_forward(engine->model, engine->workspace, compute->pool, job->items, job->in, job->out);
        job->out_checksum = checksum_of_parts(&engine->out, job->items, job->out);
    }
    job->busy_ns = mono_since(mono_now(), start);
}

static void *worker_main(void *context) {
    struct compute *compute = context;
    for (struct compute_job *job; (job = queue_wait(compute->todo));) {
        run(compute, job);
        bool given_back = queue_put(compute->done, job);
        assert(given_back);
        (void)given_back;
    }
    return NULL;
}

struct compute *compute_new(unsigned threads, struct error *error) {
    struct compute *compute = allocate(1, sizeof *compute);
    if ((compute->todo = queue_new(COMPUTE_JOBS_MAX, error)) && (compute->done = queue_new(COMPUTE_JOBS_MAX, error)) &&
        (compute->pool = pool_new(threads, error))) {
        errno = pthread_create(&compute->worker, NULL, worker_main, compute);
        compute->started = errno == 0;
        if (compute->started)
            return compute;
        error_set_errno(error, "compute thread");
    }
    compute_destroy(&compute);
    return NULL;
}

void compute_destroy(struct compute **pointer) {
    struct compute *compute = *pointer;
    *pointer = NULL;
    if (!compute)
        return;
    if (compute->started) {
        queue_close(compute->todo);
        pthread_join(compute->worker, NULL);
    }
    if (compute->pool)
        pool_destroy(&compute->pool);
    queue_destroy(&compute->done);
    queue_destroy(&compute->todo);
    release(compute);
}

void compute_submit(struct compute *compute, struct compute_job *job) {
    bool accepted = queue_put(compute->todo, job);
    assert(accepted);
    (void)accepted;
}

struct compute_job *compute_take(struct compute *compute) {
    return queue_take(compute->done);
}

int compute_descriptor(const struct compute *compute) {
    return queue_descriptor(compute->done);
}
