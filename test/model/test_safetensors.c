/* safetensors files and directories of them: every way in which a file can lie is refused in words, and what is legal
 * is found. */
#include "base/allocate.h"
#include "model/checkpoint.h"
#include "model/safetensors.h"
#include "test/model/fixture.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define F32_2x3 "{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"

/* A file of the given header and so many bytes of data 0, 1, 2, ... */
struct bytes {
    uint8_t *data;
    size_t size;
};

static struct bytes make_file(const char *header, size_t data_bytes) {
    size_t length = strlen(header);
    struct bytes file = {allocate(8 + length + data_bytes, 1), 8 + length + data_bytes};
    for (unsigned i = 0; i < 8; i++)
        file.data[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(file.data + 8, header, length);
    for (size_t i = 0; i < data_bytes; i++)
        file.data[8 + length + i] = (uint8_t)i;
    return file;
}

static void test_found(void **state) {
    (void)state;
    struct bytes bytes = make_file("{\"__metadata__\":{\"format\":\"pt\"},"
                                   "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[30,34]},"
                                   "\"a\":" F32_2x3 ","
                                   "\"scalar\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[24,26]},"
                                   "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[24,24]},"
                                   "\"index\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[34,42]},"
                                   "\"half bytes\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[42,44]},"
                                   "\"deep\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[44,48]}}",
                                   48);
    struct error error = {0};
    struct tensor tensor;
    struct safetensors *file = safetensors_parse(bytes.data, bytes.size, "x.safetensors", &error);
    assert_non_null(file);
    assert_int_equal(safetensors_count(file), 7);
    assert_string_equal(safetensors_name(file, 0), "a");
    assert_int_equal(safetensors_find(file, "a", &tensor, &error), SAFETENSORS_FOUND);
    assert_int_equal(tensor.rank, 2);
    assert_true(tensor.shape[0] == 2 && tensor.shape[1] == 3 && tensor.bytes == 24);
    assert_int_equal(tensor.element, ELEMENT_F32);
    assert_int_equal(*(const uint8_t *)tensor.data, 0);
    assert_int_equal(safetensors_find(file, "b", &tensor, &error), SAFETENSORS_FOUND);
    assert_int_equal(tensor.element, ELEMENT_F16);
    assert_int_equal(*(const uint8_t *)tensor.data, 30);
    assert_int_equal(safetensors_find(file, "scalar", &tensor, &error), SAFETENSORS_FOUND);
    assert_int_equal(tensor.rank, 0);
    assert_int_equal(safetensors_find(file, "empty", &tensor, &error), SAFETENSORS_FOUND);
    assert_int_equal(safetensors_find(file, "absent", &tensor, &error), SAFETENSORS_ABSENT);
    assert_int_equal(safetensors_find(file, "index", &tensor, &error), SAFETENSORS_UNUSABLE);
    assert_error(&error, "index: dtype: got I64, want F32, F16 or BF16");
    assert_int_equal(safetensors_find(file, "deep", &tensor, &error), SAFETENSORS_UNUSABLE);
    assert_error(&error, "deep: 5 dimensions, want at most 4");
    safetensors_destroy(&file);
    assert_null(file);
    release(bytes.data);
}

static void test_refused_headers(void **state) {
    (void)state;
    static const struct {
        const char *header, *expected;
    } cases[] = {
        {"", "x.safetensors: "},
        {"nonsense", "x.safetensors: "},
        {"[1]", "x.safetensors: "},
        {"{\"a\":7}", "a: got 7"},
        {"{\"a\":{\"shape\":[2,3],\"data_offsets\":[0,24]}}", "a.dtype: "},
        {"{\"a\":{\"dtype\":\"F31\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", "a.dtype: got \"F31\", want a dtype"},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,24]}}", "a.shape: "},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,-3],\"data_offsets\":[0,24]}}", "a.shape[1]: got -3"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3.5],\"data_offsets\":[0,24]}}", "a.shape[1]: got 3.5"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,24]}}",
         "whose bytes can be counted"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e300],\"data_offsets\":[0,24]}}", "a.shape[0]: got "},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3]}}", "a.data_offsets: "},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24]}}", "want [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24,25]}}", "want [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[-8,16]}}", "a.data_offsets[0]: got -8"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[24,0]}}", "a.data_offsets[1]: got 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[40,64]}}", "a.data_offsets[1]: got 64"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,20]}}", "want a range of 24 bytes"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", "want a range of"},
        {"{\"a\":" F32_2x3 ",\"a\":" F32_2x3 "}", "x.safetensors: "},
        {"{\"a\":" F32_2x3 ",\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[20,24]}}", "b: overlaps a"},
        {"{\"a\":" F32_2x3 ",\"b\":" F32_2x3 "}", "overlaps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        struct bytes bytes = make_file(cases[i].header, 48);
        if (safetensors_parse(bytes.data, bytes.size, "x.safetensors", &error))
            fail_msg("accepted: %s", cases[i].header);
        assert_error(&error, "x.safetensors: ");
        assert_error(&error, cases[i].expected);
        release(bytes.data);
    }
}

