/* A model as the rest of the program sees it: units, cuts, weights by name, and slices that compute.
 *
 * What a family (ViT, DeiT, ...) must say about itself is in model/family.h; this header is what daemons and commands
 * use. The path of a model: model_open reads a Hugging Face directory (config.json, safetensors,
 * preprocessor_config.json) -> model_config -> slice_load binds and packs the tensors of one slice [first, end) ->
 * slice_forward runs a microbatch. Units: 0 = embed; 1 + 6 * b + {0, ..., 5} = block b: attention, projection, and the
 * MLP in four parts, each a quarter of a microbatch's rows through the whole of it; last = head.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/error.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_DIMENSIONS_MAX 4
#define MODEL_PAYLOAD_PARTS  2
#define MODEL_ITEMS_MAX      4096 /* items of a microbatch */

/* An MLP works on each row alone, so it can be cut between rows, where only the stream crosses: finer slices, balanced
 * to a quarter of an MLP, for the lightest payload that there is. */
#define MODEL_MLP_PARTS   4
#define MODEL_BLOCK_UNITS (2 + MODEL_MLP_PARTS)

enum payload_type { PAYLOAD_U8, PAYLOAD_F32 };

/* A tensor that crosses a cut, per item; a microbatch puts items before it as the outermost dimension. */
struct payload_part {
    enum payload_type type;
    unsigned rank;
    uint32_t shape[MODEL_DIMENSIONS_MAX];
};

/* Everything that must cross a cut. Cut 0: the image, u8 [height][width][3]. Within a block after attention: the
 * activation and the residual; else the residual stream alone, between parts of an MLP with some rows behind it and
 * some before it. Last cut (= units): the answer, f32 [labels] logits or [hidden] embedding. */
struct payload {
    unsigned parts;
    struct payload_part part[MODEL_PAYLOAD_PARTS];
};

size_t payload_part_bytes(const struct payload_part *part); /* per item */
size_t payload_bytes(const struct payload *payload);        /* per item, all parts */

/* Half-open range of units. */
struct slice {
    unsigned first, end;
};

enum answer_kind { ANSWER_LOGITS, ANSWER_EMBEDDING };

/* One parsed config.json: opaque, immutable, shared by threads. */
struct model_config;

/* Parses config.json's bytes. Errors name file and key. The family is found by "architectures", or where that is absent
 * by model_type and id2label. preprocessor may be NULL: the directory has none and the family's own defaults hold. */
struct model_config *model_config_new(const void *json, size_t json_bytes, const void *preprocessor,
                                      size_t preprocessor_bytes, struct error *error);
void model_config_destroy(struct model_config **config);

const char *model_architecture(const struct model_config *config); /* "ViTForImageClassification" */
unsigned model_units(const struct model_config *config);
/* "embed", "block 3.1 attention", "block 3.2 projection", "block 3.3 MLP 1/4" to "block 3.6 MLP 4/4", "head"; buffer is
 * filled and returned. Slices are named in the same way (daemon/slice_words.h). */
const char *model_unit_name(const struct model_config *config, unsigned unit, char buffer[40]);
void model_cut(const struct model_config *config, unsigned cut, struct payload *payload); /* 0 <= cut <= units */
double model_unit_flops(const struct model_config *config, unsigned unit);        /* multiply-adds x 2, per item */
size_t model_unit_weight_bytes(const struct model_config *config, unsigned unit); /* fp32, as computed */
/* The units that compute with the same weights as this one, itself among them: the parts of an MLP, else it alone. */
struct slice model_same_weights(const struct model_config *config, unsigned unit);
/* The first unit of the slice that computes with this unit's weights; slice.end: none does. */
unsigned model_find_weights(const struct model_config *config, struct slice slice, unsigned unit);
/* Bytes of a slice's weights, fp32; those that several of its units compute with are there once. */
size_t model_weight_bytes(const struct model_config *config, struct slice slice);
/* Activation memory that slice_forward needs for `items` items with these kernels, beside weights and in/out payloads.
 */
size_t model_workspace_bytes(const struct model_config *config, struct slice slice, unsigned items,
                             const struct kernels *kernels, unsigned threads);
