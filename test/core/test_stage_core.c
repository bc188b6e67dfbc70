/* The stage's state machine: what each event does in each state, the ways of microbatches, and random
 * histories in which a model of worker, loader and network keeps account beside the core. STAGE_STORM_SEED replays one
 * history. */
#include "test/core/stage_fixture.h"

/* ---- state x event ---- */

struct row {
    enum life before;
    struct stage_event event;
    enum life after;
    unsigned count;
    enum stage_effect_type effects[4];
};

static const struct row table[] = {
    {LIFE_JOINING, {.type = STAGE_OPENED}, LIFE_JOINING, 1, {STAGE_SAY_HELLO}},
    {LIFE_JOINING, {.type = STAGE_CLOSED}, LIFE_JOINING, 0, {0}},
    {LIFE_JOINING, {.type = STAGE_WELCOMED, .cluster = 1}, LIFE_JOINING, 0, {0}}, /* nobody was asked */
    {LIFE_JOINING, {.type = STAGE_REFUSED, .again = true}, LIFE_JOINING, 0, {0}},
    {LIFE_JOINING, {.type = STAGE_REFUSED}, LIFE_GONE, 1, {STAGE_EXIT}},
    {LIFE_JOINING, {.type = STAGE_ASSIGNED, .epoch = {9}}, LIFE_JOINING, 0, {0}},
    {LIFE_JOINING, {.type = STAGE_SHUTDOWN}, LIFE_GONE, 1, {STAGE_EXIT}},
    {LIFE_JOINING, {.type = STAGE_RELEASED}, LIFE_JOINING, 0, {0}},
    {LIFE_JOINING, {.type = STAGE_TICK}, LIFE_JOINING, 0, {0}},
    {LIFE_IDLE, {.type = STAGE_TICK}, LIFE_IDLE, 1, {STAGE_SAY_HEARTBEAT}},
    {LIFE_IDLE, {.type = STAGE_CLOSED}, LIFE_JOINING, 0, {0}},
    {LIFE_IDLE, {.type = STAGE_OPENED}, LIFE_JOINING, 1, {STAGE_SAY_HELLO}},
    {LIFE_IDLE, {.type = STAGE_WELCOMED, .cluster = CLUSTER}, LIFE_IDLE, 0, {0}},
    {LIFE_IDLE, {.type = STAGE_REFUSED, .again = true}, LIFE_JOINING, 1, {STAGE_SAY_HELLO}},
    {LIFE_IDLE, {.type = STAGE_ASSIGNED, .epoch = {1}}, LIFE_LOADING, 2, {STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_IDLE, {.type = STAGE_ASSIGNED, .epoch = {0}}, LIFE_IDLE, 0, {0}},
    {LIFE_IDLE, {.type = STAGE_TOLD_SERVE, .epoch = {0}}, LIFE_IDLE, 0, {0}},
    {LIFE_IDLE, {.type = STAGE_SHUTDOWN}, LIFE_IDLE, 1, {STAGE_SAY_LEAVE}},
    {LIFE_IDLE, {.type = STAGE_RELEASED}, LIFE_GONE, 1, {STAGE_EXIT}},
    {LIFE_CLEARING, {.type = STAGE_LOAD_ENDED}, LIFE_LOADING, 2, {STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_CLEARING, {.type = STAGE_LOADED, .in = &cut, .out = &cut}, LIFE_LOADING, 2, {STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_CLEARING, {.type = STAGE_LOAD_FAILED, .text = "x"}, LIFE_LOADING, 2, {STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_CLEARING, {.type = STAGE_PROGRESSED}, LIFE_CLEARING, 0, {0}},
    {LIFE_CLEARING, {.type = STAGE_ASSIGNED, .epoch = {3}}, LIFE_CLEARING, 0, {0}}, /* cancelled already */
    {LIFE_CLEARING, {.type = STAGE_ASSIGNED, .epoch = {2}}, LIFE_CLEARING, 0, {0}},
    {LIFE_CLEARING, {.type = STAGE_CLOSED}, LIFE_JOINING, 0, {0}},
    {LIFE_LOADING, {.type = STAGE_PROGRESSED}, LIFE_LOADING, 1, {STAGE_SAY_PROGRESS}},
    {LIFE_LOADING, {.type = STAGE_LOADED, .in = &cut, .out = &cut}, LIFE_READY, 1, {STAGE_SAY_READY}},
    {LIFE_LOADING, {.type = STAGE_LOAD_FAILED, .text = "x"}, LIFE_IDLE, 2, {STAGE_SAY_FAILED, STAGE_CLOSE_NEXT}},
    {LIFE_LOADING,
     {.type = STAGE_NEXT_FAILED, .lane = 1, .text = "x"},
     LIFE_IDLE,
     3,
     {STAGE_SAY_FAILED, STAGE_CANCEL, STAGE_CLOSE_NEXT}},
    {LIFE_LOADING, {.type = STAGE_ASSIGNED, .epoch = {2}}, LIFE_CLEARING, 2, {STAGE_CANCEL, STAGE_CLOSE_NEXT}},
    {LIFE_LOADING, {.type = STAGE_ASSIGNED, .epoch = {1}}, LIFE_LOADING, 0, {0}},
    {LIFE_LOADING, {.type = STAGE_CLOSED}, LIFE_JOINING, 2, {STAGE_CANCEL, STAGE_CLOSE_NEXT}},
    {LIFE_LOADING, {.type = STAGE_TOLD_SERVE, .epoch = {1}}, LIFE_LOADING, 0, {0}},
    {LIFE_LOADING, {.type = STAGE_SHUTDOWN}, LIFE_LOADING, 1, {STAGE_SAY_LEAVE}},
    {LIFE_READY, {.type = STAGE_TOLD_SERVE, .epoch = {1}}, LIFE_SERVING, 0, {0}},
    {LIFE_READY, {.type = STAGE_TOLD_SERVE, .epoch = {7}}, LIFE_READY, 0, {0}},
    {LIFE_READY,
     {.type = STAGE_ASSIGNED, .epoch = {2}},
     LIFE_LOADING,
     3,
     {STAGE_CLOSE_NEXT, STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_READY, {.type = STAGE_CLOSED}, LIFE_JOINING, 1, {STAGE_CLOSE_NEXT}},
    {LIFE_READY, {.type = STAGE_SHUTDOWN}, LIFE_READY, 1, {STAGE_SAY_LEAVE}},
    {LIFE_SERVING, {.type = STAGE_TOLD_SERVE, .epoch = {1}}, LIFE_SERVING, 0, {0}},
    {LIFE_SERVING,
     {.type = STAGE_ASSIGNED, .epoch = {2}},
     LIFE_LOADING,
     3,
     {STAGE_CLOSE_NEXT, STAGE_LOAD, STAGE_OPEN_NEXT}},
    {LIFE_SERVING, {.type = STAGE_CLOSED}, LIFE_JOINING, 1, {STAGE_CLOSE_NEXT}},
    {LIFE_SERVING, {.type = STAGE_WELCOMED, .cluster = CLUSTER}, LIFE_SERVING, 0, {0}},
    {LIFE_SERVING, {.type = STAGE_WELCOMED, .cluster = 5}, LIFE_IDLE, 1, {STAGE_CLOSE_NEXT}},
    {LIFE_SERVING, {.type = STAGE_REFUSED, .again = true}, LIFE_JOINING, 2, {STAGE_CLOSE_NEXT, STAGE_SAY_HELLO}},
    {LIFE_SERVING, {.type = STAGE_REFUSED}, LIFE_GONE, 2, {STAGE_CLOSE_NEXT, STAGE_EXIT}},
    {LIFE_SERVING, {.type = STAGE_SHUTDOWN}, LIFE_SERVING, 1, {STAGE_SAY_LEAVE}},
    {LIFE_SERVING, {.type = STAGE_RELEASED}, LIFE_GONE, 2, {STAGE_CLOSE_NEXT, STAGE_EXIT}},
    {LIFE_SERVING, {.type = STAGE_WRITABLE, .lane = 1}, LIFE_SERVING, 0, {0}},
    {LIFE_GONE, {.type = STAGE_OPENED}, LIFE_GONE, 0, {0}},
    {LIFE_GONE, {.type = STAGE_TICK}, LIFE_GONE, 0, {0}},
    {LIFE_GONE, {.type = STAGE_SHUTDOWN}, LIFE_GONE, 0, {0}},
    {LIFE_GONE, {.type = STAGE_ASSIGNED, .epoch = {9}}, LIFE_GONE, 0, {0}},
};

static void test_table(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const struct row *row = &table[i];
        struct fixture fixture = in_state(row->before);
        step(&fixture, &row->event);
        if (life_of(&fixture.core) != row->after || fixture.effects.count != row->count)
            fail_msg("row %zu: event %d in state %d: got %d and %u effects", i, (int)row->event.type, (int)row->before,
                     (int)life_of(&fixture.core), fixture.effects.count);
        expect(&fixture, row->count, row->effects);
    }
}

/* ---- the coordinator ---- */

static void test_hello_is_repeated(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_JOINING);
    mono_t deadline;
    assert_false(stage_core_deadline(&fixture.core, &deadline));
    happen(&fixture, STAGE_OPENED);
    assert_true(stage_core_deadline(&fixture.core, &deadline));
    happen(&fixture, STAGE_TICK);
    EXPECT_NOTHING(&fixture);
    fixture.now = deadline;
    happen(&fixture, STAGE_TICK);
    EXPECT(&fixture, STAGE_SAY_HELLO);
    /* "not now": sooner than without any answer */
    step(&fixture, &(struct stage_event){.type = STAGE_REFUSED, .again = true});
    EXPECT_NOTHING(&fixture);
    fixture.now = mono_after(fixture.now, MONO_SECOND);
    happen(&fixture, STAGE_TICK);
    EXPECT(&fixture, STAGE_SAY_HELLO);
}

static void test_heartbeats(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    happen(&fixture, STAGE_TICK);
    EXPECT(&fixture, STAGE_SAY_HEARTBEAT);
    happen(&fixture, STAGE_TICK);
    EXPECT_NOTHING(&fixture);
    mono_t deadline;
    assert_true(stage_core_deadline(&fixture.core, &deadline));
    assert_int_equal(mono_since(deadline, fixture.now), 500 * MONO_MS);
    fixture.now = deadline;
    arrive(&fixture, 1);
    computed(&fixture, 0, 0);
    struct message_heartbeat heartbeat = stage_core_heartbeat(&fixture.core, fixture.now);
    assert_int_equal(heartbeat.epoch.number, 1);
    assert_int_equal(heartbeat.microbatches, 1);
    assert_int_equal(heartbeat.items, 2);
    assert_int_equal(heartbeat.busy_ns, 1000);
    assert_int_equal(heartbeat.serving_ns, 500 * MONO_MS);
    assert_int_equal(heartbeat.computed.number, 1);
    assert_int_equal(heartbeat.loading_ns, 0);
}

/* For how long a load has not got on: since it began, or last reported. */
static void test_a_load_that_does_not_get_on(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_LOADING);
    fixture.now = mono_after(fixture.now, 9 * MONO_SECOND);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).loading_ns, 9 * MONO_SECOND);
    happen(&fixture, STAGE_PROGRESSED);
    fixture.now = mono_after(fixture.now, MONO_SECOND);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).loading_ns, MONO_SECOND);
    loaded(&fixture);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).loading_ns, 0);
    fixture.now = mono_after(fixture.now, MONO_SECOND);
    assign(&fixture, 2);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).loading_ns, 0);
}

