/* Joining; see join.h.
 *
 * The bearer of a token connects with the key pair that grows from it, names the public half of its own, and is told
 * that this is admitted; from then on it connects with its own. The coordinator's key comes from the token, so nobody
 * in between can take its place. Own keys are written before they are told to anybody, so a join that is cut off after
 * the coordinator has done its part is noticed: the token is used up, but these keys are let in. One thread; blocking.
 */
#include "daemon/join.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/client.h"
#include "daemon/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_FILE_MAX ((size_t)4096)

static void who_of(const struct join_options *options, char who[IDENTITY_WHO_MAX]) {
    if (options->role == ROLE_STAGE)
        snprintf(who, IDENTITY_WHO_MAX, "stage-%.63s", options->name);
    else
        snprintf(who, IDENTITY_WHO_MAX, "client");
}

/* ---- the token ---- */

static bool token_from_file(const char *path, struct token *token, struct error *error) {
    void *contents;
    size_t size;
    if (!file_read(path, TOKEN_FILE_MAX, &contents, &size, error))
        return error_wrap(error, "--token-file");
    bool ok = token_parse(contents, token, error) || error_wrap(error, "--token-file %s", path);
    key_forget(contents, size);
    release(contents);
    return ok;
}

static bool read_token(const struct join_options *options, struct token *token, bool *given, struct error *error) {
    const char *environment = getenv("STAGECOACH_TOKEN");
    *given = true;
    if (options->token)
        return token_parse(options->token, token, error) || error_wrap(error, "--token");
    if (options->token_file)
        return token_from_file(options->token_file, token, error);
    if (environment && environment[0])
        return token_parse(environment, token, error) || error_wrap(error, "$STAGECOACH_TOKEN");
    *given = false;
    return true;
}

static bool check_token(const struct join_options *options, const struct token *token, struct error *error) {
    if (token->role != options->role)
        return error_set(error, ERROR_USAGE,
                         "this token is for a %s; have the coordinator's operator make one for a %s",
                         token->role == ROLE_STAGE ? "stage" : "client",
                         options->role == ROLE_STAGE ? "stage ('stagecoach keys token')"
                                                     : "client ('stagecoach keys token --role client')");
    return options->state_directory || error_set(error, ERROR_USAGE, "a token needs --state DIR to keep the keys in");
}

/* ---- talking ---- */

/* Asks once, with these keys. */
static bool ask(const struct join_options *options, const struct identity *identity, const struct message *question,
                enum message_type want, struct error *error) {
    struct client client;
    struct net_message received;
    struct message answer;
    if (!client_open(&client, options->coordinator, identity, error))
        return false;
    bool ok = client_ask(&client, question, want, &received, &answer, error);
    if (ok)
        net_message_close(&received);
    client_close(&client);
    return ok;
}

static bool ask_patiently(const struct join_options *options, const struct identity *identity,
                          const struct message *question, enum message_type want, struct error *error) {
    struct waiting waiting = {0};
    while (!ask(options, identity, question, want, error)) {
        if (!options->patient || error->code != ERROR_TIMEOUT)
            return false;
        if (waiting_is_news(&waiting, error->text))
            log_info("%s Trying again", error->text);
    }
    return true;
}

/* Are these keys admitted? *admitted is false when the coordinator says no. */
static bool knock(const struct join_options *options, const struct identity *identity, bool *admitted,
                  struct error *error) {
    const struct message question = {.type = MESSAGE_STATUS_GET};
    *admitted = ask_patiently(options, identity, &question, MESSAGE_STATUS, error);
    return *admitted || error->code == ERROR_DENIED;
}

