/* What travels between daemons, as plain structs; codec.h turns them into bytes and back.
 *
 * Strings and byte ranges in a decoded message are borrowed from the arena that decoding used and live until it is
 * reset; strings are valid UTF-8, zero-terminated, at most MESSAGE_TEXT_MAX bytes and never NULL. In a message to be
 * encoded they are borrowed from the caller; a NULL string counts as empty. Ranges are checked by the decoder as the
 * comments say; whether a value makes sense now (an epoch, a slice) is the receiver's business.
 */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include "base/hash.h"
#include "base/key.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTOCOL_VERSION     3
#define MESSAGE_TEXT_MAX     1024
#define MESSAGE_NAME_MAX     63 /* bytes of a board's name: letters, digits, '.', '_', '-' */
#define MESSAGE_TENSORS_MAX  65536
#define MESSAGE_BOARDS_MAX   64
#define MESSAGE_EVENTS_MAX   64
#define MESSAGE_TOP_MAX      1000
#define MESSAGE_RANK_MAX     4
#define MESSAGE_PARTS_MAX    2
#define MESSAGE_JSON_MAX     (4u << 20)   /* config.json and preprocessor_config.json */
#define MESSAGE_CHUNK_MAX    (1u << 20)   /* bytes of one TensorPart */
#define MESSAGE_FILE_MAX     (64u << 20)  /* a submitted image file */
#define MESSAGE_ENVELOPE_MAX (24u << 20)  /* any envelope frame */
#define MESSAGE_ITEMS_MAX    1024         /* items of one microbatch */
#define DATA_HEADER_MAX      256          /* bytes of an encoded data header */
#define PROBE_HEADER_MAX     32           /* bytes of an encoded probe header */
#define MESSAGE_LANES        2            /* ways of microbatches through the fleet; see epoch_lane */
#define MESSAGE_SIZES_MAX    8            /* microbatch sizes in one profile */
#define MESSAGE_PROFILE_MAX  (1u << 20)   /* bytes of a profile */
#define MESSAGE_PROBE_MAX    (256u << 10) /* bytes beside a probe header */
#define MESSAGE_HOLDERS_MAX  8            /* boards that one assignment names as having tensors */
#define MESSAGE_CACHED_BYTES 8            /* of a hash that stand for it in a hello */

typedef struct {
    uint64_t number; /* of the plan in force; 0 = none; only grows */
} epoch_t;

/* Epochs use the lanes in turn, so that one can begin while the one before it still has microbatches under way. */
static inline unsigned epoch_lane(epoch_t epoch) {
    return (unsigned)(epoch.number % MESSAGE_LANES);
}

typedef struct {
    uint64_t number; /* of a microbatch within a cluster; only grows */
} sequence_t;

enum role { ROLE_STAGE = 1, ROLE_CLIENT = 2 };

struct message_hello {
    uint32_t protocol;
    const char *version;
    enum role role;
    const char *name;                         /* stage: a valid board name; client: anything */
    const char *data_endpoint[MESSAGE_LANES]; /* stage: "tcp://ADDRESS:PORT" of each lane */
    uint64_t memory_bytes;
    uint32_t threads;
    const char *kernels;
    const char *weights_endpoint; /* stage: "tcp://ADDRESS:PORT"; empty: it lends nothing */
    const uint8_t *cached;        /* stage: [cached_count][MESSAGE_CACHED_BYTES], the beginnings of hashes */
    size_t cached_count;          /* of tensors that it has; at most MESSAGE_TENSORS_MAX */
    uint64_t instance;            /* stage: a number of its process, at random */
};

struct message_welcome {
    uint64_t cluster;
    uint32_t heartbeat_ms;
    uint32_t window;
    const char *architecture;
};

struct message_refuse {
    const char *text;
    bool again; /* the coordinator does not know this peer (any more): say hello once more */
};

struct message_join { /* said over a connection whose key is that of a token */
    uint32_t protocol;
    const char *version;
    enum role role;
    const char *name;             /* a valid board name, of clients too */
    const struct public_key *key; /* to be let in from now on; never NULL */
};

struct tensor_entry {
    const char *name;
    uint32_t element; /* enum element of kernels.h: 0 F32, 1 F16, 2 BF16 */
    uint32_t rank;    /* 0 to MESSAGE_RANK_MAX */
    uint64_t shape[MESSAGE_RANK_MAX];
    uint64_t bytes; /* = product of shape * element size: checked */
    struct hash hash;
};

struct message_holder {
    const char *endpoint;
    const struct public_key *key; /* NULL: there are no keys */
};

struct message_assign {
    epoch_t epoch;
    uint32_t first, end, units; /* first < end <= units <= 65536 */
    uint32_t microbatch;        /* 1 to MESSAGE_ITEMS_MAX */
    bool beside;                /* what serves now goes on while this is prepared */
    const char *next_endpoint;
    const void *config;
    size_t config_bytes;
    const void *preprocessor; /* NULL when absent */
    size_t preprocessor_bytes;
    const struct tensor_entry *tensors;
    size_t tensor_count;
    const struct public_key *next_key, *previous_key; /* NULL: there are no keys */
    const struct message_holder *holders;             /* at most MESSAGE_HOLDERS_MAX */
    size_t holder_count;
    const uint32_t *tensor_holders; /* [tensor_count]: bit i: holders[i] may have the tensor; NULL: nobody has any */
};

