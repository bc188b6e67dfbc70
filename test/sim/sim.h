/* A whole fleet in one process under virtual time: one coordinator core, up to 16 stage cores, the network between them
 * and the people who break it. A history is a function of its seed alone.
 *
 *   world.c        clock, agenda, dice, one history from beginning to end
 *   network.c      sockets as ZeroMQ's: connections, queues with high-water marks, delays, partitions, losses
 *   coordinator.c  daemon/coordinator*.c without sockets: the loop's order, peers, measurements
 *   planner.c      daemon/coordinator_plan.c: plans by the real partitioner, in a thread
 *   board.c        daemon/stage*.c likewise: the loop's order, input and output slots, the compute worker
 *   loader.c       the loader: units fetched from the coordinator and cached, memory, failures
 *   clients.c      items from submission to answer, and what their answers must be
 *   chaos.c        what goes wrong, and how it ends
 *   invariants.c   what holds after every step
 *
 * The "model" is a chain of hashes, one per unit: an answer is right only if every unit was applied once and in order.
 * Nothing here asserts: the first violation is kept in world->failure and ends the history, so that a test can demand
 * one. */
#ifndef TEST_SIM_SIM_H
#define TEST_SIM_SIM_H

#include "daemon/core/coordinator_core.h"
#include "daemon/core/fetch_core.h"
#include "daemon/core/pace_core.h"
#include "daemon/core/stage_core.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_BOARDS      16
#define SIM_COORDINATOR SIM_BOARDS /* its number as a node */
#define SIM_NODES       (SIM_BOARDS + 1)
#define SIM_UNITS       32
#define SIM_ITEMS       512 /* of a history */
#define SIM_MICROBATCH  4
#define SIM_CONNECTIONS 512
#define SIM_PACKETS     16384
#define SIM_AGENDA      32768
#define SIM_EPOCHS      1024 /* whose plans are remembered */
#define SIM_MUSEUM      16
#define SIM_NEVER       INT64_MAX

/* Sockets that connect, by number; and an output slot of any lane as one number. */
#define SIM_CONTROL_OF(board)    (3 * (board))
#define SIM_NEXT_OF(board, lane) (3 * (board) + 1 + (lane))
#define SIM_FIRST_STAGE(lane)    (3 * SIM_BOARDS + (lane))
#define SIM_SOCKETS              (3 * SIM_BOARDS + STAGE_LANES)
#define SIM_SLOT(lane, output)   ((lane)*STAGE_OUTPUTS + (output))

/* Ways to break the interpreters, each of which some invariant must notice. */
enum sim_sabotage {
    SIM_SOUND,
    SIM_NO_REPLAY,       /* what was in flight when an epoch broke is forgotten */
    SIM_REPLAY_UNSENT,   /* it is remembered, but sending it again is not carried out */
    SIM_REPLAY_ANSWERED, /* a microbatch is answered a second time when its epoch breaks */
    SIM_RESULT_BLIND,    /* any result is taken for that of the oldest microbatch */
    SIM_SKIP_UNIT,       /* a stage that loads a slice for the second time leaves out its last unit */
    SIM_EARLY_LET_GO,    /* an output slot is given back while the network still reads it */
    SIM_OVERFULL,        /* the planner does not look at memory */
    SIM_RETIRE_EARLY,    /* the old epoch is retired while it still drains */
    SIM_SABOTAGES,
};

struct sim_endpoint {
    unsigned node, port; /* port 0: none */
};

/* A message of any kind, or (type 0) a microbatch. */
struct packet {
    struct packet *next;
    mono_t arrives;
    unsigned type; /* enum message_type */
    uint64_t cluster;
    epoch_t epoch;
    uint32_t first, end, microbatch, unit;
    struct sim_endpoint endpoint;
    uint64_t memory;
    bool again, damaged;
    const char *text; /* static */
    struct message_heartbeat heartbeat;
    struct data_header header;
    uint64_t value[SIM_MICROBATCH];
    int output; /* lane and slot of the sender (SIM_SLOT) that it is read from until it is on the wire; -1: none */
};

struct fifo {
    struct packet *first, *last;
    unsigned count;
};

/* A socket that connects, and keeps trying. */
struct sim_socket {
    bool open;
    unsigned generation;
    unsigned node;
    bool control;
    struct sim_endpoint target;
    int connection; /* -1: none */
    int64_t pause;
};

enum { SIM_UP, SIM_DOWN };

/* One TCP connection with both ends' queues. Direction SIM_UP is from the end that connected. */
struct connection {
    bool used, control;
    unsigned id; /* unique */
    unsigned from, to;
    unsigned lane; /* of the end that was connected to */
    int socket;    /* of the connecting end; -1: it has closed it */
    bool to_open;  /* the accepting end has not been told that it is over */
    bool cut;      /* nothing moves any more, whether anybody has noticed or not */
    unsigned window;
    struct fifo queued[2], flying[2], received[2];
    mono_t last[2];
    mono_t pump_at; /* the next appointment; 0: none */
};

