/* The loader: a small ViT from "the coordinator", played by this file, through the cache into an engine, which shares
 * units with the engines at hand; and all that can go wrong on the way: damaged bytes, full disks, little memory,
 * cancels, assignments that make no sense. */
#include "base/allocate.h"
#include "base/log.h"
#include "daemon/loader.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define TENSORS_MAX 128
#define UNITS       14 /* embed, two blocks of six, head */
#define MICROBATCH  2

static const char config_json[] =
    "{\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": 512,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"intermediate_size\": 1024, \"hidden_act\": \"gelu\","
    " \"image_size\": 8, \"patch_size\": 4, \"num_channels\": 3, \"layer_norm_eps\": 1e-12, \"qkv_bias\": true,"
    " \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\"}, \"label2id\": {\"a\": 0, \"b\": 1, \"c\": 2}}";

/* A board and what the coordinator has for it. */
struct fixture {
    char directory[64];
    struct loader *loader;
    struct loader_settings settings;
    struct model_config *config;
    size_t tensors;
    struct tensor_entry entry[TENSORS_MAX];
    char name[TENSORS_MAX][128];
    uint8_t *data[TENSORS_MAX];
    unsigned damage;      /* answers to spoil from now on */
    bool poisoned;        /* whatever another board may have sent is wrong */
    uint64_t lent;        /* bytes that another board may have sent */
    unsigned outstanding; /* chunks wanted and not given back */
    uint64_t asked;       /* bytes */
    unsigned progress;    /* reports */
};

/* Vectors are all ones, so that many tensors share one content. */
static bool add_tensor(void *context, const struct tensor *tensor) {
    struct fixture *fixture = context;
    assert_true(fixture->tensors < TENSORS_MAX);
    struct tensor_entry *entry = &fixture->entry[fixture->tensors];
    uint64_t count = 1;
    for (unsigned d = 0; d < tensor->rank; d++)
        count *= entry->shape[d] = tensor->shape[d];
    snprintf(fixture->name[fixture->tensors], sizeof fixture->name[0], "%s", tensor->name);
    entry->name = fixture->name[fixture->tensors];
    entry->rank = tensor->rank;
    entry->element = ELEMENT_F32;
    entry->bytes = count * sizeof(float);
    float *values = allocate(count, sizeof *values);
    for (uint64_t i = 0; i < count; i++)
        values[i] = tensor->rank == 1 ? 1.0f : (float)((i * 2654435761u + fixture->tensors) % 1000) * 1e-4f;
    fixture->data[fixture->tensors++] = (uint8_t *)values;
    entry->hash = hash_of(values, entry->bytes);
    return true;
}

static void loader_open(struct fixture *fixture) {
    struct error error = {0};
    fixture->loader = loader_new(&fixture->settings, &error);
    if (!fixture->loader)
        fail_msg("%s", error.text);
}

static void loader_reopen(struct fixture *fixture) {
    loader_destroy(&fixture->loader);
    fixture->asked = fixture->outstanding = 0;
    loader_open(fixture);
}

