/* Options from the command line and from YAML: values, ranges, faults that say where, and a printed configuration that
 * reads back to the same values. */
#include "daemon/options.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct values {
    bool flag, other;
    unsigned number;
    uint64_t seed, size, large;
    const char *text, *config, *unset;
    struct option_list list;
};

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"flag", OPTION_FLAG, FIELD(flag), NULL, NULL, 0, 0, "a flag"},
    {"other", OPTION_FLAG, FIELD(other), NULL, NULL, 0, 0, "another"},
    {"number", OPTION_NUMBER, FIELD(number), "N", "5", 2, 10, "a number"},
    {"seed", OPTION_SEED, FIELD(seed), "N", NULL, 0, 0, "a seed"},
    {"size", OPTION_SIZE, FIELD(size), "SIZE", "1KiB", 0, 0, "a size"},
    {"large", OPTION_SIZE, FIELD(large), "SIZE", "16GiB", 1 << 20, 0, "a size that nobody means in bytes"},
    {"text", OPTION_TEXT, FIELD(text), "TEXT", NULL, 0, 0, "a text"},
    {"config", OPTION_TEXT, FIELD(config), "FILE", NULL, 0, 0, "a file"},
    {"unset", OPTION_TEXT, FIELD(unset), "TEXT", NULL, 0, 0, "another text"},
    {"list", OPTION_LIST, FIELD(list), "C,C,...", NULL, 0, 0, "a list"},
};

static const struct command command = {.name = "test",
                                       .summary = "none",
                                       .operands = "FILE...",
                                       .operands_max = 3,
                                       .options = options,
                                       .option_count = sizeof options / sizeof options[0],
                                       .values_size = sizeof(struct values)};

#define WORDS_MAX 16

struct outcome {
    bool ok, handled;
    struct values values;
    char *operand[WORDS_MAX];
    unsigned operands;
    struct error error;
};

/* Parses words, which end with NULL. */
static struct outcome parse(const char *const *words) {
    struct outcome outcome = {0};
    char *copy[WORDS_MAX];
    int count = 0;
    for (; words[count]; count++)
        copy[count] = (char *)(uintptr_t)words[count]; /* an argv, which nobody writes to */
    outcome.ok = options_parse(&command, count, copy, &outcome.values, outcome.operand, &outcome.operands,
                               &outcome.handled, &outcome.error);
    return outcome;
}
#define PARSE(...) parse((const char *const[]){__VA_ARGS__, NULL})

static void assert_fault(const struct outcome *outcome, const char *text) {
    assert_false(outcome->ok);
    assert_int_equal(outcome->error.code, ERROR_USAGE);
    if (!strstr(outcome->error.text, text))
        fail_msg("want \"%s\" in \"%s\"", text, outcome->error.text);
}
#define ASSERT_FAULT(text, ...)                                                                                        \
    do {                                                                                                               \
        struct outcome fault = PARSE(__VA_ARGS__);                                                                     \
        assert_fault(&fault, text);                                                                                    \
    } while (0)

static void test_words(void **state) {
    (void)state;
    struct outcome got = PARSE("--flag", "a", "--number=7", "--seed", "18446744073709551615", "--text", "--flag",
                               "--list", "1,2,65536", "--", "--number", "-");
    assert_true(got.ok);
    assert_true(got.values.flag);
    assert_false(got.values.other);
    assert_int_equal(got.values.number, 7);
    assert_true(got.values.seed == UINT64_MAX);
    assert_int_equal(got.values.size, 1024);
    assert_string_equal(got.values.text, "--flag");
    assert_int_equal(got.values.list.count, 3);
    assert_int_equal(got.values.list.value[2], 65536);
    assert_int_equal(got.operands, 3);
    assert_string_equal(got.operand[0], "a");
    assert_string_equal(got.operand[1], "--number");
    got = PARSE("--flag", "--flag=false", "--number", "2", "--number", "10");
    assert_true(got.ok && !got.values.flag && got.values.number == 10);
}

