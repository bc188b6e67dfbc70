/* A client's connection; see client.h. One thread. A message that cannot be decoded is skipped: the coordinator is
 * trusted to mean well, not to be free of faults. */
#include "daemon/client.h"

#include "base/mono.h"

#include <stdio.h>
#include <string.h>

#define ARENA_LIMIT (64u << 20)
#define QUEUE       4096
#define ASK_MS      5000

bool client_reopen(struct client *client, struct error *error) {
    struct net_options options = {.frame_max = MESSAGE_ENVELOPE_MAX, .queue = QUEUE};
    if (client->keyed) {
        options.keys = &client->identity.keys;
        options.server = &client->identity.coordinator;
    }
    net_close(&client->socket, 0);
    client->gone = client->refused = client->mismatched = false;
    waiting_begin(&client->waiting);
    client->waiting.keyless = !client->keyed;
    client->socket = net_connect(client->net, NET_DEALER, client->endpoint, &options, error);
    return client->socket != NULL;
}

bool client_open(struct client *client, const char *endpoint, const struct identity *identity, struct error *error) {
    memset(client, 0, sizeof *client);
    client->keyed = identity != NULL;
    if (identity)
        client->identity = *identity;
    snprintf(client->endpoint, sizeof client->endpoint, "%s", endpoint);
    if (!net_endpoint_check(endpoint, error))
        return error_wrap(error, "--coordinator"), error->code = ERROR_USAGE, false;
    client->decoded = arena_new(ARENA_LIMIT);
    client->encoded = arena_new(ARENA_LIMIT);
    client->net = net_new(error);
    bool ok = client->net && client_reopen(client, error);
    if (!ok)
        client_close(client);
    return ok;
}

void client_close(struct client *client) {
    net_close(&client->socket, 0);
    net_destroy(&client->net, 0);
    arena_destroy(&client->decoded);
    arena_destroy(&client->encoded);
    key_forget(&client->identity, sizeof client->identity);
}

enum net_result client_send(struct client *client, const struct message *message, const struct net_piece *raw) {
    struct net_piece pieces[2] = {{0}};
    arena_reset(client->encoded);
    if (!message_encode(client->encoded, message, &pieces[0].data, &pieces[0].size, NULL))
        return NET_BAD;
    if (raw)
        pieces[1] = *raw;
    return net_send(client->socket, NULL, pieces, raw ? 2 : 1);
}

/* True when the monitor tells that an open connection was closed. */
static bool closed(struct client *client) {
    struct net_event event;
    bool gone = false;
    while ((event = net_next_event(client->socket)).kind != NET_NOTHING) {
        waiting_event(&client->waiting, &event);
        gone = gone || event.kind == NET_CLOSED;
        client->refused = client->refused || event.kind == NET_REFUSED;
        client->mismatched =
            client->mismatched || (event.kind == NET_HANDSHAKE_FAILED && event.failure == NET_FAILED_MECHANISM);
    }
    return gone;
}

static bool denied(const struct client *client, struct error *error) {
    if (client->refused)
        return error_set(error, ERROR_DENIED,
                         "%s: the coordinator does not admit this key (any more); present a new token with --token",
                         client->endpoint);
    if (client->keyed)
        return error_set(
            error, ERROR_DENIED,
            "%s: the coordinator runs without keys, but had some before; --insecure talks to it all the same",
            client->endpoint);
    return error_set(error, ERROR_DENIED,
                     "%s: the coordinator demands keys; present a token once with --token (its operator makes one with "
                     "'stagecoach keys token --role client'), or, on its own machine, give the --state that it has",
                     client->endpoint);
}

bool client_receive(struct client *client, int timeout_ms, struct net_message *received, struct message *message,
                    struct error *error) {
    mono_t deadline = mono_after(mono_now(), timeout_ms * MONO_MS);
    for (;;) {
        if (net_receive(client->socket, received) == NET_OK) {
            arena_reset(client->decoded);
            waiting_heard(&client->waiting);
            if (message_decode(client->decoded, net_frame_data(&received->frame[0]),
                               net_frame_size(&received->frame[0]), message, error))
                return true;
            net_message_close(received);
            continue;
        }
        if (client->refused || client->mismatched)
            return denied(client, error);
        if (client->gone) {
            client->gone = false; /* ZeroMQ connects again, and whoever asks may ask again */
            return error_set(error, ERROR_SYSTEM, "%s: the coordinator closed the connection", client->endpoint);
        }
        int64_t left = mono_since(deadline, mono_now());
        if (left <= 0)
            return error_set(error, ERROR_TIMEOUT, "%s: no answer", client->endpoint);
        struct net_wait wait = {.socket = client->socket, .readable = true};
        if (!net_wait(&wait, 1, (int)((left + MONO_MS - 1) / MONO_MS), error))
            return false;
        client->gone = wait.has_event && closed(client);
    }
}

const char *client_waits_because(const struct client *client, char buffer[WAITING_WORDS_MAX]) {
    return waiting_words(&client->waiting, client->endpoint, true, buffer);
}

bool client_unanswered(const struct client *client, struct error *error) {
    char words[WAITING_WORDS_MAX], address[64];
    struct error unknown; /* an unknown host, or no way to it: then nothing can be said of a coordinator */
    if (!net_local_address(client->endpoint, address, &unknown))
        return error_set(error, ERROR_TIMEOUT, "%.300s; is this address right (--coordinator)?", unknown.text);
    return error_set(error, ERROR_TIMEOUT,
                     "no coordinator answers: %.300s; is it running, and is this its address (--coordinator)?",
                     waiting_words(&client->waiting, client->endpoint, false, words));
}

bool client_ask(struct client *client, const struct message *question, enum message_type want,
                struct net_message *received, struct message *answer, struct error *error) {
    mono_t deadline = mono_after(mono_now(), ASK_MS * MONO_MS);
    client_send(client, question, NULL);
    for (;;) {
        int64_t left = mono_since(deadline, mono_now()) / MONO_MS;
        if (left <= 0 || !client_receive(client, (int)left, received, answer, error)) {
            if (left > 0 && error->code == ERROR_DENIED)
                return false;
            if (left > 0 && error->code != ERROR_TIMEOUT)
                continue; /* it may be restarting: ZeroMQ connects again, and the question waits in its queue */
            return client_unanswered(client, error);
        }
        if (answer->type == want)
            return true;
        bool refused = answer->type == MESSAGE_REFUSE;
        if (refused)
            error_set(error, ERROR_INPUT, "%s: refused: %s", client->endpoint, answer->refuse.text);
        net_message_close(received);
        if (refused)
            return false;
    }
}
