/* Bytes into messages; see codec.h.
 *
 * A frame passes four gates: its size, wire.c (form, texts, counts), protobuf-c (into the arena), and here the
 * translation into plain structs, which check.c then holds against the ranges of message.h. Texts and byte ranges of
 * the result are those that protobuf-c copied into the arena; only arrays of messages are built anew. When any gate
 * refuses, the arena is as it was.
 *
 * protobuf-c is given nothing that wire.c has not seen, and no memory but the arena's: a peer can cost us the arena's
 * limit and the time to read its frame, and no more. */
#include "proto/codec.h"

#include "proto/arena.h"
#include "proto/check.h"
#include "proto/stagecoach.pb-c.h"
#include "proto/wire.h"

#include <string.h>

/* enum message_type is the number of the body in the oneof, so that one can stand for the other */
_Static_assert((int)MESSAGE_HELLO == (int)STAGECOACH__ENVELOPE__BODY_HELLO, "message.h and stagecoach.proto differ");
_Static_assert((int)MESSAGE_ASSIGN == (int)STAGECOACH__ENVELOPE__BODY_ASSIGN, "message.h and stagecoach.proto differ");
_Static_assert((int)MESSAGE_LEAVE == (int)STAGECOACH__ENVELOPE__BODY_LEAVE, "message.h and stagecoach.proto differ");
_Static_assert((int)MESSAGE_SUBMIT == (int)STAGECOACH__ENVELOPE__BODY_SUBMIT, "message.h and stagecoach.proto differ");
_Static_assert((int)MESSAGE_STATUS == (int)STAGECOACH__ENVELOPE__BODY_STATUS, "message.h and stagecoach.proto differ");
_Static_assert((int)MESSAGE_FLEET == (int)STAGECOACH__ENVELOPE__BODY_FLEET, "message.h and stagecoach.proto differ");

static bool no_memory(const struct arena *arena, const char *name, struct error *error) {
    return error_set(error, ERROR_SYSTEM, "%s: needs more memory than the %zu bytes set aside for messages", name,
                     arena_limit(arena));
}

static bool hash_get(const ProtobufCBinaryData *from, struct hash *to, struct error *error) {
    if (from->len != HASH_BYTES)
        return error_set(error, ERROR_INPUT, "got %zu bytes, want %d", from->len, HASH_BYTES);
    memcpy(to->bytes, from->data, HASH_BYTES);
    return true;
}

/* A key where there is one; it lies where protobuf-c put it. */
static bool key_get(const ProtobufCBinaryData *from, const struct public_key **to, struct error *error) {
    *to = from->len > 0 ? (const struct public_key *)(const void *)from->data : NULL;
    return from->len == 0 || from->len == KEY_BYTES ||
           error_set(error, ERROR_INPUT, "got %zu bytes, want %d", from->len, KEY_BYTES);
}

static struct rejected rejected_get(const Stagecoach__Rejected *from) {
    if (!from)
        return (struct rejected){0};
    return (struct rejected){
        .handshake = from->handshake,
        .malformed = from->malformed,
        .oversized = from->oversized,
        .stale = from->stale,
        .denied = from->denied,
    };
}

static bool hello_get(const Stagecoach__Hello *from, struct message_hello *to, struct error *error) {
    if (from->cached.len % MESSAGE_CACHED_BYTES != 0)
        return error_set(error, ERROR_INPUT, "hello: cached: got %zu bytes, want a multiple of %d", from->cached.len,
                         MESSAGE_CACHED_BYTES);
    *to = (struct message_hello){
        .protocol = from->protocol,
        .version = from->version,
        .role = (enum role)from->role,
        .name = from->name,
        .data_endpoint = {from->data_endpoint, from->second_endpoint},
        .memory_bytes = from->memory_bytes,
        .threads = from->threads,
        .kernels = from->kernels,
        .weights_endpoint = from->weights_endpoint,
        .cached = from->cached.data,
        .cached_count = from->cached.len / MESSAGE_CACHED_BYTES,
        .instance = from->instance,
    };
    return true;
}