/* A slow board is seen to work before its first microbatch is done. */
static void test_work_under_way_counts(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    fixture.now = mono_after(fixture.now, 7 * MONO_SECOND);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).busy_ns, 7 * MONO_SECOND);
    arrive(&fixture, 2);
    computed(&fixture, 0, 0);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).busy_ns, 1000);
    fixture.now = mono_after(fixture.now, MONO_SECOND);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).busy_ns, 1000 + MONO_SECOND);
}

/* A coordinator that starts anew counts epochs from 1 again. */
static void test_reconnection(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    arrive(&fixture, 2);
    happen(&fixture, STAGE_CLOSED);
    EXPECT(&fixture, STAGE_CLOSE_NEXT);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).epoch.number, 0);
    happen(&fixture, STAGE_OPENED);
    EXPECT(&fixture, STAGE_SAY_HELLO);
    welcome(&fixture, CLUSTER + 1);
    assign(&fixture, 1);
    EXPECT_NOTHING(&fixture); /* two microbatches are still being computed */
    assert_int_equal(life_of(&fixture.core), LIFE_CLEARING);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP);
    computed(&fixture, 1, 1);
    EXPECT(&fixture, STAGE_DROP, STAGE_LOAD, STAGE_OPEN_NEXT);
    assert_int_equal(fixture.core.microbatches, 0);
}

