/* Boards: their messages, the slices they are given, and the weights they fetch.
 *
 * A hello is admitted when version and name are right and becomes an event for the core; the core answers with effects:
 * when a plan is there (coordinator_plan.c), each stage is told its slice, the tensors it needs and where to send, and
 * when all are ready the first one is connected to. Tensor chunks are answered from the mapped model files without a
 * copy. Nothing a board says is trusted beyond its own slice: epochs and ranges are checked by the core or here, and a
 * wrong message is counted and dropped.
 */
#include "base/log.h"
#include "daemon/coordinator_internal.h"

#include <stdio.h>
#include <string.h>

#define HEARTBEAT_MS 500
#define STAGE_QUEUE  1

static void refuse(struct coordinator *c, const struct net_message *received, bool again, const char *text) {
    const struct message message = {.type = MESSAGE_REFUSE, .refuse = {text, again}};
    coordinator_send(c, &received->peer, &message, NULL);
    mono_t now = mono_now(); /* a refused board may try every second for ever */
    if (c->refusals++ > 0 && mono_since(now, c->refused_at) < 30 * MONO_SECOND)
        return;
    c->refused_at = now;
    log_warn("refused a board: %s", text);
}

/* Why a hello cannot be admitted; NULL when it can. *again: trying later may help. */
static const char *objection(struct coordinator *c, const struct net_message *received,
                             const struct message_hello *hello, bool *again, char text[256]) {
    struct error error;
    *again = false;
    if (hello->protocol != PROTOCOL_VERSION || strcmp(hello->version, STAGECOACH_VERSION) != 0)
        snprintf(text, 256,
                 "%.63s runs version %.40s (protocol %u), this coordinator %s (protocol %d): install the same "
                 "version on every board",
                 hello->name, hello->version, hello->protocol, STAGECOACH_VERSION, PROTOCOL_VERSION);
    else if (!net_endpoint_check_numeric(hello->data_endpoint[0], &error) ||
             !net_endpoint_check_numeric(hello->data_endpoint[1], &error))
        snprintf(text, 256, "data endpoint of %.63s: %.150s", hello->name, error.text);
    else if (hello->weights_endpoint[0] && !net_endpoint_check_numeric(hello->weights_endpoint, &error))
        snprintf(text, 256, "weights endpoint of %.63s: %.150s", hello->name, error.text);
    else {
        *again = true;
        for (unsigned i = 0; i < c->core.boards; i++) {
            const struct core_board *board = &c->core.board[i];
            const struct peer *peer = peer_of_board(c, i);
            bool recent = mono_since(mono_now(), board->heard) < 3 * HEARTBEAT_MS * MONO_MS;
            if (strcmp(board->name, hello->name) == 0 && board->state != BOARD_ABSENT && recent && peer &&
                !net_peer_equal(&peer->name, &received->peer)) {
                snprintf(text, 256, "a board named %.63s is already here: give each its own --name", hello->name);
                return text;
            }
        }
        return NULL;
    }
    return text;
}

void boards_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello) {
    char text[256];
    bool again;
    if (objection(c, received, hello, &again, text)) {
        refuse(c, received, again, text);
        return;
    }
    for (unsigned i = 0; i < c->peers; i++) /* a descriptor is reused only after its connection was closed */
        if (c->peer[i].connection == received->connection && !net_peer_equal(&c->peer[i].name, &received->peer))
            c->peer[i].connection = -1;
    snprintf(text, sizeof text, "%u threads, %.1f GiB, %.40s kernels", hello->threads,
             (double)hello->memory_bytes / (1u << 30), hello->kernels);
    coordinator_step(
        c, &(struct coordinator_event){
               .type = CORE_BOARD_JOINED, .name = hello->name, .memory_bytes = hello->memory_bytes, .text = text});
    unsigned board = c->effects.board;
    struct peer *old = board < CORE_BOARDS_MAX ? peer_of_board(c, board) : NULL;
    if (old)
        peer_remove(c, old);
    struct peer *peer = board < CORE_BOARDS_MAX ? peer_add(c, received, ROLE_STAGE) : NULL;
    if (!peer) {
        refuse(c, received, true, "the coordinator has no room for another board");
        return;
    }
    peer->board = board;
    memset(&c->board[board], 0, sizeof c->board[board]);
    pace_forget(c, board);
    c->board[board].joined = ++c->joins;
    c->board[board].key = received->key;
    for (unsigned lane = 0; lane < MESSAGE_LANES; lane++)
        snprintf(c->board[board].endpoint[lane], NET_ENDPOINT_MAX, "%s", hello->data_endpoint[lane]);
    snprintf(c->board[board].kernels, sizeof c->board[board].kernels, "%s", hello->kernels);
    c->board[board].threads = hello->threads;
    c->board[board].instance = hello->instance;
    const struct message welcome = {.type = MESSAGE_WELCOME,
                                    .welcome = {.cluster = c->cluster,
                                                .heartbeat_ms = HEARTBEAT_MS,
                                                .window = 1,
                                                .architecture = model_architecture(c->config)}};
    coordinator_send(c, &received->peer, &welcome, NULL);
    holders_joined(c, board, hello);
    clients_widen(c);
    survey_joined(c, board);
    coordinator_step(c, &(struct coordinator_event){.type = CORE_BOARD_HEARD, .board = board});
}

