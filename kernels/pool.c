/* The team of threads behind pool.h.
 *
 * A run is published under the mutex as a new generation; helpers that see it join (`active`), take task numbers from
 * one atomic counter until it passes the end, and leave. The caller works too, then closes the run and waits only for
 * the helpers that joined: one that the system did not wake in time finds the run closed and goes back to sleep, so an
 * oversubscribed board never waits for a thread that has nothing left to do.
 *
 * Waiting is a spin of some microseconds on an atomic (the next kernel of a layer follows that soon), then sleep on a
 * condition. All fields that describe the run are written by the owner while no helper is active and read by helpers
 * that joined under the mutex. The pool owns its threads; pool_new fails only when the system refuses one, after ending
 * those it had.
 */
#include "kernels/pool.h"

#include "base/allocate.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

enum { THREADS_MAX = 256 };

/* How often a waiting thread looks before it sleeps: 5 to 20 microseconds, whatever the processor's pause costs. */
#if defined(__x86_64__)
enum { SPINS = 400 };
static inline void spin_pause(void) {
    __builtin_ia32_pause();
}
#else
enum { SPINS = 2000 };
static inline void spin_pause(void) {
#if defined(__aarch64__)
    __asm__ volatile("isb"); /* `yield` is a no-op on the cores we run on; isb really waits a few cycles */
#endif
}
#endif

struct helper {
    struct pool *pool;
    pthread_t handle;
    unsigned thread;
};

struct pool {
    unsigned threads;       /* counting the caller */
    struct helper *helpers; /* threads - 1 of them */
    pthread_mutex_t mutex;
    pthread_cond_t started;  /* a new generation, or stop */
    pthread_cond_t finished; /* active fell to 0 */
    atomic_uint generation;  /* number of the latest run; changes under the mutex */
    atomic_uint active;      /* helpers inside the run; changes under the mutex */
    bool open, stop;         /* under the mutex */

    atomic_size_t next; /* the first task nobody took yet */
    size_t tasks;
    void (*work)(void *context, size_t task, unsigned thread);
    void *context;
};

static void take_tasks(struct pool *pool, unsigned thread) {
    for (;;) {
        size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->tasks)
            return;
        pool->work(pool->context, task, thread);
    }
}

/* Waits until the generation is no longer `seen` or the pool stops; returns with the mutex held. */
static void wait_for_run(struct pool *pool, unsigned seen) {
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load_explicit(&pool->generation, memory_order_relaxed) != seen)
            break;
        spin_pause();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->generation, memory_order_relaxed) == seen && !pool->stop)
        pthread_cond_wait(&pool->started, &pool->mutex);
}

static void *helper_main(void *argument) {
    struct helper *helper = argument;
    struct pool *pool = helper->pool;
    unsigned seen = 0;
    for (;;) {
        wait_for_run(pool, seen);
        if (pool->stop)
            break;
        seen = atomic_load_explicit(&pool->generation, memory_order_relaxed);
        if (!pool->open) {
            pthread_mutex_unlock(&pool->mutex);
            continue;
        }
        atomic_fetch_add_explicit(&pool->active, 1, memory_order_relaxed);
        pthread_mutex_unlock(&pool->mutex);

        take_tasks(pool, helper->thread);

        pthread_mutex_lock(&pool->mutex);
        if (atomic_fetch_sub_explicit(&pool->active, 1, memory_order_relaxed) == 1)
            pthread_cond_signal(&pool->finished);
        pthread_mutex_unlock(&pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Ends the first `started` helpers and frees everything. */
static void pool_end(struct pool *pool, unsigned started) {
    pthread_mutex_lock(&pool->mutex);
    pool->stop = true;
    pthread_cond_broadcast(&pool->started);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < started; i++)
        pthread_join(pool->helpers[i].handle, NULL);
    pthread_cond_destroy(&pool->finished);
    pthread_cond_destroy(&pool->started);
    pthread_mutex_destroy(&pool->mutex);
    release(pool->helpers);
    release(pool);
}

struct pool *pool_new(unsigned threads, struct error *error) {
    assert(threads >= 1 && threads <= THREADS_MAX);
    struct pool *pool = allocate(1, sizeof *pool);
    pool->threads = threads;
    pool->helpers = allocate(threads, sizeof *pool->helpers);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->started, NULL);
    pthread_cond_init(&pool->finished, NULL);
    for (unsigned i = 0; i + 1 < threads; i++) {
        struct helper *helper = &pool->helpers[i];
        *helper = (struct helper){.pool = pool, .thread = i + 1};
        int status = pthread_create(&helper->handle, NULL, helper_main, helper);
        if (status != 0) {
            pool_end(pool, i);
            errno = status;
            error_set_errno(error, "starting compute thread %u of %u", i + 2, threads);
            return NULL;
        }
    }
    return pool;
}

void pool_destroy(struct pool **pool) {
    if (!*pool)
        return;
    pool_end(*pool, (*pool)->threads - 1);
    *pool = NULL;
}

unsigned pool_threads(const struct pool *pool) {
    return pool ? pool->threads : 1;
}

static void open_run(struct pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->open = true;
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_relaxed);
    pthread_cond_broadcast(&pool->started);
    pthread_mutex_unlock(&pool->mutex);
}

/* Lets no further helper in and waits for those inside. */
static void close_run(struct pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    pool->open = false;
    pthread_mutex_unlock(&pool->mutex);
    for (int spin = 0; spin < SPINS && atomic_load_explicit(&pool->active, memory_order_relaxed) > 0; spin++)
        spin_pause();
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load_explicit(&pool->active, memory_order_relaxed) > 0)
        pthread_cond_wait(&pool->finished, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

void pool_run(struct pool *pool, size_t tasks, void (*work)(void *context, size_t task, unsigned thread),
              void *context) {
    if (!pool || pool->threads == 1 || tasks <= 1) {
        for (size_t task = 0; task < tasks; task++)
            work(context, task, 0);
        return;
    }
    pool->tasks = tasks;
    pool->work = work;
    pool->context = context;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    open_run(pool);
    take_tasks(pool, 0);
    close_run(pool);
}
