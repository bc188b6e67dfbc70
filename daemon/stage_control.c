/* The stage's talk with its coordinator, and nobody else: each message becomes an event for the core, and what the core
 * wants said becomes a message. The socket is made anew after a connection closed, so that nothing said to a
 * coordinator that is gone reaches the one that comes after it. Messages that cannot be decoded are counted and
 * dropped. */
#include "daemon/stage_internal.h"

#include "base/allocate.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/cache.h"

#include <string.h>

#define CONTROL_QUEUE     256 /* messages; beyond it the coordinator has been away for a minute and forgets us anyway */
#define RECONNECT_PAUSE   (500 * MONO_MS)
#define LOG_PERIOD        (30 * MONO_SECOND)
#define LOOK_PERIOD       (2 * MONO_SECOND)
#define OPENING_PERIOD    (200 * MONO_MS) /* what becomes of a new socket is not known yet */
#define MESSAGES_PER_TURN 64              /* then the data socket has its turn */

bool control_open(struct stage *stage, struct error *error) {
    const struct identity *identity = stage->options->identity;
    const struct net_options options = {.frame_max = MESSAGE_ENVELOPE_MAX,
                                        .queue = CONTROL_QUEUE,
                                        .keys = identity ? &identity->keys : NULL,
                                        .server = identity ? &identity->coordinator : NULL};
    net_close(&stage->control, 0);
    waiting_begin(&stage->waiting);
    stage->waiting.keyless = !identity;
    stage->opened = mono_now();
    stage->control = net_connect(stage->net, NET_DEALER, stage->options->coordinator, &options, error);
    return stage->control != NULL;
}

void control_revive(struct stage *stage) {
    struct error error;
    if (stage->control || mono_since(mono_now(), stage->reconnect_at) < 0)
        return;
    stage->reconnect_at = mono_after(mono_now(), RECONNECT_PAUSE);
    if (!control_open(stage, &error))
        log_warn("%s", error.text);
}

/* Who is told why knows whether to wait: each reason is told once. Names were looked up before (wait_for_network). */
static void log_unanswered(struct stage *stage) {
    char words[WAITING_WORDS_MAX];
    waiting_words(&stage->waiting, stage->options->coordinator, false, words);
    if (waiting_is_news(&stage->waiting, words))
        log_info("waiting for the coordinator: %s", words);
}

/* While no slice is ours, the coordinator is asked why. */
static void ask_why(struct stage *stage) {
    control_say(stage, &(struct message){.type = MESSAGE_STATUS_GET});
}

static void on_status(struct stage *stage, const struct message_status *status) {
    char words[WAITING_WORDS_MAX];
    waiting_status_words(status, words);
    if (!stage_core_idle(&stage->core) ||
        !waiting_is_news(&stage->waiting, words[0] ? words : "the fleet serves without this board"))
        return;
    log_info("waiting: %s", stage->waiting.told);
}

void control_log_waiting(struct stage *stage) {
    mono_t now = mono_now();
    if (stage->looked.ns == 0)
        stage->looked = now;
    if (mono_since(now, stage->looked) < LOOK_PERIOD || mono_since(now, stage->opened) < OPENING_PERIOD)
        return;
    stage->looked = now;
    if (stage->core.state == STAGE_JOINING && !stage->waiting.heard)
        log_unanswered(stage);
    else if (stage_core_idle(&stage->core))
        ask_why(stage);
    else if (stage->core.state != STAGE_JOINING)
        stage->waiting.told[0] = '\0'; /* there is something to do */
}

/* The coordinator has taken our key from its list, or never had it there, or we have none: asking again would change
 * nothing. */
static void on_denied(struct stage *stage) {
    error_set(
        stage->failure, ERROR_DENIED,
        "the coordinator at %s %s; its operator makes a token with 'stagecoach keys token', to be given here with "
        "--token",
        stage->options->coordinator,
        stage->options->identity ? "does not admit this board's key (any more)" : "demands keys");
    stage_feed(stage, &(struct stage_event){.type = STAGE_REFUSED, .again = false});
}

