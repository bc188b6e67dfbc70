/* One load; see loader.h. Happy path: parse the configuration; if the old engine has these weights, give it back with
 * buffers for the new microbatch size; share units with the engines at hand; of the others map all tensors that the
 * cache holds and fetch those it has not; free the old engine now if both do not fit; slice_pack from the mapped files;
 * report.
 *
 * Failures: whatever the peer, the disk or the memory do ends this load with LOADER_FAILED and a reason, and the next
 * may be asked for. A cancelled load stops between two tensors or at the next command; what was fetched completely
 * stays cached. Threads: all of this runs in the loader's; with others it shares packed units, which nobody changes and
 * which are counted. Memory: a load owns its assignment, config, mappings, and old and new engine until it reports.
 * All tensors that are to be packed stay mapped from the moment they are found until then, so that neither this process
 * nor another that shares the directory can evict what is needed in a moment.
 */
#include "daemon/loader_internal.h"
#include "daemon/slice_words.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mono.h"
#include "daemon/loader_fetch.h"
#include "daemon/slice_tensors.h"

#include <assert.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define REPORTS_FOR_PROGRESS (LOADER_REPORTS_MAX / 2) /* the rest is kept for reports that must not be lost */
#define REPORT_PERIOD        (250 * MONO_MS)
#define LOG_PERIOD           (2 * MONO_SECOND)
#define ROUNDS_MAX                                                                                                     \
    3 /* of looking into the cache and fetching what is missing: another process may evict it in between */

/* One load while it is under way. */
struct load {
    struct loader *loader;
    const struct message_assign *assign;
    struct stage_engine *old;
    const struct stage_engine *beside; /* borrowed */
    struct model_config *config;       /* NULL once an engine has it */
    struct slice slice;
    struct slice_tensors tensors;
    const void **mapped;                 /* [tensor_count], data of the tensors found */
    bool *found;                         /* [tensor_count] */
    const struct tensor_entry **missing; /* [tensor_count], of which a few count */
    uint64_t done, fetched;              /* bytes; done: of tensors that are mapped or in shared units */
    mono_t started, reported, logged;
    bool cancelled;
};

/* ---- commands and reports ---- */

static void report_progress(struct load *load) {
    mono_t now = mono_now();
    uint64_t total = load->tensors.read_bytes, done = load->done < total ? load->done : total; /* some come twice */
    if (mono_since(now, load->reported) >= REPORT_PERIOD &&
        queue_length(load->loader->reports) < REPORTS_FOR_PROGRESS) {
        load->reported = now;
        loader_report_send(
            load->loader,
            &(struct loader_report){.type = LOADER_PROGRESS, .done = done, .total = total, .fetched = load->fetched});
    }
    if (mono_since(now, load->logged) >= LOG_PERIOD) {
        load->logged = now;
        log_info("loading: %.1f of %.1f MB are here, %.1f MB of them fetched", (double)done / 1e6, (double)total / 1e6,
                 (double)load->fetched / 1e6);
    }
}

/* A command that comes during a load and is not the bytes that it waits for. */
static void heed(struct load *load, struct loader_command *command) {
    assert(command->type != COMMAND_LOAD);
    if (command->type == COMMAND_STOP)
        load->loader->stopped = true;
    if (command->type != COMMAND_STORE)
        load->cancelled = true;
    loader_command_destroy(command);
}

/* Has someone told us to stop? Looked at between tensors. */
static bool still_wanted(struct load *load) {
    struct loader_command *command;
    while (!load->cancelled && (command = queue_take(load->loader->commands)))
        heed(load, command);
    return !load->cancelled;
}

/* ---- which tensors are where ---- */

static int hash_order(const void *left, const void *right) {
    const struct tensor_entry *const *a = left, *const *b = right;
    return memcmp(&(*a)->hash, &(*b)->hash, sizeof(*a)->hash);
}

static bool tables_new(struct load *load, struct error *error) {
    size_t count = load->assign->tensor_count;
    load->mapped = try_allocate(count, sizeof *load->mapped);
    load->found = try_allocate(count, sizeof *load->found);
    load->missing = try_allocate(count, sizeof *load->missing);
    if (!load->mapped || !load->found || !load->missing)
        return error_set(error, ERROR_SYSTEM, "no memory for a list of %zu tensors", count);
    return true;
}

static void unmap_all(struct load *load) {
    for (size_t i = 0; load->found && i < load->assign->tensor_count; i++) {
        const struct tensor_entry *entry = &load->assign->tensors[i];
        if (load->found[i])
            cache_unmap(load->loader->cache, &entry->hash, load->mapped[i], entry->bytes);
    }
}

