/* A profile: what one board takes for each unit of a model, measured with the kernels and threads it serves with.
 *
 * profile_measure runs each distinct kind of unit (blocks of one shape are one kind) on random weights, about one block
 * in memory at a time, and copies the means over the middle half of the runs to all units of that kind. Between runs as
 * much other memory is read as the rest of the model weighs, so that weights are no warmer in cache than while serving.
 * `stagecoach profile` writes the result as the JSON that fleet files refer to (docs/FLEET.md); a stage daemon tells it
 * to the coordinator.
 */
#ifndef DAEMON_PROFILE_H
#define DAEMON_PROFILE_H

#include "base/error.h"
#include "model/model.h"
#include "partitioner/partitioner.h"

#include <stdbool.h>
#include <stdint.h>

#define PROFILE_MICROBATCHES 8

struct profile_times {
    unsigned microbatch;
    unsigned runs;                        /* timed runs of the unit that had the fewest; 0: not known */
    double spread;                        /* distance between the quartiles, all units' over all seconds; 0.05: quiet */
    double unit_s[PARTITIONER_UNITS_MAX]; /* seconds for the whole microbatch, by unit */
    double unit_spread[PARTITIONER_UNITS_MAX]; /* of each unit; only profile_measure fills it, JSON leaves it out */
};

struct profile {
    char architecture[64];
    char fingerprint[33]; /* hexadecimal hash of what decides the units' shapes; see profile_fingerprint */
    char version[32];     /* of the program that measured */
    char kernels[16];
    unsigned threads, units;
    uint64_t memory_bytes;           /* what the board has for Stagecoach, 0: not known */
    double storage_bytes_per_second; /* 0: not known */
    /* What the board receives or sends while it does nothing else, because its processors compute; 0: computing goes on
     * beside it, or not known. handling.h measures it. */
    double handling_bytes_per_second;
    double processors; /* that computing got, on average; only profile_measure fills it, JSON leaves it out */
    unsigned sizes;
    struct profile_times times[PROFILE_MICROBATCHES]; /* ascending microbatch */
};

/* Two configurations with the same fingerprint have the same units, shapes and payloads: the architecture, and per unit
 * its operations, weights, payload and, of an MLP, part. Labels and preprocessing do not count. text: 32 hexadecimal
 * digits and NUL. */
void profile_fingerprint(const struct model_config *config, char text[33]);

/* Units whose cost is one and the same: kind[unit] is the first unit with that unit's operations, shapes of weights and
 * payloads (and part, in an MLP: its parts are measured together), so a unit u with kind[u] == u is the one that gets
 * measured. kind has room for model_units. Pure. */
void profile_kinds(const struct model_config *config, unsigned *kind);

/* What is to be measured, and how; all borrowed for the call. */
struct profile_settings {
    const struct model_config *config;
    const struct kernels *kernels;
    struct pool *pool;            /* NULL: one thread */
    const unsigned *microbatches; /* ascending */
    unsigned sizes;               /* how many, at most PROFILE_MICROBATCHES */
    double budget_s;              /* for all of them together */
    double stretch; /* above 1: the budget is of the calling thread's processor time, so that a board with a quota or
                       with others beside it gets as many runs as one of its own; it takes so many times as long at
                       most */
    uint64_t memory_bytes;        /* that may be taken at most; 0: what the system has */
    bool (*go_on)(void *context); /* may be NULL; asked between runs, false ends it with an error "cancelled" */
    void *context;
};

/* Measures within about the budget: at least one timed run for each kind of unit after a warm one of one item, more
 * while time is left and the spread says that they help. Allocates, never more than may be taken; blocks; runs the
 * pool. Does not fill memory_bytes, storage_bytes_per_second and handling_bytes_per_second. Errors: sizes out of order,
 * more units than a plan takes, memory. */
bool profile_measure(const struct profile_settings *settings, struct profile *out, struct error *error);

/* The JSON object, one line without its end, to be released by the caller. */
char *profile_to_json(const struct profile *profile);

/* Reads it back with all bounds checked; `name` starts the error. What older profiles lack (fingerprint, architecture,
 * spread) stays empty. */
bool profile_from_json(const void *bytes, size_t size, const char *name, struct profile *out, struct error *error);

#endif
