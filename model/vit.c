/* ViT and DeiT: image classifiers and embeddings (Dosovitskiy et al., arXiv 2010.11929; Touvron et al., arXiv
 * 2012.12877), as Hugging Face transformers' models/vit and models/deit compute them in eval mode.
 *
 * embed cuts the image into patches, projects each (a convolution whose stride is its kernel size is a matrix product),
 * puts the class token (DeiT: and the distillation token) before them and adds position embeddings. The blocks are
 * encoder_block.c's. head normalises the rows that are read - the class token's; with a teacher also the distillation
 * token's, whose two classifiers are averaged - and applies the classifier, or for the bare models the pooler when the
 * checkpoint has one.
 *
 * Everything is derived from `struct vit`, filled once by parse and owned by the model_config. All functions after that
 * are pure or write only into memory of the call; nothing allocates or fails.
 */
#include "base/allocate.h"
#include "model/encoder_block.h"

#include <stdio.h>
#include <string.h>

#define SIDE_MOST   16384 /* pixels */
#define TOKENS_MOST 65536

enum head { HEAD_CLASSIFIER, HEAD_TEACHER, HEAD_EMBEDDING };

/* What distinguishes the architectures of this family. */
struct variant {
    const char *prefix;      /* of every name below the head */
    const char *base_prefix; /* what transformers puts before the names of the bare model inside a larger one */
    const char *layers;      /* prefix + "encoder.layer." */
    unsigned special_tokens; /* class token; DeiT also has a distillation token */
    unsigned kept;           /* leading rows that the head reads */
    enum head head;
    enum preprocess_family images;
};

enum { VIT_CLASSIFIER, VIT_EMBEDDING, DEIT_CLASSIFIER, DEIT_TEACHER, DEIT_EMBEDDING };

static const struct variant variants[] = {
    [VIT_CLASSIFIER] = {"vit.", "vit.", "vit.encoder.layer.", 1, 1, HEAD_CLASSIFIER, PREPROCESS_VIT},
    [VIT_EMBEDDING] = {"", "vit.", "encoder.layer.", 1, 1, HEAD_EMBEDDING, PREPROCESS_VIT},
    [DEIT_CLASSIFIER] = {"deit.", "deit.", "deit.encoder.layer.", 2, 1, HEAD_CLASSIFIER, PREPROCESS_DEIT},
    [DEIT_TEACHER] = {"deit.", "deit.", "deit.encoder.layer.", 2, 2, HEAD_TEACHER, PREPROCESS_DEIT},
    [DEIT_EMBEDDING] = {"", "deit.", "encoder.layer.", 2, 1, HEAD_EMBEDDING, PREPROCESS_DEIT},
};

static const struct architecture architectures[] = {
    {"ViTForImageClassification", "vit", true, VIT_CLASSIFIER},
    {"ViTModel", "vit", false, VIT_EMBEDDING},
    {"DeiTForImageClassification", "deit", true, DEIT_CLASSIFIER},
    {"DeiTForImageClassificationWithTeacher", "deit", true, DEIT_TEACHER},
    {"DeiTModel", "deit", false, DEIT_EMBEDDING},
    {NULL, NULL, false, 0},
};

static const struct encoder_names block_names = {
    .norm1 = "layernorm_before",
    .query = "attention.attention.query",
    .key = "attention.attention.key",
    .value = "attention.attention.value",
    .projection = "attention.output.dense",
    .norm2 = "layernorm_after",
    .fc1 = "intermediate.dense",
    .fc2 = "output.dense",
};

struct vit {
    struct encoder encoder;
    const struct variant *variant;
    size_t height, width, channels, patch; /* of the image, in pixels; of a patch */
    size_t patches;                        /* per image */
    size_t answer;                         /* labels, or size of the embedding */
    bool pooler;
    enum activation pooler_activation;
};

