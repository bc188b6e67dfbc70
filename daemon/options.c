/* Options: see options.h. The command line is read twice: first for --config, so that the file's values lie below the
 * flags. */
#include "daemon/options.h"

#include "base/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *field(const struct option *option, void *values) {
    return (char *)values + option->offset;
}

bool parse_size(const char *text, uint64_t *bytes) {
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1},
                 {"B", 1},
                 {"kB", 1e3},
                 {"KB", 1e3},
                 {"MB", 1e6},
                 {"GB", 1e9},
                 {"KiB", 1024},
                 {"MiB", 1048576.0},
                 {"GiB", 1073741824.0},
                 {"K", 1024},
                 {"M", 1048576.0},
                 {"G", 1073741824.0},
                 {"TB", 1e12},
                 {"TiB", 1099511627776.0}};
    char *end;
    if (text[0] < '0' || text[0] > '9')
        return false;
    double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(end, units[i].suffix) == 0 && isfinite(number) && number * units[i].factor < 9e18) {
            *bytes = (uint64_t)(number * units[i].factor);
            return true;
        }
    return false;
}

const char *size_text(uint64_t bytes, char buffer[OPTION_SIZE_TEXT]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    unsigned unit = 0;
    for (; bytes > 0 && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        bytes /= 1024;
    snprintf(buffer, OPTION_SIZE_TEXT, "%llu%s", (unsigned long long)bytes, bytes > 0 ? units[unit] : "");
    return buffer;
}

static bool set_list(struct option_list *list, const char *text) {
    list->count = 0;
    while (*text) {
        char *end;
        unsigned long value = strtoul(text, &end, 10);
        bool ascending = list->count == 0 || value > list->value[list->count - 1];
        if (end == text || *text < '0' || *text > '9' || value == 0 || value > 65536 || !ascending ||
            list->count == OPTION_LIST_MAX || (*end != ',' && *end != '\0'))
            return false;
        list->value[list->count++] = (unsigned)value;
        text = *end == ',' ? end + 1 : end;
        if (*end == ',' && *text == '\0')
            return false;
    }
    return list->count > 0;
}

static bool set_flag(bool *flag, const char *text) {
    *flag = strcmp(text, "true") == 0;
    return *flag || strcmp(text, "false") == 0;
}

/* Of a size that no unit was given for, such as 1, a mebibyte or more was meant. 0 is as if nothing was said. */
static bool set_size(const struct option *option, uint64_t *bytes, const char *text, const char *where,
                     struct error *error) {
    char least[OPTION_SIZE_TEXT];
    if (!parse_size(text, bytes))
        return error_set(error, ERROR_USAGE, "%s: got '%s', want a size such as 512MiB or 1.5GB", where, text);
    if (*bytes == 0 || *bytes >= option->minimum)
        return true;
    return error_set(error, ERROR_USAGE,
                     "%s: got '%s', which is %llu byte%s; want at least %s, such as 512MiB or 1.5GB", where, text,
                     (unsigned long long)*bytes, *bytes == 1 ? "" : "s", size_text(option->minimum, least));
}

bool option_set(const struct option *option, void *values, const char *text, const char *where, struct error *error) {
    uint64_t number;
    void *to = field(option, values);
    switch (option->type) {
    case OPTION_FLAG:
        return set_flag(to, text) || error_set(error, ERROR_USAGE, "%s: got '%s', want true or false", where, text);
    case OPTION_NUMBER:
        if (!decimal_parse(text, option->maximum, &number) || number < option->minimum)
            return error_set(error, ERROR_USAGE, "%s: got '%s', want a whole number from %u to %u", where, text,
                             option->minimum, option->maximum);
        *(unsigned *)to = (unsigned)number;
        return true;
    case OPTION_SEED:
        return decimal_parse(text, UINT64_MAX, to) ||
               error_set(error, ERROR_USAGE, "%s: got '%s', want a whole number", where, text);
    case OPTION_SIZE:
        return set_size(option, to, text, where, error);
    case OPTION_TEXT:
        if (text[0] == '\0')
            return error_set(error, ERROR_USAGE, "%s: is empty, want %s", where, option->argument);
        *(const char **)to = text;
        return true;
    case OPTION_LIST:
        return set_list(to, text) ||
               error_set(error, ERROR_USAGE, "%s: got '%s', want ascending whole numbers such as 17,33", where, text);
    }
    return false;
}

static const struct option *find(const struct command *command, const char *name, size_t length) {
    for (size_t i = 0; i < command->option_count; i++)
        if (strlen(command->options[i].name) == length && strncmp(command->options[i].name, name, length) == 0)
            return &command->options[i];
    return NULL;
}

static bool set_defaults(const struct command *command, void *values, struct error *error) {
    memset(values, 0, command->values_size);
    for (size_t i = 0; i < command->option_count; i++)
        if (command->options[i].fallback &&
            !option_set(&command->options[i], values, command->options[i].fallback, "default", error))
            return false;
    return true;
}

/* One "--name value", "--name=value" or "--flag"; *index moves to its last word. */
static bool set_from_words(const struct command *command, int argc, char **argv, int *index, void *values,
                           struct error *error) {
    char where[80];
    const char *word = argv[*index];
    const char *equals = strchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
    const struct option *option = find(command, word + 2, length);
    if (!option)
        return error_set(error, ERROR_USAGE, "%.60s: unknown option; see 'stagecoach %s --help'", word, command->name);
    snprintf(where, sizeof where, "--%s", option->name);
    if (option->type == OPTION_FLAG)
        return option_set(option, values, equals ? equals + 1 : "true", where, error);
    if (!equals && *index + 1 >= argc)
        return error_set(error, ERROR_USAGE, "%s: %s is missing", where, option->argument);
    return option_set(option, values, equals ? equals + 1 : argv[++*index], where, error);
}

static const char *default_text(const struct option *option, char *buffer, size_t size) {
    if (!option->fallback)
        return "";
    snprintf(buffer, size, " (default %s)", option->fallback);
    return buffer;
}

void options_help(const struct command *command) {
    char text[96], standard[96];
    printf("usage: stagecoach %s [OPTION]...%s%s\n%s\n\n", command->name, command->operands ? " " : "",
           command->operands ? command->operands : "", command->summary);
    for (size_t i = 0; i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        snprintf(text, sizeof text, "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-26s %s%s\n", text, option->help, default_text(option, standard, sizeof standard));
    }
    if (find(command, "config", 6))
        printf("  %-26s print the options in force as YAML, for --config\n", "--print-config");
    printf("  %-26s this help\n", "--help");
}

/* In YAML's single quotes, where a quote is written twice. */
static void print_quoted(const char *text) {
    putchar('\'');
    for (; *text; text++)
        fputs(*text == '\'' ? "''" : (char[]){*text, 0}, stdout);
    putchar('\'');
}

static void print_value(const struct option *option, const void *values) {
    char size[OPTION_SIZE_TEXT];
    const void *from = (const char *)values + option->offset;
    switch (option->type) {
    case OPTION_FLAG:
        printf("%s", *(const bool *)from ? "true" : "false");
        break;
    case OPTION_NUMBER:
        printf("%u", *(const unsigned *)from);
        break;
    case OPTION_SEED:
        printf("%llu", (unsigned long long)*(const uint64_t *)from);
        break;
    case OPTION_SIZE:
        fputs(size_text(*(const uint64_t *)from, size), stdout);
        break;
    case OPTION_TEXT:
        print_quoted(*(const char *const *)from);
        break;
    case OPTION_LIST:
        for (unsigned i = 0; i < ((const struct option_list *)from)->count; i++)
            printf("%s%u", i ? "," : "'", ((const struct option_list *)from)->value[i]);
        printf("'");
        break;
    }
}

static bool is_unset(const struct option *option, const void *values) {
    const void *from = (const char *)values + option->offset;
    return (option->type == OPTION_TEXT && !*(const char *const *)from) ||
           (option->type == OPTION_LIST && ((const struct option_list *)from)->count == 0);
}

/* Every option as a line of YAML; those without a value as comments, so that the file shows all there is. */
static void print_config(const struct command *command, const void *values) {
    for (size_t i = 0; i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        if (strcmp(option->name, "config") == 0)
            continue;
        printf("# %s\n", option->help);
        if (is_unset(option, values)) {
            printf("# %s: %s\n", option->name, option->argument);
            continue;
        }
        printf("%s: ", option->name);
        print_value(option, values);
        printf("\n");
    }
}

static const char *config_path(int argc, char **argv) {
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc)
            return argv[i + 1];
        if (strncmp(argv[i], "--config=", 9) == 0)
            return argv[i] + 9;
    }
    return NULL;
}

