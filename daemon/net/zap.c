/* Who may come in: CURVE's keys on sockets, and the answers to ZAP (ZeroMQ's RFC 27), by which libzmq asks whether the
 * bearer of a key is let in.
 *
 * libzmq's I/O thread asks through a socket of its own making; the thread that owns the net answers while it waits
 * (wait.c). Until then the handshake stands still, and nothing else does. A handler thread with a lock around the lists
 * would answer no sooner, and a key that was taken from a list could still be let in by an answer under way.
 *
 * Each bound socket has a domain of its own, so that the question names it. An answer carries the key as the peer's
 * user id, which libzmq then hangs on every message of that connection: so each message is judged again, by the list of
 * the moment it is read. */
#include "daemon/net/socket.h"

#include "base/allocate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENDPOINT      "inproc://zeromq.zap.01" /* fixed by the RFC */
#define VERSION_      "1.0"
#define DOMAIN_FORMAT "stagecoach-%u"
#define FRAMES        7 /* version, request, domain, address, identity, mechanism, key */
#define FRAME_BYTES   256

/* ---- keys on sockets ---- */

static bool set_bytes(struct net_socket *socket, int option, const void *bytes, size_t size) {
    return zmq_setsockopt(socket->socket, option, bytes, size) == 0;
}

static bool serve(struct net_socket *socket, enum net_door door) {
    char domain[32];
    int yes = 1;
    socket->keyed = true;
    socket->door = door;
    socket->domain = socket->net->domains++;
    int length = snprintf(domain, sizeof domain, DOMAIN_FORMAT, socket->domain);
    return set_bytes(socket, ZMQ_CURVE_SERVER, &yes, sizeof yes) &&
           set_bytes(socket, ZMQ_ZAP_DOMAIN, domain, (size_t)length);
}

bool net_keys_set(struct net_socket *socket, const struct net_options *options, struct error *error) {
    const struct key_pair *keys = options->keys;
    if (!zmq_has("curve"))
        return error_set(error, ERROR_UNSUPPORTED,
                         "this system's libzmq was built without CURVE, so there can be no keys; install one with it");
    if (!socket->connects && !net_zap_open(socket->net, error))
        return false;
    bool ok = socket->connects ? set_bytes(socket, ZMQ_CURVE_SERVERKEY, options->server->bytes, KEY_BYTES)
                               : serve(socket, options->door);
    ok = ok && set_bytes(socket, ZMQ_CURVE_PUBLICKEY, keys->own.bytes, KEY_BYTES) &&
         set_bytes(socket, ZMQ_CURVE_SECRETKEY, keys->secret, KEY_BYTES);
    return ok || error_set(error, ERROR_SYSTEM, "a socket does not take its keys: %s", zmq_strerror(errno));
}

void net_admit(struct net_socket *socket, const struct public_key *keys, size_t count) {
    release(socket->admitted);
    socket->admitted = allocate(count ? count : 1, sizeof *keys);
    socket->admitted_count = count;
    if (count > 0)
        memcpy(socket->admitted, keys, count * sizeof *keys);
}

bool net_admits(const struct net_socket *socket, const struct public_key *key) {
    for (size_t i = 0; i < socket->admitted_count; i++)
        if (key_equal(&socket->admitted[i], key))
            return true;
    return false;
}

bool net_key_of(const struct net_socket *socket, zmq_msg_t *frame, struct public_key *key) {
    const char *text = zmq_msg_gets(frame, "User-Id");
    return text && key_parse(text, key->bytes) && net_admits(socket, key);
}

/* ---- questions and answers ---- */

/* A question, frame by frame; each ends with a zero that is not counted. */
struct question {
    unsigned frames;
    size_t size[FRAMES];
    char frame[FRAMES][FRAME_BYTES];
};

enum { VERSION, REQUEST, DOMAIN, ADDRESS, IDENTITY, MECHANISM, KEY };

/* False when there is none. What is too long or too much is cut off: it is none of libzmq's. */
static bool receive(void *zap, struct question *question) {
    int more = 1;
    memset(question, 0, sizeof *question);
    while (more) {
        size_t size = sizeof more;
        char rest[FRAME_BYTES];
        char *to = question->frames < FRAMES ? question->frame[question->frames] : rest;
        int got = zmq_recv(zap, to, FRAME_BYTES - 1, ZMQ_DONTWAIT);
        if (got < 0)
            return false;
        if (question->frames < FRAMES)
            question->size[question->frames] = (size_t)(got < FRAME_BYTES ? got : FRAME_BYTES - 1);
        question->frames++;
        if (zmq_getsockopt(zap, ZMQ_RCVMORE, &more, &size) != 0)
            return false;
    }
    return true;
}

static struct net_socket *socket_of(struct net *net, const char *domain) {
    char name[32];
    for (struct net_socket *socket = net->first; socket; socket = socket->next) {
        snprintf(name, sizeof name, DOMAIN_FORMAT, socket->domain);
        if (socket->keyed && strcmp(name, domain) == 0)
            return socket;
    }
    return NULL;
}

static void answer(void *zap, const struct question *question, const char *status, const char *user) {
    zmq_send(zap, VERSION_, strlen(VERSION_), ZMQ_SNDMORE);
    zmq_send(zap, question->frame[REQUEST], question->size[REQUEST], ZMQ_SNDMORE);
    zmq_send(zap, status, strlen(status), ZMQ_SNDMORE);
    zmq_send(zap, "", 0, ZMQ_SNDMORE);
    zmq_send(zap, user, strlen(user), ZMQ_SNDMORE);
    zmq_send(zap, "", 0, 0);
}

/* The status for a key at a socket, and its text as the user id. */
static const char *judge(struct net *net, const struct question *question, char user[KEY_TEXT_BYTES]) {
    struct net_socket *socket = socket_of(net, question->frame[DOMAIN]);
    struct public_key key;
    user[0] = '\0';
    if (!socket || question->frames != FRAMES || strcmp(question->frame[MECHANISM], "CURVE") != 0 ||
        question->size[KEY] != KEY_BYTES)
        return "400";
    memcpy(key.bytes, question->frame[KEY], KEY_BYTES);
    if (net_admits(socket, &key)) {
        key_print(key.bytes, user);
        return "200";
    }
    snprintf(socket->denied, sizeof socket->denied, "%.*s", NET_ADDRESS_MAX - 1, question->frame[ADDRESS]);
    socket->denied_key = key;
    return socket->door == NET_DOOR_SHUT ? "400" : "300";
}

void net_zap_answer(struct net *net) {
    struct question question;
    char user[KEY_TEXT_BYTES];
    while (receive(net->zap, &question)) {
        const char *status = judge(net, &question, user);
        answer(net->zap, &question, status, user);
    }
}

bool net_zap_open(struct net *net, struct error *error) {
    int none = 0;
    if (net->zap)
        return true;
    net->zap = zmq_socket(net->context, ZMQ_REP);
    if (net->zap && zmq_setsockopt(net->zap, ZMQ_LINGER, &none, sizeof none) == 0 && zmq_bind(net->zap, ENDPOINT) == 0)
        return true;
    error_set(error, ERROR_SYSTEM, "nobody can be let in: %s", zmq_strerror(errno));
    net_zap_close(net);
    return false;
}

void net_zap_close(struct net *net) {
    if (net->zap)
        zmq_close(net->zap);
    net->zap = NULL;
}
