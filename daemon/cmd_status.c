/* stagecoach status: asks the coordinator once, or again and again with --watch, and prints tables or one JSON object
 * per line (status_print.h). A watch draws the screen anew on a terminal and prints a block per turn elsewhere; a
 * coordinator that is away is waited for, and told of once. SIGINT and SIGTERM end a watch with status 0: the question
 * that is under way is given up within a tenth of a second. */
#include "base/decimal.h"
#include "base/mono.h"
#include "daemon/client.h"
#include "daemon/commands.h"
#include "daemon/signals.h"
#include "daemon/status_print.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_SHOWN 10
#define SECONDS_MAX  3600
#define ANSWER_MS    5000
#define SLICE_MS     100 /* how long a signal may go unnoticed */

struct values {
    const char *coordinator;
    struct key_values key;
    bool json, watch;
};

struct watch {
    struct client *client;
    bool json, terminal;
    unsigned seconds;
    int signals;
    bool away; /* and that was told */
};

static bool print_status(const struct message_status *status, bool json) {
    if (json)
        status_print_json(stdout, status);
    else
        status_print_text(stdout, status, EVENTS_SHOWN);
    return fflush(stdout) == 0;
}

static bool show_once(struct client *client, bool json, struct error *error) {
    struct net_message received;
    struct message answer;
    if (!client_ask(client, &(struct message){.type = MESSAGE_STATUS_GET}, MESSAGE_STATUS, &received, &answer, error))
        return false;
    bool ok = print_status(&answer.status, json);
    net_message_close(&received);
    return ok || error_set(error, ERROR_SYSTEM, "cannot write the status");
}

/* ---- watching ---- */

enum answer { ANSWERED, AWAY, DENIED, ENDED };

/* Asks and prints; AWAY when no answer came in time. */
static enum answer ask(struct watch *watch, struct error *error) {
    struct net_message received;
    struct message answer;
    mono_t asked = mono_now();
    client_send(watch->client, &(struct message){.type = MESSAGE_STATUS_GET}, NULL);
    while (mono_since(mono_now(), asked) < ANSWER_MS * MONO_MS) {
        if (signals_read(watch->signals))
            return ENDED;
        if (!client_receive(watch->client, SLICE_MS, &received, &answer, error)) {
            if (error->code == ERROR_DENIED)
                return DENIED;
            continue; /* it may be restarting: ZeroMQ connects again, and the question waits in its queue */
        }
        bool status = answer.type == MESSAGE_STATUS, ok = true;
        if (status && watch->terminal)
            fputs("\033[H\033[2J", stdout);
        if (status)
            ok = print_status(&answer.status, watch->json);
        net_message_close(&received);
        if (!ok)
            return ENDED; /* whoever read it is gone */
        if (status)
            return ANSWERED;
    }
    return AWAY;
}

/* Says so once; a JSON stream holds nothing but answers, so there it goes to stderr. */
static void tell_away(struct watch *watch) {
    if (watch->terminal && !watch->json)
        printf("\033[H\033[2Jwaiting for a coordinator at %s\n", watch->client->endpoint);
    else if (!watch->away)
        fprintf(watch->json ? stderr : stdout, "waiting for a coordinator at %s\n", watch->client->endpoint);
    fflush(stdout);
    watch->away = true;
}

/* Sleeps until the next turn; false when a signal ends the watch. */
static bool pause_between(const struct watch *watch) {
    struct pollfd signals = {.fd = watch->signals, .events = POLLIN};
    if (!watch->terminal && !watch->json)
        fputc('\n', stdout); /* between blocks */
    return poll(&signals, 1, (int)watch->seconds * 1000) == 0;
}

static bool watch_status(struct watch *watch, struct error *error) {
    for (;;) {
        enum answer answer = ask(watch, error);
        if (answer == DENIED)
            return false;
        if (answer == ENDED)
            return true;
        if (answer == ANSWERED)
            watch->away = false;
        else {
            tell_away(watch);
            if (!client_reopen(watch->client, error)) /* the questions in its queue are stale */
                return false;
        }
        if (answer == ANSWERED && !pause_between(watch))
            return true;
    }
}

/* The operand; one second without it. */
static bool interval(const struct values *values, char **operands, unsigned count, unsigned *seconds,
                     struct error *error) {
    uint64_t number;
    *seconds = 1;
    if (count == 0)
        return true;
    if (!values->watch)
        return error_set(error, ERROR_USAGE, "'%.40s': only --watch takes a number of seconds", operands[0]);
    if (!decimal_parse(operands[0], SECONDS_MAX, &number) || number < 1)
        return error_set(error, ERROR_USAGE, "--watch: got '%.40s', want 1 to %d seconds", operands[0], SECONDS_MAX);
    *seconds = (unsigned)number;
    return true;
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct client client;
    struct identity identity;
    bool keyed;
    struct error error = {0};
    struct watch watch = {.client = &client, .json = values->json, .signals = -1};
    watch.terminal = !values->json && isatty(STDOUT_FILENO) == 1;
    const char *coordinator = coordinator_endpoint(values->coordinator);
    if (!interval(values, operands, count, &watch.seconds, &error) ||
        !command_join(&values->key, coordinator, NULL, &identity, &keyed, &error) ||
        (values->watch && (watch.signals = signals_open(&error)) < 0) || /* before ZeroMQ starts threads */
        !client_open(&client, coordinator, keyed ? &identity : NULL, &error))
        return command_fail(&error);
    bool ok = values->watch ? watch_status(&watch, &error) : show_once(&client, values->json, &error);
    client_close(&client);
    if (watch.signals >= 0)
        close(watch.signals);
    return ok ? 0 : command_fail(&error);
}

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"coordinator", OPTION_TEXT, FIELD(coordinator), "tcp://HOST:PORT", NULL, 0, 0,
     "where the coordinator listens (default $STAGECOACH_COORDINATOR, then tcp://127.0.0.1:7600)"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object per line"},
    KEY_OPTIONS,
    {"watch", OPTION_FLAG, FIELD(watch), NULL, NULL, 0, 0, "again every second, or every SECONDS, until interrupted"},
};

const struct command command_status = {
    .name = "status",
    .summary = "show boards, slices, busy shares, times and what happened last",
    .operands = "[SECONDS]",
    .operands_max = 1,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_size = sizeof(struct values),
    .run = run,
};
