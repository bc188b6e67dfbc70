/* Whom a load asks for the pieces of its tensors: holders share the work, whoever is lost, silent, without the tensor
 * or wrong is replaced, the coordinator has the last word; and in random histories of all that every piece arrives
 * once. FETCH_SEED=N replays one of them. */
#include "daemon/core/fetch_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HISTORIES 2000
#define WHOLE     1000 /* bytes of a chunk in these tests */

struct bench {
    struct fetch_core core;
    struct fetch_effects effects;
    mono_t now;
};

static struct fetch_chunk chunk_of(unsigned tensor, unsigned number, uint32_t holders) {
    return (struct fetch_chunk){
        .hash.bytes[0] = (uint8_t)tensor, .offset = (uint64_t)number * WHOLE, .bytes = WHOLE, .holders = holders};
}

static void feed(struct bench *bench, const struct fetch_event *event) {
    fetch_core_step(&bench->core, event, bench->now, &bench->effects);
    const char *broken = fetch_core_broken(&bench->core);
    if (broken)
        fail_msg("%s", broken);
}

static struct bench began(unsigned holders) {
    struct bench bench = {.now = {1000}};
    fetch_core_init(&bench.core);
    feed(&bench, &(struct fetch_event){.type = FETCH_BEGAN, .holders = holders});
    assert_int_equal(bench.effects.count, 0);
    return bench;
}

/* The source that is asked for a chunk. */
static unsigned want(struct bench *bench, struct fetch_chunk chunk) {
    feed(bench, &(struct fetch_event){.type = FETCH_WANTED, .chunk = chunk});
    assert_int_equal(bench->effects.count, 1);
    assert_int_equal(bench->effects.effect[0].type, FETCH_ASK);
    assert_int_equal(bench->effects.effect[0].chunk.offset, chunk.offset);
    return bench->effects.effect[0].source;
}

static void part(struct bench *bench, unsigned source, struct fetch_chunk chunk) {
    feed(bench, &(struct fetch_event){.type = FETCH_PART, .source = source, .chunk = chunk});
}

static void assert_stored(const struct bench *bench) {
    assert_int_equal(bench->effects.fault, FETCH_FAULT_NONE);
    assert_int_equal(bench->effects.count, 1);
    assert_int_equal(bench->effects.effect[0].type, FETCH_STORE);
}

static void assert_effect(const struct bench *bench, unsigned index, enum fetch_effect_type type, unsigned source) {
    assert_true(index < bench->effects.count);
    assert_int_equal(bench->effects.effect[index].type, type);
    assert_int_equal(bench->effects.effect[index].source, source);
}

static void later(struct bench *bench, int64_t seconds) {
    bench->now = mono_after(bench->now, seconds * MONO_SECOND);
    feed(bench, &(struct fetch_event){.type = FETCH_TICK});
}

/* ---- whom ---- */

static void test_without_holders(void **state) {
    (void)state;
    struct bench bench = began(0);
    struct fetch_chunk chunk = chunk_of(1, 0, 0);
    assert_int_equal(want(&bench, chunk), FETCH_COORDINATOR);
    part(&bench, FETCH_COORDINATOR, chunk);
    assert_stored(&bench);
    assert_int_equal(bench.core.bytes[FETCH_COORDINATOR], WHOLE);
    assert_int_equal(want(&bench, chunk_of(1, 1, 0xff)), FETCH_COORDINATOR); /* a bit for nobody */
}

static void test_holders_share_the_work(void **state) {
    (void)state;
    struct bench bench = began(3);
    unsigned asked[FETCH_SOURCES] = {0};
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        asked[want(&bench, chunk_of(1, i, 5))]++;
    assert_int_equal(asked[0], FETCH_CHUNKS / 2);
    assert_int_equal(asked[2], FETCH_CHUNKS / 2);
    for (unsigned i = 0; i < FETCH_CHUNKS; i++) { /* holder 2 answers, holder 0 does not: all new chunks go there */
        if (bench.core.chunk[i].source != 2)
            continue;
        part(&bench, 2, bench.core.chunk[i].chunk);
        assert_stored(&bench);
        assert_int_equal(want(&bench, chunk_of(2, i, 5)), 2);
    }
}

