/* Random messages within all limits; see messages.h. */
#include "test/proto/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* ---- random contents ---- */

static uint64_t dice = 1;

uint64_t random_word(void) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return dice;
}

uint64_t random_below(uint64_t end) {
    return random_word() % end;
}

/* All sizes of numbers, and the extremes. */
static uint64_t number(void) {
    uint64_t kind = random_below(8);
    return kind == 0 ? 0 : kind == 1 ? UINT64_MAX : random_word() >> random_below(64);
}

static uint32_t number32(void) {
    return (uint32_t)number();
}

static const char *text(void) {
    static const char *const texts[] = {"", "pi-3", "tcp://10.0.0.7:7601", "Käfer, 甲虫", "🐛 \t\n\x7f", "ok"};
    return texts[random_below(sizeof texts / sizeof *texts)];
}

/* For where no control characters may be. */
static const char *printable(void) {
    const char *made = text();
    return strchr(made, '\n') ? "none" : made;
}

static const char *board_name(void) {
    static const char *const names[] = {"pi-3", "a", "_", "0.rack-2.Nano_4GB",
                                        "a23456789012345678901234567890123456789012345678901234567890123"};
    return names[random_below(sizeof names / sizeof *names)];
}

static struct hash hash(void) {
    struct hash made;
    for (size_t i = 0; i < HASH_BYTES; i++)
        made.bytes[i] = (uint8_t)random_word();
    return made;
}

static struct rejected rejected(void) {
    return (struct rejected){number(), number(), number(), number(), number()};
}

static struct tensor_entry tensor(void) {
    struct tensor_entry made = {
        .name = "encoder.layer.3.fc1.weight", .element = (uint32_t)random_below(3), .hash = hash()};
    made.rank = (uint32_t)random_below(MESSAGE_RANK_MAX + 1);
    made.bytes = made.element == 0 ? 4 : 2;
    for (uint32_t i = 0; i < made.rank; i++) {
        made.shape[i] = random_below(5000);
        made.bytes *= made.shape[i];
    }
    return made;
}

static void fill_hello(struct message_hello *hello) {
    static uint8_t cached[50 * MESSAGE_CACHED_BYTES];
    for (size_t i = 0; i < sizeof cached; i++)
        cached[i] = (uint8_t)random_word();
    *hello = (struct message_hello){
        .protocol = number32(),
        .version = printable(),
        .role = random_below(2) ? ROLE_STAGE : ROLE_CLIENT,
        .name = board_name(),
        .data_endpoint = {text(), text()},
        .memory_bytes = number(),
        .threads = number32(),
        .kernels = printable(),
        .weights_endpoint = text(),
        .cached = cached,
        .cached_count = random_below(51),
        .instance = number(),
    };
}

static void fill_assign(struct message_assign *assign) {
    static struct tensor_entry tensors[20];
    static char config[1000];
    for (size_t i = 0; i < 20; i++)
        tensors[i] = tensor();
    memset(config, 'c', sizeof config);
    *assign = (struct message_assign){
        .epoch = {number()},
        .units = 1 + (uint32_t)random_below(65536),
        .microbatch = 1 + (uint32_t)random_below(MESSAGE_ITEMS_MAX),
        .next_endpoint = text(),
        .config = config,
        .config_bytes = random_below(sizeof config),
        .preprocessor = random_below(2) ? config : NULL,
        .tensors = tensors,
        .tensor_count = random_below(21),
    };
    assign->end = 1 + (uint32_t)random_below(assign->units);
    assign->first = (uint32_t)random_below(assign->end);
    assign->preprocessor_bytes = assign->preprocessor ? 1 + random_below(sizeof config - 1) : 0;
}

static void fill_heartbeat(struct message_heartbeat *heartbeat) {
    *heartbeat = (struct message_heartbeat){
        .epoch = {number()},
        .microbatches = number(),
        .items = number(),
        .busy_ns = number(),
        .serving_ns = number(),
        .computing_ns = number(),
        .loading_ns = number(),
        .computed = {number()},
        .allocations = number(),
        .memory_used = number(),
        .rejected = rejected(),
    };
}

static void fill_answer(struct message_answer *answer) {
    static struct answer_class top[MESSAGE_TOP_MAX];
    size_t count = random_below(4) == 0 ? MESSAGE_TOP_MAX : random_below(6);
    for (size_t i = 0; i < count; i++)
        top[i] = (struct answer_class){number32(), text(), (float)random_below(1000) / 999};
    *answer = (struct message_answer){number(), number32(), text(), random_below(2), top, count};
}

