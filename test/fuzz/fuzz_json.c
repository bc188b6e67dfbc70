/* JSON of any bytes, read as each of the files that come as JSON: the document itself, walked whole; config.json, whose
 * every cut and size is then asked for; and preprocessor_config.json. */
#include "model/json.h"
#include "model/model.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t walk(const struct json *value) {
    size_t nodes = 1;
    for (size_t i = 0; i < json_count(value); i++) {
        const struct json *member = json_at(value, i);
        if (json_kind(value) == JSON_KIND_OBJECT && json_kind(member) != JSON_KIND_NULL &&
            json_find(value, json_key(member)) != member)
            abort();
        nodes += walk(member);
    }
    return nodes;
}

static bool count(void *context, const struct tensor *tensor) {
    size_t *tensors = context;
    if (tensor->rank < 1 || tensor->rank > MODEL_DIMENSIONS_MAX || strlen(tensor->name) == 0)
        abort();
    return ++*tensors < 10000;
}

static void question(const struct model_config *config) {
    struct payload payload;
    char name[40];
    size_t tensors = 0;
    unsigned units = model_units(config), step = units > 50 ? units / 10 : 1;
    for (unsigned unit = 0; unit < units; unit += step) {
        model_cut(config, unit, &payload);
        if (payload_bytes(&payload) == 0 || model_unit_weight_bytes(config, unit) == 0 ||
            model_unit_flops(config, unit) < 0 || !*model_unit_name(config, unit, name))
            abort();
    }
    model_tensors(config, (struct slice){0, units}, count, &tensors);
    model_label(config, model_answer_size(config));
    if (model_workspace_bytes(config, (struct slice){0, units}, 1, kernels_get("ref", NULL), 1) == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char vit[] = "{\"architectures\": [\"ViTForImageClassification\"]}";
    struct error error;
    struct json *root = json_parse(data, size, "fuzz.json", &error);
    if (root)
        walk(root);
    json_destroy(&root);
    struct model_config *config = model_config_new(data, size, NULL, 0, &error);
    if (config)
        question(config);
    model_config_destroy(&config);
    config = model_config_new(vit, sizeof vit - 1, data, size, &error);
    model_config_destroy(&config);
    return 0;
}
