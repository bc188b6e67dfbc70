/* Are two fleets the same, number by number? For tests that write one and read it back. */
#ifndef TEST_DAEMON_FLEET_SAME_H
#define TEST_DAEMON_FLEET_SAME_H

#include "daemon/fleet_file.h"

#include <string.h>

static inline bool same_text(const char *left, const char *right) {
    return left && right ? strcmp(left, right) == 0 : left == right;
}

static inline bool same_board(const struct fleet_board *left, const struct fleet_board *right, unsigned units) {
    bool same = same_text(left->name, right->name) && same_text(left->kernels, right->kernels) &&
                left->threads == right->threads && left->memory_bytes == right->memory_bytes &&
                left->reserve_bytes == right->reserve_bytes && left->storage == right->storage &&
                left->handling == right->handling && left->speed == right->speed &&
                left->time_count == right->time_count;
    for (unsigned at = 0; same && at < left->time_count; at++)
        same = left->times[at].microbatch == right->times[at].microbatch &&
               memcmp(left->times[at].seconds, right->times[at].seconds, units * sizeof(double)) == 0;
    return same;
}

static inline bool same_fleet(const struct fleet_file *left, const struct fleet_file *right) {
    bool same = same_text(left->architecture, right->architecture) &&
                strcmp(left->fingerprint, right->fingerprint) == 0 && left->units == right->units &&
                left->half_duplex == right->half_duplex && left->boards == right->boards;
    for (unsigned board = 0; same && board < left->boards; board++)
        same = same_board(&left->board[board], &right->board[board], left->units);
    for (unsigned row = 0; same && row <= left->boards; row++)
        for (unsigned column = 0; same && column <= left->boards; column++) {
            unsigned from = row < left->boards ? row : FLEET_COORDINATOR;
            unsigned to = column < left->boards ? column : FLEET_COORDINATOR;
            const struct fleet_link *one = &left->link[from][to], *other = &right->link[from][to];
            same = from == to || (one->bandwidth == other->bandwidth && one->latency == other->latency);
        }
    return same;
}

#endif
