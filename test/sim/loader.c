/* The loader of a board: takes the units of a slice one after another, from the board's cache or, a few at a time, from
 * the coordinator, and reports through a queue that the loop reads on its next turn. It ends with one report: loaded,
 * failed (too little memory, or a disk that fails while there are troubles) or ended because it was told to; a load
 * that is done when it is told to stop may still say that it has loaded. */
#include "test/sim/sim.h"

#include <string.h>

#define WINDOW 3 /* units asked for at once; FETCH_CHUNKS at most */

static void report(struct world *world, unsigned number, struct sim_report said) {
    struct sim_loader *loader = &world->board[number].loader;
    if (loader->reports == sizeof loader->report / sizeof loader->report[0]) {
        sim_broken(world, "the loader of %s reports without end", world->board[number].name);
        return;
    }
    loader->report[loader->reports++] = said;
    sim_wake(world, number);
}

static bool worker_uses(const struct sim_board *board, unsigned lane) {
    for (unsigned i = 0; i < board->jobs; i++)
        if (board->job[i].lane == lane)
            return true;
    return false;
}

/* The engine of a lane that does not work leaves it. */
static struct sim_engine take_engine(struct world *world, struct sim_board *board, unsigned lane) {
    struct sim_engine engine = board->way[lane].engine;
    if (worker_uses(board, lane) || !engine.there)
        sim_broken(world, "%s takes the engine of lane %u, which is busy or has none", board->name, lane);
    for (unsigned output = 0; output < STAGE_OUTPUTS; output++)
        if (board->way[lane].held[output])
            sim_broken(world, "%s takes an engine while the network reads output slot %u", board->name, output);
    board->way[lane].engine.there = false;
    return engine;
}

/* Takes the assignment and the engine of a lane that does not work; another may be shared. */
void loader_begin(struct world *world, unsigned number, const struct stage_effect *effect) {
    struct sim_board *board = &world->board[number];
    struct sim_loader *loader = &board->loader;
    struct sim_engine old = {0}, beside = {0};
    if (loader->busy || loader->reports > 0 || worker_uses(board, effect->lane))
        sim_broken(world, "%s loads while its loader or its worker is busy", board->name);
    if (effect->old != STAGE_LANES)
        old = take_engine(world, board, effect->old);
    if (board->way[effect->lane].engine.there)
        sim_broken(world, "%s loads into lane %u, which has an engine", board->name, effect->lane);
    if (effect->beside != STAGE_LANES)
        beside = board->way[effect->beside].engine;
    board->loads++;
    *loader = (struct sim_loader){.busy = true,
                                  .lane = effect->lane,
                                  .old = old,
                                  .beside = beside,
                                  .first = board->assigned_first,
                                  .end = board->assigned_end,
                                  .next = board->assigned_first,
                                  .fails = world->rough && sim_roll(world, 100) == 0};
    if (world->rough && sim_roll(world, 100) == 0) {
        loader->stuck_until = mono_after(world->now, sim_between(world, MONO_SECOND, 30 * MONO_SECOND));
        world->counts.jams++;
        sim_trace(world, number, "its loader is stuck");
    }
    sim_in(world, sim_between(world, MONO_MS / 10, 20 * MONO_MS), SIM_LOADER, number, board->life);
}

void loader_stop(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    board->loader.cancelled = true;
    sim_in(world, sim_between(world, 0, 100 * MONO_MS), SIM_LOADER, number, board->life);
}

static void end(struct world *world, unsigned number, enum stage_event_type type) {
    world->board[number].loader.busy = false;
    report(world, number, (struct sim_report){.type = type});
}

/* Looks at the next units; true when all are there. */
static bool gather(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    struct sim_loader *loader = &board->loader;
    for (; loader->next < loader->end && loader->outstanding < WINDOW; loader->next++) {
        if (board->cached[loader->next])
            continue;
        loader->outstanding++;
        report(world, number, (struct sim_report){.wants = true, .unit = loader->next});
    }
    return loader->next == loader->end && loader->outstanding == 0;
}

void loader_go_on(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    struct sim_loader *loader = &board->loader;
    if (!loader->busy)
        return;
    if (mono_since(world->now, loader->stuck_until) < 0) { /* and does not hear that it is to stop */
        sim_in(world, mono_since(loader->stuck_until, world->now), SIM_LOADER, number, board->life);
        return;
    }
    uint64_t needed = SIM_PROCESS_BYTES + sim_slice_bytes(world, loader->first, loader->end);
    if (loader->beside.there)
        needed += sim_slice_bytes(world, loader->beside.first, loader->beside.end) -
                  sim_shared_bytes(world, loader->first, loader->end, loader->beside.first, loader->beside.end);
    bool small = board->memory && needed > board->memory;
    if (small && !loader->cancelled) /* plans are for the memory that boards have */
        sim_broken(world, "%s is to load what takes %llu bytes, its memory is %llu", board->name,
                   (unsigned long long)needed, (unsigned long long)board->memory);
    if (loader->cancelled)
        end(world, number, sim_roll(world, 4) || !gather(world, number) ? STAGE_LOAD_ENDED : STAGE_LOADED);
    else if (loader->fails || small)
        end(world, number, STAGE_LOAD_FAILED);
    else if (gather(world, number))
        end(world, number, STAGE_LOADED);
}

void loader_stored(struct world *world, unsigned number, uint32_t unit) {
    struct sim_board *board = &world->board[number];
    if (!board->loader.busy || board->loader.outstanding == 0)
        sim_broken(world, "%s stores unit %u, which its loader does not want", board->name, unit);
    else
        board->loader.outstanding--;
    board->cached[unit] = true;
    sim_in(world, sim_between(world, 0, 5 * MONO_MS), SIM_LOADER, number, board->life);
}

static void tell_end(struct world *world, unsigned number, enum stage_event_type type) {
    struct sim_board *board = &world->board[number];
    struct sim_loader *loader = &board->loader;
    struct stage_cut in = sim_cut(loader->first), out = sim_cut(loader->end);
    struct stage_event event = {.type = type, .in = &in, .out = &out};
    struct sim_engine *engine = &board->way[loader->lane].engine;
    board_fetch(world, number, &(struct fetch_event){.type = FETCH_ENDED});
    if (type == STAGE_LOADED)
        *engine = (struct sim_engine){true, loader->first, loader->end};
    else if (loader->old.there && sim_roll(world, 2))
        *engine = loader->old; /* it was not destroyed yet */
    event.kept = engine->there;
    if (type == STAGE_LOAD_FAILED)
        event.text = loader->fails ? "the disk fails" : "too little memory";
    board_feed(world, number, &(struct stage_event){.type = STAGE_PROGRESSED, .done = 1, .total = 1});
    board_feed(world, number, &event);
}

static void tell(struct world *world, unsigned number, struct sim_report said) {
    if (said.wants)
        board_fetch(world, number,
                    &(struct fetch_event){.type = FETCH_WANTED, .chunk = {.offset = said.unit, .bytes = 1}});
    else
        tell_end(world, number, said.type);
}

void loader_reports(struct world *world, unsigned number) {
    struct sim_loader *loader = &world->board[number].loader;
    struct sim_report said[sizeof loader->report / sizeof loader->report[0]];
    while (loader->reports > 0) { /* the last one may begin another load */
        unsigned count = loader->reports;
        memcpy(said, loader->report, count * sizeof said[0]);
        loader->reports = 0;
        for (unsigned i = 0; i < count; i++)
            tell(world, number, said[i]);
    }
}
