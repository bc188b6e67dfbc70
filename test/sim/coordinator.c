/* The coordinator: its core and an interpreter of its effects, in the order of daemon/coordinator.c's loop. Peers are
 * known by their connection; the end of one is told by a monitor, apart from the messages that came through it, which
 * may be read later. A plan is asked for when the tensors are hashed
 * and the boards profiled, and comes later. Heartbeats are judged as daemon/coordinator_pace.c does. A crash forgets
 * everything; the next life is another cluster. */
#include "test/sim/sim.h"

#include <string.h>

#define RECENT            (1500 * MONO_MS) /* three heartbeats */
#define MESSAGES_PER_TURN 256

static struct sim_peer *peer_find(struct sim_coordinator *c, unsigned connection) {
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].connection == connection)
            return &c->peer[i];
    return NULL;
}

static struct sim_peer *peer_of_board(struct sim_coordinator *c, unsigned board) {
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].board == board)
            return &c->peer[i];
    return NULL;
}

static void peer_remove(struct sim_coordinator *c, struct sim_peer *peer) {
    *peer = c->peer[--c->peers];
}

static struct sim_peer *peer_add(struct sim_coordinator *c, unsigned connection) {
    struct sim_peer *peer = peer_find(c, connection);
    if (!peer)
        peer = &c->peer[c->peers++]; /* as many as connections: there is room */
    *peer = (struct sim_peer){.connection = connection};
    return peer;
}

static struct packet *message(struct world *world, unsigned type) {
    struct packet *packet = packet_new(world, type);
    packet->cluster = world->coordinator.cluster;
    return packet;
}

static void send_to_board(struct world *world, unsigned board, struct packet *packet) {
    struct sim_peer *peer = peer_of_board(&world->coordinator, board);
    if (peer)
        router_send(world, peer->connection, packet);
    else
        packet_free(world, packet);
}

/* ---- effects ---- */

static struct sim_endpoint lane_endpoint(const struct sim_coordinator *c, unsigned board, unsigned lane) {
    struct sim_endpoint endpoint = c->place[board].endpoint;
    endpoint.port += lane;
    return endpoint;
}

static void assign(struct world *world, unsigned board, epoch_t epoch) {
    struct sim_coordinator *c = &world->coordinator;
    const struct core_pipeline *pipeline = core_pipeline_of(&c->core, epoch);
    unsigned number = 0;
    while (pipeline && number < pipeline->plan.stages && pipeline->plan.stage[number].board != board)
        number++;
    if (!peer_of_board(c, board) || !pipeline || number == pipeline->plan.stages) {
        sim_broken(world, "%s is given a slice, but it is not here", c->core.board[board].name);
        return;
    }
    const struct plan_stage *stage = &pipeline->plan.stage[number];
    struct packet *packet = message(world, MESSAGE_ASSIGN);
    packet->epoch = epoch;
    packet->first = stage->first;
    packet->end = stage->end;
    packet->microbatch = c->core.settings.microbatch;
    packet->again = pipeline->beside;
    packet->endpoint = number + 1 < pipeline->plan.stages ? lane_endpoint(c, stage[1].board, epoch_lane(epoch))
                                                          : (struct sim_endpoint){SIM_COORDINATOR, c->results_port};
    send_to_board(world, board, packet);
}

static void tell_stages(struct world *world, epoch_t epoch, unsigned type, epoch_t of) {
    const struct plan *plan = &world->coordinator.core.pipeline[epoch_lane(epoch)].plan;
    for (unsigned i = 0; i < plan->stages; i++) {
        struct packet *packet = message(world, type);
        packet->epoch = of;
        send_to_board(world, plan->stage[i].board, packet);
    }
}

static void serve(struct world *world, epoch_t epoch) {
    struct sim_coordinator *c = &world->coordinator;
    unsigned lane = epoch_lane(epoch);
    const struct core_pipeline *draining = core_pipeline_in(&c->core, PIPELINE_DRAINING);
    check_serve(world, epoch);
    socket_open(world, SIM_FIRST_STAGE(lane), lane_endpoint(c, c->core.pipeline[lane].plan.stage[0].board, lane));
    tell_stages(world, epoch, MESSAGE_SERVE, epoch);
    if (draining)
        world->counts.besides++;
    world->counts.strides += c->core.pipeline[lane].step;
    if (world->sabotage == SIM_RETIRE_EARLY && draining)
        tell_stages(world, draining->epoch, MESSAGE_RETIRE, draining->epoch);
}

