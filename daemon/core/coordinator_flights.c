/* Items and microbatches of the coordinator's core: the queue of what was admitted, the flights, their dispatch, their
 * results and their replay; see coordinator_core.h. A flight is in one list, in the order of its dispatch: those under
 * way first, whatever their epoch, then those to be sent again. */
#include "daemon/core/coordinator_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define BEAT_NS    MONO_SECOND /* at least what lies between two heartbeats */
#define PLAN_SLACK 2           /* so much faster than planned a board may be */

/* ---- the queue ---- */

void flights_admit(struct coordinator_core *core, unsigned item, mono_t now) {
    core->next[item] = NOTHING;
    core->admitted[item] = now;
    if (core->queue_last == NOTHING)
        core->queue_first = item;
    else
        core->next[core->queue_last] = item;
    core->queue_last = item;
    core->queued++;
}

/* Cuts the first `count` items off the queue; they stay linked. */
static unsigned queue_shift(struct coordinator_core *core, unsigned count) {
    unsigned first = core->queue_first, last = first;
    for (unsigned i = 1; i < count; i++)
        last = core->next[last];
    core->queue_first = core->next[last];
    core->next[last] = NOTHING;
    if (core->queue_first == NOTHING)
        core->queue_last = NOTHING;
    core->queued -= count;
    return first;
}

/* Takes an item out of the queue, if it is there; the others keep their order. */
static bool queue_remove(struct coordinator_core *core, unsigned item) {
    unsigned before = NOTHING, at = core->queue_first;
    for (; at != NOTHING && at != item; at = core->next[at])
        before = at;
    if (at == NOTHING)
        return false;
    if (before == NOTHING)
        core->queue_first = core->next[item];
    else
        core->next[before] = core->next[item];
    if (core->queue_last == item)
        core->queue_last = before;
    core->queued--;
    return true;
}

void flights_withdraw(struct coordinator_core *core, unsigned item, struct coordinator_effects *effects) {
    if (queue_remove(core, item))
        effects_add(effects, CORE_DROP)->item = item;
}

/* ---- the list of flights ---- */

const struct core_flight *core_flight_find(const struct coordinator_core *core, sequence_t sequence) {
    for (unsigned i = 0; i < core->flights; i++)
        if (core->flight[i].sequence.number == sequence.number)
            return &core->flight[i];
    return NULL;
}

unsigned core_flight_item(const struct coordinator_core *core, const struct core_flight *flight, unsigned row) {
    unsigned item = flight->first;
    while (row-- > 0)
        item = core->next[item];
    return item;
}

/* Returns how many these were. */
static unsigned fail_chain(struct coordinator_core *core, struct coordinator_effects *effects, unsigned item,
                           const char *text) {
    unsigned count = 0;
    for (; item != NOTHING; item = core->next[item], count++) {
        struct coordinator_effect *effect = effects_add(effects, CORE_FAIL);
        effect->item = item;
        effect->text = text;
        core->items_failed++;
    }
    return count;
}

/* Out of the list; one that was under way is so no more. */
static struct core_flight flight_take(struct coordinator_core *core, unsigned index) {
    struct core_flight flight = core->flight[index];
    if (index < core->sent) {
        core->pipeline[epoch_lane(flight.epoch)].sent--;
        core->sent--;
    }
    core->flights--;
    memmove(&core->flight[index], &core->flight[index + 1], (core->flights - index) * sizeof core->flight[0]);
    return flight;
}

static unsigned flight_fail(struct coordinator_core *core, struct coordinator_effects *effects, unsigned index,
                            const char *text) {
    struct core_flight flight = flight_take(core, index);
    return fail_chain(core, effects, flight.first, text);
}

/* ---- replay ---- */

static void tell_failed(struct coordinator_effects *effects, unsigned items, const char *why) {
    if (items > 0)
        effects_tell(effects, FLEET_FAILED, why)->items = items;
}

static void tell_replayed(struct coordinator_effects *effects, unsigned items, unsigned microbatches, const char *why) {
    if (microbatches == 0)
        return;
    struct fleet_event *event = effects_tell(effects, FLEET_REPLAYED, effects_keep(effects, why));
    event->items = items;
    event->microbatches = microbatches;
}

/* Those beyond `after`: as many as take the time, each so long and each of its items so long, and `more` of them. */
struct suspects {
    sequence_t after;
    double left_ns, each_ns, item_ns;
    unsigned more;
};
static const struct suspects everyone = {.left_ns = INFINITY}, nobody = {.more = 0};

/* What the board may have been computing when it was last heard of, or begun since, at the pace it had. Its heartbeats
 * tell of one epoch; of an older one nobody is suspected, since a guilty one will be when it is sent again. */
