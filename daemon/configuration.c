/* The configuration file: a YAML mapping of option names to scalars (or a sequence of numbers for a list). The only
 * user of <yaml.h>. Faults name file, line and column. The parsed text of values is kept for the life of the process,
 * because options borrow it; a configuration is read once. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/options.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#define CONFIGURATION_MAX (1u << 20)

struct reader {
    const char *path;
    const struct command *command;
    void *values;
    yaml_document_t *document;
    struct error *error;
};

static bool fault(const struct reader *reader, yaml_mark_t mark, const char *what, const char *detail) {
    return error_set(reader->error, ERROR_USAGE, "%s:%zu:%zu: %s%.80s", reader->path, mark.line + 1, mark.column + 1,
                     what, detail);
}

static const struct option *find(const struct reader *reader, const char *name) {
    for (size_t i = 0; i < reader->command->option_count; i++)
        if (strcmp(reader->command->options[i].name, name) == 0 && strcmp(name, "config") != 0)
            return &reader->command->options[i];
    return NULL;
}

/* A scalar's text, or the items of a sequence joined by commas. */
static bool value_text(const struct reader *reader, const yaml_node_t *node, char *text, size_t size) {
    if (node->type == YAML_SCALAR_NODE)
        return snprintf(text, size, "%s", (const char *)node->data.scalar.value) < (int)size ||
               fault(reader, node->start_mark, "value too long", "");
    if (node->type != YAML_SEQUENCE_NODE)
        return fault(reader, node->start_mark, "want a value or a list of numbers", "");
    size_t used = 0;
    text[0] = '\0';
    for (yaml_node_item_t *item = node->data.sequence.items.start; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *element = yaml_document_get_node(reader->document, *item);
        if (element->type != YAML_SCALAR_NODE)
            return fault(reader, element->start_mark, "want a number", "");
        int length =
            snprintf(text + used, size - used, "%s%s", used ? "," : "", (const char *)element->data.scalar.value);
        if (length < 0 || (size_t)length >= size - used)
            return fault(reader, node->start_mark, "list too long", "");
        used += (size_t)length;
    }
    return true;
}

static bool set_pair(const struct reader *reader, const yaml_node_t *key, const yaml_node_t *value) {
    char text[4096], where[512];
    if (key->type != YAML_SCALAR_NODE)
        return fault(reader, key->start_mark, "want an option's name", "");
    const char *name = (const char *)key->data.scalar.value;
    const struct option *option = find(reader, name);
    if (!option)
        return fault(reader, key->start_mark, "unknown key: ", name);
    if (!value_text(reader, value, text, sizeof text))
        return false;
    snprintf(where, sizeof where, "%s:%zu:%zu: %s", reader->path, value->start_mark.line + 1,
             value->start_mark.column + 1, name);
    char *kept = allocate_string(text);
    bool ok = option_set(option, reader->values, kept, where, reader->error);
    if (!ok || option->type != OPTION_TEXT)
        release(kept);
    return ok;
}

static bool set_all(const struct reader *reader) {
    const yaml_node_t *root = yaml_document_get_root_node(reader->document);
    if (!root)
        return true; /* an empty file */
    if (root->type != YAML_MAPPING_NODE)
        return fault(reader, root->start_mark, "want 'name: value' lines", "");
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start; pair < root->data.mapping.pairs.top; pair++)
        if (!set_pair(reader, yaml_document_get_node(reader->document, pair->key),
                      yaml_document_get_node(reader->document, pair->value)))
            return false;
    return true;
}

bool configuration_read(const char *path, const struct command *command, void *values, struct error *error) {
    void *contents;
    size_t size;
    yaml_parser_t parser;
    yaml_document_t document;
    if (!file_read(path, CONFIGURATION_MAX, &contents, &size, error)) {
        error->code = ERROR_USAGE;
        return error_wrap(error, "--config");
    }
    if (!yaml_parser_initialize(&parser)) {
        release(contents);
        return error_set(error, ERROR_SYSTEM, "%s: no memory", path);
    }
    yaml_parser_set_input_string(&parser, contents, size);
    bool ok = false;
    if (!yaml_parser_load(&parser, &document))
        error_set(error, ERROR_USAGE, "%s:%zu:%zu: %s", path, parser.problem_mark.line + 1,
                  parser.problem_mark.column + 1, parser.problem ? parser.problem : "not YAML");
    else {
        const struct reader reader = {path, command, values, &document, error};
        ok = set_all(&reader);
        yaml_document_delete(&document);
    }
    yaml_parser_delete(&parser);
    release(contents);
    return ok;
}
