/* The subcommands. Each cmd_*.c defines one. */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "daemon/identity.h"
#include "daemon/options.h"
#include "proto/message.h"

#define EXIT_ITEMS_FAILED 1
#define EXIT_USAGE        2

extern const struct command command_coordinator, command_stage, command_submit, command_classify, command_status,
    command_synth, command_bench, command_plan, command_profile, command_keys;

/* Prints "stagecoach: <error>" on stderr and returns the exit status for it. */
int command_fail(const struct error *error);

/* --coordinator, else $STAGECOACH_COORDINATOR, else tcp://127.0.0.1:7600. */
const char *coordinator_endpoint(const char *option);

/* --state, else $XDG_STATE_HOME/stagecoach, else ~/.local/state/stagecoach, else nowhere (NULL); "none": nowhere. */
const char *state_directory(const char *option, char *buffer, size_t size);

/* What every command that talks to a coordinator can be told about keys; KEY_OPTIONS declares it, as a member `key` of
 * the command's values. */
struct key_values {
    const char *token, *token_file, *state;
    bool insecure;
};
#define KEY_OPTIONS                                                                                                    \
    {"token",                                                                                                          \
     OPTION_TEXT,                                                                                                      \
     FIELD(key.token),                                                                                                 \
     "TOKEN",                                                                                                          \
     NULL,                                                                                                             \
     0,                                                                                                                \
     0,                                                                                                                \
     "join with this token, once; the keys are kept (default $STAGECOACH_TOKEN)"},                                     \
        {"token-file", OPTION_TEXT, FIELD(key.token_file), "FILE", NULL, 0, 0, "the file that the token is in"},       \
        {"state",                                                                                                      \
         OPTION_TEXT,                                                                                                  \
         FIELD(key.state),                                                                                             \
         "DIR",                                                                                                        \
         NULL,                                                                                                         \
         0,                                                                                                            \
         0,                                                                                                            \
         "where keys are kept, or none (default ~/.local/state/stagecoach)"},                                          \
    {                                                                                                                  \
        "insecure", OPTION_FLAG, FIELD(key.insecure), NULL, NULL, 0, 0,                                                \
            "do without keys, on a network you trust, where the coordinator does too"                                  \
    }

/* The keys to talk to that coordinator with, *keyed false when there are none; a token given is wiped from
 * the command line and presented now. name: of the board; NULL for a client, which is then named after host and user.
 */
bool command_join(const struct key_values *values, const char *coordinator, const char *name, struct identity *identity,
                  bool *keyed, struct error *error);

/* Threads asked for, or as many as this process may run on. */
unsigned thread_count(unsigned option);

/* Reads an image file named by the user, of at most MESSAGE_FILE_MAX bytes; contents from allocate. The error does not
 * repeat the name: it goes into a line that starts with it. */
bool command_read_file(const char *path, void **contents, size_t *size, struct error *error);

/* Writes the manual page to stdout. */
void manual_print(const struct command *const *commands, size_t count);

#endif
