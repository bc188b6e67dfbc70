/* Two ends of a probe over a simulated link: what is measured must be what the link is, from 1 Mbit/s to 10 Gbit/s,
 * with the burst of a token bucket, with other rates in the two directions; and whatever is lost, repeated or invented
 * on the way, each end reports exactly once, in time. PROBE_SEED=N replays one of the random histories. */
#include "daemon/core/probe_core.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FRAMES 4096
#define LIMIT  (10 * MONO_SECOND)

struct frame {
    mono_t arrives;
    enum probe_kind kind;
    uint64_t number, bytes;
};

/* One direction: a token bucket, then a delay. */
struct pipe {
    double bytes_per_second, burst_bytes, tokens;
    int64_t delay_ns;
    mono_t filled, free_at; /* when the tokens were counted, and when the last frame has left */
    unsigned frames;
    struct frame frame[FRAMES];
};

struct world {
    struct probe_core end[2];
    struct pipe to[2]; /* towards end 0 and 1 */
    unsigned reports[2];
    mono_t now;
    uint64_t random;
};

static unsigned roll(struct world *world, unsigned sides) {
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(world->random >> 33) % sides;
}

static void put(struct pipe *pipe, const struct probe_effect *effect, mono_t now) {
    double bytes = effect->bytes + 60.0, seconds;
    assert_true(pipe->frames < FRAMES);
    if (mono_since(now, pipe->free_at) > 0)
        pipe->free_at = now;
    pipe->tokens += (double)mono_since(pipe->free_at, pipe->filled) / 1e9 * pipe->bytes_per_second;
    pipe->filled = pipe->free_at;
    pipe->tokens = pipe->tokens > pipe->burst_bytes ? pipe->burst_bytes : pipe->tokens;
    seconds = bytes > pipe->tokens ? (bytes - pipe->tokens) / pipe->bytes_per_second : 0;
    pipe->tokens -= bytes < pipe->tokens ? bytes : pipe->tokens;
    pipe->free_at = pipe->filled = mono_after(pipe->free_at, (int64_t)(seconds * 1e9));
    pipe->frame[pipe->frames++] =
        (struct frame){mono_after(pipe->free_at, pipe->delay_ns), effect->kind, effect->number, effect->bytes};
}

static void feed(struct world *world, unsigned end, const struct probe_event *event) {
    struct probe_effects effects;
    probe_core_step(&world->end[end], event, world->now, &effects);
    for (unsigned i = 0; i < effects.count; i++) {
        if (effects.effect[i].type == PROBE_REPORT) {
            assert_int_equal(++world->reports[end], 1);
            continue;
        }
        assert_int_equal(event->type, PROBE_WRITABLE);
        assert_true(effects.effect[i].bytes <= MESSAGE_PROBE_MAX);
        assert_true((effects.effect[i].bytes > 0) == (effects.effect[i].kind == PROBE_CHUNK));
        put(&world->to[1 - end], &effects.effect[i], world->now);
    }
}

/* What of the frames towards `end` has arrived. */
static void deliver(struct world *world, unsigned end) {
    struct pipe *pipe = &world->to[end];
    while (pipe->frames > 0 && mono_since(world->now, pipe->frame[0].arrives) >= 0) {
        struct frame frame = pipe->frame[0];
        memmove(&pipe->frame[0], &pipe->frame[1], --pipe->frames * sizeof frame);
        feed(world, end,
             &(struct probe_event){
                 .type = PROBE_ARRIVED, .kind = frame.kind, .number = frame.number, .bytes = frame.bytes});
    }
}

static void send_all(struct world *world, unsigned end) {
    while (probe_core_wants(&world->end[end]) && world->to[1 - end].frames + 2 < FRAMES)
        feed(world, end, &(struct probe_event){.type = PROBE_WRITABLE});
}

static bool over(const struct world *world) {
    return world->end[0].state == PROBE_OVER && world->end[1].state == PROBE_OVER;
}