/* Slots of embed and head. */
enum { EMBED_POSITION, EMBED_SPECIAL, EMBED_BIAS };
enum { HEAD_GAIN, HEAD_SHIFT, HEAD_BIAS };

static const struct vit *vit_of(const struct model_config *config) {
    return config->shape;
}

static struct unit_place place_of(const struct model_config *config, unsigned unit) {
    return unit_place(config->units, unit);
}

/* ---- config.json ---- */

/* An integer, or an array of two: [height, width]. */
static bool parse_sides(const struct json *root, const char *key, int64_t most, int64_t sides[2], struct error *error) {
    const struct json *value = json_find(root, key);
    if (!value)
        return true;
    if (json_kind(value) != JSON_KIND_ARRAY) {
        if (!json_as_integer(value, 1, most, &sides[0], error))
            return false;
        sides[1] = sides[0];
        return true;
    }
    if (json_count(value) != 2)
        return json_refuse(value, error, "a number or [height, width]");
    return json_as_integer(json_at(value, 0), 1, most, &sides[0], error) &&
           json_as_integer(json_at(value, 1), 1, most, &sides[1], error);
}

/* For a number that is in range by itself but does not fit the others; the default counts as given. */
static bool refuse(const struct json *root, struct error *error, const char *key, int64_t got, const char *want) {
    const struct json *value = json_find(root, key);
    if (value)
        return json_refuse(value, error, "%s", want);
    return error_set(error, ERROR_INPUT, "config.json: %s: got %lld (the default), want %s", key, (long long)got, want);
}

static bool parse_geometry(struct vit *vit, const struct json *root, struct error *error) {
    int64_t image[2] = {224, 224}, patch[2] = {16, 16}, channels = 3;
    char want[96];
    if (!parse_sides(root, "image_size", SIDE_MOST, image, error) ||
        !parse_sides(root, "patch_size", SIDE_MOST, patch, error) ||
        !json_optional_integer(root, "num_channels", 1, 3, &channels, error))
        return false;
    if (channels != 3)
        return refuse(root, error, "num_channels", channels, "3 (colour images)");
    if (patch[0] != patch[1])
        return refuse(root, error, "patch_size", patch[0], "a square patch");
    if (image[0] % patch[0] || image[1] % patch[0]) {
        snprintf(want, sizeof want, "multiples of patch_size %lld", (long long)patch[0]);
        return refuse(root, error, "image_size", image[0], want);
    }
    vit->height = (size_t)image[0];
    vit->width = (size_t)image[1];
    vit->patch = (size_t)patch[0];
    vit->channels = (size_t)channels;
    vit->patches = (vit->height / vit->patch) * (vit->width / vit->patch);
    if (vit->patches + vit->variant->special_tokens > TOKENS_MOST) {
        snprintf(want, sizeof want, "an image of at most %d patches", TOKENS_MOST - 2);
        return refuse(root, error, "image_size", image[0], want);
    }
    return true;
}

static bool parse_heads(const struct json *root, int64_t hidden, int64_t heads, struct error *error) {
    char want[96];
    int64_t head_size = hidden / heads, given = head_size;
    if (hidden % heads) {
        snprintf(want, sizeof want, "a divisor of hidden_size %lld", (long long)hidden);
        return refuse(root, error, "num_attention_heads", heads, want);
    }
    if (!json_optional_integer(root, "head_dim", 1, 65536, &given, error))
        return false;
    snprintf(want, sizeof want, "%lld, hidden_size / num_attention_heads", (long long)head_size);
    return given == head_size || refuse(root, error, "head_dim", given, want);
}

