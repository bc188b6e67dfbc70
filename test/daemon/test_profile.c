/* Profiles: what is measured, what is one kind, which models are the same, and what is read from strangers. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/fleet_problem.h"
#include "daemon/fleet_write.h"
#include "test/daemon/profile_same.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define UNITS 20 /* of three blocks */

static struct model_config *config_new(unsigned hidden, unsigned blocks, const char *label) {
    char json[600];
    struct error error = {0};
    snprintf(json, sizeof json,
             "{\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": %u,"
             " \"num_hidden_layers\": %u, \"num_attention_heads\": 2, \"intermediate_size\": %u, \"image_size\": 16,"
             " \"patch_size\": 8, \"id2label\": {\"0\": \"a\", \"1\": \"%s\"}, \"label2id\": {\"a\": 0, \"%s\": 1}}",
             hidden, blocks, 4 * hidden, label, label);
    struct model_config *config = model_config_new(json, strlen(json), NULL, 0, &error);
    if (!config)
        fail_msg("%s", error.text);
    return config;
}

static const struct kernels *fastest(void) {
    struct error error = {0};
    const struct kernels *kernels = kernels_get(NULL, &error);
    if (!kernels)
        fail_msg("%s", error.text);
    return kernels;
}

/* ---- kinds and fingerprints ---- */

static void test_kinds(void **state) {
    static const unsigned expected[UNITS] = {0, 1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 13, 14, 15, 16, 17, 18, 19};
    unsigned kind[UNITS];
    struct model_config *config = config_new(32, 3, "b");
    (void)state;
    assert_int_equal(model_units(config), UNITS);
    profile_kinds(config, kind);
    assert_memory_equal(kind, expected, sizeof kind);
    model_config_destroy(&config);
}

static void test_fingerprints(void **state) {
    struct model_config *one = config_new(32, 3, "b"), *labels = config_new(32, 3, "another"),
                        *wider = config_new(64, 3, "b"), *deeper = config_new(32, 4, "b");
    char a[33], b[33], c[33], d[33];
    (void)state;
    profile_fingerprint(one, a);
    profile_fingerprint(labels, b);
    profile_fingerprint(wider, c);
    profile_fingerprint(deeper, d);
    assert_int_equal(strlen(a), 32);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_string_equal(a, b);
    assert_string_not_equal(a, c);
    assert_string_not_equal(a, d);
    model_config_destroy(&one);
    model_config_destroy(&labels);
    model_config_destroy(&wider);
    model_config_destroy(&deeper);
}

/* Profiles outlive versions: the fingerprint of a model stays what it was. */
static void test_fingerprint_stays(void **state) {
    struct model_config *config = config_new(32, 3, "b");
    char text[33];
    (void)state;
    profile_fingerprint(config, text);
    assert_string_equal(text, "56b14a4389f3d413e3de2f0654d54160");
    model_config_destroy(&config);
}

/* ---- measuring ---- */

struct patience {
    unsigned asked, most; /* 0: for ever */
};

static bool patient(void *context) {
    struct patience *patience = context;
    return ++patience->asked != patience->most;
}

static struct profile_settings settings_for(const struct model_config *config, const unsigned *microbatches,
                                            unsigned sizes) {
    return (struct profile_settings){
        .config = config, .kernels = fastest(), .microbatches = microbatches, .sizes = sizes};
}

static struct profile *measured(const struct model_config *config, unsigned threads, double budget_s) {
    static const unsigned sizes[] = {1, 3};
    struct profile *profile = allocate(1, sizeof *profile);
    struct patience patience = {0, 0};
    struct error error = {0};
    struct pool *pool = threads > 1 ? pool_new(threads, &error) : NULL;
    struct profile_settings settings = settings_for(config, sizes, 2);
    settings.pool = pool;
    settings.budget_s = budget_s;
    settings.go_on = patient;
    settings.context = &patience;
    if (!profile_measure(&settings, profile, &error))
        fail_msg("%s", error.text);
    assert_true(patience.asked > 0);
    pool_destroy(&pool);
    return profile;
}

static void check_times(const struct profile_times *times, unsigned microbatch) {
    assert_int_equal(times->microbatch, microbatch);
    assert_true(times->runs >= 1 && times->spread >= 0 && times->spread < 1000);
    for (unsigned unit = 0; unit < UNITS; unit++)
        assert_true(times->unit_s[unit] > 0 && times->unit_s[unit] < 1);
    for (unsigned unit = 3; unit < UNITS - 1; unit += 6) /* the first part of an MLP reads the weights */
        assert_true(times->unit_s[unit] >= times->unit_s[unit + 1] &&
                    times->unit_s[unit + 1] == times->unit_s[unit + 3]);
    for (unsigned unit = 1; unit < 7; unit++) {
        assert_true(times->unit_s[unit] == times->unit_s[unit + 6]);
        assert_true(times->unit_s[unit] != times->unit_s[unit + 12]); /* the last block is measured for itself */
    }
}

