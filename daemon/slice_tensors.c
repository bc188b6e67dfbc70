/* Tensors of a slice; see slice_tensors.h.
 *
 * An assignment lists tensors by name; the configuration knows which names a unit reads. Both come from a peer, so a
 * name may be missing (an error), stand there twice (either entry serves) or be read by nobody (it is never fetched).
 * The identity of a unit is a chain of hashes over the configuration's bytes, the number of the first unit that has its
 * weights and, for each tensor in its order, name, element, shape and the hash of its data: two units with the same
 * identity have the same bits when they are packed by the same kernels, whichever slices they are in.
 */
#include "daemon/slice_tensors.h"

#include "base/allocate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int name_order(const void *left, const void *right) {
    const struct tensor_entry *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

const struct tensor_entry *slice_tensors_find(const struct slice_tensors *tensors, const char *name,
                                              struct error *error) {
    const struct tensor_entry key = {.name = name}, *wanted = &key;
    const struct tensor_entry *const *place =
        tensors->count ? bsearch(&wanted, tensors->by_name, tensors->count, sizeof *tensors->by_name, name_order)
                       : NULL;
    if (place)
        return *place;
    error_set(error, ERROR_INPUT, "tensor %s: the coordinator did not list it", name);
    return NULL;
}

/* ---- what a unit reads ---- */

/* One unit on its way through model_tensors. */
struct visit {
    struct slice_tensors *tensors;
    struct hash identity; /* of all that came before */
    struct error *error;
};

/* Flags what is read for the first time, and adds up its bytes. */
static void mark(const struct slice_tensors *tensors, const struct tensor_entry *entry, bool *flags, uint64_t *bytes) {
    bool *flag = &flags[entry - tensors->entry];
    *bytes += *flag ? 0 : entry->bytes;
    *flag = true;
}

static struct hash chain(const struct hash *before, const struct tensor_entry *entry) {
    struct {
        struct hash before, name, data;
        uint64_t shape[MESSAGE_RANK_MAX];
        uint64_t element, rank;
    } link = {.before = *before,
              .name = hash_of(entry->name, strlen(entry->name)),
              .data = entry->hash,
              .element = entry->element,
              .rank = entry->rank};
    memcpy(link.shape, entry->shape, sizeof link.shape);
    return hash_of(&link, sizeof link);
}

static bool identify(void *context, const struct tensor *tensor) {
    struct visit *visit = context;
    const struct tensor_entry *entry = slice_tensors_find(visit->tensors, tensor->name, visit->error);
    if (!entry)
        return false;
    visit->identity = chain(&visit->identity, entry);
    mark(visit->tensors, entry, visit->tensors->read, &visit->tensors->read_bytes);
    return true;
}

static bool want(void *context, const struct tensor *tensor) {
    struct slice_tensors *tensors = context;
    const struct tensor_entry *entry = slice_tensors_find(tensors, tensor->name, NULL);
    assert(entry); /* slice_tensors_init found them all */
    mark(tensors, entry, tensors->wanted, &tensors->wanted_bytes);
    return true;
}

void slice_tensors_want(struct slice_tensors *tensors, const struct model_config *config, unsigned unit) {
    model_tensors(config, (struct slice){unit, unit + 1}, want, tensors);
}

/* ---- the whole ---- */

static bool tables_new(struct slice_tensors *tensors, struct error *error) {
    size_t count = tensors->count;
    tensors->by_name = try_allocate(count, sizeof *tensors->by_name);
    tensors->read = try_allocate(count, sizeof *tensors->read);
    tensors->wanted = try_allocate(count, sizeof *tensors->wanted);
    tensors->identity = try_allocate(tensors->slice.end - tensors->slice.first, sizeof *tensors->identity);
    if (!tensors->by_name || !tensors->read || !tensors->wanted || !tensors->identity)
        return error_set(error, ERROR_SYSTEM, "no memory for a list of %zu tensors", count);
    for (size_t i = 0; i < count; i++)
        tensors->by_name[i] = &tensors->entry[i];
    if (count > 0)
        qsort(tensors->by_name, count, sizeof *tensors->by_name, name_order);
    return true;
}

bool slice_tensors_init(struct slice_tensors *tensors, const struct model_config *config,
                        const struct message_assign *assign, struct error *error) {
    *tensors = (struct slice_tensors){
        .entry = assign->tensors, .count = assign->tensor_count, .slice = {assign->first, assign->end}};
    if (!tables_new(tensors, error))
        return false;
    struct {
        struct hash config, preprocessor;
        uint64_t unit;
    } start = {.config = hash_of(assign->config, assign->config_bytes),
               .preprocessor = hash_of(assign->preprocessor, assign->preprocessor ? assign->preprocessor_bytes : 0)};
    for (unsigned unit = assign->first; unit < assign->end; unit++) {
        start.unit = model_same_weights(config, unit).first;
        struct visit visit = {.tensors = tensors, .identity = hash_of(&start, sizeof start), .error = error};
        if (!model_tensors(config, (struct slice){unit, unit + 1}, identify, &visit))
            return false;
        tensors->identity[unit - assign->first] = visit.identity;
    }
    return true;
}

void slice_tensors_close(struct slice_tensors *tensors) {
    release(tensors->by_name);
    release(tensors->read);
    release(tensors->wanted);
    release(tensors->identity);
    *tensors = (struct slice_tensors){0};
}
