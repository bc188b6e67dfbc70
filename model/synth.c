/* Model directories with seeded random weights, as they would come from the hub; for sizing, benchmarks and tests.
 *
 * model_synthesise writes the config.json of a preset, parses it with the program's own reader, and asks the resulting
 * configuration for its tensors: so a preset is a row of numbers, and names and shapes cannot drift from what
 * slice_pack wants. Values stream through one small buffer, whatever the model's size. They depend on seed, tensor name
 * and position only, are made with integer arithmetic and single IEEE roundings, and are therefore the same bytes
 * everywhere.
 *
 * Scales are chosen so that signals keep their size through the layers and attention is not flat: two images get
 * clearly different logits. config.json is written last: a directory that was not finished does not open as a model.
 * Every failure (a full disk, a directory in use) removes what was written.
 */
#include "model/synth.h"

#include "base/allocate.h"
#include "base/file.h"
#include "model/family.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SHARD_LIMIT  (UINT64_C(2) << 30)
#define CHUNK_VALUES 16384

/* ---- presets ---- */

struct preset {
    const char *name, *architecture;
    unsigned hidden, blocks, heads, intermediate, image, patch, labels;
};

static const struct preset presets[] = {
    {"vit-nano", "ViTForImageClassification", 48, 3, 3, 96, 32, 8, 10}, /* for tests: opens and runs in no time */
    {"vit-tiny", "ViTForImageClassification", 192, 12, 3, 768, 224, 16, 1000},
    {"vit-small", "ViTForImageClassification", 384, 12, 6, 1536, 224, 16, 1000},
    {"vit-base", "ViTForImageClassification", 768, 12, 12, 3072, 224, 16, 1000},
    {"vit-large", "ViTForImageClassification", 1024, 24, 16, 4096, 224, 16, 1000},
    {"vit-huge", "ViTForImageClassification", 1280, 32, 16, 5120, 224, 14, 1000},
    {"deit-tiny", "DeiTForImageClassification", 192, 12, 3, 768, 224, 16, 1000},
    {"deit-small", "DeiTForImageClassification", 384, 12, 6, 1536, 224, 16, 1000},
    {"deit-base", "DeiTForImageClassification", 768, 12, 12, 3072, 224, 16, 1000},
    {"deit-nano-distilled", "DeiTForImageClassificationWithTeacher", 48, 3, 3, 96, 32, 8, 10},
    {"deit-tiny-distilled", "DeiTForImageClassificationWithTeacher", 192, 12, 3, 768, 224, 16, 1000},
    {"deit-small-distilled", "DeiTForImageClassificationWithTeacher", 384, 12, 6, 1536, 224, 16, 1000},
    {"deit-base-distilled", "DeiTForImageClassificationWithTeacher", 768, 12, 12, 3072, 224, 16, 1000},
};

#define PRESETS (sizeof presets / sizeof *presets)

const char *model_synthesise_name(size_t index) {
    return index < PRESETS ? presets[index].name : NULL;
}

static const struct preset *find_preset(const char *name, struct error *error) {
    char names[360] = "";
    for (size_t i = 0; i < PRESETS; i++) {
        if (strcmp(presets[i].name, name) == 0)
            return &presets[i];
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", presets[i].name);
    }
    error_set(error, ERROR_USAGE, "no architecture \"%.40s\", want one of %s", name, names);
    return NULL;
}

static bool is_deit(const struct preset *preset) {
    return strncmp(preset->name, "deit", 4) == 0;
}

/* ---- text ---- */

struct text {
    char *data;
    size_t used, capacity;
};

