/* A board: a stage core and an interpreter of its effects, in the order of daemon/stage.c's loop. Differences: a
 * microbatch is at most a few hashes, an output slot's "bytes" go back in one piece, and control messages are structs.
 * The compute worker does its jobs in order and reads slots when a job is done, so a slot that was given away too early
 * is noticed. */
#include "test/sim/sim.h"

#include <stdio.h>
#include <string.h>

#define RECONNECT_PAUSE    (500 * MONO_MS)
#define CONTROLS_PER_TURN  64
#define MESSAGES_PER_TURN  16
#define JOB_MAX            (40 * MONO_SECOND) /* longer than the coordinator waits for a microbatch that nobody computes */
#define VALUE_BYTES        8
#define WORKSPACE_BYTES    500
#define FIRST_MEMORY_SHARE 3 /* thirds of the model */

uint64_t sim_payload_bytes(uint32_t cut) {
    return (uint64_t)SIM_MICROBATCH * VALUE_BYTES * (1 + cut % 2);
}

/* Whose weights the unit computes with. */
static uint32_t weights_of(const struct world *world, uint32_t unit) {
    while (world->same_weights[unit])
        unit--;
    return unit;
}

/* What a slice costs: weights, workspace and slots, as the partitioner counts them. */
uint64_t sim_slice_bytes(const struct world *world, uint32_t first, uint32_t end) {
    uint64_t bytes = STAGE_INPUTS * sim_payload_bytes(first) + STAGE_OUTPUTS * sim_payload_bytes(end);
    uint64_t together = 0, most = 0; /* units with the same weights */
    for (uint32_t unit = first; unit < end; unit++) {
        bool more = unit > first && world->same_weights[unit];
        bytes += more ? 0 : world->unit_bytes[unit];
        together = more ? together + 1 : 1;
        most = together > most ? together : most;
    }
    return bytes + most * WORKSPACE_BYTES;
}

uint64_t sim_shared_bytes(const struct world *world, uint32_t first, uint32_t end, uint32_t other_first,
                          uint32_t other_end) {
    uint64_t bytes = 0;
    for (uint32_t unit = first; unit < end; unit++) {
        bool more = unit > first && world->same_weights[unit], both = false;
        for (uint32_t other = other_first; other < other_end; other++)
            both = both || weights_of(world, other) == weights_of(world, unit);
        bytes += both && !more ? world->unit_bytes[unit] : 0;
    }
    return bytes;
}

/* Every cut differs from its neighbours, so that a microbatch at a wrong place is noticed. */
struct stage_cut sim_cut(uint32_t cut) {
    struct stage_cut result = {.parts = 1 + cut % 2};
    for (uint32_t part = 0; part < result.parts; part++) {
        result.part[part] = (struct data_part){.type = 1, .rank = 1, .shape = {cut + 1}};
        result.bytes[part] = VALUE_BYTES;
    }
    return result;
}

/* ---- life and death ---- */

void board_init(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    snprintf(board->name, sizeof board->name, "b%u", number);
    board->fixed_port = sim_roll(world, 3) == 0;
    board->unit_ns = sim_between(world, MONO_MS / 10, (sim_mix(world->seed + 8) % 2 ? 5 : 100) * MONO_MS);
    board->sluggish_ns = sim_roll(world, 5) ? MONO_MS / 5 : 50 * MONO_MS;
    board->slowness = 1;
    uint64_t all = SIM_PROCESS_BYTES + sim_slice_bytes(world, 0, world->units);
    bool unlimited = number == 0 || sim_roll(world, 2);
    board->memory = unlimited ? 0 : all / (1 + sim_roll(world, FIRST_MEMORY_SHARE)) + 100;
}

