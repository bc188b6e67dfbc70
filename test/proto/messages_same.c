/* Are two messages equal, field by field? Fails the running test at the first that differs. */
#include "test/proto/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SAME(field)             assert_true(left->field == right->field)
#define SAME_TEXT(field)        assert_string_equal(left->field, right->field)
#define SAME_BYTES(field, size) assert_memory_equal(left->field, right->field, size)
#define SAME_REJECTED(field)                                                                                           \
    do {                                                                                                               \
        SAME(field.handshake);                                                                                         \
        SAME(field.malformed);                                                                                         \
        SAME(field.oversized);                                                                                         \
        SAME(field.stale);                                                                                             \
        SAME(field.denied);                                                                                            \
    } while (0)

static void same_hello(const struct message_hello *left, const struct message_hello *right) {
    SAME(protocol);
    SAME_TEXT(version);
    SAME(role);
    SAME_TEXT(name);
    SAME_TEXT(data_endpoint[0]);
    SAME_TEXT(data_endpoint[1]);
    SAME(memory_bytes);
    SAME(threads);
    SAME_TEXT(kernels);
    SAME_TEXT(weights_endpoint);
    SAME(cached_count);
    SAME(instance);
    if (left->cached_count > 0)
        SAME_BYTES(cached, left->cached_count * MESSAGE_CACHED_BYTES);
}

static void same_tensor(const struct tensor_entry *left, const struct tensor_entry *right) {
    SAME_TEXT(name);
    SAME(element);
    SAME(rank);
    SAME_BYTES(shape, left->rank * sizeof left->shape[0]);
    SAME(bytes);
    SAME_BYTES(hash.bytes, HASH_BYTES);
}

static void same_key(const struct public_key *left, const struct public_key *right) {
    assert_true(!left == !right);
    if (left)
        SAME_BYTES(bytes, KEY_BYTES);
}

static void same_assign(const struct message_assign *left, const struct message_assign *right) {
    SAME(beside);
    SAME(epoch.number);
    SAME(first);
    SAME(end);
    SAME(units);
    SAME(microbatch);
    SAME_TEXT(next_endpoint);
    SAME(config_bytes);
    if (left->config_bytes > 0)
        SAME_BYTES(config, left->config_bytes);
    SAME(preprocessor_bytes);
    assert_true(!left->preprocessor == !right->preprocessor);
    if (left->preprocessor)
        SAME_BYTES(preprocessor, left->preprocessor_bytes);
    SAME(tensor_count);
    for (size_t i = 0; i < left->tensor_count; i++)
        same_tensor(&left->tensors[i], &right->tensors[i]);
    SAME(holder_count);
    for (size_t i = 0; i < left->holder_count; i++) {
        SAME_TEXT(holders[i].endpoint);
        same_key(left->holders[i].key, right->holders[i].key);
    }
    assert_true(left->tensor_count == 0 || !left->tensor_holders == !right->tensor_holders);
    if (left->tensor_count > 0 && left->tensor_holders)
        SAME_BYTES(tensor_holders, left->tensor_count * sizeof left->tensor_holders[0]);
}

static void same_heartbeat(const struct message_heartbeat *left, const struct message_heartbeat *right) {
    SAME(epoch.number);
    SAME(microbatches);
    SAME(items);
    SAME(busy_ns);
    SAME(serving_ns);
    SAME(computing_ns);
    SAME(loading_ns);
    SAME(computed.number);
    SAME(allocations);
    SAME(memory_used);
    SAME_REJECTED(rejected);
}

static void same_answer(const struct message_answer *left, const struct message_answer *right) {
    SAME(request);
    SAME(item);
    SAME_TEXT(error);
    SAME(embedding);
    SAME(top_count);
    for (size_t i = 0; i < left->top_count; i++) {
        SAME(top[i].class_index);
        SAME_TEXT(top[i].label);
        SAME(top[i].score);
    }
}

