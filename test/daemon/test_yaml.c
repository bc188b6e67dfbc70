/* YAML trees: what is read is what was written, every fault has its place, and hostile documents stop at a limit. */
#include "base/allocate.h"
#include "daemon/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct yaml *parse(const char *text) {
    struct error error = {0};
    struct yaml *root = yaml_parse(text, strlen(text), "x.yaml", &error);
    if (!root)
        fail_msg("%s", error.text);
    return root;
}

static void assert_refused(const char *text, size_t size, const char *expected) {
    struct error error = {0};
    struct yaml *root = yaml_parse(text, size, "x.yaml", &error);
    assert_null(root);
    assert_int_equal(error.code, ERROR_USAGE);
    if (!strstr(error.text, expected))
        fail_msg("got '%s', want '%s'", error.text, expected);
}

static void test_tree(void **state) {
    (void)state;
    struct yaml *root = parse("name: pi\nlist: [1, 2.5]\nempty:\nboard: {a: 'x y'}\n");
    const struct yaml *list = yaml_find(root, "list");
    assert_int_equal(yaml_count(root), 4);
    assert_string_equal(yaml_scalar_text(yaml_find(root, "name")), "pi");
    assert_string_equal(yaml_key(yaml_next(yaml_first(root))), "list");
    assert_int_equal(yaml_kind(list), YAML_KIND_SEQUENCE);
    assert_string_equal(yaml_scalar_text(yaml_next(yaml_first(list))), "2.5");
    assert_null(yaml_next(yaml_next(yaml_first(list))));
    assert_string_equal(yaml_scalar_text(yaml_find(root, "empty")), "");
    assert_string_equal(yaml_scalar_text(yaml_find(yaml_find(root, "board"), "a")), "x y");
    assert_null(yaml_find(list, "a"));
    yaml_destroy(&root);
    assert_null(root);
    yaml_destroy(&root);
}

static void test_empty_is_a_mapping(void **state) {
    static const char *const texts[] = {"", "# nothing\n", "\n\n"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct yaml *root = parse(texts[i]);
        assert_int_equal(yaml_kind(root), YAML_KIND_MAPPING);
        assert_int_equal(yaml_count(root), 0);
        yaml_destroy(&root);
    }
}

static void test_aliases_are_copies(void **state) {
    (void)state;
    struct yaml *root = parse("one: &list [1, {a: 2}]\ntwo: *list\nthree: *list\n");
    const struct yaml *two = yaml_find(root, "two"), *three = yaml_find(root, "three");
    assert_int_equal(yaml_count(two), 2);
    assert_string_equal(yaml_scalar_text(yaml_find(yaml_next(yaml_first(three)), "a")), "2");
    assert_ptr_not_equal(yaml_first(two), yaml_first(three));
    yaml_destroy(&root);
}

static void test_faults_have_places(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n", "x.yaml:3:1: a: the key is there twice"},
        {"a: 1\n? [x]\n: 2\n", "x.yaml:2:3: want a plain key"},
        {"a: 1\n---\nb: 2\n", "x.yaml:2:1: a second document"},
        {"a: *b\n", "x.yaml:1:4: an alias without its anchor"},
        {"a: &a [1, *a]\n", "x.yaml:1:11: an alias without its anchor"},
        {"a: [1, 2\nb: 3\n", "x.yaml:2:"},
        {"a: \"x\\0y\"\n", "x.yaml:1:4: a NUL"},
        {"\t- a", "x.yaml:1:"},
        {"\xff", "x.yaml:1:1: "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(cases[i].text, strlen(cases[i].text), cases[i].expected);
}

static void test_depth_is_bounded(void **state) {
    char text[200];
    (void)state;
    memset(text, '[', sizeof text);
    assert_refused(text, sizeof text, "nested too deeply");
}

/* Ten aliases to ten aliases to ...: 10^9 nodes if they were all made. */
static void test_aliases_are_bounded(void **state) {
    char text[2000];
    size_t used = (size_t)snprintf(text, sizeof text, "a0: &a0 x\n");
    (void)state;
    for (unsigned level = 1; level < 10; level++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "a%u: &a%u [", level, level);
        for (unsigned i = 0; i < 10; i++)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s*a%u", i ? ", " : "", level - 1);
        used += (size_t)snprintf(text + used, sizeof text - used, "]\n");
    }
    assert_refused(text, used, "too many values");
}

