/* The weights of a directory as one set of names, in one file or in shards.
 *
 * With an index, `weight_map` says which shard holds a tensor; here it only says which files there are. Each shard's
 * own header is the truth about its tensors, so an index that disagrees with its shards shows as an absent tensor,
 * never as a wrong read. A tensor in two shards is refused: which of the two would be meant? File names come from
 * outside and must be plain names within the directory. Files stay mapped until checkpoint_close, which owns
 * everything; errors begin with the file's name.
 */
#include "model/checkpoint.h"

#include "base/allocate.h"
#include "base/file.h"
#include "model/json.h"
#include "model/safetensors.h"

#include <stdio.h>
#include <string.h>

#define SINGLE      "model.safetensors"
#define INDEX       "model.safetensors.index.json"
#define INDEX_MOST  ((size_t)64 << 20)
#define SHARDS_MOST 1024

struct shard {
    char *name; /* within the directory */
    const void *data;
    size_t size;
    struct safetensors *file;
};

struct checkpoint {
    char *directory;
    struct shard *shards;
    size_t count, capacity;
};

/* ---- shards ---- */

static bool open_shard(struct checkpoint *checkpoint, const char *name, struct error *error) {
    char path[4096];
    void *shards = checkpoint->shards;
    allocate_grow(&shards, &checkpoint->capacity, checkpoint->count + 1, sizeof *checkpoint->shards);
    checkpoint->shards = shards;
    struct shard *shard = &checkpoint->shards[checkpoint->count];
    if (!path_join(path, sizeof path, checkpoint->directory, name, error) ||
        !file_map(path, &shard->data, &shard->size, error))
        return false;
    checkpoint->count++;
    shard->name = allocate_string(name);
    shard->file = safetensors_parse(shard->data, shard->size, path, error);
    return shard->file != NULL;
}

static bool shard_known(const struct checkpoint *checkpoint, const char *name) {
    for (size_t i = 0; i < checkpoint->count; i++)
        if (strcmp(checkpoint->shards[i].name, name) == 0)
            return true;
    return false;
}

static bool find_in_shards(const struct checkpoint *checkpoint, size_t from, const char *name, size_t *shard) {
    struct tensor tensor;
    for (*shard = from; *shard < checkpoint->count; ++*shard)
        if (safetensors_find(checkpoint->shards[*shard].file, name, &tensor, NULL) != SAFETENSORS_ABSENT)
            return true;
    return false;
}

static bool check_duplicates(const struct checkpoint *checkpoint, struct error *error) {
    size_t other;
    for (size_t i = 0; i < checkpoint->count; i++) {
        const struct shard *shard = &checkpoint->shards[i];
        for (size_t t = 0; t < safetensors_count(shard->file); t++)
            if (find_in_shards(checkpoint, i + 1, safetensors_name(shard->file, t), &other))
                return error_set(error, ERROR_INPUT, "%s: %s is in both %s and %s, want each tensor once",
                                 checkpoint->directory, safetensors_name(shard->file, t), shard->name,
                                 checkpoint->shards[other].name);
    }
    return true;
}

/* ---- the index ---- */

/* A file of the directory itself: no separators, nothing hidden, so neither "../x" nor "/etc/x". */
static bool plain_name(const char *name) {
    return *name && *name != '.' && strlen(name) < 256 && !strchr(name, '/');
}

static bool open_listed(struct checkpoint *checkpoint, const struct json *map, struct error *error) {
    for (size_t i = 0; i < json_count(map); i++) {
        const char *name;
        if (!json_as_string(json_at(map, i), &name, error))
            return false;
        if (!plain_name(name))
            return json_refuse(json_at(map, i), error, "the name of a file in the same directory");
        if (shard_known(checkpoint, name))
            continue;
        if (checkpoint->count == SHARDS_MOST)
            return json_refuse(json_at(map, i), error, "at most %d shards", SHARDS_MOST);
        if (!open_shard(checkpoint, name, error))
            return false;
    }
    return true;
}

static bool open_sharded(struct checkpoint *checkpoint, const char *index_path, struct error *error) {
    void *bytes;
    size_t size;
    const struct json *map;
    if (!file_read(index_path, INDEX_MOST, &bytes, &size, error))
        return false;
    struct json *root = json_parse(bytes, size, index_path, error);
    bool ok = root && json_as_object(root, error) && json_get_object(root, "weight_map", &map, error) &&
              open_listed(checkpoint, map, error);
    json_destroy(&root);
    release(bytes);
    return ok && check_duplicates(checkpoint, error);
}

/* ---- the directory ---- */

static bool open_files(struct checkpoint *checkpoint, struct error *error) {
    char single[4096], index[4096];
    if (!path_join(single, sizeof single, checkpoint->directory, SINGLE, error) ||
        !path_join(index, sizeof index, checkpoint->directory, INDEX, error))
        return false;
    if (file_exists(single))
        return open_shard(checkpoint, SINGLE, error);
    if (file_exists(index))
        return open_sharded(checkpoint, index, error);
    return error_set(error, ERROR_INPUT, "%s: neither %s nor %s is there; want a Hugging Face model directory",
                     checkpoint->directory, SINGLE, INDEX);
}

struct checkpoint *checkpoint_open(const char *directory, struct error *error) {
    struct checkpoint *checkpoint = allocate(1, sizeof *checkpoint);
    checkpoint->directory = allocate_string(directory);
    if (!open_files(checkpoint, error))
        checkpoint_close(&checkpoint);
    return checkpoint;
}

void checkpoint_close(struct checkpoint **checkpoint) {
    if (!*checkpoint)
        return;
    for (size_t i = 0; i < (*checkpoint)->count; i++) {
        struct shard *shard = &(*checkpoint)->shards[i];
        safetensors_destroy(&shard->file);
        file_unmap(shard->data, shard->size);
        release(shard->name);
    }
    release((*checkpoint)->shards);
    release((*checkpoint)->directory);
    release(*checkpoint);
    *checkpoint = NULL;
}

bool checkpoint_find(const struct checkpoint *checkpoint, const char *name, struct tensor *tensor, bool *absent,
                     struct error *error) {
    if (absent)
        *absent = true;
    for (size_t i = 0; i < checkpoint->count; i++) {
        enum safetensors_found found = safetensors_find(checkpoint->shards[i].file, name, tensor, error);
        if (absent)
            *absent = found == SAFETENSORS_ABSENT;
        if (found == SAFETENSORS_UNUSABLE)
            return error_wrap(error, "%s/%s", checkpoint->directory, checkpoint->shards[i].name);
        if (found == SAFETENSORS_FOUND)
            return true;
    }
    return error_set(error, ERROR_INPUT, "%s: no tensor %s", checkpoint->directory, name);
}

const char *checkpoint_directory(const struct checkpoint *checkpoint) {
    return checkpoint->directory;
}