/* A good file cut at every length, and one whose length field lies. */
static void test_truncated(void **state) {
    (void)state;
    struct error error = {0};
    struct bytes bytes = make_file("{\"a\":" F32_2x3 "}", 24);
    for (size_t size = 0; size < bytes.size; size++) {
        uint8_t *copy = allocate(size, 1); /* exactly as long, so that the address sanitizer sees a read beyond */
        memcpy(copy, bytes.data, size);
        assert_null(safetensors_parse(copy, size, "x.safetensors", &error));
        release(copy);
    }
    bytes.data[2] = 1;
    assert_null(safetensors_parse(bytes.data, bytes.size, "x.safetensors", &error));
    assert_error(&error, "follow; is the file cut short?");
    memset(bytes.data, 0xff, 8);
    assert_null(safetensors_parse(bytes.data, bytes.size, "x.safetensors", &error));
    assert_error(&error, "want at most 100000000; is it a safetensors file?");
    release(bytes.data);
}

static void test_allocation_failures(void **state) {
    (void)state;
    struct bytes bytes = make_file("{\"a\":" F32_2x3 "}", 24);
    struct safetensors *file = NULL;
    uint64_t nth = 0;
    while (!file) {
        struct error error = {0};
        allocate_fail_nth(++nth);
        file = safetensors_parse(bytes.data, bytes.size, "x.safetensors", &error);
        allocate_fail_nth(0);
        assert_true(file || error.code != ERROR_NONE);
    }
    assert_true(nth > 2);
    safetensors_destroy(&file);
    release(bytes.data);
}

/* ---- directories ---- */

static void write_file(const struct folder *folder, const char *name, const char *header, size_t data_bytes) {
    struct bytes bytes = make_file(header, data_bytes);
    folder_write(folder, name, bytes.data, bytes.size);
    release(bytes.data);
}

static void write_text(const struct folder *folder, const char *name, const char *text) {
    folder_write(folder, name, text, strlen(text));
}

static void refused(const struct folder *folder, const char *expected) {
    struct error error = {0};
    assert_null(checkpoint_open(folder->path, &error));
    assert_error(&error, folder->path);
    assert_error(&error, expected);
}

static void test_shards(void **state) {
    (void)state;
    struct folder folder = folder_new();
    struct error error = {0};
    struct tensor tensor;
    bool absent;
    refused(&folder, "neither model.safetensors nor model.safetensors.index.json");
    write_text(&folder, "model.safetensors.index.json",
               "{\"weight_map\": {\"a\": \"1.safetensors\", \"b\": \"2.safetensors\", \"c\": \"2.safetensors\"}}");
    write_file(&folder, "1.safetensors", "{\"a\":" F32_2x3 "}", 24);
    refused(&folder, "2.safetensors: No such file");
    write_file(&folder, "2.safetensors", "{\"a\":" F32_2x3 "}", 24);
    refused(&folder, "a is in both 1.safetensors and 2.safetensors");
    write_file(&folder, "2.safetensors", "{\"b\":" F32_2x3 "}", 24);
    struct checkpoint *checkpoint = checkpoint_open(folder.path, &error);
    assert_non_null(checkpoint);
    assert_true(checkpoint_find(checkpoint, "a", &tensor, &absent, &error));
    assert_true(checkpoint_find(checkpoint, "b", &tensor, NULL, &error));
    assert_false(checkpoint_find(checkpoint, "c", &tensor, &absent, &error)); /* the index promised what no shard has */
    assert_true(absent);
    assert_error(&error, "no tensor c");
    checkpoint_close(&checkpoint);
    folder_remove(&folder);
}

static void test_refused_indexes(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}", "weight_map"},
        {"{\"weight_map\": {\"a\": 1}}", "weight_map.a: got 1"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "the name of a file in the same directory"},
        {"{\"weight_map\": {\"a\": \"/etc/passwd\"}}", "the name of a file in the same directory"},
        {"{\"weight_map\": {\"a\": \"..\"}}", "the name of a file in the same directory"},
        {"{\"weight_map\": {\"a\": \"\"}}", "the name of a file in the same directory"},
        {"{\"weight_map\": {\"a\": \"sub/x.safetensors\"}}", "the name of a file in the same directory"},
    };
    struct folder folder = folder_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(&folder, "model.safetensors.index.json", cases[i][0]);
        refused(&folder, cases[i][1]);
    }
    folder_remove(&folder);
}

