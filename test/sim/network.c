/* The network: sockets that connect and keep trying, connections, and what becomes of the messages in them.
 *
 * A message is queued at the sender (a PUSH holds one and takes none while it has no connection, as with ZMQ_IMMEDIATE;
 * a DEALER or ROUTER any number), flies (the kernels' buffers hold `window` of them, in order, each with its delay) and
 * is received (one for a PULL, else any number) until its reader takes it. A full place holds up the one before it.
 *
 * A connection that is cut loses what is queued and flies; what was received can still be read, also after the reader
 * was told of its end, and after messages of a later connection. Each end notices at its own time or never. A socket
 * closed by its owner loses what is queued; what flies still arrives, mostly. Between two nodes a direction may be
 * blocked for a while: what flies waits, as with TCP, and no connection is made. */
#include "test/sim/sim.h"

#include <string.h>

#define RETRY_FIRST (100 * MONO_MS)
#define RETRY_LAST  (2 * MONO_SECOND)
#define KEEP_ALIVE  (25 * MONO_SECOND)
#define ANY_NUMBER  1000000u

/* ---- packets ---- */

void network_init(struct world *world) {
    for (unsigned i = 0; i < SIM_PACKETS; i++)
        world->packet[i].next = i + 1 < SIM_PACKETS ? &world->packet[i + 1] : NULL;
    world->free_packets = world->packet;
    for (unsigned i = 0; i < SIM_SOCKETS; i++)
        world->socket[i] = (struct sim_socket){.node = i < SIM_FIRST_STAGE(0) ? i / 3 : SIM_COORDINATOR,
                                               .control = i < SIM_FIRST_STAGE(0) && i % 3 == 0,
                                               .connection = -1};
    for (unsigned from = 0; from < SIM_NODES; from++)
        for (unsigned to = 0; to < SIM_NODES; to++)
            world->delay_ns[from][to] = sim_between(world, MONO_MS / 10, 5 * MONO_MS);
}

struct packet *packet_new(struct world *world, unsigned type) {
    struct packet *packet = world->free_packets;
    if (!packet) {
        sim_broken(world, "more than %u messages under way", SIM_PACKETS);
        packet = &world->packet[0]; /* the history is over */
        packet->next = NULL;
    }
    world->free_packets = packet->next;
    memset(packet, 0, sizeof *packet);
    packet->type = type;
    packet->output = -1;
    return packet;
}

void packet_free(struct world *world, struct packet *packet) {
    packet->next = world->free_packets;
    world->free_packets = packet;
}

void fifo_put(struct fifo *fifo, struct packet *packet) {
    packet->next = NULL;
    if (fifo->count++ == 0)
        fifo->first = packet;
    else
        fifo->last->next = packet;
    fifo->last = packet;
}

struct packet *fifo_take(struct fifo *fifo) {
    if (fifo->count == 0)
        return NULL;
    struct packet *packet = fifo->first;
    fifo->first = packet->next;
    fifo->count--;
    return packet;
}

void fifo_clear(struct world *world, struct fifo *fifo) {
    for (struct packet *packet; (packet = fifo_take(fifo));)
        packet_free(world, packet);
}

/* The network needs the sender's bytes no more. */
static void let_go(struct world *world, unsigned node, struct packet *packet) {
    if (packet->output >= 0)
        board_let_go(world, node, (unsigned)packet->output, false);
    packet->output = -1;
}

static void drop_queued(struct world *world, struct connection *c, int way) {
    for (struct packet *packet; (packet = fifo_take(&c->queued[way]));) {
        let_go(world, way == SIM_UP ? c->from : c->to, packet);
        packet_free(world, packet);
    }
}

/* ---- connections ---- */

static unsigned lane_of(const struct world *world, const struct sim_socket *socket) {
    if (socket->control || socket->target.node == SIM_COORDINATOR)
        return 0;
    return socket->target.port - world->board[socket->target.node].port;
}

static int connection_new(struct world *world, unsigned socket) {
    unsigned index = 0;
    while (index < SIM_CONNECTIONS && world->connection[index].used)
        index++;
    if (index == SIM_CONNECTIONS) {
        sim_broken(world, "more than %u connections", SIM_CONNECTIONS);
        return -1;
    }
    if (index >= world->connections)
        world->connections = index + 1;
    const struct sim_socket *s = &world->socket[socket];
    world->connection[index] = (struct connection){.used = true,
                                                   .control = s->control,
                                                   .id = ++world->connection_ids,
                                                   .from = s->node,
                                                   .to = s->target.node,
                                                   .lane = lane_of(world, s),
                                                   .socket = (int)socket,
                                                   .to_open = true,
                                                   .window = s->control ? ANY_NUMBER : 1 + sim_roll(world, 3)};
    return (int)index;
}