static void test_measure(void **state) {
    struct model_config *config = config_new(32, 3, "b");
    char fingerprint[33];
    (void)state;
    for (unsigned threads = 1; threads <= 2; threads++) {
        struct profile *profile = measured(config, threads, 0.2);
        profile_fingerprint(config, fingerprint);
        assert_string_equal(profile->architecture, "ViTForImageClassification");
        assert_string_equal(profile->fingerprint, fingerprint);
        assert_string_equal(profile->kernels, fastest()->name);
        assert_string_equal(profile->version, STAGECOACH_VERSION);
        assert_true(profile->threads == threads && profile->units == UNITS && profile->sizes == 2);
        assert_true(profile->memory_bytes == 0 && profile->storage_bytes_per_second == 0);
        assert_true(profile->handling_bytes_per_second == 0);
        assert_true(profile->processors > 0.01 && profile->processors < 4 * threads); /* passes of microseconds */
        check_times(&profile->times[0], 1);
        check_times(&profile->times[1], 3);
        release(profile);
    }
    model_config_destroy(&config);
}

/* However short the time, everything is measured once. */
static void test_no_time(void **state) {
    struct model_config *config = config_new(32, 1, "b");
    (void)state;
    struct profile *profile = measured(config, 1, 0);
    assert_int_equal(profile->units, 8);
    for (unsigned unit = 0; unit < 8; unit++)
        assert_true(profile->times[1].unit_s[unit] > 0);
    assert_int_equal(profile->times[1].runs, 1);
    assert_true(profile->times[1].spread == 0);
    release(profile);
    model_config_destroy(&config);
}

static void test_cancelled(void **state) {
    static const unsigned sizes[] = {2};
    struct model_config *config = config_new(32, 3, "b");
    struct profile *profile = allocate(1, sizeof *profile);
    (void)state;
    for (unsigned most = 1; most < 40; most++) { /* while loading and while measuring both runs */
        struct patience patience = {0, most};
        struct error error = {0};
        struct profile_settings settings = settings_for(config, sizes, 1);
        settings.go_on = patient;
        settings.context = &patience;
        if (profile_measure(&settings, profile, &error))
            assert_true(most > patience.asked);
        else
            assert_non_null(strstr(error.text, "cancelled"));
    }
    release(profile);
    model_config_destroy(&config);
}

static void test_no_memory(void **state) {
    static const unsigned sizes[] = {2};
    struct model_config *config = config_new(32, 3, "b");
    struct profile *profile = allocate(1, sizeof *profile);
    const struct profile_settings settings = settings_for(config, sizes, 1);
    unsigned failed = 0;
    (void)state;
    for (unsigned nth = 1; nth < 90; nth++) {
        struct error error = {0};
        allocate_fail_nth(nth);
        if (!profile_measure(&settings, profile, &error)) {
            assert_non_null(strstr(error.text, "no memory"));
            failed++;
        }
        allocate_fail_nth(0);
    }
    assert_true(failed > 30);
    release(profile);
    model_config_destroy(&config);
}

static struct heap { size_t before, most; } heap;

/* Bytes that malloc has given out. */
static size_t heap_used(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

static void watch_heap(void) {
    size_t used = heap_used();
    if (used > heap.before + heap.most)
        heap.most = used - heap.before;
}

static bool watch_between_runs(void *context) {
    (void)context;
    watch_heap();
    return true;
}

/* While the tensor is held. */
static void watch_and_pack(struct matrix *matrix, size_t first, size_t rows, const void *data, enum element element) {
    watch_heap();
    fastest()->matrix_pack(matrix, first, rows, data, element);
}

/* Within this limit, it either says that it has no room or keeps to it. False: no room. */
static bool keeps_to(size_t limit, const struct model_config *config, const struct kernels *watched, unsigned items) {
    const size_t slack = 64 << 10; /* of malloc, and for the times of the runs */
    const unsigned sizes[] = {1, items};
    struct error error = {0};
    struct profile *profile = allocate(1, sizeof *profile);
    struct profile_settings settings = settings_for(config, sizes, 2);
    heap = (struct heap){.before = heap_used()};
    settings.kernels = watched;
    settings.memory_bytes = limit;
    settings.go_on = watch_between_runs;
    bool ok = profile_measure(&settings, profile, &error);
    if (!ok)
        assert_non_null(strstr(error.text, "MiB are available"));
    if (heap.most > limit + slack)
        fail_msg("%zu bytes where %zu were allowed", heap.most, limit);
    release(profile);
    return ok;
}

static void test_no_more_memory_than_it_may_take(void **state) {
    static const unsigned items[] = {2, 128}; /* weights are the most, or what is computed */
    struct model_config *config = config_new(256, 6, "b");
    struct kernels watched = *fastest();
    watched.matrix_pack = watch_and_pack;
    (void)state;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        unsigned refused = 0, kept = 0;
        for (size_t limit = 1 << 19; limit < (size_t)32 << 20; limit += limit / 16)
            if (keeps_to(limit, config, &watched, items[i]))
                kept++;
            else
                refused++;
        assert_true(refused > 0 && kept > 0);
    }
    model_config_destroy(&config);
}