/* To the next thing that happens. */
static void sleep_world(struct world *world) {
    if (over(world))
        return;
    mono_t next = mono_after(world->now, LIMIT);
    for (unsigned end = 0; end < 2; end++) {
        if (world->to[end].frames > 0 && mono_since(next, world->to[end].frame[0].arrives) > 0)
            next = world->to[end].frame[0].arrives;
        if (world->end[end].state != PROBE_OVER && mono_since(next, probe_core_deadline(&world->end[end])) > 0)
            next = probe_core_deadline(&world->end[end]);
    }
    if (mono_since(next, world->now) > 0)
        world->now = next;
}

static void turn(struct world *world) {
    for (unsigned end = 0; end < 2; end++) {
        deliver(world, end);
        feed(world, end, &(struct probe_event){.type = PROBE_TICK});
        send_all(world, end);
    }
    sleep_world(world);
}

static struct world *world_new(double there, double back, double burst, int64_t delay_ns) {
    struct world *world = calloc(1, sizeof *world);
    world->now = (mono_t){MONO_SECOND};
    for (unsigned end = 0; end < 2; end++) {
        const struct probe_settings settings = {end == 0, LIMIT, 250 * MONO_MS, (uint64_t)32 << 20};
        probe_core_init(&world->end[end], &settings, world->now);
        world->to[end] = (struct pipe){.bytes_per_second = end == 1 ? there : back,
                                       .burst_bytes = burst,
                                       .tokens = burst,
                                       .filled = world->now,
                                       .delay_ns = delay_ns};
    }
    return world;
}

static void assert_near(double value, double want, double share) {
    if (fabs(value - want) > share * want)
        fail_msg("got %g, want %g", value, want);
}

static void measures(double there, double back, double burst, int64_t delay_ns, double share) {
    struct world *world = world_new(there, back, burst, delay_ns);
    mono_t began = world->now;
    while (!over(world))
        turn(world);
    assert_null(world->end[0].error);
    assert_null(world->end[1].error);
    assert_near(world->end[1].bytes_per_second, there, share);
    assert_near(world->end[0].bytes_per_second, back, share);
    assert_near(world->end[0].latency_s, (double)delay_ns / 1e9 + 60 / there, 0.3);
    assert_int_equal(world->to[0].frames + world->to[1].frames, 0); /* nothing is left on the link */
    assert_true(mono_since(world->now, began) < 6 * MONO_SECOND);
    free(world);
}

#define MBIT (1e6 / 8)

static void test_measures_what_the_link_is(void **state) {
    (void)state;
    measures(1 * MBIT, 1 * MBIT, 1600, 2 * MONO_MS, 0.05);
    measures(10 * MBIT, 10 * MBIT, 16 << 10, MONO_MS, 0.05);
    measures(100 * MBIT, 100 * MBIT, 64 << 10, MONO_MS / 2, 0.05);
    measures(1000 * MBIT, 1000 * MBIT, 128 << 10, MONO_MS / 5, 0.05);
    measures(10000 * MBIT, 10000 * MBIT, 256 << 10, MONO_MS / 20, 0.1);
}

static void test_each_direction_is_measured_alone(void **state) {
    (void)state;
    measures(40 * MBIT, 2 * MBIT, 1600, 4 * MONO_MS, 0.05);
    measures(2 * MBIT, 400 * MBIT, 1600, MONO_MS, 0.05);
}

static void test_long_way(void **state) {
    (void)state;
    measures(50 * MBIT, 50 * MBIT, 1600, 20 * MONO_MS, 0.2);
    measures(2 * MBIT, 2 * MBIT, 1600, 80 * MONO_MS, 0.2);  /* answers come when the next ping is out */
    measures(2 * MBIT, 2 * MBIT, 1600, 240 * MONO_MS, 0.5); /* or four; the window is still opening when it ends */
}

/* By way of a satellite, where it takes two seconds to connect: the end that echoes hears the first chunk after more
 * than the three seconds that it waits for the first ping. */
static void test_the_longest_way(void **state) {
    (void)state;
    struct world *world = world_new(2 * MBIT, 2 * MBIT, 1600, 250 * MONO_MS);
    mono_t began = world->now;
    while (!over(world)) {
        if (mono_since(world->now, began) < 2 * MONO_SECOND)
            world->to[1].frames = 0;
        turn(world);
    }
    assert_null(world->end[0].error);
    assert_null(world->end[1].error);
    assert_near(world->end[0].latency_s, 0.25, 0.1);
    free(world);
}

