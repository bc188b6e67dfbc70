/* The coordinator daemon: start, event loop, effects.
 *
 * The loop sleeps on its sockets (control ROUTER, results PULL, PUSH to the first stage), the preparers, the manifest
 * and signals. Whatever wakes it becomes an event for the pure core (core/coordinator_core.h), and the core's effects
 * are carried out at once: messages to boards, a microbatch to the first stage, an answer to a client. Nothing here
 * blocks: decoding and hashing have threads of their own, weights are sent by ZeroMQ straight from the mapped files. A
 * bad frame is counted, complained of at most once a second, and dropped. SIGTERM refuses new submissions, finishes
 * what was admitted and ends; a second one ends at once. All memory belongs to struct coordinator.
 */
#include "daemon/coordinator.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/coordinator_internal.h"
#include "daemon/signals.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONTROL_QUEUE 4096
#define ARENA_LIMIT   (64u << 20)
#define REPAY_NS      (600 * MONO_SECOND)
#define HUNG_NS       (5 * MONO_SECOND)
#define LOAD_HUNG_NS  (120 * MONO_SECOND) /* a chunk of weights over a link of 100 kbit/s */

/* ---- peers ---- */

struct peer *peer_find(struct coordinator *c, const struct net_peer *name) {
    for (unsigned i = 0; i < c->peers; i++)
        if (net_peer_equal(&c->peer[i].name, name))
            return &c->peer[i];
    return NULL;
}

struct peer *peer_of_board(struct coordinator *c, unsigned board) {
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].role == ROLE_STAGE && c->peer[i].board == board)
            return &c->peer[i];
    return NULL;
}

struct peer *peer_add(struct coordinator *c, const struct net_message *received, enum role role) {
    struct peer *peer = peer_find(c, &received->peer);
    unsigned room = role == ROLE_CLIENT ? PEERS_MAX - CORE_BOARDS_MAX : PEERS_MAX;
    unsigned waiting = peer ? peer->waiting : 0; /* saying hello twice does not make them fewer */
    if (!peer && c->peers >= room)
        return NULL;
    if (!peer)
        peer = &c->peer[c->peers++];
    *peer = (struct peer){.name = received->peer, .connection = received->connection, .role = role};
    peer->key = received->key;
    peer->waiting = waiting;
    return peer;
}

void peer_remove(struct coordinator *c, struct peer *peer) {
    *peer = c->peer[--c->peers];
}

void peer_gone(struct coordinator *c, const struct peer *gone) {
    if (gone->role == ROLE_STAGE)
        coordinator_step(c, &(struct coordinator_event){.type = CORE_BOARD_LOST, .board = gone->board});
    clients_gone(c, &gone->name); /* also of one who was a client first */
}

/* ---- sending ---- */

bool coordinator_send(struct coordinator *c, const struct net_peer *peer, const struct message *message,
                      const struct net_piece *raw) {
    struct error error;
    struct net_piece pieces[2] = {{0}};
    arena_reset(c->encoded);
    if (!message_encode(c->encoded, message, &pieces[0].data, &pieces[0].size, &error)) {
        log_error("cannot encode a message: %s", error.text);
        return false;
    }
    if (raw)
        pieces[1] = *raw;
    return net_send(c->control, peer, pieces, raw ? 2 : 1) == NET_OK;
}

void coordinator_complain(struct coordinator *c, const char *what, const struct error *error) {
    mono_t now = mono_now();
    if (mono_since(now, c->complained) < MONO_SECOND)
        return;
    c->complained = now;
    log_warn("dropped %s: %s", what, error ? error->text : "not a message of ours");
}

/* ---- the core ---- */