struct message_tensor_get {
    struct hash hash;
    uint64_t offset;
    uint32_t bytes; /* 1 to MESSAGE_CHUNK_MAX */
};

struct message_tensor_part { /* the bytes are the raw frame */
    struct hash hash;
    uint64_t offset;
};

struct message_tensor_absent {
    struct hash hash;
};

struct message_fleet {
    const struct public_key *keys; /* of the boards that may fetch tensors from the receiver */
    size_t key_count;              /* at most MESSAGE_BOARDS_MAX */
};

struct message_progress {
    epoch_t epoch;
    uint64_t done, total; /* bytes bound so far and in all; done <= total */
    uint64_t fetched;     /* bytes that came over the network for this epoch */
};

struct message_ready {
    epoch_t epoch;
    uint64_t weight_bytes;
};

struct message_failed {
    epoch_t epoch;
    const char *text;
};

struct message_serve {
    epoch_t epoch;
};

struct message_retire { /* nothing will come of that epoch any more */
    epoch_t epoch;
};

struct message_profile_get {
    uint64_t survey;
    const void *config;
    size_t config_bytes;
    const void *preprocessor; /* NULL when absent */
    size_t preprocessor_bytes;
    const uint32_t *microbatches; /* ascending, each 1 to MESSAGE_ITEMS_MAX */
    size_t microbatch_count;      /* 1 to MESSAGE_SIZES_MAX */
    uint32_t budget_ms;           /* 1 to 600000 */
};

struct message_profile {
    uint64_t survey;
    const char *error; /* empty: measured */
    const void *json;
    size_t json_bytes; /* at most MESSAGE_PROFILE_MAX */
    bool busy;         /* the error is that it cannot now; later it may */
};

struct message_probe {
    uint64_t probe; /* not 0 */
    const char *peer_endpoint;
    bool starts;
    uint32_t limit_ms;                 /* 1 to 600000 */
    uint32_t burst_ms;                 /* 1 to 60000 */
    uint64_t burst_bytes;              /* 1 to 2^32 */
    const struct public_key *peer_key; /* NULL: there are no keys */
};

struct message_probed {
    uint64_t probe;
    const char *error;       /* empty: measured */
    double latency_s;        /* one way: half the shortest round trip; 0 from the end that did not start */
    double bytes_per_second; /* that this end received; finite, from 0 */
};

struct rejected { /* frames and connections turned away, counted since start */
    uint64_t handshake, malformed, oversized, stale;
    uint64_t denied; /* of a key that may not say so, or may say nothing any more */
};

struct message_heartbeat {
    epoch_t epoch;
    uint64_t microbatches, items;
    sequence_t computed;          /* the last microbatch of that epoch that was; 0: none */
    uint64_t busy_ns, serving_ns; /* computing, and serving at all, in this epoch */
    uint64_t computing_ns;        /* what is being computed has been for so long; 0: nothing is */
    uint64_t loading_ns;          /* the load under way has not got on for so long; 0: there is none */
    uint64_t allocations;
    uint64_t memory_used; /* bytes of the process that are resident; 0: not known */
    struct rejected rejected;
};

struct message_submit { /* the image file is the raw frame */
    uint64_t request;
    uint32_t item;
    uint32_t top; /* 0 to MESSAGE_TOP_MAX */
    bool logits;
};

struct answer_class {
    uint32_t class_index;
    const char *label;
    float score; /* finite */
};

struct message_answer { /* logits or embedding, where asked for, are the raw frame: little-endian fp32 */
    uint64_t request;
    uint32_t item;
    const char *error; /* empty: answered */
    bool embedding;
    const struct answer_class *top;
    size_t top_count;
};

struct board_status {
    const char *name, *state, *units, *kernels, *endpoint;
    uint32_t first, end, threads; /* first <= end <= 65536 */
    uint64_t items, microbatches;
    double busy; /* share of the last seconds spent computing: finite, from 0 to 1 */
    uint64_t weight_bytes, memory_bytes;
    uint64_t loaded, load_total, fetched;
    uint64_t allocations;
    struct rejected rejected;
    /* seconds for a full microbatch; finite, from 0, which means not known */
    double predicted_compute_s, predicted_receive_s, predicted_send_s, measured_compute_s;
    double
        pace; /* measured times by those of its profile, as it is planned with; finite, from 0, which means not known */
    uint64_t busy_ns, serving_ns;  /* computing, and serving at all, since it joined: over all epochs */
    uint64_t planned_memory_bytes; /* of its slice with process, workspace and slots; 0: no plan, or not known */
    uint64_t memory_used;          /* resident; 0: not known */
    uint64_t payload_bytes;        /* that it sends on, of one item; 0: no plan */
    uint64_t silent_ms;            /* since anything was heard of it */
};

