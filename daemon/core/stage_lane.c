/* The ways of microbatches through a stage; lanes and slots are described in stage_core.h.
 *
 * Frames of a data socket are judged by judge(), whose verdict is NULL or what is wrong with them; whoever sent them,
 * they are counted and dropped, and the stage lives on.
 */
#include "daemon/core/stage_lane.h"

#include <assert.h>
#include <string.h>

bool stage_core_working(const struct stage_core *core, unsigned lane) {
    return core->lane[lane].state == LANE_READY || core->lane[lane].state == LANE_SERVING;
}

bool lane_at_rest(const struct stage_lane *lane) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (lane->input[i].state != STAGE_INPUT_FREE)
            return false;
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        if (lane->output[i].state != STAGE_OUTPUT_FREE)
            return false;
    return true;
}

/* The free input slot, or STAGE_INPUTS. */
static unsigned free_input(const struct stage_lane *lane) {
    unsigned i = 0;
    while (i < STAGE_INPUTS && lane->input[i].state != STAGE_INPUT_FREE)
        i++;
    return i;
}

bool stage_core_receiving(const struct stage_core *core, unsigned lane) {
    return core->state != STAGE_GONE && free_input(&core->lane[lane]) < STAGE_INPUTS;
}

void lane_drop(struct stage_core *core, unsigned number, struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[number];
    for (unsigned i = 0; i < STAGE_INPUTS; i++) {
        if (lane->input[i].state != STAGE_INPUT_WAITING)
            continue;
        lane->input[i].state = STAGE_INPUT_FREE;
        stage_effect_add(effects, STAGE_DROP, number)->input = i;
    }
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        if (lane->output[i].state == STAGE_OUTPUT_READY)
            lane->output[i].state = STAGE_OUTPUT_FREE;
    lane->blocked = false;
}

void lane_serve(struct stage_core *core, unsigned number, mono_t now) {
    core->lane[number].state = LANE_SERVING;
    core->serving_since = now;
    if (!lanes_computing(core))
        core->computing_since = now;
    core->microbatches = core->items = 0;
    core->busy_ns = 0;
}

/* ---- in ---- */

struct verdict {
    uint64_t *counter; /* NULL: all well */
    const char *fault;
};

static bool sequence_seen(const struct stage_lane *lane, sequence_t sequence) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (lane->input[i].state != STAGE_INPUT_FREE && lane->input[i].header.epoch.number == lane->epoch.number &&
            lane->input[i].header.sequence.number == sequence.number)
            return true;
    return sequence.number <= lane->newest.number;
}

static bool part_equal(const struct data_part *left, const struct data_part *right) {
    if (left->type != right->type || left->rank != right->rank)
        return false;
    for (uint32_t i = 0; i < left->rank && i < MESSAGE_RANK_MAX; i++)
        if (left->shape[i] != right->shape[i])
            return false;
    return true;
}

static struct verdict judge_parts(struct rejected *rejected, const struct stage_cut *in,
                                  const struct stage_event *event) {
    const struct data_header *header = event->header;
    if (header->parts != in->parts || event->frames != in->parts)
        return (struct verdict){&rejected->malformed, "a microbatch with the wrong number of parts"};
    for (uint32_t i = 0; i < in->parts; i++) {
        uint64_t wanted = in->bytes[i] * header->items;
        if (!part_equal(&header->part[i], &in->part[i]))
            return (struct verdict){&rejected->malformed, "a microbatch whose parts have other types or shapes"};
        if (event->sizes[i] > wanted)
            return (struct verdict){&rejected->oversized, "a microbatch with more bytes than its shape says"};
        if (event->sizes[i] < wanted)
            return (struct verdict){&rejected->malformed, "a microbatch with fewer bytes than its shape says"};
    }
    return (struct verdict){0};
}

