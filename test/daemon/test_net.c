/* Sockets over the loopback interface: each kind, zero copy, back-pressure, and what happens when the other side is not
 * one of ours. Every port is chosen by the system. Raw TCP stands for strangers. */
#include "daemon/net/net.h"

#include "base/mono.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define FRAME_MAX 100000
#define PATIENCE  (5 * MONO_SECOND)

static const struct net_options options = {.frame_max = FRAME_MAX, .queue = 8};

/* A listener and somebody who connects to it. */
struct pair {
    struct net *net;
    struct net_socket *bound, *connected;
};

static struct net_socket *bound_to(struct net *net, enum net_kind kind, const struct net_options *with) {
    struct error error = {0};
    struct net_socket *socket = net_bind(net, kind, "tcp://127.0.0.1:*", with, &error);
    if (!socket)
        fail_msg("%s", error.text);
    return socket;
}

static struct net_socket *connected_to(struct net *net, enum net_kind kind, const char *endpoint,
                                       const struct net_options *with) {
    struct error error = {0};
    struct net_socket *socket = net_connect(net, kind, endpoint, with, &error);
    if (!socket)
        fail_msg("%s", error.text);
    return socket;
}

static struct pair pair_open(enum net_kind bound, enum net_kind connected, const struct net_options *with) {
    struct pair pair;
    struct error error = {0};
    pair.net = net_new(&error);
    assert_non_null(pair.net);
    pair.bound = bound_to(pair.net, bound, with);
    pair.connected = connected_to(pair.net, connected, net_endpoint(pair.bound), with);
    return pair;
}

static void pair_close(struct pair *pair) {
    net_close(&pair->connected, 0);
    net_close(&pair->bound, 0);
    net_destroy(&pair->net, 0);
    assert_null(pair->net);
}

/* Waits for one message; fails the test after PATIENCE. */
static enum net_result receive(struct net_socket *socket, struct net_message *message) {
    mono_t start = mono_now();
    enum net_result result;
    while ((result = net_receive(socket, message)) == NET_AGAIN) {
        struct net_wait wait = {.socket = socket, .readable = true};
        assert_true(net_wait(&wait, 1, 50, NULL));
        if (mono_since(mono_now(), start) > PATIENCE)
            fail_msg("no message came");
    }
    return result;
}

static void wait_writable(struct net_socket *socket) {
    mono_t start = mono_now();
    while (!net_writable(socket)) {
        struct net_wait wait = {.socket = socket, .writable = true};
        assert_true(net_wait(&wait, 1, 50, NULL));
        if (mono_since(mono_now(), start) > PATIENCE)
            fail_msg("never writable");
    }
}

/* Waits for an event of this kind, passing over others. */
static struct net_event event_of(struct net_socket *socket, enum net_event_kind kind) {
    for (mono_t start = mono_now(); mono_since(mono_now(), start) < PATIENCE;) {
        struct net_event event = net_next_event(socket);
        if (event.kind == kind)
            return event;
        struct net_wait wait = {.socket = socket};
        if (event.kind == NET_NOTHING)
            assert_true(net_wait(&wait, 1, 50, NULL));
    }
    fail_msg("no event of kind %d came", (int)kind);
    return (struct net_event){.kind = NET_NOTHING, .connection = -1};
}

static enum net_result send_text(struct net_socket *socket, const struct net_peer *peer, const char *text) {
    struct net_piece piece = {.data = text, .size = strlen(text)};
    return net_send(socket, peer, &piece, 1);
}

static void assert_frame(const struct net_frame *frame, const char *text) {
    assert_int_equal(net_frame_size(frame), strlen(text));
    assert_memory_equal(net_frame_data(frame), text, strlen(text));
    assert_int_equal((uintptr_t)net_frame_data(frame) % 8, 0);
}

static atomic_int released_count;

static void count_release(void *data, void *context) {
    (void)data;
    atomic_fetch_add((atomic_int *)context, 1);
}

static void wait_released(int count) {
    for (mono_t start = mono_now(); atomic_load(&released_count) < count; usleep(1000))
        if (mono_since(mono_now(), start) > PATIENCE)
            fail_msg("%d of %d pieces released", atomic_load(&released_count), count);
    assert_int_equal(atomic_load(&released_count), count);
}

