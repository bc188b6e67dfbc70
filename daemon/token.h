/* Join tokens: one word that lets a board or a client in, once or for a time.
 *
 * A token holds the coordinator's public key, so that whoever is given one knows whom to talk to, and a secret seed.
 * The key pair that grows from the seed is what its bearer connects with the first time; the coordinator keeps only the
 * public half. So a wrong token is turned away by the handshake like any unknown key, nothing secret is ever compared,
 * and a stolen list of tokens lets nobody in.
 */
#ifndef DAEMON_TOKEN_H
#define DAEMON_TOKEN_H

#include "base/error.h"
#include "base/key.h"
#include "proto/message.h"

#define TOKEN_TEXT_MAX 96

struct token {
    /* What it makes of its bearer: told so that a mix-up is noticed early; the coordinator's list decides. */
    enum role role;
    struct public_key coordinator;
    uint8_t seed[KEY_SEED_BYTES];
};

/* A fresh one, and the key pair of its seed. */
void token_make(enum role role, const struct public_key *coordinator, struct token *token, struct key_pair *pair);

/* "sc1_" and 72 characters of base64url: safe in any shell, selected by a double click. */
void token_print(const struct token *token, char text[TOKEN_TEXT_MAX]);

/* False with ERROR_USAGE when the text is no token, or one with a typing error in it. Space around it is fine. The text
 * itself is not repeated. */
bool token_parse(const char *text, struct token *token, struct error *error);

#endif
