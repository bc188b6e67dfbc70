/* Made-up fleets for tests and benchmarks: a seed always gives the same fleet, on every machine. */
#ifndef TEST_PARTITIONER_FLEETS_H
#define TEST_PARTITIONER_FLEETS_H

#include "base/allocate.h"
#include "partitioner/partitioner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* splitmix64 (Steele, Lea and Flood, 2014). */
struct dice {
    uint64_t state;
};

static inline uint64_t dice_next(struct dice *dice) {
    uint64_t bits = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

static inline unsigned dice_below(struct dice *dice, unsigned limit) {
    return (unsigned)(dice_next(dice) % limit);
}

static inline double dice_between(struct dice *dice, double low, double high) {
    return low + (high - low) * (double)(dice_next(dice) >> 11) * 0x1p-53;
}

/* A problem that owns its arrays. */
struct made_fleet {
    struct problem problem;
    double *unit_seconds, *bandwidth, *latency, *handling;
    uint64_t *weight_bytes, *workspace_bytes, *first_workspace_bytes, *payload_bytes, *memory_bytes;
    bool *same_weights;
};

static inline void made_fleet_init(struct made_fleet *made, unsigned boards, unsigned units) {
    size_t ends = boards + 1;
    memset(made, 0, sizeof *made);
    made->unit_seconds = allocate((size_t)boards * units, sizeof(double));
    made->bandwidth = allocate(ends * ends, sizeof(double));
    made->latency = allocate(ends * ends, sizeof(double));
    made->handling = allocate(boards, sizeof(double));
    for (unsigned board = 0; board < boards; board++)
        made->handling[board] = INFINITY;
    made->weight_bytes = allocate(units, sizeof(uint64_t));
    made->same_weights = allocate(units, sizeof(bool));
    made->workspace_bytes = allocate((size_t)boards * units, sizeof(uint64_t));
    made->first_workspace_bytes = allocate((size_t)units + 1, sizeof(uint64_t));
    made->payload_bytes = allocate(units + 1, sizeof(uint64_t));
    made->memory_bytes = allocate(boards, sizeof(uint64_t));
    made->problem = (struct problem){
        .boards = boards,
        .units = units,
        .items = 8,
        .unit_seconds = made->unit_seconds,
        .weight_bytes = made->weight_bytes,
        .same_weights = made->same_weights,
        .workspace_bytes = made->workspace_bytes,
        .first_workspace_bytes = made->first_workspace_bytes,
        .payload_bytes = made->payload_bytes,
        .memory_bytes = made->memory_bytes,
        .bandwidth = made->bandwidth,
        .latency = made->latency,
        .handling = made->handling,
    };
}

static inline void made_fleet_close(struct made_fleet *made) {
    release(made->unit_seconds);
    release(made->bandwidth);
    release(made->latency);
    release(made->handling);
    release(made->weight_bytes);
    release(made->same_weights);
    release(made->workspace_bytes);
    release(made->first_workspace_bytes);
    release(made->payload_bytes);
    release(made->memory_bytes);
}

/* ---- ViT-Huge at microbatch 8 on racks of boards ---- */

enum regime { REGIME_COMPUTE, REGIME_COMMUNICATION, REGIME_MEMORY, REGIME_MIXED, REGIME_COORDINATOR, REGIMES };

static const char *const regime_name[REGIMES] = {"compute-bound", "communication-bound", "memory tight", "mixed",
                                                 "coordinator's link"};

#define VIT_HUGE_UNITS 194 /* embed, 32 blocks of six, head */

static inline void made_fleet_model(struct made_fleet *made) {
    /* of each unit of a block: attention, projection, the parts of the MLP with the same weights */
    static const double megabytes[6] = {18.774414, 6.254883, 50.034180, 50.034180, 50.034180, 50.034180};
    static const unsigned values[6] = {657920, 328960, 328960, 328960, 328960, 328960}; /* per item, leaving the unit */
    static const double workspace[6] = {4, 2, 1.5, 1.5, 1.5, 1.5};                      /* in streams */
    unsigned head = VIT_HUGE_UNITS - 1;
    made->weight_bytes[0] = 4 << 20;
    made->weight_bytes[head] = 5 << 20;
    made->payload_bytes[0] = UINT64_C(4) * 8 * 150528;
    made->payload_bytes[1] = UINT64_C(4) * 8 * 328960;
    made->payload_bytes[head + 1] = UINT64_C(4) * 8 * 1000;
    for (unsigned unit = 1; unit < head; unit++) {
        made->weight_bytes[unit] = (uint64_t)(megabytes[(unit - 1) % 6] * 1048576);
        made->same_weights[unit] = (unit - 1) % 6 > 2;
        made->payload_bytes[unit + 1] = UINT64_C(4) * 8 * values[(unit - 1) % 6];
    }
    for (unsigned at = 0; at < made->problem.boards * VIT_HUGE_UNITS; at++) {
        unsigned unit = at % VIT_HUGE_UNITS;
        double streams = unit == 0 || unit == head ? 2 : workspace[(unit - 1) % 6];
        made->workspace_bytes[at] = (uint64_t)(streams * (double)made->payload_bytes[1]);
    }
    made->problem.input_slots = made->problem.output_slots = 2;
}

/* Times of one board that is `speed` times a slow one; 3 % of noise from unit to unit, as measured profiles have. */
static inline void made_fleet_board(struct made_fleet *made, struct dice *dice, unsigned board, double speed) {
    static const double seconds[6] = {0.57, 0.17, 0.3375, 0.3375, 0.3375, 0.3375};
    double *times = made->unit_seconds + (size_t)board * VIT_HUGE_UNITS;
    for (unsigned unit = 0; unit < VIT_HUGE_UNITS; unit++)
        times[unit] = seconds[(unit + 5) % 6] / speed * dice_between(dice, 0.97, 1.03);
    times[0] = 0.06 / speed;
    times[VIT_HUGE_UNITS - 1] = 0.002 / speed;
}

/* Every ordered pair of kinds has its own bandwidth and latency; the coordinator is a kind of its own. */
static inline void made_fleet_links(struct made_fleet *made, struct dice *dice, enum regime regime, unsigned types) {
    double low = regime == REGIME_COMMUNICATION ? 10 : regime == REGIME_MIXED ? 20 : 600; /* Mbit/s */
    double high = regime == REGIME_COMMUNICATION ? 40 : regime == REGIME_MIXED ? 120 : 1000;
    double bandwidth[(PARTITIONER_BOARDS_MAX + 1) * (PARTITIONER_BOARDS_MAX + 1)];
    double latency[(PARTITIONER_BOARDS_MAX + 1) * (PARTITIONER_BOARDS_MAX + 1)];
    for (unsigned pair = 0; pair < (types + 1) * (types + 1); pair++) {
        bandwidth[pair] = dice_between(dice, low, high) * 1e6 / 8;
        latency[pair] = dice_between(dice, 0.0002, 0.002);
    }
    unsigned boards = made->problem.boards;
    for (unsigned from = 0; from <= boards; from++)
        for (unsigned to = 0; to <= boards; to++) {
            unsigned row = from == boards ? types : from % types, column = to == boards ? types : to % types;
            unsigned pair = row * (types + 1) + column, link = from * (boards + 1) + to;
            bool slow = regime == REGIME_COORDINATOR && (from == boards || to == boards);
            made->bandwidth[link] = slow ? bandwidth[pair] / 120 : bandwidth[pair];
            made->latency[link] = latency[pair];
        }
}

/* Memory in proportion to the shares, together `room` times the weights, and 200 MiB for buffers on each board. */
static inline void made_fleet_memory(struct made_fleet *made, const double *share, double room) {
    double weights = 0, shares = 0;
    for (unsigned unit = 0; unit < VIT_HUGE_UNITS; unit++)
        weights += made->same_weights[unit] ? 0 : (double)made->weight_bytes[unit];
    for (unsigned board = 0; board < made->problem.boards; board++)
        shares += share[board];
    for (unsigned board = 0; board < made->problem.boards; board++)
        made->memory_bytes[board] = (uint64_t)(weights * room * share[board] / shares) + (UINT64_C(200) << 20);
}

/* `boards` boards of `types` kinds (boards of a kind are identical) in a regime. */
static inline void made_fleet_rack(struct made_fleet *made, enum regime regime, unsigned boards, unsigned types,
                                   uint64_t seed) {
    struct dice dice = {seed * 1000003 + regime * 101 + boards};
    double share[PARTITIONER_BOARDS_MAX];
    made_fleet_init(made, boards, VIT_HUGE_UNITS);
    made_fleet_model(made);
    for (unsigned board = 0; board < boards; board++) {
        made->memory_bytes[board] = UINT64_C(8) << 30;
        share[board] = board < types ? 0 : share[board % types];
        if (board < types) {
            made_fleet_board(made, &dice, board, dice_between(&dice, 1, 4));
            share[board] = dice_between(&dice, 1, 2.5);
            continue;
        }
        memcpy(made->unit_seconds + (size_t)board * VIT_HUGE_UNITS,
               made->unit_seconds + (size_t)(board % types) * VIT_HUGE_UNITS, VIT_HUGE_UNITS * sizeof(double));
    }
    if (regime == REGIME_MEMORY || regime == REGIME_MIXED)
        made_fleet_memory(made, share, regime == REGIME_MEMORY ? 1.12 : 1.35);
    made_fleet_links(made, &dice, regime, types);
}

#endif