static void retire(struct world *world, epoch_t epoch) {
    socket_close(world, SIM_FIRST_STAGE(epoch_lane(epoch)));
    tell_stages(world, epoch, MESSAGE_RETIRE, epoch);
}

static void release(struct world *world, unsigned board) {
    struct sim_coordinator *c = &world->coordinator;
    struct sim_peer *peer = peer_of_board(c, board);
    if (!peer)
        return;
    send_to_board(world, board, message(world, MESSAGE_RELEASED));
    peer_remove(c, peer);
}

static void dispatch(struct world *world, const struct coordinator_effect *effect) {
    struct sim_coordinator *c = &world->coordinator;
    const struct core_flight *flight = core_flight_find(&c->core, effect->sequence);
    if (!flight || flight->count != effect->items) {
        sim_broken(world, "microbatch %llu is dispatched, but not in flight",
                   (unsigned long long)effect->sequence.number);
        return;
    }
    const struct stage_cut first = sim_cut(0);
    struct packet *packet = packet_new(world, 0);
    packet->header = (struct data_header){.cluster = c->cluster,
                                          .epoch = effect->epoch,
                                          .sequence = effect->sequence,
                                          .attempt = flight->attempts - 1,
                                          .items = effect->items,
                                          .parts = first.parts};
    memcpy(packet->header.part, first.part, sizeof first.part);
    clients_sent(world, flight, packet);
    sim_trace(world, SIM_COORDINATOR, "sends microbatch %llu of %u items, attempt %u",
              (unsigned long long)effect->sequence.number, effect->items, flight->attempts);
    if (world->sabotage == SIM_REPLAY_UNSENT && flight->attempts > 1)
        packet_free(world, packet);
    else if (socket_send(world, SIM_FIRST_STAGE(epoch_lane(effect->epoch)),
                         packet)) /* what is not sent the core sees stall */
        clients_handed(world, flight);
}

static void told(struct world *world, const struct fleet_event *event) {
    char words[512];
    const char *board = event->board < CORE_BOARDS_MAX ? world->coordinator.core.board[event->board].name : "";
    sim_trace(world, SIM_COORDINATOR, "%s", fleet_event_words(event, board, words, sizeof words));
}

static void carry_out(struct world *world, const struct coordinator_effect *effect) {
    struct sim_coordinator *c = &world->coordinator;
    switch (effect->type) {
    case CORE_PLAN:
        plan_asked(world);
        break;
    case CORE_ASSIGN:
        assign(world, effect->board, effect->epoch);
        break;
    case CORE_SERVE:
        serve(world, effect->epoch);
        break;
    case CORE_DISPATCH:
        dispatch(world, effect);
        break;
    case CORE_ANSWER:
        clients_answered(world, effect->item, effect->row);
        break;
    case CORE_FAIL:
        clients_refused(world, effect->item, effect->text);
        break;
    case CORE_RETIRE:
        retire(world, effect->epoch);
        break;
    case CORE_DROP:
        clients_dropped(world, effect->item);
        break;
    case CORE_RELEASE:
        release(world, effect->board);
        break;
    case CORE_EVENT:
        told(world, effect->event);
        break;
    case CORE_EXIT:
        c->exited = true;
        break;
    }
}

/* Sabotage: the core is robbed of what it should send again. */
static void forget_replays(struct world *world) {
    struct coordinator_core *core = &world->coordinator.core;
    if (world->sabotage == SIM_NO_REPLAY && core->state == COORDINATOR_WAITING)
        core->flights = core->sent;
}

void coordinator_feed(struct world *world, const struct coordinator_event *event) {
    struct sim_coordinator *c = &world->coordinator;
    enum coordinator_state before = c->core.state;
    if (world->failure[0])
        return;
    coordinator_core_step(&c->core, event, world->now, &c->effects);
    if (before != c->core.state)
        sim_trace(world, SIM_COORDINATOR, "%s -> %s (epoch %llu) %s", coordinator_state_name(before),
                  coordinator_state_name(c->core.state), (unsigned long long)c->core.epoch.number, c->core.reason);
    if (c->last_epoch.number != c->core.epoch.number)
        plan_remember(world);
    forget_replays(world);
    for (unsigned i = 0; i < c->effects.count; i++)
        carry_out(world, &c->effects.effect[i]);
    if (world->sabotage == SIM_REPLAY_ANSWERED && before == COORDINATOR_SERVING &&
        c->core.state == COORDINATOR_WAITING && c->core.items_done > 0)
        clients_answered(world, c->last_item, 0);
    check_coordinator(world);
}

