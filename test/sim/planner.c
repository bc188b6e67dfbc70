/* Plans, as daemon/coordinator_boards.c makes them: by the real partitioner over boards that are taken for equally
 * fast, leaving out the smallest board while there is no plan and any number of boards will do. */
#include "test/sim/sim.h"

#include <math.h>
#include <string.h>

struct costs {
    double unit_seconds[SIM_BOARDS * SIM_UNITS], bandwidth[SIM_NODES * SIM_NODES], latency[SIM_NODES * SIM_NODES];
    uint64_t workspace_bytes[SIM_UNITS], payload_bytes[SIM_UNITS + 1], memory_bytes[SIM_BOARDS];
};

static void fill(struct world *world, struct costs *costs) {
    struct sim_coordinator *c = &world->coordinator;
    memset(costs, 0, sizeof *costs);
    for (unsigned i = 0; i < SIM_BOARDS * SIM_UNITS; i++)
        costs->unit_seconds[i] = 1;
    for (unsigned i = 0; i < SIM_NODES * SIM_NODES; i++)
        costs->bandwidth[i] = INFINITY;
    for (unsigned unit = 0; unit < world->units; unit++)
        costs->workspace_bytes[unit] = 500;
    for (unsigned cut = 0; cut <= world->units; cut++)
        costs->payload_bytes[cut] = sim_payload_bytes(cut);
    for (unsigned i = 0; i < c->plan_board_count; i++) {
        uint64_t memory = c->core.board[c->plan_boards[i]].memory_bytes;
        costs->memory_bytes[i] = memory ? memory : UINT64_MAX;
    }
}

static bool solve(struct world *world, struct plan *plan) {
    struct costs costs;
    unsigned boards = world->coordinator.plan_board_count;
    fill(world, &costs);
    const struct problem problem = {.boards = boards,
                                    .units = world->units,
                                    .items = 1,
                                    .unit_seconds = costs.unit_seconds,
                                    .weight_bytes = world->unit_bytes,
                                    .workspace_bytes = costs.workspace_bytes,
                                    .payload_bytes = costs.payload_bytes,
                                    .memory_bytes = costs.memory_bytes,
                                    .input_slots = STAGE_INPUTS,
                                    .output_slots = STAGE_OUTPUTS,
                                    .bandwidth = costs.bandwidth,
                                    .latency = costs.latency};
    const struct policy_options options = {.stages = boards < world->units ? boards : world->units};
    bool ok = plan_solve(&problem, world->optimal ? "optimal" : "even", &options, plan, NULL);
    return ok && (world->sabotage == SIM_OVERFULL || plan_check(&problem, plan, NULL));
}

static void leave_out_smallest(struct sim_coordinator *c) {
    unsigned smallest = 0;
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < c->plan_board_count; i++) {
        uint64_t memory = c->core.board[c->plan_boards[i]].memory_bytes;
        if (memory > 0 && memory < least) {
            least = memory;
            smallest = i;
        }
    }
    c->plan_board_count--;
    memmove(&c->plan_boards[smallest], &c->plan_boards[smallest + 1],
            (c->plan_board_count - smallest) * sizeof c->plan_boards[0]);
}

void coordinator_planned(struct world *world) {
    struct sim_coordinator *c = &world->coordinator;
    struct plan plan;
    c->plan_wanted = false;
    bool ok = solve(world, &plan), any = c->core.settings.stages == 0 && !world->optimal;
    while (!ok && any && c->plan_board_count > 1) {
        leave_out_smallest(c);
        ok = solve(world, &plan);
    }
    struct coordinator_event event = {.type = CORE_PLANNED, .text = "too little memory"};
    for (unsigned i = 0; ok && i < plan.stages; i++)
        plan.stage[i].board = c->plan_boards[plan.stage[i].board];
    if (ok)
        event.plan = &plan;
    coordinator_feed(world, &event);
}
