/* Keeps profiles on disk from a thread of its own: a file is written, flushed to the disk and renamed, which on a slow
 * card takes seconds that a coordinator's I/O thread does not have.
 */
#ifndef DAEMON_PROFILE_WRITER_H
#define DAEMON_PROFILE_WRITER_H

#include "base/error.h"
#include "daemon/profile.h"

struct profile_writer;

/* Starts the thread. The directory is borrowed until profile_writer_destroy and made when it is first written to. NULL
 * with an error when the thread cannot start. */
struct profile_writer *profile_writer_new(const char *directory, struct error *error);
/* Waits until all that was put is written or has failed. *writer becomes NULL. NULL is fine. */
void profile_writer_destroy(struct profile_writer **writer);

/* Has this profile kept as the one of the board of that name, a valid one, as its kernels, threads, version and model
 * say (profile_store.h); copies both. Never blocks. What cannot be written, or finds too many waiting, is an error line
 * in the log and costs a measurement later. */
void profile_writer_put(struct profile_writer *writer, const char *board, const struct profile *profile);

#endif
