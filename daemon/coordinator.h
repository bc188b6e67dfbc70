/* The coordinator daemon: admits boards and clients, plans, hands out slices and weights, streams images through the
 * stages. */
#ifndef DAEMON_COORDINATOR_H
#define DAEMON_COORDINATOR_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define COORDINATOR_CUTS_MAX 63

/* Whether boards and links are measured. */
enum coordinator_survey {
    SURVEY_AUTO, /* when the policy plans with measurements */
    SURVEY_ALWAYS,
    SURVEY_NEVER,
};

struct coordinator_options {
    const char *model;         /* directory */
    const char *listen;        /* "tcp://ADDRESS:PORT" of the control socket; port 0 = any */
    const char *endpoint_file; /* where to write the endpoint that was bound, NULL = nowhere */
    const char *policy;        /* name in the partitioner's table */
    unsigned stages;           /* boards to wait for, 0 = any number */
    unsigned cuts[COORDINATOR_CUTS_MAX];
    unsigned cut_count;
    unsigned microbatch;
    unsigned microbatch_wait_ms;
    unsigned in_flight; /* microbatches, 0 = by the number of stages */
    unsigned patience_ms;
    unsigned silence_s;     /* a board that says nothing for so long is lost; several heartbeats, less than a stall */
    double gain;            /* a plan replaces one that could go on if it is faster by this share */
    unsigned drift_after_s; /* computing time after which a board at another pace is believed, 0: never */
    unsigned plan_seconds;  /* that policy "optimal" may search */
    enum coordinator_survey survey;
    const char *state_directory; /* where keys and profiles are kept, NULL: nowhere */
    const char *write_fleet;     /* where to write the fleet as measured, each time a plan is made; NULL: nowhere */
    unsigned decoders;           /* threads that decode and resize images */
    bool insecure;               /* no keys beyond loopback */
    bool secure;                 /* keys on loopback, too */
};

/* Runs until SIGTERM or SIGINT, finishes what was admitted, and returns true; a second signal ends it at once. False
 * with an error when it cannot start. One per process: it takes over the process's signals. */
bool coordinator_run(const struct coordinator_options *options, struct error *error);

#endif
