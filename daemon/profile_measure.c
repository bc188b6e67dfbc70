/* What a board takes for each unit of a model; see profile.h.
 *
 * The units fall into runs: neighbours whose kinds were not measured before, such as [embed, first block] and [last
 * block, head] of a ViT. A run is loaded with random weights as a slice of its own and passes over it are timed unit by
 * unit, so that units find their inputs as warm as their neighbour leaves them, as in a stage. The parts of an MLP are
 * timed together, as a slice that has them all computes them, and in some passes one by one: the first reads the
 * weights, so it takes more than the others (partitioner.h: unit_seconds). What a stage does between two visits to the
 * same weights is to walk through its others: so before each pass as many bytes of other memory are read as the rest of
 * the model weighs, up to twice the largest cache. Means over the middle half of the passes go to all units of the
 * kind.
 *
 * Where the one processor that computes is ours for a small part (a quota), a unit takes its time or that and a
 * pause, by chance: then units are timed in processor time, which has no pauses, and that is stretched as all passes
 * together were. The spread tells nothing of pauses then, and the whole budget is used, to see enough of them.
 *
 * The time is shared out by arithmetic: what is left of the budget goes to the size at hand by its share of what is
 * left to compute, so a slow start shortens what follows. Each size gets at least one pass, three where they are short
 * beside the budget; many agreeing ones end it early. A run is cut short where the board has no memory for more of the
 * block at once.
 *
 * Sizes come from config.json: all that depends on them is try_allocate, and a refusal is an error. The calling thread
 * and the pool's compute; nothing outlives the call.
 */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/board.h"
#include "daemon/profile.h"
#include "daemon/slice_words.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define VALUES         65521 /* random numbers that everything is filled from: a prime, so that rows differ */
#define SAMPLES_MOST   101
#define SAMPLES_ENOUGH 9
#define SAMPLE_S       0.1
#define SAMPLE_SHARED  0.02 /* of processor time */
#define SAMPLES_LEAST  3    /* unless a pass takes an eighth of the budget */
#define APART_LEAST    3    /* passes, of which a pause may hit one */
#define APART_EACH     3    /* samples, after those */
#define WARM_S         0.05 /* a few periods of a quota */
#define SHARED         3    /* wall over processor time from which on pauses count for more than what others change */
#define QUIET          0.03
#define CACHE_UNKNOWN  ((size_t)8 << 20)
#define COLD_MOST      ((size_t)1 << 30)
#define PIECE_LEAST    ((size_t)4 << 10)
#define LINE           64 /* bytes that a cache reads at once */

struct measuring {
    const struct model_config *config;
    const struct kernels *kernels;
    struct pool *pool;
    const unsigned *microbatches;
    unsigned sizes;
    bool (*go_on)(void *context);
    void *context;
    struct profile *out;
    mono_t start;
    double processor_start, stretch;
    bool shared;                              /* the processor is: passes are timed by processor time */
    double passes_wall_s, passes_processor_s; /* of all passes, the latter of this thread */
    double passes_process_s;                  /* processor time of all threads */
    double budget_s, work_left;               /* work: operations of one pass over all that is not measured yet */
    uint64_t room;       /* bytes that a run may take, beside `others`; about UINT64_MAX: not known */
    size_t weight_bytes; /* of the whole model */
    unsigned kind[PARTITIONER_UNITS_MAX];
    float values[VALUES];   /* deviation 1 */
    unsigned char **others; /* [pieces][piece_bytes]: stand for the weights of the other units */
    size_t pieces, piece_bytes;
    float *tensor; /* the one that is being loaded */
};

/* A run while it is measured. */
struct bench {
    struct slice slice;
    struct slice_model *loaded;
    struct workspace *workspace;
    struct payload first, last; /* of the cuts at its ends */
    void *in[MODEL_PAYLOAD_PARTS], *out[MODEL_PAYLOAD_PARTS];
    size_t cold_pieces;
    double flops;    /* per item */
    double *seconds; /* [SAMPLES_MOST][units of the run] */
    double *once;    /* [units of the run]: of one pass */
    double *apart; /* [SAMPLES_MOST][units of the run]: of single passes that computed the parts of an MLP one by one */
    unsigned aparts; /* how many */
};

/* Of the budget. */
static double elapsed(const struct measuring *measuring) {
    double wall = (double)mono_since(mono_now(), measuring->start) / 1e9;
    return measuring->stretch > 1
               ? fmax(processor_thread_seconds() - measuring->processor_start, wall / measuring->stretch)
               : wall;
}