static int fixture_open(void **state) {
    struct error error = {0};
    struct fixture *fixture = allocate(1, sizeof *fixture);
    snprintf(fixture->directory, sizeof fixture->directory, "/tmp/stagecoach-test-loader-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->config = model_config_new(config_json, sizeof config_json - 1, NULL, 0, &error);
    if (!fixture->config)
        fail_msg("%s", error.text);
    assert_int_equal(model_units(fixture->config), UNITS);
    model_tensors(fixture->config, (struct slice){0, UNITS}, add_tensor, fixture);
    fixture->settings = (struct loader_settings){
        .cache_directory = fixture->directory, .threads = 1, .kernels = kernels_get("ref", &error)};
    assert_non_null(fixture->settings.kernels);
    loader_open(fixture);
    *state = fixture;
    return 0;
}

static int fixture_close(void **state) {
    struct fixture *fixture = *state;
    char tensors[96];
    loader_destroy(&fixture->loader);
    snprintf(tensors, sizeof tensors, "%s/tensors", fixture->directory);
    DIR *directory = opendir(tensors);
    for (const struct dirent *entry; directory && (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
    rmdir(tensors);
    rmdir(fixture->directory);
    for (size_t i = 0; i < fixture->tensors; i++)
        release(fixture->data[i]);
    model_config_destroy(&fixture->config);
    release(fixture);
    return 0;
}

/* ---- the coordinator's part ---- */

static struct assignment *assignment_of(const struct fixture *fixture, struct slice slice) {
    struct assignment *assignment = allocate(1, sizeof *assignment);
    assignment->arena = arena_new(1 << 20);
    assignment->message = (struct message_assign){.epoch = {1},
                                                  .first = slice.first,
                                                  .end = slice.end,
                                                  .units = UNITS,
                                                  .microbatch = MICROBATCH,
                                                  .config = config_json,
                                                  .config_bytes = sizeof config_json - 1};
    struct tensor_entry *entries = arena_take(assignment->arena, fixture->tensors, sizeof *entries);
    memcpy(entries, fixture->entry, fixture->tensors * sizeof *entries);
    assignment->message.tensors = entries;
    assignment->message.tensor_count = fixture->tensors;
    return assignment;
}
#define WHOLE ((struct slice){0, UNITS})

static struct tensor_entry *entries_of(struct assignment *assignment) {
    return (struct tensor_entry *)(uintptr_t)assignment->message.tensors;
}

static void give_back(void *context) {
    release(context);
}

static void answer(struct fixture *fixture, const struct fetch_chunk *chunk) {
    assert_true(chunk->bytes > 0 && chunk->bytes <= MESSAGE_CHUNK_MAX);
    for (size_t i = 0; i < fixture->tensors; i++) {
        if (memcmp(&fixture->entry[i].hash, &chunk->hash, sizeof chunk->hash) != 0)
            continue;
        assert_true(chunk->offset + chunk->bytes <= fixture->entry[i].bytes);
        uint8_t *copy = allocate(chunk->bytes, 1);
        memcpy(copy, fixture->data[i] + chunk->offset, chunk->bytes);
        if (fixture->damage > 0 || (fixture->poisoned && chunk->holders)) {
            copy[0] ^= 1;
            fixture->damage -= fixture->damage > 0;
        }
        fixture->lent += chunk->holders ? chunk->bytes : 0;
        fixture->asked += chunk->bytes;
        loader_store(fixture->loader, chunk, copy, give_back, copy);
        return;
    }
    fail_msg("the loader wants a tensor that nobody listed");
}

/* The next report, waited for. */
static struct loader_report *next_report(struct fixture *fixture) {
    struct loader_report *report;
    struct pollfd wait = {.fd = loader_descriptor(fixture->loader), .events = POLLIN};
    while (!(report = loader_take(fixture->loader)))
        assert_int_equal(poll(&wait, 1, 60000), 1);
    return report;
}

/* What the loader wants first. */
static struct fetch_chunk first_wish(struct fixture *fixture) {
    struct loader_report *report = next_report(fixture);
    while (report->type == LOADER_PROGRESS) {
        loader_report_destroy(&report);
        report = next_report(fixture);
    }
    assert_int_equal(report->type, LOADER_WANTS);
    struct fetch_chunk chunk = report->chunk;
    loader_report_destroy(&report);
    return chunk;
}

/* Answers the loader's wishes until the load is over. */
static struct loader_report *run(struct fixture *fixture) {
    for (;;) {
        struct loader_report *report = next_report(fixture);
        if (report->type == LOADER_WANTS)
            answer(fixture, &report->chunk);
        else if (report->type == LOADER_PROGRESS)
            fixture->progress++;
        else
            return report;
        assert_true(report->done <= report->total);
        loader_report_destroy(&report);
    }
}

static struct stage_engine *load_beside(struct fixture *fixture, struct assignment *assignment,
                                        struct stage_engine *old, const struct stage_engine *beside) {
    loader_load_take(fixture->loader, assignment, old, beside);
    struct loader_report *report = run(fixture);
    if (report->type != LOADER_LOADED)
        fail_msg("%s", report->error.text);
    assert_int_equal(report->done, report->total);
    struct stage_engine *engine = report->engine;
    loader_report_destroy(&report);
    assert_non_null(engine);
    return engine;
}

static struct stage_engine *load(struct fixture *fixture, struct assignment *assignment, struct stage_engine *old) {
    return load_beside(fixture, assignment, old, NULL);
}

/* The load fails and says so with this code and these words; gives back what is left of the old engine. */
static struct stage_engine *fails_beside(struct fixture *fixture, struct assignment *assignment,
                                         struct stage_engine *old, const struct stage_engine *beside,
                                         enum error_code code, const char *words) {
    loader_load_take(fixture->loader, assignment, old, beside);
    struct loader_report *report = run(fixture);
    assert_int_equal(report->type, LOADER_FAILED);
    assert_true(code == ERROR_NONE || report->error.code == code);
    if (!strstr(report->error.text, words))
        fail_msg("got \"%s\", want \"%s\" in it", report->error.text, words);
    struct stage_engine *engine = report->engine;
    loader_report_destroy(&report);
    return engine;
}

static struct stage_engine *fails(struct fixture *fixture, struct assignment *assignment, struct stage_engine *old,
                                  const char *words) {
    return fails_beside(fixture, assignment, old, NULL, ERROR_NONE, words);
}

/* Empties the cache: what is not asked for now was shared. */
static void forget_files(const struct fixture *fixture) {
    char tensors[96];
    snprintf(tensors, sizeof tensors, "%s/tensors", fixture->directory);
    DIR *directory = opendir(tensors);
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory));)
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
}

