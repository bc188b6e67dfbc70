/* How a board or a client comes by the keys that it talks to a coordinator with: those it keeps, or, the first time, by
 * presenting a token. */
#ifndef DAEMON_JOIN_H
#define DAEMON_JOIN_H

#include "daemon/identity.h"
#include "proto/message.h"

struct join_options {
    enum role role;
    const char *name;            /* valid board name; a stage's is that of its board */
    const char *coordinator;     /* endpoint */
    const char *state_directory; /* NULL: nothing is kept, and there are no keys */
    const char *token;           /* text; NULL: in the file, else in $STAGECOACH_TOKEN, else none */
    const char *token_file;
    bool insecure; /* do without keys */
    bool patient;  /* wait for a coordinator that is not there, without end */
};

/* On true *keyed tells whether there are keys, and *identity holds them. A token is used only where there are none for
 * this coordinator, or where it does not admit them (any more): then a new key pair takes their place. No keys and no
 * token for a coordinator beyond loopback are an error, unless insecure. Blocks until the coordinator has answered, at
 * most some seconds if not patient. Errors: ERROR_USAGE for what can be mended on the command line, ERROR_DENIED when
 * the coordinator does not take the token. */
bool join_coordinator(const struct join_options *options, struct identity *identity, bool *keyed, struct error *error);

#endif
