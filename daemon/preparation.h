/* Threads that turn submitted files into the model's input pixels.
 *
 * Jobs go in from the I/O thread and come back to it; both queues hold at most `capacity` jobs, which is the number of
 * jobs there are, so neither put can fail.
 */
#ifndef DAEMON_PREPARATION_H
#define DAEMON_PREPARATION_H

#include "base/error.h"
#include "model/model.h"

#include <stdatomic.h>

struct preparation_job {
    const void *file; /* borrowed until the job comes back */
    size_t file_bytes;
    uint8_t *pixels;       /* in: room for one item of cut 0; out: filled when ok */
    atomic_bool withdrawn; /* in: nobody wants it any more; may be set at any time, and spares the work not yet begun */
    bool ok;               /* out */
    double seconds;        /* out: that it took */
    struct error error;    /* out, when not ok and not withdrawn */
};

struct preparation;

struct preparation *preparation_new(const struct model_config *config, unsigned threads, size_t capacity,
                                    struct error *error);
/* Ends the threads after the job each has in hand; jobs still waiting are dropped. */
void preparation_destroy(struct preparation **preparation);

void preparation_put(struct preparation *preparation, struct preparation_job *job);
/* A finished job, NULL when there is none. Jobs may come back in another order. */
struct preparation_job *preparation_take(struct preparation *preparation);
/* Readable while there is a finished job. */
int preparation_descriptor(const struct preparation *preparation);

#endif
