/* The set that lets OpenBLAS multiply; the only file that knows <cblas.h>.
 *
 * Only `linear` and its matrix form are its own: a matrix stays [n][k] in fp32 and each task is one sgemm into the
 * thread's scratch followed by bias, activation and residual. OpenBLAS itself is held at one thread and the work is
 * split over our pool in a fixed way, because two teams of threads on one board would fight for its cores. Its results
 * depend on the shapes it is called with, so this set promises equal bits only for equal rows and threads. All other
 * entries are those of the best other set, and this one is "auto" only on a processor for which we have no vector code.
 */
#include "kernels/sets.h"

#include <assert.h>
#include <cblas.h>

enum { BLOCK_ROWS = 512, BLOCK_COLUMNS = 512, COLUMN_GRAIN = 16 };

/* The activate entry of the table below; set once by openblas_fill. */
static void (*activate)(enum activation activation, float *x, size_t count);

static void (*convert)(float *out, const void *source, enum element element, size_t count);

struct linear_plan {
    const struct linear *call;
    size_t rows, row_blocks, columns, column_blocks; /* of a task */
};

static size_t divide_up(size_t a, size_t b) {
    return (a + b - 1) / b;
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Equal blocks of columns, a multiple of the number of threads, so that a fixed split keeps all of them busy to the
 * end. */
static struct linear_plan linear_plan_make(size_t rows, size_t n, unsigned threads) {
    struct linear_plan plan = {.row_blocks = rows > 0 ? divide_up(rows, BLOCK_ROWS) : 1};
    plan.rows = divide_up(rows, plan.row_blocks);
    plan.row_blocks = rows > 0 ? divide_up(rows, plan.rows) : 0;
    size_t wanted = divide_up(divide_up(n, BLOCK_COLUMNS), threads) * threads;
    plan.columns = divide_up(divide_up(n, wanted), COLUMN_GRAIN) * COLUMN_GRAIN;
    plan.column_blocks = divide_up(n, plan.columns);
    return plan;
}

static size_t openblas_linear_scratch_bytes(size_t rows, size_t n, size_t k, unsigned threads) {
    (void)k;
    struct linear_plan plan = linear_plan_make(rows, n, threads);
    return threads * plan.rows * plan.columns * sizeof(float);
}

static size_t openblas_matrix_bytes(size_t n, size_t k) {
    return n * k * sizeof(float);
}

static void openblas_matrix_pack(struct matrix *matrix, size_t first, size_t rows, const void *source,
                                 enum element element) {
    assert(first <= matrix->n && rows <= matrix->n - first);
    convert((float *)matrix->data + first * matrix->k, source, element, rows * matrix->k);
}

/* Bias, activation and residual of one row of a block, then into out. */
static void finish_row(const struct linear *call, size_t row, size_t column, size_t columns, float *sum) {
    if (call->bias)
        for (size_t j = 0; j < columns; j++)
            sum[j] += call->bias[column + j];
    if (call->activation != ACTIVATION_NONE)
        activate(call->activation, sum, columns);
    float *out = call->out + row * call->out_stride + column;
    const float *residual = call->residual ? call->residual + row * call->residual_stride + column : NULL;
    for (size_t j = 0; j < columns; j++)
        out[j] = residual ? sum[j] + residual[j] : sum[j];
}

static void linear_task(void *context, size_t task, unsigned thread) {
    const struct linear_plan *plan = context;
    const struct linear *call = plan->call;
    size_t n = call->weight->n, k = call->weight->k;
    size_t row = task % plan->row_blocks * plan->rows, column = task / plan->row_blocks * plan->columns;
    size_t rows = smaller(plan->rows, call->rows - row), columns = smaller(plan->columns, n - column);
    float *sums = (float *)call->scratch + thread * plan->rows * plan->columns;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)rows, (blasint)columns, (blasint)k, 1.0f,
                call->in + row * call->in_stride, (blasint)call->in_stride,
                (const float *)call->weight->data + column * k, (blasint)k, 0.0f, sums, (blasint)columns);
    for (size_t r = 0; r < rows; r++)
        finish_row(call, row + r, column, columns, sums + r * columns);
}

static void openblas_linear(const struct linear *call, struct pool *pool) {
    if (call->rows == 0)
        return;
    struct linear_plan plan = linear_plan_make(call->rows, call->weight->n, pool_threads(pool));
    plan.call = call;
    pool_run(pool, plan.row_blocks * plan.column_blocks, linear_task, &plan);
}

void openblas_fill(struct kernels *table) {
    openblas_set_num_threads(1);
    activate = table->activate;
    convert = table->convert;
    table->name = "openblas";
    table->rows_independent = false;
    table->matrix_bytes = openblas_matrix_bytes;
    table->matrix_pack = openblas_matrix_pack;
    table->linear_scratch_bytes = openblas_linear_scratch_bytes;
    table->linear = openblas_linear;
}
