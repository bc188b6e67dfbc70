/* One end of the probe of a link; the protocol and its reasons are in probe_core.h.
 *
 * probe_core_step is the one entry. Events change what is known and what is due; next_frame() alone decides what is
 * sent when the socket has room, small frames before chunks. All ends go through report().
 */
#include "daemon/core/probe_core.h"

#include <assert.h>
#include <string.h>

#define PINGS           8
#define PING_PATIENCE   (100 * MONO_MS)   /* then another: the other end may not have been told of the probe yet */
#define ANSWER_PATIENCE (3 * MONO_SECOND) /* for the first frames of the other end */
#define LEAST_BYTES     ((uint64_t)128 << 10)
#define LONGEST         8 /* bursts */
#define WINDOW_BYTES    ((uint64_t)32 << 10)
#define WINDOW_START    ((uint64_t)256 << 10)
#define CHUNK_LEAST     ((uint64_t)4 << 10)

void probe_core_init(struct probe_core *core, const struct probe_settings *settings, mono_t now) {
    memset(core, 0, sizeof *core);
    core->settings = *settings;
    core->state = settings->starts ? PROBE_PINGING : PROBE_ECHOING;
    core->ping_due = settings->starts;
    core->began = core->heard = now;
    core->stride = 1;
}

static struct probe_effect *effect_add(struct probe_effects *effects, enum probe_effect_type type) {
    struct probe_effect *effect = &effects->effect[effects->count++];
    *effect = (struct probe_effect){.type = type};
    return effect;
}

/* ---- what was received ---- */

static void remember(struct probe_core *core, mono_t now) {
    core->last = (struct probe_sample){now, core->received};
    if (core->seen++ == 0)
        core->first = core->last;
    if (core->seen % core->stride != 0)
        return;
    if (core->samples == PROBE_SAMPLES) { /* every other one will do */
        for (unsigned i = 0; i < PROBE_SAMPLES / 2; i++)
            core->sample[i] = core->sample[2 * i + 1];
        core->samples = PROBE_SAMPLES / 2;
        core->stride *= 2;
        if (core->seen % core->stride != 0)
            return;
    }
    core->sample[core->samples++] = core->last;
}

/* Bytes per second behind the first quarter; 0 when too little came. */
static double rate(const struct probe_core *core) {
    const struct probe_sample *from = &core->first;
    int64_t elapsed = mono_since(core->last.at, core->first.at);
    for (unsigned i = 0; i < core->samples; i++) {
        bool late = mono_since(core->sample[i].at, core->first.at) >= elapsed / 4;
        if (late && core->sample[i].bytes >= core->received / 4) {
            if (core->sample[i].bytes < core->last.bytes)
                from = &core->sample[i];
            break;
        }
    }
    int64_t time = mono_since(core->last.at, from->at);
    uint64_t bytes = core->last.bytes - from->bytes;
    return bytes == 0 ? 0 : (double)bytes / ((double)(time > 0 ? time : 1) / 1e9);
}

static bool has_enough(const struct probe_core *core) {
    int64_t elapsed = mono_since(core->last.at, core->first.at), burst = core->settings.burst_ns;
    return (elapsed >= burst && core->received >= LEAST_BYTES) || elapsed >= LONGEST * burst ||
           core->received >= core->settings.burst_bytes;
}

static void report(struct probe_core *core, const char *error, struct probe_effects *effects) {
    core->state = PROBE_OVER;
    core->error = error;
    core->bytes_per_second = rate(core);
    effect_add(effects, PROBE_REPORT);
}

/* ---- frames in ---- */

static mono_t last_ping_at(const struct probe_core *core) {
    return core->ping_at[core->ping % PROBE_PINGS];
}

/* Of any ping that is remembered: on a long way several are out before the first answer. Each counts once. */
static void on_pong(struct probe_core *core, uint64_t number, mono_t now) {
    if (core->state != PROBE_PINGING || number <= core->answered || number > core->ping ||
        core->ping - number >= PROBE_PINGS)
        return;
    double round_trip = (double)mono_since(now, core->ping_at[number % PROBE_PINGS]) / 1e9;
    if (core->pongs++ == 0 || round_trip / 2 < core->latency_s)
        core->latency_s = round_trip / 2;
    core->answered = number;
    core->ping_due = number == core->ping;
    if (core->pongs < PINGS)
        return;
    core->ping_due = false;
    core->state = PROBE_SENDING;
}

static void on_chunk(struct probe_core *core, uint64_t bytes, mono_t now) {
    if (core->state == PROBE_ECHOING)
        core->state = PROBE_RECEIVING;
    if (core->state != PROBE_RECEIVING || core->enough) /* the sender has been told already */
        return;
    core->received += bytes;
    remember(core, now);
    core->enough = core->enough_due = has_enough(core);
    core->ack_due = !core->enough; /* an acknowledgement behind ENOUGH could arrive when all is over */
}

static void on_last(struct probe_core *core, struct probe_effects *effects) {
    if (core->state != PROBE_RECEIVING || !core->enough)
        return;
    if (core->settings.starts)
        report(core, NULL, effects);
    else
        core->state = PROBE_SENDING;
}

