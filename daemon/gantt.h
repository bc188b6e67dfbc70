/* A plan's schedule as a picture: a Gantt chart in one self-contained SVG file. */
#ifndef DAEMON_GANTT_H
#define DAEMON_GANTT_H

#include "daemon/plan_text.h"

#include <stdio.h>

#define GANTT_MICROBATCHES 12

/* One row a stage with lanes for receive, compute and send, and what sets the period marked. Every transfer of the plan
 * must be finite. Errors of the stream are the caller's to look for. */
void gantt_print(const struct plan_report *report, FILE *to);

#endif
