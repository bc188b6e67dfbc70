/* From fleet and model to a problem; see fleet_problem.h. A board's memory is what it has less what it reserves; its
 * times are those measured for the microbatch or, by its speed, the model's operations. */
#include "daemon/fleet_problem.h"

#include "base/allocate.h"
#include "daemon/profile.h"
#include "daemon/slice_words.h"

#include <math.h>
#include <string.h>

void fleet_problem_init(struct fleet_problem *made, unsigned boards, unsigned units) {
    size_t ends = (size_t)boards + 1;
    memset(made, 0, sizeof *made);
    made->unit_seconds = allocate((size_t)boards * units, sizeof *made->unit_seconds);
    made->bandwidth = allocate(ends * ends, sizeof *made->bandwidth);
    made->latency = allocate(ends * ends, sizeof *made->latency);
    made->handling = allocate(boards, sizeof *made->handling);
    made->weight_bytes = allocate(units, sizeof *made->weight_bytes);
    made->same_weights = allocate(units, sizeof *made->same_weights);
    made->workspace_bytes = allocate((size_t)boards * units, sizeof *made->workspace_bytes);
    made->first_workspace_bytes = allocate((size_t)units + 1, sizeof *made->first_workspace_bytes);
    made->payload_bytes = allocate((size_t)units + 1, sizeof *made->payload_bytes);
    made->memory_bytes = allocate(boards, sizeof *made->memory_bytes);
    made->names = boards;
    made->name = allocate(boards, sizeof *made->name);
    made->unit_name = allocate(units, sizeof *made->unit_name);
    for (size_t link = 0; link < ends * ends; link++)
        made->bandwidth[link] = INFINITY;
    for (unsigned board = 0; board < boards; board++)
        made->handling[board] = INFINITY;
    made->problem = (struct problem){
        .boards = boards,
        .units = units,
        .unit_seconds = made->unit_seconds,
        .weight_bytes = made->weight_bytes,
        .same_weights = made->same_weights,
        .workspace_bytes = made->workspace_bytes,
        .first_workspace_bytes = made->first_workspace_bytes,
        .payload_bytes = made->payload_bytes,
        .memory_bytes = made->memory_bytes,
        .bandwidth = made->bandwidth,
        .latency = made->latency,
        .handling = made->handling,
        .board_names = (const char *const *)made->name,
        .unit_names = (const char *const *)made->unit_name,
    };
}

void fleet_problem_name_units(struct fleet_problem *made, const struct model_config *config) {
    char words[SLICE_WORDS_MAX];
    for (unsigned unit = 0; unit < made->problem.units; unit++)
        made->unit_name[unit] = allocate_string(slice_words(config, unit, unit + 1, words));
}

void fleet_problem_close(struct fleet_problem *made) {
    release(made->unit_seconds);
    release(made->bandwidth);
    release(made->latency);
    release(made->handling);
    release(made->weight_bytes);
    release(made->same_weights);
    release(made->workspace_bytes);
    release(made->first_workspace_bytes);
    release(made->payload_bytes);
    release(made->memory_bytes);
    for (unsigned board = 0; made->name && board < made->names; board++)
        release(made->name[board]);
    release(made->name);
    for (unsigned unit = 0; made->unit_name && unit < made->problem.units; unit++)
        release(made->unit_name[unit]);
    release(made->unit_name);
    memset(made, 0, sizeof *made);
}

/* The portable set stands in for sets that this machine has not, plain C for those that are not told. */
static void fill_workspace(const struct fleet_board *board, const struct model_config *config, unsigned items,
                           unsigned units, uint64_t *bytes) {
    const struct kernels *kernels = kernels_get(board->kernels ? board->kernels : "ref", NULL);
    for (unsigned unit = 0; unit < units; unit++)
        bytes[unit] = model_unit_workspace_bytes(config, unit, items, kernels ? kernels : kernels_get("portable", NULL),
                                                 board->threads ? board->threads : 1);
}

static void fill_model(struct fleet_problem *made, const struct model_config *config, unsigned items) {
    struct payload payload;
    fleet_problem_name_units(made, config);
    for (unsigned unit = 0; unit < made->problem.units; unit++) {
        made->weight_bytes[unit] = model_unit_weight_bytes(config, unit);
        made->same_weights[unit] = model_same_weights(config, unit).first < unit;
    }
    for (unsigned cut = 0; cut <= made->problem.units; cut++) {
        model_cut(config, cut, &payload);
        made->payload_bytes[cut] = (uint64_t)items * payload_bytes(&payload);
        if (cut > 0)
            made->first_workspace_bytes[cut] = model_stream_workspace_bytes(config, (struct slice){0, cut}, items);
    }
}

