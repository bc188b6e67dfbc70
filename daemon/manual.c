/* The manual page, in man(7) macros, written from the same declarations as --help. `make install` keeps what it prints.
 */
#include "daemon/commands.h"

#include <stdio.h>

/* Text in which nothing means anything to troff: a leading dot or apostrophe, backslashes and hyphens that shall stay.
 */
static void troff(const char *text) {
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            putchar(*text);
    }
}

static void print_option(const struct option *option) {
    fputs(".TP\n.B \\-\\-", stdout);
    troff(option->name);
    if (option->argument) {
        fputs(" \\fI", stdout);
        troff(option->argument);
        fputs("\\fR", stdout);
    }
    putchar('\n');
    troff(option->help);
    if (option->fallback) {
        fputs(" (default ", stdout);
        troff(option->fallback);
        putchar(')');
    }
    putchar('\n');
}

static void print_command(const struct command *command) {
    printf(".SS stagecoach %s%s%s\n", command->name, command->operands ? " " : "",
           command->operands ? command->operands : "");
    troff(command->summary);
    putchar('\n');
    for (size_t i = 0; i < command->option_count; i++)
        print_option(&command->options[i]);
}

void manual_print(const struct command *const *commands, size_t count) {
    puts(".TH STAGECOACH 1 \"\" \"stagecoach " STAGECOACH_VERSION "\"\n.SH NAME\n"
         "stagecoach \\- run a transformer across many boards\n.SH SYNOPSIS\n.B stagecoach\n.I "
         "COMMAND\n[\\fIOPTION\\fR]...\n"
         ".SH DESCRIPTION\nRuns a transformer that is too large or too slow for one board across many. A coordinator "
         "admits\n"
         "boards, hands each a slice of the model and streams images through them; a stage offers its board.\n.SH "
         "COMMANDS");
    for (size_t i = 0; i < count; i++)
        print_command(commands[i]);
    puts(
        ".SH EXIT STATUS\n0: all well. 1: an item failed, there is no plan, or a daemon could not go on. 2: usage or\n"
        "configuration error.\n.SH ENVIRONMENT\n.TP\n.B STAGECOACH_COORDINATOR\nwhere the coordinator listens, for "
        "commands without \\-\\-coordinator\n.TP\n.B STAGECOACH_KERNELS\nthe kernel set to use instead of the fastest");
}
