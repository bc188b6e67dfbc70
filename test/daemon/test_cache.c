/* The cache of tensors: what is written can be mapped, what is damaged is not believed, what is too much goes, and
 * several processes may share a directory. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define TENSOR_BYTES 10000

struct place {
    char directory[64], tensors[96];
};

static int make_place(void **state) {
    struct place *place = allocate(1, sizeof *place);
    snprintf(place->directory, sizeof place->directory, "/tmp/stagecoach-test-cache-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    snprintf(place->tensors, sizeof place->tensors, "%s/tensors", place->directory);
    *state = place;
    return 0;
}

static void remove_files(const char *path) {
    DIR *directory = opendir(path);
    for (const struct dirent *entry; directory && (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    rmdir(path);
}

static int remove_place(void **state) {
    struct place *place = *state;
    remove_files(place->tensors);
    remove_files(place->directory);
    release(place);
    return 0;
}

static struct cache *open_cache(const struct place *place, uint64_t limit) {
    struct error error = {0};
    struct cache *cache = cache_new(place->directory, limit, &error);
    if (!cache)
        fail_msg("%s", error.text);
    return cache;
}

static void fill(uint8_t *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + seed * 31 + (i >> 8));
}

static struct hash hash_of_seed(unsigned seed) {
    uint8_t bytes[TENSOR_BYTES];
    fill(bytes, sizeof bytes, seed);
    return hash_of(bytes, sizeof bytes);
}

/* Writes the tensor of that seed; bytes at `spoil` are wrong unless it is negative. */
static bool put(struct cache *cache, unsigned seed, int spoil, struct error *error) {
    uint8_t bytes[TENSOR_BYTES];
    struct hash hash = hash_of_seed(seed);
    fill(bytes, sizeof bytes, seed);
    if (spoil >= 0)
        bytes[spoil] ^= 1;
    struct cache_part *part = cache_part_new(cache, &hash, TENSOR_BYTES, error);
    if (!part)
        return false;
    if (!cache_part_write(part, 4000, bytes + 4000, TENSOR_BYTES - 4000, error) ||
        !cache_part_write(part, 0, bytes, 4000, error)) {
        cache_part_destroy(&part);
        return false;
    }
    return cache_part_finish(&part, error);
}

static void put_well(struct cache *cache, unsigned seed) {
    struct error error = {0};
    if (!put(cache, seed, -1, &error))
        fail_msg("%s", error.text);
}

/* Is the tensor there, with its bytes? */
static bool there(struct cache *cache, unsigned seed) {
    uint8_t expected[TENSOR_BYTES];
    struct hash hash = hash_of_seed(seed);
    const void *data;
    fill(expected, sizeof expected, seed);
    if (!cache_map(cache, &hash, TENSOR_BYTES, &data))
        return false;
    bool same = memcmp(data, expected, sizeof expected) == 0;
    cache_unmap(cache, &hash, data, TENSOR_BYTES);
    assert_true(same);
    return true;
}

