/* A status reply as tables; see status_print.h. Columns have a fixed width, so that a screen that is drawn again does
 * not jump; what the plan predicted and what was measured stand under headings of their own, both for a full
 * microbatch. */
#include "daemon/status_print.h"

#include <string.h>
#include <time.h>

/* Of strangers, or of something that is broken; and what came too late, which is no fault: after a death frames of an
 * epoch that is over are still on their way. */
static void print_rejected(FILE *to, const char *before, const struct rejected *rejected) {
    uint64_t bad = rejected->handshake + rejected->malformed + rejected->oversized + rejected->denied;
    if (bad > 0)
        fprintf(to, "%s%llu bad frame%s turned away", before, (unsigned long long)bad,
                bad == 1 ? " or connection" : "s or connections");
    if (rejected->stale > 0)
        fprintf(to, "%s%llu late frame%s dropped", before, (unsigned long long)rejected->stale,
                rejected->stale == 1 ? "" : "s");
}

static void print_head(FILE *to, const struct message_status *status) {
    fprintf(to, "%s  %s  epoch %llu  policy %s  microbatch %u", status->architecture, status->state,
            (unsigned long long)status->epoch.number, status->policy, status->microbatch);
    fprintf(to, "%s%s\n", status->reason[0] ? ": " : "", status->reason);
    fprintf(to, "%llu items done, %llu failed, %llu sent again; %u waiting, %u microbatches in flight; %.1f images/s; ",
            (unsigned long long)status->items_done, (unsigned long long)status->items_failed,
            (unsigned long long)status->items_replayed, status->waiting, status->in_flight, status->items_per_second);
    fprintf(to, "%u client%s", status->clients, status->clients == 1 ? "" : "s");
    print_rejected(to, ", ", &status->rejected);
    fputc('\n', to);
}

/* Right-aligned; "-" where it is not known. */
static void print_seconds(FILE *to, double seconds) {
    if (seconds > 0)
        fprintf(to, " %9.*f", seconds < 1 ? 2 : 0, 1e3 * seconds);
    else
        fprintf(to, " %9s", "-");
}

static void print_megabytes(FILE *to, uint64_t bytes) {
    if (bytes > 0)
        fprintf(to, " %9.1f", (double)bytes / 1e6);
    else
        fprintf(to, " %9s", "-");
}

static void print_board(FILE *to, const struct board_status *board) {
    char units[24] = "-";
    if (board->end > 0)
        snprintf(units, sizeof units, "%u-%u", board->first, board->end - 1);
    fprintf(to, "%-16s %-9s %-9s %4.0f %% %9llu", board->name, board->state, units, 100.0 * board->busy,
            (unsigned long long)board->items);
    print_megabytes(to, board->planned_memory_bytes);
    print_megabytes(to, board->memory_used);
    fprintf(to, "  %s", board->units);
    if (board->pace > 0 && board->pace != 1)
        fprintf(to, "  takes %.3g times as long as profiled", board->pace);
    if (board->load_total > 0 && strcmp(board->state, "loading") == 0)
        fprintf(to, "  %.0f %% of %.1f MB loaded", 100.0 * (double)board->loaded / (double)board->load_total,
                (double)board->load_total / 1e6);
    print_rejected(to, "  ", &board->rejected);
    fputc('\n', to);
}

static void print_boards(FILE *to, const struct message_status *status) {
    unsigned hidden = 0;
    if (status->board_count == 0)
        return;
    fprintf(to, "\n%-16s %-9s %-9s %6s %9s %9s %9s\n", "", "", "", "", "", "planned", "resident");
    fprintf(to, "%-16s %-9s %-9s %6s %9s %9s %9s  %s\n", "board", "state", "units", "busy", "items", "MB", "MB",
            "slice");
    for (size_t i = 0; i < status->board_count; i++) {
        const struct board_status *board = &status->boards[i];
        if (strcmp(board->state, "absent") == 0 && board->silent_ms >= STATUS_ABSENT_MS)
            hidden++;
        else
            print_board(to, board);
    }
    if (hidden > 0)
        fprintf(to, "%u more board%s absent for over %d minutes\n", hidden, hidden == 1 ? "," : "s,",
                STATUS_ABSENT_MS / 60000);
}

/* Nothing where nothing was predicted. */
static void print_times(FILE *to, const struct message_status *status) {
    if (status->predicted_period_s <= 0)
        return;
    fprintf(to, "\n%-16s %9s %9s %9s %9s %9s %9s\n", "", "predicted", "predicted", "predicted", "predicted", "measured",
            "measured");
    fprintf(to, "%-16s %9s %9s %9s %9s %9s %9s\n", "ms/microbatch", "receive", "compute", "send", "period", "compute",
            "period");
    for (size_t i = 0; i < status->board_count; i++) {
        const struct board_status *board = &status->boards[i];
        if (board->predicted_compute_s <= 0)
            continue;
        fprintf(to, "%-16s", board->name);
        print_seconds(to, board->predicted_receive_s);
        print_seconds(to, board->predicted_compute_s);
        print_seconds(to, board->predicted_send_s);
        print_seconds(to, status_board_period(board));
        print_seconds(to, board->measured_compute_s);
        fputc('\n', to);
    }
    fprintf(to, "%-16s %9s %9s %9s", "pipeline", "", "", "");
    print_seconds(to, status_predicted_period(status));
    fprintf(to, " %9s", "");
    print_seconds(to, status->measured_period_s);
    fprintf(to, "  predicted %.4g images/s", status_throughput(status, status_predicted_period(status)));
    if (status_preparation_is_slowest(status))
        fprintf(to, " (the coordinator's preparation of images; the stages %.4g)",
                status_throughput(status, status->predicted_period_s));
    if (status->measured_period_s > 0)
        fprintf(to, ", measured %.4g while full", status_throughput(status, status->measured_period_s));
    fputc('\n', to);
}

/* By this machine's clock. */
static void print_event(FILE *to, const struct event_status *event) {
    struct tm local = {0};
    char when[24] = "";
    time_t seconds = (time_t)(event->unix_ms / 1000);
    if (localtime_r(&seconds, &local))
        strftime(when, sizeof when, "%m-%d %H:%M:%S", &local);
    fprintf(to, "%s  %s\n", when, event->text);
}

void status_print_text(FILE *to, const struct message_status *status, size_t events) {
    print_head(to, status);
    print_boards(to, status);
    print_times(to, status);
    size_t first = status->event_count > events ? status->event_count - events : 0;
    if (first < status->event_count)
        fputs("\nevents\n", to);
    for (size_t i = first; i < status->event_count; i++)
        print_event(to, &status->events[i]);
}
