/* What `stagecoach status` prints of a reply: JSON for programs (status_json.c), tables for people (status_text.c).
 * Pure; errors of the stream are the caller's to see. */
#ifndef DAEMON_STATUS_PRINT_H
#define DAEMON_STATUS_PRINT_H

#include "proto/message.h"

#include <stdio.h>

/* One line; README.md names the members. */
void status_print_json(FILE *to, const struct message_status *status);

/* Tables: the pipeline, its boards, times predicted beside measured, and the last `events` events. A board that has
 * been away for STATUS_ABSENT_MS is only counted. */
#define STATUS_ABSENT_MS (5 * 60 * 1000)
void status_print_text(FILE *to, const struct message_status *status, size_t events);

/* Seconds that the slowest of a board's three resources is predicted to take for a full microbatch; 0: not known. */
double status_board_period(const struct board_status *board);

/* Items per second at this period, 0: not known. */
/* Preparation of images is a stage of the pipeline, too, though no board's: is it the slowest? */
bool status_preparation_is_slowest(const struct message_status *status);
/* Seconds between full microbatches, preparation included; 0: not known. */
double status_predicted_period(const struct message_status *status);
double status_throughput(const struct message_status *status, double period_s);

#endif
