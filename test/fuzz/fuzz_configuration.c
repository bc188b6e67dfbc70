/* A configuration file of any bytes for a command with an option of each kind: what is taken is within its bounds. */
#include "daemon/options.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NUMBER_LEAST 3
#define NUMBER_MOST  70000
#define SIZE_LEAST   4096

struct values {
    bool flag;
    unsigned number;
    uint64_t seed, size;
    const char *text;
    struct option_list list;
};

static char path[] = "/tmp/stagecoach-fuzz.XXXXXX";

static void remove_file(void) {
    unlink(path);
}

static void write_file(const uint8_t *data, size_t size) {
    static int descriptor = -1;
    if (descriptor < 0) {
        descriptor = mkstemp(path);
        atexit(remove_file);
    }
    if (descriptor < 0 || ftruncate(descriptor, 0) != 0 || pwrite(descriptor, data, size, 0) != (ssize_t)size)
        abort();
}

#define FIELD(member) offsetof(struct values, member)
static const struct option options[] = {
    {.name = "flag", .type = OPTION_FLAG, .offset = FIELD(flag)},
    {.name = "number", .type = OPTION_NUMBER, .offset = FIELD(number), .minimum = NUMBER_LEAST, .maximum = NUMBER_MOST},
    {.name = "seed", .type = OPTION_SEED, .offset = FIELD(seed)},
    {.name = "size", .type = OPTION_SIZE, .offset = FIELD(size), .minimum = SIZE_LEAST},
    {.name = "text", .type = OPTION_TEXT, .offset = FIELD(text), .argument = "TEXT"},
    {.name = "list", .type = OPTION_LIST, .offset = FIELD(list)},
};

static bool ascending(const struct option_list *list) {
    for (unsigned i = 0; i < list->count; i++)
        if (list->value[i] == 0 || (i > 0 && list->value[i] <= list->value[i - 1]))
            return false;
    return list->count <= OPTION_LIST_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct command command = {.name = "fuzz",
                                    .options = options,
                                    .option_count = sizeof options / sizeof options[0],
                                    .values_size = sizeof(struct values)};
    struct values values = {.number = NUMBER_LEAST};
    struct error error = {0};
    write_file(data, size);
    bool taken = configuration_read(path, &command, &values, &error);
    if (!taken && (error.code != ERROR_USAGE || !error.text[0]))
        abort();
    if (values.number < NUMBER_LEAST || values.number > NUMBER_MOST || (values.text && !values.text[0]))
        abort();
    if (taken && ((values.size > 0 && values.size < SIZE_LEAST) || !ascending(&values.list)))
        abort();
    return 0;
}