static void test_shutdown_everywhere(void **state) {
    (void)state;
    for (enum life from = LIFE_IDLE; from <= LIFE_SERVING; from++) {
        struct fixture fixture = in_state(from);
        happen(&fixture, STAGE_SHUTDOWN);
        EXPECT(&fixture, STAGE_SAY_LEAVE);
        struct fixture released = fixture, again = fixture, closed = fixture, patient = fixture;
        happen(&released, STAGE_RELEASED);
        assert_non_null(effect_find(&released, STAGE_EXIT));
        happen(&again, STAGE_SHUTDOWN);
        assert_non_null(effect_find(&again, STAGE_EXIT));
        happen(&closed, STAGE_CLOSED);
        assert_non_null(effect_find(&closed, STAGE_EXIT));
        patient.now = mono_after(patient.now, 30 * MONO_SECOND - 1);
        happen(&patient, STAGE_TICK);
        assert_null(effect_find(&patient, STAGE_EXIT));
        patient.now = mono_after(patient.now, 1);
        happen(&patient, STAGE_TICK);
        assert_non_null(effect_find(&patient, STAGE_EXIT));
    }
}

static void test_leaving_goes_on_serving(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    happen(&fixture, STAGE_SHUTDOWN);
    arrive(&fixture, 1);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    assign(&fixture, 2); /* crossed our wish on its way */
    EXPECT_NOTHING(&fixture);
}

