/* How much of OpenBLAS's own sgemm rate the whole engine reaches:
 *
 *   bench_sgemm DIR [MICROBATCH [THREADS [ROUNDS]]]        8 images, 1 thread, 5 rounds
 *
 * One process alternates between forward passes of the model in DIR and OpenBLAS on the four matrix products of one of
 * its blocks, all rows at once, at the same number of threads. The engine's rate is all of the model's multiply-adds
 * over the time of a whole pass, with norms, softmax and GELU paid for; OpenBLAS's is that of bare products in the
 * better of two flavours (weights as stored, weights transposed), on operands that stay in cache where they fit. Both
 * rest before they are timed: OpenBLAS's threads spin for some milliseconds after a product. Prints one line of JSON.
 *
 * An OpenBLAS older than the processor takes it for a Prescott of 2004 and runs at a fifth of its speed. That would be
 * no rival: then the program starts itself again with the newest kernels that OpenBLAS has for what the processor can
 * do, unless $OPENBLAS_CORETYPE says otherwise already.
 */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/whole_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS_MAX = 99, PRODUCTS = 4, FLAVOURS = 2 };

/* <cblas.h> has its one home in kernels/openblas; the numbers are CblasRowMajor, CblasNoTrans and CblasTrans. */
void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float *a, int lda,
                 const float *b, int ldb, float beta, float *c, int ldc);
void openblas_set_num_threads(int threads);
char *openblas_get_corename(void);
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

struct product {
    int n, k;
    double seconds[FLAVOURS][ROUNDS_MAX];
};

struct bench {
    struct whole_model whole;
    int rows;
    unsigned rounds;
    struct product product[PRODUCTS];
    float *in, *weight, *out;
    double engine[ROUNDS_MAX];
};

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *seconds, unsigned count) {
    qsort(seconds, count, sizeof *seconds, compare);
    return seconds[count / 2];
}

static double seconds_since(mono_t start) {
    return (double)mono_since(mono_now(), start) / 1e9;
}

static void rest(void) {
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
}

static float *random_matrix(size_t count) {
    float *matrix = allocate(count, sizeof *matrix);
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        matrix[i] = (float)(state >> 8) / (1 << 24) - 0.5f;
    }
    return matrix;
}

/* Stops at the first matrix: FC1, [m][d], of an MLP. */
static bool find_matrix(void *context, const struct tensor *tensor) {
    int *m = context;
    if (tensor->rank == 2)
        *m = (int)tensor->shape[0];
    return tensor->rank != 2;
}

/* The sizes are read off the cuts and the tensors: what leaves the attention of block 0 is [rows][d]. */
static bool find_products(struct bench *bench) {
    struct payload attention, embed;
    if (model_units(bench->whole.config) < 8)
        return false;
    model_cut(bench->whole.config, 2, &attention);
    int d = (int)attention.part[1].shape[1], m = 0;
    model_tensors(bench->whole.config, (struct slice){3, 4}, find_matrix, &m);
    model_cut(bench->whole.config, 1, &embed);
    bench->rows = (int)(bench->whole.items * embed.part[0].shape[0]);
    bench->product[0] = (struct product){.n = 3 * d, .k = d};
    bench->product[1] = (struct product){.n = d, .k = d};
    bench->product[2] = (struct product){.n = m, .k = d};
    bench->product[3] = (struct product){.n = d, .k = m};
    size_t wide = (size_t)(m > 3 * d ? m : 3 * d);
    bench->in = random_matrix((size_t)bench->rows * wide);
    bench->out = random_matrix((size_t)bench->rows * wide);
    bench->weight = random_matrix((size_t)d * wide);
    return true;
}

static void multiply(const struct bench *bench, const struct product *product, unsigned flavour) {
    int n = product->n, k = product->k;
    cblas_sgemm(ROW_MAJOR, NO_TRANSPOSE, flavour ? NO_TRANSPOSE : TRANSPOSE, bench->rows, n, k, 1, bench->in, k,
                bench->weight, flavour ? n : k, 0, bench->out, n);
}

static void time_product(const struct bench *bench, struct product *product, unsigned round) {
    for (unsigned flavour = 0; flavour < FLAVOURS; flavour++) {
        mono_t start = mono_now();
        unsigned repeats = 0;
        do {
            multiply(bench, product, flavour);
            repeats++;
        } while (seconds_since(start) < 0.05);
        product->seconds[flavour][round] = seconds_since(start) / repeats;
    }
}

