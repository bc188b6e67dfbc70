/* Small things that several subcommands need; see commands.h. */
#include "daemon/commands.h"

#include "base/file.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/join.h"
#include "daemon/token.h"
#include "proto/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define THREADS_MOST 256

int command_fail(const struct error *error) {
    fprintf(stderr, "stagecoach: %s\n", error->text);
    return error->code == ERROR_USAGE ? EXIT_USAGE : EXIT_ITEMS_FAILED;
}

bool command_check_model(const char *directory, const char *command, struct error *error) {
    struct stat status;
    if (!directory)
        return error_set(error, ERROR_USAGE, "--model DIR is missing; see 'stagecoach %s --help'", command);
    if (stat(directory, &status) != 0) {
        error_set_errno(error, "--model %.200s", directory);
        return error->code = ERROR_USAGE, false;
    }
    return S_ISDIR(status.st_mode) ||
           error_set(error, ERROR_USAGE, "--model %.200s: not a directory; want one with config.json in it", directory);
}

bool command_check_output(const char *option, const char *path, struct error *error) {
    if (file_check_writable(path, error))
        return true;
    error_wrap(error, "%s", option);
    return error->code = ERROR_USAGE, false;
}

const char *command_board_name(const char *option, char *buffer, struct error *error) {
    board_default_name(buffer, MESSAGE_NAME_MAX + 1);
    if (!option || board_name_valid(option))
        return option ? option : buffer;
    error_set(error, ERROR_USAGE,
              "--name: got '%.80s', want 1 to %d letters, digits, '.', '_' or '-', and not 'coordinator'", option,
              MESSAGE_NAME_MAX);
    return NULL;
}

const char *coordinator_endpoint(const char *option) {
    const char *environment = getenv("STAGECOACH_COORDINATOR");
    return option ? option : environment && environment[0] ? environment : "tcp://127.0.0.1:7600";
}

const char *state_directory(const char *option, char *buffer, size_t size) {
    const char *base = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (option)
        return strcmp(option, "none") == 0 ? NULL : option;
    if (base && base[0] == '/')
        snprintf(buffer, size, "%s/stagecoach", base);
    else if (home && home[0] == '/')
        snprintf(buffer, size, "%s/.local/state/stagecoach", home);
    else
        return NULL;
    return buffer;
}

static void client_name(char name[MESSAGE_NAME_MAX + 1]) {
    char host[MESSAGE_NAME_MAX + 1];
    const char *user = getenv("USER");
    board_default_name(host, sizeof host);
    snprintf(name, MESSAGE_NAME_MAX + 1, "%.40s.%.20s", host, user ? user : "");
    if (!user || !user[0] || !board_name_valid(name))
        snprintf(name, MESSAGE_NAME_MAX + 1, "%s", host);
}

bool command_join(const struct key_values *values, const char *coordinator, const char *name, struct identity *identity,
                  bool *keyed, struct error *error) {
    char state[4096], client[MESSAGE_NAME_MAX + 1], token[2 * TOKEN_TEXT_MAX];
    client_name(client);
    if (values->token) { /* argv, which every user of the machine may read; the coordinator may be long in coming */
        snprintf(token, sizeof token, "%s", values->token);
        key_forget((char *)(uintptr_t)values->token, strlen(values->token));
    }
    const struct join_options options = {.role = name ? ROLE_STAGE : ROLE_CLIENT,
                                         .name = name ? name : client,
                                         .coordinator = coordinator,
                                         .state_directory = state_directory(values->state, state, sizeof state),
                                         .token = values->token ? token : NULL,
                                         .token_file = values->token_file,
                                         .insecure = values->insecure,
                                         .patient = name != NULL};
    bool ok = join_coordinator(&options, identity, keyed, error);
    key_forget(token, sizeof token);
    return ok;
}

bool command_log_format(const char *format, struct error *error) {
    bool json = strcmp(format, "json") == 0;
    log_set_json(json);
    return json || strcmp(format, "text") == 0 ||
           error_set(error, ERROR_USAGE, "--log-format: got '%.40s', want text or json", format);
}

unsigned thread_count(unsigned option) {
    unsigned all = board_processors();
    return option > 0 ? option : all < THREADS_MOST ? all : THREADS_MOST;
}

bool command_read_file(const char *path, void **contents, size_t *size, struct error *error) {
    if (file_read(path, MESSAGE_FILE_MAX, contents, size, error))
        return true;
    size_t name = strlen(path);
    if (strncmp(error->text, path, name) == 0 && strncmp(error->text + name, ": ", 2) == 0)
        memmove(error->text, error->text + name + 2, strlen(error->text + name + 2) + 1);
    return false;
}
