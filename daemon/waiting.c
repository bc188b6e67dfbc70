/* Reasons for waiting, in words; see waiting.h. A socket that connects tells little: that an attempt failed, that a
 * connection opened, that its handshake failed. With what the resolver and the routes say this is enough to tell the
 * faults apart that people make: a wrong name, a wrong port, a coordinator that is not started, another program's port.
 */
#include "daemon/waiting.h"

#include <stdio.h>
#include <string.h>

void waiting_begin(struct waiting *waiting) {
    waiting->opened = waiting->closed = waiting->unreached = waiting->heard = false;
}

void waiting_event(struct waiting *waiting, const struct net_event *event) {
    if (event->kind == NET_OPENED)
        waiting->opened = true;
    else if (event->kind == NET_HANDSHAKE_FAILED)
        waiting->stranger = true;
    else if (event->kind == NET_CLOSED) {
        waiting->opened = false;
        waiting->closed = true;
    } else if (event->kind == NET_UNREACHED && !waiting->closed) { /* told after an end, too, before any attempt */
        waiting->unreached = true;
        waiting->stranger = false;
    }
}

void waiting_heard(struct waiting *waiting) {
    waiting->heard = true;
    waiting->stranger = false;
}

const char *waiting_words(const struct waiting *waiting, const char *endpoint, bool lookup,
                          char buffer[WAITING_WORDS_MAX]) {
    char address[64];
    struct error error;
    const char *reason = "its host does not answer";
    if (lookup && !net_local_address(endpoint, address, &error)) {
        snprintf(buffer, WAITING_WORDS_MAX, "%s", error.text);
        return buffer;
    }
    if (waiting->heard)
        reason = "the coordinator does not answer";
    else if (waiting->stranger)
        reason = waiting->keyless
                     ? "something listens there, but it is not a Stagecoach coordinator, or it demands keys: "
                       "present a token once with --token"
                     : "what listens there is not the coordinator that the token, or the key kept here, is of; a token "
                       "is good at no other. Or it is not a Stagecoach coordinator";
    else if (waiting->opened)
        reason = "something listens there, but it does not answer as a Stagecoach coordinator does";
    else if (waiting->unreached)
        reason = "nothing listens there";
    snprintf(buffer, WAITING_WORDS_MAX, "%s: %s", endpoint, reason);
    return buffer;
}

/* While it measures, how far it is changes all the time and is no reason of its own. */
const char *waiting_status_words(const struct message_status *status, char buffer[WAITING_WORDS_MAX]) {
    if (strcmp(status->state, "serving") == 0)
        buffer[0] = '\0';
    else if (strcmp(status->state, "measuring") == 0)
        snprintf(buffer, WAITING_WORDS_MAX, "the coordinator measures boards and links");
    else
        snprintf(buffer, WAITING_WORDS_MAX, "%.300s", status->reason[0] ? status->reason : status->state);
    return buffer;
}

bool waiting_is_news(struct waiting *waiting, const char *words) {
    if (strcmp(waiting->told, words) == 0)
        return false;
    snprintf(waiting->told, sizeof waiting->told, "%s", words);
    return true;
}
