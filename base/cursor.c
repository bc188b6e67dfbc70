/* The bounded reader; see cursor.h. */
#include "base/cursor.h"

struct cursor cursor_of(const void *bytes, size_t size) {
    return (struct cursor){.at = bytes, .left = size};
}

const uint8_t *cursor_take(struct cursor *cursor, size_t size) {
    if (cursor->failed || size > cursor->left) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *taken = cursor->at;
    cursor->at += size;
    cursor->left -= size;
    return taken;
}

static uint64_t little(struct cursor *cursor, size_t size) {
    const uint8_t *bytes = cursor_take(cursor, size);
    uint64_t value = 0;
    for (size_t i = size; bytes && i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static uint64_t big(struct cursor *cursor, size_t size) {
    const uint8_t *bytes = cursor_take(cursor, size);
    uint64_t value = 0;
    for (size_t i = 0; bytes && i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

uint8_t cursor_u8(struct cursor *cursor) {
    return (uint8_t)little(cursor, 1);
}

uint16_t cursor_u16_little(struct cursor *cursor) {
    return (uint16_t)little(cursor, 2);
}

uint16_t cursor_u16_big(struct cursor *cursor) {
    return (uint16_t)big(cursor, 2);
}

uint32_t cursor_u32_little(struct cursor *cursor) {
    return (uint32_t)little(cursor, 4);
}

uint32_t cursor_u32_big(struct cursor *cursor) {
    return (uint32_t)big(cursor, 4);
}

uint64_t cursor_u64_little(struct cursor *cursor) {
    return little(cursor, 8);
}
