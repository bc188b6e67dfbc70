/* What holds after every step, and at the end of a history.
 *
 * Coordinator: every admitted item is in exactly one place; flights are under way only while an epoch serves or pauses;
 * epochs and sequence numbers only grow; in an epoch that serves each unit has one owner, which is there and ready, and
 * no slice is larger than its board's memory. Boards: what the core promises of itself; a board that works does so on
 * the slice that its epoch gave it, in no epoch that the coordinator does not know; what it holds in memory is within
 * its budget. Answers are checked where they are given (clients.c). */
#include "test/sim/sim.h"

#include <stdlib.h>

#define NOTHING UINT32_MAX

/* ---- the coordinator ---- */

/* Counts the items of a chain, each of which must be waiting for an answer and nowhere else. */
static unsigned chain(struct world *world, unsigned first, uint64_t seen[CORE_ITEMS_MAX / 64]) {
    const struct sim_coordinator *c = &world->coordinator;
    unsigned count = 0;
    for (unsigned slot = first; slot != NOTHING; slot = c->core.next[slot], count++) {
        const struct sim_item *item = &world->item[c->item_of[slot]];
        if (item->state != SIM_ADMITTED || item->slot != slot) {
            sim_broken(world, "slot %u is queued or in flight, but item %u is not waiting", slot, c->item_of[slot]);
            return count;
        }
        if (seen[slot / 64] >> slot % 64 & 1) {
            sim_broken(world, "item %u is at two places", c->item_of[slot]);
            return count;
        }
        seen[slot / 64] |= UINT64_C(1) << slot % 64;
    }
    return count;
}

static void check_items(struct world *world) {
    const struct coordinator_core *core = &world->coordinator.core;
    uint64_t seen[CORE_ITEMS_MAX / 64] = {0};
    unsigned there = chain(world, core->queue_first, seen), waiting = world->coordinator.prepared;
    if (there != core->queued)
        sim_broken(world, "%u items are queued, counted are %u", there, core->queued);
    for (unsigned i = 0; i < core->flights && !world->failure[0]; i++) {
        unsigned count = chain(world, core->flight[i].first, seen);
        there += count;
        if (count != core->flight[i].count)
            sim_broken(world, "microbatch %llu has %u items, counted are %u",
                       (unsigned long long)core->flight[i].sequence.number, count, core->flight[i].count);
    }
    for (unsigned i = 0; i < world->items; i++)
        waiting += world->item[i].state == SIM_ADMITTED;
    waiting -= world->coordinator.prepared; /* those are not yet SIM_ADMITTED */
    if (there != waiting)
        sim_broken(world, "%u items wait for an answer, the core knows of %u", waiting, there);
}

static void check_stage(struct world *world, const struct core_pipeline *pipeline, unsigned number) {
    const struct coordinator_core *core = &world->coordinator.core;
    const struct plan_stage *stage = &pipeline->plan.stage[number];
    const struct core_board *board = &core->board[stage->board];
    bool there = board->state == BOARD_READY || board->state == BOARD_LEAVING;
    if (pipeline == core_pipeline_in_force(core) && board->stage != (int)number)
        sim_broken(world, "stage %u is %s, which has stage %d", number, board->name, board->stage);
    if (pipeline->state == PIPELINE_PREPARING ? !there && board->state != BOARD_LOADING : !there)
        sim_broken(world, "the coordinator is %s, and stage %s of epoch %llu is %s",
                   coordinator_state_name(core->state), board->name, (unsigned long long)pipeline->epoch.number,
                   board_state_name(board->state));
    if (board->memory_bytes && sim_slice_bytes(world, stage->first, stage->end) > board->memory_bytes)
        sim_broken(world, "units %u to %u are more than the memory of %s", stage->first, stage->end - 1, board->name);
}

static void check_pipeline(struct world *world, const struct core_pipeline *pipeline) {
    unsigned unit = 0, sent = 0;
    const struct coordinator_core *core = &world->coordinator.core;
    for (unsigned i = 0; i < core->sent; i++)
        sent += core->flight[i].epoch.number == pipeline->epoch.number;
    if (sent != pipeline->sent)
        sim_broken(world, "%u microbatches are under way in epoch %llu, counted are %u", sent,
                   (unsigned long long)pipeline->epoch.number, pipeline->sent);
    if (pipeline->state == PIPELINE_NONE || pipeline->state == PIPELINE_PREPARING ? sent > 0 : false)
        sim_broken(world, "microbatches are under way in epoch %llu, which does not serve",
                   (unsigned long long)pipeline->epoch.number);
    if (pipeline->state == PIPELINE_NONE)
        return;
    for (unsigned i = 0; i < pipeline->plan.stages; i++) {
        const struct plan_stage *stage = &pipeline->plan.stage[i];
        if (stage->first != unit || stage->end <= stage->first)
            sim_broken(world, "stage %u has units %u to %u, unit %u is next", i, stage->first, stage->end - 1, unit);
        unit = stage->end;
        check_stage(world, pipeline, i);
    }
    if (unit != world->units)
        sim_broken(world, "nobody has unit %u", unit);
}

