/* The bounded reader: values in both byte orders, and every way to run out of bytes. */
#include "base/cursor.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0xf8};

static void test_values(void **state) {
    (void)state;
    struct cursor cursor = cursor_of(bytes, sizeof bytes);
    assert_int_equal(cursor_u8(&cursor), 0x01);
    assert_int_equal(cursor_u16_little(&cursor), 0x0302);
    assert_int_equal(cursor_u32_big(&cursor), 0x04050607);
    assert_int_equal(cursor_u8(&cursor), 0xf8);
    assert_int_equal(cursor.left, 0);
    assert_false(cursor.failed);
    cursor = cursor_of(bytes, sizeof bytes);
    assert_int_equal(cursor_u64_little(&cursor), UINT64_C(0xf807060504030201));
    cursor = cursor_of(bytes + 2, 6);
    assert_int_equal(cursor_u16_big(&cursor), 0x0304);
    assert_int_equal(cursor_u32_little(&cursor), 0xf8070605);
}

static void test_taking(void **state) {
    (void)state;
    struct cursor cursor = cursor_of(bytes, sizeof bytes);
    assert_ptr_equal(cursor_take(&cursor, 3), bytes);
    assert_ptr_equal(cursor_take(&cursor, 0), bytes + 3);
    assert_ptr_equal(cursor_take(&cursor, 5), bytes + 3);
    assert_non_null(cursor_take(&cursor, 0));
    assert_false(cursor.failed);
    assert_null(cursor_take(&cursor, 1));
    assert_true(cursor.failed);
}

static void test_too_large(void **state) {
    (void)state;
    struct cursor cursor = cursor_of(bytes, sizeof bytes);
    (void)cursor_u8(&cursor);
    assert_null(cursor_take(&cursor, SIZE_MAX)); /* position + size would wrap around */
    assert_true(cursor.failed);
}

static void test_failure_lasts(void **state) {
    (void)state;
    struct cursor cursor = cursor_of(bytes, 3);
    assert_int_equal(cursor_u32_little(&cursor), 0);
    assert_true(cursor.failed);
    assert_int_equal(cursor_u8(&cursor), 0); /* although three bytes are there */
    assert_int_equal(cursor_u16_big(&cursor), 0);
    assert_int_equal(cursor_u64_little(&cursor), 0);
    assert_null(cursor_take(&cursor, 0));
}

static void test_nothing_at_all(void **state) {
    (void)state;
    struct cursor cursor = cursor_of(NULL, 0);
    assert_int_equal(cursor_u8(&cursor), 0);
    assert_true(cursor.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_taking),         cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_failure_lasts), cmocka_unit_test(test_nothing_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