static void same_board(const struct board_status *left, const struct board_status *right) {
    SAME_TEXT(name);
    SAME_TEXT(state);
    SAME_TEXT(units);
    SAME_TEXT(kernels);
    SAME_TEXT(endpoint);
    SAME(predicted_compute_s);
    SAME(predicted_receive_s);
    SAME(predicted_send_s);
    SAME(measured_compute_s);
    SAME(first);
    SAME(end);
    SAME(threads);
    SAME(items);
    SAME(microbatches);
    SAME(busy);
    SAME(weight_bytes);
    SAME(memory_bytes);
    SAME(loaded);
    SAME(load_total);
    SAME(fetched);
    SAME(allocations);
    SAME_REJECTED(rejected);
    SAME(busy_ns);
    SAME(serving_ns);
    SAME(planned_memory_bytes);
    SAME(memory_used);
    SAME(payload_bytes);
    SAME(silent_ms);
    SAME(pace);
}

static void same_event(const struct event_status *left, const struct event_status *right) {
    SAME(number);
    SAME(unix_ms);
    SAME_TEXT(kind);
    SAME_TEXT(board);
    SAME_TEXT(reason);
    SAME_TEXT(text);
    SAME(epoch.number);
    SAME(boards);
    SAME(stages);
    SAME(items);
    SAME(microbatches);
    SAME(predicted_period_s);
    SAME(took_s);
    SAME(unserved_s);
    SAME(pace);
}

static void same_status(const struct message_status *left, const struct message_status *right) {
    SAME_TEXT(version);
    SAME_TEXT(state);
    SAME_TEXT(architecture);
    SAME_TEXT(policy);
    SAME_TEXT(reason);
    SAME_TEXT(data_endpoint);
    SAME(epoch.number);
    SAME(microbatch);
    SAME(items_done);
    SAME(items_failed);
    SAME(items_replayed);
    SAME(weights_sent);
    SAME(waiting);
    SAME(in_flight);
    SAME(clients);
    SAME(items_per_second);
    SAME(predicted_period_s);
    SAME(preparation_period_s);
    SAME(measured_period_s);
    SAME(uptime_ms);
    SAME(allocations);
    SAME_REJECTED(rejected);
    SAME(board_count);
    for (size_t i = 0; i < left->board_count; i++)
        same_board(&left->boards[i], &right->boards[i]);
    SAME(event_count);
    for (size_t i = 0; i < left->event_count; i++)
        same_event(&left->events[i], &right->events[i]);
}

static void same_profile_get(const struct message_profile_get *left, const struct message_profile_get *right) {
    SAME(survey);
    SAME(config_bytes);
    if (left->config_bytes > 0)
        SAME_BYTES(config, left->config_bytes);
    SAME(preprocessor_bytes);
    assert_true(!left->preprocessor == !right->preprocessor);
    SAME(microbatch_count);
    SAME_BYTES(microbatches, left->microbatch_count * sizeof left->microbatches[0]);
    SAME(budget_ms);
}

static void same_measured(const struct message *left, const struct message *right) {
    switch (left->type) {
    case MESSAGE_PROFILE_GET:
        same_profile_get(&left->profile_get, &right->profile_get);
        break;
    case MESSAGE_PROFILE:
        SAME(profile.survey);
        SAME_TEXT(profile.error);
        SAME(profile.json_bytes);
        SAME(profile.busy);
        if (left->profile.json_bytes > 0)
            SAME_BYTES(profile.json, left->profile.json_bytes);
        break;
    case MESSAGE_PROBE:
        SAME(probe.probe);
        SAME_TEXT(probe.peer_endpoint);
        SAME(probe.starts);
        SAME(probe.limit_ms);
        SAME(probe.burst_ms);
        SAME(probe.burst_bytes);
        same_key(left->probe.peer_key, right->probe.peer_key);
        break;
    default:
        SAME(probed.probe);
        SAME_TEXT(probed.error);
        SAME(probed.latency_s);
        SAME(probed.bytes_per_second);
        break;
    }
}