/* ---- good peers ---- */

static void test_dealer_and_router(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_ROUTER, NET_DEALER, &options);
    struct net_message question, answer;
    struct net_piece two[] = {{.data = "hello", .size = 5}, {.data = "", .size = 0}};
    assert_int_equal(net_send(pair.connected, NULL, two, 2), NET_OK);
    assert_int_equal(receive(pair.bound, &question), NET_OK);
    assert_int_equal(question.count, 2);
    assert_frame(&question.frame[0], "hello");
    assert_frame(&question.frame[1], "");
    assert_true(question.connection >= 0);
    assert_int_equal(send_text(pair.bound, &question.peer, "welcome"), NET_OK);
    assert_int_equal(receive(pair.connected, &answer), NET_OK);
    assert_int_equal(answer.peer.size, 0);
    assert_frame(&answer.frame[0], "welcome");
    assert_true(net_peer_equal(&question.peer, &question.peer));
    assert_false(net_peer_equal(&question.peer, &answer.peer));
    net_message_close(&question);
    net_message_close(&answer);
    assert_int_equal(net_receive(pair.bound, &question), NET_AGAIN);
    pair_close(&pair);
}

static void test_push_and_pull_of_every_size(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_PULL, NET_PUSH, &options);
    static const size_t sizes[] = {0, 1, 7, 33, 34, 100, 8191, 8192, 8193, 50001, FRAME_MAX};
    char *bytes = calloc(1, FRAME_MAX);
    for (size_t i = 0; i < FRAME_MAX; i++)
        bytes[i] = (char)(i * 7);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct net_piece pieces[] = {{.data = "header", .size = 6}, {.data = bytes, .size = sizes[i]}};
        struct net_message message;
        wait_writable(pair.connected);
        assert_int_equal(net_send(pair.connected, NULL, pieces, 2), NET_OK);
        assert_int_equal(receive(pair.bound, &message), NET_OK);
        assert_int_equal(message.count, 2);
        assert_frame(&message.frame[0], "header");
        assert_int_equal(net_frame_size(&message.frame[1]), sizes[i]);
        assert_memory_equal(net_frame_data(&message.frame[1]), bytes, sizes[i]);
        assert_int_equal((uintptr_t)net_frame_data(&message.frame[1]) % 8, 0);
        net_message_close(&message);
    }
    free(bytes);
    pair_close(&pair);
}

