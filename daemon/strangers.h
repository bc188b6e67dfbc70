/* The log of connections that were turned away: at most one line a second, whatever strangers do, and with an address
 * wherever there is one to tell. One for each daemon; its I/O thread alone. */
#ifndef DAEMON_STRANGERS_H
#define DAEMON_STRANGERS_H

#include "base/mono.h"
#include "daemon/net/net.h"

/* Starts zeroed. */
struct strangers {
    mono_t logged;         /* the last line */
    unsigned count;        /* since then */
    struct net_event held; /* one of them without an address, kept back in case that one with an address comes */
    mono_t held_at;
};

/* A NET_HANDSHAKE_FAILED of a bound socket. */
void strangers_note(struct strangers *strangers, const struct net_event *event);
/* Logs what was kept back for long enough: to be called each turn of the loop. */
void strangers_turn(struct strangers *strangers);

#endif
