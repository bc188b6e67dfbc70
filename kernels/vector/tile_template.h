/* Part of the vector template: the one loop in which nearly all time is spent.
 *
 * A tile is up to 6 rows of a product held in registers while `depth` steps of k pass by. Its right side is a panel:
 * the weights of `vectors * LANES` outputs, interleaved so that step i is one contiguous load. Its left side is read in
 * place, one broadcast per row and step. Each sum is one chain of fused multiply-adds in ascending k; storing it and
 * going on later (first = false) continues the same chain, so blocking in k changes no bit.
 *
 * `rows`, `vectors` and `panels` are constants at every call; the functions are inlined and their loops unrolled, which
 * is what keeps the sums in registers. The pragmas are for gcc on AArch64, which otherwise stores every sum at every
 * step.
 */
#ifndef KERNELS_VECTOR_TILE_TEMPLATE_H
#define KERNELS_VECTOR_TILE_TEMPLATE_H

#include "kernels/vector/lanes_template.h"

enum {
    TILE_ROWS = 6,
    TILE_VECTORS = 4,
    LINEAR_PANEL = LINEAR_VECTORS * LANES,
    ATTENTION_PANEL = ATTENTION_VECTORS * LANES
};

struct tile {
    const float *in;
    size_t in_stride;
    const float *panel;
    size_t panel_stride; /* to the next panel, when several are multiplied at once */
    size_t depth;
    bool first; /* start from 0 rather than from *sum */
    float *sum; /* [panels][rows][vectors * LANES] */
    size_t sum_stride, sum_panel_stride;
};

#define INLINED static inline __attribute__((always_inline))

/* rows x panels x vectors is at most TILE_ROWS x TILE_VECTORS. */
INLINED void tile_multiply_fixed(const struct tile *tile, const size_t rows, const size_t panels,
                                 const size_t vectors) {
    vector sum[TILE_ROWS * TILE_VECTORS];
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (size_t p = 0; p < panels; p++)
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++)
                sum[(r * panels + p) * vectors + v] =
                    tile->first
                        ? vector_broadcast(0.0f)
                        : vector_load(tile->sum + p * tile->sum_panel_stride + r * tile->sum_stride + v * LANES);

    const float *in = tile->in, *panel = tile->panel;
    const size_t in_stride = tile->in_stride, panel_stride = tile->panel_stride, depth = tile->depth;
    for (size_t i = 0; i < depth; i++, panel += vectors * LANES) {
        vector weight[TILE_ROWS * TILE_VECTORS];
#pragma GCC unroll 8
        for (size_t p = 0; p < panels; p++)
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++)
                weight[p * vectors + v] = vector_load(panel + p * panel_stride + v * LANES);
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++) {
            vector value = vector_broadcast(in[r * in_stride + i]);
#pragma GCC unroll 8
            for (size_t c = 0; c < panels * vectors; c++)
                sum[r * panels * vectors + c] = vector_fma(value, weight[c], sum[r * panels * vectors + c]);
        }
    }

#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (size_t p = 0; p < panels; p++)
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++)
                vector_store(tile->sum + p * tile->sum_panel_stride + r * tile->sum_stride + v * LANES,
                             sum[(r * panels + p) * vectors + v]);
}

INLINED void tile_multiply(const struct tile *tile, size_t rows, const size_t vectors) {
    switch (rows) {
    case 1:
        tile_multiply_fixed(tile, 1, 1, vectors);
        return;
    case 2:
        tile_multiply_fixed(tile, 2, 1, vectors);
        return;
    case 3:
        tile_multiply_fixed(tile, 3, 1, vectors);
        return;
    case 4:
        tile_multiply_fixed(tile, 4, 1, vectors);
        return;
    case 5:
        tile_multiply_fixed(tile, 5, 1, vectors);
        return;
    case 6:
        tile_multiply_fixed(tile, 6, 1, vectors);
        return;
    }
    assert(!"tile rows");
}

#endif