/* ---- events ---- */

void coordinator_told_closed(struct world *world, unsigned id) {
    struct sim_coordinator *c = &world->coordinator;
    if (c->closed < SIM_CONNECTIONS)
        c->closed_id[c->closed++] = id;
    sim_wake(world, SIM_COORDINATOR);
}

static void on_closed(struct world *world, unsigned id) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned i = 0; i < c->peers;) {
        struct sim_peer gone = c->peer[i];
        if (gone.connection != id) {
            i++;
            continue;
        }
        peer_remove(c, &c->peer[i]);
        coordinator_feed(world, &(struct coordinator_event){.type = CORE_BOARD_LOST, .board = gone.board});
        i = 0;
    }
}

static void read_events(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned i = 0; i < c->closed; i++)
        on_closed(world, c->closed_id[i]);
    c->closed = 0;
}

static bool already_here(struct world *world, unsigned connection, const char *name) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned i = 0; i < c->core.boards; i++) {
        const struct core_board *board = &c->core.board[i];
        const struct sim_peer *peer = peer_of_board(c, i);
        bool recent = mono_since(world->now, board->heard) < RECENT;
        if (strcmp(board->name, name) == 0 && board->state != BOARD_ABSENT && recent && peer &&
            peer->connection != connection)
            return true;
    }
    return false;
}

static void refuse(struct world *world, unsigned connection) {
    struct packet *packet = message(world, MESSAGE_REFUSE);
    packet->again = true;
    router_send(world, connection, packet);
}

static void on_hello(struct world *world, unsigned connection, const struct packet *hello) {
    struct sim_coordinator *c = &world->coordinator;
    if (already_here(world, connection, hello->text)) {
        refuse(world, connection);
        return;
    }
    coordinator_feed(world, &(struct coordinator_event){
                                .type = CORE_BOARD_JOINED, .name = hello->text, .memory_bytes = hello->memory});
    unsigned board = c->effects.board;
    struct sim_peer *old = peer_of_board(c, board);
    if (old)
        peer_remove(c, old);
    peer_add(c, connection)->board = board;
    c->place[board].endpoint = hello->endpoint;
    c->place[board].joined = ++c->joins;
    c->place[board].measured = false;
    pace_core_forget(&c->pace, board);
    c->place[board].profiled_at =
        mono_after(world->now, sim_roll(world, 2) ? 0 : sim_between(world, 0, 3 * MONO_SECOND));
    router_send(world, connection, message(world, MESSAGE_WELCOME));
    sim_trace(world, SIM_COORDINATOR, "welcomes %s through connection %u", hello->text, connection);
    coordinator_feed(world, &(struct coordinator_event){.type = CORE_BOARD_HEARD, .board = board});
}

static void send_unit(struct world *world, unsigned connection, uint32_t unit) {
    if (world->rough && sim_roll(world, 50) == 0)
        return; /* no room for it */
    struct packet *part = message(world, MESSAGE_TENSOR_PART);
    part->unit = unit;
    router_send(world, connection, part);
}

/* The pipeline that serves, NULL while there is none or another one beside it. */
static const struct core_pipeline *serving_alone(const struct sim_coordinator *c) {
    bool alone = core_lane_free(&c->core) < MESSAGE_LANES && c->core.state == COORDINATOR_SERVING;
    return alone ? core_pipeline_in(&c->core, PIPELINE_SERVING) : NULL;
}

static double profile_seconds(const struct world *world, unsigned board, const struct plan_stage *stage) {
    unsigned node = world->coordinator.place[board].endpoint.node;
    return (double)world->board[node].unit_ns / 1e9 * (stage->end - stage->first);
}