/* ---- microbatches ---- */

static void test_a_microbatch(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    struct data_header header = header_of(&fixture, 42, 3);
    header.attempt = 2;
    header.sequence_id = 7;
    struct stage_event event = arrival_of(&fixture, &header);
    step(&fixture, &event);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    unsigned input = effect_find(&fixture, STAGE_COMPUTE)->input, output = effect_find(&fixture, STAGE_COMPUTE)->output;
    assert_int_equal(effect_find(&fixture, STAGE_KEEP)->input, input);
    computed(&fixture, input, output);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    const struct data_header *sent = &fixture.core.lane[1].output[output].header;
    assert_int_equal(sent->sequence.number, 42);
    assert_int_equal(sent->epoch.number, 1);
    assert_int_equal(sent->attempt, 2);
    assert_int_equal(sent->sequence_id, 7);
    assert_int_equal(sent->items, 3);
    assert_int_equal(sent->cut, 9);
    assert_int_equal(sent->checksum, 99);
    answer_send(&fixture, STAGE_SENT, output);
    EXPECT_NOTHING(&fixture);
    answer_send(&fixture, STAGE_LET_GO, output);
    EXPECT_NOTHING(&fixture);
    assert_int_equal(fixture.core.lane[1].output[output].state, STAGE_OUTPUT_FREE);
}

