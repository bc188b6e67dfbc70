/* A whole model in one process; see whole_model.h. The slice is all units, so the path through model/ is exactly a
 * stage's. */
#include "daemon/whole_model.h"

#include "base/allocate.h"

#include <string.h>

static bool open_parts(struct whole_model *whole, const char *directory, const char *kernels, unsigned threads,
                       struct error *error) {
    if (!(whole->kernels = kernels_get(kernels, error)) || !(whole->model = model_open(directory, error)) ||
        !(whole->pool = pool_new(threads, error)))
        return false;
    whole->config = model_borrow_config(whole->model);
    struct tensor_source source = model_source(whole->model);
    struct slice all = {0, model_units(whole->config)};
    whole->slice = slice_load(whole->config, all, &source, whole->kernels, NULL, NULL, error);
    return whole->slice && (whole->workspace = workspace_new(whole->slice, whole->items, threads, error));
}

bool whole_model_open(struct whole_model *whole, const char *directory, const char *kernels, unsigned items,
                      unsigned threads, struct error *error) {
    memset(whole, 0, sizeof *whole);
    whole->items = items;
    if (!open_parts(whole, directory, kernels, threads, error)) {
        whole_model_close(whole);
        return false;
    }
    struct payload payload;
    model_cut(whole->config, 0, &payload);
    whole->pixel_bytes = payload_bytes(&payload);
    whole->answer_size = model_answer_size(whole->config);
    whole->pixels = try_allocate(items, whole->pixel_bytes);
    whole->answers = try_allocate(items, whole->answer_size * sizeof(float));
    if (whole->pixels && whole->answers)
        return true;
    whole_model_close(whole);
    return error_set(error, ERROR_SYSTEM, "no memory for microbatches of %u items", items);
}

void whole_model_close(struct whole_model *whole) {
    workspace_destroy(&whole->workspace);
    slice_unload(&whole->slice);
    pool_destroy(&whole->pool);
    model_close(&whole->model);
    release(whole->pixels);
    release(whole->answers);
    whole->pixels = NULL;
    whole->answers = NULL;
}

void whole_model_run(struct whole_model *whole, unsigned items) {
    void *in[MODEL_PAYLOAD_PARTS] = {whole->pixels};
    void *out[MODEL_PAYLOAD_PARTS] = {whole->answers};
    slice_forward(whole->slice, whole->workspace, whole->pool, items, in, out);
}
