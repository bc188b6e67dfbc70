/* A profile: what one board takes for each unit of a model, measured with the kernels and threads it serves with.
 *
 * profile_measure runs each distinct kind of unit (blocks of one shape are one kind) on random weights, one kind in
 * memory at a time, and copies the medians to all units of that kind. Weights rotate through enough copies that they
 * are no warmer in cache than while serving. `stagecoach profile` writes the result as the JSON that fleet files
 * refer to (docs/FLEET.md); a stage daemon tells it to the coordinator.
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
    double spread;                        /* largest relative distance between quartiles of any unit; 0.05: quiet */
    double unit_s[PARTITIONER_UNITS_MAX]; /* seconds for the whole microbatch, by unit */
};

struct profile {
    char architecture[64];
    char fingerprint[33]; /* hexadecimal hash of what decides the units' shapes; see profile_fingerprint */
    char version[32];     /* of the program that measured */
    char kernels[16];
    unsigned threads, units;
    uint64_t memory_bytes;           /* what the board has for Stagecoach, 0: not known */
    double storage_bytes_per_second; /* 0: not known */
    unsigned sizes;
    struct profile_times times[PROFILE_MICROBATCHES]; /* ascending microbatch */
};

/* Two configurations with the same fingerprint have the same units, shapes and payloads: the architecture, and per unit
 * its operations, weights and payload. Labels and preprocessing do not count. text: 32 hexadecimal digits and NUL. */
void profile_fingerprint(const struct model_config *config, char text[33]);

/* Measures the given microbatch sizes (ascending, at most PROFILE_MICROBATCHES) within about budget_s seconds in all:
 * at least one timed run after a warm one for each kind of unit, more while time is left. go_on (may be NULL) is asked
 * between runs; false ends it with an error "cancelled". Allocates; blocks; runs `pool` (NULL: one thread). Does not
 * fill memory_bytes and storage_bytes_per_second. */
bool profile_measure(const struct model_config *config, const struct kernels *kernels, struct pool *pool,
                     const unsigned *microbatches, unsigned sizes, double budget_s, bool (*go_on)(void *context),
                     void *context, struct profile *out, struct error *error);

/* The JSON object, one line, to be released by the caller. */
char *profile_to_json(const struct profile *profile);

/* Reads it back with all bounds checked; `name` is for errors. */
bool profile_from_json(const void *bytes, size_t size, const char *name, struct profile *out, struct error *error);

#endif
