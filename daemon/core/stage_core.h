/* The state machine of a stage: pure. Every happening is an event, everything to be done an effect; time is passed in.
 *
 *             welcome
 *   JOINING -----------> ADMITTED     JOINING again when the connection closed: loaded weights are kept, everything
 *      ^                    |         else is given up. GONE at the end.
 *      +--------------------+
 *
 * A stage has two lanes, each with a data socket, slots, an engine and a connection to a next stage of its own. Epochs
 * use the lanes in turn (epoch_lane), so that one can be prepared, and begin to serve, while the one before still
 * serves; and since no lane ever waits for a slot of the other, neither can two epochs whose routes cross wait for each
 * other. Of each lane:
 *
 *          assigned            slots, loader at rest        loaded            told to serve, or a microbatch came
 *   FREE -----------> CLEARING --------------------> LOADING --------> READY --------> SERVING
 *    ^                                                  |                |                |
 *    +--------------------------------------------------+----------------+----------------+
 *      retired, another assignment takes its place, cannot load, no connection any more
 *
 * An assignment that is prepared beside what serves replaces only what is not serving yet; any other ends all that was
 * there before. A lane that has become FREE keeps its weights until another lane works or the next load takes from them
 * what it needs.
 *
 * Leaving is no state but a wish: a stage that asked to leave goes on serving until it is released, the connection
 * closes, patience ends, or it is told to stop a second time; then it is GONE.
 *
 * Slots. An input slot holds a received microbatch from its arrival until it was computed; an output slot is taken
 * together with the start of computing and held until the network has let go of its bytes. The one compute worker works
 * in order of arrival, whatever the lane. Events about slots come from threads that cannot be called back, so slots
 * outlive the epoch they were filled in; a new load into their lane begins only when none is in use.
 *
 * Invariants (stage_core_broken checks them): a slot is in one state and leaves it only by its own event; computing
 * inputs and computing outputs pair up; nothing waits or is ready to be sent unless its lane is READY or SERVING; at
 * most one lane is CLEARING or LOADING; the loader has at most one load, and in LOADING exactly one; an engine is in a
 * lane or with the loader, and in the lane while it works; epochs, and the sequence numbers of what was computed in one
 * epoch, only grow. What a load fetches, and from whom, is the business of fetch_core.h.
 *
 * Memory: one struct of fixed size. Threads: none; one caller. Errors: none; a wrong event is counted or ignored.
 */
#ifndef DAEMON_CORE_STAGE_CORE_H
#define DAEMON_CORE_STAGE_CORE_H

#include "base/mono.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STAGE_LANES       MESSAGE_LANES
#define STAGE_INPUTS      2 /* of a lane: one computing, one being received ahead */
#define STAGE_OUTPUTS     2 /* of a lane: one being sent, one being computed */
#define STAGE_EFFECTS_MAX 32

enum stage_state {
    STAGE_JOINING,  /* no coordinator knows us */
    STAGE_ADMITTED, /* one does; what we do for it is told by the lanes */
    STAGE_GONE,     /* finished; nothing has an effect any more */
};
const char *stage_state_name(enum stage_state state);

enum lane_state {
    LANE_FREE,     /* of no epoch */
    LANE_CLEARING, /* assigned; slots of an earlier epoch, or an earlier load, are going away */
    LANE_LOADING,  /* the loader prepares the slice */
    LANE_READY,    /* prepared; other stages may not be */
    LANE_SERVING,
};
const char *lane_state_name(enum lane_state state);

/* What may cross a cut: the parts as a data header describes them, and their sizes per item. */
struct stage_cut {
    uint32_t parts;
    struct data_part part[MESSAGE_PARTS_MAX];
    uint64_t bytes[MESSAGE_PARTS_MAX];
};