void board_start(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    struct sim_board fresh = {.alive = true,
                              .life = board->life + 1,
                              .fixed_port = board->fixed_port,
                              .port = board->fixed_port && board->port ? board->port : world->ports + 1,
                              .unit_ns = board->unit_ns,
                              .sluggish_ns = board->sluggish_ns,
                              .slowness = board->slowness,
                              .memory = board->memory};
    if (fresh.port > world->ports)
        world->ports += STAGE_LANES;
    memcpy(fresh.name, board->name, sizeof fresh.name);
    memcpy(fresh.cached, board->cached, sizeof fresh.cached);
    *board = fresh;
    stage_core_init(&board->core);
    fetch_core_init(&board->fetch);
    sim_trace(world, number, "starts");
    socket_open(world, SIM_CONTROL_OF(number), (struct sim_endpoint){SIM_COORDINATOR, 1});
}

void board_stop(struct world *world, unsigned number, bool silent) {
    sim_trace(world, number, "%s", silent ? "loses power" : "ends");
    world->board[number].alive = false;
    world->board[number].frozen_until.ns = 0;
    network_process_ended(world, number, silent);
    if (!world->chaos) /* one that was leaving when all was mended: somebody starts it again */
        sim_in(world, MONO_SECOND, SIM_REVIVE, number, 0);
}

/* ---- talk with the coordinator ---- */

bool board_say(struct world *world, unsigned number, struct packet *packet) {
    return socket_send(world, SIM_CONTROL_OF(number), packet);
}

static void say_hello(struct world *world, unsigned number) {
    const struct sim_board *board = &world->board[number];
    struct packet *hello = packet_new(world, MESSAGE_HELLO);
    hello->text = board->name;
    hello->endpoint = (struct sim_endpoint){number, board->port};
    hello->memory = board->memory;
    board_say(world, number, hello);
}

static void say(struct world *world, unsigned number, const struct stage_effect *effect) {
    static const unsigned types[] = {[STAGE_SAY_PROGRESS] = MESSAGE_PROGRESS,
                                     [STAGE_SAY_READY] = MESSAGE_READY,
                                     [STAGE_SAY_FAILED] = MESSAGE_FAILED,
                                     [STAGE_SAY_HEARTBEAT] = MESSAGE_HEARTBEAT,
                                     [STAGE_SAY_LEAVE] = MESSAGE_LEAVE};
    struct packet *packet = packet_new(world, types[effect->type]);
    packet->epoch = effect->epoch;
    packet->text = effect->text;
    if (effect->type == STAGE_SAY_HEARTBEAT)
        packet->heartbeat = stage_core_heartbeat(&world->board[number].core, world->now);
    board_say(world, number, packet);
}

void board_opened(struct world *world, unsigned number) {
    world->board[number].opened = true;
    sim_wake(world, number);
}

void board_closed(struct world *world, unsigned number) {
    world->board[number].closed = true;
    sim_wake(world, number);
}

static void control_events(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    if (board->opened) {
        board->opened = false;
        board_feed(world, number, &(struct stage_event){.type = STAGE_OPENED});
    }
    if (board->closed) {
        board->closed = false;
        socket_close(world, SIM_CONTROL_OF(number));
        board->reconnect_at = mono_after(world->now, RECONNECT_PAUSE);
        board_feed(world, number, &(struct stage_event){.type = STAGE_CLOSED});
    }
}

static void control_revive(struct world *world, unsigned number) {
    if (world->socket[SIM_CONTROL_OF(number)].open || mono_since(world->now, world->board[number].reconnect_at) < 0)
        return;
    socket_open(world, SIM_CONTROL_OF(number), (struct sim_endpoint){SIM_COORDINATOR, 1});
}

static void assigned(struct world *world, unsigned number, const struct packet *packet) {
    struct sim_board *board = &world->board[number];
    if (!stage_core_accepts(&board->core, packet->epoch))
        return;
    board->way[epoch_lane(packet->epoch)].next = packet->endpoint;
    board->assigned_first = packet->first;
    board->assigned_end = packet->end;
    board_feed(world, number,
               &(struct stage_event){.type = STAGE_ASSIGNED,
                                     .epoch = packet->epoch,
                                     .first = packet->first,
                                     .end = packet->end,
                                     .beside = packet->again,
                                     .microbatch = packet->microbatch});
}