static void check_pipelines(struct world *world) {
    const struct coordinator_core *core = &world->coordinator.core;
    unsigned count[PIPELINE_DRAINING + 1] = {0}, sent = 0;
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++) {
        const struct core_pipeline *pipeline = &core->pipeline[lane];
        count[pipeline->state]++;
        sent += pipeline->sent;
        check_pipeline(world, pipeline);
    }
    bool serves = core->state == COORDINATOR_SERVING || core->state == COORDINATOR_PAUSING;
    if (core->state != COORDINATOR_ENDED && serves != (count[PIPELINE_SERVING] == 1))
        sim_broken(world, "%u epochs serve, and the coordinator is %s", count[PIPELINE_SERVING],
                   coordinator_state_name(core->state));
    if (core->state == COORDINATOR_PREPARING && count[PIPELINE_PREPARING] != 1)
        sim_broken(world, "preparing nothing");
    if (sent != core->sent)
        sim_broken(world, "%u microbatches are under way, %u of them in no epoch", core->sent, core->sent - sent);
}

static void check_numbers(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    const struct coordinator_core *core = &c->core;
    if (core->epoch.number < c->last_epoch.number || core->sequence.number < c->last_sequence.number)
        sim_broken(world, "an epoch or a sequence number was given twice");
    if (core->state == COORDINATOR_WAITING && core_pipeline_in_force(core))
        sim_broken(world, "waiting with a plan");
    if (core->sent > core->flights)
        sim_broken(world, "%u of %u microbatches are under way", core->sent, core->flights);
    for (unsigned i = 1; i < core->sent; i++)
        if (core->flight[i].sequence.number <= core->flight[i - 1].sequence.number)
            sim_broken(world, "microbatches under way are out of order");
    if (world->quiet && core->items_replayed > 0)
        sim_broken(world, "a microbatch is sent again though nothing went wrong");
    c->last_epoch = core->epoch;
    c->last_sequence = core->sequence;
}

void check_coordinator(struct world *world) {
    if (!world->failure[0])
        check_items(world);
    if (!world->failure[0])
        check_pipelines(world);
    if (!world->failure[0])
        check_numbers(world);
}

/* Only what belongs to its slice and epoch is computed. */
void check_job(struct world *world, unsigned number, unsigned index, unsigned input) {
    const struct stage_core *core = &world->board[number].core;
    const struct stage_lane *lane = &core->lane[index];
    const struct data_header *header = &lane->input[input].header;
    if (header->cluster != core->cluster || header->epoch.number != lane->epoch.number || header->cut != lane->first)
        sim_broken(world, "%s computes a microbatch of epoch %llu and cut %u in epoch %llu at cut %u",
                   world->board[number].name, (unsigned long long)header->epoch.number, header->cut,
                   (unsigned long long)lane->epoch.number, lane->first);
}

/* A pipeline keeps order: the coordinator takes a microbatch that is overtaken for lost. */
void check_sent(struct world *world, unsigned number, unsigned lane, const struct data_header *header) {
    struct sim_way *way = &world->board[number].way[lane];
    if (header->cluster == way->sent_cluster && header->epoch.number == way->sent_epoch.number &&
        header->sequence.number <= way->sent.number)
        sim_broken(world, "%s sends microbatch %llu after %llu", world->board[number].name,
                   (unsigned long long)header->sequence.number, (unsigned long long)way->sent.number);
    way->sent_cluster = header->cluster;
    way->sent_epoch = header->epoch;
    way->sent = header->sequence;
}