static void test_bad_tensors_come_from_the_coordinator(void **state) {
    (void)state;
    struct bench bench = began(2);
    assert_int_equal(want(&bench, chunk_of(1, 0, 0)), FETCH_COORDINATOR);
}

/* ---- holders that fail ---- */

static void test_not_here(void **state) {
    (void)state;
    struct bench bench = began(2);
    assert_int_equal(want(&bench, chunk_of(1, 0, 3)), 0);
    assert_int_equal(want(&bench, chunk_of(1, 1, 1)), 0);
    assert_int_equal(want(&bench, chunk_of(2, 0, 1)), 0);
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 0, .chunk = chunk_of(1, 0, 0)});
    assert_int_equal(bench.effects.count, 2);
    assert_effect(&bench, 0, FETCH_ASK, 1);
    assert_effect(&bench, 1, FETCH_ASK, FETCH_COORDINATOR);
    assert_int_equal(want(&bench, chunk_of(1, 2, 1)), FETCH_COORDINATOR); /* remembered */
    assert_int_equal(want(&bench, chunk_of(2, 1, 1)), 0);                 /* of that tensor alone */
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 1, .chunk = chunk_of(1, 0, 0)});
    assert_effect(&bench, 0, FETCH_ASK, FETCH_COORDINATOR);
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 1, .chunk = chunk_of(1, 0, 0)});
    assert_int_equal(bench.effects.count, 0);
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 7, .chunk = chunk_of(1, 0, 0)});
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = FETCH_COORDINATOR});
    assert_int_equal(bench.effects.count, 0);
}

/* More tensors are missing than are remembered: it costs a question, nothing else. */
static void test_much_is_not_here(void **state) {
    (void)state;
    struct bench bench = began(1);
    for (unsigned tensor = 0; tensor < 3 * FETCH_CHUNKS; tensor++) {
        assert_int_equal(want(&bench, chunk_of(tensor, 0, 1)), 0);
        feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 0, .chunk = chunk_of(tensor, 0, 0)});
        assert_effect(&bench, 0, FETCH_ASK, FETCH_COORDINATOR);
        part(&bench, FETCH_COORDINATOR, chunk_of(tensor, 0, 0));
        assert_stored(&bench);
    }
}

static void test_a_holder_closes(void **state) {
    (void)state;
    struct bench bench = began(2);
    for (unsigned i = 0; i < 4; i++)
        want(&bench, chunk_of(1, i, 3));
    feed(&bench, &(struct fetch_event){.type = FETCH_CLOSED, .source = 0});
    assert_int_equal(bench.effects.count, 3);
    assert_effect(&bench, 0, FETCH_LEAVE, 0);
    assert_effect(&bench, 1, FETCH_ASK, 1);
    assert_effect(&bench, 2, FETCH_ASK, 1);
    feed(&bench, &(struct fetch_event){.type = FETCH_CLOSED, .source = 0});
    assert_int_equal(bench.effects.count, 0);
    feed(&bench, &(struct fetch_event){.type = FETCH_CLOSED, .source = 1});
    assert_int_equal(bench.effects.count, 5);
    assert_effect(&bench, 4, FETCH_ASK, FETCH_COORDINATOR);
    part(&bench, 1, chunk_of(1, 3, 0)); /* was on its way */
    assert_int_equal(bench.effects.fault, FETCH_FAULT_STALE);
    feed(&bench, &(struct fetch_event){.type = FETCH_BEGAN, .holders = 2});
    assert_true(want(&bench, chunk_of(1, 0, 3)) < 2); /* the next load tries them again */
}

