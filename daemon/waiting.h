/* What a person is told while a coordinator, or its pipeline, is waited for: why, and once for each change of the
 * reason. Pure, but for waiting_words, which may ask the system's resolver. */
#ifndef DAEMON_WAITING_H
#define DAEMON_WAITING_H

#include "daemon/net/net.h"
#include "proto/message.h"

#define WAITING_WORDS_MAX 480

struct waiting {
    bool opened, closed, unreached; /* what became of the attempts to connect, since waiting_begin */
    bool heard;                     /* a message came, since then */
    bool stranger;                  /* a handshake failed, and nothing better is known */
    bool keyless;                   /* we have no keys; set by the owner */
    char told[WAITING_WORDS_MAX];   /* the reason that is known to the person */
};

/* A connection is being made afresh. What was told stays told. */
void waiting_begin(struct waiting *waiting);
/* The socket's monitor told this. */
void waiting_event(struct waiting *waiting, const struct net_event *event);
/* A message came: the other end is a coordinator. */
void waiting_heard(struct waiting *waiting);

/* Why no message came from the endpoint: an unknown host, no route, nothing that listens, something else that listens.
 * lookup: the host's name is looked up, which may block; else it is taken for known. buffer is filled and returned. */
const char *waiting_words(const struct waiting *waiting, const char *endpoint, bool lookup,
                          char buffer[WAITING_WORDS_MAX]);

/* Why a coordinator that is there answers no images, by its status; "" when it serves. buffer is filled and returned.
 */
const char *waiting_status_words(const struct message_status *status, char buffer[WAITING_WORDS_MAX]);

/* Is this reason another than the one told last? Then it is to be told now. */
bool waiting_is_news(struct waiting *waiting, const char *words);

#endif
