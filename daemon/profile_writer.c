/* The writer of profiles; see profile_writer.h. Jobs go through a bounded queue to one thread, so that two profiles of
 * one board are written in their order and the later one stays. A job belongs to whoever has it in hand: the caller
 * until it is put, then the thread, which releases it. Failures are one line each; nobody waits for the outcome.
 */
#include "daemon/profile_writer.h"

#include "base/allocate.h"
#include "base/log.h"
#include "base/queue.h"
#include "daemon/profile_store.h"

#include <errno.h>
#include <pthread.h>

#define WAITING_MOST 64 /* a fleet's worth */

struct profile_writer {
    const char *directory;
    struct queue *waiting;
    pthread_t thread;
};

struct job {
    char *board;
    struct profile profile;
};

static void job_release(struct job *job) {
    release(job->board);
    release(job);
}

static void write_job(const struct profile_writer *writer, const struct job *job) {
    struct error error;
    const struct profile_key key = {.board = job->board,
                                    .fingerprint = job->profile.fingerprint,
                                    .version = job->profile.version,
                                    .kernels = job->profile.kernels,
                                    .threads = job->profile.threads};
    if (!profile_store_write(writer->directory, &key, &job->profile, &error))
        log_error("the profile of board %s is not kept, so the next start measures it again: %s", job->board,
                  error.text);
}

static void *thread_main(void *context) {
    struct profile_writer *writer = context;
    for (struct job *job; (job = queue_wait(writer->waiting)); job_release(job))
        write_job(writer, job);
    return NULL;
}

struct profile_writer *profile_writer_new(const char *directory, struct error *error) {
    struct profile_writer *writer = allocate(1, sizeof *writer);
    writer->directory = directory;
    writer->waiting = queue_new(WAITING_MOST, error);
    if (writer->waiting && (errno = pthread_create(&writer->thread, NULL, thread_main, writer)) == 0)
        return writer;
    if (writer->waiting)
        error_set_errno(error, "thread that keeps profiles");
    queue_destroy(&writer->waiting);
    release(writer);
    return NULL;
}

void profile_writer_destroy(struct profile_writer **pointer) {
    struct profile_writer *writer = *pointer;
    *pointer = NULL;
    if (!writer)
        return;
    queue_close(writer->waiting);
    pthread_join(writer->thread, NULL);
    queue_destroy(&writer->waiting);
    release(writer);
}

void profile_writer_put(struct profile_writer *writer, const char *board, const struct profile *profile) {
    struct job *job = allocate(1, sizeof *job);
    job->board = allocate_string(board);
    job->profile = *profile;
    if (queue_put(writer->waiting, job))
        return;
    log_error("the profile of board %s is not kept: %d others wait for the disk", board, WAITING_MOST);
    job_release(job);
}
