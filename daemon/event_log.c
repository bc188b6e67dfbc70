/* The ring of events, and their members in JSON; see event_log.h. A record holds the event in the form that it travels
 * in, so that the log, the status reply and the client that prints it all say the same. */
#include "daemon/event_log.h"

#include "base/json_text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define SECOND 1e9

const struct event_status *event_log_add(struct event_log *log, const struct fleet_event *event, const char *board,
                                         uint64_t unix_ms) {
    struct event_record *record = &log->record[log->count++ % EVENT_LOG_MAX];
    snprintf(record->board, sizeof record->board, "%s", event->board == FLEET_NO_BOARD ? "" : board);
    snprintf(record->reason, sizeof record->reason, "%s", event->text);
    fleet_event_words(event, record->board, record->words, sizeof record->words);
    record->status = (struct event_status){
        .number = log->count,
        .unix_ms = unix_ms,
        .kind = fleet_event_kind_name(event->kind),
        .board = record->board,
        .reason = record->reason,
        .text = record->words,
        .epoch = event->epoch,
        .boards = event->boards,
        .stages = event->stages,
        .items = event->items,
        .microbatches = event->microbatches,
        .predicted_period_s = event->period_s,
        .took_s = (double)event->took_ns / SECOND,
        .unserved_s = (double)event->unserved_ns / SECOND,
        .pace = event->pace,
    };
    return &record->status;
}

size_t event_log_list(const struct event_log *log, struct event_status events[EVENT_LOG_MAX]) {
    size_t count = log->count < EVENT_LOG_MAX ? (size_t)log->count : EVENT_LOG_MAX;
    for (size_t i = 0; i < count; i++)
        events[i] = log->record[(log->count - count + i) % EVENT_LOG_MAX].status;
    return count;
}

static void print_text(FILE *to, const char *name, const char *text) {
    if (!text[0])
        return;
    fprintf(to, "\"%s\": ", name);
    json_string(to, text);
    fputs(", ", to);
}

static void print_number(FILE *to, const char *name, uint64_t number) {
    if (number > 0)
        fprintf(to, "\"%s\": %" PRIu64 ", ", name, number);
}

static void print_real(FILE *to, const char *name, double number) {
    if (number > 0)
        fprintf(to, "\"%s\": %.9g, ", name, number);
}

void event_print_members(FILE *to, const struct event_status *event) {
    print_text(to, "event", event->kind);
    print_number(to, "number", event->number);
    print_text(to, "board", event->board);
    print_number(to, "epoch", event->epoch.number);
    print_number(to, "boards", event->boards);
    print_number(to, "stages", event->stages);
    print_number(to, "items", event->items);
    print_number(to, "microbatches", event->microbatches);
    print_real(to, "predicted_period_s", event->predicted_period_s);
    print_real(to, "took_s", event->took_s);
    print_real(to, "unserved_s", event->unserved_s);
    print_real(to, "pace", event->pace);
    print_text(to, "reason", event->reason);
}

void event_print_time(FILE *to, const struct event_status *event) {
    struct tm utc = {0};
    char text[32] = "";
    time_t seconds = (time_t)(event->unix_ms / 1000);
    if (gmtime_r(&seconds, &utc))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    fprintf(to, "%s.%03uZ", text, (unsigned)(event->unix_ms % 1000));
}
