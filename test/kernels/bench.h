/* `test_kernels --bench [SET]`: the speed of every entry, beside ref (or for linear beside raw OpenBLAS through its
 * set).
 *
 * Rivals alternate and the median of the rounds is printed, because a shared machine drifts. Linear is timed on
 * ViT-Base, -Large and -Huge with one image and with eight, on one thread and two, without and with its epilogue.
 */
#ifndef TEST_KERNELS_BENCH_H
#define TEST_KERNELS_BENCH_H

#include "test/kernels/fixture.h"

#include <stdlib.h>
#include <time.h>

enum { BENCH_ROUNDS = 9 };

struct race {
    void (*run)(void *context);
    void *context;
    double seconds[BENCH_ROUNDS];
};

static int compare_seconds(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What one thread does is timed by its own processor time, which other programs disturb less; teams by the clock. */
static double bench_seconds(unsigned threads) {
    struct timespec now;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void race_once(struct race *race, unsigned threads, size_t round, size_t repeats) {
    double start = bench_seconds(threads);
    for (size_t i = 0; i < repeats; i++)
        race->run(race->context);
    race->seconds[round] = (bench_seconds(threads) - start) / (double)repeats;
}

/* Leaves the median seconds in seconds[0]. Each round lasts about 20 ms per rival. */
static void run_races(struct race *races, size_t count, unsigned threads) {
    size_t repeats[4];
    for (size_t i = 0; i < count; i++) {
        race_once(&races[i], threads, 0, 1);
        race_once(&races[i], threads, 0, 1); /* once more: the first touched its memory */
        repeats[i] = 1 + (size_t)(0.02 / (races[i].seconds[0] + 1e-9));
    }
    for (size_t round = 0; round < BENCH_ROUNDS; round++)
        for (size_t i = 0; i < count; i++)
            race_once(&races[i], threads, round, repeats[i]);
    for (size_t i = 0; i < count; i++) {
        qsort(races[i].seconds, BENCH_ROUNDS, sizeof(double), compare_seconds);
        races[i].seconds[0] = races[i].seconds[BENCH_ROUNDS / 2];
    }
}

/* Raw OpenBLAS, with its own threads, on unpacked weights. Declared here because <cblas.h> has its one home in
 * kernels/openblas; the numbers are CblasRowMajor, CblasNoTrans and CblasTrans. */
void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int threads);

struct linear_bench {
    const struct kernels *set;
    struct pool *pool;
    struct matrix matrix;
    struct linear call;
};

static void linear_bench_run(void *context) {
    struct linear_bench *bench = context;
    bench->set->linear(&bench->call, bench->pool);
}

static void raw_bench_run(void *context) {
    struct linear_bench *bench = context;
    const struct linear *call = &bench->call;
    int n = (int)bench->matrix.n, k = (int)bench->matrix.k;
    openblas_set_num_threads((int)pool_threads(bench->pool));
    cblas_sgemm(101, 111, 112, (int)call->rows, n, k, 1, call->in, k, bench->matrix.data, k, 0, call->out, n);
    openblas_set_num_threads(1);
}

static struct linear_bench linear_bench_new(const char *name, size_t rows, size_t n, size_t k, struct pool *pool) {
    struct linear_bench bench = {.set = set_named(name), .pool = pool, .matrix = {.n = n, .k = k}};
    float *weight = allocate(n * k, sizeof(float)), *in = allocate(rows * k, sizeof(float));
    uint64_t seed = 1;
    for (size_t i = 0; i < n * k; i++)
        weight[i] = random_float(&seed);
    for (size_t i = 0; i < rows * k; i++)
        in[i] = random_float(&seed);
    bench.matrix.data = allocate(bench.set->matrix_bytes(n, k), 1);
    bench.set->matrix_pack(&bench.matrix, 0, n, weight, ELEMENT_F32);
    release(weight);
    bench.call =
        (struct linear){.in = in,
                        .in_stride = k,
                        .rows = rows,
                        .out = allocate(rows * n, sizeof(float)),
                        .out_stride = n,
                        .scratch = allocate(bench.set->linear_scratch_bytes(rows, n, k, pool_threads(pool)), 1)};
    return bench;
}

static void linear_bench_close(struct linear_bench *bench) {
    release((void *)(uintptr_t)bench->call.in);
    release(bench->call.out);
    release(bench->call.scratch);
    release(bench->matrix.data);
}

static double bench_linear_shape(const char *name, size_t rows, size_t n, size_t k, unsigned threads) {
    struct error error;
    struct pool *pool = pool_new(threads, &error);
    struct linear_bench ours = linear_bench_new(name, rows, n, k, pool);
    struct linear_bench gelu = linear_bench_new(name, rows, n, k, pool);
    struct linear_bench blas = linear_bench_new("openblas", rows, n, k, pool);
    ours.call.weight = &ours.matrix, gelu.call.weight = &gelu.matrix, blas.call.weight = &blas.matrix;
    gelu.call.activation = ACTIVATION_GELU;
    struct race races[] = {{.run = linear_bench_run, .context = &ours},
                           {.run = raw_bench_run, .context = &blas},
                           {.run = linear_bench_run, .context = &gelu}};
    run_races(races, 3, threads);
    double work = 2e-9 * (double)rows * (double)n * (double)k;
    double ratio = races[1].seconds[0] / races[0].seconds[0];
    printf("linear %5zu x %5zu x %5zu, %u threads: %7.1f GFLOPS, with gelu %7.1f, OpenBLAS %7.1f: %5.1f %%, weights "
           "%5.1f GB/s\n",
           rows, n, k, threads, work / races[0].seconds[0], work / races[2].seconds[0], work / races[1].seconds[0],
           100 * ratio, 4e-9 * (double)n * (double)k / races[0].seconds[0]);
    linear_bench_close(&ours), linear_bench_close(&gelu), linear_bench_close(&blas);
    pool_destroy(&pool);
    return ratio;
}

static void bench_linear(const char *name) {
    static const size_t shapes[][2] = {{2304, 768},  {768, 768},   {3072, 768},  {768, 3072},
                                       {3072, 1024}, {1024, 1024}, {4096, 1024}, {1024, 4096},
                                       {3840, 1280}, {1280, 1280}, {5120, 1280}, {1280, 5120}};
    static const size_t rows[] = {197, 1576, 1, 8};
    for (unsigned threads = 1; threads <= 2; threads++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            double logarithms = 0;
            size_t count = sizeof shapes / sizeof shapes[0];
            for (size_t j = 0; j < count; j++)
                logarithms += log(bench_linear_shape(name, rows[i], shapes[j][0], shapes[j][1], threads));
            printf("linear %zu rows, %u threads: %.1f %% of OpenBLAS in the geometric mean\n", rows[i], threads,
                   100 * exp(logarithms / (double)count));
        }
}

struct attention_bench {
    const struct kernels *set;
    struct pool *pool;
    struct attention call;
};

static void attention_bench_run(void *context) {
    struct attention_bench *bench = context;
    bench->set->attention(&bench->call, bench->pool);
}

static void bench_attention_shape(const char *name, size_t items, size_t heads, size_t size, size_t queries,
                                  size_t keys, unsigned threads) {
    struct error error;
    struct pool *pool = pool_new(threads, &error);
    struct attention_bench bench = {.set = set_named(name), .pool = pool};
    size_t width = heads * size;
    struct tensor qkv = tensor_random(items * keys, 3 * width, 2), out = tensor_new(items * queries, width);
    void *scratch = allocate(bench.set->attention_scratch_bytes(size, queries, keys, threads), 1);
    bench.call = (struct attention){items,      heads,    size,       queries,          keys,
                                    0.125f,     qkv.data, qkv.stride, qkv.data + width, qkv.data + 2 * width,
                                    qkv.stride, out.data, out.stride, scratch};
    struct race race = {.run = attention_bench_run, .context = &bench};
    run_races(&race, 1, threads);
    double work = 4e-9 * (double)items * (double)heads * (double)size * (double)queries * (double)keys;
    printf("attention %zu x %zu heads of %zu, %zu x %zu, %u threads: %7.1f GFLOPS, %.3f ms\n", items, heads, size,
           queries, keys, threads, work / race.seconds[0], 1e3 * race.seconds[0]);
    tensor_close(&qkv, name);
    tensor_close(&out, name);
    release(scratch);
    pool_destroy(&pool);
}

static void bench_attention(const char *name) {
    for (unsigned threads = 1; threads <= 2; threads++) {
        bench_attention_shape(name, 1, 12, 64, 197, 197, threads);
        bench_attention_shape(name, 8, 12, 64, 197, 197, threads);
        bench_attention_shape(name, 8, 12, 64, 1, 197, threads);
        bench_attention_shape(name, 1, 16, 80, 257, 257, threads);
        bench_attention_shape(name, 1, 12, 64, 577, 577, threads);
    }
}

struct rows_bench {
    const struct kernels *set;
    enum activation activation;
    struct tensor in, out, gain;
};

static void norm_bench_run(void *context) {
    struct rows_bench *b = context;
    b->set->layer_norm(b->in.rows, b->in.columns, b->in.data, b->in.stride, b->gain.data, b->gain.data, 1e-6f,
                       b->out.data, b->out.stride, NULL);
}

static void softmax_bench_run(void *context) {
    struct rows_bench *b = context;
    for (size_t r = 0; r < b->in.rows; r++)
        b->set->softmax(tensor_at(&b->in, r, 0), tensor_at(&b->out, r, 0), b->in.columns);
}

static void activate_bench_run(void *context) {
    struct rows_bench *b = context;
    for (size_t r = 0; r < b->in.rows; r++)
        b->set->activate(b->activation, tensor_at(&b->out, r, 0), b->in.columns);
}

static void half_bench_run(void *context) {
    struct rows_bench *b = context;
    for (size_t r = 0; r < b->in.rows; r++)
        b->set->convert(tensor_at(&b->out, r, 0), tensor_at(&b->in, r, 0), ELEMENT_F16, b->in.columns);
}

static void bench_rows_entry(const char *name, const char *entry, void (*run)(void *context),
                             enum activation activation) {
    struct tensor in = tensor_random(197, 768, 3), out = tensor_random(197, 768, 4), gain = tensor_random(1, 768, 5);
    struct rows_bench ours = {set_named(name), activation, in, out, gain},
                      ref = {set_named("ref"), activation, in, out, gain};
    struct race races[] = {{.run = run, .context = &ours}, {.run = run, .context = &ref}};
    run_races(races, 2, 1);
    double bytes = 8e-9 * 197 * 768;
    printf("%-10s 197 x 768: %7.2f GB/s, ref %7.2f GB/s\n", entry, bytes / races[0].seconds[0],
           bytes / races[1].seconds[0]);
    tensor_close(&in, name), tensor_close(&out, name), tensor_close(&gain, name);
}

/* Times the set of that name, or the fastest. */
static int bench(const char *name) {
    struct error error;
    const struct kernels *set = kernels_get(name, &error);
    if (!set) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    printf("kernels: %s\n", set->name);
    bench_rows_entry(set->name, "layer_norm", norm_bench_run, ACTIVATION_NONE);
    bench_rows_entry(set->name, "softmax", softmax_bench_run, ACTIVATION_NONE);
    bench_rows_entry(set->name, "gelu", activate_bench_run, ACTIVATION_GELU);
    bench_rows_entry(set->name, "gelu_tanh", activate_bench_run, ACTIVATION_GELU_TANH);
    bench_rows_entry(set->name, "tanh", activate_bench_run, ACTIVATION_TANH);
    bench_rows_entry(set->name, "convert", half_bench_run, ACTIVATION_NONE);
    bench_attention(set->name);
    bench_linear(set->name);
    return 0;
}

#endif
