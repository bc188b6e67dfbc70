/* The units of a pre-norm encoder block; see encoder_block.h.
 *
 * The story of one microbatch in a block, with rows = items * tokens and d = hidden size: `attention` normalises x into
 * the memory where its result belongs (the result is written only after the normalised rows were read by the q, k, v
 * product), multiplies into q|k|v rows of 3d in the temporary memory, and lets attention overwrite the normalised rows.
 * `projection` and the MLP's second product add to the residual stream inside the product, so the stream is touched
 * once and never copied when it can stay in place. The MLP normalises into temporary memory and keeps what is between
 * its products there. Parts of it that lie side by side in a slice are one pass over their rows: weights are read once.
 *
 * Where a slice's first unit passes the stream on as it is, all of it (attention) or the rows of other parts (of an
 * MLP), it may have to copy them: its input and its output memory are the caller's. Nothing here allocates, fails, or
 * keeps state; threads come from the caller's pool.
 */
#include "model/encoder_block.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Slots of the weights of every unit of a block. */
enum { VECTOR_GAIN, VECTOR_SHIFT, VECTOR_BIAS, VECTOR_BIAS2 /* of an MLP's second product */ };
enum { MATRIX_MAIN, MATRIX_KEY_VALUE /* only in the last block */, MATRIX_FC2 = MATRIX_KEY_VALUE };

/* ---- description ---- */

static bool last_block(const struct encoder *encoder, unsigned block) {
    return block + 1 == encoder->blocks;
}

/* Rows per item after the block's attention. */
static size_t rows_after_attention(const struct encoder *encoder, unsigned block) {
    return last_block(encoder, block) ? encoder->kept : encoder->tokens;
}

static struct payload_part part_of(size_t rows, size_t columns) {
    return (struct payload_part){PAYLOAD_F32, 2, {(uint32_t)rows, (uint32_t)columns}};
}

void encoder_cut(const struct encoder *encoder, unsigned cut, struct payload *payload) {
    struct unit_place before = unit_place(MODEL_BLOCK_UNITS * encoder->blocks + 2, cut - 1);
    size_t rows = before.kind == UNIT_EMBED ? encoder->tokens : rows_after_attention(encoder, before.block);
    struct payload_part stream = part_of(rows, encoder->hidden);
    if (before.kind == UNIT_ATTENTION)
        *payload = (struct payload){2, {part_of(rows, encoder->hidden), stream}};
    else
        *payload = (struct payload){1, {stream}};
}

double encoder_flops(const struct encoder *encoder, struct unit_place place) {
    double d = (double)encoder->hidden, tokens = encoder->tokens;
    double rows = (double)rows_after_attention(encoder, place.block);
    switch (place.kind) {
    case UNIT_ATTENTION:
        return 2 * (2 * tokens + rows) * d * d + 4 * rows * tokens * d;
    case UNIT_PROJECTION:
        return 2 * rows * d * d;
    default:
        return 4 * rows * d * (double)encoder->intermediate / MODEL_MLP_PARTS;
    }
}

static void name_part(char name[TENSOR_NAME_BYTES], const struct encoder *encoder, unsigned block, const char *part) {
    snprintf(name, TENSOR_NAME_BYTES, "%s%u.%s", encoder->layers, block, part);
}

static void add_linear(struct unit_layout *layout, unsigned slot, unsigned bias_slot, const struct encoder *encoder,
                       unsigned block, const char *part, size_t n, size_t k, bool bias) {
    char name[TENSOR_NAME_BYTES];
    name_part(name, encoder, block, part);
    layout_linear(layout, slot, bias_slot, name, n, k, bias);
}

static void add_norm(struct unit_layout *layout, const struct encoder *encoder, unsigned block, const char *part) {
    char name[TENSOR_NAME_BYTES];
    name_part(name, encoder, block, part);
    layout_norm(layout, VECTOR_GAIN, VECTOR_SHIFT, name, encoder->hidden);
}

/* One [3d][d] matrix; in the last block, where queries are computed for fewer rows, [d][d] and [2d][d]. The biases are
 * q|k|v in one vector either way. */
