/* JSON documents: what is read, what is refused, and that every refusal says file, path, what was got and what was
 * wanted. */
#include "model/json.h"

#include "base/allocate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct json *parse(const char *text) {
    struct error error = {0};
    struct json *root = json_parse(text, strlen(text), "config.json", &error);
    if (!root)
        fail_msg("%s", error.text);
    return root;
}

static void refused(const void *bytes, size_t size, const char *expected) {
    struct error error = {0};
    struct json *root = json_parse(bytes, size, "config.json", &error);
    assert_null(root);
    assert_int_equal(error.code, ERROR_INPUT);
    if (!strstr(error.text, expected))
        fail_msg("got \"%s\", want it to contain \"%s\"", error.text, expected);
    assert_memory_equal(error.text, "config.json: ", 13);
}

static void test_members(void **state) {
    (void)state;
    struct json *root =
        parse("{\"hidden_size\": 768, \"eps\": 1e-12, \"bias\": true, \"act\": \"gelu\", \"big\": 224.0,"
              "\"none\": null, \"list\": [1, 2.5, \"x\"], \"inner\": {\"a\": {\"b\": [-3]}}}");
    struct error error = {0};
    int64_t integer = 0;
    double number = 0;
    bool boolean = false;
    const char *string = NULL;
    const struct json *child = NULL;
    assert_true(json_get_integer(root, "hidden_size", 1, 65536, &integer, &error));
    assert_int_equal(integer, 768);
    assert_true(json_get_integer(root, "big", 1, 65536, &integer, &error));
    assert_int_equal(integer, 224);
    assert_true(json_get_number(root, "eps", 0, 1, &number, &error));
    assert_true(number == 1e-12);
    assert_true(json_get_number(root, "hidden_size", 0, 1000, &number, &error));
    assert_true(number == 768);
    assert_true(json_get_boolean(root, "bias", &boolean, &error));
    assert_true(boolean);
    assert_true(json_get_string(root, "act", &string, &error));
    assert_string_equal(string, "gelu");
    assert_true(json_get_array(root, "list", &child, &error));
    assert_int_equal(json_count(child), 3);
    assert_true(json_as_number(json_at(child, 1), 0, 10, &number, &error));
    assert_true(json_get_object(root, "inner", &child, &error));
    assert_null(json_find(root, "none"));
    assert_null(json_find(root, "absent"));
    assert_int_equal(json_kind(json_member(root, "none")), JSON_KIND_NULL);
    assert_null(json_member(root, "absent"));
    json_destroy(&root);
    assert_null(root);
    json_destroy(&root);
}

static void test_optional_members_keep_their_default(void **state) {
    (void)state;
    struct json *root = parse("{\"a\": null, \"b\": 7, \"wrong\": \"x\"}");
    struct error error = {0};
    int64_t integer = 42;
    double number = 0.5;
    bool boolean = true;
    const char *string = "default";
    const struct json *child = root;
    assert_true(json_optional_integer(root, "a", 0, 9, &integer, &error));
    assert_true(json_optional_number(root, "absent", 0, 9, &number, &error));
    assert_true(json_optional_boolean(root, "a", &boolean, &error));
    assert_true(json_optional_string(root, "a", &string, &error));
    assert_true(json_optional_array(root, "a", &child, &error));
    assert_true(json_optional_object(root, "absent", &child, &error));
    assert_int_equal(integer, 42);
    assert_true(number == 0.5 && boolean && child == root);
    assert_string_equal(string, "default");
    assert_true(json_optional_integer(root, "b", 0, 9, &integer, &error));
    assert_int_equal(integer, 7);
    assert_false(json_optional_integer(root, "wrong", 0, 9, &integer, &error));
    assert_string_equal(error.text, "config.json: wrong: got \"x\", want an integer from 0 to 9");
    assert_int_equal(integer, 7);
    json_destroy(&root);
}

static void test_errors_name_the_path(void **state) {
    (void)state;
    struct json *root = parse("{\"hidden_size\": -3, \"inner\": {\"a\": [0, {\"b\": 1.5}]}, \"list\": [true]}");
    struct error error = {0};
    int64_t integer = 0;
    double number = 0;
    bool boolean = false;
    const char *string = NULL;
    const struct json *child = NULL;
    assert_false(json_get_integer(root, "hidden_size", 1, 65536, &integer, &error));
    assert_string_equal(error.text, "config.json: hidden_size: got -3, want an integer from 1 to 65536");
    assert_false(json_get_integer(root, "depth", 1, 2, &integer, &error));
    assert_string_equal(error.text, "config.json: depth: missing, want an integer");
    assert_true(json_get_object(root, "inner", &child, &error));
    assert_false(json_get_boolean(child, "x", &boolean, &error));
    assert_string_equal(error.text, "config.json: inner.x: missing, want true or false");
    assert_true(json_get_array(child, "a", &child, &error));
    assert_false(json_get_integer(json_at(child, 1), "b", 1, 2, &integer, &error));
    assert_string_equal(error.text, "config.json: inner.a[1].b: got 1.5, want an integer from 1 to 2");
    assert_false(json_get_string(root, "list", &string, &error));
    assert_string_equal(error.text, "config.json: list: got an array of 1, want a string");
    assert_true(json_get_array(root, "list", &child, &error));
    assert_false(json_as_number(json_at(child, 0), 0, 1, &number, &error));
    assert_string_equal(error.text, "config.json: list[0]: got true, want a number from 0 to 1");
    assert_false(json_get_object(root, "list", &child, &error));
    assert_false(json_get_array(root, "inner", &child, &error));
    assert_string_equal(error.text, "config.json: inner: got an object, want an array");
    assert_false(json_refuse(root, &error, "%s", "better"));
    assert_string_equal(error.text, "config.json: got an object, want better");
    json_destroy(&root);
}