/* Two are computed ahead, none is received beyond; outputs that the network holds stop the computing. */
static void test_slots_are_bounded(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    assert_true(stage_core_receiving(&fixture.core, 1));
    arrive(&fixture, 2);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    assert_false(stage_core_receiving(&fixture.core, 1));
    computed(&fixture, 0, 0);
    answer_send(&fixture, STAGE_SENT, 0);
    assert_true(stage_core_receiving(&fixture.core, 1));
    arrive(&fixture, 3);
    EXPECT(&fixture, STAGE_KEEP); /* no output is free */
    computed(&fixture, 1, 1);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    answer_send(&fixture, STAGE_SENT, 1);
    arrive(&fixture, 4);
    EXPECT(&fixture, STAGE_KEEP);
    assert_false(stage_core_receiving(&fixture.core, 1));
    answer_send(&fixture, STAGE_LET_GO, 1);
    EXPECT(&fixture, STAGE_COMPUTE);
    assert_int_equal(fixture.core.lane[1].output[1].header.sequence.number, 3); /* in the order of arrival */
}

static void test_blocked_network(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    arrive(&fixture, 2);
    computed(&fixture, 0, 0);
    answer_send(&fixture, STAGE_BLOCKED, 0);
    EXPECT_NOTHING(&fixture);
    computed(&fixture, 1, 1);
    EXPECT(&fixture, STAGE_DROP); /* and nothing overtakes */
    step(&fixture, &(struct stage_event){.type = STAGE_WRITABLE, .lane = 1});
    EXPECT(&fixture, STAGE_SEND);
    assert_int_equal(fixture.effects.effect[0].output, 0);
    answer_send(&fixture, STAGE_SENT, 0);
    EXPECT(&fixture, STAGE_SEND);
    assert_int_equal(fixture.effects.effect[0].output, 1);
    /* its epoch ends while it is being handed over */
    assign(&fixture, 2);
    answer_send(&fixture, STAGE_BLOCKED, 1);
    assert_int_equal(fixture.core.lane[1].output[1].state, STAGE_OUTPUT_FREE);
    answer_send(&fixture, STAGE_LET_GO, 0);
    EXPECT(&fixture, STAGE_LOAD, STAGE_OPEN_NEXT);
}

static void test_the_first_microbatch_says_serve(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_READY);
    arrive(&fixture, 1);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    assert_int_equal(life_of(&fixture.core), LIFE_SERVING);
}

/* ---- frames that are not for us ---- */

struct bad_frame {
    const char *what;
    void (*spoil)(struct data_header *header, struct stage_event *event);
    size_t counter; /* of struct rejected */
};

static void spoil_cluster(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->cluster++;
}
static void spoil_epoch(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->epoch.number++;
}
static void spoil_cut(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->cut++;
}
static void spoil_items(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->items = 5;
}
static void spoil_no_items(struct data_header *header, struct stage_event *event) {
    header->items = 0;
    event->sizes[0] = event->sizes[1] = 0;
}
static void spoil_sequence(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->sequence.number = 10;
}
static void spoil_parts(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->parts = 1;
}
static void spoil_frames(struct data_header *header, struct stage_event *event) {
    (void)header;
    event->frames = 1;
}
static void spoil_type(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->part[1].type = 0;
}
static void spoil_rank(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->part[0].rank = 1;
}
static void spoil_shape(struct data_header *header, struct stage_event *event) {
    (void)event;
    header->part[0].shape[1]++;
}
static void spoil_longer(struct data_header *header, struct stage_event *event) {
    (void)header;
    event->sizes[1]++;
}
static void spoil_shorter(struct data_header *header, struct stage_event *event) {
    (void)header;
    event->sizes[0]--;
}

