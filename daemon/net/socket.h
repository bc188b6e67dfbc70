/* What the files of daemon/net share: the inside of a net and of a socket. */
#ifndef DAEMON_NET_SOCKET_H
#define DAEMON_NET_SOCKET_H

#include "daemon/net/net.h"

#include <zmq.h>

#define NET_HANDSHAKES_MAX 64 /* connections of one socket whose handshake is watched at the same time */

struct net {
    void *context;
    struct net_socket *first; /* open sockets, so that net_destroy can close what was left */
    unsigned monitors;        /* made so far: each needs a name of its own */
};

struct net_socket {
    struct net *net;
    struct net_socket *next;
    enum net_kind kind;
    void *socket;
    void *monitor; /* the end of the monitor's pair that we read */
    char endpoint[NET_ENDPOINT_MAX];
    int handshakes[NET_HANDSHAKES_MAX]; /* descriptors of connections not known to have shaken hands, oldest first */
    unsigned handshake_count;
    bool handshake_failed;  /* told, and its connection's end not yet */
    struct net_event later; /* the second of two events that one of libzmq's made */
};

/* Starts telling about a socket: before it is bound or connected, or the first events are missed. */
bool net_monitor_open(struct net_socket *socket, struct error *error);
void net_monitor_close(struct net_socket *socket);
/* A message came through this connection, so its handshake succeeded. */
void net_monitor_heard(struct net_socket *socket, int connection);

/* "tcp://HOST:PORT" taken apart. */
struct net_address {
    char host[NET_ENDPOINT_MAX]; /* without the brackets of an IPv6 address */
    char port[6];                /* digits, or "*" */
    bool ipv6;                   /* the host was in brackets */
};
bool net_address_parse(const char *endpoint, struct net_address *address, struct error *error);

#endif
