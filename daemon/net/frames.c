/* Messages: received into and sent from memory that is not copied; see net.h.
 *
 * A net_frame is a zmq_msg_t under another name, so that no other file needs <zmq.h>. A message is received as a whole:
 * libzmq delivers all its frames or none, so after the first the rest is there. One with more frames than any of ours
 * is drained and refused. Small frames lie at odd addresses inside libzmq's receive buffer; they are moved to an
 * aligned place, so that callers may read numbers from them. Large ones, the tensors, are aligned already.
 *
 * Sending is all or nothing in the same way: the first frame is refused when there is no room, the others then follow
 * without waiting. A piece with a release callback is given back exactly once: by libzmq when it is sent or dropped
 * (from the I/O thread), or here when it never got that far. */
#include "daemon/net/socket.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define FRAME_ALIGNMENT 8

_Static_assert(sizeof(struct net_frame) == sizeof(zmq_msg_t), "net_frame stands for zmq_msg_t");
_Static_assert(_Alignof(struct net_frame) >= _Alignof(zmq_msg_t), "net_frame stands for zmq_msg_t");

static zmq_msg_t *inside(struct net_frame *frame) {
    return (zmq_msg_t *)(void *)frame->opaque;
}

/* libzmq's getters take a pointer to non-const and change nothing. */
static zmq_msg_t *inside_const(const struct net_frame *frame) {
    return (zmq_msg_t *)(uintptr_t)frame->opaque;
}

bool net_peer_equal(const struct net_peer *left, const struct net_peer *right) {
    return left->size == right->size && memcmp(left->bytes, right->bytes, left->size) == 0;
}

const void *net_frame_data(const struct net_frame *frame) {
    return zmq_msg_data(inside_const(frame));
}

void *net_frame_bytes(struct net_frame *frame) {
    return zmq_msg_data(inside(frame));
}

size_t net_frame_size(const struct net_frame *frame) {
    return zmq_msg_size(inside_const(frame));
}

void net_frame_take(struct net_frame *to, struct net_frame *from) {
    zmq_msg_init(inside(to));
    zmq_msg_move(inside(to), inside(from));
}

void net_frame_close(struct net_frame *frame) {
    zmq_msg_close(inside(frame));
}

void net_message_close(struct net_message *message) {
    for (unsigned i = 0; i < message->count; i++)
        net_frame_close(&message->frame[i]);
    message->count = 0;
}

/* ---- receiving ---- */

/* Receives one frame into *frame, which is initialised either way. */
static bool frame_receive(struct net_socket *socket, zmq_msg_t *frame) {
    zmq_msg_init(frame);
    int got;
    do
        got = zmq_msg_recv(frame, socket->socket, ZMQ_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got >= 0;
}

static void drain(struct net_socket *socket, bool more) {
    while (more) {
        zmq_msg_t frame;
        more = frame_receive(socket, &frame) && zmq_msg_more(&frame);
        zmq_msg_close(&frame);
    }
}

/* Moves a frame's bytes to an aligned address; false when there is no memory. */
static bool frame_align(zmq_msg_t *frame) {
    if ((uintptr_t)zmq_msg_data(frame) % FRAME_ALIGNMENT == 0)
        return true;
    zmq_msg_t aligned;
    if (zmq_msg_init_size(&aligned, zmq_msg_size(frame)) != 0)
        return false;
    memcpy(zmq_msg_data(&aligned), zmq_msg_data(frame), zmq_msg_size(frame));
    zmq_msg_move(frame, &aligned);
    zmq_msg_close(&aligned);
    return true;
}

/* The name that a router puts before a peer's frames. One longer than those that libzmq makes was chosen by the peer:
 * not ours. */
static enum net_result peer_receive(struct net_socket *socket, struct net_peer *peer) {
    zmq_msg_t frame;
    enum net_result result = NET_AGAIN;
    if (frame_receive(socket, &frame)) {
        size_t size = zmq_msg_size(&frame);
        bool more = zmq_msg_more(&frame);
        result = more && size <= NET_PEER_MAX ? NET_OK : NET_BAD;
        if (result == NET_OK) {
            peer->size = (uint8_t)size;
            memcpy(peer->bytes, zmq_msg_data(&frame), size);
        } else {
            drain(socket, more);
        }
    }
    zmq_msg_close(&frame);
    return result;
}

/* Receives the frames of a message. Only the first may be missing. Where it came from hangs on the memory that libzmq
 * received it into, so that is asked before anything is moved. */
static enum net_result frames_receive(struct net_socket *socket, struct net_message *message) {
    bool more = true, usable = true, admitted = true;
    while (more && usable && message->count < NET_FRAMES_MAX) {
        zmq_msg_t *frame = inside(&message->frame[message->count]);
        if (!frame_receive(socket, frame)) {
            zmq_msg_close(frame);
            return message->count == 0 ? NET_AGAIN : NET_BAD;
        }
        message->count++;
        message->connection = zmq_msg_get(frame, ZMQ_SRCFD);
        if (message->keyed && message->count == 1)
            admitted = net_key_of(socket, frame, &message->key);
        more = zmq_msg_more(frame);
        usable = admitted && frame_align(frame);
    }
    drain(socket, more);
    return !admitted ? NET_DENIED : usable && !more ? NET_OK : NET_BAD;
}

enum net_result net_receive(struct net_socket *socket, struct net_message *message) {
    message->count = 0;
    message->connection = -1;
    message->peer.size = 0;
    message->keyed = socket->keyed;
    message->key = (struct public_key){0};
    enum net_result result = socket->kind == NET_ROUTER ? peer_receive(socket, &message->peer) : NET_OK;
    if (result == NET_OK)
        result = frames_receive(socket, message);
    net_monitor_heard(socket, message->connection);
    if (result != NET_OK)
        net_message_close(message);
    return result;
}

/* ---- sending ---- */

static void piece_release(const struct net_piece *piece) {
    if (piece->released)
        piece->released((void *)(uintptr_t)piece->data, piece->context);
}

/* Makes a frame of a piece, which is libzmq's to give back from then on; false when there is no memory (it is given
 * back). */
static bool piece_wrap(const struct net_piece *piece, zmq_msg_t *frame) {
    void *data = (void *)(uintptr_t)piece->data;
    if (piece->released) {
        if (zmq_msg_init_data(frame, data, piece->size, piece->released, piece->context) == 0)
            return true;
        piece_release(piece);
        return false;
    }
    if (zmq_msg_init_size(frame, piece->size) != 0)
        return false;
    if (piece->size > 0)
        memcpy(zmq_msg_data(frame), data, piece->size);
    return true;
}

/* Hands a frame to libzmq, which owns it whether it succeeds or not. */
static bool frame_send(struct net_socket *socket, zmq_msg_t *frame, int flags) {
    int sent;
    do
        sent = zmq_msg_send(frame, socket->socket, flags);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0)
        return true;
    int reason = errno;
    zmq_msg_close(frame); /* may call the piece's released */
    errno = reason;
    return false;
}