enum sim_agenda {
    SIM_TURN,        /* node */
    SIM_PUMP,        /* connection, id */
    SIM_TRY,         /* socket, generation */
    SIM_CLOSED_FROM, /* connection, id */
    SIM_CLOSED_TO,   /* connection, id */
    SIM_COMPUTED,    /* board, life */
    SIM_LOADER,      /* board, life */
    SIM_LET_GO,      /* board, life and output slot */
    SIM_SUBMIT,      /* item */
    SIM_PREPARED,    /* item, coordinator's life */
    SIM_REVIVE,      /* node */
    SIM_TROUBLE,
};

struct appointment {
    mono_t at;
    uint64_t order;
    enum sim_agenda what;
    unsigned who;
    uint64_t mark; /* of a connection, socket or life: if it is another by then, nothing happens */
};

struct sim_input {
    bool kept;
    unsigned items;
    bool damaged;
    uint64_t value[SIM_MICROBATCH];
};

struct sim_report { /* of the loader's thread */
    bool wants;     /* the unit; else it is over: */
    uint32_t unit;
    enum stage_event_type type;
};

struct sim_engine {
    bool there;
    uint32_t first, end;
};

struct sim_loader {
    bool busy, cancelled, fails;
    mono_t stuck_until;
    unsigned lane;
    struct sim_engine old, beside;
    uint32_t first, end, next; /* next unit to look at */
    unsigned outstanding;
    unsigned generation;
    unsigned reports;
    struct sim_report report[4 * SIM_UNITS + 8];
};

/* What belongs to one lane of a board. */
struct sim_way {
    struct sim_endpoint next;
    struct sim_engine engine;
    struct sim_input input[STAGE_INPUTS];
    uint64_t output[STAGE_OUTPUTS][SIM_MICROBATCH];
    bool held[STAGE_OUTPUTS]; /* by the network */
    uint64_t sent_cluster;
    epoch_t sent_epoch;
    sequence_t sent; /* last, in that epoch */
    epoch_t checked; /* the epoch whose slice was found to be as planned */
};

struct sim_board {
    char name[16];
    bool alive, stopping, signalled;
    bool buried; /* nobody starts it again */
    unsigned life;
    bool fixed_port;
    unsigned port; /* of the first lane; the second has the next one */
    mono_t turn_at, frozen_until;
    int64_t unit_ns, sluggish_ns;
    unsigned slowness; /* factor of unit_ns */
    uint64_t memory;   /* 0: without limit */
    bool cached[SIM_UNITS];
    unsigned loads;

    struct stage_core core;
    struct fetch_core fetch;
    bool opened, closed; /* what the control socket's monitor has to tell */
    mono_t reconnect_at;
    uint32_t assigned_first, assigned_end;
    struct sim_way way[STAGE_LANES];
    struct sim_loader loader;

    unsigned jobs, done; /* jobs of the worker: [0, done) are computed and not yet told of */
    struct {
        unsigned lane, input, output;
        int64_t busy_ns;
    } job[STAGE_LANES * STAGE_INPUTS];
    mono_t worker_free;
    unsigned let_go;
    struct {
        unsigned slot; /* SIM_SLOT */
        bool refused;
    } gone[STAGE_LANES * STAGE_OUTPUTS * 2];
    const struct packet *arrived;
};

struct sim_peer {
    unsigned connection; /* its id */
    unsigned board;
};

struct sim_plan {
    uint64_t cluster;
    epoch_t epoch;
    unsigned owner[SIM_UNITS];
};

struct sim_coordinator {
    bool alive;
    unsigned life;
    uint64_t cluster;
    unsigned results_port;
    mono_t turn_at, frozen_until, hashed_at; /* no plan before the tensors are hashed */
    struct coordinator_core core;
    struct coordinator_effects effects;
    bool exited, shutdown;
    struct {
        bool wanted, solving;
        mono_t solved_at;
        unsigned boards[CORE_BOARDS_MAX], board_count;
        bool noted; /* joined */
        uint64_t joined[CORE_BOARDS_MAX], memory[CORE_BOARDS_MAX];
        double pace[CORE_BOARDS_MAX];
    } plan_work;
    struct pace_core pace;
    unsigned peers;
    struct sim_peer peer[SIM_CONNECTIONS];
    uint64_t joins;
    struct {
        struct sim_endpoint endpoint;
        uint64_t joined; /* the how manieth to say hello it was */
        bool measured;
        mono_t profiled_at;
    } place[CORE_BOARDS_MAX]; /* beside core.board */
    unsigned closed;
    unsigned closed_id[SIM_CONNECTIONS];
    unsigned prepared;
    unsigned prepared_item[SIM_ITEMS];
    unsigned free_slots;
    unsigned free_slot[CORE_ITEMS_MAX];
    unsigned item_of[CORE_ITEMS_MAX];
    const struct packet *result;
    epoch_t last_epoch;
    sequence_t last_sequence;
    struct core_flight last_result; /* for SIM_REPLAY_ANSWERED */
    unsigned last_item;
};

