/* One end of the probe of a link, as a daemon takes part in it: a PUSH socket to the other end's data socket and the
 * pure core (core/probe_core.h). A stage has one, and so has the coordinator; all of it runs in the I/O thread.
 */
#ifndef DAEMON_PROBER_H
#define DAEMON_PROBER_H

#include "base/error.h"
#include "daemon/core/probe_core.h"
#include "daemon/net/net.h"
#include "proto/codec.h"

/* Starts zeroed. */
struct prober {
    struct net_socket *socket; /* NULL while nothing is probed */
    uint64_t probe;            /* 0: none under way */
    struct probe_core core;
    const struct key_pair *keys; /* ours, borrowed for as long as it probes; NULL: there are none */
    struct public_key peer;      /* of the other end, where there are keys */
    void *chunk;                 /* what chunks are made of; libzmq reads from it until net_destroy */
};

/* Gives back what libzmq may read from until net_destroy: to be called after it, and after prober_stop. */
void prober_close(struct prober *prober);

/* Begins; a probe under way is given up without a word: whoever asks knows. An endpoint that is none, or a missing key,
 * is an error. */
bool prober_begin(struct prober *prober, struct net *net, const struct message_probe *probe, struct error *error);
/* Gives up what is under way. */
void prober_stop(struct prober *prober);

enum prober_verdict {
    PROBER_TAKEN,
    PROBER_STALE,     /* of another probe, or of another end */
    PROBER_MALFORMED, /* no frame of any */
};
/* A message of the data socket for which probe_header_is. The arena is left as it was. */
enum prober_verdict prober_arrived(struct prober *prober, struct arena *arena, const struct net_message *received);

/* Sends what can be sent and looks at the clock. True when the probe is over: *result is what to report. */
bool prober_turn(struct prober *prober, struct message_probed *result);

/* What to wait for besides; false when nothing. */
bool prober_wait(const struct prober *prober, struct net_wait *wait);
/* No later than this, if it is earlier than *deadline. */
void prober_deadline(const struct prober *prober, mono_t *deadline);

#endif
