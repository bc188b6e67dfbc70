/* The stage's state machine; its states, lanes and invariants are in stage_core.h, what it does with microbatches in
 * stage_lane.c.
 *
 * stage_core_step is the one entry: the event changes what is known (a handler per event), then advance() draws the
 * consequences: begin a load when everything is at rest, free weights that nobody needs, compute what waits, send what
 * is ready. All ends of an epoch go through abandon(), so what must be given up stands in one place.
 */
#include "daemon/core/stage_lane.h"

#include <assert.h>
#include <string.h>

#define HELLO_PATIENCE (10 * MONO_SECOND) /* without an answer, hello is said again */
#define HELLO_PAUSE    (1 * MONO_SECOND)  /* after a refusal that asks for another hello: a name may become free */
#define LEAVE_PATIENCE (30 * MONO_SECOND)
#define HEARTBEAT_MIN  (10 * MONO_MS)
#define HEARTBEAT_MAX  (60 * MONO_SECOND)
#define NO_LANE        STAGE_LANES

const char *stage_state_name(enum stage_state state) {
    static const char *const names[] = {"joining", "admitted", "gone"};
    return names[state];
}

const char *lane_state_name(enum lane_state state) {
    static const char *const names[] = {"free", "clearing", "loading", "ready", "serving"};
    return names[state];
}

void stage_core_init(struct stage_core *core) {
    memset(core, 0, sizeof *core);
    core->state = STAGE_JOINING;
}

struct stage_effect *stage_effect_add(struct stage_effects *effects, enum stage_effect_type type, unsigned lane) {
    assert(effects->count < STAGE_EFFECTS_MAX);
    struct stage_effect *effect = &effects->effect[effects->count++];
    *effect = (struct stage_effect){.type = type, .lane = lane};
    return effect;
}

static struct stage_effect *effect_add(struct stage_effects *effects, enum stage_effect_type type) {
    return stage_effect_add(effects, type, 0);
}

/* The lane in that state; NO_LANE when there is none. */
static unsigned lane_in(const struct stage_core *core, enum lane_state state) {
    unsigned number = 0;
    while (number < STAGE_LANES && core->lane[number].state != state)
        number++;
    return number;
}

/* ---- ends of an epoch ---- */

static void cancel_load(struct stage_core *core, struct stage_effects *effects) {
    if (!core->loader_busy || core->loader_cancelled)
        return;
    core->loader_cancelled = true;
    effect_add(effects, STAGE_CANCEL);
}

/* Gives up the load and everything of the lane's epoch that can be given up now. Its engine stays. */
static void abandon(struct stage_core *core, unsigned number, struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[number];
    lane_drop(core, number, effects);
    if (lane->state == LANE_LOADING)
        cancel_load(core, effects);
    if (lane->state >= LANE_LOADING)
        stage_effect_add(effects, STAGE_CLOSE_NEXT, number);
    lane->state = LANE_FREE;
}

static void abandon_all(struct stage_core *core, struct stage_effects *effects) {
    for (unsigned number = 0; number < STAGE_LANES; number++)
        abandon(core, number, effects);
}

static void give_up_slice(struct stage_core *core, unsigned number, const char *text, struct stage_effects *effects) {
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_FAILED);
    effect->epoch = core->lane[number].epoch;
    effect->text = text;
    abandon(core, number, effects);
}

static void finish(struct stage_core *core, struct stage_effects *effects) {
    abandon_all(core, effects);
    core->state = STAGE_GONE;
    effect_add(effects, STAGE_EXIT);
}

/* ---- the coordinator ---- */

static void say_hello(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    core->hello_at = mono_after(now, HELLO_PATIENCE);
    effect_add(effects, STAGE_SAY_HELLO);
}

/* Nobody knows us any more. */
static void rejoin(struct stage_core *core, struct stage_effects *effects) {
    abandon_all(core, effects);
    core->state = STAGE_JOINING;
    if (core->leaving)
        finish(core, effects); /* nobody is left to ask */
}

static void on_closed(struct stage_core *core, struct stage_effects *effects) {
    core->connected = false;
    rejoin(core, effects);
}

static void on_opened(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->state != STAGE_JOINING)
        rejoin(core, effects); /* a connection was replaced without our noticing that it had closed */
    if (core->state == STAGE_GONE)
        return;
    core->connected = true;
    say_hello(core, now, effects);
}

