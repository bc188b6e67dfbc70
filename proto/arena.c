/* Memory for messages: taken piece by piece, forgotten all at once.
 *
 * An arena is a list of chunks. Taking moves a mark through the current chunk and then through its successors; only
 * past the last one is a new chunk allocated, as large as everything before it, so that a message of any size costs a
 * few allocations the first time. A reset that finds several chunks replaces them by one of their total size: from then
 * on an equal message fits into one piece and nothing is allocated any more. The limit counts the bytes of all chunks,
 * so what a peer can make us hold is known beforehand. When it is reached, or the system has no memory, taking gives
 * NULL and the arena stays usable.
 *
 * The owner is one thread; the chunks belong to the arena. */
#include "proto/arena.h"

#include "base/allocate.h"

#include <string.h>

#define ALIGNMENT   16
#define CHUNK_FIRST ((size_t)16 << 10)

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

struct arena {
    struct arena_chunk *first, *current;
    size_t total, limit; /* bytes in chunks, now and at the most */
    bool exhausted;
    ProtobufCAllocator allocator;
};

static void *allocator_take(void *context, size_t size);

/* protobuf-c frees piece by piece what an arena forgets as a whole. */
static void allocator_release(void *context, void *memory) {
    (void)context;
    (void)memory;
}

struct arena *arena_new(size_t limit) {
    struct arena *arena = allocate(1, sizeof *arena);
    arena->limit = limit;
    arena->allocator = (ProtobufCAllocator){allocator_take, allocator_release, arena};
    return arena;
}

static void chunks_release(struct arena *arena) {
    for (struct arena_chunk *chunk = arena->first, *next; chunk; chunk = next) {
        next = chunk->next;
        release(chunk);
    }
    arena->first = arena->current = NULL;
    arena->total = 0;
}

void arena_destroy(struct arena **pointer) {
    struct arena *arena = *pointer;
    *pointer = NULL;
    if (!arena)
        return;
    chunks_release(arena);
    release(arena);
}

/* Adds a chunk of `size` bytes after the last one and makes it current; false when there is no memory for it. */
static bool chunk_add(struct arena *arena, size_t size) {
    struct arena_chunk *chunk = try_allocate(1, sizeof *chunk + size);
    if (!chunk)
        return false;
    chunk->size = size;
    if (arena->current)
        arena->current->next = chunk;
    else
        arena->first = chunk;
    arena->current = chunk;
    arena->total += size;
    return true;
}

void arena_reset(struct arena *arena) {
    size_t total = arena->total;
    if (arena->first && arena->first->next) {
        chunks_release(arena);
        (void)chunk_add(arena, total); /* no memory now: the next request tries again */
    }
    arena_rewind(arena, (struct arena_mark){0});
}

struct arena_mark arena_mark(const struct arena *arena) {
    return (struct arena_mark){arena->current, arena->current ? arena->current->used : 0};
}

void arena_rewind(struct arena *arena, struct arena_mark mark) {
    arena->current = mark.chunk ? mark.chunk : arena->first;
    if (arena->current)
        arena->current->used = mark.used;
    arena->exhausted = false;
}

bool arena_exhausted(const struct arena *arena) {
    return arena->exhausted;
}

size_t arena_limit(const struct arena *arena) {
    return arena->limit;
}

static bool chunk_fits(const struct arena_chunk *chunk, size_t size) {
    return chunk && size <= chunk->size - chunk->used;
}

/* Makes a chunk current that has room for `size` bytes. */
static bool room_make(struct arena *arena, size_t size) {
    while (arena->current && !chunk_fits(arena->current, size) && arena->current->next) {
        arena->current = arena->current->next;
        arena->current->used = 0;
    }
    if (chunk_fits(arena->current, size))
        return true;
    size_t left = arena->limit - arena->total;
    if (size > left)
        return false;
    size_t wanted = arena->total > CHUNK_FIRST ? arena->total : CHUNK_FIRST;
    if (wanted > left)
        wanted = left;
    return chunk_add(arena, size > wanted ? size : wanted);
}

static void *allocator_take(void *context, size_t size) {
    struct arena *arena = context;
    size_t rounded;
    if (__builtin_add_overflow(size, ALIGNMENT - 1, &rounded) ||
        !room_make(arena, rounded & ~(size_t)(ALIGNMENT - 1))) {
        arena->exhausted = true;
        return NULL;
    }
    void *memory = arena->current->bytes + arena->current->used;
    arena->current->used += rounded & ~(size_t)(ALIGNMENT - 1);
    return memory;
}

void *arena_take(struct arena *arena, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        arena->exhausted = true;
        return NULL;
    }
    void *memory = allocator_take(arena, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

ProtobufCAllocator *arena_allocator(struct arena *arena) {
    return &arena->allocator;
}