static void judge_pace(struct world *world, unsigned board, const struct message_heartbeat *heartbeat) {
    struct sim_coordinator *c = &world->coordinator;
    struct pace_beat beat = {.epoch = heartbeat->epoch,
                             .microbatches = heartbeat->microbatches,
                             .items = heartbeat->items,
                             .busy_ns = heartbeat->busy_ns - heartbeat->computing_ns,
                             .full = c->core.settings.microbatch};
    const struct core_pipeline *serving = serving_alone(c);
    int stage = c->core.board[board].stage;
    if (serving && stage >= 0 && serving->epoch.number == beat.epoch.number)
        beat.profile_s = profile_seconds(world, board, &serving->plan.stage[stage]);
    beat.spare = serving && c->core.board[board].state == BOARD_IDLE;
    if (!pace_core_heard(&c->pace, board, &beat, world->now))
        return;
    world->counts.drifts++;
    coordinator_feed(world, &(struct coordinator_event){
                                .type = CORE_BOARD_DRIFTED, .board = board, .pace = c->pace.board[board].factor});
}

static void on_board_message(struct world *world, unsigned board, unsigned connection, const struct packet *said) {
    struct coordinator_event event = {
        .type = CORE_BOARD_HEARD, .board = board, .epoch = said->epoch, .text = said->text};
    switch (said->type) {
    case MESSAGE_TENSOR_GET:
        send_unit(world, connection, said->unit);
        break;
    case MESSAGE_READY:
        event.type = CORE_BOARD_READY;
        break;
    case MESSAGE_FAILED:
        sim_trace(world, SIM_COORDINATOR, "%s cannot serve: %s", world->coordinator.core.board[board].name, said->text);
        event.type = CORE_BOARD_FAILED;
        break;
    case MESSAGE_HEARTBEAT:
        event.type = CORE_HEARTBEAT;
        event.heartbeat = &said->heartbeat;
        judge_pace(world, board, &said->heartbeat);
        break;
    case MESSAGE_LEAVE:
        event.type = CORE_BOARD_LEAVING;
        break;
    default:
        break;
    }
    coordinator_feed(world, &event);
}

static void on_message(struct world *world, unsigned connection, const struct packet *said) {
    struct sim_coordinator *c = &world->coordinator;
    if (said->type == MESSAGE_HELLO)
        read_events(world);
    const struct sim_peer *peer = peer_find(c, connection);
    if (said->type == MESSAGE_HELLO)
        on_hello(world, connection, said);
    else if (!peer || c->core.board[peer->board].state == BOARD_ABSENT)
        refuse(world, connection);
    else
        on_board_message(world, peer->board, connection, said);
}

static void read_control(struct world *world) {
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        unsigned connection = 0;
        struct packet *packet = router_receive(world, &connection);
        if (!packet)
            return;
        on_message(world, connection, packet);
        packet_free(world, packet);
    }
}

static void on_result(struct world *world, struct packet *packet) {
    struct sim_coordinator *c = &world->coordinator;
    struct data_header *header = &packet->header;
    if (world->sabotage == SIM_RESULT_BLIND && c->core.sent > 0 && c->core.flight[0].count == header->items) {
        header->epoch = c->core.flight[0].epoch;
        header->sequence = c->core.flight[0].sequence;
    }
    if (header->cluster != c->cluster || !core_pipeline_of(&c->core, header->epoch) ||
        !core_flight_find(&c->core, header->sequence) || header->cut != world->units || packet->damaged)
        return;
    c->result = packet;
    coordinator_feed(
        world, &(struct coordinator_event){
                   .type = CORE_RESULT, .epoch = header->epoch, .sequence = header->sequence, .items = header->items});
    c->result = NULL;
}

static void read_results(struct world *world) {
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        struct packet *packet = pull_receive(world, SIM_COORDINATOR, 0);
        if (!packet)
            return;
        on_result(world, packet);
        packet_free(world, packet);
    }
}

/* ---- the loop ---- */

/* A board that has no part in what serves is profiled, then taken in. */
static void measure_newcomers(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    for (unsigned board = 0; board < c->core.boards && c->core.state == COORDINATOR_SERVING; board++) {
        if (c->place[board].measured || c->core.board[board].state != BOARD_IDLE ||
            mono_since(world->now, c->place[board].profiled_at) < 0)
            continue;
        c->place[board].measured = true;
        coordinator_feed(world, &(struct coordinator_event){.type = CORE_BOARD_MEASURED, .board = board});
    }
}

static void sleep_until_deadline(struct world *world) {
    mono_t deadline = coordinator_core_deadline(&world->coordinator.core, world->now);
    int64_t whole = (mono_since(deadline, world->now) + MONO_MS - 1) / MONO_MS;
    sim_wake_at(world, SIM_COORDINATOR, mono_after(world->now, whole > 0 ? whole * MONO_MS : 1));
}