static void carry_out(struct coordinator *c, const struct coordinator_effect *effect) {
    switch (effect->type) {
    case CORE_PLAN:
        plan_asked(c);
        break;
    case CORE_ASSIGN:
        boards_assign(c, effect->board, effect->epoch);
        break;
    case CORE_SERVE:
        boards_serve(c, effect->epoch);
        break;
    case CORE_DISPATCH:
        clients_dispatch(c, effect);
        break;
    case CORE_ANSWER:
        clients_answer(c, effect->item, effect->row);
        break;
    case CORE_FAIL:
        clients_fail(c, effect->item, effect->text);
        break;
    case CORE_RETIRE:
        boards_retire(c, effect->epoch);
        break;
    case CORE_DROP:
        clients_drop(c, effect->item);
        break;
    case CORE_RELEASE:
        boards_release(c, effect->board);
        break;
    case CORE_EVENT:
        events_tell(c, effect->event);
        break;
    case CORE_EXIT:
        c->stop = true;
        break;
    }
}

void coordinator_step(struct coordinator *c, const struct coordinator_event *event) {
    enum coordinator_state before = c->core.state;
    coordinator_core_step(&c->core, event, mono_now(), &c->effects);
    for (unsigned i = 0; i < c->effects.count; i++)
        carry_out(c, &c->effects.effect[i]);
    if (before != c->core.state)
        log_debug("%s -> %s", coordinator_state_name(before), coordinator_state_name(c->core.state));
}

/* ---- what wakes the loop ---- */

static void on_closed(struct coordinator *c, int connection) {
    for (unsigned i = 0; i < c->peers;) { /* more than one where the hello of another came after its end */
        struct peer gone = c->peer[i];
        if (gone.connection != connection) {
            i++;
            continue;
        }
        peer_remove(c, &c->peer[i]);
        peer_gone(c, &gone);
        i = 0; /* that may have removed others */
    }
}

static void read_events(struct coordinator *c, struct net_socket *socket) {
    struct net_event event;
    while ((event = net_next_event(socket)).kind != NET_NOTHING) {
        if (event.kind == NET_HANDSHAKE_FAILED && (socket == c->control || socket == c->results)) {
            c->rejected.handshake++;
            strangers_note(&c->gate.strangers, &event);
        }
        if (event.kind == NET_CLOSED && socket == c->control)
            on_closed(c, event.connection);
    }
}

static void on_control_message(struct coordinator *c, struct net_message *received) {
    struct message message;
    struct error error;
    const struct net_frame *frame = &received->frame[0];
    arena_reset(c->decoded);
    if (!message_decode(c->decoded, net_frame_data(frame), net_frame_size(frame), &message, &error)) {
        c->rejected.malformed++;
        coordinator_complain(c, "a control message", &error);
        return;
    }
    unsigned frames = message.type == MESSAGE_SUBMIT ? 2 : 1;
    if (received->count != frames) {
        c->rejected.malformed++;
        coordinator_complain(c, "a control message with a wrong number of frames", NULL);
        return;
    }
    if (message.type == MESSAGE_HELLO) /* its descriptor may have been another's, whose end must not be taken for its */
        read_events(c, c->control);
    if (!gate_passes(c, received, &message))
        return;
    struct peer *peer = peer_find(c, &received->peer);
    /* a board that was silent for too long, and given up, is still connected */
    bool known = peer && (peer->role == ROLE_CLIENT || c->core.board[peer->board].state != BOARD_ABSENT);
    if (message.type == MESSAGE_HELLO && message.hello.role == ROLE_STAGE)
        boards_hello(c, received, &message.hello);
    else if (message.type == MESSAGE_HELLO)
        clients_hello(c, received, &message.hello);
    else if (message.type == MESSAGE_STATUS_GET)
        status_send(c, &received->peer);
    else if (message.type == MESSAGE_DRAIN)
        events_drain(c, received, &message.drain);
    else if (!known) {
        const struct message again = {.type = MESSAGE_REFUSE, .refuse = {"say hello first", true}};
        coordinator_send(c, &received->peer, &again, NULL);
    } else if (peer->role == ROLE_STAGE)
        boards_message(c, peer, &message);
    else if (message.type == MESSAGE_SUBMIT)
        clients_submit(c, received, &message.submit);
    else
        c->rejected.malformed++;
}

