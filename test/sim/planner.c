/* Plans, as daemon/coordinator_plan.c makes them: once the tensors are hashed and the boards profiled, by the real
 * partitioner in a thread that takes its time, leaving out the smallest board while there is no plan and any number of
 * boards will do. Boards count as equally fast, or as fast as the dice say this time, times what they were found to
 * take since. If the fleet changes meanwhile, the core is told that the plan is stale, and asks for another. */
#include "test/sim/sim.h"

#include <math.h>
#include <string.h>

struct costs {
    double unit_seconds[SIM_BOARDS * SIM_UNITS], bandwidth[SIM_NODES * SIM_NODES], latency[SIM_NODES * SIM_NODES];
    uint64_t workspace_bytes[SIM_BOARDS * SIM_UNITS], payload_bytes[SIM_UNITS + 1], memory_bytes[SIM_BOARDS];
};

static void fill(struct world *world, struct costs *costs) {
    struct sim_coordinator *c = &world->coordinator;
    memset(costs, 0, sizeof *costs);
    bool unequal = sim_roll(world, 2);
    for (unsigned i = 0; i < c->plan_work.board_count; i++) {
        double seconds = (unequal ? 1 + sim_roll(world, 4) : 1) * c->plan_work.pace[i];
        for (unsigned unit = 0; unit < world->units; unit++)
            costs->unit_seconds[i * world->units + unit] = seconds;
    }
    for (unsigned i = 0; i < SIM_NODES * SIM_NODES; i++)
        costs->bandwidth[i] = INFINITY;
    for (unsigned at = 0; at < SIM_BOARDS * SIM_UNITS; at++)
        costs->workspace_bytes[at] = 500;
    for (unsigned cut = 0; cut <= world->units; cut++)
        costs->payload_bytes[cut] = sim_payload_bytes(cut);
    for (unsigned i = 0; i < c->plan_work.board_count; i++) {
        uint64_t memory = c->plan_work.memory[i];
        costs->memory_bytes[i] = memory ? memory : UINT64_MAX;
    }
}

static const char *policy_of(const struct world *world) {
    return world->optimal ? "optimal" : "even";
}

/* From the plan in force to the new one, both by the boards of the problem; and a step on the way if that is none. */
static void compare(struct world *world, const struct problem *problem, const struct policy_options *options,
                    const struct plan *plan, struct plan *step, struct coordinator_event *event) {
    struct sim_coordinator *c = &world->coordinator;
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    if (!serving)
        return;
    struct plan before = serving->plan;
    bool complete = true;
    for (unsigned i = 0; i < before.stages; i++) {
        unsigned place = 0;
        while (place < c->plan_work.board_count && c->plan_work.boards[place] != before.stage[i].board)
            place++;
        complete = complete && place < c->plan_work.board_count;
        before.stage[i].board = place < c->plan_work.board_count ? place : PLAN_NO_BOARD;
    }
    struct plan_change change = plan_change(problem, &before, plan);
    event->beside = change.beside;
    event->pause_s = change.load_s;
    struct problem beside = *problem;
    beside.beside = &before;
    if (!change.beside && plan_solve(&beside, policy_of(world), options, step, NULL) && plan_check(&beside, step, NULL))
        event->step = step;
    if (complete)
        plan_cost(problem, &before);
    event->period_s = complete ? before.period_s : 0;
}

static bool solve(struct world *world, struct plan *plan, struct plan *step, struct coordinator_event *event) {
    struct costs costs;
    unsigned boards = world->coordinator.plan_work.board_count;
    fill(world, &costs);
    const struct problem problem = {.boards = boards,
                                    .units = world->units,
                                    .items = 1,
                                    .unit_seconds = costs.unit_seconds,
                                    .weight_bytes = world->unit_bytes,
                                    .same_weights = world->same_weights,
                                    .workspace_bytes = costs.workspace_bytes,
                                    .payload_bytes = costs.payload_bytes,
                                    .memory_bytes = costs.memory_bytes,
                                    .process_bytes = SIM_PROCESS_BYTES,
                                    .input_slots = STAGE_INPUTS,
                                    .output_slots = STAGE_OUTPUTS,
                                    .bandwidth = costs.bandwidth,
                                    .latency = costs.latency};
    const struct policy_options options = {.stages = boards < world->units ? boards : world->units};
    bool ok = plan_solve(&problem, policy_of(world), &options, plan, NULL);
    ok = ok && (world->sabotage == SIM_OVERFULL || plan_check(&problem, plan, NULL));
    if (ok)
        compare(world, &problem, &options, plan, step, event);
    return ok;
}