static bool parse_encoder(struct vit *vit, const struct json *root, struct error *error) {
    int64_t hidden = 768, blocks = 12, heads = 12, intermediate = 3072;
    double epsilon = 1e-12;
    struct encoder *encoder = &vit->encoder;
    encoder->qkv_bias = true;
    if (!json_optional_integer(root, "hidden_size", 1, 65536, &hidden, error) ||
        !json_optional_integer(root, "num_hidden_layers", 1, 1024, &blocks, error) ||
        !json_optional_integer(root, "num_attention_heads", 1, 65536, &heads, error) ||
        !json_optional_integer(root, "intermediate_size", 1, 262144, &intermediate, error) ||
        !json_optional_number(root, "layer_norm_eps", 0, 1, &epsilon, error) ||
        !json_optional_boolean(root, "qkv_bias", &encoder->qkv_bias, error) ||
        !parse_activation(root, "hidden_act", ACTIVATION_GELU, &encoder->activation, error) ||
        !parse_heads(root, hidden, heads, error))
        return false;
    encoder->hidden = (size_t)hidden;
    encoder->blocks = (unsigned)blocks;
    encoder->heads = (size_t)heads;
    encoder->intermediate = (size_t)intermediate;
    encoder->epsilon = (float)epsilon;
    encoder->tokens = (unsigned)vit->patches + vit->variant->special_tokens;
    encoder->kept = vit->variant->kept;
    encoder->layers = vit->variant->layers;
    encoder->names = &block_names;
    return true;
}

/* The checkpoint may lack the pooler (ViTModel(add_pooling_layer=False)); see OPTIONAL_WEIGHTS_KEY. */
static bool parse_pooler(struct vit *vit, const struct json *root, struct error *error) {
    int64_t size = (int64_t)vit->encoder.hidden;
    vit->pooler = true;
    if (!json_optional_boolean(root, OPTIONAL_WEIGHTS_KEY, &vit->pooler, error))
        return false;
    if (vit->pooler && (!json_optional_integer(root, "pooler_output_size", 1, 65536, &size, error) ||
                        !parse_activation(root, "pooler_act", ACTIVATION_TANH, &vit->pooler_activation, error)))
        return false;
    vit->answer = (size_t)size;
    return true;
}

static bool vit_parse(struct model_config *config, const struct json *root, struct error *error) {
    struct vit *vit = allocate(1, sizeof *vit);
    config->shape = vit;
    vit->variant = &variants[config->architecture->variant];
    vit->answer = config->labels;
    if (!parse_geometry(vit, root, error) || !parse_encoder(vit, root, error))
        return false;
    if (vit->variant->head == HEAD_EMBEDDING && !parse_pooler(vit, root, error))
        return false;
    config->units = MODEL_BLOCK_UNITS * vit->encoder.blocks + 2;
    config->answer = vit->variant->head == HEAD_EMBEDDING ? ANSWER_EMBEDDING : ANSWER_LOGITS;
    config->answer_size = (unsigned)vit->answer;
    config->image_height = (unsigned)vit->height;
    config->image_width = (unsigned)vit->width;
    config->images = vit->variant->images;
    return true;
}

/* ---- description ---- */

static void vit_cut(const struct model_config *config, unsigned cut, struct payload *payload) {
    const struct vit *vit = vit_of(config);
    if (cut == 0)
        *payload = (struct payload){
            1, {{PAYLOAD_U8, 3, {(uint32_t)vit->height, (uint32_t)vit->width, (uint32_t)vit->channels}}}};
    else if (cut == config->units)
        *payload = (struct payload){1, {{PAYLOAD_F32, 1, {(uint32_t)vit->answer}}}};
    else
        encoder_cut(&vit->encoder, cut, payload);
}

static size_t patch_inputs(const struct vit *vit) {
    return vit->channels * vit->patch * vit->patch;
}

static double vit_flops(const struct model_config *config, unsigned unit) {
    const struct vit *vit = vit_of(config);
    struct unit_place place = place_of(config, unit);
    double d = (double)vit->encoder.hidden, answer = (double)vit->answer;
    if (place.kind == UNIT_EMBED)
        return 2 * (double)vit->patches * (double)patch_inputs(vit) * d;
    if (place.kind != UNIT_HEAD)
        return encoder_flops(&vit->encoder, place);
    if (vit->variant->head == HEAD_EMBEDDING)
        return vit->pooler ? 2 * d * answer : 0;
    return 2 * d * answer * vit->variant->kept;
}

