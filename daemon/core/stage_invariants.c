/* What always holds of a stage's core, between any two steps; the head of stage_core.h says it in words. Only tests
 * ask, after every event of thousands of random histories. */
#include "daemon/core/stage_core.h"

static const char *slots_broken(const struct stage_core *core, unsigned number) {
    const struct stage_lane *lane = &core->lane[number];
    unsigned computing_inputs = 0, computing_outputs = 0, sending = 0;
    for (unsigned i = 0; i < STAGE_INPUTS; i++) {
        computing_inputs += lane->input[i].state == STAGE_INPUT_COMPUTING;
        if (lane->input[i].state == STAGE_INPUT_WAITING && !stage_core_working(core, number))
            return "an input waits though nothing is computed";
    }
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++) {
        computing_outputs += lane->output[i].state == STAGE_OUTPUT_COMPUTING;
        sending += lane->output[i].state == STAGE_OUTPUT_SENDING;
        if (lane->output[i].state == STAGE_OUTPUT_READY && !stage_core_working(core, number))
            return "an output is ready though its epoch is over";
    }
    if (computing_inputs != computing_outputs)
        return "computing inputs and outputs do not pair up";
    return sending > 1 ? "two outputs are being handed to the network" : NULL;
}

static const char *lane_broken(const struct stage_core *core, unsigned number) {
    const struct stage_lane *lane = &core->lane[number];
    if (lane->state != LANE_FREE && core->state != STAGE_ADMITTED)
        return "a lane is in use without a coordinator";
    if (lane->state != LANE_FREE && epoch_lane(lane->epoch) != number)
        return "an epoch is in the other's lane";
    if (lane->state == LANE_LOADING && (!core->loader_busy || core->loader_cancelled || core->loader_lane != number))
        return "loading without a loader at work";
    if (stage_core_working(core, number) && !lane->filled)
        return "working without an engine";
    return slots_broken(core, number);
}

const char *stage_core_broken(const struct stage_core *core) {
    unsigned preparing = 0;
    for (unsigned i = 0; i < STAGE_LANES; i++) {
        preparing += core->lane[i].state == LANE_CLEARING || core->lane[i].state == LANE_LOADING;
        const char *broken = lane_broken(core, i);
        if (broken)
            return broken;
    }
    if (preparing > 1)
        return "two lanes are being prepared";
    if (core->state == STAGE_ADMITTED && !core->connected)
        return "admitted without a connection";
    return NULL;
}
