/* A bounded reader of bytes: never reads past the end, whatever the bytes say. Bounds are checked by subtraction. After
 * the first failed read the cursor is exhausted and every later read fails, so that a caller may check once at the end.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
    const uint8_t *at;
    size_t left;
    bool failed;
};

struct cursor cursor_of(const void *bytes, size_t size);
/* A pointer to the next `size` bytes, which are consumed; NULL when fewer are left. */
const uint8_t *cursor_take(struct cursor *cursor, size_t size);
/* 0 when too few bytes are left (and failed is set). */
uint8_t cursor_u8(struct cursor *cursor);
uint16_t cursor_u16_little(struct cursor *cursor);
uint16_t cursor_u16_big(struct cursor *cursor);
uint32_t cursor_u32_little(struct cursor *cursor);
uint32_t cursor_u32_big(struct cursor *cursor);
uint64_t cursor_u64_little(struct cursor *cursor);

#endif
