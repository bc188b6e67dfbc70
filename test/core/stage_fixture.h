/* A stage's core in a quiet life: brought to any state, fed the usual events, its effects compared. For test_stage_*.c.
 */
#ifndef TEST_CORE_STAGE_FIXTURE_H
#define TEST_CORE_STAGE_FIXTURE_H

#include "daemon/core/stage_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLUSTER    77
#define PART_BYTES 16 /* per item, in the cut that tests use */

static const struct stage_cut cut = {
    .parts = 2, .part = {{1, 2, {2, 2}}, {1, 1, {4}}}, .bytes = {PART_BYTES, PART_BYTES}};

/* A stage's state and that of the lane in which its newest epoch is, as one. */
enum life { LIFE_JOINING, LIFE_IDLE, LIFE_CLEARING, LIFE_LOADING, LIFE_READY, LIFE_SERVING, LIFE_GONE };

static inline enum life life_of(const struct stage_core *core) {
    static const enum life of_lane[] = {LIFE_IDLE, LIFE_CLEARING, LIFE_LOADING, LIFE_READY, LIFE_SERVING};
    if (core->state != STAGE_ADMITTED)
        return core->state == STAGE_GONE ? LIFE_GONE : LIFE_JOINING;
    return of_lane[core->lane[epoch_lane(core->epoch)].state];
}

struct fixture {
    unsigned lane; /* that helpers are about */
    struct stage_core core;
    struct stage_effects effects;
    mono_t now;
};

static inline void step(struct fixture *fixture, const struct stage_event *event) {
    stage_core_step(&fixture->core, event, fixture->now, &fixture->effects);
    const char *broken = stage_core_broken(&fixture->core);
    if (broken)
        fail_msg("event %d in state %d: %s", (int)event->type, (int)life_of(&fixture->core), broken);
}

static inline void happen(struct fixture *fixture, enum stage_event_type type) {
    step(fixture, &(struct stage_event){.type = type});
}

static inline const struct stage_effect *effect_find(const struct fixture *fixture, enum stage_effect_type type) {
    for (unsigned i = 0; i < fixture->effects.count; i++)
        if (fixture->effects.effect[i].type == type)
            return &fixture->effects.effect[i];
    return NULL;
}

/* The last step had exactly these effects, in this order. */
static inline void expect(const struct fixture *fixture, unsigned count, const enum stage_effect_type *types) {
    assert_int_equal(fixture->effects.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(fixture->effects.effect[i].type, types[i]);
}
#define EXPECT(fixture, ...)                                                                                           \
    do {                                                                                                               \
        const enum stage_effect_type expected[] = {__VA_ARGS__};                                                       \
        expect(fixture, sizeof expected / sizeof expected[0], expected);                                               \
    } while (0)
#define EXPECT_NOTHING(fixture) assert_int_equal((fixture)->effects.count, 0)

/* ---- the events of a quiet life ---- */

static inline void welcome(struct fixture *fixture, uint64_t cluster) {
    step(fixture, &(struct stage_event){.type = STAGE_WELCOMED, .cluster = cluster, .heartbeat_ns = 500 * MONO_MS});
}

static inline void assign(struct fixture *fixture, uint64_t epoch) {
    step(fixture,
         &(struct stage_event){.type = STAGE_ASSIGNED, .epoch = {epoch}, .first = 5, .end = 9, .microbatch = 4});
}

static inline void loaded(struct fixture *fixture) {
    step(fixture, &(struct stage_event){.type = STAGE_LOADED, .weight_bytes = 1000, .in = &cut, .out = &cut});
}

static inline struct data_header header_of(const struct fixture *fixture, uint64_t sequence, uint32_t items) {
    struct data_header header = {.cluster = CLUSTER,
                                 .epoch = fixture->core.lane[fixture->lane].epoch,
                                 .sequence = {sequence},
                                 .cut = 5,
                                 .items = items,
                                 .parts = cut.parts,
                                 .checksum = 1};
    memcpy(header.part, cut.part, sizeof header.part);
    return header;
}

static inline struct stage_event arrival_of(const struct fixture *fixture, const struct data_header *header) {
    return (struct stage_event){.type = STAGE_ARRIVED,
                                .lane = fixture->lane,
                                .header = header,
                                .frames = 2,
                                .sizes = {PART_BYTES * header->items, PART_BYTES * header->items}};
}

static inline void arrive(struct fixture *fixture, uint64_t sequence) {
    struct data_header header = header_of(fixture, sequence, 2);
    struct stage_event event = arrival_of(fixture, &header);
    step(fixture, &event);
}

static inline void computed(struct fixture *fixture, unsigned input, unsigned output) {
    step(fixture, &(struct stage_event){.type = STAGE_COMPUTED,
                                        .lane = fixture->lane,
                                        .input = input,
                                        .output = output,
                                        .checksum = 99,
                                        .busy_ns = 1000});
}

static inline void answer_send(struct fixture *fixture, enum stage_event_type type, unsigned output) {
    step(fixture, &(struct stage_event){.type = type, .lane = fixture->lane, .output = output});
}

static inline void serve(struct fixture *fixture) {
    step(fixture, &(struct stage_event){.type = STAGE_TOLD_SERVE, .epoch = fixture->core.epoch});
}

/* A fresh core brought to a state by the straight way; its epoch 1 is in lane 1. */
static inline struct fixture in_state(enum life state) {
    struct fixture fixture = {.lane = 1, .now = {1}};
    stage_core_init(&fixture.core);
    if (state == LIFE_JOINING)
        return fixture;
    happen(&fixture, STAGE_OPENED);
    if (state == LIFE_GONE) {
        happen(&fixture, STAGE_SHUTDOWN);
        return fixture;
    }
    welcome(&fixture, CLUSTER);
    if (state == LIFE_IDLE)
        return fixture;
    assign(&fixture, 1);
    if (state == LIFE_CLEARING) { /* a newer assignment while the loader is at work */
        assign(&fixture, 2);
        return fixture;
    }
    if (state == LIFE_LOADING)
        return fixture;
    loaded(&fixture);
    if (state == LIFE_SERVING)
        serve(&fixture);
    assert_int_equal(life_of(&fixture.core), state);
    return fixture;
}

#endif
