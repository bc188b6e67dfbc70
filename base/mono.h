/* Clocks. Monotonic time is a type of its own, so that it cannot be mixed up with durations or wall-clock time. */
#ifndef BASE_MONO_H
#define BASE_MONO_H

#include <stdint.h>

typedef struct {
    int64_t ns; /* nanoseconds since an arbitrary start; only differences mean something */
} mono_t;

/* The clock. Code in daemon/core never calls it: time is passed in there. */
mono_t mono_now(void);
/* The same in seconds. */
double mono_seconds(void);
/* Seconds of processor time that this thread, or the whole process, has used. */
double processor_thread_seconds(void);
double processor_process_seconds(void);

static inline int64_t mono_since(mono_t later, mono_t earlier) {
    return later.ns - earlier.ns;
}

static inline mono_t mono_after(mono_t start, int64_t ns) {
    return (mono_t){start.ns + ns};
}

#define MONO_MS     INT64_C(1000000)
#define MONO_SECOND INT64_C(1000000000)

#endif
