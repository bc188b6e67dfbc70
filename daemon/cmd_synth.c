/* stagecoach synth: writes a model directory with random weights, for sizing a fleet before any download and for
 * benchmarks. */
#include "base/log.h"
#include "daemon/commands.h"
#include "model/model.h"

struct values {
    uint64_t seed;
    const char *out;
};

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    struct error error;
    (void)count;
    if (!values->out) {
        error_set(&error, ERROR_USAGE, "--out DIR is missing; see 'stagecoach synth --help'");
        return command_fail(&error);
    }
    if (!model_synthesise(operands[0], values->seed, values->out, &error))
        return command_fail(&error);
    log_info("wrote %s with seed %llu to %s", operands[0], (unsigned long long)values->seed, values->out);
    return 0;
}

static const struct option options[] = {
    {"seed", OPTION_SEED, FIELD(seed), "N", "1", 0, 0, "the same seed writes the same bytes"},
    {"out", OPTION_TEXT, FIELD(out), "DIR", NULL, 0, 0, "directory to write, new or empty"},
};

const struct command command_synth = {
    .name = "synth",
    .summary = "write a model directory with random weights (vit-tiny ... vit-huge, deit-*)",
    .operands = "ARCH",
    .operands_min = 1,
    .operands_max = 1,
    COMMAND_PARTS,
};
