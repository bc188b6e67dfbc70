/* The codec: every message there and back, every limit, every truncation, damage, memory.
 *
 * Contents are random from a fixed seed. `test_codec --corpus DIR` writes one encoded message of each kind for the
 * fuzzer (test/fuzz/fuzz_frame.c): a first byte that tells envelope (0) from data header (1), then the frame. */
#include "proto/codec.h"

#include "base/allocate.h"
#include "base/file.h"
#include "test/proto/messages.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ARENA_LIMIT ((size_t)64 << 20)
#define ROUNDS      50

/* ---- there and back ---- */

static void encode(struct arena *arena, const struct message *message, const void **bytes, size_t *size) {
    struct error error = {0};
    if (!message_encode(arena, message, bytes, size, &error))
        fail_msg("%s", error.text);
}

static void decode(struct arena *arena, const void *bytes, size_t size, struct message *message) {
    struct error error = {0};
    if (!message_decode(arena, bytes, size, message, &error))
        fail_msg("%s", error.text);
}

static void round_trip(struct arena *arena, enum message_type type) {
    struct message sent = random_message(type), received;
    const void *bytes;
    size_t size;
    arena_reset(arena);
    encode(arena, &sent, &bytes, &size);
    decode(arena, bytes, size, &received);
    assert_same_message(&sent, &received);
}

static void test_every_message_there_and_back(void **state) {
    struct arena *arena = *state;
    for (int round = 0; round < ROUNDS; round++)
        for (int type = 1; type <= MESSAGE_TYPES; type++)
            round_trip(arena, (enum message_type)type);
}

static void test_data_header_there_and_back(void **state) {
    struct arena *arena = *state;
    struct error error = {0};
    uint8_t bytes[DATA_HEADER_MAX];
    for (int round = 0; round < 100 * ROUNDS; round++) {
        struct data_header sent = random_header(), received;
        size_t size = data_header_encode(&sent, bytes);
        if (!data_header_decode(arena, bytes, size, &received, &error))
            fail_msg("%s", error.text);
        assert_same_header(&sent, &received);
    }
}

static void test_probe_header_there_and_back(void **state) {
    struct arena *arena = *state;
    struct error error = {0};
    uint8_t bytes[DATA_HEADER_MAX];
    for (int round = 0; round < 100 * ROUNDS; round++) {
        struct probe_header sent = random_probe_header(), received;
        size_t size = probe_header_encode(&sent, bytes);
        assert_true(size <= PROBE_HEADER_MAX && probe_header_is(bytes, size));
        if (!probe_header_decode(arena, bytes, size, &received, &error))
            fail_msg("%s", error.text);
        assert_true(sent.probe == received.probe && sent.kind == received.kind && sent.number == received.number);
        struct data_header header = random_header();
        assert_false(probe_header_is(bytes, data_header_encode(&header, bytes)));
    }
}

static void test_bad_probe_headers(void **state) {
    struct arena *arena = *state;
    struct probe_header header;
    static const char *const bad[] = {"", "\x09\0\0\0", "\x09\0\0\0\0\0\0\0\0\x10\1", "\x09\1\0\0\0\0\0\0\0\x10\0",
                                      "\x09\1\0\0\0\0\0\0\0\x10\x63"};
    static const size_t sizes[] = {0, 4, 11, 11, 11};
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct error error = {0};
        assert_false(probe_header_decode(arena, bad[i], sizes[i], &header, &error));
        assert_int_equal(error.code, ERROR_INPUT);
    }
}

static void test_largest_data_header_fits(void **state) {
    struct arena *arena = *state;
    struct data_header largest, received;
    struct error error = {0};
    uint8_t bytes[DATA_HEADER_MAX];
    memset(&largest, 0xff, sizeof largest);
    largest.cut = 65536;
    largest.items = MESSAGE_ITEMS_MAX;
    largest.parts = MESSAGE_PARTS_MAX;
    for (int i = 0; i < MESSAGE_PARTS_MAX; i++) {
        largest.part[i].type = 1;
        largest.part[i].rank = MESSAGE_RANK_MAX;
    }
    size_t size = data_header_encode(&largest, bytes);
    assert_in_range(size, 100, DATA_HEADER_MAX);
    assert_true(data_header_decode(arena, bytes, size, &received, &error));
    assert_same_header(&largest, &received);
}

/* ---- bad bytes ---- */

