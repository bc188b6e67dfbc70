/* Sockets with keys: who is let in, who is not and learns what of it, whose each message is, and what becomes of a key
 * that is taken from the list while its connection is there. */
#include "daemon/net/net.h"

#include "base/mono.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE (8 * MONO_SECOND)

/* A server's net and a peer's, as if in two processes: both have to be waited on. */
struct world {
    struct net *here, *there;
    struct key_pair server, peer, other;
    struct net_socket *bound, *connected;
    struct net_event event; /* the last one that was looked for */
};

static struct net_options options_of(const struct key_pair *keys, const struct public_key *server) {
    return (struct net_options){.frame_max = 100000, .queue = 8, .keys = keys, .server = server};
}

static void connect_as(struct world *world, const struct key_pair *keys, const struct public_key *server,
                       enum net_kind kind) {
    struct error error;
    const struct net_options options = options_of(keys, server);
    net_close(&world->connected, 0);
    world->connected = net_connect(world->there, kind, net_endpoint(world->bound), &options, &error);
    assert_non_null(world->connected);
}

static void open_world(struct world *world, enum net_kind kind, enum net_door door) {
    struct error error;
    memset(world, 0, sizeof *world);
    world->here = net_new(&error);
    world->there = net_new(&error);
    key_pair_make(&world->server);
    key_pair_make(&world->peer);
    key_pair_make(&world->other);
    struct net_options options = options_of(&world->server, NULL);
    options.door = door;
    world->bound = net_bind(world->here, kind, "tcp://127.0.0.1:*", &options, &error);
    if (!world->bound)
        fail_msg("%s", error.text);
}

static void close_world(struct world *world) {
    net_destroy(&world->there, 0);
    net_destroy(&world->here, 0);
}

/* Both sides live for a moment. */
static void turn(struct world *world) {
    struct net_wait here = {.socket = world->bound, .readable = true};
    struct net_wait there = {.socket = world->connected, .readable = true};
    assert_true(net_wait(&here, 1, 5, NULL));
    if (world->connected)
        assert_true(net_wait(&there, 1, 5, NULL));
}

static enum net_result receive(struct world *world, struct net_socket *socket, struct net_message *message) {
    mono_t start = mono_now();
    for (;;) {
        enum net_result result = net_receive(socket, message);
        if (result != NET_AGAIN)
            return result;
        turn(world);
        if (mono_since(mono_now(), start) > PATIENCE)
            fail_msg("no message came");
    }
}

static bool event_comes(struct world *world, struct net_socket *socket, enum net_event_kind kind, int64_t within) {
    for (mono_t start = mono_now(); mono_since(mono_now(), start) < within; turn(world))
        while ((world->event = net_next_event(socket)).kind != NET_NOTHING)
            if (world->event.kind == kind)
                return true;
    return false;
}

static void say(struct net_socket *socket, const char *text) {
    const struct net_piece piece = {.data = text, .size = strlen(text)};
    for (int i = 0; i < 500 && net_send(socket, NULL, &piece, 1) != NET_OK; i++)
        usleep(10000);
}

static void test_admitted(void **state) {
    (void)state;
    struct world world;
    struct net_message message, back;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.peer, &world.server.own, NET_DEALER);
    say(world.connected, "hello");
    assert_int_equal(receive(&world, world.bound, &message), NET_OK);
    assert_true(message.keyed);
    assert_true(key_equal(&message.key, &world.peer.own));
    assert_memory_equal(net_frame_data(&message.frame[0]), "hello", 5);
    char address[NET_ADDRESS_MAX];
    net_peer_address(message.connection, address);
    assert_int_equal(strncmp(address, "127.0.0.1:", 10), 0);
    const struct net_piece piece = {.data = "welcome", .size = 7};
    assert_int_equal(net_send(world.bound, &message.peer, &piece, 1), NET_OK);
    assert_int_equal(receive(&world, world.connected, &back), NET_OK);
    assert_false(back.keyed);
    net_message_close(&message);
    net_message_close(&back);
    close_world(&world);
}

static void test_unknown_key_is_told(void **state) {
    (void)state;
    struct world world;
    char key[KEY_TEXT_BYTES];
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.other, &world.server.own, NET_DEALER);
    say(world.connected, "hello");
    assert_true(event_comes(&world, world.connected, NET_REFUSED, PATIENCE));
    assert_true(event_comes(&world, world.connected, NET_CLOSED, PATIENCE));
    assert_true(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, PATIENCE));
    assert_int_equal(strncmp(world.event.address, "127.0.0.1", 9), 0);
    key_print(world.other.own.bytes, key);
    assert_non_null(strstr(world.event.reason, key));
    struct net_message message;
    assert_int_equal(net_receive(world.bound, &message), NET_AGAIN);
    close_world(&world);
}

static void test_nobody_is_let_in_at_first(void **state) {
    (void)state;
    struct world world;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    connect_as(&world, &world.peer, &world.server.own, NET_DEALER);
    assert_true(event_comes(&world, world.connected, NET_REFUSED, PATIENCE));
    close_world(&world);
}

