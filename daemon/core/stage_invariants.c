/* What always holds of a stage's core, between any two steps; the head of stage_core.h says it in words. Only tests
 * ask, after every event of thousands of random histories. */
#include "daemon/core/stage_core.h"

static bool working(const struct stage_core *core) {
    return core->state == STAGE_READY || core->state == STAGE_SERVING;
}

static const char *slots_broken(const struct stage_core *core) {
    unsigned computing_inputs = 0, computing_outputs = 0, sending = 0;
    for (unsigned i = 0; i < STAGE_INPUTS; i++) {
        computing_inputs += core->input[i].state == STAGE_INPUT_COMPUTING;
        if (core->input[i].state == STAGE_INPUT_WAITING && !working(core))
            return "an input waits though nothing is computed";
    }
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++) {
        computing_outputs += core->output[i].state == STAGE_OUTPUT_COMPUTING;
        sending += core->output[i].state == STAGE_OUTPUT_SENDING;
        if (core->output[i].state == STAGE_OUTPUT_READY && !working(core))
            return "an output is ready though its epoch is over";
    }
    if (computing_inputs != computing_outputs)
        return "computing inputs and outputs do not pair up";
    return sending > 1 ? "two outputs are being handed to the network" : NULL;
}

const char *stage_core_broken(const struct stage_core *core) {
    for (unsigned i = 0; i < STAGE_CHUNKS; i++)
        if (core->chunk[i].used && core->state != STAGE_LOADING)
            return "a chunk is outstanding though nothing is being loaded";
    if (core->state == STAGE_LOADING && (!core->loader_busy || core->loader_cancelled))
        return "loading without a loader at work";
    if (working(core) && core->loader_busy)
        return "working while the loader is at work";
    if (core->active.number != 0 && core->active.number != core->epoch.number)
        return "the epoch reported is not the one assigned";
    if (core->state != STAGE_JOINING && core->state != STAGE_GONE && !core->connected)
        return "welcome without a connection";
    return slots_broken(core);
}
