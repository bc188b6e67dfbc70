/* The header of a probe's frames; see codec.h. It shares sockets with data headers, and is told from them by its first
 * byte: the tag of a fixed64, where a data header has that of a varint (the protocol version, which is never 0 and so
 * never left out). Encoding packs into the caller's bytes, decoding borrows the arena for the length of the call. */
#include "proto/codec.h"

#include "proto/arena.h"
#include "proto/check.h"
#include "proto/stagecoach.pb-c.h"
#include "proto/wire.h"

#include <assert.h>

#define PROBE_TAG 0x09 /* field 1, eight bytes follow */

bool probe_header_is(const void *bytes, size_t size) {
    return size > 0 && *(const unsigned char *)bytes == PROBE_TAG;
}

size_t probe_header_encode(const struct probe_header *header, uint8_t bytes[PROBE_HEADER_MAX]) {
    assert(probe_header_check(header, NULL));
    Stagecoach__ProbeHeader to = STAGECOACH__PROBE_HEADER__INIT;
    to.probe = header->probe;
    to.kind = (uint32_t)header->kind;
    to.number = header->number;
    assert(stagecoach__probe_header__get_packed_size(&to) <= PROBE_HEADER_MAX);
    return stagecoach__probe_header__pack(&to, bytes);
}

static bool header_decode(struct arena *arena, const void *bytes, size_t size, struct probe_header *header,
                          struct error *error) {
    if (size > PROBE_HEADER_MAX)
        return error_set(error, ERROR_INPUT, "probe header: got %zu bytes, want at most %d", size, PROBE_HEADER_MAX);
    if (!wire_check("probe header", &stagecoach__probe_header__descriptor, bytes, size, 1, error))
        return false;
    const Stagecoach__ProbeHeader *from = stagecoach__probe_header__unpack(arena_allocator(arena), size, bytes);
    if (!from)
        return error_set(error, arena_exhausted(arena) ? ERROR_SYSTEM : ERROR_INPUT, "probe header: %s",
                         arena_exhausted(arena) ? "no memory" : "malformed");
    *header = (struct probe_header){from->probe, (enum probe_kind)from->kind, from->number};
    return probe_header_check(header, error);
}

bool probe_header_decode(struct arena *arena, const void *bytes, size_t size, struct probe_header *header,
                         struct error *error) {
    struct arena_mark mark = arena_mark(arena);
    bool ok = header_decode(arena, bytes, size, header, error);
    arena_rewind(arena, mark);
    return ok;
}
