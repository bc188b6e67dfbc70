/* PipeEdge's scheduler files, read as they are, so that its users can move over: models.yml, device_types.yml and
 * devices.yml of one directory, as PipeEdge's README_Scheduler describes them. */
#ifndef DAEMON_PIPEEDGE_H
#define DAEMON_PIPEEDGE_H

#include "daemon/fleet_problem.h"

/* Makes the problem of running `model` on all listed devices whose type has a profile of it for this microbatch in
 * fp32. Units are PipeEdge's layers, numbered from 0. Close it in any case. ERROR_USAGE names file, line and column. */
bool pipeedge_read(struct fleet_problem *made, const char *directory, const char *model, unsigned microbatch,
                   struct error *error);

#endif
