/* The header of one safetensors file, checked in full before anything is read; see safetensors.h.
 *
 * The header becomes two arrays: entries sorted by name for lookup, and their names in one block. Every entry was
 * checked alone (dtype known, shape times element size equals its range, range within the file) and against its
 * neighbours (no overlap; gaps are harmless and allowed). A JSON object with a name twice is refused by the JSON
 * reader. Types that no model computes with are legal here, because checkpoints carry index buffers and the like; they
 * are refused only when asked for. Memory follows the header's size, which is bounded by the file's and by 100 MB, and
 * comes from try_allocate.
 */
#include "model/safetensors.h"

#include "base/allocate.h"
#include "base/cursor.h"
#include "model/json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_MOST    100000000 /* the limit of the reference implementation */
#define DIMENSION_MOST (INT64_C(1) << 48)
#define RANK_MOST      64

/* dtype of the format. Sizes in bits: there are packed types below a byte. */
struct dtype {
    const char *name;
    unsigned bits;
    int element; /* enum element, or -1: legal, but nothing here computes with it */
};

static const struct dtype dtypes[] = {
    {"F32", 32, ELEMENT_F32},
    {"F16", 16, ELEMENT_F16},
    {"BF16", 16, ELEMENT_BF16},
    {"F64", 64, -1},
    {"I64", 64, -1},
    {"I32", 32, -1},
    {"I16", 16, -1},
    {"I8", 8, -1},
    {"U64", 64, -1},
    {"U32", 32, -1},
    {"U16", 16, -1},
    {"U8", 8, -1},
    {"BOOL", 8, -1},
    {"C64", 64, -1},
    {"F8_E4M3", 8, -1},
    {"F8_E5M2", 8, -1},
    {"F8_E4M3FNUZ", 8, -1},
    {"F8_E5M2FNUZ", 8, -1},
    {"F8_E8M0", 8, -1},
    {"F6_E2M3", 6, -1},
    {"F6_E3M2", 6, -1},
    {"F4", 4, -1},
};

struct entry {
    const char *name; /* in struct safetensors' names */
    const struct dtype *dtype;
    size_t rank;
    uint64_t shape[MODEL_DIMENSIONS_MAX]; /* only as far as rank allows */
    uint64_t begin, end;                  /* within the data after the header */
};

struct safetensors {
    const uint8_t *data; /* after the header; borrowed */
    uint64_t data_bytes;
    char *names;
    struct entry *entries; /* sorted by name */
    size_t count;
};

/* ---- one entry ---- */

static bool parse_dtype(const struct json *tensor, struct entry *entry, struct error *error) {
    const char *name;
    if (!json_get_string(tensor, "dtype", &name, error))
        return false;
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) {
            entry->dtype = &dtypes[i];
            return true;
        }
    return json_refuse(json_find(tensor, "dtype"), error, "a dtype of safetensors such as F32, F16 or BF16");
}

/* The shape, and how many bits it makes; an overflowing product is more than any file holds. */
static bool parse_shape(const struct json *tensor, struct entry *entry, uint64_t *bits, struct error *error) {
    const struct json *shape;
    if (!json_get_array(tensor, "shape", &shape, error))
        return false;
    entry->rank = json_count(shape);
    if (entry->rank > RANK_MOST)
        return json_refuse(shape, error, "at most %d dimensions", RANK_MOST);
    *bits = entry->dtype->bits;
    for (size_t i = 0; i < entry->rank; i++) {
        int64_t dimension;
        if (!json_as_integer(json_at(shape, i), 0, DIMENSION_MOST, &dimension, error))
            return false;
        if (__builtin_mul_overflow(*bits, (uint64_t)dimension, bits))
            return json_refuse(shape, error, "a shape whose bytes can be counted");
        if (i < MODEL_DIMENSIONS_MAX)
            entry->shape[i] = (uint64_t)dimension;
    }
    return true;
}

static bool parse_range(const struct json *tensor, struct entry *entry, uint64_t data_bytes, struct error *error) {
    const struct json *range;
    int64_t begin, end;
    if (!json_get_array(tensor, "data_offsets", &range, error))
        return false;
    if (json_count(range) != 2)
        return json_refuse(range, error, "[begin, end]");
    int64_t most = data_bytes < INT64_MAX ? (int64_t)data_bytes : INT64_MAX;
    if (!json_as_integer(json_at(range, 0), 0, most, &begin, error) ||
        !json_as_integer(json_at(range, 1), begin, most, &end, error))
        return false;
    entry->begin = (uint64_t)begin;
    entry->end = (uint64_t)end;
    return true;
}

static bool parse_entry(const struct json *tensor, struct entry *entry, uint64_t data_bytes, struct error *error) {
    uint64_t bits = 0;
    if (!json_as_object(tensor, error) || !parse_dtype(tensor, entry, error) ||
        !parse_shape(tensor, entry, &bits, error) || !parse_range(tensor, entry, data_bytes, error))
        return false;
    if (bits % 8 || bits / 8 != entry->end - entry->begin)
        return json_refuse(json_find(tensor, "data_offsets"), error,
                           "a range of %" PRIu64 " bytes, as dtype and shape say", bits / 8);
    return true;
}

/* ---- all entries ---- */

