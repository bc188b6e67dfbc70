/* stagecoach coordinator: option declarations and the translation to struct coordinator_options. */
#include "base/log.h"
#include "daemon/commands.h"
#include "daemon/coordinator.h"
#include "daemon/core/coordinator_core.h"
#include "partitioner/partitioner.h"
#include "proto/message.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct values {
    const char *model, *config, *listen, *endpoint_file, *policy, *survey, *state, *write_fleet, *log_format;
    unsigned stages, microbatch, microbatch_wait_ms, in_flight, patience_s, silence_s, plan_s, gain, drift_after_s,
        decoders;
    struct option_list cuts;
    bool insecure, secure, verbose;
};

static bool policy_known(const char *name, struct error *error) {
    char names[128] = "";
    for (size_t i = 0; policy_name(i); i++) {
        if (strcmp(policy_name(i), name) == 0)
            return true;
        strncat(strncat(names, i ? ", " : "", sizeof names - strlen(names) - 1), policy_name(i),
                sizeof names - strlen(names) - 1);
    }
    return error_set(error, ERROR_USAGE, "--policy: got '%.40s', want one of %s", name, names);
}

/* enum coordinator_survey, or -1. */
static int survey_of(const char *text) {
    static const char *const names[] = {"auto", "always", "never"};
    for (int i = 0; i < 3; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static bool check(const struct values *values, struct error *error) {
    if (!command_check_model(values->model, "coordinator", error))
        return false;
    if (values->cuts.count > 0 && values->stages > 0 && values->stages != values->cuts.count + 1)
        return error_set(error, ERROR_USAGE, "--cuts: %u cuts make %u stages, but --stages is %u", values->cuts.count,
                         values->cuts.count + 1, values->stages);
    if (strcmp(values->policy, "manual") == 0 && values->cuts.count == 0 && values->stages != 1)
        return error_set(error, ERROR_USAGE, "--policy manual: --cuts C,C,... is missing");
    if (survey_of(values->survey) < 0)
        return error_set(error, ERROR_USAGE, "--survey: got '%.40s', want auto, always or never", values->survey);
    if (values->write_fleet && survey_of(values->survey) == SURVEY_NEVER)
        return error_set(error, ERROR_USAGE, "--write-fleet: there is nothing to write with --survey never");
    if (values->secure && values->insecure)
        return error_set(error, ERROR_USAGE, "--secure and --insecure: choose one");
    return policy_known(values->policy, error) &&
           (!values->write_fleet || command_check_output("--write-fleet", values->write_fleet, error));
}

static int run(const void *parsed, char **operands, unsigned count) {
    const struct values *values = parsed;
    struct error error;
    char state[4096];
    (void)operands;
    (void)count;
    if (!check(values, &error) || !command_log_format(values->log_format, &error))
        return command_fail(&error);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct coordinator_options options = {
        .model = values->model,
        .listen = values->listen,
        .endpoint_file = values->endpoint_file,
        .policy = values->policy,
        .stages = values->stages,
        .cut_count = values->cuts.count,
        .microbatch = values->microbatch,
        .microbatch_wait_ms = values->microbatch_wait_ms,
        .in_flight = values->in_flight,
        .patience_ms = values->patience_s * 1000,
        .silence_s = values->silence_s,
        .plan_seconds = values->plan_s,
        .gain = values->gain / 100.0,
        .drift_after_s = values->drift_after_s,
        .survey = (enum coordinator_survey)survey_of(values->survey),
        .state_directory = state_directory(values->state, state, sizeof state),
        .write_fleet = values->write_fleet,
        .decoders = values->decoders ? values->decoders
                    : cores > 4      ? 4
                    : cores > 1      ? (unsigned)cores
                                     : 1,
        .insecure = values->insecure,
        .secure = values->secure,
    };
    memcpy(options.cuts, values->cuts.value, sizeof options.cuts);
    log_set_name("coordinator");
    log_set_level(values->verbose ? LOG_DEBUG : LOG_INFO);
    return coordinator_run(&options, &error) ? 0 : command_fail(&error);
}

static const struct option options[] = {
    MODEL_OPTION,
    CONFIG_OPTION,
    {"listen", OPTION_TEXT, FIELD(listen), "tcp://ADDR:PORT", "tcp://127.0.0.1:7600", 0, 0,
     "where boards and clients connect"},
    {"insecure", OPTION_FLAG, FIELD(insecure), NULL, NULL, 0, 0,
     "do without keys beyond loopback, on a network you trust"},
    {"secure", OPTION_FLAG, FIELD(secure), NULL, NULL, 0, 0, "demand keys on loopback, too"},
    {"stages", OPTION_NUMBER, FIELD(stages), "N", "0", 0, MESSAGE_BOARDS_MAX,
     "plan with so many boards, and serve nothing while there are fewer: others are spares; 0: with whatever is there, "
     "as it comes and goes"},
    {"policy", OPTION_TEXT, FIELD(policy), "P", "optimal", 0, 0,
     "optimal (measures boards and links first), even, pipedream or manual"},
    {"survey", OPTION_TEXT, FIELD(survey), "WHEN", "auto", 0, 0,
     "measure boards and links: auto (when the policy needs it), always or never"},
    {"state", OPTION_TEXT, FIELD(state), "DIR", NULL, 0, 0,
     "where keys and profiles of boards are kept, or none (default ~/.local/state/stagecoach)"},
    {"plan-time", OPTION_NUMBER, FIELD(plan_s), "S", "5", 1, 3600, "how long policy optimal may search"},
    {"gain", OPTION_NUMBER, FIELD(gain), "PERCENT", "10", 0, 1000,
     "how much faster another plan must be to replace one that serves"},
    {"drift-after", OPTION_NUMBER, FIELD(drift_after_s), "S", "30", 0, 86400,
     "computing time that a board must be 15 % off its profile before another plan is looked for; 0: never"},
    {"write-fleet", OPTION_TEXT, FIELD(write_fleet), "FILE", NULL, 0, 0,
     "write what was measured as a fleet file for 'plan', whenever a plan is made"},
    CUTS_OPTION,
    {"microbatch", OPTION_NUMBER, FIELD(microbatch), "B", "8", 1, MESSAGE_ITEMS_MAX, "most images computed together"},
    {"microbatch-wait", OPTION_NUMBER, FIELD(microbatch_wait_ms), "MS", "5", 0, 60000,
     "how long an image waits for company"},
    {"in-flight", OPTION_NUMBER, FIELD(in_flight), "N", "0", 0, CORE_IN_FLIGHT_MAX,
     "most microbatches in the pipeline; 0: by the plan, two to three per stage and a few"},
    {"patience", OPTION_NUMBER, FIELD(patience_s), "S", "60", 0, 86400,
     "how long images wait for a pipeline that does not serve"},
    {"silence", OPTION_NUMBER, FIELD(silence_s), "S", "3", 2, 15,
     "how long a board may say nothing before it counts as lost"},
    {"decoders", OPTION_NUMBER, FIELD(decoders), "N", "0", 0, 64,
     "threads that decode images; 0: by the number of cores"},
    {"endpoint-file", OPTION_TEXT, FIELD(endpoint_file), "FILE", NULL, 0, 0,
     "write the endpoint there once listening (for port 0)"},
    LOG_FORMAT_OPTION,
    VERBOSE_OPTION,
};

const struct command command_coordinator = {
    .name = "coordinator",
    .summary = "admit boards, hand out slices of a model, stream images through them",
    COMMAND_PARTS,
};
