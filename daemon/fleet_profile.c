/* Reads a profile; see fleet_profile.h. The format is one JSON object:
 *
 *   {"architecture": "ViTForImageClassification", "units": 50, "threads": 4, "kernels": "neon", "version": "0.1.0",
 *    "memory_bytes": 3221225472, "microbatches": [{"microbatch": 8, "unit_s": [...]}]}
 *
 * The document lives for one call; the board copies what it keeps. A profile of another model is refused: its times
 * would look plausible and be wrong.
 */
#include "daemon/fleet_profile.h"

#include "base/allocate.h"
#include "base/file.h"
#include "model/json.h"

#include <float.h>
#include <limits.h>
#include <string.h>

#define PROFILE_BYTES_MAX ((size_t)4 << 20)

static bool join_beside(const char *beside, const char *name, char path[PATH_MAX], struct error *error) {
    const char *slash = strrchr(beside, '/');
    int directory = slash && name[0] != '/' ? (int)(slash + 1 - beside) : 0;
    if (snprintf(path, PATH_MAX, "%.*s%s", directory, beside, name) < PATH_MAX)
        return true;
    return error_set(error, ERROR_USAGE, "%.80s...: the path is too long", name);
}

static bool read_size(const struct json *entry, unsigned units, struct fleet_board *board, struct error *error) {
    double seconds[PARTITIONER_UNITS_MAX];
    int64_t microbatch;
    const struct json *list;
    if (!json_get_integer(entry, "microbatch", 1, FLEET_MICROBATCH_MAX, &microbatch, error) ||
        !json_get_array(entry, "unit_s", &list, error))
        return false;
    if (json_count(list) != units)
        return json_refuse(list, error, "%u times, one for each unit", units);
    for (unsigned unit = 0; unit < units; unit++)
        if (!json_as_number(json_at(list, unit), DBL_MIN, DBL_MAX, &seconds[unit], error))
            return false;
    return fleet_board_add_times(board, (unsigned)microbatch, seconds, units) ||
           json_refuse(entry, error, "each microbatch once, and at most %d", FLEET_MICROBATCHES);
}

static bool check_model(const struct json *root, const char *architecture, unsigned *units, struct error *error) {
    const char *name = NULL;
    int64_t count;
    if (!json_optional_string(root, "architecture", &name, error) ||
        !json_get_integer(root, "units", 1, PARTITIONER_UNITS_MAX, &count, error))
        return false;
    if (name && architecture && strcmp(name, architecture) != 0)
        return json_refuse(json_find(root, "architecture"), error, "%s: this is another model's profile", architecture);
    if (*units && *units != count)
        return json_refuse(json_find(root, "units"), error, "%u: this is another model's profile", *units);
    *units = (unsigned)count;
    return true;
}

static bool read_board(const struct json *root, struct fleet_board *board, struct error *error) {
    const char *kernels = NULL;
    int64_t threads = 0, memory = 0;
    if (!json_optional_string(root, "kernels", &kernels, error) ||
        !json_optional_integer(root, "threads", 1, 1024, &threads, error) ||
        !json_optional_integer(root, "memory_bytes", 0, INT64_C(1) << 53, &memory, error))
        return false;
    board->kernels = kernels ? allocate_string(kernels) : NULL;
    board->threads = (unsigned)threads;
    board->memory_bytes = (uint64_t)memory;
    return true;
}

static bool read_profile(const struct json *root, const char *architecture, unsigned *units, struct fleet_board *board,
                         struct error *error) {
    const struct json *sizes;
    if (!json_as_object(root, error) || !check_model(root, architecture, units, error) ||
        !read_board(root, board, error) || !json_get_array(root, "microbatches", &sizes, error))
        return false;
    for (size_t index = 0; index < json_count(sizes); index++)
        if (!read_size(json_at(sizes, index), *units, board, error))
            return false;
    return json_count(sizes) > 0 || json_refuse(sizes, error, "times of at least one microbatch");
}

bool fleet_profile_read(const char *beside, const char *name, const char *architecture, unsigned *units,
                        struct fleet_board *board, struct error *error) {
    char path[PATH_MAX];
    void *contents = NULL;
    size_t size;
    struct json *root = NULL;
    bool ok = join_beside(beside, name, path, error) && file_read(path, PROFILE_BYTES_MAX, &contents, &size, error) &&
              (root = json_parse(contents, size, path, error)) && read_profile(root, architecture, units, board, error);
    if (!ok && error)
        error->code = ERROR_USAGE;
    json_destroy(&root);
    release(contents);
    return ok;
}