bool operands_superfluous(const char *first, const char *command, struct error *error) {
    return error_set(error, ERROR_USAGE, "%.60s: one argument too many; see 'stagecoach %s --help'", first, command);
}

static bool check_operands(const struct command *command, char **operands, unsigned count, struct error *error) {
    if (count < command->operands_min)
        return error_set(error, ERROR_USAGE, "%s is missing; see 'stagecoach %s --help'", command->operands,
                         command->name);
    return count <= command->operands_max ||
           operands_superfluous(operands[command->operands_max], command->name, error);
}

bool options_parse(const struct command *command, int argc, char **argv, void *values, char **operands,
                   unsigned *operand_count, bool *handled, struct error *error) {
    bool print = false, only_operands = false;
    const char *path = config_path(argc, argv);
    *operand_count = 0;
    *handled = false;
    if (!set_defaults(command, values, error))
        return false;
    if (path && find(command, "config", 6) && !configuration_read(path, command, values, error))
        return false;
    for (int i = 0; i < argc && argv[i]; i++) {
        if (only_operands || strncmp(argv[i], "-", 1) != 0 || strcmp(argv[i], "-") == 0)
            operands[(*operand_count)++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            only_operands = true;
        else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            options_help(command);
            *handled = true;
            return true;
        } else if (strcmp(argv[i], "--print-config") == 0)
            print = true;
        else if (strncmp(argv[i], "--", 2) != 0)
            return error_set(error, ERROR_USAGE,
                             "%.60s: unknown option (-- before it if it is none); see 'stagecoach %s --help'", argv[i],
                             command->name);
        else if (!set_from_words(command, argc, argv, &i, values, error))
            return false;
    }
    if (print) {
        print_config(command, values);
        *handled = true;
        return true;
    }
    return check_operands(command, operands, *operand_count, error);
}
