/* Items, from their submission to their one answer. A client submits at its own times; preparing takes a while; a slot
 * is taken when the item is submitted, the one given back last first, as in daemon/coordinator_clients.c. When a
 * coordinator goes, clients submit what is unanswered to the next one. Clients that hang up have what waits withdrawn
 * and come back; that what is under way by then would be submitted and answered a second time, unread, is not imitated.
 * An answer must be what one process would have computed. */
#include "test/sim/sim.h"

#include <string.h>

uint64_t sim_unit(uint64_t value, uint32_t unit) {
    return sim_mix(value ^ ((uint64_t)(unit + 1) << 40));
}

static uint64_t input_of(const struct world *world, unsigned item) {
    return sim_mix(world->seed * 1000003 + item);
}

static uint64_t expected(const struct world *world, unsigned item) {
    uint64_t value = input_of(world, item);
    for (uint32_t unit = 0; unit < world->units; unit++)
        value = sim_unit(value, unit);
    return value;
}

static bool final(const struct sim_item *item) {
    return item->state == SIM_ANSWERED || item->state == SIM_FAILED;
}

unsigned clients_unanswered(const struct world *world) {
    return world->open_items;
}

/* Bursts and trickles, or an even stream, until the world is mended. */
void clients_start(struct world *world) {
    bool large = world->boards == SIM_BOARDS;
    world->open_items = world->items = (large ? 60 : 10) + sim_roll(world, large ? 200 : 80);
    int64_t span = mono_since(world->calm_at, world->now), at = 0;
    bool stream = sim_roll(world, 2);
    for (unsigned item = 0; item < world->items; item++) {
        if (!stream && sim_roll(world, 10) == 0)
            at = sim_between(world, 0, span);
        at += stream ? sim_between(world, 0, 2 * span / world->items) : sim_between(world, 0, 20 * MONO_MS);
        sim_in(world, at, SIM_SUBMIT, item, 0);
    }
}

void clients_submitted(struct world *world, unsigned item) {
    struct sim_coordinator *c = &world->coordinator;
    if (!c->alive) {
        sim_in(world, 500 * MONO_MS, SIM_SUBMIT, item, 0);
        return;
    }
    unsigned slot = c->free_slot[--c->free_slots];
    c->item_of[slot] = item;
    world->item[item] = (struct sim_item){.state = SIM_PREPARING, .slot = slot, .group = SIM_ITEMS};
    sim_in(world, sim_between(world, MONO_MS / 10, 30 * MONO_MS), SIM_PREPARED, item, c->life);
}

void clients_ready(struct world *world, unsigned item) {
    world->coordinator.prepared_item[world->coordinator.prepared++] = item;
    sim_wake(world, SIM_COORDINATOR);
}

void clients_admit(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned i = 0; i < c->prepared; i++) {
        struct sim_item *item = &world->item[c->prepared_item[i]];
        item->state = SIM_ADMITTED;
        item->admitted = world->now;
        coordinator_feed(world, &(struct coordinator_event){.type = CORE_ITEM_ADMITTED, .item = item->slot});
    }
    c->prepared = 0;
}

/* The pixels of a microbatch. Its items must be waiting for an answer, and those that travelled together before. */
void clients_sent(struct world *world, const struct core_flight *flight, struct packet *packet) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned row = 0; row < flight->count; row++) {
        unsigned slot = core_flight_item(&c->core, flight, row), number = c->item_of[slot];
        unsigned group = c->item_of[flight->first];
        struct sim_item *item = &world->item[number];
        if (item->state != SIM_ADMITTED || item->slot != slot)
            sim_broken(world, "item %u is sent, but is not waiting for an answer", number);
        if (item->sends++ == 0) {
            item->group = group;
            item->members = flight->count;
        }
        if (item->group != group || item->members != flight->count)
            sim_broken(world, "item %u is sent again in other company", number);
        packet->value[row] = input_of(world, number);
    }
}

void clients_handed(struct world *world, const struct core_flight *flight) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned row = 0; row < flight->count; row++)
        world->item[c->item_of[core_flight_item(&c->core, flight, row)]].handed++;
}

