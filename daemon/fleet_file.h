/* A fleet as a file: boards with their memory, storage and times per unit, and the links between them. docs/FLEET.md
 * documents the format for people; configs/fleet.yaml is an annotated example.
 *
 * `plan` reads it and makes a problem of it (fleet_problem.h); a coordinator fills the same struct from what it
 * measured and prints it. (Not to be confused with the `struct fleet` inside partitioner/, which is a solver's table.)
 */
#ifndef DAEMON_FLEET_FILE_H
#define DAEMON_FLEET_FILE_H

#include "base/error.h"
#include "partitioner/partitioner.h"

#include <stdio.h>

#define FLEET_NAME_MAX         64 /* characters of a board's name */
#define FLEET_MICROBATCHES     16 /* sizes that a board has times for */
#define FLEET_MICROBATCH_MAX   4096
#define FLEET_COORDINATOR      PARTITIONER_BOARDS_MAX /* its row and column among the links */
#define FLEET_ENDS             (PARTITIONER_BOARDS_MAX + 1)
#define FLEET_COORDINATOR_NAME "coordinator"

/* What one microbatch of this size takes: seconds[units of the fleet file], owned. */
struct fleet_times {
    unsigned microbatch;
    double *seconds;
};

struct fleet_board {
    char *name;                           /* owned */
    char *kernels;                        /* owned; the kernel set that was measured, NULL: not known */
    char *profile;                        /* owned; printed in place of the times; NULL, also when read: none */
    unsigned threads;                     /* 0: not known */
    uint64_t memory_bytes, reserve_bytes; /* what is there, and how much of it is not for us */
    double storage;                       /* bytes per second read from its disk; 0: not known */
    double handling; /* bytes per second received or sent while it does nothing else; 0: beside computing */
    double speed;    /* floating-point operations per second; 0: look at times */
    struct fleet_times times[FLEET_MICROBATCHES]; /* ascending microbatch */
    unsigned time_count;
    double noise; /* how far off a profile's times may be for all units together, relatively; 0: as meant */
};

/* One direction between two boards, or between a board and the coordinator. */
struct fleet_link {
    double bandwidth; /* bytes per second; INFINITY: free, 0: no link */
    double latency;   /* seconds */
};

struct fleet_file {
    char *architecture;   /* owned; NULL: any */
    char fingerprint[33]; /* profile.h's, of the model that the times are of; empty: not known */
    unsigned units;       /* 0: not known, no board has times */
    bool half_duplex;     /* boards cannot send and receive at the same time */
    unsigned boards;
    struct fleet_board board[PARTITIONER_BOARDS_MAX];
    struct fleet_link link[FLEET_ENDS][FLEET_ENDS]; /* [from][to] */
};

/* No boards; all links free. Never NULL. */
struct fleet_file *fleet_file_new(void);
void fleet_file_destroy(struct fleet_file **file);

/* The model that is to be planned, as far as it is known; of it must be the times of a fleet. */
struct fleet_model {
    const char *architecture; /* NULL: any */
    unsigned units;           /* 0: any */
    const char *fingerprint;  /* profile_fingerprint's; NULL: any */
};

/* Reads a fleet file and the profiles it names, which are looked for beside it. A fleet of another model is refused at
 * the line that says so; model NULL takes any. NULL with ERROR_USAGE and "file:line:column: ..." on any fault. */
struct fleet_file *fleet_file_read(const char *path, const struct fleet_model *model, struct error *error);

/* The same with a file's contents; path is for errors and to find profiles. */
struct fleet_file *fleet_file_parse(const void *bytes, size_t size, const char *path, const struct fleet_model *model,
                                    struct error *error);

/* Prints a fleet file that reads back to the same fleet, number by number. It stands alone, profiles written out,
 * but for boards whose `profile` names one.
 */
void fleet_file_print(const struct fleet_file *file, FILE *to);

/* The microbatch sizes that every board with times has, ascending; returns how many. Where no board has times (all are
 * given by speed): 1, 2, 4, 8, 16, 32. */
unsigned fleet_file_microbatches(const struct fleet_file *file, unsigned sizes[FLEET_MICROBATCHES]);

/* "1, 4, 8"; buffer is filled and returned. */
#define FLEET_SIZES_TEXT (8 * FLEET_MICROBATCHES)
const char *fleet_sizes_text(const unsigned *sizes, unsigned count, char buffer[FLEET_SIZES_TEXT]);

/* The board's times for that size, or NULL. */
const double *fleet_board_seconds(const struct fleet_board *board, unsigned microbatch);

/* Adds times of `units` seconds, copied, in their place; false when that size is there already or there are too many.
 */
bool fleet_board_add_times(struct fleet_board *board, unsigned microbatch, const double *seconds, unsigned units);

#endif
