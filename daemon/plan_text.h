/* Plans as people and scripts read them: a table, and one JSON object. */
#ifndef DAEMON_PLAN_TEXT_H
#define DAEMON_PLAN_TEXT_H

#include "model/model.h"
#include "partitioner/partitioner.h"

#include <stdio.h>

#define PLAN_WORDS_MAX 80

struct plan_report {
    const char *model;                 /* its name, for headings */
    const struct model_config *config; /* NULL: units are PipeEdge's layers */
    const struct problem *problem;     /* with board_names */
    const struct plan *plan;
    bool microbatch_chosen; /* by us: the JSON then says which */
};

/* A slice in words: "embed, blocks 0-3.1", "block 5.2", "blocks 9.3-11, head", "layers 5-12". Blocks and their parts
 * are those of model_unit_name, parts counted from 1; a block without a part is whole. buffer is filled and returned.
 */
const char *slice_words(const struct model_config *config, unsigned first, unsigned end, char buffer[PLAN_WORDS_MAX]);

/* "12.3 ms", "1.23 s"; buffer is filled and returned. */
const char *seconds_words(double seconds, char buffer[PLAN_WORDS_MAX]);

/* One line, as docs promise it to scripts. */
void plan_print_json(const struct plan_report *report, FILE *to);

/* The table, the predictions, what the plan gains over simpler ones, and why boards are unused. Solves the problem by
 * other policies to compare. */
void plan_print_table(const struct plan_report *report, FILE *to);

#endif
