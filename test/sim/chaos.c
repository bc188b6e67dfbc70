/* What goes wrong: at random times one trouble after another, until the history's time is over. Then everything is
 * mended: no partition, no delay, nobody frozen or slow, everybody back, boards that were found unfit started anew. */
#include "test/sim/sim.h"

#include <string.h>

static unsigned any_board(struct world *world) {
    return sim_roll(world, world->boards);
}

static unsigned any_node(struct world *world) {
    unsigned node = sim_roll(world, world->boards + 1);
    return node == world->boards ? SIM_COORDINATOR : node;
}

/* Short mostly, long sometimes: both sides of every patience in the product. */
static int64_t a_while(struct world *world) {
    static const int64_t most[] = {200 * MONO_MS, 2 * MONO_SECOND, 8 * MONO_SECOND, 40 * MONO_SECOND};
    return sim_between(world, 0, most[sim_roll(world, 4)]);
}

static int64_t noticed(struct world *world) {
    return sim_roll(world, 3) ? sim_between(world, 0, 50 * MONO_MS) : sim_between(world, 0, 30 * MONO_SECOND);
}

static void board_dies(struct world *world) {
    unsigned number = any_board(world);
    if (!world->board[number].alive)
        return;
    world->counts.deaths++;
    board_stop(world, number, sim_roll(world, 2));
    if (sim_roll(world, 5) == 0)
        memset(world->board[number].cached, 0, sizeof world->board[number].cached);
    sim_in(world, a_while(world), SIM_REVIVE, number, 0);
}

static void board_leaves(struct world *world) {
    unsigned number = any_board(world);
    if (!world->board[number].alive || (world->quiet && world->board[number].core.leaving))
        return;
    world->counts.leaves++;
    sim_trace(world, number, "is told to stop");
    world->board[number].signalled = true;
    sim_wake(world, number);
    sim_in(world, a_while(world), SIM_REVIVE, number, 0); /* if it is gone by then */
}

/* Somebody asks the coordinator to let a board go. */
static void board_is_drained(struct world *world) {
    const struct coordinator_core *core = &world->coordinator.core;
    unsigned number = any_board(world);
    bool heard = world->coordinator.alive && sim_frozen_until(world, SIM_COORDINATOR).ns <= world->now.ns;
    if (!heard || !world->board[number].alive)
        return;
    for (unsigned i = 0; i < core->boards; i++)
        if (core->board[i].state != BOARD_ABSENT && strcmp(core->board[i].name, world->board[number].name) == 0) {
            world->counts.drains++;
            sim_trace(world, number, "is to be drained");
            coordinator_feed(world, &(struct coordinator_event){.type = CORE_BOARD_DRAINED, .board = i});
            sim_wake(world, SIM_COORDINATOR);
            sim_in(world, a_while(world), SIM_REVIVE, number, 0); /* if it is gone by then */
            return;
        }
}

static void node_freezes(struct world *world) {
    unsigned node = any_node(world);
    if (!sim_alive(world, node))
        return;
    mono_t until = mono_after(world->now, a_while(world));
    world->counts.freezes++;
    sim_trace(world, node, "freezes for %.3f s", (double)mono_since(until, world->now) / 1e9);
    *(node == SIM_COORDINATOR ? &world->coordinator.frozen_until : &world->board[node].frozen_until) = until;
}

static void connection_breaks(struct world *world) {
    unsigned index = world->connections ? sim_roll(world, world->connections) : 0;
    struct connection *c = &world->connection[index];
    if (!c->used || c->cut)
        return;
    world->counts.cuts++;
    connection_cut(world, index, noticed(world), sim_roll(world, 5) ? noticed(world) : SIM_NEVER);
    if (c->to_open && c->control == false)
        sim_in(world, 30 * MONO_SECOND, SIM_CLOSED_TO, index, c->id);
}

static void link_breaks(struct world *world, unsigned from, unsigned to, mono_t until) {
    world->blocked_until[from][to] = until;
    if (sim_roll(world, 2))
        return; /* TCP waits for better times */
    for (unsigned i = 0; i < world->connections; i++) {
        const struct connection *c = &world->connection[i];
        if (c->used && !c->cut && ((c->from == from && c->to == to) || (c->from == to && c->to == from)))
            connection_cut(world, i, noticed(world), sim_roll(world, 5) ? noticed(world) : SIM_NEVER);
    }
}

/* One direction between two nodes, or between two halves of the fleet. */
static void partition(struct world *world) {
    mono_t until = mono_after(world->now, a_while(world));
    world->counts.cuts++;
    if (sim_roll(world, 3)) {
        unsigned from = any_node(world), to = any_node(world);
        sim_trace(world, from, "does not reach %s for %.3f s", sim_name(world, to),
                  (double)mono_since(until, world->now) / 1e9);
        link_breaks(world, from, to, until);
        return;
    }
    uint64_t side = sim_mix(world->dice) | UINT64_C(1) << SIM_COORDINATOR;
    sim_trace(world, SIM_COORDINATOR, "partition %llx for %.3f s", (unsigned long long)(side & 0x1FFFF),
              (double)mono_since(until, world->now) / 1e9);
    for (unsigned from = 0; from < SIM_NODES; from++)
        for (unsigned to = 0; to < from; to++)
            if ((side >> from & 1) != (side >> to & 1))
                link_breaks(world, from, to, until);
}