static void send_tensor(struct coordinator *c, const struct peer *peer, const struct message_tensor_get *get) {
    const void *bytes =
        manifest_ready(c->manifest) ? manifest_bytes(c->manifest, &get->hash, get->offset, get->bytes) : NULL;
    if (!bytes) {
        c->rejected.malformed++;
        coordinator_complain(c, "a request for a tensor range that does not exist", NULL);
        return;
    }
    const struct message part = {.type = MESSAGE_TENSOR_PART, .tensor_part = {get->hash, get->offset}};
    /* the mapping outlives every socket, so there is nothing to release, but a copy must not be made */
    const struct net_piece raw = {.data = bytes, .size = get->bytes, .released = manifest_released, .context = NULL};
    if (coordinator_send(c, &peer->name, &part, &raw))
        c->weights_sent += get->bytes;
}

static void on_ready(struct coordinator *c, unsigned board, const struct message_ready *ready) {
    const struct core_pipeline *pipeline = core_pipeline_of(&c->core, ready->epoch);
    c->board[board].weight_bytes = ready->weight_bytes;
    for (unsigned i = 0; pipeline && i < pipeline->plan.stages; i++)
        if (pipeline->plan.stage[i].board == board)
            holders_loaded(c, board, (struct slice){pipeline->plan.stage[i].first, pipeline->plan.stage[i].end});
}

void boards_message(struct coordinator *c, struct peer *peer, const struct message *message) {
    unsigned board = peer->board;
    struct coordinator_event event = {.type = CORE_BOARD_HEARD, .board = board};
    switch (message->type) {
    case MESSAGE_TENSOR_GET:
        send_tensor(c, peer, &message->tensor_get);
        break;
    case MESSAGE_PROGRESS:
        if (message->progress.epoch.number == c->core.epoch.number)
            c->board[board].progress = message->progress;
        break;
    case MESSAGE_READY:
        event.type = CORE_BOARD_READY;
        event.epoch = message->ready.epoch;
        if (message->ready.epoch.number == c->core.epoch.number)
            on_ready(c, board, &message->ready);
        break;
    case MESSAGE_FAILED:
        event.type = CORE_BOARD_FAILED;
        event.epoch = message->failed.epoch;
        event.text = message->failed.text;
        break;
    case MESSAGE_HEARTBEAT:
        event.type = CORE_HEARTBEAT;
        event.heartbeat = &message->heartbeat;
        status_heartbeat(c, board, &message->heartbeat);
        pace_heartbeat(c, board, &message->heartbeat);
        break;
    case MESSAGE_PROFILE:
        survey_told_profile(c, board, &message->profile);
        break;
    case MESSAGE_PROBED:
        survey_told_probe(c, board, &message->probed);
        break;
    case MESSAGE_LEAVE:
        event.type = CORE_BOARD_LEAVING;
        break;
    default:
        c->rejected.malformed++;
        coordinator_complain(c, "a message that a board does not send", NULL);
    }
    coordinator_step(c, &event);
}

/* ---- slices ---- */

/* The address by which this machine reaches the board. */
static bool way_to(const struct coordinator *c, unsigned board, char address[64]) {
    struct error error;
    bool ok = net_local_address(c->board[board].endpoint[0], address, &error);
    if (!ok)
        log_warn("board %s: %s", c->core.board[board].name, error.text);
    return ok;
}

void boards_results_endpoint(const struct coordinator *c, unsigned board, char out[NET_ENDPOINT_MAX]) {
    char address[64];
    const char *mine = net_endpoint(c->results);
    snprintf(out, NET_ENDPOINT_MAX, "%s", mine);
    if (net_is_everywhere(mine) && way_to(c, board, address))
        snprintf(out, NET_ENDPOINT_MAX, "tcp://%s%s", address, strrchr(mine, ':'));
}

void boards_endpoint_for(const struct coordinator *c, unsigned board, const char *endpoint,
                         char out[NET_ENDPOINT_MAX]) {
    char address[64];
    snprintf(out, NET_ENDPOINT_MAX, "%s", endpoint);
    if (c->gate.on && net_is_loopback(endpoint) && way_to(c, board, address))
        net_endpoint_from(endpoint, c->board[board].endpoint[0], address, out);
}

