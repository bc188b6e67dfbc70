/* Messages into bytes; see codec.h.
 *
 * A message is checked against message.h, laid out as protobuf-c structs (the body on the stack, arrays in the arena,
 * texts and byte ranges borrowed from the caller), measured, and packed into the arena. Texts are the one thing that is
 * mended and not refused: an error may quote a file name in any encoding, and the receiver must be able to read it. The
 * arena remembers a request that it could not serve, so the layout goes on with what it has and memory is asked about
 * once, before anything is packed. */
#include "proto/codec.h"

#include "proto/arena.h"
#include "proto/check.h"
#include "proto/stagecoach.pb-c.h"
#include "proto/wire.h"

#include <string.h>

/* Room for any body that is laid out. */
union body {
    Stagecoach__Hello hello;
    Stagecoach__Welcome welcome;
    Stagecoach__Refuse refuse;
    Stagecoach__Assign assign;
    Stagecoach__TensorGet tensor_get;
    Stagecoach__TensorPart tensor_part;
    Stagecoach__Progress progress;
    Stagecoach__Ready ready;
    Stagecoach__Failed failed;
    Stagecoach__Serve serve;
    Stagecoach__Leave leave;
    Stagecoach__Released released;
    Stagecoach__Heartbeat heartbeat;
    Stagecoach__Submit submit;
    Stagecoach__Answer answer;
    Stagecoach__StatusGet status_get;
    Stagecoach__Status status;
    Stagecoach__ProfileGet profile_get;
    Stagecoach__Profile profile;
    Stagecoach__Probe probe;
    Stagecoach__Probed probed;
    Stagecoach__Join join;
    Stagecoach__Joined joined;
    Stagecoach__Retire retire;
    Stagecoach__Drain drain;
    Stagecoach__Drained drained;
    Stagecoach__TensorAbsent tensor_absent;
    Stagecoach__Fleet fleet;
};

/* A copy of at most MESSAGE_TEXT_MAX bytes, cut between characters, with '?' for every byte that is not UTF-8. */
static char *text_mend(struct arena *arena, const char *text, size_t size) {
    char *mended = arena_take(arena, MESSAGE_TEXT_MAX + 1, 1);
    for (size_t from = 0, to = 0; mended && from < size;) {
        size_t length = text_character((const unsigned char *)text + from, size - from);
        size_t step = length > 0 ? length : 1;
        if (step > MESSAGE_TEXT_MAX - to)
            break;
        memcpy(mended + to, length > 0 ? text + from : "?", step);
        from += step;
        to += step;
    }
    return mended;
}

/* A text as protobuf-c takes it. It is not written to, whatever the type says. */
static char *text_put(struct arena *arena, const char *text) {
    size_t size = text ? strlen(text) : 0;
    if (size == 0)
        return (char *)(uintptr_t)protobuf_c_empty_string;
    return text_valid(text, size) ? (char *)(uintptr_t)text : text_mend(arena, text, size);
}

static ProtobufCBinaryData bytes_put(const void *bytes, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)bytes};
}

static ProtobufCBinaryData hash_put(const struct hash *hash) {
    return bytes_put(hash->bytes, HASH_BYTES);
}

/* Nothing where there is no key. */
static ProtobufCBinaryData key_put(const struct public_key *key) {
    return bytes_put(key ? key->bytes : NULL, key ? KEY_BYTES : 0);
}

static void hello_put(struct arena *arena, const struct message_hello *from, Stagecoach__Hello *to) {
    stagecoach__hello__init(to);
    to->protocol = from->protocol;
    to->version = text_put(arena, from->version);
    to->role = (Stagecoach__Role)from->role;
    to->name = text_put(arena, from->name);
    to->data_endpoint = text_put(arena, from->data_endpoint[0]);
    to->second_endpoint = text_put(arena, from->data_endpoint[1]);
    to->memory_bytes = from->memory_bytes;
    to->threads = from->threads;
    to->kernels = text_put(arena, from->kernels);
    to->weights_endpoint = text_put(arena, from->weights_endpoint);
    to->cached = bytes_put(from->cached, from->cached_count * MESSAGE_CACHED_BYTES);
    to->instance = from->instance;
}

static void welcome_put(struct arena *arena, const struct message_welcome *from, Stagecoach__Welcome *to) {
    stagecoach__welcome__init(to);
    to->cluster = from->cluster;
    to->heartbeat_ms = from->heartbeat_ms;
    to->window = from->window;
    to->architecture = text_put(arena, from->architecture);
}

