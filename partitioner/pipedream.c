/* Policy "pipedream": what a planner made for a rack of equal machines does with this fleet.
 *
 * PipeDream (Narayanan et al., SOSP 2019, section 3.1; without its replicated stages) profiles one machine and splits
 * the model by dynamic programming so that the slowest of computing and sending is fastest. Every board is taken for
 * the average one, every link for the average link, boards come in the given order, and memory is not looked at; as
 * many stages are used as help. The plan is then priced on the real fleet like any other, which shows what knowing the
 * boards is worth.
 */
#include "base/allocate.h"
#include "partitioner/policy.h"
#include "partitioner/price.h"

#include <math.h>

/* Mean seconds of a transfer at each cut over all ordered pairs of boards that have a link; 0 where no two have. */
static void mean_cut_seconds(const struct problem *problem, double *cut_seconds) {
    for (unsigned cut = 0; cut <= problem->units; cut++) {
        double sum = 0;
        unsigned links = 0;
        for (unsigned from = 0; from < problem->boards; from++)
            for (unsigned to = 0; to < problem->boards; to++) {
                double seconds = from == to ? INFINITY : price_transfer(problem, from, to, cut);
                if (isfinite(seconds)) {
                    sum += seconds;
                    links++;
                }
            }
        cut_seconds[cut] = links ? sum / links : 0;
    }
}

bool policy_pipedream(const struct problem *problem, const struct policy_options *options, struct plan *plan,
                      struct error *error) {
    (void)options;
    (void)error; /* a memory-blind plan always exists */
    double *unit_seconds = allocate(problem->units, sizeof *unit_seconds);
    double *cut_seconds = allocate(problem->units + 1, sizeof *cut_seconds);
    mean_unit_seconds(problem, unit_seconds);
    mean_cut_seconds(problem, cut_seconds);

    unsigned most = problem->boards < problem->units ? problem->boards : problem->units;
    split_in_order(problem, 1, most, unit_seconds, cut_seconds, plan);
    release(cut_seconds);
    release(unit_seconds);
    return true;
}
