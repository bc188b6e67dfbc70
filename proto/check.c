/* The ranges that message.h promises.
 *
 * Both directions pass through here: a decoded message before anybody sees it, and a message of ours before it is
 * encoded, so that a slip of ours is an error where it happens and not a mysterious refusal at the other end. Whether a
 * value makes sense now (an epoch, a slice of this model) is for the receiver to say. Texts are valid UTF-8 already:
 * wire.c saw to it on the way in, encode.c on the way out. Pure functions; any thread. */
#include "proto/check.h"

#include "proto/codec.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define UNITS_MAX    65536
#define LIMIT_MS_MAX 600000

bool board_name_valid(const char *name) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(name);
    return size >= 1 && size <= MESSAGE_NAME_MAX && name[0] != '.' && name[0] != '-' && strspn(name, letters) == size &&
           strcmp(name, "coordinator") != 0; /* a word of fleet files */
}

/* Is `value` within [low, high]? `where` names message and field. */
static bool within(const char *where, uint64_t value, uint64_t low, uint64_t high, struct error *error) {
    if (value >= low && value <= high)
        return true;
    return error_set(error, ERROR_INPUT, "%s: got %" PRIu64 ", want %" PRIu64 " to %" PRIu64, where, value, low, high);
}

static bool has_control_characters(const char *text) {
    for (const char *c = text ? text : ""; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return true;
    return false;
}

/* Texts that end in a log or on a terminal: those of ours have none (error.h), so these come from somebody else. */
static bool printable(const char *where, const char *text, struct error *error) {
    return !has_control_characters(text) || error_set(error, ERROR_INPUT, "%s: has control characters", where);
}

static bool hello_check(const struct message_hello *hello, struct error *error) {
    if (hello->role != ROLE_STAGE && hello->role != ROLE_CLIENT)
        return error_set(error, ERROR_INPUT, "hello: role: got %d, want 1 (stage) or 2 (client)", (int)hello->role);
    if (hello->role == ROLE_STAGE && !(hello->name && board_name_valid(hello->name)))
        return error_set(error, ERROR_INPUT,
                         "hello: name: got \"%s\", want 1 to %d letters, digits, '.', '_' or '-', not starting with "
                         "'.' or '-', and not \"coordinator\"",
                         hello->name ? hello->name : "", MESSAGE_NAME_MAX);
    return printable("hello: name", hello->name, error) && printable("hello: version", hello->version, error) &&
           printable("hello: kernels", hello->kernels, error) &&
           within("hello: cached: count", hello->cached_count, 0, MESSAGE_TENSORS_MAX, error);
}

static bool join_check(const struct message_join *join, struct error *error) {
    if (join->role != ROLE_STAGE && join->role != ROLE_CLIENT)
        return error_set(error, ERROR_INPUT, "join: role: got %d, want 1 (stage) or 2 (client)", (int)join->role);
    if (!join->name || !board_name_valid(join->name))
        return error_set(error, ERROR_INPUT, "join: name: got \"%s\", want a name of letters, digits, '.', '_' or '-'",
                         join->name ? join->name : "");
    return join->key || error_set(error, ERROR_INPUT, "join: key: missing");
}

/* bytes = product of shape * element size, without overflow. */
static bool tensor_bytes_check(const struct tensor_entry *tensor, size_t index, struct error *error) {
    static const uint64_t element_bytes[] = {4, 2, 2};
    uint64_t bytes = element_bytes[tensor->element];
    for (uint32_t i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(bytes, tensor->shape[i], &bytes))
            return error_set(error, ERROR_INPUT, "assign: tensors[%zu].shape: larger than 2^64 bytes", index);
    if (tensor->bytes != bytes)
        return error_set(error, ERROR_INPUT, "assign: tensors[%zu].bytes: got %" PRIu64 ", want %" PRIu64, index,
                         tensor->bytes, bytes);
    return true;
}

static bool tensor_check(const struct tensor_entry *tensor, size_t index, struct error *error) {
    if (!tensor->name || !*tensor->name || has_control_characters(tensor->name))
        return error_set(error, ERROR_INPUT, "assign: tensors[%zu].name: empty or with control characters", index);
    if (tensor->element > 2)
        return error_set(error, ERROR_INPUT, "assign: tensors[%zu].element: got %" PRIu32 ", want 0 to 2", index,
                         tensor->element);
    if (tensor->rank > MESSAGE_RANK_MAX)
        return error_set(error, ERROR_INPUT, "assign: tensors[%zu].shape: got %" PRIu32 " dimensions, want at most %d",
                         index, tensor->rank, MESSAGE_RANK_MAX);
    return tensor_bytes_check(tensor, index, error);
}

static bool assign_check(const struct message_assign *assign, struct error *error) {
    if (!within("assign: units", assign->units, 1, UNITS_MAX, error) ||
        !within("assign: end", assign->end, 1, assign->units, error) ||
        !within("assign: first", assign->first, 0, assign->end - 1, error) ||
        !within("assign: microbatch", assign->microbatch, 1, MESSAGE_ITEMS_MAX, error) ||
        !within("assign: config: bytes", assign->config_bytes, 0, MESSAGE_JSON_MAX, error) ||
        !within("assign: preprocessor: bytes", assign->preprocessor_bytes, 0, MESSAGE_JSON_MAX, error) ||
        !within("assign: tensors: count", assign->tensor_count, 0, MESSAGE_TENSORS_MAX, error) ||
        !within("assign: holders: count", assign->holder_count, 0, MESSAGE_HOLDERS_MAX, error))
        return false;
    for (size_t i = 0; i < assign->tensor_count; i++)
        if (!tensor_check(&assign->tensors[i], i, error))
            return false;
    return true;
}

static bool tensor_get_check(const struct message_tensor_get *get, struct error *error) {
    return within("tensor_get: bytes", get->bytes, 1, MESSAGE_CHUNK_MAX, error) &&
           within("tensor_get: offset", get->offset, 0, UINT64_MAX - get->bytes, error);
}

static bool answer_check(const struct message_answer *answer, struct error *error) {
    if (!within("answer: top: count", answer->top_count, 0, MESSAGE_TOP_MAX, error))
        return false;
    for (size_t i = 0; i < answer->top_count; i++)
        if (!isfinite(answer->top[i].score))
            return error_set(error, ERROR_INPUT, "answer: top[%zu].score: not a finite number", i);
    return true;
}

static bool seconds_valid(double seconds) {
    return isfinite(seconds) && seconds >= 0;
}

static bool board_check(const struct board_status *board, size_t index, struct error *error) {
    if (!board->name || !board_name_valid(board->name))
        return error_set(error, ERROR_INPUT, "status: boards[%zu].name: got \"%s\", want a board name", index,
                         board->name ? board->name : "");
    if (!seconds_valid(board->predicted_compute_s) || !seconds_valid(board->predicted_receive_s) ||
        !seconds_valid(board->predicted_send_s) || !seconds_valid(board->measured_compute_s))
        return error_set(error, ERROR_INPUT, "status: boards[%zu]: a time is not a number of seconds", index);
    if (!isfinite(board->pace) || board->pace < 0)
        return error_set(error, ERROR_INPUT, "status: boards[%zu].pace: got %g, want a factor", index, board->pace);
    if (!isfinite(board->busy) || board->busy < 0)
        return error_set(error, ERROR_INPUT, "status: boards[%zu].busy: got %g, want a share", index, board->busy);
    if (board->first > board->end || board->end > UNITS_MAX)
        return error_set(error, ERROR_INPUT,
                         "status: boards[%zu]: got units %" PRIu32 " to %" PRIu32 ", want first <= end <= %d", index,
                         board->first, board->end, UNITS_MAX);
    return true;
}

static bool event_check(const struct event_status *event, size_t index, struct error *error) {
    if (!isfinite(event->pace) || event->pace < 0)
        return error_set(error, ERROR_INPUT, "status: events[%zu].pace: got %g, want a factor", index, event->pace);
    if (seconds_valid(event->predicted_period_s) && seconds_valid(event->took_s) && seconds_valid(event->unserved_s))
        return true;
    return error_set(error, ERROR_INPUT, "status: events[%zu]: a time is not a number of seconds", index);
}

static bool status_check(const struct message_status *status, struct error *error) {
    if (!within("status: boards: count", status->board_count, 0, MESSAGE_BOARDS_MAX, error) ||
        !within("status: events: count", status->event_count, 0, MESSAGE_EVENTS_MAX, error) ||
        !within("status: microbatch", status->microbatch, 0, MESSAGE_ITEMS_MAX, error))
        return false;
    if (!isfinite(status->items_per_second) || status->items_per_second < 0)
        return error_set(error, ERROR_INPUT, "status: items_per_second: got %g, want a rate", status->items_per_second);
    if (!seconds_valid(status->predicted_period_s) || !seconds_valid(status->measured_period_s) ||
        !seconds_valid(status->preparation_period_s))
        return error_set(error, ERROR_INPUT, "status: a period is not a number of seconds");
    for (size_t i = 0; i < status->board_count; i++)
        if (!board_check(&status->boards[i], i, error))
            return false;
    for (size_t i = 0; i < status->event_count; i++)
        if (!event_check(&status->events[i], i, error))
            return false;
    return true;
}

static bool drain_check(const struct message_drain *drain, struct error *error) {
    return (drain->board && board_name_valid(drain->board)) ||
           error_set(error, ERROR_INPUT, "drain: board: got \"%s\", want a board name",
                     drain->board ? drain->board : "");
}

static bool profile_get_check(const struct message_profile_get *get, struct error *error) {
    if (!within("profile_get: config: bytes", get->config_bytes, 0, MESSAGE_JSON_MAX, error) ||
        !within("profile_get: preprocessor: bytes", get->preprocessor_bytes, 0, MESSAGE_JSON_MAX, error) ||
        !within("profile_get: microbatches: count", get->microbatch_count, 1, MESSAGE_SIZES_MAX, error) ||
        !within("profile_get: budget_ms", get->budget_ms, 1, LIMIT_MS_MAX, error))
        return false;
    for (size_t i = 0; i < get->microbatch_count; i++)
        if (!within("profile_get: microbatches", get->microbatches[i], i > 0 ? get->microbatches[i - 1] + 1 : 1,
                    MESSAGE_ITEMS_MAX, error))
            return false;
    return true;
}

static bool probe_check(const struct message_probe *probe, struct error *error) {
    return within("probe: probe", probe->probe, 1, UINT64_MAX, error) &&
           within("probe: limit_ms", probe->limit_ms, 1, LIMIT_MS_MAX, error) &&
           within("probe: burst_ms", probe->burst_ms, 1, 60000, error) &&
           within("probe: burst_bytes", probe->burst_bytes, 1, UINT64_C(1) << 32, error);
}

static bool probed_check(const struct message_probed *probed, struct error *error) {
    if (!seconds_valid(probed->latency_s) || !seconds_valid(probed->bytes_per_second))
        return error_set(error, ERROR_INPUT, "probed: got %g s and %g bytes per second, want numbers from 0",
                         probed->latency_s, probed->bytes_per_second);
    return printable("probed: error", probed->error, error) &&
           within("probed: probe", probed->probe, 1, UINT64_MAX, error);
}

bool message_check(const struct message *message, struct error *error) {
    switch (message->type) {
    case MESSAGE_HELLO:
        return hello_check(&message->hello, error);
    case MESSAGE_ASSIGN:
        return assign_check(&message->assign, error);
    case MESSAGE_TENSOR_GET:
        return tensor_get_check(&message->tensor_get, error);
    case MESSAGE_PROGRESS:
        return within("progress: done", message->progress.done, 0, message->progress.total, error);
    case MESSAGE_FAILED:
        return printable("failed: text", message->failed.text, error);
    case MESSAGE_SUBMIT:
        return within("submit: top", message->submit.top, 0, MESSAGE_TOP_MAX, error);
    case MESSAGE_ANSWER:
        return answer_check(&message->answer, error);
    case MESSAGE_STATUS:
        return status_check(&message->status, error);
    case MESSAGE_PROFILE_GET:
        return profile_get_check(&message->profile_get, error);
    case MESSAGE_PROFILE:
        return within("profile: bytes", message->profile.json_bytes, 0, MESSAGE_PROFILE_MAX, error) &&
               printable("profile: error", message->profile.error, error);
    case MESSAGE_PROBE:
        return probe_check(&message->probe, error);
    case MESSAGE_JOIN:
        return join_check(&message->join, error);
    case MESSAGE_DRAIN:
        return drain_check(&message->drain, error);
    case MESSAGE_PROBED:
        return probed_check(&message->probed, error);
    case MESSAGE_FLEET:
        return within("fleet: keys: count", message->fleet.key_count, 0, MESSAGE_BOARDS_MAX, error);
    default:
        return true; /* any value of every other message is in range */
    }
}

bool probe_header_check(const struct probe_header *header, struct error *error) {
    return within("probe header: probe", header->probe, 1, UINT64_MAX, error) &&
           within("probe header: kind", header->kind, PROBE_PING, PROBE_LAST, error);
}

bool data_header_check(const struct data_header *header, struct error *error) {
    if (!within("data header: items", header->items, 1, MESSAGE_ITEMS_MAX, error) ||
        !within("data header: cut", header->cut, 0, UNITS_MAX, error) ||
        !within("data header: parts: count", header->parts, 1, MESSAGE_PARTS_MAX, error))
        return false;
    for (uint32_t i = 0; i < header->parts; i++)
        if (!within("data header: parts: type", header->part[i].type, 0, 1, error) ||
            !within("data header: parts: dimensions", header->part[i].rank, 0, MESSAGE_RANK_MAX, error))
            return false;
    return true;
}