static void on_arrived(struct probe_core *core, const struct probe_event *event, mono_t now,
                       struct probe_effects *effects) {
    switch (event->kind) {
    case PROBE_PING:
        core->pong_due = true;
        core->heard = now;
        core->pong = event->number;
        break;
    case PROBE_PONG:
        on_pong(core, event->number, now);
        break;
    case PROBE_CHUNK:
        on_chunk(core, event->bytes, now);
        break;
    case PROBE_ACK:
        if (event->number > core->acknowledged && event->number <= core->sent)
            core->acknowledged = event->number;
        break;
    case PROBE_ENOUGH:
        core->told_enough = core->told_enough || core->state == PROBE_SENDING;
        break;
    case PROBE_LAST:
        on_last(core, effects);
        break;
    }
}

/* ---- frames out ---- */

/* What may be on its way: doubled with each round trip at first, as TCP does, a quarter of all later. */
static uint64_t window(const struct probe_core *core) {
    uint64_t quarter = core->acknowledged / 4;
    uint64_t start = core->acknowledged < WINDOW_START ? core->acknowledged : WINDOW_START;
    return WINDOW_BYTES + (quarter > start ? quarter : start);
}

static bool window_open(const struct probe_core *core) {
    return core->state == PROBE_SENDING && !core->told_enough && core->sent < core->acknowledged + window(core);
}

bool probe_core_wants(const struct probe_core *core) {
    if (core->state == PROBE_OVER)
        return false;
    bool last_due = core->state == PROBE_SENDING && core->told_enough;
    return core->pong_due || core->enough_due || core->ack_due || core->ping_due || last_due || window_open(core);
}

/* Larger where more gets through: on a slow link a large one would be all there is, on a fast one small ones would
 * measure processors. */
static uint32_t chunk_bytes(const struct probe_core *core) {
    uint64_t bytes = core->acknowledged / 8;
    bytes = bytes < CHUNK_LEAST ? CHUNK_LEAST : bytes;
    return bytes < MESSAGE_PROBE_MAX ? (uint32_t)bytes : MESSAGE_PROBE_MAX;
}

static void send_frame(struct probe_effects *effects, enum probe_kind kind, uint64_t number) {
    struct probe_effect *effect = effect_add(effects, PROBE_SEND);
    effect->kind = kind;
    effect->number = number;
}

static void send_chunk(struct probe_core *core, struct probe_effects *effects) {
    uint32_t bytes = chunk_bytes(core);
    core->sent += bytes;
    send_frame(effects, PROBE_CHUNK, core->sent);
    effects->effect[0].bytes = bytes;
}

static void send_ping(struct probe_core *core, mono_t now, struct probe_effects *effects) {
    core->ping_due = false;
    core->ping_at[++core->ping % PROBE_PINGS] = now;
    send_frame(effects, PROBE_PING, core->ping);
}

static void send_last(struct probe_core *core, struct probe_effects *effects) {
    send_frame(effects, PROBE_LAST, core->sent);
    if (core->settings.starts)
        core->state = PROBE_RECEIVING;
    else
        report(core, NULL, effects);
}

static void next_frame(struct probe_core *core, mono_t now, struct probe_effects *effects) {
    if (core->pong_due) {
        core->pong_due = false;
        send_frame(effects, PROBE_PONG, core->pong);
    } else if (core->enough_due) {
        core->enough_due = false;
        send_frame(effects, PROBE_ENOUGH, core->received);
    } else if (core->ack_due) {
        core->ack_due = false;
        send_frame(effects, PROBE_ACK, core->received);
    } else if (core->ping_due)
        send_ping(core, now, effects);
    else if (core->state == PROBE_SENDING && core->told_enough)
        send_last(core, effects);
    else if (window_open(core))
        send_chunk(core, effects);
}

/* ---- time ---- */

static bool unanswered(const struct probe_core *core) {
    return core->state == PROBE_ECHOING || (core->state == PROBE_PINGING && core->pongs == 0);
}

/* Who echoes waits for chunks, which come only when the other end has heard all its pongs: each ping begins the wait
 * anew. */
static mono_t time_is_up(const struct probe_core *core) {
    mono_t limit = mono_after(core->began, core->settings.limit_ns);
    mono_t silent = mono_after(core->state == PROBE_ECHOING ? core->heard : core->began, ANSWER_PATIENCE);
    return unanswered(core) && mono_since(limit, silent) > 0 ? silent : limit;
}

mono_t probe_core_deadline(const struct probe_core *core) {
    mono_t deadline = time_is_up(core), again = mono_after(last_ping_at(core), PING_PATIENCE);
    bool waits = core->state == PROBE_PINGING && !core->ping_due && core->ping > 0;
    return waits && mono_since(deadline, again) > 0 ? again : deadline;
}

static void on_tick(struct probe_core *core, mono_t now, struct probe_effects *effects) {
    if (mono_since(now, time_is_up(core)) >= 0)
        report(core, unanswered(core) ? "the other end does not answer" : "it took too long", effects);
    else if (core->state == PROBE_PINGING && !core->ping_due && mono_since(now, last_ping_at(core)) >= PING_PATIENCE)
        core->ping_due = true;
}

void probe_core_step(struct probe_core *core, const struct probe_event *event, mono_t now,
                     struct probe_effects *effects) {
    effects->count = 0;
    if (core->state == PROBE_OVER)
        return;
    switch (event->type) {
    case PROBE_ARRIVED:
        on_arrived(core, event, now, effects);
        break;
    case PROBE_WRITABLE:
        next_frame(core, now, effects);
        break;
    case PROBE_TICK:
        on_tick(core, now, effects);
        break;
    case PROBE_ABORT:
        report(core, event->text, effects);
        break;
    }
}