static void control_message(struct world *world, unsigned number, const struct packet *packet) {
    struct stage_event event = {.cluster = packet->cluster, .epoch = packet->epoch, .again = packet->again};
    switch (packet->type) {
    case MESSAGE_WELCOME:
        event.type = STAGE_WELCOMED;
        event.heartbeat_ns = 500 * MONO_MS;
        break;
    case MESSAGE_REFUSE:
        event.type = STAGE_REFUSED;
        break;
    case MESSAGE_ASSIGN:
        assigned(world, number, packet);
        return;
    case MESSAGE_TENSOR_PART:
        board_fetch(world, number,
                    &(struct fetch_event){.type = FETCH_PART,
                                          .source = FETCH_COORDINATOR,
                                          .chunk = {.offset = packet->unit, .bytes = 1}});
        return;
    case MESSAGE_SERVE:
        event.type = STAGE_TOLD_SERVE;
        break;
    case MESSAGE_RETIRE:
        event.type = STAGE_RETIRED;
        break;
    case MESSAGE_RELEASED:
        event.type = STAGE_RELEASED;
        break;
    default:
        sim_broken(world, "the coordinator sent %s a message of type %u", world->board[number].name, packet->type);
        return;
    }
    board_feed(world, number, &event);
}

static void control_read(struct world *world, unsigned number) {
    for (int i = 0; i < CONTROLS_PER_TURN; i++) {
        struct packet *packet = socket_receive(world, SIM_CONTROL_OF(number));
        if (!packet)
            return;
        control_message(world, number, packet);
        packet_free(world, packet);
    }
}

/* ---- microbatches ---- */

static void arrived(struct world *world, unsigned number, unsigned lane, struct packet *packet) {
    struct sim_board *board = &world->board[number];
    struct stage_event event = {
        .type = STAGE_ARRIVED, .lane = lane, .header = &packet->header, .frames = packet->header.parts};
    for (unsigned part = 0; part < event.frames; part++)
        event.sizes[part] = (uint64_t)VALUE_BYTES * packet->header.items;
    board->arrived = packet;
    board_feed(world, number, &event);
    board->arrived = NULL;
}

static void data_read(struct world *world, unsigned number, unsigned lane) {
    for (int i = 0; i < MESSAGES_PER_TURN && stage_core_receiving(&world->board[number].core, lane); i++) {
        struct packet *packet = pull_receive(world, number, lane);
        if (!packet)
            return;
        arrived(world, number, lane, packet);
        packet_free(world, packet);
    }
}

static void keep(struct world *world, struct sim_board *board, unsigned lane, unsigned index) {
    struct sim_input *input = &board->way[lane].input[index];
    if (input->kept || !board->arrived)
        sim_broken(world, "%s keeps a microbatch in input slot %u, which is full", board->name, index);
    else
        *input =
            (struct sim_input){.kept = true, .items = board->arrived->header.items, .damaged = board->arrived->damaged};
    if (board->arrived)
        memcpy(input->value, board->arrived->value, sizeof input->value);
}