static void read_control(struct coordinator *c) {
    struct net_message received;
    for (int i = 0; i < 256; i++) { /* then let the others have a turn */
        enum net_result result = net_receive(c->control, &received);
        if (result == NET_AGAIN)
            return;
        if (result == NET_OK) {
            on_control_message(c, &received);
            net_message_close(&received);
        } else if (result == NET_DENIED)
            gate_denied(c, &received);
        else
            c->rejected.malformed++;
    }
}

static void read_results(struct coordinator *c) {
    struct net_message received;
    for (int i = 0; i < 256; i++) {
        enum net_result result = net_receive(c->results, &received);
        if (result == NET_AGAIN)
            return;
        if (result == NET_OK) {
            if (!survey_arrived(c, &received))
                clients_result(c, &received);
            net_message_close(&received);
        } else if (result == NET_DENIED)
            gate_denied(c, &received);
        else
            c->rejected.malformed++;
    }
}

static void read_signals(struct coordinator *c) {
    while (signals_read(c->signals)) {
        if (c->shutdown)
            c->stop = true;
        else
            log_info("finishing what was admitted: %u waiting, %u microbatches in flight; once more to end at once",
                     c->core.queued + c->preparing, c->core.flights);
        c->shutdown = true;
    }
}

enum { WAIT_CONTROL, WAIT_RESULTS, WAIT_PREPARED, WAIT_SIGNALS, WAIT_MANIFEST, WAIT_OTHERS };

/* Its descriptor stays readable once it is ready. */
static bool waits_for_manifest(const struct coordinator *c) {
    return c->plan_work.wanted && !manifest_ready(c->manifest);
}

/* The socket to the first stage that serves, while the core waits for it to take another microbatch; else NULL. */
static struct net_socket *first_stage_wanted(const struct coordinator *c) {
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    if (c->core.state != COORDINATOR_SERVING || c->core.writable || !serving)
        return NULL;
    return c->first_stage[epoch_lane(serving->epoch)];
}

/* Returns how many there are. What may be absent comes last. */
static unsigned fill_waits(struct coordinator *c, struct net_wait waits[NET_WAITS_MAX]) {
    memset(waits, 0, NET_WAITS_MAX * sizeof *waits);
    waits[WAIT_CONTROL] = (struct net_wait){.socket = c->control, .readable = true};
    waits[WAIT_RESULTS] = (struct net_wait){.socket = c->results, .readable = true};
    waits[WAIT_PREPARED] = (struct net_wait){.descriptor = preparation_descriptor(c->preparation), .readable = true};
    waits[WAIT_SIGNALS] = (struct net_wait){.descriptor = c->signals, .readable = true};
    waits[WAIT_MANIFEST] =
        (struct net_wait){.descriptor = manifest_descriptor(c->manifest), .readable = waits_for_manifest(c)};
    unsigned count = WAIT_OTHERS;
    if (c->plan_work.planner)
        waits[count++] = (struct net_wait){.descriptor = planner_descriptor(c->plan_work.planner), .readable = true};
    if (c->gate.on)
        waits[count++] = (struct net_wait){.descriptor = c->gate.watch, .readable = true};
    count += prober_wait(&c->survey.prober, &waits[count]);
    const struct net_socket *wanted = first_stage_wanted(c);
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++) {
        struct net_socket *first = c->first_stage[lane];
        if (first)
            waits[count++] = (struct net_wait){.socket = first, .writable = first == wanted};
    }
    return count;
}

static int milliseconds_until(mono_t deadline) {
    int64_t left = mono_since(deadline, mono_now());
    return left <= 0 ? 0 : (int)((left + MONO_MS - 1) / MONO_MS);
}