static void test_taking_a_frame(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_PULL, NET_PUSH, &options);
    struct net_message message;
    struct net_frame taken;
    wait_writable(pair.connected);
    assert_int_equal(send_text(pair.connected, NULL, "small"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    net_frame_take(&taken, &message.frame[0]);
    net_message_close(&message);
    assert_frame(&taken, "small");
    memcpy(net_frame_bytes(&taken), "SMALL", 5);
    assert_frame(&taken, "SMALL");
    net_frame_close(&taken);
    pair_close(&pair);
}

static void test_release_is_called_once(void **state) {
    (void)state;
    static char bytes[50000];
    struct pair pair = pair_open(NET_PULL, NET_PUSH, &options);
    struct net_piece piece = {bytes, sizeof bytes, count_release, &released_count};
    struct net_piece pieces[] = {{.data = "x", .size = 1}, piece, piece};
    atomic_store(&released_count, 0);
    wait_writable(pair.connected);
    assert_int_equal(net_send(pair.connected, NULL, pieces, 3), NET_OK);
    struct net_message message;
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    net_message_close(&message);
    wait_released(2);
    pair_close(&pair);
    assert_int_equal(atomic_load(&released_count), 2);
}

static void test_release_on_failure(void **state) {
    (void)state;
    static char bytes[1000];
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *router = bound_to(net, NET_ROUTER, &options);
    struct net_socket *push = connected_to(net, NET_PUSH, "tcp://127.0.0.1:9", &options); /* nobody is there */
    struct net_piece piece = {bytes, sizeof bytes, count_release, &released_count};
    struct net_piece pieces[] = {piece, piece, {.data = "x", .size = 1}, piece};
    struct net_peer peer = {.size = 5, .bytes = "\0abcd"};
    atomic_store(&released_count, 0);
    assert_int_equal(net_send(push, NULL, pieces, 4), NET_AGAIN);
    wait_released(3);
    assert_int_equal(net_send(router, &peer, pieces, 4), NET_GONE);
    wait_released(6);
    net_close(&push, 0);
    net_destroy(&net, 0); /* closes the router */
    assert_int_equal(atomic_load(&released_count), 6);
}

/* Microbatches go as far as the receiver lets them; the rest waits at the sender, and all arrive in their order. */
static void test_back_pressure_loses_nothing(void **state) {
    (void)state;
    struct net_options small = {.frame_max = FRAME_MAX, .queue = 2, .kernel_buffer = 16384};
    static unsigned char bytes[FRAME_MAX];
    struct pair pair = pair_open(NET_PULL, NET_PUSH, &small);
    unsigned sent = 0, received = 0;
    wait_writable(pair.connected);
    for (mono_t quiet = mono_now(); mono_since(mono_now(), quiet) < 200 * MONO_MS;) {
        bytes[0] = (unsigned char)sent;
        struct net_piece pieces[] = {{.data = bytes, .size = 1}, {.data = bytes, .size = sizeof bytes}};
        if (!net_writable(pair.connected) || net_send(pair.connected, NULL, pieces, 2) != NET_OK) {
            usleep(1000);
            continue;
        }
        sent++;
        quiet = mono_now();
    }
    assert_in_range(sent, 4, 64); /* two queues of two and what the kernel holds: it did stop */
    assert_int_equal(send_text(pair.connected, NULL, "no room"), NET_AGAIN);
    while (received < sent) {
        struct net_message message;
        assert_int_equal(receive(pair.bound, &message), NET_OK);
        assert_int_equal(message.count, 2);
        assert_int_equal(*(const unsigned char *)net_frame_data(&message.frame[0]), (unsigned char)received++);
        net_message_close(&message);
    }
    wait_writable(pair.connected);
    pair_close(&pair);
}

static void test_router_tells_who_is_gone(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_ROUTER, NET_DEALER, &options);
    struct net_message message;
    assert_int_equal(send_text(pair.connected, NULL, "hello"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    struct net_peer peer = message.peer;
    int connection = message.connection;
    net_message_close(&message);
    assert_int_equal(event_of(pair.bound, NET_OPENED).connection, connection);
    net_close(&pair.connected, 0);
    assert_int_equal(event_of(pair.bound, NET_CLOSED).connection, connection);
    mono_t start = mono_now();
    enum net_result result;
    while ((result = send_text(pair.bound, &peer, "are you there")) == NET_OK &&
           mono_since(mono_now(), start) < PATIENCE)
        usleep(1000);
    assert_int_equal(result, NET_GONE);
    pair_close(&pair);
}

static void test_reconnect(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_PULL, NET_PUSH, &options);
    char endpoint[NET_ENDPOINT_MAX];
    struct error error = {0};
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(pair.bound));
    wait_writable(pair.connected);
    int connection = event_of(pair.connected, NET_OPENED).connection;
    net_close(&pair.bound, 0);
    assert_int_equal(event_of(pair.connected, NET_CLOSED).connection, connection);
    for (mono_t start = mono_now(); net_writable(pair.connected); usleep(1000)) /* told a moment before it is so */
        assert_true(mono_since(mono_now(), start) < PATIENCE);
    for (mono_t start = mono_now(); !pair.bound && mono_since(mono_now(), start) < PATIENCE; usleep(10000))
        pair.bound = net_bind(pair.net, NET_PULL, endpoint, &options, &error);
    if (!pair.bound)
        fail_msg("%s", error.text);
    wait_writable(pair.connected);
    struct net_message message;
    assert_int_equal(send_text(pair.connected, NULL, "again"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    assert_frame(&message.frame[0], "again");
    net_message_close(&message);
    pair_close(&pair);
}

/* ---- strangers ---- */

static const enum net_kind listeners[] = {NET_ROUTER, NET_PULL, NET_PUSH, NET_DEALER};
static const enum net_kind partners[] = {NET_DEALER, NET_PUSH, NET_PULL, NET_ROUTER};

/* A raw TCP connection that says `bytes`. */
static int stranger(const struct net_socket *listener, const void *bytes, size_t size) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(net_endpoint(listener), ':') + 1)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(descriptor >= 0);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    if (size > 0)
        (void)!send(descriptor, bytes, size, MSG_NOSIGNAL); /* the listener may close before all is said */
    return descriptor;
}

