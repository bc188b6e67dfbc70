/* What a board or a client keeps: a key pair of its own and the keys of the coordinators it has been admitted by.
 *
 * In the state directory lie WHO.key (a key pair, mode 0600; WHO is "coordinator", "client" or "stage-NAME") and
 * "coordinators", a line "ENDPOINT KEY" for each. A coordinator is known by its key: where it is reached may change.
 * next-WHO.key is a pair that a coordinator was asked to admit and has not yet: the old one stays until it has.
 */
#ifndef DAEMON_IDENTITY_H
#define DAEMON_IDENTITY_H

#include "base/error.h"
#include "base/key.h"

#include <stdbool.h>

struct identity {
    struct key_pair keys;
    struct public_key coordinator;
};

#define IDENTITY_WHO_MAX 80

/* Reads the key pair of WHO. *found is false when there is none. A damaged file, one that others may read, or a
 * directory that others may write to, is an error. */
bool identity_read_keys(const char *directory, const char *who, struct key_pair *keys, bool *found,
                        struct error *error);
/* The key pair of WHO, made now where there is none; makes the directory (0700) where it is missing. Of several
 * processes at once one makes it, and all get the same. */
bool identity_own_keys(const char *directory, const char *who, struct key_pair *keys, struct error *error);
/* A new key pair that is to take the place of WHO's once it is good; the same one until then. */
bool identity_next_keys(const char *directory, const char *who, struct key_pair *keys, struct error *error);
/* It is good, and WHO's from now on, also where another process has said so before; or it is not and is forgotten,
 * which changes nothing where there is none. */
bool identity_next_good(const char *directory, const char *who, const struct public_key *own, struct error *error);
void identity_next_bad(const char *directory, const char *who);

/* The key of the coordinator at this endpoint. One that was never talked to there counts as known when it lies beyond
 * loopback and there is only one coordinator that it can be: if it is another, the handshake fails. */
bool identity_known(const char *directory, const char *endpoint, struct public_key *key, bool *found,
                    struct error *error);
/* From now on the coordinator at this endpoint has this key; NULL: none is known there. */
bool identity_remember(const char *directory, const char *endpoint, const struct public_key *key, struct error *error);

#endif
