/* A loaded slice with all that a microbatch needs on its way through it: scratch memory and the buffers of the output
 * slots.
 *
 * The loader makes engines, the compute worker runs them, the I/O thread decides who has one; it is never in two hands
 * at a time but for the output buffers, which the network reads while the worker fills others.
 */
#ifndef DAEMON_STAGE_ENGINE_H
#define DAEMON_STAGE_ENGINE_H

#include "base/error.h"
#include "base/hash.h"
#include "daemon/core/stage_core.h"
#include "kernels/kernels.h"
#include "model/model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stage_engine {
    struct model_config *config;
    struct slice slice;
    struct hash
        *identity; /* [end - first]: units of the same identity have the same packed weights (slice_tensors.h) */
    struct slice_model *model; /* may share units with those of other engines */
    unsigned items;            /* most in a microbatch; 0: no buffers yet */
    struct workspace *workspace;
    struct payload in, out;                           /* per item */
    void *output[STAGE_OUTPUTS][MODEL_PAYLOAD_PARTS]; /* of the slots */
};

/* Takes config and copies the identities of the slice's units. The weights are loaded by the caller, into ->model. */
struct stage_engine *stage_engine_new_take(struct model_config *config, struct slice slice,
                                           const struct hash *identity);
/* NULL is fine; *engine becomes NULL. Nothing may be computing in it or sending from it. */
void stage_engine_destroy(struct stage_engine **engine);

/* Makes scratch and output buffers for microbatches of up to `items`, unless they are there. */
bool stage_engine_fit(struct stage_engine *engine, unsigned items, unsigned threads, struct error *error);

/* Has the engine (NULL: none) packed weights of that identity, for this unit or another that computes with the same? */
bool stage_engine_has(const struct stage_engine *engine, unsigned unit, const struct hash *identity);

/* The bytes that a slice takes once it serves beside its weights: scratch, and the slots of both kinds. */
uint64_t stage_engine_buffer_bytes(const struct model_config *config, struct slice slice, unsigned items,
                                   const struct kernels *kernels, unsigned threads);
/* That, its weights, and FLEET_PROCESS_BYTES: all that a stage's process takes that serves this slice alone. */
uint64_t stage_engine_bytes(const struct model_config *config, struct slice slice, unsigned items,
                            const struct kernels *kernels, unsigned threads);

/* A payload as the core compares it with headers. */
struct stage_cut stage_engine_cut(const struct payload *payload);

#endif
