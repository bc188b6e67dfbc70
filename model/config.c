/* One parsed config.json: which architecture, its numbers, its labels, and how it wants its images.
 *
 * model_config_new finds the family by architectures[0], or by model_type where that is absent, lets the family read
 * and bound its own numbers, and adds what is common: id2label and preprocessor_config.json with the table of pixel
 * values derived from it. All of it is checked here, once; afterwards every question about units, cuts and sizes is
 * pure arithmetic on numbers that cannot overflow. Errors name file and key. A config is immutable, so threads share it
 * freely; its creator owns it and everything borrowed from it.
 */
#include "base/allocate.h"
#include "base/decimal.h"
#include "model/family.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LABELS_MOST 1000000

/* The bounds of the families (hidden 2^16, intermediate 2^18, tokens 2^16, items 2^12) multiply to less than 2^63. */
_Static_assert(sizeof(size_t) == 8, "sizes of activations are computed in size_t, which must be 64 bits wide");

/* ---- which architecture ---- */

static const struct architecture *architecture_named(const char *name, const struct family **family) {
    for (size_t f = 0; (*family = family_at(f)) != NULL; f++)
        for (const struct architecture *a = (*family)->architectures; a->name; a++)
            if (strcmp(a->name, name) == 0)
                return a;
    return NULL;
}

static const struct architecture *architecture_typed(const char *model_type, bool labels,
                                                     const struct family **family) {
    for (size_t f = 0; (*family = family_at(f)) != NULL; f++)
        for (const struct architecture *a = (*family)->architectures; a->name; a++)
            if (strcmp(a->model_type, model_type) == 0 && a->labels == labels)
                return a;
    return NULL;
}

static bool refuse_architecture(const char *key, const char *got, struct error *error) {
    char names[320] = "";
    const struct family *family;
    for (size_t f = 0; (family = family_at(f)) != NULL; f++)
        for (const struct architecture *a = family->architectures; a->name; a++) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", a->name);
        }
    return error_set(error, ERROR_UNSUPPORTED, "config.json: %s: got \"%.60s\", want one of %s", key, got, names);
}

static bool find_architecture(struct model_config *config, const struct json *root, struct error *error) {
    const struct json *names = NULL;
    const char *name = "";
    if (!json_optional_array(root, "architectures", &names, error))
        return false;
    if (names && json_count(names) > 0) {
        if (!json_as_string(json_at(names, 0), &name, error))
            return false;
        config->architecture = architecture_named(name, &config->family);
        return config->architecture || refuse_architecture("architectures", name, error);
    }
    if (!json_get_string(root, "model_type", &name, error))
        return error_wrap(error, "no architectures");
    config->architecture = architecture_typed(name, json_find(root, "id2label") != NULL, &config->family);
    return config->architecture || refuse_architecture("model_type", name, error);
}

/* ---- labels ---- */

/* A key of id2label: digits only, below count. */
static bool parse_class(const struct json *member, size_t count, size_t *class_index, struct error *error) {
    const char *key = json_key(member);
    uint64_t value;
    if (count == 0 || !decimal_parse(key, count - 1, &value))
        return error_set(error, ERROR_INPUT, "config.json: id2label: got the key \"%.60s\", want 0 to %zu", key,
                         count - 1);
    *class_index = value;
    return true;
}

static bool parse_label(struct model_config *config, const struct json *member, struct error *error) {
    size_t class_index = 0;
    const char *text;
    if (!parse_class(member, config->labels, &class_index, error) || !json_as_string(member, &text, error))
        return false;
    if (config->label[class_index])
        return error_set(error, ERROR_INPUT, "config.json: id2label: class %zu twice, want each class once",
                         class_index);
    config->label[class_index] = allocate_string(text);
    return true;
}

