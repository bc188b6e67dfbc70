/* Microbatches on their way through the stage. A received one stays in the memory that libzmq received it into until it
 * was computed; a computed one lies in an output buffer of the engine, from where libzmq sends it. Nothing is copied
 * but headers and nothing is allocated by us. libzmq gives output parts back from its own thread, through a queue.
 * Whatever is wrong with a message is the core's to judge; here it is only taken apart. */
#include "daemon/stage_internal.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DATA_QUEUE          1 /* what a slow stage cannot take shall wait with the sender, where the coordinator sees it */
#define FRAME_MAX_UNLIMITED ((uint64_t)1 << 30) /* where the memory budget does not limit frames */
#define FRAME_MAX_LEAST     ((uint64_t)1 << 20)
#define MESSAGES_PER_TURN   16
#define ADMITTED_AFTER      (5 * MONO_SECOND) /* a lane is retired, or a probe has ended */
#define HEADER_ARENA_LIMIT  ((size_t)1 << 16)

static void drop(struct stage_input_slot *slot) {
    while (slot->frames > 0)
        net_frame_close(&slot->frame[--slot->frames]);
}

/* ---- the sockets that microbatches come through ---- */

/* Two slots of any payload, at least, must fit the memory budget, so a larger frame cannot be ours. */
static uint64_t frame_max(const struct stage_options *options) {
    uint64_t most = options->memory_bytes ? options->memory_bytes / STAGE_INPUTS : FRAME_MAX_UNLIMITED;
    return most < FRAME_MAX_LEAST ? FRAME_MAX_LEAST : most;
}

bool data_name_endpoint(const struct stage *stage, const char *bound, char told[NET_ENDPOINT_MAX],
                        struct error *error) {
    char address[64];
    snprintf(told, NET_ENDPOINT_MAX, "%s", bound);
    if (!net_is_everywhere(bound))
        return true;
    if (!net_local_address(stage->options->coordinator, address, error))
        return false;
    snprintf(told, NET_ENDPOINT_MAX, "tcp://%s%s", address, strrchr(bound, ':'));
    return true;
}

/* A board that reaches the coordinator by loopback is on its machine, and its neighbours may be elsewhere: they are
 * told the machine's address. Without keys it stays where nobody else comes. */
static bool choose_listen(struct stage *stage, struct error *error) {
    const struct stage_options *options = stage->options;
    char address[64];
    if (options->listen) {
        snprintf(stage->listen, sizeof stage->listen, "%s", options->listen);
        return net_endpoint_check(options->listen, error) || error_wrap(error, "--listen");
    }
    if (!net_local_address(options->coordinator, address, error))
        return false;
    snprintf(stage->listen, sizeof stage->listen, "tcp://%s:0", address);
    if (options->identity && net_is_loopback(stage->listen))
        snprintf(stage->listen, sizeof stage->listen, "tcp://%s:0", address[0] == '[' ? "[::]" : "0.0.0.0");
    return true;
}

/* Each lane listens at a port of its own: those behind the one that was given, or any that are free. */
static bool way_open(struct stage *stage, unsigned lane, const struct net_options *options, struct error *error) {
    struct stage_way *way = &stage->way[lane];
    char at[NET_ENDPOINT_MAX];
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        way->output[i] = (struct stage_output_slot){.stage = stage, .lane = lane, .index = i};
    if (!net_endpoint_behind(stage->listen, lane, at, error))
        return false;
    way->data = net_bind(stage->net, NET_PULL, at, options, error);
    return way->data && data_name_endpoint(stage, net_endpoint(way->data), way->data_endpoint, error);
}

bool data_open(struct stage *stage, struct error *error) {
    const struct identity *identity = stage->options->identity;
    const struct net_options options = {.frame_max = frame_max(stage->options),
                                        .queue = DATA_QUEUE,
                                        .keys = identity ? &identity->keys : NULL,
                                        .door = NET_DOOR_LATER};
    if (!choose_listen(stage, error))
        return false;
    if (!identity && !stage->options->insecure && !net_is_loopback(stage->listen))
        return error_set(
            error, ERROR_USAGE,
            "listening at %s without keys would let anyone on that network in: join the coordinator once with "
            "--token TOKEN ('stagecoach keys token' makes one there), or, if it does without keys too, give "
            "--insecure",
            stage->listen);
    stage->header = arena_new(HEADER_ARENA_LIMIT);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        if (!way_open(stage, lane, &options, error))
            return false;
    return true;
}

