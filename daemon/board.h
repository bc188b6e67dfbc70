/* What this machine is, as a board of a fleet. */
#ifndef DAEMON_BOARD_H
#define DAEMON_BOARD_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Memory this process may still take: what the system calls available, or what its control groups (v1 or v2, its own
 * and those above it) leave, whichever is less. File pages that a group would give back count as free, swap does not.
 * What this process has already is not in it, though plans count a process (FLEET_PROCESS_BYTES). Bytes; 0 when neither
 * can be read. */
uint64_t board_memory_available(void);

/* The same below another root directory than "/", for tests: root + "/proc/meminfo" and so on. */
uint64_t board_memory_available_below(const char *root);

/* Memory of this process that is resident, mapped files included. Bytes; 0 when it cannot be read. */
uint64_t board_memory_used(void);

/* How many processors this process may run on, at least 1. */
unsigned board_processors(void);

/* What a board offers: `memory`, or what is available where that is 0, less `reserve`. *bytes is 0 when nothing is
 * known. ERROR_USAGE when the reserve takes all. */
bool board_memory_offered(uint64_t memory, uint64_t reserve, uint64_t *bytes, struct error *error);

/* The host's name with characters that a board's name may not have replaced by '-'. */
void board_default_name(char *name, unsigned size);

#endif