static struct message_welcome welcome_get(const Stagecoach__Welcome *from) {
    return (struct message_welcome){
        .cluster = from->cluster,
        .heartbeat_ms = from->heartbeat_ms,
        .window = from->window,
        .architecture = from->architecture,
    };
}

static bool tensor_entry_get(const Stagecoach__TensorEntry *from, size_t index, struct tensor_entry *to,
                             struct error *error) {
    if (!hash_get(&from->hash, &to->hash, error))
        return error_wrap(error, "assign: tensors[%zu].hash", index);
    if (from->n_shape > MESSAGE_RANK_MAX)
        return error_set(error, ERROR_INPUT, "assign: tensors[%zu].shape: got %zu dimensions, want at most %d", index,
                         from->n_shape, MESSAGE_RANK_MAX);
    to->name = from->name;
    to->element = from->element;
    to->rank = (uint32_t)from->n_shape;
    for (size_t i = 0; i < from->n_shape; i++)
        to->shape[i] = from->shape[i];
    to->bytes = from->bytes;
    return true;
}

/* holders and what they may have. */
static bool holders_get(struct arena *arena, const Stagecoach__Assign *from, struct message_assign *to,
                        struct error *error) {
    struct message_holder *holders = arena_take(arena, from->n_holders, sizeof *holders);
    if (!holders)
        return no_memory(arena, "assign", error);
    if (from->n_tensor_holders != 0 && from->n_tensor_holders != from->n_tensors)
        return error_set(error, ERROR_INPUT,
                         "assign: tensor_holders: got %zu, want none or one for each of %zu tensors",
                         from->n_tensor_holders, from->n_tensors);
    for (size_t i = 0; i < from->n_holders; i++) {
        holders[i].endpoint = from->holders[i]->endpoint;
        if (!key_get(&from->holders[i]->key, &holders[i].key, error))
            return error_wrap(error, "assign: holders[%zu].key", i);
    }
    to->holders = holders;
    to->holder_count = from->n_holders;
    to->tensor_holders = from->n_tensor_holders > 0 ? from->tensor_holders : NULL;
    return true;
}

static bool assign_get(struct arena *arena, const Stagecoach__Assign *from, struct message_assign *to,
                       struct error *error) {
    struct tensor_entry *tensors = arena_take(arena, from->n_tensors, sizeof *tensors);
    if (!tensors)
        return no_memory(arena, "assign", error);
    for (size_t i = 0; i < from->n_tensors; i++)
        if (!tensor_entry_get(from->tensors[i], i, &tensors[i], error))
            return false;
    *to = (struct message_assign){
        .epoch = {from->epoch},
        .first = from->first,
        .end = from->end,
        .units = from->units,
        .microbatch = from->microbatch,
        .beside = from->beside,
        .next_endpoint = from->next_endpoint,
        .config = from->config.data,
        .config_bytes = from->config.len,
        .preprocessor = from->preprocessor.len > 0 ? from->preprocessor.data : NULL,
        .preprocessor_bytes = from->preprocessor.len,
        .tensors = tensors,
        .tensor_count = from->n_tensors,
    };
    return (key_get(&from->next_key, &to->next_key, error) || error_wrap(error, "assign: next_key")) &&
           (key_get(&from->previous_key, &to->previous_key, error) || error_wrap(error, "assign: previous_key")) &&
           holders_get(arena, from, to, error);
}

static bool tensor_get_get(const Stagecoach__TensorGet *from, struct message_tensor_get *to, struct error *error) {
    *to = (struct message_tensor_get){.offset = from->offset, .bytes = from->bytes};
    return hash_get(&from->hash, &to->hash, error) || error_wrap(error, "tensor_get: hash");
}

static bool tensor_part_get(const Stagecoach__TensorPart *from, struct message_tensor_part *to, struct error *error) {
    *to = (struct message_tensor_part){.offset = from->offset};
    return hash_get(&from->hash, &to->hash, error) || error_wrap(error, "tensor_part: hash");
}

