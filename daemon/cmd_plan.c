/* stagecoach plan: the best slicing of a model over a fleet, before any board is bought or moved.
 *
 * The fleet comes from a fleet file and a model directory, or from PipeEdge's scheduler files. For each microbatch size
 * asked for, both become a problem, the policy solves it, and plan_check, which knows nothing of policies, says whether
 * the plan can run; the size with the highest throughput wins. Of the model only config.json is read. Then it is shown:
 * a table or JSON on stdout, a Gantt chart in a file. No plan is exit status 1 with the reason, a wrong file or option
 * is 2. Runs in one thread; the model and the fleet file live until the end, of the problems only the best.
 */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/commands.h"
#include "daemon/fleet_pool.h"
#include "daemon/fleet_problem.h"
#include "daemon/gantt.h"
#include "daemon/model_outline.h"
#include "daemon/pipeedge.h"
#include "daemon/plan_text.h"
#include "daemon/profile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAME_THROUGHPUT  1e-9
#define MICROBATCH_USUAL 8 /* that of coordinator and bench, too */

struct values {
    const char *model, *fleet, *pipeedge, *model_name, *policy, *microbatch, *svg;
    struct option_list cuts;
    unsigned time_limit_s;
    bool json;
};

/* What is planned: one of a model with a fleet file, or PipeEdge's files. */
struct source {
    const struct values *values;
    struct model_outline outline;
    const struct model_config *config; /* the outline's; NULL for PipeEdge's files */
    struct fleet_file *file;
    unsigned sizes[FLEET_MICROBATCHES]; /* microbatches to choose from, ascending */
    unsigned size_count;
    bool chosen; /* the size, by us */
};

struct solution {
    struct fleet_problem made;
    struct plan plan;
};

/* ---- options ---- */

static bool check_sources(const struct values *values, struct error *error) {
    if (values->pipeedge)
        return (values->model_name && !values->model && !values->fleet) ||
               error_set(error, ERROR_USAGE, "--pipeedge DIR: want --model-name NAME too, and no --model or --fleet");
    if (values->model_name)
        return error_set(error, ERROR_USAGE, "--model-name: only --pipeedge files have several models");
    if (!values->model || !values->fleet)
        return error_set(error, ERROR_USAGE, "%s is missing; see 'stagecoach plan --help'",
                         values->model ? "--fleet FILE" : "--model DIR");
    return true;
}

static bool check(const struct values *values, struct error *error) {
    bool manual = strcmp(values->policy, "manual") == 0;
    if (values->cuts.count && !manual && strcmp(values->policy, "optimal") != 0)
        return error_set(error, ERROR_USAGE, "--cuts: policy %s chooses its own", values->policy);
    return check_sources(values, error) && (!values->svg || command_check_output("--svg", values->svg, error));
}

static void choose_one(struct source *source, unsigned size) {
    source->sizes[0] = size;
    source->size_count = 1;
}

static bool choose_among_all(struct source *source, struct error *error) {
    source->size_count = fleet_file_microbatches(source->file, source->sizes);
    return source->size_count > 0 ||
           error_set(error, ERROR_USAGE, "%s: no microbatch that every board has times for", source->values->fleet);
}

/* Nothing was asked for: the usual size, or the only one that the boards have times for. */
static bool choose_usual(struct source *source, struct error *error) {
    char list[FLEET_SIZES_TEXT];
    if (!source->file)
        return choose_one(source, MICROBATCH_USUAL), true;
    if (!choose_among_all(source, error))
        return false;
    unsigned count = source->size_count;
    for (unsigned at = 0; at < count; at++)
        if (source->sizes[at] == MICROBATCH_USUAL)
            return choose_one(source, MICROBATCH_USUAL), true;
    source->chosen = true;
    return count == 1 ||
           error_set(error, ERROR_USAGE,
                     "%s: its boards have no times for microbatch %u, but for %s: choose with --microbatch, or auto",
                     source->values->fleet, MICROBATCH_USUAL, fleet_sizes_text(source->sizes, count, list));
}

/* "8" or "1,4,8" to sizes, by the reader of lists that options have. */
static bool parse_sizes(struct source *source, struct error *error) {
    static const struct option list = {.name = "microbatch", .type = OPTION_LIST};
    const char *text = source->values->microbatch;
    struct option_list sizes;
    if (!option_set(&list, &sizes, text, "--microbatch", NULL) || sizes.count > FLEET_MICROBATCHES ||
        sizes.value[sizes.count - 1] > FLEET_MICROBATCH_MAX)
        return error_set(error, ERROR_USAGE,
                         "--microbatch: got '%.60s', want a size up to %d, ascending ones such as 1,4,8, or auto", text,
                         FLEET_MICROBATCH_MAX);
    memcpy(source->sizes, sizes.value, sizes.count * sizeof *sizes.value);
    source->size_count = sizes.count;
    return true;
}

static bool choose_sizes(struct source *source, struct error *error) {
    if (!source->values->microbatch)
        return choose_usual(source, error);
    source->chosen = strcmp(source->values->microbatch, "auto") == 0;
    if (!source->chosen) {
        bool ok = parse_sizes(source, error);
        source->chosen = source->size_count > 1;
        return ok;
    }
    return source->file ? choose_among_all(source, error)
                        : error_set(error, ERROR_USAGE, "--microbatch auto: want a size for --pipeedge files");
}

/* ---- the source ---- */