static void refuse_put(struct arena *arena, const struct message_refuse *from, Stagecoach__Refuse *to) {
    stagecoach__refuse__init(to);
    to->text = text_put(arena, from->text);
    to->again = from->again;
}

static void join_put(struct arena *arena, const struct message_join *from, Stagecoach__Join *to) {
    stagecoach__join__init(to);
    to->protocol = from->protocol;
    to->version = text_put(arena, from->version);
    to->role = (Stagecoach__Role)from->role;
    to->name = text_put(arena, from->name);
    to->key = key_put(from->key);
}

static void tensor_entry_put(struct arena *arena, const struct tensor_entry *from, Stagecoach__TensorEntry *to) {
    stagecoach__tensor_entry__init(to);
    to->name = text_put(arena, from->name);
    to->element = from->element;
    to->n_shape = from->rank;
    to->shape = (uint64_t *)(uintptr_t)from->shape;
    to->bytes = from->bytes;
    to->hash = hash_put(&from->hash);
}

static void holders_put(struct arena *arena, const struct message_assign *from, Stagecoach__Assign *to) {
    Stagecoach__Holder *holders = arena_take(arena, from->holder_count, sizeof *holders);
    to->holders = arena_take(arena, from->holder_count, sizeof *to->holders);
    to->n_holders = holders && to->holders ? from->holder_count : 0;
    for (size_t i = 0; i < to->n_holders; i++) {
        stagecoach__holder__init(&holders[i]);
        holders[i].endpoint = text_put(arena, from->holders[i].endpoint);
        holders[i].key = key_put(from->holders[i].key);
        to->holders[i] = &holders[i];
    }
    to->n_tensor_holders = from->tensor_holders ? from->tensor_count : 0;
    to->tensor_holders = (uint32_t *)(uintptr_t)from->tensor_holders;
}

static void assign_put(struct arena *arena, const struct message_assign *from, Stagecoach__Assign *to) {
    stagecoach__assign__init(to);
    to->epoch = from->epoch.number;
    to->first = from->first;
    to->end = from->end;
    to->units = from->units;
    to->microbatch = from->microbatch;
    to->beside = from->beside;
    to->next_endpoint = text_put(arena, from->next_endpoint);
    to->config = bytes_put(from->config, from->config_bytes);
    to->preprocessor = bytes_put(from->preprocessor, from->preprocessor_bytes);
    to->next_key = key_put(from->next_key);
    to->previous_key = key_put(from->previous_key);
    Stagecoach__TensorEntry *tensors = arena_take(arena, from->tensor_count, sizeof *tensors);
    to->tensors = arena_take(arena, from->tensor_count, sizeof *to->tensors);
    to->n_tensors = tensors && to->tensors ? from->tensor_count : 0;
    for (size_t i = 0; i < to->n_tensors; i++) {
        to->tensors[i] = &tensors[i];
        tensor_entry_put(arena, &from->tensors[i], &tensors[i]);
    }
    holders_put(arena, from, to);
}

static void tensor_get_put(struct arena *arena, const struct message_tensor_get *from, Stagecoach__TensorGet *to) {
    (void)arena;
    stagecoach__tensor_get__init(to);
    to->hash = hash_put(&from->hash);
    to->offset = from->offset;
    to->bytes = from->bytes;
}

static void tensor_part_put(struct arena *arena, const struct message_tensor_part *from, Stagecoach__TensorPart *to) {
    (void)arena;
    stagecoach__tensor_part__init(to);
    to->hash = hash_put(&from->hash);
    to->offset = from->offset;
}

static void tensor_absent_put(struct arena *arena, const struct message_tensor_absent *from,
                              Stagecoach__TensorAbsent *to) {
    (void)arena;
    stagecoach__tensor_absent__init(to);
    to->hash = hash_put(&from->hash);
}

static void fleet_put(struct arena *arena, const struct message_fleet *from, Stagecoach__Fleet *to) {
    stagecoach__fleet__init(to);
    to->keys = arena_take(arena, from->key_count, sizeof *to->keys);
    to->n_keys = to->keys ? from->key_count : 0;
    for (size_t i = 0; i < to->n_keys; i++)
        to->keys[i] = key_put(&from->keys[i]);
}

static void progress_put(struct arena *arena, const struct message_progress *from, Stagecoach__Progress *to) {
    (void)arena;
    stagecoach__progress__init(to);
    to->epoch = from->epoch.number;
    to->done = from->done;
    to->total = from->total;
    to->fetched = from->fetched;
}

