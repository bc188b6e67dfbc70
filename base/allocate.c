/* Counted memory; see allocate.h. aligned_alloc serves everything: tensors want 64 bytes and the small rest is not hot.
 */
#include "base/allocate.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

static atomic_uint_fast64_t allocations, held_bytes;
static atomic_uint_fast64_t fail_countdown;

/* Lies just before the memory that is handed out. */
struct block {
    void *base; /* as calloc gave it */
    size_t bytes;
};

/* Zeroed: large blocks come from the kernel as zero pages and are cleared lazily by calloc, which aligned_alloc cannot
 * know; the over-aligned block is therefore taken from calloc and what release must know kept just before it. */
static void *take(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - 2 * ALIGNMENT)
        return NULL;
    char *base = calloc(1, bytes + ALIGNMENT + sizeof(struct block));
    if (!base)
        return NULL;
    uintptr_t address = ((uintptr_t)base + sizeof(struct block) + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    void *memory = base + (address - (uintptr_t)base);
    ((struct block *)memory)[-1] = (struct block){base, bytes};
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&held_bytes, bytes, memory_order_relaxed);
    return memory;
}

void *allocate(size_t count, size_t size) {
    void *memory = take(count, size);
    if (!memory) {
        fprintf(stderr, "stagecoach: out of memory: %zu x %zu bytes\n", count, size);
        abort();
    }
    return memory;
}

void *try_allocate(size_t count, size_t size) {
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) && atomic_fetch_sub(&fail_countdown, 1) == 1)
        return NULL;
    return take(count, size);
}

void allocate_grow(void **memory, size_t *capacity, size_t wanted, size_t size) {
    if (wanted <= *capacity)
        return;
    size_t larger = *capacity ? *capacity : 8;
    while (larger < wanted)
        larger *= 2;
    void *grown = allocate(larger, size);
    if (*memory)
        memcpy(grown, *memory, *capacity * size);
    release(*memory);
    *memory = grown;
    *capacity = larger;
}

char *allocate_string(const char *text) {
    size_t bytes = strlen(text) + 1;
    char *copy = allocate(bytes, 1);
    memcpy(copy, text, bytes);
    return copy;
}

void release(void *memory) {
    if (!memory)
        return;
    struct block block = ((struct block *)memory)[-1];
    atomic_fetch_sub_explicit(&held_bytes, block.bytes, memory_order_relaxed);
    free(block.base);
}

uint64_t allocation_count(void) {
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

uint64_t allocation_bytes(void) {
    return atomic_load_explicit(&held_bytes, memory_order_relaxed);
}

void allocate_fail_nth(uint64_t nth) {
    atomic_store(&fail_countdown, nth);
}