/* As between stages, where one may hear of the other a moment before the other hears of it. */
static void test_later_means_later(void **state) {
    (void)state;
    struct world world;
    struct net_message message;
    open_world(&world, NET_PULL, NET_DOOR_LATER);
    connect_as(&world, &world.peer, &world.server.own, NET_PUSH);
    assert_true(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, PATIENCE));
    net_admit(world.bound, &world.peer.own, 1);
    mono_t start = mono_now();
    while (!net_writable(world.connected) && mono_since(mono_now(), start) < PATIENCE)
        turn(&world);
    say(world.connected, "microbatch");
    assert_int_equal(receive(&world, world.bound, &message), NET_OK);
    assert_true(message.keyed && key_equal(&message.key, &world.peer.own));
    net_message_close(&message);
    close_world(&world);
}

static void test_wrong_server(void **state) {
    (void)state;
    struct world world;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.peer, &world.other.own, NET_DEALER);
    say(world.connected, "hello");
    assert_true(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, PATIENCE));
    assert_string_equal(world.event.reason, "it looks for a server with another key");
    close_world(&world);
}

static void test_peer_without_keys(void **state) {
    (void)state;
    struct world world;
    struct net_message message;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, NULL, NULL, NET_DEALER);
    say(world.connected, "hello");
    assert_true(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, PATIENCE));
    if (world.event.failure == NET_FAILED_SOMEHOW) /* the other side saw it first, and hung up */
        assert_true(event_comes(&world, world.connected, NET_HANDSHAKE_FAILED, PATIENCE));
    assert_string_equal(world.event.reason, "one side has keys and the other has none");
    assert_int_equal(net_receive(world.bound, &message), NET_AGAIN);
    close_world(&world);
}

static void test_garbage(void **state) {
    (void)state;
    struct world world;
    unsigned port;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    assert_int_equal(sscanf(net_endpoint(world.bound), "tcp://127.0.0.1:%u", &port), 1);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int descriptor = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_false(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, 100 * MONO_MS));
    assert_int_equal(send(descriptor, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
    assert_true(event_comes(&world, world.bound, NET_HANDSHAKE_FAILED, PATIENCE));
    assert_int_equal(strncmp(world.event.address, "127.0.0.1:", 10), 0);
    close(descriptor);
    close_world(&world);
}

/* "Out at once": what comes after is dropped, and the connection can be ended. */
static void test_taken_from_the_list(void **state) {
    (void)state;
    struct world world;
    struct net_message message;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.peer, &world.server.own, NET_DEALER);
    say(world.connected, "before");
    assert_int_equal(receive(&world, world.bound, &message), NET_OK);
    int connection = message.connection;
    net_message_close(&message);
    say(world.connected, "already on its way");
    net_admit(world.bound, &world.other.own, 1);
    assert_int_equal(receive(&world, world.bound, &message), NET_DENIED);
    assert_int_equal(message.count, 0);
    net_hang_up(connection);
    assert_true(event_comes(&world, world.bound, NET_CLOSED, PATIENCE));
    assert_true(event_comes(&world, world.connected, NET_REFUSED, PATIENCE));
    close_world(&world);
}

/* As between stages: what a slow one cannot take waits with the sender, and goes on when it can. */
static void test_queue_of_one(void **state) {
    (void)state;
    struct error error;
    struct world world;
    struct net_message message;
    open_world(&world, NET_PULL, NET_DOOR_LATER);
    struct net_options one = options_of(&world.server, NULL);
    one.queue = 1;
    net_close(&world.bound, 0);
    world.bound = net_bind(world.here, NET_PULL, "tcp://127.0.0.1:*", &one, &error);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.peer, &world.server.own, NET_PUSH);
    const struct net_piece pieces[2] = {{.data = "header", .size = 6}, {.data = "part", .size = 4}};
    for (int sent = 0; sent < 5; sent++) {
        for (mono_t start = mono_now(); net_send(world.connected, NULL, pieces, 2) != NET_OK; turn(&world))
            assert_true(mono_since(mono_now(), start) < PATIENCE);
        assert_int_equal(receive(&world, world.bound, &message), NET_OK);
        assert_int_equal(message.count, 2);
        assert_true(key_equal(&message.key, &world.peer.own));
        net_message_close(&message);
    }
    close_world(&world);
}

/* Keys cost no more than their share of a frame that is as large as it may be. */
static void test_largest_frame(void **state) {
    (void)state;
    static char bytes[100000];
    struct world world;
    struct net_message message;
    open_world(&world, NET_ROUTER, NET_DOOR_SHUT);
    net_admit(world.bound, &world.peer.own, 1);
    connect_as(&world, &world.peer, &world.server.own, NET_DEALER);
    memset(bytes, 'x', sizeof bytes);
    const struct net_piece piece = {.data = bytes, .size = sizeof bytes};
    assert_int_equal(net_send(world.connected, NULL, &piece, 1), NET_OK);
    assert_int_equal(receive(&world, world.bound, &message), NET_OK);
    assert_int_equal(net_frame_size(&message.frame[0]), sizeof bytes);
    net_message_close(&message);
    close_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_admitted),
        cmocka_unit_test(test_unknown_key_is_told),
        cmocka_unit_test(test_nobody_is_let_in_at_first),
        cmocka_unit_test(test_later_means_later),
        cmocka_unit_test(test_wrong_server),
        cmocka_unit_test(test_peer_without_keys),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_taken_from_the_list),
        cmocka_unit_test(test_queue_of_one),
        cmocka_unit_test(test_largest_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