static bool no_such_size(const struct fleet_board *board, unsigned items, struct error *error) {
    unsigned sizes[FLEET_MICROBATCHES];
    char list[FLEET_SIZES_TEXT];
    for (unsigned at = 0; at < board->time_count; at++)
        sizes[at] = board->times[at].microbatch;
    return error_set(error, ERROR_USAGE,
                     "board %.80s has no times for microbatch %u, but for %s: choose with --microbatch, or auto",
                     board->name, items, fleet_sizes_text(sizes, board->time_count, list));
}

static bool fill_times(const struct fleet_board *board, const struct model_config *config, unsigned items,
                       unsigned units, double *seconds, struct error *error) {
    const double *measured = fleet_board_seconds(board, items);
    if (!measured && board->time_count > 0)
        return no_such_size(board, items, error);
    for (unsigned unit = 0; unit < units; unit++)
        seconds[unit] = measured ? measured[unit] : items * model_unit_flops(config, unit) / board->speed;
    return true;
}

static bool fill_board(struct fleet_problem *made, const struct fleet_file *file, unsigned index,
                       const struct model_config *config, struct error *error) {
    const struct fleet_board *board = &file->board[index];
    unsigned units = made->problem.units;
    bool has_room = board->memory_bytes > board->reserve_bytes;
    made->name[index] = allocate_string(board->name);
    made->memory_bytes[index] = has_room ? board->memory_bytes - board->reserve_bytes : 0;
    made->handling[index] = board->handling > 0 ? board->handling : INFINITY;
    fill_workspace(board, config, made->problem.items, units, made->workspace_bytes + (size_t)index * units);
    return fill_times(board, config, made->problem.items, units, made->unit_seconds + (size_t)index * units, error);
}

static void fill_links(struct fleet_problem *made, const struct fleet_file *file) {
    unsigned ends = file->boards + 1;
    for (unsigned row = 0; row < ends; row++)
        for (unsigned column = 0; column < ends; column++) {
            const struct fleet_link *link = &file->link[row < file->boards ? row : FLEET_COORDINATOR]
                                                       [column < file->boards ? column : FLEET_COORDINATOR];
            made->bandwidth[row * ends + column] = link->bandwidth;
            made->latency[row * ends + column] = link->latency;
        }
}

/* Times of a model with as many units of other sizes would look plausible. */
static bool check_model(const struct fleet_file *file, const struct model_config *config, struct error *error) {
    char fingerprint[sizeof file->fingerprint];
    profile_fingerprint(config, fingerprint);
    return !file->fingerprint[0] || strcmp(file->fingerprint, fingerprint) == 0 ||
           error_set(error, ERROR_USAGE,
                     "the fleet's times: this is another model's profile: got fingerprint %s, but --model has %s",
                     file->fingerprint, fingerprint);
}

bool fleet_problem_fill(struct fleet_problem *made, const struct fleet_file *file, const struct model_config *config,
                        unsigned items, struct error *error) {
    fleet_problem_init(made, file->boards, model_units(config));
    if (!check_model(file, config, error))
        return false;
    made->problem.items = items;
    made->problem.input_slots = FLEET_INPUT_SLOTS;
    made->problem.output_slots = FLEET_OUTPUT_SLOTS;
    made->problem.process_bytes = FLEET_PROCESS_BYTES;
    made->problem.half_duplex = file->half_duplex;
    fill_model(made, config, items);
    fill_links(made, file);
    for (unsigned index = 0; index < file->boards; index++)
        if (!fill_board(made, file, index, config, error))
            return false;
    return true;
}

/* Rows are moved up in place. */
void fleet_problem_keep(struct fleet_problem *made, const unsigned *index, unsigned few) {
    unsigned all = made->problem.boards, units = made->problem.units;
    for (unsigned to = 0; to < few; to++) {
        unsigned from = index[to];
        char *name = made->name[to];
        made->name[to] = made->name[from];
        made->name[from] = name;
        made->memory_bytes[to] = made->memory_bytes[from];
        made->handling[to] = made->handling[from];
        memmove(made->unit_seconds + (size_t)to * units, made->unit_seconds + (size_t)from * units,
                units * sizeof *made->unit_seconds);
        memmove(made->workspace_bytes + (size_t)to * units, made->workspace_bytes + (size_t)from * units,
                units * sizeof *made->workspace_bytes);
    }
    for (unsigned row = 0; row <= few; row++)
        for (unsigned column = 0; column <= few; column++) {
            unsigned from = (row < few ? index[row] : all) * (all + 1);
            from += column < few ? index[column] : all;
            made->bandwidth[row * (few + 1) + column] = made->bandwidth[from];
            made->latency[row * (few + 1) + column] = made->latency[from];
        }
    made->problem.boards = few;
}