/* Maps what is wanted, is in the cache and is not mapped yet, and lists what it has not, every hash once (biases of
 * zeros share one). */
static size_t find_missing(struct load *load) {
    size_t missing = 0, unique = 0;
    for (size_t i = 0; i < load->assign->tensor_count && still_wanted(load); i++) {
        const struct tensor_entry *entry = &load->assign->tensors[i];
        if (load->found[i] || !load->tensors.wanted[i])
            continue;
        load->found[i] = cache_map(load->loader->cache, &entry->hash, entry->bytes, &load->mapped[i]);
        if (load->found[i])
            load->done += entry->bytes;
        else
            load->missing[missing++] = entry;
        report_progress(load);
    }
    if (missing == 0)
        return 0;
    qsort(load->missing, missing, sizeof *load->missing, hash_order);
    for (size_t i = 0; i < missing; i++)
        if (i == 0 || hash_order(&load->missing[i - 1], &load->missing[i]) != 0)
            load->missing[unique++] = load->missing[i];
    return unique;
}

/* ---- fetching ---- */

/* Reports as many wishes as the window takes. */
static bool ask(struct load *load, struct fetch *fetch, struct error *error) {
    for (;;) {
        struct loader_report report = {.type = LOADER_WANTS};
        bool none;
        if (!fetch_next(fetch, &report.chunk, &none, error))
            return false;
        if (none)
            return true;
        loader_report_send(load->loader, &report);
    }
}

/* Waits for one command and does it. */
static bool fetch_step(struct load *load, struct fetch *fetch, struct error *error) {
    struct loader_command *command = queue_wait(load->loader->commands);
    if (command->type != COMMAND_STORE) {
        heed(load, command);
        return error_set(error, ERROR_TIMEOUT, "cancelled");
    }
    bool ok = fetch_store(fetch, &command->chunk, command->bytes, error);
    load->fetched += command->chunk.bytes;
    load->done += command->chunk.bytes;
    loader_command_destroy(command);
    report_progress(load);
    return ok;
}

static bool fetch_missing(struct load *load, size_t count, struct error *error) {
    uint64_t bytes = 0, done = load->done;
    for (size_t i = 0; i < count; i++)
        bytes += load->missing[i]->bytes;
    log_info("fetching %zu tensors, %.1f MB", count, (double)bytes / 1e6);
    struct fetch *fetch = fetch_new(load->loader->cache, load->assign, load->missing, count, error);
    bool ok = fetch && ask(load, fetch, error);
    while (ok && !fetch_complete(fetch))
        ok = fetch_step(load, fetch, error) && ask(load, fetch, error);
    fetch_destroy(&fetch);
    load->done = done; /* they count once they are mapped */
    return ok;
}

/* Brings every tensor that is wanted into the cache and maps it. */
static bool gather(struct load *load, struct error *error) {
    for (int round = 0; round < ROUNDS_MAX; round++) {
        size_t missing = find_missing(load);
        if (load->cancelled)
            return error_set(error, ERROR_TIMEOUT, "cancelled");
        if (missing == 0)
            return true;
        if (!fetch_missing(load, missing, error))
            return false;
    }
    return error_set(error, ERROR_SYSTEM,
                     "cache: tensors vanish as soon as they are fetched: is the disk shared and full?");
}

/* ---- packing ---- */

static bool source_find(void *context, const char *name, struct tensor *tensor, struct error *error) {
    const struct load *load = context;
    const struct tensor_entry *entry = slice_tensors_find(&load->tensors, name, error);
    if (!entry)
        return false;
    if (entry->element > ELEMENT_BF16 || entry->rank > MODEL_DIMENSIONS_MAX)
        return error_set(error, ERROR_INPUT, "tensor %s: got element %u and rank %u", name, entry->element,
                         entry->rank);
    *tensor = (struct tensor){.name = entry->name,
                              .element = (enum element)entry->element,
                              .rank = entry->rank,
                              .data = load->mapped[entry - load->assign->tensors],
                              .bytes = entry->bytes};
    memcpy(tensor->shape, entry->shape, sizeof tensor->shape);
    return true;
}

static void source_release(void *context, const struct tensor *tensor) {
    (void)context;
    file_forget(tensor->data, tensor->bytes);
}

static bool packed_so_far(void *context, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    report_progress(context); /* nothing new is here, but the load gets on */
    return still_wanted(context);
}

/* ---- memory ---- */

