/* How fast boards are beside their profiles: pure. Fed with what boards have computed, it tells when one is slower or
 * faster than it is planned with for so long that another plan should be made. Time is passed in.
 *
 * A board's factor is what its microbatches take, divided by what its profile says; 1 until more is known. What it
 * computes is gathered in buckets, each of a fifth of the time settings.after_ns and of four microbatches or more (but
 * not of more than four fifths of that time: on a slow board one microbatch is as long as many, and averages as much).
 * Only time spent computing counts, so waiting for work changes nothing.
 *
 *                    it serves alone             settled
 *      NOT JUDGED ---------------------> SETTLING -------> WATCHED
 *          ^  two epochs share the board, another begins      |
 *          +--------------------------------------------------+
 *
 *      within the limits --bucket beyond 15 %--> leaning --five more, together beyond 15 %, cool--> another factor
 *              ^                                    |
 *              +------ two buckets back within 7 % -+
 *
 * The limits are relative to the factor that is planned with already. A board is back at its profile when it is within
 * 7 % of it; the factor is 1 then. After a change a board has to cool down for four times settings.after_ns before the
 * next one; each turn from slower to faster or back doubles that, up to sixteen times; a board that has kept its pace
 * for twice the longest of these begins anew. So a board that swings causes few changes, whatever it does:
 * with 30 s five in the first hour, then two an hour.
 *
 * A board so slow that it has no part any more computes nothing, and would never be seen to be back. After its
 * cool-down it is planned with its profile again; that counts as a turn, so one that stays slow is tried less and less
 * often.
 *
 * A microbatch that is not full takes at least its items' share of a full one, and at most as long. What such ones say
 * is therefore a range, of which the nearest to what is planned with counts. So is the time that payloads take of the
 * same processors: it makes computing longer where it falls within, which it does the less the more a board waits.
 *
 * Memory: one struct of fixed size. Threads: none; one caller. Errors: counts that cannot be are ignored. */
#ifndef DAEMON_CORE_PACE_CORE_H
#define DAEMON_CORE_PACE_CORE_H

#include "base/mono.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stdint.h>

#define PACE_BUCKETS 5
#define PACE_MOST    100.0 /* no factor is larger, nor smaller than its inverse */

struct pace_settings {
    int64_t after_ns; /* of computing, until a board is believed to have another pace; 0: nothing is judged */
};

/* What a board says it has computed. */
struct pace_beat {
    epoch_t epoch;
    uint64_t microbatches, items; /* since the epoch began to serve */
    uint64_t busy_ns;             /* that these took; what is being computed now is left out */
    unsigned full;                /* items in a full microbatch, at least 1 */
    double profile_s;             /* what the profile says of a full one; 0: the board is not to be judged now */
    double handling_s;            /* and of its payloads, which may come and go while it computes, or while it waits */
    bool spare;                   /* it has no part in what serves, though it could have one */
};

struct pace_bucket {
    uint64_t microbatches;
    double busy_s;
    double least_s, most_s; /* by the profile: as if they cost no more than their items' share, and as if all were full,
                               with payloads */
};

struct pace_board {
    double factor;         /* that it is to be planned with */
    bool watched;          /* it serves alone in the epoch of `last` */
    mono_t since;          /* while watched: since when */
    struct pace_beat last; /* while watched */
    struct pace_bucket filling;
    int leaning;                             /* 1: slower than planned with, -1: faster, 0: neither */
    unsigned kept;                           /* while leaning: buckets, oldest first */
    struct pace_bucket bucket[PACE_BUCKETS]; /* [kept] */
    unsigned back;                           /* how many of the newest are within the limits again */
    int turned;                              /* the direction of the last change, 0: there was none */
    mono_t changed_at;                       /* when it was */
    int64_t cool_ns;                         /* how long there is no other one after it */
};

struct pace_core {
    struct pace_settings settings;
    struct pace_board board[MESSAGE_BOARDS_MAX];
};

void pace_core_init(struct pace_core *core, const struct pace_settings *settings);

/* The board is another one, or has started anew, or has another profile: its factor is 1, and nothing is known of it.
 */
void pace_core_forget(struct pace_core *core, unsigned board);

/* The board has told what it has computed. True: its factor has changed, and what it is planned with should be. */
bool pace_core_heard(struct pace_core *core, unsigned board, const struct pace_beat *beat, mono_t now);

#endif
