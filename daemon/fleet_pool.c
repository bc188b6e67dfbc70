/* Who was measured alike; see fleet_pool.h. Each microbatch size is looked at for itself. Boards are taken from the
 * fastest on; each joins the first group with none of whose boards it disagrees, or begins one. Within a group every
 * unit gets the mean over all boards: the time of one unit is noisier than their sum, and it is single units that a
 * plan shifts between boards. Two boards agree when neither their totals nor, more loosely, their units one by one
 * differ by more than noise explains: two processors may be as fast as each other in all and not in each. Means are in
 * the order of the boards, so the same fleet gives the same bits. Memory: a few kilobytes, on the stack. Errors: there
 * are none. */
#include "daemon/fleet_pool.h"

#include <math.h>
#include <string.h>

#define SPAN_LEAST     0.02 /* boards of one make differ by that */
#define SPAN_MOST      0.10 /* what is worth another slice is not noise */
#define UNITS_SPAN     3    /* times as much for the differences of all units together */
#define HANDLING_RATIO 4    /* a few messages tell no more */

/* The boards that have times of one size from profiles, fastest first. */
struct size {
    unsigned units, boards;
    struct candidate {
        struct fleet_board *board;
        double *seconds, total; /* [units] */
        double handling;        /* as measured */
        unsigned group;
    } candidate[PARTITIONER_BOARDS_MAX];
};

static bool same_text(const char *left, const char *right) {
    return left && right ? strcmp(left, right) == 0 : left == right;
}

static bool agree(const struct size *size, const struct candidate *left, const struct candidate *right) {
    double noise = fmax(left->board->noise, right->board->noise), differences = 0;
    double span = fmin(fmax(noise, SPAN_LEAST), SPAN_MOST) * fmin(left->total, right->total);
    if (left->board->threads != right->board->threads || !same_text(left->board->kernels, right->board->kernels) ||
        (left->handling > 0) != (right->handling > 0) ||
        fmax(left->handling, right->handling) > HANDLING_RATIO * fmin(left->handling, right->handling) ||
        fabs(left->total - right->total) > span)
        return false;
    for (unsigned unit = 0; unit < size->units; unit++)
        differences += fabs(left->seconds[unit] - right->seconds[unit]);
    return differences <= UNITS_SPAN * span;
}

static void insert(struct size *size, struct candidate candidate) {
    unsigned at = size->boards++;
    for (; at > 0 && size->candidate[at - 1].total > candidate.total; at--)
        size->candidate[at] = size->candidate[at - 1];
    size->candidate[at] = candidate;
}

static void list_boards(struct fleet_file *file, unsigned microbatch, const double *handling, struct size *size) {
    *size = (struct size){.units = file->units};
    for (unsigned index = 0; index < file->boards; index++) {
        struct fleet_board *board = &file->board[index];
        for (unsigned at = 0; board->noise > 0 && at < board->time_count; at++) {
            struct candidate candidate = {board, board->times[at].seconds, 0, handling[index], 0};
            for (unsigned unit = 0; unit < file->units; unit++)
                candidate.total += candidate.seconds[unit];
            if (board->times[at].microbatch == microbatch)
                insert(size, candidate);
        }
    }
}

/* Gives each board the number of its group; returns how many there are. */
static unsigned gather(struct size *size) {
    unsigned groups = 0;
    for (unsigned next = 0; next < size->boards; next++) {
        bool refused[PARTITIONER_BOARDS_MAX + 1] = {false};
        unsigned group = 0;
        for (unsigned before = 0; before < next; before++)
            if (!agree(size, &size->candidate[before], &size->candidate[next]))
                refused[size->candidate[before].group] = true;
        while (group < groups && refused[group])
            group++;
        groups = group < groups ? groups : group + 1;
        size->candidate[next].group = group;
    }
    return groups;
}

/* Of times arithmetically; of rates harmonically, for what a byte takes is their inverse. */
static void average(struct size *size, unsigned group) {
    struct candidate *member[PARTITIONER_BOARDS_MAX];
    unsigned count = 0;
    double inverse = 0;
    for (unsigned i = 0; i < size->boards; i++)
        if (size->candidate[i].group == group)
            member[count++] = &size->candidate[i];
    for (unsigned i = 0; i < count; i++)
        inverse += 1 / member[i]->handling;
    for (unsigned i = 0; i < count && member[i]->handling > 0; i++)
        member[i]->board->handling = count / inverse;
    for (unsigned unit = 0; unit < size->units; unit++) {
        double sum = 0;
        for (unsigned i = 0; i < count; i++)
            sum += member[i]->seconds[unit];
        for (unsigned i = 0; i < count; i++)
            member[i]->seconds[unit] = sum / count;
    }
}

void fleet_pool(struct fleet_file *file) {
    unsigned sizes[FLEET_MICROBATCHES * PARTITIONER_BOARDS_MAX], count = 0;
    double handling[PARTITIONER_BOARDS_MAX];
    struct size size;
    for (unsigned index = 0; index < file->boards; index++) {
        handling[index] = file->board[index].handling;
        for (unsigned at = 0; at < file->board[index].time_count; at++) {
            unsigned known = 0;
            while (known < count && sizes[known] != file->board[index].times[at].microbatch)
                known++;
            sizes[known] = file->board[index].times[at].microbatch;
            count += known == count;
        }
    }
    for (unsigned at = 0; at < count; at++) {
        list_boards(file, sizes[at], handling, &size);
        unsigned groups = gather(&size);
        for (unsigned group = 0; group < groups; group++)
            average(&size, group);
    }
}
