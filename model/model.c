/* A Hugging Face model directory: configuration, preprocessing and mapped weights under their public names.
 *
 * model_open reads config.json and preprocessor_config.json, maps the weights, and asks the family for every tensor of
 * every unit: each must be there with the right shape. A checkpoint that lacks the architecture's optional weights (a
 * bare ViT without pooler) is a model without them; as a board sees only the bytes of config.json and no checkpoint,
 * the fact is written into those bytes (OPTIONAL_WEIGHTS_KEY). Tensors that a checkpoint holds under another name are
 * found through the family's aliases, so that everybody else, boards included, knows public names only.
 *
 * The model owns mapping and bytes; everything borrowed from it dies with model_close. After model_open it is read by
 * any number of threads.
 */
#include "base/allocate.h"
#include "base/file.h"
#include "model/checkpoint.h"
#include "model/slice.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_MOST ((size_t)64 << 20)

struct model {
    char *config_json;
    size_t config_bytes;
    void *preprocessor_json; /* NULL: the directory has none */
    size_t preprocessor_bytes;
    struct model_config *config;
    struct checkpoint *checkpoint;
};

/* ---- tensors by public name ---- */

/* A failure that is not *absent is a fault of the tensor itself, which no other name would mend. */
static bool find_by_alias(const struct model *model, const char *name, struct tensor *tensor, bool *absent,
                          struct error *error) {
    const struct family *family = model->config->family;
    char other[TENSOR_NAME_BYTES];
    for (unsigned i = 0; i < family->aliases; i++) {
        if (!family->alias(model->config, name, i, other))
            continue;
        if (checkpoint_find(model->checkpoint, other, tensor, absent, error))
            return true;
        if (!*absent)
            return false;
    }
    return false;
}

static bool find_tensor(const struct model *model, const char *name, struct tensor *tensor, bool *absent,
                        struct error *error) {
    struct error other;
    if (checkpoint_find(model->checkpoint, name, tensor, absent, error))
        return true;
    if (!*absent)
        return false;
    if (find_by_alias(model, name, tensor, absent, &other))
        return true;
    if (!*absent && error) /* while the public name's own error stays when no name is there */
        *error = other;
    return false;
}

static bool source_find(void *context, const char *name, struct tensor *tensor, struct error *error) {
    bool absent;
    return find_tensor(context, name, tensor, &absent, error);
}

static void source_release(void *context, const struct tensor *tensor) {
    (void)context;
    file_forget(tensor->data, (size_t)tensor->bytes);
}

struct tensor_source model_source(struct model *model) {
    return (struct tensor_source){.context = model, .find = source_find, .release = source_release};
}

/* ---- opening ---- */

/* Reads a small file of the directory whole. An absent one is no fault when `optional`: *contents stays NULL. */
static bool read_member(const char *directory, const char *name, bool optional, void **contents, size_t *size,
                        struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, directory, name, error))
        return false;
    if (optional && !file_exists(path))
        return true;
    return file_read(path, CONFIG_MOST, contents, size, error);
}

static bool parse(struct model *model, struct error *error) {
    model_config_destroy(&model->config);
    model->config = model_config_new(model->config_json, model->config_bytes, model->preprocessor_json,
                                     model->preprocessor_bytes, error);
    return model->config != NULL;
}

/* Puts the key before the closing brace. The text is a JSON object with at least one member, because it was parsed. */
static void say_optional_absent(struct model *model) {
    static const char text[] = ", \"" OPTIONAL_WEIGHTS_KEY "\": false}\n";
    size_t brace = model->config_bytes - 1;
    while (model->config_json[brace] != '}')
        brace--;
    char *extended = allocate(brace + sizeof text, 1);
    memcpy(extended, model->config_json, brace);
    memcpy(extended + brace, text, sizeof text - 1);
    release(model->config_json);
    model->config_json = extended;
    model->config_bytes = brace + sizeof text - 1;
}

static bool settle_optional(struct model *model, struct error *error) {
    const char *name = model->config->family->optional_tensor(model->config);
    struct tensor tensor;
    bool absent;
    if (!name || find_tensor(model, name, &tensor, &absent, NULL) || !absent)
        return true;
    say_optional_absent(model);
    return parse(model, error);
}

static bool check_unit(const struct model *model, unsigned unit, struct error *error) {
    struct unit_layout layout;
    struct tensor tensor;
    bool absent;
    model->config->family->layout(model->config, unit, &layout);
    for (unsigned i = 0; i < layout.tensors; i++) {
        if (!find_tensor(model, layout.tensor[i].name, &tensor, &absent, error))
            return false;
        if (!tensor_check(&tensor, &layout.tensor[i], error))
            return error_wrap(error, "%s", checkpoint_directory(model->checkpoint));
    }
    return true;
}

static bool open_all(struct model *model, const char *directory, struct error *error) {
    void *config = NULL;
    bool read = read_member(directory, "config.json", false, &config, &model->config_bytes, error);
    model->config_json = config;
    if (!read || !read_member(directory, "preprocessor_config.json", true, &model->preprocessor_json,
                              &model->preprocessor_bytes, error))
        return false;
    if (!parse(model, error))
        return error_wrap(error, "%s", directory);
    if (!(model->checkpoint = checkpoint_open(directory, error)) || !settle_optional(model, error))
        return false;
    for (unsigned unit = 0; unit < model->config->units; unit++)
        if (!check_unit(model, unit, error))
            return false;
    return true;
}

struct model *model_open(const char *directory, struct error *error) {
    struct model *model = allocate(1, sizeof *model);
    if (!open_all(model, directory, error))
        model_close(&model);
    return model;
}

void model_close(struct model **model) {
    if (!*model)
        return;
    model_config_destroy(&(*model)->config);
    checkpoint_close(&(*model)->checkpoint);
    release((*model)->config_json);
    release((*model)->preprocessor_json);
    release(*model);
    *model = NULL;
}

const struct model_config *model_borrow_config(const struct model *model) {
    return model->config;
}

void model_borrow_json(const struct model *model, const void **config, size_t *config_bytes, const void **preprocessor,
                       size_t *preprocessor_bytes) {
    *config = model->config_json;
    *config_bytes = model->config_bytes;
    *preprocessor = model->preprocessor_json;
    *preprocessor_bytes = model->preprocessor_json ? model->preprocessor_bytes : 0;
}
