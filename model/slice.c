/* A slice of a model in memory: weights bound by name, converted to fp32 and packed once for the kernel set.
 *
 * slice_load walks the layouts of its units tensor by tensor: find in the source, check shape, pack, release. The
 * source drops the pages of a packed tensor, so the peak is the packed weights plus one tensor. Sizes come from
 * config.json, that is, from outside: memory is asked for with try_allocate and a refusal is an error that names the
 * unit. A slice is immutable once loaded; whoever loads it owns it, and the kernels and the config must outlive it.
 */
#include "model/slice.h"
#include "base/allocate.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What loading needs beside the slice. */
struct loading {
    struct slice_model *slice;
    const struct tensor_source *source;
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
    uint64_t done, total;
};

/* ---- memory of a unit ---- */

static bool allocate_unit(struct slice_model *slice, const struct unit_layout *layout, struct unit_weights *weights) {
    for (unsigned m = 0; m < UNIT_MATRICES_MAX; m++) {
        struct matrix *matrix = &weights->matrix[m];
        matrix->n = layout->matrix[m].n;
        matrix->k = layout->matrix[m].k;
        if (matrix->n == 0)
            continue;
        size_t bytes = slice->kernels->matrix_bytes(matrix->n, matrix->k);
        if (!(matrix->data = try_allocate(bytes, 1)))
            return false;
        slice->weight_bytes += bytes;
    }
    for (unsigned v = 0; v < UNIT_VECTORS_MAX; v++) {
        if (layout->vector[v] == 0)
            continue;
        if (!(weights->vector[v] = try_allocate(layout->vector[v], sizeof(float))))
            return false;
        slice->weight_bytes += layout->vector[v] * sizeof(float);
    }
    return true;
}

static void release_unit(struct unit_weights *weights) {
    for (unsigned m = 0; m < UNIT_MATRICES_MAX; m++)
        release(weights->matrix[m].data);
    for (unsigned v = 0; v < UNIT_VECTORS_MAX; v++)
        release(weights->vector[v]);
}

/* ---- one tensor ---- */

static const char *shape_text(unsigned rank, const uint64_t *shape, char text[128]) {
    size_t used = (size_t)snprintf(text, 128, "[");
    for (unsigned i = 0; i < rank && i < MODEL_DIMENSIONS_MAX; i++)
        used += (size_t)snprintf(text + used, 128 - used, "%s%" PRIu64, i ? "," : "", shape[i]);
    snprintf(text + used, 128 - used, "]");
    return text;
}

size_t element_bytes(enum element element) {
    return element == ELEMENT_F32 ? 4 : 2;
}

bool tensor_check(const struct tensor *got, const struct unit_tensor *want, struct error *error) {
    char got_text[128], want_text[128];
    bool same = got->rank == want->rank && memcmp(got->shape, want->shape, want->rank * sizeof *want->shape) == 0;
    if (!same)
        return error_set(error, ERROR_INPUT, "%s: got %s, want %s", want->name,
                         shape_text(got->rank, got->shape, got_text), shape_text(want->rank, want->shape, want_text));
    uint64_t bytes = tensor_elements(want->rank, want->shape) * element_bytes(got->element);
    if (got->bytes != bytes)
        return error_set(error, ERROR_INPUT, "%s: got %" PRIu64 " bytes, want %" PRIu64, want->name, got->bytes, bytes);
    return true;
}

static void pack(struct slice_model *slice, struct unit_weights *weights, const struct unit_tensor *want,
                 const void *data, enum element element) {
    if (want->kind == SLOT_MATRIX)
        slice->kernels->matrix_pack(&weights->matrix[want->slot], want->first, (size_t)want->shape[0], data, element);
    else
        slice->kernels->convert(weights->vector[want->slot] + want->first, data, element,
                                tensor_elements(want->rank, want->shape));
}

/* A file may put a tensor at any byte; kernels want it aligned to its elements. */
static bool pack_aligned(struct slice_model *slice, struct unit_weights *weights, const struct unit_tensor *want,
                         const struct tensor *tensor, struct error *error) {
    if ((uintptr_t)tensor->data % element_bytes(tensor->element) == 0) {
        pack(slice, weights, want, tensor->data, tensor->element);
        return true;
    }
    void *copy = try_allocate((size_t)tensor->bytes, 1);
    if (!copy)
        return error_set(error, ERROR_SYSTEM, "%s: no memory for %" PRIu64 " bytes", want->name, tensor->bytes);
    memcpy(copy, tensor->data, (size_t)tensor->bytes);
    pack(slice, weights, want, copy, tensor->element);
    release(copy);
    return true;
}

static bool load_tensor(struct loading *loading, struct unit_weights *weights, const struct unit_tensor *want,
                        struct error *error) {
    struct tensor tensor = {0};
    const struct tensor_source *source = loading->source;
    if (!source->find(source->context, want->name, &tensor, error))
        return false;
    bool ok = tensor_check(&tensor, want, error) && pack_aligned(loading->slice, weights, want, &tensor, error);
    if (source->release)
        source->release(source->context, &tensor);
    if (!ok)
        return false;
    loading->done += tensor_elements(want->rank, want->shape) * sizeof(float);
    if (loading->progress && !loading->progress(loading->context, loading->done, loading->total))
        return error_set(error, ERROR_SYSTEM, "cancelled");
    return true;
}

/* ---- the slice ---- */

static bool load_unit(struct loading *loading, unsigned unit, struct error *error) {
    struct slice_model *slice = loading->slice;
    struct unit_weights *weights = &slice->units[unit - slice->slice.first];
    struct unit_layout layout;
    char name[40];
    slice->config->family->layout(slice->config, unit, &layout);
    if (!allocate_unit(slice, &layout, weights))
        return error_set(error, ERROR_SYSTEM, "unit %u (%s): no memory for %zu bytes of weights", unit,
                         model_unit_name(slice->config, unit, name), model_unit_weight_bytes(slice->config, unit));
    for (unsigned i = 0; i < layout.tensors; i++)
        if (!load_tensor(loading, weights, &layout.tensor[i], error))
            return error_wrap(error, "unit %u (%s)", unit, model_unit_name(slice->config, unit, name));
    return true;
}

struct slice_model *slice_load(const struct model_config *config, struct slice slice,
                               const struct tensor_source *source, const struct kernels *kernels,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct error *error) {
    if (slice.first >= slice.end || slice.end > config->units) {
        error_set(error, ERROR_INPUT, "slice [%u, %u): want a range within [0, %u)", slice.first, slice.end,
                  config->units);
        return NULL;
    }
    struct slice_model *loaded = allocate(1, sizeof *loaded);
    loaded->config = config;
    loaded->slice = slice;
    loaded->kernels = kernels;
    loaded->units = allocate(slice.end - slice.first, sizeof *loaded->units);
    struct loading loading = {
        .slice = loaded, .source = source, .progress = progress, .context = context, .done = 0, .total = 0};
    for (unsigned unit = slice.first; unit < slice.end; unit++)
        loading.total += model_unit_weight_bytes(config, unit);
    for (unsigned unit = slice.first; loaded && unit < slice.end; unit++)
        if (!load_unit(&loading, unit, error))
            slice_unload(&loaded);
    return loaded;
}

void slice_unload(struct slice_model **slice) {
    if (!*slice)
        return;
    for (unsigned unit = 0; unit < (*slice)->slice.end - (*slice)->slice.first; unit++)
        release_unit(&(*slice)->units[unit]);
    release((*slice)->units);
    release(*slice);
    *slice = NULL;
}

size_t slice_weight_bytes(const struct slice_model *slice) {
    return slice->weight_bytes;
}
