/* Pricing and checking of plans, whoever made them.
 *
 * plan_cost derives every figure of a plan from its boards and slices. plan_check believes nothing: it looks at the
 * order of the slices, at each board, at memory, prices a copy and compares. Neither knows a policy; both use the
 * arithmetic of price.h alone. No memory is allocated, nothing is kept, any thread may call.
 */
#include "partitioner/partitioner.h"
#include "partitioner/price.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>

#define SAME_FIGURE 1e-9
#define ROUNDING    1e-6 /* a latency of this share of a period more takes no microbatch more */

uint64_t plan_slice_memory(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    struct slice_bytes slice = slice_bytes_at(problem, board, first);
    while (slice.end < end)
        slice_bytes_grow(&slice);
    return slice_bytes_total(&slice);
}

uint64_t plan_board_memory(const struct problem *problem, unsigned board, unsigned first, unsigned end) {
    struct held_bytes held = held_bytes_of(problem, board);
    for (unsigned unit = first; unit < end; unit++)
        held_bytes_share(&held, problem, first, unit);
    return held_bytes_beside(&held, plan_slice_memory(problem, board, first, end));
}

static double larger(double left, double right) {
    return left > right ? left : right;
}

/* Seconds between two microbatches leaving this stage: it computes, receives and sends at the same time, except that a
 * half-duplex board's two transfers share one radio or wire. */
static double stage_period(const struct problem *problem, const struct plan_stage *stage) {
    double transfers =
        problem->half_duplex ? stage->receive_s + stage->send_s : larger(stage->receive_s, stage->send_s);
    return larger(stage->compute_s, transfers);
}

void plan_cost(const struct problem *problem, struct plan *plan) {
    unsigned from = problem->boards;
    plan->period_s = plan->latency_s = 0;
    for (unsigned index = 0; index < plan->stages; index++) {
        struct plan_stage *stage = &plan->stage[index];
        unsigned to = index + 1 < plan->stages ? stage[1].board : problem->boards;
        stage->compute_s = price_compute(problem, stage->board, stage->first, stage->end);
        stage->handling_s =
            price_handling(problem, stage->board, stage->first) + price_handling(problem, stage->board, stage->end);
        stage->receive_s = price_transfer(problem, from, stage->board, stage->first);
        stage->send_s = price_transfer(problem, stage->board, to, stage->end);
        stage->memory_bytes = plan_slice_memory(problem, stage->board, stage->first, stage->end);
        plan->period_s = larger(plan->period_s, stage_period(problem, stage));
        plan->latency_s += stage->receive_s + stage->compute_s;
        from = stage->board;
    }
    if (plan->stages)
        plan->latency_s += plan->stage[plan->stages - 1].send_s;
    plan->throughput = problem->items / plan->period_s;
}

unsigned plan_in_flight(const struct plan *plan) {
    double waiting = (double)plan->stages + 2;
    double busy = plan->period_s > 0 ? ceil(plan->latency_s / plan->period_s - ROUNDING) : 0;
    return (unsigned)fmin(waiting + larger(busy, plan->stages), UINT_MAX);
}

static bool same(double left, double right) {
    return left == right || fabs(left - right) <= SAME_FIGURE * larger(fabs(left), fabs(right));
}

static const char *board_name(const struct problem *problem, unsigned board) {
    return problem->board_names ? problem->board_names[board] : "board";
}

static bool check_slices(const struct problem *problem, const struct plan *plan, struct error *error) {
    bool used[PARTITIONER_BOARDS_MAX] = {false};
    unsigned next = 0;
    for (unsigned index = 0; index < plan->stages; index++) {
        const struct plan_stage *stage = &plan->stage[index];
        if (stage->board >= problem->boards)
            return error_set(error, ERROR_INPUT, "stage %u: board %u of %u", index, stage->board, problem->boards);
        if (used[stage->board])
            return error_set(error, ERROR_INPUT, "stage %u: board %s has a stage already", index,
                             board_name(problem, stage->board));
        used[stage->board] = true;
        if (stage->first != next || stage->end <= stage->first || stage->end > problem->units)
            return error_set(error, ERROR_INPUT, "stage %u: units [%u, %u), want a slice from %u within %u units",
                             index, stage->first, stage->end, next, problem->units);
        next = stage->end;
    }
    if (next != problem->units)
        return error_set(error, ERROR_INPUT, "stage %u: units from %u on have no stage", plan->stages, next);
    return true;
}

static bool check_limits(const struct problem *problem, const struct plan *priced, struct error *error) {
    for (unsigned index = 0; index < priced->stages; index++) {
        const struct plan_stage *stage = &priced->stage[index];
        uint64_t available = problem->memory_bytes[stage->board];
        uint64_t needed = plan_board_memory(problem, stage->board, stage->first, stage->end);
        if (needed > available)
            return error_set(
                error, ERROR_INFEASIBLE, "stage %u: units [%u, %u) need %" PRIu64 " bytes%s, board %s has %" PRIu64,
                index, stage->first, stage->end, needed, needed > stage->memory_bytes ? " beside what is in force" : "",
                board_name(problem, stage->board), available);
        if (!isfinite(stage->receive_s) || !isfinite(stage->send_s))
            return error_set(error, ERROR_INFEASIBLE, "stage %u: board %s has no link %s", index,
                             board_name(problem, stage->board),
                             isfinite(stage->receive_s) ? "to its successor" : "from its predecessor");
    }
    return true;
}

static bool check_figures(const struct plan *plan, const struct plan *priced, struct error *error) {
    for (unsigned index = 0; index < plan->stages; index++) {
        const struct plan_stage *told = &plan->stage[index], *true_stage = &priced->stage[index];
        if (!same(told->compute_s, true_stage->compute_s) || !same(told->receive_s, true_stage->receive_s) ||
            !same(told->send_s, true_stage->send_s) || told->memory_bytes != true_stage->memory_bytes)
            return error_set(error, ERROR_INPUT, "stage %u: its figures are not what its slice costs", index);
    }
    if (!same(plan->period_s, priced->period_s) || !same(plan->latency_s, priced->latency_s) ||
        !same(plan->throughput, priced->throughput))
        return error_set(error, ERROR_INPUT, "period %.9g s, latency %.9g s, %.9g items/s: want %.9g, %.9g, %.9g",
                         plan->period_s, plan->latency_s, plan->throughput, priced->period_s, priced->latency_s,
                         priced->throughput);
    if (!(plan->bound_s <= plan->period_s * (1 + SAME_FIGURE)))
        return error_set(error, ERROR_INPUT, "period %.9g s is below its own lower bound %.9g s", plan->period_s,
                         plan->bound_s);
    return true;
}

bool plan_check(const struct problem *problem, const struct plan *plan, struct error *error) {
    if (plan->stages < 1 || plan->stages > problem->boards)
        return error_set(error, ERROR_INPUT, "plan of %u stages for %u boards", plan->stages, problem->boards);
    if (!check_slices(problem, plan, error))
        return false;
    struct plan priced = *plan;
    plan_cost(problem, &priced);
    return check_limits(problem, &priced, error) && check_figures(plan, &priced, error);
}
