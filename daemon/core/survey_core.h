/* The coordinator's survey of its boards and links: pure. Which boards are to be profiled, which pairs of ends probed,
 * and what is known so far. Time is passed in.
 *
 * An end is a board or the coordinator (SURVEY_COORDINATOR). Boards are measured once they are wanted: first their
 * profiles, all that lack one at the same time (boards that share a machine then measure what they will get while they
 * serve together), then the links between wanted boards and to the coordinator, disjoint pairs at the same time. While
 * anything is profiled nothing is probed, and the other way round, so that neither disturbs the other. While a pipeline
 * serves (SURVEY_HOLD) no probe begins: a stage whose slots are full does not read its socket, and would look like a
 * link that is slow.
 *
 *   profile:  UNKNOWN --asked--> ASKED --told--> KNOWN          link:  UNKNOWN --started--> ASKED --both ends told-->
 * KNOWN ^                 |                                      ^                   |
 *                +--- again -------+--- given up --> FAILED               +------ again ------+--- given up --> FAILED
 *
 * What is known stays known: a profile while its board is here, a link while both its ends are. A board that goes takes
 * its links along; the pairs that were being probed with it are free for others at once.
 *
 * Invariants (survey_core_broken checks them): an end is in at most one probe under way, and is here; no profile is
 * asked for while a probe is under way; numbers of surveys and probes are never given twice. Memory: one struct of
 * fixed size. Threads: none; one caller. Errors: a wrong event is ignored.
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
    SURVEY_JOINED,   /* board; known: its profile is at hand. Whatever was known of its links is forgotten */
    SURVEY_GONE,     /* board */
    SURVEY_WANTED,   /* board: is to be measured */
    SURVEY_PROFILED, /* board, number, ok */
    SURVEY_PROBED,   /* number, end, latency_s, bytes_per_second: as that end tells; 0: not measured */
    SURVEY_HOLD,     /* ok: no probe is to begin; not ok: they may again */
    SURVEY_TICK,     /* time has passed */
};

struct survey_event {
    enum survey_event_type type;
    unsigned board;
    bool known, ok;
    uint64_t number;
    double latency_s, bytes_per_second;
};

/* What is to be done. */
enum survey_effect_type {
    SURVEY_ASK_PROFILE, /* board, number */
    SURVEY_START_PROBE, /* board (the end that starts), other, number; tell both */
    SURVEY_STOP_PROBE,  /* number: the coordinator's own end of it is not needed any more */
    SURVEY_LINK_FAILED, /* board, other: for the log */
};

struct survey_effect {
    enum survey_effect_type type;
    unsigned board, other;
    uint64_t number;
};

#define SURVEY_EFFECTS_MAX (4 * SURVEY_ENDS)
struct survey_effects {
    unsigned count;
    struct survey_effect effect[SURVEY_EFFECTS_MAX];
};

struct survey_board {
    bool here, wanted;
    enum survey_state profile;
    unsigned attempts;
    uint64_t number; /* of the last survey asked for */
    mono_t at;       /* UNKNOWN: not to be asked before; ASKED: since */
};

/* A pair of ends, the lower number first. */
struct survey_link {
    enum survey_state state;
    unsigned attempts;
    uint64_t number; /* of the last probe */
    mono_t since;    /* ASKED */
    bool told[2];    /* by the lower end, by the higher one */
    double latency_s;
    double bytes_per_second[2]; /* received by the lower end, by the higher one; 0: no link, or not known */
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
/* Is this end in a probe under way? */
bool survey_core_probing(const struct survey_core *core, unsigned end);

/* What is known of the way from one end to another: 0 bytes per second when there is none or it is not known. */
void survey_core_way(const struct survey_core *core, unsigned from, unsigned to, double *latency_s,
                     double *bytes_per_second);

/* When SURVEY_TICK is wanted at the latest; false when nothing is waited for. */
bool survey_core_deadline(const struct survey_core *core, mono_t *deadline);

/* NULL, or which invariant does not hold. For tests. */
const char *survey_core_broken(const struct survey_core *core);

#endif
