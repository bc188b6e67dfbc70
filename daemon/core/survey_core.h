/* The coordinator's survey of its boards and links: pure. Which boards are to be profiled, which pairs of ends probed,
 * and what is known so far. Time is passed in.
 *
 * An end is a board or the coordinator (SURVEY_COORDINATOR). Boards are measured once they are wanted: first their
 * profiles, all that lack one at the same time (boards that share a machine then measure what they will get while they
 * serve together), then the links between wanted boards and to the coordinator, disjoint pairs at the same time. While
 * a wanted board is profiled nothing is probed but newcomers, and no profile is asked for while anything is probed, so
 * that neither disturbs the other. While a pipeline is prepared, or none of the ways of microbatches is free
 * (SURVEY_HOLD), no link is measured: a stage whose slots are full does not read its socket, and would look like a link
 * that is slow.
 *
 * A newcomer is a board that has no part in what serves or is planned. Whether it can be reached is seen first, by a
 * brief probe between it and the coordinator, then it is profiled; nobody waits for it, and its links are measured when
 * it is wanted. A board out of reach is not tried with all others: one more end that fails is enough.
 *
 *   profile:  UNKNOWN --asked--> ASKED --told--> KNOWN
 *                ^                 |
 *                +-- again, busy --+-- given up --> FAILED --SURVEY_AGAIN after a pause--> UNKNOWN
 *   link:     UNKNOWN --started--> ASKED --both ends told--> KNOWN
 *                ^                   |
 *                +- again, was brief +-- given up --> FAILED --SURVEY_AGAIN, SURVEY_NEWCOMER after a pause--> UNKNOWN
 *
 * What is known stays known: a profile while its board is here, a link while both its ends are. What a coordinator
 * before this one knew of a link (SURVEY_RECALLED) is known after a brief probe in place of a whole one. What failed is
 * not known but settled: nobody waits for it, and it is tried again, once, at the next occasion behind a pause that
 * grows from ten seconds to five minutes. A board that goes takes its links along; the pairs that were being probed
 * with it are free for others at once. How often it died while it was profiled is remembered, so that one that starts
 * again at once does not keep the others waiting for ever. A refusal of a busy board is not a failure.
 *
 * Invariants (survey_core_broken checks them): an end is in at most one probe under way, and is here; numbers of
 * surveys and probes are never given twice. Memory: one struct of fixed size. Threads: none; one caller. Errors: a
 * wrong event is ignored.
 */
#ifndef DAEMON_CORE_SURVEY_CORE_H
#define DAEMON_CORE_SURVEY_CORE_H

#include "base/mono.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

#define SURVEY_COORDINATOR MESSAGE_BOARDS_MAX /* the number of its end */
#define SURVEY_ENDS        (MESSAGE_BOARDS_MAX + 1)

enum survey_state { SURVEY_UNKNOWN, SURVEY_ASKED, SURVEY_KNOWN, SURVEY_FAILED };

struct survey_settings {
    uint64_t first_number;    /* of surveys and probes; a random one keeps other coordinators' frames apart */
    int64_t profile_limit_ns; /* a profile that has not come after so long will not */
    int64_t probe_limit_ns;   /* likewise both ends' word about a probe */
    bool profiles, links;     /* whether they are wanted at all */
};

/* What happened. */
enum survey_event_type {
    SURVEY_JOINED,   /* board; known: its profile is at hand; stranger: the number was another board's. Whatever was
                        known of its links is forgotten */
    SURVEY_GONE,     /* board */
    SURVEY_RECALLED, /* board, other, latency_s, bytes_per_second (received by board), back (by other): of their link
                        some time ago; known again after a brief probe that finds about that latency */
    SURVEY_WANTED,   /* board: is to be measured, and waited for */
    SURVEY_NEWCOMER, /* board: has no part in what serves or is planned; if it was out of reach, it may be seen again */
    SURVEY_AGAIN,    /* a plan is asked for: what failed with wanted boards may be tried again */
    SURVEY_PROFILED, /* board, number, ok; not ok: busy: it cannot now */
    SURVEY_PROBED,   /* number, end, latency_s, bytes_per_second: as that end tells; 0: not measured */
    SURVEY_HOLD,     /* ok: no probe is to begin but a newcomer's brief one; not ok: they may again */
    SURVEY_TICK,     /* time has passed */
};

struct survey_event {
    enum survey_event_type type;
    unsigned board, other;
    bool known, stranger, ok, busy;
    uint64_t number;
    double latency_s, bytes_per_second, back;
};