static bool tensor_absent_get(const Stagecoach__TensorAbsent *from, struct message_tensor_absent *to,
                              struct error *error) {
    return hash_get(&from->hash, &to->hash, error) || error_wrap(error, "tensor_absent: hash");
}

static bool fleet_get(struct arena *arena, const Stagecoach__Fleet *from, struct message_fleet *to,
                      struct error *error) {
    struct public_key *keys = arena_take(arena, from->n_keys, sizeof *keys);
    if (!keys)
        return no_memory(arena, "fleet", error);
    for (size_t i = 0; i < from->n_keys; i++) {
        if (from->keys[i].len != KEY_BYTES)
            return error_set(error, ERROR_INPUT, "fleet: keys[%zu]: got %zu bytes, want %d", i, from->keys[i].len,
                             KEY_BYTES);
        memcpy(keys[i].bytes, from->keys[i].data, KEY_BYTES);
    }
    *to = (struct message_fleet){keys, from->n_keys};
    return true;
}

static struct message_heartbeat heartbeat_get(const Stagecoach__Heartbeat *from) {
    return (struct message_heartbeat){
        .epoch = {from->epoch},
        .microbatches = from->microbatches,
        .items = from->items,
        .busy_ns = from->busy_ns,
        .serving_ns = from->serving_ns,
        .computing_ns = from->computing_ns,
        .loading_ns = from->loading_ns,
        .computed = {from->computed},
        .memory_used = from->memory_used,
        .allocations = from->allocations,
        .rejected = rejected_get(from->rejected),
    };
}

static bool answer_get(struct arena *arena, const Stagecoach__Answer *from, struct message_answer *to,
                       struct error *error) {
    struct answer_class *top = arena_take(arena, from->n_top, sizeof *top);
    if (!top)
        return no_memory(arena, "answer", error);
    for (size_t i = 0; i < from->n_top; i++)
        top[i] = (struct answer_class){from->top[i]->class_index, from->top[i]->label, from->top[i]->score};
    *to = (struct message_answer){
        .request = from->request,
        .item = from->item,
        .error = from->error,
        .embedding = from->embedding,
        .top = top,
        .top_count = from->n_top,
    };
    return true;
}

static struct board_status board_status_get(const Stagecoach__BoardStatus *from) {
    return (struct board_status){
        .name = from->name,
        .state = from->state,
        .units = from->units,
        .kernels = from->kernels,
        .endpoint = from->endpoint,
        .predicted_compute_s = from->predicted_compute_s,
        .predicted_receive_s = from->predicted_receive_s,
        .predicted_send_s = from->predicted_send_s,
        .measured_compute_s = from->measured_compute_s,
        .busy_ns = from->busy_ns,
        .serving_ns = from->serving_ns,
        .planned_memory_bytes = from->planned_memory_bytes,
        .memory_used = from->memory_used,
        .payload_bytes = from->payload_bytes,
        .silent_ms = from->silent_ms,
        .pace = from->pace,
        .first = from->first,
        .end = from->end,
        .threads = from->threads,
        .items = from->items,
        .microbatches = from->microbatches,
        .busy = from->busy,
        .weight_bytes = from->weight_bytes,
        .memory_bytes = from->memory_bytes,
        .loaded = from->loaded,
        .load_total = from->load_total,
        .fetched = from->fetched,
        .allocations = from->allocations,
        .rejected = rejected_get(from->rejected),
    };
}

static struct event_status event_get(const Stagecoach__Event *from) {
    return (struct event_status){
        .number = from->number,
        .unix_ms = from->unix_ms,
        .kind = from->kind,
        .board = from->board,
        .epoch = {from->epoch},
        .boards = from->boards,
        .stages = from->stages,
        .items = from->items,
        .microbatches = from->microbatches,
        .predicted_period_s = from->predicted_period_s,
        .took_s = from->took_s,
        .unserved_s = from->unserved_s,
        .pace = from->pace,
        .reason = from->reason,
        .text = from->text,
    };
}

