/* Every entry of every kernel set against ref, and the promises of kernels.h about bits.
 *
 * In the manner of dav1d's checkasm: a new set is covered without a new test. Sizes lie around the multiples of every
 * tile in use (6 rows; 16, 32 and 64 columns; 4, 8 and 16 lanes), pointers are unaligned, rows are strided, and guards
 * watch what lies between and around them. `test_kernels --bench [SET]` times the same entries instead (bench.h).
 */
#include "test/kernels/bench.h"
#include "test/kernels/fixture.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- linear ---- */

struct linear_case {
    size_t rows, n, k;
    bool bias, residual, aliased; /* aliased: the residual is out itself */
    enum activation activation;
    enum element element;
    unsigned threads;
};

struct linear_data {
    struct tensor in, bias, residual, weight;
};

static struct linear_data linear_data_new(const struct linear_case *c) {
    return (struct linear_data){tensor_random(c->rows, c->k, 1), tensor_random(1, c->n, 2),
                                tensor_random(c->rows, c->n, 3), tensor_random(c->n, c->k, 4)};
}

static void linear_data_close(struct linear_data *data) {
    tensor_close(&data->in, "linear: in");
    tensor_close(&data->bias, "linear: bias");
    tensor_close(&data->residual, "linear: residual");
    tensor_close(&data->weight, "linear: weight");
}

/* Rows of the weight as stored: packed, and cut to 16 bits for bf16 and f16 (where the test only needs some valid
 * pattern). */
static void *stored_rows(const struct tensor *weight, size_t first, size_t rows, enum element element) {
    size_t k = weight->columns;
    float *floats = allocate(rows * k + 1, sizeof(float));
    uint16_t *words = allocate(rows * k + 1, sizeof(uint16_t));
    for (size_t r = 0; r < rows; r++)
        memcpy(floats + r * k, tensor_at(weight, first + r, 0), k * sizeof(float));
    for (size_t i = 0; i < rows * k; i++) {
        uint32_t bits;
        memcpy(&bits, floats + i, sizeof bits);
        /* sign and 13 more bits; for f16 the two highest exponent bits are kept low so that values stay near 1 */
        words[i] =
            element == ELEMENT_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)((bits >> 16 & 0x8000) | (bits >> 9 & 0x3bff));
    }
    release(element == ELEMENT_F32 ? (void *)words : (void *)floats);
    return element == ELEMENT_F32 ? (void *)floats : (void *)words;
}

/* Packs in three parts, the last rows first, as q, k and v would come from a file in any order. */
static struct matrix pack(const struct kernels *set, const struct tensor *weight, enum element element) {
    size_t n = weight->rows, k = weight->columns, bytes = set->matrix_bytes(n, k);
    struct matrix matrix = {.n = n, .k = k, .data = allocate(bytes + 64, 1)};
    memset(matrix.data, 0xff, bytes + 64);
    size_t cut[] = {0, n / 3, n - n / 4, n};
    for (size_t part = 3; part-- > 0;) {
        void *rows = stored_rows(weight, cut[part], cut[part + 1] - cut[part], element);
        set->matrix_pack(&matrix, cut[part], cut[part + 1] - cut[part], rows, element);
        release(rows);
    }
    for (size_t i = 0; i < 64; i++)
        assert_int_equal(((uint8_t *)matrix.data)[bytes + i], 0xff);
    return matrix;
}

