/* A coordinator's core for tests: boards b0, b1, ... that join, even plans, and a clock that the test moves. */
#ifndef TEST_CORE_COORDINATOR_FIXTURE_H
#define TEST_CORE_COORDINATOR_FIXTURE_H

#include "daemon/core/coordinator_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNITS 12u

struct fixture {
    struct coordinator_core core;
    struct coordinator_effects effects;
    mono_t now;
    bool no_room; /* planned() says that no board has memory for two slices */
};

static inline void start(struct fixture *f, unsigned stages, unsigned microbatch) {
    const struct coordinator_settings settings = {
        .stages = stages,
        .microbatch = microbatch,
        .microbatch_wait_ns = 5 * MONO_MS,
        .board_silence_ns = 3 * MONO_SECOND,
        .patience_ns = 60 * MONO_SECOND,
        .stall_ns = 20 * MONO_SECOND,
        .settle_ns = MONO_SECOND,
        .gain = 0.1,
        .repay_ns = 600 * MONO_SECOND,
    };
    f->now = (mono_t){1000 * MONO_SECOND};
    coordinator_core_init(&f->core, &settings, f->now);
}

static inline void step(struct fixture *f, struct coordinator_event event) {
    coordinator_core_step(&f->core, &event, f->now, &f->effects);
}

static inline unsigned count_of(const struct fixture *f, enum coordinator_effect_type type) {
    unsigned count = 0;
    for (unsigned i = 0; i < f->effects.count; i++)
        count += f->effects.effect[i].type == type;
    return count;
}

static inline const struct coordinator_effect *first_of(const struct fixture *f, enum coordinator_effect_type type) {
    for (unsigned i = 0; i < f->effects.count; i++)
        if (f->effects.effect[i].type == type)
            return &f->effects.effect[i];
    return NULL;
}

/* The first event of that kind that the last step told of, NULL when there was none. */
static inline const struct fleet_event *told(const struct fixture *f, enum fleet_event_kind kind) {
    for (unsigned i = 0; i < f->effects.count; i++)
        if (f->effects.effect[i].type == CORE_EVENT && f->effects.effect[i].event->kind == kind)
            return f->effects.effect[i].event;
    return NULL;
}

static inline unsigned join(struct fixture *f, const char *name) {
    step(f, (struct coordinator_event){.type = CORE_BOARD_JOINED, .name = name, .memory_bytes = 1 << 30});
    return f->effects.board;
}

/* An even plan over the boards that the last CORE_PLAN listed. */
static inline struct plan even_plan(const struct fixture *f) {
    struct plan plan = {.policy = "even", .stages = f->effects.board_count, .period_s = 0.5 / f->effects.board_count};
    for (unsigned i = 0; i < plan.stages; i++)
        plan.stage[i] = (struct plan_stage){
            .board = f->effects.boards[i], .first = i * UNITS / plan.stages, .end = (i + 1) * UNITS / plan.stages};
    return plan;
}
static inline void planned(struct fixture *f) {
    const struct plan plan = even_plan(f);
    step(f, (struct coordinator_event){.type = CORE_PLANNED, .plan = &plan, .beside = !f->no_room, .pause_s = 10});
}

/* Which boards the last CORE_PLAN listed, to be given to planned_for after other steps. */
struct listed {
    unsigned boards[CORE_BOARDS_MAX], count;
};
static inline struct listed listed(const struct fixture *f) {
    struct listed list = {.count = f->effects.board_count};
    memcpy(list.boards, f->effects.boards, sizeof list.boards);
    return list;
}
static inline void planned_for(struct fixture *f, const struct listed *list) {
    f->effects.board_count = list->count;
    memcpy(f->effects.boards, list->boards, sizeof list->boards);
    planned(f);
}

static inline void ready(struct fixture *f, unsigned board) {
    step(f, (struct coordinator_event){.type = CORE_BOARD_READY, .board = board, .epoch = f->core.epoch});
}

static inline void serve(struct fixture *f, unsigned boards) {
    char name[16];
    start(f, boards, 4);
    for (unsigned i = 0; i < boards; i++) {
        snprintf(name, sizeof name, "b%u", i);
        join(f, name);
    }
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned(f);
    assert_int_equal(count_of(f, CORE_ASSIGN), boards);
    for (unsigned i = 0; i < boards; i++)
        ready(f, i);
    assert_int_equal(count_of(f, CORE_SERVE), 1);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
}

static inline void admit(struct fixture *f, unsigned item) {
    step(f, (struct coordinator_event){.type = CORE_ITEM_ADMITTED, .item = item});
}

static inline void writable(struct fixture *f) {
    step(f, (struct coordinator_event){.type = CORE_WRITABLE});
}

static inline void result(struct fixture *f, uint64_t sequence, unsigned items) {
    step(f, (struct coordinator_event){
                .type = CORE_RESULT, .epoch = f->core.epoch, .sequence = {sequence}, .items = items});
}

static inline void result_in(struct fixture *f, uint64_t epoch, uint64_t sequence, unsigned items) {
    step(f, (struct coordinator_event){.type = CORE_RESULT, .epoch = {epoch}, .sequence = {sequence}, .items = items});
}

static inline void tick_after(struct fixture *f, int64_t ns) {
    f->now = mono_after(f->now, ns);
    for (unsigned i = 0; i < f->core.boards; i++)
        if (f->core.board[i].state != BOARD_ABSENT)
            f->core.board[i].heard = f->now; /* heartbeats went on */
    step(f, (struct coordinator_event){.type = CORE_TICK});
}

static inline int make_fixture(void **state) {
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
}

static inline int free_fixture(void **state) {
    free(*state);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_fixture, free_fixture)

#endif
