/* stagecoach bench: how fast one process runs a model. Random pixels, warm, several timed runs; the median is reported.
 *
 * Pipelines are compared with this figure (scripts/bench_pipeline), and so are PyTorch and ONNX Runtime
 * (scripts/bench_engines.py). A fair race alternates between rivals, so with --prompted the loaded model waits on
 * stdin, blocked, and answers every line with one timed run. --pixels and --logits let the other side of such a race
 * compute the same images and compare answers. One thread beside the pool's; what can fail is opening the model and
 * reading the pixels, before anything is timed.
 */
#include "base/allocate.h"
#include "base/file.h"
#include "base/mono.h"
#include "daemon/commands.h"
#include "daemon/output.h"
#include "daemon/whole_model.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct values {
    const char *model, *kernels, *pixels;
    unsigned microbatch, threads, repeats;
    bool json, logits, prompted, units;
};

static void random_pixels(struct whole_model *whole) {
    uint32_t state = 1;
    for (size_t i = 0; i < whole->items * whole->pixel_bytes; i++) {
        state = state * 1664525u + 1013904223u;
        whole->pixels[i] = (uint8_t)(state >> 24);
    }
}

/* The file holds exactly one microbatch, [items][height][width][3] bytes. */
static bool read_pixels(struct whole_model *whole, const char *path, struct error *error) {
    size_t wanted = whole->items * whole->pixel_bytes, size;
    void *contents;
    if (!file_read(path, wanted, &contents, &size, error))
        return false;
    if (size == wanted)
        memcpy(whole->pixels, contents, size);
    release(contents);
    return size == wanted || error_set(error, ERROR_INPUT, "%s: got %zu bytes, want %zu: %u images of %zu", path, size,
                                       wanted, whole->items, whole->pixel_bytes);
}

static bool fill_pixels(struct whole_model *whole, const char *path, struct error *error) {
    if (path)
        return read_pixels(whole, path, error);
    random_pixels(whole);
    return true;
}

static double timed_run(struct whole_model *whole) {
    mono_t start = mono_now();
    whole_model_run(whole, whole->items);
    return (double)mono_since(mono_now(), start) / 1e9;
}

static int compare(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *seconds, unsigned count) {
    qsort(seconds, count, sizeof *seconds, compare);
    return count % 2 ? seconds[count / 2] : (seconds[count / 2 - 1] + seconds[count / 2]) / 2;
}

static double flops(const struct whole_model *whole) {
    double sum = 0;
    for (unsigned u = 0; u < model_units(whole->config); u++)
        sum += model_unit_flops(whole->config, u);
    return sum;
}

static void print_units(struct whole_model *whole) {
    char name[40];
    double *seconds = allocate(model_units(whole->config), sizeof *seconds);
    void *in[MODEL_PAYLOAD_PARTS] = {whole->pixels}, *out[MODEL_PAYLOAD_PARTS] = {whole->answers};
    slice_forward_timed(whole->slice, whole->workspace, whole->pool, whole->items, in, out, mono_seconds, seconds,
                        false);
    for (unsigned u = 0; u < model_units(whole->config); u++)
        fprintf(stderr, "unit %3u  %-22s %9.3f ms  %7.1f GFLOPS\n", u, model_unit_name(whole->config, u, name),
                1e3 * seconds[u], model_unit_flops(whole->config, u) * whole->items / seconds[u] / 1e9);
    release(seconds);
}

static void print_logits(const struct whole_model *whole) {
    printf(", \"logits\": [");
    for (unsigned i = 0; i < whole->items; i++) {
        printf("%s[", i ? ", " : "");
        for (unsigned j = 0; j < whole->answer_size; j++) {
            fputs(j ? ", " : "", stdout);
            json_float(stdout, whole->answers[(size_t)i * whole->answer_size + j]);
        }
        printf("]");
    }
    printf("]");
}

static void report_json(const struct whole_model *whole, const struct values *values, unsigned repeats,
                        double seconds) {
    printf("{\"architecture\": ");
    json_string(stdout, model_architecture(whole->config));
    printf(", \"kernels\": \"%s\", \"threads\": %u, \"microbatch\": %u, \"repeats\": %u, \"seconds\": ",
           whole->kernels->name, pool_threads(whole->pool), whole->items, repeats);
    json_double(stdout, seconds);
    printf(", \"images_per_second\": ");
    json_double(stdout, whole->items / seconds);
    printf(", \"gflops\": ");
    json_double(stdout, flops(whole) * whole->items / seconds / 1e9);
    if (values->logits)
        print_logits(whole);
    puts("}");
}

static void report(const struct whole_model *whole, const struct values *values, unsigned repeats, double seconds) {
    if (values->json || values->prompted || values->logits)
        report_json(whole, values, repeats, seconds);
    else
        printf("%s, %s kernels, %u threads, microbatch %u: %.2f images/s, %.1f ms per microbatch, %.1f GFLOPS\n",
               model_architecture(whole->config), whole->kernels->name, pool_threads(whole->pool), whole->items,
               whole->items / seconds, 1e3 * seconds, flops(whole) * whole->items / seconds / 1e9);
    fflush(stdout);
}

static void measure(struct whole_model *whole, const struct values *values) {
    double *seconds = allocate(values->repeats, sizeof *seconds);
    for (unsigned i = 0; i < values->repeats; i++)
        seconds[i] = timed_run(whole);
    report(whole, values, values->repeats, median(seconds, values->repeats));
    release(seconds);
}

static void measure_when_prompted(struct whole_model *whole, const struct values *values) {
    for (int byte = getchar(); byte != EOF; byte = getchar())
        if (byte == '\n')
            report(whole, values, 1, timed_run(whole));
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct whole_model whole;
    struct error error;
    (void)operands;
    (void)count;
    if (!command_check_model(values->model, "bench", &error) ||
        !whole_model_open(&whole, values->model, values->kernels, values->microbatch, thread_count(values->threads),
                          &error))
        return command_fail(&error);
    bool filled = fill_pixels(&whole, values->pixels, &error);
    if (filled) {
        whole_model_run(&whole, whole.items);
        (values->prompted ? measure_when_prompted : measure)(&whole, values);
        if (values->units)
            print_units(&whole);
    }
    whole_model_close(&whole);
    return filled ? 0 : command_fail(&error);
}

static const struct option options[] = {
    MODEL_OPTION,
    {"microbatch", OPTION_NUMBER, FIELD(microbatch), "B", "8", 1, MESSAGE_ITEMS_MAX, "images computed together"},
    THREADS_OPTION,
    {"repeats", OPTION_NUMBER, FIELD(repeats), "N", "5", 1, 100000, "timed runs; the median counts"},
    KERNELS_OPTION,
    {"pixels", OPTION_TEXT, FIELD(pixels), "FILE", NULL, 0, 0, "a microbatch as raw RGB bytes instead of random ones"},
    {"prompted", OPTION_FLAG, FIELD(prompted), NULL, NULL, 0, 0, "one timed run, as JSON, for each line of stdin"},
    {"logits", OPTION_FLAG, FIELD(logits), NULL, NULL, 0, 0, "answers too, as JSON"},
    {"units", OPTION_FLAG, FIELD(units), NULL, NULL, 0, 0, "time every unit of the model too, on stderr"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object"},
};

const struct command command_bench = {
    .name = "bench",
    .summary = "measure how fast this process runs a model",
    COMMAND_PARTS,
};
