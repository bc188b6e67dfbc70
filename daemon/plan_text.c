/* Plans in words and JSON; see plan_text.h. Everything is derived from the problem and the plan; what other policies
 * would have done is solved here, since it is only wanted for show. Column widths follow the longest name. Nothing is
 * kept; errors of the stream are the caller's to look for. */
#include "daemon/plan_text.h"

#include "base/seconds.h"
#include "daemon/output.h"
#include "daemon/plan_reason.h"
#include "daemon/slice_words.h"

#include <math.h>
#include <string.h>

#define MEBI 1048576.0

/* ---- JSON ---- */

static bool is_used(const struct plan *plan, unsigned board) {
    for (unsigned index = 0; index < plan->stages; index++)
        if (plan->stage[index].board == board)
            return true;
    return false;
}

static void json_member(FILE *to, const char *key, double number) {
    fprintf(to, ", \"%s\": ", key);
    json_double(to, number);
}

static void json_stages(const struct plan_report *report, FILE *to) {
    fputs(", \"stages\": [", to);
    for (unsigned index = 0; index < report->plan->stages; index++) {
        const struct plan_stage *stage = &report->plan->stage[index];
        fputs(index ? ", {\"board\": " : "{\"board\": ", to);
        json_string(to, report->problem->board_names[stage->board]);
        fprintf(to, ", \"first\": %u, \"end\": %u", stage->first, stage->end);
        json_member(to, "compute_s", stage->compute_s);
        json_member(to, "recv_s", stage->receive_s);
        json_member(to, "send_s", stage->send_s);
        fprintf(to, ", \"memory_bytes\": %llu}", (unsigned long long)stage->memory_bytes);
    }
    fputc(']', to);
}

static void json_unused(const struct plan_report *report, FILE *to) {
    char reason[PLAN_REASON_MAX];
    const char *comma = "";
    fputs(", \"unused\": [", to);
    for (unsigned board = 0; board < report->problem->boards; board++) {
        if (is_used(report->plan, board))
            continue;
        fprintf(to, "%s{\"board\": ", comma);
        json_string(to, report->problem->board_names[board]);
        fputs(", \"reason\": ", to);
        json_string(to, plan_unused_reason(report->problem, report->plan, board, reason));
        fputc('}', to);
        comma = ", ";
    }
    fputc(']', to);
}

void plan_print_json(const struct plan_report *report, FILE *to) {
    const struct plan *plan = report->plan;
    fprintf(to, "{\"policy\": \"%s\"", plan->policy);
    if (report->microbatch_chosen)
        fprintf(to, ", \"microbatch\": %u", report->problem->items);
    fprintf(to, ", \"optimal\": %s, \"latency_optimal\": %s", plan->optimal ? "true" : "false",
            plan->latency_optimal ? "true" : "false");
    json_member(to, "bound_s", plan->bound_s);
    json_member(to, "period_s", plan->period_s);
    json_member(to, "latency_s", plan->latency_s);
    json_member(to, "throughput", plan->throughput);
    fprintf(to, ", \"in_flight\": %u", plan_in_flight(plan));
    json_member(to, "solve_s", plan->solve_s);
    json_stages(report, to);
    json_unused(report, to);
    fputs("}\n", to);
}

/* ---- the table ---- */

static int widest(const char *heading, int width, const char *text) {
    int wanted = (int)strlen(text);
    int least = (int)strlen(heading);
    return wanted > width ? wanted : width > least ? width : least;
}

static void print_stage(const struct plan_report *report, unsigned index, int name_width, int words_width, FILE *to) {
    const struct problem *problem = report->problem;
    const struct plan_stage *stage = &report->plan->stage[index];
    char words[SLICE_WORDS_MAX];
    double seconds, available = (double)problem->memory_bytes[stage->board];
    enum stage_resource binds = stage_binds(problem, stage, &seconds);
    fprintf(to, "%5u  %-*s  %-*s  %10.2f  %10.2f  %10.2f  %8.1f of %8.1f  %s%s%s\n", index, name_width,
            problem->board_names[stage->board], words_width,
            slice_words(report->config, stage->first, stage->end, words), 1e3 * stage->compute_s,
            1e3 * stage->receive_s, 1e3 * stage->send_s, (double)stage->memory_bytes / MEBI, available / MEBI,
            stage_resource_name(binds), stage_memory_full(problem, stage) ? ", memory full" : "",
            seconds >= report->plan->period_s * (1 - 1e-9) ? "  <- bottleneck" : "");
}

static void print_stages(const struct plan_report *report, FILE *to) {
    char words[SLICE_WORDS_MAX];
    int name_width = 0, words_width = 0;
    for (unsigned index = 0; index < report->plan->stages; index++) {
        const struct plan_stage *stage = &report->plan->stage[index];
        name_width = widest("board", name_width, report->problem->board_names[stage->board]);
        words_width = widest("units", words_width, slice_words(report->config, stage->first, stage->end, words));
    }
    fprintf(to, "stage  %-*s  %-*s  compute ms  receive ms     send ms  %20s  binds\n", name_width, "board",
            words_width, "units", "memory MiB");
    for (unsigned index = 0; index < report->plan->stages; index++)
        print_stage(report, index, name_width, words_width, to);
}

