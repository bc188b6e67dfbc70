/* stagecoach profile: what this board takes for each unit of a model, measured with the kernels and threads it would
 * serve with.
 *
 * Needs the model's config.json alone (model_outline.h): weights are random, and a board seldom has the real ones. The
 * result goes to stdout as a table or as JSON, and into files that are whole or not there: the profile, and a fleet
 * file of this one board, to be merged with others'. One thread beside the pool's. Exit status 2 for what the user can
 * mend in the command, 1 when the board cannot: no memory, no threads, a disk that is full.
 */
#include "base/allocate.h"
#include "base/file.h"
#include "base/mono.h"
#include "daemon/board.h"
#include "daemon/commands.h"
#include "daemon/fleet_write.h"
#include "daemon/handling.h"
#include "daemon/model_outline.h"
#include "daemon/output.h"
#include "daemon/profile.h"
#include "daemon/storage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NOISY 0.1 /* a spread above it makes plans a matter of luck; a quiet board stays below 0.05 */

struct values {
    const char *model, *kernels, *out, *fleet, *name, *storage;
    struct option_list microbatches;
    uint64_t memory, reserve;
    unsigned threads, budget_s;
    bool json;
};

/* ---- measuring ---- */

struct waiting {
    mono_t start;
    unsigned budget_s;
    bool terminal;
};

static bool show_waiting(void *context) {
    const struct waiting *waiting = context;
    if (waiting->terminal)
        fprintf(stderr, "\rmeasuring: %.0f s of about %u s at most\033[K",
                (double)mono_since(mono_now(), waiting->start) / 1e9, waiting->budget_s);
    return true;
}

/* What is about to happen: a line that is drawn over on a terminal, and stays in a log. */
static void announce(const struct values *values, const struct kernels *kernels, unsigned threads,
                     struct waiting *waiting) {
    *waiting = (struct waiting){mono_now(), values->budget_s, isatty(STDERR_FILENO) == 1};
    fprintf(stderr, "measuring for about %u s at most, %s kernels, %u thread%s; leave this board alone%s",
            values->budget_s, kernels->name, threads, threads == 1 ? "" : "s", waiting->terminal ? "" : "\n");
    fflush(stderr);
}

static void warn_of_noise(const struct profile *profile) {
    const struct profile_times *worst = &profile->times[0];
    for (unsigned index = 1; index < profile->sizes; index++)
        if (profile->times[index].spread > worst->spread)
            worst = &profile->times[index];
    if (worst->spread > NOISY)
        fprintf(stderr,
                "stagecoach: the times vary by %.0f %% (microbatch %u), want less than %.0f %%: end what else runs on "
                "this board, then measure again, longer with --budget SECONDS\n",
                100 * worst->spread, worst->microbatch, 100 * NOISY);
}

static bool measure(const struct values *values, const struct model_config *config, uint64_t memory_bytes,
                    struct profile *profile, struct error *error) {
    struct waiting waiting;
    const struct kernels *kernels = kernels_get(values->kernels, error);
    if (!kernels)
        return false;
    struct pool *pool = pool_new(thread_count(values->threads), error);
    if (!pool)
        return false;
    announce(values, kernels, pool_threads(pool), &waiting);
    const struct profile_settings settings = {
        .config = config,
        .kernels = kernels,
        .pool = pool,
        .microbatches = values->microbatches.value,
        .sizes = values->microbatches.count,
        .budget_s = values->budget_s,
        .memory_bytes = memory_bytes,
        .go_on = show_waiting,
        .context = &waiting,
    };
    bool ok = profile_measure(&settings, profile, error);
    if (waiting.terminal)
        fputs("\r\033[K", stderr);
    pool_destroy(&pool);
    const struct handling_settings handling = {.config = config};
    struct error trouble;
    if (ok && !handling_measure(&handling, profile, &trouble)) /* plans then take it for nothing */
        fprintf(stderr, "stagecoach: not measured what receiving and sending cost: %s\n", trouble.text);
    if (ok)
        warn_of_noise(profile);
    return ok;
}

