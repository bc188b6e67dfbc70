/* A survey core under test, the boards it deals with, and time. */
#ifndef TEST_CORE_SURVEY_FIXTURE_H
#define TEST_CORE_SURVEY_FIXTURE_H

#include "daemon/core/survey_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROFILE_LIMIT (60 * MONO_SECOND)
#define PROBE_LIMIT   (10 * MONO_SECOND)

struct fixture {
    struct survey_core core;
    struct survey_effects effects;
    mono_t now;
    uint64_t highest;
};

/* Is a probe under way that began before what is happening now? */
static inline bool older_probe(const struct fixture *f) {
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (f->core.link[lower][higher].state == SURVEY_ASKED && f->core.link[lower][higher].number <= f->highest)
                return true;
    return false;
}

static inline void step(struct fixture *f, struct survey_event event) {
    survey_core_step(&f->core, &event, f->now, &f->effects);
    const char *broken = survey_core_broken(&f->core);
    if (broken)
        fail_msg("event %d: %s", (int)event.type, broken);
    bool probing = older_probe(f);
    for (unsigned i = 0; i < f->effects.count; i++) {
        if (f->effects.effect[i].type == SURVEY_ASK_PROFILE && probing)
            fail_msg("event %d: a profile is asked for while a link is probed", (int)event.type);
        const struct survey_effect *effect = &f->effects.effect[i];
        if (effect->type != SURVEY_ASK_PROFILE && effect->type != SURVEY_START_PROBE)
            continue;
        assert_true(effect->number > f->highest);
        f->highest = effect->number;
    }
}

static inline unsigned count_of(const struct fixture *f, enum survey_effect_type type) {
    unsigned count = 0;
    for (unsigned i = 0; i < f->effects.count; i++)
        count += f->effects.effect[i].type == type;
    return count;
}

static inline void join(struct fixture *f, unsigned board, bool known) {
    step(f, (struct survey_event){.type = SURVEY_JOINED, .board = board, .known = known});
}

static inline void want(struct fixture *f, unsigned board) {
    step(f, (struct survey_event){.type = SURVEY_WANTED, .board = board});
}

static inline void profiled(struct fixture *f, unsigned board, bool ok) {
    step(f, (struct survey_event){
                .type = SURVEY_PROFILED, .board = board, .number = f->core.board[board].number, .ok = ok});
}

static inline void tell(struct fixture *f, unsigned end, uint64_t number, double rate) {
    step(f, (struct survey_event){
                .type = SURVEY_PROBED, .board = end, .number = number, .latency_s = 0.001, .bytes_per_second = rate});
}

static inline void newcomer(struct fixture *f, unsigned board) {
    step(f, (struct survey_event){.type = SURVEY_NEWCOMER, .board = board});
}

static inline void tick_after(struct fixture *f, int64_t ns) {
    f->now = mono_after(f->now, ns);
    step(f, (struct survey_event){.type = SURVEY_TICK});
}

/* Both ends of the first probe under way tell; false when there is none. The end that receives from 0 tells 100... */
static inline bool finish_probe(struct fixture *f) {
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++) {
            const struct survey_link *link = &f->core.link[lower][higher];
            if (link->state != SURVEY_ASKED)
                continue;
            uint64_t number = link->number;
            tell(f, lower, number, 1000.0 * higher + lower);
            tell(f, higher, number, 1000.0 * lower + higher);
            return true;
        }
    return false;
}

static inline struct fixture start(unsigned boards) {
    struct fixture f = {.now = {MONO_SECOND}};
    const struct survey_settings settings = {.first_number = 7,
                                             .profile_limit_ns = PROFILE_LIMIT,
                                             .probe_limit_ns = PROBE_LIMIT,
                                             .profiles = true,
                                             .links = true};
    survey_core_init(&f.core, &settings);
    for (unsigned i = 0; i < boards; i++)
        join(&f, i, false);
    return f;
}

static inline struct fixture known(unsigned boards) {
    struct fixture f = start(0);
    for (unsigned i = 0; i < boards; i++)
        join(&f, i, true);
    for (unsigned i = 0; i < boards; i++)
        want(&f, i);
    while (finish_probe(&f)) {
    }
    assert_true(survey_core_done(&f.core));
    return f;
}

/* Both attempts at the link between these ends fail, at once. */
static inline void fail_link(struct fixture *f, unsigned lower, unsigned higher) {
    for (unsigned attempt = 0; attempt < 2 && f->core.link[lower][higher].state == SURVEY_ASKED; attempt++) {
        tell(f, lower, f->core.link[lower][higher].number, 0);
        tell(f, higher, f->core.link[lower][higher].number, 0);
    }
    assert_int_equal(f->core.link[lower][higher].state, SURVEY_FAILED);
}

#endif