static void on_welcomed(struct stage_core *core, const struct stage_event *event, mono_t now,
                        struct stage_effects *effects) {
    if (!core->connected || (core->state != STAGE_JOINING && event->cluster == core->cluster))
        return; /* the answer to a hello that was said twice */
    abandon_all(core, effects);
    core->state = STAGE_ADMITTED;
    int64_t period = event->heartbeat_ns;
    core->heartbeat_ns = period < HEARTBEAT_MIN ? HEARTBEAT_MIN : period > HEARTBEAT_MAX ? HEARTBEAT_MAX : period;
    core->heartbeat_at = now;
    core->cluster = event->cluster;
    core->epoch.number = 0;
}

static void on_refused(struct stage_core *core, const struct stage_event *event, mono_t now,
                       struct stage_effects *effects) {
    if (!event->again) {
        finish(core, effects); /* asking again would change nothing: another version */
        return;
    }
    if (core->state == STAGE_JOINING) {
        core->hello_at = mono_after(now, HELLO_PAUSE);
        return;
    }
    rejoin(core, effects);
    if (core->state != STAGE_GONE)
        say_hello(core, now, effects);
}

bool stage_core_accepts(const struct stage_core *core, epoch_t epoch) {
    return core->state == STAGE_ADMITTED && !core->leaving && epoch.number > core->epoch.number;
}

static void on_assigned(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    if (!stage_core_accepts(core, event->epoch))
        return;
    unsigned place = epoch_lane(event->epoch);
    for (unsigned number = 0; number < STAGE_LANES; number++)
        if (number == place || !event->beside || !stage_core_working(core, number))
            abandon(core, number, effects);
    struct stage_lane *lane = &core->lane[place];
    lane->state = LANE_CLEARING;
    lane->epoch = core->epoch = event->epoch;
    lane->first = event->first;
    lane->end = event->end;
    lane->microbatch = event->microbatch;
    lane->newest.number = 0;
}

static void on_told_serve(struct stage_core *core, epoch_t epoch, mono_t now) {
    unsigned number = epoch_lane(epoch);
    if (core->lane[number].state == LANE_READY && core->lane[number].epoch.number == epoch.number)
        lane_serve(core, number, now);
}

static void on_retired(struct stage_core *core, epoch_t epoch, struct stage_effects *effects) {
    unsigned number = epoch_lane(epoch);
    if (core->state == STAGE_ADMITTED && core->lane[number].epoch.number == epoch.number)
        abandon(core, number, effects);
}

static void on_shutdown(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->state == STAGE_JOINING || core->leaving) {
        finish(core, effects);
        return;
    }
    core->leaving = true;
    core->leave_by = mono_after(now, LEAVE_PATIENCE);
    effect_add(effects, STAGE_SAY_LEAVE);
}

/* ---- loading ---- */

/* Which engines the load may take from. One that serves is only shared; of those that do not, the load gets one and the
 * other goes, so that weights are never there twice. */
static void begin_load(struct stage_core *core, unsigned number, mono_t now, struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[number];
    unsigned old = lane->filled ? number : NO_LANE, beside = NO_LANE;
    for (unsigned other = 0; other < STAGE_LANES; other++) {
        if (other == number || !core->lane[other].filled)
            continue;
        if (stage_core_working(core, other)) {
            beside = other;
            continue;
        }
        if (old != NO_LANE) { /* it is that of an older epoch */
            stage_effect_add(effects, STAGE_DISCARD, old);
            core->lane[old].filled = false;
        }
        old = other;
    }
    if (old != NO_LANE)
        core->lane[old].filled = false;
    lane->state = LANE_LOADING;
    core->loader_busy = true;
    core->loader_lane = number;
    core->loader_got_on = now;
    struct stage_effect *effect = stage_effect_add(effects, STAGE_LOAD, number);
    effect->old = old;
    effect->beside = beside;
    stage_effect_add(effects, STAGE_OPEN_NEXT, number);
}

