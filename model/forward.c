/* A microbatch on its way through a slice: where each payload lies, and the walk over the units.
 *
 * The memory of a workspace is one block, allocated once:
 *
 *     [ stream ][ activation | temporary ]
 *
 * The residual stream keeps one place for as long as its shape lasts. That place is the caller's output where the slice
 * ends in the middle of the model and the shape is already that of the output; else the caller's input; and where the
 * input are pixels and the output is not a stream, the block's own part. So nothing is copied between units: each unit
 * finds the stream and leaves it where it is. The activation (after attention) lies at the start of the second part
 * unless it is the slice's input or output, and the temporary memory of a unit follows the activation that it reads or
 * writes. No unit does both, so the part is as large as the largest unit wants, not as their sum.
 *
 * Units that have the same weights are one step of the walk: what is said here of a unit holds for all of them
 * together.
 *
 * The layout of the block is computed from the configuration alone, the same way for model_workspace_bytes (what a
 * stage counts) and for slice_forward; planners go by its parts. The compute thread owns the workspace while
 * slice_forward runs; nothing here fails.
 */
#include "base/allocate.h"
#include "model/slice.h"

#include <assert.h>
#include <string.h>

struct workspace {
    unsigned items, threads;
    unsigned char *block;
    size_t stream_bytes; /* the activation and temporary part begins here */
};

/* ---- which memory ---- */

static const struct payload_part *stream_part(const struct payload *payload) {
    return &payload->part[payload->parts - 1];
}