/* The checksum, the one check that reads the payload, is left to the compute worker. */
static struct verdict judge(struct stage_core *core, const struct stage_event *event) {
    const struct stage_lane *lane = &core->lane[event->lane];
    const struct data_header *header = event->header;
    struct rejected *rejected = &core->rejected;
    if (!stage_core_working(core, event->lane))
        return (struct verdict){&rejected->stale, "a microbatch while no slice is ready"};
    if (header->cluster != core->cluster)
        return (struct verdict){&rejected->stale, "a microbatch of another cluster"};
    if (header->epoch.number != lane->epoch.number)
        return (struct verdict){&rejected->stale, "a microbatch of another epoch"};
    if (header->cut != lane->first)
        return (struct verdict){&rejected->malformed, "a microbatch for another cut"};
    if (header->items == 0 || header->items > lane->microbatch)
        return (struct verdict){&rejected->oversized, "a microbatch of more items than agreed"};
    if (sequence_seen(lane, header->sequence))
        return (struct verdict){&rejected->stale, "a microbatch that was here before"};
    return judge_parts(rejected, &lane->in, event);
}

static void on_arrived(struct stage_core *core, const struct stage_event *event, mono_t now,
                       struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[event->lane];
    unsigned index = free_input(lane);
    assert(index < STAGE_INPUTS); /* else stage_core_receiving said no */
    struct verdict verdict = judge(core, event);
    if (verdict.counter) {
        ++*verdict.counter;
        effects->fault = verdict.fault;
        return;
    }
    if (lane->state == LANE_READY)
        lane_serve(core, event->lane, now); /* it overtook the word that all stages are ready */
    struct stage_input *input = &lane->input[index];
    input->state = STAGE_INPUT_WAITING;
    input->order = ++core->arrivals;
    input->header = *event->header;
    stage_effect_add(effects, STAGE_KEEP, event->lane)->input = index;
}

/* ---- through ---- */

/* What goes out is what came in, behind this slice. */
static void complete_header(const struct stage_lane *lane, struct data_header *header, uint64_t checksum) {
    header->cut = lane->end;
    header->parts = lane->out.parts;
    memcpy(header->part, lane->out.part, sizeof header->part);
    header->checksum = checksum;
}

static void on_computed(struct stage_core *core, const struct stage_event *event, mono_t now,
                        struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[event->lane];
    struct stage_input *input = &lane->input[event->input];
    struct stage_output *output = &lane->output[event->output];
    assert(input->state == STAGE_INPUT_COMPUTING && output->state == STAGE_OUTPUT_COMPUTING);
    input->state = STAGE_INPUT_FREE;
    output->state = STAGE_OUTPUT_FREE;
    core->computing_since = now; /* the next one, if it is there already */
    stage_effect_add(effects, STAGE_DROP, event->lane)->input = event->input;
    if (!stage_core_working(core, event->lane)) /* its epoch ended; a new one does not start here before this */
        return;
    if (event->damaged) {
        core->rejected.malformed++;
        effects->fault = "a microbatch whose checksum does not fit";
        return;
    }
    if (input->header.sequence.number <= lane->newest.number) { /* what follows expects order */
        core->rejected.stale++;
        effects->fault = "a microbatch that came after a newer one";
        return;
    }
    lane->newest = input->header.sequence; /* only now: a damaged header must not make what follows it look old */
    core->microbatches++;
    core->items += input->header.items;
    core->busy_ns += event->busy_ns;
    complete_header(lane, &output->header, event->checksum);
    output->state = STAGE_OUTPUT_READY;
}

static unsigned free_output(const struct stage_lane *lane) {
    unsigned i = 0;
    while (i < STAGE_OUTPUTS && lane->output[i].state != STAGE_OUTPUT_FREE)
        i++;
    return i;
}

bool lanes_computing(const struct stage_core *core) {
    for (unsigned number = 0; number < STAGE_LANES; number++)
        for (unsigned i = 0; i < STAGE_INPUTS; i++)
            if (core->lane[number].input[i].state == STAGE_INPUT_COMPUTING)
                return true;
    return false;
}

