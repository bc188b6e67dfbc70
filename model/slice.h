/* A loaded slice as slice.c builds it and forward.c walks it. */
#ifndef MODEL_SLICE_H
#define MODEL_SLICE_H

#include "model/family.h"

#include <stdatomic.h>

/* The packed weights of one unit, in one slice or in several. */
struct packed_unit {
    struct unit_weights weights; /* immutable once packed */
    size_t bytes;
    atomic_uint holders; /* slices; the last one frees it */
};

struct slice_model {
    const struct model_config *config;
    struct slice slice;
    const struct kernels *kernels;
    struct packed_unit **units; /* [end - first]; NULL: neither packed nor shared yet */
};

size_t element_bytes(enum element element);

/* Whether a tensor of a checkpoint or a cache is what the layout wants: shape, and bytes to go with it. The error
 * begins with the tensor's name. */
bool tensor_check(const struct tensor *got, const struct unit_tensor *want, struct error *error);

#endif
