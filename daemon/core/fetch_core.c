/* The fetching of tensors; its states and invariants are in fetch_core.h.
 *
 * assign_source() is the one place that decides whom to ask, lose() the one way in which a holder goes. A holder that
 * says nothing for a while is given up for the whole load: it may be switched off, and the coordinator is sure. The
 * coordinator is asked again instead: where it has no room for an answer, it drops it. Only its silence is a sign of
 * that, for on a slow way what was asked last comes late, behind the rest; and each time is waited for twice as long,
 * for answers that were only slow come twice then.
 */
#include "daemon/core/fetch_core.h"

#include <assert.h>
#include <string.h>

#define HOLDER_PATIENCE           (5 * MONO_SECOND)
#define COORDINATOR_PATIENCE      (10 * MONO_SECOND) /* at first */
#define COORDINATOR_PATIENCE_MOST (120 * MONO_SECOND)

void fetch_core_init(struct fetch_core *core) {
    memset(core, 0, sizeof *core);
}

static struct fetch_effect *effect_add(struct fetch_effects *effects, enum fetch_effect_type type) {
    assert(effects->count < FETCH_EFFECTS_MAX);
    struct fetch_effect *effect = &effects->effect[effects->count++];
    *effect = (struct fetch_effect){.type = type};
    return effect;
}

static bool same_tensor(const struct hash *left, const struct hash *right) {
    return memcmp(left, right, sizeof *left) == 0;
}

/* ---- whom to ask ---- */

static unsigned asked_of(const struct fetch_core *core, unsigned source) {
    unsigned count = 0;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        count += core->chunk[i].used && core->chunk[i].source == source;
    return count;
}

/* The holders that said they have not got it. */
static uint32_t absent_from(const struct fetch_core *core, const struct hash *hash) {
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (core->absent[i].holders && same_tensor(&core->absent[i].hash, hash))
            return core->absent[i].holders;
    return 0;
}

static void note_absent(struct fetch_core *core, const struct hash *hash, unsigned holder) {
    unsigned at = 0;
    while (at < FETCH_CHUNKS && !(core->absent[at].holders && same_tensor(&core->absent[at].hash, hash)))
        at++;
    if (at == FETCH_CHUNKS) {
        at = core->oldest_absent;
        core->oldest_absent = (at + 1) % FETCH_CHUNKS;
        core->absent[at].hash = *hash;
        core->absent[at].holders = 0;
    }
    core->absent[at].holders |= UINT32_C(1) << holder;
}

/* The holder among `candidates` of whom least is asked, each in turn when they are equal. */
static unsigned least_busy(struct fetch_core *core, uint32_t candidates) {
    unsigned best = FETCH_COORDINATOR, least = FETCH_CHUNKS + 1;
    for (unsigned i = 0; i < core->holders; i++) {
        unsigned holder = (core->turn + i) % core->holders;
        unsigned asked = asked_of(core, holder);
        if (candidates >> holder & 1 && asked < least) {
            best = holder;
            least = asked;
        }
    }
    if (best != FETCH_COORDINATOR)
        core->turn = best + 1;
    return best;
}

static void assign_source(struct fetch_core *core, unsigned index, mono_t now, struct fetch_effects *effects) {
    const struct fetch_chunk *chunk = &core->chunk[index].chunk;
    core->chunk[index].source = FETCH_SOURCES; /* nobody, while it is decided */
    unsigned source = least_busy(core, chunk->holders & core->usable & ~absent_from(core, &chunk->hash));
    if (asked_of(core, source) == 0)
        core->silent_since[source] = now;
    core->chunk[index].source = source;
    struct fetch_effect *effect = effect_add(effects, FETCH_ASK);
    effect->source = source;
    effect->chunk = *chunk;
}