static void begin_job(struct world *world, unsigned number, const struct stage_effect *effect) {
    struct sim_board *board = &world->board[number];
    const struct sim_way *way = &board->way[effect->lane];
    unsigned input = effect->input, output = effect->output;
    if (board->jobs == STAGE_LANES * STAGE_INPUTS || !way->input[input].kept || way->held[output] ||
        !way->engine.there) {
        sim_broken(world, "%s computes from input slot %u (%s) to output slot %u (%s) with %s engine", board->name,
                   input, way->input[input].kept ? "full" : "empty", output, way->held[output] ? "held" : "free",
                   way->engine.there ? "an" : "no");
        return;
    }
    check_job(world, number, effect->lane, input);
    board->job[board->jobs].lane = effect->lane;
    board->job[board->jobs].input = input;
    board->job[board->jobs].output = output;
    int64_t duration = board->unit_ns * board->slowness * (way->engine.end - way->engine.first);
    duration = duration < JOB_MAX ? duration : JOB_MAX;
    board->job[board->jobs++].busy_ns = duration;
    mono_t start = board->worker_free.ns > world->now.ns ? board->worker_free : world->now;
    board->worker_free = mono_after(start, duration + sim_between(world, 0, MONO_MS));
    sim_at(world, board->worker_free, SIM_COMPUTED, number, board->life);
}

/* The worker has done its oldest job; the loop will hear of it. */
void board_computed(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    struct sim_way *way = &board->way[board->job[board->done].lane];
    unsigned input = board->job[board->done].input, output = board->job[board->done].output;
    uint32_t end = way->engine.end;
    if (!way->engine.there || !way->input[input].kept || way->held[output]) {
        sim_broken(world, "%s lost its engine or a slot while it computed", board->name);
        return;
    }
    if (world->sabotage == SIM_SKIP_UNIT && board->loads > 1)
        end--;
    for (unsigned row = 0; row < way->input[input].items; row++) {
        uint64_t value = way->input[input].value[row];
        for (uint32_t unit = way->engine.first; unit < end; unit++)
            value = sim_unit(value, unit);
        way->output[output][row] = value;
    }
    board->done++;
    sim_wake(world, number);
}

static void tell_computed(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    while (board->done > 0) {
        struct stage_event event = {.type = STAGE_COMPUTED,
                                    .lane = board->job[0].lane,
                                    .input = board->job[0].input,
                                    .output = board->job[0].output,
                                    .damaged = board->way[board->job[0].lane].input[board->job[0].input].damaged,
                                    .busy_ns = board->job[0].busy_ns};
        board->done--;
        board->jobs--;
        memmove(&board->job[0], &board->job[1], board->jobs * sizeof board->job[0]);
        board_feed(world, number, &event);
    }
}

/* The network's thread does it, in its own time. */
void board_let_go(struct world *world, unsigned number, unsigned slot, bool refused) {
    if (refused || world->sabotage != SIM_EARLY_LET_GO) /* else it was given back when it was sent */
        sim_in(world, sim_between(world, 0, MONO_MS), SIM_LET_GO, number,
               (uint64_t)world->board[number].life << 8 | slot << 1 | refused);
}

void board_gave_back(struct world *world, unsigned number, unsigned slot, bool refused) {
    struct sim_board *board = &world->board[number];
    if (board->let_go == sizeof board->gone / sizeof board->gone[0]) {
        sim_broken(world, "%s gets output slots back that it never gave", board->name);
        return;
    }
    if (!refused)
        board->way[slot / STAGE_OUTPUTS].held[slot % STAGE_OUTPUTS] = false;
    board->gone[board->let_go].slot = slot;
    board->gone[board->let_go++].refused = refused;
    sim_wake(world, number);
}

static void tell_let_go(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    while (board->let_go > 0) {
        struct stage_event event = {.type = board->gone[0].refused ? STAGE_BLOCKED : STAGE_LET_GO,
                                    .lane = board->gone[0].slot / STAGE_OUTPUTS,
                                    .output = board->gone[0].slot % STAGE_OUTPUTS};
        board->let_go--;
        memmove(&board->gone[0], &board->gone[1], board->let_go * sizeof board->gone[0]);
        board_feed(world, number, &event);
    }
}

