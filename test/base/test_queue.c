/* The queue between threads: order, capacity, closing, and a descriptor that is readable exactly while there is
 * something. */
#include "base/queue.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define THREADS 4
#define ENTRIES 20000 /* of each thread */

static struct queue *queue_of(size_t capacity) {
    struct error error = {0};
    struct queue *queue = queue_new(capacity, &error);
    if (!queue)
        fail_msg("%s", error.text);
    return queue;
}

static void *entry(uintptr_t number) {
    return (void *)number;
}

static bool readable(const struct queue *queue) {
    struct pollfd poll_one = {.fd = queue_descriptor(queue), .events = POLLIN};
    return poll(&poll_one, 1, 0) == 1;
}

static void test_order_and_capacity(void **state) {
    (void)state;
    struct queue *queue = queue_of(3);
    assert_null(queue_take(queue));
    for (uintptr_t round = 0; round < 10; round++) { /* the ring turns */
        assert_true(queue_put(queue, entry(1 + round)));
        assert_true(queue_put(queue, entry(2 + round)));
        assert_true(queue_put(queue, entry(3 + round)));
        assert_false(queue_put(queue, entry(99)));
        assert_int_equal(queue_length(queue), 3);
        for (uintptr_t i = 1; i <= 3; i++)
            assert_ptr_equal(queue_take(queue), entry(i + round));
        assert_null(queue_take(queue));
        assert_true(queue_put(queue, entry(7)));
        assert_ptr_equal(queue_wait(queue), entry(7));
    }
    queue_destroy(&queue);
    assert_null(queue);
    queue_destroy(&queue);
}

static void test_descriptor_is_readable_while_not_empty(void **state) {
    (void)state;
    struct queue *queue = queue_of(2);
    for (int round = 0; round < 3; round++) {
        assert_false(readable(queue));
        assert_true(queue_put(queue, entry(1)));
        assert_true(readable(queue));
        assert_true(queue_put(queue, entry(2)));
        assert_false(queue_put(queue, entry(3)));
        assert_non_null(queue_take(queue));
        assert_true(readable(queue));
        assert_non_null(queue_wait(queue));
    }
    assert_false(readable(queue));
    queue_destroy(&queue);
}

static void test_closing(void **state) {
    (void)state;
    struct queue *queue = queue_of(2);
    assert_true(queue_put(queue, entry(1)));
    queue_close(queue);
    assert_false(queue_put(queue, entry(2)));
    assert_ptr_equal(queue_wait(queue), entry(1));
    assert_null(queue_wait(queue));
    assert_null(queue_take(queue));
    queue_destroy(&queue);
}

static void *wait_for_end(void *queue) {
    return queue_wait(queue);
}

static void test_closing_wakes_who_waits(void **state) {
    (void)state;
    struct queue *queue = queue_of(2);
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, wait_for_end, queue), 0);
    queue_close(queue);
    for (int i = 0; i < THREADS; i++) {
        void *got = entry(1);
        assert_int_equal(pthread_join(thread[i], &got), 0);
        assert_null(got);
    }
    queue_destroy(&queue);
}

/* Many put, many take: nothing is lost and nothing comes twice. */
struct traffic {
    struct queue *queue;
    atomic_uint_fast64_t sum, taken;
};

static void *put_many(void *context) {
    struct traffic *traffic = context;
    for (uintptr_t i = 1; i <= ENTRIES; i++)
        while (!queue_put(traffic->queue, entry(i)))
            ;
    return NULL;
}

static void *take_many(void *context) {
    struct traffic *traffic = context;
    for (void *got; (got = queue_wait(traffic->queue)); atomic_fetch_add(&traffic->taken, 1))
        atomic_fetch_add(&traffic->sum, (uintptr_t)got);
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    struct traffic traffic = {.queue = queue_of(16)};
    pthread_t putter[THREADS], taker[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&putter[i], NULL, put_many, &traffic), 0);
        assert_int_equal(pthread_create(&taker[i], NULL, take_many, &traffic), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(putter[i], NULL);
    queue_close(traffic.queue);
    for (int i = 0; i < THREADS; i++)
        pthread_join(taker[i], NULL);
    assert_int_equal(atomic_load(&traffic.taken), THREADS * ENTRIES);
    assert_int_equal(atomic_load(&traffic.sum), (uint64_t)THREADS * ENTRIES * (ENTRIES + 1) / 2);
    assert_false(readable(traffic.queue));
    queue_destroy(&traffic.queue);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_capacity),
        cmocka_unit_test(test_descriptor_is_readable_while_not_empty),
        cmocka_unit_test(test_closing),
        cmocka_unit_test(test_closing_wakes_who_waits),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
