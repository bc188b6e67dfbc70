/* stagecoach status: asks the coordinator once, or every second with --watch, and prints a table or one JSON object per
 * line. */
#include "daemon/client.h"
#include "daemon/commands.h"
#include "daemon/output.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *coordinator;
    bool json, watch;
};

static void json_text(const char *name, const char *text) {
    printf("\"%s\": ", name);
    json_string(stdout, text);
    printf(", ");
}

static void json_rejected(const struct rejected *rejected) {
    printf("\"rejected\": {\"handshake\": %llu, \"malformed\": %llu, \"oversized\": %llu, \"stale\": %llu}",
           (unsigned long long)rejected->handshake, (unsigned long long)rejected->malformed,
           (unsigned long long)rejected->oversized, (unsigned long long)rejected->stale);
}

static void json_number(const char *name, uint64_t number) {
    printf("\"%s\": %llu, ", name, (unsigned long long)number);
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
    json_number("waiting", status->waiting);
    json_number("in_flight", status->in_flight);
    json_number("clients", status->clients);
    json_number("uptime_ms", status->uptime_ms);
    json_number("allocations", status->allocations);
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
    return rejected->handshake + rejected->malformed + rejected->oversized + rejected->stale;
}

static void print_loading(const struct board_status *board) {
    if (board->load_total > 0 && strcmp(board->state, "loading") == 0)
        printf("  %.0f %% of %.1f MB loaded", 100.0 * (double)board->loaded / (double)board->load_total,
               (double)board->load_total / 1e6);
}

static void print_table(const struct message_status *status) {
    printf("%s  %s  epoch %llu  policy %s  microbatch %u", status->architecture, status->state,
           (unsigned long long)status->epoch.number, status->policy, status->microbatch);
    printf("%s%s\n", status->reason[0] ? ": " : "", status->reason);
    printf("%llu items done, %llu failed, %u waiting, %u microbatches in flight, %.1f images/s, %u clients",
           (unsigned long long)status->items_done, (unsigned long long)status->items_failed, status->waiting,
           status->in_flight, status->items_per_second, status->clients);
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
    struct error error = {0};
    (void)operands;
    (void)count;
    if (!client_open(&client, coordinator_endpoint(values->coordinator), &error))
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
