/* What commands print: answers as text or as JSON lines, and a progress bar. */
#ifndef DAEMON_OUTPUT_H
#define DAEMON_OUTPUT_H

#include "base/json_text.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* A number that reads back to the same bits; null when it is not finite. */
void json_float(FILE *to, float number);
void json_double(FILE *to, double number);

/* What print(to, what) prints, in memory; give it back with release. Never NULL. */
char *printed_text(void (*print)(FILE *to, const void *what), const void *what);

/* One item's answer, however it was computed. */
struct answer {
    const char *file;
    const char *error; /* NULL or empty: answered */
    const struct answer_class *top;
    size_t top_count;
    bool embedding;       /* numbers are an embedding, not logits */
    const float *numbers; /* NULL: not asked for */
    size_t number_count;
};

/* One line, with its end. An error as text goes there too: the caller chooses the stream. */
void answer_print(FILE *to, const struct answer *answer, bool json);

/* The same line in memory; give it back with release. */
char *answer_line(const struct answer *answer, bool json);

/* Redraws "[=====>    ] 12/40  31.2 images/s" on stderr if that is a terminal, at most ten times a second; the last one
 * always. */
struct progress {
    size_t total;
    double started, drawn; /* seconds */
    bool terminal;
};
void progress_start(struct progress *progress, size_t total);
void progress_draw(struct progress *progress, size_t done, bool last);
/* Takes the bar off the line, so that something else can be printed. */
void progress_clear(struct progress *progress);

#endif