static void test_every_truncation(void **state) {
    struct arena *arena = *state;
    for (int type = 1; type <= MESSAGE_TYPES; type++) {
        struct message sent = random_message((enum message_type)type), received;
        const void *bytes;
        size_t size;
        arena_reset(arena);
        encode(arena, &sent, &bytes, &size);
        for (size_t cut = 0; cut < size; cut += 1 + size / 2000) {
            void *exact = malloc(cut > 0 ? cut : 1); /* of its own, so that the sanitizer sees a step too far */
            struct error error = {0};
            memcpy(exact, bytes, cut);
            assert_false(message_decode(arena, exact, cut, &received, &error));
            assert_int_equal(error.code, ERROR_INPUT);
            assert_int_equal(received.type, 0);
            free(exact);
        }
    }
}

static void test_damaged_bytes(void **state) {
    struct arena *arena = *state;
    struct message received;
    struct data_header received_header;
    uint8_t bytes[300];
    for (int round = 0; round < 200000; round++) {
        size_t size = random_below(sizeof bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)random_word();
        bytes[0] = (uint8_t)(8 * (1 + random_below(MESSAGE_TYPES)) + 2); /* a body that exists, or nothing gets far */
        bytes[1] = (uint8_t)(size > 2 ? size - 2 : 0);
        arena_reset(arena);
        (void)message_decode(arena, bytes, size, &received, NULL);
        (void)data_header_decode(arena, bytes, size, &received_header, NULL);
    }
}

