/* SIGTERM and SIGINT as something to read, for the event loops of the daemons. */
#ifndef DAEMON_SIGNALS_H
#define DAEMON_SIGNALS_H

#include "base/error.h"

#include <stdbool.h>

/* From now on the two signals do not end the process but make the descriptor readable. To be called by the main thread,
 * the only one that may read it, before it starts others. -1 with an error. */
int signals_open(struct error *error);

/* Has one of them come since the last call? Never blocks. */
bool signals_read(int descriptor);

#endif
