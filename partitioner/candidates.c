/* Gathering of possible periods; see candidates.h.
 *
 * Sums of times are formed exactly as the graph and the searches form them, so that a candidate taken as the period
 * admits the very slice or transfer it came from. For half-duplex boards the pairs of transfers would be millions: each
 * board's receive and send times are sorted, and for each receive time only the window of send times is looked at that
 * leads into the interval.
 */
#include "partitioner/candidates.h"

#include "base/allocate.h"

#include <math.h>
#include <stdlib.h>

void candidates_close(struct candidates *candidates) {
    release(candidates->seconds);
    *candidates = (struct candidates){0};
}

static void add(struct candidates *candidates, double seconds) {
    void *memory = candidates->seconds;
    allocate_grow(&memory, &candidates->capacity, candidates->count + 1, sizeof *candidates->seconds);
    candidates->seconds = memory;
    candidates->seconds[candidates->count++] = seconds;
}

static int by_seconds(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void sort_seconds(double *seconds, size_t count) {
    if (count)
        qsort(seconds, count, sizeof *seconds, by_seconds);
}

/* The first end at which the slice may take longer than `seconds`. */
static unsigned first_longer(const struct fleet *fleet, unsigned type, unsigned first, double seconds) {
    unsigned low = first + 1, high = fleet->cuts;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (fleet_compute_most(fleet, type, first, middle) > seconds)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void add_slices(struct candidates *candidates, const struct fleet *fleet, double above, double below,
                       size_t most) {
    for (unsigned type = 0; type < fleet->types; type++)
        for (unsigned first = 0; first < fleet->units && candidates->count <= most; first++)
            for (unsigned end = first_longer(fleet, type, first, above); end < fleet->cuts; end++) {
                if (fleet_units_compute(fleet, type, first, end) >= below)
                    break;
                double seconds = fleet_compute(fleet, type, first, end);
                if (seconds > above && seconds < below && bit_test(fleet_fits(fleet, type, first), end))
                    add(candidates, seconds);
            }
}

static void add_transfers(struct candidates *candidates, const struct fleet *fleet, double above, double below,
                          size_t most) {
    size_t count = (size_t)fleet->cuts * fleet->ends * fleet->ends;
    for (size_t at = 0; at < count && candidates->count <= most; at++)
        if (fleet->transfer[at] > above && fleet->transfer[at] < below)
            add(candidates, fleet->transfer[at]);
}

/* All finite times that `type` may take to receive, or to send, sorted. */
static size_t list_transfers(const struct fleet *fleet, unsigned type, bool receive, double *seconds) {
    size_t count = 0;
    for (unsigned cut = 0; cut < fleet->cuts; cut++)
        for (unsigned other = 0; other < fleet->ends; other++) {
            double time = receive ? fleet_transfer(fleet, cut, other, type) : fleet_transfer(fleet, cut, type, other);
            if (isfinite(time))
                seconds[count++] = time;
        }
    sort_seconds(seconds, count);
    return count;
}

static void add_pairs(struct candidates *candidates, const struct fleet *fleet, double above, double below,
                      size_t most) {
    double *receive = allocate((size_t)fleet->cuts * fleet->ends, sizeof *receive);
    double *send = allocate((size_t)fleet->cuts * fleet->ends, sizeof *send);
    for (unsigned type = 0; type < fleet->types; type++) {
        size_t receives = list_transfers(fleet, type, true, receive), end = list_transfers(fleet, type, false, send);
        size_t begin = end; /* sums with send[begin...end) lie in the interval; both move down as receive grows */
        for (size_t at = 0; at < receives && candidates->count <= most; at++) {
            while (begin > 0 && receive[at] + send[begin - 1] > above)
                begin--;
            while (end > 0 && receive[at] + send[end - 1] >= below)
                end--;
            for (size_t other = begin; other < end && candidates->count <= most; other++)
                add(candidates, receive[at] + send[other]);
        }
    }
    release(receive);
    release(send);
}

bool candidates_between(struct candidates *candidates, const struct fleet *fleet, double above, double below,
                        size_t most) {
    candidates->count = 0;
    add_slices(candidates, fleet, above, below, most);
    add_transfers(candidates, fleet, above, below, most);
    if (fleet->problem->half_duplex)
        add_pairs(candidates, fleet, above, below, most);
    sort_seconds(candidates->seconds, candidates->count);
    size_t kept = 0;
    for (size_t at = 0; at < candidates->count; at++)
        if (kept == 0 || candidates->seconds[at] > candidates->seconds[kept - 1])
            candidates->seconds[kept++] = candidates->seconds[at];
    bool all = candidates->count <= most;
    candidates->count = kept;
    return all;
}

double candidates_longest(const struct fleet *fleet) {
    double longest = 0;
    size_t count = (size_t)fleet->cuts * fleet->ends * fleet->ends;
    for (size_t at = 0; at < count; at++)
        if (isfinite(fleet->transfer[at]))
            longest = fmax(longest, fleet->transfer[at]);
    longest *= 2; /* half duplex: two of them */
    for (unsigned type = 0; type < fleet->types; type++)
        longest = fmax(longest, fleet_compute_most(fleet, type, 0, fleet->units));
    return longest;
}