static const struct bad_frame bad_frames[] = {
    {"cluster", spoil_cluster, offsetof(struct rejected, stale)},
    {"epoch", spoil_epoch, offsetof(struct rejected, stale)},
    {"sequence", spoil_sequence, offsetof(struct rejected, stale)},
    {"cut", spoil_cut, offsetof(struct rejected, malformed)},
    {"items", spoil_items, offsetof(struct rejected, oversized)},
    {"no items", spoil_no_items, offsetof(struct rejected, oversized)},
    {"parts", spoil_parts, offsetof(struct rejected, malformed)},
    {"frames", spoil_frames, offsetof(struct rejected, malformed)},
    {"type", spoil_type, offsetof(struct rejected, malformed)},
    {"rank", spoil_rank, offsetof(struct rejected, malformed)},
    {"shape", spoil_shape, offsetof(struct rejected, malformed)},
    {"longer", spoil_longer, offsetof(struct rejected, oversized)},
    {"shorter", spoil_shorter, offsetof(struct rejected, malformed)},
};

static uint64_t counter_at(const struct rejected *rejected, size_t offset) {
    uint64_t value;
    memcpy(&value, (const char *)rejected + offset, sizeof value);
    return value;
}

static void test_bad_frames(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad_frames / sizeof bad_frames[0]; i++) {
        struct fixture fixture = in_state(LIFE_SERVING);
        arrive(&fixture, 10);
        computed(&fixture, 0, 0);
        struct data_header header = header_of(&fixture, 11, 2);
        struct stage_event event = arrival_of(&fixture, &header);
        bad_frames[i].spoil(&header, &event);
        step(&fixture, &event);
        const struct rejected *rejected = &fixture.core.rejected;
        uint64_t all = rejected->handshake + rejected->malformed + rejected->oversized + rejected->stale;
        if (!fixture.effects.fault || fixture.effects.count != 0 || all != 1 ||
            counter_at(rejected, bad_frames[i].counter) != 1)
            fail_msg("%s: fault %s, %u effects, %d counted", bad_frames[i].what,
                     fixture.effects.fault ? fixture.effects.fault : "none", fixture.effects.count, (int)all);
        arrive(&fixture, 11); /* the daemon lives on */
        assert_non_null(effect_find(&fixture, STAGE_COMPUTE));
    }
}

static void test_frames_without_a_slice(void **state) {
    (void)state;
    for (enum life from = LIFE_JOINING; from <= LIFE_LOADING; from++) {
        struct fixture fixture = in_state(from);
        assert_true(stage_core_receiving(&fixture.core, 1));
        arrive(&fixture, 1);
        EXPECT_NOTHING(&fixture);
        assert_int_equal(fixture.core.rejected.stale, 1);
        happen(&fixture, STAGE_STRAY);
        assert_int_equal(fixture.core.rejected.stale, 2);
        happen(&fixture, STAGE_DENIED);
        assert_int_equal(fixture.core.rejected.denied, 1);
        happen(&fixture, STAGE_UNREADABLE);
        assert_int_equal(fixture.core.rejected.malformed, 1);
        happen(&fixture, STAGE_HANDSHAKE);
        assert_int_equal(fixture.core.rejected.handshake, 1);
    }
}

static void test_replays(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 3);
    arrive(&fixture, 3); /* while the first is being computed */
    assert_int_equal(fixture.core.rejected.stale, 1);
    computed(&fixture, 0, 0);
    arrive(&fixture, 3);
    arrive(&fixture, 2);
    assert_int_equal(fixture.core.rejected.stale, 3);
    arrive(&fixture, 4);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
}

/* Both pass when they arrive; nothing leaves out of order. */
static void test_an_older_one_behind_a_newer_one(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 3);
    arrive(&fixture, 2);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    answer_send(&fixture, STAGE_SENT, 0);
    computed(&fixture, 1, 1);
    EXPECT(&fixture, STAGE_DROP);
    assert_int_equal(fixture.core.rejected.stale, 1);
}