static int by_name(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* Empty tensors share their begin with a neighbour; the shorter one comes first. */
static int by_place(const void *a, const void *b) {
    const struct entry *left = a, *right = b;
    if (left->begin != right->begin)
        return left->begin < right->begin ? -1 : 1;
    return left->end < right->end ? -1 : left->end > right->end;
}

static bool check_overlap(struct safetensors *file, const char *name, struct error *error) {
    qsort(file->entries, file->count, sizeof *file->entries, by_place);
    for (size_t i = 1; i < file->count; i++)
        if (file->entries[i].begin < file->entries[i - 1].end)
            return error_set(error, ERROR_INPUT, "%s: %s: overlaps %s, want separate bytes", name,
                             file->entries[i].name, file->entries[i - 1].name);
    return true;
}

static bool is_metadata(const struct json *member) {
    return strcmp(json_key(member), "__metadata__") == 0;
}

static bool allocate_entries(struct safetensors *file, const struct json *root) {
    size_t bytes = 1;
    for (size_t i = 0; i < json_count(root); i++)
        bytes += strlen(json_key(json_at(root, i))) + 1;
    file->names = try_allocate(bytes, 1);
    file->entries = try_allocate(json_count(root) + 1, sizeof *file->entries);
    return file->names && file->entries;
}

static bool parse_entries(struct safetensors *file, const struct json *root, const char *name, struct error *error) {
    if (!json_as_object(root, error))
        return false;
    if (!allocate_entries(file, root))
        return error_set(error, ERROR_SYSTEM, "%s: no memory for %zu tensors", name, json_count(root));
    char *at = file->names;
    for (size_t i = 0; i < json_count(root); i++) {
        const struct json *member = json_at(root, i);
        if (is_metadata(member))
            continue;
        struct entry *entry = &file->entries[file->count++];
        size_t length = strlen(json_key(member)) + 1;
        entry->name = memcpy(at, json_key(member), length);
        at += length;
        if (!parse_entry(member, entry, file->data_bytes, error))
            return false;
    }
    if (!check_overlap(file, name, error))
        return false;
    qsort(file->entries, file->count, sizeof *file->entries, by_name);
    return true;
}

/* ---- the file ---- */

static const uint8_t *find_header(struct cursor *cursor, uint64_t *length, const char *name, struct error *error) {
    size_t size = cursor->left;
    *length = cursor_u64_little(cursor);
    if (cursor->failed)
        error_set(error, ERROR_INPUT, "%s: %zu bytes, want a safetensors file of at least 8", name, size);
    else if (*length > HEADER_MOST)
        error_set(error, ERROR_INPUT, "%s: header of %" PRIu64 " bytes, want at most %d; is it a safetensors file?",
                  name, *length, HEADER_MOST);
    else if (*length > cursor->left)
        error_set(error, ERROR_INPUT, "%s: header of %" PRIu64 " bytes, but only %zu follow; is the file cut short?",
                  name, *length, cursor->left);
    else
        return cursor_take(cursor, (size_t)*length);
    return NULL;
}

struct safetensors *safetensors_parse(const void *data, size_t size, const char *name, struct error *error) {
    struct cursor cursor = cursor_of(data, size);
    uint64_t length;
    const uint8_t *header = find_header(&cursor, &length, name, error);
    if (!header)
        return NULL;
    struct json *root = json_parse(header, (size_t)length, name, error);
    if (!root)
        return NULL;
    struct safetensors *file = allocate(1, sizeof *file);
    file->data = cursor.at;
    file->data_bytes = cursor.left;
    if (!parse_entries(file, root, name, error))
        safetensors_destroy(&file);
    json_destroy(&root);
    return file;
}

void safetensors_destroy(struct safetensors **file) {
    if (!*file)
        return;
    release((*file)->names);
    release((*file)->entries);
    release(*file);
    *file = NULL;
}

size_t safetensors_count(const struct safetensors *file) {
    return file->count;
}

const char *safetensors_name(const struct safetensors *file, size_t index) {
    return file->entries[index].name;
}

enum safetensors_found safetensors_find(const struct safetensors *file, const char *name, struct tensor *tensor,
                                        struct error *error) {
    struct entry key = {.name = name};
    const struct entry *entry = bsearch(&key, file->entries, file->count, sizeof *file->entries, by_name);
    if (!entry)
        return SAFETENSORS_ABSENT;
    if (entry->dtype->element < 0) {
        error_set(error, ERROR_UNSUPPORTED, "%s: dtype: got %s, want F32, F16 or BF16", name, entry->dtype->name);
        return SAFETENSORS_UNUSABLE;
    }
    if (entry->rank > MODEL_DIMENSIONS_MAX) {
        error_set(error, ERROR_UNSUPPORTED, "%s: %zu dimensions, want at most %d", name, entry->rank,
                  MODEL_DIMENSIONS_MAX);
        return SAFETENSORS_UNUSABLE;
    }
    *tensor = (struct tensor){.name = entry->name,
                              .element = (enum element)entry->dtype->element,
                              .rank = (unsigned)entry->rank,
                              .data = file->data + entry->begin,
                              .bytes = entry->end - entry->begin};
    memcpy(tensor->shape, entry->shape, sizeof tensor->shape);
    return SAFETENSORS_FOUND;
}