/* Runs rows [first, first + rows) of the case; the result is a fresh tensor. */
static struct tensor run_linear(const struct kernels *set, const struct linear_case *c, const struct linear_data *data,
                                size_t first, size_t rows) {
    struct matrix matrix = pack(set, &data->weight, c->element);
    struct tensor out = tensor_new(rows, c->n);
    struct scratch scratch = scratch_new(set->linear_scratch_bytes(rows, c->n, c->k, c->threads));
    struct linear call = {.weight = &matrix,
                          .bias = c->bias ? data->bias.data : NULL,
                          .activation = c->activation,
                          .in = tensor_at(&data->in, first, 0),
                          .in_stride = data->in.stride,
                          .rows = rows,
                          .residual = c->residual ? tensor_at(&data->residual, first, 0) : NULL,
                          .residual_stride = data->residual.stride,
                          .out = out.data,
                          .out_stride = out.stride,
                          .scratch = scratch.data};
    if (c->aliased) {
        for (size_t r = 0; r < rows; r++)
            memcpy(tensor_at(&out, r, 0), tensor_at(&data->residual, first + r, 0), c->n * sizeof(float));
        call.residual = out.data;
        call.residual_stride = out.stride;
    }
    struct error error;
    struct pool *pool = c->threads > 1 ? pool_new(c->threads, &error) : NULL;
    set->linear(&call, pool);
    pool_destroy(&pool);
    scratch_close(&scratch, "linear");
    release(matrix.data);
    return out;
}

static void check_linear(const struct kernels *set, const struct linear_case *c) {
    struct linear_data data = linear_data_new(c);
    struct tensor got = run_linear(set, c, &data, 0, c->rows);
    struct tensor want = run_linear(set_named("ref"), c, &data, 0, c->rows);
    char what[128];
    snprintf(what, sizeof what, "%s: linear rows %zu n %zu k %zu threads %u activation %d", set->name, c->rows, c->n,
             c->k, c->threads, (int)c->activation);
    assert_near(&got, &want, 1e-6 * (2 + sqrt((double)c->k)), what);
    tensor_close(&got, what);
    tensor_close(&want, "ref");
    linear_data_close(&data);
}

static void linear_sizes(const struct kernels *set) {
    static const size_t rows[] = {0, 1, 2, 5, 6, 7, 13}, n[] = {1, 3, 15, 16, 17, 31, 33, 64, 65, 130},
                        k[] = {1, 2, 17, 65};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(n); j++)
            for (size_t l = 0; l < COUNT(k); l++) {
                size_t mix = i + j + l;
                struct linear_case c = {rows[i],         n[j],        k[l], mix % 2, mix % 3 == 1, mix % 3 == 2,
                                        ACTIVATION_NONE, ELEMENT_F32, 1};
                check_linear(set, &c);
            }
}

/* k beyond one block, rows beyond one block, more than one group of panels, all activations and element types. */
static void linear_blocks(const struct kernels *set) {
    for (unsigned i = 0; i < 15; i++) {
        size_t shapes[3][3] = {{211, 70, 129}, {7, 700, 300}, {3, 257, 513}};
        const size_t *shape = shapes[i % 3];
        struct linear_case c = {shape[0], shape[1], shape[2], i % 2, i % 3 == 0, i % 3 == 1, i / 3, i / 5, 1 + i % 3};
        check_linear(set, &c);
    }
}

static void linear_agrees_with_ref(void **state) {
    (void)state;
    for_every_set(linear_sizes);
    for_every_set(linear_blocks);
}

/* The definition in kernels.h: one chain of fused multiply-adds from 0, + bias, + residual. */
static void linear_is_one_chain(const struct kernels *set) {
    if (!is_vector_set(set))
        return;
    struct linear_case c = {211, 67, 700, true, true, false, ACTIVATION_NONE, ELEMENT_F32, 2};
    struct linear_data data = linear_data_new(&c);
    struct tensor got = run_linear(set, &c, &data, 0, c.rows), want = tensor_new(c.rows, c.n);
    for (size_t r = 0; r < c.rows; r++)
        for (size_t j = 0; j < c.n; j++) {
            float sum = 0;
            for (size_t i = 0; i < c.k; i++)
                sum = fmaf(*tensor_at(&data.in, r, i), *tensor_at(&data.weight, j, i), sum);
            sum += *tensor_at(&data.bias, 0, j);
            *tensor_at(&want, r, j) = sum + *tensor_at(&data.residual, r, j);
        }
    assert_same(&got, &want, set->name);
    tensor_close(&got, set->name);
    tensor_close(&want, set->name);
    linear_data_close(&data);
}

