/* Part of the vector template: softmax attention, one (item, head) and range of queries per task.
 *
 * A task first packs the head's keys and values into panels like those of a weight matrix: keys transposed, so that
 * scores are the tile product q x keys, and values as they are, so that the output is scores x values. Then 6 queries
 * at a time go all the way: scores into scratch, softmax without its division, times values, divided by the sum. The
 * scores of a tile never leave the caches. When heads are fewer than threads could use, the queries of a head are split
 * and its packing is repeated.
 */
#ifndef KERNELS_VECTOR_ATTENTION_TEMPLATE_H
#define KERNELS_VECTOR_ATTENTION_TEMPLATE_H

#include "kernels/vector/rows_template.h"
#include "kernels/vector/tile_template.h"

enum { TASKS_PER_THREAD_ATTENTION = 3, QUERIES_PER_TASK_MIN = 8 * TILE_ROWS };

struct attention_plan {
    const struct attention *call;
    size_t key_columns;   /* keys rounded up to whole panels */
    size_t value_columns; /* head_size likewise */
    size_t splits, queries_per_split;
};

/* What a thread holds while it works on a head. */
struct attention_scratch {
    float *keys;   /* [key_columns / panel][head_size][panel] */
    float *values; /* [value_columns / panel][keys][panel] */
    float *scores; /* [TILE_ROWS][key_columns] */
    float *sums;   /* [TILE_ROWS][panel] */
    float *end;
};

static struct attention_plan attention_plan_make(const struct attention *call, unsigned threads) {
    struct attention_plan plan = {.call = call};
    plan.key_columns = round_up(call->keys, ATTENTION_PANEL);
    plan.value_columns = round_up(call->head_size, ATTENTION_PANEL);
    size_t heads = call->items * call->heads, wanted = TASKS_PER_THREAD_ATTENTION * (size_t)threads;
    plan.splits = smaller(divide_up(wanted, heads), divide_up(call->queries, QUERIES_PER_TASK_MIN));
    if (threads == 1)
        plan.splits = 1;
    plan.queries_per_split = round_up(divide_up(call->queries, plan.splits), TILE_ROWS);
    return plan;
}

static struct attention_scratch attention_scratch_at(float *base, size_t head_size, size_t keys) {
    size_t key_columns = round_up(keys, ATTENTION_PANEL), value_columns = round_up(head_size, ATTENTION_PANEL);
    struct attention_scratch scratch = {.keys = base};
    scratch.values = scratch.keys + key_columns * head_size;
    scratch.scores = scratch.values + value_columns * keys;
    scratch.sums = scratch.scores + TILE_ROWS * key_columns;
    scratch.end = scratch.sums + TILE_ROWS * ATTENTION_PANEL;
    return scratch;
}

static size_t attention_floats(size_t head_size, size_t keys) {
    size_t key_columns = round_up(keys, ATTENTION_PANEL), value_columns = round_up(head_size, ATTENTION_PANEL);
    return key_columns * head_size + value_columns * keys + TILE_ROWS * (key_columns + ATTENTION_PANEL);
}

static size_t vector_attention_scratch_bytes(size_t head_size, size_t queries, size_t keys, unsigned threads) {
    (void)queries;
    return threads * attention_floats(head_size, keys) * sizeof(float);
}

/* keys[t / panel][i][t % panel] = k[t][i], zeros where t is beyond the last key. LANES keys by LANES of the head at a
 * time. */
static void pack_keys(const struct attention *call, const float *k, size_t key_columns, float *packed) {
    size_t head_size = call->head_size;
    for (size_t t = 0; t < key_columns; t += LANES) {
        float *column = packed + t / ATTENTION_PANEL * ATTENTION_PANEL * head_size + t % ATTENTION_PANEL;
        for (size_t i = 0; i < head_size; i += LANES) {
            vector block[LANES];
            for (size_t r = 0; r < LANES; r++)
                block[r] = t + r < call->keys ? load_up_to(k + (t + r) * call->kv_stride, i, head_size, 0)
                                              : vector_broadcast(0);
            transpose(block);
            for (size_t r = 0; r < smaller(LANES, head_size - i); r++)
                vector_store(column + (i + r) * ATTENTION_PANEL, block[r]);
        }
    }
}

