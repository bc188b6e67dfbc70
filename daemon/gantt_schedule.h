/* When a pipeline does what: an exact simulation of a plan under the partitioner's cost model. */
#ifndef DAEMON_GANTT_SCHEDULE_H
#define DAEMON_GANTT_SCHEDULE_H

#include "partitioner/partitioner.h"

/* The steps of a microbatch, in order: step 2s moves it into stage s, step 2s + 1 computes it there, and step 2 *
 * stages moves it to the coordinator. */
struct schedule {
    unsigned stages, steps, microbatches;
    double *start, *end; /* [steps][microbatches], seconds since the first microbatch set out; owned */
};

/* Every transfer must be finite. Close it afterwards. */
void schedule_init(struct schedule *schedule, const struct problem *problem, const struct plan *plan,
                   unsigned microbatches);
void schedule_close(struct schedule *schedule);

static inline size_t schedule_at(const struct schedule *schedule, unsigned step, unsigned microbatch) {
    return (size_t)step * schedule->microbatches + microbatch;
}

/* When the last microbatch has arrived. */
double schedule_length(const struct schedule *schedule);

#endif