static void embed_tensor(const struct vit *vit, struct unit_layout *layout, unsigned slot, const char *part,
                         size_t rows) {
    char name[TENSOR_NAME_BYTES];
    snprintf(name, sizeof name, "%sembeddings.%s", vit->variant->prefix, part);
    layout_vector(layout, slot, name, 3, (const uint64_t[]){1, rows, vit->encoder.hidden});
}

static void embed_layout(const struct vit *vit, struct unit_layout *layout) {
    char name[TENSOR_NAME_BYTES];
    size_t d = vit->encoder.hidden;
    embed_tensor(vit, layout, EMBED_SPECIAL, "cls_token", 1);
    if (vit->variant->special_tokens == 2)
        embed_tensor(vit, layout, EMBED_SPECIAL, "distillation_token", 1);
    embed_tensor(vit, layout, EMBED_POSITION, "position_embeddings", vit->encoder.tokens);
    snprintf(name, sizeof name, "%sembeddings.patch_embeddings.projection.weight", vit->variant->prefix);
    layout_matrix(layout, 0, name, 4, (const uint64_t[]){d, vit->channels, vit->patch, vit->patch});
    snprintf(name, sizeof name, "%sembeddings.patch_embeddings.projection.bias", vit->variant->prefix);
    layout_vector(layout, EMBED_BIAS, name, 1, (const uint64_t[]){d});
}

static void head_layout(const struct vit *vit, struct unit_layout *layout) {
    char name[TENSOR_NAME_BYTES];
    size_t d = vit->encoder.hidden;
    snprintf(name, sizeof name, "%slayernorm", vit->variant->prefix);
    layout_norm(layout, HEAD_GAIN, HEAD_SHIFT, name, d);
    switch (vit->variant->head) {
    case HEAD_CLASSIFIER:
        layout_linear(layout, 0, HEAD_BIAS, "classifier", vit->answer, d, true);
        break;
    case HEAD_TEACHER: /* matrix slot r reads kept row r; the biases lie one after the other */
        layout_linear(layout, 0, HEAD_BIAS, "cls_classifier", vit->answer, d, true);
        layout_linear(layout, 1, HEAD_BIAS, "distillation_classifier", vit->answer, d, true);
        break;
    case HEAD_EMBEDDING:
        if (vit->pooler)
            layout_linear(layout, 0, HEAD_BIAS, "pooler.dense", vit->answer, d, true);
        break;
    }
}

static void vit_layout(const struct model_config *config, unsigned unit, struct unit_layout *layout) {
    const struct vit *vit = vit_of(config);
    struct unit_place place = place_of(config, unit);
    memset(layout, 0, sizeof *layout);
    if (place.kind == UNIT_EMBED)
        embed_layout(vit, layout);
    else if (place.kind == UNIT_HEAD)
        head_layout(vit, layout);
    else
        encoder_layout(&vit->encoder, place, layout);
}

static const char *vit_optional_tensor(const struct model_config *config) {
    return vit_of(config)->variant->head == HEAD_EMBEDDING ? "pooler.dense.weight" : NULL;
}

/* ---- other names ---- */

/* transformers 5 uses these names in memory (it still saves the old ones), so a saved state_dict has them. */
static const struct {
    const char *hub, *modern;
} modern_parts[] = {
    {".attention.attention.query.", ".attention.q_proj."},
    {".attention.attention.key.", ".attention.k_proj."},
    {".attention.attention.value.", ".attention.v_proj."},
    {".attention.output.dense.", ".attention.o_proj."},
    {".intermediate.dense.", ".mlp.fc1."},
    {".output.dense.", ".mlp.fc2."},
};