static bool status_get(struct arena *arena, const Stagecoach__Status *from, struct message_status *to,
                       struct error *error) {
    struct board_status *boards = arena_take(arena, from->n_boards, sizeof *boards);
    struct event_status *events = arena_take(arena, from->n_events, sizeof *events);
    if (!boards || !events)
        return no_memory(arena, "status", error);
    for (size_t i = 0; i < from->n_boards; i++)
        boards[i] = board_status_get(from->boards[i]);
    for (size_t i = 0; i < from->n_events; i++)
        events[i] = event_get(from->events[i]);
    *to = (struct message_status){
        .version = from->version,
        .state = from->state,
        .architecture = from->architecture,
        .policy = from->policy,
        .reason = from->reason,
        .data_endpoint = from->data_endpoint,
        .epoch = {from->epoch},
        .microbatch = from->microbatch,
        .items_done = from->items_done,
        .items_failed = from->items_failed,
        .items_replayed = from->items_replayed,
        .waiting = from->waiting,
        .in_flight = from->in_flight,
        .clients = from->clients,
        .items_per_second = from->items_per_second,
        .predicted_period_s = from->predicted_period_s,
        .preparation_period_s = from->preparation_period_s,
        .measured_period_s = from->measured_period_s,
        .uptime_ms = from->uptime_ms,
        .allocations = from->allocations,
        .weights_sent = from->weights_sent,
        .rejected = rejected_get(from->rejected),
        .boards = boards,
        .board_count = from->n_boards,
        .events = events,
        .event_count = from->n_events,
    };
    return true;
}

static bool join_get(const Stagecoach__Join *from, struct message_join *to, struct error *error) {
    *to = (struct message_join){
        .protocol = from->protocol, .version = from->version, .role = (enum role)from->role, .name = from->name};
    return key_get(&from->key, &to->key, error) || error_wrap(error, "join: key");
}

static bool probe_get(const Stagecoach__Probe *from, struct message_probe *to, struct error *error) {
    *to = (struct message_probe){.probe = from->probe,
                                 .peer_endpoint = from->peer_endpoint,
                                 .starts = from->starts,
                                 .limit_ms = from->limit_ms,
                                 .burst_ms = from->burst_ms,
                                 .burst_bytes = from->burst_bytes};
    return key_get(&from->peer_key, &to->peer_key, error) || error_wrap(error, "probe: peer_key");
}

static struct message_profile_get profile_get_get(const Stagecoach__ProfileGet *from) {
    return (struct message_profile_get){
        .survey = from->survey,
        .config = from->config.data,
        .config_bytes = from->config.len,
        .preprocessor = from->preprocessor.len > 0 ? from->preprocessor.data : NULL,
        .preprocessor_bytes = from->preprocessor.len,
        .microbatches = from->microbatches,
        .microbatch_count = from->n_microbatches,
        .budget_ms = from->budget_ms,
    };
}

/* What measures. */
static bool measuring_get(const Stagecoach__Envelope *from, struct message *to, struct error *error) {
    switch (to->type) {
    case MESSAGE_PROFILE_GET:
        to->profile_get = profile_get_get(from->profile_get);
        return true;
    case MESSAGE_PROFILE:
        to->profile = (struct message_profile){from->profile->survey, from->profile->error, from->profile->profile.data,
                                               from->profile->profile.len, from->profile->busy};
        return true;
    case MESSAGE_PROBE:
        return probe_get(from->probe, &to->probe, error);
    case MESSAGE_PROBED:
        to->probed = (struct message_probed){from->probed->probe, from->probed->error, from->probed->latency_s,
                                             from->probed->bytes_per_second};
        return true;
    default:
        return error_set(error, ERROR_INPUT, "envelope: no body that this version knows");
    }
}