static void hand_over(struct world *world, unsigned number, unsigned lane, unsigned output) {
    struct sim_board *board = &world->board[number];
    struct packet *packet = packet_new(world, 0);
    packet->header = board->core.lane[lane].output[output].header;
    memcpy(packet->value, board->way[lane].output[output], sizeof packet->value);
    packet->output = (int)SIM_SLOT(lane, output);
    board->way[lane].held[output] = true;
    check_sent(world, number, lane, &packet->header);
    socket_send(world, SIM_NEXT_OF(number, lane), packet);
    board_feed(world, number, &(struct stage_event){.type = STAGE_SENT, .lane = lane, .output = output});
    if (world->sabotage == SIM_EARLY_LET_GO)
        board_feed(world, number, &(struct stage_event){.type = STAGE_LET_GO, .lane = lane, .output = output});
}

static void send_output(struct world *world, unsigned number, unsigned lane, unsigned output) {
    if (!socket_writable(world, SIM_NEXT_OF(number, lane)))
        board_feed(world, number, &(struct stage_event){.type = STAGE_BLOCKED, .lane = lane, .output = output});
    else if (world->rough && sim_roll(world, 200) == 0) /* its connection ended just now: its parts come back first */
        board_let_go(world, number, SIM_SLOT(lane, output), true);
    else
        hand_over(world, number, lane, output);
}

static void let_loose(struct world *world, struct sim_board *board, unsigned lane, unsigned input) {
    if (!board->way[lane].input[input].kept)
        sim_broken(world, "%s drops input slot %u, which is empty", board->name, input);
    board->way[lane].input[input].kept = false;
}

static void discard(struct world *world, struct sim_board *board, unsigned lane) {
    for (unsigned i = 0; i < board->jobs; i++)
        if (board->job[i].lane == lane)
            sim_broken(world, "%s frees an engine that computes", board->name);
    for (unsigned output = 0; output < STAGE_OUTPUTS; output++)
        if (board->way[lane].held[output])
            sim_broken(world, "%s frees an engine while the network reads output slot %u", board->name, output);
    if (board->loader.busy && board->loader.beside.there && board->loader.lane != lane)
        sim_broken(world, "%s frees an engine that the loader shares", board->name);
    board->way[lane].engine.there = false;
}

/* ---- the core ---- */

static void carry_out(struct world *world, unsigned number, const struct stage_effect *effect) {
    struct sim_board *board = &world->board[number];
    switch (effect->type) {
    case STAGE_SAY_HELLO:
        say_hello(world, number);
        break;
    case STAGE_OPEN_NEXT:
        socket_open(world, SIM_NEXT_OF(number, effect->lane), board->way[effect->lane].next);
        break;
    case STAGE_CLOSE_NEXT:
        socket_close(world, SIM_NEXT_OF(number, effect->lane));
        break;
    case STAGE_DISCARD:
        discard(world, board, effect->lane);
        break;
    case STAGE_LOAD:
        board_fetch(world, number, &(struct fetch_event){.type = FETCH_BEGAN});
        loader_begin(world, number, effect);
        break;
    case STAGE_CANCEL:
        loader_stop(world, number);
        board_fetch(world, number, &(struct fetch_event){.type = FETCH_ENDED});
        break;
    case STAGE_KEEP:
        keep(world, board, effect->lane, effect->input);
        break;
    case STAGE_COMPUTE:
        begin_job(world, number, effect);
        break;
    case STAGE_DROP:
        let_loose(world, board, effect->lane, effect->input);
        break;
    case STAGE_SEND:
        send_output(world, number, effect->lane, effect->output);
        break;
    case STAGE_EXIT:
        board->stopping = true;
        break;
    default:
        say(world, number, effect);
        break;
    }
}