/* Replaces the first `part` of the name; false when it is not there or the result does not fit. */
static bool replace(const char *name, const char *part, const char *by, char other[TENSOR_NAME_BYTES]) {
    const char *at = strstr(name, part);
    if (!at)
        return false;
    int length = snprintf(other, TENSOR_NAME_BYTES, "%.*s%s%s", (int)(at - name), name, by, at + strlen(part));
    return length > 0 && length < TENSOR_NAME_BYTES;
}

static bool modern_name(const char *name, char other[TENSOR_NAME_BYTES]) {
    char layers[TENSOR_NAME_BYTES];
    if (!replace(name, "encoder.layer.", "layers.", layers))
        return false;
    for (size_t i = 0; i < sizeof modern_parts / sizeof *modern_parts; i++)
        if (replace(layers, modern_parts[i].hub, modern_parts[i].modern, other))
            return true;
    memcpy(other, layers, sizeof layers); /* the layer norms kept their names */
    return true;
}

/* A classifier's checkpoint opened as a bare model has a prefix that the bare model's own has not, and the other way
 * round. */
static bool other_prefix(const struct variant *variant, const char *name, char other[TENSOR_NAME_BYTES]) {
    size_t length = strlen(variant->base_prefix);
    if (strncmp(name, variant->base_prefix, length) == 0)
        return snprintf(other, TENSOR_NAME_BYTES, "%s", name + length) < TENSOR_NAME_BYTES;
    if (variant->head != HEAD_EMBEDDING)
        return false;
    return snprintf(other, TENSOR_NAME_BYTES, "%s%s", variant->base_prefix, name) < TENSOR_NAME_BYTES;
}

static bool vit_alias(const struct model_config *config, const char *name, unsigned index,
                      char other[TENSOR_NAME_BYTES]) {
    const struct variant *variant = vit_of(config)->variant;
    char prefixed[TENSOR_NAME_BYTES];
    if (index == 0)
        return other_prefix(variant, name, other);
    if (index == 1)
        return modern_name(name, other);
    return other_prefix(variant, name, prefixed) && modern_name(prefixed, other);
}

/* ---- memory ---- */

static size_t patches_bytes(const struct vit *vit) {
    return align64(vit->patches * patch_inputs(vit) * sizeof(float));
}

static size_t head_norm_bytes(const struct vit *vit, size_t items) {
    return align64(items * vit->encoder.kept * vit->encoder.hidden * sizeof(float));
}

static size_t teacher_bytes(const struct vit *vit, size_t items) {
    return vit->variant->head == HEAD_TEACHER ? align64(items * vit->answer * sizeof(float)) : 0;
}

static size_t vit_temporary_bytes(const struct model_config *config, struct slice slice, size_t items,
                                  const struct kernels *kernels, unsigned threads) {
    const struct vit *vit = vit_of(config);
    struct unit_place place = place_of(config, slice.first);
    size_t d = vit->encoder.hidden;
    if (place.kind == UNIT_EMBED)
        return patches_bytes(vit) + kernels->linear_scratch_bytes(vit->patches, d, patch_inputs(vit), threads);
    if (place.kind == UNIT_HEAD)
        return head_norm_bytes(vit, items) + teacher_bytes(vit, items) +
               kernels->linear_scratch_bytes(items, vit->answer, d, threads);
    return encoder_temporary_bytes(&vit->encoder, place, slice.end - slice.first, items, kernels, threads);
}

/* ---- work ---- */

