/* Errors: formatted, wrapped from the inside out, cut but whole, and clean of what a peer may have put in. */
#include "base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_and_wrap(void **state) {
    (void)state;
    struct error error = {0};
    assert_false(error_set(&error, ERROR_INPUT, "hidden_size: got %d, want 1 to %d", -3, 65536));
    assert_int_equal(error.code, ERROR_INPUT);
    assert_false(error_wrap(&error, "%s", "config.json"));
    assert_false(error_wrap(&error, "stage %d", 7));
    assert_string_equal(error.text, "stage 7: config.json: hidden_size: got -3, want 1 to 65536");
    assert_int_equal(error.code, ERROR_INPUT);
}

static void test_errno(void **state) {
    (void)state;
    struct error error = {0};
    errno = ENOENT;
    assert_false(error_set_errno(&error, "%s", "weights"));
    assert_string_equal(error.text, "weights: No such file or directory");
    assert_int_equal(error.code, ERROR_SYSTEM);
}

static void test_nobody_wants_to_know(void **state) {
    (void)state;
    assert_false(error_set(NULL, ERROR_INPUT, "text"));
    assert_false(error_set_errno(NULL, "text"));
    assert_false(error_wrap(NULL, "text"));
}

static void test_control_characters(void **state) {
    (void)state;
    struct error error = {0};
    error_set(&error, ERROR_INPUT, "a\nb\x1b[31mc\x7f Käfer");
    assert_string_equal(error.text, "a?b?[31mc? Käfer");
    error_wrap(&error, "x\ty");
    assert_string_equal(error.text, "x?y: a?b?[31mc? Käfer");
}

static void test_long_texts_are_cut(void **state) {
    (void)state;
    struct error error = {0};
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&error, ERROR_INPUT, "%s", text);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    for (int i = 0; i < 100; i++)
        error_wrap(&error, "outer %d", i);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
    assert_memory_equal(error.text, "outer 99: outer 98: ", 20);
    errno = ENOENT;
    error_set_errno(&error, "%s", text);
    assert_int_equal(strlen(error.text), sizeof error.text - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_wrap),         cmocka_unit_test(test_errno),
        cmocka_unit_test(test_nobody_wants_to_know), cmocka_unit_test(test_control_characters),
        cmocka_unit_test(test_long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