static void test_a_root_that_is_no_object(void **state) {
    (void)state;
    struct json *root = parse(" [1, 2] ");
    struct error error = {0};
    int64_t integer = 0;
    assert_int_equal(json_kind(root), JSON_KIND_ARRAY);
    assert_null(json_find(root, "a"));
    assert_false(json_get_integer(root, "a", 0, 1, &integer, &error));
    assert_string_equal(error.text, "config.json: got an array of 2, want an object");
    assert_false(json_optional_integer(root, "a", 0, 1, &integer, &error));
    json_destroy(&root);
    root = parse("null");
    assert_int_equal(json_kind(root), JSON_KIND_NULL);
    assert_int_equal(json_count(root), 0);
    json_destroy(&root);
}

static void test_what_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"", "empty"},
        {"   ", "line 1"},
        {"{\"a\": 1,\n \"a\": 2}", "line 2, column"},
        {"{\"a\": 1", "line 1"},
        {"{\"a\": \"unterminated", "line 1"},
        {"{\"a\": \"unterminated\\", "line 1"},
        {"{\"a\": 1} 2", "end of file expected"},
        {"{\"a\":\n\n NaN}", "line 3: NaN or Infinity"},
        {"[-Infinity]", "line 1: NaN or Infinity"},
        {"[1e999]", "overflow"},
        {"{\"a\": \"\\u0000\"}", "line 1"},
        {"{\"a\": \"\xff\"}", "unable to decode byte"},
        {"{\"a\": \"\xc0\x80\"}", "unable to decode byte"},
        {"[01]", "line 1"},
        {"{'a': 1}", "line 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(cases[i].text, strlen(cases[i].text), cases[i].expected);
    refused("[1]\0", 4, "line 1");
}

static void test_nesting_is_bounded(void **state) {
    (void)state;
    char text[4096];
    memset(text, '[', sizeof text);
    refused(text, sizeof text, "nested deeper than 64 levels");
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    struct error error;
    struct json *root = json_parse(text, 128, "config.json", &error);
    assert_non_null(root);
    json_destroy(&root);
    root = parse("{\"[[[[ NaN \\\" [[[\": \"]]]{{{ I N \"}");
    json_destroy(&root);
}

static void test_integers_beyond_64_bits(void **state) {
    (void)state;
    struct json *root = parse("{\"model_max_length\": 1000000000000000019884624838656, \"small\": 512}");
    struct error error;
    int64_t integer = 0;
    assert_true(json_get_integer(root, "small", 0, 1024, &integer, &error));
    assert_int_equal(integer, 512);
    assert_false(json_get_integer(root, "model_max_length", 0, INT64_MAX, &integer, &error));
    json_destroy(&root);
}

/* As many labels as ImageNet-21k: kept in order, and found by key. */
static void test_many_members(void **state) {
    (void)state;
    enum { LABELS = 21843 };
    size_t capacity = (size_t)LABELS * 32;
    char *text = allocate(capacity, 1);
    size_t used = (size_t)snprintf(text, capacity, "{\"id2label\": {");
    for (int i = 0; i < LABELS; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s\"%d\": \"label %d\"", i ? "," : "", i, i);
    used += (size_t)snprintf(text + used, capacity - used, "}}");
    struct error error = {0};
    struct json *root = json_parse(text, used, "config.json", &error);
    assert_non_null(root);
    const struct json *labels = json_find(root, "id2label");
    assert_int_equal(json_count(labels), LABELS);
    char key[16];
    for (size_t i = 0; i < LABELS; i++) {
        snprintf(key, sizeof key, "%zu", i);
        assert_string_equal(json_key(json_at(labels, i)), key);
        assert_ptr_equal(json_find(labels, key), json_at(labels, i));
    }
    json_destroy(&root);
    release(text);
}

static void test_no_memory(void **state) {
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        struct error error = {0};
        allocate_fail_nth(nth);
        struct json *root = json_parse("[1]", 3, "config.json", &error);
        allocate_fail_nth(0);
        assert_null(root);
        assert_int_equal(error.code, ERROR_SYSTEM);
    }
}

/* Every cut and many damaged bytes of a document: refused or read, but nothing worse (run under the sanitizers). */
static void test_damaged_documents(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\": [1, -2.5e3, true, null, \"x\\u00e9\\n\xc3\xa9\"], \"b\": {\"c\": {}, \"d\": []}}";
    char damaged[sizeof text];
    for (size_t size = 0; size < sizeof text - 1; size++) {
        memcpy(damaged, text, size);
        struct error error = {0};
        assert_null(json_parse(damaged, size, "config.json", &error));
    }
    uint32_t random = 1;
    for (int round = 0; round < 20000; round++) {
        memcpy(damaged, text, sizeof text);
        for (int flip = 0; flip < 2; flip++) {
            random = random * 1664525u + 1013904223u;
            damaged[(random >> 8) % (sizeof text - 1)] ^= (char)(1u << (random >> 29));
        }
        struct error error = {0};
        struct json *root = json_parse(damaged, sizeof text - 1, "config.json", &error);
        json_destroy(&root);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_optional_members_keep_their_default),
        cmocka_unit_test(test_errors_name_the_path),
        cmocka_unit_test(test_a_root_that_is_no_object),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_nesting_is_bounded),
        cmocka_unit_test(test_integers_beyond_64_bits),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_damaged_documents),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
