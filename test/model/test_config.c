/* config.json: what is read, what is refused and in which words. */
#include "base/allocate.h"
#include "model/model.h"
#include "test/model/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define VIT "\"architectures\": [\"ViTForImageClassification\"]"

static void test_defaults(void **state) {
    (void)state;
    struct payload payload;
    struct model_config *config = config_new("{" VIT "}"); /* ViT-Base with two labels, as transformers has it */
    assert_string_equal(model_architecture(config), "ViTForImageClassification");
    assert_int_equal(model_units(config), 74);
    assert_int_equal(model_answer_kind(config), ANSWER_LOGITS);
    assert_int_equal(model_answer_size(config), 2);
    assert_null(model_label(config, 0));
    assert_null(model_label(config, 7));
    model_cut(config, 1, &payload);
    assert_int_equal(payload_bytes(&payload), 197 * 768 * sizeof(float));
    assert_int_equal(model_weight_bytes(config, (struct slice){0, 74}),
                     (85798656 + 2 * 769) * sizeof(float)); /* the published 86 million, and the classifier */
    model_config_destroy(&config);
    assert_null(config);
    model_config_destroy(&config);
}

static void test_inferred_architecture(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"model_type\": \"vit\"}", "ViTModel"},
        {"{\"model_type\": \"vit\", \"id2label\": {\"0\": \"cat\"}}", "ViTForImageClassification"},
        {"{\"model_type\": \"deit\", \"architectures\": null}", "DeiTModel"},
        {"{\"model_type\": \"deit\", \"architectures\": [], \"id2label\": {\"0\": \"cat\"}}",
         "DeiTForImageClassification"},
        {"{\"architectures\": [\"DeiTForImageClassificationWithTeacher\"]}", "DeiTForImageClassificationWithTeacher"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config *config = config_new(cases[i][0]);
        assert_string_equal(model_architecture(config), cases[i][1]);
        model_config_destroy(&config);
    }
}

