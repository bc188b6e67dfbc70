/* What memory a board has: fake trees of /proc and of both versions of control groups, and the disk's refusals. */
#include "base/file.h"
#include "daemon/board.h"
#include "daemon/storage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB       ((uint64_t)1 << 20)
#define FILES_MAX 12

struct tree {
    char root[64];
};

static void tree_open(struct tree *tree) {
    snprintf(tree->root, sizeof tree->root, "/tmp/stagecoach-board.XXXXXX");
    assert_non_null(mkdtemp(tree->root));
}

/* `path` with its folders, below the root. */
static void put(const struct tree *tree, const char *path, const char *text) {
    char full[512], folder[512];
    snprintf(full, sizeof full, "%s%s", tree->root, path);
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(full, '/') - full), full);
    assert_true(directory_make(folder, NULL));
    assert_true(file_write_atomic(full, text, strlen(text), NULL));
}

static void tree_close(const struct tree *tree) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf %s", tree->root);
    assert_int_equal(system(command), 0);
}

struct file {
    const char *path, *text;
};

#define MEMINFO                                                                                                        \
    { "/proc/meminfo", "MemTotal:        4194304 kB\nMemFree:          100000 kB\nMemAvailable:    2097152 kB\n" }
#define GROUP(text)                                                                                                    \
    { "/proc/self/cgroup", text }
#define V2 "/sys/fs/cgroup"
#define V1 "/sys/fs/cgroup/memory"

static const struct {
    const char *name;
    struct file files[FILES_MAX];
    uint64_t mebibytes;
} cases[] = {
    {"nothing to read", {{NULL, NULL}}, 0},
    {"no group", {MEMINFO}, 2048},
    {"a group without limits",
     {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "max\n"}, {V2 "/a/memory.current", "1048576\n"}},
     2048},
    {"version 2",
     {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "536870912\n"}, {V2 "/a/memory.current", "104857600\n"}},
     412},
    {"memory.high holds too",
     {MEMINFO,
      GROUP("0::/a\n"),
      {V2 "/a/memory.max", "536870912\n"},
      {V2 "/a/memory.high", "209715200\n"},
      {V2 "/a/memory.current", "104857600\n"}},
     100},
    {"cached file pages are free",
     {MEMINFO,
      GROUP("0::/a\n"),
      {V2 "/a/memory.max", "536870912\n"},
      {V2 "/a/memory.current", "524288000\n"},
      {V2 "/a/memory.stat", "anon 1048576\nfile 419430400\ninactive_anon 0\ninactive_file 314572800\n"}},
     312},
    {"the group above is tighter",
     {MEMINFO,
      GROUP("0::/lab/pi\n"),
      {V2 "/lab/pi/memory.max", "1073741824\n"},
      {V2 "/lab/pi/memory.current", "0\n"},
      {V2 "/lab/memory.max", "268435456\n"},
      {V2 "/lab/memory.current", "67108864\n"}},
     192},
    {"the group is tighter than the one above",
     {MEMINFO,
      GROUP("0::/lab/pi\n"),
      {V2 "/lab/pi/memory.max", "134217728\n"},
      {V2 "/lab/pi/memory.current", "0\n"},
      {V2 "/lab/memory.max", "268435456\n"},
      {V2 "/lab/memory.current", "0\n"}},
     128},
    {"a container sees its own group at the mount",
     {MEMINFO, GROUP("0::/docker/7f3\n"), {V2 "/memory.max", "268435456\n"}, {V2 "/memory.current", "1048576\n"}},
     255},
    {"the system has less than the group",
     {MEMINFO, GROUP("0::/\n"), {V2 "/memory.max", "8589934592\n"}, {V2 "/memory.current", "0\n"}},
     2048},
    {"all is used",
     {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "1048576\n"}, {V2 "/a/memory.current", "2097152\n"}},
     0},
    {"version 1",
     {MEMINFO,
      GROUP("9:cpu,cpuacct:/b\n4:memory:/lab/pi-3\n0::/c\n"),
      {V1 "/lab/pi-3/memory.limit_in_bytes", "536870912\n"},
      {V1 "/lab/pi-3/memory.usage_in_bytes", "209715200\n"},
      {V1 "/lab/pi-3/memory.stat", "inactive_file 1\ntotal_inactive_file 104857600\n"}},
     412},
    {"version 1 says no limit with a large number",
     {MEMINFO,
      GROUP("4:memory:/a\n"),
      {V1 "/a/memory.limit_in_bytes", "9223372036854771712\n"},
      {V1 "/a/memory.usage_in_bytes", "1048576\n"}},
     2048},
    {"version 1 inside a container",
     {MEMINFO,
      GROUP("4:memory:/docker/7f3\n"),
      {V1 "/memory.limit_in_bytes", "268435456\n"},
      {V1 "/memory.usage_in_bytes", "1048576\n"}},
     255},
    {"only a group", {GROUP("0::/a\n"), {V2 "/a/memory.max", "268435456\n"}, {V2 "/a/memory.current", "0\n"}}, 256},
    {"garbage in the limit",
     {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "12apples\n"}, {V2 "/a/memory.current", "0\n"}},
     2048},
    {"a negative limit",
     {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "-1\n"}, {V2 "/a/memory.current", "0\n"}},
     2048},
    {"an empty limit", {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", ""}, {V2 "/a/memory.current", "0\n"}}, 2048},
    {"no use told", {MEMINFO, GROUP("0::/a\n"), {V2 "/a/memory.max", "1048576\n"}}, 2048},
    {"garbage in the list of groups", {MEMINFO, GROUP("no colons\n0:\n::\n0::/a")}, 2048},
    {"garbage in meminfo", {{"/proc/meminfo", "MemAvailable: lots\nMemAvailable:\n\n\xff\xfe"}}, 0},
};

static void test_trees(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tree tree;
        tree_open(&tree);
        for (size_t f = 0; f < FILES_MAX && cases[i].files[f].path; f++)
            put(&tree, cases[i].files[f].path, cases[i].files[f].text);
        uint64_t got = board_memory_available_below(tree.root);
        if (got != cases[i].mebibytes * MIB)
            fail_msg("%s: got %llu, want %llu MiB", cases[i].name, (unsigned long long)got,
                     (unsigned long long)cases[i].mebibytes);
        tree_close(&tree);
    }
}

