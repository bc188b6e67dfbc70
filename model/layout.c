/* How a family writes down the weights of a unit: tensors appended to slots.
 *
 * One description serves everybody who must know what a unit reads: model_tensors (what a board fetches), model_open
 * (what a checkpoint must hold), slice_pack (where each tensor is packed), model_unit_weight_bytes (what the planner
 * counts) and model_synthesise (what is written). The description is a plain struct on the caller's stack; nothing here
 * allocates or fails, and a family that appends too much is our own bug.
 */
#include "model/family.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

size_t tensor_elements(unsigned rank, const uint64_t *shape) {
    size_t elements = 1;
    for (unsigned i = 0; i < rank; i++)
        elements *= (size_t)shape[i];
    return elements;
}

static struct unit_tensor *append(struct unit_layout *layout, const char *name, unsigned rank, const uint64_t *shape) {
    assert(layout->tensors < UNIT_TENSORS_MAX && rank >= 1 && rank <= MODEL_DIMENSIONS_MAX);
    struct unit_tensor *tensor = &layout->tensor[layout->tensors++];
    int length = snprintf(tensor->name, sizeof tensor->name, "%s", name);
    assert(length > 0 && (size_t)length < sizeof tensor->name);
    (void)length;
    tensor->rank = rank;
    memcpy(tensor->shape, shape, rank * sizeof *shape);
    return tensor;
}

void layout_matrix(struct unit_layout *layout, unsigned slot, const char *name, unsigned rank, const uint64_t *shape) {
    struct unit_tensor *tensor = append(layout, name, rank, shape);
    size_t k = tensor_elements(rank - 1, shape + 1);
    assert(layout->matrix[slot].n == 0 || layout->matrix[slot].k == k);
    tensor->kind = SLOT_MATRIX;
    tensor->slot = slot;
    tensor->first = layout->matrix[slot].n;
    layout->matrix[slot].n += (size_t)shape[0];
    layout->matrix[slot].k = k;
}

void layout_vector(struct unit_layout *layout, unsigned slot, const char *name, unsigned rank, const uint64_t *shape) {
    struct unit_tensor *tensor = append(layout, name, rank, shape);
    tensor->kind = SLOT_VECTOR;
    tensor->slot = slot;
    tensor->first = layout->vector[slot];
    layout->vector[slot] += tensor_elements(rank, shape);
}

/* name + suffix; the longest name that a family forms is far below the limit, which append asserts. */
static const char *joined(char buffer[TENSOR_NAME_BYTES], const char *name, const char *suffix) {
    snprintf(buffer, TENSOR_NAME_BYTES, "%s%s", name, suffix);
    return buffer;
}

void layout_linear(struct unit_layout *layout, unsigned matrix_slot, unsigned bias_slot, const char *name, size_t n,
                   size_t k, bool bias) {
    char buffer[TENSOR_NAME_BYTES];
    layout_matrix(layout, matrix_slot, joined(buffer, name, ".weight"), 2, (const uint64_t[]){n, k});
    if (bias)
        layout_vector(layout, bias_slot, joined(buffer, name, ".bias"), 1, (const uint64_t[]){n});
}

void layout_norm(struct unit_layout *layout, unsigned gain_slot, unsigned shift_slot, const char *name, size_t n) {
    char buffer[TENSOR_NAME_BYTES];
    layout_vector(layout, gain_slot, joined(buffer, name, ".weight"), 1, (const uint64_t[]){n});
    layout_vector(layout, shift_slot, joined(buffer, name, ".bias"), 1, (const uint64_t[]){n});
}