static void test_labels_and_shapes(void **state) {
    (void)state;
    struct payload payload;
    struct model_config *config = config_new(
        "{" VIT ", \"id2label\": {\"2\": \"owl\", \"0\": \"cat\", \"1\": \"dog \\u00e9\"}, \"num_labels\": 9, "
        "\"image_size\": [32, 48], \"patch_size\": [16, 16], \"hidden_size\": 8, \"num_attention_heads\": 2, "
        "\"num_hidden_layers\": 1, \"head_dim\": 4, \"unknown_key\": {\"is\": \"ignored\"}}");
    assert_int_equal(model_answer_size(config), 3);
    assert_string_equal(model_label(config, 0), "cat");
    assert_string_equal(model_label(config, 1), "dog \xc3\xa9");
    assert_string_equal(model_label(config, 2), "owl");
    assert_null(model_label(config, 3));
    model_cut(config, 0, &payload);
    assert_int_equal(payload.part[0].shape[0], 32);
    assert_int_equal(payload.part[0].shape[1], 48);
    model_cut(config, 1, &payload);
    assert_int_equal(payload.part[0].shape[0], 7);
    model_config_destroy(&config);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *expected;
    } cases[] = {
        {"", "config.json: "},
        {"[]", "config.json: "},
        {"{}", "no architectures: config.json: model_type"},
        {"{\"architectures\": \"ViTModel\"}", "architectures: got \"ViTModel\""},
        {"{\"architectures\": [7]}", "architectures[0]: got 7"},
        {"{\"architectures\": [\"BertModel\"]}",
         "got \"BertModel\", want one of ViTForImageClassification, ViTModel, DeiT"},
        {"{\"model_type\": \"bert\"}", "model_type: got \"bert\", want one of ViTForImageClassification"},
        {"{\"model_type\": \"vi\\u0000t\"}", "config.json: "},
        {"{" VIT ", \"hidden_size\": -3}", "hidden_size: got -3, want an integer from 1 to 65536"},
        {"{" VIT ", \"hidden_size\": 1e300}", "hidden_size: got "},
        {"{" VIT ", \"hidden_size\": 100}",
         "num_attention_heads: got 12 (the default), want a divisor of hidden_size 100"},
        {"{" VIT ", \"num_attention_heads\": 7}", "num_attention_heads: got 7, want a divisor of hidden_size 768"},
        {"{" VIT ", \"num_attention_heads\": 0}", "num_attention_heads: got 0, want an integer from 1 to"},
        {"{" VIT ", \"head_dim\": 32}", "head_dim: got 32, want 64, hidden_size"},
        {"{" VIT ", \"num_hidden_layers\": 0}", "num_hidden_layers: got 0, want an integer from 1 to 1024"},
        {"{" VIT ", \"num_hidden_layers\": 1.5}", "num_hidden_layers: got 1.5"},
        {"{" VIT ", \"intermediate_size\": 18446744073709551616}", "intermediate_size: got "},
        {"{" VIT ", \"intermediate_size\": 262145}", "intermediate_size: got 262145, want an integer from 1 to 262144"},
        {"{" VIT ", \"image_size\": 225}", "image_size: got 225, want multiples of patch_size 16"},
        {"{" VIT ", \"image_size\": [224, 224, 3]}", "want a number or [height, width]"},
        {"{" VIT ", \"image_size\": [224, \"224\"]}", "image_size[1]: got \"224\""},
        {"{" VIT ", \"image_size\": 16384, \"patch_size\": 1}",
         "image_size: got 16384, want an image of at most 65534 patches"},
        {"{" VIT ", \"patch_size\": 0}", "patch_size: got 0"},
        {"{" VIT ", \"patch_size\": [8, 16]}", "want a square patch"},
        {"{" VIT ", \"patch_size\": 225}", "image_size: got 224 (the default), want multiples of patch_size 225"},
        {"{" VIT ", \"num_channels\": 1}", "num_channels: got 1, want 3 (colour images)"},
        {"{" VIT ", \"num_channels\": 4}", "num_channels: got 4, want an integer from 1 to 3"},
        {"{" VIT ", \"layer_norm_eps\": -1}", "layer_norm_eps: got -1"},
        {"{" VIT ", \"qkv_bias\": 1}", "qkv_bias: got 1"},
        {"{" VIT ", \"hidden_act\": \"swish\"}", "hidden_act: got \"swish\", want one of gelu, "},
        {"{" VIT ", \"num_labels\": 0}", "num_labels: got 0"},
        {"{" VIT ", \"id2label\": {}}", "id2label: got "},
        {"{" VIT ", \"id2label\": [\"cat\"]}", "id2label: got "},
        {"{" VIT ", \"id2label\": {\"0\": 5}}", "id2label.0: got 5"},
        {"{" VIT ", \"id2label\": {\"1\": \"cat\"}}", "id2label: got the key \"1\", want 0 to 0"},
        {"{" VIT ", \"id2label\": {\"-0\": \"cat\"}}", "id2label: got the key \"-0\""},
        {"{" VIT ", \"id2label\": {\"0x0\": \"cat\"}}", "id2label: got the key \"0x0\""},
        {"{" VIT ", \"id2label\": {\"0\": \"cat\", \"00\": \"dog\"}}", "id2label: class 0 twice"},
        {"{\"model_type\": \"vit\", \"pooler_act\": \"selu\"}", "pooler_act: got \"selu\""},
        {"{\"model_type\": \"vit\", \"pooler_output_size\": 0}", "pooler_output_size: got 0"},
        {"{\"model_type\": \"vit\", \"stagecoach_optional_weights\": \"no\"}",
         "stagecoach_optional_weights: got \"no\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error error = {0};
        struct model_config *config = model_config_new(cases[i].json, strlen(cases[i].json), NULL, 0, &error);
        if (config)
            fail_msg("accepted: %s", cases[i].json);
        assert_error(&error, cases[i].expected);
    }
}

static void test_bad_preprocessor(void **state) {
    (void)state;
    struct error error = {0};
    const char *json = "{" VIT "}";
    assert_null(model_config_new(json, strlen(json), "{", 1, &error));
    assert_error(&error, "preprocessor_config.json: ");
}

/* The largest sizes that pass must not overflow anywhere. */
static void test_largest(void **state) {
    (void)state;
    struct payload payload;
    struct model_config *config =
        config_new("{" VIT ", \"hidden_size\": 65536, \"num_attention_heads\": 1, \"intermediate_size\": 262144, "
                   "\"num_hidden_layers\": 1024, \"image_size\": 255, \"patch_size\": 1, \"num_labels\": 1000000}");
    model_cut(config, 2, &payload);
    size_t bytes =
        model_workspace_bytes(config, (struct slice){0, model_units(config)}, 2, kernels_get("ref", NULL), 1);
    assert_true(bytes > 2 * payload_bytes(&payload));
    assert_true(payload_bytes(&payload) == UINT64_C(65026) * (65536 + 65536) * 4);
    assert_true(model_unit_weight_bytes(config, 3) == UINT64_C(4) * (65536 * (2 * UINT64_C(262144) + 3) + 262144));
    assert_true(model_unit_flops(config, 1) > 0);
    model_config_destroy(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),          cmocka_unit_test(test_inferred_architecture),
        cmocka_unit_test(test_labels_and_shapes), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bad_preprocessor),  cmocka_unit_test(test_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