void coordinator_turn(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    read_events(world);
    read_results(world);
    clients_admit(world);
    read_control(world);
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    if (c->core.state == COORDINATOR_SERVING && !c->core.writable && serving &&
        socket_writable(world, SIM_FIRST_STAGE(epoch_lane(serving->epoch))))
        coordinator_feed(world, &(struct coordinator_event){.type = CORE_WRITABLE});
    if (c->core.settings.measured_first)
        measure_newcomers(world);
    plan_turn(world);
    if (c->shutdown && !c->core.ending)
        coordinator_feed(world, &(struct coordinator_event){.type = CORE_SHUTDOWN});
    coordinator_feed(world, &(struct coordinator_event){.type = CORE_TICK});
    sleep_until_deadline(world);
}

/* ---- life and death ---- */

static struct coordinator_settings settings_of(struct world *world) {
    struct coordinator_settings settings = {
        .microbatch = 1 + sim_mix(world->seed) % SIM_MICROBATCH,
        .in_flight = sim_mix(world->seed + 1) % 4 ? 0 : 1 + (unsigned)(sim_mix(world->seed + 2) % 4),
        .microbatch_wait_ns = (int64_t)(sim_mix(world->seed + 3) % 20) * MONO_MS,
        .board_silence_ns = 3 * MONO_SECOND,
        .patience_ns = 1000000 * MONO_SECOND,
        .stall_ns = 20 * MONO_SECOND,
        .measured_first = sim_mix(world->seed + 9) % 2,
        .settle_ns = MONO_SECOND,
        .gain = sim_mix(world->seed + 10) % 2 ? 0.1 : 0,
        .repay_ns = 600 * MONO_SECOND,
        .load_hung_ns = 5 * MONO_SECOND,
    };
    if (sim_mix(world->seed + 4) % 4 == 0 && !world->quiet)
        settings.patience_ns = (int64_t)(5 + sim_mix(world->seed + 5) % 56) * MONO_SECOND;
    if (sim_mix(world->seed + 6) % 2) { /* a fixed number, of boards that must all be large enough */
        settings.stages = 1 + (unsigned)(sim_mix(world->seed + 7) % world->boards);
        settings.stages = settings.stages < world->units ? settings.stages : world->units;
        for (unsigned i = 0; i < world->boards; i++)
            world->board[i].memory = 0;
    }
    return settings;
}

void coordinator_start(struct world *world) {
    static const int64_t after[] = {0, 10 * MONO_MS, 300 * MONO_MS}; /* a history is short */
    struct sim_coordinator *c = &world->coordinator;
    unsigned life = c->life + 1;
    memset(c, 0, sizeof *c);
    c->alive = true;
    c->life = life;
    c->cluster = sim_mix(world->seed ^ life);
    c->results_port = ++world->ports;
    c->hashed_at = mono_after(world->now, sim_roll(world, 2) ? 0 : sim_between(world, 0, 4 * MONO_SECOND));
    for (unsigned i = 0; i < CORE_ITEMS_MAX; i++)
        c->free_slot[i] = CORE_ITEMS_MAX - 1 - i;
    c->free_slots = CORE_ITEMS_MAX;
    const struct coordinator_settings settings = settings_of(world);
    coordinator_core_init(&c->core, &settings, world->now);
    pace_core_init(&c->pace, &(struct pace_settings){.after_ns = after[sim_mix(world->seed + 11) % 3]});
    sim_trace(world, SIM_COORDINATOR, "starts: %u stages, microbatches of %u, %u in flight, patience %lld s",
              settings.stages, settings.microbatch, settings.in_flight,
              (long long)(settings.patience_ns / MONO_SECOND));
    sim_wake(world, SIM_COORDINATOR);
}

void coordinator_crash(struct world *world) {
    sim_trace(world, SIM_COORDINATOR, "crashes");
    world->counts.restarts++;
    world->counts.replayed += world->coordinator.core.items_replayed;
    world->counts.stale += world->coordinator.core.stale;
    world->counts.epochs += world->coordinator.core.epoch.number;
    world->coordinator.alive = false;
    world->coordinator.frozen_until.ns = 0;
    network_process_ended(world, SIM_COORDINATOR, false);
    clients_coordinator_lost(world);
}
