/* stagecoach keys: makes join tokens, lists whom the coordinator lets in, and revokes. It changes files in the
 * coordinator's state directory, as the user that the coordinator runs as; a coordinator that runs sees each change at
 * once (coordinator_gate.c), and none need run. So there is no key or message that could be stolen to do this from
 * afar. */
#include "daemon/commands.h"
#include "daemon/keyring.h"
#include "daemon/output.h"
#include "daemon/token.h"

#include "base/allocate.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WHO       "coordinator"
#define DAY       86400
#define TEN_YEARS ((int64_t)3650 * DAY)

struct values {
    const char *state, *role, *until;
    unsigned uses;
    bool json;
};

/* ---- token ---- */

/* "90m", "12h", "7d" from now, or "2026-01-31" or "2026-01-31T12:00" in UTC; false for anything else or the past. */
static bool parse_until(const char *text, int64_t now, int64_t *until) {
    char *end;
    struct tm date = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M", &date);
    if (!rest)
        rest = strptime(text, "%Y-%m-%d", &date);
    if (rest && *rest == '\0') {
        *until = timegm(&date);
        return *until > now && *until - now <= TEN_YEARS;
    }
    if (text[0] < '0' || text[0] > '9')
        return false;
    int64_t number = strtol(text, &end, 10);
    int64_t unit = strcmp(end, "m") == 0 ? 60 : strcmp(end, "h") == 0 ? 3600 : strcmp(end, "d") == 0 ? DAY : 0;
    if (unit == 0 || number < 1 || number > TEN_YEARS / unit)
        return false;
    *until = now + number * unit;
    return true;
}

static void print_time(char text[24], int64_t seconds) {
    time_t at = (time_t)seconds;
    struct tm utc;
    snprintf(text, 24, "never");
    if (seconds != 0 && gmtime_r(&at, &utc))
        strftime(text, 24, "%Y-%m-%dT%H:%MZ", &utc);
}

/* The first thing a coordinator writes there is the client on its own machine. */
static bool coordinator_has_run(const struct keyring *keyring) {
    for (unsigned i = 0; i < keyring->keys; i++)
        if (keyring->key[i].role == ROLE_CLIENT && strcmp(keyring->key[i].name, KEYRING_LOCAL_CLIENT) == 0)
            return true;
    return false;
}

/* What a token is good for, and whether that may be another coordinator than the one that is meant. */
static void tell(const char *directory, const struct keyring_token *token, bool has_run) {
    char until[24];
    print_time(until, token->until);
    if (token->uses > 0)
        fprintf(stderr, "lets in %" PRIu32 " %s%s until %s (--uses, --until)\n", token->uses,
                token->role == ROLE_STAGE ? "board" : "client", token->uses == 1 ? "" : "s", until);
    else
        fprintf(stderr, "lets in any number of %s until %s\n", token->role == ROLE_STAGE ? "boards" : "clients", until);
    if (!has_run)
        fprintf(stderr, "no coordinator has run with --state %s yet; this is a token of one that will\n", directory);
}

struct new_token {
    struct keyring_token token;
    int64_t now;
};

static bool add(struct keyring *keyring, void *context, struct error *error) {
    const struct new_token *made = context;
    return keyring_add_token(keyring, &made->token, made->now, error);
}

static bool describe(const struct values *values, struct new_token *made, struct error *error) {
    made->token.role = role_parse(values->role);
    made->token.uses = values->uses > 0 ? values->uses : values->until ? 0 : 1;
    made->token.until = made->now + DAY;
    if (!made->token.role)
        return error_set(error, ERROR_USAGE, "--role: got '%.40s', want stage or client", values->role);
    return !values->until || parse_until(values->until, made->now, &made->token.until) ||
           error_set(error, ERROR_USAGE,
                     "--until: got '%.40s', want a time from now (90m, 12h, 7d) or to come (2026-01-31T12:00, UTC)",
                     values->until);
}

static bool make_token(const char *directory, const struct values *values, struct keyring *keyring,
                       struct error *error) {
    struct new_token made = {.now = time(NULL)};
    struct key_pair keys, pair;
    struct token token;
    char text[TOKEN_TEXT_MAX];
    if (!describe(values, &made, error) || !identity_own_keys(directory, WHO, &keys, error))
        return false;
    token_make(made.token.role, &keys.own, &token, &pair);
    key_forget(&keys, sizeof keys);
    made.token.key = pair.own;
    key_forget(&pair, sizeof pair);
    bool ok = keyring_update(directory, keyring, add, &made, error);
    if (ok) {
        token_print(&token, text);
        puts(text);
        key_forget(text, sizeof text);
        tell(directory, &made.token, coordinator_has_run(keyring));
    }
    key_forget(&token, sizeof token);
    return ok;
}

/* ---- list ---- */

static void json_key(const struct keyring_key *entry) {
    char key[KEY_TEXT_BYTES], since[24];
    key_print(entry->key.bytes, key);
    print_time(since, entry->since);
    printf("{\"key\": \"%s\", \"role\": \"%s\", \"name\": ", key, role_name(entry->role));
    json_string(stdout, entry->name);
    printf(", \"state\": \"%s\", \"since\": \"%s\"}\n", entry->revoked ? "revoked" : "admitted", since);
}