/* A path of thousands of levels is walked up, not followed. */
static void test_deep(void **state) {
    static const char slashes[] = "0::/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/../../..\n";
    struct tree tree;
    (void)state;
    tree_open(&tree);
    put(&tree, "/proc/self/cgroup", slashes);
    put(&tree, V2 "/memory.max", "1048576\n");
    put(&tree, V2 "/memory.current", "0\n");
    assert_int_equal(board_memory_available_below(tree.root), MIB);
    tree_close(&tree);
}

static void test_offered(void **state) {
    uint64_t bytes = 0;
    struct error error = {0};
    (void)state;
    assert_true(board_memory_available() > 0);
    assert_true(board_memory_offered(8 * MIB, 0, &bytes, &error) && bytes == 8 * MIB);
    assert_true(board_memory_offered(8 * MIB, 3 * MIB, &bytes, &error) && bytes == 5 * MIB);
    assert_true(board_memory_offered(0, 1, &bytes, &error) && bytes > 0);
    assert_false(board_memory_offered(8 * MIB, 8 * MIB, &bytes, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "--reserve: got 8388608"));
    assert_false(board_memory_offered(0, UINT64_MAX, &bytes, &error));
}

static void test_storage_refused(void **state) {
    struct tree tree;
    struct error error = {0};
    double rate = 0;
    (void)state;
    tree_open(&tree);
    assert_false(storage_measure(tree.root, &rate, &error));
    assert_non_null(strstr(error.text, "no file to read"));
    put(&tree, "/small", "small");
    assert_false(storage_measure(tree.root, &rate, &error));
    assert_non_null(strstr(error.text, "/small"));
    assert_false(storage_measure("/no/such/place", &rate, &error));
    assert_non_null(strstr(error.text, "/no/such/place: No such file"));
    assert_true(rate == 0);
    tree_close(&tree);
}

/* More than a page, less than the machine has; and it follows what is taken. */
static void test_memory_used(void **state) {
    (void)state;
    const size_t size = 32 << 20;
    uint64_t before = board_memory_used();
    assert_true(before > 4096);
    char *taken = malloc(size);
    memset(taken, 1, size);
    assert_true(board_memory_used() >= before + size / 2);
    assert_int_equal(taken[size / 3], 1);
    free(taken);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_used), cmocka_unit_test(test_trees),           cmocka_unit_test(test_deep),
        cmocka_unit_test(test_offered),     cmocka_unit_test(test_storage_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
