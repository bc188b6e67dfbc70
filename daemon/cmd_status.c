/* stagecoach status: asks the coordinator once, or every second with --watch, and prints a table or one JSON object per
 * line. What the plan predicted stands beside what was measured, both for a full microbatch. */
#include "daemon/client.h"
#include "daemon/commands.h"
#include "daemon/output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *coordinator;
    struct key_values key;
    bool json, watch;
};

static void json_text(const char *name, const char *text) {
    printf("\"%s\": ", name);
    json_string(stdout, text);
    printf(", ");
}

static void json_rejected(const struct rejected *rejected) {
    printf("\"rejected\": {\"handshake\": %llu, \"malformed\": %llu, \"oversized\": %llu, \"stale\": %llu, \"denied\": "
           "%llu}",
           (unsigned long long)rejected->handshake, (unsigned long long)rejected->malformed,
           (unsigned long long)rejected->oversized, (unsigned long long)rejected->stale,
           (unsigned long long)rejected->denied);
}

/* What the slowest of its three resources takes for a microbatch. */
static double board_period(const struct board_status *board) {
    return fmax(board->predicted_compute_s, fmax(board->predicted_receive_s, board->predicted_send_s));
}

static void json_number(const char *name, uint64_t number) {
    printf("\"%s\": %llu, ", name, (unsigned long long)number);
}

/* null where it is not known. */
static void json_seconds(const char *name, double seconds) {
    printf("\"%s\": ", name);
    json_double(stdout, seconds > 0 ? seconds : NAN);
    printf(", ");
}

/* Seconds for a full microbatch. A predicted transfer may take no time at all. */
static void json_times(const struct board_status *board) {
    bool predicted = board->predicted_compute_s > 0;
    json_seconds("predicted_compute_s", board->predicted_compute_s);
    printf("\"predicted_recv_s\": ");
    json_double(stdout, predicted ? board->predicted_receive_s : NAN);
    printf(", \"predicted_send_s\": ");
    json_double(stdout, predicted ? board->predicted_send_s : NAN);
    printf(", ");
    json_seconds("predicted_period_s", board_period(board));
    json_seconds("measured_compute_s", board->measured_compute_s);
}

static void json_board(const struct board_status *board) {
    printf("{");
    json_text("name", board->name);
    json_text("state", board->state);
    json_number("first", board->first);
    json_number("end", board->end);
    json_text("units", board->units);
    json_number("items", board->items);
    json_number("microbatches", board->microbatches);
    printf("\"busy\": ");
    json_double(stdout, board->busy);
    printf(", ");
    json_number("weight_bytes", board->weight_bytes);
    json_number("memory_bytes", board->memory_bytes);
    json_times(board);
    json_number("threads", board->threads);
    json_text("kernels", board->kernels);
    json_text("endpoint", board->endpoint);
    json_number("loaded_bytes", board->loaded);
    json_number("load_total_bytes", board->load_total);
    json_number("fetched_bytes", board->fetched);
    json_number("allocations", board->allocations);
    json_rejected(&board->rejected);
    printf("}");
}

/* Preparation of images is a stage of the pipeline, too, though no board's. */
static bool preparation_is_slowest(const struct message_status *status) {
    return status->predicted_period_s > 0 && status->preparation_period_s > status->predicted_period_s;
}

static double predicted_period(const struct message_status *status) {
    return preparation_is_slowest(status) ? status->preparation_period_s : status->predicted_period_s;
}

/* What the predicted period is that of; empty where none is predicted. */
static const char *bottleneck(const struct message_status *status) {
    const char *name = "";
    double longest = 0;
    for (size_t i = 0; i < status->board_count; i++)
        if (board_period(&status->boards[i]) > longest) {
            longest = board_period(&status->boards[i]);
            name = status->boards[i].name;
        }
    return preparation_is_slowest(status) ? "preparation" : name;
}

/* Items per second at this period, 0: not known. */
static double throughput(const struct message_status *status, double period_s) {
    return period_s > 0 ? status->microbatch / period_s : 0;
}

static void print_json(const struct message_status *status) {
    printf("{");
    json_text("version", status->version);
    json_text("state", status->state);
    json_text("reason", status->reason);
    json_text("architecture", status->architecture);
    json_text("policy", status->policy);
    json_text("data_endpoint", status->data_endpoint);
    json_number("epoch", status->epoch.number);
    json_number("microbatch", status->microbatch);
    json_number("items_done", status->items_done);
    json_number("items_failed", status->items_failed);
    json_number("items_replayed", status->items_replayed);
    json_number("waiting", status->waiting);
    json_number("in_flight", status->in_flight);
    json_number("clients", status->clients);
    json_number("uptime_ms", status->uptime_ms);
    json_number("allocations", status->allocations);
    json_seconds("predicted_period_s", predicted_period(status));
    json_seconds("planned_period_s", status->predicted_period_s);
    json_seconds("preparation_period_s", status->preparation_period_s);
    json_text("bottleneck", bottleneck(status));
    json_seconds("measured_period_s", status->measured_period_s);
    json_seconds("predicted_throughput", throughput(status, predicted_period(status)));
    json_seconds("measured_throughput", throughput(status, status->measured_period_s));
    printf("\"items_per_second\": ");
    json_double(stdout, status->items_per_second);
    printf(", ");
    json_rejected(&status->rejected);
    printf(", \"boards\": [");
    for (size_t i = 0; i < status->board_count; i++) {
        fputs(i ? ", " : "", stdout);
        json_board(&status->boards[i]);
    }
    puts("]}");
}

