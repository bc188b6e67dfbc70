/* Slices: any chain of slices gives the bits of the whole model, an item's bits do not depend on its microbatch,
 * nothing is allocated while computing, slices that share units hold one copy of them, and loading fails cleanly
 * wherever it is made to fail. */
#include "base/allocate.h"
#include "base/mono.h"
#include "model/model.h"
#include "test/model/fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define ITEMS_MOST 5
#define CHAINS     20

#define SHAPE(architecture, more)                                                                                      \
    "{\"architectures\": [\"" architecture "\"], \"hidden_size\": 20, \"num_attention_heads\": 2, "                    \
    "\"intermediate_size\": 36, \"image_size\": 24, \"patch_size\": 8" more "}"

static const char *const configs[] = {
    SHAPE("ViTForImageClassification", ", \"num_hidden_layers\": 2, \"num_labels\": 7"),
    SHAPE("ViTForImageClassification", ", \"num_hidden_layers\": 1, \"qkv_bias\": false, \"hidden_act\": \"gelu_new\""),
    SHAPE("ViTModel", ", \"num_hidden_layers\": 3, \"pooler_output_size\": 11"),
    SHAPE("ViTModel", ", \"num_hidden_layers\": 2, \"stagecoach_optional_weights\": false, \"hidden_act\": \"relu\""),
    SHAPE("DeiTForImageClassification", ", \"num_hidden_layers\": 2, \"num_labels\": 1"),
    SHAPE("DeiTForImageClassificationWithTeacher", ", \"num_hidden_layers\": 2, \"num_labels\": 5"),
    SHAPE("DeiTModel", ", \"num_hidden_layers\": 1"),
};

#define CONFIGS (sizeof configs / sizeof *configs)

/* A payload of some items, at an address that is aligned to 4 bytes and to nothing more. */
struct parcel {
    void *memory[MODEL_PAYLOAD_PARTS];
    void *part[MODEL_PAYLOAD_PARTS];
    size_t bytes[MODEL_PAYLOAD_PARTS];
};

static struct parcel parcel_new(const struct model_config *config, unsigned cut, unsigned items) {
    struct parcel parcel = {0};
    struct payload payload;
    model_cut(config, cut, &payload);
    for (unsigned p = 0; p < payload.parts; p++) {
        parcel.bytes[p] = items * payload_part_bytes(&payload.part[p]);
        parcel.memory[p] = allocate(parcel.bytes[p] + 4, 1);
        parcel.part[p] = (char *)parcel.memory[p] + 4;
    }
    return parcel;
}

static void parcel_release(struct parcel *parcel) {
    for (unsigned p = 0; p < MODEL_PAYLOAD_PARTS; p++)
        release(parcel->memory[p]);
}

static struct parcel pixels_new(const struct model_config *config, unsigned items, uint64_t seed) {
    struct parcel parcel = parcel_new(config, 0, items);
    struct dice dice = {seed};
    uint8_t *bytes = parcel.part[0];
    for (size_t i = 0; i < parcel.bytes[0]; i++)
        bytes[i] = (uint8_t)dice_roll(&dice, 256);
    return parcel;
}

/* One model on one kernel set, with a slice loaded for whatever range is asked. */
struct bench {
    struct model_config *config;
    const struct kernels *kernels;
    struct pool *pool;
    unsigned threads;
};

static struct slice_model *load(const struct bench *bench, struct slice slice) {
    struct error error = {0};
    struct random_weights weights = {.config = bench->config};
    struct tensor_source source = random_source(&weights);
    struct slice_model *loaded = slice_load(bench->config, slice, &source, bench->kernels, NULL, NULL, &error);
    if (!loaded)
        fail_msg("%s", error.text);
    assert_int_equal(weights.finds, weights.releases);
    return loaded;
}