struct listing {
    const struct fixture *fixture;
    bool seen[TENSORS_MAX];
    uint64_t bytes;
};

static bool add_bytes(void *context, const struct tensor *tensor) {
    struct listing *listing = context;
    const struct fixture *fixture = listing->fixture;
    size_t at = 0, same = 0;
    while (strcmp(fixture->name[at], tensor->name) != 0)
        at++;
    while (memcmp(&fixture->entry[same].hash, &fixture->entry[at].hash, sizeof(struct hash)) != 0)
        same++; /* the first of equal contents stands for all */
    if (!listing->seen[same])
        listing->bytes += fixture->entry[at].bytes;
    return listing->seen[same] = true;
}

/* Bytes that must be fetched for these units when nothing is cached. */
static uint64_t tensor_bytes(const struct fixture *fixture, struct slice slice) {
    struct listing listing = {.fixture = fixture};
    model_tensors(fixture->config, slice, add_bytes, &listing);
    return listing.bytes;
}

/* ---- loads that succeed ---- */

static void test_load_and_load_again(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_true(fixture->asked > 0);
    assert_int_equal(engine->items, MICROBATCH);
    assert_int_equal(engine->in.part[0].type, PAYLOAD_U8);
    assert_non_null(engine->output[1][0]);
    stage_engine_destroy(&engine);
    loader_reopen(fixture); /* as after a restart */
    engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_int_equal(fixture->asked, 0);
    stage_engine_destroy(&engine);
}

static void test_equal_tensors_are_fetched_once(void **state) {
    struct fixture *fixture = *state;
    uint64_t bytes = 0;
    for (size_t i = 0; i < fixture->tensors; i++)
        bytes += fixture->entry[i].bytes;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_true(fixture->asked < bytes);
    stage_engine_destroy(&engine);
}

static void test_the_same_slice_stays(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL), *before = engine;
    struct assignment *assignment = assignment_of(fixture, WHOLE);
    assignment->message.epoch.number = 2;
    fixture->asked = 0;
    engine = load(fixture, assignment, engine);
    assert_ptr_equal(engine, before);
    assignment = assignment_of(fixture, WHOLE);
    assignment->message.microbatch = 5;
    engine = load(fixture, assignment, engine);
    assert_ptr_equal(engine, before);
    assert_int_equal(engine->items, 5);
    assert_int_equal(fixture->asked, 0);
    stage_engine_destroy(&engine);
}

static void test_another_slice_replaces(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, (struct slice){0, 4}), NULL);
    size_t weights = slice_weight_bytes(engine->model);
    engine = load(fixture, assignment_of(fixture, (struct slice){2, 4}), engine);
    assert_int_equal(engine->slice.first, 2);
    assert_int_equal(engine->in.parts, 2);
    assert_true(slice_weight_bytes(engine->model) < weights);
    stage_engine_destroy(&engine);
}