static void test_members_are_bounded(void **state) {
    char *text = allocate(YAML_MEMBERS_MAX + 1, 16);
    size_t used = 0;
    (void)state;
    for (unsigned i = 0; i <= YAML_MEMBERS_MAX; i++)
        used += (size_t)sprintf(text + used, "k%u: 1\n", i);
    assert_refused(text, used, "too many keys");
    release(text);
}

static void test_no_memory(void **state) {
    struct error error = {0};
    (void)state;
    allocate_fail_nth(1);
    assert_null(yaml_parse("a: 1", 4, "x.yaml", &error));
    allocate_fail_nth(0);
    assert_non_null(strstr(error.text, "no memory"));
}

static void test_values(void **state) {
    struct error error;
    double number = 7;
    unsigned whole = 7;
    bool flag = false;
    const char *text = NULL;
    (void)state;
    struct yaml *root = parse("n: 1.5e-3\nw: 12\nf: true\nhex: 0x10\ninf: .inf\nword: abc\nlist: []\nlong: 1e999\n");
    assert_true(yaml_as_number(yaml_find(root, "n"), 0, 1, &number, &error));
    assert_true(number == 1.5e-3);
    assert_true(yaml_as_integer(yaml_find(root, "w"), 1, 12, &whole, &error) && whole == 12);
    assert_true(yaml_as_flag(yaml_find(root, "f"), &flag, &error) && flag);
    assert_true(yaml_as_text(yaml_find(root, "word"), &text, &error));
    assert_false(yaml_as_integer(yaml_find(root, "w"), 1, 11, &whole, &error));
    assert_string_equal(error.text, "x.yaml:2:4: w: got '12', want a whole number from 1 to 11");
    assert_false(yaml_as_integer(yaml_find(root, "n"), 0, 11, &whole, &error));
    assert_false(yaml_as_number(yaml_find(root, "hex"), 0, 100, &number, &error));
    assert_false(yaml_as_number(yaml_find(root, "inf"), 0, 1e300, &number, &error));
    assert_false(yaml_as_number(yaml_find(root, "long"), 0, 1e300, &number, &error));
    assert_false(yaml_as_number(yaml_find(root, "list"), 0, 1e300, &number, &error));
    assert_string_equal(error.text, "x.yaml:7:7: list: got a list, want a number from 0 to 1e+300");
    assert_false(yaml_as_flag(yaml_find(root, "word"), &flag, &error));
    assert_false(yaml_as_mapping(yaml_find(root, "list"), &error));
    assert_false(yaml_as_sequence(root, &error));
    assert_null(yaml_want(root, "nothing", &error));
    assert_string_equal(error.text, "x.yaml:1:1: 'nothing' is missing");
    yaml_destroy(&root);
}

static void test_unknown_keys(void **state) {
    static const char *const known[] = {"a", "b", NULL};
    struct error error;
    (void)state;
    struct yaml *root = parse("a: 1\nc: 2\n");
    assert_false(yaml_check_keys(root, known, &error));
    assert_string_equal(error.text, "x.yaml:2:1: c: unknown key, want one of a, b");
    yaml_destroy(&root);
}

static void test_missing_file(void **state) {
    struct error error = {0};
    (void)state;
    assert_null(yaml_read("no/such/file.yaml", &error));
    assert_int_equal(error.code, ERROR_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_empty_is_a_mapping),
        cmocka_unit_test(test_aliases_are_copies),
        cmocka_unit_test(test_faults_have_places),
        cmocka_unit_test(test_depth_is_bounded),
        cmocka_unit_test(test_aliases_are_bounded),
        cmocka_unit_test(test_members_are_bounded),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_missing_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
