/* What the kernel tests share: tensors between guards, a seeded generator, comparisons that name the first difference.
 *
 * A tensor lies 4 bytes off any larger alignment, its rows are wider than its columns, and all memory around and
 * between them holds a pattern that no kernel may change; tensor_close checks that. Failures end the test through
 * cmocka's fail_msg.
 */
#ifndef TEST_KERNELS_FIXTURE_H
#define TEST_KERNELS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/allocate.h"
#include "kernels/kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { GUARD_FLOATS = 33, ROW_GAP = 3, GUARD_BYTE = 0xa5 };

static inline uint64_t random_bits(uint64_t *state) { /* splitmix64 */
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Uniform in [-1, 1). */
static inline float random_float(uint64_t *state) {
    return (float)((int32_t)(random_bits(state) >> 40) - (1 << 23)) * 0x1p-23f;
}

struct tensor {
    float *data;
    size_t rows, columns, stride;
    float *memory;
    size_t floats;
};

static inline struct tensor tensor_new(size_t rows, size_t columns) {
    struct tensor tensor = {.rows = rows, .columns = columns, .stride = columns + ROW_GAP};
    tensor.floats = 2 * GUARD_FLOATS + rows * tensor.stride;
    tensor.memory = allocate(tensor.floats, sizeof(float));
    tensor.data = tensor.memory + GUARD_FLOATS;
    memset(tensor.memory, GUARD_BYTE, tensor.floats * sizeof(float));
    return tensor;
}

static inline struct tensor tensor_random(size_t rows, size_t columns, uint64_t seed) {
    struct tensor tensor = tensor_new(rows, columns);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            tensor.data[r * tensor.stride + c] = random_float(&seed);
    return tensor;
}

static inline float *tensor_at(const struct tensor *tensor, size_t row, size_t column) {
    return tensor->data + row * tensor->stride + column;
}

static inline bool tensor_owns(const struct tensor *tensor, size_t i) {
    if (i < GUARD_FLOATS || i >= tensor->floats - GUARD_FLOATS)
        return false;
    return (i - GUARD_FLOATS) % tensor->stride < tensor->columns;
}

static inline void tensor_close(struct tensor *tensor, const char *what) {
    uint32_t guard, found;
    memset(&guard, GUARD_BYTE, sizeof guard);
    for (size_t i = 0; i < tensor->floats; i++) {
        memcpy(&found, tensor->memory + i, sizeof found);
        if (!tensor_owns(tensor, i) && found != guard)
            fail_msg("%s: float %td of [%zu][%zu], stride %zu, lies outside and was overwritten", what,
                     (ptrdiff_t)i - GUARD_FLOATS, tensor->rows, tensor->columns, tensor->stride);
    }
    release(tensor->memory);
    tensor->memory = NULL;
}

/* Scratch of exactly `bytes`, aligned to 64, with guards on both sides. */
struct scratch {
    void *data;
    uint8_t *memory;
    size_t bytes;
};

static inline struct scratch scratch_new(size_t bytes) {
    struct scratch scratch = {.memory = allocate(bytes + 128, 1), .bytes = bytes};
    memset(scratch.memory, 0xff, bytes + 128); /* every float in it is a NaN until written */
    scratch.data = scratch.memory + 64;
    return scratch;
}

static inline void scratch_close(struct scratch *scratch, const char *what) {
    for (size_t i = 0; i < 64; i++)
        if (scratch->memory[i] != 0xff || scratch->memory[64 + scratch->bytes + i] != 0xff)
            fail_msg("%s: wrote outside its scratch of %zu bytes", what, scratch->bytes);
    release(scratch->memory);
}

static inline bool same_value(float a, float b) {
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static inline void assert_same(const struct tensor *got, const struct tensor *want, const char *what) {
    for (size_t r = 0; r < want->rows; r++)
        for (size_t c = 0; c < want->columns; c++)
            if (!same_value(*tensor_at(got, r, c), *tensor_at(want, r, c)))
                fail_msg("%s: [%zu][%zu] of [%zu][%zu]: got %a, want the bits of %a", what, r, c, want->rows,
                         want->columns, (double)*tensor_at(got, r, c), (double)*tensor_at(want, r, c));
}

static inline bool near_value(float got, float want, double tolerance) {
    if (isnan(want) || isinf(want))
        return same_value(got, want);
    return fabs((double)got - want) <= tolerance * fmax(1, fabs((double)want));
}

static inline void assert_near(const struct tensor *got, const struct tensor *want, double tolerance,
                               const char *what) {
    for (size_t r = 0; r < want->rows; r++)
        for (size_t c = 0; c < want->columns; c++)
            if (!near_value(*tensor_at(got, r, c), *tensor_at(want, r, c), tolerance))
                fail_msg("%s: [%zu][%zu] of [%zu][%zu]: got %.9g, want %.9g within %g", what, r, c, want->rows,
                         want->columns, (double)*tensor_at(got, r, c), (double)*tensor_at(want, r, c), tolerance);
}

/* The vector sets promise equal bits everywhere; ref sums in double, openblas in an order of its own. */
static inline bool is_vector_set(const struct kernels *set) {
    return strcmp(set->name, "ref") != 0 && strcmp(set->name, "openblas") != 0;
}

static inline const struct kernels *set_named(const char *name) {
    struct error error;
    const struct kernels *set = kernels_get(name, &error);
    if (!set)
        fail_msg("%s", error.text);
    return set;
}

/* Calls test for every set that this processor can run. */
static inline void for_every_set(void (*test)(const struct kernels *set)) {
    bool usable;
    const struct kernels *set;
    for (size_t i = 0; (set = kernels_at(i, &usable)); i++)
        if (usable)
            test(set);
}

#endif
