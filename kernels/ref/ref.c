/* The oracle: every entry of the kernel table in plain C.
 *
 * Written to be read and believed, not to be fast: sums run in double, functions come from libm, and what kernels.h
 * says in a formula stands here as that formula. Every other set is tested against this one. A matrix is kept as it
 * comes, [n][k] in fp32. Only `patches` uses the pool, because it moves bytes rather than computes and so serves every
 * set as it is. Nothing here allocates, fails or keeps state.
 */
#include "kernels/sets.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15), 10 fraction bits. A signalling NaN comes out quiet, as from
 * hardware. */
static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half >> 15) << 31;
    uint32_t exponent = half >> 10 & 0x1f;
    uint32_t fraction = half & 0x3ff;
    if (exponent == 0) {
        float magnitude = ldexpf((float)fraction, -24);
        return sign ? -magnitude : magnitude;
    }
    if (exponent == 0x1f)
        return from_bits(sign | 0x7f800000u | (fraction ? 0x400000u | fraction << 13 : 0));
    return from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

static void ref_convert(float *out, const void *source, enum element element, size_t count) {
    const uint16_t *words = source;
    switch (element) {
    case ELEMENT_F32:
        memcpy(out, source, count * sizeof *out);
        return;
    case ELEMENT_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = half_to_float(words[i]);
        return;
    case ELEMENT_BF16: /* the upper half of an fp32 */
        for (size_t i = 0; i < count; i++)
            out[i] = from_bits((uint32_t)words[i] << 16);
        return;
    }
    assert(!"element type");
}

static size_t ref_matrix_bytes(size_t n, size_t k) {
    return n * k * sizeof(float);
}

static void ref_matrix_pack(struct matrix *matrix, size_t first, size_t rows, const void *source,
                            enum element element) {
    assert(first <= matrix->n && rows <= matrix->n - first);
    float *data = matrix->data;
    ref_convert(data + first * matrix->k, source, element, rows * matrix->k);
}

/* Both GELUs tend to 0 at minus infinity, where their formulas say infinity times 0. */
static double activated(enum activation activation, double x) {
    switch (activation) {
    case ACTIVATION_NONE:
        return x;
    case ACTIVATION_GELU:
        return x == -INFINITY ? -0.0 : x * (1 + erf(x / sqrt(2))) / 2;
    case ACTIVATION_GELU_TANH:
        return x == -INFINITY ? -0.0 : x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) / 2;
    case ACTIVATION_RELU:
        return x < 0 ? 0 : x;
    case ACTIVATION_TANH:
        return tanh(x);
    }
    assert(!"activation");
    return x;
}

static void ref_activate(enum activation activation, float *x, size_t count) {
    for (size_t i = 0; i < count; i++)
        x[i] = (float)activated(activation, x[i]);
}

static size_t ref_linear_scratch_bytes(size_t rows, size_t n, size_t k, unsigned threads) {
    (void)rows, (void)n, (void)k, (void)threads;
    return 0;
}

static void ref_linear(const struct linear *call, struct pool *pool) {
    (void)pool;
    size_t n = call->weight->n, k = call->weight->k;
    const float *weight = call->weight->data;
    for (size_t r = 0; r < call->rows; r++) {
        const float *in = call->in + r * call->in_stride;
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (double)in[i] * weight[j * k + i];
            if (call->bias)
                sum += call->bias[j];
            sum = activated(call->activation, sum);
            if (call->residual)
                sum += call->residual[r * call->residual_stride + j];
            call->out[r * call->out_stride + j] = (float)sum;
        }
    }
}

/* One row of scores, kept in double by the caller. */
static size_t ref_attention_scratch_bytes(size_t head_size, size_t queries, size_t keys, unsigned threads) {
    (void)head_size, (void)queries, (void)threads;
    return keys * sizeof(double);
}

static void softmax_in_double(double *x, size_t count) {
    double largest = -INFINITY, total = 0;
    for (size_t i = 0; i < count; i++)
        largest = x[i] > largest ? x[i] : largest;
    for (size_t i = 0; i < count; i++)
        total += x[i] = exp(x[i] - largest);
    for (size_t i = 0; i < count; i++)
        x[i] /= total;
}

