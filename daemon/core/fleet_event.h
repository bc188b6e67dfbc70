/* What there is to tell of a fleet: boards that come and go, plans and the epochs they make, what a change cost.
 *
 * The coordinator's core makes these beside what is to be done (CORE_EVENT); the daemon dates them, keeps the last ones
 * and tells them in its log and in `status`. Nothing depends on them. Plain data, no memory of its own; any thread.
 */
#ifndef DAEMON_CORE_FLEET_EVENT_H
#define DAEMON_CORE_FLEET_EVENT_H

#include "proto/message.h"

#include <stddef.h>
#include <stdint.h>

#define FLEET_NO_BOARD UINT32_MAX

/* What happened, and which members of struct fleet_event tell more of it. */
enum fleet_event_kind {
    FLEET_JOINED,     /* board, text: what it is */
    FLEET_LOST,       /* board, text: how */
    FLEET_LEAVING,    /* board, text: on whose wish */
    FLEET_LEFT,       /* board: without loss */
    FLEET_UNFIT,      /* board, epoch, text: why it cannot serve its slice */
    FLEET_DRIFTED,    /* board, pace: it is slower or faster than it was planned with */
    FLEET_REPLANNING, /* epoch: it is over; text: why */
    FLEET_PLANNING,   /* boards: a plan for so many is asked for */
    FLEET_PLANNED,  /* epoch, stages, boards, period_s, took_ns: measuring and planning; the stages load now; text: why
                       one that serves is to be replaced */
    FLEET_KEPT,     /* epoch; text: why the plan in force stays, or another could not be prepared */
    FLEET_NO_PLAN,  /* boards, took_ns, text: why there is none */
    FLEET_SERVING,  /* epoch, stages, took_ns: since its cause; unserved_ns; text: the cause */
    FLEET_REPLAYED, /* items, microbatches: they are sent again; text: why */
    FLEET_FAILED,   /* items: answered with an error; text: why */
};

struct fleet_event {
    enum fleet_event_kind kind;
    unsigned board; /* its number, FLEET_NO_BOARD: of none */
    epoch_t epoch;
    unsigned boards, stages, items, microbatches;
    double period_s;     /* predicted between full microbatches, 0: not known */
    double pace;         /* what the board's microbatches take, by what its profile says; 0: not known */
    int64_t took_ns;     /* 0: not known */
    int64_t unserved_ns; /* since the epoch before took its last microbatch, 0: there was none */
    const char *text;    /* borrowed, never NULL, may be empty */
};

/* One word, as in JSON: "joined", "no_plan". */
const char *fleet_event_kind_name(enum fleet_event_kind kind);

/* One sentence for people; board: the name of event->board, not looked at where there is none. Returns text. */
const char *fleet_event_words(const struct fleet_event *event, const char *board, char *text, size_t size);

#endif
