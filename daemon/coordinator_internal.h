/* What the parts of the coordinator daemon share: coordinator.c (start, loop, effects), coordinator_boards.c (messages
 * of boards, slices, weights), coordinator_holders.c (who else has weights), coordinator_gate.c (who may say what),
 * coordinator_survey.c (measuring), coordinator_plan.c (plans), coordinator_clients.c (submissions, microbatches,
 * answers), coordinator_events.c (what is told, drains), coordinator_pace.c (boards that are
 * slower or faster than planned with), coordinator_status.c. All of it runs in the I/O thread. */
#ifndef DAEMON_COORDINATOR_INTERNAL_H
#define DAEMON_COORDINATOR_INTERNAL_H

#include "daemon/coordinator.h"
#include "daemon/core/coordinator_core.h"
#include "daemon/core/pace_core.h"
#include "daemon/core/survey_core.h"
#include "daemon/event_log.h"
#include "daemon/identity.h"
#include "daemon/keyring.h"
#include "daemon/link_store.h"
#include "daemon/manifest.h"
#include "daemon/net/net.h"
#include "daemon/planner.h"
#include "daemon/preparation.h"
#include "daemon/prober.h"
#include "daemon/profile.h"
#include "daemon/state_writer.h"
#include "daemon/strangers.h"
#include "model/model.h"
#include "proto/codec.h"

#include <pthread.h>

#define PEERS_MAX       1024
#define RATE_SECONDS    10
#define PREPARED_IMAGES 64  /* over which the time of preparation is told */
#define REACH_WORDS_MAX 400 /* of why a board is out of reach */
#define BUSY_BEATS      10  /* heartbeats over which the busy share is told */

/* Someone who has said hello, board or client. */
struct peer {
    struct net_peer name;
    int connection;
    struct public_key key; /* where there are keys */
    enum role role;
    unsigned board;   /* role stage */
    unsigned waiting; /* role client: items it has unanswered */
};

/* A submitted item from its arrival to its answer. */
struct item {
    struct preparation_job job;
    enum { ITEM_FREE, ITEM_PREPARING, ITEM_ADMITTED } state; /* admitted: known to the core */
    unsigned number;                                         /* its index, by which the core knows it */
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

/* A plan that is wanted, from the core's asking to its being told. */
struct plan_work {
    bool wanted;             /* and not begun */
    bool noted;              /* who the boards are is in joined */
    struct planner *planner; /* NULL: none at work */
    bool abandoned;          /* whatever it finds is not wanted */
    unsigned boards[CORE_BOARDS_MAX], board_count;
    uint64_t joined[CORE_BOARDS_MAX]; /* of each of them once the plan was asked for */
    double pace[CORE_BOARDS_MAX];     /* that the planner counts with for each of them; 0: its profile is another now */
};

struct survey {
    bool needed; /* else nothing is measured and boards count as equal */
    double budget_s;
    char fingerprint[33]; /* of the model */
    struct survey_core core;
    struct prober prober;                                   /* the coordinator's end */
    struct state_writer *writer;                            /* NULL: nothing is kept */
    struct link_list links;                                 /* what the coordinator before knew of them, not used yet */
    struct profile *profile[CORE_BOARDS_MAX];               /* owned; the last one known, NULL: none */
    char profile_of[CORE_BOARDS_MAX][MESSAGE_NAME_MAX + 1]; /* whose */
    uint64_t probe_of[SURVEY_ENDS];                         /* the last one that each took part in */
    char fault[SURVEY_ENDS][320];                           /* what its end of the last probe said of a failure */
    char unreached[CORE_BOARDS_MAX][320];                   /* why the last one between it and the coordinator did */
    char words[128];                                        /* logged last */
    mono_t logged, ticked, kept;                            /* kept: links, in the file */
    bool was_busy;
    bool replan; /* a newcomer is measured that no plan was asked for with */
};

/* Tensors that a board may have in its cache. */
struct holdings {
    char endpoint[NET_ENDPOINT_MAX]; /* where it lends them; empty: nowhere */
    uint64_t *list;                  /* beginnings of their hashes, sorted; owned */
    size_t count, capacity;
};

struct pace {
    struct pace_core core;
    double planned[MESSAGE_LANES][CORE_BOARDS_MAX]; /* that the plan in each lane counts with; 0: not known, or its
                                                       times are not those of the profile any more */
};

/* Who may come in, and as what. */
struct gate {
    bool on; /* else there are no keys */
    struct key_pair keys;
    struct keyring *keyring; /* as it was last read; owned */
    int64_t next_expiry;     /* of an open token, seconds since 1970; 0: none expires */
    struct public_key owner; /* of the client whose keys lie beside the coordinator's: may drain boards */
    struct public_key last_stage[MESSAGE_LANES]; /* of the last pipeline in each lane: its results come from it alone */
    int watch;                                   /* of the state directory */
    bool outdated, told;                         /* the list has changed and could not be read yet; that was logged */
    mono_t read_at;                              /* when that was last tried */
    mono_t denied_logged;
    struct strangers strangers;
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

