/* The vector set in plain C: 16 lanes and AVX-512's tile shapes, for any processor.
 *
 * This file is also the definition of the vocabulary: what each operation means, to the last bit. The intrinsics in
 * avx2.c, avx512.c and neon.c are equal to these loops, and a test compares them. It exists for that test, so that the
 * 16-lane paths run on machines without AVX-512, and as the last resort of a processor with nothing better; fmaf may be
 * a function call here, and being right matters more than being fast.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16, LINEAR_VECTORS = 4, ATTENTION_VECTORS = 2, LINEAR_DEPTH = 128 };

typedef struct {
    float lane[LANES];
} vector;

static inline vector vector_load(const float *from) {
    vector a;
    memcpy(a.lane, from, sizeof a.lane);
    return a;
}

static inline void vector_store(float *to, vector a) {
    memcpy(to, a.lane, sizeof a.lane);
}

/* The first count lanes (fewer than LANES, perhaps none) from memory, the others `fill`. Touches no memory beyond them.
 */
static inline vector vector_load_part(const float *from, size_t count, float fill) {
    vector a;
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] = i < count ? from[i] : fill;
    return a;
}

static inline void vector_store_part(float *to, size_t count, vector a) {
    memcpy(to, a.lane, count * sizeof *to);
}

static inline vector vector_broadcast(float value) {
    vector a;
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] = value;
    return a;
}

static inline vector vector_add(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] += b.lane[i];
    return a;
}

static inline vector vector_subtract(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] -= b.lane[i];
    return a;
}

static inline vector vector_multiply(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] *= b.lane[i];
    return a;
}

static inline vector vector_divide(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] /= b.lane[i];
    return a;
}

/* a * b + c, rounded once. */
static inline vector vector_fma(vector a, vector b, vector c) {
    for (size_t i = 0; i < LANES; i++)
        c.lane[i] = fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

/* b unless a is greater: also b when either is NaN, or when both are zero. So max(constant, x) lets a NaN in x through.
 */
static inline vector vector_max(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        b.lane[i] = a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i];
    return b;
}

/* b unless a is less. */
static inline vector vector_min(vector a, vector b) {
    for (size_t i = 0; i < LANES; i++)
        b.lane[i] = a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i];
    return b;
}

/* a < b ? yes : no; `no` when either is NaN. */
static inline vector vector_select_less(vector a, vector b, vector yes, vector no) {
    for (size_t i = 0; i < LANES; i++)
        no.lane[i] = a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i];
    return no;
}

/* a0 b0 a1 b1 ... of the lower halves, and of the upper. */
static inline vector vector_interleave_low(vector a, vector b) {
    vector mixed;
    for (size_t i = 0; i < LANES; i++)
        mixed.lane[i] = i % 2 ? b.lane[i / 2] : a.lane[i / 2];
    return mixed;
}

static inline vector vector_interleave_high(vector a, vector b) {
    vector mixed;
    for (size_t i = 0; i < LANES; i++)
        mixed.lane[i] = i % 2 ? b.lane[LANES / 2 + i / 2] : a.lane[LANES / 2 + i / 2];
    return mixed;
}

static inline vector vector_absolute(vector a) {
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] = fabsf(a.lane[i]);
    return a;
}

static inline vector vector_copy_sign(vector magnitude, vector sign) {
    for (size_t i = 0; i < LANES; i++)
        magnitude.lane[i] = copysignf(magnitude.lane[i], sign.lane[i]);
    return magnitude;
}

/* 2^n for biased = 1.5 * 2^23 + n, whose low bits are the integer n (-126 to 127); 0 for n = -127. Anything for a NaN.
 */
static inline vector vector_exponent(vector biased) {
    uint32_t bits[LANES];
    memcpy(bits, biased.lane, sizeof bits);
    for (size_t i = 0; i < LANES; i++)
        bits[i] = (bits[i] + 127) << 23;
    memcpy(biased.lane, bits, sizeof bits);
    return biased;
}

/* One IEEE binary16: the fraction and exponent are moved into place and the bias is mended by an exact multiplication,
 * which also makes denormals right; infinities and NaNs get their exponent set, and NaNs become quiet as in hardware.
 */
static inline float half_value(uint16_t half) {
    uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13, sign = (uint32_t)(half & 0x8000) << 16;
    float scaled;
    memcpy(&scaled, &magnitude, sizeof scaled);
    scaled *= 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    if ((half & 0x7c00) == 0x7c00)
        bits = magnitude | 0x7f800000u | (half & 0x3ff ? 0x400000u : 0);
    bits |= sign;
    memcpy(&scaled, &bits, sizeof scaled);
    return scaled;
}

static inline vector vector_from_half(const uint16_t *from) {
    vector a;
    for (size_t i = 0; i < LANES; i++)
        a.lane[i] = half_value(from[i]);
    return a;
}

static inline vector vector_from_bfloat(const uint16_t *from) {
    uint32_t bits[LANES];
    for (size_t i = 0; i < LANES; i++)
        bits[i] = (uint32_t)from[i] << 16;
    vector a;
    memcpy(a.lane, bits, sizeof bits);
    return a;
}

/* The tree of every sum: the upper half onto the lower until one is left. */
static inline float vector_sum(vector a) {
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            a.lane[i] += a.lane[i + half];
    return a.lane[0];
}

static inline float vector_largest(vector a) {
    for (size_t half = LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    return a.lane[0];
}

#include "kernels/vector/set_template.h"

void portable_fill(struct kernels *table) {
    vector_fill(table, "portable");
}