static void attention_layout(const struct encoder *encoder, unsigned block, struct unit_layout *layout) {
    size_t d = encoder->hidden;
    unsigned key_value = last_block(encoder, block) ? MATRIX_KEY_VALUE : MATRIX_MAIN;
    add_norm(layout, encoder, block, encoder->names->norm1);
    add_linear(layout, MATRIX_MAIN, VECTOR_BIAS, encoder, block, encoder->names->query, d, d, encoder->qkv_bias);
    add_linear(layout, key_value, VECTOR_BIAS, encoder, block, encoder->names->key, d, d, encoder->qkv_bias);
    add_linear(layout, key_value, VECTOR_BIAS, encoder, block, encoder->names->value, d, d, encoder->qkv_bias);
}

void encoder_layout(const struct encoder *encoder, struct unit_place place, struct unit_layout *layout) {
    const struct encoder_names *names = encoder->names;
    size_t d = encoder->hidden, intermediate = encoder->intermediate;
    switch (place.kind) {
    case UNIT_ATTENTION:
        attention_layout(encoder, place.block, layout);
        break;
    case UNIT_PROJECTION:
        add_linear(layout, MATRIX_MAIN, VECTOR_BIAS, encoder, place.block, names->projection, d, d, true);
        break;
    default:
        add_norm(layout, encoder, place.block, names->norm2);
        add_linear(layout, MATRIX_MAIN, VECTOR_BIAS, encoder, place.block, names->fc1, intermediate, d, true);
        add_linear(layout, MATRIX_FC2, VECTOR_BIAS2, encoder, place.block, names->fc2, d, intermediate, true);
        break;
    }
}

/* ---- memory ---- */

/* Bytes of `rows` rows of `columns` numbers, such that what follows is aligned. */
static size_t rows_bytes(size_t rows, size_t columns) {
    return align64(rows * columns * sizeof(float));
}

/* q|k|v of every token; in the last block the normalised rows, k|v of every token, and q of the kept ones. */
static size_t attention_operand_bytes(const struct encoder *encoder, unsigned block, size_t items) {
    size_t d = encoder->hidden, rows = items * encoder->tokens;
    if (last_block(encoder, block))
        return rows_bytes(rows, d) + rows_bytes(rows, 2 * d) + rows_bytes(items * encoder->kept, d);
    return rows_bytes(rows, 3 * d);
}

static size_t attention_scratch_bytes(const struct encoder *encoder, unsigned block, size_t items,
                                      const struct kernels *kernels, unsigned threads) {
    size_t d = encoder->hidden, tokens = encoder->tokens, queries = rows_after_attention(encoder, block);
    size_t scratch = kernels->attention_scratch_bytes(d / encoder->heads, queries, tokens, threads);
    if (!last_block(encoder, block))
        return larger(scratch, kernels->linear_scratch_bytes(items * tokens, 3 * d, d, threads));
    scratch = larger(scratch, kernels->linear_scratch_bytes(items, d, d, threads));
    return larger(scratch, kernels->linear_scratch_bytes(items * tokens, 2 * d, d, threads));
}

/* Of `rows` rows those before a part of an MLP; with MODEL_MLP_PARTS, all. Of fewer rows than parts the first parts
 * have one each, so that the first never has none: plans take it for the one that reads the weights. */
static size_t rows_before(size_t rows, unsigned part) {
    return (rows * part + MODEL_MLP_PARTS - 1) / MODEL_MLP_PARTS;
}

static size_t mlp_bytes(const struct encoder *encoder, size_t rows, const struct kernels *kernels, unsigned threads) {
    size_t d = encoder->hidden, intermediate = encoder->intermediate;
    return rows_bytes(rows, d) + rows_bytes(rows, intermediate) +
           larger(kernels->linear_scratch_bytes(rows, intermediate, d, threads),
                  kernels->linear_scratch_bytes(rows, d, intermediate, threads));
}