/* What a stranger says, and how much of it. */
struct saying {
    const char *bytes;
    size_t size;
};

#define GREETING "\xff\0\0\0\0\0\0\0\x01\x7f"
#define ZEROS_16 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define SAYING(text)                                                                                                   \
    { text, sizeof text - 1 }

static const struct saying sayings[] = {
    SAYING("GET / HTTP/1.1\r\nHost: board\r\n\r\n"),
    SAYING("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS client greets like this"),
    SAYING("\x05\x00name\x03\x00ab\x02\x00z"),             /* ZMTP 1.0 */
    SAYING(GREETING "\x01\x05\x00\x00\x04name\x00\x02hi"), /* ZMTP 2.0 */
    SAYING(GREETING "\x03\x00NULL" ZEROS_16 ZEROS_16 ZEROS_16 "garbage garbage garbage garbage garbage"),
    SAYING(GREETING "\x03\x00PLAIN" ZEROS_16 ZEROS_16 ZEROS_16 ZEROS_16),
    SAYING(""),
    SAYING("\xff"),
    SAYING("\x01\x00\x00\x00\x00"),
};

/* A listener of `kind` still serves a good peer. */
static void still_serves(struct net *net, struct net_socket *listener, size_t kind) {
    struct net_socket *partner = connected_to(net, partners[kind], net_endpoint(listener), &options);
    struct net_socket *from = listeners[kind] == NET_PUSH || listeners[kind] == NET_DEALER ? listener : partner;
    struct net_socket *to = from == listener ? partner : listener;
    struct net_message message;
    wait_writable(from);
    assert_int_equal(send_text(from, NULL, "still here"), NET_OK);
    assert_int_equal(receive(to, &message), NET_OK);
    assert_frame(&message.frame[0], "still here");
    net_message_close(&message);
    net_close(&partner, 0);
}

static void test_strangers_on_every_port(void **state) {
    (void)state;
    struct error error = {0};
    for (size_t kind = 0; kind < sizeof listeners / sizeof *listeners; kind++) {
        struct net *net = net_new(&error);
        struct net_socket *listener = bound_to(net, listeners[kind], &options);
        for (size_t i = 0; i < sizeof sayings / sizeof *sayings; i++) {
            int descriptor = stranger(listener, sayings[i].bytes, sayings[i].size);
            int opened = event_of(listener, NET_OPENED).connection;
            close(descriptor);
            assert_int_equal(event_of(listener, NET_HANDSHAKE_FAILED).connection, opened);
            assert_int_equal(net_next_event(listener).connection, opened);
        }
        still_serves(net, listener, kind);
        net_close(&listener, 0);
        net_destroy(&net, 0);
    }
}

static void test_random_bytes_on_every_port(void **state) {
    (void)state;
    struct error error = {0};
    unsigned char bytes[4096];
    srand(7);
    for (size_t kind = 0; kind < sizeof listeners / sizeof *listeners; kind++) {
        struct net *net = net_new(&error);
        struct net_socket *listener = bound_to(net, listeners[kind], &options);
        for (int round = 0; round < 20; round++) {
            for (size_t i = 0; i < sizeof bytes; i++)
                bytes[i] = (unsigned char)rand();
            int descriptor = stranger(listener, bytes, sizeof bytes);
            event_of(listener, NET_OPENED);
            close(descriptor);
            event_of(listener, NET_HANDSHAKE_FAILED);
            struct net_message message;
            if (listeners[kind] != NET_PUSH)
                assert_int_equal(net_receive(listener, &message), NET_AGAIN);
        }
        still_serves(net, listener, kind);
        net_close(&listener, 0);
        net_destroy(&net, 0);
    }
}

/* A stranger who says nothing while a good peer comes and goes: the failure is still counted once, and no end is lost.
 */