/* Nobody has anything to do with it any more. */
static void collect(struct world *world, unsigned index) {
    struct connection *c = &world->connection[index];
    if (!c->used || c->socket >= 0 || c->to_open || c->received[SIM_UP].count > 0)
        return;
    for (int way = SIM_UP; way <= SIM_DOWN; way++) {
        drop_queued(world, c, way);
        fifo_clear(world, &c->flying[way]);
        fifo_clear(world, &c->received[way]);
    }
    c->used = false;
    while (world->connections > 0 && !world->connection[world->connections - 1].used)
        world->connections--;
}

/* When what flies that way may go on. */
static mono_t free_at(const struct world *world, unsigned from, unsigned to, unsigned loop) {
    mono_t at = world->blocked_until[from][to];
    if (at.ns < world->blocked_until[to][from].ns)
        at = world->blocked_until[to][from]; /* nothing is acknowledged */
    mono_t frozen = sim_frozen_until(world, loop);
    return at.ns < frozen.ns ? frozen : at;
}

/* Copies of microbatches, for strangers to send again. */
static void exhibit(struct world *world, unsigned node, unsigned lane, const struct packet *packet) {
    if (packet->type != 0 || sim_roll(world, 4) > 0)
        return;
    unsigned place = world->museum_count < SIM_MUSEUM ? world->museum_count++ : sim_roll(world, SIM_MUSEUM);
    world->museum[place].node = node;
    world->museum[place].lane = lane;
    world->museum[place].packet = *packet;
    world->museum[place].packet.output = -1;
}

static void fly(struct world *world, struct connection *c, int way, unsigned from, unsigned to) {
    struct packet *packet = fifo_take(&c->queued[way]);
    int64_t delay = world->delay_ns[from][to] + sim_between(world, 0, MONO_MS);
    if (world->now.ns < world->laggy_until[from][to].ns)
        delay += sim_between(world, 0, 4 * MONO_SECOND);
    packet->arrives = mono_after(world->now, delay);
    if (packet->arrives.ns < c->last[way].ns)
        packet->arrives = c->last[way];
    c->last[way] = packet->arrives;
    if (packet->type == 0 && world->rough && sim_roll(world, 300) == 0) {
        packet->damaged = true;
        world->counts.damages++;
    }
    let_go(world, from, packet);
    exhibit(world, to, c->lane, packet);
    fifo_put(&c->flying[way], packet);
    sim_wake(world, from); /* there is room again */
}

static void pump_later(struct world *world, unsigned index, mono_t at) {
    struct connection *c = &world->connection[index];
    if (c->pump_at.ns != 0 && c->pump_at.ns <= at.ns)
        return;
    c->pump_at = at;
    sim_at(world, at, SIM_PUMP, index, c->id);
}

static void pump_way(struct world *world, unsigned index, int way) {
    struct connection *c = &world->connection[index];
    unsigned from = way == SIM_UP ? c->from : c->to, to = way == SIM_UP ? c->to : c->from;
    mono_t start = free_at(world, from, to, from);
    while (c->queued[way].count > 0 && c->flying[way].count < c->window && start.ns <= world->now.ns)
        fly(world, c, way, from, to);
    if (c->queued[way].count > 0 && start.ns > world->now.ns)
        pump_later(world, index, start);
    unsigned room = c->control ? ANY_NUMBER : 1;
    while (c->flying[way].count > 0 && c->received[way].count < room) {
        mono_t at = free_at(world, from, to, to);
        if (at.ns < c->flying[way].first->arrives.ns)
            at = c->flying[way].first->arrives;
        if (at.ns > world->now.ns) {
            pump_later(world, index, at);
            return;
        }
        fifo_put(&c->received[way], fifo_take(&c->flying[way]));
        sim_wake(world, to);
        if (c->queued[way].count > 0)
            pump_later(world, index, world->now);
    }
}

void connection_pump(struct world *world, unsigned index) {
    struct connection *c = &world->connection[index];
    if (!c->used || c->cut)
        return;
    pump_way(world, index, SIM_UP);
    if (c->control && c->socket >= 0)
        pump_way(world, index, SIM_DOWN);
    if (c->socket < 0 && c->queued[SIM_UP].count == 0 &&
        c->flying[SIM_UP].count == 0) /* all has arrived, and the end */
        connection_cut(world, index, SIM_NEVER, world->delay_ns[c->from][c->to]);
}

