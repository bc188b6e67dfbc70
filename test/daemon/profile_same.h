/* Are two profiles the same in all that JSON keeps? */
#ifndef TEST_DAEMON_PROFILE_SAME_H
#define TEST_DAEMON_PROFILE_SAME_H

#include "daemon/profile.h"

#include <string.h>

static inline bool same_profile(const struct profile *left, const struct profile *right) {
    bool same = strcmp(left->architecture, right->architecture) == 0 &&
                strcmp(left->fingerprint, right->fingerprint) == 0 && strcmp(left->version, right->version) == 0 &&
                strcmp(left->kernels, right->kernels) == 0 && left->threads == right->threads &&
                left->units == right->units && left->memory_bytes == right->memory_bytes &&
                left->storage_bytes_per_second == right->storage_bytes_per_second &&
                left->handling_bytes_per_second == right->handling_bytes_per_second && left->sizes == right->sizes;
    for (unsigned index = 0; same && index < left->sizes; index++) {
        const struct profile_times *one = &left->times[index], *other = &right->times[index];
        same = one->microbatch == other->microbatch && one->runs == other->runs && one->spread == other->spread;
        for (unsigned unit = 0; same && unit < left->units; unit++)
            same = one->unit_s[unit] == other->unit_s[unit];
    }
    return same;
}

#endif
