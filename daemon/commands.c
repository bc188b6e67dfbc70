/* Small things that several subcommands need; see commands.h. */
#include "daemon/commands.h"

#include "base/file.h"
#include "proto/message.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int command_fail(const struct error *error) {
    fprintf(stderr, "stagecoach: %s\n", error->text);
    return error->code == ERROR_USAGE ? EXIT_USAGE : EXIT_ITEMS_FAILED;
}

const char *coordinator_endpoint(const char *option) {
    const char *environment = getenv("STAGECOACH_COORDINATOR");
    return option ? option : environment && environment[0] ? environment : "tcp://127.0.0.1:7600";
}

unsigned thread_count(unsigned option) {
    cpu_set_t set;
    if (option > 0)
        return option;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > 256 ? 256 : (unsigned)count;
}

bool command_read_file(const char *path, void **contents, size_t *size, struct error *error) {
    if (file_read(path, MESSAGE_FILE_MAX, contents, size, error))
        return true;
    size_t name = strlen(path);
    if (strncmp(error->text, path, name) == 0 && strncmp(error->text + name, ": ", 2) == 0)
        memmove(error->text, error->text + name + 2, strlen(error->text + name + 2) + 1);
    return false;
}