/* The same in parts, for planners: what one unit needs wherever it lies in a slice. The sum over those that have the
 * same weights, the largest such sum of a slice, bounds its need (by no more than one payload and, for each part of an
 * MLP, the kernels' scratch; with OpenBLAS, which computes the parts of an MLP one by one, by more); besides there is
 * what is kept for the residual stream, 0 unless the slice begins with unit 0. */
size_t model_unit_workspace_bytes(const struct model_config *config, unsigned unit, unsigned items,
                                  const struct kernels *kernels, unsigned threads);
size_t model_stream_workspace_bytes(const struct model_config *config, struct slice slice, unsigned items);
enum answer_kind model_answer_kind(const struct model_config *config);
unsigned model_answer_size(const struct model_config *config); /* labels, or hidden size of an embedding */
/* id2label[class], or NULL when the configuration names none ("LABEL_7" is then customary). */
const char *model_label(const struct model_config *config, unsigned class_index);

/* ---- weights by name ---- */

struct tensor {
    const char *name;
    enum element element;
    unsigned rank;
    uint64_t shape[MODEL_DIMENSIONS_MAX];
    const void *data; /* borrowed from the source; may be NULL where only the description is known */
    uint64_t bytes;
};

/* Where slice_pack gets tensors from: a model directory or a board's cache. */
struct tensor_source {
    void *context;
    /* Fills *tensor with the tensor of that name; data stays valid until release or the source's end. false with an
     * error that names file and tensor when absent. */
    bool (*find)(void *context, const char *name, struct tensor *tensor, struct error *error);
    /* The tensor's bytes will not be read again: its pages may be dropped. May be NULL. */
    void (*release)(void *context, const struct tensor *tensor);
};

/* What a slice reads: names with the shapes the architecture demands, those of units with the same weights once.
 * element is not known here (data NULL, bytes 0). Calls visit for each, in loading order; stops and returns false when
 * visit does. A name given here is the public hub name, and lives only during the visit; a model directory's source
 * finds it under the other names in use too. */
bool model_tensors(const struct model_config *config, struct slice slice,
                   bool (*visit)(void *context, const struct tensor *tensor), void *context);

/* ---- a model directory ---- */

struct model; /* config, labels, preprocessing and mapped weights of one directory */

/* Opens and checks DIR: every file's header, every tensor the model needs present with the right shape, offsets in
 * range and not overlapping. Reads no weights. */
struct model *model_open(const char *directory, struct error *error);
void model_close(struct model **model);
const struct model_config *model_borrow_config(const struct model *model);
struct tensor_source model_source(struct model *model);
/* The files' bytes, for sending to boards; whoever parses them needs no checkpoint: where this one lacks weights that
 * its architecture may lack (the pooler of a ViTModel), config says so in a key of its own. preprocessor is NULL when
 * the directory has none. Borrowed until model_close. */
void model_borrow_json(const struct model *model, const void **config, size_t *config_bytes, const void **preprocessor,
                       size_t *preprocessor_bytes);

/* ---- a loaded slice ---- */

struct slice_model; /* packed weights of a slice, ready to compute; one compute thread at a time */

/* A slice of which nothing is loaded yet: slice_share and then slice_pack fill it. config and kernels must outlive it.
 * NULL with an error when it is no range of units. */
struct slice_model *slice_new(const struct model_config *config, struct slice slice, const struct kernels *kernels,
                              struct error *error);
/* Takes the unit, and all with the same weights that the slice has, from a loaded slice: the two hold one copy of the
 * packed weights from now on, whichever is unloaded first. Costs neither time nor memory. Both have the unit or one
 * with its weights, and the kernels, and the caller knows that the weights are those wanted; the configurations need
 * not be the same object. Asked for again, of one that holds the same copy, nothing happens. `from` may be computing
 * meanwhile, in any thread, but not be unloaded. */
void slice_share(struct slice_model *slice, const struct slice_model *from, unsigned unit);
/* Packs the units that were not shared. Peak memory is their packed weights plus one tensor. progress (may be NULL) is
 * told bytes packed so far, of those to be packed; returning false cancels (error says so). After false the slice can
 * only be unloaded. */
