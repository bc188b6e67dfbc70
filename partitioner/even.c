/* Policy "even", and the dynamic program it shares with "pipedream": slices for boards in the given order.
 *
 * Takes every board for the average one and cuts the model so that the dearest slice is as cheap as can be. It looks
 * neither at memory nor at links: this is the plan for a fleet of which nothing else is known, and the one that better
 * plans are measured against. The table of the dynamic program lives for one call.
 */
#include "base/allocate.h"
#include "partitioner/policy.h"
#include "partitioner/price.h"

#include <math.h>

void mean_unit_seconds(const struct problem *problem, double *unit_seconds) {
    for (unsigned unit = 0; unit < problem->units; unit++) {
        double sum = 0;
        for (unsigned board = 0; board < problem->boards; board++)
            sum += problem->unit_seconds[(size_t)board * problem->units + unit];
        unit_seconds[unit] = sum / problem->boards;
    }
}

/* One row of the table: the best way to put units [0, end) on one stage more than `previous` has. */
static void split_row(unsigned units, const struct running_sum *sums, const double *cut_seconds, const double *previous,
                      double *best, unsigned *best_first) {
    for (unsigned end = 1; end <= units; end++) {
        best[end] = INFINITY;
        double sending = cut_seconds && end < units ? cut_seconds[end] : 0;
        for (unsigned first = end; first-- > 0;) {
            double compute = running_sum_between(sums[first], sums[end]);
            double price = fmax(fmax(previous[first], compute), sending);
            if (price < best[end]) {
                best[end] = price;
                best_first[end] = first;
            }
            if (compute >= best[end])
                break; /* longer slices only compute longer */
        }
    }
    best[0] = INFINITY; /* a stage has at least one unit */
}

void split_in_order(const struct problem *problem, unsigned fewest, unsigned most, const double *unit_seconds,
                    const double *cut_seconds, struct plan *plan) {
    unsigned units = problem->units, width = units + 1;
    struct running_sum *sums = allocate(width, sizeof *sums);
    double *best = allocate((size_t)width * (most + 1), sizeof *best);
    unsigned *first = allocate((size_t)width * (most + 1), sizeof *first);

    for (unsigned unit = 0; unit < units; unit++)
        sums[unit + 1] = running_sum_add(sums[unit], unit_seconds[unit]);
    for (unsigned end = 1; end <= units; end++)
        best[end] = INFINITY;
    unsigned stages = fewest;
    for (unsigned row = 1; row <= most; row++) {
        double *price = best + (size_t)row * width;
        split_row(units, sums, cut_seconds, price - width, price, first + (size_t)row * width);
        if (row > fewest && price[units] < best[(size_t)stages * width + units])
            stages = row;
    }
    plan->stages = stages;
    for (unsigned row = stages, end = units; row > 0; row--) {
        unsigned from = first[(size_t)row * width + end];
        plan->stage[row - 1] = (struct plan_stage){.board = row - 1, .first = from, .end = end};
        end = from;
    }
    release(first);
    release(best);
    release(sums);
}

bool policy_even(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                 struct error *error) {
    unsigned most = problem->boards < problem->units ? problem->boards : problem->units;
    unsigned stages = options->stages ? options->stages : most;
    if (stages > most)
        return error_set(error, ERROR_USAGE, "%u stages for %u boards and %u units", stages, problem->boards,
                         problem->units);
    double *seconds = allocate(problem->units, sizeof *seconds);
    mean_unit_seconds(problem, seconds);
    split_in_order(problem, stages, stages, seconds, NULL, plan);
    release(seconds);
    return true;
}