static void linear_is_one_chain_of_fma(void **state) {
    (void)state;
    for_every_set(linear_is_one_chain);
}

/* Rows alone, in twos, or from the middle; one thread or several: the same bits. */
static void linear_ignores_company(const struct kernels *set) {
    assert_true(set->rows_independent || !is_vector_set(set));
    if (!set->rows_independent)
        return;
    struct linear_case c = {209, 131, 300, true, true, false, ACTIVATION_GELU, ELEMENT_F32, 1};
    struct linear_data data = linear_data_new(&c);
    struct tensor all = run_linear(set, &c, &data, 0, c.rows);
    static const size_t slices[][2] = {{0, 1}, {208, 1}, {5, 2}, {100, 7}, {3, 206}};
    for (size_t i = 0; i < COUNT(slices); i++) {
        c.threads = 1 + (unsigned)i % 3;
        struct tensor some = run_linear(set, &c, &data, slices[i][0], slices[i][1]), view = all;
        view.data = tensor_at(&all, slices[i][0], 0);
        view.rows = slices[i][1];
        assert_same(&some, &view, set->name);
        tensor_close(&some, set->name);
    }
    tensor_close(&all, set->name);
    linear_data_close(&data);
}

static void linear_bits_do_not_depend_on_company(void **state) {
    (void)state;
    for_every_set(linear_ignores_company);
}

static void openblas_repeats_itself(void **state) {
    (void)state;
    for (unsigned threads = 1; threads <= 3; threads++) {
        struct linear_case c = {50, 600, 300, true, false, false, ACTIVATION_GELU, ELEMENT_F32, threads};
        struct linear_data data = linear_data_new(&c);
        struct tensor once = run_linear(set_named("openblas"), &c, &data, 0, c.rows);
        struct tensor again = run_linear(set_named("openblas"), &c, &data, 0, c.rows);
        assert_same(&again, &once, "openblas twice");
        tensor_close(&once, "openblas");
        tensor_close(&again, "openblas");
        linear_data_close(&data);
    }
}

/* Infinities and NaNs in one row reach that row alone; huge and denormal values behave as IEEE says. */
static void linear_extremes(const struct kernels *set) {
    struct linear_case c = {8, 20, 40, true, false, false, ACTIVATION_NONE, ELEMENT_F32, 1};
    struct linear_data data = linear_data_new(&c);
    static const float odd[] = {NAN, INFINITY, -INFINITY, 0x1p-140f, 1e30f, -1e30f};
    for (size_t r = 0; r < COUNT(odd); r++)
        *tensor_at(&data.in, r, 7) = odd[r];
    struct tensor got = run_linear(set, &c, &data, 0, c.rows),
                  want = run_linear(set_named("ref"), &c, &data, 0, c.rows);
    assert_near(&got, &want, 1e-5, set->name);
    tensor_close(&got, set->name);
    tensor_close(&want, set->name);
    linear_data_close(&data);
}

static void linear_extreme_values(void **state) {
    (void)state;
    for_every_set(linear_extremes);
}

/* ---- attention ---- */

struct attention_case {
    size_t items, heads, head_size, queries, keys;
    float scale;
    unsigned threads;
};

