/* The vector kernel set, written once and compiled for each instruction set.
 *
 * A file that includes this (avx2.c, avx512.c, neon.c, portable.c) has first defined `vector`, LANES, the tile shapes,
 * and a small vocabulary: load, store, fma, max and so on, whose meaning is fixed to the last bit by portable.c.
 * Everything here is static, so each file gets its own copy, compiled with its own flags, and hands out one table.
 * Layers, from below:
 *
 *     lanes_template.h        row tails, 16-lane reductions
 *     functions_template.h    exp, tanh, activations
 *     rows_template.h         layer norm, softmax, activate, convert
 *     tile_template.h         the inner loop of all matrix products
 *     linear_template.h       packed linear layers
 *     attention_template.h    softmax attention
 */
#ifndef KERNELS_VECTOR_SET_TEMPLATE_H
#define KERNELS_VECTOR_SET_TEMPLATE_H

#include "kernels/sets.h"

#include <string.h>

#include "kernels/vector/attention_template.h"
#include "kernels/vector/linear_template.h"

/* All entries but patches, which moves bytes and stays as it is. */
static void vector_fill(struct kernels *table, const char *name) {
    table->name = name;
    table->matrix_bytes = vector_matrix_bytes;
    table->matrix_pack = vector_matrix_pack;
    table->linear_scratch_bytes = vector_linear_scratch_bytes;
    table->linear = vector_linear;
    table->attention_scratch_bytes = vector_attention_scratch_bytes;
    table->attention = vector_attention;
    table->layer_norm = vector_layer_norm;
    table->activate = vector_activate_all;
    table->convert = vector_convert;
    table->softmax = vector_softmax;
}

#endif