/* transformers takes the number of labels from id2label; without it num_labels says it, and two are the default. */
static bool parse_labels(struct model_config *config, const struct json *root, struct error *error) {
    const struct json *names = NULL;
    int64_t count = 2;
    if (!json_optional_object(root, "id2label", &names, error))
        return false;
    if (!names) {
        if (!json_optional_integer(root, "num_labels", 1, LABELS_MOST, &count, error))
            return false;
        config->labels = (size_t)count;
        config->label = allocate(config->labels, sizeof *config->label);
        return true;
    }
    if (json_count(names) < 1 || json_count(names) > LABELS_MOST)
        return json_refuse(names, error, "1 to %d labels", LABELS_MOST);
    config->labels = json_count(names);
    config->label = allocate(config->labels, sizeof *config->label);
    for (size_t i = 0; i < config->labels; i++)
        if (!parse_label(config, json_at(names, i), error))
            return false;
    return true;
}

/* ---- activations ---- */

static const struct {
    const char *name;
    enum activation activation;
} activation_names[] = {
    {"gelu", ACTIVATION_GELU},
    {"gelu_python", ACTIVATION_GELU},
    {"gelu_new", ACTIVATION_GELU_TANH},
    {"gelu_fast", ACTIVATION_GELU_TANH},
    {"gelu_accurate", ACTIVATION_GELU_TANH},
    {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
    {"gelu_python_tanh", ACTIVATION_GELU_TANH},
    {"relu", ACTIVATION_RELU},
    {"tanh", ACTIVATION_TANH},
    {"linear", ACTIVATION_NONE},
};

bool parse_activation(const struct json *root, const char *key, enum activation fallback, enum activation *activation,
                      struct error *error) {
    const char *name = NULL;
    *activation = fallback;
    if (!json_optional_string(root, key, &name, error))
        return false;
    if (!name)
        return true;
    char names[240] = "";
    for (size_t i = 0; i < sizeof activation_names / sizeof *activation_names; i++) {
        *activation = activation_names[i].activation;
        if (strcmp(name, activation_names[i].name) == 0)
            return true;
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "one of ", activation_names[i].name);
    }
    json_refuse(json_find(root, key), error, "%s", names);
    if (error)
        error->code = ERROR_UNSUPPORTED;
    return false;
}

/* ---- the whole ---- */

static bool parse_config(struct model_config *config, const void *bytes, size_t size, struct error *error) {
    struct json *root = json_parse(bytes, size, "config.json", error);
    if (!root)
        return false;
    bool ok = json_as_object(root, error) && find_architecture(config, root, error) &&
              (!config->architecture->labels || parse_labels(config, root, error)) &&
              config->family->parse(config, root, error);
    json_destroy(&root);
    return ok;
}

/* How images become bytes and bytes become pixel values; the family's own way when the directory does not say. */
static bool parse_preprocessor(struct model_config *config, const void *bytes, size_t size, struct error *error) {
    bool ok = true;
    if (bytes) {
        struct json *root = json_parse(bytes, size, "preprocessor_config.json", error);
        ok = root && preprocess_parse(&config->preprocess, root, config->images, error);
        json_destroy(&root);
    } else {
        preprocess_default(&config->preprocess, config->images, config->image_height, config->image_width);
    }
    if (ok)
        preprocess_table(&config->preprocess, config->pixel_table);
    return ok;
}

struct model_config *model_config_new(const void *json, size_t json_bytes, const void *preprocessor,
                                      size_t preprocessor_bytes, struct error *error) {
    struct model_config *config = allocate(1, sizeof *config);
    if (!parse_config(config, json, json_bytes, error) ||
        !parse_preprocessor(config, preprocessor, preprocessor_bytes, error))
        model_config_destroy(&config);
    return config;
}

void model_config_destroy(struct model_config **config) {
    if (!*config)
        return;
    for (size_t i = 0; (*config)->label && i < (*config)->labels; i++)
        release((*config)->label[i]);
    release((*config)->label);
    release((*config)->shape);
    release(*config);
    *config = NULL;
}

/* ---- units, cuts and sizes ---- */

struct unit_place unit_place(unsigned units, unsigned unit) {
    assert(unit < units);
    if (unit == 0)
        return (struct unit_place){UNIT_EMBED, 0, 0};
    if (unit + 1 == units)
        return (struct unit_place){UNIT_HEAD, 0, 0};
    unsigned block = (unit - 1) / MODEL_BLOCK_UNITS, number = (unit - 1) % MODEL_BLOCK_UNITS;
    if (number < 2)
        return (struct unit_place){number == 0 ? UNIT_ATTENTION : UNIT_PROJECTION, block, 0};
    return (struct unit_place){UNIT_MLP, block, number - 2};
}

