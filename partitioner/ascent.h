/* Climbing a concave function of prices >= 0 that has kinks, knowing at each point its value and one slope (a
 * supergradient), and which value is aimed at: Shor's r-algorithm (Minimization Methods for Non-Differentiable
 * Functions, 1985, chapter 3) with Polyak's step length. Plain slopes zigzag across kinks. Two slopes that differ span
 * such a kink; shrinking space in the direction of their difference turns later steps along it. No memory of its own
 * beyond the struct. */
#ifndef PARTITIONER_ASCENT_H
#define PARTITIONER_ASCENT_H

#include "partitioner/partitioner.h"

struct ascent {
    unsigned dimensions;
    unsigned stale;                       /* rounds without progress */
    bool started;                         /* `slope` holds one */
    double best;                          /* value */
    double share;                         /* of the step that would reach the aim if there were no kink */
    double price[PARTITIONER_BOARDS_MAX]; /* where the best was */
    double slope[PARTITIONER_BOARDS_MAX]; /* the last one */
    double space[PARTITIONER_BOARDS_MAX][PARTITIONER_BOARDS_MAX];
};

void ascent_begin(struct ascent *ascent, unsigned dimensions);

/* Tells the value at `price`. After rounds without progress, sets `price` back to where the best was and shortens the
 * steps. */
void ascent_note(struct ascent *ascent, double *price, double value);

/* Moves `price` along `slope` (which may be changed) towards a value larger by `gap`. */
void ascent_step(struct ascent *ascent, double *price, double *slope, double gap);

/* Steps have become too short to lead anywhere. */
bool ascent_exhausted(const struct ascent *ascent);

#endif
