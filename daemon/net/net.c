/* The context and the sockets: made, tuned, bound or connected, closed; see net.h.
 *
 * A net owns libzmq's context with its one I/O thread, which does all reading from and writing to TCP. A socket is
 * tuned before it is bound or connected, because libzmq hands its options to connections as they were then, and is
 * monitored from before that moment, so that no connection is missed. Endpoints are checked here before libzmq sees
 * them.
 *
 * Old ZMTP (1.0 and 2.0) has no real handshake: bytes of a stranger, an HTTP request for example, would come out of
 * net_receive as frames. libzmq turns such peers away from sockets that have a ZAP domain, so every socket gets one. As
 * long as nobody answers for the domain, peers that speak ZMTP 3 pass without questions; for sockets with keys zap.c
 * answers. Keys are a matter of a whole process: either all of its sockets have them or none.
 *
 * One thread owns a net and its sockets. A net remembers its sockets and closes those that are left when it goes. */
#include "daemon/net/socket.h"

#include "base/allocate.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define ZAP_DOMAIN             "stagecoach" /* of sockets without keys */
#define KEYED_FRAME_EXTRA      64           /* bytes that CURVE adds to a frame, generously */
#define HANDSHAKE_MS           5000         /* then a silent connection is closed */
#define CONNECT_MS             5000 /* a board that was unplugged is tried anew, not waited for until TCP gives up */
#define RECONNECT_FIRST_MS     100
#define RECONNECT_LAST_MS      2000
#define KEEPALIVE_IDLE_SECONDS 10 /* a peer that vanished without a word is noticed within half a minute */
#define KEEPALIVE_STEP_SECONDS 5
#define KEEPALIVE_COUNT        3
#define DESCRIPTORS            65536
#define UNACKNOWLEDGED_MS      30000 /* keep-alive is silent while something is on its way */

/* A stranger costs a descriptor for as long as a handshake may take: the usual 1024 would soon leave none for a file.
 */
static void allow_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= DESCRIPTORS)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

struct net *net_new(struct error *error) {
    allow_descriptors();
    void *context = zmq_ctx_new();
    if (!context) {
        error_set_errno(error, "zmq_ctx_new");
        return NULL;
    }
    struct net *net = allocate(1, sizeof *net);
    net->context = context;
    return net;
}

void net_destroy(struct net **pointer, int linger_ms) {
    struct net *net = *pointer;
    *pointer = NULL;
    if (!net)
        return;
    while (net->first) {
        struct net_socket *left = net->first;
        net_close(&left, linger_ms);
    }
    net_zap_close(net);
    while (zmq_ctx_term(net->context) != 0 && errno == EINTR)
        ; /* a signal while flushing: go on */
    release(net);
}

static int type_of(enum net_kind kind) {
    switch (kind) {
    case NET_ROUTER:
        return ZMQ_ROUTER;
    case NET_DEALER:
        return ZMQ_DEALER;
    case NET_PULL:
        return ZMQ_PULL;
    case NET_PUSH:
        return ZMQ_PUSH;
    }
    assert(!"a kind of socket that does not exist");
    return -1;
}

static bool set_integer(struct net_socket *socket, int option, int value) {
    return zmq_setsockopt(socket->socket, option, &value, sizeof value) == 0;
}

static bool tune_connections(struct net_socket *socket) {
    return set_integer(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) &&
           set_integer(socket, ZMQ_CONNECT_TIMEOUT, CONNECT_MS) &&
           set_integer(socket, ZMQ_RECONNECT_IVL, RECONNECT_FIRST_MS) &&
           set_integer(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_LAST_MS) && set_integer(socket, ZMQ_TCP_KEEPALIVE, 1) &&
           set_integer(socket, ZMQ_TCP_KEEPALIVE_IDLE, KEEPALIVE_IDLE_SECONDS) &&
           set_integer(socket, ZMQ_TCP_KEEPALIVE_INTVL, KEEPALIVE_STEP_SECONDS) &&
           set_integer(socket, ZMQ_TCP_KEEPALIVE_CNT, KEEPALIVE_COUNT) &&
           zmq_setsockopt(socket->socket, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen(ZAP_DOMAIN)) == 0;
}

/* A router must say that a peer is gone instead of dropping silently. A PUSH socket must not take microbatches for a
 * stage that is not there; a DEALER may, so that a hello can be said at once. No ROUTER_HANDOVER: nobody may take
 * another's name. What a DEALER sends is always read, so silence about it means a peer that vanished; between stages it
 * may also mean a slow one. */
static bool tune_kind(struct net_socket *socket) {
    if (socket->kind == NET_ROUTER)
        return set_integer(socket, ZMQ_ROUTER_MANDATORY, 1);
    if (socket->kind == NET_DEALER)
        return set_integer(socket, ZMQ_TCP_MAXRT, UNACKNOWLEDGED_MS);
    if (socket->kind == NET_PUSH)
        return set_integer(socket, ZMQ_IMMEDIATE, 1);
    return true;
}

