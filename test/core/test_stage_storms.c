/* The stage's state machine in random histories: a model of worker, loader and network answers the core's effects, in
 * any order that real ones could, and keeps account beside it: no slot is used twice, nothing is sent out of order, no
 * load begins while anything is under way. STAGE_STORM_SEED=N replays one history. */
#include "test/core/stage_fixture.h"

#define STORMS 400

/* What worker, loader and network have in hand. */
struct world {
    struct fixture fixture;
    uint64_t random;
    unsigned jobs; /* oldest first */
    struct {
        unsigned lane, input, output;
    } job[STAGE_LANES * STAGE_INPUTS];
    struct {
        bool kept[STAGE_INPUTS], sending[STAGE_OUTPUTS], sent[STAGE_OUTPUTS];
        bool next_open, engine;
        uint64_t last_sent;
    } lane[STAGE_LANES];
    bool loading, cancelled;
    unsigned loading_lane;
    uint64_t epoch, sequence;
};

static unsigned roll(struct world *world, unsigned sides) {
    world->random = world->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(world->random >> 33) % sides;
}

/* Nobody uses the engine of that lane. */
static void assert_unused(const struct world *world, unsigned lane) {
    for (unsigned i = 0; i < world->jobs; i++)
        assert_int_not_equal(world->job[i].lane, lane);
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        assert_false(world->lane[lane].sent[i] || world->lane[lane].sending[i]);
}

static void world_load_begins(struct world *world, const struct stage_effect *effect) {
    assert_false(world->loading);
    assert_unused(world, effect->lane);
    if (effect->old != STAGE_LANES) {
        assert_true(world->lane[effect->old].engine);
        assert_unused(world, effect->old);
        world->lane[effect->old].engine = false;
    }
    assert_false(world->lane[effect->lane].engine);
    if (effect->beside != STAGE_LANES)
        assert_true(world->lane[effect->beside].engine && effect->beside != effect->old);
    world->loading = true;
    world->loading_lane = effect->lane;
    world->cancelled = false;
}

static void world_effect(struct world *world, const struct stage_effect *effect) {
    const struct stage_lane *core = &world->fixture.core.lane[effect->lane];
    switch (effect->type) {
    case STAGE_LOAD:
        world_load_begins(world, effect);
        break;
    case STAGE_DISCARD:
        assert_true(world->lane[effect->lane].engine && !world->loading);
        assert_unused(world, effect->lane);
        world->lane[effect->lane].engine = false;
        break;
    case STAGE_CANCEL:
        assert_true(world->loading && !world->cancelled);
        world->cancelled = true;
        break;
    case STAGE_OPEN_NEXT:
        assert_false(world->lane[effect->lane].next_open);
        world->lane[effect->lane].next_open = true;
        world->lane[effect->lane].last_sent = 0;
        break;
    case STAGE_CLOSE_NEXT:
        assert_true(world->lane[effect->lane].next_open);
        world->lane[effect->lane].next_open = false;
        break;
    case STAGE_KEEP:
        assert_false(world->lane[effect->lane].kept[effect->input]);
        world->lane[effect->lane].kept[effect->input] = true;
        break;
    case STAGE_DROP:
        assert_true(world->lane[effect->lane].kept[effect->input]);
        world->lane[effect->lane].kept[effect->input] = false;
        break;
    case STAGE_COMPUTE:
        assert_true(world->lane[effect->lane].kept[effect->input] && world->lane[effect->lane].engine);
        assert_true(world->jobs < STAGE_LANES * STAGE_INPUTS);
        world->job[world->jobs].lane = effect->lane;
        world->job[world->jobs].input = effect->input;
        world->job[world->jobs++].output = effect->output;
        break;
    case STAGE_SEND:
        assert_true(world->lane[effect->lane].next_open);
        assert_false(world->lane[effect->lane].sent[effect->output] ||
                     world->lane[effect->lane].sending[effect->output]);
        assert_true(core->output[effect->output].header.sequence.number > world->lane[effect->lane].last_sent);
        world->lane[effect->lane].sending[effect->output] = true;
        break;
    default:
        break;
    }
}

static void world_step(struct world *world, const struct stage_event *event) {
    step(&world->fixture, event);
    for (unsigned i = 0; i < world->fixture.effects.count; i++)
        world_effect(world, &world->fixture.effects.effect[i]);
}

static void world_compute(struct world *world) {
    if (world->jobs == 0)
        return;
    struct stage_event event = {.type = STAGE_COMPUTED,
                                .lane = world->job[0].lane,
                                .input = world->job[0].input,
                                .output = world->job[0].output,
                                .damaged = roll(world, 10) == 0};
    world->jobs--;
    memmove(&world->job[0], &world->job[1], world->jobs * sizeof world->job[0]);
    world_step(world, &event);
}

/* The network answers for an output, or lets go of one. */
static void world_network(struct world *world) {
    unsigned output = roll(world, STAGE_OUTPUTS), lane = roll(world, STAGE_LANES);
    struct stage_event event = {.type = STAGE_WRITABLE, .lane = lane, .output = output};
    if (world->lane[lane].sending[output]) {
        bool sent = roll(world, 3) > 0;
        world->lane[lane].sending[output] = false;
        world->lane[lane].sent[output] = sent;
        if (sent)
            world->lane[lane].last_sent = world->fixture.core.lane[lane].output[output].header.sequence.number;
        event.type = sent ? STAGE_SENT : STAGE_BLOCKED;
    } else if (world->lane[lane].sent[output]) {
        world->lane[lane].sent[output] = false;
        event.type = STAGE_LET_GO;
    }
    world_step(world, &event);
}

