/* Sockets: the only code that includes <zmq.h>.
 *
 * All sockets of a net belong to one thread, the one that made it. Every socket is non-blocking, limits the size
 * of a frame before memory is taken for it (a larger one costs the peer its connection), and has a monitor whose events
 * (a connection opened, closed, failed its handshake) are read like messages. Frames are received into struct
 * net_message without a copy and sent without one where the caller hands over ownership.
 */
#ifndef DAEMON_NET_NET_H
#define DAEMON_NET_NET_H

#include "base/error.h"
#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NET_FRAMES_MAX      4
#define NET_ENDPOINT_MAX    128
#define NET_PEER_MAX        16 /* bytes of a router's name for a peer */
#define NET_ADDRESS_MAX     64 /* "192.168.1.7:40312", or */
#define NET_ADDRESS_UNKNOWN "an unknown address"

struct net;        /* one for a daemon, one for whatever measures beside it */
struct net_socket; /* one socket and its monitor */

/* Also lets the process have as many descriptors as it may, up to 65536. */
struct net *net_new(struct error *error);
/* Closes the sockets that are still open, with linger_ms, and waits until what was sent is flushed or its time is over:
 * no longer than the longest linger_ms that a socket was closed with. */
void net_destroy(struct net **net, int linger_ms);

enum net_kind {
    NET_ROUTER, /* coordinator's control socket: each message carries its peer */
    NET_DEALER, /* a board's or client's side of it */
    NET_PULL,   /* microbatches in */
    NET_PUSH,   /* microbatches out */
};

/* What a bound socket with keys says to a key that it does not let in. */
enum net_door {
    NET_DOOR_SHUT,  /* no: whoever asks is told so, and does not ask again by itself (NET_REFUSED) */
    NET_DOOR_LATER, /* nothing: it may be let in soon, and tries again */
};

struct net_options {
    uint64_t frame_max;              /* bytes of the largest frame accepted */
    int queue;                       /* high-water mark in each direction, messages */
    int kernel_buffer;               /* SO_SNDBUF/SO_RCVBUF in bytes, 0 = the system's */
    const struct key_pair *keys;     /* ours, borrowed for the call; NULL: no CURVE */
    const struct public_key *server; /* net_connect with keys: whom to talk to, likewise */
    enum net_door door;              /* net_bind with keys */
};

/* Binds "tcp://ADDRESS:PORT" (port 0 or * = any free one). A port in use is an error that says so and what to do. */
struct net_socket *net_bind(struct net *net, enum net_kind kind, const char *endpoint,
                            const struct net_options *options, struct error *error);
/* Starts connecting to "tcp://HOST:PORT" and keeps trying, with back-off from 0.1 s to 2 s; fails only for a malformed
 * endpoint (a HOST that cannot be resolved now is tried again as well). A DEALER takes messages at once and keeps them
 * until it is connected; a PUSH takes none before (net_writable), and drops those not yet on their way when its
 * connection ends. */
struct net_socket *net_connect(struct net *net, enum net_kind kind, const char *endpoint,
                               const struct net_options *options, struct error *error);
/* Closes at once; what is unsent is dropped after linger_ms. *socket becomes NULL. NULL is fine. */
void net_close(struct net_socket **socket, int linger_ms);

/* From now on a bound socket with keys lets in these, copied, and takes messages from these alone: what a connection
 * that is there already says with another key is dropped (NET_DENIED). Before the first call nobody is let in. */
void net_admit(struct net_socket *socket, const struct public_key *keys, size_t count);

/* The endpoint with the port that was chosen. */
const char *net_endpoint(const struct net_socket *socket);

/* A name for a peer of a router: opaque bytes that mean nothing after it disconnects. */
struct net_peer {
    uint8_t size;
    uint8_t bytes[NET_PEER_MAX];
};
bool net_peer_equal(const struct net_peer *left, const struct net_peer *right);

/* One received message. Frames own their memory until net_message_close or until a frame is taken. */
struct net_frame {
    _Alignas(8) unsigned char opaque[64];
};
struct net_message {
    struct net_peer peer; /* router only */
    bool keyed;           /* it came through a bound socket with keys, and this is whose it is: */
    struct public_key key;
    int connection; /* descriptor of the connection it came through, for NET_CLOSED; -1 unknown. A message may be
                     * received after the NET_CLOSED of its connection was told: the two come by separate ways. */
    unsigned count; /* frames, without the peer's */
    struct net_frame frame[NET_FRAMES_MAX];
};
/* Aligned to 8 bytes. A small frame lies inside the struct: its address changes when it is taken. */
const void *net_frame_data(const struct net_frame *frame);
void *net_frame_bytes(struct net_frame *frame); /* writable: a received frame belongs to its receiver alone */
size_t net_frame_size(const struct net_frame *frame);
/* Moves a frame's memory to *to (uninitialised before); the source becomes empty. */
void net_frame_take(struct net_frame *to, struct net_frame *from);
void net_frame_close(struct net_frame *frame);
void net_message_close(struct net_message *message);

enum net_result {
    NET_OK,
    NET_AGAIN,  /* nothing to receive, or no room to send */
    NET_BAD,    /* received something that is not a message of ours (frame count); it was dropped */
    NET_GONE,   /* router: that peer is not connected (any more) */
    NET_DENIED, /* received a message of a key that is not admitted any more; it was dropped */
};

