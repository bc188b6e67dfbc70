/* A loaded slice as slice.c builds it and forward.c walks it. */
#ifndef MODEL_SLICE_H
#define MODEL_SLICE_H

#include "model/family.h"

struct slice_model {
    const struct model_config *config;
    struct slice slice;
    const struct kernels *kernels;
    struct unit_weights *units; /* [end - first] */
    size_t weight_bytes;
};

size_t element_bytes(enum element element);

/* Whether a tensor of a checkpoint or a cache is what the layout wants: shape, and bytes to go with it. The error
 * begins with the tensor's name. */
bool tensor_check(const struct tensor *got, const struct unit_tensor *want, struct error *error);

#endif
