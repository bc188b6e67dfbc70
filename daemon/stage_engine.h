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

#include <stddef.h>
#include <stdint.h>

struct stage_engine {
    struct hash
        weights; /* of everything that the packed weights depend on: two engines with the same are interchangeable */
    struct model_config *config;
    struct slice slice;
    struct slice_model *model;
    unsigned items; /* most in a microbatch; 0: no buffers yet */
    struct workspace *workspace;
    struct payload in, out;                           /* per item */
    void *output[STAGE_OUTPUTS][MODEL_PAYLOAD_PARTS]; /* of the slots */
};

/* Takes config, whatever comes of it. The weights are loaded by the caller, into ->model. */
struct stage_engine *stage_engine_new_take(struct model_config *config, struct slice slice);
/* NULL is fine; *engine becomes NULL. Nothing may be computing in it or sending from it. */
void stage_engine_destroy(struct stage_engine **engine);

/* Makes scratch and output buffers for microbatches of up to `items`, unless they are there. */
bool stage_engine_fit(struct stage_engine *engine, unsigned items, unsigned threads, struct error *error);

/* The bytes that a slice takes once it serves: weights, scratch, and the slots of both kinds. */
uint64_t stage_engine_bytes(const struct model_config *config, struct slice slice, unsigned items,
                            const struct kernels *kernels, unsigned threads);

/* A payload as the core compares it with headers. */
struct stage_cut stage_engine_cut(const struct payload *payload);

#endif
