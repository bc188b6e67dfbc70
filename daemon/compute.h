/* The compute worker of a stage: one thread that owns the kernels' thread pool and runs microbatches one after another.
 *
 * A job lies in the memory of whoever submits it and belongs to the worker until compute_take gives it back. Jobs come
 * back in the order they were submitted.
 */
#ifndef DAEMON_COMPUTE_H
#define DAEMON_COMPUTE_H

#include "daemon/stage_engine.h"

#include <stdbool.h>
#include <stdint.h>

#define COMPUTE_JOBS_MAX 8

struct compute_job {
    /* what is to be done */
    const struct stage_engine *engine;
    unsigned items;
    void *in[MODEL_PAYLOAD_PARTS]; /* f32 parts aligned to 4 bytes; may be overwritten */
    void *out[MODEL_PAYLOAD_PARTS];
    uint64_t checksum; /* that the inputs must have */
    /* what came of it */
    bool damaged; /* they have another: nothing was computed */
    uint64_t out_checksum;
    int64_t busy_ns;
    /* the submitter's own */
    unsigned lane, input, output;
};

struct compute;

/* Starts the worker with `threads` computing threads. */
struct compute *compute_new(unsigned threads, struct error *error);
/* Finishes what was submitted, then ends the worker. *compute becomes NULL. NULL is fine. */
void compute_destroy(struct compute **compute);

/* At most COMPUTE_JOBS_MAX may be under way (assert). */
void compute_submit(struct compute *compute, struct compute_job *job);
/* A finished job, or NULL. */
struct compute_job *compute_take(struct compute *compute);
/* Readable while compute_take has something. */
int compute_descriptor(const struct compute *compute);

#endif