/* One item: patches -> product + bias + positions, below the special tokens' rows. */
static void embed_item(const struct vit *vit, const struct unit_call *call, const uint8_t *pixels, float *out) {
    size_t d = vit->encoder.hidden, special = vit->variant->special_tokens;
    const float *position = call->weights->vector[EMBED_POSITION];
    const float *token = call->weights->vector[EMBED_SPECIAL];
    for (size_t i = 0; i < special * d; i++)
        out[i] = token[i] + position[i];
    struct patches cut = {.items = 1,
                          .height = vit->height,
                          .width = vit->width,
                          .channels = vit->channels,
                          .patch = vit->patch,
                          .pixels = pixels,
                          .table = &call->config->pixel_table[0][0],
                          .out = (void *)call->temporary};
    call->kernels->patches(&cut, call->pool);
    struct linear product = {.weight = &call->weights->matrix[0],
                             .bias = call->weights->vector[EMBED_BIAS],
                             .in = cut.out,
                             .in_stride = patch_inputs(vit),
                             .rows = vit->patches,
                             .residual = position + special * d,
                             .residual_stride = d,
                             .out = out + special * d,
                             .out_stride = d,
                             .scratch = call->temporary + patches_bytes(vit)};
    call->kernels->linear(&product, call->pool);
}

/* Item by item: the positions are the residual of each, and the patches of one item are all that needs memory. */
static void embed(const struct vit *vit, const struct unit_call *call) {
    const uint8_t *pixels = call->in[0];
    float *out = call->out[0];
    for (size_t b = 0; b < call->items; b++)
        embed_item(vit, call, pixels + b * vit->height * vit->width * vit->channels,
                   out + b * vit->encoder.tokens * vit->encoder.hidden);
}

/* Kept row r of every item through the r-th matrix of the head. */
static void head_product(const struct vit *vit, const struct unit_call *call, size_t r, const float *normed, float *out,
                         void *scratch) {
    size_t d = vit->encoder.hidden;
    struct linear product = {.weight = &call->weights->matrix[r],
                             .bias = call->weights->vector[HEAD_BIAS] + r * vit->answer,
                             .activation = vit->pooler_activation,
                             .in = normed + r * d,
                             .in_stride = vit->encoder.kept * d,
                             .rows = call->items,
                             .out = out,
                             .out_stride = vit->answer,
                             .scratch = scratch};
    call->kernels->linear(&product, call->pool);
}

static void head(const struct vit *vit, const struct unit_call *call) {
    size_t d = vit->encoder.hidden;
    bool bare = vit->variant->head == HEAD_EMBEDDING && !vit->pooler;
    float *out = call->out[0];
    float *normed = bare ? out : (void *)call->temporary;
    float *taught = (void *)(call->temporary + head_norm_bytes(vit, call->items));
    void *scratch = call->temporary + head_norm_bytes(vit, call->items) + teacher_bytes(vit, call->items);
    call->kernels->layer_norm(call->items * vit->encoder.kept, d, call->in[0], d, call->weights->vector[HEAD_GAIN],
                              call->weights->vector[HEAD_SHIFT], vit->encoder.epsilon, normed, d, call->pool);
    if (bare)
        return;
    head_product(vit, call, 0, normed, out, scratch);
    if (vit->variant->head != HEAD_TEACHER)
        return;
    head_product(vit, call, 1, normed, taught, scratch);
    for (size_t i = 0; i < call->items * vit->answer; i++)
        out[i] = (out[i] + taught[i]) / 2;
}

static void vit_forward(const struct unit_call *call) {
    const struct vit *vit = vit_of(call->config);
    struct unit_place place = place_of(call->config, call->unit);
    if (place.kind == UNIT_EMBED)
        embed(vit, call);
    else if (place.kind == UNIT_HEAD)
        head(vit, call);
    else
        encoder_forward(&vit->encoder, place, call);
}

const struct family family_vit = {
    .architectures = architectures,
    .parse = vit_parse,
    .cut = vit_cut,
    .flops = vit_flops,
    .layout = vit_layout,
    .temporary_bytes = vit_temporary_bytes,
    .forward = vit_forward,
    .aliases = 3,
    .alias = vit_alias,
    .optional_tensor = vit_optional_tensor,
};
