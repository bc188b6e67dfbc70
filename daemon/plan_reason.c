/* What a plan's figures mean; see plan_reason.h.
 *
 * For a board without a stage, the reason is looked for among the slices it could have had: none fits its memory; of
 * those that fit, none is computed within the period; of those, none can be received and sent within the period, even
 * from and to the best neighbours. Each is a fact about the board alone, true of every plan of this period. Where none
 * holds, the board could take part, and that it does not is the policy's choice, which is as good as the policy's
 * proof.
 */
#include "daemon/plan_reason.h"

#include "base/seconds.h"

#include "base/allocate.h"
#include "partitioner/price.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SAME 1e-9

/* ---- what binds ---- */

const char *stage_resource_name(enum stage_resource resource) {
    static const char *const names[] = {"compute", "receive", "send", "transfers"};
    return names[resource];
}

enum stage_resource stage_binds(const struct problem *problem, const struct plan_stage *stage, double *seconds) {
    const struct {
        enum stage_resource resource;
        double seconds;
    } choices[] = {
        {RESOURCE_COMPUTE, stage->compute_s},
        {RESOURCE_RECEIVE, stage->receive_s},
        {RESOURCE_SEND, stage->send_s},
        {RESOURCE_TRANSFERS, problem->half_duplex ? stage->receive_s + stage->send_s : 0},
    };
    size_t most = 0;
    for (size_t choice = 1; choice < sizeof choices / sizeof choices[0]; choice++)
        if (choices[choice].seconds > choices[most].seconds)
            most = choice;
    if (seconds)
        *seconds = choices[most].seconds;
    return choices[most].resource;
}

unsigned plan_bottleneck(const struct problem *problem, const struct plan *plan) {
    double most = -1, seconds;
    unsigned bottleneck = 0;
    for (unsigned index = 0; index < plan->stages; index++) {
        stage_binds(problem, &plan->stage[index], &seconds);
        if (seconds > most) {
            most = seconds;
            bottleneck = index;
        }
    }
    return bottleneck;
}

bool stage_memory_full(const struct problem *problem, const struct plan_stage *stage) {
    uint64_t memory = problem->memory_bytes[stage->board];
    unsigned first = stage->first, end = stage->end;
    while (first > 0 && !weights_begin(problem, 0, first)) /* more units with weights that are here take none */
        first--;
    while (end < problem->units && !weights_begin(problem, 0, end))
        end++;
    bool before = first > 0, after = end < problem->units;
    return (before || after) && (!before || plan_slice_memory(problem, stage->board, first - 1, stage->end) > memory) &&
           (!after || plan_slice_memory(problem, stage->board, stage->first, end + 1) > memory);
}

/* ---- why a board is left out ---- */

/* The best that the board's slices offer; infinite where no slice gets that far. */
struct chances {
    uint64_t least_bytes;   /* of all slices */
    double least_compute;   /* of those that fit */
    double least_transfers; /* of those that are quick enough too: the larger of receive and send, or their sum */
};

/* For each cut, the quickest way to get its payload to the board (incoming) or from it. The first and the last cut are
 * the coordinator's. */
static void best_transfers(const struct problem *problem, unsigned board, bool incoming, double *seconds) {
    for (unsigned cut = 0; cut <= problem->units; cut++) {
        bool outer = cut == (incoming ? 0 : problem->units);
        seconds[cut] = INFINITY;
        for (unsigned other = outer ? problem->boards : 0; other < problem->boards + outer; other++)
            if (other != board)
                seconds[cut] = fmin(seconds[cut], incoming ? price_transfer(problem, other, board, cut)
                                                           : price_transfer(problem, board, other, cut));
    }
}

static void look_at_slices(const struct problem *problem, unsigned board, double period, const double *receive,
                           const double *send, struct chances *chances) {
    const double *seconds = problem->unit_seconds + (size_t)board * problem->units;
    *chances = (struct chances){UINT64_MAX, INFINITY, INFINITY};
    for (unsigned first = 0; first < problem->units; first++) {
        struct slice_bytes slice = slice_bytes_at(problem, board, first);
        double compute = price_entry(problem, board, first);
        while (slice.end < problem->units) {
            compute += seconds[slice.end];
            slice_bytes_grow(&slice);
            uint64_t bytes = slice_bytes_total(&slice);
            chances->least_bytes = bytes < chances->least_bytes ? bytes : chances->least_bytes;
            if (bytes > problem->memory_bytes[board])
                continue;
            double busy = compute + price_handling(problem, board, first) + price_handling(problem, board, slice.end);
            chances->least_compute = fmin(chances->least_compute, busy);
            if (busy > period)
                continue;
            double in = receive[first], out = send[slice.end];
            chances->least_transfers = fmin(chances->least_transfers, problem->half_duplex ? in + out : fmax(in, out));
        }
    }
}

static struct chances find_chances(const struct problem *problem, unsigned board, double period) {
    struct chances chances;
    double *receive = allocate((size_t)problem->units + 1, sizeof *receive);
    double *send = allocate((size_t)problem->units + 1, sizeof *send);
    best_transfers(problem, board, true, receive);
    best_transfers(problem, board, false, send);
    look_at_slices(problem, board, period, receive, send, &chances);
    release(receive);
    release(send);
    return chances;
}

static const char *policy_reason(const struct plan *plan) {
    if (strcmp(plan->policy, "optimal") != 0)
        return "the policy had no slice for it";
    if (plan->latency_optimal)
        return "no plan that uses it is better (proven)";
    return plan->optimal ? "no plan that uses it has a smaller period (proven)"
                         : "no better plan that uses it was found";
}

const char *plan_unused_reason(const struct problem *problem, const struct plan *plan, unsigned board,
                               char buffer[PLAN_REASON_MAX]) {
    double period = plan->period_s * (1 + SAME);
    struct chances chances = find_chances(problem, board, period);
    double mebi = 1048576;
    char words[SECONDS_WORDS_MAX];
    if (isinf(chances.least_compute))
        snprintf(buffer, PLAN_REASON_MAX, "no slice fits its memory: the smallest needs %.1f MiB, it has %.1f MiB",
                 (double)chances.least_bytes / mebi, (double)problem->memory_bytes[board] / mebi);
    else if (chances.least_compute > period)
        snprintf(buffer, PLAN_REASON_MAX, "too slow: it computes no slice in less than %s",
                 seconds_words(chances.least_compute, words));
    else if (isinf(chances.least_transfers))
        snprintf(buffer, PLAN_REASON_MAX, "not linked: nobody can send to it, or it to nobody");
    else if (chances.least_transfers > period)
        snprintf(buffer, PLAN_REASON_MAX, "its links are too slow: receiving or sending takes at least %s",
                 seconds_words(chances.least_transfers, words));
    else
        snprintf(buffer, PLAN_REASON_MAX, "%s", policy_reason(plan));
    return buffer;
}
