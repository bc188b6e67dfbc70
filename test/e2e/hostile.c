/* A stranger, for the end-to-end tests: says to the ports of a running fleet what no daemon of ours would say, and
 * goes. Each subcommand is one way to misbehave; test_hostile.sh looks afterwards how the fleet took it. What it sends
 * comes from a fixed seed. Exit status 0 when it was all sent (or the other side hung up, which is its right), 1 when
 * it could not connect.
 *
 * Ways, each with the endpoint of the coordinator's control port first unless another is named:
 *   raw ENDPOINT: bytes that are no ZMTP, half a greeting, an endless frame, each on a connection of its own
 *   flood ENDPOINT COUNT: connections opened and dropped, some after a few bytes
 *   guests ENDPOINT COUNT: clients that say hello and are gone
 *   crowd ENDPOINT COUNT: clients that say hello and stay, idle, until they are killed
 *   again ENDPOINT FILE COUNT: submits a file so often, hangs up, comes back and submits all of it again under the same
 *       numbers; prints how many answers came, "each once" if so
 *   control ENDPOINT: envelopes: garbage, cut short, with frames too many, of the wrong role or out of the blue
 *   board ENDPOINT: joins as a board and asks for what is not there, claims what is not so
 *   data DATA CONTROL MODEL CUT EPOCH: microbatches with one thing wrong in each, and probes that nobody asked for
 *   hello ENDPOINT PROTOCOL VERSION: says hello as a board of that version, prints the answer
 *   named ENDPOINT DATA: says hello as a board that is reached at DATA, prints the answer
 *   deaf ENDPOINT NAME: a board that tells a profile but is reached by nobody; stays until it is killed
 *   mortal ENDPOINT NAME: the same, but it dies whenever it is asked for a profile, and is back at once
 *   json: reads lines; says which are no JSON
 */
#include "base/allocate.h"
#include "base/file.h"
#include "base/mono.h"
#include "daemon/client.h"
#include "daemon/profile.h"
#include "model/json.h"
#include "model/model.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_MAX     65536
#define THREADS_MANY 1000 /* more than a board is believed */

static uint64_t dice = 88172645463325252u;

static uint8_t random_byte(void) {
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint8_t)(dice >> 24);
}

static void fill_random(uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        bytes[i] = random_byte();
}

static void die(const char *what) {
    fprintf(stderr, "hostile: %s\n", what);
    exit(1);
}

/* ---- below ZeroMQ ---- */