/* What the assignment's slice takes, shared or not. */
static uint64_t bytes_of_new(const struct load *load) {
    const struct loader_settings *settings = &load->loader->settings;
    return stage_engine_bytes(load->config, load->slice, load->assign->microbatch, settings->kernels,
                              settings->threads);
}

/* What the new slice wants for a unit of the engine, or for one with the same weights; NULL: nothing. */
static const struct hash *wanted_identity(const struct load *load, const struct stage_engine *engine, unsigned unit) {
    unsigned there = model_find_weights(engine->config, load->slice, unit);
    return there < load->slice.end ? &load->tensors.identity[there - load->slice.first] : NULL;
}

/* What an engine takes that neither the new one nor the other has. */
static uint64_t bytes_beyond(const struct load *load, const struct stage_engine *engine,
                             const struct stage_engine *other) {
    const struct loader_settings *settings = &load->loader->settings;
    if (!engine)
        return 0;
    uint64_t bytes =
        stage_engine_buffer_bytes(engine->config, engine->slice, engine->items, settings->kernels, settings->threads);
    for (unsigned unit = engine->slice.first; unit < engine->slice.end;
         unit = model_same_weights(engine->config, unit).end) {
        const struct hash *own = &engine->identity[unit - engine->slice.first];
        const struct hash *wanted = wanted_identity(load, engine, unit);
        if (!(wanted && stage_engine_has(engine, unit, wanted)) && !stage_engine_has(other, unit, own))
            bytes += model_unit_weight_bytes(engine->config, unit);
    }
    return bytes;
}

/* Does the slice fit this board at all, and beside what serves? */
static bool check_memory(const struct load *load, struct error *error) {
    uint64_t limit = load->loader->settings.memory_bytes;
    uint64_t wanted = bytes_of_new(load), beside = bytes_beyond(load, load->beside, NULL);
    const struct message_assign *assign = load->assign;
    if (limit == 0)
        return true;
    char words[SLICE_WORDS_MAX], others[SLICE_WORDS_MAX];
    slice_words(load->config, load->slice.first, load->slice.end, words);
    if (wanted > limit)
        return error_set(error, ERROR_SYSTEM,
                         "%s at microbatch %u: %.1f MB are needed, this board may use %.1f MB: %.1f MB are missing",
                         words, assign->microbatch, (double)wanted / 1e6, (double)limit / 1e6,
                         (double)(wanted - limit) / 1e6);
    if (beside > limit - wanted)
        return error_set(error, ERROR_BUSY,
                         "%s at microbatch %u: %.1f MB are needed, which do not fit beside %s, which serve and need "
                         "%.1f MB more: this board may use %.1f MB",
                         words, assign->microbatch, (double)wanted / 1e6,
                         slice_words(load->config, load->beside->slice.first, load->beside->slice.end, others),
                         (double)beside / 1e6, (double)limit / 1e6);
    return true;
}

/* Destroys the old engine when what is not shared does not fit beside it. */
static void free_old_for_new(struct load *load, uint64_t wanted) {
    uint64_t limit = load->loader->settings.memory_bytes;
    if (limit == 0)
        return;
    uint64_t beside = bytes_beyond(load, load->beside, NULL); /* check_memory: fits */
    if (bytes_beyond(load, load->old, load->beside) > limit - wanted - beside)
        stage_engine_destroy(&load->old);
}

/* ---- a load ---- */

static bool parse(struct load *load, struct error *error) {
    const struct message_assign *assign = load->assign;
    load->config =
        model_config_new(assign->config, assign->config_bytes, assign->preprocessor, assign->preprocessor_bytes, error);
    if (!load->config)
        return false;
    unsigned units = model_units(load->config);
    if (assign->units == units && assign->first < assign->end && assign->end <= units)
        return true;
    return error_set(error, ERROR_INPUT, "assigned units %u to %u of %u, but the configuration makes %u units",
                     assign->first, assign->end - 1, assign->units, units);
}

static void log_loaded(const struct load *load, const struct stage_engine *engine) {
    char words[SLICE_WORDS_MAX];
    log_info("loaded %s (units %u-%u) in %.1f s, %.1f MB were shared, %" PRIu64 " bytes fetched",
             slice_words(engine->config, load->slice.first, load->slice.end, words), load->slice.first,
             load->slice.end - 1, (double)mono_since(mono_now(), load->started) / (double)MONO_SECOND,
             (double)(slice_weight_bytes(engine->model) - slice_weight_bytes_alone(engine->model)) / 1e6,
             load->fetched);
}

