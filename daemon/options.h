/* Options of the subcommands: each is declared once, and the command line, the YAML configuration file, --help,
 * --print-config and the manual page all come from that declaration.
 *
 * A command's options are fields of a struct; a declaration names the field by its offset. Values come from the
 * default, then the configuration file (--config FILE, keys are the long names), then the command line. An unknown key
 * or option, a value out of range, a missing argument: one line that says where and what was expected.
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTION_LIST_MAX 63

struct option_list {
    unsigned count;
    unsigned value[OPTION_LIST_MAX];
};

enum option_type {
    OPTION_FLAG,   /* bool: no argument */
    OPTION_NUMBER, /* unsigned, within [minimum, maximum] */
    OPTION_SEED,   /* uint64_t */
    OPTION_SIZE,   /* uint64_t bytes: "512MiB", "1.5GB", "4096" */
    OPTION_TEXT,   /* const char *, borrowed from argv or the configuration */
    OPTION_LIST,   /* struct option_list: "17,33", ascending */
};

struct option {
    const char *name; /* without the dashes */
    enum option_type type;
    size_t offset;             /* of the field in the command's struct */
    const char *argument;      /* what --help calls the value, NULL for a flag */
    const char *fallback;      /* the default as it would be typed; NULL: zero, false, NULL, empty */
    unsigned minimum, maximum; /* OPTION_NUMBER; OPTION_SIZE: least bytes, but for 0, which means none */
    const char *help;
};

struct command {
    const char *name;
    const char *summary;
    const char *operands; /* "FILE...", "ARCH", or NULL for none */
    unsigned operands_min, operands_max;
    const struct option *options;
    size_t option_count;
    size_t values_size;
    int (*run)(const void *values, char **operands, unsigned count);
};

/* Fills values (values_size bytes) and the operands. Handles --help and --print-config itself: *handled is then true
 * and nothing is to be run. Text borrowed from a configuration file lives as long as the process. ERROR_USAGE on any
 * fault. */
bool options_parse(const struct command *command, int argc, char **argv, void *values, char **operands,
                   unsigned *operand_count, bool *handled, struct error *error);

/* Sets one option from text; where ("--threads", "stage.yaml:3:5: threads") starts the error. */
bool option_set(const struct option *option, void *values, const char *text, const char *where, struct error *error);

/* "512MiB" and the like to bytes. */
bool parse_size(const char *text, uint64_t *bytes);
/* And back, in the largest unit of 1024 that leaves a whole number: "512MiB", "1000B", "0". Fills and returns buffer.
 */
#define OPTION_SIZE_TEXT 32
const char *size_text(uint64_t bytes, char buffer[OPTION_SIZE_TEXT]);

/* The error about the first operand that a command has no use for. */
bool operands_superfluous(const char *first, const char *command, struct error *error);

/* configuration.c: reads a YAML mapping of option names to values. */
bool configuration_read(const char *path, const struct command *command, void *values, struct error *error);

void options_help(const struct command *command);

#endif