/* Where the stage sends its results: the next stage, or this coordinator. */
static void next_endpoint(struct coordinator *c, const struct core_pipeline *pipeline, unsigned stage,
                          char out[NET_ENDPOINT_MAX]) {
    const struct plan *plan = &pipeline->plan;
    unsigned board = plan->stage[stage].board, lane = epoch_lane(pipeline->epoch);
    if (stage + 1 < plan->stages)
        boards_endpoint_for(c, board, c->board[plan->stage[stage + 1].board].endpoint[lane], out);
    else
        boards_results_endpoint(c, board, out);
}

static void assign(struct coordinator *c, const struct core_pipeline *pipeline, unsigned number) {
    const struct plan_stage *stage = &pipeline->plan.stage[number];
    struct peer *peer = peer_of_board(c, stage->board);
    char endpoint[NET_ENDPOINT_MAX];
    if (!peer)
        return; /* it is gone already; the core will hear of it */
    next_endpoint(c, pipeline, number, endpoint);
    memset(&c->board[stage->board].progress, 0, sizeof c->board[stage->board].progress);
    struct message message = {.type = MESSAGE_ASSIGN};
    struct message_assign *assign = &message.assign;
    assign->epoch = pipeline->epoch;
    assign->first = stage->first;
    assign->end = stage->end;
    assign->units = model_units(c->config);
    assign->microbatch = c->options->microbatch;
    assign->beside = pipeline->beside;
    assign->next_endpoint = endpoint;
    bool first = number == 0, last = number + 1 == pipeline->plan.stages;
    assign->previous_key = first ? gate_own_key(c) : gate_key_of(c, stage[-1].board);
    assign->next_key = last ? gate_own_key(c) : gate_key_of(c, stage[1].board);
    model_borrow_json(c->model, &assign->config, &assign->config_bytes, &assign->preprocessor,
                      &assign->preprocessor_bytes);
    assign->tensor_count = manifest_slice(c->manifest, (struct slice){stage->first, stage->end}, &assign->tensors);
    holders_name(c, stage->board, assign);
    coordinator_send(c, &peer->name, &message, NULL);
}

void boards_assign(struct coordinator *c, unsigned board, epoch_t epoch) {
    const struct core_pipeline *pipeline = core_pipeline_of(&c->core, epoch);
    for (unsigned i = 0; pipeline && i < pipeline->plan.stages; i++)
        if (pipeline->plan.stage[i].board == board)
            assign(c, pipeline, i);
}

/* To all stages of a pipeline that are here. */
static void tell_stages(struct coordinator *c, const struct plan *plan, const struct message *message) {
    for (unsigned i = 0; i < plan->stages; i++) {
        struct peer *peer = peer_of_board(c, plan->stage[i].board);
        if (peer)
            coordinator_send(c, &peer->name, message, NULL);
    }
}

void boards_serve(struct coordinator *c, epoch_t epoch) {
    struct error error;
    unsigned lane = epoch_lane(epoch);
    const struct plan *plan = &c->core.pipeline[lane].plan;
    net_close(&c->first_stage[lane], 0);
    c->gate.last_stage[lane] =
        c->board[plan->stage[plan->stages - 1].board].key; /* results may come after the plan is gone */
    const struct net_options options = {.frame_max = 4096,
                                        .queue = STAGE_QUEUE,
                                        .keys = c->gate.on ? &c->gate.keys : NULL,
                                        .server = gate_key_of(c, plan->stage[0].board)};
    c->first_stage[lane] =
        net_connect(c->net, NET_PUSH, c->board[plan->stage[0].board].endpoint[lane], &options, &error);
    if (!c->first_stage[lane])
        log_error("%s", error.text);
    tell_stages(c, plan, &(struct message){.type = MESSAGE_SERVE, .serve = {epoch}});
    clients_widen(c);
    log_info("serving with %u stage%s", plan->stages, plan->stages == 1 ? "" : "s");
}

void boards_retire(struct coordinator *c, epoch_t epoch) {
    unsigned lane = epoch_lane(epoch);
    net_close(&c->first_stage[lane], 0);
    tell_stages(c, &c->core.pipeline[lane].plan, &(struct message){.type = MESSAGE_RETIRE, .retire = {epoch}});
}

void boards_release(struct coordinator *c, unsigned board) {
    struct peer *peer = peer_of_board(c, board);
    if (!peer)
        return;
    const struct message message = {.type = MESSAGE_RELEASED};
    coordinator_send(c, &peer->name, &message, NULL);
    peer_remove(c, peer);
}
