/* Resizing and preparing: bit for bit what Pillow and transformers give (test/data/preprocess, by
 * scripts/golden_images.py).
 *
 * The pictures are noise that both sides make themselves, so that only hashes are kept. A configuration's line covers
 * the whole way to fp32: bytes from preprocess_run, looked up in preprocess_table. Run from the root of the tree.
 */
#include "model/preprocess.h"

#include "base/allocate.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define DATA "test/data/preprocess/"

/* As noise() in scripts/golden_images.py: released by the caller. */
static struct image noise(uint32_t seed, size_t width, size_t height) {
    uint8_t *pixels = allocate(width * height, 3);
    uint32_t state = seed;
    for (size_t i = 0; i < width * height * 3; i++) {
        state = state * 1664525u + 1013904223u;
        pixels[i] = (uint8_t)(seed % 2 == 0 ? state >> 24 : 255 * (state >> 31));
    }
    return (struct image){.width = width, .height = height, .pixels = pixels};
}

static void release_noise(struct image *image) {
    void *pixels = NULL;
    memcpy(&pixels, &image->pixels, sizeof pixels); /* const for everybody but its maker */
    release(pixels);
}

static void assert_hash(const void *data, size_t size, const char *expected, const char *what) {
    char hex[HASH_HEX_BYTES];
    struct hash hash = hash_of(data, size);
    hash_to_hex(&hash, hex);
    if (strcmp(hex, expected) != 0)
        fail_msg("%s: differs from the reference", what);
}

/* ---- resizing ---- */

static void test_resize_is_pillows(void **state) {
    (void)state;
    FILE *list = fopen(DATA "resizes.txt", "r");
    assert_non_null(list);
    struct resizer *resizer = resizer_new();
    unsigned filter;
    unsigned seed;
    size_t width;
    size_t height;
    size_t new_width;
    size_t new_height;
    char hash[HASH_HEX_BYTES];
    int cases = 0;
    while (fscanf(list, "%u %u %zu %zu %zu %zu %64s", &filter, &seed, &width, &height, &new_width, &new_height, hash) ==
           7) {
        char what[96];
        snprintf(what, sizeof what, "filter %u, %zux%zu to %zux%zu", filter, width, height, new_width, new_height);
        struct image image = noise(seed, width, height);
        uint8_t *output = allocate(new_width * new_height, 3);
        struct error error = {0};
        assert_true(resize(resizer, &image, (enum resize_filter)filter, new_width, new_height, output, &error));
        assert_hash(output, new_width * new_height * 3, hash, what);
        release(output);
        release_noise(&image);
        cases++;
    }
    assert_true(cases > 200);
    resizer_destroy(&resizer);
    assert_null(resizer);
    resizer_destroy(&resizer);
    fclose(list);
}

/* Rows first, then columns first. */
static void test_resize_without_memory(void **state) {
    (void)state;
    static const size_t heights[] = {20, 200};
    static uint8_t output[8 * 8 * 3];
    for (size_t i = 0; i < 2; i++) {
        struct image image = noise(0, 20, heights[i]);
        bool resized = false;
        for (uint64_t nth = 1; !resized; nth++) {
            assert_true(nth < 20);
            struct resizer *resizer = resizer_new();
            struct error error = {0};
            allocate_fail_nth(nth);
            resized = resize(resizer, &image, RESIZE_BICUBIC, 8, 8, output, &error);
            allocate_fail_nth(0);
            assert_true(resized || error.code == ERROR_SYSTEM);
            assert_true(resized || resize(resizer, &image, RESIZE_BICUBIC, 8, 8, output, &error)); /* still usable */
            resizer_destroy(&resizer);
        }
        release_noise(&image);
    }
}

/* ---- whole configurations ---- */

static struct json *read_json(const char *name) {
    char path[256];
    char text[4096];
    snprintf(path, sizeof path, DATA "%s.json", name);
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("cannot open %s: tests run from the root of the tree", path);
    size_t size = fread(text, 1, sizeof text, stream);
    fclose(stream);
    struct error error = {0};
    struct json *root = json_parse(text, size, "preprocessor_config.json", &error);
    if (!root)
        fail_msg("%s", error.text);
    return root;
}

static struct preprocess_config read_config(const char *name) {
    struct json *root = read_json(name);
    struct preprocess_config config;
    struct error error = {0};
    if (!preprocess_parse(&config, root, PREPROCESS_VIT, &error))
        fail_msg("%s: %s", name, error.text);
    json_destroy(&root);
    return config;
}

/* Bytes of [height][width][3] to the reference's [3][height][width] of floats. */
static float *look_up(const uint8_t *bytes, size_t pixels, const float table[PREPROCESS_CHANNELS][256]) {
    float *values = allocate(pixels * PREPROCESS_CHANNELS, sizeof *values);
    for (size_t c = 0; c < PREPROCESS_CHANNELS; c++)
        for (size_t i = 0; i < pixels; i++)
            values[c * pixels + i] = table[c][bytes[i * PREPROCESS_CHANNELS + c]];
    return values;
}