/* Consumes `in`. The workspace is for more items than there are, as a stage's is for a last, smaller microbatch. */
static struct parcel run_loaded(const struct bench *bench, const struct slice_model *loaded, struct slice slice,
                                unsigned items, struct parcel in) {
    struct error error = {0};
    struct workspace *workspace = workspace_new(loaded, ITEMS_MOST, bench->threads, &error);
    struct parcel out = parcel_new(bench->config, slice.end, items);
    assert_non_null(workspace);
    uint64_t allocations = allocation_count();
    slice_forward(loaded, workspace, bench->pool, items, in.part, out.part);
    assert_int_equal(allocation_count(), allocations);
    workspace_destroy(&workspace);
    parcel_release(&in);
    return out;
}

static struct parcel run(const struct bench *bench, struct slice slice, unsigned items, struct parcel in) {
    struct slice_model *loaded = load(bench, slice);
    struct parcel out = run_loaded(bench, loaded, slice, items, in);
    slice_unload(&loaded);
    return out;
}

static struct slice whole(const struct bench *bench) {
    return (struct slice){0, model_units(bench->config)};
}

static void for_each_bench(void (*check)(const struct bench *bench, uint64_t seed)) {
    bool usable;
    for (size_t c = 0; c < CONFIGS; c++)
        for (size_t k = 0; kernels_at(k, &usable); k++) {
            struct bench bench = {.config = config_new(configs[c]), .threads = 1 + (unsigned)(c + k) % 3};
            bench.kernels = kernels_at(k, &usable);
            bench.pool = pool_new(bench.threads, NULL);
            if (usable)
                check(&bench, 1000 * c + k);
            pool_destroy(&bench.pool);
            model_config_destroy(&bench.config);
        }
}

/* ---- chains ---- */

static void assert_same(const struct parcel *got, const struct parcel *want, const struct bench *bench, uint64_t seed,
                        unsigned items) {
    if (memcmp(got->part[0], want->part[0], want->bytes[0]) != 0)
        fail_msg("%s, %s, seed %llu, %u items: other bits than in one slice", model_architecture(bench->config),
                 bench->kernels->name, (unsigned long long)seed, items);
}

static void check_chain(const struct bench *bench, uint64_t seed, unsigned items, unsigned one_in) {
    struct dice dice = {seed};
    struct parcel want = run(bench, whole(bench), items, pixels_new(bench->config, items, seed));
    struct parcel at = pixels_new(bench->config, items, seed);
    unsigned first = 0, units = model_units(bench->config);
    for (unsigned end = 1; end <= units; end++)
        if (end == units || dice_roll(&dice, one_in) == 0) {
            at = run(bench, (struct slice){first, end}, items, at);
            first = end;
        }
    assert_same(&at, &want, bench, seed, items);
    parcel_release(&at);
    parcel_release(&want);
}

static void check_chains(const struct bench *bench, uint64_t seed) {
    for (unsigned items = 1; items <= ITEMS_MOST; items++)
        check_chain(bench, seed, items, 1); /* every unit alone */
    for (unsigned chain = 0; chain < CHAINS; chain++)
        check_chain(bench, seed + 17 * chain, 1 + chain % ITEMS_MOST, 2 + chain % 4);
}

static void test_chains(void **state) {
    (void)state;
    for_each_bench(check_chains);
}

/* One cut at every place: two slices. */
static void check_cuts(const struct bench *bench, uint64_t seed) {
    struct parcel want = run(bench, whole(bench), 2, pixels_new(bench->config, 2, seed));
    for (unsigned cut = 1; cut < model_units(bench->config); cut++) {
        struct parcel at = run(bench, (struct slice){0, cut}, 2, pixels_new(bench->config, 2, seed));
        at = run(bench, (struct slice){cut, model_units(bench->config)}, 2, at);
        assert_same(&at, &want, bench, cut, 2);
        parcel_release(&at);
    }
    parcel_release(&want);
}

static void test_every_cut(void **state) {
    (void)state;
    for_each_bench(check_cuts);
}

