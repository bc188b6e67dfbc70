/* A profile of any bytes: whatever is read is written as JSON that reads back to the same profile. */
#include "base/allocate.h"
#include "test/daemon/profile_same.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error error;
    struct profile *profile = allocate(1, sizeof *profile), *again = allocate(1, sizeof *again);
    if (profile_from_json(data, size, "fuzz.json", profile, &error)) {
        char *text = profile_to_json(profile);
        if (!profile_from_json(text, strlen(text), "again.json", again, &error) || !same_profile(profile, again))
            abort();
        release(text);
    }
    release(again);
    release(profile);
    return 0;
}