/* Never blocks. On NET_OK the message must be closed. */
enum net_result net_receive(struct net_socket *socket, struct net_message *message);

/* A frame to be sent. With released NULL the bytes are copied. Else they are sent from where they lie:
 * released(context) is called, from any thread, when they are no longer needed - also when sending fails. */
struct net_piece {
    const void *data;
    size_t size;
    void (*released)(void *data, void *context);
    void *context;
};

/* Sends all pieces (1 to NET_FRAMES_MAX) as one message, or none. peer for a router, else NULL. Never blocks. NET_OK
 * means that the message is on its way; like any other it is lost if the connection ends before it arrives. */
enum net_result net_send(struct net_socket *socket, const struct net_peer *peer, const struct net_piece *pieces,
                         unsigned count);
/* Could a message be sent now? */
bool net_writable(struct net_socket *socket);

/* Ends a connection at once, if it still is there; its NET_CLOSED follows. The descriptor may have been given to
 * another connection a moment ago; honest peers connect again. */
void net_hang_up(int connection);
/* "ADDRESS:PORT" of the other end; NET_ADDRESS_UNKNOWN when the connection is gone. */
void net_peer_address(int connection, char address[NET_ADDRESS_MAX]);

/* What a monitor tells. Every NET_OPENED is followed by one NET_CLOSED with the same descriptor, which may then be used
 * anew. When the connection ends before its handshake is done (a stranger, garbage, an old protocol, silence for 5 s),
 * NET_HANDSHAKE_FAILED comes just before NET_CLOSED. A frame above frame_max ends its connection, too, and is not told
 * apart from any other end. A connecting socket whose key a NET_DOOR_SHUT does not let in is told NET_REFUSED before
 * both, and is of no use any more. */
/* Why a handshake failed, as far as it is known. */
enum net_failure {
    NET_FAILED_SOMEHOW,
    NET_FAILED_MECHANISM, /* one side has keys and the other has none */
    NET_FAILED_SERVER,    /* who connected looks for a server with another key */
    NET_FAILED_KEY,       /* the key is not admitted */
};
enum net_event_kind {
    NET_NOTHING,
    NET_OPENED,
    NET_CLOSED,
    NET_HANDSHAKE_FAILED,
    NET_REFUSED,
    NET_UNREACHED, /* a connecting socket has no connection, and will try again in a moment */
};
struct net_event {
    enum net_event_kind kind;
    int connection; /* descriptor, as in net_message; valid for comparison only */
    /* NET_HANDSHAKE_FAILED: whose, as far as it is known, and why; empty otherwise */
    char address[NET_ADDRESS_MAX];
    char reason[96];
    enum net_failure failure;
};
/* The next event of a socket's monitor, NET_NOTHING when there is none. Never blocks. */
struct net_event net_next_event(struct net_socket *socket);

/* What to wait for. */
struct net_wait {
    struct net_socket *socket; /* NULL: use descriptor */
    int descriptor;
    bool readable, writable;  /* in: what is awaited; socket monitors are always awaited */
    bool can_read, can_write; /* out */
    bool has_event;           /* out: call net_next_event until NET_NOTHING */
};
#define NET_WAITS_MAX 32
/* Sleeps until something of `waits` is ready (and answers, meanwhile, who may come in: whoever has bound a socket with
 * keys must call this all the time), or timeout_ms passed (-1: for ever); false with an error only when
 * waiting is impossible (a descriptor that is none). A signal ends the wait early without an error and with nothing
 * ready. */
bool net_wait(struct net_wait *waits, unsigned count, int timeout_ms, struct error *error);

/* The local address ("192.168.1.7", or "[fe80::1]" where HOST is in brackets) from which HOST of "tcp://HOST:PORT" is
 * reached, so that a board listens there and not everywhere. No packet is sent to HOST; the resolver may block where
 * HOST is a name. */
bool net_local_address(const char *endpoint, char address[64], struct error *error);
/* "tcp://127.0.0.1:PORT" of this machine, as who listens at `asker` and is reached from `local` (net_local_address) has
 * to be told it: at that address, or unchanged where asker is on this machine too. */
void net_endpoint_from(const char *endpoint, const char *asker, const char *local, char told[NET_ENDPOINT_MAX]);
/* Is "tcp://ADDRESS:PORT" on the loopback interface only? */
bool net_is_loopback(const char *endpoint);
/* Is "tcp://ADDRESS:PORT" on all of them ("*", 0.0.0.0, [::])? */
bool net_is_everywhere(const char *endpoint);
/* Checks that others can be told to connect there without asking a resolver, which blocks: one address in numbers, and
 * a port from 1. The error says what is wanted. */
bool net_endpoint_check_numeric(const char *endpoint, struct error *error);
/* Checks "tcp://HOST:PORT": HOST a name, an IPv4 address, an IPv6 address in brackets or "*"; PORT 0 to 65535 or "*".
 * The error says what is wrong. */
bool net_endpoint_check(const char *endpoint, struct error *error);
/* Of a checked endpoint the one so many ports behind it, into at; the same where its port is any (0, "*"). False with
 * an error where there is none. */
bool net_endpoint_behind(const char *endpoint, unsigned places, char at[NET_ENDPOINT_MAX], struct error *error);

#endif
