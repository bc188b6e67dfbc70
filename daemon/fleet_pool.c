/* Who was measured alike; see fleet_pool.h. Boards are taken from the fastest on; each begins a group or joins that of
 * the fastest board it cannot be told from. Within a group every unit gets the mean over all boards: the time of one
 * unit is noisier than their sum, and it is single units that a plan shifts between boards. Sums and means are in the
 * order of the boards, so the same fleet gives the same bits. Memory: none is taken. Errors: there are none. */
#include "daemon/fleet_pool.h"

#include <math.h>
#include <string.h>

#define SPAN_LEAST 0.02 /* boards of one make differ by that */
#define SPAN_MOST  0.10 /* what is worth another slice is not noise */

struct group {
    unsigned count, member[PARTITIONER_BOARDS_MAX];
};

/* Seconds for an item on the whole model, over all sizes that were measured. */
static double total(const struct fleet_file *file, const struct fleet_board *board) {
    double seconds = 0;
    for (unsigned at = 0; at < board->time_count; at++)
        for (unsigned unit = 0; unit < file->units; unit++)
            seconds += board->times[at].seconds[unit] / board->times[at].microbatch;
    return seconds;
}

static bool same_kind(const struct fleet_board *left, const struct fleet_board *right) {
    bool same = left->threads == right->threads && left->time_count == right->time_count &&
                !left->kernels == !right->kernels && (!left->kernels || strcmp(left->kernels, right->kernels) == 0) &&
                (left->handling > 0) == (right->handling > 0);
    for (unsigned at = 0; same && at < left->time_count; at++)
        same = left->times[at].microbatch == right->times[at].microbatch;
    return same;
}

/* The longest total that is not told from that of this board. */
static double reach(const struct fleet_file *file, const struct fleet_board *fastest, const struct fleet_board *other) {
    double noise = fmax(fastest->noise, other->noise);
    return total(file, fastest) * (1 + fmin(fmax(noise, SPAN_LEAST), SPAN_MOST));
}

/* The fastest board that has no group yet, or `boards`. */
static unsigned fastest_left(const struct fleet_file *file, const bool *grouped) {
    unsigned fastest = file->boards;
    for (unsigned index = 0; index < file->boards; index++)
        if (file->board[index].noise > 0 && !grouped[index] &&
            (fastest == file->boards || total(file, &file->board[index]) < total(file, &file->board[fastest])))
            fastest = index;
    return fastest;
}

static void gather(const struct fleet_file *file, unsigned fastest, bool *grouped, struct group *group) {
    const struct fleet_board *first = &file->board[fastest];
    group->count = 0;
    for (unsigned index = 0; index < file->boards; index++) {
        const struct fleet_board *board = &file->board[index];
        if (grouped[index] || !(board->noise > 0) || !same_kind(first, board) ||
            total(file, board) > reach(file, first, board))
            continue;
        grouped[index] = true;
        group->member[group->count++] = index;
    }
}

static void average(struct fleet_file *file, const struct group *group) {
    struct fleet_board *first = &file->board[group->member[0]];
    double handling = 0;
    for (unsigned i = 0; i < group->count; i++)
        handling += file->board[group->member[i]].handling / group->count;
    for (unsigned i = 0; i < group->count; i++)
        file->board[group->member[i]].handling = handling;
    for (unsigned at = 0; at < first->time_count; at++)
        for (unsigned unit = 0; unit < file->units; unit++) {
            double seconds = 0;
            for (unsigned i = 0; i < group->count; i++)
                seconds += file->board[group->member[i]].times[at].seconds[unit] / group->count;
            for (unsigned i = 0; i < group->count; i++)
                file->board[group->member[i]].times[at].seconds[unit] = seconds;
        }
}

void fleet_pool(struct fleet_file *file) {
    bool grouped[PARTITIONER_BOARDS_MAX] = {false};
    struct group group;
    for (unsigned fastest; (fastest = fastest_left(file, grouped)) < file->boards;) {
        gather(file, fastest, grouped, &group);
        if (group.count > 1)
            average(file, &group);
    }
}