static void test_handshakes_that_overlap(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_ROUTER, NET_DEALER, &options);
    struct net_message message;
    int silent = stranger(pair.bound, "", 0);
    assert_int_equal(send_text(pair.connected, NULL, "hello"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    int good = message.connection;
    net_message_close(&message);
    event_of(pair.bound, NET_OPENED);
    event_of(pair.bound, NET_OPENED);
    net_close(&pair.connected, 0);
    assert_int_equal(event_of(pair.bound, NET_CLOSED).connection, good);
    close(silent);
    assert_int_not_equal(event_of(pair.bound, NET_HANDSHAKE_FAILED).connection, good);
    assert_int_equal(net_next_event(pair.bound).kind, NET_CLOSED);
    assert_int_equal(net_next_event(pair.bound).kind, NET_NOTHING);
    pair_close(&pair);
}

static void test_oversized_frame_costs_its_sender_alone(void **state) {
    (void)state;
    static char bytes[FRAME_MAX + 1];
    struct net_options generous = {.frame_max = 2 * FRAME_MAX, .queue = 8};
    struct pair pair = pair_open(NET_ROUTER, NET_DEALER, &options);
    struct net_socket *greedy = connected_to(pair.net, NET_DEALER, net_endpoint(pair.bound), &generous);
    struct net_message message;
    assert_int_equal(send_text(greedy, NULL, "small"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    int connection = message.connection;
    net_message_close(&message);
    assert_int_equal(net_send(greedy, NULL, &(struct net_piece){.data = bytes, .size = sizeof bytes}, 1), NET_OK);
    assert_int_equal(event_of(pair.bound, NET_CLOSED).connection, connection);
    net_close(&greedy, 0);
    assert_int_equal(send_text(pair.connected, NULL, "hello"), NET_OK);
    assert_int_equal(receive(pair.bound, &message), NET_OK);
    assert_frame(&message.frame[0], "hello");
    net_message_close(&message);
    pair_close(&pair);
}

/* A peer that speaks ZMTP 3 properly, by hand: greeting, READY, and the listener's READY awaited. */
static int zmtp_peer(const struct net_socket *listener) {
    static const char ready[] = "\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH";
    static const char greeting[64] = GREETING "\x03\x00NULL";
    int descriptor = stranger(listener, greeting, sizeof greeting);
    char answer[256];
    assert_int_equal(send(descriptor, ready, sizeof ready - 1, MSG_NOSIGNAL), sizeof ready - 1);
    for (size_t got = 0; got < sizeof greeting + sizeof ready - 1;) { /* its READY is at least as long as ours */
        ssize_t more = recv(descriptor, answer, sizeof answer, 0);
        assert_true(more > 0);
        got += (size_t)more;
    }
    return descriptor;
}

static void test_too_many_frames(void **state) {
    (void)state;
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *listener = bound_to(net, NET_PULL, &options);
    int descriptor = zmtp_peer(listener);
    for (int i = 0; i < NET_FRAMES_MAX + 2; i++)
        assert_int_equal(send(descriptor, "\x01\x01x", 3, MSG_NOSIGNAL), 3);
    assert_int_equal(send(descriptor, "\x00\x01x\x00\x04good", 9, MSG_NOSIGNAL), 9);
    struct net_message message;
    assert_int_equal(receive(listener, &message), NET_BAD);
    assert_int_equal(receive(listener, &message), NET_OK);
    assert_frame(&message.frame[0], "good");
    net_message_close(&message);
    close(descriptor);
    net_destroy(&net, 0);
}

/* A frame that claims to be larger than any ends the connection before memory is taken for it. */
static void test_claimed_size(void **state) {
    (void)state;
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *listener = bound_to(net, NET_PULL, &options);
    int descriptor = zmtp_peer(listener);
    int opened = event_of(listener, NET_OPENED).connection;
    assert_int_equal(send(descriptor, "\x02\x7f\xff\xff\xff\xff\xff\xff\xff", 9, MSG_NOSIGNAL), 9);
    assert_int_equal(event_of(listener, NET_CLOSED).connection, opened);
    close(descriptor);
    net_destroy(&net, 0);
}

/* ---- addresses that fail ---- */

static void test_port_in_use(void **state) {
    (void)state;
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *first = bound_to(net, NET_PULL, &options);
    assert_null(net_bind(net, NET_ROUTER, net_endpoint(first), &options, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_non_null(strstr(error.text, net_endpoint(first)));
    assert_non_null(strstr(error.text, ": port in use; stop the other program or choose another port with --listen"));
    assert_null(net_bind(net, NET_ROUTER, "tcp://192.0.2.1:7600", &options, &error));
    assert_non_null(strstr(error.text, "not an address of this machine"));
    net_destroy(&net, 0);
}

static void test_connect_fails_only_when_malformed(void **state) {
    (void)state;
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *lost = connected_to(net, NET_DEALER, "tcp://no-such-host.invalid:7600", &options);
    assert_int_equal(send_text(lost, NULL, "hello"), NET_OK);
    net_close(&lost, 0);
    assert_null(lost);
    static const char *const bad[] = {"tcp://*:7600", "tcp://host:0", "tcp://host:*", "host:7600"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(net_connect(net, NET_DEALER, bad[i], &options, &error));
        assert_int_equal(error.code, ERROR_USAGE);
    }
    net_destroy(&net, 0);
}

/* ---- waiting ---- */

static void on_alarm(int number) {
    (void)number;
}

static void test_wait(void **state) {
    (void)state;
    struct pair pair = pair_open(NET_ROUTER, NET_DEALER, &options);
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    event_of(pair.bound, NET_OPENED);
    struct net_wait waits[] = {{.descriptor = descriptor, .readable = true}, {.socket = pair.bound, .readable = true}};
    do { /* the end of the handshake wakes the loop, too, and tells nothing */
        assert_int_equal(net_next_event(pair.bound).kind, NET_NOTHING);
        assert_true(net_wait(waits, 2, 100, NULL));
    } while (waits[1].has_event);
    assert_false(waits[0].can_read || waits[1].can_read || waits[1].has_event);
    assert_int_equal(eventfd_write(descriptor, 1), 0);
    assert_true(net_wait(waits, 2, 5000, NULL));
    assert_true(waits[0].can_read);
    assert_false(waits[0].can_write || waits[1].can_read);
    assert_int_equal(send_text(pair.connected, NULL, "hello"), NET_OK);
    waits[0].readable = false;
    assert_true(net_wait(waits, 2, 5000, NULL));
    assert_true(waits[1].can_read && !waits[0].can_read);
    waits[0] = (struct net_wait){.descriptor = descriptor, .writable = true};
    assert_true(net_wait(waits, 1, 5000, NULL));
    assert_true(waits[0].can_write && !waits[0].can_read);
    close(descriptor);
    pair_close(&pair);
}

static void test_signal_ends_the_wait(void **state) {
    (void)state;
    struct error error = {0};
    struct net *net = net_new(&error);
    struct net_socket *socket = bound_to(net, NET_PULL, &options);
    struct sigaction action = {.sa_handler = on_alarm}, before;
    sigaction(SIGALRM, &action, &before);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value = {.tv_usec = 50000}}, NULL);
    struct net_wait wait = {.socket = socket, .readable = true};
    mono_t start = mono_now();
    assert_true(net_wait(&wait, 1, 5000, &error));
    assert_true(mono_since(mono_now(), start) < PATIENCE - MONO_SECOND);
    assert_false(wait.can_read);
    sigaction(SIGALRM, &before, NULL);
    net_destroy(&net, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dealer_and_router),
        cmocka_unit_test(test_push_and_pull_of_every_size),
        cmocka_unit_test(test_taking_a_frame),
        cmocka_unit_test(test_release_is_called_once),
        cmocka_unit_test(test_release_on_failure),
        cmocka_unit_test(test_back_pressure_loses_nothing),
        cmocka_unit_test(test_router_tells_who_is_gone),
        cmocka_unit_test(test_reconnect),
        cmocka_unit_test(test_strangers_on_every_port),
        cmocka_unit_test(test_random_bytes_on_every_port),
        cmocka_unit_test(test_handshakes_that_overlap),
        cmocka_unit_test(test_oversized_frame_costs_its_sender_alone),
        cmocka_unit_test(test_too_many_frames),
        cmocka_unit_test(test_claimed_size),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_connect_fails_only_when_malformed),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_signal_ends_the_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
