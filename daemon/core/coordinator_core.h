/* The coordinator's state machine: pure. Every happening is an event, everything to be done an effect; time is passed
 * in.
 *
 *                        enough boards            plan found               all stages ready
 *      +-> WAITING -----------------> (plan effect) --------> PREPARING --------------------> SERVING
 *      |      ^  a board is lost, fails or leaves        |                                      |
 *      |      +------------------------------------------+--------------------------------------+ a stage is lost
 *      |                                                                                        |
 *      |   nothing in flight any more        another plan is needed, and it cannot be prepared  |
 *      +------------------------------ PAUSING <----------------- beside the one in force ------+
 *
 * Pipelines. An epoch is a plan put in force: a pipeline. While one serves, another may be prepared beside it, where
 * the boards have memory for both; when all its stages are ready new microbatches take the new way, and the old one
 * drains: serves what it has and is retired then. So there are two at most, each in its lane (epoch_lane).
 *
 *      NONE ----> PREPARING ----> SERVING ----> DRAINING ----> NONE     and from everywhere to NONE, when it breaks
 *
 * A plan in force is replaced when a board has come (CORE_BOARD_MEASURED, or at once where nothing is measured) or is
 * slower or faster than it was planned with (CORE_BOARD_DRIFTED) and another plan promises settings.gain more; and,
 * whatever that costs, when one of its boards asks to leave. If a stage cannot prepare its slice the old plan stays.
 * Where there is no memory for the best plan beside the one in force, a step is taken if there is one: the best plan
 * for which there is. When it serves, boards hold other units and the next step is looked for; each is faster than
 * the one before (but for the first, where a board leaves), so there is a last one. Without a step it takes a pause.
 *
 * Invariants: at most one pipeline serves, and only in SERVING are microbatches dispatched; an item is in exactly one
 * place (free, queued, or in one flight) and leaves it by exactly one answer, failure or drop effect; a flight is under
 * way in a pipeline that serves or drains, or waits to be sent again; epochs and sequence numbers only grow. An item
 * that is withdrawn leaves the queue at once; one in a flight stays there, for a flight keeps its items.
 *
 * Replay. A flight keeps its items until they are answered. When its pipeline breaks, or a later one overtakes it, it
 * is sent again, whole and before anything new, under a new sequence number: the same items together give the same
 * bits. A result counts once, by epoch and sequence number. A microbatch that pipelines die of is given up after
 * CORE_SUSPECTED_MAX. Suspected is only what the board that is gone may have been computing, as its last heartbeat has
 * it; others die along with it and are sent again, CORE_ATTEMPTS_MAX times at most, for heartbeats may be wrong.
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
#include "daemon/core/fleet_event.h"
#include "partitioner/partitioner.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

#define CORE_BOARDS_MAX    MESSAGE_BOARDS_MAX
#define CORE_ITEMS_MAX     4096
#define CORE_IN_FLIGHT_MAX 200 /* in one pipeline; the longest needs three for each of its boards and two */
#define CORE_FLIGHTS_MAX   (MESSAGE_LANES * CORE_IN_FLIGHT_MAX)
#define CORE_SUSPECTED_MAX 8
#define CORE_ATTEMPTS_MAX  64
#define CORE_REASON_MAX    320

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
    unsigned in_flight;         /* most microbatches in flight; 0: by the plan, see core_flights_allowed */
    int64_t microbatch_wait_ns; /* how long the first item waits for company */
    int64_t board_silence_ns;   /* a board that says nothing for so long is lost */
    int64_t patience_ns;        /* how long an item waits for a pipeline that does not serve */
    int64_t stall_ns;           /* microbatches in flight, nobody computing: lost after so long */
    bool measured_first;        /* boards are planned with after CORE_BOARD_MEASURED: a plan's times are of that */
    int64_t settle_ns;          /* without a fixed number of stages: how long to wait for further boards */
    double gain;                /* a plan replaces one that could go on if it is faster by this share, such as 0.1 */
    int64_t repay_ns;           /* and has made good, after so long, for the pause that it costs */
    int64_t hung_ns; /* a stage that computes one microbatch for longer than this and HUNG_FACTOR times what the plan
                        says has hung; 0: not judged */
    int64_t load_hung_ns; /* a stage that prepares, and whose load has not got on for so long, has, too; 0: likewise */
};

