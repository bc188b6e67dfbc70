/* The writer of measurements; see state_writer.h. Jobs go through a bounded queue to one thread, so that two versions
 * of one file are written in their order and the later one stays. A job belongs to whoever has it in hand: the caller
 * until it is put, then the thread, which releases it. Failures are one line each; nobody waits for the outcome.
 */
#include "daemon/state_writer.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "base/queue.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#define WAITING_MOST 128 /* more than a fleet's worth */

struct state_writer {
    const char *directory;
    struct queue *waiting;
    pthread_t thread;
};

struct job {
    char *name, *text, *what;
};

static void job_release(struct job *job) {
    release(job->name);
    release(job->text);
    release(job->what);
    release(job);
}

static void write_job(const struct state_writer *writer, const struct job *job) {
    struct error error;
    char path[PATH_MAX];
    if (!directory_make(writer->directory, &error) ||
        !path_join(path, sizeof path, writer->directory, job->name, &error) ||
        !file_write_private(path, job->text, strlen(job->text), &error))
        log_error("%s is not kept, so the next start measures it again: %s", job->what, error.text);
}

static void *thread_main(void *context) {
    struct state_writer *writer = context;
    for (struct job *job; (job = queue_wait(writer->waiting)); job_release(job))
        write_job(writer, job);
    return NULL;
}

struct state_writer *state_writer_new(const char *directory, struct error *error) {
    struct state_writer *writer = allocate(1, sizeof *writer);
    writer->directory = directory;
    writer->waiting = queue_new(WAITING_MOST, error);
    if (writer->waiting && (errno = pthread_create(&writer->thread, NULL, thread_main, writer)) == 0)
        return writer;
    if (writer->waiting)
        error_set_errno(error, "thread that keeps what was measured");
    queue_destroy(&writer->waiting);
    release(writer);
    return NULL;
}

void state_writer_destroy(struct state_writer **pointer) {
    struct state_writer *writer = *pointer;
    *pointer = NULL;
    if (!writer)
        return;
    queue_close(writer->waiting);
    pthread_join(writer->thread, NULL);
    queue_destroy(&writer->waiting);
    release(writer);
}

void state_writer_put_take(struct state_writer *writer, const char *name, char *text, const char *what) {
    struct job *job = allocate(1, sizeof *job);
    *job = (struct job){.name = allocate_string(name), .text = text, .what = allocate_string(what)};
    if (queue_put(writer->waiting, job))
        return;
    log_error("%s is not kept: %d others wait for the disk", what, WAITING_MOST);
    job_release(job);
}
