/* JSON documents from outside: config.json, preprocessor_config.json, tokenizer.json, the header of a safetensors file.
 *
 * A document is a tree of `struct json` values that belong to the root; everything borrowed from it (values, strings,
 * keys) lives until json_destroy of the root. Getters say what they want and, when it is not there, what they got and
 * where: "config.json: text_config.hidden_size: got -3, want 1 to 65536". JSON has one kind of number, so 224.0 is the
 * integer 224. A member that is null counts as absent. Threads: a parsed document is never written, so many threads may
 * read it.
 */
#ifndef MODEL_JSON_H
#define MODEL_JSON_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOLEAN,
    JSON_KIND_NUMBER,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT,
};

/* Reads one document (RFC 8259) of `size` bytes; the caller bounds the size, memory grows to some 60 times of it at
 * worst. Neither bytes nor name are kept. `name` (a file name) starts every error about this document. Refused: a
 * duplicate key, nesting deeper than 64, invalid UTF-8, a NUL inside a string, NaN and Infinity (which Python writes),
 * anything after the document. NULL on failure. */
struct json *json_parse(const void *bytes, size_t size, const char *name, struct error *error);

/* Destroys a document by its root and nulls the pointer; NULL is fine. */
void json_destroy(struct json **root);

/* ---- walking: any value ---- */

enum json_kind json_kind(const struct json *value);

/* How many items an array or members an object has; 0 for every other kind. */
size_t json_count(const struct json *value);

/* The item or member at index < json_count, in the order of the document, in constant time. */
const struct json *json_at(const struct json *value, size_t index);

/* The key of a member of an object; "" for an item of an array and for the root. Borrowed. */
const char *json_key(const struct json *value);

/* The member with this key (a binary search), or NULL when it is absent or null, or when this is not an object. */
const struct json *json_find(const struct json *object, const char *key);

/* The same, but a member that is null is found, for the rare document in which that differs from absent. */
const struct json *json_member(const struct json *object, const char *key);

/* ---- what a value is: false and an error when it is something else; *result is then untouched ---- */

bool json_as_integer(const struct json *value, int64_t least, int64_t most, int64_t *result, struct error *error);
bool json_as_number(const struct json *value, double least, double most, double *result, struct error *error);
bool json_as_boolean(const struct json *value, bool *result, struct error *error);
bool json_as_string(const struct json *value, const char **result, struct error *error);
bool json_as_array(const struct json *value, struct error *error);
bool json_as_object(const struct json *value, struct error *error);

/* ---- members that must be there ---- */

bool json_get_integer(const struct json *object, const char *key, int64_t least, int64_t most, int64_t *result,
                      struct error *error);
bool json_get_number(const struct json *object, const char *key, double least, double most, double *result,
                     struct error *error);
bool json_get_boolean(const struct json *object, const char *key, bool *result, struct error *error);
bool json_get_string(const struct json *object, const char *key, const char **result, struct error *error);
bool json_get_array(const struct json *object, const char *key, const struct json **result, struct error *error);
bool json_get_object(const struct json *object, const char *key, const struct json **result, struct error *error);

/* ---- members that may be absent or null: then true, and *result keeps the default that the caller put there ---- */

bool json_optional_integer(const struct json *object, const char *key, int64_t least, int64_t most, int64_t *result,
                           struct error *error);
bool json_optional_number(const struct json *object, const char *key, double least, double most, double *result,
                          struct error *error);
bool json_optional_boolean(const struct json *object, const char *key, bool *result, struct error *error);
bool json_optional_string(const struct json *object, const char *key, const char **result, struct error *error);
bool json_optional_array(const struct json *object, const char *key, const struct json **result, struct error *error);
bool json_optional_object(const struct json *object, const char *key, const struct json **result, struct error *error);

/* For a fault that only the caller can see: sets "<file>: <path>: got <value>, want <formatted>" and returns false. */
bool json_refuse(const struct json *value, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
