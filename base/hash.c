/* Content hashes and frame checksums; see hash.h. The checksum runs four independent multiply-xorshift lanes over
 * 32-byte steps, so that it is bound by memory and not by the latency of one multiplication; words are read
 * little-endian. */
#include "base/hash.h"

#include "base/file.h"

#include <sodium.h>
#include <string.h>

struct hash hash_of(const void *data, size_t size) {
    struct hash hash;
    int ready = sodium_init(); /* the first call chooses this processor's fast code; any thread, cheap afterwards */
    (void)ready;               /* it fails only where there are no random numbers, which hashing does not need */
    crypto_generichash(hash.bytes, sizeof hash.bytes, data, size, NULL, 0);
    return hash;
}

struct hashing {
    crypto_generichash_state state;
    uint64_t size;
};

static void hash_more(void *context, const void *piece, size_t size) {
    struct hashing *hashing = context;
    hashing->size += size;
    crypto_generichash_update(&hashing->state, piece, size);
}

bool hash_of_file(const char *path, struct hash *hash, uint64_t *size, struct error *error) {
    struct hashing hashing = {.size = 0};
    int ready = sodium_init(); /* as above */
    (void)ready;
    crypto_generichash_init(&hashing.state, NULL, 0, sizeof hash->bytes);
    if (!file_visit(path, hash_more, &hashing, error))
        return false;
    crypto_generichash_final(&hashing.state, hash->bytes, sizeof hash->bytes);
    *size = hashing.size;
    return true;
}

void hash_to_hex(const struct hash *hash, char hex[HASH_HEX_BYTES]) {
    sodium_bin2hex(hex, HASH_HEX_BYTES, hash->bytes, sizeof hash->bytes);
}

static uint64_t word(const uint8_t *bytes) {
    uint64_t value;
    memcpy(&value, bytes, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/* A bijection of 64-bit words: odd multiplication and xor-shift. */
static uint64_t mix(uint64_t value) {
    value *= UINT64_C(0x9e3779b97f4a7c15);
    return value ^ (value >> 29);
}

uint64_t checksum_of(const void *data, size_t size, uint64_t seed) {
    const uint8_t *bytes = data;
    size_t left = size;
    uint64_t lane[4] = {seed, seed + 1, seed + 2, seed + 3};
    for (; left >= 32; left -= 32, bytes += 32)
        for (int i = 0; i < 4; i++)
            lane[i] = mix(lane[i] ^ word(bytes + 8 * i));
    uint8_t tail[32] = {0};
    memcpy(tail, bytes, left);
    uint64_t sum = size;
    for (int i = 0; i < 4; i++)
        sum = mix(sum ^ mix(lane[i] ^ word(tail + 8 * i)));
    return sum;
}