static void on_handshake_failed(struct stage *stage, const struct net_event *event) {
    mono_t now = mono_now();
    if (stage->refused_logged.ns == 0 || mono_since(now, stage->refused_logged) >= LOG_PERIOD) {
        stage->refused_logged = now;
        log_warn("no understanding with the coordinator at %s: %s; trying again", stage->options->coordinator,
                 event->failure != NET_FAILED_SOMEHOW ? event->reason
                 : stage->options->identity           ? "it hung up; is it another than the one we know?"
                                                      : "it hung up; if it demands keys, give a token with --token");
    }
    stage_feed(stage, &(struct stage_event){.type = STAGE_HANDSHAKE});
}

void control_events(struct stage *stage) {
    struct net_event event;
    while (stage->control && (event = net_next_event(stage->control)).kind != NET_NOTHING) {
        waiting_event(&stage->waiting, &event);
        bool keyless = event.kind == NET_HANDSHAKE_FAILED && event.failure == NET_FAILED_MECHANISM &&
                       !stage->options->identity && stage->core.cluster == 0;
        if (event.kind == NET_REFUSED || keyless) {
            on_denied(stage);
            return;
        }
        if (event.kind == NET_HANDSHAKE_FAILED)
            on_handshake_failed(stage, &event);
        if (event.kind == NET_OPENED)
            stage_feed(stage, &(struct stage_event){.type = STAGE_OPENED});
        if (event.kind != NET_CLOSED)
            continue;
        net_close(&stage->control, 0);
        stage->reconnect_at = mono_after(mono_now(), RECONNECT_PAUSE);
        stage_feed(stage, &(struct stage_event){.type = STAGE_CLOSED});
    }
}

/* ---- what the coordinator says ---- */

static void on_welcome(struct stage *stage, const struct message_welcome *welcome) {
    log_info("welcome by the coordinator at %s, which runs %s", stage->options->coordinator, welcome->architecture);
    stage_feed(stage, &(struct stage_event){.type = STAGE_WELCOMED,
                                            .cluster = welcome->cluster,
                                            .heartbeat_ns = (int64_t)welcome->heartbeat_ms * MONO_MS});
}

static void on_refuse(struct stage *stage, const struct message_refuse *refuse) {
    mono_t now = mono_now();
    if (!refuse->again)
        error_set(stage->failure, ERROR_UNSUPPORTED, "the coordinator at %s refused: %.300s",
                  stage->options->coordinator, refuse->text);
    else if (stage->refused_logged.ns == 0 || mono_since(now, stage->refused_logged) >= LOG_PERIOD) {
        stage->refused_logged = now;
        log_warn("the coordinator says: %s; trying again", refuse->text);
    }
    stage_feed(stage, &(struct stage_event){.type = STAGE_REFUSED, .again = refuse->again});
}

static void on_message(struct stage *stage, const struct message *message, struct net_frame *raw) {
    switch (message->type) {
    case MESSAGE_WELCOME:
        on_welcome(stage, &message->welcome);
        break;
    case MESSAGE_REFUSE:
        on_refuse(stage, &message->refuse);
        break;
    case MESSAGE_ASSIGN:
        weights_assigned(stage, &message->assign);
        break;
    case MESSAGE_TENSOR_PART:
        fetch_part(stage, FETCH_COORDINATOR, &message->tensor_part, raw);
        break;
    case MESSAGE_SERVE:
        stage_feed(stage, &(struct stage_event){.type = STAGE_TOLD_SERVE, .epoch = message->serve.epoch});
        break;
    case MESSAGE_RETIRE:
        stage_feed(stage, &(struct stage_event){.type = STAGE_RETIRED, .epoch = message->retire.epoch});
        break;
    case MESSAGE_RELEASED:
        stage_feed(stage, &(struct stage_event){.type = STAGE_RELEASED});
        break;
    case MESSAGE_FLEET:
        peers_admit(stage, &message->fleet);
        break;
    case MESSAGE_STATUS:
        on_status(stage, &message->status);
        break;
    case MESSAGE_PROFILE_GET:
        measure_profile_get(stage, &message->profile_get);
        break;
    case MESSAGE_PROBE:
        measure_probe(stage, &message->probe);
        break;
    default:
        stage_feed(stage,
                   &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a message that no coordinator sends"});
        break;
    }
}

static void on_frames(struct stage *stage, struct net_message *received) {
    struct message message;
    struct error error;
    arena_reset(stage->decoded);
    if (!message_decode(stage->decoded, net_frame_data(&received->frame[0]), net_frame_size(&received->frame[0]),
                        &message, &error)) {
        stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a control message"});
        return;
    }
    if (received->count != (message.type == MESSAGE_TENSOR_PART ? 2 : 1)) {
        stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE,
                                                .text = "a control message of too few or many frames"});
        return;
    }
    waiting_heard(&stage->waiting);
    on_message(stage, &message, &received->frame[1]);
}