static struct suspects suspects_of(const struct coordinator_core *core, unsigned board, epoch_t epoch, mono_t now) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    const struct message_heartbeat *last = &core->board[board].last;
    int stage = serving ? pipeline_stage_of(serving, board) : -1;
    if (stage < 0 || serving->epoch.number != epoch.number)
        return nobody;
    bool told = last->epoch.number == epoch.number && last->microbatches > 0;
    if (!told && !core->settings.measured_first)
        return everyone; /* nobody knows how fast it is */
    double planned_ns = 1e9 * serving->plan.stage[stage].compute_s / PLAN_SLACK;
    return (struct suspects){.after = {told ? last->computed.number : 0},
                             .left_ns = (double)(mono_since(now, core->board[board].heard) + BEAT_NS),
                             .each_ns = told ? (double)last->busy_ns / (double)last->microbatches : 0,
                             .item_ns = told ? 0 : planned_ns / core->settings.microbatch,
                             .more = 1};
}

static bool is_among(const struct core_flight *flight, struct suspects *suspects) {
    if (flight->sequence.number <= suspects->after.number)
        return false;
    if (suspects->left_ns > 0) {
        suspects->left_ns -= fmax(suspects->each_ns + flight->count * suspects->item_ns, 1);
        return true;
    }
    return suspects->more > 0 && suspects->more-- > 0;
}

/* Is it to be given up? */
static bool suspect(struct core_flight *flight, struct suspects *suspects) {
    flight->suspected += is_among(flight, suspects);
    return flight->suspected >= CORE_SUSPECTED_MAX || flight->attempts >= CORE_ATTEMPTS_MAX;
}

/* Of the first `count` flights under way, those of that epoch will not arrive: they are to be sent again, in their
 * order and before those that wait for it already; or they are given up. */
static void replay(struct coordinator_core *core, unsigned count, epoch_t epoch, struct suspects suspects,
                   const char *why, struct coordinator_effects *effects) {
    struct core_flight again[CORE_FLIGHTS_MAX];
    unsigned kept = 0, items = 0, failed = 0;
    char text[CORE_REASON_MAX];
    const char *given_up = NULL;
    for (unsigned index = 0; count > 0; count--) {
        if (core->flight[index].epoch.number != epoch.number) {
            index++;
        } else if (suspect(&core->flight[index], &suspects)) {
            snprintf(text, sizeof text, "given up after %u attempts: %.240s", core->flight[index].attempts, why);
            given_up = given_up ? given_up : effects_keep(effects, text);
            failed += flight_fail(core, effects, index, given_up);
        } else {
            items += core->flight[index].count;
            again[kept++] = flight_take(core, index);
        }
    }
    memmove(&core->flight[core->sent + kept], &core->flight[core->sent],
            (core->flights - core->sent) * sizeof core->flight[0]);
    memcpy(&core->flight[core->sent], again, kept * sizeof again[0]);
    core->flights += kept;
    core->items_replayed += items;
    tell_replayed(effects, items, kept, why);
    tell_failed(effects, failed, given_up);
}

void flights_replay(struct coordinator_core *core, epoch_t epoch, const char *why,
                    struct coordinator_effects *effects) {
    replay(core, core->sent, epoch, everyone, why, effects);
}

void flights_replay_without(struct coordinator_core *core, epoch_t epoch, unsigned board, const char *why, mono_t now,
                            struct coordinator_effects *effects) {
    replay(core, core->sent, epoch, suspects_of(core, board, epoch, now), why, effects);
}

/* ---- dispatch and results ---- */

unsigned core_flights_allowed(const struct coordinator_core *core) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    unsigned wanted = core->settings.in_flight;
    if (wanted == 0 && serving)
        wanted = plan_in_flight(&serving->plan);
    return wanted < CORE_IN_FLIGHT_MAX ? wanted : CORE_IN_FLIGHT_MAX;
}

unsigned flights_in_service(const struct coordinator_core *core) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    return serving ? serving->sent : 0;
}

static bool microbatch_due(const struct coordinator_core *core, mono_t now) {
    if (core->queued == 0)
        return false;
    return core->queued >= core->settings.microbatch || core->ending ||
           mono_since(now, core->admitted[core->queue_first]) >= core->settings.microbatch_wait_ns;
}

void flights_dispatch(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    struct core_pipeline *serving = pipeline_in(core, PIPELINE_SERVING);
    bool again = core->flights > core->sent;
    if (!core->writable || serving->sent >= core_flights_allowed(core) || core->sent == CORE_FLIGHTS_MAX ||
        (!again && !microbatch_due(core, now)))
        return;
    struct core_flight *flight = &core->flight[core->sent];
    if (!again) {
        unsigned count = core->queued < core->settings.microbatch ? core->queued : core->settings.microbatch;
        *flight = (struct core_flight){.first = queue_shift(core, count), .count = count};
        core->flights++;
    }
    if (core->sent++ == 0)
        core->progressed = now;
    core->writable = false;
    core->sequence.number++;
    serving->sent++;
    flight->sequence = core->sequence;
    flight->epoch = serving->epoch;
    flight->attempts++;
    struct coordinator_effect *effect = effects_add(effects, CORE_DISPATCH);
    effect->sequence = core->sequence;
    effect->epoch = serving->epoch;
    effect->items = flight->count;
}