bool slice_pack(struct slice_model *slice, const struct tensor_source *source,
                bool (*progress)(void *context, uint64_t done, uint64_t total), void *context, struct error *error);

/* slice_new and slice_pack: a slice that shares nothing. NULL with an error. */
struct slice_model *slice_load(const struct model_config *config, struct slice slice,
                               const struct tensor_source *source, const struct kernels *kernels,
                               bool (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                               struct error *error);
/* Frees what no other slice holds. Slices that share units may be unloaded by different threads at the same time. NULL
 * is fine; *slice becomes NULL. */
void slice_unload(struct slice_model **slice);
/* Bytes of packed weights that the slice holds, shared or not. */
size_t slice_weight_bytes(const struct slice_model *slice);
/* Those that no other slice holds now: what unloading it would free. */
size_t slice_weight_bytes_alone(const struct slice_model *slice);

/* Scratch for forward passes of up to `items` items (1 to MODEL_ITEMS_MAX) on a pool of `threads` threads: one block of
 * model_workspace_bytes, allocated once, reused. NULL with an error when memory is short. */
struct workspace;
struct workspace *workspace_new(const struct slice_model *slice, unsigned items, unsigned threads, struct error *error);
void workspace_destroy(struct workspace **workspace);

/* One microbatch through the slice. in[p], out[p]: the parts of cut `first` and cut `end`, [items][shape...], any
 * 1-byte (u8) or 4-byte alignment, not overlapping; in may be overwritten. pool has the threads of the workspace; NULL
 * is one. Never allocates, never fails. */
void slice_forward(const struct slice_model *slice, struct workspace *workspace, struct pool *pool, unsigned items,
                   void *const in[MODEL_PAYLOAD_PARTS], void *const out[MODEL_PAYLOAD_PARTS]);

/* As slice_forward; seconds[u - first] receives the time of each unit, by a clock in seconds. Units that are computed
 * together, those of an MLP, get equal parts of the time; with `apart` they are computed one by one, to the same bits.
 * For profiling. */
void slice_forward_timed(const struct slice_model *slice, struct workspace *workspace, struct pool *pool,
                         unsigned items, void *const in[MODEL_PAYLOAD_PARTS], void *const out[MODEL_PAYLOAD_PARTS],
                         double (*clock)(void), double *seconds, bool apart);

/* ---- images for a model ---- */

/* Decodes an image file's bytes and prepares it as preprocessor_config.json says, into u8 [height][width][3] (cut 0 of
 * one item). One preparer per thread; it keeps scratch memory and allocates only to grow. */
struct preparer;
struct preparer *preparer_new(const struct model_config *config);
void preparer_destroy(struct preparer **preparer);
bool prepare_image(struct preparer *preparer, const void *file, size_t bytes, uint8_t *out, struct error *error);

/* ---- answers ---- */

struct top_class {
    unsigned class_index;
    float score; /* softmax probability */
};

/* The `count` best classes by score, best first, ties by lower index; returns how many (<= classes). Scores are those
 * of a softmax over all classes, summed in double, whatever kernels made the logits. A model with one label
 * (regression-like) gives score 1. NaN logits sort last with score 0. Never allocates. */
unsigned answer_top(const float *logits, unsigned classes, struct top_class *top, unsigned count);

/* Is every number finite? A damaged model answers with NaN, which is no answer. */
bool answer_finite(const float *numbers, size_t count);

/* Writes a Hugging Face directory with seeded random weights. architecture: "vit-tiny", "vit-small", "vit-base",
 * "vit-large", "vit-huge", "deit-tiny", "deit-small", "deit-base", "deit-base-distilled", ... Shards above 2 GB.
 * config.json is written last. Refuses to overwrite a non-empty directory. Any failure removes what was written. */
bool model_synthesise(const char *architecture, uint64_t seed, const char *directory, struct error *error);
/* Names for --help, until NULL. */
const char *model_synthesise_name(size_t index);

#endif