/* Has the engine (NULL: none) exactly these weights? */
static bool is_wanted(const struct load *load, const struct stage_engine *engine) {
    bool same = engine && engine->slice.first == load->slice.first && engine->slice.end == load->slice.end;
    for (unsigned unit = load->slice.first; same && unit < load->slice.end; unit++)
        same = stage_engine_has(engine, unit, &load->tensors.identity[unit - load->slice.first]);
    return same;
}

/* Takes hold of the units that are here already, of those that stay first; the tensors of the others are wanted. */
static void share(struct load *load, const struct stage_engine *engine) {
    for (unsigned unit = load->slice.first; unit < load->slice.end; unit++) {
        const struct hash *identity = &engine->identity[unit - load->slice.first];
        if (stage_engine_has(load->beside, unit, identity))
            slice_share(engine->model, load->beside->model, unit);
        else if (stage_engine_has(load->old, unit, identity))
            slice_share(engine->model, load->old->model, unit);
        else
            slice_tensors_want(&load->tensors, engine->config, unit);
    }
    load->done = load->tensors.read_bytes - load->tensors.wanted_bytes;
}

static struct stage_engine *keep_old(struct load *load, struct error *error) {
    struct stage_engine *engine = load->old;
    if (!stage_engine_fit(engine, load->assign->microbatch, load->loader->settings.threads, error))
        return NULL;
    load->old = NULL;
    load->done = load->tensors.read_bytes;
    char words[SLICE_WORDS_MAX];
    log_info("%s: still loaded (units %u-%u)", slice_words(load->config, load->slice.first, load->slice.end, words),
             load->slice.first, load->slice.end - 1);
    return engine;
}

/* An engine with the shared units. It takes the config. */
static struct stage_engine *begin_engine(struct load *load, struct error *error) {
    struct stage_engine *engine = stage_engine_new_take(load->config, load->slice, load->tensors.identity);
    load->config = NULL;
    engine->model = slice_new(engine->config, load->slice, load->loader->settings.kernels, error);
    if (engine->model)
        share(load, engine);
    else
        stage_engine_destroy(&engine);
    return engine;
}

static bool pack(struct load *load, struct stage_engine *engine, struct error *error) {
    struct tensor_source source = {.context = load, .find = source_find, .release = source_release};
    return slice_pack(engine->model, &source, packed_so_far, load, error) &&
           stage_engine_fit(engine, load->assign->microbatch, load->loader->settings.threads, error);
}

/* The engine that the assignment asks for, or NULL with an error. load->old stays what is left of the old one. */
static struct stage_engine *prepare(struct load *load, struct error *error) {
    if (!parse(load, error) || !slice_tensors_init(&load->tensors, load->config, load->assign, error) ||
        !check_memory(load, error))
        return NULL;
    if (is_wanted(load, load->old))
        return keep_old(load, error);
    uint64_t bytes = bytes_of_new(load);
    struct stage_engine *engine = begin_engine(load, error);
    if (engine && tables_new(load, error) && gather(load, error)) {
        free_old_for_new(load, bytes);
        if (pack(load, engine, error)) {
            log_loaded(load, engine);
            return engine;
        }
    }
    stage_engine_destroy(&engine);
    return NULL;
}

static void load_close(struct load *load) {
    unmap_all(load);
    release(load->mapped);
    release(load->found);
    release(load->missing);
    slice_tensors_close(&load->tensors);
    model_config_destroy(&load->config);
    cache_make_room(load->loader->cache, 0, NULL); /* others may have filled the directory beside us */
}

/* The stage tells malloc to keep what is freed, for the sake of frames (stage.c); old weights are to go all the same.
 */
static void return_memory(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

void loader_load(struct loader *loader, struct loader_command *command) {
    struct load load = {.loader = loader,
                        .assign = &command->assignment->message,
                        .old = command->old,
                        .beside = command->beside,
                        .slice = {command->assignment->message.first, command->assignment->message.end}};
    load.started = load.logged = mono_now();
    command->old = NULL;
    struct loader_report report = {.type = LOADER_LOADED};
    report.engine = prepare(&load, &report.error);
    report.fetched = load.fetched;
    report.done = load.done;
    report.total = load.tensors.read_bytes;
    load_close(&load);
    if (report.engine) {
        stage_engine_destroy(&load.old);
    } else {
        report.type = load.cancelled ? LOADER_CANCELLED : LOADER_FAILED;
        report.engine = load.old;
    }
    loader_command_destroy(command);
    return_memory();
    loader_report_send(loader, &report);
}
