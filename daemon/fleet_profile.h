/* A profile, as `stagecoach profile --out` writes it, becomes the times of a board. */
#ifndef DAEMON_FLEET_PROFILE_H
#define DAEMON_FLEET_PROFILE_H

#include "daemon/fleet_file.h"

/* Reads the profile `name`, looked for in the directory of the file `beside` unless it is absolute, into the board's
 * times, kernels, threads and memory. architecture (NULL: any) and *units (0: any, then set) are what the profile must
 * be of. ERROR_USAGE names the profile. */
bool fleet_profile_read(const char *beside, const char *name, const char *architecture, unsigned *units,
                        struct fleet_board *board, struct error *error);

#endif