static uint64_t turned_away(const struct rejected *rejected) {
    return rejected->handshake + rejected->malformed + rejected->oversized + rejected->stale + rejected->denied;
}

static void print_loading(const struct board_status *board) {
    if (board->load_total > 0 && strcmp(board->state, "loading") == 0)
        printf("  %.0f %% of %.1f MB loaded", 100.0 * (double)board->loaded / (double)board->load_total,
               (double)board->load_total / 1e6);
}

/* "12.3 ms", or "-" where it is not known; right-aligned. */
static void print_seconds(double seconds) {
    if (seconds > 0)
        printf(" %9.*f", seconds < 1 ? 2 : 0, 1e3 * seconds);
    else
        printf(" %9s", "-");
}

/* For a full microbatch, predicted beside measured; nothing where nothing was predicted. */
static void print_times(const struct message_status *status) {
    if (status->predicted_period_s <= 0)
        return;
    printf("\n%-16s %9s %9s %9s %9s %9s\n", "ms/microbatch", "receive", "compute", "send", "period", "measured");
    for (size_t i = 0; i < status->board_count; i++) {
        const struct board_status *board = &status->boards[i];
        if (board->predicted_compute_s <= 0)
            continue;
        printf("%-16s", board->name);
        print_seconds(board->predicted_receive_s);
        print_seconds(board->predicted_compute_s);
        print_seconds(board->predicted_send_s);
        print_seconds(board_period(board));
        print_seconds(board->measured_compute_s);
        printf("\n");
    }
    printf("%-16s %9s %9s %9s", "pipeline", "", "", "");
    print_seconds(predicted_period(status));
    print_seconds(status->measured_period_s);
    printf("  predicted %.4g images/s", throughput(status, predicted_period(status)));
    if (preparation_is_slowest(status))
        printf(" (the coordinator's preparation of images; the stages %.4g)",
               throughput(status, status->predicted_period_s));
    if (status->measured_period_s > 0)
        printf(", measured %.4g while full", throughput(status, status->measured_period_s));
    printf("\n");
}

static void print_table(const struct message_status *status) {
    printf("%s  %s  epoch %llu  policy %s  microbatch %u", status->architecture, status->state,
           (unsigned long long)status->epoch.number, status->policy, status->microbatch);
    printf("%s%s\n", status->reason[0] ? ": " : "", status->reason);
    printf("%llu items done, %llu failed, %u waiting, %u microbatches in flight, %.1f images/s, %u clients",
           (unsigned long long)status->items_done, (unsigned long long)status->items_failed, status->waiting,
           status->in_flight, status->items_per_second, status->clients);
    if (status->items_replayed > 0)
        printf(", %llu sent again", (unsigned long long)status->items_replayed);
    if (turned_away(&status->rejected) > 0)
        printf(", %llu bad frames turned away", (unsigned long long)turned_away(&status->rejected));
    if (status->board_count > 0)
        printf("\n\n%-16s %-9s %-9s %6s %9s %9s  %s", "stage", "state", "units", "busy", "items", "weights", "slice");
    for (size_t i = 0; i < status->board_count; i++) {
        const struct board_status *board = &status->boards[i];
        char units[24] = "-";
        if (board->end > 0)
            snprintf(units, sizeof units, "%u-%u", board->first, board->end - 1);
        printf("\n%-16s %-9s %-9s %4.0f %% %9llu %6.1f MB  %s", board->name, board->state, units, 100.0 * board->busy,
               (unsigned long long)board->items, (double)board->weight_bytes / 1e6, board->units);
        print_loading(board);
        if (turned_away(&board->rejected) > 0)
            printf("  %llu bad frames turned away", (unsigned long long)turned_away(&board->rejected));
    }
    printf("\n");
    print_times(status);
}

static bool show(struct client *client, const struct values *values, struct error *error) {
    struct net_message received;
    struct message answer;
    const struct message question = {.type = MESSAGE_STATUS_GET};
    if (!client_ask(client, &question, MESSAGE_STATUS, &received, &answer, error))
        return false;
    if (values->watch && !values->json && isatty(STDOUT_FILENO) == 1)
        fputs("\033[H\033[2J", stdout);
    if (values->json)
        print_json(&answer.status);
    else
        print_table(&answer.status);
    net_message_close(&received);
    return fflush(stdout) == 0;
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct client client;
    struct identity identity;
    bool keyed;
    struct error error = {0};
    (void)operands;
    (void)count;
    const char *coordinator = coordinator_endpoint(values->coordinator);
    if (!command_join(&values->key, coordinator, NULL, &identity, &keyed, &error) ||
        !client_open(&client, coordinator, keyed ? &identity : NULL, &error))
        return command_fail(&error);
    bool ok = show(&client, values, &error);
    while (ok && values->watch) {
        sleep(1);
        ok = show(&client, values, &error);
    }
    client_close(&client);
    return ok || error.code == ERROR_NONE ? 0 : command_fail(&error);
}

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"coordinator", OPTION_TEXT, FIELD(coordinator), "tcp://HOST:PORT", NULL, 0, 0,
     "where the coordinator listens (default $STAGECOACH_COORDINATOR, then tcp://127.0.0.1:7600)"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object"},
    KEY_OPTIONS,
    {"watch", OPTION_FLAG, FIELD(watch), NULL, NULL, 0, 0, "again every second"},
};

const struct command command_status = {
    .name = "status",
    .summary = "show stages, slices, busy shares and items done",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_size = sizeof(struct values),
    .run = run,
};
