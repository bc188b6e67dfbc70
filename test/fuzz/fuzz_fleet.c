/* A fleet file of any bytes: whatever is read prints to a file that reads back to the same fleet. */
#include "base/allocate.h"
#include "test/daemon/fleet_same.h"

#include <stdlib.h>

#define PRINTED_MAX ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_back(const struct fleet_file *file) {
    struct error error;
    char *text = allocate(PRINTED_MAX, 1);
    FILE *to = fmemopen(text, PRINTED_MAX, "w");
    if (!to)
        abort();
    fleet_file_print(file, to);
    long used = ftell(to);
    if (fclose(to) != 0 || used < 0)
        abort();
    if ((size_t)used < PRINTED_MAX - 1) {
        struct fleet_file *again = fleet_file_parse(text, (size_t)used, "again.yaml", NULL, &error);
        if (!again || !same_fleet(file, again))
            abort();
        fleet_file_destroy(&again);
    }
    release(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error error;
    struct fleet_file *file = fleet_file_parse(data, size, "fuzz.yaml", NULL, &error);
    if (file)
        read_back(file);
    fleet_file_destroy(&file);
    return 0;
}