static void attend(const struct attention *call, const float *q, const float *k, const float *v, float *out) {
    double *weight = call->scratch;
    for (size_t t = 0; t < call->keys; t++) {
        double sum = 0;
        for (size_t i = 0; i < call->head_size; i++)
            sum += (double)q[i] * k[t * call->kv_stride + i];
        weight[t] = sum * call->scale;
    }
    softmax_in_double(weight, call->keys);
    for (size_t i = 0; i < call->head_size; i++) {
        double sum = 0;
        for (size_t t = 0; t < call->keys; t++)
            sum += weight[t] * v[t * call->kv_stride + i];
        out[i] = (float)sum;
    }
}

static void ref_attention(const struct attention *call, struct pool *pool) {
    (void)pool;
    for (size_t b = 0; b < call->items; b++)
        for (size_t h = 0; h < call->heads; h++)
            for (size_t r = 0; r < call->queries; r++) {
                size_t column = h * call->head_size;
                size_t query = b * call->queries + r, key = b * call->keys * call->kv_stride + column;
                attend(call, call->q + query * call->q_stride + column, call->k + key, call->v + key,
                       call->out + query * call->out_stride + column);
            }
}

static void ref_layer_norm(size_t rows, size_t columns, const float *in, size_t in_stride, const float *gain,
                           const float *bias, float epsilon, float *out, size_t out_stride, struct pool *pool) {
    (void)pool;
    for (size_t r = 0; r < rows; r++, in += in_stride, out += out_stride) {
        double mean = 0, variance = 0;
        for (size_t j = 0; j < columns; j++)
            mean += in[j];
        mean /= (double)columns;
        for (size_t j = 0; j < columns; j++)
            variance += (in[j] - mean) * (in[j] - mean);
        variance /= (double)columns;
        for (size_t j = 0; j < columns; j++)
            out[j] = (float)((in[j] - mean) / sqrt(variance + epsilon) * gain[j] + bias[j]);
    }
}

/* One row of patches of one item: the task number counts them. */
static void patches_task(void *context, size_t task, unsigned thread) {
    (void)thread;
    const struct patches *call = context;
    size_t patch = call->patch, channels = call->channels;
    size_t grid_w = call->width / patch, area = patch * patch;
    for (size_t y = 0; y < patch; y++) {
        /* items follow each other, so the pixel rows of all patch rows do too */
        const uint8_t *pixel = call->pixels + (task * patch + y) * call->width * channels;
        float *out = call->out + task * grid_w * channels * area + y * patch;
        for (size_t x = 0; x < grid_w; x++, out += channels * area)
            for (size_t dx = 0; dx < patch; dx++, pixel += channels)
                for (size_t c = 0; c < channels; c++)
                    out[c * area + dx] = call->table[c * 256 + pixel[c]];
    }
}

static void ref_patches(const struct patches *call, struct pool *pool) {
    assert(call->channels >= 1 && call->channels <= 4 && call->patch > 0);
    assert(call->height % call->patch == 0 && call->width % call->patch == 0);
    struct patches copy = *call;
    pool_run(pool, call->items * (call->height / call->patch), patches_task, &copy);
}

static void ref_softmax(const float *in, float *out, size_t count) {
    float largest = -INFINITY;
    double total = 0;
    for (size_t i = 0; i < count; i++)
        largest = in[i] > largest ? in[i] : largest;
    for (size_t i = 0; i < count; i++)
        total += exp((double)in[i] - largest);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(exp((double)in[i] - largest) / total);
}

void ref_fill(struct kernels *table) {
    *table = (struct kernels){
        .name = "ref",
        .rows_independent = true,
        .matrix_bytes = ref_matrix_bytes,
        .matrix_pack = ref_matrix_pack,
        .linear_scratch_bytes = ref_linear_scratch_bytes,
        .linear = ref_linear,
        .attention_scratch_bytes = ref_attention_scratch_bytes,
        .attention = ref_attention,
        .layer_norm = ref_layer_norm,
        .patches = ref_patches,
        .activate = ref_activate,
        .convert = ref_convert,
        .softmax = ref_softmax,
    };
}
