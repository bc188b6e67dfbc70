/* What a family of models (ViT with DeiT; later BERT, GPT-2, ...) says about itself, for the rest of model/.
 *
 * A family is one file that fills a `struct family` and one row in registry.c. It describes units and never owns them:
 * names and shapes of tensors (`layout`), what crosses a cut (`cut`), and how one unit turns its input payload into its
 * output payload (`forward`). Loading, packing, memory for activations and the walk over a slice are the same for all
 * families and live in slice.c, workspace.c and forward.c.
 *
 * Units are numbered as model.h says. Those of one MLP have the same weights, each works on its part of a microbatch's
 * rows, and neighbours in a slice are computed together, as if they were one unit. The last part of a payload between
 * units is the residual stream: a unit may find it in the very memory where it has to leave it.
 */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "kernels/kernels.h"
#include "model/json.h"
#include "model/model.h"
#include "model/preprocess.h"

#define UNIT_TENSORS_MAX  8
#define UNIT_MATRICES_MAX 2
#define UNIT_VECTORS_MAX  4
#define TENSOR_NAME_BYTES 128

enum unit_kind { UNIT_EMBED, UNIT_ATTENTION, UNIT_PROJECTION, UNIT_MLP, UNIT_HEAD };

/* Which piece of the model a unit number means. */
struct unit_place {
    enum unit_kind kind;
    unsigned block; /* 0 for embed and head */
    unsigned part;  /* of an MLP, below MODEL_MLP_PARTS; else 0 */
};

struct unit_place unit_place(unsigned units, unsigned unit);

/* ---- what a unit's weights are ---- */

enum weight_slot { SLOT_MATRIX, SLOT_VECTOR };

/* A tensor of the checkpoint and the place of its values among the unit's weights. */
struct unit_tensor {
    char name[TENSOR_NAME_BYTES]; /* the public hub name */
    unsigned rank;
    uint64_t shape[MODEL_DIMENSIONS_MAX];
    enum weight_slot kind;
    unsigned slot;
    size_t first; /* row of the matrix, or element of the vector, at which this tensor begins */
};

/* Matrices are what kernels->linear multiplies by; vectors are everything else, as plain fp32. */
struct unit_layout {
    struct {
        size_t n, k;
    } matrix[UNIT_MATRICES_MAX];     /* n = 0: none */
    size_t vector[UNIT_VECTORS_MAX]; /* elements; 0: none */
    unsigned tensors;
    struct unit_tensor tensor[UNIT_TENSORS_MAX];
};

/* A layout is built by appending tensors to slots, which grow: query, key and value weights appended to one matrix slot
 * become one [3d][k] matrix. The first dimension of a matrix tensor is its rows, the others together are k. */
void layout_matrix(struct unit_layout *layout, unsigned slot, const char *name, unsigned rank, const uint64_t *shape);
void layout_vector(struct unit_layout *layout, unsigned slot, const char *name, unsigned rank, const uint64_t *shape);
/* torch.nn.Linear: NAME.weight [n][k] and, with `bias`, NAME.bias [n]. */
void layout_linear(struct unit_layout *layout, unsigned matrix_slot, unsigned bias_slot, const char *name, size_t n,
                   size_t k, bool bias);
/* torch.nn.LayerNorm: NAME.weight and NAME.bias, both [n]. */
void layout_norm(struct unit_layout *layout, unsigned gain_slot, unsigned shift_slot, const char *name, size_t n);

size_t tensor_elements(unsigned rank, const uint64_t *shape);

/* The weights of one loaded unit, slots as in its layout. Immutable once loaded. */
struct unit_weights {
    struct matrix matrix[UNIT_MATRICES_MAX];
    float *vector[UNIT_VECTORS_MAX]; /* NULL: none */
};

/* ---- one unit at work ---- */

struct unit_call {
    const struct model_config *config;
    unsigned unit, end; /* units [unit, end): several only where they have the same weights */
    const struct unit_weights *weights;
    const struct kernels *kernels;
    struct pool *pool;
    size_t items;
    /* The parts of cut `unit` and of cut `end`. in may be overwritten. Of each cut the last part may be the same
     * memory in both (the residual stream stays where it is); no other two overlap. */
    void *in[MODEL_PAYLOAD_PARTS];
    void *out[MODEL_PAYLOAD_PARTS];
    unsigned char *temporary; /* family->temporary_bytes, aligned to 64 */
};

/* ---- a family ---- */

/* A class name that config.json may give as architectures[0]. */
struct architecture {
    const char *name;
    const char *model_type; /* config.json's model_type, by which it is found when architectures is absent */
    bool labels;            /* ends in a classifier; decides together with model_type */
    int variant;            /* the family's own number for it */
};

struct family {
    const struct architecture *architectures; /* until a row whose name is NULL */

    /* Reads the family's part of config.json into config->shape (one block from allocate, the family's own struct) and
     * sets config's plain members. Every number is bounded here, so that no product of them overflows later. */
    bool (*parse)(struct model_config *config, const struct json *root, struct error *error);

    /* The rest is pure, for any config that parse accepted, any unit below config->units and any cut up to it. */
    void (*cut)(const struct model_config *config, unsigned cut, struct payload *payload);
    double (*flops)(const struct model_config *config, unsigned unit);
    void (*layout)(const struct model_config *config, unsigned unit, struct unit_layout *layout);
    /* Memory that forward needs for units [slice.first, slice.end), as in a call, beside weights, input and output, for
     * `items` items on `threads` threads. */
    size_t (*temporary_bytes)(const struct model_config *config, struct slice slice, size_t items,
                              const struct kernels *kernels, unsigned threads);
    /* Computes one unit, or several with the same weights. Never allocates, never fails. */
    void (*forward)(const struct unit_call *call);

    /* Other names under which checkpoints hold a tensor, tried in order for index below `aliases`: fills other, or
     * returns false when this way of naming makes no difference to the name. */
    unsigned aliases;
    bool (*alias)(const struct model_config *config, const char *name, unsigned index, char other[TENSOR_NAME_BYTES]);
    /* A weight that some checkpoints of this architecture lack and that config.json does not mention, or NULL. */
    const char *(*optional_tensor)(const struct model_config *config);
};

/* All families, until NULL. */
const struct family *family_at(size_t index);

extern const struct family family_vit;

/* ---- one parsed config.json ---- */

struct model_config {
    const struct family *family;
    const struct architecture *architecture;
    void *shape; /* the family's own reading of config.json; owned */
    unsigned units;
    enum answer_kind answer;
    unsigned answer_size;
    size_t labels; /* length of label */
    char **label;  /* owned; an entry may be NULL */
    unsigned image_height, image_width;
    enum preprocess_family images; /* whose defaults hold for preprocessor_config.json */
    struct preprocess_config preprocess;
    float pixel_table[PREPROCESS_CHANNELS][256]; /* rescaled and normalised value of each byte of each channel */
};

/* Key that model_open adds to the config.json it hands out when the checkpoint lacks the architecture's optional
 * weights, which a board, having no checkpoint, could not know. Absent means present. */
#define OPTIONAL_WEIGHTS_KEY "stagecoach_optional_weights"

/* "gelu", "gelu_new", "relu", ... as transformers' ACT2FN names them; refused with the names that are known. `fallback`
 * when the key is absent. */
bool parse_activation(const struct json *root, const char *key, enum activation fallback, enum activation *activation,
                      struct error *error);

/* Rounds up to whole cache lines, so that what follows in one block is aligned to 64 bytes. */
static inline size_t align64(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

static inline size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

#endif