/* What happened. The comment lists the members that count. */
enum stage_event_type {
    STAGE_OPENED,      /* the control connection is there */
    STAGE_CLOSED,      /* it is not any more */
    STAGE_WELCOMED,    /* cluster, heartbeat_ns */
    STAGE_REFUSED,     /* again */
    STAGE_ASSIGNED,    /* epoch, first, end, microbatch, beside: the slice to prepare */
    STAGE_TOLD_SERVE,  /* epoch */
    STAGE_RETIRED,     /* epoch: nothing will come of it any more */
    STAGE_RELEASED,    /* the coordinator lets us go, as we asked or because the board is drained */
    STAGE_PROGRESSED,  /* done, total, fetched: the loader tells how far it is */
    STAGE_LOADED,      /* weight_bytes, in, out: the loader has finished */
    STAGE_LOAD_FAILED, /* text, kept: it has finished in vain; the engine it was given has come back or not */
    STAGE_LOAD_ENDED,  /* kept: it has stopped because it was told to */
    STAGE_NEXT_FAILED, /* lane, text: the next stage's endpoint is unusable */
    STAGE_ARRIVED,     /* lane, header, sizes, frames: a microbatch that could be decoded */
    STAGE_UNREADABLE,  /* a message that could not */
    STAGE_STRAY,       /* text: a frame that came too late, or is for somebody else */
    STAGE_DENIED,      /* text: a frame of one who may not send it */
    STAGE_HANDSHAKE,   /* a connection that never became one; whoever saw it logs it */
    STAGE_COMPUTED,    /* lane, input, output, damaged, checksum, busy_ns */
    STAGE_SENT,        /* lane, output: handed to the network */
    STAGE_BLOCKED,     /* lane, output: the network has no room */
    STAGE_WRITABLE,    /* lane: it has room again */
    STAGE_LET_GO,      /* lane, output: the network needs its bytes no more */
    STAGE_TICK,        /* time has passed */
    STAGE_SHUTDOWN,    /* asked to stop by the system */
};

struct stage_event {
    enum stage_event_type type;
    uint64_t cluster;
    int64_t heartbeat_ns;
    epoch_t epoch;
    uint32_t first, end, microbatch;
    unsigned lane;
    bool again, damaged, beside, kept;
    uint64_t done, total, fetched, weight_bytes;
    const char *text; /* borrowed during the step, and by its effects */
    const struct stage_cut *in, *out;
    const struct data_header *header;
    unsigned frames; /* raw frames that came with the header */
    uint64_t sizes[MESSAGE_PARTS_MAX];
    unsigned input, output;
    uint64_t checksum;
    int64_t busy_ns;
};

/* What is to be done, in this order. */
enum stage_effect_type {
    STAGE_SAY_HELLO,
    STAGE_SAY_PROGRESS,  /* epoch, done, total, fetched */
    STAGE_SAY_READY,     /* epoch, weight_bytes */
    STAGE_SAY_FAILED,    /* epoch, text */
    STAGE_SAY_HEARTBEAT, /* see stage_core_heartbeat */
    STAGE_SAY_LEAVE,
    STAGE_OPEN_NEXT,  /* lane: connect afresh to the next stage of the newest assignment; answer STAGE_NEXT_FAILED if
                         impossible */
    STAGE_CLOSE_NEXT, /* lane: drop what is unsent */
    STAGE_LOAD, /* lane, old, beside: have the loader prepare the newest assignment, which takes lane old's engine and
                   may share the weights of lane beside's (STAGE_LANES: none); the lane's engine is what it gives back
                   with exactly one STAGE_LOAD(ED|_FAILED|_ENDED) */
    STAGE_DISCARD, /* lane: free its engine */
    STAGE_CANCEL,  /* tell the loader to stop */
    STAGE_KEEP,    /* lane, input: the microbatch of this event goes into this slot */
    STAGE_COMPUTE, /* lane, input, output */
    STAGE_DROP,    /* lane, input: its frames are not needed any more */
    STAGE_SEND,    /* lane, output; answer STAGE_SENT or STAGE_BLOCKED */
    STAGE_EXIT,
};