size_t encoder_temporary_bytes(const struct encoder *encoder, struct unit_place place, unsigned parts, size_t items,
                               const struct kernels *kernels, unsigned threads) {
    size_t rows = items * rows_after_attention(encoder, place.block);
    size_t d = encoder->hidden;
    switch (place.kind) {
    case UNIT_ATTENTION:
        return attention_operand_bytes(encoder, place.block, items) +
               attention_scratch_bytes(encoder, place.block, items, kernels, threads);
    case UNIT_PROJECTION:
        return kernels->linear_scratch_bytes(rows, d, d, threads);
    default:
        return mlp_bytes(encoder, rows_before(rows, place.part + parts) - rows_before(rows, place.part), kernels,
                         threads);
    }
}

/* ---- work ---- */

static void norm(const struct encoder *encoder, const struct unit_call *call, size_t rows, const float *in,
                 float *out) {
    size_t d = encoder->hidden;
    call->kernels->layer_norm(rows, d, in, d, call->weights->vector[VECTOR_GAIN], call->weights->vector[VECTOR_SHIFT],
                              encoder->epsilon, out, d, call->pool);
}

/* Where queries, keys and values lie; all keys and values of an item are used, and its first `queries` rows ask. */
static void attend(const struct encoder *encoder, const struct unit_call *call, const struct attention *operands) {
    struct attention attention = *operands;
    attention.items = call->items;
    attention.heads = encoder->heads;
    attention.head_size = encoder->hidden / encoder->heads;
    attention.keys = encoder->tokens;
    attention.scale = 1.0F / sqrtf((float)attention.head_size);
    attention.out_stride = encoder->hidden;
    call->kernels->attention(&attention, call->pool);
}

static void attention_of_all(const struct encoder *encoder, const struct unit_call *call) {
    size_t d = encoder->hidden, rows = call->items * encoder->tokens;
    float *normed = call->out[0];
    float *qkv = (void *)call->temporary;
    void *scratch = call->temporary + rows_bytes(rows, 3 * d);
    norm(encoder, call, rows, call->in[0], normed);
    struct linear product = {.weight = &call->weights->matrix[MATRIX_MAIN],
                             .bias = call->weights->vector[VECTOR_BIAS],
                             .in = normed,
                             .in_stride = d,
                             .rows = rows,
                             .out = qkv,
                             .out_stride = 3 * d,
                             .scratch = scratch};
    call->kernels->linear(&product, call->pool);
    struct attention operands = {.queries = encoder->tokens,
                                 .q = qkv,
                                 .k = qkv + d,
                                 .v = qkv + 2 * d,
                                 .q_stride = 3 * d,
                                 .kv_stride = 3 * d,
                                 .out = call->out[0],
                                 .scratch = scratch};
    attend(encoder, call, &operands);
    if (call->out[1] != call->in[0])
        memcpy(call->out[1], call->in[0], rows * d * sizeof(float));
}

/* Queries of the kept rows: the r-th row of every item in one product, because those lie one item apart. */
static void kept_queries(const struct encoder *encoder, const struct unit_call *call, const float *normed, float *q,
                         void *scratch) {
    size_t d = encoder->hidden;
    for (size_t r = 0; r < encoder->kept; r++) {
        struct linear product = {.weight = &call->weights->matrix[MATRIX_MAIN],
                                 .bias = call->weights->vector[VECTOR_BIAS],
                                 .in = normed + r * d,
                                 .in_stride = encoder->tokens * d,
                                 .rows = call->items,
                                 .out = q + r * d,
                                 .out_stride = encoder->kept * d,
                                 .scratch = scratch};
        call->kernels->linear(&product, call->pool);
    }
}

/* Moves the kept rows of every item together. Ascending order makes it right in place too: no row moves upwards. */
static void gather_kept(const struct encoder *encoder, size_t items, const float *in, float *out) {
    size_t kept = encoder->kept * encoder->hidden, all = encoder->tokens * encoder->hidden;
    for (size_t b = 0; b < items; b++)
        memmove(out + b * kept, in + b * all, kept * sizeof(float));
}

