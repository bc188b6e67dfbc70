/* What moving payloads costs; see handling.h. One thread sends to itself: a PUSH and a PULL socket as stages have them,
 * in a net of their own, never more than two messages on their way, and a checksum of each is taken before and after.
 * Time is the process's on its processors, whoever else has them, so a quota makes it last longer and changes nothing
 * else. The first messages do not count: they open the connection and fault in the pages. A slow board may not get
 * through what is wanted in the time there is: then what it did get through counts.
 *
 * Whether computing is held up at all is told from what it got while it was timed: less than its threads could use
 * means that others, or a quota, left it no more; as much as they could use, that a processor more would have been
 * there too. Failures (no memory, no loopback interface, cancelled) come back as the error. Memory: one payload, and
 * what libzmq holds of it. Threads: the calling one and the net's. */
#include "daemon/handling.h"

#include "base/allocate.h"
#include "base/hash.h"
#include "base/mono.h"
#include "daemon/board.h"
#include "daemon/net/net.h"

#include <math.h>
#include <string.h>

#define WARM_MESSAGES  2
#define LEAST_MESSAGES 8    /* that count, */
#define PROCESSOR_S    0.05 /* and how long they take: some dozen turns of a small quota, which differ much */
#define TIME_LIMIT     (5 * MONO_SECOND)
#define WAIT_MS        100
#define UNDERWAY       2
#define BYTES_LEAST    ((uint64_t)64 << 10)
#define BYTES_MOST     ((uint64_t)4 << 20) /* in no cache that a core has for itself; a byte of more costs the same */
#define UNHINDERED     0.9                 /* of a processor for each thread */

struct exchange {
    struct net *net;
    struct net_socket *in, *out;
    void *payload;
    uint64_t bytes;
    uint64_t checksum; /* of the payload, which never changes, and yet is taken for each message, as in a stage */
    unsigned sent, received;
};

/* The largest payload between two stages, of the smallest microbatch; 0: no two. */
static uint64_t payload_size(const struct model_config *config, unsigned items) {
    uint64_t most = 0;
    struct payload payload;
    for (unsigned cut = 1; cut < model_units(config); cut++) {
        model_cut(config, cut, &payload);
        uint64_t bytes = items * payload_bytes(&payload);
        most = bytes > most ? bytes : most;
    }
    return most == 0 ? 0 : most < BYTES_LEAST ? BYTES_LEAST : most < BYTES_MOST ? most : BYTES_MOST;
}

static bool open_sockets(struct exchange *exchange, const struct key_pair *keys, struct error *error) {
    struct net_options options = {.frame_max = exchange->bytes, .queue = 1, .keys = keys, .door = NET_DOOR_LATER};
    exchange->payload = try_allocate(exchange->bytes, 1);
    if (!exchange->payload)
        return error_set(error, ERROR_SYSTEM, "no memory for a payload of %.1f MiB", (double)exchange->bytes / 1048576);
    memset(exchange->payload, 1, exchange->bytes);
    exchange->net = net_new(error);
    if (!exchange->net || !(exchange->in = net_bind(exchange->net, NET_PULL, "tcp://127.0.0.1:0", &options, error)))
        return false;
    if (keys)
        net_admit(exchange->in, &keys->own, 1);
    options.server = keys ? &keys->own : NULL;
    exchange->out = net_connect(exchange->net, NET_PUSH, net_endpoint(exchange->in), &options, error);
    return exchange->out != NULL;
}

static void close_sockets(struct exchange *exchange) {
    net_close(&exchange->out, 0);
    net_close(&exchange->in, 0);
    if (exchange->net)
        net_destroy(&exchange->net, 0);
    release(exchange->payload); /* nothing refers to it any more */
}

/* The payload is no one message's own: there is nothing to release, but a copy must not be made. */
static void payload_released(void *data, void *context) {
    (void)data;
    (void)context;
}

static void drain_events(struct net_socket *socket) {
    while (net_next_event(socket).kind != NET_NOTHING) {
    } /* unread they would end every wait at once */
}

/* Waits a moment at most; sends and receives what there is. */
static bool turn(struct exchange *exchange, struct error *error) {
    struct net_message message;
    const struct net_piece piece = {.data = exchange->payload, .size = exchange->bytes, .released = payload_released};
    struct net_wait waits[2] = {
        {.socket = exchange->in, .readable = true},
        {.socket = exchange->out, .writable = exchange->sent < exchange->received + UNDERWAY},
    };
    if (!net_wait(waits, 2, WAIT_MS, error))
        return false;
    drain_events(exchange->in);
    drain_events(exchange->out);
    if (waits[1].can_write) {
        exchange->checksum = checksum_of(exchange->payload, exchange->bytes, 0);
        exchange->sent += net_send(exchange->out, NULL, &piece, 1) == NET_OK;
    }
    while (net_receive(exchange->in, &message) == NET_OK) { /* without keys anyone on this machine may send some */
        const struct net_frame *frame = &message.frame[0];
        bool ours = message.count == 1 && net_frame_size(frame) == exchange->bytes &&
                    checksum_of(net_frame_data(frame), exchange->bytes, 0) == exchange->checksum;
        exchange->received += ours && exchange->received < exchange->sent;
        net_message_close(&message);
    }
    return true;
}

/* Seconds of processors for each message that was sent and received. */
static bool run(const struct handling_settings *settings, struct exchange *exchange, double *seconds,
                struct error *error) {
    mono_t began = mono_now();
    unsigned warm = 0; /* messages received when counting begins, 0: it has not */
    double start = 0, used = 0;
    while (exchange->received < warm + LEAST_MESSAGES || warm == 0 || used < PROCESSOR_S) {
        if (settings->go_on && !settings->go_on(settings->context))
            return error_set(error, ERROR_SYSTEM, "cancelled");
        if (!turn(exchange, error))
            return false;
        used = processor_process_seconds() - start;
        if (warm == 0 && exchange->received >= WARM_MESSAGES) {
            warm = exchange->received;
            start = processor_process_seconds();
            used = 0;
        }
        if (mono_since(mono_now(), began) > TIME_LIMIT)
            break;
    }
    unsigned counted = exchange->received - warm;
    if (warm == 0 || counted == 0 || !(used > 0))
        return error_set(error, ERROR_SYSTEM, "%u messages over the loopback interface took %.3f s of processors",
                         counted, used);
    *seconds = used / counted;
    return true;
}

double handling_rate(double bytes, double seconds, unsigned threads, double got, unsigned there) {
    bool spare = got >= UNHINDERED * threads && there > threads;
    return spare ? 0 : 2 * bytes / seconds * fmin(got, threads);
}

bool handling_measure(const struct handling_settings *settings, struct profile *profile, struct error *error) {
    struct exchange exchange = {.bytes = payload_size(settings->config, profile->times[0].microbatch)};
    double seconds = 0;
    if (exchange.bytes == 0)
        return true;
    bool ok = open_sockets(&exchange, settings->keys, error) && run(settings, &exchange, &seconds, error);
    close_sockets(&exchange);
    if (ok)
        profile->handling_bytes_per_second =
            handling_rate((double)exchange.bytes, seconds, profile->threads, profile->processors, board_processors());
    return ok;
}
