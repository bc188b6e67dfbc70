/* Shor's r-algorithm; see ascent.h.
 *
 * `space` is the matrix B of the literature: slopes are looked at as B^T g, steps are taken along B B^T g, and after
 * each step B is shrunk along the change of B^T g. Prices are cut off at 0, and a slope that would push one below 0
 * counts as 0. On the prices of 16 boards this reaches the maximum to six digits in 150 to 300 rounds, where plain
 * Polyak steps stall a few percent below.
 */
#include "partitioner/ascent.h"

#include <math.h>
#include <string.h>

#define PROGRESS     1e-4 /* a smaller relative gain does not count as one */
#define PATIENCE     20   /* rounds without progress until steps are halved */
#define FEW          8    /* in so few dimensions */
#define PATIENCE_FEW 3    /* less will do: 16 boards of 4 types take half the time */
#define SHARE_LEAST  0.02
#define SHRINK       0.7 /* of space across a kink, in one step */

static void restart(struct ascent *ascent) {
    for (unsigned row = 0; row < ascent->dimensions; row++)
        for (unsigned column = 0; column < ascent->dimensions; column++)
            ascent->space[row][column] = row == column;
    ascent->started = false;
    ascent->stale = 0;
}

void ascent_begin(struct ascent *ascent, unsigned dimensions) {
    ascent->dimensions = dimensions;
    ascent->best = -INFINITY;
    ascent->share = 1;
    memset(ascent->price, 0, sizeof ascent->price);
    restart(ascent);
}

void ascent_note(struct ascent *ascent, double *price, double value) {
    ascent->stale = value > ascent->best + PROGRESS * fabs(value) ? 0 : ascent->stale + 1;
    if (value > ascent->best) {
        ascent->best = value;
        memcpy(ascent->price, price, ascent->dimensions * sizeof *price);
    }
    if (ascent->stale < (ascent->dimensions <= FEW ? PATIENCE_FEW : PATIENCE))
        return;
    ascent->share /= 2;
    memcpy(price, ascent->price, ascent->dimensions * sizeof *price);
    restart(ascent);
}

/* to = B^T from; returns its squared length. */
static double into_space(const struct ascent *ascent, const double *from, double *to) {
    double length = 0;
    memset(to, 0, ascent->dimensions * sizeof *to);
    for (unsigned row = 0; row < ascent->dimensions; row++)
        for (unsigned column = 0; column < ascent->dimensions; column++)
            to[column] += ascent->space[row][column] * from[row];
    for (unsigned at = 0; at < ascent->dimensions; at++)
        length += to[at] * to[at];
    return length;
}

static double row_times(const struct ascent *ascent, unsigned row, const double *vector) {
    double sum = 0;
    for (unsigned column = 0; column < ascent->dimensions; column++)
        sum += ascent->space[row][column] * vector[column];
    return sum;
}

/* Shrinks space in the direction in which the slope has changed. */
static void shrink(struct ascent *ascent, const double *slope) {
    double change[PARTITIONER_BOARDS_MAX] = {0}, direction[PARTITIONER_BOARDS_MAX];
    bool started = ascent->started;
    for (unsigned at = 0; at < ascent->dimensions; at++) {
        change[at] = started ? slope[at] - ascent->slope[at] : 0;
        ascent->slope[at] = slope[at];
    }
    ascent->started = true;
    double length = into_space(ascent, change, direction);
    if (!(length > 1e-18))
        return;
    for (unsigned row = 0; row < ascent->dimensions; row++) {
        double along = (SHRINK - 1) * row_times(ascent, row, direction) / length;
        for (unsigned column = 0; column < ascent->dimensions; column++)
            ascent->space[row][column] += along * direction[column];
    }
}

void ascent_step(struct ascent *ascent, double *price, double *slope, double gap) {
    double direction[PARTITIONER_BOARDS_MAX];
    for (unsigned at = 0; at < ascent->dimensions; at++)
        if (slope[at] < 0 && price[at] <= 0)
            slope[at] = 0;
    shrink(ascent, slope);
    double length = into_space(ascent, slope, direction);
    if (!(length > 0))
        return;
    for (unsigned at = 0; at < ascent->dimensions; at++)
        price[at] = fmax(0, price[at] + ascent->share * gap / length * row_times(ascent, at, direction));
}

bool ascent_exhausted(const struct ascent *ascent) {
    return ascent->share < SHARE_LEAST;
}
