/* Profiles as boards' times; see fleet_profile.h. The format is profile_json.c's. A profile of another model is
 * refused: its times would look plausible and be wrong. The profile lives for one call; the board copies what it keeps.
 */
#include "daemon/fleet_profile.h"

#include "base/allocate.h"
#include "base/file.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#define PROFILE_BYTES_MAX ((size_t)4 << 20)
#define NOISE_LEAST       1e-6
#define NOISE_UNKNOWN     0.05
#define RUNS_FEW          3

/* Half the distance of the quartiles: what many runs would average away, interference that lasts as long as they do
 * would not. Few runs do not show how far apart they are. */
static double noise_of(const struct profile *profile) {
    double noise = NOISE_LEAST;
    for (unsigned index = 0; index < profile->sizes; index++) {
        const struct profile_times *times = &profile->times[index];
        noise = fmax(noise, fmax(times->spread / 2, times->runs < RUNS_FEW ? NOISE_UNKNOWN : 0));
    }
    return noise;
}

void fleet_board_set_profile(struct fleet_board *board, const struct profile *profile) {
    board->kernels = profile->kernels[0] ? allocate_string(profile->kernels) : NULL;
    board->threads = profile->threads;
    board->memory_bytes = profile->memory_bytes;
    board->storage = profile->storage_bytes_per_second;
    board->handling = profile->handling_bytes_per_second;
    board->noise = noise_of(profile);
    for (unsigned index = 0; index < profile->sizes; index++)
        fleet_board_add_times(board, profile->times[index].microbatch, profile->times[index].unit_s, profile->units);
}

static bool join_beside(const char *beside, const char *name, char path[PATH_MAX], struct error *error) {
    const char *slash = strrchr(beside, '/');
    int directory = slash && name[0] != '/' ? (int)(slash + 1 - beside) : 0;
    if (snprintf(path, PATH_MAX, "%.*s%s", directory, beside, name) < PATH_MAX)
        return true;
    return error_set(error, ERROR_USAGE, "%.80s...: the path is too long", name);
}

static bool check_model(const struct profile *profile, const char *path, const struct fleet_model *model,
                        const struct fleet_file *file, struct error *error) {
    static const char foreign[] = "this is another model's profile";
    const char *architecture = file->architecture ? file->architecture : model->architecture;
    const char *fingerprint = file->fingerprint[0] ? file->fingerprint : model->fingerprint;
    if (profile->architecture[0] && architecture && strcmp(profile->architecture, architecture) != 0)
        return error_set(error, ERROR_USAGE, "%s: architecture: got \"%s\", want %s: %s", path, profile->architecture,
                         architecture, foreign);
    if (file->units && file->units != profile->units)
        return error_set(error, ERROR_USAGE, "%s: units: got %u, want %u: %s", path, profile->units, file->units,
                         foreign);
    if (fingerprint && profile->fingerprint[0] && strcmp(profile->fingerprint, fingerprint) != 0)
        return error_set(error, ERROR_USAGE, "%s: fingerprint: got %s, want %s: %s", path, profile->fingerprint,
                         fingerprint, foreign);
    return true;
}

static bool take(struct profile *profile, const char *path, const struct fleet_model *model, struct fleet_file *file,
                 struct fleet_board *board, struct error *error) {
    if (!check_model(profile, path, model, file, error))
        return false;
    file->units = profile->units;
    if (profile->fingerprint[0])
        memcpy(file->fingerprint, profile->fingerprint, sizeof file->fingerprint);
    fleet_board_set_profile(board, profile);
    return true;
}

bool fleet_profile_read(const char *beside, const char *name, const struct fleet_model *model, struct fleet_file *file,
                        struct fleet_board *board, struct error *error) {
    char path[PATH_MAX];
    void *contents = NULL;
    size_t size;
    struct profile *profile = allocate(1, sizeof *profile);
    bool ok = join_beside(beside, name, path, error) && file_read(path, PROFILE_BYTES_MAX, &contents, &size, error) &&
              profile_from_json(contents, size, path, profile, error) && take(profile, path, model, file, board, error);
    if (!ok && error)
        error->code = ERROR_USAGE;
    release(contents);
    release(profile);
    return ok;
}