void assert_same_message(const struct message *left, const struct message *right) {
    SAME(type);
    switch (left->type) {
    case MESSAGE_HELLO:
        same_hello(&left->hello, &right->hello);
        break;
    case MESSAGE_WELCOME:
        SAME(welcome.cluster);
        SAME(welcome.heartbeat_ms);
        SAME(welcome.window);
        SAME_TEXT(welcome.architecture);
        break;
    case MESSAGE_REFUSE:
        SAME_TEXT(refuse.text);
        SAME(refuse.again);
        break;
    case MESSAGE_ASSIGN:
        same_assign(&left->assign, &right->assign);
        same_key(left->assign.next_key, right->assign.next_key);
        same_key(left->assign.previous_key, right->assign.previous_key);
        break;
    case MESSAGE_TENSOR_GET:
        SAME_BYTES(tensor_get.hash.bytes, HASH_BYTES);
        SAME(tensor_get.offset);
        SAME(tensor_get.bytes);
        break;
    case MESSAGE_TENSOR_PART:
        SAME_BYTES(tensor_part.hash.bytes, HASH_BYTES);
        SAME(tensor_part.offset);
        break;
    case MESSAGE_PROGRESS:
        SAME(progress.epoch.number);
        SAME(progress.done);
        SAME(progress.total);
        SAME(progress.fetched);
        break;
    case MESSAGE_READY:
        SAME(ready.epoch.number);
        SAME(ready.weight_bytes);
        break;
    case MESSAGE_FAILED:
        SAME(failed.epoch.number);
        SAME_TEXT(failed.text);
        break;
    case MESSAGE_SERVE:
        SAME(serve.epoch.number);
        break;
    case MESSAGE_RETIRE:
        SAME(retire.epoch.number);
        break;
    case MESSAGE_HEARTBEAT:
        same_heartbeat(&left->heartbeat, &right->heartbeat);
        break;
    case MESSAGE_SUBMIT:
        SAME(submit.request);
        SAME(submit.item);
        SAME(submit.top);
        SAME(submit.logits);
        break;
    case MESSAGE_ANSWER:
        same_answer(&left->answer, &right->answer);
        break;
    case MESSAGE_STATUS:
        same_status(&left->status, &right->status);
        break;
    case MESSAGE_LEAVE:
    case MESSAGE_RELEASED:
    case MESSAGE_STATUS_GET:
    case MESSAGE_JOINED:
        break;
    case MESSAGE_TENSOR_ABSENT:
        SAME_BYTES(tensor_absent.hash.bytes, HASH_BYTES);
        break;
    case MESSAGE_FLEET:
        SAME(fleet.key_count);
        for (size_t i = 0; i < left->fleet.key_count; i++)
            same_key(&left->fleet.keys[i], &right->fleet.keys[i]);
        break;
    case MESSAGE_JOIN:
        SAME(join.protocol);
        SAME_TEXT(join.version);
        SAME(join.role);
        SAME_TEXT(join.name);
        same_key(left->join.key, right->join.key);
        break;
    case MESSAGE_DRAIN:
        SAME_TEXT(drain.board);
        SAME(drain.force);
        break;
    case MESSAGE_DRAINED:
        SAME(drained.left);
        break;
    case MESSAGE_PROFILE_GET:
    case MESSAGE_PROFILE:
    case MESSAGE_PROBE:
    case MESSAGE_PROBED:
        same_measured(left, right);
        break;
    }
}

void assert_same_header(const struct data_header *left, const struct data_header *right) {
    SAME(cluster);
    SAME(epoch.number);
    SAME(sequence.number);
    SAME(attempt);
    SAME(cut);
    SAME(items);
    SAME(parts);
    for (uint32_t i = 0; i < left->parts; i++) {
        SAME(part[i].type);
        SAME(part[i].rank);
        SAME_BYTES(part[i].shape, left->part[i].rank * sizeof left->part[i].shape[0]);
    }
    SAME(checksum);
    SAME(sequence_id);
    SAME(position);
}
