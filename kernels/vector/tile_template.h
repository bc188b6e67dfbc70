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
 *
 * Sums leave load ports idle, so a tile also fetches what later ones will read: the next tile's rows, whose stride no
 * hardware prefetcher follows, and its share of the next block of weights, which would otherwise arrive one page at a
 * time. On a Xeon this took a product of 197 rows from 81 % of the peak to 94 %.
 */
#ifndef KERNELS_VECTOR_TILE_TEMPLATE_H
#define KERNELS_VECTOR_TILE_TEMPLATE_H

#include "kernels/vector/lanes_template.h"

enum {
    TILE_ROWS = 6,
    TILE_VECTORS = 4,
    CACHE_LINE = 64 / sizeof(float), /* in floats */
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
    const float *next_in;           /* the next tile's rows, of the same stride; NULL: none */
    const float *ahead, *ahead_end; /* weights that will be read soon; the first moves on as they are asked for */
    size_t ahead_lines;             /* of them for each line of k */
};

#define INLINED static inline __attribute__((always_inline))

/* Asks for one line of each row of the next tile, and for a few of weights. */
INLINED const float *tile_fetch(const struct tile *tile, const size_t rows, size_t step, const float *ahead) {
    if (tile->next_in)
#pragma GCC unroll 8
        for (size_t r = 0; r < rows; r++)
            __builtin_prefetch(tile->next_in + r * tile->in_stride + step, 0, 3);
    for (size_t line = 0; line < tile->ahead_lines && ahead < tile->ahead_end; line++, ahead += CACHE_LINE)
        __builtin_prefetch(ahead, 0, 2);
    return ahead;
}

/* rows x panels x vectors is at most TILE_ROWS x TILE_VECTORS. */
INLINED void tile_multiply_fixed(struct tile *tile, const size_t rows, const size_t panels, const size_t vectors) {
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

    const float *in = tile->in, *panel = tile->panel, *ahead = tile->ahead;
    const size_t in_stride = tile->in_stride, panel_stride = tile->panel_stride, depth = tile->depth;
    for (size_t i = 0; i < depth;) {
        size_t end = depth - i < CACHE_LINE ? depth : i + CACHE_LINE;
        ahead = tile_fetch(tile, rows, i, ahead);
        for (; i < end; i++, panel += vectors * LANES) {
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
    }

#pragma GCC unroll 8
    for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (size_t p = 0; p < panels; p++)
#pragma GCC unroll 8
            for (size_t v = 0; v < vectors; v++)
                vector_store(tile->sum + p * tile->sum_panel_stride + r * tile->sum_stride + v * LANES,
                             sum[(r * panels + p) * vectors + v]);
    tile->ahead = ahead;
}

INLINED void tile_multiply(struct tile *tile, size_t rows, const size_t vectors) {
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
