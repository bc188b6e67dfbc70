/* Hashes: a cryptographic one that names tensors by content, and a fast one that catches damaged frames. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES     32
#define HASH_HEX_BYTES (2 * HASH_BYTES + 1)

struct hash {
    uint8_t bytes[HASH_BYTES]; /* BLAKE2b-256 */
};

/* BLAKE2b-256 of size bytes (libsodium's crypto_generichash). Any thread. */
struct hash hash_of(const void *data, size_t size);
/* Of a file's contents (file_visit), and how many bytes they are. Any thread. */
bool hash_of_file(const char *path, struct hash *hash, uint64_t *size, struct error *error);

/* Lower-case hexadecimal digits and a terminating zero. */
void hash_to_hex(const struct hash *hash, char hex[HASH_HEX_BYTES]);

/* A checksum of a frame: not cryptographic, several GB/s, changes (with probability 1 - 2^-64 for random damage) when
 * any byte or the length does. The same value on every architecture. */
uint64_t checksum_of(const void *data, size_t size, uint64_t seed);

#endif