/* There are no holders here: whom to ask is tested in test/core/test_fetch_core.c. */
void board_fetch(struct world *world, unsigned number, const struct fetch_event *event) {
    struct fetch_effects effects;
    if (world->failure[0])
        return;
    fetch_core_step(&world->board[number].fetch, event, world->now, &effects);
    if (effects.fault)
        board_feed(world, number,
                   &(struct stage_event){.type = STAGE_STRAY, .text = "bytes of a tensor that were not asked for"});
    for (unsigned i = 0; i < effects.count; i++) {
        uint32_t unit = (uint32_t)effects.effect[i].chunk.offset;
        if (effects.effect[i].type == FETCH_STORE) {
            loader_stored(world, number, unit);
            continue;
        }
        struct packet *get = packet_new(world, MESSAGE_TENSOR_GET);
        get->unit = unit;
        board_say(world, number, get);
    }
}

void board_feed(struct world *world, unsigned number, const struct stage_event *event) {
    struct sim_board *board = &world->board[number];
    struct stage_effects effects;
    enum stage_state before = board->core.state;
    enum lane_state lanes[STAGE_LANES];
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        lanes[lane] = board->core.lane[lane].state;
    if (world->failure[0])
        return;
    stage_core_step(&board->core, event, world->now, &effects);
    if (before != board->core.state)
        sim_trace(world, number, "%s -> %s", stage_state_name(before), stage_state_name(board->core.state));
    for (unsigned i = 0; i < STAGE_LANES; i++) {
        const struct stage_lane *lane = &board->core.lane[i];
        if (lanes[i] != lane->state)
            sim_trace(world, number, "lane %u: %s -> %s (epoch %llu, units %u to %u)", i, lane_state_name(lanes[i]),
                      lane_state_name(lane->state), (unsigned long long)lane->epoch.number, lane->first, lane->end - 1);
    }
    if (effects.fault)
        sim_trace(world, number, "dropped %s", effects.fault);
    for (unsigned i = 0; i < effects.count; i++)
        carry_out(world, number, &effects.effect[i]);
    check_board(world, number);
}

/* ---- the loop ---- */

static void sleep_until_deadline(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    mono_t deadline = mono_after(world->now, MONO_SECOND), core;
    if (stage_core_deadline(&board->core, &core) && core.ns < deadline.ns)
        deadline = core;
    if (fetch_core_deadline(&board->fetch, &core) && core.ns < deadline.ns)
        deadline = core;
    if (!world->socket[SIM_CONTROL_OF(number)].open && board->reconnect_at.ns < deadline.ns)
        deadline = board->reconnect_at;
    int64_t whole = (mono_since(deadline, world->now) + MONO_MS - 1) / MONO_MS; /* poll counts in milliseconds */
    sim_wake_at(world, number, mono_after(world->now, whole > 0 ? whole * MONO_MS : 1));
    for (unsigned i = 0; i < world->connections; i++)
        if (world->connection[i].used && world->connection[i].to == number &&
            world->connection[i].received[SIM_UP].count > 0 &&
            stage_core_receiving(&board->core, world->connection[i].lane)) {
            sim_wake(world, number); /* what waits in a socket ends the sleep at once */
            return;
        }
}

void board_turn(struct world *world, unsigned number) {
    struct sim_board *board = &world->board[number];
    bool writable[STAGE_LANES];
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        writable[lane] = board->core.lane[lane].blocked && socket_writable(world, SIM_NEXT_OF(number, lane));
    if (board->signalled) {
        board->signalled = false;
        board_feed(world, number, &(struct stage_event){.type = STAGE_SHUTDOWN});
    }
    tell_let_go(world, number);
    tell_computed(world, number);
    loader_reports(world, number);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        if (writable[lane])
            board_feed(world, number, &(struct stage_event){.type = STAGE_WRITABLE, .lane = lane});
    control_events(world, number);
    control_read(world, number);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        data_read(world, number, lane);
    board_fetch(world, number, &(struct fetch_event){.type = FETCH_TICK});
    control_revive(world, number);
    board_feed(world, number, &(struct stage_event){.type = STAGE_TICK});
    if (board->stopping)
        board_stop(world, number, false);
    else
        sleep_until_deadline(world, number);
}
