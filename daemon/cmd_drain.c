/* stagecoach drain: asks the coordinator to let a board go without loss, and waits until it has. The board serves until
 * what is in flight has landed; then its stage ends with status 0. The coordinator refuses where too few boards would
 * be left, unless it is forced. Ended early, the command changes nothing: the board goes all the same. */
#include "base/mono.h"
#include "daemon/client.h"
#include "daemon/commands.h"
#include "proto/codec.h"

#include <stdio.h>
#include <string.h>

struct values {
    const char *coordinator;
    struct key_values key;
    unsigned patience_s;
    bool force;
};

/* The answer to come; false with an error when the coordinator refuses, goes, or says nothing until the deadline. */
static bool next_answer(struct client *client, const char *board, mono_t deadline, bool *left, struct error *error) {
    struct net_message received;
    struct message answer;
    for (;;) {
        int64_t wait_ns = mono_since(deadline, mono_now());
        if (!client_receive(client, wait_ns > 0 ? (int)(wait_ns / MONO_MS) : 0, &received, &answer, error)) {
            if (error->code == ERROR_TIMEOUT)
                return error_set(error, ERROR_TIMEOUT, "drain %s: it is still on its way out; see 'stagecoach status'",
                                 board);
            return error_wrap(error, "drain %s", board);
        }
        bool refused = answer.type == MESSAGE_REFUSE, drained = answer.type == MESSAGE_DRAINED;
        if (refused)
            error_set(error, ERROR_INPUT, "drain %s: %s", board, answer.refuse.text);
        *left = drained && answer.drained.left;
        net_message_close(&received);
        if (refused || drained)
            return !refused;
    }
}

static bool drain(struct client *client, const char *board, const struct values *values, struct error *error) {
    bool left = false;
    struct net_message received;
    struct message answer;
    const struct message question = {.type = MESSAGE_DRAIN, .drain = {board, values->force}};
    if (!client_ask(client, &question, MESSAGE_DRAINED, &received, &answer, error))
        return error_wrap(error, "drain %s", board);
    left = answer.drained.left;
    net_message_close(&received);
    mono_t deadline = mono_after(mono_now(), values->patience_s * MONO_SECOND);
    while (!left && next_answer(client, board, deadline, &left, error))
        continue;
    return left;
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct client client;
    struct identity identity;
    bool keyed;
    struct error error;
    (void)count;
    const char *coordinator = coordinator_endpoint(values->coordinator);
    if (!board_name_valid(operands[0])) {
        error_set(&error, ERROR_USAGE, "drain: got '%.80s', want the name of a board as status shows it", operands[0]);
        return command_fail(&error);
    }
    if (!command_join(&values->key, coordinator, NULL, &identity, &keyed, &error) ||
        !client_open(&client, coordinator, keyed ? &identity : NULL, &error))
        return command_fail(&error);
    bool ok = drain(&client, operands[0], values, &error);
    client_close(&client);
    if (!ok)
        return command_fail(&error);
    printf("board %s has left\n", operands[0]);
    return 0;
}

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"coordinator", OPTION_TEXT, FIELD(coordinator), "tcp://HOST:PORT", NULL, 0, 0,
     "where the coordinator listens (default $STAGECOACH_COORDINATOR, then tcp://127.0.0.1:7600)"},
    {"force", OPTION_FLAG, FIELD(force), NULL, NULL, 0, 0, "even if the others are too few to serve without it"},
    {"patience", OPTION_NUMBER, FIELD(patience_s), "S", "60", 1, 3600, "how long to wait until it has left"},
    KEY_OPTIONS,
};

const struct command command_drain = {
    .name = "drain",
    .summary = "let a board go without loss: it ends when what is in flight has landed",
    .operands = "BOARD",
    .operands_min = 1,
    .operands_max = 1,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_size = sizeof(struct values),
    .run = run,
};