static bool source_open(struct source *source, const struct values *values, struct error *error) {
    *source = (struct source){.values = values};
    if (!values->pipeedge) {
        if (!command_check_model(values->model, "plan", error) ||
            !model_outline_open(&source->outline, values->model, error))
            return false;
        source->config = source->outline.config;
        char fingerprint[33];
        profile_fingerprint(source->config, fingerprint);
        const struct fleet_model model = {model_architecture(source->config), model_units(source->config), fingerprint};
        source->file = fleet_file_read(values->fleet, &model, error);
        if (!source->file)
            return false;
        fleet_pool(source->file);
    }
    return choose_sizes(source, error);
}

static void source_close(struct source *source) {
    fleet_file_destroy(&source->file);
    model_outline_close(&source->outline);
}

static bool make_problem(const struct source *source, unsigned items, struct fleet_problem *made, struct error *error) {
    const struct values *values = source->values;
    if (values->pipeedge)
        return pipeedge_read(made, values->pipeedge, values->model_name, items, error);
    return fleet_problem_fill(made, source->file, source->config, items, error) ||
           error_wrap(error, "%s", values->fleet);
}

/* ---- solving ---- */

static double seconds_now(void *context) {
    (void)context;
    return (double)mono_now().ns / 1e9;
}

static bool solve(const struct values *values, const struct problem *problem, struct plan *plan, struct error *error) {
    const struct policy_options options = {
        .cuts = values->cuts.value,
        .cut_count = values->cuts.count,
        .time_limit_s = values->time_limit_s,
        .clock = seconds_now,
    };
    const char *policy = values->cuts.count ? "manual" : values->policy;
    if (!plan_solve(problem, policy, &options, plan, error))
        return false;
    return plan_check(problem, plan, error) || error_wrap(error, "policy %s", policy);
}

/* Solves for each size and keeps the one with the highest throughput, the smaller of equal ones. Sizes without a plan
 * are passed over while any has one; every other fault ends the search. best is to be closed in any case. */
static bool solve_all(const struct source *source, struct solution *best, struct error *error) {
    bool found = false;
    for (unsigned at = 0; at < source->size_count; at++) {
        struct solution solution;
        struct error reason = {0};
        bool solved = make_problem(source, source->sizes[at], &solution.made, &reason) &&
                      solve(source->values, &solution.made.problem, &solution.plan, &reason);
        if (solved && (!found || solution.plan.throughput > best->plan.throughput * (1 + SAME_THROUGHPUT))) {
            fleet_problem_close(&best->made);
            *best = solution;
            found = true;
            continue;
        }
        fleet_problem_close(&solution.made);
        if (!solved && !found)
            *error = reason;
        if (!solved && reason.code != ERROR_INFEASIBLE)
            return error_set(error, reason.code, "%s", reason.text);
    }
    return found;
}

/* ---- showing ---- */

static bool write_svg(const struct plan_report *report, const char *path, struct error *error) {
    FILE *to = fopen(path, "w");
    if (!to)
        return error_set_errno(error, "--svg %s", path);
    gantt_print(report, to);
    bool failed = ferror(to) != 0;
    if (fclose(to) != 0 || failed)
        return error_set_errno(error, "--svg %s", path);
    return true;
}

static bool show(const struct source *source, const struct solution *solution, struct error *error) {
    const struct values *values = source->values;
    const struct plan_report report = {
        .model = source->config ? model_architecture(source->config) : values->model_name,
        .config = source->config,
        .problem = &solution->made.problem,
        .plan = &solution->plan,
        .microbatch_chosen = source->chosen,
    };
    if (values->json)
        plan_print_json(&report, stdout);
    else
        plan_print_table(&report, stdout);
    return !values->svg || write_svg(&report, values->svg, error);
}

static int run(const void *parsed, char **operands, unsigned count) {
    const struct values *values = parsed;
    struct source source = {0};
    struct solution best = {0};
    struct error error;
    (void)operands;
    (void)count;
    bool ok = check(values, &error) && source_open(&source, values, &error) && solve_all(&source, &best, &error) &&
              show(&source, &best, &error);
    fleet_problem_close(&best.made);
    source_close(&source);
    return ok ? 0 : command_fail(&error);
}

static const struct option options[] = {
    MODEL_CONFIG_OPTION,
    {"fleet", OPTION_TEXT, FIELD(fleet), "FILE", NULL, 0, 0, "boards and links (docs/FLEET.md)"},
    {"pipeedge", OPTION_TEXT, FIELD(pipeedge), "DIR", NULL, 0, 0, "instead of both: PipeEdge's scheduler files"},
    {"model-name", OPTION_TEXT, FIELD(model_name), "NAME", NULL, 0, 0, "which model of PipeEdge's models.yml"},
    {"policy", OPTION_TEXT, FIELD(policy), "P", "optimal", 0, 0, "optimal, pipedream, even or manual"},
    CUTS_OPTION,
    {"microbatch", OPTION_TEXT, FIELD(microbatch), "B|auto", NULL, 0, 0,
     "items computed together; of several (1,4,8) or auto the one with the highest throughput (default 8, or the only "
     "one that the fleet has times for)"},
    {"time-limit", OPTION_NUMBER, FIELD(time_limit_s), "S", "10", 0, 86400,
     "how long a fleet may be searched before the best plan so far is taken; 0: to the end"},
    {"svg", OPTION_TEXT, FIELD(svg), "FILE", NULL, 0, 0, "draw the schedule as a Gantt chart"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object"},
};

const struct command command_plan = {
    .name = "plan",
    .summary = "find the best slicing of a model over a fleet described in a file",
    COMMAND_PARTS,
};
