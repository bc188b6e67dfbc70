/* A profile, as `stagecoach profile --out` writes it, becomes the times of a board. */
#ifndef DAEMON_FLEET_PROFILE_H
#define DAEMON_FLEET_PROFILE_H

#include "daemon/fleet_file.h"

/* Reads the profile `name`, looked for in the directory of the file `beside` unless it is absolute, into the board's
 * times, kernels, threads, memory and storage. architecture (NULL: any), file->units (0: any, then set) and
 * file->fingerprint (empty: any, then set) are what the profile must be of, so that profiles of two models do not get
 * into one fleet; a profile without fingerprint is held to the others. ERROR_USAGE names the profile. */
bool fleet_profile_read(const char *beside, const char *name, const char *architecture, struct fleet_file *file,
                        struct fleet_board *board, struct error *error);

#endif