static void link_lags(struct world *world) {
    unsigned from = any_node(world), to = any_node(world);
    world->laggy_until[from][to] = mono_after(world->now, a_while(world));
}

/* While nothing is to go wrong, not so slow that results come further apart than the coordinator waits for them. */
static void board_slows(struct world *world) {
    static const unsigned factors[] = {1, 3, 30, 300};
    struct sim_board *board = &world->board[any_board(world)];
    board->slowness = factors[sim_roll(world, world->rough ? 4 : 2)];
}

/* It is said to be slower or faster than it was planned with, though nothing was measured. */
static void board_drifts(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    unsigned board = c->core.boards > 0 ? sim_roll(world, c->core.boards) : 0;
    if (c->alive && c->core.boards > 0)
        coordinator_feed(world, &(struct coordinator_event){
                                    .type = CORE_BOARD_DRIFTED, .board = board, .pace = c->pace.board[board].factor});
}

static void stranger_sends(struct world *world) {
    if (world->museum_count == 0)
        return;
    unsigned place = sim_roll(world, world->museum_count), node = world->museum[place].node;
    if (!sim_alive(world, node))
        return;
    struct packet *packet = packet_new(world, 0), *next = packet->next;
    *packet = world->museum[place].packet;
    packet->next = next;
    fifo_put(&world->stray[node][world->museum[place].lane], packet);
    sim_wake(world, node);
}

static void clients_leave(struct world *world) {
    if (sim_alive(world, SIM_COORDINATOR) && mono_since(world->now, world->coordinator.frozen_until) >= 0)
        clients_hang_up(world);
}

static void coordinator_dies(struct world *world) {
    if (!world->coordinator.alive || sim_roll(world, 4) > 0)
        return;
    coordinator_crash(world);
    sim_in(world, a_while(world), SIM_REVIVE, SIM_COORDINATOR, 0);
}

void chaos_trouble(struct world *world) {
    static void (*const troubles[])(struct world * world) = {
        board_dies,        board_dies,       board_leaves, board_is_drained, node_freezes,  connection_breaks,
        connection_breaks, partition,        link_lags,    board_slows,      board_slows,   stranger_sends,
        stranger_sends,    coordinator_dies, board_drifts, board_drifts,     clients_leave,
    };
    if (!world->chaos)
        return;
    if (world->rough)
        troubles[sim_roll(world, sizeof troubles / sizeof troubles[0])](world);
    else if (world->seed % 4 == 1) /* none of these costs anybody a replay */
        board_leaves(world);
    else if (world->seed % 4 == 3)
        board_is_drained(world);
    else if (world->seed % 4 == 2)
        board_slows(world);
    else
        board_drifts(world);
    sim_in(world, sim_between(world, 0, 2 * world->trouble_ns), SIM_TROUBLE, 0, 0);
}

void chaos_revive(struct world *world, unsigned node) {
    if (sim_alive(world, node) || (node != SIM_COORDINATOR && world->board[node].buried))
        return;
    if (node == SIM_COORDINATOR)
        coordinator_start(world);
    else
        board_start(world, node);
}

/* Boards that the fleet can do without may stay dead. The first one has memory for all. */
static bool dispensable(struct world *world, unsigned number, unsigned *spare) {
    if (number == 0 || *spare == 0 || world->board[number].alive || sim_roll(world, 2))
        return false;
    --*spare;
    return world->board[number].buried = true;
}

/* Somebody goes there and starts it again. */
static void restart_unfit(struct world *world, unsigned number) {
    const struct coordinator_core *core = &world->coordinator.core;
    for (unsigned i = 0; i < core->boards; i++)
        if (core->board[i].state == BOARD_UNFIT && strcmp(core->board[i].name, world->board[number].name) == 0)
            board_stop(world, number, false);
}

void chaos_end(struct world *world) {
    world->chaos = world->rough = false;
    sim_trace(world, SIM_COORDINATOR, "all is mended");
    memset(world->blocked_until, 0, sizeof world->blocked_until);
    memset(world->laggy_until, 0, sizeof world->laggy_until);
    world->coordinator.frozen_until.ns = 0;
    unsigned wanted = world->coordinator.core.settings.stages;
    unsigned spare = world->boards - (wanted ? wanted : 1);
    for (unsigned i = 0; i < world->boards; i++) {
        struct sim_board *board = &world->board[i];
        board->frozen_until.ns = 0;
        board->slowness = 1;
        if (dispensable(world, i, &spare))
            continue;
        if (board->alive)
            restart_unfit(world, i);
        sim_wake(world, i);
        sim_in(world, sim_between(world, 0, 2 * MONO_SECOND), SIM_REVIVE, i, 0);
    }
    sim_wake(world, SIM_COORDINATOR);
    sim_in(world, 0, SIM_REVIVE, SIM_COORDINATOR, 0);
    network_pump_all(world);
}