static void test_wrong_words(void **state) {
    (void)state;
    ASSERT_FAULT("--numbers: unknown option", "--numbers", "3");
    ASSERT_FAULT("-n: unknown option (-- before it if it is none)", "-n");
    ASSERT_FAULT("--=1: unknown option", "--=1");
    ASSERT_FAULT("--number: N is missing", "--number");
    ASSERT_FAULT("--number: got '1', want a whole number from 2 to 10", "--number", "1");
    ASSERT_FAULT("--number: got '11'", "--number", "11");
    ASSERT_FAULT("--number: got '4294967299'", "--number", "4294967299"); /* 3, if it were cut off */
    ASSERT_FAULT("--number: got '18446744073709551619'", "--number", "18446744073709551619");
    ASSERT_FAULT("--number: got ''", "--number", "");
    ASSERT_FAULT("--number: got ' 3'", "--number", " 3");
    ASSERT_FAULT("--number: got '3x'", "--number", "3x");
    ASSERT_FAULT("--number: got '-3'", "--number", "-3");
    ASSERT_FAULT("--flag: got 'yes', want true or false", "--flag=yes");
    ASSERT_FAULT("--text: is empty, want TEXT", "--text", "");
    ASSERT_FAULT("d: one argument too many; see 'stagecoach test --help'", "a", "b", "c", "d", "e");
}

static void test_lists(void **state) {
    (void)state;
    static const char *const wrong[] = {"",  ",",     "1,", ",1",  "1,,2", "2,1", "1,1",
                                        "0", "65537", "a",  "1;2", "-1",   "1, 2"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        ASSERT_FAULT("--list: got '", "--list", wrong[i]);
    char many[1024] = "1";
    for (unsigned i = 2; i <= OPTION_LIST_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), ",%u", i);
    struct outcome got = PARSE("--list", many);
    assert_true(got.ok && got.values.list.count == OPTION_LIST_MAX);
    strcat(many, ",1000");
    ASSERT_FAULT("--list: got '", "--list", many);
}

static void test_sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } right[] = {{"0", 0},
                 {"4096", 4096},
                 {"512MiB", 512u << 20},
                 {"1.5GB", 1500000000},
                 {"1.5GiB", 1610612736},
                 {"2K", 2048},
                 {"3kB", 3000},
                 {"7B", 7}};
    static const char *const wrong[] = {
        "", "-1", "MiB", "1TB!", "1 MiB", "1e400", "nan", "inf", " 1", "1.5.2", "9223372036854775808GiB"};
    uint64_t bytes;
    for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
        assert_true(parse_size(right[i].text, &bytes));
        assert_true(bytes == right[i].bytes);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(parse_size(wrong[i], &bytes));
}

/* What is printed is short and reads back equal. */
static void test_sizes_as_text(void **state) {
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0"},
                 {1, "1B"},
                 {1000, "1000B"},
                 {1024, "1KiB"},
                 {1536, "1536B"},
                 {512u << 20, "512MiB"},
                 {UINT64_C(16) << 30, "16GiB"},
                 {UINT64_C(3) << 40, "3TiB"},
                 {UINT64_C(2048) << 40, "2048TiB"},
                 {(UINT64_C(1) << 53) - 1, "9007199254740991B"}};
    char text[OPTION_SIZE_TEXT];
    uint64_t bytes;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(size_text(cases[i].bytes, text), cases[i].text);
        assert_true(parse_size(text, &bytes) && bytes == cases[i].bytes);
    }
}

static void test_sizes_without_a_unit(void **state) {
    (void)state;
    ASSERT_FAULT("--large: got '1', which is 1 byte; want at least 1MiB, such as 512MiB", "--large", "1");
    ASSERT_FAULT("--large: got '512', which is 512 bytes", "--large", "512");
    ASSERT_FAULT("--large: got '1023KiB', which is 1047552 bytes", "--large", "1023KiB");
    struct outcome got = PARSE("--large", "1MiB");
    assert_true(got.ok && got.values.large == 1 << 20);
    got = PARSE("--large", "0");
    assert_true(got.ok && got.values.large == 0);
}

