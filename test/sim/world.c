/* The clock, the agenda (a heap of appointments, equal times in the order they were made), the dice, and one history
 * from its fleet's making to its end: troubles until calm_at, then everything is mended, and all items must be answered
 * by end_at. The world is one struct, made anew for each history; only the first violation is kept. */
#include "test/sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SPINS_MAX 20000 /* appointments in a millisecond: beyond it a loop turns without end */

uint64_t sim_mix(uint64_t value) { /* splitmix64 */
    value += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

unsigned sim_roll(struct world *world, unsigned sides) {
    world->dice += UINT64_C(0x9E3779B97F4A7C15);
    return (unsigned)((sim_mix(world->dice) >> 32) * sides >> 32);
}

int64_t sim_between(struct world *world, int64_t least, int64_t most) {
    return least + (int64_t)((double)(most - least) * sim_roll(world, 1u << 20) / (1u << 20));
}

/* ---- reports ---- */

const char *sim_name(const struct world *world, unsigned node) {
    return node == SIM_COORDINATOR ? "coordinator" : world->board[node].name;
}

static double seconds(const struct world *world) {
    return (double)world->now.ns / 1e9;
}

void sim_say(struct world *world, unsigned node, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%11.6f  %-11s  ", seconds(world), sim_name(world, node));
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

void sim_broken(struct world *world, const char *format, ...) {
    if (world->failure[0])
        return;
    va_list arguments;
    va_start(arguments, format);
    int length = snprintf(world->failure, sizeof world->failure, "at %.6f s: ", seconds(world));
    vsnprintf(world->failure + length, sizeof world->failure - (size_t)length, format, arguments);
    va_end(arguments);
}

/* ---- the agenda ---- */

static bool earlier(const struct appointment *left, const struct appointment *right) {
    return left->at.ns != right->at.ns ? left->at.ns < right->at.ns : left->order < right->order;
}

void sim_at(struct world *world, mono_t at, enum sim_agenda what, unsigned who, uint64_t mark) {
    if (world->agenda_count == SIM_AGENDA) {
        sim_broken(world, "more than %u appointments", SIM_AGENDA);
        return;
    }
    struct appointment new = {at.ns < world->now.ns ? world->now : at, ++world->order, what, who, mark};
    unsigned place = world->agenda_count++;
    for (; place > 0 && earlier(&new, &world->agenda[(place - 1) / 2]); place = (place - 1) / 2)
        world->agenda[place] = world->agenda[(place - 1) / 2];
    world->agenda[place] = new;
}

void sim_in(struct world *world, int64_t ns, enum sim_agenda what, unsigned who, uint64_t mark) {
    sim_at(world, mono_after(world->now, ns), what, who, mark);
}

static struct appointment next_appointment(struct world *world) {
    struct appointment first = world->agenda[0], last = world->agenda[--world->agenda_count];
    unsigned place = 0, count = world->agenda_count;
    for (;;) {
        unsigned child = 2 * place + 1;
        if (child + 1 < count && earlier(&world->agenda[child + 1], &world->agenda[child]))
            child++;
        if (child >= count || !earlier(&world->agenda[child], &last))
            break;
        world->agenda[place] = world->agenda[child];
        place = child;
    }
    world->agenda[place] = last;
    return first;
}

/* ---- nodes ---- */

bool sim_alive(const struct world *world, unsigned node) {
    return node == SIM_COORDINATOR ? world->coordinator.alive : world->board[node].alive;
}

mono_t sim_frozen_until(const struct world *world, unsigned node) {
    return node == SIM_COORDINATOR ? world->coordinator.frozen_until : world->board[node].frozen_until;
}

uint64_t sim_life(const struct world *world, unsigned node) {
    return node == SIM_COORDINATOR ? world->coordinator.life : world->board[node].life;
}

static mono_t *turn_of(struct world *world, unsigned node) {
    return node == SIM_COORDINATOR ? &world->coordinator.turn_at : &world->board[node].turn_at;
}

void sim_wake_at(struct world *world, unsigned node, mono_t at) {
    mono_t *turn = turn_of(world, node), frozen = sim_frozen_until(world, node);
    if (!sim_alive(world, node))
        return;
    if (at.ns < frozen.ns)
        at = frozen;
    if (turn->ns > world->now.ns && turn->ns <= at.ns)
        return; /* it comes earlier */
    *turn = at;
    sim_at(world, at, SIM_TURN, node, (uint64_t)at.ns);
}

void sim_wake(struct world *world, unsigned node) {
    int64_t sluggish = node == SIM_COORDINATOR ? MONO_MS / 10 : world->board[node].sluggish_ns;
    sim_wake_at(world, node, mono_after(world->now, sim_between(world, 1000, sluggish)));
}

static void turn(struct world *world, const struct appointment *due) {
    mono_t *at = turn_of(world, due->who);
    if (!sim_alive(world, due->who) || (uint64_t)at->ns != due->mark)
        return;
    at->ns = 0;
    mono_t frozen = sim_frozen_until(world, due->who);
    if (frozen.ns > world->now.ns)
        sim_wake_at(world, due->who, frozen);
    else if (due->who == SIM_COORDINATOR)
        coordinator_turn(world);
    else
        board_turn(world, due->who);
}

static void keep_connection_appointment(struct world *world, const struct appointment *due) {
    struct connection *c = &world->connection[due->who];
    if (c->id != due->mark || (due->what == SIM_PUMP && c->pump_at.ns != due->at.ns))
        return;
    if (due->what == SIM_PUMP) {
        c->pump_at.ns = 0;
        connection_pump(world, due->who);
    } else if (due->what == SIM_CLOSED_FROM)
        connection_closed_from(world, due->who);
    else
        connection_closed_to(world, due->who);
}

static void keep_board_appointment(struct world *world, const struct appointment *due) {
    struct sim_board *board = &world->board[due->who];
    uint64_t life = due->what == SIM_LET_GO ? due->mark >> 8 : due->mark;
    if (!board->alive || board->life != life)
        return;
    if (board->frozen_until.ns > world->now.ns)
        sim_at(world, board->frozen_until, due->what, due->who, due->mark);
    else if (due->what == SIM_LET_GO)
        board_gave_back(world, due->who, due->mark >> 1 & 0x7F, due->mark & 1);
    else if (due->what == SIM_COMPUTED)
        board_computed(world, due->who);
    else
        loader_go_on(world, due->who);
}

static void keep_appointment(struct world *world, const struct appointment *due) {
    switch (due->what) {
    case SIM_TURN:
        turn(world, due);
        break;
    case SIM_PUMP:
    case SIM_CLOSED_FROM:
    case SIM_CLOSED_TO:
        keep_connection_appointment(world, due);
        break;
    case SIM_TRY:
        if (world->socket[due->who].generation == due->mark)
            socket_try(world, due->who);
        break;
    case SIM_COMPUTED:
    case SIM_LOADER:
    case SIM_LET_GO:
        keep_board_appointment(world, due);
        break;
    case SIM_SUBMIT:
        clients_submitted(world, due->who);
        break;
    case SIM_PREPARED:
        if (world->coordinator.alive && world->coordinator.life == due->mark)
            clients_ready(world, due->who);
        break;
    case SIM_REVIVE:
        chaos_revive(world, due->who);
        break;
    case SIM_TROUBLE:
        chaos_trouble(world);
        break;
    }
}

/* ---- a history ---- */

static void make_model(struct world *world, bool large) {
    world->units = large ? 20 + sim_roll(world, SIM_UNITS - 20) : 4 + sim_roll(world, 9);
    for (unsigned unit = 0; unit < world->units; unit++)
        world->unit_bytes[unit] = 1000 + sim_roll(world, 2000);
    bool parts = sim_roll(world, 2); /* as of an MLP */
    for (unsigned unit = 1; unit < world->units && parts; unit++)
        if ((world->same_weights[unit] = sim_roll(world, 3) > 0))
            world->unit_bytes[unit] = world->unit_bytes[unit - 1];
    world->optimal = sim_roll(world, 8) == 0;
}

static void make_fleet(struct world *world, bool large) {
    world->boards = large ? SIM_BOARDS : 1 + sim_roll(world, 5);
    for (unsigned i = 0; i < world->boards; i++)
        board_init(world, i);
    network_init(world);
    coordinator_start(world);
    int64_t spread = sim_roll(world, 2) ? 100 * MONO_MS : 5 * MONO_SECOND;
    for (unsigned i = 0; i < world->boards; i++)
        sim_in(world, sim_between(world, 0, spread), SIM_REVIVE, i, 0);
}

static void make_times(struct world *world, bool large) {
    static const int64_t means[] = {300 * MONO_MS, MONO_SECOND, 3 * MONO_SECOND, 10 * MONO_SECOND};
    world->quiet = sim_roll(world, 20) == 0;
    world->chaos = true;
    world->rough = !world->quiet;
    world->trouble_ns = means[sim_roll(world, 4)];
    world->calm_at = mono_after(world->now, (large ? 40 : 15) * MONO_SECOND + sim_between(world, 0, 30 * MONO_SECOND));
    world->end_at = mono_after(world->calm_at, 600 * MONO_SECOND);
    sim_in(world, sim_between(world, 0, 2 * world->trouble_ns), SIM_TROUBLE, 0, 0);
}

static void world_init(struct world *world, uint64_t seed, enum sim_sabotage sabotage, bool trace) {
    size_t kept = offsetof(struct world, agenda);
    memset(world, 0, kept); /* the rest is large and has counts of its own */
    memset(&world->ports, 0, sizeof *world - offsetof(struct world, ports));
    world->seed = seed;
    world->dice = sim_mix(seed);
    world->sabotage = sabotage;
    world->trace = trace;
    world->now.ns = 1000 * MONO_SECOND;
    bool large = seed % 32 == 0;
    make_model(world, large);
    make_times(world, large);
    make_fleet(world, large);
    clients_start(world);
}

static void add_counts(struct world *world, struct sim_counts *counts) {
    const uint64_t *from = (const uint64_t *)&world->counts;
    uint64_t *to = (uint64_t *)counts;
    world->counts.histories = 1;
    for (unsigned i = 0; i < sizeof *counts / sizeof *to; i++)
        to[i] += from[i];
}

static void proceed(struct world *world) {
    struct appointment due = next_appointment(world);
    world->spins++;
    if (mono_since(due.at, world->spins_since) > MONO_MS) {
        world->spins = 0;
        world->spins_since = due.at;
    }
    if (world->spins > SPINS_MAX)
        sim_broken(world, "a loop that does not sleep: %u appointments in a millisecond, the last of kind %d for %u",
                   SPINS_MAX, (int)due.what, due.who);
    world->now = due.at;
    world->counts.steps++;
    if (world->chaos && world->now.ns >= world->calm_at.ns)
        chaos_end(world);
    keep_appointment(world, &due);
}

bool sim_history(struct world *world, uint64_t seed, enum sim_sabotage sabotage, bool trace,
                 struct sim_counts *counts) {
    world_init(world, seed, sabotage, trace);
    sim_trace(world, SIM_COORDINATOR, "history %" PRIu64 ": %u boards, %u units, %u items, %s", seed, world->boards,
              world->units, world->items, world->quiet ? "no troubles" : "troubles");
    while (!world->failure[0] && world->agenda_count > 0 && world->now.ns < world->end_at.ns &&
           (world->chaos || clients_unanswered(world) > 0))
        proceed(world);
    if (!world->failure[0])
        check_end(world);
    if (world->failure[0])
        sim_trace(world, SIM_COORDINATOR, "BROKEN %s", world->failure);
    add_counts(world, counts);
    return !world->failure[0];
}