static void leave_out_smallest(struct sim_coordinator *c) {
    unsigned smallest = 0;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < c->plan_work.board_count; i++) {
        uint64_t memory = c->plan_work.memory[i];
        if (memory > 0 && memory < least) {
            least = memory;
            smallest = i;
        }
    }
    c->plan_work.board_count--;
    for (unsigned i = smallest; i < c->plan_work.board_count; i++) {
        c->plan_work.boards[i] = c->plan_work.boards[i + 1];
        c->plan_work.memory[i] = c->plan_work.memory[i + 1];
        c->plan_work.pace[i] = c->plan_work.pace[i + 1];
    }
}

void plan_asked(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    c->plan_work.wanted = true;
    c->plan_work.board_count = c->effects.board_count;
    c->plan_work.noted = false;
    for (unsigned i = 0; i < c->effects.board_count; i++)
        c->plan_work.boards[i] = c->effects.boards[i];
}

/* Once whatever it was asked in is dealt with. */
static void note_boards(struct sim_coordinator *c) {
    for (unsigned i = 0; !c->plan_work.noted && i < c->plan_work.board_count; i++)
        c->plan_work.joined[i] = c->place[c->plan_work.boards[i]].joined;
    c->plan_work.noted = true;
}

/* Has the fleet changed since the plan was asked for? */
static bool stale(const struct sim_coordinator *c) {
    if (c->core.settings.stages == 0 && c->core.changed)
        return true;
    for (unsigned i = 0; i < c->plan_work.board_count; i++) {
        enum board_state state = c->core.board[c->plan_work.boards[i]].state;
        if (state == BOARD_ABSENT || state == BOARD_UNFIT || state == BOARD_LEAVING ||
            c->place[c->plan_work.boards[i]].joined != c->plan_work.joined[i])
            return true;
    }
    return false;
}

/* Is a board slower or faster by now than the planner was told? */
static bool outpaced(const struct sim_coordinator *c) {
    for (unsigned i = 0; i < c->plan_work.board_count; i++)
        if (c->plan_work.pace[i] != c->pace.board[c->plan_work.boards[i]].factor)
            return true;
    return false;
}

static void tell_stale(struct world *world) {
    coordinator_feed(world, &(struct coordinator_event){.type = CORE_PLANNED, .stale = true});
}

static bool may_begin(struct world *world) {
    const struct sim_coordinator *c = &world->coordinator;
    mono_t at = c->hashed_at;
    for (unsigned i = 0; i < c->plan_work.board_count && c->core.settings.measured_first; i++)
        if (at.ns < c->place[c->plan_work.boards[i]].profiled_at.ns)
            at = c->place[c->plan_work.boards[i]].profiled_at;
    return at.ns <= world->now.ns;
}

/* The planner sees the fleet as it is now. */
static void begin(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    int64_t most = sim_roll(world, 4) ? 5 * MONO_MS : 2 * MONO_SECOND;
    c->plan_work.wanted = false;
    c->plan_work.solving = true;
    c->plan_work.solved_at = mono_after(world->now, sim_between(world, 0, most));
    for (unsigned i = 0; i < c->plan_work.board_count; i++) {
        c->place[c->plan_work.boards[i]].measured = true;
        c->plan_work.memory[i] = c->core.board[c->plan_work.boards[i]].memory_bytes;
        c->plan_work.pace[i] = c->pace.board[c->plan_work.boards[i]].factor;
    }
    sim_wake_at(world, SIM_COORDINATOR, c->plan_work.solved_at);
}

static void number_by_board(const struct sim_coordinator *c, struct plan *plan, bool made) {
    for (unsigned i = 0; made && i < plan->stages; i++)
        plan->stage[i].board = c->plan_work.boards[plan->stage[i].board];
}

static void tell(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    struct plan plan, step;
    struct coordinator_event event = {.type = CORE_PLANNED, .text = "too little memory"};
    bool ok = solve(world, &plan, &step, &event), any = c->core.settings.stages == 0 && !world->optimal;
    while (!ok && any && c->plan_work.board_count > 1) {
        leave_out_smallest(c);
        ok = solve(world, &plan, &step, &event);
    }
    number_by_board(c, &plan, ok);
    number_by_board(c, &step, ok && event.step);
    if (ok)
        event.plan = &plan;
    coordinator_feed(world, &event);
}

void plan_turn(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    if (c->plan_work.solving && c->plan_work.solved_at.ns <= world->now.ns) {
        c->plan_work.solving = false; /* before the core is told: it may ask for the next one */
        if (stale(c) || outpaced(c))
            tell_stale(world);
        else
            tell(world);
    }
    if (!c->plan_work.wanted || c->plan_work.solving)
        return;
    note_boards(c);
    if (stale(c)) {
        c->plan_work.wanted = false;
        tell_stale(world);
    } else if (may_begin(world)) {
        begin(world);
    }
}
