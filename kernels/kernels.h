/* Arithmetic on tensors behind one table.
 *
 * kernels/ref fills every entry in plain C and is the oracle; other folders (openblas, vector) overlay entries they do
 * better, chosen at run time by what the processor can do (kernels/dispatch.c) or by name. All tensors are fp32,
 * row-major; a `stride` is the distance between rows in elements. Unless said otherwise: any alignment of 4 bytes,
 * inputs and outputs do not overlap, the calls are not re-entrant on one pool, nothing is allocated, nothing fails
 * (shapes are asserted: they were checked when the model was loaded).
 *
 * Determinism: the value of an output element never depends on how many rows are computed together, on the number of
 * threads, or on where a tensor lies in memory. This is what makes a pipeline of any shape and any microbatch
 * composition give the same bits. (The openblas set promises it only for equal row counts and thread counts, on one
 * machine.) The vector sets go further and give the same bits on every instruction set: each output is one chain of
 * fused multiply-adds over k in ascending order, and every reduction uses 16 lanes and one fixed tree.
 */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "base/error.h"
#include "kernels/pool.h"

#include <stddef.h>
#include <stdint.h>

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_GELU,      /* x * (1 + erf(x / sqrt 2)) / 2: "gelu" */
    ACTIVATION_GELU_TANH, /* the tanh approximation: "gelu_new", "gelu_pytorch_tanh" */
    ACTIVATION_RELU,
    ACTIVATION_TANH,
};

/* Element types of weights as stored; everything is computed in fp32. */
enum element { ELEMENT_F32, ELEMENT_F16, ELEMENT_BF16 };

/* A weight matrix [n][k] (n outputs, k inputs: the layout of torch.nn.Linear.weight) in the form its kernel set wants
 * it. */
struct matrix {
    size_t n, k;
    void *data; /* matrix_bytes(n, k) bytes aligned to 64, owned by whoever allocated it */
};

/* out[r][j] = activation(sum over i of in[r][i] * weight[j][i] + bias[j]) + residual[r][j] */
struct linear {
    const struct matrix *weight;
    const float *bias; /* [n], or NULL for none */
    enum activation activation;
    const float *in; /* [rows][k] */
    size_t in_stride;
    size_t rows;
    const float *residual; /* [rows][n], or NULL for none; may be the same memory as out */
    size_t residual_stride;
    float *out; /* [rows][n] */
    size_t out_stride;
    void *scratch; /* linear_scratch_bytes(rows, n, k, threads) bytes aligned to 64 */
};

/* Softmax attention of every (item, head): out = softmax(q k^T * scale) v, non-causal. Head h of an item takes columns
 * [h * head_size, (h + 1) * head_size) of q, k, v and out. Items follow each other: item b's query rows start at row b
 * * queries, its key and value rows at b * keys. queries <= keys may differ (the last block of a classifier needs only
 * one row). */
struct attention {
    size_t items, heads, head_size, queries, keys;
    float scale;    /* > 0 */
    const float *q; /* [items * queries] rows */
    size_t q_stride;
    const float *k, *v; /* [items * keys] rows */
    size_t kv_stride;
    float *out; /* [items * queries][heads * head_size] */
    size_t out_stride;
    void *scratch; /* attention_scratch_bytes(head_size, queries, keys, threads) bytes aligned to 64 */
};

/* Pixels to patch rows: out[(b * grid_h + y) * grid_w + x][(c * patch + dy) * patch + dx] =
 * table[c][pixels[b][y * patch + dy][x * patch + dx][c]], the im2col of a convolution whose stride is its kernel size.
 * The table holds rescale and normalisation of all 256 values of each channel. */
struct patches {
    size_t items, height, width, channels, patch; /* height and width are multiples of patch; channels 1 to 4 */
    const uint8_t *pixels;                        /* [items][height][width][channels] */
    const float *table;                           /* [channels][256] */
    float *out; /* [items * (height / patch) * (width / patch)][channels * patch * patch] */
};

struct kernels {
    const char *name;      /* "ref", "openblas", "portable", "avx2", "avx512", "neon" */
    bool rows_independent; /* the bits of a row of `linear` do not depend on how many are computed with it */

    /* Bytes of a packed matrix. Pure. */
    size_t (*matrix_bytes)(size_t n, size_t k);
    /* Packs rows [first, first + rows) of the matrix from source[rows][k] of the given type (converted to fp32), e.g.
     * q, k and v one after another into one [3d][k] matrix. Padding is written when the last row is. Rows may come in
     * any order. One thread. */
    void (*matrix_pack)(struct matrix *matrix, size_t first, size_t rows, const void *source, enum element element);

    size_t (*linear_scratch_bytes)(size_t rows, size_t n, size_t k, unsigned threads);
    void (*linear)(const struct linear *call, struct pool *pool);

    size_t (*attention_scratch_bytes)(size_t head_size, size_t queries, size_t keys, unsigned threads);
    void (*attention)(const struct attention *call, struct pool *pool);

    /* out[r][j] = (in[r][j] - mean_r) / sqrt(variance_r + epsilon) * gain[j] + bias[j]; biased variance, two passes. */
    void (*layer_norm)(size_t rows, size_t columns, const float *in, size_t in_stride, const float *gain,
                       const float *bias, float epsilon, float *out, size_t out_stride, struct pool *pool);

    void (*patches)(const struct patches *call, struct pool *pool);

    /* x[i] = activation(x[i]), in place. */
    void (*activate)(enum activation activation, float *x, size_t count);

    /* out[i] = (float)source[i]. Exact. */
    void (*convert)(float *out, const void *source, enum element element, size_t count);

    /* out = softmax(in) of one row (labels' scores). */
    void (*softmax)(const float *in, float *out, size_t count);
};

/* The table for a set by name: "ref", "openblas", "portable", "avx2", "avx512", "neon", or "auto" (or NULL) for the
 * fastest this processor can run, which the environment variable STAGECOACH_KERNELS may name instead. NULL with an
 * error that lists the usable names when the name is unknown or the processor cannot run it. The table lives as long as
 * the process and is read-only. */
const struct kernels *kernels_get(const char *name, struct error *error);

/* All sets this build holds: kernels_at(0), ... until NULL. usable says whether this processor can run it. */
const struct kernels *kernels_at(size_t index, bool *usable);

#endif
