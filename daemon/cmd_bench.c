/* stagecoach bench: how fast one process runs a model. Random pixels, warm, several timed runs; the median is reported.
 * Pipelines are compared with this figure (scripts/bench), and so are PyTorch and ONNX Runtime. */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/commands.h"
#include "daemon/output.h"
#include "daemon/whole_model.h"
#include "proto/message.h"

#include <stdio.h>
#include <stdlib.h>

struct values {
    const char *model, *kernels;
    unsigned microbatch, threads, repeats;
    bool json, units;
};

static void random_pixels(struct whole_model *whole) {
    uint32_t state = 1;
    for (size_t i = 0; i < whole->items * whole->pixel_bytes; i++) {
        state = state * 1664525u + 1013904223u;
        whole->pixels[i] = (uint8_t)(state >> 24);
    }
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
    slice_forward_timed(whole->slice, whole->workspace, whole->pool, whole->items, in, out, seconds);
    for (unsigned u = 0; u < model_units(whole->config); u++)
        fprintf(stderr, "unit %3u  %-22s %9.3f ms  %7.1f GFLOPS\n", u, model_unit_name(whole->config, u, name),
                1e3 * seconds[u], model_unit_flops(whole->config, u) * whole->items / seconds[u] / 1e9);
    release(seconds);
}

static void report(struct whole_model *whole, const struct values *values, double seconds) {
    double rate = whole->items / seconds, gflops = flops(whole) * whole->items / seconds / 1e9;
    if (!values->json) {
        printf("%s, %s kernels, %u threads, microbatch %u: %.2f images/s, %.1f ms per microbatch, %.1f GFLOPS\n",
               model_architecture(whole->config), whole->kernels->name, pool_threads(whole->pool), whole->items, rate,
               1e3 * seconds, gflops);
        return;
    }
    printf("{\"architecture\": ");
    json_string(stdout, model_architecture(whole->config));
    printf(", \"kernels\": \"%s\", \"threads\": %u, \"microbatch\": %u, \"repeats\": %u, \"seconds\": ",
           whole->kernels->name, pool_threads(whole->pool), whole->items, values->repeats);
    json_double(stdout, seconds);
    printf(", \"images_per_second\": ");
    json_double(stdout, rate);
    printf(", \"gflops\": ");
    json_double(stdout, gflops);
    puts("}");
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct whole_model whole;
    struct error error;
    (void)operands;
    (void)count;
    if (!values->model) {
        error_set(&error, ERROR_USAGE, "--model DIR is missing; see 'stagecoach bench --help'");
        return command_fail(&error);
    }
    if (!whole_model_open(&whole, values->model, values->kernels, values->microbatch, thread_count(values->threads),
                          &error))
        return command_fail(&error);
    random_pixels(&whole);
    whole_model_run(&whole, whole.items);
    double *seconds = allocate(values->repeats, sizeof *seconds);
    for (unsigned i = 0; i < values->repeats; i++) {
        mono_t start = mono_now();
        whole_model_run(&whole, whole.items);
        seconds[i] = (double)mono_since(mono_now(), start) / 1e9;
    }
    report(&whole, values, median(seconds, values->repeats));
    if (values->units)
        print_units(&whole);
    release(seconds);
    whole_model_close(&whole);
    return 0;
}

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"model", OPTION_TEXT, FIELD(model), "DIR", NULL, 0, 0, "Hugging Face model directory"},
    {"microbatch", OPTION_NUMBER, FIELD(microbatch), "B", "8", 1, MESSAGE_ITEMS_MAX, "images computed together"},
    {"threads", OPTION_NUMBER, FIELD(threads), "N", "0", 0, 256, "compute threads, 0 = all cores"},
    {"repeats", OPTION_NUMBER, FIELD(repeats), "N", "5", 1, 100000, "timed runs; the median counts"},
    {"kernels", OPTION_TEXT, FIELD(kernels), "SET", NULL, 0, 0, "kernel set instead of the fastest"},
    {"units", OPTION_FLAG, FIELD(units), NULL, NULL, 0, 0, "time every unit of the model too, on stderr"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object"},
};

const struct command command_bench = {
    .name = "bench",
    .summary = "measure how fast this process runs a model",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_size = sizeof(struct values),
    .run = run,
};
