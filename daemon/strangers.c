/* Turned away; see strangers.h. Who sends garbage and is hung up on within microseconds is gone before the system can
 * be asked who it was (net/monitor.c). A scan rarely stops there, so such a failure waits a moment for another one that
 * has an address, and is logged alone only if none comes. */
#include "daemon/strangers.h"

#include "base/log.h"

#include <string.h>

#define PERIOD   MONO_SECOND
#define PATIENCE (MONO_SECOND / 2)

static void tell(struct strangers *strangers, const struct net_event *event) {
    log_warn("turned away %s: %s%s", event->address, event->reason,
             strangers->count > 1 ? ", and others since the last such line" : "");
    strangers->logged = mono_now();
    strangers->count = 0;
    strangers->held.kind = NET_NOTHING;
}

static bool may_tell(const struct strangers *strangers) {
    return strangers->logged.ns == 0 || mono_since(mono_now(), strangers->logged) >= PERIOD;
}

void strangers_note(struct strangers *strangers, const struct net_event *event) {
    strangers->count++;
    if (strcmp(event->address, NET_ADDRESS_UNKNOWN) != 0 && may_tell(strangers)) {
        tell(strangers, event);
    } else if (strangers->held.kind == NET_NOTHING || strcmp(strangers->held.address, NET_ADDRESS_UNKNOWN) == 0) {
        if (strangers->held.kind == NET_NOTHING)
            strangers->held_at = mono_now();
        strangers->held = *event;
    }
}

void strangers_turn(struct strangers *strangers) {
    if (strangers->held.kind != NET_NOTHING && may_tell(strangers) &&
        mono_since(mono_now(), strangers->held_at) >= PATIENCE)
        tell(strangers, &strangers->held);
}
