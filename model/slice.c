/* A slice of a model in memory: weights bound by name, converted to fp32 and packed once for the kernel set.
 *
 * slice_pack walks the layouts of its units tensor by tensor: find in the source, check shape, pack, release. The
 * source drops the pages of a packed tensor, so the peak is the packed weights plus one tensor. Sizes come from
 * config.json, that is, from outside: memory is asked for with try_allocate and a refusal is an error that names the
 * unit.
 *
 * Packed units are immutable, so slices may share them (slice_share): each has a count of the slices that hold it, and
 * whoever takes the last hold frees it. Within a slice units with the same weights have one packed unit, held once. A
 * slice itself has one owner; the kernels and the config must outlive it.
 */
#include "model/slice.h"
#include "base/allocate.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
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

/* False when memory is short; what was allocated is in *unit all the same. */
static bool allocate_weights(const struct kernels *kernels, const struct unit_layout *layout,
                             struct packed_unit *unit) {
    for (unsigned m = 0; m < UNIT_MATRICES_MAX; m++) {
        struct matrix *matrix = &unit->weights.matrix[m];
        matrix->n = layout->matrix[m].n;
        matrix->k = layout->matrix[m].k;
        if (matrix->n == 0)
            continue;
        size_t bytes = kernels->matrix_bytes(matrix->n, matrix->k);
        if (!(matrix->data = try_allocate(bytes, 1)))
            return false;
        unit->bytes += bytes;
    }
    for (unsigned v = 0; v < UNIT_VECTORS_MAX; v++) {
        if (layout->vector[v] == 0)
            continue;
        if (!(unit->weights.vector[v] = try_allocate(layout->vector[v], sizeof(float))))
            return false;
        unit->bytes += layout->vector[v] * sizeof(float);
    }
    return true;
}

/* Lets go of a unit; NULL is fine. What another holder read from it happened before it is freed: acquire and release.
 */
