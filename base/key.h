/* Key pairs of peers (Curve25519, as ZeroMQ's CURVE uses them), the random bytes and the texts around them.
 *
 * A public key is a peer's name that nobody else can bear; it may be shown. A secret key and a seed are never printed,
 * compared or logged; key_forget wipes them. Equality of public keys needs no constant time.
 */
#ifndef BASE_KEY_H
#define BASE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES      32
#define KEY_TEXT_BYTES 44 /* of a key as text: 43 characters of base64url (RFC 4648, section 5) and a zero */
#define KEY_SEED_BYTES 16

struct public_key {
    uint8_t bytes[KEY_BYTES];
};

struct key_pair {
    struct public_key own; /* the half that may be shown */
    uint8_t secret[KEY_BYTES];
};

/* The next three end the process when the system has no random numbers. Any thread. */
void random_bytes(void *bytes, size_t size);
void key_pair_make(struct key_pair *pair); /* key_handy */
/* The same seed gives the same pair, on every machine; who sees the public half learns nothing of the seed. */
void key_pair_from_seed(const uint8_t seed[KEY_SEED_BYTES], struct key_pair *pair);
/* Do the halves belong together? */
bool key_pair_valid(const struct key_pair *pair);

/* Is there a secret to it? Some public keys are such that whoever knows them can pass for their owner. */
bool key_usable(const struct public_key *key);

/* Can it be given to a command as it is? Text that starts with a dash would be taken for an option. */
bool key_handy(const struct public_key *key);

bool key_equal(const struct public_key *left, const struct public_key *right);

/* Any 32 bytes as text and back; key_parse is false for anything that key_print does not make. */
void key_print(const uint8_t bytes[KEY_BYTES], char text[KEY_TEXT_BYTES]);
bool key_parse(const char *text, uint8_t bytes[KEY_BYTES]);

/* Bytes as base64url without padding. base64_print returns false when out[room] is too small; base64_parse gives the
 * number of bytes, and false for other characters, too many of them, or stray bits at the end. */
bool base64_print(const void *bytes, size_t size, char *out, size_t room);
bool base64_parse(const char *text, void *bytes, size_t room, size_t *size);

/* Overwrites a secret; the compiler does not leave it out. */
void key_forget(void *secret, size_t size);

#endif