    struct gate gate;
    struct net *net;
    struct net_socket *control, *results;
    struct net_socket *first_stage[MESSAGE_LANES]; /* of the pipeline in each lane, NULL: there is none */
    int signals;
    bool shutdown, stop;
    struct arena *decoded, *encoded;

    struct coordinator_core core;
    struct coordinator_effects effects;
    struct event_log events;
    struct plan_work plan_work;
    struct survey survey;
    struct pace pace;
    uint64_t joins;

    unsigned peers;
    struct peer peer[PEERS_MAX];
    struct {
        char endpoint[MESSAGE_LANES][NET_ENDPOINT_MAX]; /* where it takes microbatches */
        char kernels[16];
        struct public_key key; /* where there are keys */
        uint32_t threads;
        uint64_t instance; /* of its process */
        uint64_t joined;   /* the how manieth board to say hello it was */
        bool measured;     /* or planned with: nothing is to be made of it any more */
        struct message_progress progress;
        uint64_t weight_bytes;
        struct message_heartbeat beats[BUSY_BEATS]; /* the last ones of an epoch, a ring */
        unsigned beat_count;
        uint64_t busy_before_ns, serving_before_ns; /* in the epochs before that of the last heartbeat */
        bool drained;                               /* on the wish of drained_by, who waits for it to have left */
        struct net_peer drained_by;
    } board[CORE_BOARDS_MAX]; /* beside core.board */

    struct holdings holdings[CORE_BOARDS_MAX];
    struct message_holder named[MESSAGE_HOLDERS_MAX]; /* memory of holders_name */
    char named_endpoint[MESSAGE_HOLDERS_MAX][NET_ENDPOINT_MAX];
    uint32_t *tensor_holders; /* likewise */
    size_t tensor_holders_capacity;
    uint64_t weights_sent; /* bytes of tensors, by ourselves */

    struct item *items; /* [CORE_ITEMS_MAX] */
    struct item *free_items;
    unsigned window;                    /* of unanswered items, that every client was told */
    unsigned preparing;                 /* items with the preparers */
    size_t file_bytes;                  /* of their files */
    double prepared_s[PREPARED_IMAGES]; /* that a preparer took for each of the last images, a ring */
    uint64_t prepared;
    size_t pixel_bytes, answer_size;
    pthread_mutex_t buffers_lock;
    struct flight_buffer *free_buffers; /* under buffers_lock: ZeroMQ gives them back from its own thread */
    const uint8_t *result_rows;         /* of the result being handled */
    float *answer_row;