/* The item's slot is free again; false when it was not taken. */
static bool finish(struct world *world, unsigned slot, enum sim_item_state state) {
    struct sim_coordinator *c = &world->coordinator;
    struct sim_item *item = &world->item[c->item_of[slot]];
    if (item->state != SIM_ADMITTED || item->slot != slot) {
        sim_broken(world, "item %u is answered twice", c->item_of[slot]);
        return false;
    }
    item->state = state;
    c->free_slot[c->free_slots++] = slot;
    world->open_items--;
    return true;
}

void clients_answered(struct world *world, unsigned slot, unsigned row) {
    struct sim_coordinator *c = &world->coordinator;
    unsigned number = c->item_of[slot];
    c->last_item = slot;
    if (!finish(world, slot, SIM_ANSWERED))
        return;
    world->counts.answered++;
    if (!c->result || row >= c->result->header.items)
        sim_broken(world, "item %u is answered without a result", number);
    else if (!core_pipeline_of(&c->core, c->result->header.epoch)) /* one that may be retired with this answer */
        sim_broken(world, "item %u is answered by epoch %llu", number,
                   (unsigned long long)c->result->header.epoch.number);
    else if (c->result->value[row] != expected(world, number))
        sim_broken(world, "item %u got a wrong answer", number);
}

/* Only impatience and too many attempts are reasons not to answer. */
void clients_refused(struct world *world, unsigned slot, const char *text) {
    struct sim_coordinator *c = &world->coordinator;
    unsigned number = c->item_of[slot];
    const struct sim_item *item = &world->item[number];
    bool tired = mono_since(world->now, item->admitted) >= c->core.settings.patience_ns;
    bool given_up = strncmp(text, "given up after ", 15) == 0 && item->sends >= CORE_SUSPECTED_MAX &&
                    item->handed >= CORE_SUSPECTED_MAX / 2;
    sim_trace(world, SIM_COORDINATOR, "item %u fails: %s", number, text);
    if (!finish(world, slot, SIM_FAILED))
        return;
    world->counts.failed++;
    if (!tired && !given_up)
        sim_broken(world, "item %u fails for no good reason: %s", number, text);
    if (strlen(text) < 20 || text[strlen(text) - 1] == ' ')
        sim_broken(world, "item %u fails without a reason: '%s'", number, text);
    if (given_up && !world->chaos && mono_since(world->now, world->calm_at) > 150 * MONO_SECOND)
        sim_broken(world, "item %u is given up though all is well: %s", number, text);
    if (world->quiet)
        sim_broken(world, "item %u fails though nothing went wrong: %s", number, text);
}

void clients_coordinator_lost(struct world *world) {
    for (unsigned number = 0; number < world->items; number++) {
        struct sim_item *item = &world->item[number];
        if (item->state == SIM_UNSENT || final(item))
            continue;
        item->state = SIM_UNSENT;
        sim_in(world, sim_between(world, 100 * MONO_MS, MONO_SECOND), SIM_SUBMIT, number, 0);
    }
}

void clients_dropped(struct world *world, unsigned slot) {
    struct sim_coordinator *c = &world->coordinator;
    unsigned number = c->item_of[slot];
    struct sim_item *item = &world->item[number];
    if (item->state != SIM_ADMITTED || item->slot != slot || item->sends > 0) {
        sim_broken(world, "item %u is dropped, but does not wait for its first microbatch", number);
        return;
    }
    item->state = SIM_UNSENT;
    c->free_slot[c->free_slots++] = slot;
    sim_in(world, sim_between(world, 100 * MONO_MS, MONO_SECOND), SIM_SUBMIT, number, 0);
}

void clients_hang_up(struct world *world) {
    for (unsigned number = 0; number < world->items; number++)
        if (world->item[number].state == SIM_ADMITTED && sim_roll(world, 2))
            coordinator_feed(
                world, &(struct coordinator_event){.type = CORE_ITEM_WITHDRAWN, .item = world->item[number].slot});
}
