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
/* Its file's name in the directory, where profile_to_json's text goes. */
#define PROFILE_FILE_MAX 160
void profile_store_name(const struct profile_key *key, char name[PROFILE_FILE_MAX]);

/* Takes the times of other microbatch sizes over from an older profile of the same key, as many as there is room for.
 */
void profile_merge(struct profile *profile, const struct profile *older);

#endif