/* What is to be done. */
enum survey_effect_type {
    SURVEY_ASK_PROFILE, /* board, number */
    SURVEY_START_PROBE, /* board (the end that starts), other, number, brief: a few frames will do; tell both */
    SURVEY_STOP_PROBE,  /* number: the coordinator's own end of it is not needed any more */
    SURVEY_LINK_FAILED, /* board, other: for the log */
};

struct survey_effect {
    enum survey_effect_type type;
    unsigned board, other;
    uint64_t number;
    bool brief;
};

#define SURVEY_EFFECTS_MAX (4 * SURVEY_ENDS)
struct survey_effects {
    unsigned count;
    struct survey_effect effect[SURVEY_EFFECTS_MAX];
};

struct survey_board {
    bool here, wanted, newcomer; /* wanted or newcomer, not both */
    enum survey_state profile;
    unsigned attempts; /* that failed, or in which it died; kept while it is gone */
    unsigned busy;     /* refusals in a row */
    unsigned given_up; /* how often it was, in a row; kept while it is gone */
    uint64_t number;   /* of the last survey asked for */
    mono_t at;         /* UNKNOWN and FAILED: not to be asked before; ASKED: since */
};

/* A pair of ends, the lower number first. */
struct survey_link {
    enum survey_state state;
    bool brief;        /* ASKED: only to see whether they reach each other */
    bool reached;      /* a brief probe has succeeded */
    unsigned attempts; /* that failed */
    unsigned given_up; /* how often it was, in a row */
    uint64_t number;   /* of the last probe */
    mono_t since;      /* ASKED; FAILED: not to be tried before */
    bool told[2];      /* by the lower end, by the higher one */
    double latency_s;
    double bytes_per_second[2]; /* received by the lower end, by the higher one; 0: no link, or not known */
    struct {
        double latency_s; /* 0: nothing is */
        double bytes_per_second[2];
    } recalled;
};

struct survey_core {
    struct survey_settings settings;
    uint64_t number; /* last given */
    bool held;
    struct survey_board board[SURVEY_ENDS];
    struct survey_link link[SURVEY_ENDS][SURVEY_ENDS]; /* [lower][higher] */
};

struct survey_progress {
    unsigned boards, profiled; /* wanted and here; of which known or given up */
    unsigned links, probed;
};

void survey_core_init(struct survey_core *core, const struct survey_settings *settings);

/* One event. *effects is overwritten. */
void survey_core_step(struct survey_core *core, const struct survey_event *event, mono_t now,
                      struct survey_effects *effects);

/* How far it is; all equal (and nothing under way) when it is done. */
struct survey_progress survey_core_progress(const struct survey_core *core);
bool survey_core_done(const struct survey_core *core);
/* The same for one board and its links to the wanted ones. */
bool survey_core_board_done(const struct survey_core *core, unsigned board);
/* The same for these boards, the links between them and to the coordinator, whoever else is wanted. */
bool survey_core_boards_done(const struct survey_core *core, const unsigned *boards, unsigned count);
/* Is known of this newcomer what is to be known before it is wanted: that it is reached, and its profile if it has one?
 */
bool survey_core_newcomer_done(const struct survey_core *core, unsigned board);
/* Is it known that a plan would find no use for this board: a newcomer that the coordinator does not reach, or a wanted
 * board that neither the coordinator nor the first other end that tried does? */
bool survey_core_out_of_reach(const struct survey_core *core, unsigned board);
/* When its link with the coordinator may be tried again; only while that is FAILED. */
mono_t survey_core_again_at(const struct survey_core *core, unsigned board);
/* Would SURVEY_AGAIN have anything tried again? */
bool survey_core_may_try_again(const struct survey_core *core, mono_t now);
/* Is this end in a probe under way? */
bool survey_core_probing(const struct survey_core *core, unsigned end);

/* What is known of the way from one end to another: 0 bytes per second when there is none or it is not known. */
void survey_core_way(const struct survey_core *core, unsigned from, unsigned to, double *latency_s,
                     double *bytes_per_second);

/* Has the link between two ends been measured, or recalled? */
bool survey_core_link_known(const struct survey_core *core, unsigned left, unsigned right);
/* Was it tried, and given up for now? */
bool survey_core_link_failed(const struct survey_core *core, unsigned left, unsigned right);

/* When SURVEY_TICK is wanted at the latest; false when nothing is waited for. */
bool survey_core_deadline(const struct survey_core *core, mono_t *deadline);

/* NULL, or which invariant does not hold. For tests. */
const char *survey_core_broken(const struct survey_core *core);

#endif