/* Nothing is asked of these holders any more; what was is asked of others. */
static void lose(struct fetch_core *core, uint32_t holders, mono_t now, struct fetch_effects *effects) {
    holders &= core->usable;
    core->usable &= ~holders;
    for (unsigned i = 0; i < core->holders; i++)
        if (holders >> i & 1)
            effect_add(effects, FETCH_LEAVE)->source = i;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (core->chunk[i].used && core->chunk[i].source != FETCH_COORDINATOR && holders >> core->chunk[i].source & 1)
            assign_source(core, i, now, effects);
}

/* ---- events ---- */

static void on_began(struct fetch_core *core, const struct fetch_event *event) {
    assert(event->holders <= FETCH_HOLDERS_MAX);
    unsigned turn = core->turn;
    fetch_core_init(core);
    core->active = true;
    core->coordinator_patience_ns = COORDINATOR_PATIENCE;
    core->holders = event->holders;
    core->usable = (UINT32_C(1) << event->holders) - 1;
    core->turn = event->holders ? turn % event->holders : 0;
}

static void on_wanted(struct fetch_core *core, const struct fetch_event *event, mono_t now,
                      struct fetch_effects *effects) {
    unsigned index = 0;
    while (index < FETCH_CHUNKS && core->chunk[index].used)
        index++;
    assert(index < FETCH_CHUNKS); /* the loader keeps to the window */
    core->chunk[index].used = true;
    core->chunk[index].chunk = event->chunk;
    assign_source(core, index, now, effects);
}

/* The index of an outstanding chunk that this source may answer, or FETCH_CHUNKS. */
static unsigned chunk_find(const struct fetch_core *core, unsigned source, const struct fetch_chunk *chunk) {
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (core->chunk[i].used && core->chunk[i].chunk.offset == chunk->offset &&
            same_tensor(&core->chunk[i].chunk.hash, &chunk->hash) &&
            (source == FETCH_COORDINATOR || core->chunk[i].source == source))
            return i;
    return FETCH_CHUNKS;
}

static void on_part(struct fetch_core *core, const struct fetch_event *event, mono_t now,
                    struct fetch_effects *effects) {
    unsigned index = chunk_find(core, event->source, &event->chunk);
    bool holder = event->source != FETCH_COORDINATOR;
    if (!holder)
        core->silent_since[FETCH_COORDINATOR] = now; /* even with what came twice: the rest is behind it */
    if (index == FETCH_CHUNKS) {                     /* asked for twice, or by a load that is over, or never */
        effects->fault = FETCH_FAULT_STALE;
        return;
    }
    if (core->chunk[index].chunk.bytes != event->chunk.bytes) {
        effects->fault = FETCH_FAULT_MALFORMED;
        if (holder)
            lose(core, UINT32_C(1) << event->source, now, effects);
        return;
    }
    core->chunk[index].used = false;
    core->bytes[event->source] += event->chunk.bytes;
    if (holder)
        core->silent_since[event->source] = now;
    effect_add(effects, FETCH_STORE)->chunk = core->chunk[index].chunk;
}

static bool is_asked(const struct fetch_core *core, unsigned index, unsigned source, const struct hash *hash) {
    return core->chunk[index].used && core->chunk[index].source == source &&
           same_tensor(&core->chunk[index].chunk.hash, hash);
}

static void on_not_here(struct fetch_core *core, const struct fetch_event *event, mono_t now,
                        struct fetch_effects *effects) {
    bool was_asked = false;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        was_asked = was_asked || is_asked(core, i, event->source, &event->chunk.hash);
    if (event->source >= core->holders || !was_asked)
        return; /* the coordinator lists what it has; what nobody asked for is no answer */
    core->silent_since[event->source] = now;
    note_absent(core, &event->chunk.hash, event->source);
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (is_asked(core, i, event->source, &event->chunk.hash))
            assign_source(core, i, now, effects);
}

static int64_t patience(const struct fetch_core *core, unsigned source) {
    return source == FETCH_COORDINATOR ? core->coordinator_patience_ns : HOLDER_PATIENCE;
}

