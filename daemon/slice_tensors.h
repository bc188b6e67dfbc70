/* What the units of an assigned slice are made of: which tensors of the assignment they read, which of those are
 * wanted, and an identity for each unit's packed weights. Plain memory; one thread. */
#ifndef DAEMON_SLICE_TENSORS_H
#define DAEMON_SLICE_TENSORS_H

#include "base/error.h"
#include "base/hash.h"
#include "model/model.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice_tensors {
    const struct tensor_entry *entry; /* [count], of the assignment; borrowed */
    size_t count;
    const struct tensor_entry **by_name; /* [count], sorted */
    bool *read;                          /* [count]: by a unit of the slice */
    bool *wanted;                        /* [count]: by a unit that slice_tensors_want named */
    uint64_t read_bytes, wanted_bytes;   /* of those */
    struct slice slice;
    struct hash *identity; /* [end - first]: of everything that a unit's packed weights depend on but the kernels */
};

/* For the slice of the assignment, which must be one of the configuration and outlive this. Nothing is wanted yet.
 * False when a tensor that a unit reads is not listed, or memory is short; *tensors may be closed all the same. */
bool slice_tensors_init(struct slice_tensors *tensors, const struct model_config *config,
                        const struct message_assign *assign, struct error *error);
/* Of zeroed memory too. */
void slice_tensors_close(struct slice_tensors *tensors);

/* The tensors that this unit reads are wanted. */
void slice_tensors_want(struct slice_tensors *tensors, const struct model_config *config, unsigned unit);

/* NULL with an error: it was not listed. */
const struct tensor_entry *slice_tensors_find(const struct slice_tensors *tensors, const char *name,
                                              struct error *error);

#endif