static bool turn(struct coordinator *c, struct error *error) {
    struct net_wait waits[NET_WAITS_MAX];
    unsigned count = fill_waits(c, waits);
    if (!net_wait(waits, count, milliseconds_until(coordinator_core_deadline(&c->core, mono_now())), error))
        return false;
    read_events(c, c->control); /* first: a closed connection's descriptor may be reused by the next message's */
    read_events(c, c->results);
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        if (c->first_stage[lane]) /* they tell nothing we need, but unread they would end every wait at once */
            read_events(c, c->first_stage[lane]);
    strangers_turn(&c->gate.strangers);
    gate_turn(c); /* before anything is read that a revoked key has said */
    if (waits[WAIT_SIGNALS].can_read)
        read_signals(c);
    if (waits[WAIT_RESULTS].can_read)
        read_results(c);
    if (waits[WAIT_PREPARED].can_read)
        clients_prepared(c);
    if (waits[WAIT_CONTROL].can_read)
        read_control(c);
    /* asked afresh: a message may just have made the first stage another one, which is not connected yet */
    struct net_socket *first = first_stage_wanted(c);
    if (first && net_writable(first))
        coordinator_step(c, &(struct coordinator_event){.type = CORE_WRITABLE});
    survey_turn(c);
    plan_turn(c);
    if (c->shutdown && !c->core.ending && c->preparing == 0)
        coordinator_step(c, &(struct coordinator_event){.type = CORE_SHUTDOWN});
    coordinator_step(c, &(struct coordinator_event){.type = CORE_TICK});
    return true;
}

/* ---- start and end ---- */

/* Boards get both files with their slices. */
static bool json_may_be_sent(const struct coordinator *c, struct error *error) {
    const void *config, *preprocessor;
    size_t config_bytes, preprocessor_bytes;
    model_borrow_json(c->model, &config, &config_bytes, &preprocessor, &preprocessor_bytes);
    bool first = config_bytes > MESSAGE_JSON_MAX;
    if (!first && preprocessor_bytes <= MESSAGE_JSON_MAX)
        return true;
    return error_set(error, ERROR_INPUT, "%s/%s: %zu bytes, want at most %u, for boards get it with their slices",
                     c->options->model, first ? "config.json" : "preprocessor_config.json",
                     first ? config_bytes : preprocessor_bytes, MESSAGE_JSON_MAX);
}

static bool open_model(struct coordinator *c, struct error *error) {
    c->model = model_open(c->options->model, error);
    if (!c->model)
        return false;
    c->config = model_borrow_config(c->model);
    if (!json_may_be_sent(c, error))
        return false;
    unsigned units = model_units(c->config);
    for (unsigned i = 0; i < c->options->cut_count; i++)
        if (c->options->cuts[i] >= units)
            return error_set(error, ERROR_USAGE, "--cuts: got %u, want less than the model's %u units",
                             c->options->cuts[i], units);
    c->manifest = manifest_new(c->model, error);
    return c->manifest && clients_init(c, error);
}

/* The host of a "tcp://HOST:PORT" with another port. */
static void with_port(const char *endpoint, const char *port, char out[NET_ENDPOINT_MAX]) {
    const char *colon = strrchr(endpoint, ':');
    snprintf(out, NET_ENDPOINT_MAX, "%.*s:%s", (int)(colon - endpoint), endpoint, port);
}

/* Boards send results to the port behind the one that was given, so that a firewall can be told. Where somebody has it,
 * any that is free will do for most. */
static bool bind_results(struct coordinator *c, const struct net_options *options, struct error *error) {
    char at[NET_ENDPOINT_MAX];
    struct error taken;
    const char *listen = c->options->listen;
    if (net_endpoint_behind(listen, 1, at, &taken) && (c->results = net_bind(c->net, NET_PULL, at, options, &taken)))
        return true;
    with_port(listen, "0", at);
    c->results = net_bind(c->net, NET_PULL, at, options, error);
    if (c->results)
        log_warn("results come in at %s and not at the port behind --listen: %s", net_endpoint(c->results), taken.text);
    return c->results != NULL;
}

