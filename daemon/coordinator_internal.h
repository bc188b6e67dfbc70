/* What the parts of the coordinator daemon share: coordinator.c (start, loop, effects), coordinator_boards.c (messages
 * of boards, plans, weights), coordinator_clients.c (submissions, microbatches, answers), coordinator_status.c. All of
 * it runs in the I/O thread. */
#ifndef DAEMON_COORDINATOR_INTERNAL_H
#define DAEMON_COORDINATOR_INTERNAL_H

#include "daemon/coordinator.h"
#include "daemon/core/coordinator_core.h"
#include "daemon/manifest.h"
#include "daemon/net/net.h"
#include "daemon/preparation.h"
#include "model/model.h"
#include "proto/codec.h"

#include <pthread.h>

#define PEERS_MAX    1024
#define RATE_SECONDS 10
#define BUSY_BEATS   10 /* heartbeats over which the busy share is told */

/* Someone who has said hello, board or client. */
struct peer {
    struct net_peer name;
    int connection;
    enum role role;
    unsigned board;   /* role stage */
    unsigned waiting; /* role client: items it has unanswered */
};

/* A submitted item from its arrival to its answer. */
struct item {
    struct preparation_job job;
    unsigned number; /* its index, by which the core knows it */
    struct net_peer client;
    uint64_t request;
    uint32_t position; /* the client's number for it */
    uint32_t top;
    bool logits;
    struct net_frame file;
    struct item *next_free;
};

/* Input pixels of a microbatch, while ZeroMQ sends them. */
struct flight_buffer {
    struct coordinator *coordinator;
    uint8_t *pixels;
    struct flight_buffer *next_free;
};

struct coordinator {
    const struct coordinator_options *options;
    struct model *model;
    const struct model_config *config;
    struct manifest *manifest;
    struct preparation *preparation;
    uint64_t cluster;
    mono_t started;
    char policy[16];

    struct net *net;
    struct net_socket *control, *results, *first_stage;
    int signals;
    bool shutdown, stop;
    struct arena *decoded, *encoded;

    struct coordinator_core core;
    struct coordinator_effects effects;
    bool plan_wanted;
    unsigned plan_boards[CORE_BOARDS_MAX], plan_board_count;

    unsigned peers;
    struct peer peer[PEERS_MAX];
    struct {
        char endpoint[NET_ENDPOINT_MAX];
        char kernels[16];
        uint32_t threads;
        struct message_progress progress;
        uint64_t weight_bytes;
        struct message_heartbeat beats[BUSY_BEATS]; /* the last ones of an epoch, a ring */
        unsigned beat_count;
    } board[CORE_BOARDS_MAX]; /* beside core.board */

    struct item *items; /* [CORE_ITEMS_MAX] */
    struct item *free_items;
    unsigned preparing; /* items with the preparers */
    size_t file_bytes;  /* of their files */
    size_t pixel_bytes, answer_size;
    pthread_mutex_t buffers_lock;
    struct flight_buffer *free_buffers; /* under buffers_lock: ZeroMQ gives them back from its own thread */
    const uint8_t *result_rows;         /* of the result being handled */
    float *answer_row;

    struct rejected rejected;
    unsigned rate[RATE_SECONDS]; /* items answered in each of the last seconds */
    int64_t rate_second;
    mono_t complained; /* when a bad frame was last logged */
    mono_t refused_at; /* when a refused board was */
    unsigned refusals;
};

/* coordinator.c */
void coordinator_step(struct coordinator *c, const struct coordinator_event *event);
bool coordinator_send(struct coordinator *c, const struct net_peer *peer, const struct message *message,
                      const struct net_piece *raw);
void coordinator_complain(struct coordinator *c, const char *what, const struct error *error);
struct peer *peer_find(struct coordinator *c, const struct net_peer *name);
struct peer *peer_of_board(struct coordinator *c, unsigned board);
/* The peer's place, taken if it is new; NULL when there is no room. */
struct peer *peer_add(struct coordinator *c, const struct net_message *received, enum role role);
void peer_remove(struct coordinator *c, struct peer *peer);

/* coordinator_boards.c: what boards say, and what the core wants of them */
void boards_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello);
void boards_message(struct coordinator *c, struct peer *peer, const struct message *message);
void boards_plan(struct coordinator *c);
void boards_assign(struct coordinator *c, unsigned board, epoch_t epoch);
void boards_serve(struct coordinator *c, epoch_t epoch);
void boards_release(struct coordinator *c, unsigned board);

/* coordinator_clients.c */
bool clients_init(struct coordinator *c, struct error *error);
void clients_close(struct coordinator *c);
void clients_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello);
void clients_submit(struct coordinator *c, struct net_message *received, const struct message_submit *submit);
void clients_prepared(struct coordinator *c);
void clients_dispatch(struct coordinator *c, const struct coordinator_effect *effect);
void clients_result(struct coordinator *c, struct net_message *received);
void clients_answer(struct coordinator *c, unsigned item, unsigned row);
void clients_fail(struct coordinator *c, unsigned item, const char *text);

/* coordinator_status.c */
void status_send(struct coordinator *c, const struct net_peer *peer);
void status_count_answer(struct coordinator *c);
void status_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat);

#endif
