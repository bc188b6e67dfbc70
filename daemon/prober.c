/* One end of the probe of a link; see prober.h. Frames of the data socket are judged here (whose are they?), the core
 * decides what they mean, and what it wants sent goes out while the socket takes it. The socket lives for one probe:
 * when that is over it is closed with some patience, because the last frame tells the other end so. */
#include "daemon/prober.h"

#include "base/allocate.h"

#define QUEUE           4  /* messages: enough to keep the network's thread busy, and no more to be thrown away */
#define FRAMES_PER_TURN 64 /* then other sockets have their turn */
#define LINGER_MS       1000
#define FRAME_MAX       4096 /* nothing comes back on a PUSH socket */

void prober_stop(struct prober *prober) {
    net_close(&prober->socket, 0);
    prober->probe = 0;
}

void prober_close(struct prober *prober) {
    release(prober->chunk);
    prober->chunk = NULL;
}

bool prober_begin(struct prober *prober, struct net *net, const struct message_probe *probe, struct error *error) {
    const struct net_options options = {
        .frame_max = FRAME_MAX, .queue = QUEUE, .keys = prober->keys, .server = probe->peer_key};
    const struct probe_settings settings = {.starts = probe->starts,
                                            .limit_ns = probe->limit_ms * MONO_MS,
                                            .burst_ns = probe->burst_ms * MONO_MS,
                                            .burst_bytes = probe->burst_bytes};
    prober_stop(prober);
    if (prober->keys && !probe->peer_key)
        return error_set(error, ERROR_INPUT, "the key of the other end is missing");
    if (!net_endpoint_check(probe->peer_endpoint, error) ||
        !(prober->socket = net_connect(net, NET_PUSH, probe->peer_endpoint, &options, error)))
        return false;
    if (!prober->chunk)
        prober->chunk = allocate(1, MESSAGE_PROBE_MAX);
    prober->probe = probe->probe;
    if (probe->peer_key)
        prober->peer = *probe->peer_key;
    probe_core_init(&prober->core, &settings, mono_now());
    return true;
}

enum prober_verdict prober_arrived(struct prober *prober, struct arena *arena, const struct net_message *received) {
    struct probe_header header;
    if (!probe_header_decode(arena, net_frame_data(&received->frame[0]), net_frame_size(&received->frame[0]), &header,
                             NULL) ||
        received->count != (header.kind == PROBE_CHUNK ? 2 : 1))
        return PROBER_MALFORMED;
    uint64_t bytes = header.kind == PROBE_CHUNK ? net_frame_size(&received->frame[1]) : 0;
    if (bytes > MESSAGE_PROBE_MAX)
        return PROBER_MALFORMED;
    if (header.probe != prober->probe || (received->keyed && !key_equal(&received->key, &prober->peer)))
        return PROBER_STALE;
    struct probe_effects effects; /* if it is over now, the next turn sees it */
    const struct probe_event event = {
        .type = PROBE_ARRIVED, .kind = header.kind, .number = header.number, .bytes = bytes};
    probe_core_step(&prober->core, &event, mono_now(), &effects);
    return PROBER_TAKEN;
}

/* The chunk is no one message's own, so there is nothing to release, but a copy must not be made. */
static void chunk_released(void *data, void *context) {
    (void)data;
    (void)context;
}

static void send_frame(struct prober *prober, const struct probe_effect *effect) {
    uint8_t bytes[PROBE_HEADER_MAX];
    const struct probe_header header = {prober->probe, effect->kind, effect->number};
    const struct net_piece pieces[2] = {
        {.data = bytes, .size = probe_header_encode(&header, bytes)},
        {.data = prober->chunk, .size = effect->bytes, .released = chunk_released},
    };
    net_send(prober->socket, NULL, pieces, effect->bytes > 0 ? 2 : 1); /* what is lost ends the probe by its limit */
}

static void feed(struct prober *prober, enum probe_event_type type) {
    struct probe_effects effects;
    probe_core_step(&prober->core, &(struct probe_event){.type = type}, mono_now(), &effects);
    for (unsigned i = 0; i < effects.count; i++)
        if (effects.effect[i].type == PROBE_SEND)
            send_frame(prober, &effects.effect[i]);
}

bool prober_turn(struct prober *prober, struct message_probed *result) {
    if (prober->probe == 0)
        return false;
    while (net_next_event(prober->socket).kind != NET_NOTHING) {
    } /* unread they would end every wait at once */
    feed(prober, PROBE_TICK);
    for (int i = 0; i < FRAMES_PER_TURN && probe_core_wants(&prober->core) && net_writable(prober->socket); i++)
        feed(prober, PROBE_WRITABLE);
    const struct probe_core *core = &prober->core;
    if (core->state != PROBE_OVER)
        return false;
    *result = (struct message_probed){.probe = prober->probe,
                                      .error = core->error ? core->error : "",
                                      .latency_s = core->latency_s,
                                      .bytes_per_second = core->bytes_per_second};
    net_close(&prober->socket, core->error ? 0 : LINGER_MS);
    prober->probe = 0;
    return true;
}

bool prober_wait(const struct prober *prober, struct net_wait *wait) {
    if (prober->probe == 0)
        return false;
    *wait = (struct net_wait){.socket = prober->socket, .writable = probe_core_wants(&prober->core)};
    return true;
}

void prober_deadline(const struct prober *prober, mono_t *deadline) {
    if (prober->probe == 0)
        return;
    mono_t at = prober->core.state == PROBE_OVER ? mono_now() : probe_core_deadline(&prober->core);
    if (mono_since(*deadline, at) > 0)
        *deadline = at;
}