void connection_cut(struct world *world, unsigned index, int64_t from_ns, int64_t to_ns) {
    struct connection *c = &world->connection[index];
    if (!c->cut)
        sim_trace(world, c->from, "connection %u to %s is over", c->id, sim_name(world, c->to));
    c->cut = true;
    fifo_clear(world, &c->flying[SIM_UP]);
    fifo_clear(world, &c->flying[SIM_DOWN]);
    if (from_ns != SIM_NEVER)
        sim_in(world, from_ns, SIM_CLOSED_FROM, index, c->id);
    if (to_ns != SIM_NEVER)
        sim_in(world, to_ns, SIM_CLOSED_TO, index, c->id);
}

void connection_closed_from(struct world *world, unsigned index) {
    struct connection *c = &world->connection[index];
    if (!c->used || c->socket < 0)
        return;
    mono_t frozen = sim_frozen_until(world, c->from);
    if (frozen.ns > world->now.ns) {
        sim_at(world, frozen, SIM_CLOSED_FROM, index, c->id);
        return;
    }
    struct sim_socket *socket = &world->socket[c->socket];
    unsigned number = (unsigned)c->socket;
    c->socket = -1;
    socket->connection = -1;
    drop_queued(world, c, SIM_UP);
    fifo_clear(world, &c->received[SIM_DOWN]);
    if (socket->control)
        board_closed(world, c->from);
    else
        sim_in(world, RETRY_FIRST, SIM_TRY, number, socket->generation);
    collect(world, index);
}

void connection_closed_to(struct world *world, unsigned index) {
    struct connection *c = &world->connection[index];
    if (!c->used || !c->to_open)
        return;
    c->to_open = false;
    if (c->control && sim_alive(world, SIM_COORDINATOR))
        coordinator_told_closed(world, c->id);
    drop_queued(world, c, SIM_DOWN);
    collect(world, index);
}

/* ---- sockets ---- */

void socket_open(struct world *world, unsigned number, struct sim_endpoint target) {
    socket_close(world, number);
    struct sim_socket *socket = &world->socket[number];
    socket->open = true;
    socket->target = target;
    socket->pause = RETRY_FIRST;
    sim_in(world, 2 * world->delay_ns[socket->node][target.node], SIM_TRY, number, socket->generation);
}

void socket_close(struct world *world, unsigned number) {
    struct sim_socket *socket = &world->socket[number];
    int index = socket->connection;
    socket->open = false;
    socket->generation++;
    socket->connection = -1;
    if (index < 0)
        return;
    struct connection *c = &world->connection[index];
    c->socket = -1;
    drop_queued(world, c, SIM_UP);
    fifo_clear(world, &c->received[SIM_DOWN]);
    if (!c->cut && sim_roll(world, 4) == 0)
        connection_cut(world, (unsigned)index, SIM_NEVER, world->delay_ns[c->from][c->to]);
    connection_pump(world, (unsigned)index);
    collect(world, (unsigned)index);
}

static bool listening(const struct world *world, struct sim_endpoint at, bool control) {
    if (!sim_alive(world, at.node))
        return false;
    if (control)
        return at.node == SIM_COORDINATOR;
    if (at.node == SIM_COORDINATOR)
        return at.port == world->coordinator.results_port;
    unsigned first = world->board[at.node].port;
    return at.port >= first && at.port < first + STAGE_LANES;
}

void socket_try(struct world *world, unsigned number) {
    struct sim_socket *socket = &world->socket[number];
    unsigned from = socket->node, to = socket->target.node;
    if (!socket->open || socket->connection >= 0)
        return;
    mono_t free = free_at(world, from, to, to);
    bool frozen = sim_frozen_until(world, from).ns > world->now.ns;
    if (frozen || free.ns > world->now.ns || !listening(world, socket->target, socket->control)) {
        sim_in(world, socket->pause + sim_between(world, 0, 100 * MONO_MS), SIM_TRY, number, socket->generation);
        socket->pause = 2 * socket->pause < RETRY_LAST ? 2 * socket->pause : RETRY_LAST;
        return;
    }
    socket->connection = connection_new(world, number);
    if (socket->connection < 0)
        return;
    sim_trace(world, from, "connection %u to %s is open", world->connection[socket->connection].id,
              sim_name(world, to));
    socket->pause = RETRY_FIRST;
    if (socket->control)
        board_opened(world, from);
    sim_wake(world, from);
}

bool socket_writable(const struct world *world, unsigned number) {
    const struct sim_socket *socket = &world->socket[number];
    return socket->open && socket->connection >= 0 && world->connection[socket->connection].queued[SIM_UP].count == 0;
}

