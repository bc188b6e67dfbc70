/* The loader; see loader.h. Happy path of a load: parse the configuration; if the engine at hand has these weights,
 * give it back with buffers for the new microbatch size; map all tensors that the cache holds; fetch the others; free
 * the old engine now if both do not fit; slice_load from the mapped files; report.
 *
 * Failures: whatever the peer, the disk or the memory do ends this load with LOADER_FAILED and a reason, and the next
 * may be asked for. A cancelled load stops between two tensors or at the next command; what was fetched completely
 * stays cached. Threads: this file's functions below `struct load` run in the loader thread; two queues are all it
 * shares. Memory: commands and reports are allocated by one side and freed by the other; a load owns its assignment,
 * config, mappings and engine until it reports. All tensors of the slice stay mapped from the moment they are found
 * until the slice is packed, so that neither this process nor another that shares the directory can evict what is
 * needed in a moment.
 */
#include "daemon/loader.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mono.h"
#include "base/queue.h"
#include "daemon/cache.h"
#include "daemon/loader_fetch.h"
#include "daemon/slice_words.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define COMMANDS_MAX         (STAGE_CHUNKS + 8)
#define REPORTS_MAX          64
#define REPORTS_FOR_PROGRESS (REPORTS_MAX / 2) /* the rest is kept for reports that must not be lost */
#define REPORT_PERIOD        (250 * MONO_MS)
#define LOG_PERIOD           (2 * MONO_SECOND)
#define ROUNDS_MAX                                                                                                     \
    3 /* of looking into the cache and fetching what is missing: another process may evict it in between */

enum command_type { COMMAND_LOAD, COMMAND_STORE, COMMAND_CANCEL, COMMAND_STOP };

struct command {
    enum command_type type;
    struct assignment *assignment;
    struct stage_engine *engine;
    struct stage_chunk chunk;
    const void *bytes;
    void (*release)(void *context);
    void *context;
};

struct loader {
    struct loader_settings settings;
    struct cache *cache;
    struct queue *commands, *reports;
    pthread_t thread;
    bool started;
    bool stopped; /* by the thread: COMMAND_STOP was seen */
};

/* One load while it is under way. */
struct load {
    struct loader *loader;
    const struct message_assign *assign;
    struct stage_engine *old;
    struct model_config *config; /* NULL once an engine has it */
    struct slice slice;
    const void **mapped;                 /* [tensor_count], data of the tensors found */
    bool *found;                         /* [tensor_count] */
    const struct tensor_entry **by_name; /* [tensor_count], sorted */
    const struct tensor_entry **missing; /* [tensor_count], of which a few count */
    uint64_t done, total, fetched;
    mono_t started, reported, logged;
    bool cancelled;
};

void assignment_destroy(struct assignment **pointer) {
    struct assignment *assignment = *pointer;
    *pointer = NULL;
    if (!assignment)
        return;
    arena_destroy(&assignment->arena);
    release(assignment);
}

void loader_report_destroy(struct loader_report **report) {
    release(*report);
    *report = NULL;
}

/* ---- commands and reports ---- */

static void command_send(struct loader *loader, const struct command *command) {
    struct command *copy = allocate(1, sizeof *copy);
    *copy = *command;
    bool accepted = queue_put(loader->commands, copy);
    assert(accepted); /* one load, its window of chunks, one cancel and one stop */
    (void)accepted;
}

/* Frees a command and what it still owns. */
static void command_destroy(struct command *command) {
    if (command->release)
        command->release(command->context);
    assignment_destroy(&command->assignment);
    stage_engine_destroy(&command->engine);
    release(command);
}

static void report_send(struct loader *loader, const struct loader_report *report) {
    struct loader_report *copy = allocate(1, sizeof *copy);
    *copy = *report;
    bool accepted = queue_put(loader->reports, copy);
    assert(accepted);
    (void)accepted;
}

static void report_progress(struct load *load) {
    mono_t now = mono_now();
    if (mono_since(now, load->reported) >= REPORT_PERIOD &&
        queue_length(load->loader->reports) < REPORTS_FOR_PROGRESS) {
        load->reported = now;
        report_send(load->loader,
                    &(struct loader_report){
                        .type = LOADER_PROGRESS, .done = load->done, .total = load->total, .fetched = load->fetched});
    }
    if (mono_since(now, load->logged) >= LOG_PERIOD) {
        load->logged = now;
        log_info("loading: %.1f of %.1f MB are here, %.1f MB of them fetched", (double)load->done / 1e6,
                 (double)load->total / 1e6, (double)load->fetched / 1e6);
    }
}

