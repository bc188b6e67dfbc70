/* Fleets to files; see fleet_write.h. The text is made in memory and written in one go, so that a fleet file which a
 * coordinator keeps up to date is never seen half written. */
#include "daemon/fleet_write.h"

#include "base/allocate.h"
#include "base/file.h"
#include "daemon/fleet_profile.h"
#include "daemon/fleet_quantity.h"
#include "daemon/output.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDED_DIGITS 5 /* a hundredth of the noise of the quietest board */

struct document {
    const struct fleet_file *file;
    const char *comment;
};

static void print(FILE *to, const void *what) {
    const struct document *document = what;
    bool begins = true;
    for (const char *at = document->comment; at && *at; begins = *at++ == '\n') {
        if (begins)
            fputs(*at == '\n' ? "#" : "# ", to);
        fputc(*at, to);
    }
    fputs(begins ? "" : "\n", to);
    fleet_file_print(document->file, to);
}

bool fleet_write(const struct fleet_file *file, const char *comment, const char *path, struct error *error) {
    const struct document document = {file, comment};
    char *text = printed_text(print, &document);
    bool ok = file_write_atomic(path, text, strlen(text), error);
    release(text);
    return ok;
}

/* Whole mebibytes, or kibibytes of little, and never more than there is. */
static uint64_t rounded_size(uint64_t bytes) {
    uint64_t step = bytes >= (UINT64_C(1) << 30) ? 1 << 20 : bytes >= (1 << 20) ? 1 << 10 : 1;
    return bytes - bytes % step;
}

static void round_board(struct fleet_board *board, unsigned units) {
    board->memory_bytes = rounded_size(board->memory_bytes);
    board->storage = quantity_rounded(QUANTITY_RATE, board->storage, ROUNDED_DIGITS);
    board->handling = quantity_rounded(QUANTITY_RATE, board->handling, ROUNDED_DIGITS);
    board->speed = quantity_rounded(QUANTITY_SPEED, board->speed, ROUNDED_DIGITS);
    for (unsigned at = 0; !board->profile && at < board->time_count; at++)
        for (unsigned unit = 0; unit < units; unit++)
            board->times[at].seconds[unit] = number_rounded(board->times[at].seconds[unit], ROUNDED_DIGITS);
}

void fleet_round(struct fleet_file *file) {
    for (unsigned index = 0; index < file->boards; index++)
        round_board(&file->board[index], file->units);
    for (unsigned from = 0; from < FLEET_ENDS; from++)
        for (unsigned to = 0; to < FLEET_ENDS; to++) {
            struct fleet_link *link = &file->link[from][to];
            link->bandwidth = quantity_rounded(QUANTITY_RATE, link->bandwidth, ROUNDED_DIGITS);
            link->latency = quantity_rounded(QUANTITY_TIME, link->latency, ROUNDED_DIGITS);
        }
}

/* Length of the part of a path that names its folder, with the slash. */
static size_t folder_length(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash + 1 - path) : 0;
}

/* How a file in the folder of fleet_path finds the profile. */
static char *reference(const char *profile_path, const char *fleet_path) {
    size_t folder = folder_length(profile_path);
    char absolute[PATH_MAX];
    if (folder == folder_length(fleet_path) && strncmp(profile_path, fleet_path, folder) == 0)
        return allocate_string(profile_path + folder);
    return allocate_string(realpath(profile_path, absolute) ? absolute : profile_path);
}

struct fleet_file *fleet_of_profile(const struct profile *profile, const char *name, const char *profile_path,
                                    const char *fleet_path) {
    struct fleet_file *file = fleet_file_new();
    struct fleet_board *board = &file->board[file->boards++];
    file->architecture = profile->architecture[0] ? allocate_string(profile->architecture) : NULL;
    memcpy(file->fingerprint, profile->fingerprint, sizeof file->fingerprint);
    file->units = profile->units;
    board->name = allocate_string(name);
    board->profile = profile_path ? reference(profile_path, fleet_path) : NULL;
    fleet_board_set_profile(board, profile);
    fleet_round(file);
    return file;
}
