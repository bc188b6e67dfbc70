/* JSON documents on top of jansson, of which this is the only user; see json.h.
 *
 * json_parse looks over the bytes once for what jansson either does not bound tightly (nesting) or explains badly
 * (NaN), lets jansson parse, and lays one node per value over jansson's tree. The nodes lie in one block, level by
 * level, so that the children of a value are neighbours (json_at is an index) and each knows its parent (an error can
 * name its path). Beside them the members of each object are listed once more, sorted by key, for json_find.
 *
 * Failures are errors that name the file and the line, or the path of the value. The root owns everything: the block of
 * nodes, the sorted list, the name, and jansson's tree, from which strings and keys are borrowed. jansson allocates by
 * itself; our two blocks come from try_allocate because their size is the file's. Nothing is written after json_parse.
 */
#include "model/json.h"

#include "base/allocate.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEEPEST_NESTING 64
#define EXACT_INTEGERS  9007199254740992.0 /* 2^53: every integer up to here is a double */
#define TEXT_BYTES      400                /* room for a path or for the text of a value in an error */

struct json {
    json_t *source; /* borrowed from the tree that the document owns */
    const struct document *document;
    const struct json *parent;
    const char *key; /* "" unless a member of an object */
    size_t first;    /* the children are nodes[first] to nodes[first + count - 1] */
    size_t count;
};

struct document {
    char *name;
    json_t *tree;
    size_t count;
    struct json *nodes;         /* nodes[0] is the root */
    const struct json **sorted; /* as nodes, but the members of each object by key */
};

/* ---- parsing ---- */

/* A place in the document: everything outside strings, so that brackets and letters mean what they say. */
struct scan {
    const char *at;
    const char *end;
    size_t line;
};

/* Skips a string whose opening quote was read; an unterminated one ends the scan and is jansson's to report. */
static void skip_string(struct scan *scan) {
    while (scan->at < scan->end && *scan->at != '"') {
        if (*scan->at == '\\' && scan->at + 1 < scan->end)
            scan->at++;
        scan->at++;
    }
    if (scan->at < scan->end)
        scan->at++;
}

/* Bounds the nesting, so that no walk over the tree can exhaust the stack, and names NaN: outside strings a capital N
 * or I occurs in nothing that is JSON, but Python writes NaN, Infinity and -Infinity. */
static bool check_shape(const char *bytes, size_t size, const char *name, struct error *error) {
    struct scan scan = {.at = bytes, .end = bytes + size, .line = 1};
    size_t nesting = 0;
    while (scan.at < scan.end) {
        char c = *scan.at++;
        if (c == '\n')
            scan.line++;
        else if (c == '"')
            skip_string(&scan);
        else if ((c == '[' || c == '{') && ++nesting > DEEPEST_NESTING)
            return error_set(error, ERROR_INPUT, "%s: line %zu: nested deeper than %d levels", name, scan.line,
                             DEEPEST_NESTING);
        else if ((c == ']' || c == '}') && nesting > 0)
            nesting--;
        else if (c == 'N' || c == 'I')
            return error_set(error, ERROR_INPUT, "%s: line %zu: NaN or Infinity, which JSON does not have", name,
                             scan.line);
    }
    return true;
}

/* Python's integers have no largest value (tokenizer_config.json often holds 10^30), so a document with one that does
 * not fit is read again with every number as a double. */
static json_t *load(const char *bytes, size_t size, const char *name, struct error *error) {
    json_error_t fault;
    json_t *tree = json_loadb(bytes, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &fault);
    if (!tree && json_error_code(&fault) == json_error_numeric_overflow)
        tree = json_loadb(bytes, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &fault);
    if (!tree)
        error_set(error, ERROR_INPUT, "%s: line %d, column %d: %s", name, fault.line, fault.column, fault.text);
    return tree;
}