/* ---- the table ---- */

static double sum(const struct profile *profile, const struct profile_times *times) {
    double seconds = 0;
    for (unsigned unit = 0; unit < profile->units; unit++)
        seconds += times->unit_s[unit];
    return seconds;
}

/* "projection x 31" for a kind that many blocks share, "block 31.2 projection" for one of a single unit. */
static void kind_name(const struct model_config *config, unsigned unit, unsigned count, char text[64]) {
    char name[40];
    const char *part = model_unit_name(config, unit, name);
    if (count > 1 && strncmp(part, "block ", 6) == 0)
        part += 6 + strspn(part + 6, "0123456789.") + 1;
    if (count > 1)
        snprintf(text, 64, "%s x %u", part, count);
    else
        snprintf(text, 64, "%s", part);
}

static void print_times(const struct profile *profile, const struct profile_times *times,
                        const struct model_config *config, const unsigned *kind) {
    double whole = sum(profile, times);
    char name[64];
    printf("\nmicrobatch %u: %.1f ms, %.2f images/s, spread %.1f %% over %u runs\n", times->microbatch, 1e3 * whole,
           times->microbatch / whole, 100 * times->spread, times->runs);
    printf("  %-24s %10s %9s %8s %8s\n", "unit", "ms", "GFLOPS", "share", "spread");
    for (unsigned unit = 0; unit < profile->units; unit++) {
        unsigned count = 0;
        for (unsigned other = unit; other < profile->units; other++)
            count += kind[other] == unit;
        if (kind[unit] != unit)
            continue;
        double seconds = times->unit_s[unit];
        kind_name(config, unit, count, name);
        printf("  %-24s %10.3f %9.1f %6.1f %% %6.1f %%\n", name, 1e3 * seconds,
               model_unit_flops(config, unit) * times->microbatch / seconds / 1e9, 100 * seconds * count / whole,
               100 * times->unit_spread[unit]);
    }
}

static void print_table(const struct profile *profile, const struct model_config *config) {
    unsigned *kind = allocate(profile->units, sizeof *kind);
    profile_kinds(config, kind);
    printf("%s, %u units, %s kernels, %u thread%s, %.2f GiB for Stagecoach", profile->architecture, profile->units,
           profile->kernels, profile->threads, profile->threads == 1 ? "" : "s",
           (double)profile->memory_bytes / 1073741824);
    if (profile->storage_bytes_per_second > 0)
        printf(", storage %.0f MB/s", profile->storage_bytes_per_second / 1e6);
    if (profile->handling_bytes_per_second > 0)
        printf(", receives or sends %.0f MB/s while it does not compute", profile->handling_bytes_per_second / 1e6);
    putchar('\n');
    for (unsigned index = 0; index < profile->sizes; index++)
        print_times(profile, &profile->times[index], config, kind);
    release(kind);
}

/* ---- files ---- */

static bool write_profile(const struct profile *profile, const char *path, struct error *error) {
    char *text = profile_to_json(profile);
    size_t length = strlen(text);
    text[length] = '\n'; /* in place of the end, which a file has not */
    bool ok = file_write_atomic(path, text, length + 1, error);
    release(text);
    return ok;
}

static bool write_fleet(const struct values *values, const struct profile *profile, const char *name,
                        struct error *error) {
    static const char comment[] =
        "Written by 'stagecoach profile'; docs/FLEET.md explains every key. Copy the entries of\n"
        "other boards below 'boards', and say what the links can do, such as\n"
        "  link: {bandwidth: 1Gbit/s, latency: 0.3ms}\n";
    struct fleet_file *file = fleet_of_profile(profile, name, values->out, values->fleet);
    bool ok = fleet_write(file, comment, values->fleet, error);
    fleet_file_destroy(&file);
    return ok;
}