/* Has our own key admitted; done is done, also when the answer to it was lost. */
static bool present(const struct join_options *options, const struct token *token, const struct identity *identity,
                    struct error *error) {
    struct identity bearer = {.coordinator = token->coordinator};
    const struct message join = {.type = MESSAGE_JOIN,
                                 .join = {.protocol = PROTOCOL_VERSION,
                                          .version = STAGECOACH_VERSION,
                                          .role = options->role,
                                          .name = options->name,
                                          .key = &identity->keys.own}};
    key_pair_from_seed(token->seed, &bearer.keys);
    bool ok = ask_patiently(options, &bearer, &join, MESSAGE_JOINED, error);
    key_forget(&bearer, sizeof bearer);
    bool denied = !ok && error->code == ERROR_DENIED;
    if (denied && !knock(options, identity, &ok, error))
        return false;
    if (denied && !ok)
        error_set(error, ERROR_DENIED,
                  "%s: the coordinator does not take this token: it was used, has expired, was revoked, or is another "
                  "coordinator's; have its operator make one with 'stagecoach keys token'",
                  options->coordinator);
    return ok;
}

/* ---- joining ---- */

/* The keys that are there, unless they are no good any more (fresh); they are kept until new ones are admitted. */
static bool redeem(const struct join_options *options, const struct token *token, bool fresh, struct identity *identity,
                   struct error *error) {
    char who[IDENTITY_WHO_MAX];
    bool found = false;
    who_of(options, who);
    if (!fresh && !identity_read_keys(options->state_directory, who, &identity->keys, &found, error))
        return false;
    if (!found && !identity_next_keys(options->state_directory, who, &identity->keys, error))
        return false;
    identity->coordinator = token->coordinator;
    if (!present(options, token, identity, error)) {
        if (!found && error->code == ERROR_INPUT) /* refused by the coordinator itself: else it may be in already */
            identity_next_bad(options->state_directory, who);
        return false;
    }
    if ((!found && !identity_next_good(options->state_directory, who, &identity->keys.own, error)) ||
        !identity_remember(options->state_directory, options->coordinator, &token->coordinator, error))
        return false;
    if (options->role == ROLE_STAGE)
        log_info("admitted by the coordinator at %s; the token is not needed any more", options->coordinator);
    return true;
}

/* The keys that are kept for this coordinator. */
static bool recall(const struct join_options *options, struct identity *identity, bool *found, struct error *error) {
    char who[IDENTITY_WHO_MAX];
    *found = false;
    who_of(options, who);
    if (!options->state_directory)
        return true;
    if (!identity_known(options->state_directory, options->coordinator, &identity->coordinator, found, error) ||
        !*found)
        return error->code == ERROR_NONE;
    return identity_read_keys(options->state_directory, who, &identity->keys, found, error);
}

static bool join_with_token(const struct join_options *options, const struct token *token, struct identity *identity,
                            struct error *error) {
    bool found, admitted = false;
    if (!check_token(options, token, error) || !recall(options, identity, &found, error))
        return false;
    found = found && key_equal(&identity->coordinator, &token->coordinator);
    if (found && !knock(options, identity, &admitted, error))
        return false;
    return admitted || redeem(options, token, found, identity, error);
}

/* Without keys only where it was asked for, or where nobody else listens: else whoever takes the coordinator's place
 * would be given everything. */
static bool check_keyless(const struct join_options *options, bool keyed, struct error *error) {
    return keyed || net_is_loopback(options->coordinator) ||
           error_set(error, ERROR_USAGE,
                     "%s: no keys are kept for this coordinator: join it once with --token TOKEN ('stagecoach keys "
                     "token%s' makes one there)%s, or, if it does without keys, give --insecure",
                     options->coordinator, options->role == ROLE_CLIENT ? " --role client" : "",
                     options->role == ROLE_CLIENT ? ", or, on its own machine, give the --state that it has" : "");
}

bool join_coordinator(const struct join_options *options, struct identity *identity, bool *keyed, struct error *error) {
    struct token token = {.role = options->role};
    bool given;
    *error = (struct error){0};
    *keyed = false;
    if (!net_endpoint_check(options->coordinator, error))
        return error_wrap(error, "--coordinator"), error->code = ERROR_USAGE, false;
    if (options->insecure)
        return true;
    if (!read_token(options, &token, &given, error))
        return false;
    if (!given)
        return recall(options, identity, keyed, error) && check_keyless(options, *keyed, error);
    *keyed = join_with_token(options, &token, identity, error);
    key_forget(&token, sizeof token);
    return *keyed;
}