/* openblas for one promises equal bits for equal numbers of rows only. */
static void check_composition(const struct bench *bench, uint64_t seed) {
    if (!bench->kernels->rows_independent)
        return;
    struct parcel together = run(bench, whole(bench), ITEMS_MOST, pixels_new(bench->config, ITEMS_MOST, seed));
    for (unsigned item = 0; item < ITEMS_MOST; item++) {
        struct parcel all = pixels_new(bench->config, ITEMS_MOST, seed), one = parcel_new(bench->config, 0, 1);
        memcpy(one.part[0], (char *)all.part[0] + item * one.bytes[0], one.bytes[0]);
        struct parcel alone = run(bench, whole(bench), 1, one);
        assert_memory_equal((char *)together.part[0] + item * alone.bytes[0], alone.part[0], alone.bytes[0]);
        parcel_release(&alone);
        parcel_release(&all);
    }
    parcel_release(&together);
}

static void test_composition(void **state) {
    (void)state;
    for_each_bench(check_composition);
}

/* ---- cuts and costs ---- */

static void assert_part(const struct model_config *config, unsigned cut, unsigned p, uint32_t rows, uint32_t columns) {
    struct payload payload;
    model_cut(config, cut, &payload);
    assert_true(p < payload.parts);
    assert_int_equal(payload.part[p].type, PAYLOAD_F32);
    assert_int_equal(payload.part[p].rank, 2);
    assert_int_equal(payload.part[p].shape[0], rows);
    assert_int_equal(payload.part[p].shape[1], columns);
}

static void test_last_block_is_short(void **state) {
    (void)state;
    struct model_config *config = config_new(configs[5]); /* 9 patches and two tokens, both read by the head */
    struct payload payload;
    char name[40];
    assert_int_equal(model_units(config), 14);
    assert_string_equal(model_unit_name(config, 7, name), "block 1.1 attention");
    assert_string_equal(model_unit_name(config, 9, name), "block 1.3 MLP 1/4");
    assert_string_equal(model_unit_name(config, 12, name), "block 1.6 MLP 4/4");
    assert_part(config, 2, 0, 11, 20);
    assert_part(config, 2, 1, 11, 20);
    for (unsigned cut = 1; cut <= 12; cut++) {
        bool late = cut > 7, two = cut == 2 || cut == 8;
        model_cut(config, cut, &payload);
        assert_int_equal(payload.parts, two ? 2 : 1);
        assert_part(config, cut, payload.parts - 1, late ? 2 : 11, 20);
    }
    assert_part(config, 8, 0, 2, 20);
    assert_part(config, 13, 0, 2, 20);
    model_cut(config, 14, &payload);
    assert_int_equal(payload_bytes(&payload), 5 * sizeof(float));
    model_cut(config, 0, &payload);
    assert_int_equal(payload_bytes(&payload), 24 * 24 * 3);
    assert_true(model_unit_flops(config, 9) * 11 == model_unit_flops(config, 3) * 2);
    assert_true(model_unit_flops(config, 3) * 4 == 2 * 2 * 11 * 20 * 36);
    assert_true(model_unit_flops(config, 7) < model_unit_flops(config, 1));
    assert_int_equal(model_unit_weight_bytes(config, 7), model_unit_weight_bytes(config, 1));
    model_config_destroy(&config);
}

static bool count_tensor(void *context, const struct tensor *tensor) {
    unsigned *count = context;
    (void)tensor;
    ++*count;
    return true;
}

static unsigned tensors_of(const struct model_config *config, unsigned first, unsigned end) {
    unsigned count = 0;
    model_tensors(config, (struct slice){first, end}, count_tensor, &count);
    return count;
}