static void test_damaged_bytes_are_asked_for_again(void **state) {
    struct fixture *fixture = *state;
    fixture->damage = 3;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_int_equal(fixture->damage, 0);
    stage_engine_destroy(&engine);
}

/* An assignment in which some tensors may come from other boards. */
static struct assignment *assignment_with_holders(const struct fixture *fixture) {
    struct assignment *assignment = assignment_of(fixture, WHOLE);
    uint32_t *holders = arena_take(assignment->arena, fixture->tensors, sizeof *holders);
    for (size_t i = 0; i < fixture->tensors; i++)
        holders[i] = (uint32_t)i % 3;
    assignment->message.tensor_holders = holders;
    return assignment;
}

static void test_tensors_of_other_boards(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_with_holders(fixture), NULL);
    assert_true(fixture->lent > 0 && fixture->lent < fixture->asked);
    assert_int_equal(fixture->asked, tensor_bytes(fixture, WHOLE));
    stage_engine_destroy(&engine);
}

/* What a board lends is not believed: the coordinator is asked, and may then still be misheard once. */
static void test_poison_of_other_boards(void **state) {
    struct fixture *fixture = *state;
    fixture->poisoned = true;
    fixture->damage = 2;
    struct stage_engine *engine = load(fixture, assignment_with_holders(fixture), NULL);
    assert_true(fixture->asked >= tensor_bytes(fixture, WHOLE) + fixture->lent);
    stage_engine_destroy(&engine);
    loader_reopen(fixture);
    engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_int_equal(fixture->asked, 0); /* nothing wrong was kept */
    stage_engine_destroy(&engine);
}

/* One cached file is cut in half, as by a crash of the file system. */
static void test_a_damaged_cache_heals(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    char path[256], hex[HASH_HEX_BYTES];
    hash_to_hex(&fixture->entry[0].hash, hex);
    snprintf(path, sizeof path, "%s/tensors/%s", fixture->directory, hex);
    assert_int_equal(truncate(path, 3), 0);
    stage_engine_destroy(&engine);
    loader_reopen(fixture);
    engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    assert_int_equal(fixture->asked, fixture->entry[0].bytes);
    stage_engine_destroy(&engine);
}

/* ---- loads beside engines that stay ---- */

static uint64_t buffer_bytes(const struct fixture *fixture, const struct stage_engine *engine) {
    return stage_engine_buffer_bytes(fixture->config, engine->slice, MICROBATCH, fixture->settings.kernels, 1);
}

static void test_overlap_is_shared(void **state) {
    struct fixture *fixture = *state;
    const struct slice all = {2, 10}, new_units = {7, 10};
    struct stage_engine *serving = load(fixture, assignment_of(fixture, (struct slice){0, 7}), NULL);
    forget_files(fixture);
    fixture->asked = 0;
    uint64_t before = allocation_bytes();
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, all), NULL, serving);
    uint64_t grown = allocation_bytes() - before, alone = slice_weight_bytes_alone(engine->model);
    assert_int_equal(fixture->asked, tensor_bytes(fixture, new_units));
    assert_int_equal(alone, slice_weight_bytes(engine->model) + slice_weight_bytes_alone(serving->model) -
                                slice_weight_bytes(serving->model));
    assert_true(alone > 0 && grown >= alone);
    assert_true(grown - alone < buffer_bytes(fixture, engine) + 50000); /* less than the smallest matrix */
    stage_engine_destroy(&serving);
    assert_int_equal(slice_weight_bytes_alone(engine->model), slice_weight_bytes(engine->model));
    stage_engine_destroy(&engine);
}

/* The serving slice has the first part of an MLP, the new one the others: they compute with the same weights. */
static void test_parts_of_an_mlp_are_shared(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, (struct slice){0, 4}), NULL);
    struct stage_engine *only = load(fixture, assignment_of(fixture, (struct slice){3, 4}), NULL);
    size_t mlp = slice_weight_bytes(only->model);
    stage_engine_destroy(&only);
    forget_files(fixture);
    fixture->asked = 0;
    fixture->settings.memory_bytes = /* there is none for the MLP twice */
        stage_engine_bytes(fixture->config, (struct slice){4, 8}, MICROBATCH, fixture->settings.kernels, 1) +
        buffer_bytes(fixture, serving) + slice_weight_bytes(serving->model) - mlp;
    loader_reopen(fixture);
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, (struct slice){4, 8}), NULL, serving);
    assert_int_equal(fixture->asked, tensor_bytes(fixture, (struct slice){7, 8}));
    assert_int_equal(slice_weight_bytes(engine->model) - slice_weight_bytes_alone(engine->model), mlp);
    stage_engine_destroy(&serving);
    assert_int_equal(slice_weight_bytes_alone(engine->model), slice_weight_bytes(engine->model));
    stage_engine_destroy(&engine);
}

