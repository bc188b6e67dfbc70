/* Engines: a slice and its buffers; see stage_engine.h. Sizes come from a peer's assignment, so every buffer is asked
 * for with try_allocate and its absence is an error. */
#include "daemon/stage_engine.h"

#include "base/allocate.h"
#include "daemon/fleet_problem.h"

#include <string.h>

struct stage_engine *stage_engine_new_take(struct model_config *config, struct slice slice,
                                           const struct hash *identity) {
    struct stage_engine *engine = allocate(1, sizeof *engine);
    engine->config = config;
    engine->slice = slice;
    engine->identity = allocate(slice.end - slice.first, sizeof *identity);
    memcpy(engine->identity, identity, (slice.end - slice.first) * sizeof *identity);
    model_cut(config, slice.first, &engine->in);
    model_cut(config, slice.end, &engine->out);
    return engine;
}

static void buffers_close(struct stage_engine *engine) {
    workspace_destroy(&engine->workspace);
    for (unsigned slot = 0; slot < STAGE_OUTPUTS; slot++) {
        for (unsigned part = 0; part < MODEL_PAYLOAD_PARTS; part++) {
            release(engine->output[slot][part]);
            engine->output[slot][part] = NULL;
        }
    }
    engine->items = 0;
}

void stage_engine_destroy(struct stage_engine **pointer) {
    struct stage_engine *engine = *pointer;
    *pointer = NULL;
    if (!engine)
        return;
    buffers_close(engine);
    slice_unload(&engine->model);
    model_config_destroy(&engine->config);
    release(engine->identity);
    release(engine);
}

static bool outputs_new(struct stage_engine *engine, unsigned items, struct error *error) {
    for (unsigned slot = 0; slot < STAGE_OUTPUTS; slot++) {
        for (unsigned part = 0; part < engine->out.parts; part++) {
            size_t bytes = payload_part_bytes(&engine->out.part[part]);
            engine->output[slot][part] = try_allocate(items, bytes);
            if (!engine->output[slot][part])
                return error_set(error, ERROR_SYSTEM, "no memory for an output slot of %u items x %zu bytes", items,
                                 bytes);
        }
    }
    return true;
}

bool stage_engine_fit(struct stage_engine *engine, unsigned items, unsigned threads, struct error *error) {
    if (engine->items == items)
        return true;
    buffers_close(engine);
    engine->workspace = workspace_new(engine->model, items, threads, error);
    if (engine->workspace && outputs_new(engine, items, error)) {
        engine->items = items;
        return true;
    }
    buffers_close(engine);
    return false;
}

bool stage_engine_has(const struct stage_engine *engine, unsigned unit, const struct hash *identity) {
    if (!engine || unit >= model_units(engine->config))
        return false;
    unsigned there = model_find_weights(engine->config, engine->slice, unit);
    return there < engine->slice.end &&
           memcmp(&engine->identity[there - engine->slice.first], identity, sizeof *identity) == 0;
}

_Static_assert(FLEET_INPUT_SLOTS == STAGE_INPUTS + 2 && FLEET_OUTPUT_SLOTS == STAGE_OUTPUTS,
               "plans count what is held");

uint64_t stage_engine_buffer_bytes(const struct model_config *config, struct slice slice, unsigned items,
                                   const struct kernels *kernels, unsigned threads) {
    struct payload in, out;
    model_cut(config, slice.first, &in);
    model_cut(config, slice.end, &out);
    uint64_t bytes = model_workspace_bytes(config, slice, items, kernels, threads);
    return bytes +
           (uint64_t)items * (FLEET_INPUT_SLOTS * payload_bytes(&in) + FLEET_OUTPUT_SLOTS * payload_bytes(&out));
}

uint64_t stage_engine_bytes(const struct model_config *config, struct slice slice, unsigned items,
                            const struct kernels *kernels, unsigned threads) {
    return FLEET_PROCESS_BYTES + stage_engine_buffer_bytes(config, slice, items, kernels, threads) +
           model_weight_bytes(config, slice);
}

struct stage_cut stage_engine_cut(const struct payload *payload) {
    struct stage_cut cut = {.parts = payload->parts};
    for (unsigned p = 0; p < payload->parts; p++) {
        cut.part[p].type = (uint32_t)payload->part[p].type;
        cut.part[p].rank = payload->part[p].rank;
        for (unsigned d = 0; d < payload->part[p].rank; d++)
            cut.part[p].shape[d] = payload->part[p].shape[d];
        cut.bytes[p] = payload_part_bytes(&payload->part[p]);
    }
    return cut;
}
