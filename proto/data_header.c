/* The header that travels beside every microbatch; see codec.h.
 *
 * This is the hot path: encoding lays everything out on the stack and packs into the caller's bytes, decoding borrows
 * the arena for the length of the call and leaves it as it was. Neither allocates once the arena has its first chunk.
 */
#include "proto/codec.h"

#include "proto/arena.h"
#include "proto/check.h"
#include "proto/stagecoach.pb-c.h"
#include "proto/wire.h"

#include <assert.h>
#include <inttypes.h>

size_t data_header_encode(const struct data_header *header, uint8_t bytes[DATA_HEADER_MAX]) {
    assert(data_header_check(header, NULL));
    Stagecoach__DataPart part[MESSAGE_PARTS_MAX];
    Stagecoach__DataPart *parts[MESSAGE_PARTS_MAX];
    for (uint32_t i = 0; i < header->parts; i++) {
        stagecoach__data_part__init(&part[i]);
        part[i].type = header->part[i].type;
        part[i].n_shape = header->part[i].rank;
        part[i].shape = (uint32_t *)(uintptr_t)header->part[i].shape;
        parts[i] = &part[i];
    }
    Stagecoach__DataHeader to = STAGECOACH__DATA_HEADER__INIT;
    to.protocol = PROTOCOL_VERSION;
    to.cluster = header->cluster;
    to.epoch = header->epoch.number;
    to.sequence = header->sequence.number;
    to.attempt = header->attempt;
    to.cut = header->cut;
    to.items = header->items;
    to.n_parts = header->parts;
    to.parts = parts;
    to.checksum = header->checksum;
    to.sequence_id = header->sequence_id;
    to.position = header->position;
    assert(stagecoach__data_header__get_packed_size(&to) <= DATA_HEADER_MAX);
    return stagecoach__data_header__pack(&to, bytes);
}

static bool part_get(const Stagecoach__DataPart *from, struct data_part *to, struct error *error) {
    if (from->n_shape > MESSAGE_RANK_MAX)
        return error_set(error, ERROR_INPUT, "data header: parts: got %zu dimensions, want at most %d", from->n_shape,
                         MESSAGE_RANK_MAX);
    to->type = from->type;
    to->rank = (uint32_t)from->n_shape;
    for (size_t i = 0; i < from->n_shape; i++)
        to->shape[i] = from->shape[i];
    return true;
}

static bool header_get(const Stagecoach__DataHeader *from, struct data_header *to, struct error *error) {
    if (from->protocol != PROTOCOL_VERSION)
        return error_set(error, ERROR_UNSUPPORTED, "data header: protocol: got %" PRIu32 ", want %d", from->protocol,
                         PROTOCOL_VERSION);
    if (from->n_parts > MESSAGE_PARTS_MAX)
        return error_set(error, ERROR_INPUT, "data header: parts: got %zu, want 1 to %d", from->n_parts,
                         MESSAGE_PARTS_MAX);
    *to = (struct data_header){
        .cluster = from->cluster,
        .epoch = {from->epoch},
        .sequence = {from->sequence},
        .attempt = from->attempt,
        .cut = from->cut,
        .items = from->items,
        .parts = (uint32_t)from->n_parts,
        .checksum = from->checksum,
        .sequence_id = from->sequence_id,
        .position = from->position,
    };
    for (size_t i = 0; i < from->n_parts; i++)
        if (!part_get(from->parts[i], &to->part[i], error))
            return false;
    return data_header_check(to, error);
}

static bool header_decode(struct arena *arena, const void *bytes, size_t size, struct data_header *header,
                          struct error *error) {
    if (size > DATA_HEADER_MAX)
        return error_set(error, ERROR_INPUT, "data header: got %zu bytes, want at most %d", size, DATA_HEADER_MAX);
    if (!wire_check("data header", &stagecoach__data_header__descriptor, bytes, size, MESSAGE_PARTS_MAX, error))
        return false;
    const Stagecoach__DataHeader *from = stagecoach__data_header__unpack(arena_allocator(arena), size, bytes);
    if (!from)
        return error_set(error, arena_exhausted(arena) ? ERROR_SYSTEM : ERROR_INPUT, "data header: %s",
                         arena_exhausted(arena) ? "no memory" : "malformed");
    return header_get(from, header, error);
}

bool data_header_decode(struct arena *arena, const void *bytes, size_t size, struct data_header *header,
                        struct error *error) {
    struct arena_mark mark = arena_mark(arena);
    bool ok = header_decode(arena, bytes, size, header, error);
    arena_rewind(arena, mark);
    return ok;
}