static enum net_result peer_send(struct net_socket *socket, const struct net_peer *peer) {
    zmq_msg_t frame;
    if (zmq_msg_init_size(&frame, peer->size) != 0)
        return NET_AGAIN;
    memcpy(zmq_msg_data(&frame), peer->bytes, peer->size);
    if (frame_send(socket, &frame, ZMQ_SNDMORE | ZMQ_DONTWAIT))
        return NET_OK;
    return errno == EHOSTUNREACH ? NET_GONE : NET_AGAIN;
}

static void frames_close(zmq_msg_t *frame, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        zmq_msg_close(&frame[i]); /* may call the pieces' released */
}

/* Wraps every piece, or none: then all are given back. */
static bool pieces_wrap(const struct net_piece *pieces, unsigned count, zmq_msg_t *frame) {
    unsigned wrapped = 0;
    while (wrapped < count && piece_wrap(&pieces[wrapped], &frame[wrapped]))
        wrapped++;
    if (wrapped == count)
        return true;
    for (unsigned i = wrapped + 1; i < count; i++) /* the one that failed was given back already */
        piece_release(&pieces[i]);
    frames_close(frame, wrapped);
    return false;
}

/* Hands `count` frames over. Only the `first` of a message may be refused. If the connection ends between
 * two, libzmq drops the rest of the message, as it would a moment later, provided that it is offered every frame: hence
 * no DONTWAIT for those that follow, and no early end. */
static enum net_result frames_send(struct net_socket *socket, zmq_msg_t *frame, unsigned count, bool first) {
    for (unsigned i = 0; i < count; i++) {
        bool refusable = first && i == 0;
        int flags = (i + 1 < count ? ZMQ_SNDMORE : 0) | (refusable ? ZMQ_DONTWAIT : 0);
        if (frame_send(socket, &frame[i], flags) || !refusable)
            continue;
        frames_close(&frame[1], count - 1);
        return NET_AGAIN;
    }
    return NET_OK;
}

enum net_result net_send(struct net_socket *socket, const struct net_peer *peer, const struct net_piece *pieces,
                         unsigned count) {
    assert(count >= 1 && count <= NET_FRAMES_MAX && (peer != NULL) == (socket->kind == NET_ROUTER));
    zmq_msg_t frame[NET_FRAMES_MAX];
    if (!pieces_wrap(pieces, count, frame))
        return NET_AGAIN;
    enum net_result result = peer ? peer_send(socket, peer) : NET_OK;
    if (result == NET_OK)
        return frames_send(socket, frame, count, !peer);
    frames_close(frame, count);
    return result;
}

bool net_writable(struct net_socket *socket) {
    int events = 0;
    size_t size = sizeof events;
    return zmq_getsockopt(socket->socket, ZMQ_EVENTS, &events, &size) == 0 && events & ZMQ_POLLOUT;
}
