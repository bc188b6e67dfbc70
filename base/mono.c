/* The monotonic clock; see mono.h. */
#include "base/mono.h"

#include <time.h>

mono_t mono_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (mono_t){(int64_t)now.tv_sec * MONO_SECOND + now.tv_nsec};
}

double mono_seconds(void) {
    return (double)mono_now().ns / 1e9;
}
