/* The fleet in memory: making, taking apart and asking it; see fleet_file.h. fleet_read.c and fleet_print.c turn it
 * from and into YAML. A fleet owns its names and times; one thread at a time. */
#include "daemon/fleet_file.h"

#include "base/allocate.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct fleet_file *fleet_file_new(void) {
    struct fleet_file *file = allocate(1, sizeof *file);
    for (unsigned from = 0; from < FLEET_ENDS; from++)
        for (unsigned to = 0; to < FLEET_ENDS; to++)
            file->link[from][to].bandwidth = INFINITY;
    return file;
}

void fleet_file_destroy(struct fleet_file **file) {
    if (!*file)
        return;
    for (unsigned index = 0; index < (*file)->boards; index++) {
        struct fleet_board *board = &(*file)->board[index];
        release(board->name);
        release(board->kernels);
        release(board->profile);
        for (unsigned at = 0; at < board->time_count; at++)
            release(board->times[at].seconds);
    }
    release((*file)->architecture);
    release(*file);
    *file = NULL;
}

const double *fleet_board_seconds(const struct fleet_board *board, unsigned microbatch) {
    for (unsigned at = 0; at < board->time_count; at++)
        if (board->times[at].microbatch == microbatch)
            return board->times[at].seconds;
    return NULL;
}

bool fleet_board_add_times(struct fleet_board *board, unsigned microbatch, const double *seconds, unsigned units) {
    if (board->time_count == FLEET_MICROBATCHES || fleet_board_seconds(board, microbatch))
        return false;
    unsigned at = board->time_count++;
    for (; at > 0 && board->times[at - 1].microbatch > microbatch; at--)
        board->times[at] = board->times[at - 1];
    board->times[at] = (struct fleet_times){microbatch, allocate(units, sizeof *seconds)};
    memcpy(board->times[at].seconds, seconds, units * sizeof *seconds);
    return true;
}

const char *fleet_sizes_text(const unsigned *sizes, unsigned count, char buffer[FLEET_SIZES_TEXT]) {
    size_t used = 0;
    buffer[0] = '\0';
    for (unsigned at = 0; at < count; at++)
        used += (size_t)snprintf(buffer + used, FLEET_SIZES_TEXT - used, "%s%u", at ? ", " : "", sizes[at]);
    return buffer;
}

/* A board given by its speed computes microbatches of any size. */
static bool all_boards_have(const struct fleet_file *file, unsigned microbatch) {
    for (unsigned index = 0; index < file->boards; index++)
        if (file->board[index].time_count > 0 && !fleet_board_seconds(&file->board[index], microbatch))
            return false;
    return true;
}

unsigned fleet_file_microbatches(const struct fleet_file *file, unsigned sizes[FLEET_MICROBATCHES]) {
    static const unsigned usual[] = {1, 2, 4, 8, 16, 32};
    unsigned count = 0, index = 0;
    while (index < file->boards && file->board[index].time_count == 0)
        index++;
    if (index == file->boards) {
        memcpy(sizes, usual, sizeof usual);
        return sizeof usual / sizeof usual[0];
    }
    const struct fleet_board *board = &file->board[index];
    for (unsigned at = 0; at < board->time_count; at++)
        if (all_boards_have(file, board->times[at].microbatch))
            sizes[count++] = board->times[at].microbatch;
    return count;
}