void data_close(struct stage *stage) {
    for (unsigned lane = 0; lane < STAGE_LANES; lane++) {
        struct stage_way *way = &stage->way[lane];
        for (unsigned i = 0; i < STAGE_INPUTS; i++)
            drop(&way->input[i]);
        net_close(&way->next, 0);
        net_close(&way->data, 0);
    }
}

/* An honest sender may be told a moment later than we that it is over. */
static bool of_use(mono_t used, mono_t now) {
    return used.ns != 0 && mono_since(now, used) < ADMITTED_AFTER;
}

static void admit_lane(struct stage *stage, struct stage_way *way, mono_t now) {
    struct public_key admitted[2];
    size_t count = 0;
    if (of_use(way->used, now))
        admitted[count++] = way->previous_key;
    if (of_use(stage->probed, now))
        admitted[count++] = stage->prober.peer;
    bool same = count == way->admitted_count;
    for (size_t i = 0; same && i < count; i++)
        same = key_equal(&admitted[i], &way->admitted[i]);
    if (same)
        return;
    memcpy(way->admitted, admitted, count * sizeof admitted[0]);
    way->admitted_count = count;
    net_admit(way->data, admitted, count);
}

void data_admit(struct stage *stage) {
    mono_t now = mono_now();
    if (!stage->options->identity)
        return;
    if (stage->prober.probe != 0)
        stage->probed = now;
    for (unsigned lane = 0; lane < STAGE_LANES; lane++) {
        if (stage->core.lane[lane].state != LANE_FREE)
            stage->way[lane].used = now;
        admit_lane(stage, &stage->way[lane], now);
    }
}

void data_events(struct stage *stage) {
    for (unsigned lane = 0; lane < STAGE_LANES; lane++) {
        struct stage_way *way = &stage->way[lane];
        struct net_event event;
        while ((event = net_next_event(way->data)).kind != NET_NOTHING)
            if (event.kind == NET_HANDSHAKE_FAILED) {
                stage_feed(stage, &(struct stage_event){.type = STAGE_HANDSHAKE});
                strangers_note(&stage->strangers, &event);
            }
        while (way->next && net_next_event(way->next).kind != NET_NOTHING)
            continue; /* they tell nothing we need, but unread they would end every wait at once */
    }
}

/* ---- in ---- */

static void deny(struct stage *stage, const struct net_message *received, const char *what) {
    char address[NET_ADDRESS_MAX], text[256];
    net_peer_address(received->connection, address);
    snprintf(text, sizeof text, "%s (%s)", what, address);
    stage_feed(stage, &(struct stage_event){.type = STAGE_DENIED, .text = text});
    if (received->connection >= 0)
        net_hang_up(received->connection);
}

static void on_message(struct stage *stage, unsigned lane, struct net_message *received) {
    struct data_header header;
    struct error error;
    struct stage_event event = {.type = STAGE_ARRIVED, .lane = lane, .header = &header, .frames = received->count - 1};
    if (received->keyed && !key_equal(&received->key, &stage->way[lane].previous_key)) {
        deny(stage, received, "a microbatch of one who is not before us");
        return;
    }
    arena_reset(stage->header);
    if (!data_header_decode(stage->header, net_frame_data(&received->frame[0]), net_frame_size(&received->frame[0]),
                            &header, &error)) {
        event.type = STAGE_UNREADABLE;
        event.text = "bytes that are no header of a microbatch";
    }
    for (unsigned part = 0; part < event.frames && part < MESSAGE_PARTS_MAX; part++)
        event.sizes[part] = net_frame_size(&received->frame[1 + part]);
    stage->arrived = received;
    stage_feed(stage, &event);
    stage->arrived = NULL;
}

