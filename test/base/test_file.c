/* Files in a folder of their own under $TMPDIR: read, mapped, written whole or not at all. */
#include "base/file.h"

#include "base/allocate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[512], file[600];
};

static int setup(void **state) {
    static struct folder folder;
    const char *parent = getenv("TMPDIR");
    snprintf(folder.path, sizeof folder.path, "%s/stagecoach-test-XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(folder.path))
        return -1;
    snprintf(folder.file, sizeof folder.file, "%s/file", folder.path);
    *state = &folder;
    return 0;
}

static int teardown(void **state) {
    const struct folder *folder = *state;
    char command[700];
    snprintf(command, sizeof command, "rm -r '%s'", folder->path);
    return system(command);
}

static void write_file(const char *path, const void *contents, size_t size) {
    struct error error = {0};
    if (!file_write_atomic(path, contents, size, &error))
        fail_msg("%s", error.text);
}

static void test_write_and_read(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    void *contents = NULL;
    size_t size = 0;
    assert_false(file_exists(folder->file));
    write_file(folder->file, "old", 3);
    write_file(folder->file, "a\0b\n", 4);
    assert_true(file_exists(folder->file));
    assert_true(file_read(folder->file, 4, &contents, &size, &error));
    assert_int_equal(size, 4);
    assert_memory_equal(contents, "a\0b\n", 5); /* and a zero after it */
    release(contents);
}

static void test_empty_file(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    void *contents = NULL;
    const void *data = "";
    size_t size = 1;
    write_file(folder->file, "", 0);
    assert_true(file_read(folder->file, 0, &contents, &size, &error));
    assert_int_equal(size, 0);
    release(contents);
    assert_true(file_map(folder->file, &data, &size, &error));
    assert_null(data);
    file_unmap(data, size);
}

static void read_refused(const char *path, size_t limit, enum error_code code, const char *says) {
    struct error error = {0};
    void *contents = NULL;
    size_t size = 0;
    assert_false(file_read(path, limit, &contents, &size, &error));
    assert_null(contents);
    assert_int_equal(error.code, code);
    if (strncmp(error.text, path, strlen(path)) != 0 || !strstr(error.text, says))
        fail_msg("got \"%s\", want \"%s: ... %s\"", error.text, path, says);
}

static void test_refused(void **state) {
    const struct folder *folder = *state;
    char pipe_path[600];
    read_refused(folder->file, 10, ERROR_SYSTEM, "No such file");
    write_file(folder->file, "12345", 5);
    read_refused(folder->file, 4, ERROR_INPUT, "5 bytes, want at most 4");
    read_refused(folder->path, 10, ERROR_INPUT, "not a regular file");
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder->path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    read_refused(pipe_path, 10, ERROR_INPUT, "not a regular file"); /* and does not hang */
    allocate_fail_nth(1);
    read_refused(folder->file, 10, ERROR_SYSTEM, "no memory");
}

static void test_map(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    static char bytes[20000];
    const void *data = NULL;
    size_t size = 0;
    memset(bytes, 'x', sizeof bytes);
    write_file(folder->file, bytes, sizeof bytes);
    assert_true(file_map(folder->file, &data, &size, &error));
    assert_int_equal(size, sizeof bytes);
    file_forget((const char *)data + 100, size - 100);
    assert_memory_equal(data, bytes, size);
    file_unmap(data, size);
    assert_false(file_map(folder->path, &data, &size, &error));
}

static void test_failed_write_leaves_nothing(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    char path[600];
    snprintf(path, sizeof path, "%s/none/file", folder->path);
    assert_false(file_write_atomic(path, "x", 1, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_int_equal(mkdir(folder->file, 0700), 0); /* a folder cannot be replaced by a file */
    assert_false(file_write_atomic(folder->file, "x", 1, &error));
    assert_int_equal(rmdir(folder->file), 0);
    assert_int_equal(rmdir(folder->path), 0); /* no .part was left behind */
    assert_int_equal(mkdir(folder->path, 0700), 0);
}

static unsigned mode_of(const char *path) {
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

/* What anybody may read follows the umask, what is private does not. */
static void test_modes(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    char path[600];
    mode_t before = umask(027);
    assert_true(file_write_atomic(folder->file, "x", 1, &error));
    assert_int_equal(mode_of(folder->file), 0640);
    assert_true(file_write_private(folder->file, "x", 1, &error));
    assert_int_equal(mode_of(folder->file), 0600);
    snprintf(path, sizeof path, "%s/shared", folder->path);
    assert_true(directory_make_shared(path, &error));
    assert_int_equal(mode_of(path), 0750);
    assert_int_equal(rmdir(path), 0);
    assert_true(directory_make(path, &error));
    assert_int_equal(mode_of(path), 0700);
    umask(before);
    rmdir(path);
}

static void test_check_writable(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    void *contents;
    size_t size;
    char path[600];
    snprintf(path, sizeof path, "%s/none/file", folder->path);
    assert_false(file_check_writable(path, &error));
    assert_non_null(strstr(error.text, "none/file: No such file"));
    assert_false(file_check_writable(folder->path, &error));
    assert_true(file_check_writable(folder->file, &error));
    assert_false(file_exists(folder->file));
    write_file(folder->file, "kept", 4);
    assert_true(file_check_writable(folder->file, &error));
    assert_true(file_read(folder->file, 100, &contents, &size, &error));
    assert_string_equal(contents, "kept");
    release(contents);
}

static void write_private(const char *path) {
    struct error error;
    assert_true(file_write_private(path, "secret", 6, &error));
}

/* What lies in the way of the new file is not written through: its mode, or its owner, may let others read it. */
static void test_write_makes_a_file_of_its_own(void **state) {
    const struct folder *folder = *state;
    struct stat status;
    char part[700], elsewhere[700];
    snprintf(part, sizeof part, "%s.%ld.part", folder->file, (long)getpid());
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder->path);
    write_file(elsewhere, "", 0);
    assert_int_equal(symlink(elsewhere, part), 0);
    write_private(folder->file);
    assert_int_equal(stat(elsewhere, &status), 0);
    assert_int_equal(status.st_size, 0);
    write_file(part, "", 0);
    assert_int_equal(chmod(part, 0666), 0);
    write_private(folder->file);
    assert_int_equal(lstat(folder->file, &status), 0);
    assert_int_equal(status.st_mode & (S_IFMT | 0777), S_IFREG | 0600);
}

static void test_guarded(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    assert_false(file_guarded(folder->file, FILE_NOT_READ, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    write_file(folder->file, "", 0);
    static const struct {
        mode_t mode;
        bool secret, trusted;
    } modes[] = {{0600, true, true},  {0700, true, true},   {0644, false, true}, {0640, false, true},
                 {0604, false, true}, {0620, false, false}, {0602, false, false}};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(folder->file, modes[i].mode), 0);
        assert_int_equal(file_guarded(folder->file, FILE_NOT_READ, &error), modes[i].secret);
        assert_int_equal(file_guarded(folder->file, FILE_NOT_WRITTEN, &error), modes[i].trusted);
    }
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "chmod go-w"));
}

static void test_directories_and_paths(void **state) {
    const struct folder *folder = *state;
    struct error error = {0};
    char path[700], small[10];
    snprintf(path, sizeof path, "%s/a/b/c", folder->path);
    assert_true(directory_make(path, &error));
    assert_true(directory_make(path, &error));
    assert_true(file_exists(path));
    write_file(folder->file, "", 0);
    snprintf(path, sizeof path, "%s/d", folder->file);
    assert_false(directory_make(path, &error));
    assert_false(directory_make("", &error));
    assert_true(path_join(small, sizeof small, "abcd", "efgh", &error));
    assert_string_equal(small, "abcd/efgh");
    assert_false(path_join(small, sizeof small, "abcd", "efghi", &error));
    assert_int_equal(error.code, ERROR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_write_and_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_empty_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_map, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failed_write_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_modes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_writable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write_makes_a_file_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_guarded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directories_and_paths, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
