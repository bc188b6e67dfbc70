/* The coordinator's state machine: pure. Every happening is an event, everything to be done an effect; time is passed
 * in.
 *
 *                        enough boards            plan found               all stages ready
 *      +-> WAITING -----------------> (plan effect) --------> PREPARING --------------------> SERVING
 *      |      ^  a board is lost, fails or leaves        |                                      |
 *      |      +------------------------------------------+--------------------------------------+ a stage is lost
 *      |                                                                                        |
 *      |   nothing in flight any more                                a board joins (no fixed    |
 *      +------------------------------ PAUSING <------------ number of stages) or asks to leave +
 *
 * Invariants: at most one epoch serves, and only in SERVING are microbatches dispatched; an item is in exactly one
 * place (free, queued, or in one flight) and leaves it by exactly one answer, failure or drop effect; a flight is under
 * way in the epoch in force or waits to be sent again; epochs and sequence numbers only grow. An item that is withdrawn
 * leaves the queue at once; one in a flight stays there, for a flight keeps its items.
 *
 * Replay. A flight keeps its items until they are answered. When its epoch breaks, or a later one overtakes it, it is
 * sent again, whole and before anything new, under a new sequence number: the same items together give the same bits.
 * A result counts once, by epoch and sequence number. A microbatch that every pipeline dies of is given up after
 * CORE_ATTEMPTS_MAX.
 *
 * Items are numbered by the caller (0 to CORE_ITEMS_MAX - 1). Boards are kept by name: one that comes back takes its
 * old place. Where more are here than wanted, those that came first are chosen; they are listed for the plan in the
 * order of their names. So an unchanged fleet gets an unchanged plan, also after a restart, and the boards keep their
 * weights. Memory: one struct of fixed size. Threads: none; one caller. Errors: none; a wrong event is counted or
 * ignored.
 */
#ifndef DAEMON_CORE_COORDINATOR_CORE_H
#define DAEMON_CORE_COORDINATOR_CORE_H

#include "base/mono.h"
#include "partitioner/partitioner.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

#define CORE_BOARDS_MAX   MESSAGE_BOARDS_MAX
#define CORE_ITEMS_MAX    4096
#define CORE_FLIGHTS_MAX  160
#define CORE_ATTEMPTS_MAX 8
#define CORE_REASON_MAX   320

enum coordinator_state {
    COORDINATOR_WAITING,
    COORDINATOR_PREPARING,
    COORDINATOR_SERVING,
    COORDINATOR_PAUSING,
    COORDINATOR_ENDED,
};
const char *coordinator_state_name(enum coordinator_state state);

enum board_state {
    BOARD_ABSENT,  /* known by name, not here */
    BOARD_IDLE,    /* here, owns nothing */
    BOARD_LOADING, /* told to prepare a slice */
    BOARD_READY,   /* has prepared it, or serves it */
    BOARD_UNFIT,   /* could not prepare a slice; not asked again until it says hello anew */
    BOARD_LEAVING, /* asked to leave; still serves until the flights have landed */
};
const char *board_state_name(enum board_state state);

struct coordinator_settings {
    unsigned stages;            /* boards to wait for; 0: serve with what is there, replan when more join */
    unsigned microbatch;        /* most items in one */
    unsigned in_flight;         /* most microbatches in flight; 0: two per stage and two more */
    int64_t microbatch_wait_ns; /* how long the first item waits for company */
    int64_t board_silence_ns;   /* a board that says nothing for so long is lost */
    int64_t patience_ns;        /* how long an item waits for a pipeline that does not serve */
    int64_t stall_ns;           /* microbatches in flight, nobody computing: lost after so long */
    bool measured_first;        /* a board that joins a pipeline at work is planned with after CORE_BOARD_MEASURED */
    int64_t settle_ns;          /* without a fixed number of stages: how long to wait for further boards */
};

struct core_board {
    char name[MESSAGE_NAME_MAX + 1];
    enum board_state state;
    uint64_t memory_bytes;
    mono_t heard;
    int stage;                     /* in the plan in force or in preparation, -1: none */
    struct message_heartbeat last; /* of the epoch in force */
    char reason[CORE_REASON_MAX];  /* why unfit */
};