/* libzmq 4.3 passes the name of a peer that ZAP has judged through the queue before its first message, counts it as
 * written and never as read: a queue of one would stay full for ever. */
static int receive_queue(const struct net_socket *socket, const struct net_options *options) {
    return options->queue + (options->keys && !socket->connects ? 1 : 0);
}

static bool tune(struct net_socket *socket, const struct net_options *options, bool ipv6) {
    int64_t most = INT64_MAX - KEYED_FRAME_EXTRA;
    int64_t frame_max = options->frame_max > (uint64_t)most ? most : (int64_t)options->frame_max;
    frame_max += options->keys ? KEYED_FRAME_EXTRA : 0;
    int buffer = options->kernel_buffer > 0 ? options->kernel_buffer : -1;
    return zmq_setsockopt(socket->socket, ZMQ_MAXMSGSIZE, &frame_max, sizeof frame_max) == 0 &&
           set_integer(socket, ZMQ_SNDHWM, options->queue) &&
           set_integer(socket, ZMQ_RCVHWM, receive_queue(socket, options)) && set_integer(socket, ZMQ_SNDBUF, buffer) &&
           set_integer(socket, ZMQ_RCVBUF, buffer) && set_integer(socket, ZMQ_IPV6, ipv6) && tune_connections(socket) &&
           tune_kind(socket);
}

static struct net_socket *socket_new(struct net *net, enum net_kind kind, const struct net_address *address,
                                     const struct net_options *options, bool connects, struct error *error) {
    assert(options->queue > 0);
    struct net_socket *socket = allocate(1, sizeof *socket);
    *socket = (struct net_socket){.net = net, .next = net->first, .kind = kind, .connects = connects};
    net->first = socket;
    socket->socket = zmq_socket(net->context, type_of(kind));
    if (!socket->socket || !tune(socket, options, address->ipv6)) {
        error_set(error, ERROR_SYSTEM, "a socket cannot be made: %s", zmq_strerror(errno));
        net_close(&socket, 0);
    } else if ((options->keys && !net_keys_set(socket, options, error)) || !net_monitor_open(socket, error)) {
        net_close(&socket, 0);
    }
    return socket;
}

static bool bind_failed(const char *endpoint, struct error *error) {
    if (errno == EADDRINUSE)
        return error_set(error, ERROR_SYSTEM,
                         "%s: port in use; stop the other program or choose another port with --listen", endpoint);
    if (errno == EADDRNOTAVAIL || errno == ENODEV)
        return error_set(error, ERROR_SYSTEM, "%s: not an address of this machine", endpoint);
    return error_set(error, ERROR_SYSTEM, "%s: cannot listen: %s", endpoint, zmq_strerror(errno));
}

struct net_socket *net_bind(struct net *net, enum net_kind kind, const char *endpoint,
                            const struct net_options *options, struct error *error) {
    struct net_address address;
    if (!net_address_parse(endpoint, &address, error))
        return NULL;
    struct net_socket *socket = socket_new(net, kind, &address, options, false, error);
    if (!socket)
        return NULL;
    size_t size = sizeof socket->endpoint;
    if (zmq_bind(socket->socket, endpoint) != 0 ||
        zmq_getsockopt(socket->socket, ZMQ_LAST_ENDPOINT, socket->endpoint, &size) != 0) {
        bind_failed(endpoint, error);
        net_close(&socket, 0);
    }
    return socket;
}

struct net_socket *net_connect(struct net *net, enum net_kind kind, const char *endpoint,
                               const struct net_options *options, struct error *error) {
    struct net_address address;
    if (!net_address_parse(endpoint, &address, error))
        return NULL;
    if (strcmp(address.host, "*") == 0 || address.port[strspn(address.port, "0")] == '\0' || address.port[0] == '*') {
        error_set(error, ERROR_USAGE, "\"%s\": names no host and port to connect to", endpoint);
        return NULL;
    }
    struct net_socket *socket = socket_new(net, kind, &address, options, true, error);
    if (!socket)
        return NULL;
    snprintf(socket->endpoint, sizeof socket->endpoint, "%s", endpoint);
    if (zmq_connect(socket->socket, endpoint) != 0) {
        error_set(error, ERROR_USAGE, "%s: cannot connect: %s", endpoint, zmq_strerror(errno));
        net_close(&socket, 0);
    }
    return socket;
}

static void forget(struct net_socket *socket) {
    struct net_socket **link = &socket->net->first;
    while (*link != socket)
        link = &(*link)->next;
    *link = socket->next;
}

void net_close(struct net_socket **pointer, int linger_ms) {
    struct net_socket *socket = *pointer;
    *pointer = NULL;
    if (!socket)
        return;
    forget(socket);
    if (socket->socket) {
        net_monitor_close(socket);
        set_integer(socket, ZMQ_LINGER, linger_ms > 0 ? linger_ms : 0);
        zmq_close(socket->socket);
    }
    release(socket->admitted);
    release(socket);
}

const char *net_endpoint(const struct net_socket *socket) {
    return socket->endpoint;
}