static bool asked_to_go_on(const struct measuring *measuring, struct error *error) {
    return !measuring->go_on || measuring->go_on(measuring->context) || error_set(error, ERROR_SYSTEM, "cancelled");
}

static bool loading_goes_on(void *context, uint64_t done, uint64_t total) {
    const struct measuring *measuring = context;
    (void)done;
    (void)total;
    return !measuring->go_on || measuring->go_on(measuring->context);
}

/* ---- random contents ---- */

/* Uniform within sqrt(3) of 0, so of deviation 1; never so small that products would be denormal. */
static void make_values(float values[VALUES]) {
    uint32_t state = 1;
    for (unsigned i = 0; i < VALUES; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(state >> 9) + 0.5F) * (3.4641016F / 8388608) - 1.7320508F;
    }
}

static void fill(const struct measuring *measuring, float *to, size_t count, float mean, float deviation) {
    for (size_t done = 0; done < count; done += VALUES) {
        size_t piece = count - done < VALUES ? count - done : VALUES;
        for (size_t i = 0; i < piece; i++)
            to[done + i] = mean + deviation * measuring->values[i];
    }
}

/* As trained models have them: activations keep their size from block to block. */
static void fill_tensor(const struct measuring *measuring, const struct tensor *tensor, size_t count) {
    size_t length = strlen(tensor->name);
    bool gain = tensor->rank == 1 && length > 7 && strcmp(tensor->name + length - 7, ".weight") == 0;
    float inputs = (float)count / (float)tensor->shape[0];
    bool matrix = tensor->rank == 2 || tensor->rank == 4;
    fill(measuring, measuring->tensor, count, gain ? 1 : 0, matrix ? 1.1F / sqrtf(inputs) : 0.1F);
}

static void fill_part(const struct measuring *measuring, const struct payload_part *part, unsigned items, void *to) {
    size_t bytes = items * payload_part_bytes(part);
    if (part->type == PAYLOAD_F32) {
        fill(measuring, to, bytes / sizeof(float), 0, 1);
        return;
    }
    uint8_t *pixels = to;
    for (size_t i = 0; i < bytes; i++)
        pixels[i] = (uint8_t)((uint32_t)i * 2654435761U >> 24);
}

/* ---- weights ---- */

struct wanted {
    const char *name;
    struct tensor *tensor;
};

static bool match_tensor(void *context, const struct tensor *tensor) {
    const struct wanted *wanted = context;
    if (strcmp(tensor->name, wanted->name) != 0)
        return true;
    *wanted->tensor = *tensor;
    wanted->tensor->name = wanted->name;
    return false;
}

struct random_source {
    struct measuring *measuring;
    struct slice slice;
};

static void drop_tensor(void *context, const struct tensor *tensor) {
    struct measuring *measuring = ((struct random_source *)context)->measuring;
    (void)tensor;
    release(measuring->tensor);
    measuring->tensor = NULL;
}

static bool find_tensor(void *context, const char *name, struct tensor *tensor, struct error *error) {
    const struct random_source *source = context;
    struct measuring *measuring = source->measuring;
    struct wanted wanted = {name, tensor};
    size_t count = 1;
    if (model_tensors(measuring->config, source->slice, match_tensor, &wanted))
        return error_set(error, ERROR_INPUT, "%s: not a tensor of this slice", name);
    for (unsigned d = 0; d < tensor->rank; d++)
        count *= (size_t)tensor->shape[d];
    measuring->tensor = try_allocate(count, sizeof(float));
    if (!measuring->tensor)
        return error_set(error, ERROR_SYSTEM, "%s: no memory for %zu numbers", name, count);
    fill_tensor(measuring, tensor, count);
    tensor->element = ELEMENT_F32;
    tensor->data = measuring->tensor;
    tensor->bytes = count * sizeof(float);
    return true;
}

/* ---- caches ---- */

static size_t largest_cache(void) {
    static const int levels[] = {_SC_LEVEL2_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL4_CACHE_SIZE};
    size_t largest = 0;
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        long bytes = sysconf(levels[i]);
        largest = bytes > 0 && (size_t)bytes > largest ? (size_t)bytes : largest;
    }
    return largest ? largest : CACHE_UNKNOWN; /* arm64 does not always tell */
}

