/* The subcommands. Each cmd_*.c defines one. */
#ifndef DAEMON_COMMANDS_H
#define DAEMON_COMMANDS_H

#include "daemon/options.h"

#define EXIT_ITEMS_FAILED 1
#define EXIT_USAGE        2

extern const struct command command_coordinator, command_stage, command_submit, command_classify, command_status,
    command_synth, command_bench, command_plan, command_profile;

/* Prints "stagecoach: <error>" on stderr and returns the exit status for it. */
int command_fail(const struct error *error);

/* --coordinator, else $STAGECOACH_COORDINATOR, else tcp://127.0.0.1:7600. */
const char *coordinator_endpoint(const char *option);

/* Threads asked for, or as many as this process may run on. */
unsigned thread_count(unsigned option);

/* Reads an image file named by the user, of at most MESSAGE_FILE_MAX bytes; contents from allocate. The error does not
 * repeat the name: it goes into a line that starts with it. */
bool command_read_file(const char *path, void **contents, size_t *size, struct error *error);

/* Writes the manual page to stdout. */
void manual_print(const struct command *const *commands, size_t count);

#endif
