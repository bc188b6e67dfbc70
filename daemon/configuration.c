/* The configuration file: a YAML mapping of option names to scalars (or a sequence of numbers for a list). Faults name
 * file, line and column. The text of values is kept for the life of the process, because options borrow it; a
 * configuration is read once. */
#include "base/allocate.h"
#include "daemon/options.h"
#include "daemon/yaml.h"

#include <stdio.h>
#include <string.h>

static const struct option *find(const struct command *command, const char *name) {
    for (size_t i = 0; i < command->option_count; i++)
        if (strcmp(command->options[i].name, name) == 0 && strcmp(name, "config") != 0)
            return &command->options[i];
    return NULL;
}

/* A scalar's text, or the items of a sequence joined by commas. */
static bool value_text(const struct yaml *value, char *text, size_t size, struct error *error) {
    if (yaml_kind(value) == YAML_KIND_SCALAR)
        return snprintf(text, size, "%s", yaml_scalar_text(value)) < (int)size ||
               yaml_refuse(value, error, "value too long");
    if (yaml_kind(value) != YAML_KIND_SEQUENCE)
        return yaml_refuse(value, error, "want a value or a list of numbers");
    size_t used = 0;
    text[0] = '\0';
    for (const struct yaml *item = yaml_first(value); item; item = yaml_next(item)) {
        if (yaml_kind(item) != YAML_KIND_SCALAR)
            return yaml_refuse(item, error, "want a number");
        int length = snprintf(text + used, size - used, "%s%s", used ? "," : "", yaml_scalar_text(item));
        if (length < 0 || (size_t)length >= size - used)
            return yaml_refuse(value, error, "list too long");
        used += (size_t)length;
    }
    return true;
}

/* Texts that options borrow, for the life of the process. Read before any thread is started, by one command once. */
static struct kept {
    struct kept *next;
    char text[];
} * all_kept;

static const char *keep(const char *text) {
    size_t bytes = strlen(text) + 1;
    struct kept *kept = allocate(1, sizeof *kept + bytes);
    memcpy(kept->text, text, bytes);
    kept->next = all_kept;
    all_kept = kept;
    return kept->text;
}

static bool set_member(const struct command *command, void *values, const struct yaml *member, struct error *error) {
    char text[4096], where[512];
    const struct option *option = find(command, yaml_key(member));
    if (!option)
        return yaml_refuse_key(member, error, "unknown key; see 'stagecoach %s --help'", command->name);
    if (!value_text(member, text, sizeof text, error))
        return false;
    yaml_where(member, where, sizeof where);
    return option_set(option, values, keep(text), where, error);
}

bool configuration_read(const char *path, const struct command *command, void *values, struct error *error) {
    struct yaml *root = yaml_read(path, error);
    if (!root)
        return error_wrap(error, "--config");
    bool ok = yaml_as_mapping(root, error);
    for (const struct yaml *member = ok ? yaml_first(root) : NULL; ok && member; member = yaml_next(member))
        ok = set_member(command, values, member, error);
    yaml_destroy(&root);
    return ok;
}