/* Beside a lane at work, the weights of one that is free are no use to anybody. */
static void discard_unused(struct stage_core *core, struct stage_effects *effects) {
    if (core->loader_busy)
        return;
    for (unsigned number = 0; number < STAGE_LANES; number++) {
        struct stage_lane *lane = &core->lane[number];
        if (lane->state != LANE_FREE || !lane->filled || !lane_at_rest(lane))
            continue;
        for (unsigned other = 0; other < STAGE_LANES; other++)
            if (stage_core_working(core, other))
                lane->filled = false;
        if (!lane->filled)
            stage_effect_add(effects, STAGE_DISCARD, number);
    }
}

static void on_progressed(struct stage_core *core, const struct stage_event *event, mono_t now,
                          struct stage_effects *effects) {
    unsigned number = lane_in(core, LANE_LOADING);
    core->loader_got_on = now;
    if (number == NO_LANE)
        return;
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_PROGRESS);
    effect->epoch = core->lane[number].epoch;
    effect->done = event->done;
    effect->total = event->total;
    effect->fetched = event->fetched;
}

/* The lane that the loader works for gets what it made, wanted or not: what is loaded may be of use to the next load.
 */
static void on_load_over(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    struct stage_lane *lane = &core->lane[core->loader_lane];
    bool wanted = lane->state == LANE_LOADING && !core->loader_cancelled;
    core->loader_busy = core->loader_cancelled = false;
    lane->filled = event->type == STAGE_LOADED || event->kept;
    if (!wanted)
        return;
    if (event->type != STAGE_LOADED) {
        give_up_slice(core, core->loader_lane, event->text ? event->text : "loading was stopped", effects);
        return;
    }
    lane->in = *event->in;
    lane->out = *event->out;
    lane->state = LANE_READY;
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_READY);
    effect->epoch = lane->epoch;
    effect->weight_bytes = event->weight_bytes;
}

static void on_next_failed(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    if (core->lane[event->lane].state == LANE_LOADING)
        give_up_slice(core, event->lane, event->text, effects);
}

/* ---- time ---- */

static bool due(mono_t at, mono_t now) {
    return mono_since(now, at) >= 0;
}

static void on_tick(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->leaving && due(core->leave_by, now)) {
        finish(core, effects);
        return;
    }
    if (core->state == STAGE_JOINING) {
        if (core->connected && due(core->hello_at, now))
            say_hello(core, now, effects);
        return;
    }
    if (due(core->heartbeat_at, now)) {
        core->heartbeat_at = mono_after(now, core->heartbeat_ns);
        effect_add(effects, STAGE_SAY_HEARTBEAT);
    }
}

static void earlier(mono_t *deadline, mono_t at) {
    if (mono_since(*deadline, at) > 0)
        *deadline = at;
}

bool stage_core_deadline(const struct stage_core *core, mono_t *deadline) {
    if (core->state == STAGE_GONE || (core->state == STAGE_JOINING && !core->connected))
        return false;
    *deadline = core->state == STAGE_JOINING ? core->hello_at : core->heartbeat_at;
    if (core->leaving)
        earlier(deadline, core->leave_by);
    return true;
}

/* The lane that heartbeats are about; NO_LANE: none is in use. */
static unsigned lane_to_tell(const struct stage_core *core) {
    unsigned best = NO_LANE;
    for (unsigned number = 0; number < STAGE_LANES; number++) {
        const struct stage_lane *lane = &core->lane[number], *other = best == NO_LANE ? NULL : &core->lane[best];
        if (lane->state == LANE_FREE)
            continue;
        bool serves = lane->state == LANE_SERVING, other_serves = other && other->state == LANE_SERVING;
        if (!other || (serves && !other_serves) || (serves == other_serves && lane->epoch.number > other->epoch.number))
            best = number;
    }
    return best;
}

bool stage_core_idle(const struct stage_core *core) {
    return core->state == STAGE_ADMITTED && lane_to_tell(core) == NO_LANE;
}

/* What is being computed counts as far as it is: a coordinator that sees no progress takes a microbatch for lost, and
 * on a slow board one takes longer than that. */