/* Damage to a sequence number must not make everything after it look old. */
static void test_damaged_frames_do_not_count_as_seen(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1u << 30);
    step(&fixture, &(struct stage_event){.type = STAGE_COMPUTED, .lane = 1, .damaged = true});
    EXPECT(&fixture, STAGE_DROP);
    assert_non_null(fixture.effects.fault);
    assert_int_equal(fixture.core.rejected.malformed, 1);
    assert_int_equal(fixture.core.microbatches, 0);
    arrive(&fixture, 1);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
}

/* ---- loading ---- */

static void test_a_newer_assignment_cancels(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_LOADING);
    assign(&fixture, 2);
    EXPECT(&fixture, STAGE_CANCEL, STAGE_CLOSE_NEXT);
    assign(&fixture, 3);
    EXPECT_NOTHING(&fixture); /* cancelled once is enough */
    happen(&fixture, STAGE_LOAD_ENDED);
    EXPECT(&fixture, STAGE_LOAD, STAGE_OPEN_NEXT);
    loaded(&fixture);
    EXPECT(&fixture, STAGE_SAY_READY);
    assert_int_equal(fixture.effects.effect[0].epoch.number, 3);
}

static void test_a_failed_load_says_why(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_LOADING);
    step(&fixture, &(struct stage_event){.type = STAGE_LOAD_FAILED, .text = "the disk is full"});
    assert_string_equal(effect_find(&fixture, STAGE_SAY_FAILED)->text, "the disk is full");
    assert_int_equal(effect_find(&fixture, STAGE_SAY_FAILED)->epoch.number, 1);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).epoch.number, 0);
    assign(&fixture, 2);
    EXPECT(&fixture, STAGE_LOAD, STAGE_OPEN_NEXT);
}

/* ---- two lanes ---- */

static void assign_beside(struct fixture *fixture, uint64_t epoch) {
    step(fixture, &(struct stage_event){
                      .type = STAGE_ASSIGNED, .epoch = {epoch}, .first = 5, .end = 9, .microbatch = 4, .beside = true});
}

static void retire(struct fixture *fixture, uint64_t epoch) {
    step(fixture, &(struct stage_event){.type = STAGE_RETIRED, .epoch = {epoch}});
}

/* Epoch 1 serves in lane 1 while epoch 2 is loaded in lane 0, drains while it serves, and goes with its weights. */
static void test_an_epoch_beside_another(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    assign_beside(&fixture, 2);
    EXPECT(&fixture, STAGE_LOAD, STAGE_OPEN_NEXT);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->lane, 0);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->beside, 1);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->old, STAGE_LANES);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    answer_send(&fixture, STAGE_SENT, 0);
    loaded(&fixture);
    EXPECT(&fixture, STAGE_SAY_READY);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).epoch.number, 1);
    arrive(&fixture, 2);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    serve(&fixture);
    assert_int_equal(stage_core_heartbeat(&fixture.core, fixture.now).epoch.number, 2);
    fixture.lane = 0;
    arrive(&fixture, 3);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    fixture.lane = 1;
    computed(&fixture, 0, 1);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
    answer_send(&fixture, STAGE_SENT, 1);
    answer_send(&fixture, STAGE_LET_GO, 0);
    retire(&fixture, 1);
    EXPECT(&fixture, STAGE_CLOSE_NEXT);
    answer_send(&fixture, STAGE_LET_GO, 1);
    EXPECT(&fixture, STAGE_DISCARD); /* not before the network has let go of its buffers */
    assert_int_equal(effect_find(&fixture, STAGE_DISCARD)->lane, 1);
    fixture.lane = 0;
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
}