struct stage_effect {
    enum stage_effect_type type;
    epoch_t epoch;
    uint64_t done, total, fetched, weight_bytes;
    const char *text;
    unsigned lane, input, output, old, beside;
};

struct stage_effects {
    const char
        *fault; /* what was wrong with a frame that was counted as rejected; static, or the event's; NULL: nothing */
    unsigned count;
    struct stage_effect effect[STAGE_EFFECTS_MAX];
};

enum stage_input_state { STAGE_INPUT_FREE, STAGE_INPUT_WAITING, STAGE_INPUT_COMPUTING };
enum stage_output_state {
    STAGE_OUTPUT_FREE,
    STAGE_OUTPUT_COMPUTING,
    STAGE_OUTPUT_READY,   /* to be sent */
    STAGE_OUTPUT_SENDING, /* being handed to the network */
    STAGE_OUTPUT_SENT,    /* the network reads from it */
};

struct stage_input {
    enum stage_input_state state;
    uint64_t order; /* of arrival */
    struct data_header header;
};

struct stage_output {
    enum stage_output_state state;
    uint64_t order;
    struct data_header header; /* complete once it is READY */
};

struct stage_lane {
    enum lane_state state;
    epoch_t epoch; /* of the last assignment */
    uint32_t first, end, microbatch;
    struct stage_cut in, out; /* while READY or SERVING */
    bool filled;              /* an engine lies here */
    bool blocked;             /* the network has no room */
    sequence_t newest;        /* that was computed in this epoch */
    struct stage_input input[STAGE_INPUTS];
    struct stage_output output[STAGE_OUTPUTS];
};

struct stage_core {
    enum stage_state state;
    bool connected, leaving;
    mono_t leave_by;     /* while leaving */
    mono_t hello_at;     /* while JOINING and connected: when to say hello (again) */
    mono_t heartbeat_at; /* while ADMITTED */
    int64_t heartbeat_ns;
    uint64_t cluster;

    epoch_t epoch; /* assigned last in this cluster */
    struct stage_lane lane[STAGE_LANES];
    bool loader_busy, loader_cancelled;
    unsigned loader_lane;   /* that it works for, while busy */
    mono_t loader_got_on;   /* while busy: when it last reported, or began */
    uint64_t arrivals;      /* gives slots their order */
    mono_t computing_since; /* while an input is COMPUTING */

    /* of all lanes, since a lane last began to serve */
    mono_t serving_since;
    uint64_t microbatches, items; /* computed */
    int64_t busy_ns;

    struct rejected rejected; /* since the start of the process */
};

void stage_core_init(struct stage_core *core);

/* One event. *effects is overwritten. */
void stage_core_step(struct stage_core *core, const struct stage_event *event, mono_t now,
                     struct stage_effects *effects);

/* When STAGE_TICK is wanted at the latest; false when nothing is waited for. */
bool stage_core_deadline(const struct stage_core *core, mono_t *deadline);

/* Will an assignment of that epoch be acted upon? Not an old one, nor any while leaving. */
bool stage_core_accepts(const struct stage_core *core, epoch_t epoch);

/* Should a lane's data socket be read? Only while an input slot is free: TCP holds the rest back. Without a slice too:
 * whatever comes then is stale, and is counted and dropped rather than left to be taken for fresh later. */
bool stage_core_receiving(const struct stage_core *core, unsigned lane);

/* Does a coordinator know us, and has nothing for us to do? */
bool stage_core_idle(const struct stage_core *core);

/* Is a lane READY or SERVING? */
bool stage_core_working(const struct stage_core *core, unsigned lane);

/* The counters that STAGE_SAY_HEARTBEAT tells, of the newest epoch that serves, else of the newest there is;
 * allocations are the caller's. */
struct message_heartbeat stage_core_heartbeat(const struct stage_core *core, mono_t now);

/* NULL, or which invariant does not hold. For tests. */
const char *stage_core_broken(const struct stage_core *core);

#endif