const char *model_architecture(const struct model_config *config) {
    return config->architecture->name;
}

unsigned model_units(const struct model_config *config) {
    return config->units;
}

const char *model_unit_name(const struct model_config *config, unsigned unit, char buffer[40]) {
    static const char *const names[] = {"embed", "attention", "projection", "MLP", "head"};
    struct unit_place place = unit_place(config->units, unit);
    unsigned number = (unit - 1) % MODEL_BLOCK_UNITS + 1;
    if (place.kind == UNIT_EMBED || place.kind == UNIT_HEAD)
        snprintf(buffer, 40, "%s", names[place.kind]);
    else if (place.kind == UNIT_MLP)
        snprintf(buffer, 40, "block %u.%u MLP %u/%d", place.block, number, place.part + 1, MODEL_MLP_PARTS);
    else
        snprintf(buffer, 40, "block %u.%u %s", place.block, number, names[place.kind]);
    return buffer;
}

struct slice model_same_weights(const struct model_config *config, unsigned unit) {
    struct unit_place place = unit_place(config->units, unit);
    unsigned first = unit - place.part;
    return (struct slice){first, place.kind == UNIT_MLP ? first + MODEL_MLP_PARTS : first + 1};
}

size_t payload_part_bytes(const struct payload_part *part) {
    size_t bytes = part->type == PAYLOAD_U8 ? 1 : sizeof(float);
    for (unsigned i = 0; i < part->rank; i++)
        bytes *= part->shape[i];
    return bytes;
}

size_t payload_bytes(const struct payload *payload) {
    size_t bytes = 0;
    for (unsigned p = 0; p < payload->parts; p++)
        bytes += payload_part_bytes(&payload->part[p]);
    return bytes;
}

void model_cut(const struct model_config *config, unsigned cut, struct payload *payload) {
    assert(cut <= config->units);
    config->family->cut(config, cut, payload);
}

double model_unit_flops(const struct model_config *config, unsigned unit) {
    return config->family->flops(config, unit);
}

size_t model_unit_weight_bytes(const struct model_config *config, unsigned unit) {
    struct unit_layout layout;
    size_t elements = 0;
    config->family->layout(config, unit, &layout);
    for (unsigned i = 0; i < layout.tensors; i++)
        elements += tensor_elements(layout.tensor[i].rank, layout.tensor[i].shape);
    return elements * sizeof(float);
}

unsigned model_find_weights(const struct model_config *config, struct slice slice, unsigned unit) {
    struct slice same = model_same_weights(config, unit);
    unsigned first = same.first > slice.first ? same.first : slice.first;
    return first < same.end && first < slice.end ? first : slice.end;
}

/* The first unit behind those that have the weights of this one. */
static unsigned next_weights(const struct model_config *config, unsigned unit) {
    return model_same_weights(config, unit).end;
}

size_t model_weight_bytes(const struct model_config *config, struct slice slice) {
    size_t bytes = 0;
    for (unsigned unit = slice.first; unit < slice.end; unit = next_weights(config, unit))
        bytes += model_unit_weight_bytes(config, unit);
    return bytes;
}

bool model_tensors(const struct model_config *config, struct slice slice,
                   bool (*visit)(void *context, const struct tensor *tensor), void *context) {
    struct unit_layout layout;
    for (unsigned unit = slice.first; unit < slice.end; unit = next_weights(config, unit)) {
        config->family->layout(config, unit, &layout);
        for (unsigned i = 0; i < layout.tensors; i++) {
            struct tensor tensor = {.name = layout.tensor[i].name, .rank = layout.tensor[i].rank};
            memcpy(tensor.shape, layout.tensor[i].shape, sizeof tensor.shape);
            if (!visit(context, &tensor))
                return false;
        }
    }
    return true;
}

enum answer_kind model_answer_kind(const struct model_config *config) {
    return config->answer;
}

unsigned model_answer_size(const struct model_config *config) {
    return config->answer_size;
}

const char *model_label(const struct model_config *config, unsigned class_index) {
    return class_index < config->labels ? config->label[class_index] : NULL;
}