static void test_a_silent_holder(void **state) {
    (void)state;
    mono_t deadline;
    struct bench bench = began(2);
    assert_false(fetch_core_deadline(&bench.core, &deadline));
    assert_int_equal(want(&bench, chunk_of(1, 0, 1)), 0);
    assert_int_equal(want(&bench, chunk_of(1, 1, 1)), 0);
    assert_int_equal(want(&bench, chunk_of(1, 2, 2)), 1);
    assert_true(fetch_core_deadline(&bench.core, &deadline));
    assert_int_equal(mono_since(deadline, bench.now), 5 * MONO_SECOND);
    later(&bench, 4);
    assert_int_equal(bench.effects.count, 0);
    part(&bench, 0, chunk_of(1, 0, 0)); /* slow, and not silent */
    later(&bench, 4);
    assert_int_equal(bench.effects.count, 2);
    assert_effect(&bench, 0, FETCH_LEAVE, 1);
    assert_effect(&bench, 1, FETCH_ASK, FETCH_COORDINATOR);
    later(&bench, 1);
    assert_effect(&bench, 0, FETCH_LEAVE, 0);
    assert_int_equal(want(&bench, chunk_of(1, 5, 3)), FETCH_COORDINATOR);
}

/* Idle time is no silence. */
static void test_an_idle_holder(void **state) {
    (void)state;
    struct bench bench = began(1);
    want(&bench, chunk_of(1, 0, 1));
    part(&bench, 0, chunk_of(1, 0, 0));
    later(&bench, 60);
    assert_int_equal(want(&bench, chunk_of(1, 1, 1)), 0);
    later(&bench, 4);
    assert_int_equal(bench.effects.count, 0);
}

static void test_a_silent_coordinator_is_asked_again(void **state) {
    (void)state;
    struct bench bench = began(0);
    want(&bench, chunk_of(1, 0, 0));
    later(&bench, 9);
    assert_int_equal(bench.effects.count, 0);
    later(&bench, 1);
    assert_effect(&bench, 0, FETCH_ASK, FETCH_COORDINATOR);
    later(&bench, 9);
    assert_int_equal(bench.effects.count, 0);
    part(&bench, FETCH_COORDINATOR, chunk_of(1, 0, 0));
    assert_stored(&bench);
    part(&bench, FETCH_COORDINATOR, chunk_of(1, 0, 0));
    assert_int_equal(bench.effects.fault, FETCH_FAULT_STALE);
}

/* A way that brings a chunk every 4 s, in the order they were asked for, has all of them 32 s on their way: none is
 * asked for twice. */
static void test_a_slow_way_to_the_coordinator(void **state) {
    (void)state;
    struct bench bench = began(0);
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        want(&bench, chunk_of(1, i, 0));
    for (unsigned arrived = 0; arrived < 50; arrived++) {
        for (unsigned second = 0; second < 4; second++) {
            later(&bench, 1);
            assert_int_equal(bench.effects.count, 0);
        }
        part(&bench, FETCH_COORDINATOR, chunk_of(1, arrived, 0));
        assert_stored(&bench);
        want(&bench, chunk_of(1, arrived + FETCH_CHUNKS, 0));
    }
}

/* One that takes longer than any patience for a chunk gets few of them twice, for patience grows. */
static void test_the_slowest_way(void **state) {
    (void)state;
    struct bench bench = began(0);
    unsigned asked = FETCH_CHUNKS;
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        want(&bench, chunk_of(1, i, 0));
    for (unsigned second = 1; second <= 84 * FETCH_CHUNKS; second++) {
        later(&bench, 1);
        asked += bench.effects.count;
        if (second % 84 == 0)
            part(&bench, FETCH_COORDINATOR, chunk_of(1, second / 84 - 1, 0));
    }
    assert_int_equal(asked, 5 * FETCH_CHUNKS - 1); /* after 10, 30, 70 and, 80 after the first came, 164 s; no more */
}