static bool show(const struct values *values, const struct profile *profile, const struct model_config *config,
                 const char *name, struct error *error) {
    if ((values->out && !write_profile(profile, values->out, error)) ||
        (values->fleet && !write_fleet(values, profile, name, error)))
        return false;
    if (!values->json) {
        print_table(profile, config);
        return true;
    }
    char *text = profile_to_json(profile);
    puts(text);
    release(text);
    return true;
}

/* ---- the command ---- */

static bool check(const struct values *values, struct error *error) {
    const struct option_list *sizes = &values->microbatches;
    if (!command_check_model(values->model, "profile", error))
        return false;
    if (sizes->count > PROFILE_MICROBATCHES || sizes->value[0] == 0 ||
        sizes->value[sizes->count - 1] > FLEET_MICROBATCH_MAX)
        return error_set(error, ERROR_USAGE, "--microbatch: want 1 to %d ascending sizes from 1 to %d such as 1,4,8",
                         PROFILE_MICROBATCHES, FLEET_MICROBATCH_MAX);
    return (!values->out || command_check_output("--out", values->out, error)) &&
           (!values->fleet || command_check_output("--fleet", values->fleet, error));
}

static bool measure_board(const struct values *values, const struct model_config *config, struct profile *profile,
                          struct error *error) {
    uint64_t memory; /* asked for before measuring takes some of it */
    double storage = 0;
    if (!board_memory_offered(values->memory, values->reserve, &memory, error) ||
        (values->storage && !(storage_measure(values->storage, &storage, error) || error_wrap(error, "--storage"))) ||
        !measure(values, config, memory, profile, error))
        return false;
    profile->memory_bytes = memory;
    profile->storage_bytes_per_second = storage;
    return true;
}

static int run(const void *options, char **operands, unsigned count) {
    const struct values *values = options;
    char host[MESSAGE_NAME_MAX + 1];
    struct model_outline outline = {0};
    struct error error;
    (void)operands;
    (void)count;
    const char *name = command_board_name(values->name, host, &error);
    if (!name)
        return command_fail(&error);
    struct profile *profile = allocate(1, sizeof *profile);
    bool ok = check(values, &error) && model_outline_open(&outline, values->model, &error) &&
              measure_board(values, outline.config, profile, &error) &&
              show(values, profile, outline.config, name, &error);
    model_outline_close(&outline);
    release(profile);
    return ok ? 0 : command_fail(&error);
}

static const struct option options[] = {
    MODEL_CONFIG_OPTION,
    /* what coordinator, plan and bench compute when nothing is said */
    {"microbatch", OPTION_LIST, FIELD(microbatches), "B,B,...", "8", 0, 0, "sizes to measure, such as 1,4,8"},
    THREADS_OPTION,
    KERNELS_OPTION,
    MEMORY_OPTION("what the board has, such as 1.5GiB (default: what is free)"),
    RESERVE_OPTION,
    {"storage", OPTION_TEXT, FIELD(storage), "PATH", NULL, 0, 0,
     "also measure how fast this file, or the largest in this directory, is read from its disk"},
    {"budget", OPTION_NUMBER, FIELD(budget_s), "S", "20", 1, 3600,
     "about how many seconds to measure; each size is measured at least once"},
    {"out", OPTION_TEXT, FIELD(out), "FILE", NULL, 0, 0, "write the profile there (docs/FLEET.md)"},
    {"fleet", OPTION_TEXT, FIELD(fleet), "FILE", NULL, 0, 0,
     "write a fleet file of this board that refers to --out, or without it holds the times"},
    {"name", OPTION_TEXT, FIELD(name), "NAME", NULL, 0, 0, "this board's name there (default: the host's)"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "the profile as one JSON object"},
};

const struct command command_profile = {
    .name = "profile",
    .summary = "measure what this board takes for each unit of a model",
    COMMAND_PARTS,
};