/* Where routes cross, a lane that waits for the other would wait for ever. */
static void test_a_full_lane_does_not_hold_up_the_other(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    assign_beside(&fixture, 2);
    loaded(&fixture);
    for (uint64_t i = 1; i <= 2; i++) {
        arrive(&fixture, i);
        computed(&fixture, 0, (unsigned)i - 1);
        if (i == 1)
            answer_send(&fixture, STAGE_BLOCKED, 0);
    }
    arrive(&fixture, 3);
    arrive(&fixture, 4);
    EXPECT(&fixture, STAGE_KEEP); /* no output is free */
    assert_false(stage_core_receiving(&fixture.core, 1));
    assert_true(stage_core_receiving(&fixture.core, 0));
    fixture.lane = 0;
    arrive(&fixture, 5);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
}

static void test_what_is_prepared_can_be_given_up(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    assign_beside(&fixture, 2);
    retire(&fixture, 2);
    EXPECT(&fixture, STAGE_CANCEL, STAGE_CLOSE_NEXT);
    arrive(&fixture, 1);
    EXPECT(&fixture, STAGE_KEEP, STAGE_COMPUTE);
    assign_beside(&fixture, 4);
    EXPECT_NOTHING(&fixture); /* the loader is not done with the last one */
    step(&fixture, &(struct stage_event){.type = STAGE_LOAD_FAILED, .text = "cancelled"});
    EXPECT(&fixture, STAGE_LOAD, STAGE_OPEN_NEXT);
    step(&fixture, &(struct stage_event){.type = STAGE_LOAD_FAILED, .text = "too little memory"});
    assert_int_equal(effect_find(&fixture, STAGE_SAY_FAILED)->epoch.number, 4);
    retire(&fixture, 4); /* crossed it */
    EXPECT_NOTHING(&fixture);
    computed(&fixture, 0, 0);
    EXPECT(&fixture, STAGE_DROP, STAGE_SEND);
}

/* After a death survivors are told at once, and go on from the weights that they have. */
static void test_a_broken_epoch_is_retired(void **state) {
    (void)state;
    struct fixture fixture = in_state(LIFE_SERVING);
    arrive(&fixture, 1);
    arrive(&fixture, 2);
    answer_send(&fixture, STAGE_WRITABLE, 0);
    assert_false(stage_core_receiving(&fixture.core, 1));
    retire(&fixture, 1);
    EXPECT(&fixture, STAGE_CLOSE_NEXT);
    assign(&fixture, 2);
    computed(&fixture, 0, 0);
    assert_true(stage_core_receiving(&fixture.core, 1)); /* what comes is stale, and is read and dropped */
    computed(&fixture, 1, 1);
    EXPECT(&fixture, STAGE_DROP, STAGE_LOAD, STAGE_OPEN_NEXT);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->old, 1);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->beside, STAGE_LANES);
    step(&fixture, &(struct stage_event){.type = STAGE_LOAD_FAILED, .kept = true, .text = "x"});
    assign(&fixture, 3);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->lane, 1);
    assert_int_equal(effect_find(&fixture, STAGE_LOAD)->old, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_hello_is_repeated),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_a_load_that_does_not_get_on),
        cmocka_unit_test(test_work_under_way_counts),
        cmocka_unit_test(test_reconnection),
        cmocka_unit_test(test_shutdown_everywhere),
        cmocka_unit_test(test_leaving_goes_on_serving),
        cmocka_unit_test(test_a_microbatch),
        cmocka_unit_test(test_slots_are_bounded),
        cmocka_unit_test(test_blocked_network),
        cmocka_unit_test(test_the_first_microbatch_says_serve),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_frames_without_a_slice),
        cmocka_unit_test(test_replays),
        cmocka_unit_test(test_an_older_one_behind_a_newer_one),
        cmocka_unit_test(test_damaged_frames_do_not_count_as_seen),
        cmocka_unit_test(test_a_newer_assignment_cancels),
        cmocka_unit_test(test_a_failed_load_says_why),
        cmocka_unit_test(test_an_epoch_beside_another),
        cmocka_unit_test(test_a_full_lane_does_not_hold_up_the_other),
        cmocka_unit_test(test_what_is_prepared_can_be_given_up),
        cmocka_unit_test(test_a_broken_epoch_is_retired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
