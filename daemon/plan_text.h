/* Plans as people and scripts read them: a table, and one JSON object. */
#ifndef DAEMON_PLAN_TEXT_H
#define DAEMON_PLAN_TEXT_H

#include "model/model.h"
#include "partitioner/partitioner.h"

#include <stdio.h>

struct plan_report {
    const char *model;                 /* its name, for headings */
    const struct model_config *config; /* NULL: units are PipeEdge's layers */
    const struct problem *problem;     /* with board_names */
    const struct plan *plan;
    bool microbatch_chosen; /* by us: the JSON then says which */
};

/* One line, as docs promise it to scripts. */
void plan_print_json(const struct plan_report *report, FILE *to);

/* The table, the predictions, what the plan gains over simpler ones, and why boards are unused. Solves the problem by
 * other policies to compare. */
void plan_print_table(const struct plan_report *report, FILE *to);

#endif