/* ---- models ---- */

#define TINY                                                                                                           \
    "{\"architectures\": [\"ViTForImageClassification\"], \"hidden_size\": 8, \"num_attention_heads\": 2, "            \
    "\"num_hidden_layers\": 1, \"intermediate_size\": 8, \"image_size\": 8, \"patch_size\": 8}"

struct header {
    char text[8192];
    uint64_t offset;
    const char *leave_out, *reshape, *retype;
};

static bool add_tensor(void *context, const struct tensor *tensor) {
    struct header *header = context;
    if (header->leave_out && strstr(tensor->name, header->leave_out))
        return true;
    bool reshape = header->reshape && strstr(tensor->name, header->reshape);
    bool retype = header->retype && strstr(tensor->name, header->retype);
    uint64_t bytes = retype ? 8 : 4;
    size_t used = strlen(header->text);
    used += (size_t)snprintf(header->text + used, sizeof header->text - used, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[",
                             used > 1 ? "," : "", tensor->name, retype ? "F64" : "F32");
    for (unsigned d = 0; d < tensor->rank; d++) {
        uint64_t dimension = tensor->shape[d] + (reshape && d == 0);
        bytes *= dimension;
        used +=
            (size_t)snprintf(header->text + used, sizeof header->text - used, "%s%" PRIu64, d ? "," : "", dimension);
    }
    snprintf(header->text + used, sizeof header->text - used, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
             header->offset, header->offset + bytes);
    header->offset += bytes;
    return true;
}

/* Writes a model whose file begins with the header built so far, padded by `pad` spaces. */
static void write_model(const struct folder *folder, struct header *header, size_t pad) {
    struct model_config *config = config_new(TINY);
    snprintf(header->text, sizeof header->text, "{");
    header->offset = 0;
    assert_true(model_tensors(config, (struct slice){0, model_units(config)}, add_tensor, header));
    size_t used = strlen(header->text);
    snprintf(header->text + used, sizeof header->text - used, "}%*s", (int)pad, "");
    write_file(folder, "model.safetensors", header->text, header->offset);
    write_text(folder, "config.json", TINY);
    model_config_destroy(&config);
}

static void model_refused(struct header header, const char *expected) {
    struct folder folder = folder_new();
    struct error error = {0};
    write_model(&folder, &header, 0);
    assert_null(model_open(folder.path, &error));
    assert_error(&error, folder.path);
    assert_error(&error, expected);
    folder_remove(&folder);
}

static void test_models(void **state) {
    (void)state;
    struct error error = {0};
    assert_null(model_open("/no/such/directory", &error));
    assert_error(&error, "/no/such/directory/config.json: No such file");
    model_refused((struct header){.leave_out = "0.output.dense.bias"},
                  "no tensor vit.encoder.layer.0.output.dense.bias");
    model_refused((struct header){.reshape = "cls_token"}, "vit.embeddings.cls_token: got [2,1,8], want [1,1,8]");
    model_refused((struct header){.retype = "classifier.bias"},
                  "classifier.bias: dtype: got F64, want F32, F16 or BF16");
}

/* Wherever the header ends, a tensor may begin at any byte: loading gives the same weights. */
static void test_unaligned(void **state) {
    (void)state;
    struct folder folder = folder_new();
    const struct kernels *kernels = kernels_get(NULL, NULL);
    float first[2] = {0};
    for (size_t pad = 0; pad < 8; pad++) {
        struct header header = {0};
        struct error error = {0};
        write_model(&folder, &header, pad);
        struct model *model = model_open(folder.path, &error);
        assert_non_null(model);
        const struct model_config *config = model_borrow_config(model);
        struct tensor_source source = model_source(model);
        struct slice slice = {model_units(config) - 1, model_units(config)};
        struct slice_model *loaded = slice_load(config, slice, &source, kernels, NULL, NULL, &error);
        assert_non_null(loaded);
        struct workspace *workspace = workspace_new(loaded, 1, 1, &error);
        float in[8] = {1, 2, 3, 4, 5, 6, 7, 9}, out[2];
        slice_forward(loaded, workspace, NULL, 1, (void *[]){in, NULL}, (void *[]){out, NULL});
        if (pad == 0)
            memcpy(first, out, sizeof out);
        assert_memory_equal(first, out, sizeof out);
        workspace_destroy(&workspace);
        slice_unload(&loaded);
        model_close(&model);
    }
    folder_remove(&folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),     cmocka_unit_test(test_refused_headers),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_shards),    cmocka_unit_test(test_refused_indexes),
        cmocka_unit_test(test_models),    cmocka_unit_test(test_unaligned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
