/* Bytes <-> messages. The only user of protobuf-c.
 *
 * Decoding treats every byte as hostile: sizes are limited before parsing, all memory comes from a bounded arena,
 * enumerations, counts, lengths and names are checked, and nothing is left half done. Encoding holds the message
 * against the same ranges, so that what we send is what we would accept. Neither allocates once the arena has reached
 * its size. One arena per thread.
 */
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "base/error.h"
#include "proto/message.h"

struct arena; /* memory for decoded messages: grows up to its limit, reset as a whole, reused */

struct arena *arena_new(size_t limit);
void arena_destroy(struct arena **arena);
/* Forgets every message decoded with it. */
void arena_reset(struct arena *arena);
/* NULL when the limit is reached. Zeroed, aligned to 16. */
void *arena_take(struct arena *arena, size_t count, size_t size);

/* Decodes one envelope frame. The message borrows from the arena, not from bytes. On false the arena and what was
 * decoded into it before are as they were, the message is zeroed, and the error names message and field: "assign:
 * tensors[3].hash: got 31 bytes, want 32". ERROR_INPUT: the bytes are at fault; ERROR_SYSTEM: the arena's limit is
 * reached. */
bool message_decode(struct arena *arena, const void *bytes, size_t size, struct message *message, struct error *error);

/* Encodes into memory taken from the arena; *bytes and *size are valid until it is reset. Texts are mended, not
 * refused: a byte that is not UTF-8 becomes '?', and what exceeds MESSAGE_TEXT_MAX is cut off. Fails when the arena is
 * exhausted (ERROR_SYSTEM) or a value is out of the range that message.h promises (ERROR_INPUT), a score that is not
 * finite for example. */
bool message_encode(struct arena *arena, const struct message *message, const void **bytes, size_t *size,
                    struct error *error);

/* The header of a microbatch. Encoding returns the bytes used and never fails: the header is our own, its ranges are
 * asserted. Decoding checks protocol version (another one: ERROR_UNSUPPORTED) and ranges, and leaves the arena as it
 * found it. */
size_t data_header_encode(const struct data_header *header, uint8_t bytes[DATA_HEADER_MAX]);
bool data_header_decode(struct arena *arena, const void *bytes, size_t size, struct data_header *header,
                        struct error *error);

/* The header of a probe's frame, on the same sockets as data headers. Encoding returns the bytes used and asserts its
 * ranges. probe_header_is looks at the first byte alone, and is never true for a data header of ours; decoding checks
 * all of it. */
bool probe_header_is(const void *bytes, size_t size);
size_t probe_header_encode(const struct probe_header *header, uint8_t bytes[PROBE_HEADER_MAX]);
bool probe_header_decode(struct arena *arena, const void *bytes, size_t size, struct probe_header *header,
                         struct error *error);

/* A board name is 1 to MESSAGE_NAME_MAX of letters, digits, '.', '_' and '-', not starting with '.' or '-';
 * "coordinator" is what fleet files call another end. */
bool board_name_valid(const char *name);

#endif
