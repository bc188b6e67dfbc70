/* Why a fleet has no plan: the person who reads this wants to know what to buy, move or make smaller.
 *
 * Looks for the plainest reason first: a unit that no slice around it brings onto any board; weights that exceed all
 * memory together; links that join too few boards, which is so when even endless memory does not help. What remains is
 * memory that would do in sum but not in its pieces: then the reason is how much more each board would need, found by
 * solving with all memory scaled, which is exact but for the last tenth of a percent.
 */
#include "partitioner/infeasible.h"

#include "partitioner/optimal.h"

#include <inttypes.h>
#include <math.h>

#define SCALE_RATIO 1.001
#define SCALE_MOST  1048576.0

static double mebibytes(double bytes) {
    return bytes / 1048576;
}

static unsigned largest_board(const struct problem *problem) {
    unsigned largest = 0;
    for (unsigned board = 1; board < problem->boards; board++)
        if (problem->memory_bytes[board] > problem->memory_bytes[largest])
            largest = board;
    return largest;
}

/* least[unit]: bytes of the smallest slice that holds the unit; a longer slice can need less than a short one with
 * large payloads. For each first unit, the slices that hold a unit are those that end after it: a minimum from the
 * right. */
static void least_bytes(const struct problem *problem, uint64_t *least) {
    uint64_t bytes[PARTITIONER_UNITS_MAX];
    for (unsigned unit = 0; unit < problem->units; unit++)
        least[unit] = bytes[unit] = UINT64_MAX;
    for (unsigned first = 0; first < problem->units; first++) {
        struct slice_bytes slice = slice_bytes_at(problem, first);
        while (slice.end < problem->units) {
            slice_bytes_grow(&slice);
            bytes[slice.end - 1] = slice_bytes_total(&slice);
        }
        uint64_t smallest = UINT64_MAX;
        for (unsigned unit = problem->units; unit-- > first;) {
            smallest = bytes[unit] < smallest ? bytes[unit] : smallest;
            least[unit] = smallest < least[unit] ? smallest : least[unit];
        }
    }
}

static bool explain_unit(const struct problem *problem, struct error *error) {
    uint64_t least[PARTITIONER_UNITS_MAX];
    unsigned board = largest_board(problem);
    least_bytes(problem, least);
    for (unsigned unit = 0; unit < problem->units; unit++)
        if (least[unit] > problem->memory_bytes[board]) {
            error_set(error, ERROR_INFEASIBLE,
                      "unit %u fits no board: with its buffers it needs %" PRIu64
                      " bytes (%.1f MiB), the largest board, %s, "
                      "has %" PRIu64 " (%.1f MiB)",
                      unit, least[unit], mebibytes((double)least[unit]),
                      problem->board_names ? problem->board_names[board] : "of all", problem->memory_bytes[board],
                      mebibytes((double)problem->memory_bytes[board]));
            return true;
        }
    return false;
}

static bool explain_sum(const struct problem *problem, struct error *error) {
    double weights = 0, memory = 0;
    for (unsigned unit = 0; unit < problem->units; unit++)
        weights += (double)problem->weight_bytes[unit];
    for (unsigned board = 0; board < problem->boards; board++)
        memory += (double)problem->memory_bytes[board];
    if (weights <= memory)
        return false;
    error_set(error, ERROR_INFEASIBLE,
              "the weights alone are %.1f MiB, all %u boards together have %.1f MiB: %.1f MiB of memory are missing",
              mebibytes(weights), problem->boards, mebibytes(memory), mebibytes(weights - memory));
    return true;
}

/* Is there a plan, however slow, if every board has `scale` times its memory? */
static enum search_result solve_scaled(const struct problem *problem, const struct policy_options *options,
                                       double scale) {
    struct solver solver;
    solver_init(&solver, problem, scale, options);
    enum search_result result = solver_try(&solver, solver.longest, 0);
    solver_close(&solver);
    return result;
}

bool explain_infeasible(const struct problem *problem, const struct policy_options *options, struct error *error) {
    if (problem->beside) /* who asks for that goes on with what is in force, or without it */
        return error_set(error, ERROR_INFEASIBLE, "no plan fits the boards beside the one in force");
    if (explain_unit(problem, error) || explain_sum(problem, error))
        return false;
    if (solve_scaled(problem, options, SCALE_MOST) != SEARCH_FOUND)
        return error_set(error, ERROR_INFEASIBLE,
                         "no chain of links leads from the coordinator through boards and back");
    double low = 1, high = 2;
    while (high < SCALE_MOST && solve_scaled(problem, options, high) != SEARCH_FOUND) {
        low = high;
        high *= 2;
    }
    while (high > low * SCALE_RATIO) {
        double middle = sqrt(low * high);
        if (solve_scaled(problem, options, middle) == SEARCH_FOUND)
            high = middle;
        else
            low = middle;
    }
    unsigned board = largest_board(problem);
    return error_set(
        error, ERROR_INFEASIBLE,
        "weights and buffers do not fit the boards: a plan would need about %.1f %% more memory on each of them, "
        "%.1f MiB more on the largest",
        100 * (high - 1), mebibytes((high - 1) * (double)problem->memory_bytes[board]));
}