    struct rejected rejected;
    unsigned rate[RATE_SECONDS]; /* items answered in each of the last seconds */
    int64_t rate_second;
    struct { /* results that came while the pipeline was full, of one epoch */
        epoch_t epoch;
        mono_t last; /* when the one before came, if the pipeline has been full since */
        bool full;
        int64_t time_ns;
        uint64_t items;
    } flow;
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
/* The peer's place, taken if it is new; NULL when there is no room. Clients leave some for boards. */
struct peer *peer_add(struct coordinator *c, const struct net_message *received, enum role role);
void peer_remove(struct coordinator *c, struct peer *peer);
/* Its connection is over, and it was removed: a board is lost, what a client waited for is withdrawn. */
void peer_gone(struct coordinator *c, const struct peer *gone);

/* coordinator_gate.c */
/* Decides whether there are keys and reads or makes them; before the sockets are opened. */
bool gate_prepare(struct coordinator *c, struct error *error);
/* Lets in those on the list; after the sockets are opened. Prints a token when nobody ever joined. */
bool gate_open(struct coordinator *c, struct error *error);
void gate_close(struct coordinator *c);
/* Has the list changed? Then it is put in force. */
void gate_turn(struct coordinator *c);
/* May this be said by whoever said it? If not it has been dealt with. */
bool gate_passes(struct coordinator *c, const struct net_message *received, const struct message *message);
/* net_receive said NET_DENIED: its connection is ended. */
void gate_denied(struct coordinator *c, const struct net_message *received);
/* Does this message of the results socket come from the last stage of that epoch, as far as keys tell? If not it has
 * been dealt with. */
bool gate_passes_result(struct coordinator *c, const struct net_message *received, epoch_t epoch);
/* NULL where there are no keys. */
const struct public_key *gate_key_of(const struct coordinator *c, unsigned board);
const struct public_key *gate_own_key(const struct coordinator *c);

/* coordinator_boards.c: what boards say, and what the core wants of them */
void boards_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello);
void boards_message(struct coordinator *c, struct peer *peer, const struct message *message);
/* Where this coordinator takes results, at the address that the board reaches it by. */
void boards_results_endpoint(const struct coordinator *c, unsigned board, char out[NET_ENDPOINT_MAX]);
/* Another board's endpoint as this board has to be told it: with keys, one on this machine's loopback interface may
 * stand for all of its addresses (stage_data.c), and is told to boards elsewhere with the one that they reach it by. */
void boards_endpoint_for(const struct coordinator *c, unsigned board, const char *endpoint, char out[NET_ENDPOINT_MAX]);
void boards_assign(struct coordinator *c, unsigned board, epoch_t epoch);
void boards_serve(struct coordinator *c, epoch_t epoch);
/* Nothing will come of that epoch any more. */
void boards_retire(struct coordinator *c, epoch_t epoch);
void boards_release(struct coordinator *c, unsigned board);

/* coordinator_holders.c */
/* Its hello says what it has. */
void holders_joined(struct coordinator *c, unsigned board, const struct message_hello *hello);
/* It has loaded these units. */
void holders_loaded(struct coordinator *c, unsigned board, struct slice slice);
/* Names in an assignment, whose tensors are listed, the boards that may lend them, until the next call. */
void holders_name(struct coordinator *c, unsigned asker, struct message_assign *assign);
/* Where there are keys: tells all boards whose are here. */
void holders_tell_fleet(struct coordinator *c);
void holders_close(struct coordinator *c);

/* coordinator_plan.c */
/* CORE_PLAN was given. */
void plan_asked(struct coordinator *c);
/* Is this board one of those that the plan under way is asked for? */
bool plan_includes(const struct coordinator *c, unsigned board);
/* Begins a plan when all that it needs is there, and tells the core when it is made. */
void plan_turn(struct coordinator *c);
/* Waits for the planner, at most its time limit. */
void plan_close(struct coordinator *c);

/* coordinator_survey.c */
/* False with an error when a thread cannot start. */
bool survey_init(struct coordinator *c, struct error *error);
/* After net_destroy. */
void survey_close(struct coordinator *c);
void survey_joined(struct coordinator *c, unsigned board);
void survey_told_profile(struct coordinator *c, unsigned board, const struct message_profile *message);
void survey_told_probe(struct coordinator *c, unsigned end, const struct message_probed *probed);
/* Is this message of the results socket a probe's? Then it has been dealt with. */
bool survey_arrived(struct coordinator *c, const struct net_message *received);
void survey_turn(struct coordinator *c);
/* Are these boards measured, as far as they are to be? Asking has them measured. */
bool survey_ready(struct coordinator *c, const unsigned *boards, unsigned count);
/* A plan is asked for: what failed may be tried again. */
void survey_plan_asked(struct coordinator *c);
/* Is this board of no use because nobody reaches it? Then text (REACH_WORDS_MAX) says when it is tried again, and why.
 */
bool survey_out_of_reach(const struct coordinator *c, unsigned board, char *text, size_t size);
/* Has it links that were tried in vain? Then text (REACH_WORDS_MAX) names those ends. */
bool survey_unlinked(const struct coordinator *c, unsigned board, char *text, size_t size);
/* Is anything being measured? */
bool survey_busy(const struct coordinator *c);
/* "measuring boards: 3 of 4 profiled, links 5 of 10" */
void survey_words(const struct coordinator *c, char *text, size_t size);
/* The board's profile with times for this microbatch, and those times; NULL when there is none or none is wanted. */
const struct profile *survey_profile(const struct coordinator *c, unsigned board);
const double *survey_unit_seconds(const struct coordinator *c, unsigned board);

/* coordinator_clients.c */
bool clients_init(struct coordinator *c, struct error *error);
void clients_close(struct coordinator *c);
void clients_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello);
/* The fleet may have grown: who submits already is told its new window, or it could not fill the longer pipeline. */
void clients_widen(struct coordinator *c);
void clients_submit(struct coordinator *c, struct net_message *received, const struct message_submit *submit);
void clients_prepared(struct coordinator *c);
void clients_dispatch(struct coordinator *c, const struct coordinator_effect *effect);
void clients_result(struct coordinator *c, struct net_message *received);
void clients_answer(struct coordinator *c, unsigned item, unsigned row);
void clients_fail(struct coordinator *c, unsigned item, const char *text);
/* The core has let go of an item that was withdrawn. */
void clients_drop(struct coordinator *c, unsigned item);
/* A client's connection is over, and it is no peer any more: what it still waited for is withdrawn. */
void clients_gone(struct coordinator *c, const struct net_peer *client);

