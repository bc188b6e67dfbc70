/* The encoder block of pre-norm transformers (ViT, DeiT):
 *
 *   attention   x          -> a = softmax-attention(LN1(x)), x
 *   projection  a, x       -> y = a W + b + x
 *   MLP         y          -> activation(LN2(y) W1 + b1) W2 + b2 + y, for one of MODEL_MLP_PARTS parts of the rows
 *
 * A part of the rows is counted over the whole microbatch, items one after another: with four items each part of an MLP
 * is one item's. The rows of the other parts pass through as they are.
 *
 * Of the last block only `kept` rows of each item are read by the head, so its attention computes keys and values for
 * all tokens but queries for the first `kept` only, and everything after it, payloads included, has only those rows.
 */
#ifndef MODEL_ENCODER_BLOCK_H
#define MODEL_ENCODER_BLOCK_H

#include "model/family.h"

/* What a family calls the parts of a block; ".weight" and ".bias" follow. */
struct encoder_names {
    const char *norm1, *query, *key, *value, *projection, *norm2, *fc1, *fc2;
};

struct encoder {
    unsigned blocks, tokens, kept; /* 1 <= kept <= tokens */
    size_t hidden, intermediate, heads;
    float epsilon;
    enum activation activation;
    bool qkv_bias;
    const char *layers; /* "vit.encoder.layer.": the number of the block follows */
    const struct encoder_names *names;
};

/* The functions of struct family, for the units of blocks. encoder_cut: 1 <= cut < units. `parts`: of an MLP, beginning
 * with place.part, 1 for the other units. */
void encoder_cut(const struct encoder *encoder, unsigned cut, struct payload *payload);
double encoder_flops(const struct encoder *encoder, struct unit_place place);
void encoder_layout(const struct encoder *encoder, struct unit_place place, struct unit_layout *layout);
size_t encoder_temporary_bytes(const struct encoder *encoder, struct unit_place place, unsigned parts, size_t items,
                               const struct kernels *kernels, unsigned threads);
void encoder_forward(const struct encoder *encoder, struct unit_place place, const struct unit_call *call);

#endif
