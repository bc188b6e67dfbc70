/* Join tokens as text; see token.h. Bytes: role, coordinator's key, seed, five bytes of a hash over what is before, so
 * that one wrong character in 2^40 goes unnoticed and is then no more than an unknown key. */
#include "daemon/token.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

#define PREFIX      "sc1_"
#define SUM_BYTES   5
#define BODY_BYTES  (1 + KEY_BYTES + KEY_SEED_BYTES)
#define TOKEN_BYTES (BODY_BYTES + SUM_BYTES)

void token_make(enum role role, const struct public_key *coordinator, struct token *token, struct key_pair *pair) {
    token->role = role;
    token->coordinator = *coordinator;
    do {
        random_bytes(token->seed, sizeof token->seed);
        key_pair_from_seed(token->seed, pair);
    } while (!key_handy(&pair->own));
}

void token_print(const struct token *token, char text[TOKEN_TEXT_MAX]) {
    uint8_t bytes[TOKEN_BYTES];
    bytes[0] = (uint8_t)token->role;
    memcpy(bytes + 1, token->coordinator.bytes, KEY_BYTES);
    memcpy(bytes + 1 + KEY_BYTES, token->seed, KEY_SEED_BYTES);
    struct hash sum = hash_of(bytes, BODY_BYTES);
    memcpy(bytes + BODY_BYTES, sum.bytes, SUM_BYTES);
    memcpy(text, PREFIX, sizeof PREFIX);
    base64_print(bytes, sizeof bytes, text + strlen(PREFIX), TOKEN_TEXT_MAX - strlen(PREFIX));
    key_forget(bytes, sizeof bytes);
}

static bool decode(const uint8_t bytes[TOKEN_BYTES], struct token *token, struct error *error) {
    struct hash sum = hash_of(bytes, BODY_BYTES);
    if (memcmp(sum.bytes, bytes + BODY_BYTES, SUM_BYTES) != 0)
        return error_set(error, ERROR_USAGE, "the token has a typing error: copy it once more");
    token->role = (enum role)bytes[0];
    memcpy(token->coordinator.bytes, bytes + 1, KEY_BYTES);
    memcpy(token->seed, bytes + 1 + KEY_BYTES, KEY_SEED_BYTES);
    return token->role == ROLE_STAGE || token->role == ROLE_CLIENT ||
           error_set(error, ERROR_USAGE, "the token is of a later version: install the coordinator's version here");
}

bool token_parse(const char *text, struct token *token, struct error *error) {
    static const char space[] = " \t\r\n";
    char word[TOKEN_TEXT_MAX];
    uint8_t bytes[TOKEN_BYTES];
    size_t size;
    text += strspn(text, space);
    size_t length = strcspn(text, space);
    if (text[length + strspn(text + length, space)] != '\0' || strncmp(text, PREFIX, strlen(PREFIX)) != 0)
        return error_set(error, ERROR_USAGE, "not a token: want one word that starts with " PREFIX);
    if (length >= sizeof word)
        return error_set(error, ERROR_USAGE, "the token is too long: copy it once more");
    memcpy(word, text, length);
    word[length] = '\0';
    bool ok = base64_parse(word + strlen(PREFIX), bytes, sizeof bytes, &size) && size == sizeof bytes;
    ok = ok ? decode(bytes, token, error)
            : error_set(error, ERROR_USAGE, "the token is cut short or has a typing error: copy it once more");
    key_forget(bytes, sizeof bytes);
    key_forget(word, sizeof word);
    return ok;
}
