/* A profile becomes the times of a board: one at hand, or a file, as `stagecoach profile --out` writes it. */
#ifndef DAEMON_FLEET_PROFILE_H
#define DAEMON_FLEET_PROFILE_H

#include "daemon/fleet_file.h"
#include "daemon/profile.h"

/* Copies what a profile knows into a board that has no times yet: times and how noisy they are, kernels, threads,
 * memory, storage, handling. */
void fleet_board_set_profile(struct fleet_board *board, const struct profile *profile);

/* Reads the profile `name`, looked for in the directory of the file `beside` unless it is absolute, into the board's
 * times, kernels, threads, memory and storage. It must be of `model`, and of what the file says or an earlier profile
 * was of (architecture; units, fingerprint: where not known yet, they are set), so that profiles of two models do not
 * get into one fleet; a profile without fingerprint is held to the others. ERROR_USAGE names the profile. */
bool fleet_profile_read(const char *beside, const char *name, const struct fleet_model *model, struct fleet_file *file,
                        struct fleet_board *board, struct error *error);

#endif
