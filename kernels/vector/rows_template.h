/* Part of the vector template: what works on one row at a time. Layer norm, softmax, activations, conversions. */
#ifndef KERNELS_VECTOR_ROWS_TEMPLATE_H
#define KERNELS_VECTOR_ROWS_TEMPLATE_H

#include "kernels/vector/functions_template.h"

enum { NORM_ROWS_PER_TASK = 16 };

struct norm_call {
    size_t rows, columns;
    const float *in;
    size_t in_stride;
    const float *gain, *bias;
    float epsilon;
    float *out;
    size_t out_stride;
};

static float row_sum(const float *row, size_t count) {
    struct lanes sum = lanes_broadcast(0);
    for (size_t i = 0; i < count; i += ROW_LANES)
        for (size_t p = 0; p < ROW_PARTS; p++)
            sum.part[p] = vector_add(sum.part[p], load_up_to(row, i + p * LANES, count, 0));
    return lanes_sum(sum);
}

/* The sum of (x - mean)^2; lanes beyond the end hold the mean and add 0. */
static float row_square_sum(const float *row, size_t count, float mean) {
    struct lanes sum = lanes_broadcast(0);
    vector centre = vector_broadcast(mean);
    for (size_t i = 0; i < count; i += ROW_LANES)
        for (size_t p = 0; p < ROW_PARTS; p++) {
            vector distance = vector_subtract(load_up_to(row, i + p * LANES, count, mean), centre);
            sum.part[p] = vector_fma(distance, distance, sum.part[p]);
        }
    return lanes_sum(sum);
}

static void norm_row(const struct norm_call *call, size_t r) {
    const float *in = call->in + r * call->in_stride;
    float *out = call->out + r * call->out_stride;
    size_t columns = call->columns;
    float mean = row_sum(in, columns) / (float)columns;
    float variance = row_square_sum(in, columns, mean) / (float)columns;
    vector centre = vector_broadcast(mean), factor = vector_broadcast(1.0f / sqrtf(variance + call->epsilon));
    for (size_t i = 0; i < columns; i += LANES) {
        vector x = vector_multiply(vector_subtract(load_up_to(in, i, columns, 0), centre), factor);
        vector gain = load_up_to(call->gain, i, columns, 0), bias = load_up_to(call->bias, i, columns, 0);
        store_up_to(out, i, columns, vector_fma(x, gain, bias));
    }
}

static void norm_task(void *context, size_t task, unsigned thread) {
    (void)thread;
    const struct norm_call *call = context;
    size_t first = task * NORM_ROWS_PER_TASK, end = smaller(first + NORM_ROWS_PER_TASK, call->rows);
    for (size_t r = first; r < end; r++)
        norm_row(call, r);
}

static void vector_layer_norm(size_t rows, size_t columns, const float *in, size_t in_stride, const float *gain,
                              const float *bias, float epsilon, float *out, size_t out_stride, struct pool *pool) {
    struct norm_call call = {rows, columns, in, in_stride, gain, bias, epsilon, out, out_stride};
    pool_run(pool, divide_up(rows, NORM_ROWS_PER_TASK), norm_task, &call);
}

static float row_largest(const float *row, size_t count) {
    struct lanes largest = lanes_broadcast(-INFINITY);
    for (size_t i = 0; i < count; i += ROW_LANES)
        for (size_t p = 0; p < ROW_PARTS; p++)
            largest.part[p] = vector_max(largest.part[p], load_up_to(row, i + p * LANES, count, -INFINITY));
    return lanes_largest(largest);
}

/* out[i] = e^(scale * (in[i] - largest)), scale > 0; returns their sum. out may be in. The lanes beyond the end are
 * e^-inf = 0. */
static float row_exponentials(const float *in, float *out, size_t count, float scale) {
    vector largest = vector_broadcast(row_largest(in, count)), factor = vector_broadcast(scale);
    struct lanes sum = lanes_broadcast(0);
    for (size_t i = 0; i < count; i += ROW_LANES)
        for (size_t p = 0; p < ROW_PARTS; p++) {
            size_t first = i + p * LANES;
            vector distance = vector_subtract(load_up_to(in, first, count, -INFINITY), largest);
            vector power = vector_exp_falling(vector_multiply(distance, factor));
            store_up_to(out, first, count, power);
            sum.part[p] = vector_add(sum.part[p], power);
        }
    return lanes_sum(sum);
}

static void vector_softmax(const float *in, float *out, size_t count) {
    vector total = vector_broadcast(row_exponentials(in, out, count, 1));
    for (size_t i = 0; i < count; i += LANES)
        store_up_to(out, i, count, vector_divide(load_up_to(out, i, count, 0), total));
}

static void vector_activate_all(enum activation activation, float *x, size_t count) {
    for (size_t i = 0; i < count; i += LANES)
        store_up_to(x, i, count, vector_activate(activation, load_up_to(x, i, count, 0)));
}

static inline vector from_words(const uint16_t *words, enum element element) {
    return element == ELEMENT_F16 ? vector_from_half(words) : vector_from_bfloat(words);
}

static void vector_convert(float *out, const void *source, enum element element, size_t count) {
    if (element == ELEMENT_F32) {
        memcpy(out, source, count * sizeof *out);
        return;
    }
    const uint16_t *words = source;
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        vector_store(out + i, from_words(words + i, element));
    if (i == count)
        return;
    uint16_t rest[LANES] = {0};
    memcpy(rest, words + i, (count - i) * sizeof *words);
    vector_store_part(out + i, count - i, from_words(rest, element));
}

#endif
