/* The list of a model's tensors with their content hashes: what boards are told to fetch, and where the bytes lie.
 *
 * Hashing reads the whole model once, so it runs in a thread of its own; manifest_ready tells when it is done, and
 * nothing else may be asked before. Tensor data is borrowed from the model, which must outlive the manifest.
 */
#ifndef DAEMON_MANIFEST_H
#define DAEMON_MANIFEST_H

#include "base/error.h"
#include "model/model.h"
#include "proto/message.h"

struct manifest;

/* Starts hashing. */
struct manifest *manifest_new(struct model *model, struct error *error);
/* Waits for the thread. */
void manifest_destroy(struct manifest **manifest);

/* Has hashing ended? */
bool manifest_ready(const struct manifest *manifest);
/* Readable when manifest_ready has become true. */
int manifest_descriptor(const struct manifest *manifest);

/* The entries of a slice in loading order, in memory of the manifest that the next call reuses. */
size_t manifest_slice(struct manifest *manifest, struct slice slice, const struct tensor_entry **entries);

/* `bytes` bytes from `offset` of the tensor with that hash; NULL when there is no such tensor or range. */
const void *manifest_bytes(const struct manifest *manifest, const struct hash *hash, uint64_t offset, uint64_t bytes);

/* Tells sockets that bytes from manifest_bytes need no release: does nothing. */
void manifest_released(void *data, void *context);

#endif
