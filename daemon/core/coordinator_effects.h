/* How coordinator_core.c writes its list of effects; nobody else needs it. Pure; the list is the caller's and bounded:
 * overflow is a fault of ours and asserted. */
#ifndef DAEMON_CORE_COORDINATOR_EFFECTS_H
#define DAEMON_CORE_COORDINATOR_EFFECTS_H

#include "daemon/core/coordinator_core.h"

/* Another effect, zero but for its type, at the end of the list. */
struct coordinator_effect *effects_add(struct coordinator_effects *effects, enum coordinator_effect_type type);

/* A copy of text that lives as long as the effects. There is room for CORE_TEXTS_MAX different ones in a step. */
const char *effects_keep(struct coordinator_effects *effects, const char *text);

/* Another CORE_EVENT; the caller fills in what the kind has beside its text, which must live as long as the effects. */
struct fleet_event *effects_tell(struct coordinator_effects *effects, enum fleet_event_kind kind, const char *text);
struct fleet_event *effects_tell_of(struct coordinator_effects *effects, enum fleet_event_kind kind, unsigned board,
                                    const char *text);

#endif
