/* PipeEdge's three files of any bytes, cut at lines of "%%": whatever is read is a problem that the partitioner takes
 * or refuses, and a plan of it stands plan_check. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/pipeedge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARK "\n%%\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[] = "/tmp/stagecoach-fuzz.XXXXXX";
static const char *const names[] = {"models.yml", "device_types.yml", "devices.yml"};

static void path_of(unsigned file, char path[128]) {
    snprintf(path, 128, "%s/%s", folder, names[file]);
}

static void remove_folder(void) {
    char path[128];
    for (unsigned file = 0; file < 3; file++) {
        path_of(file, path);
        unlink(path);
    }
    rmdir(folder);
}

static void make_folder(void) {
    static bool made;
    if (!made && !mkdtemp(folder))
        abort();
    if (!made)
        atexit(remove_folder);
    made = true;
}

static void write_part(unsigned file, const void *bytes, size_t size) {
    char path[128];
    path_of(file, path);
    FILE *to = fopen(path, "w");
    if (!to || fwrite(bytes, 1, size, to) != size || fclose(to) != 0)
        abort();
}

static void write_parts(const uint8_t *data, size_t size) {
    for (unsigned file = 0; file < 3; file++) {
        const uint8_t *mark = size && file < 2 ? memmem(data, size, MARK, strlen(MARK)) : NULL;
        size_t part = mark ? (size_t)(mark - data) : size;
        write_part(file, data, part);
        if (mark)
            part += strlen(MARK);
        data += part;
        size -= part;
    }
}

/* Time that goes by being asked for it. */
static double ticks(void *context) {
    return ++*(unsigned *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fleet_problem made;
    struct plan plan;
    struct error error = {0};
    unsigned ticked = 0;
    const struct policy_options options = {.time_limit_s = 200, .clock = ticks, .clock_context = &ticked};
    make_folder();
    write_parts(data, size);
    if (pipeedge_read(&made, folder, "m", 8, &error) && plan_solve(&made.problem, "optimal", &options, &plan, &error) &&
        !plan_check(&made.problem, &plan, &error))
        abort();
    fleet_problem_close(&made);
    return 0;
}