static void attention_of_kept(const struct encoder *encoder, const struct unit_call *call) {
    size_t d = encoder->hidden, rows = call->items * encoder->tokens;
    unsigned char *temporary = call->temporary;
    float *normed = (void *)temporary;
    float *kv = (void *)(temporary += rows_bytes(rows, d));
    float *q = (void *)(temporary += rows_bytes(rows, 2 * d));
    void *scratch = temporary + rows_bytes(call->items * encoder->kept, d);
    const float *bias = call->weights->vector[VECTOR_BIAS];
    norm(encoder, call, rows, call->in[0], normed);
    struct linear product = {.weight = &call->weights->matrix[MATRIX_KEY_VALUE],
                             .bias = bias ? bias + d : NULL,
                             .in = normed,
                             .in_stride = d,
                             .rows = rows,
                             .out = kv,
                             .out_stride = 2 * d,
                             .scratch = scratch};
    call->kernels->linear(&product, call->pool);
    kept_queries(encoder, call, normed, q, scratch);
    struct attention operands = {.queries = encoder->kept,
                                 .q = q,
                                 .k = kv,
                                 .v = kv + d,
                                 .q_stride = d,
                                 .kv_stride = 2 * d,
                                 .out = call->out[0],
                                 .scratch = scratch};
    attend(encoder, call, &operands);
    gather_kept(encoder, call->items, call->in[0], call->out[1]);
}

/* y = a W + b + stream, into the stream's new place. */
static void projection(const struct encoder *encoder, const struct unit_call *call, size_t rows) {
    size_t d = encoder->hidden;
    struct linear product = {.weight = &call->weights->matrix[MATRIX_MAIN],
                             .bias = call->weights->vector[VECTOR_BIAS],
                             .in = call->in[0],
                             .in_stride = d,
                             .rows = rows,
                             .residual = call->in[1],
                             .residual_stride = d,
                             .out = call->out[0],
                             .out_stride = d,
                             .scratch = call->temporary};
    call->kernels->linear(&product, call->pool);
}

/* Both products for `rows` rows. */
static void mlp_rows(const struct encoder *encoder, const struct unit_call *call, size_t rows, const float *in,
                     float *out) {
    size_t d = encoder->hidden, intermediate = encoder->intermediate;
    float *normed = (void *)call->temporary;
    float *between = (void *)(call->temporary + rows_bytes(rows, d));
    void *scratch = call->temporary + rows_bytes(rows, d) + rows_bytes(rows, intermediate);
    norm(encoder, call, rows, in, normed);
    struct linear first = {.weight = &call->weights->matrix[MATRIX_MAIN],
                           .bias = call->weights->vector[VECTOR_BIAS],
                           .activation = encoder->activation,
                           .in = normed,
                           .in_stride = d,
                           .rows = rows,
                           .out = between,
                           .out_stride = intermediate,
                           .scratch = scratch};
    call->kernels->linear(&first, call->pool);
    struct linear second = {.weight = &call->weights->matrix[MATRIX_FC2],
                            .bias = call->weights->vector[VECTOR_BIAS2],
                            .in = between,
                            .in_stride = intermediate,
                            .rows = rows,
                            .residual = in,
                            .residual_stride = d,
                            .out = out,
                            .out_stride = d,
                            .scratch = scratch};
    call->kernels->linear(&second, call->pool);
}

/* The rows of parts [first, end); those of other parts are done or to be done by other units. A few rows may leave a
 * part without any. */
static void mlp(const struct encoder *encoder, const struct unit_call *call, size_t rows, unsigned first,
                unsigned end) {
    size_t d = encoder->hidden, before = rows_before(rows, first) * d, behind = rows_before(rows, end) * d;
    const float *in = call->in[0];
    float *out = call->out[0];
    if (behind > before)
        mlp_rows(encoder, call, (behind - before) / d, in + before, out + before);
    if (out == in)
        return;
    memcpy(out, in, before * sizeof(float));
    memcpy(out + behind, in + behind, (rows * d - behind) * sizeof(float));
}

void encoder_forward(const struct encoder *encoder, struct unit_place place, const struct unit_call *call) {
    size_t rows = call->items * rows_after_attention(encoder, place.block);
    switch (place.kind) {
    case UNIT_ATTENTION:
        if (last_block(encoder, place.block))
            attention_of_kept(encoder, call);
        else
            attention_of_all(encoder, call);
        break;
    case UNIT_PROJECTION:
        projection(encoder, call, rows);
        break;
    default:
        mlp(encoder, call, rows, place.part, place.part + call->end - call->unit);
        break;
    }
}