static unsigned distinct_weights(const struct model_config *config) {
    unsigned count = 0;
    for (unsigned unit = 0; unit < model_units(config); unit = model_same_weights(config, unit).end)
        count++;
    return count;
}

/* In pieces as large as a unit's weights, so that they take pages and their translations as those do. Memory that was
 * only allocated would all be the one page of zeros. Going without costs honesty, not the profile. */
static void make_others(struct measuring *measuring) {
    size_t bytes = 2 * largest_cache();
    bytes = bytes < COLD_MOST ? bytes : COLD_MOST;
    bytes = bytes < measuring->weight_bytes ? bytes : measuring->weight_bytes;
    bytes = bytes < measuring->room / 4 ? bytes : (size_t)(measuring->room / 4);
    measuring->piece_bytes = measuring->weight_bytes / distinct_weights(measuring->config) + PIECE_LEAST;
    size_t pieces = bytes / measuring->piece_bytes;
    measuring->others = allocate(pieces, sizeof *measuring->others);
    for (; measuring->pieces < pieces; measuring->pieces++) {
        unsigned char *piece = try_allocate(measuring->piece_bytes, 1);
        if (!piece)
            return;
        measuring->others[measuring->pieces] = memset(piece, 1, measuring->piece_bytes);
        measuring->room -= measuring->piece_bytes;
    }
}

static void release_others(struct measuring *measuring) {
    for (size_t piece = 0; piece < measuring->pieces; piece++)
        release(measuring->others[piece]);
    release(measuring->others);
}

static void read_piece(void *context, size_t task, unsigned thread) {
    const struct measuring *measuring = context;
    const volatile unsigned char *piece = measuring->others[task];
    (void)thread;
    for (size_t at = 0; at < measuring->piece_bytes; at += LINE)
        (void)piece[at];
}

/* ---- passes ---- */

static void pass(struct measuring *measuring, const struct bench *bench, unsigned items, double *seconds, bool apart) {
    pool_run(measuring->pool, bench->cold_pieces, read_piece, measuring);
    for (unsigned p = 0; p < bench->first.parts; p++)
        fill_part(measuring, &bench->first.part[p], items, bench->in[p]);
    slice_forward_timed(bench->loaded, bench->workspace, measuring->pool, items, bench->in, bench->out,
                        !seconds            ? NULL
                        : measuring->shared ? processor_thread_seconds
                                            : mono_seconds,
                        seconds, apart);
}

static void timed_pass(struct measuring *measuring, const struct bench *bench, unsigned items, double *seconds,
                       bool apart) {
    double wall = mono_seconds(), processor = processor_thread_seconds();
    double process = processor_process_seconds();
    pass(measuring, bench, items, seconds, apart);
    measuring->passes_wall_s += mono_seconds() - wall;
    measuring->passes_processor_s += processor_thread_seconds() - processor;
    measuring->passes_process_s += processor_process_seconds() - process;
}

/* To be asked when this thread has had something to do. With others of the pool it waits for them, which is no pause:
 * their units are timed by the wall. */
static bool is_shared(const struct measuring *measuring) {
    double wall = (double)mono_since(mono_now(), measuring->start) / 1e9;
    return pool_threads(measuring->pool) == 1 &&
           wall > SHARED * (processor_thread_seconds() - measuring->processor_start);
}

/* Code, clocks and pages are warm after it, and a quota that there may be has shown. */
static void warm_up(struct measuring *measuring, const struct bench *bench) {
    do
        pass(measuring, bench, 1, NULL, false);
    while ((double)mono_since(mono_now(), measuring->start) / 1e9 < fmin(WARM_S, measuring->budget_s / 8));
}