/* A command that comes during a load and is not the bytes that it waits for. */
static void heed(struct load *load, struct command *command) {
    assert(command->type != COMMAND_LOAD);
    if (command->type == COMMAND_STOP)
        load->loader->stopped = true;
    if (command->type != COMMAND_STORE)
        load->cancelled = true;
    command_destroy(command);
}

/* Has someone told us to stop? Looked at between tensors. */
static bool still_wanted(struct load *load) {
    struct command *command;
    while (!load->cancelled && (command = queue_take(load->loader->commands)))
        heed(load, command);
    return !load->cancelled;
}

/* ---- which tensors are where ---- */

static int name_order(const void *left, const void *right) {
    const struct tensor_entry *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static int hash_order(const void *left, const void *right) {
    const struct tensor_entry *const *a = left, *const *b = right;
    return memcmp(&(*a)->hash, &(*b)->hash, sizeof(*a)->hash);
}

static bool tables_new(struct load *load, struct error *error) {
    size_t count = load->assign->tensor_count;
    load->mapped = try_allocate(count, sizeof *load->mapped);
    load->found = try_allocate(count, sizeof *load->found);
    load->by_name = try_allocate(count, sizeof *load->by_name);
    load->missing = try_allocate(count, sizeof *load->missing);
    if (!load->mapped || !load->found || !load->by_name || !load->missing)
        return error_set(error, ERROR_SYSTEM, "no memory for a list of %zu tensors", count);
    for (size_t i = 0; i < count; i++)
        load->by_name[i] = &load->assign->tensors[i];
    if (count > 0)
        qsort(load->by_name, count, sizeof *load->by_name, name_order);
    return true;
}

static void unmap_all(struct load *load) {
    for (size_t i = 0; load->found && i < load->assign->tensor_count; i++) {
        const struct tensor_entry *entry = &load->assign->tensors[i];
        if (load->found[i])
            cache_unmap(load->loader->cache, &entry->hash, load->mapped[i], entry->bytes);
    }
}

/* Maps what the cache has and is not mapped yet, and lists what it has not, every hash once (biases of zeros share
 * one). */
static size_t find_missing(struct load *load) {
    size_t missing = 0, unique = 0;
    for (size_t i = 0; i < load->assign->tensor_count && still_wanted(load); i++) {
        const struct tensor_entry *entry = &load->assign->tensors[i];
        if (load->found[i])
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
        report_send(load->loader, &report);
    }
}

/* Waits for one command and does it. */
static bool fetch_step(struct load *load, struct fetch *fetch, struct error *error) {
    struct command *command = queue_wait(load->loader->commands);
    if (command->type != COMMAND_STORE) {
        heed(load, command);
        return error_set(error, ERROR_TIMEOUT, "cancelled");
    }
    bool ok = fetch_store(fetch, &command->chunk, command->bytes, error);
    load->fetched += command->chunk.bytes;
    load->done += command->chunk.bytes;
    command_destroy(command);
    report_progress(load);
    return ok;
}

static bool fetch_missing(struct load *load, size_t count, struct error *error) {
    uint64_t bytes = 0, done = load->done;
    for (size_t i = 0; i < count; i++)
        bytes += load->missing[i]->bytes;
    log_info("fetching %zu tensors, %.1f MB", count, (double)bytes / 1e6);
    struct fetch *fetch = fetch_new(load->loader->cache, load->missing, count, error);
    bool ok = fetch && ask(load, fetch, error);
    while (ok && !fetch_complete(fetch))
        ok = fetch_step(load, fetch, error) && ask(load, fetch, error);
    fetch_destroy(&fetch);
    load->done = done; /* they count once they are mapped */
    return ok;
}

/* Brings every tensor of the slice into the cache and maps it. */
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

static const struct tensor_entry *entry_of_name(const struct load *load, const char *name) {
    const struct tensor_entry key = {.name = name}, *wanted = &key;
    if (load->assign->tensor_count == 0)
        return NULL;
    const struct tensor_entry *const *place =
        bsearch(&wanted, load->by_name, load->assign->tensor_count, sizeof *load->by_name, name_order);
    return place ? *place : NULL;
}

static bool source_find(void *context, const char *name, struct tensor *tensor, struct error *error) {
    const struct load *load = context;
    const struct tensor_entry *entry = entry_of_name(load, name);
    if (!entry)
        return error_set(error, ERROR_INPUT, "tensor %s: the coordinator did not list it", name);
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
    return still_wanted(context);
}

static uint64_t bytes_of(const struct load *load, const struct model_config *config, struct slice slice,
                         unsigned items) {
    const struct loader_settings *settings = &load->loader->settings;
    return stage_engine_bytes(config, slice, items, settings->kernels, settings->threads);
}

/* Does the slice fit this board at all? */
static bool check_memory(struct load *load, struct error *error) {
    uint64_t wanted = bytes_of(load, load->config, load->slice, load->assign->microbatch);
    uint64_t limit = load->loader->settings.memory_bytes;
    if (limit == 0 || wanted <= limit)
        return true;
    char words[SLICE_WORDS_MAX];
    return error_set(error, ERROR_SYSTEM,
                     "%s at microbatch %u: %.1f MB are needed, this board may use %.1f MB: %.1f MB are missing",
                     slice_words(load->config, load->slice.first, load->slice.end, words), load->assign->microbatch,
                     (double)wanted / 1e6, (double)limit / 1e6, (double)(wanted - limit) / 1e6);
}

/* Destroys the old engine when the new one does not fit beside it. */
static void free_old_for_new(struct load *load) {
    const struct stage_engine *old = load->old;
    uint64_t limit = load->loader->settings.memory_bytes;
    if (!old || limit == 0)
        return;
    uint64_t wanted = bytes_of(load, load->config, load->slice, load->assign->microbatch);
    if (bytes_of(load, old->config, old->slice, old->items) > limit - wanted)
        stage_engine_destroy(&load->old);
}

/* The new engine takes the config. NULL with an error otherwise. */
static struct stage_engine *pack(struct load *load, const struct hash *weights, struct error *error) {
    const struct loader_settings *settings = &load->loader->settings;
    struct tensor_source source = {.context = load, .find = source_find, .release = source_release};
    struct stage_engine *engine = stage_engine_new_take(load->config, load->slice);
    load->config = NULL;
    engine->weights = *weights;
    engine->model = slice_load(engine->config, load->slice, &source, settings->kernels, packed_so_far, load, error);
    if (!engine->model || !stage_engine_fit(engine, load->assign->microbatch, settings->threads, error))
        stage_engine_destroy(&engine);
    return engine;
}

/* ---- a load ---- */

/* Stands for everything that the packed weights of an assignment depend on. */
static bool hash_of_weights(const struct message_assign *assign, struct hash *hash, struct error *error) {
    struct description {
        struct hash name, data;
        uint64_t shape[MESSAGE_RANK_MAX];
        uint64_t element, rank;
    };
    struct description *list = try_allocate(assign->tensor_count + 1, sizeof *list);
    if (!list)
        return error_set(error, ERROR_SYSTEM, "no memory for a list of %zu tensors", assign->tensor_count);
    list[0].name = hash_of(assign->config, assign->config_bytes);
    list[0].data = hash_of(assign->preprocessor, assign->preprocessor ? assign->preprocessor_bytes : 0);
    list[0].element = assign->first;
    list[0].rank = assign->end;
    for (size_t i = 0; i < assign->tensor_count; i++) {
        const struct tensor_entry *entry = &assign->tensors[i];
        struct description *description = &list[i + 1];
        description->name = hash_of(entry->name, strlen(entry->name));
        description->data = entry->hash;
        memcpy(description->shape, entry->shape, sizeof description->shape);
        description->element = entry->element;
        description->rank = entry->rank;
    }
    *hash = hash_of(list, (assign->tensor_count + 1) * sizeof *list);
    release(list);
    return true;
}

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
    log_info("loaded %s (units %u-%u) in %.1f s, %" PRIu64 " bytes fetched",
             slice_words(engine->config, load->slice.first, load->slice.end, words), load->slice.first,
             load->slice.end - 1, (double)mono_since(mono_now(), load->started) / (double)MONO_SECOND, load->fetched);
}