/* All that is wanted serves already: a second engine, and not a byte. */
static void test_the_same_slice_beside(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, WHOLE), NULL);
    forget_files(fixture);
    fixture->asked = 0;
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, WHOLE), NULL, serving);
    assert_ptr_not_equal(engine, serving);
    assert_int_equal(fixture->asked, 0);
    assert_int_equal(slice_weight_bytes_alone(engine->model), 0);
    stage_engine_destroy(&engine);
    stage_engine_destroy(&serving);
}

/* From the old engine and from the one that serves, each what it has. */
static void test_units_of_both(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, (struct slice){0, 3}), NULL);
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, (struct slice){2, 8}), NULL, serving);
    forget_files(fixture);
    fixture->asked = 0;
    engine = load_beside(fixture, assignment_of(fixture, (struct slice){1, 9}), engine, serving);
    assert_int_equal(fixture->asked, tensor_bytes(fixture, (struct slice){8, 9}));
    assert_int_equal(slice_weight_bytes(serving->model) > slice_weight_bytes_alone(serving->model), true);
    stage_engine_destroy(&engine);
    assert_int_equal(slice_weight_bytes(serving->model), slice_weight_bytes_alone(serving->model));
    stage_engine_destroy(&serving);
}

/* A unit of the same number and other contents is another unit. */
static void test_other_contents_are_packed_anew(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, WHOLE), NULL);
    struct tensor_entry *entry = &fixture->entry[fixture->tensors - 2]; /* classifier.weight */
    fixture->data[fixture->tensors - 2][0] ^= 1;
    entry->hash = hash_of(fixture->data[fixture->tensors - 2], entry->bytes);
    fixture->asked = 0;
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, WHOLE), NULL, serving);
    assert_int_equal(fixture->asked, entry->bytes);
    struct stage_engine *head = load(fixture, assignment_of(fixture, (struct slice){UNITS - 1, UNITS}), NULL);
    assert_int_equal(slice_weight_bytes_alone(engine->model), slice_weight_bytes(head->model));
    stage_engine_destroy(&head);
    stage_engine_destroy(&engine);
    stage_engine_destroy(&serving);
}

static void test_memory_beside(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, (struct slice){0, 4}), NULL);
    struct stage_engine *old = load(fixture, assignment_of(fixture, (struct slice){13, 14}), NULL), *before = old;
    uint64_t whole = stage_engine_bytes(fixture->config, WHOLE, MICROBATCH, fixture->settings.kernels, 1);
    size_t weights = slice_weight_bytes(serving->model);
    fixture->settings.memory_bytes = whole + buffer_bytes(fixture, serving) - 1;
    loader_reopen(fixture);
    old = fails_beside(fixture, assignment_of(fixture, WHOLE), old, serving, ERROR_BUSY,
                       "do not fit beside embed, blocks 0.1-0.3, which serve");
    assert_ptr_equal(old, before);
    assert_int_equal(slice_weight_bytes_alone(serving->model), weights);
    assert_int_equal(fixture->asked, 0);
    fixture->settings.memory_bytes = whole - 1;
    loader_reopen(fixture);
    old = fails_beside(fixture, assignment_of(fixture, WHOLE), old, serving, ERROR_SYSTEM, "are missing");
    assert_ptr_equal(old, before);
    fixture->settings.memory_bytes = whole + buffer_bytes(fixture, serving); /* enough, and none for the old one */
    loader_reopen(fixture);
    struct stage_engine *engine = load_beside(fixture, assignment_of(fixture, WHOLE), old, serving);
    assert_int_equal(slice_weight_bytes_alone(serving->model), 0);
    stage_engine_destroy(&engine);
    stage_engine_destroy(&serving);
}