static void ready_put(struct arena *arena, const struct message_ready *from, Stagecoach__Ready *to) {
    (void)arena;
    stagecoach__ready__init(to);
    to->epoch = from->epoch.number;
    to->weight_bytes = from->weight_bytes;
}

static void failed_put(struct arena *arena, const struct message_failed *from, Stagecoach__Failed *to) {
    stagecoach__failed__init(to);
    to->epoch = from->epoch.number;
    to->text = text_put(arena, from->text);
}

static void serve_put(struct arena *arena, const struct message_serve *from, Stagecoach__Serve *to) {
    (void)arena;
    stagecoach__serve__init(to);
    to->epoch = from->epoch.number;
}

static void retire_put(struct arena *arena, const struct message_retire *from, Stagecoach__Retire *to) {
    (void)arena;
    stagecoach__retire__init(to);
    to->epoch = from->epoch.number;
}

static Stagecoach__Rejected *rejected_put(struct arena *arena, const struct rejected *from) {
    Stagecoach__Rejected *to = arena_take(arena, 1, sizeof *to);
    if (!to)
        return NULL;
    stagecoach__rejected__init(to);
    to->handshake = from->handshake;
    to->malformed = from->malformed;
    to->oversized = from->oversized;
    to->stale = from->stale;
    to->denied = from->denied;
    return to;
}

static void heartbeat_put(struct arena *arena, const struct message_heartbeat *from, Stagecoach__Heartbeat *to) {
    stagecoach__heartbeat__init(to);
    to->epoch = from->epoch.number;
    to->microbatches = from->microbatches;
    to->items = from->items;
    to->busy_ns = from->busy_ns;
    to->serving_ns = from->serving_ns;
    to->computing_ns = from->computing_ns;
    to->loading_ns = from->loading_ns;
    to->computed = from->computed.number;
    to->memory_used = from->memory_used;
    to->allocations = from->allocations;
    to->rejected = rejected_put(arena, &from->rejected);
}

static void submit_put(struct arena *arena, const struct message_submit *from, Stagecoach__Submit *to) {
    (void)arena;
    stagecoach__submit__init(to);
    to->request = from->request;
    to->item = from->item;
    to->top = from->top;
    to->logits = from->logits;
}

static void answer_put(struct arena *arena, const struct message_answer *from, Stagecoach__Answer *to) {
    stagecoach__answer__init(to);
    to->request = from->request;
    to->item = from->item;
    to->error = text_put(arena, from->error);
    to->embedding = from->embedding;
    Stagecoach__TopClass *top = arena_take(arena, from->top_count, sizeof *top);
    to->top = arena_take(arena, from->top_count, sizeof *to->top);
    to->n_top = top && to->top ? from->top_count : 0;
    for (size_t i = 0; i < to->n_top; i++) {
        stagecoach__top_class__init(&top[i]);
        top[i].class_index = from->top[i].class_index;
        top[i].label = text_put(arena, from->top[i].label);
        top[i].score = from->top[i].score;
        to->top[i] = &top[i];
    }
}

static void board_status_put(struct arena *arena, const struct board_status *from, Stagecoach__BoardStatus *to) {
    stagecoach__board_status__init(to);
    to->name = text_put(arena, from->name);
    to->state = text_put(arena, from->state);
    to->first = from->first;
    to->end = from->end;
    to->units = text_put(arena, from->units);
    to->items = from->items;
    to->microbatches = from->microbatches;
    to->busy = from->busy;
    to->weight_bytes = from->weight_bytes;
    to->memory_bytes = from->memory_bytes;
    to->threads = from->threads;
    to->kernels = text_put(arena, from->kernels);
    to->loaded = from->loaded;
    to->load_total = from->load_total;
    to->fetched = from->fetched;
    to->allocations = from->allocations;
    to->rejected = rejected_put(arena, &from->rejected);
    to->endpoint = text_put(arena, from->endpoint);
    to->predicted_compute_s = from->predicted_compute_s;
    to->predicted_receive_s = from->predicted_receive_s;
    to->predicted_send_s = from->predicted_send_s;
    to->busy_ns = from->busy_ns;
    to->serving_ns = from->serving_ns;
    to->planned_memory_bytes = from->planned_memory_bytes;
    to->memory_used = from->memory_used;
    to->payload_bytes = from->payload_bytes;
    to->silent_ms = from->silent_ms;
    to->pace = from->pace;
    to->measured_compute_s = from->measured_compute_s;
}