__attribute__((format(printf, 2, 3))) static void append(struct text *text, const char *format, ...) {
    char piece[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(piece, sizeof piece, format, arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < sizeof piece);
    void *grown = text->data;
    allocate_grow(&grown, &text->capacity, text->used + (size_t)length, 1);
    text->data = grown;
    memcpy(text->data + text->used, piece, (size_t)length);
    text->used += (size_t)length;
}

static void append_labels(struct text *text, unsigned labels) {
    append(text, "  \"id2label\": {\n");
    for (unsigned i = 0; i < labels; i++)
        append(text, "    \"%u\": \"LABEL_%u\"%s\n", i, i, i + 1 < labels ? "," : "");
    append(text, "  },\n  \"label2id\": {\n");
    for (unsigned i = 0; i < labels; i++)
        append(text, "    \"LABEL_%u\": %u%s\n", i, i, i + 1 < labels ? "," : "");
    append(text, "  },\n");
}

static void write_config(struct text *text, const struct preset *preset) {
    append(text, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n", preset->architecture);
    append(text, "  \"hidden_act\": \"gelu\",\n  \"hidden_size\": %u,\n", preset->hidden);
    append_labels(text, preset->labels);
    append(text, "  \"image_size\": %u,\n  \"intermediate_size\": %u,\n", preset->image, preset->intermediate);
    append(text, "  \"layer_norm_eps\": 1e-12,\n  \"model_type\": \"%s\",\n", is_deit(preset) ? "deit" : "vit");
    append(text, "  \"num_attention_heads\": %u,\n  \"num_channels\": 3,\n", preset->heads);
    append(text, "  \"num_hidden_layers\": %u,\n  \"patch_size\": %u,\n", preset->blocks, preset->patch);
    append(text, "  \"qkv_bias\": true\n}\n");
}

/* As the hub's processors of google/vit-* and facebook/deit-*: DeiT resizes to 8/7 of the size and crops its centre. */
static void write_preprocessor(struct text *text, const struct preset *preset) {
    unsigned side = preset->image, resized = is_deit(preset) ? side * 8 / 7 : side;
    append(text, "{\n  \"do_normalize\": true,\n  \"do_rescale\": true,\n  \"do_resize\": true,\n");
    if (is_deit(preset))
        append(text, "  \"crop_size\": {\"height\": %u, \"width\": %u},\n  \"do_center_crop\": true,\n", side, side);
    append(text, "  \"image_mean\": %s,\n", is_deit(preset) ? "[0.485, 0.456, 0.406]" : "[0.5, 0.5, 0.5]");
    append(text, "  \"image_processor_type\": \"%s\",\n", is_deit(preset) ? "DeiTImageProcessor" : "ViTImageProcessor");
    append(text, "  \"image_std\": %s,\n", is_deit(preset) ? "[0.229, 0.224, 0.225]" : "[0.5, 0.5, 0.5]");
    append(text, "  \"resample\": %u,\n  \"rescale_factor\": 0.00392156862745098,\n", is_deit(preset) ? 3 : 2);
    append(text, "  \"size\": {\"height\": %u, \"width\": %u}\n}\n", resized, resized);
}

/* ---- values ---- */

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): the i-th number of a stream.
 */
static uint64_t random_at(uint64_t key, uint64_t i) {
    uint64_t z = key + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A stream for each tensor: seed and name (FNV-1a). */
static uint64_t stream_key(uint64_t seed, const char *name) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return random_at(hash, seed);
}

/* The sum of four uniform 16-bit numbers: nearly normal, and bounded at 3.46 standard deviations, of 65536 / sqrt(3)
 * each. */
static float normal_at(uint64_t key, uint64_t i, double mean, double deviation) {
    uint64_t bits = random_at(key, i);
    int64_t sum = (int64_t)(bits & 0xffff) + (int64_t)(bits >> 16 & 0xffff) + (int64_t)(bits >> 32 & 0xffff) +
                  (int64_t)(bits >> 48);
    double unit = (double)(sum - 2 * 65535) * (1.7320508075688772 / 65536);
    return (float)(mean + unit * deviation);
}

static bool ends_with(const char *name, const char *end) {
    size_t length = strlen(name), tail = strlen(end);
    return length >= tail && strcmp(name + length - tail, end) == 0;
}

/* Mean and deviation by what a tensor is, which its shape tells: gains of norms, biases, tokens and positions,
 * matrices. */
static void choose_scale(const struct tensor *tensor, double *mean, double *deviation) {
    bool gain = tensor->rank == 1 && ends_with(tensor->name, ".weight");
    *mean = gain ? 1 : 0;
    if (gain || tensor->rank == 3)
        *deviation = 0.1;
    else if (tensor->rank == 1)
        *deviation = 0.02;
    else
        *deviation = (strstr(tensor->name, "classifier") ? 2.0 : 1.1) /
                     sqrt((double)tensor_elements(tensor->rank - 1, tensor->shape + 1));
}

static bool write_values(FILE *file, const struct tensor *tensor, uint64_t seed, uint8_t *chunk) {
    size_t left = tensor_elements(tensor->rank, tensor->shape);
    uint64_t key = stream_key(seed, tensor->name), at = 0;
    double mean, deviation;
    choose_scale(tensor, &mean, &deviation);
    while (left > 0) {
        size_t count = left < CHUNK_VALUES ? left : CHUNK_VALUES;
        for (size_t i = 0; i < count; i++) {
            float value = normal_at(key, at++, mean, deviation);
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            for (unsigned byte = 0; byte < 4; byte++)
                chunk[4 * i + byte] = (uint8_t)(bits >> 8 * byte);
        }
        if (fwrite(chunk, 4, count, file) != count)
            return false;
        left -= count;
    }
    return true;
}

/* ---- files ---- */

struct synthesis {
    const struct preset *preset;
    const char *directory;
    uint64_t seed, shard_limit;
    struct tensor *tensors; /* names owned */
    size_t *shard_of;       /* [count] */
    size_t count, capacity, shards;
    uint64_t total_bytes;
};

static uint64_t tensor_bytes(const struct tensor *tensor) {
    return (uint64_t)tensor_elements(tensor->rank, tensor->shape) * sizeof(float);
}

static void shard_name(const struct synthesis *synthesis, size_t shard, char name[64]) {
    if (synthesis->shards == 1)
        snprintf(name, 64, "model.safetensors");
    else
        snprintf(name, 64, "model-%05zu-of-%05zu.safetensors", shard + 1, synthesis->shards);
}

/* The header, padded with spaces so that the data begins at a multiple of 8. */
static void write_header(struct text *text, const struct synthesis *synthesis, size_t shard) {
    uint64_t offset = 0;
    append(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < synthesis->count; i++) {
        const struct tensor *tensor = &synthesis->tensors[i];
        if (synthesis->shard_of[i] != shard)
            continue;
        append(text, ",\"%s\":{\"dtype\":\"F32\",\"shape\":[", tensor->name);
        for (unsigned d = 0; d < tensor->rank; d++)
            append(text, "%s%" PRIu64, d ? "," : "", tensor->shape[d]);
        append(text, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", offset, offset + tensor_bytes(tensor));
        offset += tensor_bytes(tensor);
    }
    append(text, "}");
    while (text->used % 8)
        append(text, " ");
}

static bool write_tensors(const struct synthesis *synthesis, size_t shard, FILE *file) {
    uint8_t *chunk = allocate(CHUNK_VALUES, sizeof(float));
    bool ok = true;
    for (size_t i = 0; ok && i < synthesis->count; i++)
        if (synthesis->shard_of[i] == shard)
            ok = write_values(file, &synthesis->tensors[i], synthesis->seed, chunk);
    release(chunk);
    return ok;
}

static bool write_shard(const struct synthesis *synthesis, size_t shard, struct error *error) {
    char name[64], path[4096];
    struct text header = {0};
    uint8_t length[8];
    shard_name(synthesis, shard, name);
    if (!path_join(path, sizeof path, synthesis->directory, name, error))
        return false;
    FILE *file = fopen(path, "wbxe");
    if (!file)
        return error_set_errno(error, "%s", path);
    write_header(&header, synthesis, shard);
    for (unsigned byte = 0; byte < 8; byte++)
        length[byte] = (uint8_t)((uint64_t)header.used >> 8 * byte);
    bool ok = fwrite(length, 1, 8, file) == 8 && fwrite(header.data, 1, header.used, file) == header.used &&
              write_tensors(synthesis, shard, file);
    int number = errno;
    release(header.data);
    if (fclose(file) != 0 && ok) {
        ok = false;
        number = errno;
    }
    errno = number;
    return ok || error_set_errno(error, "%s: write", path);
}

static bool write_text(const struct synthesis *synthesis, const char *name, const struct text *text,
                       struct error *error) {
    char path[4096];
    return path_join(path, sizeof path, synthesis->directory, name, error) &&
           file_write_atomic(path, text->data, text->used, error);
}

static bool write_index(const struct synthesis *synthesis, struct error *error) {
    struct text text = {0};
    char name[64];
    append(&text, "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {\n",
           synthesis->total_bytes);
    for (size_t i = 0; i < synthesis->count; i++) {
        shard_name(synthesis, synthesis->shard_of[i], name);
        append(&text, "    \"%s\": \"%s\"%s\n", synthesis->tensors[i].name, name, i + 1 < synthesis->count ? "," : "");
    }
    append(&text, "  }\n}\n");
    bool ok = write_text(synthesis, "model.safetensors.index.json", &text, error);
    release(text.data);
    return ok;
}

/* ---- the whole ---- */

static bool collect(void *context, const struct tensor *tensor) {
    struct synthesis *synthesis = context;
    void *tensors = synthesis->tensors;
    allocate_grow(&tensors, &synthesis->capacity, synthesis->count + 1, sizeof *tensor);
    synthesis->tensors = tensors;
    struct tensor *kept = &synthesis->tensors[synthesis->count++];
    *kept = *tensor;
    kept->name = allocate_string(tensor->name);
    return true;
}

/* Fills shards one after another; a tensor that would exceed the limit begins the next. */
static void assign_shards(struct synthesis *synthesis) {
    uint64_t bytes = 0;
    synthesis->shard_of = allocate(synthesis->count, sizeof *synthesis->shard_of);
    for (size_t i = 0; i < synthesis->count; i++) {
        uint64_t more = tensor_bytes(&synthesis->tensors[i]);
        if (bytes > 0 && bytes + more > synthesis->shard_limit) {
            synthesis->shards++;
            bytes = 0;
        }
        synthesis->shard_of[i] = synthesis->shards;
        bytes += more;
        synthesis->total_bytes += more;
    }
    synthesis->shards++;
}

static bool write_weights(struct synthesis *synthesis, const struct text *config_text, struct error *error) {
    struct model_config *config = model_config_new(config_text->data, config_text->used, NULL, 0, error);
    if (!config)
        return false;
    model_tensors(config, (struct slice){0, model_units(config)}, collect, synthesis);
    model_config_destroy(&config);
    assign_shards(synthesis);
    for (size_t shard = 0; shard < synthesis->shards; shard++)
        if (!write_shard(synthesis, shard, error))
            return false;
    return synthesis->shards == 1 || write_index(synthesis, error);
}

static bool write_all(struct synthesis *synthesis, struct error *error) {
    struct text config = {0}, preprocessor = {0};
    write_config(&config, synthesis->preset);
    write_preprocessor(&preprocessor, synthesis->preset);
    bool ok = write_weights(synthesis, &config, error) &&
              write_text(synthesis, "preprocessor_config.json", &preprocessor, error) &&
              write_text(synthesis, "config.json", &config, error);
    release(config.data);
    release(preprocessor.data);
    return ok;
}

static void remove_member(const char *directory, const char *name) {
    char path[4096];
    if (path_join(path, sizeof path, directory, name, NULL))
        unlink(path);
}

/* The directory was empty, so everything under these names is ours. */
static void remove_all(const struct synthesis *synthesis) {
    char name[64];
    remove_member(synthesis->directory, "config.json");
    remove_member(synthesis->directory, "preprocessor_config.json");
    remove_member(synthesis->directory, "model.safetensors.index.json");
    for (size_t shard = 0; shard < synthesis->shards; shard++) {
        shard_name(synthesis, shard, name);
        remove_member(synthesis->directory, name);
    }
}

static bool check_empty(const char *directory, struct error *error) {
    DIR *opened = opendir(directory);
    if (!opened)
        return error_set_errno(error, "%s", directory);
    bool empty = true;
    for (const struct dirent *member; empty && (member = readdir(opened));)
        empty = strcmp(member->d_name, ".") == 0 || strcmp(member->d_name, "..") == 0;
    closedir(opened);
    return empty || error_set(error, ERROR_USAGE, "%s: not empty, want a new or an empty directory", directory);
}

bool synthesise_sharded(const char *architecture, uint64_t seed, const char *directory, uint64_t shard_limit,
                        struct error *error) {
    struct synthesis synthesis = {.directory = directory, .seed = seed, .shard_limit = shard_limit};
    bool existed = file_exists(directory);
    if (!(synthesis.preset = find_preset(architecture, error)) || !directory_make_shared(directory, error) ||
        !check_empty(directory, error))
        return false;
    bool ok = write_all(&synthesis, error);
    if (!ok) {
        remove_all(&synthesis);
        if (!existed)
            rmdir(directory);
    }
    for (size_t i = 0; i < synthesis.count; i++)
        release((char *)(uintptr_t)synthesis.tensors[i].name);
    release(synthesis.tensors);
    release(synthesis.shard_of);
    return ok;
}

bool model_synthesise(const char *architecture, uint64_t seed, const char *directory, struct error *error) {
    return synthesise_sharded(architecture, seed, directory, SHARD_LIMIT, error);
}
