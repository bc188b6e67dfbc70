/* One end of the probe of a link: pure. Both ends run one; frames between them travel over the data sockets, so what is
 * measured is what a microbatch would meet. Time is passed in.
 *
 *   the end that starts:   PINGING --- pongs ---> SENDING --- LAST out ---> RECEIVING --- LAST in ---> OVER
 *   the other one:         ECHOING --- chunk ---> RECEIVING --- LAST in ---> SENDING --- LAST out ---> OVER
 *   from everywhere to OVER: time is up, or PROBE_ABORT
 *
 * Latency: half the shortest of a few round trips, measured by the end that starts. While nothing comes back it pings
 * again, because the other end may not know of the probe yet; a pong names its ping, so the answer to an older one
 * counts too, and a way that takes longer than that patience is measured all the same. Bandwidth: one end sends chunks,
 * the other acknowledges them, measures when they come, and says ENOUGH. The sender keeps what is on its way to a
 * window that grows with what was acknowledged, so buffers along the way hold little when it is over; its LAST comes
 * behind the last chunk, so the other direction begins on an empty link. The first quarter, in bytes and in time, does
 * not count: buffers, the burst of a token bucket and TCP's slow start lie there.
 *
 * Invariants: PROBE_REPORT is given exactly once, on entering OVER; after it nothing has an effect. Frames of another
 * probe never come here. Memory: one struct of fixed size. Threads: none; one caller. Errors: a frame out of place is
 * ignored.
 */
#ifndef DAEMON_CORE_PROBE_CORE_H
#define DAEMON_CORE_PROBE_CORE_H

#include "base/mono.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

#define PROBE_SAMPLES 128 /* arrivals remembered */
#define PROBE_PINGS   32  /* pings remembered: more than are sent before a silent end is given up */

enum probe_state { PROBE_PINGING, PROBE_ECHOING, PROBE_SENDING, PROBE_RECEIVING, PROBE_OVER };

struct probe_settings {
    bool starts;
    int64_t limit_ns;     /* it is given up after so long, or after three seconds without an answer */
    int64_t burst_ns;     /* how long to receive, if that makes enough bytes to say something; eight times at most */
    uint64_t burst_bytes; /* or how much */
};

/* What happened. */
enum probe_event_type {
    PROBE_ARRIVED,  /* kind, number, bytes: a frame of this probe */
    PROBE_WRITABLE, /* the socket to the other end takes a frame */
    PROBE_TICK,     /* time has passed */
    PROBE_ABORT,    /* text: it is not to go on */
};

struct probe_event {
    enum probe_event_type type;
    enum probe_kind kind;
    uint64_t number, bytes;
    const char *text; /* static */
};

/* What is to be done. */
enum probe_effect_type {
    PROBE_SEND,  /* kind, number, bytes (of the raw frame of a chunk); only after PROBE_WRITABLE, and only one */
    PROBE_REPORT /* the members of the core from `latency_s` on are final */
};

struct probe_effect {
    enum probe_effect_type type;
    enum probe_kind kind;
    uint64_t number;
    uint32_t bytes; /* at most MESSAGE_PROBE_MAX */
};

struct probe_effects {
    unsigned count;
    struct probe_effect effect[2];
};

struct probe_sample {
    mono_t at;
    uint64_t bytes; /* received up to then */
};

struct probe_core {
    enum probe_state state;
    struct probe_settings settings;
    mono_t began, heard; /* heard: the last ping, at first when it began */

    uint64_t ping, answered; /* numbers of the last ones sent and answered, 0: none */
    bool ping_due;
    mono_t ping_at[PROBE_PINGS]; /* when ping N was sent, at N % PROBE_PINGS */
    unsigned pongs;

    uint64_t sent, acknowledged; /* bytes of chunks, while SENDING */
    bool told_enough;

    bool pong_due, ack_due, enough_due, enough;
    uint64_t pong; /* number to be echoed */
    uint64_t received, seen;
    struct probe_sample first, last, sample[PROBE_SAMPLES];
    unsigned samples, stride;

    double latency_s;        /* 0: not known */
    double bytes_per_second; /* received; 0: not known */
    const char *error;       /* NULL: measured; static */
};

void probe_core_init(struct probe_core *core, const struct probe_settings *settings, mono_t now);

/* One event. *effects is overwritten. */
void probe_core_step(struct probe_core *core, const struct probe_event *event, mono_t now,
                     struct probe_effects *effects);

/* Would PROBE_WRITABLE make it send something now? */
bool probe_core_wants(const struct probe_core *core);

/* When PROBE_TICK is wanted at the latest; not to be asked when OVER. */
mono_t probe_core_deadline(const struct probe_core *core);

#endif
