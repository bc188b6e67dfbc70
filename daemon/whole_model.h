/* A whole model in one process: what `classify` and `bench` run, and what a pipeline's answers are compared with. */
#ifndef DAEMON_WHOLE_MODEL_H
#define DAEMON_WHOLE_MODEL_H

#include "base/error.h"
#include "model/model.h"

struct whole_model {
    struct model *model;
    const struct model_config *config;
    const struct kernels *kernels;
    struct pool *pool;
    struct slice_model *slice;
    struct workspace *workspace;
    unsigned items;     /* room in the buffers */
    size_t pixel_bytes; /* of one item */
    unsigned answer_size;
    uint8_t *pixels; /* [items][pixel_bytes] */
    float *answers;  /* [items][answer_size] */
};

/* Opens and loads a model for microbatches of up to `items`. kernels as for kernels_get. On false nothing is left open.
 */
bool whole_model_open(struct whole_model *whole, const char *directory, const char *kernels, unsigned items,
                      unsigned threads, struct error *error);
void whole_model_close(struct whole_model *whole);

/* whole->pixels[0..items) -> whole->answers[0..items). */
void whole_model_run(struct whole_model *whole, unsigned items);

#endif
