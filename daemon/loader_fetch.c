/* Fetching tensors; see loader_fetch.h. Chunks are asked for in the order of the tensors, and the end of one tensor
 * shares the window with the beginning of the next, so that hundreds of small ones do not cost a round trip each. Only
 * tensors in the window have a part file open. */
#include "daemon/loader_fetch.h"

#include "base/allocate.h"
#include "base/log.h"

#include <string.h>

#define TRIES 2

struct fetched {
    const struct tensor_entry *entry;
    struct cache_part *part; /* while some of it is asked for */
    uint64_t asked, stored;  /* bytes */
    uint32_t holders;        /* that may be asked, as in struct fetch_chunk */
    unsigned tries;          /* of the coordinator, that have failed */
};

struct fetch {
    struct cache *cache;
    size_t count;
    size_t first; /* all before are complete */
    size_t next;  /* all before are asked for */
    unsigned outstanding;
    struct fetched *tensor;
};

struct fetch *fetch_new(struct cache *cache, const struct message_assign *assign,
                        const struct tensor_entry *const *tensors, size_t count, struct error *error) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes = bytes + tensors[i]->bytes < bytes ? UINT64_MAX : bytes + tensors[i]->bytes;
    if (!cache_make_room(cache, bytes, error))
        return NULL;
    struct fetch *fetch = allocate(1, sizeof *fetch);
    fetch->cache = cache;
    fetch->count = count;
    fetch->tensor = allocate(count, sizeof *fetch->tensor); /* count is at most MESSAGE_TENSORS_MAX */
    for (size_t i = 0; i < count; i++) {
        fetch->tensor[i].entry = tensors[i];
        fetch->tensor[i].holders = assign->tensor_holders ? assign->tensor_holders[tensors[i] - assign->tensors] : 0;
    }
    return fetch;
}

void fetch_destroy(struct fetch **pointer) {
    struct fetch *fetch = *pointer;
    *pointer = NULL;
    if (!fetch)
        return;
    for (size_t i = fetch->first; i < fetch->count; i++)
        cache_part_destroy(&fetch->tensor[i].part);
    release(fetch->tensor);
    release(fetch);
}

/* May a tensor whose contents were wrong be asked for again? Of the coordinator alone, once more than boards were. */
static bool try_again(struct fetched *tensor) {
    if (tensor->holders == 0)
        return ++tensor->tries < TRIES;
    log_warn("tensor %s: what a board lent does not match its hash; asking the coordinator", tensor->entry->name);
    tensor->holders = 0;
    return true;
}

/* All bytes of a tensor are on the disk. */
static bool finish(struct fetch *fetch, struct fetched *tensor, struct error *error) {
    struct error why = {0};
    if (cache_part_finish(&tensor->part, &why)) {
        while (fetch->first < fetch->next &&
               fetch->tensor[fetch->first].stored == fetch->tensor[fetch->first].entry->bytes)
            fetch->first++;
        return true;
    }
    if (why.code == ERROR_INPUT && try_again(tensor)) {
        tensor->asked = tensor->stored = 0;
        fetch->next = (size_t)(tensor - fetch->tensor);
        return true;
    }
    return error_set(error, why.code, "tensor %s: %.300s%s", tensor->entry->name, why.text,
                     tensor->tries == TRIES ? ", twice" : "");
}

/* Opens the part file of a tensor that nothing was asked of yet. */
static bool begin(struct fetch *fetch, struct fetched *tensor, struct error *error) {
    tensor->part = cache_part_new(fetch->cache, &tensor->entry->hash, tensor->entry->bytes, error);
    return tensor->part || error_wrap(error, "tensor %s", tensor->entry->name);
}

bool fetch_next(struct fetch *fetch, struct fetch_chunk *chunk, bool *none, struct error *error) {
    *none = true;
    if (fetch->outstanding == FETCH_CHUNKS)
        return true;
    for (; fetch->next < fetch->count; fetch->next++) {
        struct fetched *tensor = &fetch->tensor[fetch->next];
        if (tensor->asked < tensor->entry->bytes)
            break;
        if (tensor->entry->bytes == 0 && !(begin(fetch, tensor, error) && finish(fetch, tensor, error)))
            return false;
    }
    if (fetch->next == fetch->count)
        return true;
    struct fetched *tensor = &fetch->tensor[fetch->next];
    if (!tensor->part && !begin(fetch, tensor, error))
        return false;
    uint64_t left = tensor->entry->bytes - tensor->asked;
    chunk->hash = tensor->entry->hash;
    chunk->offset = tensor->asked;
    chunk->holders = tensor->holders;
    chunk->bytes = left < MESSAGE_CHUNK_MAX ? (uint32_t)left : MESSAGE_CHUNK_MAX;
    tensor->asked += chunk->bytes;
    fetch->outstanding++;
    *none = false;
    return true;
}

bool fetch_store(struct fetch *fetch, const struct fetch_chunk *chunk, const void *bytes, struct error *error) {
    size_t i = fetch->first;
    while (i < fetch->count &&
           !(fetch->tensor[i].part && memcmp(&fetch->tensor[i].entry->hash, &chunk->hash, sizeof chunk->hash) == 0))
        i++;
    if (i == fetch->count || chunk->offset > fetch->tensor[i].asked ||
        chunk->bytes > fetch->tensor[i].asked - chunk->offset)
        return true; /* not asked for: nobody's loss */
    struct fetched *tensor = &fetch->tensor[i];
    fetch->outstanding--;
    if (!cache_part_write(tensor->part, chunk->offset, bytes, chunk->bytes, error))
        return error_wrap(error, "tensor %s", tensor->entry->name);
    tensor->stored += chunk->bytes;
    return tensor->stored < tensor->entry->bytes || finish(fetch, tensor, error);
}

bool fetch_complete(const struct fetch *fetch) {
    return fetch->outstanding == 0 && fetch->next == fetch->count;
}
