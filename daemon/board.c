/* What this machine is; see board.h. Reads /proc and the control group's files, which are text written by the kernel; a
 * file that is not there or says "max" sets no limit. */
#include "daemon/board.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint64_t available_of_system(void) {
    char line[128];
    static const char wanted[] = "MemAvailable:";
    uint64_t kilobytes = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && kilobytes == 0 && fgets(line, sizeof line, file))
        if (strncmp(line, wanted, strlen(wanted)) == 0)
            kilobytes = strtoull(line + strlen(wanted), NULL, 10);
    if (file)
        fclose(file);
    return kilobytes * 1024;
}

static uint64_t number_in(const char *directory, const char *name) {
    char path[PATH_MAX], line[64], *end;
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return UINT64_MAX;
    FILE *file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    uint64_t number = UINT64_MAX;
    if (fgets(line, sizeof line, file)) {
        number = strtoull(line, &end, 10);
        number = end == line ? UINT64_MAX : number; /* "max": no limit */
    }
    fclose(file);
    return number;
}

static uint64_t left_of(const char *directory, const char *limit_name, const char *used_name) {
    uint64_t limit = number_in(directory, limit_name), used = number_in(directory, used_name);
    if (limit == UINT64_MAX || limit >= UINT64_MAX / 4 || used == UINT64_MAX)
        return UINT64_MAX;
    return limit > used ? limit - used : 0;
}

/* "4:memory:/lab/pi-3" (v1) and "0::/lab/pi-3" (v2); limits of the parents count too. */
static uint64_t left_of_group(const char *root, char *path, const char *limit_name, const char *used_name) {
    char directory[PATH_MAX];
    uint64_t least = UINT64_MAX;
    path[strcspn(path, "\n")] = '\0';
    for (;;) {
        if (snprintf(directory, sizeof directory, "%s%s", root, path) < (int)sizeof directory) {
            uint64_t left = left_of(directory, limit_name, used_name);
            least = left < least ? left : least;
        }
        char *slash = strrchr(path, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

static uint64_t available_of_groups(void) {
    char line[PATH_MAX];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        uint64_t left = UINT64_MAX;
        if (strcmp(controllers + 1, "memory") == 0)
            left = left_of_group("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes");
        else if (controllers[1] == '\0')
            left = left_of_group("/sys/fs/cgroup", path, "memory.max", "memory.current");
        least = left < least ? left : least;
    }
    if (file)
        fclose(file);
    return least;
}

uint64_t board_memory_available(void) {
    uint64_t system = available_of_system(), groups = available_of_groups();
    return groups < system ? groups : system;
}

void board_default_name(char *name, unsigned size) {
    if (gethostname(name, size) != 0)
        snprintf(name, size, "board");
    name[size - 1] = '\0';
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' ||
                     (*c == '.' && c > name);
        if (!plain)
            *c = c > name ? '-' : 'b';
    }
}