static void time_engine(struct bench *bench, unsigned round) {
    mono_t start = mono_now();
    unsigned repeats = 0;
    do {
        whole_model_run(&bench->whole, bench->whole.items);
        repeats++;
    } while (seconds_since(start) < 0.4);
    bench->engine[round] = seconds_since(start) / repeats;
}

static void run_round(struct bench *bench, unsigned round) {
    rest();
    time_engine(bench, round);
    rest();
    openblas_set_num_threads((int)pool_threads(bench->whole.pool));
    for (unsigned i = 0; i < PRODUCTS; i++)
        time_product(bench, &bench->product[i], round);
    openblas_set_num_threads(1);
}

static double model_flops(const struct whole_model *whole) {
    double sum = 0;
    for (unsigned u = 0; u < model_units(whole->config); u++)
        sum += model_unit_flops(whole->config, u);
    return sum * whole->items;
}

/* Flops of a block's products over the time of them all. */
static double sgemm_gflops(struct bench *bench) {
    double flops = 0, seconds = 0;
    for (unsigned i = 0; i < PRODUCTS; i++) {
        struct product *product = &bench->product[i];
        double best = 1e30;
        for (unsigned flavour = 0; flavour < FLAVOURS; flavour++) {
            double candidate = median(product->seconds[flavour], bench->rounds);
            best = candidate < best ? candidate : best;
        }
        double work = 2.0 * bench->rows * product->n * product->k;
        fprintf(stderr, "sgemm %d x %d x %d: %.1f GFLOPS\n", bench->rows, product->n, product->k, work / best / 1e9);
        flops += work;
        seconds += best;
    }
    return flops / seconds / 1e9;
}

static void report(struct bench *bench) {
    double engine = model_flops(&bench->whole) / median(bench->engine, bench->rounds) / 1e9;
    double sgemm = sgemm_gflops(bench);
    printf("{\"architecture\": \"%s\", \"kernels\": \"%s\", \"threads\": %u, \"microbatch\": %u, \"rounds\": %u, "
           "\"openblas\": \"%s\", \"engine_gflops\": %.2f, \"sgemm_gflops\": %.2f, \"share\": %.4f}\n",
           model_architecture(bench->whole.config), bench->whole.kernels->name, pool_threads(bench->whole.pool),
           bench->whole.items, bench->rounds, openblas_get_corename(), engine, sgemm, engine / sgemm);
}

static unsigned argument(int argc, char **argv, int index, unsigned fallback, unsigned most) {
    unsigned long value = argc > index ? strtoul(argv[index], NULL, 10) : fallback;
    return value < 1 ? 1 : value > most ? most : (unsigned)value;
}

/* OpenBLAS chooses its kernels before main: only another start can change them. */
static void insist_on_fast_openblas(char **argv) {
#if defined(__x86_64__)
    const char *name = openblas_get_corename();
    bool old = strcasecmp(name, "prescott") == 0 || strcasecmp(name, "core2") == 0 || strcasecmp(name, "nehalem") == 0;
    if (!old || getenv("OPENBLAS_CORETYPE") || !__builtin_cpu_supports("avx2"))
        return;
    setenv("OPENBLAS_CORETYPE", __builtin_cpu_supports("avx512f") ? "SKYLAKEX" : "HASWELL", 1);
    execv("/proc/self/exe", argv);
#else
    (void)argv;
#endif
}

int main(int argc, char **argv) {
    struct error error;
    insist_on_fast_openblas(argv);
    if (argc < 2) {
        fputs("usage: bench_sgemm DIR [MICROBATCH [THREADS [ROUNDS]]]\n", stderr);
        return 2;
    }
    struct bench *bench = allocate(1, sizeof *bench);
    unsigned items = argument(argc, argv, 2, 8, MODEL_ITEMS_MAX), threads = argument(argc, argv, 3, 1, 256);
    bench->rounds = argument(argc, argv, 4, 5, ROUNDS_MAX);
    if (!whole_model_open(&bench->whole, argv[1], NULL, items, threads, &error)) {
        fprintf(stderr, "bench_sgemm: %s\n", error.text);
        release(bench);
        return 1;
    }
    bool found = find_products(bench);
    if (found) {
        run_round(bench, 0); /* warm: the next first round overwrites it */
        for (unsigned round = 0; round < bench->rounds; round++)
            run_round(bench, round);
        report(bench);
    }
    whole_model_close(&bench->whole);
    release(bench->in), release(bench->weight), release(bench->out);
    release(bench);
    return found ? 0 : 1;
}
