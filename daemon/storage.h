/* How fast this machine reads its disk. */
#ifndef DAEMON_STORAGE_H
#define DAEMON_STORAGE_H

#include "base/error.h"

/* Reads up to 256 MiB of a file, or of the largest file in a directory, past the page cache, for at most two seconds;
 * *rate is bytes per second. Files below 4 MiB, file systems in memory and those that cannot read past the cache are
 * refused, since any figure would be wrong; a cache inside the disk or below a virtual machine is not seen. Blocks. */
bool storage_measure(const char *path, double *rate, struct error *error);

#endif
