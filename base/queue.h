/* A bounded queue of pointers between threads, with an event descriptor for event loops.
 *
 * Made for the seam between an I/O thread, which must never block and waits on descriptors, and workers, which block.
 * Capacity is fixed when it is made; nothing is allocated afterwards. Closing wakes every blocked taker.
 */
#ifndef BASE_QUEUE_H
#define BASE_QUEUE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct queue;

struct queue *queue_new(size_t capacity, struct error *error);
/* Nobody may be using it. What is still inside is the caller's business. *queue becomes NULL. */
void queue_destroy(struct queue **queue);

/* Adds at the end. False when the queue is full or closed. Never blocks. Any thread. */
bool queue_put(struct queue *queue, void *entry);
/* Takes the first entry; NULL when it is empty. Never blocks. Any thread. */
void *queue_take(struct queue *queue);
/* Takes the first entry, waiting for one; NULL only when the queue is closed and empty. Any thread. */
void *queue_wait(struct queue *queue);
/* No more puts; takers get what is left, then NULL. */
void queue_close(struct queue *queue);
size_t queue_length(struct queue *queue);

/* A descriptor that is readable while the queue is not empty, for poll. Take until NULL after it woke you. */
int queue_descriptor(const struct queue *queue);

#endif
