/* The subcommands. Each cmd_*.c defines one. */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "daemon/identity.h"
#include "daemon/options.h"
#include "proto/message.h"

#define EXIT_ITEMS_FAILED 1
#define EXIT_USAGE        2

extern const struct command command_coordinator, command_stage, command_submit, command_classify, command_status,
    command_synth, command_bench, command_plan, command_profile, command_keys, command_drain;

/* Prints "stagecoach: <error>" on stderr and returns the exit status for it. */
int command_fail(const struct error *error);

/* Was --model given, and is it a directory? ERROR_USAGE where not, so that the exit status is 2 in every command. */
bool command_check_model(const char *directory, const char *command, struct error *error);

/* Could the file that an option names be written? To be asked before the work whose result goes there; ERROR_USAGE. */
bool command_check_output(const char *option, const char *path, struct error *error);

/* A board's name as --name gives it (option), or else the host's, in buffer[MESSAGE_NAME_MAX + 1]; NULL with an error
 * when --name is none. */
const char *command_board_name(const char *option, char *buffer, struct error *error);

/* --coordinator, else $STAGECOACH_COORDINATOR, else tcp://127.0.0.1:7600. */
const char *coordinator_endpoint(const char *option);

/* --state, else $XDG_STATE_HOME/stagecoach, else ~/.local/state/stagecoach, else nowhere (NULL); "none": nowhere. */
const char *state_directory(const char *option, char *buffer, size_t size);

/* Where a command's options lie in its values. */
#define FIELD(name) offsetof(struct values, name)

/* What every command that talks to a coordinator can be told about keys; KEY_OPTIONS declares it, as a member `key` of
 * the command's values. */
struct key_values {
    const char *token, *token_file, *state;
    bool insecure;
};
/* clang-format off */
#define KEY_OPTIONS \
    {"token", OPTION_TEXT, FIELD(key.token), "TOKEN", NULL, 0, 0, \
     "join with this token, once; the keys are kept (default $STAGECOACH_TOKEN)"}, \
    {"token-file", OPTION_TEXT, FIELD(key.token_file), "FILE", NULL, 0, 0, "the file that the token is in"}, \
    {"state", OPTION_TEXT, FIELD(key.state), "DIR", NULL, 0, 0, \
     "where keys are kept, or none (default ~/.local/state/stagecoach)"}, \
    {"insecure", OPTION_FLAG, FIELD(key.insecure), NULL, NULL, 0, 0, \
     "do without keys, on a network you trust, where the coordinator does too"}

/* Options that mean the same in every command that has them, as members of that name. */
#define COORDINATOR_OPTION \
    {"coordinator", OPTION_TEXT, FIELD(coordinator), "tcp://HOST:PORT", NULL, 0, 0, \
     "where the coordinator listens (default $STAGECOACH_COORDINATOR, then tcp://127.0.0.1:7600)"}
#define MODEL_OPTION \
    {"model", OPTION_TEXT, FIELD(model), "DIR", NULL, 0, 0, "Hugging Face model directory"}
#define MODEL_CONFIG_OPTION \
    {"model", OPTION_TEXT, FIELD(model), "DIR", NULL, 0, 0, "Hugging Face model directory; config.json is enough"}
#define CONFIG_OPTION \
    {"config", OPTION_TEXT, FIELD(config), "FILE", NULL, 0, 0, "YAML file with any of these options"}
#define VERBOSE_OPTION \
    {"verbose", OPTION_FLAG, FIELD(verbose), NULL, NULL, 0, 0, "log more"}
#define THREADS_OPTION \
    {"threads", OPTION_NUMBER, FIELD(threads), "N", "0", 0, 256, "compute threads, 0 = all cores"}
#define KERNELS_OPTION \
    {"kernels", OPTION_TEXT, FIELD(kernels), "SET", NULL, 0, 0, "kernel set instead of the fastest"}
#define CUTS_OPTION \
    {"cuts", OPTION_LIST, FIELD(cuts), "C,C,...", NULL, 0, 0, "slice by hand: units before which to cut"}
#define ANSWER_OPTIONS \
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object per file"}, \
    {"logits", OPTION_FLAG, FIELD(logits), NULL, NULL, 0, 0, "print the logits too"}, \
    {"top", OPTION_NUMBER, FIELD(top), "K", "5", 0, MESSAGE_TOP_MAX, "how many labels"}

/* Of memory in bytes, a mebibyte is the least that anybody means. */
#define MEMORY_OPTION(help) \
    {"memory", OPTION_SIZE, FIELD(memory), "SIZE", NULL, 1u << 20, 0, help}
#define RESERVE_OPTION \
    {"reserve", OPTION_SIZE, FIELD(reserve), "SIZE", NULL, 1u << 20, 0, "how much of that is left to others"}
/* clang-format on */

/* The members of a struct command that follow from its table, its `struct values` and its function `run`. */
#define COMMAND_PARTS                                                                                                  \
    .options = options, .option_count = sizeof options / sizeof options[0], .values_size = sizeof(struct values),      \
    .run = run

/* The keys to talk to that coordinator with, *keyed false when there are none; a token given is wiped from
 * the command line and presented now. name: of the board; NULL for a client, which is then named after host and user.
 */
bool command_join(const struct key_values *values, const char *coordinator, const char *name, struct identity *identity,
                  bool *keyed, struct error *error);

/* --log-format, for the daemons: text or json, put in force. LOG_FORMAT_OPTION declares it, as a member `log_format` of
 * the command's values. */
bool command_log_format(const char *format, struct error *error);
#define LOG_FORMAT_OPTION                                                                                              \
    { "log-format", OPTION_TEXT, FIELD(log_format), "F", "text", 0, 0, "text, or json: an object per line" }

/* Threads asked for, or as many as this process may run on. */
unsigned thread_count(unsigned option);

/* Reads an image file named by the user, of at most MESSAGE_FILE_MAX bytes; contents from allocate. The error does not
 * repeat the name: it goes into a line that starts with it. */
bool command_read_file(const char *path, void **contents, size_t *size, struct error *error);

/* Writes the manual page to stdout. */
void manual_print(const struct command *const *commands, size_t count);

#endif
