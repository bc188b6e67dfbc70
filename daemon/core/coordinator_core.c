/* The coordinator's state machine; its states, invariants and vocabulary are in coordinator_core.h.
 *
 * coordinator_core_step is the one entry: it lets the event change what is known (boards, flights, queue), then lets
 * advance() draw the consequences: plan when enough boards are here, pause when the plan should change, dispatch when
 * the first stage takes more. All transitions go through enter(), so what entering a state does stands in one place.
 */
#include "daemon/core/coordinator_core.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NOTHING UINT32_MAX

const char *coordinator_state_name(enum coordinator_state state) {
    static const char *const names[] = {"waiting", "preparing", "serving", "pausing", "ended"};
    return names[state];
}

const char *board_state_name(enum board_state state) {
    static const char *const names[] = {"absent", "idle", "loading", "ready", "unfit", "leaving"};
    return names[state];
}

void coordinator_core_init(struct coordinator_core *core, const struct coordinator_settings *settings, mono_t now) {
    memset(core, 0, sizeof *core);
    core->settings = *settings;
    core->state = COORDINATOR_WAITING;
    core->queue_first = core->queue_last = NOTHING;
    core->unserved_since = core->progressed = core->changed_at = now;
    snprintf(core->reason, sizeof core->reason, "no board has joined yet");
}

static struct coordinator_effect *effect_add(struct coordinator_effects *effects, enum coordinator_effect_type type) {
    assert(effects->count < CORE_EFFECTS_MAX);
    struct coordinator_effect *effect = &effects->effect[effects->count++];
    *effect = (struct coordinator_effect){.type = type};
    return effect;
}

/* A copy of text that lives as long as the effects. */
static const char *keep(struct coordinator_effects *effects, const char *text) {
    char *kept = effects->text[effects->texts];
    if (effects->texts + 1 < CORE_TEXTS_MAX)
        effects->texts++;
    snprintf(kept, CORE_REASON_MAX, "%s", text);
    return kept;
}

static void note(struct coordinator_effects *effects, const char *text) {
    effect_add(effects, CORE_NOTE)->text = keep(effects, text);
}

static void fleet_changed(struct coordinator_core *core, mono_t now) {
    core->changed = true;
    core->changed_at = now;
}

/* ---- the queue of admitted items and the flights ---- */

