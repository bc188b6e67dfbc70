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
    unsigned domains;         /* likewise */
    void *zap;                /* answers whom bound sockets with keys let in; NULL: there are none */
};

/* A connection not known to have shaken hands. */
struct handshake {
    int connection;
    char address[NET_ADDRESS_MAX];
};

struct net_socket {
    struct net *net;
    struct net_socket *next;
    enum net_kind kind;
    void *socket;
    void *monitor; /* the end of the monitor's pair that we read */
    char endpoint[NET_ENDPOINT_MAX];
    struct handshake handshakes[NET_HANDSHAKES_MAX]; /* oldest first */
    unsigned handshake_count;
    bool handshake_failed;    /* told, and its connection's end not yet */
    enum net_failure failure; /* why, where libzmq told */
    bool connects;
    struct net_event later; /* the second of two events that one of libzmq's made */

    bool keyed;      /* bound, with keys */
    unsigned domain; /* its number among those */
    enum net_door door;
    struct public_key *admitted; /* [admitted_count], owned */
    size_t admitted_count;
    char denied[NET_ADDRESS_MAX]; /* the address of whom it last did not let in, and the key */
    struct public_key denied_key;
};

/* Starts telling about a socket: before it is bound or connected, or the first events are missed. */
bool net_monitor_open(struct net_socket *socket, struct error *error);
void net_monitor_close(struct net_socket *socket);
/* A message came through this connection, so its handshake succeeded. */
void net_monitor_heard(struct net_socket *socket, int connection);

/* zap.c */
/* Gives a socket its keys, before it is bound or connected. */
bool net_keys_set(struct net_socket *socket, const struct net_options *options, struct error *error);
bool net_zap_open(struct net *net, struct error *error);
void net_zap_close(struct net *net);
/* Answers what was asked. */
void net_zap_answer(struct net *net);
/* May this key be here? */
bool net_admits(const struct net_socket *socket, const struct public_key *key);
/* Whose message is it that the frame begins? False when nobody's that is admitted (any more). */
bool net_key_of(const struct net_socket *socket, zmq_msg_t *frame, struct public_key *key);

/* "tcp://HOST:PORT" taken apart. */
struct net_address {
    char host[NET_ENDPOINT_MAX]; /* without the brackets of an IPv6 address */
    char port[6];                /* digits, or "*" */
    bool ipv6;                   /* the host was in brackets */
};
bool net_address_parse(const char *endpoint, struct net_address *address, struct error *error);

#endif
