/* Resizing by separable convolution; see resize.h.
 *
 * Along each axis an output pixel is a weighted mean of the input pixels under a filter that is centred on it and, when
 * shrinking, stretched by the scale. The weights of an axis are computed once, in double precision, normalised to a sum
 * of one and rounded to integers with 22 fractional bits; a pass is then integer arithmetic, rounded and clipped to a
 * byte. Rows are done first (over only those rows that the columns will read), then columns. The order, the
 * intermediate bytes and the fixed point are not matters of taste: they are what makes the result Pillow's, whose
 * documentation and behaviour define the algorithm (checked against 13.0 by scripts/golden_images.py). An axis whose
 * size stays the same is skipped.
 *
 * The resizer owns the weights and the intermediate picture and reuses them. The only failure is memory.
 */
#include "model/resize.h"

#include "base/allocate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define CHANNELS      3
#define FRACTION_BITS 22 /* 8 bits for the pixel, 2 for what overshooting filters add: 32 in all */
#define HALF          (1 << (FRACTION_BITS - 1))

/* The input pixels that one output pixel reads: count of them from first. Their weights stand in the axis' table. */
struct window {
    size_t first;
    size_t count;
};

/* Memory that is kept from picture to picture and only grows; its contents are lost when it does. */
struct scratch {
    void *memory;
    size_t bytes;
};

/* One axis: a window, and `taps` places for weights, for each output pixel. */
struct axis {
    const struct window *windows;
    const int32_t *weights;
    size_t taps;
    struct scratch window_scratch;
    struct scratch weight_scratch;
    struct scratch exact_scratch; /* the weights of one output pixel before they are rounded */
};

struct resizer {
    struct axis across;
    struct axis down;
    struct scratch between; /* the picture between the passes */
    struct scratch sums;    /* one row of output in fixed point */
};

/* Room for count elements, or NULL: the sizes follow from a file. */
static void *reserve(struct scratch *scratch, size_t count, size_t size, struct error *error) {
    size_t bytes = 0;
    bool fits = !__builtin_mul_overflow(count, size, &bytes);
    if (fits && bytes <= scratch->bytes)
        return scratch->memory;
    release(scratch->memory);
    *scratch = (struct scratch){.memory = fits ? try_allocate(bytes, 1) : NULL};
    if (!scratch->memory)
        error_set(error, ERROR_SYSTEM, "resize: no memory for %zu x %zu bytes", count, size);
    else
        scratch->bytes = bytes;
    return scratch->memory;
}

/* ---- filters: weight at a distance from the centre, zero from `support` on ---- */

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

static double sinc(double x) {
    return x == 0.0 ? 1.0 : sin(x * M_PI) / (x * M_PI);
}

static double hamming(double x) {
    x = fabs(x);
    return x < 1.0 ? sinc(x) * (0.54f + 0.46f * cos(x * M_PI)) : 0.0; /* float constants, for the same last bits */
}

/* Keys' cubic convolution with a = -1/2 (R. Keys, IEEE Trans. ASSP 29(6), 1981, equation 15). */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0)
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    return x < 2.0 ? (((x - 5.0) * x + 8.0) * x - 4.0) * a : 0.0;
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

struct filter {
    double (*weight)(double x);
    double support;
};

static const struct filter filters[RESIZE_FILTERS] = {
    [RESIZE_LANCZOS] = {lanczos, 3.0}, [RESIZE_BILINEAR] = {triangle, 1.0}, [RESIZE_BICUBIC] = {bicubic, 2.0},
    [RESIZE_BOX] = {box, 0.5},         [RESIZE_HAMMING] = {hamming, 1.0},
};

/* ---- weights ---- */

/* The pixels whose centres lie within `reach` of the centre of an output pixel, rounded to whole ones and cut to the
 * input. */
static struct window place_window(double centre, double reach, size_t input) {
    double first = centre - reach + 0.5;
    double end = centre + reach + 0.5;
    size_t from = first > 0.0 ? (size_t)first : 0;
    size_t to = end < (double)input ? (size_t)end : input;
    return (struct window){.first = from, .count = to - from};
}

static void weigh(const struct filter *filter, struct window window, double centre, double stretch, double *exact,
                  int32_t *weights) {
    double sum = 0.0;
    for (size_t i = 0; i < window.count; i++) {
        exact[i] = filter->weight(((double)(i + window.first) - centre + 0.5) * (1.0 / stretch));
        sum += exact[i];
    }
    for (size_t i = 0; i < window.count; i++) {
        double share = (sum != 0.0 ? exact[i] / sum : exact[i]) * (double)(1 << FRACTION_BITS);
        weights[i] = (int32_t)(share < 0.0 ? share - 0.5 : share + 0.5);
    }
}