static size_t count_values(json_t *value) {
    size_t count = 1;
    if (json_is_object(value))
        for (void *i = json_object_iter(value); i; i = json_object_iter_next(value, i))
            count += count_values(json_object_iter_value(i));
    for (size_t i = 0; json_is_array(value) && i < json_array_size(value); i++)
        count += count_values(json_array_get(value, i));
    return count;
}

static int compare_keys(const void *left, const void *right) {
    const struct json *const *a = left;
    const struct json *const *b = right;
    return strcmp((*a)->key, (*b)->key);
}

/* Appends the children of nodes[index] at nodes[end]; returns the new end. */
static size_t lay_children(struct document *document, size_t index, size_t end) {
    struct json *parent = &document->nodes[index];
    json_t *source = parent->source;
    struct json *child = &document->nodes[end];
    parent->first = end;
    if (json_is_object(source)) {
        for (void *i = json_object_iter(source); i; i = json_object_iter_next(source, i))
            *child++ = (struct json){json_object_iter_value(i), document, parent, json_object_iter_key(i), 0, 0};
    } else {
        for (size_t i = 0; json_is_array(source) && i < json_array_size(source); i++)
            *child++ = (struct json){json_array_get(source, i), document, parent, "", 0, 0};
    }
    parent->count = (size_t)(child - &document->nodes[end]);
    for (size_t i = 0; i < parent->count; i++)
        document->sorted[end + i] = &document->nodes[end + i];
    if (json_is_object(source) && parent->count > 1)
        qsort(&document->sorted[end], parent->count, sizeof *document->sorted, compare_keys);
    return end + parent->count;
}

static void lay_nodes(struct document *document) {
    document->nodes[0] = (struct json){document->tree, document, NULL, "", 0, 0};
    document->sorted[0] = &document->nodes[0];
    size_t end = 1;
    for (size_t i = 0; i < end; i++)
        end = lay_children(document, i, end);
    assert(end == document->count);
}

static void document_destroy(struct document *document) {
    json_decref(document->tree);
    release(document->nodes);
    release(document->sorted);
    release(document->name);
    release(document);
}

struct json *json_parse(const void *bytes, size_t size, const char *name, struct error *error) {
    if (size == 0) {
        error_set(error, ERROR_INPUT, "%s: empty, want a JSON document", name);
        return NULL;
    }
    if (size > INT_MAX) { /* jansson counts positions in an int */
        error_set(error, ERROR_INPUT, "%s: %zu bytes, want at most %d", name, size, INT_MAX);
        return NULL;
    }
    if (!check_shape(bytes, size, name, error))
        return NULL;
    json_t *tree = load(bytes, size, name, error);
    if (!tree)
        return NULL;
    struct document *document = allocate(1, sizeof *document);
    document->name = allocate_string(name);
    document->tree = tree;
    document->count = count_values(tree);
    document->nodes = try_allocate(document->count, sizeof *document->nodes);
    document->sorted = try_allocate(document->count, sizeof *document->sorted);
    if (!document->nodes || !document->sorted) {
        error_set(error, ERROR_SYSTEM, "%s: no memory for %zu JSON values", name, document->count);
        document_destroy(document);
        return NULL;
    }
    lay_nodes(document);
    return document->nodes;
}

void json_destroy(struct json **root) {
    if (!*root)
        return;
    assert(!(*root)->parent);
    struct document *document = NULL;
    memcpy(&document, &(*root)->document, sizeof document); /* nodes see it as const; the root owns it */
    document_destroy(document);
    *root = NULL;
}

/* ---- walking ---- */

enum json_kind json_kind(const struct json *value) {
    switch (json_typeof(value->source)) {
    case JSON_NULL:
        return JSON_KIND_NULL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOLEAN;
    case JSON_INTEGER:
    case JSON_REAL:
        return JSON_KIND_NUMBER;
    case JSON_STRING:
        return JSON_KIND_STRING;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_OBJECT:
        break;
    }
    return JSON_KIND_OBJECT;
}

size_t json_count(const struct json *value) {
    return value->count;
}

