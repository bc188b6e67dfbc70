/* A status reply as JSON; see status_print.h. One object on one line: a name that is not known is null or 0, none is
 * left out but in events. */
#include "daemon/event_log.h"
#include "daemon/output.h"
#include "daemon/status_print.h"

#include <math.h>

static void json_text(FILE *to, const char *name, const char *text) {
    fprintf(to, "\"%s\": ", name);
    json_string(to, text);
    fprintf(to, ", ");
}

static void json_rejected(FILE *to, const struct rejected *rejected) {
    fprintf(
        to,
        "\"rejected\": {\"handshake\": %llu, \"malformed\": %llu, \"oversized\": %llu, \"stale\": %llu, \"denied\": "
        "%llu}",
        (unsigned long long)rejected->handshake, (unsigned long long)rejected->malformed,
        (unsigned long long)rejected->oversized, (unsigned long long)rejected->stale,
        (unsigned long long)rejected->denied);
}

double status_board_period(const struct board_status *board) {
    return fmax(board->predicted_compute_s, fmax(board->predicted_receive_s, board->predicted_send_s));
}

bool status_preparation_is_slowest(const struct message_status *status) {
    return status->predicted_period_s > 0 && status->preparation_period_s > status->predicted_period_s;
}

double status_predicted_period(const struct message_status *status) {
    return status_preparation_is_slowest(status) ? status->preparation_period_s : status->predicted_period_s;
}

/* What the predicted period is that of; empty where none is predicted. */
static const char *bottleneck(const struct message_status *status) {
    const char *name = "";
    double longest = 0;
    for (size_t i = 0; i < status->board_count; i++)
        if (status_board_period(&status->boards[i]) > longest) {
            longest = status_board_period(&status->boards[i]);
            name = status->boards[i].name;
        }
    return status_preparation_is_slowest(status) ? "preparation" : name;
}

static void json_number(FILE *to, const char *name, uint64_t number) {
    fprintf(to, "\"%s\": %llu, ", name, (unsigned long long)number);
}

/* null where it is not known. */
static void json_known(FILE *to, const char *name, double number) {
    fprintf(to, "\"%s\": ", name);
    json_double(to, number > 0 ? number : NAN);
    fprintf(to, ", ");
}

/* Seconds for a full microbatch. A predicted transfer may take no time at all. */
static void json_times(FILE *to, const struct board_status *board) {
    bool predicted = board->predicted_compute_s > 0;
    json_known(to, "predicted_compute_s", board->predicted_compute_s);
    fprintf(to, "\"predicted_recv_s\": ");
    json_double(to, predicted ? board->predicted_receive_s : NAN);
    fprintf(to, ", \"predicted_send_s\": ");
    json_double(to, predicted ? board->predicted_send_s : NAN);
    fprintf(to, ", ");
    json_known(to, "predicted_period_s", status_board_period(board));
    json_known(to, "measured_compute_s", board->measured_compute_s);
    json_known(to, "pace", board->pace);
}

static void json_board(FILE *to, const struct board_status *board) {
    fprintf(to, "{");
    json_text(to, "name", board->name);
    json_text(to, "state", board->state);
    json_number(to, "first", board->first);
    json_number(to, "end", board->end);
    json_text(to, "units", board->units);
    json_number(to, "items", board->items);
    json_number(to, "microbatches", board->microbatches);
    fprintf(to, "\"busy\": ");
    json_double(to, board->busy);
    fprintf(to, ", ");
    json_number(to, "weight_bytes", board->weight_bytes);
    json_number(to, "memory_bytes", board->memory_bytes);
    json_number(to, "planned_memory_bytes", board->planned_memory_bytes);
    json_number(to, "memory_used_bytes", board->memory_used);
    json_number(to, "payload_bytes", board->payload_bytes);
    json_number(to, "busy_ns", board->busy_ns);
    json_number(to, "serving_ns", board->serving_ns);
    json_number(to, "silent_ms", board->silent_ms);
    json_times(to, board);
    json_number(to, "threads", board->threads);
    json_text(to, "kernels", board->kernels);
    json_text(to, "endpoint", board->endpoint);
    json_number(to, "loaded_bytes", board->loaded);
    json_number(to, "load_total_bytes", board->load_total);
    json_number(to, "fetched_bytes", board->fetched);
    json_number(to, "allocations", board->allocations);
    json_rejected(to, &board->rejected);
    fprintf(to, "}");
}

static void json_event(FILE *to, const struct event_status *event) {
    fputs("{\"time\": \"", to);
    event_print_time(to, event);
    fputs("\", ", to);
    event_print_members(to, event);
    fputs("\"text\": ", to);
    json_string(to, event->text);
    fputs("}", to);
}

double status_throughput(const struct message_status *status, double period_s) {
    return period_s > 0 ? status->microbatch / period_s : 0;
}

void status_print_json(FILE *to, const struct message_status *status) {
    fprintf(to, "{");
    json_text(to, "version", status->version);
    json_text(to, "state", status->state);
    json_text(to, "reason", status->reason);
    json_text(to, "architecture", status->architecture);
    json_text(to, "policy", status->policy);
    json_text(to, "data_endpoint", status->data_endpoint);
    json_number(to, "epoch", status->epoch.number);
    json_number(to, "microbatch", status->microbatch);
    json_number(to, "items_done", status->items_done);
    json_number(to, "items_failed", status->items_failed);
    json_number(to, "items_replayed", status->items_replayed);
    json_number(to, "weights_sent_bytes", status->weights_sent);
    json_number(to, "waiting", status->waiting);
    json_number(to, "in_flight", status->in_flight);
    json_number(to, "clients", status->clients);
    json_number(to, "uptime_ms", status->uptime_ms);
    json_number(to, "allocations", status->allocations);
    json_known(to, "predicted_period_s", status_predicted_period(status));
    json_known(to, "planned_period_s", status->predicted_period_s);
    json_known(to, "preparation_period_s", status->preparation_period_s);
    json_text(to, "bottleneck", bottleneck(status));
    json_known(to, "measured_period_s", status->measured_period_s);
    json_known(to, "predicted_throughput", status_throughput(status, status_predicted_period(status)));
    json_known(to, "measured_throughput", status_throughput(status, status->measured_period_s));
    fprintf(to, "\"items_per_second\": ");
    json_double(to, status->items_per_second);
    fprintf(to, ", ");
    json_rejected(to, &status->rejected);
    fprintf(to, ", \"boards\": [");
    for (size_t i = 0; i < status->board_count; i++) {
        fputs(i ? ", " : "", to);
        json_board(to, &status->boards[i]);
    }
    fputs("], \"events\": [", to);
    for (size_t i = 0; i < status->event_count; i++) {
        fputs(i ? ", " : "", to);
        json_event(to, &status->events[i]);
    }
    fputs("]}\n", to);
}
