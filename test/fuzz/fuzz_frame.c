/* Frames as a peer may send them: the first byte chooses envelope (even) or data header (odd), the rest is the frame.
 *
 * Whatever decodes is within the limits of message.h, so it must encode; what was encoded must decode to the same
 * message, which is seen by encoding it again. The arena is small enough that its limit is met, too. Seeds: test_codec
 * --corpus DIR. */
#include "proto/codec.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_LIMIT ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool holds) {
    if (!holds)
        abort();
}

static void try_envelope(struct arena *arena, const uint8_t *bytes, size_t size) {
    struct message first, second;
    const void *once, *twice;
    size_t once_size, twice_size;
    struct error error = {0};
    if (!message_decode(arena, bytes, size, &first, &error)) {
        expect(error.code != ERROR_NONE && error.text[0]);
        return;
    }
    if (!message_encode(arena, &first, &once, &once_size, &error)) {
        expect(error.code == ERROR_SYSTEM); /* the arena's limit, and nothing else */
        return;
    }
    if (!message_decode(arena, once, once_size, &second, &error) ||
        !message_encode(arena, &second, &twice, &twice_size, &error)) {
        expect(error.code == ERROR_SYSTEM);
        return;
    }
    expect(once_size == twice_size && memcmp(once, twice, once_size) == 0);
}

static void try_header(struct arena *arena, const uint8_t *bytes, size_t size) {
    struct data_header first, second;
    uint8_t once[DATA_HEADER_MAX], twice[DATA_HEADER_MAX];
    if (!data_header_decode(arena, bytes, size, &first, NULL))
        return;
    size_t once_size = data_header_encode(&first, once);
    expect(data_header_decode(arena, once, once_size, &second, NULL));
    size_t twice_size = data_header_encode(&second, twice);
    expect(once_size == twice_size && memcmp(once, twice, once_size) == 0);
}

static void try_probe_header(struct arena *arena, const uint8_t *bytes, size_t size) {
    struct probe_header first, second;
    uint8_t once[PROBE_HEADER_MAX];
    if (!probe_header_decode(arena, bytes, size, &first, NULL))
        return;
    size_t once_size = probe_header_encode(&first, once);
    expect(probe_header_is(once, once_size) && probe_header_decode(arena, once, once_size, &second, NULL));
    expect(first.probe == second.probe && first.kind == second.kind && first.number == second.number);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size == 0)
        return 0;
    struct arena *arena = arena_new(ARENA_LIMIT);
    if (bytes[0] % 2 == 0)
        try_envelope(arena, bytes + 1, size - 1);
    else {
        try_header(arena, bytes + 1, size - 1);
        try_probe_header(arena, bytes + 1, size - 1);
    }
    arena_destroy(&arena);
    return 0;
}
