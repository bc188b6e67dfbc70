/* YAML documents on top of libyaml's events, of which this is the only user; see yaml.h.
 *
 * The parser is asked event by event and the tree is built on the way down, so that every limit (nodes, depth, members)
 * stops a hostile file before it costs memory, not after. An alias becomes a copy of the nodes of its anchor, which
 * counts against the limit: a file whose aliases multiply (a "billion laughs") is refused instead of walked. Anchors
 * are known only once their node is complete, so no tree contains itself.
 *
 * Failures are errors that name file, line and column. Nodes and texts lie in blocks that the document owns; the root
 * leads to the document, and yaml_destroy gives all of it back at once. Blocks come from try_allocate because their
 * number is the file's. libyaml allocates by itself. Nothing is written after yaml_parse.
 */
#include "daemon/yaml.h"

#include "base/allocate.h"
#include "base/file.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define BLOCK_BYTES ((size_t)64 << 10)
#define WHERE_BYTES 400

struct place {
    unsigned line, column; /* from 1 */
};

struct yaml {
    const struct document *document;
    enum yaml_kind kind;
    struct place place, key_place;
    const char *key;  /* "" unless a member of a mapping */
    const char *text; /* "" unless a scalar */
    size_t count;
    struct yaml *first, *last, *next;
};

struct block {
    struct block *next;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
};

struct document {
    const char *name;
    struct block *blocks; /* the newest first; only it has room */
    size_t nodes;
};

struct anchor {
    const char *name;
    const struct yaml *node;
    struct anchor *next;
};

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one being read */
    bool holds_event;
    struct document *document;
    struct anchor *anchors; /* the newest first: a name may be given again */
    struct error *error;
};

/* ---- memory of a document ---- */

static void *take(struct document *document, size_t size) {
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct block *block = document->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        if (!(block = try_allocate(1, sizeof *block + room)))
            return NULL;
        block->size = room;
        block->next = document->blocks;
        document->blocks = block;
    }
    block->used += size;
    return block->bytes + block->used - size;
}

static void document_destroy(struct document *document) {
    while (document->blocks) {
        struct block *block = document->blocks;
        document->blocks = block->next;
        release(block);
    }
    release(document);
}

static const char *keep_text(struct document *document, const void *bytes, size_t size) {
    char *text = take(document, size + 1);
    if (text && size)
        memcpy(text, bytes, size);
    return text; /* blocks come zeroed: it ends there */
}

/* ---- reading events ---- */

