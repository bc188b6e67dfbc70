/* The coordinator's list of whom it lets in: public keys of boards and clients with their names, and open tokens.
 *
 * It lies as text in the coordinator's state directory ("admitted", mode 0600) and is changed by two kinds of process:
 * the coordinator, when a token is used, and `stagecoach keys`. Each change locks the directory's "lock" file, reads,
 * changes and replaces the whole file; readers see the old or the new one. Revoked keys stay in the list while there is
 * room, so that a name can be explained and a key cannot come back.
 */
#ifndef DAEMON_KEYRING_H
#define DAEMON_KEYRING_H

#include "base/error.h"
#include "base/key.h"
#include "proto/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYRING_FILE         "admitted"
#define KEYRING_KEYS_MAX     1024
#define KEYRING_TOKENS_MAX   256
#define KEYRING_LOCAL_CLIENT "local" /* the name of the client on the coordinator's machine, of the user it runs as */

struct keyring_key {
    struct public_key key;
    enum role role;
    bool revoked;
    int64_t since; /* seconds since 1970 when it was admitted, or revoked */
    char name[MESSAGE_NAME_MAX + 1];
};

struct keyring_token {
    struct public_key key; /* of its seed */
    enum role role;
    uint32_t uses; /* that are left; 0: any number */
    int64_t made;  /* seconds since 1970 */
    int64_t until; /* likewise; 0: for ever */
};

struct keyring {
    unsigned keys, tokens;
    struct keyring_key key[KEYRING_KEYS_MAX];
    struct keyring_token token[KEYRING_TOKENS_MAX];
};

/* Reads the list; one that was never written is empty. A damaged one is an error that names the line; one that others
 * may write, or in a directory that they may write to, is an error too. */
bool keyring_read(const char *directory, struct keyring *keyring, struct error *error);

/* Locks, reads, has `change` do its work and writes, all or nothing: when `change` returns false nothing is written.
 * The keyring that was written is left in *keyring. Blocks while another process changes it, for moments. */
typedef bool keyring_change(struct keyring *keyring, void *context, struct error *error);
bool keyring_update(const char *directory, struct keyring *keyring, keyring_change *change, void *context,
                    struct error *error);

/* The key's entry, revoked or not; NULL when there is none. */
const struct keyring_key *keyring_find(const struct keyring *keyring, const struct public_key *key);
struct keyring_token *keyring_find_token(struct keyring *keyring, const struct public_key *key);
/* Does a token still open the door? */
bool keyring_token_open(const struct keyring_token *token, int64_t now);

/* Adds a token, made now; tokens that are past make room. */
bool keyring_add_token(struct keyring *keyring, const struct keyring_token *token, int64_t now, struct error *error);

/* Makes room for one more key; false when there is none. */
bool keyring_make_room(struct keyring *keyring);

/* Is this key in, under this role and name? */
bool keyring_admitted(const struct keyring *keyring, const struct keyring_key *wanted);

/* Someone came with a token and wants this key and name in. Admits it, takes one use from the token; or says why not:
 * the token is past, the key was revoked or is a token's, another holds the name, or its last holder was revoked after
 * the token was made. A key that is in already stays as it is. Where the list is full, whom it has known as revoked for
 * longest is forgotten. */
bool keyring_admit(struct keyring *keyring, const struct public_key *token, const struct keyring_key *wanted,
                   int64_t now, struct error *error);

/* Revokes the key of that name, or that key, or closes that token; `which` is a name or, where nobody has that name,
 * the first characters (8 at least) of a key as text. *count: how many. None is an error, as is a name that a board and
 * a client have. */
bool keyring_revoke(struct keyring *keyring, const char *which, int64_t now, unsigned *count, struct error *error);

const char *role_name(enum role role);
/* 0 when it is none. */
enum role role_parse(const char *text);

#endif