/* Whoever has the slice of this epoch has it ready. (Some may be lost without the coordinator's knowing it.) */
void check_serve(struct world *world, epoch_t epoch) {
    const struct sim_coordinator *c = &world->coordinator;
    const struct plan *plan = &c->core.pipeline[epoch_lane(epoch)].plan;
    for (unsigned i = 0; i < plan->stages; i++) {
        const struct sim_board *board = &world->board[c->place[plan->stage[i].board].endpoint.node];
        const struct stage_lane *lane = &board->core.lane[epoch_lane(epoch)];
        if (board->alive && board->core.cluster == c->cluster && lane->epoch.number == epoch.number &&
            (lane->state == LANE_CLEARING || lane->state == LANE_LOADING))
            sim_broken(world, "epoch %llu is to be served, and %s is %s", (unsigned long long)epoch.number, board->name,
                       lane_state_name(lane->state));
    }
}

void plan_remember(struct world *world) {
    const struct coordinator_core *core = &world->coordinator.core;
    struct sim_plan *plan = &world->plan[core->epoch.number % SIM_EPOCHS];
    const struct plan *made = &core->pipeline[epoch_lane(core->epoch)].plan;
    plan->cluster = world->coordinator.cluster;
    plan->epoch = core->epoch;
    for (unsigned i = 0; i < made->stages; i++)
        for (unsigned unit = made->stage[i].first; unit < made->stage[i].end && unit < SIM_UNITS; unit++)
            plan->owner[unit] = (unsigned)strtoul(core->board[made->stage[i].board].name + 1, NULL, 10);
}

/* ---- the boards ---- */

static void check_memory(struct world *world, const struct sim_board *board) {
    uint64_t bytes = SIM_PROCESS_BYTES;
    const struct sim_engine *first = &board->way[0].engine, *second = &board->way[1].engine;
    for (unsigned lane = 0; lane < STAGE_LANES; lane++) {
        const struct sim_way *way = &board->way[lane];
        if (way->engine.there)
            bytes += sim_slice_bytes(world, way->engine.first, way->engine.end) -
                     STAGE_INPUTS * sim_payload_bytes(way->engine.first);
        for (unsigned i = 0; i < STAGE_INPUTS; i++)
            bytes += way->input[i].kept ? sim_payload_bytes(board->core.lane[lane].first) : 0;
    }
    if (first->there && second->there)
        bytes -= sim_shared_bytes(world, first->first, first->end, second->first, second->end);
    if (board->memory && bytes > board->memory)
        sim_broken(world, "%s holds %llu bytes, its memory is %llu", board->name, (unsigned long long)bytes,
                   (unsigned long long)board->memory);
}

/* At most one board works on a unit in one epoch: that which the plan gave it to. */
static void check_slice(struct world *world, struct sim_board *board, unsigned index) {
    const struct stage_core *core = &board->core;
    const struct stage_lane *lane = &core->lane[index];
    const struct sim_coordinator *c = &world->coordinator;
    struct sim_way *way = &board->way[index];
    if (!stage_core_working(core, index) || core->cluster != c->cluster || !c->alive ||
        lane->epoch.number == way->checked.number)
        return;
    way->checked = lane->epoch;
    const struct sim_plan *plan = &world->plan[lane->epoch.number % SIM_EPOCHS];
    if (lane->epoch.number > c->core.epoch.number)
        sim_broken(world, "%s serves epoch %llu, which is not yet", board->name,
                   (unsigned long long)lane->epoch.number);
    if (plan->cluster != c->cluster || plan->epoch.number != lane->epoch.number)
        return; /* too long ago */
    bool same = way->engine.there && lane->first == way->engine.first && lane->end == way->engine.end;
    for (unsigned unit = lane->first; unit < lane->end; unit++)
        same = same && plan->owner[unit] == (unsigned)(board - world->board);
    if (!same)
        sim_broken(world, "%s serves units %u to %u, which its epoch did not give it", board->name, lane->first,
                   lane->end - 1);
}

void check_board(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    const char *broken = stage_core_broken(&board->core);
    if (!broken)
        broken = fetch_core_broken(&board->fetch);
    if (broken)
        sim_broken(world, "%s, %s: %s", board->name, stage_state_name(board->core.state), broken);
    check_memory(world, board);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        check_slice(world, board, lane);
}

/* ---- the end ---- */

void check_end(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    world->counts.replayed += c->core.items_replayed;
    world->counts.stale += c->core.stale;
    world->counts.epochs += c->core.epoch.number;
    if (world->open_items > 0)
        sim_broken(world, "all has been well for long, and %u items are not answered; the coordinator is %s: %s",
                   world->open_items, coordinator_state_name(c->core.state), c->core.reason);
    c->shutdown = true;
    coordinator_turn(world);
    if (!c->exited)
        sim_broken(world, "the coordinator does not end, though it has nothing to do");
}