/* ---- YAML ---- */

static char path[64];

static struct outcome read_yaml(const char *text) {
    assert_true(file_write_atomic(path, text, strlen(text), NULL));
    return PARSE("--config", path);
}

static int make_file(void **state) {
    (void)state;
    strcpy(path, "/tmp/stagecoach-options.XXXXXX");
    int descriptor = mkstemp(path);
    return descriptor < 0 || close(descriptor) != 0;
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

static void test_yaml(void **state) {
    (void)state;
    struct outcome got = read_yaml("# a comment\nflag: true\nnumber: 9\nsize: 2MiB\ntext: 'a: b'\nlist: [3, 5]\n");
    assert_true(got.ok && got.values.flag && got.values.number == 9 && got.values.size == 2u << 20);
    assert_string_equal(got.values.text, "a: b");
    assert_true(got.values.list.count == 2 && got.values.list.value[1] == 5);
    got =
        PARSE("--number", "3", "--config", path, "--flag=false"); /* the command line counts more, wherever it stands */
    assert_true(got.ok && got.values.number == 3 && !got.values.flag && got.values.size == 2u << 20);
    got = read_yaml("list: 3,5\n");
    assert_true(got.ok && got.values.list.count == 2);
    assert_true(read_yaml("").ok);
}

static void test_wrong_yaml(void **state) {
    (void)state;
    static const struct {
        const char *text, *fault;
    } wrong[] = {
        {"number: 9\n  \nnumbre: 3\n", ":3:1: numbre: unknown key"},
        {"number: 9\nsize: many\n", ":2:7: size: got 'many', want a size"},
        {"number: 1\n", ":1:9: number: got '1', want a whole number from 2 to 10"},
        {"flag: true\n\tnumber: 3\n", ":2:1: "},
        {"number: [3\n", ":2:1: "},
        {"- number\n", ":1:1: "},
        {"just words\n", ":1:1: "},
        {"number: {a: b}\n", ":1:9: "},
        {"list: [1, [2]]\n", ":1:11: "},
        {"list: [2, 1]\n", ":1:7: list: got '2,1'"},
        {"[a, b]: 3\n", ":1:1: "},
        {"text: ''\n", ":1:7: text: is empty"},
        {"config: other.yaml\n", ":1:1: config: unknown key"},
        {"number: 3\nnumber: 4\n", ":2:1: "},
        {"number: 3\n---\nnumber: 4\n", ":2:1: "},
        {"text: \"a\\0b\"\n", ":1:7: "},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct outcome got = read_yaml(wrong[i].text);
        assert_fault(&got, wrong[i].fault);
    }
    ASSERT_FAULT("No such file", "--config", "/nowhere/at/all.yaml");
}

/* What --print-config prints reads back to what was in force. */
static void test_printed(void **state) {
    (void)state;
    fflush(stdout);
    int kept = dup(STDOUT_FILENO);
    assert_non_null(freopen(path, "w", stdout));
    struct outcome first = PARSE("--print-config", "--flag", "--number", "4", "--seed", "77", "--size", "3MiB",
                                 "--text", "it's: \"odd\" # \\ %s", "--list", "17,33");
    fflush(stdout);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    assert_true(first.ok && first.handled);
    struct outcome second = PARSE("--config", path);
    if (!second.ok)
        fail_msg("%s", second.error.text);
    assert_true(second.values.flag && !second.values.other && second.values.number == 4 && second.values.seed == 77);
    assert_true(second.values.size == 3u << 20 && second.values.large == UINT64_C(16) << 30 && !second.values.unset);
    assert_string_equal(second.values.text, "it's: \"odd\" # \\ %s");
    assert_memory_equal(&second.values.list, &first.values.list, sizeof first.values.list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_sizes_as_text),
        cmocka_unit_test(test_sizes_without_a_unit),
        cmocka_unit_test_setup_teardown(test_yaml, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_wrong_yaml, make_file, remove_file),
        cmocka_unit_test_setup_teardown(test_printed, make_file, remove_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