/* The bodies that need no memory. */
static bool simple_get(const Stagecoach__Envelope *from, struct message *to, struct error *error) {
    switch (to->type) {
    case MESSAGE_HELLO:
        return hello_get(from->hello, &to->hello, error);
    case MESSAGE_WELCOME:
        to->welcome = welcome_get(from->welcome);
        return true;
    case MESSAGE_REFUSE:
        to->refuse = (struct message_refuse){from->refuse->text, from->refuse->again};
        return true;
    case MESSAGE_PROGRESS:
        to->progress = (struct message_progress){
            {from->progress->epoch}, from->progress->done, from->progress->total, from->progress->fetched};
        return true;
    case MESSAGE_READY:
        to->ready = (struct message_ready){{from->ready->epoch}, from->ready->weight_bytes};
        return true;
    case MESSAGE_FAILED:
        to->failed = (struct message_failed){{from->failed->epoch}, from->failed->text};
        return true;
    case MESSAGE_SERVE:
        to->serve = (struct message_serve){{from->serve->epoch}};
        return true;
    case MESSAGE_RETIRE:
        to->retire = (struct message_retire){{from->retire->epoch}};
        return true;
    case MESSAGE_HEARTBEAT:
        to->heartbeat = heartbeat_get(from->heartbeat);
        return true;
    case MESSAGE_SUBMIT:
        to->submit =
            (struct message_submit){from->submit->request, from->submit->item, from->submit->top, from->submit->logits};
        return true;
    case MESSAGE_DRAIN:
        to->drain = (struct message_drain){from->drain->board, from->drain->force};
        return true;
    case MESSAGE_DRAINED:
        to->drained = (struct message_drained){from->drained->left};
        return true;
    case MESSAGE_LEAVE:
    case MESSAGE_RELEASED:
    case MESSAGE_STATUS_GET:
    case MESSAGE_JOINED:
        return true; /* say all by their type */
    default:
        return measuring_get(from, to, error);
    }
}

static bool body_get(struct arena *arena, const Stagecoach__Envelope *from, struct message *to, struct error *error) {
    to->type = (enum message_type)from->body_case;
    switch (to->type) {
    case MESSAGE_ASSIGN:
        return assign_get(arena, from->assign, &to->assign, error);
    case MESSAGE_TENSOR_GET:
        return tensor_get_get(from->tensor_get, &to->tensor_get, error);
    case MESSAGE_TENSOR_PART:
        return tensor_part_get(from->tensor_part, &to->tensor_part, error);
    case MESSAGE_TENSOR_ABSENT:
        return tensor_absent_get(from->tensor_absent, &to->tensor_absent, error);
    case MESSAGE_FLEET:
        return fleet_get(arena, from->fleet, &to->fleet, error);
    case MESSAGE_ANSWER:
        return answer_get(arena, from->answer, &to->answer, error);
    case MESSAGE_JOIN:
        return join_get(from->join, &to->join, error);
    case MESSAGE_STATUS:
        return status_get(arena, from->status, &to->status, error);
    default:
        return simple_get(from, to, error);
    }
}

static bool envelope_decode(struct arena *arena, const void *bytes, size_t size, struct message *message,
                            struct error *error) {
    if (size > MESSAGE_ENVELOPE_MAX)
        return error_set(error, ERROR_INPUT, "envelope: got %zu bytes, want at most %u", size, MESSAGE_ENVELOPE_MAX);
    if (!wire_check("envelope", &stagecoach__envelope__descriptor, bytes, size, MESSAGE_TENSORS_MAX, error))
        return false;
    const Stagecoach__Envelope *envelope = stagecoach__envelope__unpack(arena_allocator(arena), size, bytes);
    if (!envelope)
        return arena_exhausted(arena) ? no_memory(arena, "envelope", error)
                                      : error_set(error, ERROR_INPUT, "envelope: malformed");
    return body_get(arena, envelope, message, error) && message_check(message, error);
}

bool message_decode(struct arena *arena, const void *bytes, size_t size, struct message *message, struct error *error) {
    struct arena_mark mark = arena_mark(arena);
    *message = (struct message){0};
    if (envelope_decode(arena, bytes, size, message, error))
        return true;
    *message = (struct message){0}; /* nothing half done, nothing that points into what is forgotten */
    arena_rewind(arena, mark);
    return false;
}
