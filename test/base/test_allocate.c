/* Counted memory: zeroed, aligned, refused when too large, and made to fail on demand. */
#include "base/allocate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_zeroed_and_aligned(void **state) {
    (void)state;
    for (size_t size = 0; size < 300; size += 7) {
        unsigned char *memory = allocate(size, 3);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % 64, 0);
        for (size_t i = 0; i < size * 3; i++)
            assert_int_equal(memory[i], 0);
        memset(memory, 0xff, size * 3);
        release(memory);
    }
    release(NULL);
}

static void test_counted(void **state) {
    (void)state;
    uint64_t before = allocation_count();
    void *first = allocate(1, 1);
    void *second = try_allocate(1, 1);
    char *third = allocate_string("text");
    assert_int_equal(allocation_count() - before, 3);
    assert_string_equal(third, "text");
    release(first);
    release(second);
    release(third);
    assert_int_equal(allocation_count() - before, 3);
    assert_null(try_allocate(SIZE_MAX, 1));
    assert_int_equal(allocation_count() - before, 3); /* what was refused was not made */
}

static void test_bytes_counted(void **state) {
    (void)state;
    uint64_t before = allocation_bytes();
    void *first = allocate(10, 100);
    void *second = try_allocate(0, 7);
    assert_int_equal(allocation_bytes() - before, 1000);
    assert_null(try_allocate(SIZE_MAX, 1));
    assert_int_equal(allocation_bytes() - before, 1000);
    size_t capacity = 1000;
    allocate_grow(&first, &capacity, 1500, 1);
    assert_int_equal(allocation_bytes() - before, 2000);
    release(first);
    release(second);
    assert_int_equal(allocation_bytes(), before);
}

static void test_too_large(void **state) {
    (void)state;
    assert_null(try_allocate(SIZE_MAX, 2));
    assert_null(try_allocate(SIZE_MAX / 2 + 1, 2));
    assert_null(try_allocate((size_t)PTRDIFF_MAX, 1));
    assert_null(try_allocate(1, SIZE_MAX));
    void *nothing = try_allocate(0, SIZE_MAX);
    assert_non_null(nothing);
    release(nothing);
}

static void test_growing(void **state) {
    (void)state;
    uint32_t *numbers = NULL;
    size_t capacity = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        void *memory = numbers;
        allocate_grow(&memory, &capacity, i + 1, sizeof *numbers);
        numbers = memory;
        assert_true(capacity > i);
        assert_int_equal(numbers[i], 0);
        numbers[i] = i;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(numbers[i], i);
    release(numbers);
}

static void test_failing_on_demand(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth < 5; nth++) {
        allocate_fail_nth(nth);
        for (uint64_t i = 1; i < 8; i++) {
            void *memory = try_allocate(1, 1);
            assert_true((memory == NULL) == (i == nth));
            release(memory);
        }
    }
    allocate_fail_nth(1);
    void *sure = allocate(1, 1); /* not for those who cannot fail */
    allocate_fail_nth(0);
    void *memory = try_allocate(1, 1);
    assert_non_null(memory);
    release(memory);
    release(sure);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeroed_and_aligned),
        cmocka_unit_test(test_counted),
        cmocka_unit_test(test_bytes_counted),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_failing_on_demand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
