/* Tensors by name and by content; see manifest.h.
 *
 * manifest_new lists every tensor that the model's units read (descriptions and borrowed data, no bytes touched) and
 * starts the thread that hashes them in order. When it is done it sorts an index by name and one by hash and writes the
 * event descriptor; from then on the manifest is read-only and belongs to the caller's thread. A tensor that two units
 * share appears once. Failures are those of the model's source: a tensor that is missing.
 */
#include "daemon/manifest.h"

#include "base/allocate.h"
#include "base/file.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct manifest {
    struct model *model;
    struct tensor_source source;
    pthread_t thread;
    int descriptor;
    atomic_bool done, stop;
    bool failed;
    struct error error;
    struct tensor *tensors; /* as the source describes them */
    struct tensor_entry *entries;
    size_t count, capacity, entry_capacity;
    size_t *by_name, *by_hash;  /* indices into entries */
    struct tensor_entry *slice; /* memory of manifest_slice */
    size_t slice_count, slice_capacity;
};

static bool collect(void *context, const struct tensor *wanted) {
    struct manifest *manifest = context;
    struct tensor tensor;
    if (!manifest->source.find(manifest->source.context, wanted->name, &tensor, &manifest->error)) {
        manifest->failed = true;
        return false;
    }
    allocate_grow((void **)&manifest->tensors, &manifest->capacity, manifest->count + 1, sizeof *manifest->tensors);
    allocate_grow((void **)&manifest->entries, &manifest->entry_capacity, manifest->count + 1,
                  sizeof *manifest->entries);
    struct tensor_entry *entry = &manifest->entries[manifest->count];
    entry->name = allocate_string(wanted->name);
    entry->element = (uint32_t)tensor.element;
    entry->rank = tensor.rank;
    memcpy(entry->shape, tensor.shape, sizeof entry->shape);
    entry->bytes = tensor.bytes;
    manifest->tensors[manifest->count++] = tensor;
    return true;
}

/* qsort_r's order; ties by position, so that the result does not depend on the library */
static int compare_names(const void *left, const void *right, void *context) {
    const struct tensor_entry *entries = context;
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    int order = strcmp(entries[a].name, entries[b].name);
    return order ? order : (a > b) - (a < b);
}

static int compare_hashes(const void *left, const void *right, void *context) {
    const struct tensor_entry *entries = context;
    size_t a = *(const size_t *)left, b = *(const size_t *)right;
    int order = memcmp(entries[a].hash.bytes, entries[b].hash.bytes, HASH_BYTES);
    return order ? order : (a > b) - (a < b);
}

static void *hash_all(void *context) {
    struct manifest *manifest = context;
    for (size_t i = 0; i < manifest->count && !atomic_load(&manifest->stop); i++) {
        const struct tensor *tensor = &manifest->tensors[i];
        manifest->entries[i].hash = hash_of(tensor->data, tensor->bytes);
        file_forget(tensor->data, tensor->bytes); /* a model may be larger than this board's memory */
    }
    qsort_r(manifest->by_name, manifest->count, sizeof(size_t), compare_names, manifest->entries);
    qsort_r(manifest->by_hash, manifest->count, sizeof(size_t), compare_hashes, manifest->entries);
    atomic_store(&manifest->done, true);
    uint64_t one = 1;
    ssize_t written = write(manifest->descriptor, &one, sizeof one);
    (void)written;
    return NULL;
}

static void free_lists(struct manifest *manifest) {
    for (size_t i = 0; i < manifest->count; i++)
        release((void *)(uintptr_t)manifest->entries[i].name);
    release(manifest->entries);
    release(manifest->tensors);
    release(manifest->by_name);
    release(manifest->by_hash);
    release(manifest->slice);
    close(manifest->descriptor);
    release(manifest);
}

struct manifest *manifest_new(struct model *model, struct error *error) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor < 0) {
        error_set_errno(error, "manifest: eventfd");
        return NULL;
    }
    struct manifest *manifest = allocate(1, sizeof *manifest);
    manifest->model = model;
    manifest->descriptor = descriptor;
    manifest->source = model_source(model);
    const struct model_config *config = model_borrow_config(model);
    model_tensors(config, (struct slice){0, model_units(config)}, collect, manifest);
    if (manifest->failed) {
        *error = manifest->error;
        free_lists(manifest);
        return NULL;
    }
    manifest->by_name = allocate(manifest->count + 1, sizeof(size_t));
    manifest->by_hash = allocate(manifest->count + 1, sizeof(size_t));
    for (size_t i = 0; i < manifest->count; i++)
        manifest->by_name[i] = manifest->by_hash[i] = i;
    errno = pthread_create(&manifest->thread, NULL, hash_all, manifest);
    if (errno != 0) {
        error_set_errno(error, "manifest: thread");
        free_lists(manifest);
        return NULL;
    }
    return manifest;
}

void manifest_destroy(struct manifest **pointer) {
    struct manifest *manifest = *pointer;
    *pointer = NULL;
    if (!manifest)
        return;
    atomic_store(&manifest->stop, true);
    pthread_join(manifest->thread, NULL);
    free_lists(manifest);
}

bool manifest_ready(const struct manifest *manifest) {
    return atomic_load(&manifest->done);
}

int manifest_descriptor(const struct manifest *manifest) {
    return manifest->descriptor;
}

static const struct tensor_entry *find_name(const struct manifest *manifest, const char *name) {
    size_t low = 0, high = manifest->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct tensor_entry *entry = &manifest->entries[manifest->by_name[middle]];
        int order = strcmp(entry->name, name);
        if (order == 0)
            return entry;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static bool add_to_slice(void *context, const struct tensor *wanted) {
    struct manifest *manifest = context;
    const struct tensor_entry *entry = find_name(manifest, wanted->name);
    if (!entry)
        return true; /* cannot be: the list was made by the same walk */
    allocate_grow((void **)&manifest->slice, &manifest->slice_capacity, manifest->slice_count + 1,
                  sizeof *manifest->slice);
    manifest->slice[manifest->slice_count++] = *entry;
    return true;
}

size_t manifest_slice(struct manifest *manifest, struct slice slice, const struct tensor_entry **entries) {
    manifest->slice_count = 0;
    model_tensors(model_borrow_config(manifest->model), slice, add_to_slice, manifest);
    *entries = manifest->slice;
    return manifest->slice_count;
}

const void *manifest_bytes(const struct manifest *manifest, const struct hash *hash, uint64_t offset, uint64_t bytes) {
    size_t low = 0, high = manifest->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        size_t index = manifest->by_hash[middle];
        int order = memcmp(manifest->entries[index].hash.bytes, hash->bytes, HASH_BYTES);
        if (order == 0) {
            const struct tensor *tensor = &manifest->tensors[index];
            if (offset > tensor->bytes || bytes > tensor->bytes - offset)
                return NULL;
            return (const uint8_t *)tensor->data + offset;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void manifest_released(void *data, void *context) {
    (void)data;
    (void)context;
}
