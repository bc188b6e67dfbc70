/* A set of tensors on its way from the network into the cache, a window of chunks at a time. Part of the loader; no
 * thread of its own. */
#ifndef DAEMON_LOADER_FETCH_H
#define DAEMON_LOADER_FETCH_H

#include "daemon/cache.h"
#include "daemon/core/fetch_core.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>

struct fetch;

/* For the given tensors of the assignment, no two with the same hash; both are borrowed until fetch_destroy. Makes room
 * in the cache. */
struct fetch *fetch_new(struct cache *cache, const struct message_assign *assign,
                        const struct tensor_entry *const *tensors, size_t count, struct error *error);
/* Gives up what is not complete. NULL is fine. */
void fetch_destroy(struct fetch **fetch);

/* The next chunk to be asked for; *none is set when the window is full or everything has been asked for. */
bool fetch_next(struct fetch *fetch, struct fetch_chunk *chunk, bool *none, struct error *error);
/* The bytes of a chunk have come. The last one of a tensor checks it. A tensor with wrong contents that other boards
 * may have sent is asked of the coordinator; one that the coordinator sent is asked for once more, then it is an error.
 */
bool fetch_store(struct fetch *fetch, const struct fetch_chunk *chunk, const void *bytes, struct error *error);
/* Is nothing left to come? */
bool fetch_complete(const struct fetch *fetch);

#endif
