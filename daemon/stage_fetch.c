/* Tensors on their way to the loader: what the loader wants is asked of other boards or of the coordinator, as the pure
 * core decides (core/fetch_core.h), and what comes is handed to the loader, by move.
 *
 * Connections to holders are opened when the first piece is asked of them and closed when the load is over; requests to
 * the coordinator go over the control connection. Failures: a holder that cannot be reached, hangs up, says nothing or
 * sends what it should not costs a change of source and a line in the log; bytes that were not asked for are counted
 * and dropped. All of it runs in the I/O thread and never waits.
 */
#include "daemon/stage_internal.h"

#include "base/allocate.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#define MESSAGES_PER_TURN 16

_Static_assert(MESSAGE_HOLDERS_MAX <= FETCH_HOLDERS_MAX, "an assignment names no more holders than a load may ask");

/* ---- effects ---- */

/* Called by the loader thread. */
static void frame_release(void *context) {
    struct net_frame *frame = context;
    net_frame_close(frame);
    release(frame);
}

static void store(struct stage *stage, const struct fetch_chunk *chunk) {
    struct net_frame *frame = allocate(1, sizeof *frame);
    net_frame_take(frame, stage->part);
    loader_store(stage->loader, chunk, net_frame_data(frame), frame_release, frame);
}

static bool connect_to(struct stage *stage, struct stage_holder *holder) {
    struct error error;
    const struct identity *identity = stage->options->identity;
    const struct net_options options = {.frame_max = MESSAGE_CHUNK_MAX,
                                        .queue = 2 * FETCH_CHUNKS,
                                        .keys = identity ? &identity->keys : NULL,
                                        .server = &holder->key};
    if (!holder->socket)
        holder->socket = net_connect(stage->net, NET_DEALER, holder->endpoint, &options, &error);
    if (!holder->socket)
        log_warn("%s", error.text);
    return holder->socket != NULL;
}

static bool ask_holder(struct stage *stage, struct stage_holder *holder, const struct message *message) {
    struct error error;
    struct net_piece piece = {0};
    arena_reset(stage->encoded);
    return connect_to(stage, holder) && message_encode(stage->encoded, message, &piece.data, &piece.size, &error) &&
           net_send(holder->socket, NULL, &piece, 1) == NET_OK;
}

static void feed(struct stage *stage, const struct fetch_event *event);

static void ask(struct stage *stage, unsigned source, const struct fetch_chunk *chunk) {
    const struct message message = {.type = MESSAGE_TENSOR_GET,
                                    .tensor_get = {chunk->hash, chunk->offset, chunk->bytes}};
    if (source == FETCH_COORDINATOR)
        control_say(stage, &message);
    else if (!(stage->fetch.usable >> source & 1))
        return; /* an effect before this one found that out, and others were asked instead */
    else if (!ask_holder(stage, &stage->holder[source], &message))
        feed(stage, &(struct fetch_event){.type = FETCH_CLOSED, .source = source});
}

static void leave(struct stage *stage, unsigned source) {
    struct stage_holder *holder = &stage->holder[source];
    log_info("the board at %s lends nothing (any more); going on without it", holder->endpoint);
    net_close(&holder->socket, 0);
}

static void carry_out(struct stage *stage, const struct fetch_effect *effect) {
    switch (effect->type) {
    case FETCH_ASK:
        ask(stage, effect->source, &effect->chunk);
        break;
    case FETCH_STORE:
        store(stage, &effect->chunk);
        break;
    case FETCH_LEAVE:
        leave(stage, effect->source);
        break;
    }
}

static void feed(struct stage *stage, const struct fetch_event *event) {
    struct fetch_effects effects;
    fetch_core_step(&stage->fetch, event, mono_now(), &effects);
    if (effects.fault == FETCH_FAULT_STALE)
        stage_feed(stage,
                   &(struct stage_event){.type = STAGE_STRAY, .text = "bytes of a tensor that were not asked for"});
    if (effects.fault == FETCH_FAULT_MALFORMED)
        stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE,
                                                .text = "bytes of a tensor, but not as many as were asked for"});
    for (unsigned i = 0; i < effects.count; i++)
        carry_out(stage, &effects.effect[i]);
}

/* ---- a load ---- */