/* The old engine has to go before the rest is packed; its shared units stay. */
static void test_old_units_outlive_their_engine(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, (struct slice){0, 5}), NULL);
    fixture->settings.memory_bytes =
        stage_engine_bytes(fixture->config, (struct slice){4, 9}, MICROBATCH, fixture->settings.kernels, 1);
    loader_reopen(fixture);
    forget_files(fixture);
    engine = load(fixture, assignment_of(fixture, (struct slice){4, 9}), engine);
    assert_int_equal(fixture->asked, tensor_bytes(fixture, (struct slice){7, 9}));
    stage_engine_destroy(&engine);
}

/* It fails after units were shared: nothing of them is lost, and nothing is left of the new engine. */
static void test_a_failure_beside(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *serving = load(fixture, assignment_of(fixture, (struct slice){0, 5}), NULL);
    struct stage_engine *old = load(fixture, assignment_of(fixture, (struct slice){5, 7}), NULL), *before = old;
    size_t weights = slice_weight_bytes(serving->model), old_weights = slice_weight_bytes(old->model);
    struct assignment *assignment = assignment_of(fixture, WHOLE);
    uint64_t bytes = allocation_bytes();
    entries_of(assignment)[fixture->tensors - 1].shape[0]++;
    bytes -= sizeof *assignment;
    old = fails_beside(fixture, assignment, old, serving, ERROR_INPUT, fixture->name[fixture->tensors - 1]);
    assert_ptr_equal(old, before);
    assert_true(allocation_bytes() <= bytes);
    assert_int_equal(slice_weight_bytes_alone(serving->model), weights);
    assert_int_equal(slice_weight_bytes_alone(old->model), old_weights);
    stage_engine_destroy(&old);
    stage_engine_destroy(&serving);
}

/* ---- loads that fail ---- */

static void test_bytes_that_are_always_wrong(void **state) {
    struct fixture *fixture = *state;
    fixture->damage = 1000000;
    assert_null(fails(fixture, assignment_of(fixture, WHOLE), NULL, "do not match their hash, twice"));
    fixture->damage = 0;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    stage_engine_destroy(&engine);
}

static void test_too_little_memory(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, (struct slice){0, 1}), NULL), *before = engine;
    uint64_t whole = stage_engine_bytes(fixture->config, WHOLE, MICROBATCH, fixture->settings.kernels, 1);
    fixture->settings.memory_bytes = whole - 1;
    loader_reopen(fixture);
    engine = fails(fixture, assignment_of(fixture, WHOLE), engine, "are missing");
    assert_ptr_equal(engine, before); /* nothing was lost */
    assert_int_equal(fixture->asked, 0);
    fixture->settings.memory_bytes = whole; /* enough for one at a time */
    loader_reopen(fixture);
    engine = load(fixture, assignment_of(fixture, WHOLE), engine);
    assert_ptr_not_equal(engine->model, NULL);
    stage_engine_destroy(&engine);
}

static void test_too_small_a_cache(void **state) {
    struct fixture *fixture = *state;
    fixture->settings.cache_limit_bytes = 100000;
    loader_reopen(fixture);
    assert_null(fails(fixture, assignment_of(fixture, WHOLE), NULL, "raise the cache limit"));
    assert_int_equal(fixture->asked, 0);
}

static void test_a_full_disk(void **state) {
    struct fixture *fixture = *state;
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 50000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct stage_engine *engine = fails(fixture, assignment_of(fixture, WHOLE), NULL, "no room for");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_null(engine);
    engine = load(fixture, assignment_of(fixture, WHOLE), NULL);
    stage_engine_destroy(&engine);
}