static void unit_drop(struct packed_unit *unit) {
    if (!unit || atomic_fetch_sub_explicit(&unit->holders, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned m = 0; m < UNIT_MATRICES_MAX; m++)
        release(unit->weights.matrix[m].data);
    for (unsigned v = 0; v < UNIT_VECTORS_MAX; v++)
        release(unit->weights.vector[v]);
    release(unit);
}

static struct packed_unit *unit_new(const struct kernels *kernels, const struct unit_layout *layout) {
    struct packed_unit *unit = allocate(1, sizeof *unit);
    atomic_init(&unit->holders, 1);
    if (allocate_weights(kernels, layout, unit))
        return unit;
    unit_drop(unit);
    return NULL;
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

static void pack(const struct kernels *kernels, struct unit_weights *weights, const struct unit_tensor *want,
                 const void *data, enum element element) {
    if (want->kind == SLOT_MATRIX)
        kernels->matrix_pack(&weights->matrix[want->slot], want->first, (size_t)want->shape[0], data, element);
    else
        kernels->convert(weights->vector[want->slot] + want->first, data, element,
                         tensor_elements(want->rank, want->shape));
}

/* A file may put a tensor at any byte; kernels want it aligned to its elements. */
static bool pack_aligned(const struct kernels *kernels, struct unit_weights *weights, const struct unit_tensor *want,
                         const struct tensor *tensor, struct error *error) {
    if ((uintptr_t)tensor->data % element_bytes(tensor->element) == 0) {
        pack(kernels, weights, want, tensor->data, tensor->element);
        return true;
    }
    void *copy = try_allocate((size_t)tensor->bytes, 1);
    if (!copy)
        return error_set(error, ERROR_SYSTEM, "%s: no memory for %" PRIu64 " bytes", want->name, tensor->bytes);
    memcpy(copy, tensor->data, (size_t)tensor->bytes);
    pack(kernels, weights, want, copy, tensor->element);
    release(copy);
    return true;
}

static bool load_tensor(struct loading *loading, struct unit_weights *weights, const struct unit_tensor *want,
                        struct error *error) {
    struct tensor tensor = {0};
    const struct tensor_source *source = loading->source;
    if (!source->find(source->context, want->name, &tensor, error))
        return false;
    bool ok =
        tensor_check(&tensor, want, error) && pack_aligned(loading->slice->kernels, weights, want, &tensor, error);
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

/* The next unit of the slice that does not have the weights of this one. */
static unsigned next_unit(const struct slice_model *slice, unsigned unit) {
    unsigned end = model_same_weights(slice->config, unit).end;
    return end < slice->slice.end ? end : slice->slice.end;
}

/* Gives a packed unit to all units of the slice that have its weights. */
static void place_unit(struct slice_model *slice, unsigned unit, struct packed_unit *packed) {
    struct slice same = model_same_weights(slice->config, unit);
    for (unsigned at = same.first; at < same.end; at++)
        if (at >= slice->slice.first && at < slice->slice.end)
            slice->units[at - slice->slice.first] = packed;
}

static bool load_unit(struct loading *loading, unsigned unit, struct error *error) {
    struct slice_model *slice = loading->slice;
    struct unit_layout layout;
    char name[40];
    slice->config->family->layout(slice->config, unit, &layout);
    struct packed_unit *packed = unit_new(slice->kernels, &layout);
    if (!packed)
        return error_set(error, ERROR_SYSTEM, "unit %u (%s): no memory for %zu bytes of weights", unit,
                         model_unit_name(slice->config, unit, name), model_unit_weight_bytes(slice->config, unit));
    place_unit(slice, unit, packed);
    for (unsigned i = 0; i < layout.tensors; i++)
        if (!load_tensor(loading, &packed->weights, &layout.tensor[i], error))
            return error_wrap(error, "unit %u (%s)", unit, model_unit_name(slice->config, unit, name));
    return true;
}

struct slice_model *slice_new(const struct model_config *config, struct slice slice, const struct kernels *kernels,
                              struct error *error) {
    if (slice.first >= slice.end || slice.end > config->units) {
        error_set(error, ERROR_INPUT, "slice [%u, %u): want a range within [0, %u)", slice.first, slice.end,
                  config->units);
        return NULL;
    }
    struct slice_model *empty = allocate(1, sizeof *empty);
    empty->config = config;
    empty->slice = slice;
    empty->kernels = kernels;
    empty->units = allocate(slice.end - slice.first, sizeof *empty->units);
    return empty;
}

void slice_share(struct slice_model *slice, const struct slice_model *from, unsigned unit) {
    unsigned there = model_find_weights(slice->config, from->slice, unit);
    assert(unit >= slice->slice.first && unit < slice->slice.end && there < from->slice.end &&
           slice->kernels == from->kernels);
    struct packed_unit *packed = from->units[there - from->slice.first];
    struct packed_unit *here = slice->units[unit - slice->slice.first];
    assert(packed && (!here || here == packed));
    if (here)
        return;
    atomic_fetch_add_explicit(&packed->holders, 1, memory_order_relaxed); /* from's own hold keeps it alive meanwhile */
    place_unit(slice, unit, packed);
}

bool slice_pack(struct slice_model *slice, const struct tensor_source *source,
                bool (*progress)(void *context, uint64_t done, uint64_t total), void *context, struct error *error) {
    struct loading loading = {.slice = slice, .source = source, .progress = progress, .context = context};
    for (unsigned unit = slice->slice.first; unit < slice->slice.end; unit = next_unit(slice, unit))
        if (!slice->units[unit - slice->slice.first])
            loading.total += model_unit_weight_bytes(slice->config, unit);
    for (unsigned unit = slice->slice.first; unit < slice->slice.end; unit = next_unit(slice, unit))
        if (!slice->units[unit - slice->slice.first] && !load_unit(&loading, unit, error))
            return false;
    return true;
}

struct slice_model *slice_load(const struct model_config *config, struct slice slice,
                               const struct tensor_source *source, const struct kernels *kernels,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct error *error) {
    struct slice_model *loaded = slice_new(config, slice, kernels, error);
    if (loaded && !slice_pack(loaded, source, progress, context, error))
        slice_unload(&loaded);
    return loaded;
}

void slice_unload(struct slice_model **slice) {
    if (!*slice)
        return;
    for (unsigned unit = (*slice)->slice.first; unit < (*slice)->slice.end; unit = next_unit(*slice, unit))
        unit_drop((*slice)->units[unit - (*slice)->slice.first]);
    release((*slice)->units);
    release(*slice);
    *slice = NULL;
}

/* Of the units that at most so many slices hold. */
static size_t bytes_held_by(const struct slice_model *slice, unsigned holders) {
    size_t bytes = 0;
    for (unsigned unit = slice->slice.first; unit < slice->slice.end; unit = next_unit(slice, unit)) {
        const struct packed_unit *packed = slice->units[unit - slice->slice.first];
        if (packed && atomic_load_explicit(&packed->holders, memory_order_relaxed) <= holders)
            bytes += packed->bytes;
    }
    return bytes;
}

size_t slice_weight_bytes(const struct slice_model *slice) {
    return bytes_held_by(slice, UINT_MAX);
}

size_t slice_weight_bytes_alone(const struct slice_model *slice) {
    return bytes_held_by(slice, 1);
}