static bool prepare_axis(struct axis *axis, const struct filter *filter, size_t input, size_t output,
                         struct error *error) {
    const double scale = (double)input / (double)output;
    const double stretch = scale < 1.0 ? 1.0 : scale; /* enlarging interpolates, with the filter as it is */
    const double reach = filter->support * stretch;
    axis->taps = (size_t)ceil(reach) * 2 + 1;
    struct window *windows = reserve(&axis->window_scratch, output, sizeof *windows, error);
    int32_t *weights = reserve(&axis->weight_scratch, output, axis->taps * sizeof *weights, error);
    double *exact = reserve(&axis->exact_scratch, axis->taps, sizeof *exact, error);
    if (!windows || !weights || !exact)
        return false;
    for (size_t i = 0; i < output; i++) {
        double centre = ((double)i + 0.5) * scale;
        windows[i] = place_window(centre, reach, input);
        assert(windows[i].count <= axis->taps);
        weigh(filter, windows[i], centre, stretch, exact, weights + i * axis->taps);
    }
    axis->windows = windows;
    axis->weights = weights;
    return true;
}

/* ---- passes ---- */

static inline uint8_t to_byte(int32_t sum) {
    if (sum < 0)
        return 0;
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum > 255 ? 255 : sum);
}

static void shrink_row(const struct axis *axis, const uint8_t *input, size_t width, uint8_t *output) {
    for (size_t x = 0; x < width; x++, output += CHANNELS) {
        const struct window window = axis->windows[x];
        const int32_t *weight = axis->weights + x * axis->taps;
        const uint8_t *pixel = input + window.first * CHANNELS;
        int32_t red = HALF;
        int32_t green = HALF;
        int32_t blue = HALF;
        for (size_t i = 0; i < window.count; i++, pixel += CHANNELS) {
            red += pixel[0] * weight[i];
            green += pixel[1] * weight[i];
            blue += pixel[2] * weight[i];
        }
        output[0] = to_byte(red);
        output[1] = to_byte(green);
        output[2] = to_byte(blue);
    }
}

static void add_row(const uint8_t *restrict row, int32_t weight, int32_t *restrict sums, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        sums[i] += row[i] * weight;
}

/* One output row from `count` input rows: whole rows at a time, so that the inner loops run along memory. */
static void mix_rows(const uint8_t *rows, const int32_t *weights, size_t count, int32_t *restrict sums, size_t bytes,
                     uint8_t *restrict output) {
    for (size_t i = 0; i < bytes; i++)
        sums[i] = HALF;
    for (size_t i = 0; i < count; i++)
        add_row(rows + i * bytes, weights[i], sums, bytes);
    for (size_t i = 0; i < bytes; i++)
        output[i] = to_byte(sums[i]);
}

/* Scales rows first to end of the input; the result starts at output. */
static void pass_across(const struct axis *axis, const struct image *input, size_t first, size_t end, size_t width,
                        uint8_t *output) {
    for (size_t y = first; y < end; y++)
        shrink_row(axis, input->pixels + y * input->width * CHANNELS, width, output + (y - first) * width * CHANNELS);
}

/* rows is where input row `first` stands. */
static void pass_down(const struct axis *axis, const uint8_t *rows, size_t first, size_t width, size_t height,
                      int32_t *sums, uint8_t *output) {
    const size_t bytes = width * CHANNELS;
    for (size_t y = 0; y < height; y++) {
        const struct window window = axis->windows[y];
        mix_rows(rows + (window.first - first) * bytes, axis->weights + y * axis->taps, window.count, sums, bytes,
                 output + y * bytes);
    }
}

static bool resize_across(struct resizer *resizer, const struct image *input, const struct filter *filter, size_t width,
                          uint8_t *output, struct error *error) {
    if (!prepare_axis(&resizer->across, filter, input->width, width, error))
        return false;
    pass_across(&resizer->across, input, 0, input->height, width, output);
    return true;
}

static bool resize_down(struct resizer *resizer, const struct image *input, const struct filter *filter, size_t height,
                        uint8_t *output, struct error *error) {
    if (!prepare_axis(&resizer->down, filter, input->height, height, error))
        return false;
    int32_t *sums = reserve(&resizer->sums, input->width * CHANNELS, sizeof *sums, error);
    if (!sums)
        return false;
    pass_down(&resizer->down, input->pixels, 0, input->width, height, sums, output);
    return true;
}

