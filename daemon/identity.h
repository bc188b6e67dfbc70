/* What a board or a client keeps: a key pair of its own and the keys of the coordinators it has been admitted by.
 *
 * In the state directory lie WHO.key (a key pair, mode 0600; WHO is "coordinator", "client" or "stage-NAME") and
 * "coordinators", a line "ENDPOINT KEY" for each. A coordinator is known by its key: where it is reached may change.
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
/* Makes a key pair and keeps it in place of any other; makes the directory (0700) where it is missing. */
bool identity_make_keys(const char *directory, const char *who, struct key_pair *keys, struct error *error);

/* The key of the coordinator at this endpoint. One that was never talked to there counts as known when it lies beyond
 * loopback and there is only one coordinator that it can be: if it is another, the handshake fails. */
bool identity_known(const char *directory, const char *endpoint, struct public_key *key, bool *found,
                    struct error *error);
/* From now on the coordinator at this endpoint has this key; NULL: none is known there. */
bool identity_remember(const char *directory, const char *endpoint, const struct public_key *key, struct error *error);

#endif