/* ---- bytes that nobody wanted ---- */

/* A holder that answers nothing but what it was not asked is silent. */
static void test_absence_of_what_was_not_asked(void **state) {
    (void)state;
    struct bench bench = began(1);
    want(&bench, chunk_of(1, 0, 1));
    later(&bench, 4);
    feed(&bench, &(struct fetch_event){.type = FETCH_NOT_HERE, .source = 0, .chunk = chunk_of(7, 0, 0)});
    assert_int_equal(bench.effects.count, 0);
    later(&bench, 1);
    assert_effect(&bench, 0, FETCH_LEAVE, 0);
    assert_effect(&bench, 1, FETCH_ASK, FETCH_COORDINATOR);
}

static void test_bytes_count_from_whom_they_were_asked(void **state) {
    (void)state;
    struct bench bench = began(2);
    assert_int_equal(want(&bench, chunk_of(1, 0, 1)), 0);
    part(&bench, 1, chunk_of(1, 0, 0));
    assert_int_equal(bench.effects.fault, FETCH_FAULT_STALE);
    part(&bench, FETCH_COORDINATOR, chunk_of(1, 0, 0)); /* it was asked before the holder, perhaps */
    assert_stored(&bench);
}

static void test_too_few_bytes(void **state) {
    (void)state;
    struct bench bench = began(1);
    struct fetch_chunk wrong = chunk_of(1, 0, 0);
    wrong.bytes--;
    want(&bench, chunk_of(1, 0, 1));
    part(&bench, 0, wrong);
    assert_int_equal(bench.effects.fault, FETCH_FAULT_MALFORMED);
    assert_int_equal(bench.effects.count, 2);
    assert_effect(&bench, 0, FETCH_LEAVE, 0);
    assert_effect(&bench, 1, FETCH_ASK, FETCH_COORDINATOR);
    part(&bench, FETCH_COORDINATOR, wrong);
    assert_int_equal(bench.effects.fault, FETCH_FAULT_MALFORMED);
    assert_int_equal(bench.effects.count, 0);
}

static void test_after_the_end(void **state) {
    (void)state;
    struct bench bench = began(1);
    mono_t deadline;
    want(&bench, chunk_of(1, 0, 1));
    feed(&bench, &(struct fetch_event){.type = FETCH_ENDED});
    assert_false(fetch_core_deadline(&bench.core, &deadline));
    feed(&bench, &(struct fetch_event){.type = FETCH_CLOSED, .source = 0});
    feed(&bench, &(struct fetch_event){.type = FETCH_WANTED, .chunk = chunk_of(1, 1, 1)});
    later(&bench, 60);
    assert_int_equal(bench.effects.count, 0);
    part(&bench, 0, chunk_of(1, 0, 0));
    assert_int_equal(bench.effects.fault, FETCH_FAULT_STALE);
}

/* ---- random histories ---- */

#define TENSORS 6
#define PIECES  5

struct world {
    struct bench bench;
    uint64_t random;
    unsigned holders;
    bool dead[FETCH_HOLDERS_MAX];    /* says nothing */
    uint32_t has[FETCH_HOLDERS_MAX]; /* bit: tensor */
    struct fetch_effect asked[4096]; /* on their way to a source, in any order */
    unsigned asks;
    bool stored[TENSORS][PIECES];
    unsigned wanted, arrived;
};

static unsigned roll(struct world *world, unsigned sides) {
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(world->random >> 33) % sides;
}

static void follow(struct world *world) {
    const struct fetch_effects *effects = &world->bench.effects;
    for (unsigned i = 0; i < effects->count; i++) {
        const struct fetch_effect *effect = &effects->effect[i];
        if (effect->type == FETCH_STORE) {
            bool *stored = &world->stored[effect->chunk.hash.bytes[0]][effect->chunk.offset / WHOLE];
            assert_false(*stored);
            *stored = true;
            world->arrived++;
        } else if (effect->type == FETCH_ASK) {
            assert_true(world->asks < 4096);
            world->asked[world->asks++] = *effect;
        }
    }
}