static void queue_push(struct coordinator_core *core, unsigned item, mono_t now) {
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

static void fail_chain(struct coordinator_core *core, struct coordinator_effects *effects, unsigned item,
                       const char *text) {
    for (; item != NOTHING; item = core->next[item]) {
        struct coordinator_effect *effect = effect_add(effects, CORE_FAIL);
        effect->item = item;
        effect->text = text;
        core->items_failed++;
    }
}

static void flight_remove(struct coordinator_core *core, unsigned index) {
    core->flights--;
    core->sent -= index < core->sent;
    memmove(&core->flight[index], &core->flight[index + 1], (core->flights - index) * sizeof core->flight[0]);
}

static void flight_fail(struct coordinator_core *core, struct coordinator_effects *effects, unsigned index,
                        const char *text) {
    fail_chain(core, effects, core->flight[index].first, text);
    flight_remove(core, index);
}

/* The oldest `count` flights under way will not arrive: they are to be sent again, in their order and before those that
 * wait for it already; or they are given up. */
static void replay_flights(struct coordinator_core *core, struct coordinator_effects *effects, unsigned count,
                           const char *why) {
    struct core_flight again[CORE_FLIGHTS_MAX];
    unsigned kept = 0;
    char text[CORE_REASON_MAX];
    for (unsigned i = 0; i < count; i++) {
        if (core->flight[0].attempts >= CORE_ATTEMPTS_MAX) {
            snprintf(text, sizeof text, "given up after %d attempts: %.240s", CORE_ATTEMPTS_MAX, why);
            flight_fail(core, effects, 0, keep(effects, text));
            continue;
        }
        again[kept++] = core->flight[0];
        core->items_replayed += core->flight[0].count;
        flight_remove(core, 0);
    }
    memmove(&core->flight[core->sent + kept], &core->flight[core->sent],
            (core->flights - core->sent) * sizeof core->flight[0]);
    memcpy(&core->flight[core->sent], again, kept * sizeof again[0]);
    core->flights += kept;
}

/* ---- states ---- */

static void enter(struct coordinator_core *core, enum coordinator_state state, mono_t now) {
    bool served = core->state == COORDINATOR_SERVING;
    if (served && state != COORDINATOR_SERVING)
        core->unserved_since = now;
    core->state = state;
    core->writable = false;
    if (state == COORDINATOR_WAITING) {
        assert(core->sent == 0);
        for (unsigned i = 0; i < core->boards; i++) {
            struct core_board *board = &core->board[i];
            board->stage = -1;
            if (board->state == BOARD_LOADING || board->state == BOARD_READY)
                board->state = BOARD_IDLE;
        }
        core->plan.stages = 0;
        core->replan = false;
    }
}

static bool available(const struct core_board *board) {
    return board->state == BOARD_IDLE || board->state == BOARD_LOADING || board->state == BOARD_READY;
}

static unsigned available_boards(const struct coordinator_core *core) {
    unsigned count = 0;
    for (unsigned i = 0; i < core->boards; i++)
        count += available(&core->board[i]);
    return count;
}

/* ---- boards ---- */

static unsigned board_find_or_add(struct coordinator_core *core, const char *name) {
    for (unsigned i = 0; i < core->boards; i++)
        if (strcmp(core->board[i].name, name) == 0)
            return i;
    if (core->boards == CORE_BOARDS_MAX) { /* forget one that is not here; whoever comes is worth more */
        for (unsigned i = 0; i < core->boards; i++)
            if (core->board[i].state == BOARD_ABSENT && core->board[i].stage < 0)
                return snprintf(core->board[i].name, sizeof core->board[i].name, "%s", name), i;
        return NOTHING;
    }
    struct core_board *board = &core->board[core->boards];
    memset(board, 0, sizeof *board);
    snprintf(board->name, sizeof board->name, "%s", name);
    board->stage = -1;
    return core->boards++;
}

/* A stage of the plan is gone or unable: its epoch is over. */
static void break_plan(struct coordinator_core *core, const struct core_board *board, const char *what, mono_t now,
                       struct coordinator_effects *effects) {
    const struct plan_stage *stage = &core->plan.stage[board->stage];
    snprintf(core->cause, sizeof core->cause, "stage %s (units %u to %u) %s", board->name, stage->first, stage->end - 1,
             what);
    snprintf(core->reason, sizeof core->reason, "%s", core->cause);
    note(effects, core->cause);
    replay_flights(core, effects, core->sent, core->cause);
    enter(core, COORDINATOR_WAITING, now);
}

static void board_gone(struct coordinator_core *core, unsigned number, const char *what, mono_t now,
                       struct coordinator_effects *effects) {
    struct core_board *board = &core->board[number];
    if (board->state == BOARD_ABSENT)
        return;
    board->state = BOARD_ABSENT;
    fleet_changed(core, now);
    if (board->stage >= 0)
        break_plan(core, board, what, now, effects);
}

static void on_joined(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                      struct coordinator_effects *effects) {
    unsigned number = board_find_or_add(core, event->name);
    effects->board = number;
    if (number == NOTHING)
        return;
    board_gone(core, number, "started anew", now, effects); /* the old one, if it was still thought to be here */
    struct core_board *board = &core->board[number];
    board->state = BOARD_IDLE;
    board->memory_bytes = event->memory_bytes;
    board->heard = now;
    board->reason[0] = '\0';
    memset(&board->last, 0, sizeof board->last);
    fleet_changed(core, now);
    if (core->settings.stages == 0 && core->state != COORDINATOR_WAITING && !core->settings.measured_first)
        core->replan = true;
}

static void on_measured(struct coordinator_core *core, const struct core_board *board) {
    if (core->settings.stages == 0 && core->state != COORDINATOR_WAITING && board->state == BOARD_IDLE)
        core->replan = true;
}

static void on_leaving(struct coordinator_core *core, struct core_board *board, mono_t now) {
    if (board->state == BOARD_ABSENT)
        return;
    board->state = BOARD_LEAVING;
    fleet_changed(core, now);
    if (board->stage >= 0) {
        core->replan = true;
        snprintf(core->cause, sizeof core->cause, "stage %s left", board->name);
    }
}

static void on_ready(struct coordinator_core *core, struct core_board *board, epoch_t epoch) {
    if (core->state == COORDINATOR_PREPARING && epoch.number == core->epoch.number && board->state == BOARD_LOADING)
        board->state = BOARD_READY;
}

static void on_failed(struct coordinator_core *core, struct core_board *board, const struct coordinator_event *event,
                      mono_t now, struct coordinator_effects *effects) {
    if (event->epoch.number != core->epoch.number || board->stage < 0)
        return;
    board->state = BOARD_UNFIT;
    snprintf(board->reason, sizeof board->reason, "%s", event->text);
    char what[CORE_REASON_MAX];
    snprintf(what, sizeof what, "cannot serve: %.240s", event->text);
    fleet_changed(core, now);
    break_plan(core, board, what, now, effects);
}

static void on_heartbeat(struct coordinator_core *core, struct core_board *board,
                         const struct message_heartbeat *heartbeat, mono_t now) {
    if (heartbeat->epoch.number == core->epoch.number && heartbeat->busy_ns != board->last.busy_ns)
        core->progressed = now;
    board->last = *heartbeat;
}

/* ---- plans ---- */

static void on_planned(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                       struct coordinator_effects *effects) {
    core->planning = false;
    if (core->state != COORDINATOR_WAITING)
        return;
    if (event->stale) {
        core->changed = true;
        return;
    }
    if (core->settings.stages == 0 && core->changed)
        return; /* it would leave out who came meanwhile; advance() asks again */
    if (!event->plan) {
        snprintf(core->reason, sizeof core->reason, "no plan: %s", event->text);
        note(effects, core->reason);
        return;
    }
    for (unsigned i = 0; i < event->plan->stages; i++)
        if (!available(&core->board[event->plan->stage[i].board]))
            return; /* one went away meanwhile; advance() asks again */
    core->plan = *event->plan;
    core->epoch.number++;
    enter(core, COORDINATOR_PREPARING, now);
    snprintf(core->reason, sizeof core->reason, "stages are loading their slices");
    for (unsigned i = 0; i < core->plan.stages; i++) {
        struct core_board *board = &core->board[core->plan.stage[i].board];
        board->stage = (int)i;
        board->state = BOARD_LOADING;
        memset(&board->last, 0, sizeof board->last);
        struct coordinator_effect *effect = effect_add(effects, CORE_ASSIGN);
        effect->board = core->plan.stage[i].board;
        effect->epoch = core->epoch;
    }
}

/* Keeps boards[0..count) in the order of their names, "b2" before "b10": the order that they came in differs from one
 * start of a fleet to the next, and with it would their slices, which they have cached. */
static void insert_by_name(const struct coordinator_core *core, struct coordinator_effects *effects, unsigned number) {
    unsigned place = effects->board_count++;
    for (; place > 0; place--) {
        unsigned before = effects->boards[place - 1];
        if (strverscmp(core->board[before].name, core->board[number].name) <= 0)
            break;
        effects->boards[place] = before;
    }
    effects->boards[place] = number;
}

static void ask_for_plan(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    unsigned here = available_boards(core), wanted = core->settings.stages;
    if (core->planning || !core->changed)
        return;
    if (here == 0 || here < wanted) {
        snprintf(core->reason, sizeof core->reason, "%.200s%s%u of %u boards are here", core->cause,
                 core->cause[0] ? "; " : "", here, wanted > 0 ? wanted : 1);
        return;
    }
    if (wanted == 0 && mono_since(now, core->changed_at) < core->settings.settle_ns) {
        snprintf(core->reason, sizeof core->reason, "waiting a moment for more boards");
        return;
    }
    core->changed = false;
    core->planning = true;
    effects->board_count = 0;
    for (unsigned i = 0; i < core->boards && (wanted == 0 || effects->board_count < wanted); i++)
        if (available(&core->board[i]))
            insert_by_name(core, effects, i);
    effect_add(effects, CORE_PLAN);
}

static bool all_ready(const struct coordinator_core *core) {
    for (unsigned i = 0; i < core->plan.stages; i++)
        if (core->board[core->plan.stage[i].board].state != BOARD_READY)
            return false;
    return true;
}

static void release_leaving(struct coordinator_core *core, struct coordinator_effects *effects) {
    for (unsigned i = 0; i < core->boards; i++) {
        if (core->board[i].state != BOARD_LEAVING || core->board[i].stage >= 0)
            continue;
        core->board[i].state = BOARD_ABSENT;
        effect_add(effects, CORE_RELEASE)->board = i;
    }
}

/* ---- microbatches ---- */

static unsigned flights_allowed(const struct coordinator_core *core) {
    unsigned allowed = core->settings.in_flight ? core->settings.in_flight : 2 * core->plan.stages + 2;
    return allowed < CORE_FLIGHTS_MAX ? allowed : CORE_FLIGHTS_MAX;
}

static bool microbatch_due(const struct coordinator_core *core, mono_t now) {
    if (core->queued == 0)
        return false;
    return core->queued >= core->settings.microbatch || core->ending ||
           mono_since(now, core->admitted[core->queue_first]) >= core->settings.microbatch_wait_ns;
}

static void dispatch(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    bool again = core->flights > core->sent;
    if (!core->writable || core->sent >= flights_allowed(core) || (!again && !microbatch_due(core, now)))
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
    flight->sequence = core->sequence;
    flight->attempts++;
    struct coordinator_effect *effect = effect_add(effects, CORE_DISPATCH);
    effect->sequence = core->sequence;
    effect->epoch = core->epoch;
    effect->items = flight->count;
}

static void on_result(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                      struct coordinator_effects *effects) {
    const struct core_flight *flight = core_flight_find(core, event->sequence);
    if (event->epoch.number != core->epoch.number || !flight || flight->count != event->items) {
        core->stale++;
        return;
    }
    unsigned index = (unsigned)(flight - core->flight), overtaken = index < core->sent ? index : 0;
    unsigned row = 0;
    for (unsigned item = flight->first, next; item != NOTHING; item = next, row++) {
        next = core->next[item];
        struct coordinator_effect *effect = effect_add(effects, CORE_ANSWER);
        effect->item = item;
        effect->row = row;
        core->items_done++;
    }
    flight_remove(core, index);
    core->progressed = now;
    /* the pipeline keeps order: whatever was sent before this one and has not arrived will not */
    replay_flights(core, effects, overtaken, "a damaged microbatch was dropped on its way through the pipeline");
}

/* ---- time ---- */

static void drop_silent_boards(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    for (unsigned i = 0; i < core->boards; i++)
        if (core->board[i].state != BOARD_ABSENT &&
            mono_since(now, core->board[i].heard) > core->settings.board_silence_ns)
            board_gone(core, i, "fell silent", now, effects);
}

static void drop_stalled_flights(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    if (core->sent == 0 || mono_since(now, core->progressed) < core->settings.stall_ns)
        return;
    replay_flights(core, effects, core->sent, "a microbatch was lost: no stage is working on it");
    core->progressed = now;
}

/* Serving in name only: the first stage is out of reach, or takes nothing. */
static bool stuck(const struct coordinator_core *core, mono_t now) {
    return core->sent == 0 && !core->writable && mono_since(now, core->progressed) >= core->settings.stall_ns;
}

static void why_not_served(const struct coordinator_core *core, char text[CORE_REASON_MAX]) {
    if (core->state == COORDINATOR_SERVING)
        snprintf(text, CORE_REASON_MAX, "stage %s takes no microbatches: can the coordinator reach its data port?",
                 core->board[core->plan.stage[0].board].name);
    else
        snprintf(text, CORE_REASON_MAX, "the pipeline is not serving: %.280s", core->reason);
}

static void fail_impatient(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    bool serving = core->state == COORDINATOR_SERVING;
    if (serving ? !stuck(core, now) : mono_since(now, core->unserved_since) < core->settings.patience_ns)
        return;
    char text[CORE_REASON_MAX];
    why_not_served(core, text);
    const char *kept = NULL;
    for (unsigned i = core->sent; i < core->flights;) {
        if (mono_since(now, core->admitted[core->flight[i].first]) < core->settings.patience_ns) {
            i++;
            continue;
        }
        kept = kept ? kept : keep(effects, text);
        flight_fail(core, effects, i, kept);
    }
    unsigned late = 0;
    for (unsigned item = core->queue_first; item != NOTHING; item = core->next[item], late++)
        if (mono_since(now, core->admitted[item]) < core->settings.patience_ns)
            break;
    if (late > 0)
        fail_chain(core, effects, queue_shift(core, late), kept ? kept : keep(effects, text));
}

/* Draws the consequences of whatever has changed. */
static void advance(struct coordinator_core *core, mono_t now, struct coordinator_effects *effects) {
    if (core->replan && core->state == COORDINATOR_SERVING) {
        enter(core, COORDINATOR_PAUSING, now);
        snprintf(core->reason, sizeof core->reason, "%.200s%sa new plan waits for the microbatches in flight",
                 core->cause, core->cause[0] ? "; " : "");
    }
    if (core->replan && core->sent == 0)
        enter(core, COORDINATOR_WAITING, now);
    if (core->state == COORDINATOR_PREPARING && all_ready(core)) {
        enter(core, COORDINATOR_SERVING, now);
        core->reason[0] = core->cause[0] = '\0';
        core->progressed = now;
        effect_add(effects, CORE_SERVE)->epoch = core->epoch;
    }
    release_leaving(core, effects);
    bool idle = core->queued == 0 && core->flights == 0;
    if (core->state == COORDINATOR_WAITING && !(core->ending && idle))
        ask_for_plan(core, now, effects);
    if (core->state == COORDINATOR_SERVING)
        dispatch(core, now, effects);
    if (core->ending && core->queued == 0 && core->flights == 0 && core->state != COORDINATOR_ENDED) {
        core->state = COORDINATOR_ENDED;
        effect_add(effects, CORE_EXIT);
    }
}

static void apply_board_event(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                              struct coordinator_effects *effects) {
    assert(event->board < core->boards);
    struct core_board *board = &core->board[event->board];
    if (event->type == CORE_BOARD_MEASURED) { /* said by us, not by it */
        on_measured(core, board);
        return;
    }
    board->heard = now;
    switch (event->type) {
    case CORE_BOARD_LOST:
        board_gone(core, event->board, "was lost", now, effects);
        break;
    case CORE_BOARD_LEAVING:
        on_leaving(core, board, now);
        break;
    case CORE_BOARD_READY:
        on_ready(core, board, event->epoch);
        break;
    case CORE_BOARD_FAILED:
        on_failed(core, board, event, now, effects);
        break;
    case CORE_HEARTBEAT:
        on_heartbeat(core, board, event->heartbeat, now);
        break;
    default:
        break; /* CORE_BOARD_HEARD: noted above */
    }
}

void coordinator_core_step(struct coordinator_core *core, const struct coordinator_event *event, mono_t now,
                           struct coordinator_effects *effects) {
    effects->count = effects->texts = 0;
    switch (event->type) {
    case CORE_BOARD_JOINED:
        on_joined(core, event, now, effects);
        break;
    case CORE_PLANNED:
        on_planned(core, event, now, effects);
        break;
    case CORE_ITEM_ADMITTED:
        queue_push(core, event->item, now);
        break;
    case CORE_ITEM_WITHDRAWN:
        if (queue_remove(core, event->item))
            effect_add(effects, CORE_DROP)->item = event->item;
        break;
    case CORE_RESULT:
        on_result(core, event, now, effects);
        break;
    case CORE_WRITABLE:
        core->writable = true;
        break;
    case CORE_TICK:
        drop_silent_boards(core, now, effects);
        drop_stalled_flights(core, now, effects);
        fail_impatient(core, now, effects);
        break;
    case CORE_SHUTDOWN:
        core->ending = true;
        break;
    default:
        apply_board_event(core, event, now, effects);
        break;
    }
    advance(core, now, effects);
}

mono_t coordinator_core_deadline(const struct coordinator_core *core, mono_t now) {
    int64_t wait = 100 * MONO_MS; /* the slow clocks (silence, patience, stall) need no better */
    /* while all flights allowed are out, only a result lets another go: no deadline, or the loop would never sleep */
    if (core->state == COORDINATOR_SERVING && core->queued > 0 && core->writable &&
        core->sent < flights_allowed(core)) {
        int64_t left = core->settings.microbatch_wait_ns - mono_since(now, core->admitted[core->queue_first]);
        wait = left < wait ? left : wait;
    }
    return mono_after(now, wait > 0 ? wait : 0);
}
