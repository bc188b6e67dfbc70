/* What this machine is, as a board of a fleet. */
#ifndef DAEMON_BOARD_H
#define DAEMON_BOARD_H

#include <stdbool.h>
#include <stdint.h>

/* Memory this process may still take: what the system calls available, or what its control group (v1 or v2) leaves,
 * whichever is less. Bytes; 0 when neither can be read. */
uint64_t board_memory_available(void);

/* The host's name with characters that a board's name may not have replaced by '-'. */
void board_default_name(char *name, unsigned size);

#endif