static void test_assignments_that_make_no_sense(void **state) {
    struct fixture *fixture = *state;
    struct assignment *assignment = assignment_of(fixture, WHOLE);
    assignment->message.units = UNITS + 1;
    assert_null(fails(fixture, assignment, NULL, "makes 14 units"));
    assignment = assignment_of(fixture, WHOLE);
    assignment->message.config = "{";
    assignment->message.config_bytes = 1;
    assert_null(fails(fixture, assignment, NULL, "line 1"));
    assignment = assignment_of(fixture, WHOLE);
    assignment->message.tensor_count--;
    assert_null(fails(fixture, assignment, NULL, "did not list it"));
    assignment = assignment_of(fixture, WHOLE);
    entries_of(assignment)[2].shape[0]++;
    assert_null(fails(fixture, assignment, NULL, fixture->entry[2].name));
    assignment = assignment_of(fixture, WHOLE);
    entries_of(assignment)[1].element = 17;
    assert_null(fails(fixture, assignment, NULL, "got element 17"));
    assignment = assignment_of(fixture, WHOLE);
    assignment->message.tensor_count = 0;
    assert_null(fails(fixture, assignment, NULL, "did not list it"));
}

/* Two entries claim one hash with different sizes: only one can be right, and it must come to an end. */
static void test_a_hash_of_two_sizes(void **state) {
    struct fixture *fixture = *state;
    struct assignment *assignment = assignment_of(fixture, WHOLE);
    entries_of(assignment)[1].hash = entries_of(assignment)[0].hash;
    loader_load_take(fixture->loader, assignment, NULL, NULL);
    struct loader_report *report;
    while ((report = next_report(fixture))->type == LOADER_WANTS || report->type == LOADER_PROGRESS) {
        if (report->type == LOADER_WANTS) {
            uint8_t *zeros = allocate(report->chunk.bytes, 1);
            loader_store(fixture->loader, &report->chunk, zeros, give_back, zeros);
        }
        loader_report_destroy(&report);
    }
    assert_int_equal(report->type, LOADER_FAILED);
    loader_report_destroy(&report);
}

/* ---- loads that are given up ---- */

static void test_cancel_and_go_on(void **state) {
    struct fixture *fixture = *state;
    struct stage_engine *engine = load(fixture, assignment_of(fixture, (struct slice){13, 14}), NULL), *before = engine;
    loader_cancel(fixture->loader); /* without a load: nothing */
    forget_files(fixture);
    loader_load_take(fixture->loader, assignment_of(fixture, WHOLE), engine, NULL);
    struct fetch_chunk chunk = first_wish(fixture);
    loader_cancel(fixture->loader);
    struct loader_report *report = next_report(fixture);
    while (report->type == LOADER_WANTS || report->type == LOADER_PROGRESS) {
        loader_report_destroy(&report);
        report = next_report(fixture);
    }
    assert_int_equal(report->type, LOADER_CANCELLED);
    assert_ptr_equal(report->engine, before);
    loader_report_destroy(&report);
    answer(fixture, &chunk); /* too late, and no harm */
    engine = load(fixture, assignment_of(fixture, WHOLE), before);
    stage_engine_destroy(&engine);
}

static void test_the_end_in_the_middle(void **state) {
    struct fixture *fixture = *state;
    loader_load_take(fixture->loader, assignment_of(fixture, WHOLE), NULL, NULL);
    struct fetch_chunk chunk = first_wish(fixture);
    answer(fixture, &chunk);
    loader_destroy(&fixture->loader);
    assert_null(fixture->loader);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_open, fixture_close)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_load_and_load_again),
        TEST(test_equal_tensors_are_fetched_once),
        TEST(test_the_same_slice_stays),
        TEST(test_another_slice_replaces),
        TEST(test_damaged_bytes_are_asked_for_again),
        TEST(test_tensors_of_other_boards),
        TEST(test_poison_of_other_boards),
        TEST(test_a_damaged_cache_heals),
        TEST(test_overlap_is_shared),
        TEST(test_the_same_slice_beside),
        TEST(test_parts_of_an_mlp_are_shared),
        TEST(test_units_of_both),
        TEST(test_other_contents_are_packed_anew),
        TEST(test_memory_beside),
        TEST(test_old_units_outlive_their_engine),
        TEST(test_a_failure_beside),
        TEST(test_bytes_that_are_always_wrong),
        TEST(test_too_little_memory),
        TEST(test_too_small_a_cache),
        TEST(test_a_full_disk),
        TEST(test_assignments_that_make_no_sense),
        TEST(test_a_hash_of_two_sizes),
        TEST(test_cancel_and_go_on),
        TEST(test_the_end_in_the_middle),
    };
    log_set_level(LOG_WARN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