static void read_lane(struct stage *stage, unsigned lane) {
    struct net_message received;
    for (int i = 0; i < MESSAGES_PER_TURN && stage_core_receiving(&stage->core, lane); i++) {
        enum net_result result = net_receive(stage->way[lane].data, &received);
        if (result == NET_AGAIN)
            return;
        if (result == NET_DENIED) {
            deny(stage, &received, "a message of a key that is not let in any more");
            continue;
        }
        if (result != NET_OK) {
            stage_feed(stage,
                       &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a microbatch of too many frames"});
            continue;
        }
        if (!measure_arrived(stage, &received))
            on_message(stage, lane, &received);
        net_message_close(&received); /* what is left of it: frames that were kept have moved */
    }
}

void data_read(struct stage *stage) {
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        read_lane(stage, lane);
}

static void keep(struct stage *stage, struct stage_input_slot *slot) {
    assert(slot->frames == 0);
    for (; slot->frames + 1 < stage->arrived->count; slot->frames++)
        net_frame_take(&slot->frame[slot->frames], &stage->arrived->frame[slot->frames + 1]);
}

/* ---- through ---- */

static void compute(struct stage *stage, unsigned lane, unsigned input, unsigned output) {
    struct stage_way *way = &stage->way[lane];
    struct stage_input_slot *slot = &way->input[input];
    const struct data_header *header = &stage->core.lane[lane].input[input].header;
    struct compute_job *job = &slot->job;
    *job = (struct compute_job){.engine = way->engine,
                                .items = header->items,
                                .checksum = header->checksum,
                                .lane = lane,
                                .input = input,
                                .output = output};
    for (unsigned part = 0; part < slot->frames; part++)
        job->in[part] = net_frame_bytes(&slot->frame[part]);
    memcpy(job->out, way->engine->output[output], sizeof job->out);
    compute_submit(stage->compute, job);
}

void data_computed(struct stage *stage) {
    struct compute_job *job;
    while ((job = compute_take(stage->compute)))
        stage_feed(stage, &(struct stage_event){.type = STAGE_COMPUTED,
                                                .lane = job->lane,
                                                .input = job->input,
                                                .output = job->output,
                                                .damaged = job->damaged,
                                                .checksum = job->out_checksum,
                                                .busy_ns = job->busy_ns});
}

/* ---- out ---- */

static void open_next(struct stage *stage, unsigned lane) {
    struct error error;
    struct stage_way *way = &stage->way[lane];
    const struct identity *identity = stage->options->identity;
    const struct net_options options = {.frame_max = FRAME_MAX_LEAST,
                                        .queue = DATA_QUEUE,
                                        .keys = identity ? &identity->keys : NULL,
                                        .server = &way->next_key};
    net_close(&way->next, 0);
    way->next = net_connect(stage->net, NET_PUSH, way->next_endpoint, &options, &error);
    if (!way->next)
        stage_feed(stage, &(struct stage_event){.type = STAGE_NEXT_FAILED, .lane = lane, .text = error.text});
}

/* Called by libzmq's thread, or from within net_send. */
static void part_released(void *data, void *context) {
    struct stage_output_slot *slot = context;
    (void)data;
    bool accepted = queue_put(slot->stage->let_go, slot);
    assert(accepted); /* it has room for every part of every slot */
    (void)accepted;
}

static void send_output(struct stage *stage, unsigned lane, unsigned index) {
    struct stage_way *way = &stage->way[lane];
    struct stage_output_slot *slot = &way->output[index];
    const struct data_header *header = &stage->core.lane[lane].output[index].header;
    struct stage_event answer = {.type = STAGE_BLOCKED, .lane = lane, .output = index};
    if (!net_writable(way->next)) {
        stage_feed(stage, &answer);
        return;
    }
    uint8_t bytes[DATA_HEADER_MAX];
    struct net_piece pieces[1 + MESSAGE_PARTS_MAX] = {{.data = bytes, .size = data_header_encode(header, bytes)}};
    for (unsigned part = 0; part < header->parts; part++)
        pieces[1 + part] = (struct net_piece){.data = way->engine->output[index][part],
                                              .size = stage->core.lane[lane].out.bytes[part] * header->items,
                                              .released = part_released,
                                              .context = slot};
    slot->held = header->parts;
    slot->refused = net_send(way->next, NULL, pieces, 1 + header->parts) != NET_OK;
    answer.type = STAGE_SENT;
    if (!slot->refused) /* else its parts come back first */
        stage_feed(stage, &answer);
}

void data_let_go(struct stage *stage) {
    struct stage_output_slot *slot;
    while ((slot = queue_take(stage->let_go))) {
        if (--slot->held > 0)
            continue;
        stage_feed(stage, &(struct stage_event){.type = slot->refused ? STAGE_BLOCKED : STAGE_LET_GO,
                                                .lane = slot->lane,
                                                .output = slot->index});
    }
}

void data_effect(struct stage *stage, const struct stage_effect *effect) {
    struct stage_way *way = &stage->way[effect->lane];
    switch (effect->type) {
    case STAGE_OPEN_NEXT:
        open_next(stage, effect->lane);
        break;
    case STAGE_CLOSE_NEXT:
        net_close(&way->next, 0);
        break;
    case STAGE_KEEP:
        keep(stage, &way->input[effect->input]);
        break;
    case STAGE_COMPUTE:
        compute(stage, effect->lane, effect->input, effect->output);
        break;
    case STAGE_DROP:
        drop(&way->input[effect->input]);
        break;
    case STAGE_SEND:
        send_output(stage, effect->lane, effect->output);
        break;
    default:
        break;
    }
}