static bool open_sockets(struct coordinator *c, struct error *error) {
    const struct coordinator_options *options = c->options;
    if (!net_endpoint_check(options->listen, error))
        return error_wrap(error, "--listen");
    if (!gate_prepare(c, error))
        return false;
    /* some room above the largest file, so that one that is too large gets an answer and not just a closed connection
     */
    struct net_options control = {.frame_max = MESSAGE_FILE_MAX + MESSAGE_FILE_MAX / 4, .queue = CONTROL_QUEUE};
    uint64_t answers = c->answer_size * sizeof(float) * options->microbatch;
    struct net_options results = {.frame_max = (answers > MESSAGE_PROBE_MAX ? answers : MESSAGE_PROBE_MAX) + 4096,
                                  .queue = 16};
    control.keys = results.keys = c->gate.on ? &c->gate.keys : NULL;
    results.door = NET_DOOR_LATER;
    c->net = net_new(error);
    return c->net && (c->control = net_bind(c->net, NET_ROUTER, options->listen, &control, error)) &&
           bind_results(c, &results, error) && gate_open(c, error) &&
           (!options->endpoint_file || file_write_atomic(options->endpoint_file, net_endpoint(c->control),
                                                         strlen(net_endpoint(c->control)), error));
}

static bool set_up_core(struct coordinator *c, struct error *error) {
    const struct coordinator_options *options = c->options;
    struct coordinator_settings settings = {
        .stages = options->cut_count ? options->cut_count + 1 : options->stages,
        .microbatch = options->microbatch,
        .in_flight = options->in_flight,
        .microbatch_wait_ns = options->microbatch_wait_ms * MONO_MS,
        .board_silence_ns = options->silence_s * MONO_SECOND,
        .patience_ns = options->patience_ms * MONO_MS,
        .stall_ns = 20 * MONO_SECOND,
        .settle_ns = MONO_SECOND,
        .gain = options->gain,
        .repay_ns = REPAY_NS,
        .load_hung_ns = LOAD_HUNG_NS,
    };
    snprintf(c->policy, sizeof c->policy, "%s", options->cut_count ? "manual" : options->policy);
    if (!survey_init(c, error))
        return false;
    pace_init(c);
    settings.measured_first = c->survey.needed;
    settings.hung_ns = HUNG_NS; /* or HUNG_FACTOR times what its speed lets expect */
    coordinator_core_init(&c->core, &settings, mono_now());
    return true;
}

/* ZeroMQ's threads must have ended (net_destroy) before buffers it may still be sending from go. */
static void close_all(struct coordinator *c) {
    plan_close(c);
    prober_stop(&c->survey.prober);
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        net_close(&c->first_stage[lane], 0);
    net_close(&c->results, 0);
    net_close(&c->control, 2000);
    net_destroy(&c->net, 2000);
    gate_close(c);
    preparation_destroy(&c->preparation);
    survey_close(c);
    clients_close(c);
    holders_close(c);
    manifest_destroy(&c->manifest);
    model_close(&c->model);
    arena_destroy(&c->decoded);
    arena_destroy(&c->encoded);
    if (c->signals >= 0)
        close(c->signals);
    release(c);
}

bool coordinator_run(const struct coordinator_options *options, struct error *error) {
    struct coordinator *c = allocate(1, sizeof *c);
    c->options = options;
    c->signals = -1;
    c->started = mono_now();
    c->decoded = arena_new(ARENA_LIMIT);
    c->encoded = arena_new(ARENA_LIMIT);
    pthread_mutex_init(&c->buffers_lock, NULL);
    bool ok = getrandom(&c->cluster, sizeof c->cluster, 0) == (ssize_t)sizeof c->cluster ||
              error_set_errno(error, "getrandom");
    ok = ok && (c->signals = signals_open(error)) >= 0 && open_model(c, error) && open_sockets(c, error) &&
         set_up_core(c, error);
    if (ok) {
        log_info("%s, %u units, listening on %s", model_architecture(c->config), model_units(c->config),
                 net_endpoint(c->control));
        if (c->core.settings.stages > 0)
            log_info("waiting for %u boards", c->core.settings.stages);
        else
            log_info("waiting for boards, as many as come");
    }
    while (ok && !c->stop)
        ok = turn(c, error);
    if (ok)
        log_info("done: %llu items answered, %llu failed", (unsigned long long)c->core.items_done,
                 (unsigned long long)c->core.items_failed);
    close_all(c);
    return ok;
}
