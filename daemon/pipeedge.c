/* PipeEdge's three files as a problem; see pipeedge.h.
 *
 * The cost model is that of its sched-pipeline: a transfer takes 4 bytes * parameters * microbatch over the smaller
 * bandwidth of the two devices, with a megabit of 2^20; it is free to and from the source. A device fits a slice when
 * its memory is larger than the weights + two buffers to receive into (but for the first slice) + two to send from +
 * one of each to work on: three slots either way, of which the first stage is spared two. Memory is given in fractions
 * of a MiB, while a problem counts bytes: sums of weights are rounded, not weights, so no slice is off by more than
 * a byte, and "larger than" becomes "at least" by taking a byte from the device.
 *
 * Keys that are not needed are passed over, since the files are another program's. All three trees live for one call;
 * the problem owns what comes out. Faults are errors with file, line and column.
 */
#include "daemon/pipeedge.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/yaml.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define MEBI         1048576.0
#define VALUE_BYTES  4.0 /* torch.float32 */
#define SLOTS        3   /* two to receive or send, one to work on */
#define SLOTS_SPARED 2   /* nothing is received ahead by the first stage */
#define MOST_VALUES  1e12
#define MOST_MEMORY  1e9 /* MiB */

/* A device type and its devices, as far as they serve the model. */
struct device_type {
    const struct yaml *devices; /* the list in devices.yml */
    const struct yaml *seconds; /* time_s of the right profile */
    double bandwidth;           /* bytes per second */
    uint64_t memory_bytes;
};

struct reader {
    struct yaml *models, *types, *devices;
    const struct yaml *model; /* the entry of models.yml */
    const char *name;
    unsigned microbatch, layers;
    double bandwidth[PARTITIONER_BOARDS_MAX]; /* of each board added so far */
    struct error *error;
};

static struct yaml *read_file(const char *directory, const char *name, struct error *error) {
    char path[PATH_MAX];
    return path_join(path, sizeof path, directory, name, error) ? yaml_read(path, error) : NULL;
}

static bool want_number(const struct yaml *mapping, const char *key, double most, double *number, struct error *error) {
    const struct yaml *member = yaml_want(mapping, key, error);
    return member && yaml_as_number(member, 0, most, number, error);
}

/* A list with one entry for each layer. */
static const struct yaml *want_list(const struct reader *reader, const struct yaml *mapping, const char *key) {
    const struct yaml *list = yaml_want(mapping, key, reader->error);
    if (!list || !yaml_as_sequence(list, reader->error))
        return NULL;
    if (yaml_count(list) == reader->layers)
        return list;
    yaml_refuse(list, reader->error, "%zu numbers, want one for each of the %u layers", yaml_count(list),
                reader->layers);
    return NULL;
}

/* ---- models.yml ---- */

static bool find_model(struct reader *reader) {
    if (!yaml_as_mapping(reader->models, reader->error))
        return false;
    if (!(reader->model = yaml_find(reader->models, reader->name)))
        return yaml_refuse(reader->models, reader->error, "no model '%.80s'", reader->name);
    const struct yaml *layers = yaml_want(reader->model, "layers", reader->error);
    return layers && yaml_as_integer(layers, 1, PARTITIONER_UNITS_MAX, &reader->layers, reader->error);
}

static bool fill_payloads(const struct reader *reader, struct fleet_problem *made) {
    double values;
    uint64_t *bytes = made->payload_bytes;
    const struct yaml *list = want_list(reader, reader->model, "parameters_out");
    if (!list || !want_number(reader->model, "parameters_in", MOST_VALUES, &values, reader->error))
        return false;
    *bytes++ = (uint64_t)(VALUE_BYTES * reader->microbatch * values);
    for (const struct yaml *item = yaml_first(list); item; item = yaml_next(item)) {
        if (!yaml_as_number(item, 0, MOST_VALUES, &values, reader->error))
            return false;
        *bytes++ = (uint64_t)(VALUE_BYTES * reader->microbatch * values);
    }
    return true;
}

static bool fill_weights(const struct reader *reader, struct fleet_problem *made) {
    double megabytes, sum = 0;
    uint64_t *bytes = made->weight_bytes;
    const struct yaml *list = want_list(reader, reader->model, "mem_MB");
    for (const struct yaml *item = list ? yaml_first(list) : NULL; item; item = yaml_next(item)) {
        if (!yaml_as_number(item, 0, MOST_MEMORY, &megabytes, reader->error))
            return false;
        double before = round(sum * MEBI);
        sum += megabytes;
        *bytes++ = (uint64_t)(round(sum * MEBI) - before);
    }
    return list != NULL;
}

/* ---- device_types.yml ---- */

/* The profile of this model, microbatch and element type, or NULL: then its devices cannot be planned with. */
static const struct yaml *find_seconds(const struct reader *reader, const struct yaml *type, bool *ok) {
    const struct yaml *profiles = yaml_find(type, "model_profiles");
    const struct yaml *list = profiles ? yaml_find(profiles, reader->name) : NULL;
    for (const struct yaml *profile = list ? yaml_first(list) : NULL; profile; profile = yaml_next(profile)) {
        const struct yaml *size = yaml_want(profile, "batch_size", reader->error);
        const struct yaml *element = yaml_find(profile, "dtype");
        unsigned batch;
        if (!size || !yaml_as_integer(size, 1, FLEET_MICROBATCH_MAX, &batch, reader->error))
            return *ok = false, NULL;
        if (batch != reader->microbatch || (element && strcmp(yaml_scalar_text(element), "torch.float32") != 0))
            continue;
        const struct yaml *seconds = want_list(reader, profile, "time_s");
        *ok = seconds != NULL;
        return seconds;
    }
    return NULL;
}