static void boards_put(struct arena *arena, const struct message_status *from, Stagecoach__Status *to) {
    Stagecoach__BoardStatus *boards = arena_take(arena, from->board_count, sizeof *boards);
    to->boards = arena_take(arena, from->board_count, sizeof *to->boards);
    to->n_boards = boards && to->boards ? from->board_count : 0;
    for (size_t i = 0; i < to->n_boards; i++) {
        to->boards[i] = &boards[i];
        board_status_put(arena, &from->boards[i], &boards[i]);
    }
}

static void event_put(struct arena *arena, const struct event_status *from, Stagecoach__Event *to) {
    stagecoach__event__init(to);
    to->number = from->number;
    to->unix_ms = from->unix_ms;
    to->kind = text_put(arena, from->kind);
    to->board = text_put(arena, from->board);
    to->epoch = from->epoch.number;
    to->boards = from->boards;
    to->stages = from->stages;
    to->items = from->items;
    to->microbatches = from->microbatches;
    to->predicted_period_s = from->predicted_period_s;
    to->took_s = from->took_s;
    to->unserved_s = from->unserved_s;
    to->pace = from->pace;
    to->reason = text_put(arena, from->reason);
    to->text = text_put(arena, from->text);
}

static void events_put(struct arena *arena, const struct message_status *from, Stagecoach__Status *to) {
    Stagecoach__Event *events = arena_take(arena, from->event_count, sizeof *events);
    to->events = arena_take(arena, from->event_count, sizeof *to->events);
    to->n_events = events && to->events ? from->event_count : 0;
    for (size_t i = 0; i < to->n_events; i++) {
        to->events[i] = &events[i];
        event_put(arena, &from->events[i], &events[i]);
    }
}

static void status_put(struct arena *arena, const struct message_status *from, Stagecoach__Status *to) {
    stagecoach__status__init(to);
    to->version = text_put(arena, from->version);
    to->state = text_put(arena, from->state);
    to->architecture = text_put(arena, from->architecture);
    to->policy = text_put(arena, from->policy);
    to->epoch = from->epoch.number;
    to->microbatch = from->microbatch;
    to->items_done = from->items_done;
    to->items_failed = from->items_failed;
    to->items_replayed = from->items_replayed;
    to->waiting = from->waiting;
    to->in_flight = from->in_flight;
    to->clients = from->clients;
    to->items_per_second = from->items_per_second;
    to->rejected = rejected_put(arena, &from->rejected);
    to->reason = text_put(arena, from->reason);
    to->uptime_ms = from->uptime_ms;
    to->data_endpoint = text_put(arena, from->data_endpoint);
    to->allocations = from->allocations;
    to->predicted_period_s = from->predicted_period_s;
    to->preparation_period_s = from->preparation_period_s;
    to->measured_period_s = from->measured_period_s;
    to->weights_sent = from->weights_sent;
    boards_put(arena, from, to);
    events_put(arena, from, to);
}

static void profile_get_put(struct arena *arena, const struct message_profile_get *from, Stagecoach__ProfileGet *to) {
    (void)arena;
    stagecoach__profile_get__init(to);
    to->survey = from->survey;
    to->config = bytes_put(from->config, from->config_bytes);
    to->preprocessor = bytes_put(from->preprocessor, from->preprocessor_bytes);
    to->n_microbatches = from->microbatch_count;
    to->microbatches = (uint32_t *)(uintptr_t)from->microbatches;
    to->budget_ms = from->budget_ms;
}

static void profile_put(struct arena *arena, const struct message_profile *from, Stagecoach__Profile *to) {
    stagecoach__profile__init(to);
    to->survey = from->survey;
    to->error = text_put(arena, from->error);
    to->profile = bytes_put(from->json, from->json_bytes);
    to->busy = from->busy;
}

static void probe_put(struct arena *arena, const struct message_probe *from, Stagecoach__Probe *to) {
    stagecoach__probe__init(to);
    to->probe = from->probe;
    to->peer_endpoint = text_put(arena, from->peer_endpoint);
    to->starts = from->starts;
    to->limit_ms = from->limit_ms;
    to->burst_ms = from->burst_ms;
    to->burst_bytes = from->burst_bytes;
    to->peer_key = key_put(from->peer_key);
}

static void probed_put(struct arena *arena, const struct message_probed *from, Stagecoach__Probed *to) {
    stagecoach__probed__init(to);
    to->probe = from->probe;
    to->error = text_put(arena, from->error);
    to->latency_s = from->latency_s;
    to->bytes_per_second = from->bytes_per_second;
}