/* coordinator_events.c */
/* CORE_EVENT was given: dates, keeps and logs it. */
void events_tell(struct coordinator *c, const struct fleet_event *event);
/* A client asks that a board be let go without loss. */
void events_drain(struct coordinator *c, const struct net_message *received, const struct message_drain *drain);

/* coordinator_pace.c */
/* After survey_init. */
void pace_init(struct coordinator *c);
/* The board has started anew, or has another profile. */
void pace_forget(struct coordinator *c, unsigned board);
/* What its microbatches take, by what its profile says; 1 until more is known. */
double pace_factor(const struct coordinator *c, unsigned board);
/* The plan that was asked for last has become this epoch's. */
void pace_planned(struct coordinator *c, epoch_t epoch);
/* What a full microbatch is expected to take there now, and the pipeline between two. */
double pace_compute_seconds(const struct coordinator *c, epoch_t epoch, const struct plan_stage *stage);
double pace_period_seconds(const struct coordinator *c, const struct core_pipeline *pipeline);
void pace_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat);

/* coordinator_status.c */
void status_send(struct coordinator *c, const struct net_peer *peer);
void status_count_answer(struct coordinator *c);
/* A preparer has taken so long for an image. */
void status_prepared(struct coordinator *c, double seconds);
/* A result of so many items has come, and the core knows. */
void status_result(struct coordinator *c, unsigned items);
void status_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat);

#endif