/* The parts of an MLP are each for itself in time, and one in memory. */
static void test_parts_of_an_mlp(void **state) {
    (void)state;
    struct model_config *config = config_new(configs[5]);
    for (unsigned unit = 0; unit < 14; unit++) {
        struct slice same = model_same_weights(config, unit);
        bool in_mlp = (unit >= 3 && unit <= 6) || (unit >= 9 && unit <= 12);
        assert_int_equal(same.first, in_mlp ? (unit < 7 ? 3 : 9) : unit);
        assert_int_equal(same.end, in_mlp ? (unit < 7 ? 7 : 13) : unit + 1);
        assert_int_equal(model_weight_bytes(config, (struct slice){unit, unit + 1}),
                         model_unit_weight_bytes(config, unit));
    }
    assert_int_equal(model_find_weights(config, (struct slice){5, 9}, 3), 5);
    assert_int_equal(model_find_weights(config, (struct slice){1, 5}, 6), 3);
    assert_int_equal(model_find_weights(config, (struct slice){1, 5}, 9), 5); /* not there */
    assert_int_equal(model_find_weights(config, (struct slice){7, 9}, 6), 9);
    size_t attention = model_unit_weight_bytes(config, 7), mlp = model_unit_weight_bytes(config, 4);
    assert_int_equal(mlp, (2 * 20 + 2 * 20 * 36 + 36 + 20) * sizeof(float));
    assert_int_equal(model_weight_bytes(config, (struct slice){4, 6}), mlp);
    assert_int_equal(model_weight_bytes(config, (struct slice){5, 10}),
                     mlp + attention + model_unit_weight_bytes(config, 8) + mlp);
    assert_int_equal(tensors_of(config, 4, 5), 6);
    assert_int_equal(tensors_of(config, 4, 7), 6);
    assert_int_equal(tensors_of(config, 6, 10), 6 + 8 + 2 + 6);
    model_config_destroy(&config);
}

/* The workspace is what the formula says: a stage's memory is planned before it is allocated. */
static void check_weights(const struct bench *bench, uint64_t seed) {
    (void)seed;
    size_t planned = model_weight_bytes(bench->config, whole(bench));
    struct slice_model *loaded = load(bench, whole(bench));
    assert_true(slice_weight_bytes(loaded) >= planned); /* kernels pad */
    if (strcmp(bench->kernels->name, "ref") == 0)
        assert_int_equal(slice_weight_bytes(loaded), planned);
    slice_unload(&loaded);
    size_t small = model_workspace_bytes(bench->config, whole(bench), 1, bench->kernels, bench->threads);
    size_t large = model_workspace_bytes(bench->config, whole(bench), 9, bench->kernels, bench->threads);
    assert_true(small > 0 && small <= large);
}

static void test_weights_and_workspace(void **state) {
    (void)state;
    for_each_bench(check_weights);
}

/* Plans add up what the parts of an MLP need: no less than what those of them take that are computed together, with
 * however many threads and whatever that makes of the kernels' scratch. */
static void check_planned_workspace(const struct model_config *config, const struct kernels *kernels, unsigned threads,
                                    unsigned items) {
    for (unsigned first = 3; first < 7; first++) {
        size_t planned = 0;
        for (unsigned end = first + 1; end <= 7; end++) {
            planned += model_unit_workspace_bytes(config, end - 1, items, kernels, threads);
            size_t taken = model_workspace_bytes(config, (struct slice){first, end}, items, kernels, threads);
            if (planned < taken)
                fail_msg("%s, %u threads, %u items, units [%u, %u): planned %zu bytes, taken %zu", kernels->name,
                         threads, items, first, end, planned, taken);
        }
    }
}

static void test_planned_workspace(void **state) {
    (void)state;
    bool usable;
    struct model_config *config =
        config_new("{\"architectures\": [\"ViTForImageClassification\"], \"hidden_size\": 192,"
                   " \"num_attention_heads\": 3, \"intermediate_size\": 768, \"num_hidden_layers\": 2}");
    for (size_t i = 0; kernels_at(i, &usable); i++)
        for (unsigned threads = 1; usable && threads <= 16; threads++)
            for (unsigned items = 1; items <= 8; items *= 2)
                check_planned_workspace(config, kernels_at(i, &usable), threads, items);
    model_config_destroy(&config);
}