const struct json *json_at(const struct json *value, size_t index) {
    assert(index < value->count);
    return &value->document->nodes[value->first + index];
}

const char *json_key(const struct json *value) {
    return value->key;
}

const struct json *json_member(const struct json *object, const char *key) {
    if (!json_is_object(object->source) || object->count == 0)
        return NULL;
    const struct json wanted = {.key = key};
    const struct json *pointer = &wanted;
    const struct json *const *found = bsearch(&pointer, &object->document->sorted[object->first], object->count,
                                              sizeof *object->document->sorted, compare_keys);
    return found ? *found : NULL;
}

const struct json *json_find(const struct json *object, const char *key) {
    const struct json *member = json_member(object, key);
    return member && !json_is_null(member->source) ? member : NULL;
}

/* ---- errors ---- */

/* "vision_config.image_size" or "image_mean[2]"; parents are written first, at most DEEPEST_NESTING of them. */
static void write_path(const struct json *value, char *text, size_t size) {
    if (!value->parent)
        return;
    write_path(value->parent, text, size);
    size_t used = strlen(text);
    if (json_is_array(value->parent->source))
        snprintf(text + used, size - used, "[%zu]", (size_t)(value - json_at(value->parent, 0)));
    else
        snprintf(text + used, size - used, "%s%s", used ? "." : "", value->key);
}

/* How much of a string fits an error: whole characters, so that the error stays UTF-8. */
static int shown_bytes(const char *string) {
    size_t shown = strnlen(string, 60);
    while (shown > 0 && ((unsigned char)string[shown] & 0xc0) == 0x80)
        shown--;
    return (int)shown;
}

static void write_value(const struct json *value, char *text, size_t size) {
    json_t *source = value->source;
    switch (json_typeof(source)) {
    case JSON_STRING:
        snprintf(text, size, "\"%.*s\"", shown_bytes(json_string_value(source)), json_string_value(source));
        return;
    case JSON_INTEGER:
        snprintf(text, size, "%" JSON_INTEGER_FORMAT, json_integer_value(source));
        return;
    case JSON_REAL:
        snprintf(text, size, "%.17g", json_real_value(source));
        return;
    case JSON_ARRAY:
        snprintf(text, size, "an array of %zu", value->count);
        return;
    case JSON_OBJECT:
        snprintf(text, size, "an object");
        return;
    default:
        snprintf(text, size, "%s", json_is_null(source) ? "null" : json_is_true(source) ? "true" : "false");
    }
}

bool json_refuse(const struct json *value, struct error *error, const char *format, ...) {
    char path[TEXT_BYTES] = "";
    char got[TEXT_BYTES] = "";
    char want[TEXT_BYTES];
    write_path(value, path, sizeof path);
    write_value(value, got, sizeof got);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(want, sizeof want, format, arguments);
    va_end(arguments);
    return error_set(error, ERROR_INPUT, "%s: %s%sgot %s, want %s", value->document->name, path, *path ? ": " : "", got,
                     want);
}

/* The member that a json_get_ needs. */
static const struct json *need(const struct json *object, const char *key, const char *want, struct error *error) {
    if (!json_as_object(object, error))
        return NULL;
    const struct json *value = json_find(object, key);
    if (value)
        return value;
    char path[TEXT_BYTES] = "";
    write_path(object, path, sizeof path);
    error_set(error, ERROR_INPUT, "%s: %s%s%s: missing, want %s", object->document->name, path, *path ? "." : "", key,
              want);
    return NULL;
}

/* ---- what a value is ---- */

static bool integral(const json_t *source, int64_t *result) {
    if (json_is_integer(source)) {
        *result = json_integer_value(source);
        return true;
    }
    double number = json_is_real(source) ? json_real_value(source) : 0.5;
    if (fabs(number) > EXACT_INTEGERS || number != floor(number))
        return false;
    *result = (int64_t)number;
    return true;
}