static void check_config(const char *name, struct image *image, size_t width, size_t height, const char *values_hash,
                         const char *table_hash) {
    struct preprocess_config config = read_config(name);
    float table[PREPROCESS_CHANNELS][256];
    preprocess_table(&config, table);
    assert_hash(table, sizeof table, table_hash, name);
    struct preprocessor *preprocessor = preprocessor_new(&config);
    uint8_t *bytes = allocate(width * height, PREPROCESS_CHANNELS);
    struct error error = {0};
    if (!preprocess_run(preprocessor, image, height, width, bytes, &error))
        fail_msg("%s: %s", name, error.text);
    float *values = look_up(bytes, width * height, (const float(*)[256])table);
    assert_hash(values, width * height * sizeof table[0][0] * PREPROCESS_CHANNELS, values_hash, name);
    release(values);
    release(bytes);
    preprocessor_destroy(&preprocessor);
    assert_null(preprocessor);
    preprocessor_destroy(&preprocessor);
}

static void test_configurations_are_transformers(void **state) {
    (void)state;
    FILE *list = fopen(DATA "configs.txt", "r");
    assert_non_null(list);
    char name[64];
    unsigned seed;
    size_t width;
    size_t height;
    size_t new_width;
    size_t new_height;
    char values_hash[HASH_HEX_BYTES];
    char table_hash[HASH_HEX_BYTES];
    int cases = 0;
    while (fscanf(list, "%63s %u %zu %zu %zu %zu %64s %64s", name, &seed, &width, &height, &new_width, &new_height,
                  values_hash, table_hash) == 8) {
        struct image image = noise(seed, width, height);
        check_config(name, &image, new_width, new_height, values_hash, table_hash);
        release_noise(&image);
        cases++;
    }
    assert_true(cases > 100);
    fclose(list);
}

static void test_a_directory_without_a_file(void **state) {
    (void)state;
    struct preprocess_config config;
    preprocess_default(&config, PREPROCESS_VIT, 384, 384);
    assert_true(config.do_resize && !config.do_center_crop && config.fit == PREPROCESS_EXACT);
    assert_int_equal(config.height, 384);
    assert_int_equal(config.filter, RESIZE_BILINEAR);
    preprocess_default(&config, PREPROCESS_DEIT, 224, 224);
    assert_int_equal(config.height, 256);
    assert_int_equal(config.crop_width, 224);
    assert_int_equal(config.filter, RESIZE_BICUBIC);
}

static void test_the_family_of_an_untyped_file(void **state) {
    (void)state;
    struct json *root = read_json("vit_untyped");
    struct preprocess_config config;
    struct error error;
    assert_true(preprocess_parse(&config, root, PREPROCESS_DEIT, &error));
    assert_true(config.do_center_crop);
    assert_true(preprocess_parse(&config, root, PREPROCESS_VIT, &error));
    assert_false(config.do_center_crop);
    json_destroy(&root);
}

static void test_what_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *expected;
    } cases[] = {
        {"[]", "p.json: got an array of 0, want an object"},
        {"{\"image_processor_type\": \"CLIPImageProcessor\"}",
         "p.json: image_processor_type: got \"CLIPImageProcessor\""},
        {"{\"image_processor_type\": 3}", "image_processor_type: got 3, want a string"},
        {"{\"size\": 0}", "size: got 0, want an integer from 1 to"},
        {"{\"size\": -224}", "size: got -224"},
        {"{\"size\": 224.5}", "size: got 224.5"},
        {"{\"size\": \"224\"}", "size: got \"224\", want a number, or height and width"},
        {"{\"size\": {\"height\": 224}}", "size: got an object, want a number, or height and width"},
        {"{\"size\": {\"height\": 224, \"width\": 224, \"depth\": 3}}", "size: got an object"},
        {"{\"size\": {\"height\": 224, \"width\": null}}", "size: got an object"},
        {"{\"size\": {\"longest_edge\": 224}}", "size: got an object"},
        {"{\"size\": {\"shortest_edge\": 224, \"height\": 224}}", "size: got an object, want shortest_edge, alone"},
        {"{\"size\": {\"height\": 224, \"width\": 99999999}}", "size.width: got 99999999"},
        {"{\"size\": [224]}", "size: got an array of 1"},
        {"{\"size\": null}", "size: got null, want a value"},
        {"{\"resample\": null}", "resample: got null"},
        {"{\"resample\": 6}", "resample: got 6, want an integer from 0 to 5"},
        {"{\"resample\": \"bicubic\"}", "resample: got \"bicubic\""},
        {"{\"do_resize\": 1}", "do_resize: got 1, want true or false"},
        {"{\"do_center_crop\": true}", "do_center_crop: got true, want false, or a crop_size"},
        {"{\"do_center_crop\": true, \"crop_size\": {\"shortest_edge\": 3}}", "crop_size: got an object"},
        {"{\"image_mean\": [0.5, 0.5]}", "image_mean: got an array of 2, want 3 numbers"},
        {"{\"image_mean\": [0.5, 0.5, \"x\"]}", "image_mean[2]: got \"x\""},
        {"{\"image_mean\": null}", "image_mean: got null"},
        {"{\"image_std\": [0.5, 0, 0.5]}", "image_std[1]: got 0, want a number from"},
        {"{\"rescale_factor\": null}", "rescale_factor: got null"},
        {"{\"do_pad\": true}", "do_pad: got true, want false"},
        {"{\"do_convert_rgb\": \"yes\"}", "do_convert_rgb: got \"yes\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        struct json *root = json_parse(cases[i].text, strlen(cases[i].text), "p.json", &error);
        assert_non_null(root);
        struct preprocess_config config;
        assert_false(preprocess_parse(&config, root, PREPROCESS_VIT, &error));
        if (!strstr(error.text, cases[i].expected))
            fail_msg("%s: got \"%s\", want \"%s\"", cases[i].text, error.text, cases[i].expected);
        json_destroy(&root);
    }
}

