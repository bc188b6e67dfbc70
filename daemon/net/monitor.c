/* What happens to a socket's connections, as libzmq's monitor tells it.
 *
 * libzmq writes two frames per event into an inproc pair: six bytes (event, value) and an address. They come from our
 * own process, and are still read with bounds. The pair has no high-water mark: a full one would block the I/O thread,
 * and with it every connection; the loop that owns the socket reads events each time it wakes.
 *
 * Opened and closed carry the connection's descriptor. A failed handshake is harder: some failures are told without a
 * descriptor, some (garbage that looks like an old protocol) not at all, and success never says whose it was. So
 * descriptors wait in a short list from opening until their handshake is known to be over: because a message came
 * through (sure), or because a success was told (taken to be the newest one's: a handshake takes moments, a silent
 * stranger waits longer). A connection that closes while it is in the list, or right after a failure was told, failed
 * its handshake; its end is told as two events, NET_HANDSHAKE_FAILED and NET_CLOSED. The guess can move a failure from
 * one connection to another, never lose an end.
 *
 * Addresses for the log are asked of the system when a connection opens; one that was closed before we looked keeps its
 * secret, unless it got as far as showing a key: then zap.c knows. */
#include "daemon/net/socket.h"

#include "base/cursor.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define EVENTS_OPENED (ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_CONNECTED)
#define EVENTS_FAILED                                                                                                  \
    (ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
#define EVENTS                                                                                                         \
    (EVENTS_OPENED | EVENTS_FAILED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CONNECT_RETRIED)

/* One event as libzmq told it. */
struct told {
    int event;
    int value; /* a descriptor, for those that have one */
};

bool net_monitor_open(struct net_socket *socket, struct error *error) {
    char name[64];
    int unlimited = 0, linger = 0;
    snprintf(name, sizeof name, "inproc://stagecoach-monitor-%u", socket->net->monitors++);
    socket->monitor = zmq_socket(socket->net->context, ZMQ_PAIR);
    if (socket->monitor && zmq_setsockopt(socket->monitor, ZMQ_RCVHWM, &unlimited, sizeof unlimited) == 0 &&
        zmq_setsockopt(socket->monitor, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
        zmq_socket_monitor(socket->socket, name, EVENTS) == 0 && zmq_connect(socket->monitor, name) == 0)
        return true;
    return error_set(error, ERROR_SYSTEM, "a socket cannot be monitored: %s", zmq_strerror(errno));
}

void net_monitor_close(struct net_socket *socket) {
    zmq_socket_monitor(socket->socket, NULL, 0);
    if (socket->monitor)
        zmq_close(socket->monitor);
    socket->monitor = NULL;
}

/* Takes the descriptor at `index` out of the list of those that are shaking hands. */
static void handshake_remove(struct net_socket *socket, unsigned index) {
    socket->handshake_count--;
    memmove(&socket->handshakes[index], &socket->handshakes[index + 1],
            (socket->handshake_count - index) * sizeof socket->handshakes[0]);
}

/* Was the connection still shaking hands? It no longer is. Its address, if it is known, goes to
 * address[NET_ADDRESS_MAX], if that is not NULL. */
static bool handshake_end(struct net_socket *socket, int connection, char *address) {
    for (unsigned i = 0; i < socket->handshake_count; i++)
        if (socket->handshakes[i].connection == connection) {
            if (address && socket->handshakes[i].address[0])
                snprintf(address, NET_ADDRESS_MAX, "%s", socket->handshakes[i].address);
            handshake_remove(socket, i);
            return true;
        }
    return false;
}

static bool peer_address(int connection, char address[NET_ADDRESS_MAX]) {
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof peer;
    char host[NET_ADDRESS_MAX - 8], port[8];
    if (getpeername(connection, (struct sockaddr *)&peer, &size) != 0 ||
        getnameinfo((struct sockaddr *)&peer, size, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return false;
    snprintf(address, NET_ADDRESS_MAX, peer.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return true;
}

void net_peer_address(int connection, char address[NET_ADDRESS_MAX]) {
    if (!peer_address(connection, address))
        snprintf(address, NET_ADDRESS_MAX, NET_ADDRESS_UNKNOWN);
}

static void handshake_begin(struct net_socket *socket, int connection) {
    (void)handshake_end(socket, connection, NULL); /* a descriptor used anew, its first end unseen */
    if (socket->handshake_count == NET_HANDSHAKES_MAX)
        handshake_remove(socket, 0);
    struct handshake *begun = &socket->handshakes[socket->handshake_count++];
    begun->connection = connection;
    if (!peer_address(connection, begun->address))
        begun->address[0] = '\0';
}

void net_hang_up(int connection) {
    shutdown(connection, SHUT_RDWR); /* libzmq sees the end and closes it */
}

void net_monitor_heard(struct net_socket *socket, int connection) {
    if (socket->handshake_count > 0)
        (void)handshake_end(socket, connection, NULL);
}

/* Reads the next event; false when there is none. Every event's second frame, an address, is dropped. */
static bool told_next(struct net_socket *socket, struct told *told) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    int got = zmq_msg_recv(&frame, socket->monitor, ZMQ_DONTWAIT);
    if (got >= 0) {
        struct cursor cursor = cursor_of(zmq_msg_data(&frame), zmq_msg_size(&frame));
        /* both numbers are in the byte order of this machine */
        const uint8_t *event = cursor_take(&cursor, sizeof(uint16_t));
        const uint8_t *value = cursor_take(&cursor, sizeof(int32_t));
        uint16_t event_number = 0;
        int32_t value_number = -1;
        if (event && value) {
            memcpy(&event_number, event, sizeof event_number);
            memcpy(&value_number, value, sizeof value_number);
        }
        *told = (struct told){event_number, value_number};
    }
    while (got >= 0 && zmq_msg_more(&frame))
        got = zmq_msg_recv(&frame, socket->monitor, ZMQ_DONTWAIT);
    zmq_msg_close(&frame);
    return got >= 0;
}

static void describe(const struct net_socket *socket, enum net_failure failure, char *text, size_t size) {
    static const char *const words[] = {"not a peer of ours", "one side has keys and the other has none",
                                        "it looks for a server with another key", "its key is not admitted"};
    char key[KEY_TEXT_BYTES];
    if (failure != NET_FAILED_KEY || !socket->denied[0]) {
        snprintf(text, size, "%s", words[failure]);
        return;
    }
    key_print(socket->denied_key.bytes, key);
    snprintf(text, size, "the key %s is not admitted", key);
}

static struct net_event closed(struct net_socket *socket, int connection) {
    struct net_event end = {.kind = NET_CLOSED, .connection = connection};
    struct net_event failure = {.kind = NET_HANDSHAKE_FAILED, .connection = connection};
    snprintf(failure.address, sizeof failure.address, "%s", socket->denied[0] ? socket->denied : NET_ADDRESS_UNKNOWN);
    bool failed = handshake_end(socket, connection, failure.address);
    failed |= socket->handshake_failed;
    socket->handshake_failed = false;
    if (!failed)
        return end;
    failure.failure = socket->failure;
    describe(socket, failure.failure, failure.reason, sizeof failure.reason);
    socket->failure = NET_FAILED_SOMEHOW;
    socket->denied[0] = '\0';
    socket->later = end;
    return failure;
}

/* What libzmq knows about a failed handshake. It may tell twice, and less the second time. */
static void note_failure(struct net_socket *socket, struct told told) {
    bool protocol = told.event & ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
    if (told.event & ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
        socket->failure = NET_FAILED_KEY;
    else if (protocol && told.value == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        socket->failure = NET_FAILED_MECHANISM;
    else if (protocol && told.value == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
        socket->failure = NET_FAILED_SERVER;
}

/* Our event for one of libzmq's; NET_NOTHING for those that only change what we know. */
static struct net_event translate(struct net_socket *socket, struct told told) {
    if (told.event & EVENTS_OPENED) {
        handshake_begin(socket, told.value);
        return (struct net_event){.kind = NET_OPENED, .connection = told.value};
    }
    if (told.event & ZMQ_EVENT_DISCONNECTED)
        return closed(socket, told.value);
    if (told.event & ZMQ_EVENT_CONNECT_RETRIED)
        return (struct net_event){.kind = NET_UNREACHED, .connection = -1};
    if (told.event & EVENTS_FAILED) {
        socket->handshake_failed = true; /* the I/O thread tells the end of the same connection next */
        note_failure(socket, told);
        if (socket->connects && told.event & ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)
            return (struct net_event){.kind = NET_REFUSED, .connection = -1};
    } else if (told.event & ZMQ_EVENT_HANDSHAKE_SUCCEEDED && socket->handshake_count > 0)
        handshake_remove(socket, socket->handshake_count - 1);
    return (struct net_event){.kind = NET_NOTHING, .connection = -1};
}

struct net_event net_next_event(struct net_socket *socket) {
    struct net_event event = socket->later;
    socket->later = (struct net_event){.kind = NET_NOTHING, .connection = -1};
    struct told told;
    while (event.kind == NET_NOTHING && told_next(socket, &told))
        event = translate(socket, told);
    return event;
}