enum sim_item_state { SIM_UNSENT, SIM_PREPARING, SIM_ADMITTED, SIM_ANSWERED, SIM_FAILED };
struct sim_item {
    enum sim_item_state state;
    unsigned slot;
    mono_t admitted;
    unsigned sends, handed;  /* in this life of the coordinator; and those that the network took */
    unsigned group, members; /* the microbatch that it first went with: its first item and size */
};

struct sim_counts {
    uint64_t histories, steps, answered, failed, replayed, deaths, cuts, epochs, restarts, leaves, drains, freezes,
        damages, stale, besides, strides, drifts, jams; /* strides: epochs that were a step */
};

struct world {
    uint64_t seed, dice;
    enum sim_sabotage sabotage;
    bool trace;
    mono_t now;
    char failure[400];

    unsigned boards, units, items, open_items;
    bool optimal, quiet; /* quiet: nothing ever goes wrong */
    bool chaos, rough;   /* before calm_at; and not quiet */
    int64_t trouble_ns;  /* mean time between troubles */
    mono_t calm_at, end_at;
    uint64_t unit_bytes[SIM_UNITS];
    bool same_weights[SIM_UNITS]; /* the unit computes with those of the unit before it */

    unsigned agenda_count, spins;
    mono_t spins_since;
    uint64_t order;
    struct appointment agenda[SIM_AGENDA];

    unsigned ports, connection_ids, connections; /* connections: all used ones are below it */
    struct connection connection[SIM_CONNECTIONS];
    struct sim_socket socket[SIM_SOCKETS];
    struct packet *free_packets;
    struct packet packet[SIM_PACKETS];
    struct fifo stray[SIM_NODES][STAGE_LANES];
    unsigned museum_count;
    struct {
        unsigned node, lane;
        struct packet packet;
    } museum[SIM_MUSEUM];
    int64_t delay_ns[SIM_NODES][SIM_NODES];
    mono_t blocked_until[SIM_NODES][SIM_NODES], laggy_until[SIM_NODES][SIM_NODES];

    struct sim_board board[SIM_BOARDS];
    struct sim_coordinator coordinator;
    struct sim_item item[SIM_ITEMS];
    struct sim_plan plan[SIM_EPOCHS];
    struct sim_counts counts;
};

/* ---- world.c ---- */

/* One history. False: an invariant did not hold, and world->failure says which. Counts are added to *counts. */
bool sim_history(struct world *world, uint64_t seed, enum sim_sabotage sabotage, bool trace, struct sim_counts *counts);