static void happen(struct world *world, const struct fetch_event *event) {
    feed(&world->bench, event);
    follow(world);
}

/* One question reaches its source: an answer, or silence. */
static void answer_one(struct world *world) {
    unsigned at = roll(world, world->asks);
    struct fetch_effect asked = world->asked[at];
    struct fetch_event event = {.type = FETCH_PART, .source = asked.source, .chunk = asked.chunk};
    world->asked[at] = world->asked[--world->asks];
    if (asked.source == FETCH_COORDINATOR ? roll(world, 20) == 0 : world->dead[asked.source])
        return;
    if (asked.source != FETCH_COORDINATOR && !(world->has[asked.source] >> asked.chunk.hash.bytes[0] & 1))
        event.type = FETCH_NOT_HERE;
    event.chunk.bytes -= asked.source != FETCH_COORDINATOR && roll(world, 50) == 0;
    happen(world, &event);
}

static void trouble(struct world *world) {
    unsigned holder = world->holders ? roll(world, world->holders) : 0;
    if (roll(world, 2))
        happen(world, &(struct fetch_event){.type = FETCH_CLOSED, .source = holder});
    else
        world->dead[holder] = true;
}

static void want_next(struct world *world) {
    unsigned tensor = world->wanted / PIECES, piece = world->wanted % PIECES;
    world->wanted++;
    happen(world, &(struct fetch_event){.type = FETCH_WANTED, .chunk = chunk_of(tensor, piece, roll(world, 256))});
}

static void history(uint64_t seed) {
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world->random = seed;
    world->holders = roll(world, FETCH_HOLDERS_MAX + 1);
    for (unsigned i = 0; i < world->holders; i++)
        world->has[i] = roll(world, 1 << TENSORS);
    world->bench = began(world->holders);
    for (unsigned step = 0; world->arrived < TENSORS * PIECES; step++) {
        mono_t deadline;
        if (step > 100000)
            fail_msg("seed %llu: it never ends", (unsigned long long)seed);
        if (world->wanted < TENSORS * PIECES && world->wanted - world->arrived < FETCH_CHUNKS && roll(world, 2))
            want_next(world);
        else if (world->asks && roll(world, 3))
            answer_one(world);
        else if (roll(world, 20) == 0)
            trouble(world);
        else if (fetch_core_deadline(&world->bench.core, &deadline) && (!world->asks || roll(world, 10) == 0)) {
            if (mono_since(deadline, world->bench.now) > 0)
                world->bench.now = deadline;
            happen(world, &(struct fetch_event){.type = FETCH_TICK});
        }
    }
    free(world);
}

static void test_random_histories(void **state) {
    (void)state;
    const char *seed = getenv("FETCH_SEED");
    if (seed) {
        history(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= HISTORIES; i++)
        history(i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_holders),
        cmocka_unit_test(test_holders_share_the_work),
        cmocka_unit_test(test_bad_tensors_come_from_the_coordinator),
        cmocka_unit_test(test_not_here),
        cmocka_unit_test(test_much_is_not_here),
        cmocka_unit_test(test_a_holder_closes),
        cmocka_unit_test(test_a_silent_holder),
        cmocka_unit_test(test_an_idle_holder),
        cmocka_unit_test(test_a_silent_coordinator_is_asked_again),
        cmocka_unit_test(test_a_slow_way_to_the_coordinator),
        cmocka_unit_test(test_the_slowest_way),
        cmocka_unit_test(test_absence_of_what_was_not_asked),
        cmocka_unit_test(test_bytes_count_from_whom_they_were_asked),
        cmocka_unit_test(test_too_few_bytes),
        cmocka_unit_test(test_after_the_end),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
