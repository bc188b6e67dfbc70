/* A safetensors file of any bytes: the header is parsed, every tensor looked up and its bytes read, so that an address
 * outside the file is seen. */
#include "model/safetensors.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sink; /* so that the reads are not optimised away */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error error;
    struct tensor tensor;
    unsigned sum = 0;
    struct safetensors *file = safetensors_parse(data, size, "fuzz.safetensors", &error);
    if (!file)
        return 0;
    for (size_t i = 0; i < safetensors_count(file); i++) {
        enum safetensors_found found = safetensors_find(file, safetensors_name(file, i), &tensor, &error);
        if (found == SAFETENSORS_ABSENT)
            abort();
        for (uint64_t byte = 0; found == SAFETENSORS_FOUND && byte < tensor.bytes; byte++)
            sum += ((const uint8_t *)tensor.data)[byte];
    }
    safetensors_destroy(&file);
    sink = sum;
    return 0;
}