bool json_as_integer(const struct json *value, int64_t least, int64_t most, int64_t *result, struct error *error) {
    int64_t number = 0;
    if (!integral(value->source, &number) || number < least || number > most)
        return json_refuse(value, error, "an integer from %" PRId64 " to %" PRId64, least, most);
    *result = number;
    return true;
}

bool json_as_number(const struct json *value, double least, double most, double *result, struct error *error) {
    double number = json_number_value(value->source);
    if (!json_is_number(value->source) || number < least || number > most)
        return json_refuse(value, error, "a number from %g to %g", least, most);
    *result = number;
    return true;
}

bool json_as_boolean(const struct json *value, bool *result, struct error *error) {
    if (!json_is_boolean(value->source))
        return json_refuse(value, error, "true or false");
    *result = json_is_true(value->source);
    return true;
}

bool json_as_string(const struct json *value, const char **result, struct error *error) {
    if (!json_is_string(value->source))
        return json_refuse(value, error, "a string");
    *result = json_string_value(value->source);
    return true;
}

bool json_as_array(const struct json *value, struct error *error) {
    return json_is_array(value->source) || json_refuse(value, error, "an array");
}

bool json_as_object(const struct json *value, struct error *error) {
    return json_is_object(value->source) || json_refuse(value, error, "an object");
}

static bool child_array(const struct json *value, const struct json **result, struct error *error) {
    if (!json_as_array(value, error))
        return false;
    *result = value;
    return true;
}

static bool child_object(const struct json *value, const struct json **result, struct error *error) {
    if (!json_as_object(value, error))
        return false;
    *result = value;
    return true;
}

/* ---- members that must be there ---- */

bool json_get_integer(const struct json *object, const char *key, int64_t least, int64_t most, int64_t *result,
                      struct error *error) {
    const struct json *value = need(object, key, "an integer", error);
    return value && json_as_integer(value, least, most, result, error);
}

bool json_get_number(const struct json *object, const char *key, double least, double most, double *result,
                     struct error *error) {
    const struct json *value = need(object, key, "a number", error);
    return value && json_as_number(value, least, most, result, error);
}

bool json_get_boolean(const struct json *object, const char *key, bool *result, struct error *error) {
    const struct json *value = need(object, key, "true or false", error);
    return value && json_as_boolean(value, result, error);
}

bool json_get_string(const struct json *object, const char *key, const char **result, struct error *error) {
    const struct json *value = need(object, key, "a string", error);
    return value && json_as_string(value, result, error);
}

bool json_get_array(const struct json *object, const char *key, const struct json **result, struct error *error) {
    const struct json *value = need(object, key, "an array", error);
    return value && child_array(value, result, error);
}

bool json_get_object(const struct json *object, const char *key, const struct json **result, struct error *error) {
    const struct json *value = need(object, key, "an object", error);
    return value && child_object(value, result, error);
}

/* ---- members that may be absent; a document that is no object at all is still an error ---- */

bool json_optional_integer(const struct json *object, const char *key, int64_t least, int64_t most, int64_t *result,
                           struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? json_as_integer(value, least, most, result, error) : json_as_object(object, error);
}

bool json_optional_number(const struct json *object, const char *key, double least, double most, double *result,
                          struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? json_as_number(value, least, most, result, error) : json_as_object(object, error);
}

bool json_optional_boolean(const struct json *object, const char *key, bool *result, struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? json_as_boolean(value, result, error) : json_as_object(object, error);
}

bool json_optional_string(const struct json *object, const char *key, const char **result, struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? json_as_string(value, result, error) : json_as_object(object, error);
}

bool json_optional_array(const struct json *object, const char *key, const struct json **result, struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? child_array(value, result, error) : json_as_object(object, error);
}

bool json_optional_object(const struct json *object, const char *key, const struct json **result, struct error *error) {
    const struct json *value = json_find(object, key);
    return value ? child_object(value, result, error) : json_as_object(object, error);
}