enum core_hang { HANG_NONE, HANG_COMPUTING, HANG_LOADING };

struct core_board {
    char name[MESSAGE_NAME_MAX + 1];
    enum board_state state;
    uint64_t memory_bytes;
    mono_t heard;
    bool measured;                 /* nothing is to be found out about it any more before it is planned with */
    bool listed;                   /* for the plan that was asked for last */
    enum core_hang hang;           /* UNFIT because it got on with that for too long; IDLE again when that is over */
    unsigned hangs;                /* how often; each time it is given twice as long */
    int stage;                     /* in the pipeline that serves, else in the one that is prepared; -1: in neither */
    struct message_heartbeat last; /* of the epoch in force */
    char reason[CORE_REASON_MAX];  /* why unfit */
};

/* What happened. */
enum coordinator_event_type {
    CORE_BOARD_JOINED,   /* name, memory_bytes, text: what it is, or NULL -> the step returns its number in
                            effects.board */
    CORE_BOARD_LOST,     /* board: connection closed */
    CORE_BOARD_LEAVING,  /* board: it asks to leave */
    CORE_BOARD_DRAINED,  /* board: somebody else asks that it leave, in the same way */
    CORE_BOARD_READY,    /* board, epoch */
    CORE_BOARD_FAILED,   /* board, epoch, text */
    CORE_BOARD_DRIFTED,  /* board, pace: its times are not those it was planned with; it is planned with these now */
    CORE_BOARD_HEARD,    /* board: any message from it */
    CORE_BOARD_MEASURED, /* board: what is to be known of it before it gets a part is known */
    CORE_HEARTBEAT,      /* board, heartbeat */
    CORE_PLANNED,        /* plan, boards as the plan effect listed them, period_s, beside, pause_s, step; or text: why
                            there is none; or stale: the boards are not what they were, so another one is to be asked for */
    CORE_ITEM_ADMITTED,  /* item */
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
    double pace;     /* measured times by those of the board's profile */
    double period_s; /* of the plan in force, as its boards are now; 0: not known */
    bool beside;     /* every board has memory for its slice in this plan beside the one in force */
    double pause_s;  /* how long loading will take; counts where it cannot be beside */
    epoch_t epoch;
    sequence_t sequence;
    unsigned item, items;
    const char *text;
    const struct message_heartbeat *heartbeat;
    const struct plan *plan;
    const struct plan *step; /* not beside: the best plan that is; NULL: there is none, or no plan is in force */
};

/* What is to be done, in this order. */
enum coordinator_effect_type {
    CORE_PLAN,     /* boards[0..count): find a plan for these, in this order; answer with CORE_PLANNED in this same loop
                      turn or later */
    CORE_ASSIGN,   /* board, epoch; its slice and neighbours are in the pipeline of that epoch */
    CORE_SERVE,    /* epoch: connect to the first stage; tell every stage */
    CORE_RETIRE,   /* epoch: nothing will come of it any more; its pipeline can still be found during this step */
    CORE_DISPATCH, /* sequence, epoch, items; ids by core_flight_item */
    CORE_ANSWER,   /* item, row of the result that is being handled */
    CORE_FAIL,     /* item, text */
    CORE_DROP,     /* item: it was withdrawn before it was in a microbatch, and is not computed */
    CORE_RELEASE,  /* board: it may leave */
    CORE_EVENT,    /* event: to be told */
    CORE_EXIT,     /* all done */
};

struct coordinator_effect {
    enum coordinator_effect_type type;
    unsigned board;
    unsigned item, row, items;
    epoch_t epoch;
    sequence_t sequence;
    const char *text;                /* CORE_FAIL: lies in effects->text */
    const struct fleet_event *event; /* CORE_EVENT: lies in effects->event */
};

#define CORE_TEXTS_MAX   8
#define CORE_EVENTS_MAX  (CORE_BOARDS_MAX + 16) /* one for each board, and what a change of plan has to say */
#define CORE_EFFECTS_MAX (CORE_ITEMS_MAX + 6 * CORE_BOARDS_MAX)
struct coordinator_effects {
    unsigned count;
    struct coordinator_effect effect[CORE_EFFECTS_MAX];
    unsigned board;                   /* number of the board of CORE_BOARD_JOINED */
    unsigned boards[CORE_BOARDS_MAX]; /* for CORE_PLAN */
    unsigned board_count;
    unsigned texts;
    char text[CORE_TEXTS_MAX][CORE_REASON_MAX];
    unsigned events;
    struct fleet_event event[CORE_EVENTS_MAX];
};

