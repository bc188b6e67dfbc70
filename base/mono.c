/* The monotonic clock, and those of processors; see mono.h. */
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

static double used_seconds(clockid_t clock) {
    struct timespec used;
    clock_gettime(clock, &used);
    return (double)used.tv_sec + 1e-9 * (double)used.tv_nsec;
}

double processor_thread_seconds(void) {
    return used_seconds(CLOCK_THREAD_CPUTIME_ID);
}

double processor_process_seconds(void) {
    return used_seconds(CLOCK_PROCESS_CPUTIME_ID);
}