static void json_token(const struct keyring_token *token, int64_t now) {
    char key[KEY_TEXT_BYTES], until[24];
    key_print(token->key.bytes, key);
    print_time(until, token->until);
    printf("{\"token\": \"%s\", \"role\": \"%s\", \"uses\": %" PRIu32 ", \"until\": \"%s\", \"open\": %s}\n", key,
           role_name(token->role), token->uses, until, keyring_token_open(token, now) ? "true" : "false");
}

static void table(const struct keyring *keyring, int64_t now) {
    char key[KEY_TEXT_BYTES], when[24];
    printf("%-45s %-7s %-9s %-18s %s\n", "KEY", "ROLE", "STATE", "SINCE", "NAME");
    for (unsigned i = 0; i < keyring->keys; i++) {
        const struct keyring_key *entry = &keyring->key[i];
        key_print(entry->key.bytes, key);
        print_time(when, entry->since);
        printf("%-45s %-7s %-9s %-18s %s\n", key, role_name(entry->role), entry->revoked ? "revoked" : "admitted", when,
               entry->name);
    }
    for (unsigned i = 0; i < keyring->tokens; i++) {
        const struct keyring_token *token = &keyring->token[i];
        key_print(token->key.bytes, key);
        print_time(when, token->until);
        printf("%-45s %-7s token, %s %s", key, role_name(token->role),
               keyring_token_open(token, now) ? "until" : "expired", when);
        if (token->uses > 0)
            printf(", %" PRIu32 " left\n", token->uses);
        else
            puts(", any number");
    }
}

static bool list(const char *directory, const struct values *values, struct keyring *keyring, struct error *error) {
    int64_t now = time(NULL);
    if (!keyring_read(directory, keyring, error))
        return false;
    if (keyring->keys + keyring->tokens == 0)
        return error_set(error, ERROR_INPUT, "--state %s: no coordinator with keys has run with that", directory);
    if (!values->json)
        table(keyring, now);
    for (unsigned i = 0; values->json && i < keyring->keys; i++)
        json_key(&keyring->key[i]);
    for (unsigned i = 0; values->json && i < keyring->tokens; i++)
        json_token(&keyring->token[i], now);
    return true;
}

/* ---- revoke ---- */

struct revocation {
    const char *which;
    unsigned count;
};

static bool take_out(struct keyring *keyring, void *context, struct error *error) {
    struct revocation *revocation = context;
    return keyring_revoke(keyring, revocation->which, time(NULL), &revocation->count, error);
}

static bool revoke(const char *directory, const char *which, struct keyring *keyring, struct error *error) {
    struct revocation revocation = {.which = which};
    unsigned open = 0;
    if (!keyring_update(directory, keyring, take_out, &revocation, error))
        return false;
    fprintf(stderr, "revoked %s: %u key%s or token%s\n", which, revocation.count, revocation.count == 1 ? "" : "s",
            revocation.count == 1 ? "" : "s");
    for (unsigned i = 0; i < keyring->tokens; i++)
        open += keyring_token_open(&keyring->token[i], time(NULL));
    if (open > 0)
        fprintf(stderr,
                "%u token%s open still: who has one can come back under another name ('stagecoach keys list')\n", open,
                open == 1 ? " is" : "s are");
    return true;
}

/* ---- the command ---- */

static bool perform(const struct values *values, char **operands, unsigned count, struct keyring *keyring,
                    struct error *error) {
    char buffer[4096];
    const char *directory = state_directory(values->state, buffer, sizeof buffer);
    const char *action = operands[0];
    bool ok = true;
    if (!directory)
        return error_set(error, ERROR_USAGE, "--state DIR is missing: that of the coordinator");
    bool make = strcmp(action, "token") == 0;
    if (make || strcmp(action, "list") == 0)
        return count > 1 ? operands_superfluous(operands[1], "keys", error)
                         : (make ? make_token : list)(directory, values, keyring, error);
    if (strcmp(action, "revoke") != 0 || count < 2)
        return error_set(error, ERROR_USAGE, "want token, list, or revoke NAME|KEY...; see 'stagecoach keys --help'");
    for (unsigned i = 1; ok && i < count; i++)
        ok = revoke(directory, operands[i], keyring, error);
    return ok;
}

static int run(const void *parsed, char **operands, unsigned count) {
    struct error error;
    struct keyring *keyring = allocate(1, sizeof *keyring);
    bool ok = perform(parsed, operands, count, keyring, &error);
    release(keyring);
    return ok ? 0 : command_fail(&error);
}

static const struct option options[] = {
    {"state", OPTION_TEXT, FIELD(state), "DIR", NULL, 0, 0, "the coordinator's (default ~/.local/state/stagecoach)"},
    {"role", OPTION_TEXT, FIELD(role), "ROLE", "stage", 0, 0, "whom a token lets in: stage or client"},
    {"uses", OPTION_NUMBER, FIELD(uses), "N", "0", 0, 100000,
     "how many a token lets in; 0: one, or with --until any number"},
    {"until", OPTION_TEXT, FIELD(until), "TIME", NULL, 0, 0,
     "how long a token is good: 90m, 12h, 7d, or a date in UTC (default 1d)"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "list: one JSON object per line"},
};

const struct command command_keys = {
    .name = "keys",
    .summary = "make join tokens; list and revoke whom the coordinator lets in",
    .operands = "token|list|revoke [NAME|KEY...]",
    .operands_min = 1,
    .operands_max = UINT32_MAX,
    COMMAND_PARTS,
};
