/* The vector set for AArch64's Advanced SIMD (every Raspberry Pi since the 3, every Jetson): 4 lanes, 32 registers.
 *
 * This file is only the vocabulary: what a vector is here and the few operations the templates speak in. What they
 * mean, to the last bit, is written in portable.c; set_template.h says how the pieces fit. Advanced SIMD is part of
 * AArch64, so there is nothing to ask the processor. Maximum and minimum are compare-and-select: FMAX treats NaN and
 * zeros unlike the others.
 */
#if defined(__aarch64__)

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef float32x4_t vector;

/* 6 rows x 4 vectors fill 24 of the 32 registers with sums; 4 hold weights, the rest inputs. */
enum { LANES = 4, LINEAR_VECTORS = 4, ATTENTION_VECTORS = 4, LINEAR_DEPTH = 256 };

/* Not vld1q_f32 and vst1q_f32: gcc 12 does not see through those and would keep a tile's sums in memory. */
static inline vector vector_load(const float *from) {
    vector a;
    memcpy(&a, from, sizeof a);
    return a;
}

static inline void vector_store(float *to, vector a) {
    memcpy(to, &a, sizeof a);
}

static inline vector vector_load_part(const float *from, size_t count, float fill) {
    float lanes[LANES] = {fill, fill, fill, fill};
    for (size_t i = 0; i < count; i++)
        lanes[i] = from[i];
    return vector_load(lanes);
}

static inline void vector_store_part(float *to, size_t count, vector a) {
    float lanes[LANES];
    vector_store(lanes, a);
    for (size_t i = 0; i < count; i++)
        to[i] = lanes[i];
}

static inline vector vector_broadcast(float value) {
    return vdupq_n_f32(value);
}

static inline vector vector_add(vector a, vector b) {
    return vaddq_f32(a, b);
}

static inline vector vector_subtract(vector a, vector b) {
    return vsubq_f32(a, b);
}

static inline vector vector_multiply(vector a, vector b) {
    return vmulq_f32(a, b);
}

static inline vector vector_divide(vector a, vector b) {
    return vdivq_f32(a, b);
}

static inline vector vector_fma(vector a, vector b, vector c) {
    return vfmaq_f32(c, a, b);
}

static inline vector vector_max(vector a, vector b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

static inline vector vector_min(vector a, vector b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

static inline vector vector_select_less(vector a, vector b, vector yes, vector no) {
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}

static inline vector vector_interleave_low(vector a, vector b) {
    return vzip1q_f32(a, b);
}

static inline vector vector_interleave_high(vector a, vector b) {
    return vzip2q_f32(a, b);
}

static inline vector vector_absolute(vector a) {
    return vabsq_f32(a);
}

static inline vector vector_copy_sign(vector magnitude, vector sign) {
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}

static inline vector vector_exponent(vector biased) {
    uint32x4_t bits = vaddq_u32(vreinterpretq_u32_f32(biased), vdupq_n_u32(127));
    return vreinterpretq_f32_u32(vshlq_n_u32(bits, 23));
}

static inline vector vector_from_half(const uint16_t *from) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
}

static inline vector vector_from_bfloat(const uint16_t *from) {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from), 16));
}

static inline float vector_sum(vector a) {
    float32x2_t two = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

static inline float vector_largest(vector a) {
    vector two = vector_max(a, vextq_f32(a, a, 2));
    return vgetq_lane_f32(vector_max(two, vextq_f32(two, two, 1)), 0);
}

#include "kernels/vector/set_template.h"

void neon_fill(struct kernels *table) {
    vector_fill(table, "neon");
}

#else
typedef int translation_unit_is_not_empty;
#endif