static void print_heading(const struct plan_report *report, FILE *to) {
    const struct plan *plan = report->plan;
    char solved[SECONDS_WORDS_MAX];
    fprintf(to, "%s: %u units on %u of %u boards, microbatch %u, policy %s", report->model, report->problem->units,
            plan->stages, report->problem->boards, report->problem->items, plan->policy);
    if (plan->latency_optimal)
        fprintf(to, ", proven optimal");
    else if (plan->optimal)
        fprintf(to, ", period proven optimal");
    else if (plan->bound_s > 0)
        fprintf(to, ", within %.2f %% of optimal", 100 * (plan->period_s / plan->bound_s - 1));
    fprintf(to, ", solved in %s\n\n", seconds_words(plan->solve_s, solved));
}

/* Ready to be typed. --cuts takes boards in the order of the file, or of their names. */
static void print_cuts(const struct plan *plan, FILE *to) {
    fputs(plan->stages > 1 ? "cuts        --cuts " : "cuts        none", to);
    for (unsigned index = 1; index < plan->stages; index++)
        fprintf(to, "%s%u", index > 1 ? "," : "", plan->stage[index].first);
    fputs(plan->stages > 1 ? "  (on boards in this order)\n" : "\n", to);
}

static void print_predictions(const struct plan_report *report, FILE *to) {
    const struct plan *plan = report->plan;
    const struct plan_stage *slowest = &plan->stage[plan_bottleneck(report->problem, plan)];
    char words[SECONDS_WORDS_MAX];
    fprintf(to, "\nperiod      %s, set by %s of %s\n", seconds_words(plan->period_s, words),
            stage_resource_name(stage_binds(report->problem, slowest, NULL)),
            report->problem->board_names[slowest->board]);
    fprintf(to, "throughput  %.4g items/s\n", plan->throughput);
    fprintf(to, "latency     %s\n", seconds_words(plan->latency_s, words));
    fprintf(to, "in flight   %u microbatches\n", plan_in_flight(plan));
    print_cuts(plan, to);
}

/* ---- compared with what ---- */

/* The best plan of one stage that fits; false when there is none. */
static bool best_single(const struct problem *problem, struct plan *best) {
    *best = (struct plan){.period_s = INFINITY};
    for (unsigned board = 0; board < problem->boards; board++) {
        struct plan plan = {.policy = "manual", .stages = 1, .stage = {{.board = board, .end = problem->units}}};
        plan_cost(problem, &plan);
        if (plan.period_s < best->period_s && plan_check(problem, &plan, NULL))
            *best = plan;
    }
    return best->stages > 0;
}

static void print_speedup(const struct plan_report *report, FILE *to) {
    struct plan single;
    char words[SECONDS_WORDS_MAX];
    if (best_single(report->problem, &single))
        fprintf(to, "speed-up    %.2f over the best single board, %s (%s)\n", single.period_s / report->plan->period_s,
                report->problem->board_names[single.stage[0].board], seconds_words(single.period_s, words));
    else
        fprintf(to, "speed-up    no single board holds the model\n");
}

static void print_gain(const struct plan_report *report, const char *policy, FILE *to) {
    struct plan plan;
    struct error error;
    char words[SECONDS_WORDS_MAX];
    if (strcmp(report->plan->policy, policy) == 0)
        return;
    if (!plan_solve(report->problem, policy, NULL, &plan, &error)) {
        fprintf(to, "gain        %s has no plan: %s\n", policy, error.text);
        return;
    }
    bool runs = plan_check(report->problem, &plan, &error);
    if (isfinite(plan.period_s))
        fprintf(to, "gain        %.2f over %s (%s)", plan.period_s / report->plan->period_s, policy,
                seconds_words(plan.period_s, words));
    else
        fprintf(to, "gain        endless over %s", policy);
    fprintf(to, "%s%s\n", runs ? "" : ", which cannot run: ", runs ? "" : error.text);
}

static void print_unused(const struct plan_report *report, FILE *to) {
    char reason[PLAN_REASON_MAX];
    for (unsigned board = 0; board < report->problem->boards; board++)
        if (!is_used(report->plan, board))
            fprintf(to, "unused      %s: %s\n", report->problem->board_names[board],
                    plan_unused_reason(report->problem, report->plan, board, reason));
}

void plan_print_table(const struct plan_report *report, FILE *to) {
    print_heading(report, to);
    print_stages(report, to);
    print_predictions(report, to);
    print_speedup(report, to);
    print_gain(report, "even", to);
    print_gain(report, "pipedream", to);
    print_unused(report, to);
}