void flights_result(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                    struct coordinator_effects *effects) {
    const struct core_flight *flight = core_flight_find(core, event->sequence);
    const struct core_pipeline *pipeline = core_pipeline_of(core, event->epoch);
    if (!flight || flight->epoch.number != event->epoch.number || flight->count != event->items || !pipeline ||
        pipeline->state == PIPELINE_NONE) {
        core->stale++;
        return;
    }
    unsigned index = (unsigned)(flight - core->flight); /* it may be thought lost, and be to be sent again */
    unsigned overtaken = index < core->sent ? index : 0;
    unsigned row = 0;
    for (unsigned item = flight->first, next; item != NOTHING; item = next, row++) {
        next = core->next[item];
        struct coordinator_effect *effect = effects_add(effects, CORE_ANSWER);
        effect->item = item;
        effect->row = row;
        core->items_done++;
    }
    flight_take(core, index);
    core->progressed = core->pipeline[epoch_lane(event->epoch)].progressed = now;
    /* a pipeline keeps order: whatever was sent through it before this one and has not arrived will not */
    replay(core, overtaken, event->epoch, everyone, "a damaged microbatch was dropped on its way through the pipeline",
           effects);
}

/* ---- time ---- */

/* The setting, or HUNG_FACTOR times what is planned if that is longer. */
static int64_t stall_limit(const struct coordinator_core *core, double planned_s) {
    int64_t limit = (int64_t)fmin(HUNG_FACTOR * planned_s * 1e9, 3600e9);
    return limit > core->settings.stall_ns ? limit : core->settings.stall_ns;
}

/* While one serves, stages that compute tell of it; a payload on its way is heard of when it is there. */
static int64_t serving_patience(const struct coordinator_core *core) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    double longest = 0;
    for (unsigned i = 0; serving && i < serving->plan.stages; i++)
        longest = fmax(longest, fmax(serving->plan.stage[i].receive_s, serving->plan.stage[i].send_s));
    return stall_limit(core, longest);
}

void flights_stalled(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    static const char why[] = "a microbatch was lost: no stage is working on it";
    const struct core_pipeline *draining = core_pipeline_in(core, PIPELINE_DRAINING);
    if (draining && mono_since(now, draining->progressed) >= stall_limit(core, draining->plan.latency_s))
        flights_replay(core, draining->epoch, why, effects); /* nothing comes through it after them that would tell */
    if (core->sent == 0 || mono_since(now, core->progressed) < serving_patience(core))
        return;
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        flights_replay(core, core->pipeline[lane].epoch, why, effects);
    core->progressed = now;
}

/* Serving in name only: the first stage is out of reach, or takes nothing. */
static bool stuck(const struct coordinator_core *core, mono_t now) {
    return core->sent == 0 && !core->writable && mono_since(now, core->progressed) >= serving_patience(core);
}

static void why_not_served(const struct coordinator_core *core, char text[CORE_REASON_MAX]) {
    const struct core_pipeline *serving = core_pipeline_in(core, PIPELINE_SERVING);
    if (core->state == COORDINATOR_SERVING && serving)
        snprintf(text, CORE_REASON_MAX, "stage %s takes no microbatches: can the coordinator reach its data port?",
                 core->board[serving->plan.stage[0].board].name);
    else
        snprintf(text, CORE_REASON_MAX, "the pipeline is not serving: %.280s", core->reason);
}

void flights_impatient(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    bool serving = core->state == COORDINATOR_SERVING;
    if (serving ? !stuck(core, now) : mono_since(now, core->unserved_since) < core->settings.patience_ns)
        return;
    char text[CORE_REASON_MAX];
    why_not_served(core, text);
    const char *kept = NULL;
    unsigned failed = 0;
    for (unsigned i = core->sent; i < core->flights;) {
        if (mono_since(now, core->admitted[core->flight[i].first]) < core->settings.patience_ns) {
            i++;
            continue;
        }
        kept = kept ? kept : effects_keep(effects, text);
        failed += flight_fail(core, effects, i, kept);
    }
    unsigned late = 0;
    for (unsigned item = core->queue_first; item != NOTHING; item = core->next[item], late++)
        if (mono_since(now, core->admitted[item]) < core->settings.patience_ns)
            break;
    if (late > 0) {
        kept = kept ? kept : effects_keep(effects, text);
        failed += fail_chain(core, effects, queue_shift(core, late), kept);
    }
    tell_failed(effects, failed, kept);
}