/* values[j / panel][t][j % panel] = v[t][j], zeros where j is beyond the head. */
static void pack_values(const struct attention *call, const float *v, size_t value_columns, float *packed) {
    for (size_t t = 0; t < call->keys; t++)
        for (size_t j = 0; j < value_columns; j += LANES) {
            size_t panel = j / ATTENTION_PANEL, column = j % ATTENTION_PANEL;
            vector_store(packed + (panel * call->keys + t) * ATTENTION_PANEL + column,
                         load_up_to(v + t * call->kv_stride, j, call->head_size, 0));
        }
}

static void attend_scores(const struct attention_plan *plan, const struct attention_scratch *scratch, const float *q,
                          size_t rows) {
    const struct attention *call = plan->call;
    struct tile tile = {
        .in = q, .in_stride = call->q_stride, .depth = call->head_size, .first = true, .sum_stride = plan->key_columns};
    for (size_t column = 0; column < plan->key_columns; column += ATTENTION_PANEL) {
        tile.panel = scratch->keys + column * call->head_size;
        tile.sum = scratch->scores + column;
        tile_multiply(&tile, rows, ATTENTION_VECTORS);
    }
}

static void attend_values(const struct attention_plan *plan, const struct attention_scratch *scratch,
                          const float *total, float *out, size_t rows) {
    const struct attention *call = plan->call;
    struct tile tile = {.in = scratch->scores,
                        .in_stride = plan->key_columns,
                        .depth = call->keys,
                        .first = true,
                        .sum = scratch->sums,
                        .sum_stride = ATTENTION_PANEL};
    for (size_t column = 0; column < plan->value_columns; column += ATTENTION_PANEL) {
        tile.panel = scratch->values + column * call->keys;
        tile_multiply(&tile, rows, ATTENTION_VECTORS);
        for (size_t r = 0; r < rows; r++)
            for (size_t v = 0; v < ATTENTION_PANEL; v += LANES) {
                vector sum = vector_load(scratch->sums + r * ATTENTION_PANEL + v);
                store_up_to(out + r * call->out_stride, column + v, call->head_size,
                            vector_divide(sum, vector_broadcast(total[r])));
            }
    }
}

static void attention_task(void *context, size_t task, unsigned thread) {
    const struct attention_plan *plan = context;
    const struct attention *call = plan->call;
    size_t split = task % plan->splits, head = task / plan->splits % call->heads,
           item = task / plan->splits / call->heads;
    size_t first = split * plan->queries_per_split, end = smaller(first + plan->queries_per_split, call->queries);
    if (first >= end)
        return;
    size_t column = head * call->head_size, key = item * call->keys * call->kv_stride + column;
    float *base = (float *)call->scratch + thread * attention_floats(call->head_size, call->keys);
    struct attention_scratch scratch = attention_scratch_at(base, call->head_size, call->keys);
    pack_keys(call, call->k + key, plan->key_columns, scratch.keys);
    pack_values(call, call->v + key, plan->value_columns, scratch.values);
    for (size_t query = first; query < end; query += TILE_ROWS) {
        size_t rows = smaller(TILE_ROWS, end - query), row = item * call->queries + query;
        float total[TILE_ROWS];
        attend_scores(plan, &scratch, call->q + row * call->q_stride + column, rows);
        for (size_t r = 0; r < rows; r++) {
            float *scores = scratch.scores + r * plan->key_columns;
            total[r] = row_exponentials(scores, scores, call->keys, call->scale);
        }
        attend_values(plan, &scratch, total, call->out + row * call->out_stride + column, rows);
    }
}

static void vector_attention(const struct attention *call, struct pool *pool) {
    if (call->items == 0 || call->heads == 0 || call->queries == 0)
        return;
    assert(call->keys > 0 && call->head_size > 0 && call->scale > 0);
    struct attention_plan plan = attention_plan_make(call, pool_threads(pool));
    pool_run(pool, call->items * call->heads * plan.splits, attention_task, &plan);
}

#endif