static unsigned file_count(const struct place *place) {
    unsigned count = 0;
    DIR *directory = opendir(place->tensors);
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static void path_of_seed(const struct place *place, unsigned seed, char path[256]) {
    char hex[HASH_HEX_BYTES];
    struct hash hash = hash_of_seed(seed);
    hash_to_hex(&hash, hex);
    snprintf(path, 256, "%s/%s", place->tensors, hex);
}

static void test_write_and_map(void **state) {
    struct cache *cache = open_cache(*state, 0);
    assert_false(there(cache, 1));
    put_well(cache, 1);
    assert_true(there(cache, 1));
    put_well(cache, 1); /* twice is no harm */
    cache_destroy(&cache);
    cache = open_cache(*state, 0);
    assert_true(there(cache, 1));
    assert_false(there(cache, 2));
    cache_destroy(&cache);
    assert_int_equal(file_count(*state), 1);
}

static void test_a_tensor_of_no_bytes(void **state) {
    struct cache *cache = open_cache(*state, 0);
    struct error error = {0};
    struct hash hash = hash_of(NULL, 0);
    struct cache_part *part = cache_part_new(cache, &hash, 0, &error);
    assert_non_null(part);
    assert_true(cache_part_finish(&part, &error));
    const void *data = &error;
    assert_true(cache_map(cache, &hash, 0, &data));
    assert_null(data);
    cache_unmap(cache, &hash, data, 0);
    cache_destroy(&cache);
}

static void test_wrong_bytes_are_not_kept(void **state) {
    struct cache *cache = open_cache(*state, 0);
    struct error error = {0};
    assert_false(put(cache, 1, 9999, &error));
    assert_int_equal(error.code, ERROR_INPUT);
    assert_false(there(cache, 1));
    struct hash hash = hash_of_seed(1);
    struct cache_part *part = cache_part_new(cache, &hash, TENSOR_BYTES, &error);
    cache_part_destroy(&part); /* given up */
    assert_null(part);
    assert_int_equal(file_count(*state), 0);
    cache_destroy(&cache);
}

static void damage(const struct place *place, unsigned seed, bool shorten) {
    char path[256];
    path_of_seed(place, seed, path);
    int descriptor = open(path, O_WRONLY);
    assert_true(descriptor >= 0);
    if (shorten)
        assert_int_equal(ftruncate(descriptor, TENSOR_BYTES / 2), 0);
    else
        assert_int_equal(pwrite(descriptor, "X", 1, 5000), 1);
    close(descriptor);
}

static void test_damaged_files_are_fetched_again(void **state) {
    for (int shorten = 0; shorten < 2; shorten++) {
        struct cache *cache = open_cache(*state, 0);
        put_well(cache, 1);
        put_well(cache, 2);
        cache_destroy(&cache);
        damage(*state, 1, shorten);
        cache = open_cache(*state, 0);
        assert_false(there(cache, 1));
        assert_true(there(cache, 2));
        assert_int_equal(file_count(*state), 1);
        put_well(cache, 1);
        assert_true(there(cache, 1));
        cache_destroy(&cache);
    }
}

/* Contents are checked once in a process, the size each time: beyond a file's end a mapping ends the process. */
static void test_a_file_that_is_shortened_after_it_was_checked(void **state) {
    struct cache *cache = open_cache(*state, 0);
    put_well(cache, 1);
    assert_true(there(cache, 1));
    damage(*state, 1, true);
    assert_false(there(cache, 1));
    assert_int_equal(file_count(*state), 0);
    put_well(cache, 1);
    assert_true(there(cache, 1));
    cache_destroy(&cache);
}

static void write_file(const struct place *place, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", place->tensors, name);
    struct error error;
    assert_true(file_write_atomic(path, "x", 1, &error));
}

static void test_strangers_are_cleaned_up(void **state) {
    const struct place *place = *state;
    struct cache *cache = open_cache(place, 0), *other = open_cache(place, 0);
    struct error error = {0};
    struct hash hash = hash_of_seed(7);
    put_well(cache, 1);
    struct cache_part *part = cache_part_new(cache, &hash, TENSOR_BYTES, &error); /* being written */
    assert_non_null(part);
    cache_destroy(&other);
    write_file(place, "README");
    write_file(place, "00ff.abcdef.part");
    char elsewhere[128];
    snprintf(elsewhere, sizeof elsewhere, "%s/link", place->tensors);
    assert_int_equal(symlink("/etc/passwd", elsewhere), 0);
    assert_int_equal(file_count(place), 5);
    other = open_cache(place, 0);
    assert_int_equal(file_count(place), 2);
    uint8_t bytes[TENSOR_BYTES];
    fill(bytes, sizeof bytes, 7);
    assert_true(cache_part_write(part, 0, bytes, sizeof bytes, &error));
    assert_true(cache_part_finish(&part, &error));
    assert_true(there(other, 7));
    cache_destroy(&other);
    cache_destroy(&cache);
}

static void test_a_writer_that_was_killed(void **state) {
    pid_t child = fork();
    if (child == 0) {
        struct error error;
        struct cache *cache = cache_new(((struct place *)*state)->directory, 0, &error);
        struct hash hash = hash_of_seed(1);
        if (cache)
            (void)cache_part_new(cache, &hash, TENSOR_BYTES, &error);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(file_count(*state), 1);
    struct cache *cache = open_cache(*state, 0);
    assert_int_equal(file_count(*state), 0);
    cache_destroy(&cache);
}

/* Times of use apart enough for any file system. */
static void age(const struct place *place, unsigned seed, time_t seconds) {
    char path[256];
    path_of_seed(place, seed, path);
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void test_least_recently_used_goes_first(void **state) {
    struct cache *cache = open_cache(*state, 4 * TENSOR_BYTES);
    struct error error = {0};
    for (unsigned seed = 0; seed < 4; seed++) {
        put_well(cache, seed);
        age(*state, seed, 1000 + seed);
    }
    assert_true(there(cache, 0)); /* now the most recent */
    assert_true(cache_make_room(cache, 2 * TENSOR_BYTES, &error));
    assert_int_equal(file_count(*state), 2);
    assert_true(there(cache, 0));
    assert_false(there(cache, 1));
    assert_false(there(cache, 2));
    assert_true(there(cache, 3));
    cache_destroy(&cache);
}

static void test_what_is_mapped_stays(void **state) {
    struct cache *cache = open_cache(*state, 2 * TENSOR_BYTES);
    struct error error = {0};
    struct hash hash = hash_of_seed(0);
    const void *data;
    put_well(cache, 0);
    put_well(cache, 1);
    age(*state, 1, 3000000000);
    assert_true(cache_map(cache, &hash, TENSOR_BYTES, &data));
    age(*state, 0, 1000);
    assert_true(cache_make_room(cache, TENSOR_BYTES, &error));
    assert_true(there(cache, 0));
    assert_false(there(cache, 1));
    assert_false(cache_make_room(cache, TENSOR_BYTES + 1, &error));
    assert_non_null(strstr(error.text, "raise the cache limit"));
    cache_unmap(cache, &hash, data, TENSOR_BYTES);
    assert_false(cache_make_room(cache, UINT64_MAX, &error)); /* more than there will ever be */
    cache_destroy(&cache);
}

static void test_a_full_disk(void **state) {
    struct cache *cache = open_cache(*state, 0);
    struct error error = {0};
    struct rlimit before, small = {.rlim_cur = TENSOR_BYTES / 2, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool written = put(cache, 1, -1, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(written);
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_int_equal(file_count(*state), 0);
    put_well(cache, 1);
    cache_destroy(&cache);
}

static void test_an_unusable_directory(void **state) {
    (void)state;
    struct error error = {0};
    assert_null(cache_new("/dev/null/cache", 0, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_memory_equal(error.text, "cache: /dev/null", 16);
}

/* One of several processes that fetch, use and evict the same tensors; 0 when all bytes were right. */
static int share(const struct place *place, unsigned random) {
    struct error error;
    for (int round = 0; round < 10; round++) {
        struct cache *cache = cache_new(place->directory, 5 * TENSOR_BYTES, &error);
        if (!cache)
            return 1;
        for (int i = 0; i < 20; i++) {
            random = random * 1664525u + 1013904223u;
            unsigned seed = (random >> 16) % 8;
            struct hash hash = hash_of_seed(seed);
            const void *data;
            if (!cache_map(cache, &hash, TENSOR_BYTES, &data)) {
                if (!cache_make_room(cache, TENSOR_BYTES, &error) || !put(cache, seed, -1, &error))
                    return 2;
                continue;
            }
            struct hash actual = hash_of(data, TENSOR_BYTES);
            if (memcmp(&actual, &hash, sizeof hash) != 0)
                return 3;
            cache_unmap(cache, &hash, data, TENSOR_BYTES);
        }
        cache_destroy(&cache);
    }
    return 0;
}

static void test_processes_share(void **state) {
    enum { PROCESSES = 4 };
    pid_t child[PROCESSES];
    for (unsigned i = 0; i < PROCESSES; i++) {
        child[i] = fork();
        if (child[i] == 0)
            _exit(share(*state, i + 1));
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    struct error error;
    struct cache *cache = open_cache(*state, 5 * TENSOR_BYTES);
    assert_true(cache_make_room(cache, 0, &error));
    assert_true(file_count(*state) <= 5);
    cache_destroy(&cache);
}

/* ---- lending ---- */

static void test_list(void **state) {
    const struct place *place = *state;
    size_t count;
    assert_null(cache_list(place->directory, 10, &count));
    assert_int_equal(count, 0);
    struct cache *cache = open_cache(place, 0);
    for (unsigned seed = 0; seed < 3; seed++)
        put_well(cache, seed);
    struct hash *list = cache_list(place->directory, 10, &count), middle = hash_of_seed(1);
    assert_int_equal(count, 3);
    unsigned found = 0;
    for (size_t i = 0; i < count; i++)
        found += memcmp(&list[i], &middle, sizeof middle) == 0;
    assert_int_equal(found, 1);
    release(list);
    list = cache_list(place->directory, 2, &count);
    assert_int_equal(count, 2);
    release(list);
    cache_destroy(&cache);
}

static void test_loans(void **state) {
    const struct place *place = *state;
    struct cache *cache = open_cache(place, 0);
    struct cache_loan loan;
    struct hash here = hash_of_seed(1), absent = hash_of_seed(2);
    uint8_t expected[TENSOR_BYTES];
    fill(expected, sizeof expected, 1);
    put_well(cache, 1);
    assert_false(cache_lend(place->directory, &absent, 1, &loan));
    assert_false(cache_lend(place->directory, &here, TENSOR_BYTES + 1, &loan));
    assert_true(cache_lend(place->directory, &here, TENSOR_BYTES, &loan));
    remove_files(place->tensors); /* evicted meanwhile */
    assert_int_equal(loan.size, TENSOR_BYTES);
    assert_memory_equal(loan.data, expected, sizeof expected);
    cache_loan_end(&loan);
    assert_false(cache_lend(place->directory, &here, 1, &loan));
    cache_destroy(&cache);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_place, remove_place)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_write_and_map),
        TEST(test_a_tensor_of_no_bytes),
        TEST(test_wrong_bytes_are_not_kept),
        TEST(test_damaged_files_are_fetched_again),
        TEST(test_a_file_that_is_shortened_after_it_was_checked),
        TEST(test_strangers_are_cleaned_up),
        TEST(test_a_writer_that_was_killed),
        TEST(test_least_recently_used_goes_first),
        TEST(test_what_is_mapped_stays),
        TEST(test_a_full_disk),
        TEST(test_an_unusable_directory),
        TEST(test_processes_share),
        TEST(test_list),
        TEST(test_loans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
