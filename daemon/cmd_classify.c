/* stagecoach classify: image files through a model in this one process. Files are taken in microbatches; one that
 * cannot be read or decoded gets its error line and does not stop the others. Answers come out in the order of the
 * files. */
#include "base/allocate.h"
#include "daemon/commands.h"
#include "daemon/output.h"
#include "daemon/whole_model.h"

#include <stdio.h>
#include <string.h>

struct values {
    const char *model, *kernels;
    bool json, logits;
    unsigned top, threads, microbatch;
};

/* A file's place in the microbatch, or why it has none. */
struct place {
    bool ok;
    unsigned row;
    struct error error;
};

static void prepare(struct whole_model *whole, struct preparer *preparer, const char *file, struct place *place,
                    unsigned *rows) {
    void *bytes;
    size_t size;
    place->ok = false;
    if (!command_read_file(file, &bytes, &size, &place->error))
        return;
    place->ok = prepare_image(preparer, bytes, size, whole->pixels + *rows * whole->pixel_bytes, &place->error);
    if (place->ok)
        place->row = (*rows)++;
    release(bytes);
}

/* False when the line is an error. */
static bool print(const struct whole_model *whole, const struct values *values, const char *file,
                  const struct place *place, struct top_class *top, struct answer_class *classes) {
    char labels[MESSAGE_TOP_MAX][24];
    struct answer answer = {.file = file, .error = place->ok ? NULL : place->error.text, .top = classes};
    if (place->ok) {
        const float *numbers = whole->answers + (size_t)place->row * whole->answer_size;
        answer.error = answer_finite(numbers, whole->answer_size) ? NULL : "the model's answer is not a number";
        answer.embedding = model_answer_kind(whole->config) == ANSWER_EMBEDDING;
        answer.numbers = answer.embedding || values->logits ? numbers : NULL;
        answer.number_count = whole->answer_size;
        answer.top_count = answer.embedding ? 0 : answer_top(numbers, whole->answer_size, top, values->top);
        for (size_t i = 0; i < answer.top_count; i++) {
            const char *label = model_label(whole->config, top[i].class_index);
            snprintf(labels[i], sizeof labels[i], "LABEL_%u", top[i].class_index);
            classes[i] = (struct answer_class){top[i].class_index, label ? label : labels[i], top[i].score};
        }
    }
    answer_print(values->json || !answer.error ? stdout : stderr, &answer, values->json);
    return !answer.error;
}

static int classify_all(struct whole_model *whole, const struct values *values, char **files, unsigned count) {
    struct place *places = allocate(whole->items, sizeof *places);
    struct top_class *top = allocate(values->top + 1, sizeof *top);
    struct answer_class *classes = allocate(values->top + 1, sizeof *classes);
    struct preparer *preparer = preparer_new(whole->config);
    int status = 0;
    for (unsigned first = 0; first < count; first += whole->items) {
        unsigned some = count - first < whole->items ? count - first : whole->items, rows = 0;
        for (unsigned i = 0; i < some; i++)
            prepare(whole, preparer, files[first + i], &places[i], &rows);
        if (rows > 0)
            whole_model_run(whole, rows);
        for (unsigned i = 0; i < some; i++) {
            if (!print(whole, values, files[first + i], &places[i], top, classes))
                status = EXIT_ITEMS_FAILED;
        }
    }
    preparer_destroy(&preparer);
    release(classes);
    release(top);
    release(places);
    return status;
}

static int run(const void *options, char **files, unsigned count) {
    const struct values *values = options;
    struct whole_model whole;
    struct error error;
    unsigned items = count < values->microbatch ? count : values->microbatch;
    if (!command_check_model(values->model, "classify", &error) ||
        !whole_model_open(&whole, values->model, values->kernels, items, thread_count(values->threads), &error))
        return command_fail(&error);
    int status = classify_all(&whole, values, files, count);
    whole_model_close(&whole);
    return status;
}

static const struct option options[] = {
    MODEL_OPTION,
    ANSWER_OPTIONS,
    THREADS_OPTION,
    {"microbatch", OPTION_NUMBER, FIELD(microbatch), "B", "8", 1, MESSAGE_ITEMS_MAX, "images computed together"},
    KERNELS_OPTION,
};

const struct command command_classify = {
    .name = "classify",
    .summary = "classify image files in this process, without any daemon",
    .operands = "FILE...",
    .operands_min = 1,
    .operands_max = UINT32_MAX,
    COMMAND_PARTS,
};
