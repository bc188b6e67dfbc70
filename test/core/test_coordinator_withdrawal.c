/* Items that nobody waits for any more: they leave the coordinator's queue, and nothing else changes. */
#include "test/core/coordinator_fixture.h"

static bool withdraw(struct fixture *f, unsigned item) {
    step(f, (struct coordinator_event){.type = CORE_ITEM_WITHDRAWN, .item = item});
    return count_of(f, CORE_DROP) == 1 && first_of(f, CORE_DROP)->item == item;
}

/* A client that is gone takes along what waits, whatever its place in the queue; the others keep their order. */
static void test_withdrawn_items_leave_the_queue(void **state) {
    struct fixture *f = *state;
    serve(f, 1);
    for (unsigned item = 0; item < 3; item++)
        admit(f, item);
    assert_true(withdraw(f, 1));  /* between others */
    assert_false(withdraw(f, 1)); /* not there any more */
    assert_true(withdraw(f, 2));  /* the last */
    admit(f, 3);
    assert_true(withdraw(f, 0)); /* the first */
    assert_int_equal(f->core.queued, 1);
    for (unsigned item = 4; item < 7; item++)
        admit(f, item);
    writable(f);
    const struct core_flight *flight = core_flight_find(&f->core, f->core.sequence);
    assert_non_null(flight);
    assert_int_equal(flight->count, 4);
    for (unsigned row = 0; row < 4; row++)
        assert_int_equal(core_flight_item(&f->core, flight, row), 3 + row);
    assert_false(withdraw(f, 5)); /* under way: a flight keeps its items */
    result(f, f->core.sequence.number, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    admit(f, 7);
    assert_true(withdraw(f, 7)); /* the only one */
    admit(f, 8);
    assert_int_equal(f->core.queued, 1);
    assert_int_equal(f->core.items_failed, 0);
}

/* Nothing is left to finish when all that was admitted is withdrawn. */
static void test_shutdown_does_not_wait_for_what_is_withdrawn(void **state) {
    struct fixture *f = *state;
    start(f, 1, 4);
    admit(f, 0);
    step(f, (struct coordinator_event){.type = CORE_SHUTDOWN});
    assert_int_equal(count_of(f, CORE_EXIT), 0);
    assert_true(withdraw(f, 0));
    assert_int_equal(count_of(f, CORE_EXIT), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_withdrawn_items_leave_the_queue),
        TEST(test_shutdown_does_not_wait_for_what_is_withdrawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
