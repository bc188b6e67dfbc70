/* The list of effects of one step of the coordinator's core; see coordinator_effects.h. Effects are in the order that
 * they are to be carried out in; events lie beside them, since most effects are no event and a list is long. */
#include "daemon/core/coordinator_effects.h"

#include <assert.h>
#include <stdio.h>

struct coordinator_effect *effects_add(struct coordinator_effects *effects, enum coordinator_effect_type type) {
    assert(effects->count < CORE_EFFECTS_MAX);
    struct coordinator_effect *effect = &effects->effect[effects->count++];
    *effect = (struct coordinator_effect){.type = type};
    return effect;
}

const char *effects_keep(struct coordinator_effects *effects, const char *text) {
    char *kept = effects->text[effects->texts];
    if (effects->texts + 1 < CORE_TEXTS_MAX)
        effects->texts++;
    snprintf(kept, CORE_REASON_MAX, "%s", text);
    return kept;
}

struct fleet_event *effects_tell_of(struct coordinator_effects *effects, enum fleet_event_kind kind, unsigned board,
                                    const char *text) {
    assert(effects->events < CORE_EVENTS_MAX);
    struct fleet_event *event = &effects->event[effects->events++];
    *event = (struct fleet_event){.kind = kind, .board = board, .text = text};
    effects_add(effects, CORE_EVENT)->event = event;
    return event;
}

struct fleet_event *effects_tell(struct coordinator_effects *effects, enum fleet_event_kind kind, const char *text) {
    return effects_tell_of(effects, kind, FLEET_NO_BOARD, text);
}