static struct place place_of(yaml_mark_t mark) {
    return (struct place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

static struct yaml *fail(const struct reader *reader, struct place place, const char *what) {
    error_set(reader->error, ERROR_USAGE, "%s:%u:%u: %s", reader->document->name, place.line, place.column, what);
    return NULL;
}

static struct yaml *fail_here(const struct reader *reader, const char *what) {
    return fail(reader, place_of(reader->event.start_mark), what);
}

static bool next_event(struct reader *reader) {
    if (reader->holds_event)
        yaml_event_delete(&reader->event);
    reader->holds_event = yaml_parser_parse(&reader->parser, &reader->event) == 1;
    if (!reader->holds_event)
        fail(reader, place_of(reader->parser.problem_mark),
             reader->parser.problem ? reader->parser.problem : "no memory to read it");
    return reader->holds_event;
}

static struct yaml *node_new(struct reader *reader, enum yaml_kind kind) {
    if (reader->document->nodes == YAML_NODES_MAX)
        return fail_here(reader, "too many values");
    struct yaml *node = take(reader->document, sizeof *node);
    if (!node)
        return fail_here(reader, "no memory to read it");
    reader->document->nodes++;
    node->document = reader->document;
    node->kind = kind;
    node->place = place_of(reader->event.start_mark);
    node->key = node->text = "";
    return node;
}

static void append(struct yaml *parent, struct yaml *child) {
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->count++;
}

static const char *scalar_text(struct reader *reader) {
    const unsigned char *value = reader->event.data.scalar.value;
    size_t length = reader->event.data.scalar.length;
    if (length && memchr(value, '\0', length)) {
        fail_here(reader, "a NUL character");
        return NULL;
    }
    const char *text = keep_text(reader->document, value, length);
    if (!text)
        fail_here(reader, "no memory to read it");
    return text;
}

static struct yaml *read_node(struct reader *reader, unsigned depth);

static struct yaml *read_scalar(struct reader *reader) {
    struct yaml *node = node_new(reader, YAML_KIND_SCALAR);
    return node && (node->text = scalar_text(reader)) ? node : NULL;
}

static struct yaml *read_sequence(struct reader *reader, unsigned depth) {
    struct yaml *node = node_new(reader, YAML_KIND_SEQUENCE);
    while (node && next_event(reader)) {
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            return node;
        struct yaml *item = read_node(reader, depth + 1);
        if (!item)
            return NULL;
        append(node, item);
    }
    return NULL;
}

/* The event is a key's; reads it and its value. */
static bool read_member(struct reader *reader, struct yaml *mapping, unsigned depth) {
    struct place place = place_of(reader->event.start_mark);
    if (reader->event.type != YAML_SCALAR_EVENT)
        return fail(reader, place, "want a plain key") != NULL;
    const char *key = scalar_text(reader);
    if (!key)
        return false;
    if (yaml_find(mapping, key))
        return error_set(reader->error, ERROR_USAGE, "%s:%u:%u: %.80s: the key is there twice", reader->document->name,
                         place.line, place.column, key);
    if (mapping->count == YAML_MEMBERS_MAX)
        return fail(reader, place, "too many keys") != NULL;
    struct yaml *value = next_event(reader) ? read_node(reader, depth + 1) : NULL;
    if (!value)
        return false;
    value->key = key;
    value->key_place = place;
    append(mapping, value);
    return true;
}

static struct yaml *read_mapping(struct reader *reader, unsigned depth) {
    struct yaml *node = node_new(reader, YAML_KIND_MAPPING);
    while (node && next_event(reader)) {
        if (reader->event.type == YAML_MAPPING_END_EVENT)
            return node;
        if (!read_member(reader, node, depth))
            return NULL;
    }
    return NULL;
}

/* A copy keeps the places of the original: that is where a fault in it is mended. */
static struct yaml *copy_node(struct reader *reader, const struct yaml *original, unsigned depth) {
    if (depth > YAML_DEPTH_MAX)
        return fail_here(reader, "nested too deeply");
    struct yaml *copy = node_new(reader, original->kind);
    if (!copy)
        return NULL;
    copy->place = original->place;
    copy->text = original->text;
    for (const struct yaml *child = original->first; child; child = child->next) {
        struct yaml *twin = copy_node(reader, child, depth + 1);
        if (!twin)
            return NULL;
        twin->key = child->key;
        twin->key_place = child->key_place;
        append(copy, twin);
    }
    return copy;
}

static struct yaml *read_alias(struct reader *reader, unsigned depth) {
    const char *name = (const char *)reader->event.data.alias.anchor;
    for (const struct anchor *anchor = reader->anchors; anchor; anchor = anchor->next)
        if (strcmp(anchor->name, name) == 0)
            return copy_node(reader, anchor->node, depth);
    return fail_here(reader, "an alias without its anchor");
}

static const unsigned char *anchor_name(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static struct yaml *read_unnamed(struct reader *reader, unsigned depth) {
    if (depth > YAML_DEPTH_MAX)
        return fail_here(reader, "nested too deeply");
    switch (reader->event.type) {
    case YAML_ALIAS_EVENT:
        return read_alias(reader, depth);
    case YAML_SCALAR_EVENT:
        return read_scalar(reader);
    case YAML_SEQUENCE_START_EVENT:
        return read_sequence(reader, depth);
    case YAML_MAPPING_START_EVENT:
        return read_mapping(reader, depth);
    default:
        return fail_here(reader, "want a value");
    }
}

/* Reads the node that begins with the current event; the current event is its last one afterwards. */
static struct yaml *read_node(struct reader *reader, unsigned depth) {
    const unsigned char *name = anchor_name(&reader->event);
    struct anchor *anchor = NULL;
    if (name) {
        anchor = take(reader->document, sizeof *anchor);
        if (!anchor || !(anchor->name = keep_text(reader->document, name, strlen((const char *)name))))
            return fail_here(reader, "no memory to read it");
    }
    struct yaml *node = read_unnamed(reader, depth);
    if (node && anchor) {
        anchor->node = node;
        anchor->next = reader->anchors;
        reader->anchors = anchor;
    }
    return node;
}

static bool next_events(struct reader *reader, unsigned count) {
    while (count > 0 && next_event(reader))
        count--;
    return count == 0;
}

static struct yaml *read_document(struct reader *reader) {
    if (!next_events(reader, 2)) /* the stream begins, the document begins */
        return NULL;
    if (reader->event.type == YAML_STREAM_END_EVENT)
        return node_new(reader, YAML_KIND_MAPPING);
    struct yaml *root = next_event(reader) ? read_node(reader, 0) : NULL;
    if (!root || !next_events(reader, 2)) /* the document ends, the stream ends */
        return NULL;
    if (reader->event.type != YAML_STREAM_END_EVENT)
        return fail_here(reader, "a second document; want one");
    return root;
}

struct yaml *yaml_parse(const void *bytes, size_t size, const char *name, struct error *error) {
    struct reader reader = {.document = allocate(1, sizeof *reader.document), .error = error};
    struct yaml *root = NULL;
    reader.document->name = name;
    if (size > YAML_BYTES_MAX)
        error_set(error, ERROR_USAGE, "%s: %zu bytes, at most %zu", name, size, YAML_BYTES_MAX);
    else if (!(reader.document->name = keep_text(reader.document, name, strlen(name))) ||
             !yaml_parser_initialize(&reader.parser))
        error_set(error, ERROR_SYSTEM, "%s: no memory to read it", name);
    else {
        yaml_parser_set_input_string(&reader.parser, bytes, size);
        root = read_document(&reader);
        if (reader.holds_event)
            yaml_event_delete(&reader.event);
        yaml_parser_delete(&reader.parser);
    }
    if (!root)
        document_destroy(reader.document);
    return root;
}

struct yaml *yaml_read(const char *path, struct error *error) {
    void *contents;
    size_t size;
    if (!file_read(path, YAML_BYTES_MAX, &contents, &size, error)) {
        if (error)
            error->code = ERROR_USAGE;
        return NULL;
    }
    struct yaml *root = yaml_parse(contents, size, path, error);
    release(contents);
    return root;
}

void yaml_destroy(struct yaml **root) {
    if (*root) {
        struct document *document;
        memcpy(&document, &(*root)->document, sizeof document); /* const for all but its end */
        document_destroy(document);
    }
    *root = NULL;
}

/* ---- walking ---- */

enum yaml_kind yaml_kind(const struct yaml *node) {
    return node->kind;
}

size_t yaml_count(const struct yaml *node) {
    return node->count;
}

const struct yaml *yaml_first(const struct yaml *node) {
    return node->first;
}

const struct yaml *yaml_next(const struct yaml *node) {
    return node->next;
}

const char *yaml_key(const struct yaml *node) {
    return node->key;
}

const char *yaml_scalar_text(const struct yaml *scalar) {
    return scalar->text;
}

const struct yaml *yaml_find(const struct yaml *mapping, const char *key) {
    if (mapping->kind != YAML_KIND_MAPPING)
        return NULL;
    const struct yaml *member = mapping->first;
    while (member && strcmp(member->key, key) != 0)
        member = member->next;
    return member;
}

/* ---- faults ---- */

static void where(const struct yaml *node, struct place place, char *text, size_t size) {
    snprintf(text, size, "%.200s:%u:%u%s%.80s", node->document->name, place.line, place.column,
             node->key[0] ? ": " : "", node->key);
}

void yaml_where(const struct yaml *node, char *text, size_t size) {
    where(node, node->place, text, size);
}

static bool refuse(const struct yaml *node, struct place place, struct error *error, const char *format,
                   va_list arguments) {
    char start[WHERE_BYTES], what[sizeof error->text];
    where(node, place, start, sizeof start);
    vsnprintf(what, sizeof what, format, arguments);
    return error_set(error, ERROR_USAGE, "%s: %s", start, what);
}

bool yaml_refuse(const struct yaml *node, struct error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    refuse(node, node->place, error, format, arguments);
    va_end(arguments);
    return false;
}

bool yaml_refuse_key(const struct yaml *member, struct error *error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    refuse(member, member->key_place, error, format, arguments);
    va_end(arguments);
    return false;
}

/* What a value is, in an error: "got '3x'" or "got a list". */
static bool refuse_kind(const struct yaml *node, struct error *error, const char *want) {
    if (node->kind == YAML_KIND_SCALAR)
        return yaml_refuse(node, error, "got '%.60s', want %s", node->text, want);
    return yaml_refuse(node, error, "got a %s, want %s", node->kind == YAML_KIND_SEQUENCE ? "list" : "mapping", want);
}

/* ---- what a node is ---- */

bool yaml_as_mapping(const struct yaml *node, struct error *error) {
    return node->kind == YAML_KIND_MAPPING || refuse_kind(node, error, "'name: value' lines");
}

bool yaml_as_sequence(const struct yaml *node, struct error *error) {
    return node->kind == YAML_KIND_SEQUENCE || refuse_kind(node, error, "a list");
}

bool yaml_as_text(const struct yaml *node, const char **text, struct error *error) {
    if (node->kind != YAML_KIND_SCALAR || node->text[0] == '\0')
        return refuse_kind(node, error, "a text");
    *text = node->text;
    return true;
}

/* Decimal numbers only: strtod alone would also take hexadecimal, "inf" and leading spaces. */
static bool number_of(const struct yaml *node, double *number) {
    char *end;
    if (node->kind != YAML_KIND_SCALAR || node->text[0] == '\0' ||
        node->text[strspn(node->text, "0123456789+-.eE")] != '\0')
        return false;
    *number = strtod(node->text, &end);
    return *end == '\0' && isfinite(*number);
}

bool yaml_as_number(const struct yaml *node, double least, double most, double *number, struct error *error) {
    char want[80];
    double value;
    if (number_of(node, &value) && value >= least && value <= most) {
        *number = value;
        return true;
    }
    snprintf(want, sizeof want, isinf(most) ? "a number of at least %g" : "a number from %g to %g", least, most);
    return refuse_kind(node, error, want);
}

bool yaml_as_integer(const struct yaml *node, unsigned least, unsigned most, unsigned *number, struct error *error) {
    char want[80];
    double value;
    if (number_of(node, &value) && value >= least && value <= most && value == floor(value)) {
        *number = (unsigned)value;
        return true;
    }
    snprintf(want, sizeof want, "a whole number from %u to %u", least, most);
    return refuse_kind(node, error, want);
}

bool yaml_as_flag(const struct yaml *node, bool *flag, struct error *error) {
    bool yes = strcmp(node->text, "true") == 0;
    if (!yes && strcmp(node->text, "false") != 0)
        return refuse_kind(node, error, "true or false");
    *flag = yes;
    return true;
}

bool yaml_check_keys(const struct yaml *mapping, const char *const *known, struct error *error) {
    if (!yaml_as_mapping(mapping, error))
        return false;
    for (const struct yaml *member = mapping->first; member; member = member->next) {
        char names[300] = "";
        size_t used = 0;
        const char *const *name = known;
        for (; *name && strcmp(*name, member->key) != 0; name++)
            if (used < sizeof names)
                used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", *name);
        if (!*name)
            return yaml_refuse_key(member, error, "unknown key, want one of %s", names);
    }
    return true;
}

const struct yaml *yaml_want(const struct yaml *mapping, const char *key, struct error *error) {
    const struct yaml *member = yaml_find(mapping, key);
    if (!member)
        yaml_refuse(mapping, error, "'%s' is missing", key);
    return member;
}
