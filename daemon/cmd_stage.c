/* stagecoach stage: option declarations and the translation to struct stage_options. */
#include "base/file.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/commands.h"
#include "daemon/net/net.h"
#include "daemon/stage.h"

#include <stdio.h>
#include <stdlib.h>

struct values {
    const char *coordinator, *config, *name, *kernels, *cache, *listen, *log_format;
    uint64_t memory, reserve, cache_limit;
    unsigned threads;
    struct key_values key;
    bool verbose;
};

/* --cache, else $XDG_CACHE_HOME/stagecoach, else ~/.cache/stagecoach, else a folder in /var/tmp. */
static const char *cache_directory(const char *option, char *buffer, size_t size) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (option)
        return option;
    if (base && base[0] == '/')
        snprintf(buffer, size, "%s/stagecoach", base);
    else if (home && home[0] == '/')
        snprintf(buffer, size, "%s/.cache/stagecoach", home);
    else
        snprintf(buffer, size, "/var/tmp/stagecoach");
    return buffer;
}

static int run(const void *parsed, char **operands, unsigned count) {
    const struct values *values = parsed;
    char host[MESSAGE_NAME_MAX + 1], cache[4096], speaker[MESSAGE_NAME_MAX + 8];
    uint64_t memory, there = board_memory_available();
    struct identity identity;
    bool keyed;
    struct error error;
    (void)operands;
    (void)count;
    if (!command_log_format(values->log_format, &error) ||
        !board_memory_offered(values->memory, values->reserve, &memory, &error))
        return command_fail(&error);
    const char *name = command_board_name(values->name, host, &error);
    if (!name)
        return command_fail(&error);
    struct stage_options options = {
        .coordinator = coordinator_endpoint(values->coordinator),
        .name = name,
        .memory_bytes = memory,
        .threads = thread_count(values->threads),
        .kernels = values->kernels,
        .cache_directory = cache_directory(values->cache, cache, sizeof cache),
        .cache_limit_bytes = values->cache_limit,
        .insecure = values->key.insecure,
        .listen = values->listen,
    };
    snprintf(speaker, sizeof speaker, "stage %s", options.name);
    log_set_name(speaker);
    log_set_level(values->verbose ? LOG_DEBUG : LOG_INFO);
    if (options.insecure && !net_is_loopback(options.coordinator))
        log_warn("--insecure: without keys; whoever reaches this board can read and send microbatches");
    if (there > 0 && values->memory > there)
        log_warn("--memory: got %.1f MiB, of which %.1f MiB are available now; what does not fit may end this daemon",
                 (double)values->memory / 1048576, (double)there / 1048576);
    if (!directory_make(options.cache_directory, &error)) /* a token is used up when its bearer has joined */
        return error_wrap(&error, "--cache"), error.code = ERROR_USAGE, command_fail(&error);
    if (!command_join(&values->key, options.coordinator, options.name, &identity, &keyed, &error))
        return command_fail(&error);
    options.identity = keyed ? &identity : NULL;
    bool ok = stage_run(&options, &error);
    key_forget(&identity, sizeof identity);
    return ok ? 0 : command_fail(&error);
}

static const struct option options[] = {
    COORDINATOR_OPTION,
    {"name", OPTION_TEXT, FIELD(name), "NAME", NULL, 0, 0, "this board's name (default: the host's)"},
    CONFIG_OPTION,
    MEMORY_OPTION("what it may use, such as 1.5GiB (default: what is free)"),
    RESERVE_OPTION,
    THREADS_OPTION,
    KERNELS_OPTION,
    {"cache", OPTION_TEXT, FIELD(cache), "DIR", NULL, 0, 0,
     "where fetched tensors are kept (default ~/.cache/stagecoach)"},
    {"cache-limit", OPTION_SIZE, FIELD(cache_limit), "SIZE", "16GiB", 0, 0, "most bytes kept there"},
    {"listen", OPTION_TEXT, FIELD(listen), "tcp://ADDR:PORT", NULL, 0, 0,
     "where microbatches arrive, and behind that port (default: the address that reaches the coordinator, or with keys "
     "all where that is loopback; any port)"},
    KEY_OPTIONS,
    LOG_FORMAT_OPTION,
    VERBOSE_OPTION,
};

const struct command command_stage = {
    .name = "stage",
    .summary = "offer this board to a coordinator and serve a slice of its model",
    COMMAND_PARTS,
};
