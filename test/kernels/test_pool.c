/* The thread pool: each task once, no thread number twice at a time, many short runs in a row, oversubscription. */
#include "test/kernels/fixture.h"

#include <stdatomic.h>

enum { TASKS_MAX = 1000, THREADS_TESTED = 8 };

struct tally {
    atomic_uint done[TASKS_MAX];
    atomic_bool inside[THREADS_TESTED];
    atomic_bool clash;
    unsigned plain[TASKS_MAX]; /* written by workers, read by the owner: a race here is the pool's fault */
};

static void count_task(void *context, size_t task, unsigned thread) {
    struct tally *tally = context;
    if (thread >= THREADS_TESTED || atomic_exchange(&tally->inside[thread], true))
        atomic_store(&tally->clash, true);
    atomic_fetch_add(&tally->done[task], 1);
    tally->plain[task]++;
    atomic_store(&tally->inside[thread], false);
}

static void check_runs(struct pool *pool, size_t tasks, unsigned runs) {
    struct tally *tally = allocate(1, sizeof *tally);
    for (unsigned run = 0; run < runs; run++)
        pool_run(pool, tasks, count_task, tally);
    for (size_t task = 0; task < TASKS_MAX; task++) {
        assert_int_equal(atomic_load(&tally->done[task]), task < tasks ? runs : 0);
        assert_int_equal(tally->plain[task], task < tasks ? runs : 0);
    }
    assert_false(atomic_load(&tally->clash));
    release(tally);
}

static void every_task_runs_once(void **state) {
    (void)state;
    static const size_t counts[] = {0, 1, 2, 3, 7, 64, TASKS_MAX};
    for (unsigned threads = 1; threads <= THREADS_TESTED; threads++) {
        struct error error;
        struct pool *pool = pool_new(threads, &error);
        assert_non_null(pool);
        assert_int_equal(pool_threads(pool), threads);
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
            check_runs(pool, counts[i], 20);
        pool_destroy(&pool);
        assert_null(pool);
    }
}

static void thousands_of_short_runs(void **state) {
    (void)state;
    struct error error;
    struct pool *pool = pool_new(3, &error);
    check_runs(pool, 4, 20000);
    pool_destroy(&pool);
}

static void no_pool_is_the_caller_alone(void **state) {
    (void)state;
    assert_int_equal(pool_threads(NULL), 1);
    check_runs(NULL, 17, 3);
    struct pool *none = NULL;
    pool_destroy(&none);
}

static void running_allocates_nothing(void **state) {
    (void)state;
    struct error error;
    struct pool *pool = pool_new(2, &error);
    struct tally *tally = allocate(1, sizeof *tally);
    uint64_t before = allocation_count();
    pool_run(pool, 100, count_task, tally);
    assert_int_equal(allocation_count(), before);
    release(tally);
    pool_destroy(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_once),
        cmocka_unit_test(thousands_of_short_runs),
        cmocka_unit_test(no_pool_is_the_caller_alone),
        cmocka_unit_test(running_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