static int dial(const char *endpoint) {
    char host[64];
    unsigned port;
    if (sscanf(endpoint, "tcp://%63[^:]:%u", host, &port) != 2)
        die("want tcp://ADDRESS:PORT");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0 || connect(descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        die("cannot connect");
    return descriptor;
}

/* Sends and waits a moment for the other side to hang up. */
static void say_and_hang_up(const char *endpoint, const uint8_t *bytes, size_t size) {
    char heard[256];
    int descriptor = dial(endpoint);
    struct timeval patience = {.tv_usec = 200000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (size_t sent = 0; sent < size;) {
        ssize_t some = send(descriptor, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (some <= 0)
            break;
        sent += (size_t)some;
    }
    while (recv(descriptor, heard, sizeof heard, 0) > 0)
        continue;
    close(descriptor);
}

/* ZMTP 3.0: greeting with the NULL mechanism, then the READY command of a DEALER or PUSH. */
static size_t handshake(uint8_t *bytes, const char *type) {
    memset(bytes, 0, 64);
    memcpy(bytes, "\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL", 16);
    size_t name = strlen(type), body = 6 + 12 + 4 + name;
    uint8_t *ready = bytes + 64;
    ready[0] = 4; /* a command */
    ready[1] = (uint8_t)body;
    memcpy(ready + 2, "\5READY\x0bSocket-Type\0\0\0", 6 + 12 + 3);
    ready[2 + 6 + 12 + 3] = (uint8_t)name;
    memcpy(ready + 2 + 6 + 12 + 4, type, name);
    return 64 + 2 + body;
}

static int do_raw(char **arguments) {
    static uint8_t bytes[TEXT_MAX];
    const char *endpoint = arguments[0];
    fill_random(bytes, sizeof bytes);
    say_and_hang_up(endpoint, bytes, sizeof bytes);
    bytes[0] = 0xff; /* looks like a greeting at first */
    say_and_hang_up(endpoint, bytes, sizeof bytes);
    memcpy(bytes, "GET / HTTP/1.1\r\n\r\n", 18);
    say_and_hang_up(endpoint, bytes, 18);
    for (int type = 0; type < 2; type++) {
        size_t size = handshake(bytes, type ? "PUSH" : "DEALER");
        say_and_hang_up(endpoint, bytes, 32);          /* half a greeting */
        say_and_hang_up(endpoint, bytes, 64);          /* no READY */
        say_and_hang_up(endpoint, bytes, size - 3);    /* half of it */
        memcpy(bytes + size, "\2\0\1\0\0\0\0\0\0", 9); /* a frame of 2^48 bytes */
        say_and_hang_up(endpoint, bytes, TEXT_MAX);
        memcpy(bytes + size, "\2\xff\xff\xff\xff\xff\xff\xff\xff", 9);
        say_and_hang_up(endpoint, bytes, size + 9);
        memcpy(bytes + size, "\2\0\0\0\0\0\1\0\0", 9); /* 64 KiB announced, cut off */
        say_and_hang_up(endpoint, bytes, size + 1000);
        fill_random(bytes + size, 4096); /* frames of garbage */
        say_and_hang_up(endpoint, bytes, size + 4096);
    }
    return 0;
}

static int do_flood(char **arguments) {
    int open[64], count = atoi(arguments[1]);
    for (int i = 0; i < count; i++) {
        if (i >= 64)
            close(open[i % 64]);
        open[i % 64] = dial(arguments[0]);
        if (i % 3 == 0)
            (void)send(open[i % 64], "\xff\0\0\0\0\0\0\0\1\x7f\3", 11, MSG_NOSIGNAL);
    }
    for (int i = 0; i < (count < 64 ? count : 64); i++)
        close(open[i]);
    return 0;
}

/* ---- envelopes ---- */

static struct client open_client(const char *endpoint) {
    struct client client;
    struct error error;
    if (!client_open(&client, endpoint, NULL, &error))
        die(error.text);
    return client;
}

static void send_frames(struct client *client, const struct net_piece *pieces, unsigned count) {
    struct net_wait wait = {.socket = client->socket, .writable = true};
    for (int tries = 0; tries < 50; tries++) {
        if (net_send(client->socket, NULL, pieces, count) == NET_OK)
            return;
        while (net_next_event(client->socket).kind != NET_NOTHING)
            continue; /* else it does not wait */
        net_wait(&wait, 1, 100, NULL);
    }
    die("nothing can be sent");
}

static void send_bytes(struct client *client, const void *bytes, size_t size) {
    send_frames(client, &(struct net_piece){.data = bytes, .size = size}, 1);
}

static void send_message(struct client *client, const struct message *message) {
    const void *bytes;
    size_t size;
    struct error error;
    arena_reset(client->encoded);
    if (!message_encode(client->encoded, message, &bytes, &size, &error))
        die(error.text);
    send_bytes(client, bytes, size);
}

/* Everything said before has been read when this is answered; refusals of it may come first. */
static void wait_until_heard(struct client *client) {
    struct net_message received;
    struct message answer = {.type = MESSAGE_REFUSE};
    struct error error;
    send_message(client, &(struct message){.type = MESSAGE_STATUS_GET});
    while (answer.type != MESSAGE_STATUS) {
        if (!client_receive(client, 5000, &received, &answer, &error))
            die(error.text);
        net_message_close(&received);
    }
}

static uint64_t say_hello(struct client *client, const struct message_hello *hello) {
    struct net_message received;
    struct message answer;
    struct error error;
    const struct message question = {.type = MESSAGE_HELLO, .hello = *hello};
    if (!client_ask(client, &question, MESSAGE_WELCOME, &received, &answer, &error))
        die(error.text);
    net_message_close(&received);
    return answer.welcome.cluster;
}

static const struct message_hello as_client = {
    .protocol = PROTOCOL_VERSION, .version = STAGECOACH_VERSION, .role = ROLE_CLIENT, .name = "stranger"};
static const struct message_hello as_board = {.protocol = PROTOCOL_VERSION,
                                              .version = STAGECOACH_VERSION,
                                              .role = ROLE_STAGE,
                                              .name = "stranger",
                                              .data_endpoint = {"tcp://127.0.0.1:9", "tcp://127.0.0.1:10"},
                                              .memory_bytes = UINT64_MAX,
                                              .threads = UINT32_MAX,
                                              .kernels = "none"};

/* One of every kind, with numbers as large as they may be. */
static unsigned every_message(struct message *messages) {
    const struct tensor_entry *none = NULL;
    const struct rejected many = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX};
    const struct message all[] = {
        {.type = MESSAGE_WELCOME, .welcome = {.cluster = 1, .architecture = "none"}},
        {.type = MESSAGE_REFUSE, .refuse = {"go away", false}},
        {.type = MESSAGE_ASSIGN,
         .assign =
             {.epoch = {9}, .end = 1, .units = 2, .microbatch = 1, .config = "{}", .config_bytes = 2, .tensors = none}},
        {.type = MESSAGE_TENSOR_GET, .tensor_get = {.offset = UINT64_MAX / 2, .bytes = MESSAGE_CHUNK_MAX}},
        {.type = MESSAGE_TENSOR_GET, .tensor_get = {.bytes = 1}},
        {.type = MESSAGE_PROGRESS, .progress = {{1}, UINT64_MAX, UINT64_MAX, UINT64_MAX}},
        {.type = MESSAGE_READY, .ready = {{1}, UINT64_MAX}},
        {.type = MESSAGE_READY, .ready = {{UINT64_MAX}, UINT64_MAX}},
        {.type = MESSAGE_FAILED, .failed = {{1}, "%s%n%s%n no"}},
        {.type = MESSAGE_SERVE, .serve = {{1}}},
        {.type = MESSAGE_RETIRE, .retire = {{1}}},
        {.type = MESSAGE_RETIRE, .retire = {{UINT64_MAX}}},
        {.type = MESSAGE_RELEASED},
        {.type = MESSAGE_HEARTBEAT,
         .heartbeat = {.epoch = {1},
                       .microbatches = UINT64_MAX,
                       .items = UINT64_MAX,
                       .busy_ns = UINT64_MAX,
                       .serving_ns = 1,
                       .computing_ns = UINT64_MAX,
                       .loading_ns = UINT64_MAX,
                       .allocations = UINT64_MAX,
                       .memory_used = UINT64_MAX,
                       .rejected = many}},
        {.type = MESSAGE_SUBMIT, .submit = {.request = 1}}, /* without its file */
        {.type = MESSAGE_ANSWER, .answer = {.request = 1, .error = "no"}},
        {.type = MESSAGE_PROFILE, .profile = {.survey = 1, .json = "{\"units\": 1e9}", .json_bytes = 14}},
        {.type = MESSAGE_PROBE,
         .probe = {1, "tcp://127.0.0.1:9", .limit_ms = 1, .burst_ms = 1, .burst_bytes = UINT64_C(1) << 32}},
        {.type = MESSAGE_PROBED, .probed = {UINT64_MAX, "%s%n", .latency_s = 1e300, .bytes_per_second = 1e300}},
    };
    memcpy(messages, all, sizeof all);
    return sizeof all / sizeof all[0];
}
#define MESSAGES_MAX 32

static void send_every_message(struct client *client) {
    struct message messages[MESSAGES_MAX];
    unsigned count = every_message(messages);
    for (unsigned i = 0; i < count; i++)
        send_message(client, &messages[i]);
}

static void send_cut_short(struct client *client) {
    struct message messages[MESSAGES_MAX];
    unsigned count = every_message(messages);
    for (unsigned i = 0; i < count; i++) {
        const void *bytes;
        size_t size;
        struct error error;
        arena_reset(client->encoded);
        if (!message_encode(client->encoded, &messages[i], &bytes, &size, &error))
            die(error.text);
        for (size_t some = 0; some < size; some++)
            send_bytes(client, bytes, some);
        const struct net_piece pieces[4] = {
            {bytes, size, NULL, NULL}, {bytes, size, NULL, NULL}, {"", 0, NULL, NULL}, {"", 0, NULL, NULL}};
        for (unsigned frames = 2; frames <= 4; frames++)
            send_frames(client, pieces, frames);
    }
}

static void send_garbage(struct client *client) {
    static uint8_t bytes[1 << 20];
    fill_random(bytes, sizeof bytes);
    for (size_t size = 0; size < 300; size++)
        send_bytes(client, bytes + size, size);
    send_bytes(client, bytes, sizeof bytes);
    send_bytes(client, "", 0);
}

static int do_control(char **arguments) {
    for (int greeted = 0; greeted < 2; greeted++) {
        struct client client = open_client(arguments[0]);
        if (greeted)
            say_hello(&client, &as_client);
        send_every_message(&client);
        send_cut_short(&client);
        send_garbage(&client);
        wait_until_heard(&client);
        client_close(&client);
    }
    return 0;
}

static int do_board(char **arguments) {
    struct client client = open_client(arguments[0]);
    say_hello(&client, &as_board);
    send_every_message(&client);
    send_cut_short(&client);
    send_garbage(&client);
    wait_until_heard(&client);
    client_close(&client); /* without taking leave */
    return 0;
}

/* Says hello as a client, below ZeroMQ, and reads at least so much of what comes back. */
static int guest(const char *endpoint, ssize_t enough) {
    uint8_t bytes[256];
    const void *hello;
    size_t size = handshake(bytes, "DEALER"), length;
    struct error error;
    struct arena *arena = arena_new(4096);
    const struct message message = {.type = MESSAGE_HELLO, .hello = as_client};
    if (!message_encode(arena, &message, &hello, &length, &error))
        die(error.text);
    bytes[size++] = 0; /* a frame, the last */
    bytes[size++] = (uint8_t)length;
    memcpy(bytes + size, hello, length);
    int descriptor = dial(endpoint);
    (void)send(descriptor, bytes, size + length, MSG_NOSIGNAL);
    ssize_t heard = 0, some = 1;
    while (some > 0 && heard <= enough) {
        some = recv(descriptor, bytes, sizeof bytes, 0);
        heard += some;
    }
    arena_destroy(&arena);
    return descriptor;
}

static int do_guests(char **arguments) {
    for (int i = atoi(arguments[1]); i > 0; i--)
        close(guest(arguments[0], i % 2 ? 64 : 130)); /* hangs up before, or after, it is welcome */
    return 0;
}

static int do_crowd(char **arguments) {
    struct error error;
    struct net *net = net_new(&error); /* for its descriptors */
    for (int i = atoi(arguments[1]); i > 0; i--)
        (void)guest(arguments[0], 130);
    puts("here");
    fflush(stdout);
    pause();
    net_destroy(&net, 0);
    return 0;
}

static void submit_all(struct client *client, const void *file, size_t size, uint32_t count) {
    const void *bytes;
    size_t length;
    struct error error;
    for (uint32_t item = 0; item < count; item++) {
        const struct message message = {.type = MESSAGE_SUBMIT, .submit = {.request = 77, .item = item}};
        arena_reset(client->encoded);
        if (!message_encode(client->encoded, &message, &bytes, &length, &error))
            die(error.text);
        const struct net_piece pieces[2] = {{.data = bytes, .size = length}, {.data = file, .size = size}};
        send_frames(client, pieces, 2);
    }
}

/* Reads answers until none comes for a while; counts those that are right and come for the first time. */
static uint32_t count_answers(struct client *client, uint32_t count, uint32_t *others) {
    struct net_message received;
    struct message message;
    struct error error;
    bool *seen = allocate(count, sizeof *seen);
    uint32_t answers = 0;
    while (client_receive(client, answers < count ? 30000 : 1000, &received, &message, &error)) {
        bool good = message.type == MESSAGE_ANSWER && message.answer.request == 77 && message.answer.item < count &&
                    !message.answer.error[0] && !seen[message.answer.item];
        answers += good;
        *others += !good;
        if (good)
            seen[message.answer.item] = true;
        net_message_close(&received);
    }
    release(seen);
    return answers;
}

static int do_again(char **arguments) {
    struct error error;
    void *file;
    size_t size;
    uint32_t count = (uint32_t)atoi(arguments[2]), others = 0;
    struct client client = open_client(arguments[0]);
    if (!file_read(arguments[1], 1 << 20, &file, &size, &error))
        die(error.text);
    say_hello(&client, &as_client);
    submit_all(&client, file, size, count);
    wait_until_heard(&client);
    if (!client_reopen(&client, &error))
        die(error.text);
    say_hello(&client, &as_client);
    submit_all(&client, file, size, count);
    puts("submitted twice");
    fflush(stdout);
    uint32_t answers = count_answers(&client, count, &others);
    printf("%u answers%s\n", answers + others, answers == count && others == 0 ? ", each once" : "");
    release(file);
    client_close(&client);
    return 0;
}

static int do_hello(char **arguments) {
    struct client client = open_client(arguments[0]);
    struct message_hello hello = as_board;
    hello.protocol = (uint32_t)atoi(arguments[1]);
    hello.version = arguments[2];
    say_hello(&client, &hello);
    puts("welcome");
    client_close(&client);
    return 0;
}

static int do_named(char **arguments) {
    struct client client = open_client(arguments[0]);
    struct message_hello hello = as_board;
    hello.data_endpoint[0] = hello.data_endpoint[1] = arguments[1];
    say_hello(&client, &hello);
    puts("welcome");
    client_close(&client);
    return 0;
}

/* ---- microbatches ---- */

struct forger {
    struct client client; /* its socket is replaced by a PUSH to the data port */
    struct data_header right;
    uint8_t *payload; /* zeroes, more than any part has */
    size_t bytes;     /* of one item, first part */
    size_t second;    /* of the second part, 0: there is none */
};

static void forge(struct forger *forger, const struct data_header *header, size_t bytes, unsigned frames) {
    uint8_t encoded[DATA_HEADER_MAX];
    struct net_piece pieces[NET_FRAMES_MAX] = {{.data = encoded, .size = data_header_encode(header, encoded)},
                                               {.data = forger->payload, .size = bytes},
                                               {.data = forger->payload, .size = forger->second},
                                               {.data = forger->payload, .size = 1}};
    send_frames(&forger->client, pieces, frames);
}

static struct data_header right_header(const struct model_config *config, unsigned cut, uint64_t epoch,
                                       uint64_t cluster) {
    struct payload payload;
    model_cut(config, cut, &payload);
    struct data_header header = {
        .cluster = cluster, .epoch = {epoch}, .sequence = {1}, .cut = cut, .items = 1, .parts = payload.parts};
    for (unsigned p = 0; p < payload.parts; p++) {
        header.part[p].type = payload.part[p].type;
        header.part[p].rank = payload.part[p].rank;
        memcpy(header.part[p].shape, payload.part[p].shape, sizeof header.part[p].shape);
    }
    return header;
}

static struct forger open_forger(char **arguments) {
    struct error error;
    struct payload payload;
    struct forger forger = {.client = open_client(arguments[1])};
    uint64_t cluster = say_hello(&forger.client, &as_client);
    struct model *model = model_open(arguments[2], &error);
    if (!model)
        die(error.text);
    unsigned cut = (unsigned)atoi(arguments[3]);
    forger.right = right_header(model_borrow_config(model), cut, strtoull(arguments[4], NULL, 10), cluster);
    model_cut(model_borrow_config(model), cut, &payload);
    forger.bytes = payload_part_bytes(&payload.part[0]);
    forger.second = payload.parts > 1 ? payload_part_bytes(&payload.part[1]) : 0;
    forger.payload = allocate(2, forger.bytes + forger.second + 4);
    model_close(&model);
    const struct net_options options = {.frame_max = 4096, .queue = 1000};
    net_close(&forger.client.socket, 0);
    forger.client.socket = net_connect(forger.client.net, NET_PUSH, arguments[0], &options, &error);
    if (!forger.client.socket)
        die(error.text);
    return forger;
}

static void send_damaged_headers(struct forger *forger) {
    uint8_t encoded[DATA_HEADER_MAX], other[DATA_HEADER_MAX];
    size_t size = data_header_encode(&forger->right, encoded);
    for (size_t some = 0; some < size; some++)
        send_bytes(&forger->client, encoded, some);
    for (size_t at = 0; at < size; at++) {
        memcpy(other, encoded, size);
        other[at] ^= 0x55;
        const struct net_piece pieces[2] = {{.data = other, .size = size},
                                            {.data = forger->payload, .size = forger->bytes - 1}};
        send_frames(&forger->client, pieces, 2); /* a payload that is too short for any of them */
    }
    fill_random(other, sizeof other);
    for (size_t some = 0; some < sizeof other; some++)
        send_bytes(&forger->client, other, some);
}

static void send_wrong_microbatches(struct forger *forger) {
    const struct data_header right = forger->right;
    unsigned frames = 1 + right.parts;
    struct data_header wrong[10];
    for (unsigned i = 0; i < 10; i++)
        wrong[i] = right;
    wrong[0].cluster ^= 1;
    wrong[1].epoch.number++;
    wrong[2].epoch.number = 0;
    wrong[3].sequence.number = 0;
    wrong[4].cut++;
    wrong[5].items = MESSAGE_ITEMS_MAX;
    wrong[6].part[0].shape[0]++;
    wrong[7].part[0].type ^= 1;
    wrong[8].part[0].rank = 1;
    wrong[9].sequence.number = 1; /* replayed */
    for (unsigned i = 0; i < 10; i++)
        forge(forger, &wrong[i], forger->bytes, frames);
    struct data_header next = right;
    next.sequence.number = (uint64_t)1 << 40; /* what follows is wrong although it was never here before */
    next.checksum = 1;
    forge(forger, &next, forger->bytes, frames);
    next.sequence.number++;
    forge(forger, &next, forger->bytes + 4, frames);
    forge(forger, &next, forger->bytes - 4, frames);
    forge(forger, &next, 0, frames);
    for (unsigned other = 1; other <= NET_FRAMES_MAX; other++)
        if (other != frames)
            forge(forger, &next, forger->bytes, other);
}

static void send_probes(struct forger *forger) {
    uint8_t encoded[PROBE_HEADER_MAX];
    for (int kind = PROBE_PING; kind <= PROBE_LAST; kind++) {
        const struct probe_header header = {forger->right.cluster, (enum probe_kind)kind, UINT64_MAX};
        const struct net_piece pieces[3] = {{.data = encoded, .size = probe_header_encode(&header, encoded)},
                                            {.data = forger->payload, .size = forger->bytes},
                                            {.data = forger->payload, .size = 1}};
        for (unsigned frames = 1; frames <= 3; frames++)
            send_frames(&forger->client, pieces, frames);
        for (size_t some = 1; some < pieces[0].size; some++)
            send_bytes(&forger->client, encoded, some);
    }
}

static int do_data(char **arguments) {
    struct forger forger = open_forger(arguments);
    send_probes(&forger);
    send_wrong_microbatches(&forger);
    send_damaged_headers(&forger);
    net_close(&forger.client.socket, 5000);
    net_destroy(&forger.client.net, 5000);
    client_close(&forger.client);
    release(forger.payload);
    return 0;
}

/* ---- a board out of reach ---- */

static void tell_profile(struct client *client, const struct message_profile_get *get) {
    struct error error;
    struct profile *profile = allocate(1, sizeof *profile);
    struct model_config *config =
        model_config_new(get->config, get->config_bytes, get->preprocessor, get->preprocessor_bytes, &error);
    if (!config)
        die(error.text);
    profile_fingerprint(config, profile->fingerprint);
    snprintf(profile->version, sizeof profile->version, "%s", STAGECOACH_VERSION);
    snprintf(profile->kernels, sizeof profile->kernels, "ref");
    profile->threads = THREADS_MANY;
    profile->sizes = 1;
    profile->units = model_units(config);
    profile->times[0].microbatch = get->microbatches[0];
    for (unsigned unit = 0; unit < profile->units; unit++)
        profile->times[0].unit_s[unit] = 1e-6; /* too good to be left out */
    char *json = profile_to_json(profile);
    send_message(
        client,
        &(struct message){.type = MESSAGE_PROFILE,
                          .profile = {.survey = get->survey, .error = "", .json = json, .json_bytes = strlen(json)}});
    release(json);
    release(profile);
    model_config_destroy(&config);
}

/* Plays a board that nobody reaches until it is asked for a profile, or for ever. False when the coordinator is gone.
 */
static bool play_board(struct client *client, const char *name, bool tells) {
    struct message_hello hello = as_board;
    hello.name = name;
    hello.threads = THREADS_MANY;
    hello.kernels = "ref";
    say_hello(client, &hello);
    for (;;) {
        struct net_message received;
        struct message message;
        struct error error;
        send_message(client, &(struct message){.type = MESSAGE_HEARTBEAT});
        if (client_receive(client, 300, &received, &message, &error)) {
            bool asked = message.type == MESSAGE_PROFILE_GET;
            if (asked && tells)
                tell_profile(client, &message.profile_get);
            net_message_close(&received);
            if (asked && !tells)
                return true;
        } else if (error.code != ERROR_TIMEOUT)
            return false;
    }
}

static int do_deaf(char **arguments) {
    struct client client = open_client(arguments[0]);
    play_board(&client, arguments[1], true);
    return 0;
}

static int do_mortal(char **arguments) {
    for (;;) {
        struct client client = open_client(arguments[0]);
        if (!play_board(&client, arguments[1], false))
            return 0;
        client_close(&client);
        usleep(200000);
    }
}

/* ---- */

static int do_json(char **arguments) {
    char *line = NULL;
    size_t room = 0;
    int status = 0;
    (void)arguments;
    for (ssize_t length; (length = getline(&line, &room, stdin)) > 0;) {
        struct error error;
        struct json *document = json_parse(line, (size_t)length, "line", &error);
        if (!document || json_kind(document) != JSON_KIND_OBJECT) {
            printf("%s: %s", document ? "not an object" : error.text, line);
            status = 1;
        }
        json_destroy(&document);
    }
    free(line); /* getline's */
    return status;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        int arguments;
        int (*run)(char **arguments);
    } ways[] = {
        {"raw", 1, do_raw},       {"flood", 2, do_flood}, {"guests", 2, do_guests}, {"control", 1, do_control},
        {"board", 1, do_board},   {"data", 5, do_data},   {"hello", 3, do_hello},   {"json", 0, do_json},
        {"deaf", 2, do_deaf},     {"named", 2, do_named}, {"crowd", 2, do_crowd},   {"again", 3, do_again},
        {"mortal", 2, do_mortal},
    };
    for (size_t i = 0; argc > 1 && i < sizeof ways / sizeof ways[0]; i++)
        if (strcmp(argv[1], ways[i].name) == 0 && argc == 2 + ways[i].arguments)
            return ways[i].run(argv + 2);
    fputs("usage: see test/e2e/hostile.c\n", stderr);
    return 2;
}
