/* The last events of the fleet, with the time of day that they were told at, as `status` and the log show them.
 *
 * A ring of fixed size; texts are copied into it. One thread. */
#ifndef DAEMON_EVENT_LOG_H
#define DAEMON_EVENT_LOG_H

#include "daemon/core/coordinator_core.h"

#include <stdint.h>
#include <stdio.h>

#define EVENT_LOG_MAX   MESSAGE_EVENTS_MAX
#define EVENT_WORDS_MAX 512

struct event_record {
    struct event_status status; /* its texts are those below, or static */
    char board[MESSAGE_NAME_MAX + 1], reason[CORE_REASON_MAX], words[EVENT_WORDS_MAX];
};

struct event_log {
    uint64_t count; /* ever added; the last EVENT_LOG_MAX are here */
    struct event_record record[EVENT_LOG_MAX];
};

/* Adds it, in the place of the oldest where there is no room, and returns it as it is to be told: valid until
 * EVENT_LOG_MAX more are added. board: the name of event->board, copied, "" where there is none. */
const struct event_status *event_log_add(struct event_log *log, const struct fleet_event *event, const char *board,
                                         uint64_t unix_ms);

/* Fills in those that are kept, oldest first, and returns how many; their texts are borrowed from the log. */
size_t event_log_list(const struct event_log *log, struct event_status events[EVENT_LOG_MAX]);

/* Members of a JSON object, without braces, each followed by ", ": "event" and "number" always, the others where they
 * matter to this kind of event: "board", "epoch", "boards", "stages", "items", "microbatches", "predicted_period_s",
 * "took_s", "unserved_s", "pace" and "reason". Time and words are the caller's. */
void event_print_members(FILE *to, const struct event_status *event);

/* When it was: "2026-01-31T12:00:00.123Z". */
void event_print_time(FILE *to, const struct event_status *event);

#endif