struct core_flight {
    sequence_t sequence;
    epoch_t epoch;         /* that it was sent in last */
    unsigned first, count; /* items, linked by core->next */
    unsigned attempts;     /* how often it was sent */
    unsigned suspected;    /* how often its pipeline ended so that it might have been the reason */
};

enum pipeline_state { PIPELINE_NONE, PIPELINE_PREPARING, PIPELINE_SERVING, PIPELINE_DRAINING };

struct core_pipeline {
    enum pipeline_state state;
    epoch_t epoch;
    bool beside;                 /* it was prepared while another served */
    bool step;                   /* there was a better plan, for which there was no memory beside the one in force */
    unsigned sent;               /* flights under way in it */
    mono_t progressed;           /* while DRAINING: the last result, or the beginning */
    struct plan plan;            /* plan.stage[].board are numbers of core->board[] */
    bool ready[CORE_BOARDS_MAX]; /* by stage */
};

/* Why the plan in force should be another one. */
enum core_wish {
    WISH_NONE,
    WISH_BETTER, /* there may be a better one */
    WISH_OTHER,  /* one of its boards is to go */
};

struct coordinator_core {
    struct coordinator_settings settings;
    enum coordinator_state state;
    bool ending;
    bool changed;    /* boards to be planned with came or went since a plan was last asked for */
    bool planning;   /* CORE_PLAN was given and CORE_PLANNED has not come */
    bool unmeasured; /* boards that are not measured are listed too: the others cannot hold the model */
    enum core_wish wish;
    bool writable;                /* the first stage takes another microbatch */
    bool served;                  /* an epoch has served, so that time without one is a pause */
    bool caused;                  /* something has happened, at caused_at, that another epoch is to answer */
    char cause[CORE_REASON_MAX];  /* what ended the last plan; empty while none did */
    char reason[CORE_REASON_MAX]; /* why it does not serve; empty while it does */
    epoch_t epoch;                /* last given */
    sequence_t sequence;          /* last given */
    mono_t unserved_since, progressed, joined_at, caused_at, planning_since;

    unsigned boards, planned_boards; /* known; listed for the last plan */
    struct core_board board[CORE_BOARDS_MAX];
    struct core_pipeline pipeline[MESSAGE_LANES]; /* by epoch_lane */

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

/* The pipeline of that epoch, NULL when its place has another or it never was. */
const struct core_pipeline *core_pipeline_of(const struct coordinator_core *core, epoch_t epoch);
/* The pipeline in that state, NULL when there is none. */
const struct core_pipeline *core_pipeline_in(const struct coordinator_core *core, enum pipeline_state state);
/* The pipeline that serves, else the one that is prepared, NULL when there is neither. */
const struct core_pipeline *core_pipeline_in_force(const struct coordinator_core *core);
/* A lane without a pipeline, MESSAGE_LANES when both have one. */
unsigned core_lane_free(const struct coordinator_core *core);
/* May a plan that is asked for now wait for what failed to be tried again? Not once a fleet that served has stopped:
 * everybody waits for that plan. */
bool core_plan_may_wait(const struct coordinator_core *core);
/* How many microbatches may be under way in the pipeline that serves: the setting, or what its plan needs
 * (plan_in_flight); at most CORE_IN_FLIGHT_MAX. Without one and without a setting: 0. */
unsigned core_flights_allowed(const struct coordinator_core *core);

/* The plan that was asked for is made without this board: it is not taken for measured. */
void coordinator_core_unlist(struct coordinator_core *core, unsigned board);

/* Could the pipeline serve on without this board, as far as their number tells? Also true where it makes no difference:
 * the board does not count, or there are too few anyway. */
bool coordinator_core_spares(const struct coordinator_core *core, unsigned board);

/* The flight of that sequence number, NULL when there is none; its items in order of their rows. */
const struct core_flight *core_flight_find(const struct coordinator_core *core, sequence_t sequence);
unsigned core_flight_item(const struct coordinator_core *core, const struct core_flight *flight, unsigned row);

#endif