/* What happened to the fleet (daemon/core/fleet_event.h); what does not matter to its kind is 0 or empty. */
struct event_status {
    uint64_t number;  /* 1, 2, ... since the coordinator started */
    uint64_t unix_ms; /* when, by the coordinator's clock */
    const char *kind, *board, *reason, *text;
    epoch_t epoch;
    uint32_t boards, stages, items, microbatches;
    double predicted_period_s, took_s, unserved_s, pace; /* finite, from 0 */
};

struct message_status {
    const char *version, *state, *architecture, *policy, *reason, *data_endpoint;
    epoch_t epoch;
    uint32_t microbatch;
    uint64_t items_done, items_failed, items_replayed;
    uint32_t waiting, in_flight, clients;
    double items_per_second;                      /* over the last ten seconds; finite, from 0 */
    double predicted_period_s, measured_period_s; /* between full microbatches; finite, from 0: not known */
    double preparation_period_s; /* the least that the coordinator's preparation of images allows; likewise */
    uint64_t uptime_ms, allocations;
    uint64_t weights_sent; /* bytes of tensors, by the coordinator itself */
    struct rejected rejected;
    const struct board_status *boards;
    size_t board_count;
    const struct event_status *events; /* the last ones, oldest first */
    size_t event_count;                /* at most MESSAGE_EVENTS_MAX */
};

struct message_drain {
    const char *board; /* a valid board name */
    bool force;        /* even if the others could not serve without it */
};

struct message_drained {
    bool left; /* else it is on its way out */
};

enum message_type {
    MESSAGE_HELLO = 1, /* the numbers are those of the oneof in stagecoach.proto */
    MESSAGE_WELCOME,
    MESSAGE_REFUSE,
    MESSAGE_ASSIGN,
    MESSAGE_TENSOR_GET,
    MESSAGE_TENSOR_PART,
    MESSAGE_PROGRESS,
    MESSAGE_READY,
    MESSAGE_FAILED,
    MESSAGE_SERVE,
    MESSAGE_LEAVE,
    MESSAGE_RELEASED,
    MESSAGE_HEARTBEAT,
    MESSAGE_SUBMIT,
    MESSAGE_ANSWER,
    MESSAGE_STATUS_GET,
    MESSAGE_STATUS,
    MESSAGE_PROFILE_GET,
    MESSAGE_PROFILE,
    MESSAGE_PROBE,
    MESSAGE_PROBED,
    MESSAGE_JOIN,
    MESSAGE_JOINED,
    MESSAGE_DRAIN,
    MESSAGE_DRAINED,
    MESSAGE_RETIRE,
    MESSAGE_TENSOR_ABSENT,
    MESSAGE_FLEET,
};

struct message {
    enum message_type type;
    union {
        struct message_hello hello;
        struct message_welcome welcome;
        struct message_refuse refuse;
        struct message_assign assign;
        struct message_tensor_get tensor_get;
        struct message_tensor_part tensor_part;
        struct message_progress progress;
        struct message_ready ready;
        struct message_failed failed;
        struct message_serve serve;
        struct message_retire retire;
        struct message_heartbeat heartbeat;
        struct message_submit submit;
        struct message_answer answer;
        struct message_status status;
        struct message_profile_get profile_get;
        struct message_profile profile;
        struct message_probe probe;
        struct message_probed probed;
        struct message_join join;
        struct message_drain drain;
        struct message_drained drained;
        struct message_tensor_absent tensor_absent;
        struct message_fleet fleet;
    };
};

struct data_part {
    uint32_t type; /* enum payload_type of model.h */
    uint32_t rank;
    uint32_t shape[MESSAGE_RANK_MAX]; /* per item */
};

/* Beside every microbatch. */
struct data_header {
    uint64_t cluster;
    epoch_t epoch;
    sequence_t sequence;
    uint32_t attempt;
    uint32_t cut;   /* 0 to 65536 */
    uint32_t items; /* 1 to MESSAGE_ITEMS_MAX */
    uint32_t parts; /* 1 to MESSAGE_PARTS_MAX */
    struct data_part part[MESSAGE_PARTS_MAX];
    uint64_t checksum; /* checksum_of the first part, seeded 0, then of the second, seeded with the first's */
    uint64_t sequence_id, position; /* for decoding with KV caches, later */
};

/* What a frame of a probe is (daemon/core/probe_core.h tells what they are for). */
enum probe_kind { PROBE_PING = 1, PROBE_PONG, PROBE_CHUNK, PROBE_ACK, PROBE_ENOUGH, PROBE_LAST };

/* Beside every frame of a probe; only a PROBE_CHUNK has a raw frame, of at most MESSAGE_PROBE_MAX bytes. */
struct probe_header {
    uint64_t probe; /* not 0 */
    enum probe_kind kind;
    uint64_t number;
};

#endif