static void test_the_burst_of_a_bucket_does_not_count(void **state) {
    (void)state;
    measures(2 * MBIT, 2 * MBIT, 32 << 10, MONO_MS, 0.1);
    measures(100 * MBIT, 100 * MBIT, 512 << 10, MONO_MS, 0.05);
}

static void test_silence_is_told_in_time(void **state) {
    (void)state;
    for (unsigned deaf = 0; deaf < 2; deaf++) {
        struct world *world = world_new(MBIT, MBIT, 1600, MONO_MS);
        mono_t began = world->now;
        while (!over(world)) {
            world->to[deaf].frames = 0;
            turn(world);
        }
        /* one end hears pings for the three seconds in which the other hears nothing */
        assert_int_equal(mono_since(world->now, began) / MONO_SECOND, deaf == 0 ? 5 : 3);
        assert_string_equal(world->end[0].error, "the other end does not answer");
        assert_true(world->end[0].bytes_per_second == 0);
        free(world);
    }
}

static void test_abort_ends_it(void **state) {
    (void)state;
    struct world *world = world_new(MBIT, MBIT, 1600, MONO_MS);
    turn(world);
    feed(world, 0, &(struct probe_event){.type = PROBE_ABORT, .text = "why not"});
    assert_string_equal(world->end[0].error, "why not");
    assert_false(probe_core_wants(&world->end[0]));
    free(world);
}

/* A link that loses, repeats and invents frames, and ends that come late. */
static void storm(uint64_t seed) {
    struct world *world = world_new(1e4 + (double)(seed * 7919 % 100000000), 1e5, 4096, (int64_t)(seed % 9) * MONO_MS);
    world->random = seed;
    unsigned faults = 1 + roll(world, 60);
    for (unsigned turns = 0; !over(world); turns++) {
        unsigned end = roll(world, 2);
        struct pipe *pipe = &world->to[end];
        assert_true(turns < 2000000);
        if (roll(world, 100) < faults && pipe->frames > 0 && pipe->frames + 2 < FRAMES) {
            if (roll(world, 2))
                pipe->frames--;
            else
                pipe->frame[pipe->frames] = pipe->frame[pipe->frames - 1], pipe->frames++;
        }
        if (roll(world, 100) < faults)
            feed(world, end,
                 &(struct probe_event){.type = PROBE_ARRIVED,
                                       .kind = (enum probe_kind)(1 + roll(world, PROBE_LAST)),
                                       .number = roll(world, 2) ? roll(world, 100000) : UINT64_MAX,
                                       .bytes = roll(world, MESSAGE_PROBE_MAX)});
        turn(world);
        for (end = 0; end < 2; end++)
            assert_true(world->end[end].acknowledged <= world->end[end].sent);
    }
    for (unsigned end = 0; end < 2; end++) {
        assert_int_equal(world->reports[end], 1);
        assert_true(isfinite(world->end[end].bytes_per_second) && world->end[end].bytes_per_second >= 0);
        assert_true(world->end[end].latency_s >= 0);
    }
    free(world);
}

static void test_random_histories(void **state) {
    (void)state;
    const char *only = getenv("PROBE_SEED");
    for (uint64_t seed = 1; seed <= (only ? 1 : 150); seed++) {
        uint64_t chosen = only ? strtoull(only, NULL, 10) : seed;
        if (only)
            printf("PROBE_SEED=%llu\n", (unsigned long long)chosen);
        storm(chosen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measures_what_the_link_is),
        cmocka_unit_test(test_each_direction_is_measured_alone),
        cmocka_unit_test(test_long_way),
        cmocka_unit_test(test_the_longest_way),
        cmocka_unit_test(test_the_burst_of_a_bucket_does_not_count),
        cmocka_unit_test(test_silence_is_told_in_time),
        cmocka_unit_test(test_abort_ends_it),
        cmocka_unit_test(test_random_histories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