static struct board_status board(void) {
    struct board_status made = {
        .name = board_name(),
        .state = text(),
        .units = text(),
        .kernels = text(),
        .endpoint = text(),
        .end = (uint32_t)random_below(65537),
        .threads = number32(),
        .items = number(),
        .microbatches = number(),
        .busy = (double)random_below(1001) / 1000,
        .weight_bytes = number(),
        .memory_bytes = number(),
        .loaded = number(),
        .load_total = number(),
        .fetched = number(),
        .allocations = number(),
        .rejected = rejected(),
        .predicted_compute_s = (double)random_below(1000) / 7,
        .predicted_receive_s = (double)random_below(1000) / 7,
        .predicted_send_s = (double)random_below(1000) / 7,
        .measured_compute_s = (double)random_below(1000) / 7,
        .busy_ns = number(),
        .serving_ns = number(),
        .planned_memory_bytes = number(),
        .memory_used = number(),
        .payload_bytes = number(),
        .silent_ms = number(),
        .pace = (double)random_below(1000) / 7,
    };
    made.first = (uint32_t)random_below(made.end + 1);
    return made;
}

static struct event_status event(void) {
    return (struct event_status){
        .number = number(),
        .unix_ms = number(),
        .kind = text(),
        .board = text(),
        .reason = text(),
        .text = text(),
        .epoch = {number()},
        .boards = number32(),
        .stages = number32(),
        .items = number32(),
        .microbatches = number32(),
        .predicted_period_s = (double)random_below(1000) / 7,
        .took_s = (double)random_below(1000) / 7,
        .unserved_s = (double)random_below(1000) / 7,
        .pace = (double)random_below(1000) / 7,
    };
}

static void fill_status(struct message_status *status) {
    static struct board_status boards[MESSAGE_BOARDS_MAX];
    static struct event_status events[MESSAGE_EVENTS_MAX];
    for (size_t i = 0; i < MESSAGE_EVENTS_MAX; i++)
        events[i] = event();
    size_t count = random_below(4) == 0 ? MESSAGE_BOARDS_MAX : random_below(6);
    for (size_t i = 0; i < count; i++)
        boards[i] = board();
    *status = (struct message_status){
        .version = text(),
        .state = text(),
        .architecture = text(),
        .policy = text(),
        .reason = text(),
        .data_endpoint = text(),
        .epoch = {number()},
        .microbatch = (uint32_t)random_below(MESSAGE_ITEMS_MAX + 1),
        .items_done = number(),
        .items_failed = number(),
        .items_replayed = number(),
        .weights_sent = number(),
        .waiting = number32(),
        .in_flight = number32(),
        .clients = number32(),
        .items_per_second = (double)random_below(100000) / 7,
        .predicted_period_s = (double)random_below(1000) / 7,
        .preparation_period_s = (double)random_below(1000) / 9,
        .measured_period_s = (double)random_below(1000) / 7,
        .uptime_ms = number(),
        .allocations = number(),
        .rejected = rejected(),
        .boards = boards,
        .board_count = count,
        .events = events,
        .event_count = random_below(MESSAGE_EVENTS_MAX + 1),
    };
}

static void fill_profile_get(struct message_profile_get *get) {
    static uint32_t sizes[MESSAGE_SIZES_MAX];
    static char config[1000];
    memset(config, 'c', sizeof config);
    for (unsigned i = 0; i < MESSAGE_SIZES_MAX; i++)
        sizes[i] = 1 + (i > 0 ? sizes[i - 1] : 0) + (uint32_t)random_below(100);
    *get = (struct message_profile_get){
        .survey = number(),
        .config = config,
        .config_bytes = random_below(sizeof config),
        .preprocessor = random_below(2) ? config : NULL,
        .microbatches = sizes,
        .microbatch_count = 1 + random_below(MESSAGE_SIZES_MAX),
        .budget_ms = 1 + (uint32_t)random_below(600000),
    };
    get->preprocessor_bytes = get->preprocessor ? 1 + random_below(sizeof config - 1) : 0;
}

/* A key, or none. */
static const struct public_key *key_or_none(struct public_key *key) {
    for (size_t i = 0; i < KEY_BYTES; i++)
        key->bytes[i] = (uint8_t)random_below(256);
    return random_below(2) ? key : NULL;
}

static void fill_join(struct message_join *join) {
    static struct public_key key;
    (void)key_or_none(&key);
    *join = (struct message_join){number32(), text(), random_below(2) ? ROLE_STAGE : ROLE_CLIENT,
                                  random_below(2) ? "pi-3" : "x", &key};
}

static void fill_measured(struct message *made) {
    static struct public_key peer;

    switch (made->type) {
    case MESSAGE_PROFILE_GET:
        fill_profile_get(&made->profile_get);
        break;
    case MESSAGE_PROFILE:
        made->profile =
            (struct message_profile){number(), printable(), "{\"units\": 3}", random_below(14), random_below(2)};
        break;
    case MESSAGE_PROBE:
        made->probe = (struct message_probe){1 + number() / 2,
                                             text(),
                                             random_below(2),
                                             1 + (uint32_t)random_below(600000),
                                             1 + (uint32_t)random_below(60000),
                                             1 + random_below(UINT64_C(1) << 32),
                                             key_or_none(&peer)};
        break;
    default:
        made->probed = (struct message_probed){1 + number() / 2, printable(), (double)random_below(1000) / 7,
                                               (double)random_below(1000000) / 7};
        break;
    }
}

