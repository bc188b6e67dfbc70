/* One who is admitted, for the end-to-end tests: with the key of a board or client of the fleet it says at a port what
 * is not its to say, and tells how it was taken.
 *
 *   insider STATE WHO SERVER ENDPOINT [FILE]
 *
 * With FILE it keeps the connection and is silent until there is a file of that name. WHO and SERVER name key files in
 * the directory STATE ("stage-b1", "coordinator"); the port is SERVER's. Prints "out" when the handshake does not let
 * it in within two seconds, "in, and hung up on" when it could speak and was disconnected for it, "in" else; "put out"
 * when that was before it spoke. Exit status 0; 1 when it could not try.
 */
#include "base/file.h"
#include "base/mono.h"
#include "daemon/identity.h"
#include "daemon/net/net.h"
#include "proto/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATIENCE (2 * MONO_SECOND)

static void read_keys(const char *directory, const char *who, struct key_pair *keys) {
    struct error error = {0};
    bool found;
    if (!identity_read_keys(directory, who, keys, &found, &error) || !found) {
        fprintf(stderr, "insider: %s: %s\n", who, found ? "?" : error.text[0] ? error.text : "no keys");
        exit(1);
    }
}

/* Is the connection ended, and the handshake done, by now? */
static bool is_closed(struct net_socket *socket) {
    bool closed = false;
    for (struct net_event event; (event = net_next_event(socket)).kind != NET_NOTHING;)
        closed = closed || event.kind == NET_CLOSED;
    return closed;
}

static bool is_open(struct net_socket *socket) {
    is_closed(socket); /* unread events would end every wait at once */
    return net_writable(socket);
}

static bool happens(struct net_socket *socket, bool (*what)(struct net_socket *)) {
    const mono_t begun = mono_now();
    struct net_wait wait = {.socket = socket};
    while (mono_since(mono_now(), begun) < PATIENCE) {
        if (what(socket))
            return true;
        net_wait(&wait, 1, 50, NULL);
    }
    return false;
}

static void say(struct net_socket *socket) {
    uint8_t bytes[DATA_HEADER_MAX];
    const struct data_header header = {
        .cluster = 1, .epoch = {1}, .sequence = {1}, .items = 1, .parts = 1, .part = {{.rank = 1, .shape = {4}}}};
    const struct net_piece pieces[2] = {{.data = bytes, .size = data_header_encode(&header, bytes)},
                                        {.data = "sixteen bytes ..", .size = 16}};
    net_send(socket, NULL, pieces, 2);
}

int main(int count, char **arguments) {
    struct key_pair keys, server;
    struct error error;
    struct net *net = net_new(&error);
    if (count < 5 || count > 6 || !net) {
        fputs("usage: see test/e2e/insider.c\n", stderr);
        return 1;
    }
    read_keys(arguments[1], arguments[2], &keys);
    read_keys(arguments[1], arguments[3], &server);
    const struct net_options options = {.frame_max = 4096, .queue = 4, .keys = &keys, .server = &server.own};
    struct net_socket *socket = net_connect(net, NET_PUSH, arguments[4], &options, &error);
    if (!socket) {
        fprintf(stderr, "insider: %s\n", error.text);
        return 1;
    }
    if (!happens(socket, is_open))
        puts("out");
    else {
        for (int waits = 0; count == 6 && !file_exists(arguments[5]) && waits < 2400; waits++)
            usleep(50000);
        if (is_closed(socket)) {
            puts("put out");
            return 0;
        }
        say(socket);
        puts(happens(socket, is_closed) ? "in, and hung up on" : "in");
    }
    net_close(&socket, 0);
    net_destroy(&net, 0);
    return 0;
}