static bool interrupted(void *context) {
    usleep(5000);
    return patient(context);
}

/* A processor that is away for most of the time makes a profile take longer, not worse; up to a limit. */
static void test_a_budget_of_processor_time(void **state) {
    static const unsigned sizes[] = {1};
    struct model_config *config = config_new(32, 3, "b");
    struct profile *profile = allocate(1, sizeof *profile);
    struct error error = {0};
    unsigned asked[2];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct patience patience = {0, 0};
        struct profile_settings settings = settings_for(config, sizes, 1);
        settings.budget_s = 0.2;
        settings.stretch = i ? 10 : 0;
        settings.go_on = interrupted;
        settings.context = &patience;
        assert_true(profile_measure(&settings, profile, &error));
        asked[i] = patience.asked;
    }
    if (asked[1] < 2 * asked[0])
        fail_msg("%u and %u passes", asked[0], asked[1]);
    release(profile);
    model_config_destroy(&config);
}

static void test_sizes_refused(void **state) {
    static const unsigned cases[][2] = {{0, 1}, {2, 2}, {4, 1}, {1, 4097}};
    struct model_config *config = config_new(32, 3, "b");
    struct profile *profile = allocate(1, sizeof *profile);
    struct error error = {0};
    (void)state;
    struct profile_settings settings = settings_for(config, cases[0], 0);
    assert_false(profile_measure(&settings, profile, &error));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        settings = settings_for(config, cases[i], 2);
        assert_false(profile_measure(&settings, profile, &error));
    }
    assert_int_equal(error.code, ERROR_USAGE);
    release(profile);
    model_config_destroy(&config);
}

/* ---- JSON ---- */

static void test_json_reads_back(void **state) {
    struct model_config *config = config_new(32, 3, "b");
    struct profile *profile = measured(config, 1, 0), *again = allocate(1, sizeof *again);
    struct error error = {0};
    (void)state;
    profile->memory_bytes = UINT64_C(123456789012345);
    profile->storage_bytes_per_second = 1e8 / 3;
    profile->handling_bytes_per_second = 1e9 / 7;
    char *text = profile_to_json(profile);
    assert_null(strchr(text, '\n'));
    if (!profile_from_json(text, strlen(text), "p.json", again, &error))
        fail_msg("%s", error.text);
    assert_true(same_profile(profile, again));
    release(text);
    release(again);
    release(profile);
    model_config_destroy(&config);
}

static void test_old_profile(void **state) {
    struct profile *profile = allocate(1, sizeof *profile);
    struct error error = {0};
    void *contents;
    size_t size;
    (void)state;
    assert_true(file_read("test/data/fleet/profile.json", 10000, &contents, &size, &error));
    assert_true(profile_from_json(contents, size, "p.json", profile, &error));
    assert_string_equal(profile->fingerprint, "");
    assert_true(profile->units == 6 && profile->sizes == 2 && profile->times[1].unit_s[5] == 0.0011);
    release(contents);
    release(profile);
}

#define SIZES(entries) "{\"units\": 2, \"microbatches\": [" entries "]}"
#define SIZE(number)   "{\"microbatch\": " number ", \"unit_s\": [1, 2]}"

