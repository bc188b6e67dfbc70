/* What the parts of the stage daemon share: stage.c (start, loop, end), stage_control.c (talk with the coordinator),
 * stage_weights.c (assignments and the loader), stage_fetch.c (tensors from others), stage_peers.c (tensors for
 * others), stage_data.c (microbatches), stage_measure.c (profiles and probes). All of it runs in the I/O thread. */
#ifndef DAEMON_STAGE_INTERNAL_H
#define DAEMON_STAGE_INTERNAL_H

#include "base/mono.h"
#include "base/queue.h"
#include "daemon/compute.h"
#include "daemon/core/fetch_core.h"
#include "daemon/core/stage_core.h"
#include "daemon/loader.h"
#include "daemon/net/net.h"
#include "daemon/prober.h"
#include "daemon/profiler.h"
#include "daemon/stage.h"
#include "daemon/strangers.h"
#include "daemon/waiting.h"
#include "proto/codec.h"

/* The bytes of a microbatch from its arrival until it was computed, and its way through the worker. */
struct stage_input_slot {
    unsigned frames; /* 0: free */
    struct net_frame frame[MESSAGE_PARTS_MAX];
    struct compute_job job;
};

/* The network's hold on an output buffer of an engine. */
struct stage_output_slot {
    struct stage *stage;
    unsigned lane, index;
    unsigned held; /* parts that the network has not let go of */
    bool refused;  /* it took none of them after all */
};

/* A board that may lend tensors for the load at hand. */
struct stage_holder {
    char endpoint[NET_ENDPOINT_MAX];
    struct public_key key;     /* where there are keys */
    struct net_socket *socket; /* NULL: nothing was asked of it */
};

/* What belongs to one of the core's lanes. */
struct stage_way {
    struct net_socket *data, *next; /* next: NULL while nothing is to be sent */
    char data_endpoint[NET_ENDPOINT_MAX];
    char next_endpoint[NET_ENDPOINT_MAX];     /* of its newest assignment */
    struct public_key next_key, previous_key; /* likewise, where there are keys: theirs alone are talked to */
    mono_t used;                              /* when it last was of an epoch */
    struct public_key admitted[2];            /* whom the data socket lets in */
    size_t admitted_count;
    struct stage_engine *engine; /* NULL: none, or with the loader */
    struct stage_input_slot input[STAGE_INPUTS];
    struct stage_output_slot output[STAGE_OUTPUTS];
};

struct stage {
    const struct stage_options *options;
    const struct kernels *kernels;
    uint64_t instance; /* of this process */
    struct stage_core core;
    bool stop;
    struct error *failure; /* why it cannot go on; code ERROR_NONE while it can */

    struct net *net;
    struct net_socket *control;              /* NULL for a moment after its connection closed */
    struct net_socket *peers;                /* answers boards that fetch tensors from this one */
    char listen[NET_ENDPOINT_MAX];           /* where all of them are bound: the first port, or 0 */
    char weights_endpoint[NET_ENDPOINT_MAX]; /* of `peers`, as others are told it */
    struct stage_way way[STAGE_LANES];
    mono_t probed; /* when a probe was last under way */
    int signals;
    struct arena *decoded, *encoded; /* control messages */
    struct arena *header;            /* data headers */
    struct arena *request;           /* messages between boards */
    mono_t reconnect_at;             /* while control is NULL */
    mono_t opened;                   /* when control was */
    mono_t looked;                   /* when it was last found out why there is nothing to do */
    struct waiting waiting;          /* for the coordinator, or for a slice */
    mono_t refused_logged, fault_logged;
    char fault[256]; /* the last one */
    unsigned faults; /* since fault_logged */
    struct strangers strangers;

    struct loader *loader;
    struct compute *compute;
    struct queue *let_go;          /* output slots, one entry per part, put by libzmq's thread */
    struct assignment *assignment; /* newest, until the loader takes it */
    struct fetch_core fetch;
    struct stage_holder holder[FETCH_HOLDERS_MAX];

    struct profiler *profiler; /* NULL: no profile is being made */
    struct prober prober;
    struct net_message *arrived; /* the data message being handled */
    struct net_frame *part;      /* the bytes beside the message being handled */
};

/* stage.c: lets the core judge an event and carries out what it wants. */
void stage_feed(struct stage *stage, const struct stage_event *event);

/* stage_control.c */
/* Starts connecting; a connection that was there is given up with whatever was still to be sent. */
bool control_open(struct stage *stage, struct error *error);
void control_events(struct stage *stage);
void control_read(struct stage *stage);
/* Opens the control socket again when its time has come. */
void control_revive(struct stage *stage);
void control_log_waiting(struct stage *stage);
bool control_say(struct stage *stage, const struct message *message);
void control_effect(struct stage *stage, const struct stage_effect *effect);

/* stage_weights.c */
/* Keeps an ASSIGN message; the arena it was decoded with goes with it and is replaced. */
void weights_assigned(struct stage *stage, const struct message_assign *assign);
void weights_reports(struct stage *stage);
void weights_effect(struct stage *stage, const struct stage_effect *effect);

/* stage_fetch.c */
/* A load begins; the assignment says who may lend tensors. */
void fetch_begin(struct stage *stage, const struct message_assign *assign);
/* It is over, or nobody wants it any more. */
void fetch_end(struct stage *stage);
void fetch_wanted(struct stage *stage, const struct fetch_chunk *chunk);
/* Bytes of a tensor came from the coordinator (FETCH_COORDINATOR) or a holder; they are taken if they are wanted. */
void fetch_part(struct stage *stage, unsigned source, const struct message_tensor_part *part, struct net_frame *bytes);
void fetch_turn(struct stage *stage);
/* Adds what to wait for, at most FETCH_HOLDERS_MAX; returns how many. */
unsigned fetch_waits(struct stage *stage, struct net_wait waits[]);

/* stage_peers.c */
/* After data_open: at the same addresses, on the port behind those of the lanes where one was given, else on any. */
bool peers_open(struct stage *stage, struct error *error);
/* Where there are keys: these boards may fetch, and no others. */
void peers_admit(struct stage *stage, const struct message_fleet *fleet);
void peers_turn(struct stage *stage);

/* stage_data.c */
/* Decides where the stage listens, and opens the data sockets of all lanes. */
bool data_open(struct stage *stage, struct error *error);
/* How others are told of a socket that was bound there: one on all addresses as that which reaches the coordinator. */
bool data_name_endpoint(const struct stage *stage, const char *bound, char told[NET_ENDPOINT_MAX], struct error *error);
void data_close(struct stage *stage);
/* Where there are keys: lets in the stage before us in each lane, and the other end of a probe, while they may have
 * something to say. To be called in each turn; an assignment begins its lane's time by way->used. */
void data_admit(struct stage *stage);
void data_events(struct stage *stage);
void data_read(struct stage *stage);
void data_computed(struct stage *stage);
void data_let_go(struct stage *stage);
void data_effect(struct stage *stage, const struct stage_effect *effect);

/* stage_measure.c */
void measure_profile_get(struct stage *stage, const struct message_profile_get *get);
void measure_probe(struct stage *stage, const struct message_probe *probe);
/* Is this message of a data socket a probe's? Then it has been dealt with. */
bool measure_arrived(struct stage *stage, const struct net_message *received);
void measure_turn(struct stage *stage);
/* Adds what to wait for, at most two; returns how many. */
unsigned measure_waits(struct stage *stage, struct net_wait waits[]);

#define STAGE_ARENA_LIMIT ((size_t)128 << 20) /* a decoded ASSIGN of the largest model, with room to spare */

#endif