void fetch_begin(struct stage *stage, const struct message_assign *assign) {
    static const struct public_key none;
    unsigned holders = (unsigned)assign->holder_count; /* the decoder has checked that */
    for (unsigned i = 0; i < holders; i++) {
        struct stage_holder *holder = &stage->holder[i];
        snprintf(holder->endpoint, sizeof holder->endpoint, "%s", assign->holders[i].endpoint);
        holder->key = assign->holders[i].key ? *assign->holders[i].key : none;
    }
    feed(stage, &(struct fetch_event){.type = FETCH_BEGAN, .holders = holders});
}

void fetch_end(struct stage *stage) {
    uint64_t lent = 0;
    for (unsigned i = 0; i < FETCH_HOLDERS_MAX; i++) {
        net_close(&stage->holder[i].socket, 0);
        lent += stage->fetch.bytes[i];
    }
    if (stage->fetch.active && lent > 0)
        log_info("%.1f MB came from other boards, %.1f MB from the coordinator", (double)lent / 1e6,
                 (double)stage->fetch.bytes[FETCH_COORDINATOR] / 1e6);
    feed(stage, &(struct fetch_event){.type = FETCH_ENDED});
}

void fetch_wanted(struct stage *stage, const struct fetch_chunk *chunk) {
    feed(stage, &(struct fetch_event){.type = FETCH_WANTED, .chunk = *chunk});
}

void fetch_part(struct stage *stage, unsigned source, const struct message_tensor_part *part, struct net_frame *bytes) {
    struct fetch_event event = {
        .type = FETCH_PART, .source = source, .chunk = {.hash = part->hash, .offset = part->offset}};
    event.chunk.bytes = (uint32_t)net_frame_size(bytes); /* bounded by the socket's frame_max */
    stage->part = bytes;
    feed(stage, &event);
    stage->part = NULL;
}

/* ---- what holders say ---- */

static void on_answer(struct stage *stage, unsigned source, struct net_message *received) {
    struct message message;
    struct error error;
    arena_reset(stage->request);
    bool decoded = message_decode(stage->request, net_frame_data(&received->frame[0]),
                                  net_frame_size(&received->frame[0]), &message, &error);
    if (decoded && message.type == MESSAGE_TENSOR_PART && received->count == 2) {
        fetch_part(stage, source, &message.tensor_part, &received->frame[1]);
    } else if (decoded && message.type == MESSAGE_TENSOR_ABSENT && received->count == 1) {
        feed(stage, &(struct fetch_event){
                        .type = FETCH_NOT_HERE, .source = source, .chunk = {.hash = message.tensor_absent.hash}});
    } else {
        stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE, .text = "an answer that no board gives"});
        feed(stage, &(struct fetch_event){.type = FETCH_CLOSED, .source = source});
    }
}

static void read_answers(struct stage *stage, unsigned source) {
    struct net_message received;
    for (int i = 0; i < MESSAGES_PER_TURN && stage->holder[source].socket; i++) {
        enum net_result result = net_receive(stage->holder[source].socket, &received);
        if (result == NET_AGAIN)
            return;
        if (result != NET_OK) {
            feed(stage, &(struct fetch_event){.type = FETCH_CLOSED, .source = source});
            return;
        }
        on_answer(stage, source, &received);
        net_message_close(&received);
    }
}

static void read_events(struct stage *stage, unsigned source) {
    struct net_event event;
    while (stage->holder[source].socket && (event = net_next_event(stage->holder[source].socket)).kind != NET_NOTHING)
        if (event.kind != NET_OPENED)
            feed(stage, &(struct fetch_event){.type = FETCH_CLOSED, .source = source});
}

unsigned fetch_waits(struct stage *stage, struct net_wait waits[]) {
    unsigned count = 0;
    for (unsigned i = 0; i < FETCH_HOLDERS_MAX; i++)
        if (stage->holder[i].socket)
            waits[count++] = (struct net_wait){.socket = stage->holder[i].socket, .readable = true};
    return count;
}

void fetch_turn(struct stage *stage) {
    for (unsigned i = 0; i < FETCH_HOLDERS_MAX; i++) {
        if (stage->holder[i].socket)
            read_answers(stage, i); /* first: what came before the end counts */
        read_events(stage, i);
    }
    feed(stage, &(struct fetch_event){.type = FETCH_TICK});
}