/* What happened. */
enum coordinator_event_type {
    CORE_BOARD_JOINED,   /* name, memory_bytes -> the step returns its number in effects.board */
    CORE_BOARD_LOST,     /* board: connection closed */
    CORE_BOARD_LEAVING,  /* board */
    CORE_BOARD_READY,    /* board, epoch */
    CORE_BOARD_FAILED,   /* board, epoch, text */
    CORE_BOARD_HEARD,    /* board: any message from it */
    CORE_BOARD_MEASURED, /* board: what is to be known of it before it gets a part is known */
    CORE_HEARTBEAT,      /* board, heartbeat */
    CORE_PLANNED,       /* plan, boards as the plan effect listed them; or text: why there is none; or stale: the boards
                           are not what they were, so another one is to be asked for */
    CORE_ITEM_ADMITTED, /* item */
    CORE_ITEM_WITHDRAWN, /* item, admitted before: nobody waits for its answer any more */
    CORE_RESULT,         /* epoch, sequence, items */
    CORE_WRITABLE,       /* the first stage takes another microbatch */
    CORE_TICK,           /* time has passed */
    CORE_SHUTDOWN,       /* finish what was admitted, then end */
};

struct coordinator_event {
    enum coordinator_event_type type;
    unsigned board;
    const char *name;
    uint64_t memory_bytes;
    bool stale;
    epoch_t epoch;
    sequence_t sequence;
    unsigned item, items;
    const char *text;
    const struct message_heartbeat *heartbeat;
    const struct plan *plan;
};

/* What is to be done, in this order. */
enum coordinator_effect_type {
    CORE_PLAN,     /* boards[0..count): find a plan for these, in this order; answer with CORE_PLANNED in this same loop
                      turn or later */
    CORE_ASSIGN,   /* board, epoch; its slice and neighbours are in core->plan */
    CORE_SERVE,    /* epoch: connect to the first stage; tell every stage */
    CORE_DISPATCH, /* sequence, epoch, items; ids by core_flight_item */
    CORE_ANSWER,   /* item, row of the result that is being handled */
    CORE_FAIL,     /* item, text */
    CORE_DROP,     /* item: it was withdrawn before it was in a microbatch, and is not computed */
    CORE_RELEASE,  /* board: it may leave */
    CORE_NOTE,     /* text: for the log */
    CORE_EXIT,     /* all done */
};

struct coordinator_effect {
    enum coordinator_effect_type type;
    unsigned board;
    unsigned item, row, items;
    epoch_t epoch;
    sequence_t sequence;
    const char *text; /* CORE_FAIL, CORE_NOTE: lies in effects->text */
};

#define CORE_TEXTS_MAX   8
#define CORE_EFFECTS_MAX (CORE_ITEMS_MAX + 4 * CORE_BOARDS_MAX)
struct coordinator_effects {
    unsigned count;
    struct coordinator_effect effect[CORE_EFFECTS_MAX];
    unsigned board;                   /* number of the board of CORE_BOARD_JOINED */
    unsigned boards[CORE_BOARDS_MAX]; /* for CORE_PLAN */
    unsigned board_count;
    unsigned texts;
    char text[CORE_TEXTS_MAX][CORE_REASON_MAX];
};

struct core_flight {
    sequence_t sequence;
    unsigned first, count; /* items, linked by core->next */
    unsigned attempts;     /* how often it was sent */
};

struct coordinator_core {
    struct coordinator_settings settings;
    enum coordinator_state state;
    bool ending;
    bool changed;                 /* boards came or went since a plan was last asked for */
    bool planning;                /* CORE_PLAN was given and CORE_PLANNED has not come */
    bool replan;                  /* the plan in force or in preparation is to be given up without loss */
    bool writable;                /* the first stage takes another microbatch */
    char cause[CORE_REASON_MAX];  /* what ended the last plan; empty while none did */
    char reason[CORE_REASON_MAX]; /* why it does not serve; empty while it does */
    epoch_t epoch;
    sequence_t sequence; /* last given */
    mono_t unserved_since, progressed, changed_at;

    unsigned boards;
    struct core_board board[CORE_BOARDS_MAX];
    struct plan plan; /* plan.stage[].board are numbers of board[] */

    unsigned flights, sent;
    struct core_flight
        flight[CORE_FLIGHTS_MAX]; /* [0, sent) are under way, oldest first; the rest is to be sent again */

    unsigned queue_first, queue_last, queued;
    unsigned next[CORE_ITEMS_MAX];
    mono_t admitted[CORE_ITEMS_MAX];

    uint64_t items_done, items_failed, items_replayed, stale;
};

void coordinator_core_init(struct coordinator_core *core, const struct coordinator_settings *settings, mono_t now);

/* One event. *effects is overwritten. */
void coordinator_core_step(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                           struct coordinator_effects *effects);

/* When CORE_TICK is wanted at the latest. */
mono_t coordinator_core_deadline(const struct coordinator_core *core, mono_t now);

/* The flight of that sequence number, NULL when there is none; its items in order of their rows. */
const struct core_flight *core_flight_find(const struct coordinator_core *core, sequence_t sequence);
unsigned core_flight_item(const struct coordinator_core *core, const struct core_flight *flight, unsigned row);

#endif
