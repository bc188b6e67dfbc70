/* What this machine is; see board.h. Reads /proc and the control groups' files, which are text written by the kernel; a
 * file that is not there, says "max" or is not understood sets no limit.
 *
 * A group counts the file pages that its processes read as used, though it gives them back before anybody goes without:
 * a board that has just fetched its weights would seem full. The inactive ones are therefore taken off. The path in
 * /proc/self/cgroup is as seen from the host, which in a container need not exist; walking up ends at the mount, whose
 * files are then the container's own.
 */
#include "daemon/board.h"

#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_LIMIT UINT64_MAX

/* The files of a version of control groups. */
struct group_files {
    const char *mount, *limits[2], *used, *inactive;
};

static const struct group_files version1 = {
    "/sys/fs/cgroup/memory", {"memory.limit_in_bytes", NULL}, "memory.usage_in_bytes", "total_inactive_file"};
static const struct group_files version2 = {
    "/sys/fs/cgroup", {"memory.max", "memory.high"}, "memory.current", "inactive_file"};

static FILE *open_below(const char *root, const char *path, const char *name) {
    char full[PATH_MAX];
    int length = snprintf(full, sizeof full, "%s%s/%s", root, path, name);
    return length > 0 && (size_t)length < sizeof full ? fopen(full, "re") : NULL;
}

/* A line that begins with `key` and a blank or a colon, then a number; NO_LIMIT when there is none. An empty key: the
 * first line. */
static uint64_t number_of(FILE *file, const char *key) {
    char line[256], *end;
    uint64_t number = NO_LIMIT;
    size_t length = strlen(key);
    while (file && number == NO_LIMIT && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, length) != 0)
            continue;
        const char *text = line + length + strspn(line + length, ": \t");
        bool digits = *text >= '0' && *text <= '9' && (length == 0 || text > line + length);
        number = digits ? strtoull(text, &end, 10) : NO_LIMIT;
        if (digits && *end != '\n' && *end != ' ' && *end != '\0')
            number = NO_LIMIT;
        if (length == 0)
            break;
    }
    if (file)
        fclose(file);
    return number;
}

static uint64_t available_of_system(const char *root) {
    uint64_t kilobytes = number_of(open_below(root, "/proc", "meminfo"), "MemAvailable:");
    return kilobytes < NO_LIMIT / 1024 ? kilobytes * 1024 : 0;
}

/* What one group leaves. */
static uint64_t left_of(const char *directory, const struct group_files *files) {
    uint64_t limit = NO_LIMIT, used = number_of(open_below("", directory, files->used), "");
    for (int i = 0; i < 2 && files->limits[i]; i++) {
        uint64_t number = number_of(open_below("", directory, files->limits[i]), "");
        limit = number < limit ? number : limit;
    }
    if (limit >= NO_LIMIT / 4 || used == NO_LIMIT) /* version 1 writes "no limit" as a very large one */
        return NO_LIMIT;
    uint64_t inactive = number_of(open_below("", directory, "memory.stat"), files->inactive);
    if (inactive != NO_LIMIT)
        used = used > inactive ? used - inactive : 0;
    return limit > used ? limit - used : 0;
}

/* A group and those above it, whose limits hold too; path is taken apart. */
static uint64_t left_of_groups(const char *root, char *path, const struct group_files *files) {
    char directory[PATH_MAX];
    uint64_t least = NO_LIMIT;
    path[strcspn(path, "\n")] = '\0';
    for (;;) {
        int length = snprintf(directory, sizeof directory, "%s%s%s", root, files->mount, path);
        if (length > 0 && (size_t)length < sizeof directory) {
            uint64_t left = left_of(directory, files);
            least = left < least ? left : least;
        }
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Lines such as "4:memory:/lab/pi-3" (version 1) and "0::/lab/pi-3" (version 2). */
static uint64_t available_of_groups(const char *root) {
    char line[PATH_MAX];
    uint64_t least = NO_LIMIT;
    FILE *file = open_below(root, "/proc/self", "cgroup");
    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        uint64_t left = NO_LIMIT;
        if (strcmp(controllers + 1, "memory") == 0)
            left = left_of_groups(root, path, &version1);
        else if (controllers[1] == '\0')
            left = left_of_groups(root, path, &version2);
        least = left < least ? left : least;
    }
    if (file)
        fclose(file);
    return least;
}

uint64_t board_memory_available_below(const char *root) {
    uint64_t system = available_of_system(root), groups = available_of_groups(root);
    if (system == 0)
        return groups == NO_LIMIT ? 0 : groups;
    return groups < system ? groups : system;
}

uint64_t board_memory_available(void) {
    return board_memory_available_below("");
}

uint64_t board_memory_used(void) {
    uint64_t kibibytes = number_of(fopen("/proc/self/status", "re"), "VmRSS");
    return kibibytes == NO_LIMIT ? 0 : kibibytes << 10;
}

unsigned board_processors(void) {
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : (unsigned)count;
}

bool board_memory_offered(uint64_t memory, uint64_t reserve, uint64_t *bytes, struct error *error) {
    uint64_t there = memory ? memory : board_memory_available();
    *bytes = there;
    if (there == 0 || reserve == 0)
        return true;
    if (reserve >= there)
        return error_set(error, ERROR_USAGE,
                         "--reserve: got %" PRIu64 " bytes, want less than the %" PRIu64 " there are", reserve, there);
    *bytes = there - reserve;
    return true;
}

void board_default_name(char *name, unsigned size) {
    if (gethostname(name, size) != 0 || strcmp(name, "coordinator") == 0) /* that is what fleet files call another */
        snprintf(name, size, "board");
    name[size - 1] = '\0';
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' ||
                     (*c == '.' && c > name);
        if (!plain)
            *c = c > name ? '-' : 'b';
    }
}
