/* Small things that several subcommands need; see commands.h. */
#include "daemon/commands.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

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