static void test_flipped_bits(void **state) {
    struct arena *arena = *state;
    static uint8_t copy[1 << 20];
    for (int type = 1; type <= MESSAGE_TYPES; type++) {
        struct message sent = random_message((enum message_type)type), received;
        const void *bytes;
        size_t size;
        arena_reset(arena);
        encode(arena, &sent, &bytes, &size);
        memcpy(copy, bytes, size);
        for (size_t bit = 0; bit < 8 * size && bit < 20000; bit++) {
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
            arena_reset(arena);
            (void)message_decode(arena, copy, size, &received, NULL);
            copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

/* Bytes as a peer might make them by hand, and what the error must say. */
struct bad_bytes {
    const char *bytes;
    size_t size;
    const char *says;
};
#define BAD(bytes, says)                                                                                               \
    { bytes, sizeof bytes - 1, says }

static void test_bad_bytes(void **state) {
    struct arena *arena = *state;
    static const struct bad_bytes table[] = {
        BAD("", "envelope: no body"),
        BAD("\xfa\x07\x00", "envelope: no body"), /* field 127 of a later version */
        BAD("\x0a", "envelope: cut short"),
        BAD("\x0a\x05\x0a", "envelope: cut short"),
        BAD("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "envelope: cut short"),
        BAD("\x0b\x00", "envelope: unknown wire type"),
        BAD("\x02\x00", "envelope: impossible field number"),
        BAD("\x08\x01", "envelope: hello: wrong wire type"),
        BAD("\x5a\x00\x5a\x00", "envelope: leave: given twice"),
        BAD("\x5a\x00\x62\x00", "envelope: released: a second body"),
        BAD("\x0a\x02\x18\x03", "hello: role: got 3, want 1"),
        BAD("\x0a\x02\x18\x01", "hello: name: got \"\", want 1 to 63 letters"),
        BAD("\x0a\x04\x18\x01\x22\x00", "hello: name: got \"\""),
        BAD("\x0a\x05\x18\x01\x22\x01-", "hello: name: got \"-\""),
        BAD("\x0a\x05\x18\x02\x22\x01\x07", "hello: name: has control characters"),
        BAD("\x0a\x05\x18\x02\x12\x01\x1b", "hello: version: has control characters"),
        BAD("\x0a\x05\x18\x02\x42\x01\n", "hello: kernels: has control characters"),
        BAD("\x4a\x03\x12\x01\x1b", "failed: text: has control characters"), /* which status shows */
        BAD("\x0a\x03\x12\x01\xff", "hello: version: not UTF-8"),
        BAD("\x0a\x04\x12\x02\xc0\x80", "hello: version: not UTF-8"),         /* overlong */
        BAD("\x0a\x05\x12\x03\xed\xa0\x80", "hello: version: not UTF-8"),     /* a surrogate */
        BAD("\x0a\x06\x12\x04\xf4\x90\x80\x80", "hello: version: not UTF-8"), /* past U+10FFFF */
        BAD("\x0a\x05\x12\x03"
            "a\0b",
            "hello: version: not UTF-8"), /* a zero inside */
        BAD("\x0a\x03\x12\x05"
            "a",
            "hello: cut short"),
        BAD("\x0a\x02\x10\x01", "hello: version: wrong wire type"),
        BAD("\x2a\x03\x0a\x01x", "tensor_get: hash: got 1 bytes, want 32"),
        BAD("\x32\x00", "tensor_part: hash: got 0 bytes, want 32"),
        BAD("\xb2\x01\x07\x18\x01\x22\x01y\x2a\x00", "join: key: missing"),
        BAD("\xb2\x01\x08\x18\x01\x22\x01y\x2a\x01y", "join: key: got 1 bytes, want 32"),
        BAD("\x22\x02\x4a\x00", "assign: tensors[0].hash: got 0 bytes, want 32"),
        BAD("\x22\x06\x4a\x04\x0a\x02\xff\xff", "assign: tensors[0].name: not UTF-8"),
        BAD("\x22\x05\x6a\x03\x12\x01k", "assign: holders[0].key: got 1 bytes, want 32"),
        BAD("\x22\x06\x72\x04\x01\0\0\0", "assign: tensor_holders: got 1, want none or one for each of 0 tensors"),
        BAD("\x0a\x09\x18\x01\x22\x01y\x5a\x02xx", "hello: cached: got 2 bytes, want a multiple of 8"),
        BAD("\xda\x01\x00", "tensor_absent: hash: got 0 bytes, want 32"),
        BAD("\xe2\x01\x03\x0a\x01k", "fleet: keys[0]: got 1 bytes, want 32"),
        BAD("\x8a\x01\x07\x72\x05\x8a\x01\x02\x08\x80", "status: boards[0].rejected: cut short"),
        BAD("\x6a\x04\x3a\x00\x3a\x00", "heartbeat: rejected: given twice"),
        BAD("\x7a\x07\x2a\x05\x1d\x00\x00\x80\x7f", "answer: top[0].score: not a finite number"),
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct message received;
        struct error error = {0};
        if (message_decode(arena, table[i].bytes, table[i].size, &received, &error))
            fail_msg("accepted, want: %s", table[i].says);
        if (strncmp(error.text, table[i].says, strlen(table[i].says)) != 0)
            fail_msg("got \"%s\", want \"%s...\"", error.text, table[i].says);
        assert_int_equal(error.code, ERROR_INPUT);
    }
}

/* ---- each limit, violated alone, in both directions ---- */

static struct tensor_entry good_tensor(void) {
    return (struct tensor_entry){.name = "weight", .rank = 2, .shape = {3, 5}, .bytes = 60};
}

static struct message good_assign(void) {
    return (struct message){.type = MESSAGE_ASSIGN, .assign = {.end = 1, .units = 1, .microbatch = 1}};
}

static void refused(struct arena *arena, const struct message *message, const char *says) {
    const void *bytes;
    size_t size;
    struct error error = {0};
    if (message_encode(arena, message, &bytes, &size, &error))
        fail_msg("encoded, want: %s", says);
    if (strncmp(error.text, says, strlen(says)) != 0)
        fail_msg("got \"%s\", want \"%s...\"", error.text, says);
    assert_int_equal(error.code, ERROR_INPUT);
}

static void refused_tensor(struct arena *arena, struct tensor_entry tensor, const char *says) {
    struct tensor_entry tensors[] = {good_tensor(), tensor};
    struct message message = good_assign();
    message.assign.tensors = tensors;
    message.assign.tensor_count = 2;
    refused(arena, &message, says);
}

#define REFUSED_ASSIGN(field, value, says)                                                                             \
    do {                                                                                                               \
        struct message message = good_assign();                                                                        \
        message.assign.field = value;                                                                                  \
        refused(arena, &message, says);                                                                                \
    } while (0)
#define REFUSED_TENSOR(field, value, says)                                                                             \
    do {                                                                                                               \
        struct tensor_entry tensor = good_tensor();                                                                    \
        tensor.field = value;                                                                                          \
        refused_tensor(arena, tensor, says);                                                                           \
    } while (0)

static void test_limits_of_assign(void **state) {
    struct arena *arena = *state;
    REFUSED_ASSIGN(units, 0, "assign: units: got 0, want 1 to 65536");
    REFUSED_ASSIGN(units, 65537, "assign: units: got 65537");
    REFUSED_ASSIGN(end, 2, "assign: end: got 2, want 1 to 1");
    REFUSED_ASSIGN(end, 0, "assign: end: got 0");
    REFUSED_ASSIGN(first, 1, "assign: first: got 1, want 0 to 0");
    REFUSED_ASSIGN(microbatch, 0, "assign: microbatch: got 0, want 1 to 1024");
    REFUSED_ASSIGN(microbatch, 1025, "assign: microbatch: got 1025");
    REFUSED_ASSIGN(config_bytes, MESSAGE_JSON_MAX + 1, "assign: config: bytes: got 4194305");
    REFUSED_ASSIGN(preprocessor_bytes, MESSAGE_JSON_MAX + 1, "assign: preprocessor: bytes: got 4194305");
    REFUSED_ASSIGN(tensor_count, MESSAGE_TENSORS_MAX + 1, "assign: tensors: count: got 65537");
    REFUSED_ASSIGN(holder_count, MESSAGE_HOLDERS_MAX + 1, "assign: holders: count: got 9, want 0 to 8");
    REFUSED_TENSOR(name, "", "assign: tensors[1].name: ");
    REFUSED_TENSOR(name, "a\nb", "assign: tensors[1].name: ");
    REFUSED_TENSOR(element, 3, "assign: tensors[1].element: got 3, want 0 to 2");
    REFUSED_TENSOR(rank, 5, "assign: tensors[1].shape: got 5 dimensions, want at most 4");
    REFUSED_TENSOR(bytes, 61, "assign: tensors[1].bytes: got 61, want 60");
    REFUSED_TENSOR(shape[0], UINT64_MAX / 2, "assign: tensors[1].shape: larger than 2^64 bytes");
}

static void test_limits_of_the_others(void **state) {
    struct arena *arena = *state;
    static const uint32_t twice[] = {4, 4};
    struct answer_class top[] = {{.label = "cat", .score = NAN}};
    struct board_status board = {.name = "pi-3", .busy = INFINITY};
    struct board_status nameless = {.name = "", .busy = 0};
    struct event_status early = {.took_s = -1};
    struct board_status backwards = {.name = "pi-3", .first = 2, .end = 1};
    const struct {
        struct message message;
        const char *says;
    } table[] = {
        {{.type = MESSAGE_HELLO, .hello = {.role = 0}}, "hello: role: got 0"},
        {{.type = MESSAGE_HELLO, .hello = {.role = ROLE_STAGE, .name = "a b"}}, "hello: name: got \"a b\""},
        {{.type = MESSAGE_HELLO, .hello = {.role = ROLE_STAGE}}, "hello: name: got \"\""},
        {{.type = MESSAGE_HELLO, .hello = {.role = ROLE_CLIENT, .cached_count = MESSAGE_TENSORS_MAX + 1}},
         "hello: cached: count: got 65537"},
        {{.type = MESSAGE_FLEET, .fleet = {.key_count = MESSAGE_BOARDS_MAX + 1}}, "fleet: keys: count: got 65, want"},
        {{.type = MESSAGE_TENSOR_GET}, "tensor_get: bytes: got 0, want 1 to 1048576"},
        {{.type = MESSAGE_TENSOR_GET, .tensor_get = {.bytes = MESSAGE_CHUNK_MAX + 1}},
         "tensor_get: bytes: got 1048577"},
        {{.type = MESSAGE_TENSOR_GET, .tensor_get = {.offset = UINT64_MAX, .bytes = 1}}, "tensor_get: offset: "},
        {{.type = MESSAGE_PROGRESS, .progress = {.done = 2, .total = 1}}, "progress: done: got 2, want 0 to 1"},
        {{.type = MESSAGE_SUBMIT, .submit = {.top = MESSAGE_TOP_MAX + 1}}, "submit: top: got 1001"},
        {{.type = MESSAGE_ANSWER, .answer = {.top_count = MESSAGE_TOP_MAX + 1}}, "answer: top: count: got 1001"},
        {{.type = MESSAGE_ANSWER, .answer = {.top = top, .top_count = 1}}, "answer: top[0].score: not a finite number"},
        {{.type = MESSAGE_STATUS, .status = {.board_count = 65}}, "status: boards: count: got 65, want 0 to 64"},
        {{.type = MESSAGE_STATUS, .status = {.items_per_second = NAN}}, "status: items_per_second: "},
        {{.type = MESSAGE_STATUS, .status = {.microbatch = 1025}}, "status: microbatch: got 1025"},
        {{.type = MESSAGE_STATUS, .status = {.boards = &board, .board_count = 1}}, "status: boards[0].busy: got inf"},
        {{.type = MESSAGE_STATUS, .status = {.boards = &nameless, .board_count = 1}},
         "status: boards[0].name: got \"\""},
        {{.type = MESSAGE_STATUS, .status = {.boards = &backwards, .board_count = 1}},
         "status: boards[0]: got units 2 to 1"},
        {{.type = (enum message_type)0}, "envelope: no message of type 0"},
        {{.type = MESSAGE_PROFILE_GET}, "profile_get: microbatches: count: got 0, want 1 to 8"},
        {{.type = MESSAGE_PROFILE_GET, .profile_get = {.microbatches = twice, .microbatch_count = 2, .budget_ms = 1}},
         "profile_get: microbatches: got 4, want 5 to 1024"},
        {{.type = MESSAGE_PROFILE_GET, .profile_get = {.microbatches = twice, .microbatch_count = 1}},
         "profile_get: budget_ms: got 0"},
        {{.type = MESSAGE_PROFILE, .profile = {.json_bytes = MESSAGE_PROFILE_MAX + 1}}, "profile: bytes: got 1048577"},
        {{.type = MESSAGE_JOIN, .join = {.role = ROLE_STAGE, .name = "pi-3"}}, "join: key: missing"},
        {{.type = MESSAGE_JOIN, .join = {.role = ROLE_STAGE, .name = "a b"}}, "join: name: got \"a b\""},
        {{.type = MESSAGE_JOIN, .join = {.name = "pi-3"}}, "join: role: got 0"},
        {{.type = MESSAGE_PROBE}, "probe: probe: got 0"},
        {{.type = MESSAGE_PROBE, .probe = {.probe = 1, .limit_ms = 1, .burst_ms = 60001}},
         "probe: burst_ms: got 60001"},
        {{.type = MESSAGE_PROBED, .probed = {.probe = 1, .latency_s = -1}}, "probed: got -1 s"},
        {{.type = MESSAGE_PROBED, .probed = {.probe = 1, .bytes_per_second = INFINITY}}, "probed: got 0 s and inf"},
        {{.type = MESSAGE_STATUS, .status = {.predicted_period_s = NAN}}, "status: a period is not"},
        {{.type = MESSAGE_STATUS, .status = {.preparation_period_s = -1}}, "status: a period is not"},
        {{.type = MESSAGE_STATUS, .status = {.event_count = 65}}, "status: events: count: got 65, want 0 to 64"},
        {{.type = MESSAGE_STATUS, .status = {.events = &early, .event_count = 1}}, "status: events[0]: a time is not"},
        {{.type = MESSAGE_DRAIN, .drain = {.board = "a b"}}, "drain: board: got \"a b\", want a board name"},
        {{.type = (enum message_type)29}, "envelope: no message of type 29"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        refused(arena, &table[i].message, table[i].says);
}

static void test_bad_data_headers(void **state) {
    struct arena *arena = *state;
    static const struct bad_bytes table[] = {
        BAD("", "data header: protocol: got 0, want 3"),
        BAD("\x08\x01", "data header: protocol: got 1, want 3"),
        BAD("\x08\x03", "data header: items: got 0, want 1 to 1024"),
        BAD("\x08\x03\x38\x81\x08", "data header: items: got 1025"),
        BAD("\x08\x03\x38\x01", "data header: parts: count: got 0, want 1 to 2"),
        BAD("\x08\x03\x38\x01\x42\x00\x42\x00\x42\x00", "data header: parts: too many"),
        BAD("\x08\x03\x38\x01\x42\x02\x08\x02", "data header: parts: type: got 2, want 0 to 1"),
        BAD("\x08\x03\x38\x01\x42\x07\x12\x05\x01\x01\x01\x01\x01",
            "data header: parts: got 5 dimensions, want at most 4"),
        BAD("\x08\x03\x30\x81\x80\x04\x38\x01\x42\x00", "data header: cut: got 65537, want 0 to 65536"),
        BAD("\x08", "data header: cut short"),
        BAD("\x10\x01", "data header: cluster: wrong wire type"),
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct data_header received;
        struct error error = {0};
        if (data_header_decode(arena, table[i].bytes, table[i].size, &received, &error))
            fail_msg("accepted, want: %s", table[i].says);
        if (strncmp(error.text, table[i].says, strlen(table[i].says)) != 0)
            fail_msg("got \"%s\", want \"%s...\"", error.text, table[i].says);
    }
    static const uint8_t large[DATA_HEADER_MAX + 1];
    struct error error = {0};
    assert_false(data_header_decode(arena, large, sizeof large, &(struct data_header){0}, &error));
    assert_string_equal(error.text, "data header: got 257 bytes, want at most 256");
}

static void test_board_names(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",    ".",   "-a",    ".a",          "a b",
        "a/b", "a\n", "Käfer", "coordinator", "a234567890123456789012345678901234567890123456789012345678901234"};
    static const char *const good[] = {"a", "0", "_", "pi-3.rack_2", "A-", "a."};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(board_name_valid(bad[i]));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(board_name_valid(good[i]));
}

/* ---- texts are mended on the way out ---- */

static void mended(struct arena *arena, const char *text, const char *expected) {
    struct message sent = {.type = MESSAGE_FAILED, .failed = {.text = text}}, received;
    const void *bytes;
    size_t size;
    arena_reset(arena);
    encode(arena, &sent, &bytes, &size);
    decode(arena, bytes, size, &received);
    assert_string_equal(received.failed.text, expected);
}

static void test_texts_are_mended(void **state) {
    struct arena *arena = *state;
    char long_text[1100], cut[1100];
    mended(arena, NULL, "");
    mended(arena, "\xff.jpg: not an image", "?.jpg: not an image");
    mended(arena,
           "K\xe4"
           "fer",
           "K?fer");
    mended(arena, "half a character: \xe7\x94", "half a character: ??");
    memset(long_text, 'x', sizeof long_text);
    memcpy(long_text + 1023, "\xc3\xa4", 3); /* would straddle the limit */
    memset(cut, 'x', 1023);
    cut[1023] = '\0';
    mended(arena, long_text, cut);
}

/* ---- memory ---- */

static void test_nothing_is_allocated_after_warm_up(void **state) {
    (void)state;
    struct arena *arena = arena_new(ARENA_LIMIT);
    uint64_t before = 0;
    for (int round = 0; round < 40; round++) {
        if (round == 20)
            before = allocation_count();
        for (int type = 1; type <= MESSAGE_TYPES; type++)
            round_trip(arena, (enum message_type)type);
        arena_reset(arena);
        assert_non_null(arena_take(arena, 1, 1 << 20)); /* more than any of them, so that chance has no say */
    }
    assert_int_equal(allocation_count(), before);
    arena_destroy(&arena);
    assert_null(arena);
}

static void test_arena(void **state) {
    (void)state;
    struct arena *arena = arena_new(100000);
    for (int round = 0; round < 3; round++) {
        unsigned char *first = arena_take(arena, 3, 7);
        unsigned char *second = arena_take(arena, 1, 70000);
        assert_non_null(first);
        assert_non_null(second);
        assert_int_equal((uintptr_t)first % 16 + (uintptr_t)second % 16, 0);
        for (size_t i = 0; i < 70000; i++)
            assert_int_equal(second[i], 0);
        memset(first, 1, 21);
        memset(second, 1, 70000);
        assert_null(arena_take(arena, 1, 100000));
        assert_null(arena_take(arena, SIZE_MAX, 2));
        assert_null(arena_take(arena, 1, SIZE_MAX));
        assert_non_null(arena_take(arena, 0, 8));
        arena_reset(arena);
    }
    arena_destroy(&arena);
    arena_destroy(&arena);
}

/* Two bytes on the wire that cost a hundred in memory, 65536 times: the arena's limit holds. */
static void test_arena_limit_ends_a_greedy_message(void **state) {
    (void)state;
    static uint8_t greedy[5 + 3 * 70000] = {0x7a}; /* an answer of empty classes */
    struct arena *arena = arena_new((size_t)1 << 20);
    struct message received;
    struct error error = {0};
    for (uint32_t entries = 60000, at = 4; entries <= 70000; entries += 10000, at = 4) {
        uint32_t size = 2 * entries;
        greedy[1] = (uint8_t)(size | 0x80);
        greedy[2] = (uint8_t)(size >> 7 | 0x80);
        greedy[3] = (uint8_t)(size >> 14);
        for (uint32_t i = 0; i < entries; i++, at += 2)
            memcpy(greedy + at, "\x2a\x00", 2);
        assert_false(message_decode(arena, greedy, at, &received, &error));
        assert_int_equal(error.code, entries == 60000 ? ERROR_SYSTEM : ERROR_INPUT); /* memory; the count */
    }
    struct message small = {.type = MESSAGE_SERVE, .serve = {{7}}};
    const void *bytes;
    size_t size;
    encode(arena, &small, &bytes, &size);
    decode(arena, bytes, size, &received);
    assert_int_equal(received.serve.epoch.number, 7);
    arena_destroy(&arena);
}

/* What was decoded before survives the failure of what comes after. */
static void test_failure_leaves_the_arena_as_it_was(void **state) {
    struct arena *arena = *state;
    struct message sent = random_message(MESSAGE_STATUS), first, second;
    const void *bytes;
    size_t size;
    encode(arena, &sent, &bytes, &size);
    decode(arena, bytes, size, &first);
    for (int i = 0; i < 1000; i++)
        assert_false(message_decode(arena, bytes, size - 1, &second, NULL));
    assert_same_message(&sent, &first);
}

static void test_every_failing_allocation(void **state) {
    (void)state;
    struct message sent = random_message(MESSAGE_ASSIGN), received;
    const void *bytes;
    size_t size;
    struct error error = {0};
    for (uint64_t nth = 1; nth < 4; nth++) {
        struct arena *arena = arena_new(ARENA_LIMIT);
        allocate_fail_nth(nth);
        if (!message_encode(arena, &sent, &bytes, &size, &error))
            assert_int_equal(error.code, ERROR_SYSTEM);
        else if (!message_decode(arena, bytes, size, &received, &error))
            assert_int_equal(error.code, ERROR_SYSTEM);
        allocate_fail_nth(0);
        arena_destroy(&arena);
    }
}

static int setup(void **state) {
    *state = arena_new(ARENA_LIMIT);
    return 0;
}

static int teardown(void **state) {
    struct arena *arena = *state;
    arena_destroy(&arena);
    return 0;
}

/* ---- seeds for the fuzzer ---- */

static bool seed_write(const char *folder, int number, uint8_t kind, const void *bytes, size_t size) {
    static uint8_t seed[1 << 20];
    char path[4096], name[32];
    struct error error;
    seed[0] = kind;
    memcpy(seed + 1, bytes, size);
    snprintf(name, sizeof name, kind == 0 ? "envelope-%02d" : "header-%02d", number);
    bool ok = path_join(path, sizeof path, folder, name, &error) && file_write_atomic(path, seed, size + 1, &error);
    if (!ok)
        fprintf(stderr, "%s\n", error.text);
    return ok;
}

static int write_corpus(const char *folder) {
    struct arena *arena = arena_new(ARENA_LIMIT);
    bool ok = true;
    for (int type = 1; ok && type <= MESSAGE_TYPES; type++) {
        struct message message = random_message((enum message_type)type);
        const void *bytes;
        size_t size;
        ok = message_encode(arena, &message, &bytes, &size, NULL) && seed_write(folder, type, 0, bytes, size);
    }
    for (int i = 0; ok && i < 4; i++) {
        struct data_header header = random_header();
        uint8_t bytes[DATA_HEADER_MAX];
        ok = seed_write(folder, i, 1, bytes, data_header_encode(&header, bytes));
    }
    for (int i = 4; ok && i < 6; i++) {
        struct probe_header header = random_probe_header();
        uint8_t bytes[PROBE_HEADER_MAX];
        ok = seed_write(folder, i, 1, bytes, probe_header_encode(&header, bytes));
    }
    arena_destroy(&arena);
    return ok ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--corpus") == 0)
        return write_corpus(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_message_there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_data_header_there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_data_header_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_probe_header_there_and_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_probe_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_flipped_bits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_assign, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_of_the_others, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_data_headers, setup, teardown),
        cmocka_unit_test(test_board_names),
        cmocka_unit_test_setup_teardown(test_texts_are_mended, setup, teardown),
        cmocka_unit_test(test_nothing_is_allocated_after_warm_up),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_arena_limit_ends_a_greedy_message),
        cmocka_unit_test_setup_teardown(test_failure_leaves_the_arena_as_it_was, setup, teardown),
        cmocka_unit_test(test_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