static void world_load(struct world *world) {
    static const enum stage_event_type ends[] = {STAGE_LOADED, STAGE_LOADED, STAGE_LOAD_FAILED};
    if (!world->loading)
        return;
    if (roll(world, 4)) {
        world_step(world, &(struct stage_event){.type = STAGE_PROGRESSED});
    } else {
        world->loading = false;
        struct stage_event event = {.type = ends[roll(world, 3)], .in = &cut, .out = &cut, .text = "storm"};
        if (world->cancelled && roll(world, 2))
            event.type = STAGE_LOAD_ENDED;
        event.kept = event.type != STAGE_LOADED && roll(world, 2);
        world->lane[world->loading_lane].engine = event.type == STAGE_LOADED || event.kept;
        world_step(world, &event);
    }
}

/* One thing wrong with a frame. */
static void spoil(struct world *world, struct data_header *header, struct stage_event *event) {
    switch (roll(world, 6)) {
    case 0:
        header->epoch.number++;
        break;
    case 1:
        header->cut++;
        break;
    case 2:
        header->items = 100;
        break;
    case 3:
        header->part[1].rank = 0;
        break;
    case 4:
        event->frames = 1;
        break;
    default:
        event->sizes[0]++;
        break;
    }
}

static void world_data(struct world *world) {
    world->fixture.lane = roll(world, STAGE_LANES);
    if (!stage_core_receiving(&world->fixture.core, world->fixture.lane))
        return;
    uint64_t back = roll(world, 4) ? 0 : roll(world, 4);
    struct data_header header =
        header_of(&world->fixture, world->sequence + 1 - (back > world->sequence ? 0 : back), 2);
    struct stage_event event = arrival_of(&world->fixture, &header);
    if (roll(world, 8) == 0)
        spoil(world, &header, &event);
    else if (back == 0)
        world->sequence++;
    world_step(world, &event);
}

static void world_control(struct world *world) {
    static const enum stage_event_type rare[] = {STAGE_OPENED,   STAGE_CLOSED,   STAGE_UNREADABLE, STAGE_HANDSHAKE,
                                                 STAGE_SHUTDOWN, STAGE_RELEASED, STAGE_NEXT_FAILED};
    struct stage_event event = {
        .cluster = CLUSTER + roll(world, 20) / 19, .heartbeat_ns = 1, .first = 5, .end = 9, .microbatch = 4};
    switch (roll(world, 9)) {
    case 0:
        event.type = STAGE_ASSIGNED;
        world->epoch = world->fixture.core.epoch.number;
        event.epoch.number = world->epoch + roll(world, 3);
        event.beside = roll(world, 2);
        break;
    case 8:
        event.type = STAGE_RETIRED;
        event.epoch.number = world->fixture.core.epoch.number - roll(world, 2);
        break;
    case 1:
    case 2:
        event.type = STAGE_TOLD_SERVE;
        event.epoch = world->fixture.core.epoch;
        break;
    case 3:
    case 4:
        event.type = STAGE_WELCOMED;
        break;
    case 5:
        event.type = STAGE_REFUSED;
        event.again = true;
        break;
    default: /* SHUTDOWN would soon end every history */
        event.type = rare[roll(world, sizeof rare / sizeof rare[0])];
        event.text = "storm";
        event.lane = roll(world, STAGE_LANES);
        if (event.type == STAGE_SHUTDOWN && roll(world, 50))
            event.type = STAGE_OPENED;
        break;
    }
    world_step(world, &event);
}

static void storm(uint64_t seed) {
    struct world world = {.fixture = in_state(LIFE_JOINING), .random = seed};
    happen(&world.fixture, STAGE_OPENED);
    for (int i = 0; i < 3000; i++) {
        world.fixture.now = mono_after(world.fixture.now, roll(&world, 100) * MONO_MS);
        unsigned what = roll(&world, 100);
        if (what < 3)
            world_control(&world);
        else if (what < 30)
            world_data(&world);
        else if (what < 50)
            world_compute(&world);
        else if (what < 75)
            world_network(&world);
        else if (what < 95)
            world_load(&world);
        else
            world_step(&world, &(struct stage_event){.type = STAGE_TICK});
    }
}

static int test_storms_count(void) {
    const char *replay = getenv("STAGE_STORM_SEED");
    return replay ? 1 : STORMS;
}

static void test_storms(void **state) {
    uint64_t *seed = *state;
    for (int i = test_storms_count(); i > 0; i--) {
        storm(*seed);
        ++*seed;
    }
}

static int first_seed(void **state) {
    static uint64_t seed;
    const char *replay = getenv("STAGE_STORM_SEED");
    seed = replay ? strtoull(replay, NULL, 10) : 1;
    *state = &seed;
    return 0;
}

/* After a failure this is the history that failed. */
static int print_seed(void **state) {
    const uint64_t *seed = *state;
    print_message("next history: STAGE_STORM_SEED=%llu\n", (unsigned long long)*seed);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_storms, first_seed, print_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
