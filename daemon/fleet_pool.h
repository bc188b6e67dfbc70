/* Boards that were measured alike are planned as equal. A plan that is optimal for noisy times leans on the boards that
 * seem fast by chance, and is slower than it need be on all of them. */
#ifndef DAEMON_FLEET_POOL_H
#define DAEMON_FLEET_POOL_H

#include "daemon/fleet_file.h"

/* For each microbatch: gathers boards whose times come from profiles, of the same kernels and threads, into groups no
 * two of which differ by more than the noise of their profiles explains (2 % at least, 10 % at most; units one by one
 * up to three times that in all, handling up to four times), and gives each board its group's mean times and handling.
 * Boards without profiles, and those for which a fleet file says their own handling, are left alone. To be called once,
 * before anything else is done to the times. Any thread; no errors. */
void fleet_pool(struct fleet_file *file);

#endif