static void fill_holders(struct message_assign *assign) {
    static struct message_holder holders[MESSAGE_HOLDERS_MAX];
    static struct public_key keys[MESSAGE_HOLDERS_MAX];
    static uint32_t tensor_holders[20];
    for (size_t i = 0; i < MESSAGE_HOLDERS_MAX; i++)
        holders[i] = (struct message_holder){text(), key_or_none(&keys[i])};
    for (size_t i = 0; i < 20; i++)
        tensor_holders[i] = number32();
    assign->holders = holders;
    assign->holder_count = random_below(MESSAGE_HOLDERS_MAX + 1);
    assign->tensor_holders = random_below(2) ? tensor_holders : NULL;
}

static void fill_fleet(struct message_fleet *fleet) {
    static struct public_key keys[MESSAGE_BOARDS_MAX];
    for (size_t i = 0; i < MESSAGE_BOARDS_MAX; i++)
        for (size_t j = 0; j < KEY_BYTES; j++)
            keys[i].bytes[j] = (uint8_t)random_word();
    *fleet = (struct message_fleet){keys, random_below(MESSAGE_BOARDS_MAX + 1)};
}

struct message random_message(enum message_type type) {
    static struct public_key next_key, previous_key;
    struct message made = {.type = type};
    uint64_t total = number();
    switch (type) {
    case MESSAGE_HELLO:
        fill_hello(&made.hello);
        break;
    case MESSAGE_WELCOME:
        made.welcome = (struct message_welcome){number(), number32(), number32(), text()};
        break;
    case MESSAGE_REFUSE:
        made.refuse = (struct message_refuse){text(), random_below(2)};
        break;
    case MESSAGE_ASSIGN:
        fill_assign(&made.assign);
        made.assign.beside = random_below(2) == 1;
        fill_holders(&made.assign);
        made.assign.next_key = key_or_none(&next_key);
        made.assign.previous_key = key_or_none(&previous_key);
        break;
    case MESSAGE_TENSOR_ABSENT:
        made.tensor_absent = (struct message_tensor_absent){hash()};
        break;
    case MESSAGE_FLEET:
        fill_fleet(&made.fleet);
        break;
    case MESSAGE_TENSOR_GET:
        made.tensor_get =
            (struct message_tensor_get){hash(), number() >> 1, 1 + (uint32_t)random_below(MESSAGE_CHUNK_MAX)};
        break;
    case MESSAGE_TENSOR_PART:
        made.tensor_part = (struct message_tensor_part){hash(), number()};
        break;
    case MESSAGE_PROGRESS:
        made.progress = (struct message_progress){{number()}, total / 3, total, number()};
        break;
    case MESSAGE_READY:
        made.ready = (struct message_ready){{number()}, number()};
        break;
    case MESSAGE_FAILED:
        made.failed = (struct message_failed){{number()}, printable()};
        break;
    case MESSAGE_SERVE:
        made.serve = (struct message_serve){{number()}};
        break;
    case MESSAGE_RETIRE:
        made.retire = (struct message_retire){{number()}};
        break;
    case MESSAGE_HEARTBEAT:
        fill_heartbeat(&made.heartbeat);
        break;
    case MESSAGE_SUBMIT:
        made.submit =
            (struct message_submit){number(), number32(), (uint32_t)random_below(MESSAGE_TOP_MAX + 1), random_below(2)};
        break;
    case MESSAGE_ANSWER:
        fill_answer(&made.answer);
        break;
    case MESSAGE_STATUS:
        fill_status(&made.status);
        break;
    case MESSAGE_LEAVE:
    case MESSAGE_RELEASED:
    case MESSAGE_STATUS_GET:
    case MESSAGE_JOINED:
        break;
    case MESSAGE_JOIN:
        fill_join(&made.join);
        break;
    case MESSAGE_DRAIN:
        made.drain = (struct message_drain){board_name(), random_below(2)};
        break;
    case MESSAGE_DRAINED:
        made.drained = (struct message_drained){random_below(2)};
        break;
    case MESSAGE_PROFILE_GET:
    case MESSAGE_PROFILE:
    case MESSAGE_PROBE:
    case MESSAGE_PROBED:
        fill_measured(&made);
        break;
    }
    return made;
}

struct probe_header random_probe_header(void) {
    return (struct probe_header){1 + number() / 2, (enum probe_kind)(1 + random_below(PROBE_LAST)), number()};
}

struct data_header random_header(void) {
    struct data_header made = {
        .cluster = number(),
        .epoch = {number()},
        .sequence = {number()},
        .attempt = number32(),
        .cut = (uint32_t)random_below(65537),
        .items = 1 + (uint32_t)random_below(MESSAGE_ITEMS_MAX),
        .parts = 1 + (uint32_t)random_below(MESSAGE_PARTS_MAX),
        .checksum = number(),
        .sequence_id = number(),
        .position = number(),
    };
    for (uint32_t i = 0; i < made.parts; i++) {
        made.part[i].type = (uint32_t)random_below(2);
        made.part[i].rank = (uint32_t)random_below(MESSAGE_RANK_MAX + 1);
        for (uint32_t j = 0; j < made.part[i].rank; j++)
            made.part[i].shape[j] = number32();
    }
    return made;
}
