/* Keys; see key.h. All of the arithmetic is libsodium's, which the fast hash of tensors uses too; ZeroMQ links it for
 * CURVE, so both sides of a connection reckon with the same code. Nothing is kept between calls. Any thread. */
#include "base/key.h"

#include "base/hash.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(crypto_box_PUBLICKEYBYTES == KEY_BYTES && crypto_box_SECRETKEYBYTES == KEY_BYTES, "CURVE's keys");
_Static_assert(KEY_TEXT_BYTES == sodium_base64_ENCODED_LEN(KEY_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
               "a key as text");

static void prepare(void) {
    if (sodium_init() >= 0)
        return;
    fputs("stagecoach: no random numbers on this system\n", stderr); /* keys that can be guessed would be worse */
    abort();
}

void random_bytes(void *bytes, size_t size) {
    prepare();
    randombytes_buf(bytes, size);
}

void key_pair_make(struct key_pair *pair) {
    prepare();
    do
        crypto_box_keypair(pair->own.bytes, pair->secret);
    while (!key_handy(&pair->own));
}

void key_pair_from_seed(const uint8_t seed[KEY_SEED_BYTES], struct key_pair *pair) {
    static const char purpose[16] = "stagecoach token"; /* the seed of one thing is none of another */
    uint8_t both[sizeof purpose + KEY_SEED_BYTES];
    prepare();
    memcpy(both, purpose, sizeof purpose);
    memcpy(both + sizeof purpose, seed, KEY_SEED_BYTES);
    struct hash wide = hash_of(both, sizeof both);
    crypto_box_seed_keypair(pair->own.bytes, pair->secret, wide.bytes);
    key_forget(both, sizeof both);
    key_forget(&wide, sizeof wide);
}

bool key_pair_valid(const struct key_pair *pair) {
    uint8_t own[KEY_BYTES];
    return crypto_scalarmult_base(own, pair->secret) == 0 && memcmp(own, pair->own.bytes, KEY_BYTES) == 0;
}

bool key_usable(const struct public_key *key) {
    static const uint8_t any[KEY_BYTES] = {8};
    uint8_t shared[KEY_BYTES];
    return crypto_scalarmult(shared, any, key->bytes) == 0; /* else the key is of small order: RFC 7748, section 6.1 */
}

bool key_handy(const struct public_key *key) {
    char text[KEY_TEXT_BYTES] = "";
    key_print(key->bytes, text);
    return text[0] != '-';
}

bool key_equal(const struct public_key *left, const struct public_key *right) {
    return memcmp(left->bytes, right->bytes, KEY_BYTES) == 0;
}

void key_print(const uint8_t bytes[KEY_BYTES], char text[KEY_TEXT_BYTES]) {
    base64_print(bytes, KEY_BYTES, text, KEY_TEXT_BYTES);
}

bool key_parse(const char *text, uint8_t bytes[KEY_BYTES]) {
    size_t size;
    return base64_parse(text, bytes, KEY_BYTES, &size) && size == KEY_BYTES;
}

bool base64_print(const void *bytes, size_t size, char *out, size_t room) {
    if (sodium_base64_encoded_len(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING) > room)
        return false;
    return sodium_bin2base64(out, room, bytes, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != NULL;
}

bool base64_parse(const char *text, void *bytes, size_t room, size_t *size) {
    const char *end;
    size_t length = strlen(text);
    return sodium_base642bin(bytes, room, text, length, NULL, size, &end, sodium_base64_VARIANT_URLSAFE_NO_PADDING) ==
               0 &&
           end == text + length;
}

void key_forget(void *secret, size_t size) {
    sodium_memzero(secret, size);
}
