/* A loaded slice as slice.c builds it and forward.c walks it. */
#ifndef MODEL_SLICE_H
#define MODEL_SLICE_H

#include "model/family.h"

#include <stdatomic.h>

/* The packed weights of one unit, or of several that have the same, in one slice or in several. */
struct packed_unit {
    struct unit_weights weights; /* immutable once packed */
    size_t bytes;
    atomic_uint holders; /* slices; the last one frees it */
};

struct slice_model {
    const struct model_config *config;
    struct slice slice;
    const struct kernels *kernels;
    /* [end - first]; NULL: neither packed nor shared yet. Neighbours with the same weights have the same one, which the
     * slice holds once. */
    struct packed_unit **units;
};

size_t element_bytes(enum element element);

/* Whether a tensor of a checkpoint or a cache is what the layout wants: shape, and bytes to go with it. The error
 * begins with the tensor's name. */
bool tensor_check(const struct tensor *got, const struct unit_tensor *want, struct error *error);

#endif