/* ---- running ---- */

static bool run(const struct preprocess_config *config, size_t width, size_t height, struct error *error) {
    static uint8_t output[224 * 224 * PREPROCESS_CHANNELS];
    struct image image = noise(2, width, height);
    struct preprocessor *preprocessor = preprocessor_new(config);
    bool done = preprocess_run(preprocessor, &image, 224, 224, output, error);
    preprocessor_destroy(&preprocessor);
    release_noise(&image);
    return done;
}

static void test_a_size_that_the_model_does_not_take(void **state) {
    (void)state;
    struct preprocess_config config;
    struct error error = {0};
    preprocess_default(&config, PREPROCESS_VIT, 384, 384);
    assert_false(run(&config, 40, 30, &error));
    assert_non_null(strstr(error.text, "gives 384x384 pixels for this image, the model wants 224x224"));
    preprocess_default(&config, PREPROCESS_VIT, 224, 224);
    config.fit = PREPROCESS_SHORTEST;
    config.shortest = 224;
    assert_false(run(&config, 40, 30, &error));
    assert_non_null(strstr(error.text, "gives 298x224"));
    assert_true(run(&config, 40, 40, &error));
    config.do_resize = false;
    assert_true(run(&config, 224, 224, &error));
    assert_false(run(&config, 224, 223, &error));
}

/* A ribbon whose shorter edge is to grow would need more memory than any picture. */
static void test_a_ribbon(void **state) {
    (void)state;
    struct preprocess_config config;
    struct error error = {0};
    preprocess_default(&config, PREPROCESS_DEIT, 224, 224);
    config.fit = PREPROCESS_SHORTEST;
    config.shortest = 256;
    assert_false(run(&config, 60000, 1, &error));
    assert_non_null(strstr(error.text, "resizing would give 15360000x256 pixels"));
    config.fit = PREPROCESS_BETWEEN_EDGES;
    config.longest = 300;
    assert_false(run(&config, 1, 60000, &error)); /* a width of 0 */
    assert_int_equal(error.code, ERROR_INPUT);
}

static void test_run_without_memory(void **state) {
    (void)state;
    struct preprocess_config config;
    preprocess_default(&config, PREPROCESS_DEIT, 224, 224);
    bool done = false;
    for (uint64_t nth = 1; !done; nth++) {
        assert_true(nth < 20);
        struct error error = {0};
        allocate_fail_nth(nth);
        done = run(&config, 97, 61, &error);
        allocate_fail_nth(0);
        assert_true(done || error.code == ERROR_SYSTEM);
    }
}

static void test_nothing_is_allocated_after_the_largest(void **state) {
    (void)state;
    static uint8_t output[224 * 224 * PREPROCESS_CHANNELS];
    struct preprocess_config config;
    struct error error;
    preprocess_default(&config, PREPROCESS_DEIT, 224, 224);
    struct preprocessor *preprocessor = preprocessor_new(&config);
    struct image large = noise(2, 500, 400);
    struct image small = noise(4, 100, 90);
    struct image tall = noise(6, 50, 400);
    assert_true(preprocess_run(preprocessor, &large, 224, 224, output, &error));
    assert_true(preprocess_run(preprocessor, &tall, 224, 224, output, &error));
    uint64_t before = allocation_count();
    assert_true(preprocess_run(preprocessor, &small, 224, 224, output, &error));
    assert_true(preprocess_run(preprocessor, &tall, 224, 224, output, &error));
    assert_true(preprocess_run(preprocessor, &large, 224, 224, output, &error));
    assert_int_equal(allocation_count(), before);
    preprocessor_destroy(&preprocessor);
    release_noise(&large);
    release_noise(&small);
    release_noise(&tall);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resize_is_pillows),
        cmocka_unit_test(test_resize_without_memory),
        cmocka_unit_test(test_configurations_are_transformers),
        cmocka_unit_test(test_a_directory_without_a_file),
        cmocka_unit_test(test_the_family_of_an_untyped_file),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_size_that_the_model_does_not_take),
        cmocka_unit_test(test_a_ribbon),
        cmocka_unit_test(test_run_without_memory),
        cmocka_unit_test(test_nothing_is_allocated_after_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
