/* A fixed team of threads that runs one parallel loop at a time.
 *
 * The thread that calls pool_run takes part, so a pool of one has no thread of its own and costs nothing. Waiting
 * threads sleep after a very short spin: boards are often oversubscribed and a spinning helper would steal the time of
 * another stage.
 */
#ifndef KERNELS_POOL_H
#define KERNELS_POOL_H

#include "base/error.h"

#include <stddef.h>

struct pool;

/* A pool that computes on `threads` threads (1 to 256), counting the caller. NULL with an error when threads cannot
 * start. */
struct pool *pool_new(unsigned threads, struct error *error);

/* Ends the threads; *pool becomes NULL. No pool_run may be under way. */
void pool_destroy(struct pool **pool);

unsigned pool_threads(const struct pool *pool);

/* Calls work(context, task, thread) for every task in [0, tasks), each once, spread dynamically over the pool; returns
 * when all are done. thread is in [0, pool_threads) and no two calls with one thread number run at the same time, so it
 * can index scratch. One pool_run at a time per pool (one owner thread). Never allocates. A NULL pool runs everything
 * on the caller. */
void pool_run(struct pool *pool, size_t tasks, void (*work)(void *context, size_t task, unsigned thread),
              void *context);

#endif