static void test_timed(void **state) {
    (void)state;
    double seconds[16];
    struct bench bench = {.config = config_new(configs[0]), .kernels = kernels_get("ref", NULL), .threads = 1};
    struct slice_model *loaded = load(&bench, whole(&bench));
    struct workspace *workspace = workspace_new(loaded, 1, 1, NULL);
    struct parcel in = pixels_new(bench.config, 1, 1), out = parcel_new(bench.config, model_units(bench.config), 1);
    struct parcel same = pixels_new(bench.config, 1, 1), again = parcel_new(bench.config, model_units(bench.config), 1);
    slice_forward_timed(loaded, workspace, NULL, 1, in.part, out.part, mono_seconds, seconds, false);
    for (unsigned unit = 0; unit < model_units(bench.config); unit++)
        assert_true(seconds[unit] > 0 && seconds[unit] < 60);
    assert_true(seconds[3] == seconds[4] && seconds[4] == seconds[5] && seconds[5] == seconds[6]); /* one step */
    slice_forward_timed(loaded, workspace, NULL, 1, same.part, again.part, mono_seconds, seconds, true);
    assert_memory_equal(again.part[0], out.part[0], out.bytes[0]);
    assert_false(seconds[3] == seconds[4] && seconds[4] == seconds[5] && seconds[5] == seconds[6]);
    parcel_release(&in);
    parcel_release(&out);
    parcel_release(&same);
    parcel_release(&again);
    workspace_destroy(&workspace);
    slice_unload(&loaded);
    model_config_destroy(&bench.config);
}

/* ---- shared units ---- */

/* The slice with the units [shared.first, shared.end) taken from another. */
static struct slice_model *load_sharing(const struct bench *bench, struct slice slice, const struct slice_model *from,
                                        struct slice shared) {
    struct error error = {0};
    struct random_weights weights = {.config = bench->config};
    struct tensor_source source = random_source(&weights);
    struct slice_model *loaded = slice_new(bench->config, slice, bench->kernels, &error);
    assert_non_null(loaded);
    for (unsigned unit = shared.first; unit < shared.end; unit++)
        slice_share(loaded, from, unit);
    if (!slice_pack(loaded, &source, NULL, NULL, &error))
        fail_msg("%s", error.text);
    assert_int_equal(weights.finds, weights.releases);
    if (shared.first == slice.first && shared.end == slice.end)
        assert_int_equal(weights.finds, 0);
    return loaded;
}

/* Whichever goes first, the other computes the same bits, and in the end nothing is left. */
static void check_unload_order(const struct bench *bench, uint64_t seed, struct slice early, struct slice shared,
                               struct slice late, bool first_goes_first) {
    uint64_t nothing = allocation_bytes();
    struct slice_model *first = load(bench, early);
    uint64_t alone = allocation_bytes();
    struct slice_model *second = load_sharing(bench, late, first, shared);
    assert_true(allocation_bytes() - alone < slice_weight_bytes(second));
    slice_unload(first_goes_first ? &first : &second);
    struct slice rest = first_goes_first ? late : early;
    struct parcel in = parcel_new(bench->config, rest.first, 2), same = parcel_new(bench->config, rest.first, 2);
    struct dice dice = {seed};
    for (unsigned p = 0; p < MODEL_PAYLOAD_PARTS; p++)
        for (size_t i = 0; i < in.bytes[p] / sizeof(float); i++)
            ((float *)same.part[p])[i] = ((float *)in.part[p])[i] = rest.first ? dice_float(&dice) : 0;
    struct parcel want = run(bench, rest, 2, same);
    struct parcel got = run_loaded(bench, first_goes_first ? second : first, rest, 2, in);
    for (unsigned p = 0; p < MODEL_PAYLOAD_PARTS; p++)
        if (want.bytes[p])
            assert_memory_equal(got.part[p], want.part[p], want.bytes[p]);
    parcel_release(&got);
    parcel_release(&want);
    slice_unload(first_goes_first ? &second : &first);
    assert_int_equal(allocation_bytes(), nothing);
}

