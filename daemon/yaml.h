/* YAML documents that people write: the configuration file, fleet files, PipeEdge's files.
 *
 * A document is a tree of `struct yaml` nodes: scalars (text), sequences and mappings, whose members keep their order.
 * Everything borrowed from it (nodes, texts, keys) lives until yaml_destroy of the root. Each node knows where it was
 * written, and every error starts with that place: "fleet.yaml:12:13: memory: got '1.5Gb', want a size such as ...".
 * Faults in such files are the user's: their code is ERROR_USAGE. Threads: a parsed document is never written, so many
 * threads may read it. The model/json.h of YAML; the only user of libyaml.
 */
#ifndef DAEMON_YAML_H
#define DAEMON_YAML_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YAML_BYTES_MAX   ((size_t)16 << 20)
#define YAML_NODES_MAX   ((size_t)1 << 20) /* aliases count as often as they are used */
#define YAML_MEMBERS_MAX 1024              /* keys of one mapping */
#define YAML_DEPTH_MAX   32

struct yaml;

enum yaml_kind { YAML_KIND_SCALAR, YAML_KIND_SEQUENCE, YAML_KIND_MAPPING };

/* Reads one document; `name` (a file name) starts every error about it. Neither is kept. An empty document is an empty
 * mapping. Anchors and aliases are resolved into copies; tags are ignored. Refused: a key twice in one mapping, a key
 * that is not a scalar, a second document, a NUL inside a scalar, and whatever exceeds the limits above. NULL on
 * failure. */
struct yaml *yaml_parse(const void *bytes, size_t size, const char *name, struct error *error);

/* The same with a file's contents; a file that cannot be read is ERROR_USAGE too, since a user named it. */
struct yaml *yaml_read(const char *path, struct error *error);

/* Destroys a document by its root and nulls the pointer; NULL is fine. */
void yaml_destroy(struct yaml **root);

/* ---- walking: any node ---- */

enum yaml_kind yaml_kind(const struct yaml *node);
size_t yaml_count(const struct yaml *node);              /* items or members; 0 for a scalar */
const struct yaml *yaml_first(const struct yaml *node);  /* its first item or member, or NULL */
const struct yaml *yaml_next(const struct yaml *node);   /* the item or member after this one, or NULL */
const char *yaml_key(const struct yaml *node);           /* of a member of a mapping; "" for everything else */
const char *yaml_scalar_text(const struct yaml *scalar); /* "" for other kinds */

/* The member with this key, or NULL when it is absent or this is not a mapping. */
const struct yaml *yaml_find(const struct yaml *mapping, const char *key);

/* ---- what a node is: false and an error when it is something else ---- */

bool yaml_as_mapping(const struct yaml *node, struct error *error);
bool yaml_as_sequence(const struct yaml *node, struct error *error);
bool yaml_as_text(const struct yaml *node, const char **text, struct error *error); /* not empty */
bool yaml_as_number(const struct yaml *node, double least, double most, double *number, struct error *error);
bool yaml_as_integer(const struct yaml *node, unsigned least, unsigned most, unsigned *number, struct error *error);
bool yaml_as_flag(const struct yaml *node, bool *flag, struct error *error);

/* Is this a mapping with no other keys than these, a list until NULL? The error names the known ones. */
bool yaml_check_keys(const struct yaml *mapping, const char *const *known, struct error *error);

/* The member with this key; an error at the mapping when it is absent. NULL then. */
const struct yaml *yaml_want(const struct yaml *mapping, const char *key, struct error *error);

/* ---- faults that only the caller can see ---- */

/* Sets "<file>:<line>:<column>: <key>: <formatted>" and returns false. */
bool yaml_refuse(const struct yaml *node, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same at the key of a member instead of at its value. */
bool yaml_refuse_key(const struct yaml *member, struct error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes "<file>:<line>:<column>: <key>" for errors that someone else puts into words. */
void yaml_where(const struct yaml *node, char *text, size_t size);

#endif