/* "mem_MB * 2^20 > bytes" for whole bytes is "bytes <= the largest whole number below". */
static uint64_t bytes_below(double megabytes) {
    double bytes = ceil(megabytes * MEBI) - 1;
    return bytes > 0 ? (uint64_t)bytes : 0;
}

/* seconds stays NULL for a type that has no profile. */
static bool read_type(const struct reader *reader, const struct yaml *devices, struct device_type *type) {
    double megabits, megabytes;
    bool ok = true;
    const struct yaml *entry = yaml_find(reader->types, yaml_key(devices));
    *type = (struct device_type){.devices = devices};
    if (!entry)
        return yaml_refuse_key(devices, reader->error, "no such type in device_types.yml");
    if (!want_number(entry, "bw_Mbps", MOST_MEMORY, &megabits, reader->error) ||
        !want_number(entry, "mem_MB", MOST_MEMORY, &megabytes, reader->error))
        return false;
    type->bandwidth = megabits * MEBI / 8;
    type->memory_bytes = bytes_below(megabytes);
    type->seconds = find_seconds(reader, entry, &ok);
    return ok;
}

/* ---- devices.yml ---- */

static bool check_device(const struct reader *reader, const struct fleet_problem *made, unsigned boards,
                         const struct yaml *device) {
    const char *name;
    if (!yaml_as_text(device, &name, reader->error))
        return false;
    if (boards == PARTITIONER_BOARDS_MAX)
        return yaml_refuse(device, reader->error, "more than %d devices", PARTITIONER_BOARDS_MAX);
    for (unsigned board = 0; board < boards; board++)
        if (strcmp(made->name[board], name) == 0)
            return yaml_refuse(device, reader->error, "the device '%.64s' is there twice", name);
    return true;
}

static bool fill_seconds(const struct reader *reader, const struct yaml *list, double *seconds) {
    for (const struct yaml *item = yaml_first(list); item; item = yaml_next(item), seconds++) {
        if (!yaml_as_number(item, 0, INFINITY, seconds, reader->error))
            return false;
        if (!(*seconds > 0))
            return yaml_refuse(item, reader->error, "got '%.40s', want seconds above 0", yaml_scalar_text(item));
    }
    return true;
}

static bool add_devices(struct reader *reader, struct fleet_problem *made, const struct device_type *type,
                        unsigned *boards) {
    for (const struct yaml *device = yaml_first(type->devices); device; device = yaml_next(device)) {
        if (!check_device(reader, made, *boards, device) ||
            !fill_seconds(reader, type->seconds, made->unit_seconds + (size_t)*boards * reader->layers))
            return false;
        made->name[*boards] = allocate_string(yaml_scalar_text(device));
        made->memory_bytes[*boards] = type->memory_bytes;
        reader->bandwidth[(*boards)++] = type->bandwidth;
    }
    return true;
}

/* Row and column `boards` are the source's: they stay free. */
static void fill_links(const struct reader *reader, struct fleet_problem *made) {
    size_t boards = made->problem.boards, ends = boards + 1;
    for (size_t link = 0; link < ends * ends; link++)
        made->bandwidth[link] = INFINITY;
    for (size_t from = 0; from < boards; from++)
        for (size_t to = 0; to < boards; to++)
            made->bandwidth[from * ends + to] = fmin(reader->bandwidth[from], reader->bandwidth[to]);
}

static bool add_all_devices(struct reader *reader, struct fleet_problem *made) {
    struct device_type type;
    unsigned boards = 0;
    if (!yaml_as_mapping(reader->devices, reader->error) || !yaml_as_mapping(reader->types, reader->error))
        return false;
    for (const struct yaml *devices = yaml_first(reader->devices); devices; devices = yaml_next(devices)) {
        if (yaml_count(devices) == 0)
            continue;
        if (!yaml_as_sequence(devices, reader->error) || !read_type(reader, devices, &type))
            return false;
        if (!type.seconds)
            log_warn("devices of type %.64s are left out: no profile of %.80s for batch_size %u in torch.float32",
                     yaml_key(devices), reader->name, reader->microbatch);
        else if (!add_devices(reader, made, &type, &boards))
            return false;
    }
    made->problem.boards = boards;
    return boards > 0 || yaml_refuse(reader->devices, reader->error,
                                     "no device of a type with a profile of %.80s for batch_size %u in torch.float32",
                                     reader->name, reader->microbatch);
}

/* ---- all together ---- */

static bool fill(struct reader *reader, struct fleet_problem *made) {
    if (!find_model(reader))
        return false;
    fleet_problem_init(made, PARTITIONER_BOARDS_MAX, reader->layers);
    fleet_problem_name_units(made, NULL);
    made->problem.items = reader->microbatch;
    made->problem.input_slots = made->problem.output_slots = SLOTS;
    made->problem.source_slots_spared = SLOTS_SPARED;
    if (!fill_payloads(reader, made) || !fill_weights(reader, made) || !add_all_devices(reader, made))
        return false;
    fill_links(reader, made);
    return true;
}

bool pipeedge_read(struct fleet_problem *made, const char *directory, const char *model, unsigned microbatch,
                   struct error *error) {
    struct reader reader = {.name = model, .microbatch = microbatch, .error = error};
    memset(made, 0, sizeof *made);
    bool ok = (reader.models = read_file(directory, "models.yml", error)) &&
              (reader.types = read_file(directory, "device_types.yml", error)) &&
              (reader.devices = read_file(directory, "devices.yml", error)) && fill(&reader, made);
    yaml_destroy(&reader.models);
    yaml_destroy(&reader.types);
    yaml_destroy(&reader.devices);
    return ok;
}