/* Processor time as the clock on the wall will show it. */
static void stretch_times(const struct measuring *measuring, struct profile_times *times) {
    double stretch = fmax(1, measuring->passes_wall_s / measuring->passes_processor_s);
    for (unsigned unit = 0; measuring->shared && unit < measuring->out->units; unit++)
        times->unit_s[unit] *= stretch;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The distance between the quartiles of a unit's seconds. */
static double distance(const struct bench *bench, unsigned samples, unsigned unit) {
    unsigned units = bench->slice.end - bench->slice.first;
    double sorted[SAMPLES_MOST];
    for (unsigned i = 0; i < samples; i++)
        sorted[i] = bench->seconds[(size_t)i * units + unit];
    qsort(sorted, samples, sizeof *sorted, ascending);
    return sorted[3 * samples / 4] - sorted[samples / 4];
}

struct total {
    double seconds; /* first, for ascending */
    unsigned sample;
};

static void sort_totals(const struct bench *bench, unsigned samples, struct total totals[SAMPLES_MOST]) {
    unsigned units = bench->slice.end - bench->slice.first;
    for (unsigned i = 0; i < samples; i++) {
        totals[i] = (struct total){0, i};
        for (unsigned u = 0; u < units; u++)
            totals[i].seconds += bench->seconds[(size_t)i * units + u];
    }
    qsort(totals, samples, sizeof *totals, ascending);
}

/* Means over the middle half of the samples by their totals: as deaf to a disturbance as a median, and the units add up
 * to a sample, also where a quota of the processor stops now this unit and now that. Returns their sum. */
static double middle(const struct bench *bench, unsigned samples, double *seconds) {
    unsigned units = bench->slice.end - bench->slice.first, first = samples / 4, end = samples - samples / 4;
    struct total totals[SAMPLES_MOST];
    double sum = 0;
    sort_totals(bench, samples, totals);
    for (unsigned u = 0; u < units; u++) {
        seconds[u] = 0;
        for (unsigned i = first; i < end; i++)
            seconds[u] += bench->seconds[(size_t)totals[i].sample * units + u] / (end - first);
        seconds[u] = fmax(seconds[u], 1e-9); /* a clock may be coarse; a unit takes time */
        sum += seconds[u];
    }
    return sum;
}

/* All units' distances between quartiles over the sum of their seconds, which are filled. */
static double spread(const struct bench *bench, unsigned samples, double *seconds) {
    double distances = 0, sum = middle(bench, samples, seconds);
    for (unsigned u = 0; u < bench->slice.end - bench->slice.first; u++)
        distances += distance(bench, samples, u);
    return distances / sum;
}

static void keep(const struct bench *bench, unsigned samples, unsigned passes, struct profile_times *times) {
    unsigned first = bench->slice.first;
    middle(bench, samples, times->unit_s + first);
    for (unsigned unit = first; unit < bench->slice.end; unit++)
        times->unit_spread[unit] = distance(bench, samples, unit - first) / times->unit_s[unit];
    times->runs = times->runs == 0 || passes < times->runs ? passes : times->runs;
}

/* Fills the means of passes that together take SAMPLE_S (or less, by processor time, where that is shared), or of fewer
 * where end_s would be passed; returns how many, 0 with an error when cancelled. */
static unsigned take_sample(struct measuring *measuring, const struct bench *bench, unsigned items, double end_s,
                            double *seconds, struct error *error) {
    unsigned units = bench->slice.end - bench->slice.first, passes = 0;
    double took = 0, longest = 0;
    do {
        if (!asked_to_go_on(measuring, error))
            return 0;
        double before = elapsed(measuring);
        timed_pass(measuring, bench, items, bench->once, false);
        for (unsigned u = 0; u < units; u++) {
            seconds[u] += bench->once[u];
            took += bench->once[u];
        }
        longest = fmax(longest, elapsed(measuring) - before);
        passes++;
    } while (took < (measuring->shared ? SAMPLE_SHARED : SAMPLE_S) && elapsed(measuring) + longest < end_s);
    for (unsigned u = 0; u < units; u++)
        seconds[u] /= passes;
    return passes;
}

/* The units of the run that have the weights of `unit`. */
static struct slice parts_of(const struct measuring *measuring, const struct bench *bench, unsigned unit) {
    struct slice same = model_same_weights(measuring->config, unit);
    assert(same.first >= bench->slice.first); /* next_run takes all parts of an MLP */
    return (struct slice){same.first, same.end < bench->slice.end ? same.end : bench->slice.end};
}

/* Now and then a pass computes the parts of an MLP one by one: the first of them shows what one alone takes. (With
 * kernels that compute them so anyway there is nothing to find out.) */
static void take_apart(struct measuring *measuring, struct bench *bench, unsigned items, unsigned samples) {
    bool any = false;
    if (!measuring->kernels->rows_independent || (samples > APART_LEAST && samples % APART_EACH != 0))
        return;
    for (unsigned unit = bench->slice.first; unit < bench->slice.end; unit++)
        any = any || parts_of(measuring, bench, unit).first < unit;
    unsigned units = bench->slice.end - bench->slice.first;
    if (any && bench->aparts < SAMPLES_MOST)
        timed_pass(measuring, bench, items, bench->apart + (size_t)bench->aparts++ * units, true);
}

static double median_apart(const struct bench *bench, unsigned unit) {
    unsigned units = bench->slice.end - bench->slice.first;
    double sorted[SAMPLES_MOST];
    for (unsigned i = 0; i < bench->aparts; i++)
        sorted[i] = bench->apart[(size_t)i * units + unit - bench->slice.first];
    qsort(sorted, bench->aparts, sizeof *sorted, ascending);
    return sorted[bench->aparts / 2];
}

/* Of what an MLP's parts take together, the first gets what it takes alone, in which the weights are read, and the
 * others the rest; equal shares where there was no time to see. */
static void share_out(const struct measuring *measuring, const struct bench *bench, double *unit_s) {
    if (bench->aparts < APART_LEAST)
        return;
    for (struct slice parts = {0, bench->slice.first}; parts.end < bench->slice.end;) {
        parts = parts_of(measuring, bench, parts.end);
        unsigned count = parts.end - parts.first;
        double together = count * unit_s[parts.first], least = together / 100;
        double alone = median_apart(bench, parts.first);
        alone = fmin(fmax(alone, together / count), together - (count - 1) * least);
        for (unsigned unit = parts.first; unit < parts.end && count > 1; unit++)
            unit_s[unit] = unit == parts.first ? alone : (together - alone) / (count - 1);
    }
}

static bool measure_size(struct measuring *measuring, struct bench *bench, unsigned index, struct error *error) {
    unsigned items = measuring->microbatches[index], units = bench->slice.end - bench->slice.first;
    unsigned samples = 0, passes = 0;
    double work = items * bench->flops, now = elapsed(measuring);
    double end = now + (measuring->budget_s - now) * work / measuring->work_left;
    memset(bench->seconds, 0, (size_t)SAMPLES_MOST * units * sizeof *bench->seconds);
    bench->aparts = 0;
    for (bool more = true; more;) {
        double before = now, *seconds = bench->seconds + (size_t)samples * units;
        unsigned taken = take_sample(measuring, bench, items, end, seconds, error);
        if (taken == 0)
            return false;
        now = elapsed(measuring);
        double next = (now - before) / taken;
        samples++;
        passes += taken;
        if (!asked_to_go_on(measuring, error))
            return false;
        if (now + next < end)
            take_apart(measuring, bench, items, samples);
        now = elapsed(measuring);
        bool settled = !measuring->shared && samples >= SAMPLES_ENOUGH && spread(bench, samples, bench->once) < QUIET;
        bool least = samples < SAMPLES_LEAST && next < measuring->budget_s / 8 && now < measuring->budget_s;
        more = samples < SAMPLES_MOST && !settled && (least || now + next < end);
    }
    measuring->work_left -= work;
    keep(bench, samples, passes, &measuring->out->times[index]);
    share_out(measuring, bench, measuring->out->times[index].unit_s);
    return true;
}

/* ---- a run ---- */

static bool allocate_parts(const struct payload *payload, unsigned items, void *parts[MODEL_PAYLOAD_PARTS]) {
    for (unsigned p = 0; p < payload->parts; p++)
        if (!(parts[p] = try_allocate(items, payload_part_bytes(&payload->part[p]))))
            return false;
    return true;
}

static bool larger_tensor(void *context, const struct tensor *tensor) {
    uint64_t *largest = context, bytes = sizeof(float);
    for (unsigned d = 0; d < tensor->rank; d++)
        bytes *= tensor->shape[d];
    *largest = bytes > *largest ? bytes : *largest;
    return true;
}

/* The most that a run holds at once beside what it keeps the times in: all weights, and while they are loaded one
 * tensor as it is before it is packed, later the workspace and what goes in and out. */
static uint64_t run_bytes(const struct measuring *measuring, const struct bench *bench, unsigned items) {
    uint64_t tensor = 0;
    uint64_t computing = model_workspace_bytes(measuring->config, bench->slice, items, measuring->kernels,
                                               pool_threads(measuring->pool)) +
                         items * (payload_bytes(&bench->first) + payload_bytes(&bench->last));
    model_tensors(measuring->config, bench->slice, larger_tensor, &tensor);
    return model_weight_bytes(measuring->config, bench->slice) + (tensor > computing ? tensor : computing);
}

/* Said here rather than by the system, which might end the process instead. */
static bool check_room(const struct measuring *measuring, const struct bench *bench, unsigned items,
                       struct error *error) {
    uint64_t want = run_bytes(measuring, bench, items);
    char words[SLICE_WORDS_MAX];
    return want <= measuring->room ||
           error_set(error, ERROR_SYSTEM, "microbatch %u: %.1f MiB are needed for %s, but %.1f MiB are available",
                     items, (double)want / 1048576,
                     slice_words(measuring->config, bench->slice.first, bench->slice.end, words),
                     (double)measuring->room / 1048576);
}

static bool bench_open(struct measuring *measuring, struct bench *bench, struct error *error) {
    unsigned items = measuring->microbatches[measuring->sizes - 1];
    struct random_source random = {measuring, bench->slice};
    const struct tensor_source source = {&random, find_tensor, drop_tensor};
    model_cut(measuring->config, bench->slice.first, &bench->first);
    model_cut(measuring->config, bench->slice.end, &bench->last);
    if (!check_room(measuring, bench, items, error))
        return false;
    size_t rest = measuring->weight_bytes - model_weight_bytes(measuring->config, bench->slice);
    bench->cold_pieces = rest / measuring->piece_bytes;
    bench->cold_pieces = bench->cold_pieces < measuring->pieces ? bench->cold_pieces : measuring->pieces;
    bench->seconds = allocate(SAMPLES_MOST, (bench->slice.end - bench->slice.first) * sizeof(double));
    bench->once = allocate(bench->slice.end - bench->slice.first, sizeof(double));
    bench->apart = allocate(SAMPLES_MOST, (bench->slice.end - bench->slice.first) * sizeof(double));
    bench->loaded =
        slice_load(measuring->config, bench->slice, &source, measuring->kernels, loading_goes_on, measuring, error);
    if (!bench->loaded ||
        !(bench->workspace = workspace_new(bench->loaded, items, pool_threads(measuring->pool), error)))
        return false;
    return (allocate_parts(&bench->first, items, bench->in) && allocate_parts(&bench->last, items, bench->out)) ||
           error_set(error, ERROR_SYSTEM, "no memory for microbatches of %u items", items);
}

static void bench_close(struct bench *bench) {
    for (unsigned p = 0; p < MODEL_PAYLOAD_PARTS; p++) {
        release(bench->in[p]);
        release(bench->out[p]);
    }
    workspace_destroy(&bench->workspace);
    slice_unload(&bench->loaded);
    release(bench->seconds);
    release(bench->once);
    release(bench->apart);
}

/* Some operations for a unit that counts none, such as a head that only normalises. */
static double unit_work(const struct model_config *config, unsigned unit) {
    return model_unit_flops(config, unit) + 1;
}

static bool measure_run(struct measuring *measuring, struct slice slice, struct error *error) {
    struct bench bench = {.slice = slice};
    for (unsigned unit = slice.first; unit < slice.end; unit++)
        bench.flops += unit_work(measuring->config, unit);
    bool ok = bench_open(measuring, &bench, error) && asked_to_go_on(measuring, error);
    if (ok)
        warm_up(measuring, &bench);
    if (slice.first == 0) /* then all go by one clock */
        measuring->shared = is_shared(measuring);
    for (unsigned index = 0; ok && index < measuring->sizes; index++)
        ok = measure_size(measuring, &bench, index, error);
    bench_close(&bench);
    return ok;
}

/* The next run at or after `unit`: its end stays below a kind that is known, and its weights below half the room. */
static struct slice next_run(const struct measuring *measuring, unsigned unit, unsigned units) {
    struct slice run = {unit, unit};
    while (run.first < units && measuring->kind[run.first] != run.first)
        run.first++;
    run.end = run.first;
    while (run.end < units && measuring->kind[run.end] == run.end) {
        struct slice longer = {run.first, model_same_weights(measuring->config, run.end).end};
        if (run.end > run.first && model_weight_bytes(measuring->config, longer) > measuring->room / 2)
            break;
        run = longer;
    }
    return run;
}

/* ---- the whole ---- */

static bool measure_all(struct measuring *measuring, struct error *error) {
    unsigned units = measuring->out->units;
    for (struct slice run = next_run(measuring, 0, units); run.first < run.end;
         run = next_run(measuring, run.end, units))
        if (!measure_run(measuring, run, error))
            return false;
    return true;
}

static void copy_kinds(const struct measuring *measuring, struct profile_times *times) {
    double distances = 0, sum = 0;
    for (unsigned unit = 0; unit < measuring->out->units; unit++) {
        times->unit_s[unit] = times->unit_s[measuring->kind[unit]];
        times->unit_spread[unit] = times->unit_spread[measuring->kind[unit]];
        distances += times->unit_s[unit] * times->unit_spread[unit];
        sum += times->unit_s[unit];
    }
    times->spread = distances / sum;
}

/* What may be taken beside what is taken here already. */
static uint64_t room_within(uint64_t memory_bytes) {
    uint64_t available = board_memory_available();
    uint64_t room = available ? available : UINT64_MAX, ours = sizeof(struct measuring);
    if (memory_bytes > 0 && memory_bytes < room)
        room = memory_bytes;
    return room > ours ? room - ours : 0;
}

static void prepare(struct measuring *measuring, uint64_t memory_bytes) {
    double flops = 0, items = 0;
    measuring->start = mono_now();
    measuring->processor_start = processor_thread_seconds();
    measuring->room = room_within(memory_bytes);
    profile_kinds(measuring->config, measuring->kind);
    measuring->weight_bytes = model_weight_bytes(measuring->config, (struct slice){0, measuring->out->units});
    for (unsigned unit = 0; unit < measuring->out->units; unit++)
        flops += measuring->kind[unit] == unit ? unit_work(measuring->config, unit) : 0;
    for (unsigned index = 0; index < measuring->sizes; index++) {
        measuring->out->times[index].microbatch = measuring->microbatches[index];
        items += measuring->microbatches[index];
    }
    measuring->work_left = flops * items;
    make_values(measuring->values);
    make_others(measuring);
}

static bool check(const struct model_config *config, const unsigned *microbatches, unsigned sizes,
                  struct error *error) {
    if (model_units(config) > PARTITIONER_UNITS_MAX)
        return error_set(error, ERROR_UNSUPPORTED, "a model of %u units: want at most %d", model_units(config),
                         PARTITIONER_UNITS_MAX);
    if (sizes < 1 || sizes > PROFILE_MICROBATCHES)
        return error_set(error, ERROR_USAGE, "%u microbatch sizes: want 1 to %d", sizes, PROFILE_MICROBATCHES);
    for (unsigned index = 0; index < sizes; index++)
        if (microbatches[index] < 1 || microbatches[index] > MODEL_ITEMS_MAX ||
            (index > 0 && microbatches[index] <= microbatches[index - 1]))
            return error_set(error, ERROR_USAGE, "microbatch %u: want ascending sizes from 1 to %d",
                             microbatches[index], MODEL_ITEMS_MAX);
    return true;
}

static void describe(const struct model_config *config, const struct kernels *kernels, unsigned threads, unsigned sizes,
                     struct profile *out) {
    memset(out, 0, sizeof *out);
    snprintf(out->architecture, sizeof out->architecture, "%s", model_architecture(config));
    profile_fingerprint(config, out->fingerprint);
    snprintf(out->version, sizeof out->version, "%s", STAGECOACH_VERSION);
    snprintf(out->kernels, sizeof out->kernels, "%s", kernels->name);
    out->threads = threads;
    out->units = model_units(config);
    out->sizes = sizes;
}

bool profile_measure(const struct profile_settings *settings, struct profile *out, struct error *error) {
    if (!check(settings->config, settings->microbatches, settings->sizes, error))
        return false;
    struct measuring *measuring = allocate(1, sizeof *measuring);
    *measuring = (struct measuring){.config = settings->config,
                                    .kernels = settings->kernels,
                                    .pool = settings->pool,
                                    .microbatches = settings->microbatches,
                                    .sizes = settings->sizes,
                                    .go_on = settings->go_on,
                                    .context = settings->context,
                                    .out = out,
                                    .budget_s = settings->budget_s,
                                    .stretch = settings->stretch};
    describe(settings->config, settings->kernels, pool_threads(settings->pool), settings->sizes, out);
    prepare(measuring, settings->memory_bytes);
    bool ok = measure_all(measuring, error);
    for (unsigned index = 0; ok && index < settings->sizes; index++) {
        copy_kinds(measuring, &out->times[index]);
        stretch_times(measuring, &out->times[index]);
    }
    if (ok)
        out->processors = measuring->passes_process_s / measuring->passes_wall_s;
    release(measuring->tensor);
    release_others(measuring);
    release(measuring);
    return ok;
}
