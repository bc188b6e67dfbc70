/* What the codec alone needs of an arena, beside codec.h. */
#ifndef PROTO_ARENA_H
#define PROTO_ARENA_H

#include "proto/codec.h"

#include <protobuf-c/protobuf-c.h>

struct arena_chunk;

/* A place to come back to: everything taken after it is forgotten by arena_rewind. */
struct arena_mark {
    struct arena_chunk *chunk;
    size_t used;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);

/* Has a request been refused since the last reset or rewind? Lets a caller take many times and check once. */
bool arena_exhausted(const struct arena *arena);
size_t arena_limit(const struct arena *arena);

/* The arena as protobuf-c wants it: freeing does nothing. Valid as long as the arena. */
ProtobufCAllocator *arena_allocator(struct arena *arena);

#endif
