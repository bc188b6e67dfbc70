/* Part of the vector template: linear layers, a matrix product whose weights were packed when the model was loaded.
 *
 * A packed matrix is a row of panels, each [k][LINEAR_PANEL], the last one padded with zeros. A task is a block of rows
 * times a group of panels. Within it k is cut into blocks so that one block of a panel (16 to 32 KiB) stays in the
 * first-level cache while all row tiles pass, and a block of the rows in the second; sums wait between blocks in the
 * thread's scratch. After the last block a tile gets its bias, activation and residual while it is still in the
 * first-level cache. How the work is cut depends on shapes and threads, but the bits do not: each output is one chain
 * over k (tile_template.h) and then its epilogue.
 */
#ifndef KERNELS_VECTOR_LINEAR_TEMPLATE_H
#define KERNELS_VECTOR_LINEAR_TEMPLATE_H

#include "kernels/vector/functions_template.h"
#include "kernels/vector/rows_template.h"
#include "kernels/vector/tile_template.h"

enum {
    ROW_BLOCK = 34 * TILE_ROWS,        /* 204: a ViT's 197 tokens in one block; 204 x 256 floats are 204 KiB of L2 */
    GROUP_PANELS = 128 / LINEAR_PANEL, /* enough columns to pay for bringing a block of rows into L2 */
    TASKS_PER_THREAD = 4,              /* wanted at least, so that a slow or late thread is waited for briefly */
    WIDE_PANELS = 8 / LINEAR_VECTORS,  /* a single row takes several panels at once: 8 chains hide the fma's latency */
    PACK_DEPTH = 256,
};

struct linear_plan {
    const struct linear *call;
    size_t panels, row_block, row_blocks, group, groups, depth_block;
    size_t sum_panel_stride; /* floats of scratch per panel of a group */
};

static struct linear_plan linear_plan_make(size_t rows, size_t n, size_t k, unsigned threads) {
    struct linear_plan plan = {.panels = divide_up(n, LINEAR_PANEL), .group = GROUP_PANELS};
    plan.row_blocks = rows > 0 ? divide_up(rows, ROW_BLOCK) : 1;
    plan.row_block = round_up(divide_up(rows, plan.row_blocks), TILE_ROWS);
    plan.row_blocks = rows > 0 ? divide_up(rows, plan.row_block) : 0; /* rounding up may have saved a block */
    while (plan.group > 1 && plan.row_blocks * divide_up(plan.panels, plan.group) < TASKS_PER_THREAD * (size_t)threads)
        plan.group--;
    plan.groups = divide_up(plan.panels, plan.group);
    /* a single tile of rows gains nothing from blocks of k: its weights are read once */
    plan.depth_block = rows <= TILE_ROWS ? k : divide_up(k, divide_up(k, LINEAR_DEPTH));
    plan.sum_panel_stride = plan.row_block * LINEAR_PANEL;
    return plan;
}

static size_t vector_linear_scratch_bytes(size_t rows, size_t n, size_t k, unsigned threads) {
    struct linear_plan plan = linear_plan_make(rows, n, k, threads);
    return threads * plan.group * plan.sum_panel_stride * sizeof(float);
}

static size_t vector_matrix_bytes(size_t n, size_t k) {
    return round_up(n, LINEAR_PANEL) * k * sizeof(float);
}

static void pack_row(struct matrix *matrix, size_t j, const uint8_t *source, enum element element) {
    size_t bytes = element == ELEMENT_F32 ? sizeof(float) : sizeof(uint16_t);
    float *column = (float *)matrix->data + j / LINEAR_PANEL * LINEAR_PANEL * matrix->k + j % LINEAR_PANEL;
    float values[PACK_DEPTH];
    for (size_t first = 0; first < matrix->k; first += PACK_DEPTH) {
        size_t count = smaller(PACK_DEPTH, matrix->k - first);
        vector_convert(values, source + first * bytes, element, count);
        for (size_t i = 0; i < count; i++)
            column[(first + i) * LINEAR_PANEL] = values[i];
    }
}

static void vector_matrix_pack(struct matrix *matrix, size_t first, size_t rows, const void *source,
                               enum element element) {
    assert(first <= matrix->n && rows <= matrix->n - first);
    size_t row_bytes = matrix->k * (element == ELEMENT_F32 ? sizeof(float) : sizeof(uint16_t));
    for (size_t r = 0; r < rows; r++)
        pack_row(matrix, first + r, (const uint8_t *)source + r * row_bytes, element);
    if (first + rows < matrix->n)
        return;
    size_t used = matrix->n % LINEAR_PANEL;
    float *last = (float *)matrix->data + matrix->n / LINEAR_PANEL * LINEAR_PANEL * matrix->k;
    for (size_t i = 0; used > 0 && i < matrix->k; i++)
        for (size_t j = used; j < LINEAR_PANEL; j++)
            last[i * LINEAR_PANEL + j] = 0;
}

