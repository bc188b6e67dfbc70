/* Tensors that this board lends to others of its fleet.
 *
 * A ROUTER socket, at the address that microbatches come to and a port of its own, answers TENSOR_GET as the
 * coordinator does: from the mapped file, without a copy; libzmq's thread gives the mapping back. What is not in the
 * cache (any more) is answered with TENSOR_ABSENT. Nothing here reads a file, computes a hash or waits: pages are read
 * when libzmq sends them, and whoever borrows checks what it gets. An answer for which there is no room is dropped, and
 * asked for again, here or elsewhere. Where there are keys, those are let in whom the coordinator names (FLEET), and
 * nobody before it has.
 */
#include "daemon/stage_internal.h"

#include "base/allocate.h"
#include "daemon/cache.h"

#include <stdio.h>
#include <string.h>

#define REQUEST_MAX       4096 /* bytes of a frame */
#define MESSAGES_PER_TURN 16
#define ARENA_LIMIT       ((size_t)1 << 16)

bool peers_open(struct stage *stage, struct error *error) {
    char endpoint[NET_ENDPOINT_MAX];
    const struct identity *identity = stage->options->identity;
    const struct net_options options = {.frame_max = REQUEST_MAX,
                                        .queue = 2 * FETCH_CHUNKS,
                                        .keys = identity ? &identity->keys : NULL,
                                        .door = NET_DOOR_LATER};
    if (!net_endpoint_behind(stage->listen, STAGE_LANES, endpoint, error))
        return false;
    stage->request = arena_new(ARENA_LIMIT);
    stage->peers = net_bind(stage->net, NET_ROUTER, endpoint, &options, error);
    return (stage->peers || error_wrap(error, "lending weights to other boards")) &&
           data_name_endpoint(stage, net_endpoint(stage->peers), stage->weights_endpoint, error);
}

void peers_admit(struct stage *stage, const struct message_fleet *fleet) {
    if (stage->options->identity)
        net_admit(stage->peers, fleet->keys, fleet->key_count);
}

/* ---- answers ---- */

/* Called by libzmq's thread, or from within net_send. */
static void loan_released(void *data, void *context) {
    struct cache_loan *loan = context;
    (void)data;
    cache_loan_end(loan);
    release(loan);
}

static void send_answer(struct stage *stage, const struct net_peer *peer, const struct message *message,
                        const struct net_piece *raw) {
    struct error error;
    struct net_piece pieces[2] = {{0}};
    arena_reset(stage->encoded);
    bool encoded = message_encode(stage->encoded, message, &pieces[0].data, &pieces[0].size, &error);
    if (raw)
        pieces[1] = *raw;
    if (encoded)
        net_send(stage->peers, peer, pieces, raw ? 2 : 1);
    else if (raw)
        raw->released(NULL, raw->context);
}

static void answer(struct stage *stage, const struct net_peer *peer, const struct message_tensor_get *get) {
    struct cache_loan *loan = allocate(1, sizeof *loan);
    if (!cache_lend(stage->options->cache_directory, &get->hash, get->offset + get->bytes, loan)) {
        release(loan);
        send_answer(stage, peer, &(struct message){.type = MESSAGE_TENSOR_ABSENT, .tensor_absent = {get->hash}}, NULL);
        return;
    }
    const struct net_piece raw = {.data = (const uint8_t *)loan->data + get->offset,
                                  .size = get->bytes,
                                  .released = loan_released,
                                  .context = loan};
    send_answer(stage, peer, &(struct message){.type = MESSAGE_TENSOR_PART, .tensor_part = {get->hash, get->offset}},
                &raw);
}

static void on_request(struct stage *stage, const struct net_message *received) {
    struct message message;
    struct error error;
    arena_reset(stage->request);
    if (received->count == 1 &&
        message_decode(stage->request, net_frame_data(&received->frame[0]), net_frame_size(&received->frame[0]),
                       &message, &error) &&
        message.type == MESSAGE_TENSOR_GET)
        answer(stage, &received->peer, &message.tensor_get);
    else
        stage_feed(stage,
                   &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a message that no board sends to another"});
}

static void on_denied(struct stage *stage, const struct net_message *received) {
    stage_feed(stage, &(struct stage_event){.type = STAGE_DENIED, .text = "a request of a key let in no more"});
    if (received->connection >= 0)
        net_hang_up(received->connection);
}

static void read_requests(struct stage *stage) {
    struct net_message received;
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        enum net_result result = net_receive(stage->peers, &received);
        if (result == NET_AGAIN)
            return;
        if (result == NET_DENIED)
            on_denied(stage, &received);
        else if (result != NET_OK)
            stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a request of too many frames"});
        if (result != NET_OK)
            continue;
        on_request(stage, &received);
        net_message_close(&received);
    }
}

void peers_turn(struct stage *stage) {
    struct net_event event;
    while ((event = net_next_event(stage->peers)).kind != NET_NOTHING)
        if (event.kind == NET_HANDSHAKE_FAILED) {
            stage_feed(stage, &(struct stage_event){.type = STAGE_HANDSHAKE});
            strangers_note(&stage->strangers, &event);
        }
    read_requests(stage);
}
