/* The kernel tables and the choice among them.
 *
 * Once per process every set this build holds gets a table: first all entries from ref, then the set's own on top;
 * openblas goes on top of the best vector set. A table of a set that the processor cannot run is filled as well
 * (filling runs no vector instruction) but never handed out by kernels_get. The order of `sets` is the order of speed
 * as measured by `test_kernels --bench`, and "auto" takes the first usable one.
 *
 * The tables are the one piece of module state here: written under pthread_once, read-only ever after, any thread.
 */
#include "kernels/sets.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static bool always(void) {
    return true;
}

#if defined(__x86_64__)
/* The compiler's run-time support also checks that the operating system saves the registers. Clang 14 has no name for
 * F16C. */
static bool has_avx2(void) {
    unsigned a, b, c, d;
    bool half_floats = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
    return half_floats && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

struct set {
    void (*fill)(struct kernels *table);
    bool (*usable)(void);
};

/* Fastest first. */
static const struct set sets[] = {
#if defined(__x86_64__)
    {avx512_fill, has_avx512}, {avx2_fill, has_avx2},
#endif
#if defined(__aarch64__)
    {neon_fill, always},
#endif
    {openblas_fill, always},   {portable_fill, always}, {ref_fill, always},
};

enum { SETS = sizeof sets / sizeof sets[0] };

static struct kernels tables[SETS];
static pthread_once_t filled = PTHREAD_ONCE_INIT;

/* The fastest usable set that stands on ref alone. */
static size_t best_base(void) {
    size_t best = 0;
    while (!sets[best].usable() || sets[best].fill == openblas_fill)
        best++;
    return best;
}

static void fill_tables(void) {
    for (size_t i = 0; i < SETS; i++) {
        ref_fill(&tables[i]);
        if (sets[i].fill == openblas_fill)
            sets[best_base()].fill(&tables[i]);
        sets[i].fill(&tables[i]);
    }
}

const struct kernels *kernels_at(size_t index, bool *usable) {
    if (index >= SETS)
        return NULL;
    pthread_once(&filled, fill_tables);
    *usable = sets[index].usable();
    return &tables[index];
}

static bool error_unusable(struct error *error, const char *name) {
    char names[128] = "auto";
    bool usable;
    const struct kernels *table;
    for (size_t i = 0; (table = kernels_at(i, &usable)); i++) {
        size_t used = strlen(names);
        if (usable)
            snprintf(names + used, sizeof names - used, ", %s", table->name);
    }
    return error_set(error, ERROR_USAGE, "kernels \"%s\": unknown, or not for this processor; usable: %s", name, names);
}

const struct kernels *kernels_get(const char *name, struct error *error) {
    if (!name || strcmp(name, "auto") == 0) {
        const char *wanted = getenv("STAGECOACH_KERNELS");
        name = wanted && *wanted ? wanted : "auto";
    }
    bool automatic = strcmp(name, "auto") == 0, usable;
    const struct kernels *table;
    for (size_t i = 0; (table = kernels_at(i, &usable)); i++)
        if (usable && (automatic || strcmp(name, table->name) == 0))
            return table;
    error_unusable(error, name);
    return NULL;
}