static struct tensor run_attention(const struct kernels *set, const struct attention_case *c, const struct tensor *q,
                                   const struct tensor *kv) {
    size_t width = c->heads * c->head_size;
    struct tensor out = tensor_new(c->items * c->queries, width);
    struct scratch scratch = scratch_new(set->attention_scratch_bytes(c->head_size, c->queries, c->keys, c->threads));
    struct attention call = {.items = c->items,
                             .heads = c->heads,
                             .head_size = c->head_size,
                             .queries = c->queries,
                             .keys = c->keys,
                             .scale = c->scale,
                             .q = q->data,
                             .q_stride = q->stride,
                             .k = kv->data,
                             .v = kv->data + width,
                             .kv_stride = kv->stride,
                             .out = out.data,
                             .out_stride = out.stride,
                             .scratch = scratch.data};
    struct error error;
    struct pool *pool = c->threads > 1 ? pool_new(c->threads, &error) : NULL;
    set->attention(&call, pool);
    pool_destroy(&pool);
    scratch_close(&scratch, "attention");
    return out;
}

static void check_attention(const struct kernels *set, const struct attention_case *c) {
    size_t width = c->heads * c->head_size;
    struct tensor q = tensor_random(c->items * c->queries, width, 5),
                  kv = tensor_random(c->items * c->keys, 2 * width, 6);
    struct tensor got = run_attention(set, c, &q, &kv), want = run_attention(set_named("ref"), c, &q, &kv);
    char what[128];
    snprintf(what, sizeof what, "%s: attention items %zu heads %zu size %zu queries %zu keys %zu threads %u", set->name,
             c->items, c->heads, c->head_size, c->queries, c->keys, c->threads);
    /* an error of a score is an error relative to its exponential */
    assert_near(&got, &want, 1e-6 * (2 + sqrt((double)c->head_size) * fmaxf(1, fabsf(c->scale))), what);
    if (is_vector_set(set)) {
        struct tensor same = run_attention(set_named("portable"), c, &q, &kv);
        assert_same(&got, &same, what);
        tensor_close(&same, what);
    }
    tensor_close(&got, what);
    tensor_close(&want, what);
    tensor_close(&q, what);
    tensor_close(&kv, what);
}