uint64_t sim_mix(uint64_t value);
unsigned sim_roll(struct world *world, unsigned sides); /* 0 to sides - 1 */
int64_t sim_between(struct world *world, int64_t least, int64_t most);
/* With the first violation the history ends. */
void sim_broken(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_say(struct world *world, unsigned node, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define sim_trace(world, node, ...) ((world)->trace ? sim_say(world, node, __VA_ARGS__) : (void)0)
void sim_at(struct world *world, mono_t at, enum sim_agenda what, unsigned who, uint64_t mark);
void sim_in(struct world *world, int64_t ns, enum sim_agenda what, unsigned who, uint64_t mark);
/* A loop has something to do: its turn comes soon, or at the latest then. */
void sim_wake(struct world *world, unsigned node);
void sim_wake_at(struct world *world, unsigned node, mono_t at);
bool sim_alive(const struct world *world, unsigned node);
mono_t sim_frozen_until(const struct world *world, unsigned node);
uint64_t sim_life(const struct world *world, unsigned node);
const char *sim_name(const struct world *world, unsigned node);

/* ---- network.c ---- */

void network_init(struct world *world);
struct packet *packet_new(struct world *world, unsigned type);
void packet_free(struct world *world, struct packet *packet);
void fifo_put(struct fifo *fifo, struct packet *packet);
struct packet *fifo_take(struct fifo *fifo); /* NULL: empty */
void fifo_clear(struct world *world, struct fifo *fifo);

void socket_open(struct world *world, unsigned socket, struct sim_endpoint target);
void socket_close(struct world *world, unsigned socket);
void socket_try(struct world *world, unsigned socket);
bool socket_writable(const struct world *world, unsigned socket);
/* Takes the packet, also when it cannot be sent (false). */
bool socket_send(struct world *world, unsigned socket, struct packet *packet);
struct packet *socket_receive(struct world *world, unsigned socket);
/* To the connecting end of a connection; false when it is known to be over. */
bool router_send(struct world *world, unsigned id, struct packet *packet);
/* The next message of a control connection, and whose it is. */
struct packet *router_receive(struct world *world, unsigned *id);
/* A microbatch of any data connection to that lane of the node, or a stray one; from any of them: they are not ordered.
 */
struct packet *pull_receive(struct world *world, unsigned node, unsigned lane);

void connection_pump(struct world *world, unsigned index);
void connection_closed_from(struct world *world, unsigned index);
void connection_closed_to(struct world *world, unsigned index);
/* Ends it; each end is told after its time (SIM_NEVER: not). */
void connection_cut(struct world *world, unsigned index, int64_t from_ns, int64_t to_ns);
/* The end of a process: its sockets are gone; the others' ends notice soon, or (silent) when they do. */
void network_process_ended(struct world *world, unsigned node, bool silent);
void network_pump_all(struct world *world);

/* ---- board.c ---- */

void board_init(struct world *world, unsigned number);
void board_start(struct world *world, unsigned number);
void board_stop(struct world *world, unsigned number, bool silent);
void board_turn(struct world *world, unsigned number);
void board_computed(struct world *world, unsigned number);
void board_fetch(struct world *world, unsigned number, const struct fetch_event *event);
void board_feed(struct world *world, unsigned number, const struct stage_event *event);
void board_opened(struct world *world, unsigned number);
void board_closed(struct world *world, unsigned number);
void board_gave_back(struct world *world, unsigned number, unsigned slot, bool refused);
void board_let_go(struct world *world, unsigned number, unsigned slot, bool refused);
bool board_say(struct world *world, unsigned number, struct packet *packet);
/* What a stage's process takes whatever it has; sim_slice_bytes does not count it. */
#define SIM_PROCESS_BYTES 300
uint64_t sim_slice_bytes(const struct world *world, uint32_t first, uint32_t end);
/* Weights that two slices have in common. */
uint64_t sim_shared_bytes(const struct world *world, uint32_t first, uint32_t end, uint32_t other_first,
                          uint32_t other_end);
uint64_t sim_payload_bytes(uint32_t cut);
struct stage_cut sim_cut(uint32_t cut);

/* ---- loader.c ---- */

void loader_begin(struct world *world, unsigned number, const struct stage_effect *effect);
void loader_stop(struct world *world, unsigned number);
void loader_go_on(struct world *world, unsigned number);
void loader_stored(struct world *world, unsigned number, uint32_t unit);
void loader_reports(struct world *world, unsigned number);

/* ---- coordinator.c ---- */

void coordinator_start(struct world *world);
void coordinator_crash(struct world *world);
void coordinator_turn(struct world *world);
void coordinator_feed(struct world *world, const struct coordinator_event *event);
void coordinator_told_closed(struct world *world, unsigned id);

/* ---- planner.c ---- */

void plan_asked(struct world *world);
void plan_turn(struct world *world);

/* ---- clients.c ---- */

void clients_start(struct world *world);
void clients_submitted(struct world *world, unsigned item);
void clients_ready(struct world *world, unsigned item);
void clients_admit(struct world *world);
void clients_sent(struct world *world, const struct core_flight *flight, struct packet *packet);
void clients_handed(struct world *world, const struct core_flight *flight);
void clients_answered(struct world *world, unsigned slot, unsigned row);
void clients_refused(struct world *world, unsigned slot, const char *text);
void clients_coordinator_lost(struct world *world);
/* Some clients hang up, come back, and submit anew what the coordinator forgets of theirs. */
void clients_hang_up(struct world *world);
void clients_dropped(struct world *world, unsigned slot);
uint64_t sim_unit(uint64_t value, uint32_t unit);
unsigned clients_unanswered(const struct world *world);

/* ---- chaos.c ---- */

void chaos_trouble(struct world *world);
void chaos_revive(struct world *world, unsigned node);
/* Everything is mended, everyone comes back. */
void chaos_end(struct world *world);

/* ---- invariants.c ---- */

void check_coordinator(struct world *world);
void check_board(struct world *world, unsigned number);
void check_job(struct world *world, unsigned number, unsigned lane, unsigned input);
void check_sent(struct world *world, unsigned number, unsigned lane, const struct data_header *header);
void check_serve(struct world *world, epoch_t epoch);
void check_end(struct world *world);
void plan_remember(struct world *world);

#endif
