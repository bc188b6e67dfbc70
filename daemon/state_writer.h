/* Keeps what was measured on disk from a thread of its own: a file is written, flushed to the disk and renamed, which
 * on a slow card takes seconds that a coordinator's I/O thread does not have.
 */
#ifndef DAEMON_STATE_WRITER_H
#define DAEMON_STATE_WRITER_H

#include "base/error.h"

struct state_writer;

/* Starts the thread. The directory is borrowed until state_writer_destroy and made when it is first written to. NULL
 * with an error when the thread cannot start. */
struct state_writer *state_writer_new(const char *directory, struct error *error);
/* Waits until all that was put is written or has failed. *writer becomes NULL. NULL is fine. */
void state_writer_destroy(struct state_writer **writer);

/* Has the text written to the file of that name in the directory, over what is there. Takes the text (base/allocate.h);
 * copies name and what, which is for people: "the profile of board b1". Never blocks. What cannot be written, or finds
 * too many waiting, is an error line in the log and costs a measurement later. */
void state_writer_put_take(struct state_writer *writer, const char *name, char *text, const char *what);

#endif
