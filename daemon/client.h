/* A client's connection to the coordinator: what `submit` and `status` share. */
#ifndef DAEMON_CLIENT_H
#define DAEMON_CLIENT_H

#include "daemon/net/net.h"
#include "proto/codec.h"

struct client {
    struct net *net;
    struct net_socket *socket;
    struct arena *decoded, *encoded;
    char endpoint[NET_ENDPOINT_MAX];
    bool gone; /* the connection was closed; to be told once what came before its end is read */
};

/* Starts connecting; on false nothing is left open. */
bool client_open(struct client *client, const char *endpoint, struct error *error);
void client_close(struct client *client);

/* Gives up the connection with whatever was still to be sent or read on it, and starts connecting afresh. */
bool client_reopen(struct client *client, struct error *error);

/* Sends one envelope and, if raw is not NULL, a raw frame. NET_AGAIN when there is no room now. */
enum net_result client_send(struct client *client, const struct message *message, const struct net_piece *raw);

/* Waits at most timeout_ms for the next message. On true the message borrows from the client until the next call and
 * `received` must be closed. False: *error has ERROR_TIMEOUT, or ERROR_SYSTEM when the coordinator closed the
 * connection. */
bool client_receive(struct client *client, int timeout_ms, struct net_message *received, struct message *message,
                    struct error *error);

/* Asks and waits at most five seconds in all for an answer of that type; a refusal is an error with its text. */
bool client_ask(struct client *client, const struct message *question, enum message_type want,
                struct net_message *received, struct message *answer, struct error *error);

#endif