static void check_sharing(const struct bench *bench, uint64_t seed) {
    unsigned units = model_units(bench->config);
    for (unsigned first_goes_first = 0; first_goes_first < 2; first_goes_first++) {
        check_unload_order(bench, seed, (struct slice){0, units - 1}, (struct slice){2, units - 1},
                           (struct slice){1, units}, first_goes_first);
        /* the first slice has the first part of an MLP, the second the others */
        check_unload_order(bench, seed, (struct slice){0, 4}, (struct slice){4, 7}, (struct slice){4, units},
                           first_goes_first);
    }
}

static void test_shared_units(void **state) {
    (void)state;
    for_each_bench(check_sharing);
}

static void test_bytes_of_shared_units(void **state) {
    (void)state;
    struct bench bench = {.config = config_new(configs[0]), .kernels = kernels_get("ref", NULL), .threads = 1};
    struct slice_model *first = load(&bench, (struct slice){0, 4}), *tail = load(&bench, (struct slice){2, 4});
    size_t bytes = slice_weight_bytes(first), common = slice_weight_bytes(tail);
    assert_int_equal(slice_weight_bytes_alone(first), bytes);
    struct slice_model *second = load_sharing(&bench, (struct slice){2, 6}, first, (struct slice){2, 4});
    assert_int_equal(slice_weight_bytes(first), bytes);
    assert_int_equal(slice_weight_bytes_alone(first), bytes - common);
    assert_int_equal(slice_weight_bytes_alone(second), slice_weight_bytes(second) - common);
    struct slice_model *third = load_sharing(&bench, (struct slice){2, 4}, second, (struct slice){2, 4});
    assert_int_equal(slice_weight_bytes(third), common);
    assert_int_equal(slice_weight_bytes_alone(third), 0);
    slice_unload(&second);
    slice_unload(&first);
    assert_int_equal(slice_weight_bytes_alone(third), common);
    slice_unload(&third);
    slice_unload(&tail);
    model_config_destroy(&bench.config);
}

/* A slice that has one part of an MLP lends its weights to one that has others, and a slice with several holds them
 * once.
 */
static void test_bytes_of_shared_parts(void **state) {
    (void)state;
    struct bench bench = {.config = config_new(configs[0]), .kernels = kernels_get("ref", NULL), .threads = 1};
    uint64_t before = allocation_bytes();
    struct slice_model *one = load(&bench, (struct slice){3, 4}), *all = load(&bench, (struct slice){3, 7});
    size_t mlp = slice_weight_bytes(one);
    assert_int_equal(slice_weight_bytes(all), mlp);
    assert_int_equal(slice_weight_bytes_alone(all), mlp);
    slice_unload(&all);
    struct slice_model *rest = load_sharing(&bench, (struct slice){4, 7}, one, (struct slice){4, 7});
    assert_int_equal(slice_weight_bytes(rest), mlp);
    assert_int_equal(slice_weight_bytes_alone(rest), 0);
    struct slice_model *late = load_sharing(&bench, (struct slice){5, 9}, rest, (struct slice){6, 7});
    assert_int_equal(slice_weight_bytes(late) - slice_weight_bytes_alone(late), mlp);
    slice_unload(&one);
    slice_unload(&late);
    assert_int_equal(slice_weight_bytes_alone(rest), mlp);
    slice_unload(&rest);
    assert_int_equal(allocation_bytes(), before);
    model_config_destroy(&bench.config);
}

static void *unload(void *context) {
    slice_unload(context);
    return NULL;
}

/* Two threads let go at the same time, one of them after it has computed. */
static void test_unloading_in_two_threads(void **state) {
    (void)state;
    struct bench bench = {.config = config_new(configs[0]), .kernels = kernels_get("ref", NULL), .threads = 1};
    struct slice all = whole(&bench);
    uint64_t before = allocation_bytes();
    for (unsigned round = 0; round < 50; round++) {
        pthread_t thread;
        struct slice_model *first = load(&bench, all), *second = load_sharing(&bench, all, first, all);
        assert_int_equal(pthread_create(&thread, NULL, unload, &first), 0);
        struct parcel out = run_loaded(&bench, second, all, 1, pixels_new(bench.config, 1, round));
        slice_unload(&second);
        assert_int_equal(pthread_join(thread, NULL), 0);
        parcel_release(&out);
        assert_int_equal(allocation_bytes(), before);
    }
    model_config_destroy(&bench.config);
}

