/* Boards that were measured alike are planned as equal. A plan that is optimal for noisy times leans on the boards that
 * seem fast by chance, and is slower than it need be on all of them. */
#ifndef DAEMON_FLEET_POOL_H
#define DAEMON_FLEET_POOL_H

#include "daemon/fleet_file.h"

/* Gathers boards whose times come from profiles, of the same kernels, threads and microbatches, into groups whose
 * slowest takes no longer than their fastest but for what the noise of both profiles explains (2 % at least, 10 % at
 * most), and gives each board its group's mean times and handling. Boards with times of a fleet file's own are left
 * alone. To be called once, before anything else is done to the times. Pure. */
void fleet_pool(struct fleet_file *file);

#endif
