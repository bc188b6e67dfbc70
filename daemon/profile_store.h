/* Profiles of boards, kept in a directory so that a coordinator that starts again need not measure again. One file for
 * each (board, model, version, threads, kernels), written whole or not at all. Losing it costs a measurement.
 */
#ifndef DAEMON_PROFILE_STORE_H
#define DAEMON_PROFILE_STORE_H

#include "daemon/profile.h"

#include <stdbool.h>

/* What a profile is kept by. All texts are borrowed for the call. */
struct profile_key {
    const char *board;       /* a valid board name */
    const char *fingerprint; /* of the model */
    const char *version, *kernels;
    unsigned threads;
};

/* Was this profile made by such a board, for that model? */
bool profile_key_fits(const struct profile_key *key, const struct profile *profile);

/* Reads it. False when there is none, and with an error when what is there cannot be used (it will be overwritten). */
bool profile_store_read(const char *directory, const struct profile_key *key, struct profile *profile,
                        struct error *error);
/* Writes it; makes the directory where it is missing. */
bool profile_store_write(const char *directory, const struct profile_key *key, const struct profile *profile,
                         struct error *error);

/* Takes the times of other microbatch sizes over from an older profile of the same key, as many as there is room for.
 */
void profile_merge(struct profile *profile, const struct profile *older);

#endif