/* The oldest input that waits and has somewhere to go: its lane and slot. False: there is none. A lane whose outputs
 * are all taken waits without holding up the other. */
static bool next_input(const struct stage_core *core, unsigned *lane, unsigned *input) {
    uint64_t oldest = UINT64_MAX;
    for (unsigned number = 0; number < STAGE_LANES; number++) {
        if (!stage_core_working(core, number) || free_output(&core->lane[number]) == STAGE_OUTPUTS)
            continue;
        for (unsigned i = 0; i < STAGE_INPUTS; i++) {
            const struct stage_input *slot = &core->lane[number].input[i];
            if (slot->state != STAGE_INPUT_WAITING || slot->order >= oldest)
                continue;
            oldest = slot->order;
            *lane = number;
            *input = i;
        }
    }
    return oldest != UINT64_MAX;
}

static void compute_waiting(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    unsigned number, input;
    while (next_input(core, &number, &input)) {
        struct stage_lane *lane = &core->lane[number];
        unsigned output = free_output(lane);
        if (!lanes_computing(core))
            core->computing_since = now;
        lane->input[input].state = STAGE_INPUT_COMPUTING;
        lane->output[output].state = STAGE_OUTPUT_COMPUTING;
        lane->output[output].order = lane->input[input].order;
        lane->output[output].header = lane->input[input].header;
        struct stage_effect *effect = stage_effect_add(effects, STAGE_COMPUTE, number);
        effect->input = input;
        effect->output = output;
    }
}

/* ---- out ---- */

/* The network has answered for an output: sent, or no room. */
static void on_send_answer(struct stage_core *core, const struct stage_event *event) {
    struct stage_lane *lane = &core->lane[event->lane];
    struct stage_output *output = &lane->output[event->output];
    assert(output->state == STAGE_OUTPUT_SENDING);
    bool sent = event->type == STAGE_SENT;
    lane->blocked = !sent && stage_core_working(core, event->lane);
    output->state = sent ? STAGE_OUTPUT_SENT : lane->blocked ? STAGE_OUTPUT_READY : STAGE_OUTPUT_FREE;
}

static void on_let_go(struct stage_core *core, const struct stage_event *event) {
    struct stage_output *output = &core->lane[event->lane].output[event->output];
    assert(output->state == STAGE_OUTPUT_SENT);
    output->state = STAGE_OUTPUT_FREE;
}

/* One at a time: its answer decides about the next. */
static void send_ready(struct stage_core *core, unsigned number, struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[number];
    unsigned oldest = STAGE_OUTPUTS;
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++) {
        if (lane->output[i].state == STAGE_OUTPUT_SENDING)
            return;
        if (lane->output[i].state == STAGE_OUTPUT_READY &&
            (oldest == STAGE_OUTPUTS || lane->output[i].order < lane->output[oldest].order))
            oldest = i;
    }
    if (oldest == STAGE_OUTPUTS || lane->blocked)
        return;
    lane->output[oldest].state = STAGE_OUTPUT_SENDING;
    stage_effect_add(effects, STAGE_SEND, number)->output = oldest;
}

/* ---- for stage_core.c ---- */

void lane_event(struct stage_core *core, const struct stage_event *event, mono_t now, struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_ARRIVED:
        on_arrived(core, event, now, effects);
        break;
    case STAGE_COMPUTED:
        on_computed(core, event, now, effects);
        break;
    case STAGE_WRITABLE:
        core->lane[event->lane].blocked = false;
        break;
    case STAGE_LET_GO:
        on_let_go(core, event);
        break;
    default:
        on_send_answer(core, event);
        break;
    }
}

void lanes_advance(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    compute_waiting(core, now, effects);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        if (stage_core_working(core, lane))
            send_ready(core, lane, effects);
}