static void test_json_refused(void **state) {
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "p.json: "},
        {"[]", "p.json: got an array"},
        {"{}", "units"},
        {"{\"units\": 2}", "microbatches"},
        {"{\"units\": 0, \"microbatches\": []}", "units: got 0, want an integer from 1 to 1024"},
        {"{\"units\": 1e9, \"microbatches\": []}", "units: got"},
        {SIZES(""), "want times of 1 to 8 microbatches"},
        {SIZES(SIZE("1") ", " SIZE("1")), "each microbatch once, ascending"},
        {SIZES(SIZE("8") ", " SIZE("1")), "each microbatch once, ascending"},
        {SIZES(SIZE("1") "," SIZE("2") "," SIZE("3") "," SIZE("4") "," SIZE("5") "," SIZE("6") "," SIZE("7") "," SIZE(
             "8") "," SIZE("9")),
         "want times of 1 to 8"},
        {SIZES(SIZE("0")), "microbatches[0].microbatch: got 0"},
        {SIZES(SIZE("4097")), "microbatch: got 4097"},
        {SIZES("7"), "microbatches[0]"},
        {SIZES("{\"microbatch\": 1, \"unit_s\": [1]}"), "want 2 times, one for each unit"},
        {SIZES("{\"microbatch\": 1, \"unit_s\": [1, 0]}"), "unit_s[1]: got 0"},
        {SIZES("{\"microbatch\": 1, \"unit_s\": [1, -1]}"), "unit_s[1]: got -1"},
        {SIZES("{\"microbatch\": 1, \"unit_s\": [1, 1e300]}"), "unit_s[1]: got"},
        {SIZES("{\"microbatch\": 1, \"unit_s\": [1, \"a\"]}"), "unit_s[1]: got"},
        {SIZES("{\"microbatch\": 1, \"spread\": -1, \"unit_s\": [1, 1]}"), "spread: got -1"},
        {"{\"fingerprint\": \"abc\"}", "fingerprint: got \"abc\", want 32 hexadecimal digits"},
        {"{\"fingerprint\": \"0123456789abcdef0123456789abcdeg\"}", "want 32 hexadecimal digits"},
        {"{\"fingerprint\": \"0123456789abcdef0123456789abcdef0\"}", "fingerprint: got"},
        {"{\"kernels\": \"a name that no kernel set has\"}", "kernels: got"},
        {"{\"threads\": 0}", "threads: got 0"},
        {"{\"units\": 2, \"memory_bytes\": -1}", "memory_bytes: got -1"},
        {"{\"units\": 2, \"storage_bytes_per_second\": -1}", "storage_bytes_per_second: got -1"},
        {"{\"units\": 2, \"handling_bytes_per_second\": -1}", "handling_bytes_per_second: got -1"},
        {"{\"units\": 2, \"handling_bytes_per_second\": 1e-303}", "want 0 or at least 1"},
    };
    struct profile *profile = allocate(1, sizeof *profile);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error = {0};
        assert_false(profile_from_json(cases[i].text, strlen(cases[i].text), "p.json", profile, &error));
        if (!strstr(error.text, cases[i].expected))
            fail_msg("%s: got '%s', want '%s'", cases[i].text, error.text, cases[i].expected);
        assert_null(strchr(error.text, '\n'));
    }
    release(profile);
}

/* ---- in fleets ---- */

struct place {
    char folder[64], profile[100], other[100], fleet[100];
};

