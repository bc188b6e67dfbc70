/* Sleeping until a socket, its monitor or a descriptor has something; see net.h.
 *
 * One zmq_poll over an array on the stack: each socket is one entry for itself, when something is awaited of it, and
 * one for its monitor, always. An event that net_next_event has still in hand makes the wait return at once. Where
 * there are keys, whoever asks to be let in is answered here, by the same thread, which therefore needs no lock for the
 * lists of the admitted, and whose word on them counts at once. */
#include "daemon/net/socket.h"

#include <assert.h>
#include <errno.h>

/* The entries of zmq_poll, and whose they are. */
struct poll_set {
    zmq_pollitem_t item[2 * NET_WAITS_MAX + 1];
    struct net_wait *wait[2 * NET_WAITS_MAX + 1]; /* NULL: who asks to be let in */
    struct net *net;                              /* whose handler is among them, NULL: none */
    int count;
};

static void poll_add(struct poll_set *set, struct net_wait *wait, zmq_pollitem_t item) {
    set->wait[set->count] = wait;
    set->item[set->count++] = item;
}

/* Adds what is awaited; true when an event is in hand. */
static bool wait_add(struct poll_set *set, struct net_wait *wait) {
    short events = (short)((wait->readable ? ZMQ_POLLIN : 0) | (wait->writable ? ZMQ_POLLOUT : 0));
    wait->can_read = wait->can_write = wait->has_event = false;
    if (events)
        poll_add(set, wait, (zmq_pollitem_t){wait->socket ? wait->socket->socket : NULL, wait->descriptor, events, 0});
    if (!wait->socket)
        return false;
    poll_add(set, wait, (zmq_pollitem_t){wait->socket->monitor, 0, ZMQ_POLLIN, 0});
    if (!set->net && wait->socket->net->zap) {
        set->net = wait->socket->net;
        poll_add(set, NULL, (zmq_pollitem_t){set->net->zap, 0, ZMQ_POLLIN, 0});
    }
    wait->has_event = wait->socket->later.kind != NET_NOTHING;
    return wait->has_event;
}

static void wait_tell(struct net_wait *wait, const zmq_pollitem_t *item) {
    bool readable = item->revents & ZMQ_POLLIN;
    bool failed = item->revents & ZMQ_POLLERR;
    if (wait->socket && item->socket == wait->socket->monitor) {
        wait->has_event |= readable;
        return;
    }
    /* a descriptor in trouble is given to whoever waits for it: reading or writing will tell the reason */
    wait->can_read = readable || (failed && wait->readable);
    wait->can_write = item->revents & ZMQ_POLLOUT || (failed && wait->writable);
}

bool net_wait(struct net_wait *waits, unsigned count, int timeout_ms, struct error *error) {
    assert(count <= NET_WAITS_MAX);
    struct poll_set set = {.count = 0};
    bool at_once = false;
    for (unsigned i = 0; i < count; i++)
        at_once |= wait_add(&set, &waits[i]);
    if (zmq_poll(set.item, set.count, at_once ? 0 : timeout_ms) < 0) {
        if (errno == EINTR)
            return true;
        return error_set(error, ERROR_SYSTEM, "waiting for sockets: %s", zmq_strerror(errno));
    }
    for (int i = 0; i < set.count; i++)
        if (set.wait[i])
            wait_tell(set.wait[i], &set.item[i]);
    if (set.net)
        net_zap_answer(set.net);
    return true;
}
