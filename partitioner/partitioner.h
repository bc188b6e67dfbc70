/* Fleet + model costs -> plan. Pure functions: no clock but the one passed in, no file, no socket, no global state.
 *
 * A problem lists what each board can compute, hold and transmit and what each unit and cut of the model costs. A
 * policy answers with a plan: an ordered list of (board, slice). Policies stand in one table (policy.c); plan_cost
 * prices any plan with the same arithmetic that the solvers use, and plan_check validates one without knowing how it
 * was made.
 *
 * Words: see docs/ARCHITECTURE.md. Boards are numbered from 0; number `boards` is the coordinator, source and sink, in
 * the link matrices. Times in seconds for one microbatch, sizes in bytes for one microbatch.
 */
#ifndef PARTITIONER_PARTITIONER_H
#define PARTITIONER_PARTITIONER_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PARTITIONER_BOARDS_MAX 64
#define PARTITIONER_UNITS_MAX  1024

/* All arrays are borrowed and must outlive the call. */
struct problem {
    unsigned boards; /* 1 to PARTITIONER_BOARDS_MAX */
    unsigned units;  /* 1 to PARTITIONER_UNITS_MAX */
    unsigned items;  /* per microbatch; only used to report throughput */

    /* [boards][units]. Of units with the same weights (below) the first counts reading them: a slice that begins with
     * another of them takes for that as long as for the first, if that is longer. "even" and "pipedream" do not
     * look at that when they cut. */
    const double *unit_seconds;
    const uint64_t *weight_bytes; /* [units] */
    /* [boards][units]: scratch while it computes, by kernels and threads; a slice needs the largest of its units, those
     * that have the same weights taken together */
    const uint64_t *workspace_bytes;
    /* [units]: the unit has the weights of the unit before it, and a slice with both holds them once; NULL: none. All
     * that have the same weights say the same weight_bytes. */
    const bool *same_weights;
    const uint64_t
        *first_workspace_bytes;    /* [units + 1], by end: beside that, a slice that begins with unit 0; may be NULL */
    const uint64_t *payload_bytes; /* [units + 1]: what crosses cut c */
    const uint64_t *memory_bytes;  /* [boards]: what a board may use for its process, weights, workspace and slots */
    uint64_t process_bytes;        /* what a stage's process takes whatever its slice */
    unsigned input_slots;          /* payloads received that a stage may hold, of its first cut */
    unsigned output_slots;         /* the same of what it sends, of its last cut */
    unsigned source_slots_spared;  /* of the input_slots, how many the stage that holds unit 0 does without */

    /* [boards]: bytes per second that the processors which compute there receive or send when they do nothing else, for
     * while they move payloads they do not compute: the overhead o of LogP (Culler et al., PPoPP 1993, section 3). It
     * counts as computing. At least 1; INFINITY: others do that. NULL: everywhere. */
    const double *handling;

    /* Directed links, [boards + 1][boards + 1], row = from, column = to, the last row and column are the coordinator's.
     * Bytes per second may be INFINITY (free) or 0 (no link); the time of a transfer is latency + bytes / bandwidth.
     * The diagonals are not read. */
    const double *bandwidth;
    const double *latency;
    bool half_duplex; /* a board's receive and send add up instead of overlapping */

    const char *const *board_names; /* [boards], for messages; may be NULL */
    const char *const *unit_names;  /* [units], for messages; may be NULL */

    /* NULL, or a plan that stays in force until the new one can take over: a board needs memory for its slice in both,
     * units of both being there once. Its boards are numbered as here, PLAN_NO_BOARD: one that is not of this problem;
     * only boards and slices are read. */
    const struct plan *beside;
};
#define PLAN_NO_BOARD UINT32_MAX

struct plan_stage {
    unsigned board;
    unsigned first, end; /* slice of units */
    double compute_s, receive_s, send_s;
    double handling_s; /* of compute_s, what the processors take for payloads */
    uint64_t memory_bytes;
};

struct plan {
    const char *policy;   /* "optimal", "pipedream", "even", "manual"; static */
    bool optimal;         /* the period is proven smallest */
    bool latency_optimal; /* and the latency is the smallest, and then the board count, among plans of that period */
    double bound_s;       /* no plan has a smaller period */
    double period_s, latency_s;
    double throughput; /* items / period */
    double solve_s;
    unsigned stages;
    struct plan_stage stage[PARTITIONER_BOARDS_MAX];
};

/* What a policy may be told. */
struct policy_options {
    const unsigned *cuts; /* manual: inner cuts, ascending */
    unsigned cut_count;
    unsigned stages;     /* even: number of stages, 0 = all boards */
    double time_limit_s; /* optimal: 0 = unlimited */
    /* Seconds, for the limit and solve_s; NULL = no clock. One that leaps ahead ends the search. */
    double (*clock)(void *context);
    void *clock_context;
};

/* Solves `problem` by the policy of that name. False with ERROR_USAGE for an unknown policy or unusable options,
 * ERROR_INFEASIBLE when no plan exists (the text says which unit fits no board or how much memory is missing). Boards
 * are taken in the given order by every policy but "optimal". Memory-blind policies ("pipedream", "even", "manual") may
 * return plans that break a limit: plan_check tells. */
bool plan_solve(const struct problem *problem, const char *policy, const struct policy_options *options,
                struct plan *plan, struct error *error);

/* Names of policies until NULL. */
const char *policy_name(size_t index);

/* Fills in times, memory, period, latency and throughput of plan->stage[0..stages) from board, first and end alone. */
void plan_cost(const struct problem *problem, struct plan *plan);

/* How many microbatches keep its stages busy: as many as are computed or on the wire at once when none waits (Little's
 * law: latency over period, but at least one a stage), one more for each stage to have when it is done, and two. With
 * fewer, where a transfer takes as long as computing, stages wait for each other. UINT_MAX at most. */
unsigned plan_in_flight(const struct plan *plan);

/* Is this a plan for this problem? Each unit once and in order, each board at most once, memory within limits, and the
 * priced figures as plan_cost would give them (1e-9 relative). The error names the stage. */
bool plan_check(const struct problem *problem, const struct plan *plan, struct error *error);

/* What it takes to go from one plan of a problem's model to another of its plans. */
struct plan_change {
    bool beside;          /* each board can hold its new slice beside its old one; units of both are there once */
    uint64_t moved_bytes; /* weights that boards get which did not have them, in a unit with the same weights neither */
    double load_s;        /* about how long the slowest board takes to get and pack what is new to it */
};
/* `from` as problem.beside; what that is itself does not matter. */
struct plan_change plan_change(const struct problem *problem, const struct plan *from, const struct plan *to);

/* Bytes that a slice needs on this board: process + weights + workspace + slots. */
uint64_t plan_slice_memory(const struct problem *problem, unsigned board, unsigned first, unsigned end);
/* What it needs on this board: that, and beside it what the board has in problem.beside. */
uint64_t plan_board_memory(const struct problem *problem, unsigned board, unsigned first, unsigned end);

#endif
