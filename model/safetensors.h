/* The safetensors format: 8 bytes little-endian length, a JSON header of that length, then the tensors' bytes.
 * https://huggingface.co/docs/safetensors, and the checks of safetensors/src/tensor.rs. Reading never trusts the file:
 * every length, shape and offset is checked before anything points at a tensor.
 */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include "model/model.h"

/* One file's header over bytes that the caller holds (a mapping). */
struct safetensors;

/* Parses the header of a whole file. `name` starts every error and is not kept; `data` is borrowed until destroy. NULL
 * on failure: too short, header longer than the file or 100 MB, not JSON, unknown dtype, shape and range that disagree,
 * ranges outside the file or overlapping. Any bytes are safe to pass. */
struct safetensors *safetensors_parse(const void *data, size_t size, const char *name, struct error *error);
void safetensors_destroy(struct safetensors **file);

size_t safetensors_count(const struct safetensors *file);
/* Names in ascending order; index below count. Borrowed. */
const char *safetensors_name(const struct safetensors *file, size_t index);

enum safetensors_found { SAFETENSORS_FOUND, SAFETENSORS_ABSENT, SAFETENSORS_UNUSABLE };

/* Looks a tensor up (binary search). Found: *tensor is filled; name and data are borrowed. Unusable: it is there, but
 * of a type or rank that no model here reads, and error says which. Absent: error is untouched. */
enum safetensors_found safetensors_find(const struct safetensors *file, const char *name, struct tensor *tensor,
                                        struct error *error);

#endif