void control_read(struct stage *stage) {
    struct net_message received;
    for (int i = 0; i < MESSAGES_PER_TURN && stage->control; i++) {
        enum net_result result = net_receive(stage->control, &received);
        if (result == NET_AGAIN)
            return;
        if (result != NET_OK) {
            stage_feed(stage,
                       &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a control message of too many frames"});
            continue;
        }
        on_frames(stage, &received);
        net_message_close(&received);
    }
}

/* ---- what we say ---- */

bool control_say(struct stage *stage, const struct message *message) {
    struct error error;
    struct net_piece piece = {0};
    arena_reset(stage->encoded);
    if (!stage->control)
        return false;
    if (!message_encode(stage->encoded, message, &piece.data, &piece.size, &error)) {
        log_error("cannot encode a message: %s", error.text);
        return false;
    }
    return net_send(stage->control, NULL, &piece, 1) == NET_OK;
}

/* Where hashes are meant to be told apart, and not trusted, their beginnings do. */
static uint8_t *cached_hashes(const char *directory, size_t *count) {
    struct hash *list = cache_list(directory, MESSAGE_TENSORS_MAX, count);
    uint8_t *beginnings = allocate(*count, MESSAGE_CACHED_BYTES);
    for (size_t i = 0; i < *count; i++)
        memcpy(&beginnings[i * MESSAGE_CACHED_BYTES], list[i].bytes, MESSAGE_CACHED_BYTES);
    release(list);
    return beginnings;
}

static void say_hello(struct stage *stage) {
    const struct stage_options *options = stage->options;
    size_t cached_count;
    uint8_t *cached = cached_hashes(options->cache_directory, &cached_count);
    const struct message message = {
        .type = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION,
                  .version = STAGECOACH_VERSION,
                  .role = ROLE_STAGE,
                  .name = options->name,
                  .data_endpoint = {stage->way[0].data_endpoint, stage->way[1].data_endpoint},
                  .memory_bytes = options->memory_bytes,
                  .threads = options->threads,
                  .kernels = stage->kernels->name,
                  .weights_endpoint = stage->weights_endpoint,
                  .cached = cached,
                  .cached_count = cached_count,
                  .instance = stage->instance}};
    control_say(stage, &message);
    release(cached);
}

static void say_heartbeat(struct stage *stage) {
    struct message message = {.type = MESSAGE_HEARTBEAT};
    message.heartbeat = stage_core_heartbeat(&stage->core, mono_now());
    message.heartbeat.allocations = allocation_count();
    message.heartbeat.memory_used = board_memory_used();
    control_say(stage, &message);
}

static void say_failed(struct stage *stage, const struct stage_effect *effect) {
    log_error("cannot serve epoch %llu: %s", (unsigned long long)effect->epoch.number, effect->text);
    control_say(stage, &(struct message){.type = MESSAGE_FAILED, .failed = {effect->epoch, effect->text}});
}

void control_effect(struct stage *stage, const struct stage_effect *effect) {
    switch (effect->type) {
    case STAGE_SAY_HELLO:
        say_hello(stage);
        break;
    case STAGE_SAY_PROGRESS:
        control_say(stage,
                    &(struct message){.type = MESSAGE_PROGRESS,
                                      .progress = {effect->epoch, effect->done, effect->total, effect->fetched}});
        break;
    case STAGE_SAY_READY:
        control_say(stage, &(struct message){.type = MESSAGE_READY, .ready = {effect->epoch, effect->weight_bytes}});
        break;
    case STAGE_SAY_FAILED:
        say_failed(stage, effect);
        break;
    case STAGE_SAY_HEARTBEAT:
        say_heartbeat(stage);
        break;
    case STAGE_SAY_LEAVE:
        log_info("asking to leave");
        control_say(stage, &(struct message){.type = MESSAGE_LEAVE});
        break;
    default:
        break;
    }
}