static void attention_shapes(const struct kernels *set) {
    static const struct attention_case cases[] = {
        {1, 1, 1, 1, 1, 1, 1},           {2, 3, 17, 5, 5, 0.25f, 2},   {1, 2, 33, 7, 16, 0.2f, 3},
        {1, 2, 64, 197, 197, 0.125f, 2}, {2, 2, 80, 1, 257, 0.11f, 2}, {1, 1, 64, 6, 577, 0.125f, 1},
        {3, 1, 8, 50, 31, 1, 3},         {1, 1, 16, 13, 33, 2, 1},     {1, 1, 64, 12, 15, 30, 1},
        {0, 2, 8, 3, 3, 1, 1},           {2, 2, 8, 0, 3, 1, 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        check_attention(set, &cases[i]);
}

static void attention_agrees_with_ref(void **state) {
    (void)state;
    for_every_set(attention_shapes);
}

/* One query of a batch alone, with its item's keys, gives the same bits as all queries of all items on any number of
 * threads. */
static void attention_ignores_company(const struct kernels *set) {
    if (!is_vector_set(set))
        return;
    struct attention_case all = {3, 2, 20, 101, 101, 0.3f, 3}, one = {1, 2, 20, 1, 101, 0.3f, 1};
    struct tensor q = tensor_random(303, 40, 7), kv = tensor_random(303, 80, 8);
    struct tensor together = run_attention(set, &all, &q, &kv);
    struct tensor query = q, keys = kv, row = together;
    query.data = tensor_at(&q, 101 + 55, 0);
    keys.data = tensor_at(&kv, 101, 0);
    struct tensor alone = run_attention(set, &one, &query, &keys);
    row.data = tensor_at(&together, 101 + 55, 0);
    row.rows = 1;
    assert_same(&alone, &row, set->name);
    tensor_close(&alone, set->name);
    tensor_close(&together, set->name);
    tensor_close(&q, set->name);
    tensor_close(&kv, set->name);
}

static void attention_bits_do_not_depend_on_company(void **state) {
    (void)state;
    for_every_set(attention_ignores_company);
}

/* ---- rows ---- */

static struct tensor run_layer_norm(const struct kernels *set, const struct tensor *in, const struct tensor *gain,
                                    const struct tensor *bias, unsigned threads) {
    struct tensor out = tensor_new(in->rows, in->columns);
    struct error error;
    struct pool *pool = pool_new(threads, &error);
    set->layer_norm(in->rows, in->columns, in->data, in->stride, gain->data, bias->data, 1e-6f, out.data, out.stride,
                    pool);
    pool_destroy(&pool);
    return out;
}

static void check_layer_norm(const struct kernels *set, size_t rows, size_t columns, float spread, unsigned threads) {
    struct tensor in = tensor_random(rows, columns, 9), gain = tensor_random(1, columns, 10);
    struct tensor bias = tensor_random(1, columns, 11);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            *tensor_at(&in, r, c) = *tensor_at(&in, r, c) * spread + (float)r;
    struct tensor got = run_layer_norm(set, &in, &gain, &bias, threads);
    struct tensor want = run_layer_norm(set_named("ref"), &in, &gain, &bias, 1);
    /* one column has variance 0, and what remains of the mean's rounding is multiplied by 1 / sqrt(epsilon) = 1000 */
    assert_near(&got, &want, 2e-6 * (1 + (double)rows / spread), set->name);
    if (is_vector_set(set)) {
        struct tensor same = run_layer_norm(set_named("portable"), &in, &gain, &bias, 1);
        assert_same(&got, &same, set->name);
        tensor_close(&same, set->name);
    }
    tensor_close(&got, set->name);
    tensor_close(&want, set->name);
    tensor_close(&in, set->name);
    tensor_close(&gain, set->name);
    tensor_close(&bias, set->name);
}

static void layer_norm_sizes(const struct kernels *set) {
    static const size_t columns[] = {1, 3, 4, 15, 16, 17, 40, 63, 768};
    for (size_t i = 0; i < COUNT(columns); i++) {
        check_layer_norm(set, 1, columns[i], 1, 1);
        check_layer_norm(set, 50, columns[i], 1, 3);
        check_layer_norm(set, 2, columns[i], 1e4f, 2);
        check_layer_norm(set, 0, columns[i], 1, 1);
    }
}

static void layer_norm_agrees_with_ref(void **state) {
    (void)state;
    for_every_set(layer_norm_sizes);
}

static void check_softmax(const struct kernels *set, const struct tensor *in) {
    struct tensor got = tensor_new(1, in->columns), want = tensor_new(1, in->columns),
                  same = tensor_new(1, in->columns);
    set->softmax(in->data, got.data, in->columns);
    set_named("ref")->softmax(in->data, want.data, in->columns);
    set_named("portable")->softmax(in->data, same.data, in->columns);
    assert_near(&got, &want, 3e-7, set->name);
    if (is_vector_set(set))
        assert_same(&got, &same, set->name);
    tensor_close(&got, set->name);
    tensor_close(&want, set->name);
    tensor_close(&same, set->name);
}

static void softmax_sizes(const struct kernels *set) {
    static const size_t counts[] = {0, 1, 2, 7, 8, 9, 16, 31, 33, 1000};
    static const float scales[] = {1, 100, 1e30f, 0x1p-130f};
    for (size_t i = 0; i < COUNT(counts); i++)
        for (size_t j = 0; j < COUNT(scales); j++) {
            struct tensor in = tensor_random(1, counts[i], 12);
            for (size_t c = 0; c < counts[i]; c++)
                in.data[c] *= scales[j];
            check_softmax(set, &in);
            if (counts[i] > 1) { /* a masked entry; then nothing but NaN */
                in.data[1] = -INFINITY;
                check_softmax(set, &in);
                in.data[counts[i] / 2] = NAN;
                check_softmax(set, &in);
            }
            tensor_close(&in, set->name);
        }
}

static void softmax_agrees_with_ref(void **state) {
    (void)state;
    for_every_set(softmax_sizes);
}

/* Values over all of fp32: a sweep of bit patterns, dense where the functions bend, and the special ones. */
static size_t fill_sweep(struct tensor *x) {
    static const float special[] = {0,      -0.0f, INFINITY, -INFINITY, NAN,    0x1p-149f, -0x1p-126f, 3e38f,
                                    -3e38f, 0.55f, -0.55f,   14.3f,     -14.3f, -14.5f,    88.8f,      -104.f};
    size_t used = COUNT(special);
    memcpy(x->data, special, sizeof special);
    for (; used < x->columns / 2; used++)
        x->data[used] = -16 + 32 * (float)used / (float)(x->columns / 2);
    for (uint64_t seed = 13; used < x->columns; used++) {
        uint32_t bits = (uint32_t)random_bits(&seed);
        memcpy(x->data + used, &bits, sizeof bits);
    }
    return used;
}

static void activations(const struct kernels *set) {
    static const enum activation all[] = {ACTIVATION_NONE, ACTIVATION_GELU, ACTIVATION_GELU_TANH, ACTIVATION_RELU,
                                          ACTIVATION_TANH};
    for (size_t i = 0; i < COUNT(all); i++) {
        enum { VALUES = 200003 };
        struct tensor got = tensor_new(1, VALUES), want = tensor_new(1, VALUES), same = tensor_new(1, VALUES);
        fill_sweep(&got), fill_sweep(&want), fill_sweep(&same);
        set->activate(all[i], got.data, VALUES);
        set_named("ref")->activate(all[i], want.data, VALUES);
        set_named("portable")->activate(all[i], same.data, VALUES);
        assert_near(&got, &want, 3e-7, set->name);
        if (is_vector_set(set))
            assert_same(&got, &same, set->name);
        tensor_close(&got, set->name);
        tensor_close(&want, set->name);
        tensor_close(&same, set->name);
    }
}

static void activations_agree_with_ref(void **state) {
    (void)state;
    for_every_set(activations);
}

/* e^x through softmax of {x, 0}, which divides by 1 + e^x: for x below -17 that is e^x itself. What would be
 * denormal may as well be 0. */
static void softmax_exponentials_are_accurate(void **state) {
    (void)state;
    const struct kernels *set = set_named("auto");
    double worst = 0;
    for (float x = -103.5f; x < -17.5f; x += 0.0137f) {
        float in[2] = {x, 0}, out[2];
        set->softmax(in, out, 2);
        double want = exp((double)x), ulp = ldexp(1, (int)fmax(floor(log2(want)), -126) - 23);
        if (want >= 0x1p-126)
            worst = fmax(worst, fabs(out[0] - want) / ulp);
        assert_true(out[0] >= 0 && out[0] <= 2 * want);
    }
    assert_true(worst <= 2);
}

/* ---- conversion and patches ---- */

static void conversions(const struct kernels *set) {
    enum { PATTERNS = 65536 };
    uint16_t *words = allocate(PATTERNS, sizeof *words);
    for (size_t i = 0; i < PATTERNS; i++)
        words[i] = (uint16_t)i;
    for (int element = ELEMENT_F16; element <= ELEMENT_BF16; element++)
        for (size_t skip = 0; skip < 18; skip++) { /* every alignment and tail */
            struct tensor got = tensor_new(1, PATTERNS - skip), want = tensor_new(1, PATTERNS - skip);
            set->convert(got.data, words + skip, (enum element)element, PATTERNS - skip);
            set_named("ref")->convert(want.data, words + skip, (enum element)element, PATTERNS - skip);
            assert_memory_equal(got.data, want.data, (PATTERNS - skip) * sizeof(float));
            tensor_close(&got, set->name);
            tensor_close(&want, set->name);
        }
    release(words);
}

static void all_16_bit_patterns_convert(void **state) {
    (void)state;
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000};
    static const float values[] = {1, -2, 65504, 0x1p-24f, 0x1p-14f, -0.0f};
    float out[COUNT(halves)];
    set_named("ref")->convert(out, halves, ELEMENT_F16, COUNT(halves));
    assert_memory_equal(out, values, sizeof values);
    for_every_set(conversions);
}

/* Against the formula in kernels.h, index by index. */
static void patches_of(const struct kernels *set) {
    enum {
        ITEMS = 2,
        HEIGHT = 12,
        WIDTH = 8,
        CHANNELS = 3,
        PATCH = 4,
        GRID_H = HEIGHT / PATCH,
        GRID_W = WIDTH / PATCH
    };
    uint8_t pixels[ITEMS][HEIGHT][WIDTH][CHANNELS];
    float table[CHANNELS][256];
    uint64_t seed = 14;
    for (size_t i = 0; i < sizeof pixels; i++)
        ((uint8_t *)pixels)[i] = (uint8_t)random_bits(&seed);
    for (size_t i = 0; i < CHANNELS * 256; i++)
        table[i / 256][i % 256] = random_float(&seed);
    struct tensor out = tensor_new(1, sizeof pixels);
    struct error error;
    struct pool *pool = pool_new(2, &error);
    struct patches call = {ITEMS, HEIGHT, WIDTH, CHANNELS, PATCH, &pixels[0][0][0][0], &table[0][0], out.data};
    set->patches(&call, pool);
    pool_destroy(&pool);
    for (size_t i = 0; i < sizeof pixels; i++) {
        size_t b = i / (CHANNELS * WIDTH * HEIGHT), line = i / (CHANNELS * WIDTH) % HEIGHT,
               column = i / CHANNELS % WIDTH;
        size_t c = i % CHANNELS, row = (b * GRID_H + line / PATCH) * GRID_W + column / PATCH;
        size_t place = (c * PATCH + line % PATCH) * PATCH + column % PATCH;
        assert_true(out.data[row * CHANNELS * PATCH * PATCH + place] == table[c][pixels[b][line][column][c]]);
    }
    tensor_close(&out, set->name);
}

static void patches_follow_the_formula(void **state) {
    (void)state;
    for_every_set(patches_of);
}

/* ---- dispatch ---- */

static void sets_are_found_by_name(void **state) {
    (void)state;
    struct error error = {0};
    unsetenv("STAGECOACH_KERNELS");
    assert_string_equal(kernels_get("ref", &error)->name, "ref");
    assert_ptr_equal(kernels_get("auto", &error), kernels_get(NULL, &error));
    assert_null(kernels_get("abacus", &error));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_non_null(strstr(error.text, "abacus"));
    assert_non_null(strstr(error.text, "portable"));
    setenv("STAGECOACH_KERNELS", "portable", 1);
    assert_string_equal(kernels_get(NULL, &error)->name, "portable");
    assert_string_equal(kernels_get("ref", &error)->name, "ref");
    setenv("STAGECOACH_KERNELS", "abacus", 1);
    assert_null(kernels_get("auto", &error));
    unsetenv("STAGECOACH_KERNELS");
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--bench") == 0)
        return bench(argc > 2 ? argv[2] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_agrees_with_ref),
        cmocka_unit_test(linear_is_one_chain_of_fma),
        cmocka_unit_test(linear_bits_do_not_depend_on_company),
        cmocka_unit_test(openblas_repeats_itself),
        cmocka_unit_test(linear_extreme_values),
        cmocka_unit_test(attention_agrees_with_ref),
        cmocka_unit_test(attention_bits_do_not_depend_on_company),
        cmocka_unit_test(layer_norm_agrees_with_ref),
        cmocka_unit_test(softmax_agrees_with_ref),
        cmocka_unit_test(softmax_exponentials_are_accurate),
        cmocka_unit_test(activations_agree_with_ref),
        cmocka_unit_test(all_16_bit_patterns_convert),
        cmocka_unit_test(patches_follow_the_formula),
        cmocka_unit_test(sets_are_found_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
