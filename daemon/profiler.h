/* One profile being made, in a thread of its own, so that the I/O thread goes on saying heartbeats.
 *
 * Made when a coordinator asks, destroyed when its result was taken. At most one at a time is the owner's business.
 */
#ifndef DAEMON_PROFILER_H
#define DAEMON_PROFILER_H

#include "base/error.h"
#include "base/key.h"
#include "kernels/kernels.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>

struct profiler_settings {
    unsigned threads; /* that compute */
    const struct kernels *kernels;
    uint64_t memory_bytes;       /* what the board says it has: the most that measuring takes, 0: not known */
    const struct key_pair *keys; /* of its sockets, copied; NULL: none */
};

struct profiler;

/* Copies what it needs of the question and starts measuring. NULL with an error when the thread cannot start. */
struct profiler *profiler_new(const struct message_profile_get *get, const struct profiler_settings *settings,
                              struct error *error);
/* Cancels and waits for the thread, as long as one run of one unit takes. *profiler becomes NULL. NULL is fine. */
void profiler_destroy(struct profiler **profiler);

/* Asks it to stop soon: the result is then an error. Never blocks. */
void profiler_cancel(struct profiler *profiler);
/* Readable once it has finished. */
int profiler_descriptor(const struct profiler *profiler);
/* Has it finished? Then *answer is the message to send; what it points to lives as long as the profiler. Never blocks.
 */
bool profiler_finished(struct profiler *profiler, struct message_profile *answer);

#endif
