/* From image file to logits as transformers computes them: every folder of test/data/golden, with every usable kernel
 * set, to 1e-4. scripts/golden_logits.py made them and says what each is about. */
#include "base/allocate.h"
#include "base/file.h"
#include "model/json.h"
#include "model/model.h"
#include "test/model/fixture.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN    "test/data/golden"
#define TOLERANCE 1e-4

/* A model from disk on one kernel set. */
struct engine {
    struct model *model;
    struct slice_model *slice;
    struct workspace *workspace;
    struct preparer *preparer;
};

static void check_opened(const void *opened, const struct error *error) {
    if (!opened)
        fail_msg("%s", error->text);
}

static struct engine engine_new(const char *directory, const struct kernels *kernels) {
    struct error error = {0};
    struct engine engine = {.model = model_open(directory, &error)};
    check_opened(engine.model, &error);
    const struct model_config *config = model_borrow_config(engine.model);
    struct tensor_source source = model_source(engine.model);
    engine.slice = slice_load(config, (struct slice){0, model_units(config)}, &source, kernels, NULL, NULL, &error);
    check_opened(engine.slice, &error);
    engine.workspace = workspace_new(engine.slice, 1, 1, &error);
    check_opened(engine.workspace, &error);
    engine.preparer = preparer_new(config);
    return engine;
}

static void engine_close(struct engine *engine) {
    preparer_destroy(&engine->preparer);
    workspace_destroy(&engine->workspace);
    slice_unload(&engine->slice);
    model_close(&engine->model);
}

/* The largest absolute difference to the expected numbers. */
static double answer_image(const struct engine *engine, const struct json *expected) {
    char path[512];
    struct error error = {0};
    struct payload payload;
    void *file;
    size_t bytes;
    const struct model_config *config = model_borrow_config(engine->model);
    snprintf(path, sizeof path, GOLDEN "/images/%s", json_key(expected));
    assert_true(file_read(path, 1 << 20, &file, &bytes, &error));
    model_cut(config, 0, &payload);
    uint8_t *pixels = allocate(payload_bytes(&payload), 1);
    float *answer = allocate(model_answer_size(config), sizeof *answer);
    if (!prepare_image(engine->preparer, file, bytes, pixels, &error))
        fail_msg("%s: %s", path, error.text);
    slice_forward(engine->slice, engine->workspace, NULL, 1, (void *[]){pixels, NULL}, (void *[]){answer, NULL});
    double largest = 0, number = 0;
    assert_int_equal(json_count(expected), model_answer_size(config));
    for (size_t i = 0; i < json_count(expected); i++) {
        assert_true(json_as_number(json_at(expected, i), -1e9, 1e9, &number, &error));
        double difference = fabs(answer[i] - number);
        largest = difference <= largest ? largest : difference; /* NaN wins */
    }
    release(answer);
    release(pixels);
    release(file);
    return largest;
}

static double check_model(const char *name, const struct kernels *kernels) {
    char directory[512], path[512];
    struct error error = {0};
    void *bytes;
    size_t size;
    snprintf(directory, sizeof directory, GOLDEN "/%s", name);
    snprintf(path, sizeof path, GOLDEN "/%s/expected.json", name);
    assert_true(file_read(path, 1 << 20, &bytes, &size, &error));
    struct json *expected = json_parse(bytes, size, path, &error);
    assert_non_null(expected);
    struct engine engine = engine_new(directory, kernels);
    double largest = 0;
    for (size_t i = 0; i < json_count(expected); i++) {
        double difference = answer_image(&engine, json_at(expected, i));
        if (!(difference <= TOLERANCE))
            fail_msg("%s: %s with %s: differs by %g, want at most %g", name, json_key(json_at(expected, i)),
                     kernels->name, difference, TOLERANCE);
        largest = difference > largest ? difference : largest;
    }
    engine_close(&engine);
    json_destroy(&expected);
    release(bytes);
    return largest;
}

static void check_all(const struct kernels *kernels) {
    DIR *directory = opendir(GOLDEN);
    double largest = 0;
    unsigned models = 0;
    assert_non_null(directory);
    for (const struct dirent *member; (member = readdir(directory));) {
        if (member->d_name[0] == '.' || strcmp(member->d_name, "images") == 0)
            continue;
        double difference = check_model(member->d_name, kernels);
        largest = difference > largest ? difference : largest;
        models++;
    }
    closedir(directory);
    assert_true(models >= 19);
    print_message("%s: %u models, largest difference %.3g\n", kernels->name, models, largest);
}

static void test_golden(void **state) {
    (void)state;
    bool usable;
    for (size_t k = 0; kernels_at(k, &usable); k++)
        if (usable)
            check_all(kernels_at(k, &usable));
}

/* A board has no checkpoint, only the bytes of config.json: they must tell it whether there is a pooler. */
static void test_config_for_boards(void **state) {
    (void)state;
    static const struct {
        const char *directory;
        unsigned answer;
    } cases[] = {{GOLDEN "/vit_model_no_pooler", 24}, {GOLDEN "/vit_model_pooler_20", 20}};
    for (size_t i = 0; i < 2; i++) {
        struct error error = {0};
        const void *json, *preprocessor;
        size_t json_bytes, preprocessor_bytes;
        struct model *model = model_open(cases[i].directory, &error);
        check_opened(model, &error);
        model_borrow_json(model, &json, &json_bytes, &preprocessor, &preprocessor_bytes);
        struct model_config *board = model_config_new(json, json_bytes, preprocessor, preprocessor_bytes, &error);
        check_opened(board, &error);
        unsigned head = model_units(board) - 1;
        assert_int_equal(model_answer_kind(board), ANSWER_EMBEDDING);
        assert_int_equal(model_answer_size(board), cases[i].answer);
        assert_int_equal(model_unit_weight_bytes(board, head),
                         model_unit_weight_bytes(model_borrow_config(model), head));
        model_config_destroy(&board);
        model_close(&model);
    }
}

/* A picture that is none is an error, and the preparer goes on. */
static void test_bad_image(void **state) {
    (void)state;
    struct error error = {0};
    struct engine engine = engine_new(GOLDEN "/vit_ten_tokens", kernels_get("ref", NULL));
    uint8_t pixels[24 * 24 * 3];
    void *file;
    size_t bytes;
    assert_false(prepare_image(engine.preparer, "GIF89a", 6, pixels, &error));
    assert_true(error.text[0] != '\0');
    assert_true(file_read(GOLDEN "/images/noise.png", 1 << 20, &file, &bytes, &error));
    assert_true(prepare_image(engine.preparer, file, bytes, pixels, &error));
    release(file);
    engine_close(&engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_config_for_boards),
        cmocka_unit_test(test_bad_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