struct message_heartbeat stage_core_heartbeat(const struct stage_core *core, mono_t now) {
    unsigned number = lane_to_tell(core);
    bool serving = number != NO_LANE && core->lane[number].state == LANE_SERVING;
    epoch_t none = {0};
    sequence_t nothing = {0};
    int64_t under_way = lanes_computing(core) ? mono_since(now, core->computing_since) : 0;
    return (struct message_heartbeat){
        .epoch = number == NO_LANE ? none : core->lane[number].epoch,
        .microbatches = serving ? core->microbatches : 0,
        .items = serving ? core->items : 0,
        .computed = number == NO_LANE ? nothing : core->lane[number].newest,
        .busy_ns = serving ? (uint64_t)(core->busy_ns + under_way) : 0,
        .computing_ns = (uint64_t)under_way,
        .loading_ns = core->loader_busy ? (uint64_t)mono_since(now, core->loader_got_on) : 0,
        .serving_ns = serving ? (uint64_t)mono_since(now, core->serving_since) : 0,
        .rejected = core->rejected,
    };
}

/* ---- the one entry ---- */

/* A load takes the engines of lanes that do not work: nobody may be using them. */
static bool may_load(const struct stage_core *core) {
    for (unsigned number = 0; number < STAGE_LANES; number++)
        if (!stage_core_working(core, number) && !lane_at_rest(&core->lane[number]))
            return false;
    return !core->loader_busy;
}

/* Draws the consequences of whatever has changed. */
static void advance(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    unsigned clearing = lane_in(core, LANE_CLEARING);
    if (clearing != NO_LANE && may_load(core))
        begin_load(core, clearing, now, effects);
    discard_unused(core, effects);
    lanes_advance(core, now, effects);
}

static void apply_control_event(struct stage_core *core, const struct stage_event *event, mono_t now,
                                struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_OPENED:
        on_opened(core, now, effects);
        break;
    case STAGE_CLOSED:
        on_closed(core, effects);
        break;
    case STAGE_WELCOMED:
        on_welcomed(core, event, now, effects);
        break;
    case STAGE_REFUSED:
        on_refused(core, event, now, effects);
        break;
    case STAGE_ASSIGNED:
        on_assigned(core, event, effects);
        break;
    case STAGE_TOLD_SERVE:
        on_told_serve(core, event->epoch, now);
        break;
    case STAGE_RETIRED:
        on_retired(core, event->epoch, effects);
        break;
    case STAGE_RELEASED:
        if (core->leaving || core->state != STAGE_JOINING) /* also unasked: the board is drained */
            finish(core, effects);
        break;
    case STAGE_SHUTDOWN:
        on_shutdown(core, now, effects);
        break;
    default:
        on_tick(core, now, effects);
        break;
    }
}

static void apply_loader_event(struct stage_core *core, const struct stage_event *event, mono_t now,
                               struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_PROGRESSED:
        on_progressed(core, event, now, effects);
        break;
    case STAGE_NEXT_FAILED:
        on_next_failed(core, event, effects);
        break;
    default:
        on_load_over(core, event, effects);
        break;
    }
}

/* What strangers send. */
static void apply_stray_event(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_UNREADABLE:
        core->rejected.malformed++;
        effects->fault = event->text ? event->text : "bytes that are no microbatch";
        break;
    case STAGE_STRAY:
        core->rejected.stale++;
        effects->fault = event->text;
        break;
    case STAGE_DENIED:
        core->rejected.denied++;
        effects->fault = event->text;
        break;
    default:
        core->rejected.handshake++;
        break;
    }
}

void stage_core_step(struct stage_core *core, const struct stage_event *event, mono_t now,
                     struct stage_effects *effects) {
    effects->count = 0;
    effects->fault = NULL;
    if (core->state == STAGE_GONE)
        return;
    switch (event->type) {
    case STAGE_PROGRESSED:
    case STAGE_NEXT_FAILED:
    case STAGE_LOADED:
    case STAGE_LOAD_FAILED:
    case STAGE_LOAD_ENDED:
        apply_loader_event(core, event, now, effects);
        break;
    case STAGE_UNREADABLE:
    case STAGE_STRAY:
    case STAGE_DENIED:
    case STAGE_HANDSHAKE:
        apply_stray_event(core, event, effects);
        break;
    case STAGE_ARRIVED:
    case STAGE_COMPUTED:
    case STAGE_SENT:
    case STAGE_BLOCKED:
    case STAGE_WRITABLE:
    case STAGE_LET_GO:
        lane_event(core, event, now, effects);
        break;
    default:
        apply_control_event(core, event, now, effects);
        break;
    }
    advance(core, now, effects);
}
