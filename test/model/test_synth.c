/* Synthetic models: the same bytes from the same seed, shards as the hub has them, nothing left behind on failure, and
 * the memory that loading one takes. */
#include "base/allocate.h"
#include "base/file.h"
#include "base/hash.h"
#include "model/synth.h"
#include "test/model/fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void inner_path(char path[512], const struct folder *folder, const char *name) {
    snprintf(path, 512, "%s/%s", folder->path, name);
}

static void hash_file(const char *directory, const char *name, char hex[HASH_HEX_BYTES]) {
    char path[1024];
    struct error error = {0};
    void *bytes;
    size_t size;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if (!file_read(path, 1 << 26, &bytes, &size, &error))
        fail_msg("%s", error.text);
    struct hash hash = hash_of(bytes, size);
    hash_to_hex(&hash, hex);
    release(bytes);
}

static void synthesise(const char *architecture, uint64_t seed, const char *directory, uint64_t shard_limit) {
    struct error error = {0};
    if (!synthesise_sharded(architecture, seed, directory, shard_limit, &error))
        fail_msg("%s", error.text);
}

/* The hash was computed on x86-64 with gcc; other machines and compilers must find the same. */
static void test_same_bytes(void **state) {
    (void)state;
    struct folder folder = folder_new();
    char path[512], hex[HASH_HEX_BYTES], other[HASH_HEX_BYTES];
    inner_path(path, &folder, "parents/are/made/one");
    synthesise("vit-nano", 7, path, UINT64_MAX);
    hash_file(path, "model.safetensors", hex);
    assert_string_equal(hex, "3a75d3c592383831e276eda2ceed5055b51caa3852c27a7c99e53b1f36e52e16");
    inner_path(path, &folder, "two");
    synthesise("vit-nano", 8, path, UINT64_MAX);
    hash_file(path, "model.safetensors", other);
    assert_string_not_equal(hex, other);
    folder_remove(&folder);
}

/* The answer of a whole model to an image of one grey. */
static void answer(const char *directory, uint8_t grey, float *logits) {
    struct error error = {0};
    struct model *model = model_open(directory, &error);
    if (!model)
        fail_msg("%s", error.text);
    const struct model_config *config = model_borrow_config(model);
    struct tensor_source source = model_source(model);
    struct payload payload;
    struct slice_model *slice = slice_load(config, (struct slice){0, model_units(config)}, &source,
                                           kernels_get("ref", NULL), NULL, NULL, &error);
    assert_non_null(slice);
    struct workspace *workspace = workspace_new(slice, 1, 1, &error);
    model_cut(config, 0, &payload);
    uint8_t *pixels = allocate(payload_bytes(&payload), 1);
    memset(pixels, grey, payload_bytes(&payload));
    slice_forward(slice, workspace, NULL, 1, (void *[]){pixels, NULL}, (void *[]){logits, NULL});
    release(pixels);
    workspace_destroy(&workspace);
    slice_unload(&slice);
    model_close(&model);
}

static void test_shards(void **state) {
    (void)state;
    struct folder folder = folder_new();
    char one[512], many[512], shard[1024];
    float want[10], got[10], darker[10];
    inner_path(one, &folder, "one");
    inner_path(many, &folder, "many");
    synthesise("deit-nano-distilled", 3, one, UINT64_MAX);
    synthesise("deit-nano-distilled", 3, many, 60000);
    snprintf(shard, sizeof shard, "%s/model-00001-of-00005.safetensors", many);
    assert_true(file_exists(shard));
    snprintf(shard, sizeof shard, "%s/model-00005-of-00005.safetensors", many);
    assert_true(file_exists(shard));
    answer(one, 200, want);
    answer(many, 200, got);
    answer(one, 20, darker);
    assert_memory_equal(got, want, sizeof want);
    float largest = 0;
    for (size_t i = 0; i < 10; i++) {
        float difference = want[i] > darker[i] ? want[i] - darker[i] : darker[i] - want[i];
        largest = difference > largest ? difference : largest;
    }
    assert_true(largest > 0.1F && largest < 100);
    folder_remove(&folder);
}

static void test_names(void **state) {
    (void)state;
    struct folder folder = folder_new();
    struct error error = {0};
    size_t count = 0;
    while (model_synthesise_name(count))
        count++;
    assert_true(count >= 11);
    assert_false(model_synthesise("vit-gigantic", 1, folder.path, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_error(&error, "no architecture \"vit-gigantic\", want one of vit-nano, vit-tiny");
    folder_write(&folder, "precious", "x", 1);
    assert_false(model_synthesise("vit-nano", 1, folder.path, &error));
    assert_error(&error, "not empty");
    char path[512];
    inner_path(path, &folder, "precious");
    assert_true(file_exists(path));
    folder_remove(&folder);
}

/* In a child, because the limit on a file's size stays. */
static int synthesise_on_full_disk(const char *directory, size_t room) {
    struct error error = {0};
    struct rlimit limit = {room, room};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    if (synthesise_sharded("vit-nano", 1, directory, 20000, &error))
        return 2;
    return error.code == ERROR_SYSTEM && strstr(error.text, directory) ? 0 : 3;
}

static void test_full_disk(void **state) {
    (void)state;
    static const size_t rooms[] = {0, 5, 3000, 20000}; /* the last is full in the second of the shards */
    struct folder folder = folder_new();
    char path[512];
    inner_path(path, &folder, "model");
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++) {
        int status;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(synthesise_on_full_disk(path, rooms[i]));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_false(file_exists(path));
    }
    folder_remove(&folder);
}

/* Writing takes constant memory, and loading the packed weights plus little: the pages of packed tensors are let go. In
 * a child, because the largest memory of a process only grows. Sanitizers count memory of their own. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static size_t largest_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024;
}

static int load_in_little_memory(const char *directory) {
    struct error error = {0};
    size_t before = largest_memory(), written, loaded;
    if (!model_synthesise("vit-small", 1, directory, &error))
        return 1;
    written = largest_memory();
    struct model *model = model_open(directory, &error);
    if (!model)
        return 2;
    const struct model_config *config = model_borrow_config(model);
    struct tensor_source source = model_source(model);
    struct slice_model *slice = slice_load(config, (struct slice){0, model_units(config)}, &source,
                                           kernels_get("ref", NULL), NULL, NULL, &error);
    if (!slice)
        return 3;
    loaded = largest_memory();
    size_t weights = slice_weight_bytes(slice);
    slice_unload(&slice);
    model_close(&model);
    if (written - before > 4 << 20)
        return 4;
    return loaded - before < weights + weights * 15 / 100 ? 0 : 5;
}

static void test_memory(void **state) {
    (void)state;
    struct folder folder = folder_new();
    char path[512];
    int status;
    inner_path(path, &folder, "model");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(load_in_little_memory(path));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    folder_remove(&folder);
}
#else
static void test_memory(void **state) {
    (void)state;
    skip();
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bytes), cmocka_unit_test(test_shards), cmocka_unit_test(test_names),
        cmocka_unit_test(test_full_disk),  cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