static void place_open(struct place *place) {
    snprintf(place->folder, sizeof place->folder, "/tmp/stagecoach-profile.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->profile, sizeof place->profile, "%s/one.json", place->folder);
    snprintf(place->other, sizeof place->other, "%s/two.json", place->folder);
    snprintf(place->fleet, sizeof place->fleet, "%s/fleet.yaml", place->folder);
}

static void place_close(const struct place *place) {
    unlink(place->profile);
    unlink(place->other);
    unlink(place->fleet);
    assert_int_equal(rmdir(place->folder), 0);
}

static void write_text(const char *path, const char *text) {
    assert_true(file_write_atomic(path, text, strlen(text), NULL));
}

static void write_profile(const char *path, const struct model_config *config) {
    struct profile *profile = measured(config, 1, 0);
    profile->memory_bytes = (uint64_t)1 << 30;
    profile->storage_bytes_per_second = 8e7;
    char *text = profile_to_json(profile);
    write_text(path, text);
    release(text);
    release(profile);
}

/* Who says what a board handles means it, and its times as they are. */
static void check_own_handling(const struct place *place) {
    static const char text[] = "boards: [{name: pi, profile: one.json, handling: 3MB/s}]\n";
    struct error error;
    struct fleet_file *file = fleet_file_parse(text, sizeof text - 1, place->fleet, NULL, &error);
    if (!file)
        fail_msg("%s", error.text);
    assert_true(file->board[0].handling == 3e6 && file->board[0].noise == 0);
    fleet_file_destroy(&file);
}

/* A fleet file that refers to its profile plans the model that was measured and no other. */
static void test_fleet_refers(void **state) {
    struct model_config *config = config_new(32, 3, "b"), *wider = config_new(64, 3, "b");
    struct profile *profile = measured(config, 1, 0);
    struct place place;
    struct fleet_problem made;
    struct error error = {0};
    (void)state;
    place_open(&place);
    profile->memory_bytes = (uint64_t)1 << 30;
    profile->storage_bytes_per_second = 8e7;
    profile->handling_bytes_per_second = 1e9 / 7;
    char *text = profile_to_json(profile);
    write_text(place.profile, text);
    struct fleet_file *file = fleet_of_profile(profile, "pi", place.profile, place.fleet);
    assert_string_equal(file->board[0].profile, "one.json");
    assert_true(fleet_write(file, "two\nlines", place.fleet, &error));
    fleet_file_destroy(&file);
    file = fleet_file_read(place.fleet, &(struct fleet_model){"ViTForImageClassification", UNITS, NULL}, &error);
    if (!file)
        fail_msg("%s", error.text);
    assert_string_equal(file->fingerprint, profile->fingerprint);
    assert_string_equal(file->board[0].name, "pi");
    assert_true(file->board[0].handling == 1e9 / 7 && file->board[0].noise > 0); /* the profile's, and to be pooled */
    assert_true(file->board[0].storage == 8e7 && file->board[0].memory_bytes == (uint64_t)1 << 30);
    assert_true(fleet_board_seconds(&file->board[0], 3)[2] == profile->times[1].unit_s[2]);
    assert_true(fleet_problem_fill(&made, file, config, 3, &error));
    assert_string_equal(made.problem.unit_names[1], "block 0.1");
    fleet_problem_close(&made);
    check_own_handling(&place);
    char fingerprint[33];
    profile_fingerprint(wider, fingerprint);
    assert_null(fleet_file_read(place.fleet, &(struct fleet_model){NULL, UNITS, fingerprint}, &error));
    assert_non_null(strstr(error.text, "fingerprint: these are another model"));
    assert_non_null(strstr(error.text, place.fleet));
    assert_false(fleet_problem_fill(&made, file, wider, 3, &error));
    assert_non_null(strstr(error.text, "another model's profile"));
    assert_int_equal(error.code, ERROR_USAGE);
    fleet_problem_close(&made);
    fleet_file_destroy(&file);
    release(text);
    release(profile);
    place_close(&place);
    model_config_destroy(&config);
    model_config_destroy(&wider);
}

static void test_profiles_of_two_models(void **state) {
    struct model_config *config = config_new(32, 3, "b"), *wider = config_new(64, 3, "b");
    struct place place;
    struct error error = {0};
    (void)state;
    place_open(&place);
    write_profile(place.profile, config);
    write_profile(place.other, wider);
    write_text(place.fleet, "boards:\n  - {name: a, profile: one.json}\n  - {name: b, profile: two.json}\n");
    assert_null(fleet_file_read(place.fleet, NULL, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "fleet.yaml:3:"));
    assert_non_null(strstr(error.text, "another model's profile"));
    place_close(&place);
    model_config_destroy(&config);
    model_config_destroy(&wider);
}

static void test_reference(void **state) {
    struct profile *profile = allocate(1, sizeof *profile);
    char here[4096];
    (void)state;
    profile->units = 1;
    struct fleet_file *file = fleet_of_profile(profile, "a", "p.json", "fleet.yaml");
    assert_string_equal(file->board[0].profile, "p.json");
    fleet_file_destroy(&file);
    assert_non_null(realpath("configs/fleet.yaml", here));
    file = fleet_of_profile(profile, "a", "configs/fleet.yaml", "fleet.yaml");
    assert_string_equal(file->board[0].profile, here);
    fleet_file_destroy(&file);
    file = fleet_of_profile(profile, "a", NULL, "fleet.yaml");
    assert_null(file->board[0].profile);
    fleet_file_destroy(&file);
    release(profile);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_fingerprint_stays),
        cmocka_unit_test(test_measure),
        cmocka_unit_test(test_no_time),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_more_memory_than_it_may_take),
        cmocka_unit_test(test_a_budget_of_processor_time),
        cmocka_unit_test(test_sizes_refused),
        cmocka_unit_test(test_json_reads_back),
        cmocka_unit_test(test_old_profile),
        cmocka_unit_test(test_json_refused),
        cmocka_unit_test(test_fleet_refers),
        cmocka_unit_test(test_profiles_of_two_models),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
