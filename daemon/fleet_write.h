/* A fleet file on disk; see fleet_file.h for the struct and docs/FLEET.md for the format. */
#ifndef DAEMON_FLEET_WRITE_H
#define DAEMON_FLEET_WRITE_H

#include "daemon/fleet_file.h"
#include "daemon/profile.h"

/* Writes what fleet_file_print prints below `comment` (lines without '#', NULL: none), whole or not at all: a reader
 * finds the old or the new file. fleet_file_read gives the same fleet back. */
bool fleet_write(const struct fleet_file *file, const char *comment, const char *path, struct error *error);

/* Rounds what was measured (times that no profile is referred to for, links, storage, speed) to five significant digits
 * and memory down to whole mebibytes, kibibytes below 1 GiB: far below the noise, and short in a file. */
void fleet_round(struct fleet_file *file);

/* A fleet of this one board with links that are free, from a profile. profile_path (NULL: times are written into the
 * fleet file) is what the fleet file at fleet_path refers to: by its name when both are in one folder, else by its
 * absolute path. Rounded. Never NULL; the caller destroys it. */
struct fleet_file *fleet_of_profile(const struct profile *profile, const char *name, const char *profile_path,
                                    const char *fleet_path);

#endif
