/* One plan being made, in a thread of its own: the search may take seconds, and the I/O thread must not wait.
 *
 * Made when a plan is wanted, destroyed when its result was taken.
 */
#ifndef DAEMON_PLANNER_H
#define DAEMON_PLANNER_H

#include "base/error.h"
#include "daemon/fleet_file.h"
#include "model/model.h"
#include "partitioner/partitioner.h"

#include <stdbool.h>

struct planner_settings {
    const struct model_config *config; /* borrowed until planner_destroy */
    unsigned microbatch;
    const char *policy;   /* borrowed */
    const unsigned *cuts; /* manual: borrowed */
    unsigned cut_count;
    double time_limit_s;
    const struct plan
        *in_force;          /* boards by their index in the fleet, PLAN_NO_BOARD: one not in it; NULL: none; copied */
    bool leave_out;         /* where a board is too small for its slice, plan without it */
    const char *fleet_path; /* where to write the fleet as a file, NULL: nowhere; borrowed */
    const char *fleet_comment;
};

struct planner_result {
    bool ok;
    const struct plan *plan;   /* boards by their index in the fleet */
    double in_force_s;         /* period of the plan in force on this fleet; 0: none, or a board is not in it */
    struct plan_change change; /* from the plan in force to this one */
    const struct plan *step;   /* not change.beside: the policy's best plan that is; NULL: none */
    const struct error *error; /* why there is none, or (left_out > 0) why not over all */
    unsigned left_out;
    const struct error *write_error; /* of the fleet file, NULL: written, or not wanted */
};

struct planner;

/* Takes the fleet and starts. NULL with an error when the thread cannot start. */
struct planner *planner_new_take(struct fleet_file *fleet, const struct planner_settings *settings,
                                 struct error *error);
/* Its result is of no use any more: it finishes soon, with whatever it has found. Any thread. */
void planner_abandon(struct planner *planner);
/* Abandons it and waits for the thread. *planner becomes NULL. NULL is fine. */
void planner_destroy(struct planner **planner);

/* Readable once it has finished. */
int planner_descriptor(const struct planner *planner);
/* Has it finished? The result lives as long as the planner. Never blocks. */
bool planner_finished(struct planner *planner, struct planner_result *result);

#endif