/* Rows first, but only those that a column will read. */
static bool resize_rows_first(struct resizer *resizer, const struct image *input, const struct filter *filter,
                              size_t width, size_t height, uint8_t *output, struct error *error) {
    if (!prepare_axis(&resizer->across, filter, input->width, width, error) ||
        !prepare_axis(&resizer->down, filter, input->height, height, error))
        return false;
    const struct window last = resizer->down.windows[height - 1];
    const size_t first = resizer->down.windows[0].first;
    const size_t end = last.first + last.count;
    uint8_t *rows = reserve(&resizer->between, end - first, width * CHANNELS, error);
    int32_t *sums = reserve(&resizer->sums, width * CHANNELS, sizeof *sums, error);
    if (!rows || !sums)
        return false;
    pass_across(&resizer->across, input, first, end, width, rows);
    pass_down(&resizer->down, rows, first, width, height, sums, output);
    return true;
}

static bool resize_columns_first(struct resizer *resizer, const struct image *input, const struct filter *filter,
                                 size_t width, size_t height, uint8_t *output, struct error *error) {
    uint8_t *columns = reserve(&resizer->between, height, input->width * CHANNELS, error);
    if (!columns || !resize_down(resizer, input, filter, height, columns, error))
        return false;
    const struct image between = {.width = input->width, .height = height, .pixels = columns};
    return resize_across(resizer, &between, filter, width, output, error);
}

/* Which axis goes first changes the rounding. Since version 13 Pillow starts with the columns when the height shrinks
 * by more than twice as many pixels as the width does (older ones always started with the rows). */
static bool columns_first(const struct image *input, size_t width, size_t height) {
    if (input->height <= height)
        return false;
    return input->width <= width || input->height - height > 2 * (input->width - width);
}

/* The pixel under the centre of each output pixel. The position is a running sum, as in Pillow, so that it rounds
 * alike. */
static void resize_nearest(const struct image *input, size_t width, size_t height, uint8_t *output) {
    const double scale_x = (double)input->width / (double)width;
    const double scale_y = (double)input->height / (double)height;
    double y = scale_y * 0.5;
    for (size_t row = 0; row < height; row++, y += scale_y) {
        size_t from_y = (size_t)y < input->height ? (size_t)y : input->height - 1;
        double x = scale_x * 0.5;
        for (size_t column = 0; column < width; column++, x += scale_x, output += CHANNELS) {
            size_t from_x = (size_t)x < input->width ? (size_t)x : input->width - 1;
            memcpy(output, input->pixels + (from_y * input->width + from_x) * CHANNELS, CHANNELS);
        }
    }
}

/* ---- the public face ---- */

struct resizer *resizer_new(void) {
    return allocate(1, sizeof(struct resizer));
}

static void axis_close(struct axis *axis) {
    release(axis->window_scratch.memory);
    release(axis->weight_scratch.memory);
    release(axis->exact_scratch.memory);
}

void resizer_destroy(struct resizer **resizer) {
    if (!*resizer)
        return;
    axis_close(&(*resizer)->across);
    axis_close(&(*resizer)->down);
    release((*resizer)->between.memory);
    release((*resizer)->sums.memory);
    release(*resizer);
    *resizer = NULL;
}

bool resize(struct resizer *resizer, const struct image *input, enum resize_filter filter, size_t width, size_t height,
            uint8_t *output, struct error *error) {
    assert(input->width > 0 && input->height > 0 && width > 0 && height > 0);
    assert((unsigned)filter < RESIZE_FILTERS);
    const bool same_width = input->width == width;
    const bool same_height = input->height == height;
    if (same_width && same_height) {
        memcpy(output, input->pixels, width * height * CHANNELS);
        return true;
    }
    if (filter == RESIZE_NEAREST) {
        resize_nearest(input, width, height, output);
        return true;
    }
    const struct filter *chosen = &filters[filter];
    if (same_height)
        return resize_across(resizer, input, chosen, width, output, error);
    if (same_width)
        return resize_down(resizer, input, chosen, height, output, error);
    if (columns_first(input, width, height))
        return resize_columns_first(resizer, input, chosen, width, height, output, error);
    return resize_rows_first(resizer, input, chosen, width, height, output, error);
}
