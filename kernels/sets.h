/* The kernel sets, as dispatch.c sees them. Each fill function overwrites the entries of a table that its set does
 * better (ref: all of them) and the table's name; it is called once per process, before any kernel runs. */
#ifndef KERNELS_SETS_H
#define KERNELS_SETS_H

#include "kernels/kernels.h"

void ref_fill(struct kernels *table);

/* kernels/vector: the same template compiled for several instruction sets; equal bits from all of them. */
void portable_fill(struct kernels *table);
#if defined(__x86_64__)
void avx2_fill(struct kernels *table);
void avx512_fill(struct kernels *table);
#endif
#if defined(__aarch64__)
void neon_fill(struct kernels *table);
#endif

/* Keeps the other entries of the table, and its activate also serves the epilogue of linear. */
void openblas_fill(struct kernels *table);

#endif
