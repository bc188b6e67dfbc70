/* A problem for the partitioner that owns its arrays, and how a fleet file and a model become one. */
#ifndef DAEMON_FLEET_PROBLEM_H
#define DAEMON_FLEET_PROBLEM_H

#include "daemon/fleet_file.h"
#include "model/model.h"
#include "partitioner/partitioner.h"

/* Payloads that a stage may hold at once. Received: those in its slots, one in libzmq's queue, one that is arriving. */
#define FLEET_INPUT_SLOTS  4
#define FLEET_OUTPUT_SLOTS 2

/* What a stage's process takes of a board's memory beside its slice, without pages that files back: 1.4 MB before it
 * has a slice, 2 MB with connections (Debian 12; measured as `scripts/bench_lab` does). */
#define FLEET_PROCESS_BYTES (2u << 20)

struct fleet_problem {
    struct problem problem; /* borrows what follows */
    double *unit_seconds, *bandwidth, *latency, *handling;
    uint64_t *weight_bytes, *workspace_bytes, *first_workspace_bytes, *payload_bytes, *memory_bytes;
    bool *same_weights;
    unsigned names;   /* boards it was made for */
    char **name;      /* [names], owned */
    char **unit_name; /* [units], owned */
};

/* Zeroed costs, links that are free. Close it in any case. */
void fleet_problem_init(struct fleet_problem *made, unsigned boards, unsigned units);
void fleet_problem_close(struct fleet_problem *made);
/* Once: names its units as slice_words does; config NULL: PipeEdge's layers. */
void fleet_problem_name_units(struct fleet_problem *made, const struct model_config *config);

/* The fleet's boards on microbatches of `items` of this model. Close it in any case. ERROR_USAGE when a board has no
 * times for that microbatch, or when they are another model's. */
bool fleet_problem_fill(struct fleet_problem *made, const struct fleet_file *file, const struct model_config *config,
                        unsigned items, struct error *error);

/* Leaves only these boards, by their ascending index, in it. */
void fleet_problem_keep(struct fleet_problem *made, const unsigned *index, unsigned few);

#endif