/* The engine that the assignment asks for, or NULL with an error. load->old stays what is left of the old one. */
static struct stage_engine *prepare(struct load *load, struct error *error) {
    struct hash weights;
    char words[SLICE_WORDS_MAX];
    if (!parse(load, error) || !hash_of_weights(load->assign, &weights, error) || !check_memory(load, error))
        return NULL;
    struct stage_engine *engine = load->old;
    if (engine && memcmp(&engine->weights, &weights, sizeof weights) == 0) {
        if (!stage_engine_fit(engine, load->assign->microbatch, load->loader->settings.threads, error))
            return NULL;
        load->old = NULL;
        load->done = load->total;
        log_info("%s: still loaded (units %u-%u)", slice_words(load->config, load->slice.first, load->slice.end, words),
                 load->slice.first, load->slice.end - 1);
        return engine;
    }
    if (!tables_new(load, error) || !gather(load, error))
        return NULL;
    free_old_for_new(load);
    engine = pack(load, &weights, error);
    if (engine)
        log_loaded(load, engine);
    return engine;
}

static void load_close(struct load *load) {
    unmap_all(load);
    release(load->mapped);
    release(load->found);
    release(load->by_name);
    release(load->missing);
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

static void do_load(struct loader *loader, struct command *command) {
    struct load load = {.loader = loader,
                        .assign = &command->assignment->message,
                        .old = command->engine,
                        .slice = {command->assignment->message.first, command->assignment->message.end}};
    load.started = load.logged = mono_now();
    for (size_t i = 0; i < load.assign->tensor_count; i++)
        load.total += load.assign->tensors[i].bytes;
    command->engine = NULL;
    struct loader_report report = {.type = LOADER_LOADED};
    report.engine = prepare(&load, &report.error);
    report.fetched = load.fetched;
    report.done = load.done;
    report.total = load.total;
    load_close(&load);
    if (report.engine) {
        stage_engine_destroy(&load.old);
    } else {
        report.type = load.cancelled ? LOADER_CANCELLED : LOADER_FAILED;
        report.engine = load.old;
    }
    command_destroy(command);
    return_memory();
    report_send(loader, &report);
}

static void *loader_main(void *context) {
    struct loader *loader = context;
    for (struct command *command; !loader->stopped && (command = queue_wait(loader->commands));) {
        if (command->type == COMMAND_LOAD) {
            do_load(loader, command);
            continue;
        }
        loader->stopped = command->type == COMMAND_STOP;
        command_destroy(command); /* bytes or a cancel that came after the end of their load */
    }
    return NULL;
}

/* ---- the other threads' side ---- */

struct loader *loader_new(const struct loader_settings *settings, struct error *error) {
    struct loader *loader = allocate(1, sizeof *loader);
    loader->settings = *settings;
    if ((loader->cache = cache_new(settings->cache_directory, settings->cache_limit_bytes, error)) &&
        (loader->commands = queue_new(COMMANDS_MAX, error)) && (loader->reports = queue_new(REPORTS_MAX, error))) {
        errno = pthread_create(&loader->thread, NULL, loader_main, loader);
        loader->started = errno == 0;
        if (loader->started)
            return loader;
        error_set_errno(error, "loader thread");
    }
    loader_destroy(&loader);
    return NULL;
}

/* What the thread left behind when it stopped. */
static void empty_queues(struct loader *loader) {
    struct command *command;
    while (loader->commands && (command = queue_take(loader->commands)))
        command_destroy(command);
    struct loader_report *report;
    while (loader->reports && (report = queue_take(loader->reports))) {
        stage_engine_destroy(&report->engine);
        loader_report_destroy(&report);
    }
}

void loader_destroy(struct loader **pointer) {
    struct loader *loader = *pointer;
    *pointer = NULL;
    if (!loader)
        return;
    if (loader->started) {
        command_send(loader, &(struct command){.type = COMMAND_STOP});
        pthread_join(loader->thread, NULL);
    }
    empty_queues(loader);
    queue_destroy(&loader->reports);
    queue_destroy(&loader->commands);
    cache_destroy(&loader->cache);
    release(loader);
}

void loader_load_take(struct loader *loader, struct assignment *assignment, struct stage_engine *engine) {
    command_send(loader, &(struct command){.type = COMMAND_LOAD, .assignment = assignment, .engine = engine});
}

void loader_store(struct loader *loader, const struct stage_chunk *chunk, const void *bytes,
                  void (*release_bytes)(void *context), void *context) {
    command_send(
        loader,
        &(struct command){
            .type = COMMAND_STORE, .chunk = *chunk, .bytes = bytes, .release = release_bytes, .context = context});
}

void loader_cancel(struct loader *loader) {
    command_send(loader, &(struct command){.type = COMMAND_CANCEL});
}

struct loader_report *loader_take(struct loader *loader) {
    return queue_take(loader->reports);
}

int loader_descriptor(const struct loader *loader) {
    return queue_descriptor(loader->reports);
}
