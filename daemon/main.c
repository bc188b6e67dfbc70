/* stagecoach: one binary, one subcommand for each thing it does. This file finds the subcommand, has its options read
 * and runs it. Exit status: 0 all well; 1 some item failed, or no plan, or a daemon could not go on; 2 usage or
 * configuration error. */
#include "base/allocate.h"
#include "daemon/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_coordinator, &command_stage,   &command_submit, &command_classify, &command_status, &command_synth,
    &command_bench,       &command_profile, &command_plan,   &command_keys,     &command_drain,
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static int usage(FILE *to) {
    fputs("usage: stagecoach COMMAND [OPTION]...\n\n"
          "Runs a transformer that is too large or too slow for one board across many.\n\n",
          to);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n'stagecoach COMMAND --help' lists a command's options.\n", to);
    return to == stdout ? 0 : EXIT_USAGE;
}

static int run(const struct command *command, int argc, char **argv) {
    struct error error;
    bool handled;
    unsigned operand_count;
    void *values = allocate(1, command->values_size);
    char **operands = allocate((size_t)argc + 1, sizeof *operands);
    int status;
    if (!options_parse(command, argc, argv, values, operands, &operand_count, &handled, &error))
        status = command_fail(&error);
    else if (handled)
        status = 0;
    else
        status = command->run(values, operands, operand_count);
    release(operands);
    release(values);
    return fflush(stdout) == 0 && !ferror(stdout) ? status : EXIT_ITEMS_FAILED;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, not a death */
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        puts("stagecoach " STAGECOACH_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "--manual") == 0) {
        manual_print(commands, COMMANDS);
        return 0;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i]->name) == 0)
            return run(commands[i], argc - 2, argv + 2);
    fprintf(stderr, "stagecoach: %.40s: unknown command; see 'stagecoach --help'\n", argv[1]);
    return EXIT_USAGE;
}
