/* A client's connection to the coordinator: what `submit` and `status` share. */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include "daemon/identity.h"
#include "daemon/net/net.h"
#include "daemon/waiting.h"
#include "proto/codec.h"

struct client {
    struct net *net;
    struct net_socket *socket;
    struct arena *decoded, *encoded;
    char endpoint[NET_ENDPOINT_MAX];
    bool keyed;
    struct identity identity; /* if keyed */
    bool gone;                /* the connection was closed; to be told once what came before its end is read */
    bool refused;             /* the coordinator does not admit our key: nothing more will come */
    bool mismatched;          /* one side has keys and the other has none: likewise */
    struct waiting waiting;   /* what is known of why no answer comes */
};

/* Starts connecting; on false nothing is left open. The identity is copied; NULL: without keys. */
bool client_open(struct client *client, const char *endpoint, const struct identity *identity, struct error *error);
void client_close(struct client *client);

/* Gives up the connection with whatever was still to be sent or read on it, and starts connecting afresh. */
bool client_reopen(struct client *client, struct error *error);

/* Sends one envelope and, if raw is not NULL, a raw frame. NET_AGAIN when there is no room now. */
enum net_result client_send(struct client *client, const struct message *message, const struct net_piece *raw);

/* Waits at most timeout_ms for the next message. On true the message borrows from the client until the next call and
 * `received` must be closed. False: *error has ERROR_TIMEOUT, ERROR_SYSTEM when the coordinator closed the connection,
 * or ERROR_DENIED when it does not admit our key, or one of us has keys and the other has none. */
bool client_receive(struct client *client, int timeout_ms, struct net_message *received, struct message *message,
                    struct error *error);

/* Why no answer comes, for people; may block in the system's resolver. buffer is filled and returned. */
const char *client_waits_because(const struct client *client, char buffer[WAITING_WORDS_MAX]);
/* The same as an error, ERROR_TIMEOUT; false. */
bool client_unanswered(const struct client *client, struct error *error);

/* Asks and waits at most five seconds in all for an answer of that type; a refusal is an error with its text. */
bool client_ask(struct client *client, const struct message *question, enum message_type want,
                struct net_message *received, struct message *answer, struct error *error);

#endif
