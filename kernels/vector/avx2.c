/* The vector set for AVX2 with FMA and F16C (Intel since Haswell, AMD since Excavator): 8 lanes, 16 registers.
 *
 * This file is only the vocabulary: what a vector is here and the few operations the templates speak in. What they
 * mean, to the last bit, is written in portable.c; set_template.h says how the pieces fit. Compiled with its own flags
 * (Makefile) and entered only after dispatch.c has asked the processor.
 */
#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m256 vector;

/* 6 rows x 2 vectors fill 12 of the 16 registers with sums; 2 hold weights, 1 the input. 256 x 16 floats of a panel are
 * half of L1. */
enum { LANES = 8, LINEAR_VECTORS = 2, ATTENTION_VECTORS = 2, LINEAR_DEPTH = 256 };

static inline vector vector_load(const float *from) {
    return _mm256_loadu_ps(from);
}

static inline void vector_store(float *to, vector a) {
    _mm256_storeu_ps(to, a);
}

/* All ones in the first count lanes. */
static inline __m256i lane_mask(size_t count) {
    static const int32_t ones_then_zeros[2 * LANES] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(const void *)(ones_then_zeros + LANES - count));
}

static inline vector vector_load_part(const float *from, size_t count, float fill) {
    __m256i mask = lane_mask(count);
    return _mm256_blendv_ps(_mm256_set1_ps(fill), _mm256_maskload_ps(from, mask), _mm256_castsi256_ps(mask));
}

static inline void vector_store_part(float *to, size_t count, vector a) {
    _mm256_maskstore_ps(to, lane_mask(count), a);
}

static inline vector vector_broadcast(float value) {
    return _mm256_set1_ps(value);
}

static inline vector vector_add(vector a, vector b) {
    return _mm256_add_ps(a, b);
}

static inline vector vector_subtract(vector a, vector b) {
    return _mm256_sub_ps(a, b);
}

static inline vector vector_multiply(vector a, vector b) {
    return _mm256_mul_ps(a, b);
}

static inline vector vector_divide(vector a, vector b) {
    return _mm256_div_ps(a, b);
}

static inline vector vector_fma(vector a, vector b, vector c) {
    return _mm256_fmadd_ps(a, b, c);
}

static inline vector vector_max(vector a, vector b) {
    return _mm256_max_ps(a, b);
}

static inline vector vector_min(vector a, vector b) {
    return _mm256_min_ps(a, b);
}

static inline vector vector_select_less(vector a, vector b, vector yes, vector no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

static inline vector vector_interleave_low(vector a, vector b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x20);
}

static inline vector vector_interleave_high(vector a, vector b) {
    return _mm256_permute2f128_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b), 0x31);
}

static inline vector vector_absolute(vector a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

static inline vector vector_copy_sign(vector magnitude, vector sign) {
    __m256 mask = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(mask, magnitude), _mm256_and_ps(mask, sign));
}

static inline vector vector_exponent(vector biased) {
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(biased), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}

static inline vector vector_from_half(const uint16_t *from) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)from));
}

static inline vector vector_from_bfloat(const uint16_t *from) {
    __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
}

static inline float vector_sum(vector a) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float vector_largest(vector a) {
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#include "kernels/vector/set_template.h"

void avx2_fill(struct kernels *table) {
    vector_fill(table, "avx2");
}

#else
typedef int translation_unit_is_not_empty;
#endif