static void drain_put(struct arena *arena, const struct message_drain *from, Stagecoach__Drain *to) {
    stagecoach__drain__init(to);
    to->board = text_put(arena, from->board);
    to->force = from->force;
}

static void drained_put(struct arena *arena, const struct message_drained *from, Stagecoach__Drained *to) {
    (void)arena;
    stagecoach__drained__init(to);
    to->left = from->left;
}

/* Lays the body out and hangs it into the envelope; false for a type that does not exist. */
static bool body_put(struct arena *arena, const struct message *message, union body *body,
                     Stagecoach__Envelope *envelope) {
#define BODY(TYPE, member)                                                                                             \
    case TYPE:                                                                                                         \
        member##_put(arena, &message->member, &body->member);                                                          \
        envelope->member = &body->member;                                                                              \
        return true
#define EMPTY_BODY(TYPE, member)                                                                                       \
    case TYPE:                                                                                                         \
        stagecoach__##member##__init(&body->member);                                                                   \
        envelope->member = &body->member;                                                                              \
        return true
    switch (message->type) {
        BODY(MESSAGE_HELLO, hello);
        BODY(MESSAGE_WELCOME, welcome);
        BODY(MESSAGE_REFUSE, refuse);
        BODY(MESSAGE_ASSIGN, assign);
        BODY(MESSAGE_TENSOR_GET, tensor_get);
        BODY(MESSAGE_TENSOR_PART, tensor_part);
        BODY(MESSAGE_PROGRESS, progress);
        BODY(MESSAGE_READY, ready);
        BODY(MESSAGE_FAILED, failed);
        BODY(MESSAGE_SERVE, serve);
        BODY(MESSAGE_RETIRE, retire);
        EMPTY_BODY(MESSAGE_LEAVE, leave);
        EMPTY_BODY(MESSAGE_RELEASED, released);
        BODY(MESSAGE_HEARTBEAT, heartbeat);
        BODY(MESSAGE_SUBMIT, submit);
        BODY(MESSAGE_ANSWER, answer);
        EMPTY_BODY(MESSAGE_STATUS_GET, status_get);
        BODY(MESSAGE_STATUS, status);
        BODY(MESSAGE_PROFILE_GET, profile_get);
        BODY(MESSAGE_PROFILE, profile);
        BODY(MESSAGE_PROBE, probe);
        BODY(MESSAGE_PROBED, probed);
        BODY(MESSAGE_JOIN, join);
        EMPTY_BODY(MESSAGE_JOINED, joined);
        BODY(MESSAGE_DRAIN, drain);
        BODY(MESSAGE_DRAINED, drained);
        BODY(MESSAGE_TENSOR_ABSENT, tensor_absent);
        BODY(MESSAGE_FLEET, fleet);
    }
#undef BODY
#undef EMPTY_BODY
    return false;
}

static bool no_memory(const struct arena *arena, struct error *error) {
    return error_set(error, ERROR_SYSTEM, "envelope: needs more memory than the %zu bytes set aside for messages",
                     arena_limit(arena));
}

static bool envelope_encode(struct arena *arena, const struct message *message, const void **bytes, size_t *size,
                            struct error *error) {
    if (!message_check(message, error))
        return false;
    union body body;
    Stagecoach__Envelope envelope = STAGECOACH__ENVELOPE__INIT;
    envelope.body_case = (Stagecoach__Envelope__BodyCase)message->type;
    if (!body_put(arena, message, &body, &envelope))
        return error_set(error, ERROR_INPUT, "envelope: no message of type %d", (int)message->type);
    if (arena_exhausted(arena))
        return no_memory(arena, error);
    *size = stagecoach__envelope__get_packed_size(&envelope);
    if (*size > MESSAGE_ENVELOPE_MAX)
        return error_set(error, ERROR_INPUT, "envelope: %zu bytes, want at most %u", *size, MESSAGE_ENVELOPE_MAX);
    uint8_t *packed = arena_take(arena, *size, 1);
    if (!packed)
        return no_memory(arena, error);
    stagecoach__envelope__pack(&envelope, packed);
    *bytes = packed;
    return true;
}

bool message_encode(struct arena *arena, const struct message *message, const void **bytes, size_t *size,
                    struct error *error) {
    struct arena_mark mark = arena_mark(arena);
    if (envelope_encode(arena, message, bytes, size, error))
        return true;
    arena_rewind(arena, mark);
    return false;
}