static bool is_silent(const struct fetch_core *core, unsigned source, mono_t now) {
    return asked_of(core, source) > 0 && mono_since(now, core->silent_since[source]) >= patience(core, source);
}

/* The chunks that a silent coordinator is to be asked for again, a bit for each. */
static uint32_t overdue(struct fetch_core *core, mono_t now) {
    uint32_t chunks = 0;
    if (!is_silent(core, FETCH_COORDINATOR, now))
        return 0;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (core->chunk[i].used && core->chunk[i].source == FETCH_COORDINATOR)
            chunks |= UINT32_C(1) << i;
    core->silent_since[FETCH_COORDINATOR] = now;
    core->coordinator_patience_ns *= 2;
    if (core->coordinator_patience_ns > COORDINATOR_PATIENCE_MOST)
        core->coordinator_patience_ns = COORDINATOR_PATIENCE_MOST;
    return chunks;
}

static void on_tick(struct fetch_core *core, mono_t now, struct fetch_effects *effects) {
    uint32_t silent = 0, again = overdue(core, now); /* before it is asked for what others lost */
    for (unsigned i = 0; i < core->holders; i++)
        if (core->usable >> i & 1 && is_silent(core, i, now))
            silent |= UINT32_C(1) << i;
    if (silent)
        lose(core, silent, now, effects);
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        if (again >> i & 1)
            assign_source(core, i, now, effects);
}

void fetch_core_step(struct fetch_core *core, const struct fetch_event *event, mono_t now,
                     struct fetch_effects *effects) {
    effects->fault = FETCH_FAULT_NONE;
    effects->count = 0;
    if (event->type == FETCH_BEGAN) {
        on_began(core, event);
        return;
    }
    if (!core->active) {
        effects->fault = event->type == FETCH_PART ? FETCH_FAULT_STALE : FETCH_FAULT_NONE;
        return;
    }
    switch (event->type) {
    case FETCH_ENDED:
        core->active = false;
        memset(core->chunk, 0, sizeof core->chunk); /* after a failure some may be on their way */
        break;
    case FETCH_WANTED:
        on_wanted(core, event, now, effects);
        break;
    case FETCH_PART:
        on_part(core, event, now, effects);
        break;
    case FETCH_NOT_HERE:
        on_not_here(core, event, now, effects);
        break;
    case FETCH_CLOSED:
        if (event->source < core->holders)
            lose(core, UINT32_C(1) << event->source, now, effects);
        break;
    case FETCH_TICK:
        on_tick(core, now, effects);
        break;
    default:
        break;
    }
}

/* ---- looking on ---- */

bool fetch_core_deadline(const struct fetch_core *core, mono_t *deadline) {
    bool any = false;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++) {
        if (!core->chunk[i].used)
            continue;
        unsigned source = core->chunk[i].source;
        mono_t due = mono_after(core->silent_since[source], patience(core, source));
        if (!any || mono_since(due, *deadline) < 0)
            *deadline = due;
        any = true;
    }
    return any;
}

const char *fetch_core_broken(const struct fetch_core *core) {
    for (unsigned i = 0; i < FETCH_CHUNKS; i++) {
        if (!core->chunk[i].used)
            continue;
        unsigned source = core->chunk[i].source;
        if (!core->active)
            return "a chunk is outstanding without a load";
        if (source != FETCH_COORDINATOR && source >= core->holders)
            return "a chunk is with nobody";
        if (source != FETCH_COORDINATOR && !(core->usable & core->chunk[i].chunk.holders & UINT32_C(1) << source))
            return "a chunk is with a holder that is lost, or was not said to have it";
        for (unsigned j = 0; j < i; j++)
            if (core->chunk[j].used && core->chunk[j].chunk.offset == core->chunk[i].chunk.offset &&
                same_tensor(&core->chunk[j].chunk.hash, &core->chunk[i].chunk.hash))
                return "a chunk is asked for twice";
    }
    return NULL;
}
