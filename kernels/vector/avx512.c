/* The vector set for AVX-512 (F, BW, DQ, VL): 16 lanes, 32 registers.
 *
 * This file is only the vocabulary: what a vector is here and the few operations the templates speak in. What they
 * mean, to the last bit, is written in portable.c; set_template.h says how the pieces fit. Compiled with its own flags
 * (Makefile) and entered only after dispatch.c has asked the processor.
 */
#if defined(__x86_64__)

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

typedef __m512 vector;

/* 6 rows x 4 vectors fill 24 of the 32 registers with sums, and 10 loads feed 24 multiply-adds. 64 columns divide every
 * width of the ViT and BERT families; attention takes 32 so that heads of 64 and 80 and odd numbers of keys waste less.
 */
enum { LANES = 16, LINEAR_VECTORS = 4, ATTENTION_VECTORS = 2, LINEAR_DEPTH = 128 };

static inline vector vector_load(const float *from) {
    return _mm512_loadu_ps(from);
}

static inline void vector_store(float *to, vector a) {
    _mm512_storeu_ps(to, a);
}

static inline __mmask16 lane_mask(size_t count) {
    return (__mmask16)((1u << count) - 1);
}

static inline vector vector_load_part(const float *from, size_t count, float fill) {
    return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), lane_mask(count), from);
}

static inline void vector_store_part(float *to, size_t count, vector a) {
    _mm512_mask_storeu_ps(to, lane_mask(count), a);
}

static inline vector vector_broadcast(float value) {
    return _mm512_set1_ps(value);
}

static inline vector vector_add(vector a, vector b) {
    return _mm512_add_ps(a, b);
}

static inline vector vector_subtract(vector a, vector b) {
    return _mm512_sub_ps(a, b);
}

static inline vector vector_multiply(vector a, vector b) {
    return _mm512_mul_ps(a, b);
}

static inline vector vector_divide(vector a, vector b) {
    return _mm512_div_ps(a, b);
}

static inline vector vector_fma(vector a, vector b, vector c) {
    return _mm512_fmadd_ps(a, b, c);
}

static inline vector vector_max(vector a, vector b) {
    return _mm512_max_ps(a, b);
}

static inline vector vector_min(vector a, vector b) {
    return _mm512_min_ps(a, b);
}

static inline vector vector_select_less(vector a, vector b, vector yes, vector no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}

static inline vector vector_interleave_low(vector a, vector b) {
    const __m512i order = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    return _mm512_permutex2var_ps(a, order, b);
}

static inline vector vector_interleave_high(vector a, vector b) {
    const __m512i order = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    return _mm512_permutex2var_ps(a, order, b);
}

static inline vector vector_absolute(vector a) {
    return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a);
}

static inline vector vector_copy_sign(vector magnitude, vector sign) {
    __m512 mask = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(mask, magnitude), _mm512_and_ps(mask, sign));
}

static inline vector vector_exponent(vector biased) {
    __m512i bits = _mm512_add_epi32(_mm512_castps_si512(biased), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}

static inline vector vector_from_half(const uint16_t *from) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

static inline vector vector_from_bfloat(const uint16_t *from) {
    __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
}

static inline float vector_sum(vector a) {
    __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static inline float vector_largest(vector a) {
    __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

#include "kernels/vector/set_template.h"

void avx512_fill(struct kernels *table) {
    vector_fill(table, "avx512");
}

#else
typedef int translation_unit_is_not_empty;
#endif