static bool same_part(const struct payload_part *a, const struct payload_part *b) {
    return a->type == b->type && a->rank == b->rank && memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

/* Whether the stream at an inner cut of the slice already lies in the slice's output. */
static bool stream_in_output(const struct model_config *config, struct slice slice, unsigned cut) {
    struct payload here, end;
    if (slice.end == config->units)
        return false;
    model_cut(config, cut, &here);
    model_cut(config, slice.end, &end);
    return same_part(stream_part(&here), stream_part(&end));
}

/* The block holds the stream only when it begins here, and begins with a shape that the output has not. */
static size_t stream_bytes(const struct model_config *config, struct slice slice, size_t items) {
    struct payload payload;
    if (slice.first > 0 || slice.end == 1 || stream_in_output(config, slice, 1))
        return 0;
    model_cut(config, 1, &payload);
    return align64(items * payload_part_bytes(stream_part(&payload)));
}

/* What the activation at a cut takes of the block: nothing at the slice's ends, whose memory is the caller's. */
static size_t activation_bytes(const struct model_config *config, struct slice slice, unsigned cut, size_t items) {
    struct payload payload;
    if (cut <= slice.first || cut >= slice.end)
        return 0;
    model_cut(config, cut, &payload);
    return payload.parts == 2 ? align64(items * payload_part_bytes(&payload.part[0])) : 0;
}

/* The units of the slice that are computed together, `unit` the first of them: one alone when they are to be computed
 * apart. */
static struct slice step_at(const struct model_config *config, struct slice slice, unsigned unit, bool apart) {
    unsigned end = apart ? unit + 1 : model_same_weights(config, unit).end;
    return (struct slice){unit, end < slice.end ? end : slice.end};
}

/* Where the temporary memory of a step begins in the second part of the block. */
static size_t temporary_offset(const struct model_config *config, struct slice slice, struct slice step, size_t items) {
    return larger(activation_bytes(config, slice, step.first, items), activation_bytes(config, slice, step.end, items));
}

/* The second part's size for one step: the most that any microbatch up to `items` wants. Kernels divide their work by
 * the number of rows, so that a smaller microbatch may want more scratch memory than a larger one. */
static size_t step_bytes(const struct model_config *config, struct slice slice, struct slice step, unsigned items,
                         const struct kernels *kernels, unsigned threads) {
    size_t most = 0;
    for (unsigned i = 1; i <= items; i++)
        most = larger(most, temporary_offset(config, slice, step, i) +
                                config->family->temporary_bytes(config, step, i, kernels, threads));
    return most;
}

size_t model_workspace_bytes(const struct model_config *config, struct slice slice, unsigned items,
                             const struct kernels *kernels, unsigned threads) {
    assert(items <= MODEL_ITEMS_MAX);
    size_t most = 0;
    for (struct slice step = {0, slice.first}; step.end < slice.end;) {
        step = step_at(config, slice, step.end, !kernels->rows_independent);
        most = larger(most, step_bytes(config, slice, step, items, kernels, threads));
    }
    return stream_bytes(config, slice, items) + align64(most);
}

/* A step's bytes wherever it lies: with a neighbour on either side the activation that it reads or writes is in the
 * block. */
static size_t inner_step_bytes(const struct model_config *config, struct slice step, unsigned items,
                               const struct kernels *kernels, unsigned threads) {
    struct slice slice = {step.first > 0 ? step.first - 1 : 0, step.end < config->units ? step.end + 1 : step.end};
    return align64(step_bytes(config, slice, step, items, kernels, threads));
}

/* Of each step that the unit can be part of, its share; the largest, since kernels may want more scratch for twice the
 * rows than twice as much. */
size_t model_unit_workspace_bytes(const struct model_config *config, unsigned unit, unsigned items,
                                  const struct kernels *kernels, unsigned threads) {
    assert(items <= MODEL_ITEMS_MAX && unit < config->units);
    struct slice same = kernels->rows_independent ? model_same_weights(config, unit) : (struct slice){unit, unit + 1};
    size_t most = 0;
    for (unsigned first = same.first; first <= unit; first++)
        for (unsigned end = unit + 1; end <= same.end; end++) {
            size_t bytes = inner_step_bytes(config, (struct slice){first, end}, items, kernels, threads);
            most = larger(most, (bytes + end - first - 1) / (end - first));
        }
    return most;
}

size_t model_stream_workspace_bytes(const struct model_config *config, struct slice slice, unsigned items) {
    return stream_bytes(config, slice, items);
}

struct workspace *workspace_new(const struct slice_model *slice, unsigned items, unsigned threads,
                                struct error *error) {
    if (items < 1 || items > MODEL_ITEMS_MAX) {
        error_set(error, ERROR_USAGE, "microbatch of %u items: want 1 to %d", items, MODEL_ITEMS_MAX);
        return NULL;
    }
    size_t bytes = model_workspace_bytes(slice->config, slice->slice, items, slice->kernels, threads);
    struct workspace *workspace = allocate(1, sizeof *workspace);
    workspace->items = items;
    workspace->threads = threads;
    workspace->stream_bytes = stream_bytes(slice->config, slice->slice, items);
    workspace->block = try_allocate(bytes, 1);
    if (!workspace->block) {
        error_set(error, ERROR_SYSTEM, "no memory for %zu bytes of activations of %u items", bytes, items);
        workspace_destroy(&workspace);
    }
    return workspace;
}

void workspace_destroy(struct workspace **workspace) {
    if (!*workspace)
        return;
    release((*workspace)->block);
    release(*workspace);
    *workspace = NULL;
}

/* ---- the walk ---- */

/* Places the payload of cut call->end into call->out. */
static void place_output(const struct slice_model *slice, const struct workspace *workspace, void *const out[],
                         struct unit_call *call) {
    struct payload in, here;
    unsigned cut = call->end;
    if (cut == slice->slice.end) {
        memcpy(call->out, out, sizeof call->out);
        return;
    }
    model_cut(slice->config, call->unit, &in);
    model_cut(slice->config, cut, &here);
    void *stream = call->unit == 0 ? workspace->block : call->in[in.parts - 1];
    if (stream_in_output(slice->config, slice->slice, cut)) {
        struct payload end;
        model_cut(slice->config, slice->slice.end, &end);
        stream = out[end.parts - 1];
    }
    call->out[0] = workspace->block + workspace->stream_bytes;
    call->out[here.parts - 1] = stream;
}

static void run_step(const struct slice_model *slice, const struct workspace *workspace, void *const out[],
                     struct unit_call *call) {
    call->weights = &slice->units[call->unit - slice->slice.first]->weights;
    call->temporary = workspace->block + workspace->stream_bytes +
                      temporary_offset(slice->config, slice->slice, (struct slice){call->unit, call->end}, call->items);
    place_output(slice, workspace, out, call);
    slice->config->family->forward(call);
    memcpy(call->in, call->out, sizeof call->in);
}

void slice_forward_timed(const struct slice_model *slice, struct workspace *workspace, struct pool *pool,
                         unsigned items, void *const in[MODEL_PAYLOAD_PARTS], void *const out[MODEL_PAYLOAD_PARTS],
                         double (*clock)(void), double *seconds, bool apart) {
    apart = apart || !slice->kernels->rows_independent; /* as a pipeline may cut them, to the same bits */
    assert(items >= 1 && items <= workspace->items && pool_threads(pool) == workspace->threads);
    struct unit_call call = {.config = slice->config, .kernels = slice->kernels, .pool = pool, .items = items};
    memcpy(call.in, in, sizeof call.in);
    for (struct slice step = {0, slice->slice.first}; step.end < slice->slice.end;) {
        double start = clock ? clock() : 0;
        step = step_at(slice->config, slice->slice, step.end, apart);
        call.unit = step.first;
        call.end = step.end;
        run_step(slice, workspace, out, &call);
        double each = clock ? (clock() - start) / (step.end - step.first) : 0;
        for (unsigned unit = step.first; clock && unit < step.end; unit++)
            seconds[unit - slice->slice.first] = each;
    }
}

void slice_forward(const struct slice_model *slice, struct workspace *workspace, struct pool *pool, unsigned items,
                   void *const in[MODEL_PAYLOAD_PARTS], void *const out[MODEL_PAYLOAD_PARTS]) {
    slice_forward_timed(slice, workspace, pool, items, in, out, NULL, NULL, false);
}
