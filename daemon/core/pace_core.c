/* How fast boards are beside their profiles; see pace_core.h. A heartbeat adds what was computed since the last one to
 * the bucket that is filling; a full bucket is kept while the board leans to one side, and five of them decide. */
#include "daemon/core/pace_core.h"

#include <math.h>
#include <string.h>

#define LEAVES       1.15 /* beyond it a board is not as it was planned with */
#define RETURNS      1.07 /* within it, it is again */
#define BACK         2    /* buckets in a row; one alone may be luck */
#define MICROBATCHES 20   /* in all buckets, where they are short */
#define SLOW         4    /* times a bucket's time, after which it needs no more of them */
#define SETTLES      6    /* the part of after_ns for which an epoch that begins is not judged */
#define COOLS        4    /* times after_ns between two changes of a board */
#define COOLS_MOST   64

void pace_core_init(struct pace_core *core, const struct pace_settings *settings) {
    memset(core, 0, sizeof *core);
    core->settings = *settings;
    for (unsigned i = 0; i < MESSAGE_BOARDS_MAX; i++)
        pace_core_forget(core, i);
}

void pace_core_forget(struct pace_core *core, unsigned board) {
    core->board[board] = (struct pace_board){.factor = 1};
}

/* ---- measuring ---- */

static void watch_anew(struct pace_board *board) {
    board->filling = (struct pace_bucket){0};
    board->kept = board->back = 0;
    board->leaning = 0;
}

/* What was computed between two heartbeats; false where that cannot be. */
static bool since_last(const struct pace_beat *last, const struct pace_beat *beat, struct pace_bucket *passed) {
    if (beat->microbatches < last->microbatches || beat->items < last->items || beat->busy_ns < last->busy_ns)
        return false;
    uint64_t microbatches = beat->microbatches - last->microbatches, items = beat->items - last->items;
    *passed = (struct pace_bucket){.microbatches = microbatches,
                                   .busy_s = (double)(beat->busy_ns - last->busy_ns) / 1e9,
                                   .least_s = (double)items / beat->full * beat->profile_s,
                                   .most_s = (double)microbatches * (beat->profile_s + beat->handling_s)};
    return items >= microbatches && passed->least_s <= passed->most_s;
}

static void add(struct pace_bucket *to, const struct pace_bucket *from) {
    to->microbatches += from->microbatches;
    to->busy_s += from->busy_s;
    to->least_s += from->least_s;
    to->most_s += from->most_s;
}

static bool is_full(const struct pace_core *core, const struct pace_bucket *bucket) {
    double share_s = (double)core->settings.after_ns / 1e9 / PACE_BUCKETS;
    return bucket->microbatches > 0 && bucket->busy_s >= share_s &&
           (bucket->microbatches >= MICROBATCHES / PACE_BUCKETS || bucket->busy_s >= SLOW * share_s);
}

/* How much longer than planned with it took: of what is possible, that which is nearest to 1. */
static double ratio(const struct pace_bucket *bucket, double factor) {
    double pace = fmin(fmax(factor, bucket->busy_s / bucket->most_s), bucket->busy_s / bucket->least_s);
    return pace / factor;
}

static int side(double ratio, double limit) {
    return ratio > limit ? 1 : ratio * limit < 1 ? -1 : 0;
}

/* ---- judging ---- */

/* The bucket in which it begins to lean is not kept: the change may have come in the midst of it. */
static void keep(struct pace_board *board) {
    double taken = ratio(&board->filling, board->factor);
    bool away = side(taken, RETURNS) == board->leaning;
    board->back = away ? 0 : board->back + 1;
    if (board->leaning == 0 || board->back == BACK || side(taken, LEAVES) == -board->leaning) {
        board->kept = board->back = 0;
        board->leaning = side(taken, LEAVES);
    } else {
        if (board->kept == PACE_BUCKETS)
            memmove(&board->bucket[0], &board->bucket[1], --board->kept * sizeof board->bucket[0]);
        board->bucket[board->kept++] = board->filling;
    }
    board->filling = (struct pace_bucket){0};
}

static bool is_cool(const struct pace_board *board, mono_t now) {
    return board->turned == 0 || mono_since(now, board->changed_at) >= board->cool_ns;
}

static int64_t next_cooling(const struct pace_core *core, const struct pace_board *board, mono_t now) {
    int64_t least = COOLS * core->settings.after_ns, most = COOLS_MOST * core->settings.after_ns;
    if (board->turned == 0 || mono_since(now, board->changed_at) >= 2 * most)
        return least;
    if (board->turned == board->leaning)
        return board->cool_ns;
    return 2 * board->cool_ns < most ? 2 * board->cool_ns : most;
}

/* The board gets another factor, unless it is as far off as any can be. */
static bool change(const struct pace_core *core, struct pace_board *board, double factor, mono_t now) {
    factor = fmax(fmin(factor, PACE_MOST), 1 / PACE_MOST);
    if (side(factor, RETURNS) == 0)
        factor = 1;
    bool changed = factor != board->factor;
    if (changed) {
        board->cool_ns = next_cooling(core, board, now);
        board->turned = board->leaning;
        board->changed_at = now;
        board->factor = factor;
    }
    watch_anew(board);
    return changed;
}

static bool judge(const struct pace_core *core, struct pace_board *board, mono_t now) {
    struct pace_bucket all = {0};
    if (board->kept < PACE_BUCKETS || !is_cool(board, now))
        return false;
    for (unsigned i = 0; i < board->kept; i++)
        add(&all, &board->bucket[i]);
    double taken = ratio(&all, board->factor);
    return side(taken, LEAVES) == board->leaning && change(core, board, taken * board->factor, now);
}

/* Nothing is measured of a board without a part: a slow one may have recovered. */
static bool give_a_chance(const struct pace_core *core, struct pace_board *board, mono_t now) {
    if (board->factor <= 1 || !is_cool(board, now))
        return false;
    board->leaning = -1;
    return change(core, board, 1, now);
}

bool pace_core_heard(struct pace_core *core, unsigned number, const struct pace_beat *beat, mono_t now) {
    struct pace_board *board = &core->board[number];
    struct pace_bucket passed;
    struct pace_beat last = board->last;
    bool same = board->watched && last.epoch.number == beat->epoch.number;
    board->last = *beat;
    board->watched = core->settings.after_ns > 0 && beat->profile_s > 0;
    if (!board->watched || !same) {
        board->since = now;
        watch_anew(board);
        return beat->spare && give_a_chance(core, board, now);
    }
    if (mono_since(now, board->since) < core->settings.after_ns / SETTLES || !since_last(&last, beat, &passed))
        return false;
    add(&board->filling, &passed);
    if (!is_full(core, &board->filling))
        return false;
    keep(board);
    return judge(core, board, now);
}