/* ---- failures ---- */

static struct slice_model *load_from(struct random_weights *weights, struct slice slice, struct error *error) {
    struct tensor_source source = random_source(weights);
    return slice_load(weights->config, slice, &source, kernels_get("ref", NULL), NULL, NULL, error);
}

static void test_allocation_failures(void **state) {
    (void)state;
    struct model_config *config = config_new(configs[5]);
    struct error error = {0};
    uint64_t nth = 0;
    struct slice_model *loaded = NULL;
    while (!loaded) {
        struct random_weights weights = {.config = config};
        allocate_fail_nth(++nth);
        loaded = load_from(&weights, (struct slice){0, 14}, &error);
        allocate_fail_nth(0);
        if (!loaded)
            assert_error(&error, "no memory for");
        release(weights.data);
    }
    assert_true(nth > 30); /* each matrix and vector was refused once, those of an MLP's parts together */
    allocate_fail_nth(1);
    assert_null(workspace_new(loaded, 1, 1, &error));
    allocate_fail_nth(0);
    assert_error(&error, "bytes of activations of 1 items");
    slice_unload(&loaded);
    model_config_destroy(&config);
}

static void test_missing_tensors(void **state) {
    (void)state;
    struct model_config *config = config_new(configs[0]);
    struct random_weights counting = {.config = config};
    struct error error = {0};
    struct slice_model *loaded = load_from(&counting, (struct slice){0, 14}, &error);
    assert_non_null(loaded);
    slice_unload(&loaded);
    for (unsigned nth = 1; nth <= counting.finds; nth++) {
        struct random_weights weights = {.config = config, .missing = nth};
        assert_null(load_from(&weights, (struct slice){0, 14}, &error));
        assert_error(&error, "unit ");
        assert_error(&error, "no tensor ");
        release(weights.data);
    }
    model_config_destroy(&config);
}

static bool cancel_at_half(void *context, uint64_t done, uint64_t total) {
    unsigned *calls = context;
    ++*calls;
    return done < total / 2;
}

static void test_bad_slices_and_cancel(void **state) {
    (void)state;
    struct model_config *config = config_new(configs[0]);
    struct random_weights weights = {.config = config};
    struct tensor_source source = random_source(&weights);
    struct error error = {0};
    unsigned calls = 0;
    assert_null(load_from(&weights, (struct slice){3, 3}, &error));
    assert_error(&error, "slice [3, 3)");
    assert_null(load_from(&weights, (struct slice){0, 15}, &error));
    assert_error(&error, "want a range within [0, 14)");
    assert_null(
        slice_load(config, (struct slice){0, 14}, &source, kernels_get("ref", NULL), cancel_at_half, &calls, &error));
    assert_error(&error, "cancelled");
    assert_true(calls > 1 && calls < 40);
    struct slice_model *loaded = load_from(&weights, (struct slice){0, 1}, &error);
    assert_null(workspace_new(loaded, 0, 1, &error));
    assert_null(workspace_new(loaded, MODEL_ITEMS_MAX + 1, 1, &error));
    assert_error(&error, "want 1 to 4096");
    slice_unload(&loaded);
    model_config_destroy(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_composition),
        cmocka_unit_test(test_last_block_is_short),
        cmocka_unit_test(test_parts_of_an_mlp),
        cmocka_unit_test(test_weights_and_workspace),
        cmocka_unit_test(test_planned_workspace),
        cmocka_unit_test(test_timed),
        cmocka_unit_test(test_shared_units),
        cmocka_unit_test(test_bytes_of_shared_units),
        cmocka_unit_test(test_bytes_of_shared_parts),
        cmocka_unit_test(test_unloading_in_two_threads),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_missing_tensors),
        cmocka_unit_test(test_bad_slices_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
