/* Part of the vector template: loads that stop at the end of a row, and reductions over 16 lanes.
 *
 * Every sum and maximum over a row goes through 16 running lanes, element i into lane i modulo 16, and then through one
 * tree, so that sets with 4, 8 and 16 lanes per register give the same bits. The lanes beyond the end of a row take
 * part with a value that changes nothing (`fill`), in every set alike.
 */
#ifndef KERNELS_VECTOR_LANES_TEMPLATE_H
#define KERNELS_VECTOR_LANES_TEMPLATE_H

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROW_LANES = 16, ROW_PARTS = ROW_LANES / LANES };

static inline size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static inline size_t divide_up(size_t a, size_t b) {
    return (a + b - 1) / b;
}

static inline size_t round_up(size_t a, size_t b) {
    return divide_up(a, b) * b;
}

/* Lanes of row[first ...] that lie before count; the others are fill. first may be beyond the end. */
static inline vector load_up_to(const float *row, size_t first, size_t count, float fill) {
    if (first + LANES <= count)
        return vector_load(row + first);
    return first < count ? vector_load_part(row + first, count - first, fill) : vector_broadcast(fill);
}

static inline void store_up_to(float *row, size_t first, size_t count, vector a) {
    if (first + LANES <= count)
        vector_store(row + first, a);
    else if (first < count)
        vector_store_part(row + first, count - first, a);
}

/* rows[i] lane j becomes rows[j] lane i. Interleaving the first half of all rows with the second moves the highest bit
 * of an element's index to the lowest place; after as many times as a lane number has bits, row and lane have changed
 * places. */
static inline void transpose(vector rows[LANES]) {
#pragma GCC unroll 8
    for (size_t bit = 1; bit < LANES; bit *= 2) {
        vector mixed[LANES];
#pragma GCC unroll 8
        for (size_t i = 0; i < LANES / 2; i++) {
            mixed[2 * i] = vector_interleave_low(rows[i], rows[i + LANES / 2]);
            mixed[2 * i + 1] = vector_interleave_high(rows[i], rows[i + LANES / 2]);
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < LANES; i++)
            rows[i] = mixed[i];
    }
}

/* The 16 lanes of a reduction. */
struct lanes {
    vector part[ROW_PARTS];
};

static inline struct lanes lanes_broadcast(float value) {
    struct lanes lanes;
    for (size_t p = 0; p < ROW_PARTS; p++)
        lanes.part[p] = vector_broadcast(value);
    return lanes;
}

static inline float lanes_sum(struct lanes lanes) {
    for (size_t half = ROW_PARTS / 2; half > 0; half /= 2)
        for (size_t p = 0; p < half; p++)
            lanes.part[p] = vector_add(lanes.part[p], lanes.part[p + half]);
    return vector_sum(lanes.part[0]);
}

static inline float lanes_largest(struct lanes lanes) {
    for (size_t half = ROW_PARTS / 2; half > 0; half /= 2)
        for (size_t p = 0; p < half; p++)
            lanes.part[p] = vector_max(lanes.part[p], lanes.part[p + half]);
    return vector_largest(lanes.part[0]);
}

#endif