/* Bias, activation and residual for LANES columns, from the sums in scratch to out. */
static inline void linear_finish_vector(const struct linear *call, size_t row, size_t column, vector sum) {
    size_t n = call->weight->n;
    if (call->bias)
        sum = vector_add(sum, load_up_to(call->bias, column, n, 0));
    sum = vector_activate(call->activation, sum);
    if (call->residual)
        sum = vector_add(sum, load_up_to(call->residual + row * call->residual_stride, column, n, 0));
    store_up_to(call->out + row * call->out_stride, column, n, sum);
}

static void linear_finish(const struct linear *call, size_t row, size_t rows, size_t column, const float *sum) {
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < LINEAR_VECTORS; v++)
            linear_finish_vector(call, row + r, column + v * LANES, vector_load(sum + r * LINEAR_PANEL + v * LANES));
}

/* One block of k for all row tiles of a task under one panel, or for its only row under WIDE_PANELS. */
static void linear_panel(const struct linear_plan *plan, struct tile *tile, size_t row, size_t rows, size_t panel,
                         bool wide, bool last) {
    const struct linear *call = plan->call;
    float *sum = tile->sum;
    const float *in = tile->in;
    for (size_t r = 0; r < rows; r += TILE_ROWS) {
        size_t count = smaller(TILE_ROWS, rows - r);
        tile->in = in + r * call->in_stride;
        tile->next_in = rows - r >= 2 * TILE_ROWS ? tile->in + TILE_ROWS * call->in_stride : NULL;
        tile->sum = sum + r * LINEAR_PANEL;
        if (wide)
            tile_multiply_fixed(tile, 1, WIDE_PANELS, LINEAR_VECTORS);
        else
            tile_multiply(tile, count, LINEAR_VECTORS);
        for (size_t p = 0; last && p < (wide ? (size_t)WIDE_PANELS : 1); p++)
            linear_finish(call, row + r, count, (panel + p) * LINEAR_PANEL, tile->sum + p * plan->sum_panel_stride);
    }
}

/* While the tiles of a task pass one block of a panel, the block that comes next is fetched. */
static void linear_fetch_ahead(struct tile *tile, const float *block, size_t rows) {
    size_t lines = tile->depth * LINEAR_PANEL / CACHE_LINE;
    size_t steps = divide_up(rows, TILE_ROWS) * divide_up(tile->depth, CACHE_LINE);
    tile->ahead = block;
    tile->ahead_end = block + tile->depth * LINEAR_PANEL;
    tile->ahead_lines = divide_up(lines, steps);
}

static void linear_task(void *context, size_t task, unsigned thread) {
    const struct linear_plan *plan = context;
    const struct linear *call = plan->call;
    size_t k = call->weight->k;
    size_t row = task % plan->row_blocks * plan->row_block, rows = smaller(plan->row_block, call->rows - row);
    size_t first = task / plan->row_blocks * plan->group, end = smaller(first + plan->group, plan->panels);
    float *sums = (float *)call->scratch + thread * plan->group * plan->sum_panel_stride;
    const float *weights = call->weight->data;
    for (size_t depth = 0; depth < k; depth += plan->depth_block) {
        size_t count = smaller(plan->depth_block, k - depth);
        for (size_t panel = first, step; panel < end; panel += step) {
            bool wide = rows == 1 && end - panel >= WIDE_PANELS;
            step = wide ? WIDE_PANELS : 1;
            struct tile tile = {.in = call->in + row * call->in_stride + depth,
                                .in_stride = call->in_stride,
                                .panel = weights + (panel * k + depth) * LINEAR_PANEL,
                                .panel_stride = k * LINEAR_PANEL,
                                .depth = count,
                                .first = depth == 0,
                                .sum = sums + (panel - first) * plan->sum_panel_stride,
                                .sum_stride = LINEAR_PANEL,
                                .sum_panel_stride = plan->sum_panel_stride};
            if (rows > TILE_ROWS && panel + step < end)
                linear_fetch_ahead(&tile, weights + ((panel + step) * k + depth) * LINEAR_PANEL, rows);
            else if (rows > TILE_ROWS && depth + count < k)
                linear_fetch_ahead(&tile, weights + (first * k + depth + count) * LINEAR_PANEL, rows);
            linear_panel(plan, &tile, row, rows, panel, wide, depth + count == k);
        }
    }
}

static void vector_linear(const struct linear *call, struct pool *pool) {
    assert(call->weight->k > 0);
    if (call->rows == 0)
        return;
    struct linear_plan plan = linear_plan_make(call->rows, call->weight->n, call->weight->k, pool_threads(pool));
    plan.call = call;
    pool_run(pool, plan.row_blocks * plan.groups, linear_task, &plan);
}

#endif