bool socket_send(struct world *world, unsigned number, struct packet *packet) {
    const struct sim_socket *socket = &world->socket[number];
    if (socket->open && socket->connection >= 0 && (socket->control || socket_writable(world, number))) {
        struct connection *c = &world->connection[socket->connection];
        fifo_put(&c->queued[SIM_UP], packet);
        pump_later(world, (unsigned)socket->connection, world->now);
        return true;
    }
    packet_free(world, packet);
    return false;
}

struct packet *socket_receive(struct world *world, unsigned number) {
    int index = world->socket[number].connection;
    return index < 0 ? NULL : fifo_take(&world->connection[index].received[SIM_DOWN]);
}

bool router_send(struct world *world, unsigned id, struct packet *packet) {
    for (unsigned i = 0; i < world->connections; i++) {
        struct connection *c = &world->connection[i];
        if (!c->used || c->id != id || !c->to_open)
            continue;
        fifo_put(&c->queued[SIM_DOWN], packet);
        pump_later(world, i, world->now);
        return true;
    }
    packet_free(world, packet);
    return false;
}

/* Is there something to be read at that lane of the node? */
static bool readable(const struct connection *c, unsigned node, unsigned lane, bool control) {
    return c->used && c->to == node && c->lane == lane && c->control == control && c->received[SIM_UP].count > 0;
}

/* One of those that have something for that node, each as likely as the other; -1: none. */
static int any_readable(struct world *world, unsigned node, unsigned lane, bool control, unsigned others) {
    unsigned count = others;
    int found = -1;
    for (unsigned i = 0; i < world->connections; i++)
        if (readable(&world->connection[i], node, lane, control) && sim_roll(world, ++count) == 0)
            found = (int)i;
    return found;
}

static struct packet *take_received(struct world *world, unsigned index) {
    struct packet *packet = fifo_take(&world->connection[index].received[SIM_UP]);
    connection_pump(world, index);
    collect(world, index);
    return packet;
}

struct packet *router_receive(struct world *world, unsigned *id) {
    int index = any_readable(world, SIM_COORDINATOR, 0, true, 0);
    if (index < 0)
        return NULL;
    *id = world->connection[index].id;
    return take_received(world, (unsigned)index);
}

struct packet *pull_receive(struct world *world, unsigned node, unsigned lane) {
    int index = any_readable(world, node, lane, false, world->stray[node][lane].count > 0);
    return index < 0 ? fifo_take(&world->stray[node][lane]) : take_received(world, (unsigned)index);
}

/* ---- ends of processes ---- */

/* When the other end of a dead process's connection notices. */
static int64_t noticed_after(struct world *world, unsigned from, unsigned to, bool silent) {
    if (silent || world->blocked_until[from][to].ns > world->now.ns)
        return sim_between(world, 0, 2 * KEEP_ALIVE);
    return world->delay_ns[from][to] + sim_between(world, 0, 20 * MONO_MS);
}

static void connection_orphaned(struct world *world, unsigned index, unsigned node, bool silent) {
    struct connection *c = &world->connection[index];
    int64_t other = noticed_after(world, c->from, c->to, silent);
    if (c->from == node) {
        bool never =
            silent && sim_roll(world, 3) == 0; /* as good as: the coordinator's patience with silence is shorter */
        if (c->socket >= 0)
            world->socket[c->socket].connection = -1;
        c->socket = -1;
        fifo_clear(world, &c->queued[SIM_UP]); /* nobody is left to be told of output slots */
        connection_cut(world, index, SIM_NEVER, never ? (c->control ? 100 : 4) * KEEP_ALIVE : other);
    } else {
        fifo_clear(world, &c->received[SIM_UP]);
        c->to_open = false;
        connection_cut(world, index, other, SIM_NEVER);
    }
    collect(world, index);
}

void network_process_ended(struct world *world, unsigned node, bool silent) {
    unsigned count = world->connections; /* it only shrinks */
    for (unsigned i = 0; i < count; i++)
        if (world->connection[i].used && (world->connection[i].from == node || world->connection[i].to == node))
            connection_orphaned(world, i, node, silent);
    for (unsigned i = 0; i < SIM_SOCKETS; i++)
        if (world->socket[i].node == node)
            socket_close(world, i);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        fifo_clear(world, &world->stray[node][lane]);
}

void network_pump_all(struct world *world) {
    for (unsigned i = 0; i < world->connections; i++) {
        struct connection *c = &world->connection[i];
        if (!c->used)
            continue;
        pump_later(world, i, world->now);
        if (c->cut) /* keep-alive finds it at last */
            sim_in(world, sim_between(world, 0, KEEP_ALIVE), SIM_CLOSED_FROM, i, c->id);
    }
}
