/* The list of whom the coordinator lets in; see keyring.h.
 *
 * The file is a first line with its version, then a line for each key and token:
 *
 *   key stage admitted 1767225600 KEY NAME
 *   token client USES MADE UNTIL KEY
 *
 * It is read strictly: a line that is none of these means that somebody damaged the file, and guessing whom to let in
 * would be worse than to stop. Blocking file operations, tens of kilobytes at the most. Threads: none of its own. */
#include "daemon/keyring.h"

#include "base/allocate.h"
#include "base/decimal.h"
#include "base/file.h"
#include "proto/codec.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOCK_NAME  "lock"
#define FIRST_LINE "stagecoach admitted 2"
#define BYTES_MAX  ((size_t)1 << 20)
#define LINE_MAX_  256

/* ---- words ---- */

const char *role_name(enum role role) {
    return role == ROLE_STAGE ? "stage" : role == ROLE_CLIENT ? "client" : "nobody";
}

enum role role_parse(const char *text) {
    return strcmp(text, "stage") == 0 ? ROLE_STAGE : strcmp(text, "client") == 0 ? ROLE_CLIENT : (enum role)0;
}

/* ---- reading ---- */

/* Seconds since 1970: 0 to what an int64_t holds. */
static bool read_time(const char *text, int64_t *seconds) {
    uint64_t number;
    bool ok = decimal_parse(text, INT64_MAX, &number);
    if (ok)
        *seconds = (int64_t)number;
    return ok;
}

static bool read_key(struct keyring *keyring, const char *line) {
    char role[16], state[16], since[24], key[64], name[128];
    int end = 0;
    struct keyring_key *entry = &keyring->key[keyring->keys];
    if (keyring->keys == KEYRING_KEYS_MAX)
        return false;
    if (sscanf(line, "key %15s %15s %23s %63s %127s%n", role, state, since, key, name, &end) != 5 ||
        line[end] != '\0' || !read_time(since, &entry->since) || !key_parse(key, entry->key.bytes) ||
        !board_name_valid(name) ||
        keyring_find(keyring, &entry->key)) /* twice, and perhaps revoked once: which one holds? */
        return false;
    entry->role = role_parse(role);
    entry->revoked = strcmp(state, "revoked") == 0;
    snprintf(entry->name, sizeof entry->name, "%.*s", MESSAGE_NAME_MAX, name);
    keyring->keys++;
    return entry->role && (entry->revoked || strcmp(state, "admitted") == 0);
}

static bool read_token(struct keyring *keyring, const char *line) {
    char role[16], uses[24], made[24], until[24], key[64];
    uint64_t number;
    int end = 0;
    struct keyring_token *token = &keyring->token[keyring->tokens];
    if (keyring->tokens == KEYRING_TOKENS_MAX)
        return false;
    if (sscanf(line, "token %15s %23s %23s %23s %63s%n", role, uses, made, until, key, &end) != 5 ||
        line[end] != '\0' || !decimal_parse(uses, UINT32_MAX, &number) || !read_time(made, &token->made) ||
        !read_time(until, &token->until) || !key_parse(key, token->key.bytes))
        return false;
    token->uses = (uint32_t)number;
    token->role = role_parse(role);
    keyring->tokens++;
    return token->role != 0;
}

/* One line, without its end. The first is number 1. */
static bool read_line(struct keyring *keyring, const char *line, unsigned number) {
    if (number == 1)
        return strcmp(line, FIRST_LINE) == 0;
    return read_key(keyring, line) || read_token(keyring, line);
}

static bool parse(const char *path, const char *text, size_t size, struct keyring *keyring, struct error *error) {
    char line[LINE_MAX_];
    unsigned number = 0;
    for (const char *end = text + size; text < end;) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t length = stop ? (size_t)(stop - text) : sizeof line;
        number++;
        if (length < sizeof line) {
            memcpy(line, text, length);
            line[length] = '\0';
        }
        if (length >= sizeof line || strlen(line) != length || !read_line(keyring, line, number))
            return error_set(
                error, ERROR_INPUT,
                "%s:%u: not a line of the list of admitted keys; mend it, or remove the file and admit all "
                "boards anew",
                path, number);
        text = stop + 1;
    }
    return number > 0 || error_set(error, ERROR_INPUT, "%s: empty; remove it and admit all boards anew", path);
}

bool keyring_read(const char *directory, struct keyring *keyring, struct error *error) {
    char path[PATH_MAX];
    void *contents;
    size_t size;
    memset(keyring, 0, sizeof *keyring);
    if (!path_join(path, sizeof path, directory, KEYRING_FILE, error))
        return false;
    if (!file_exists(path))
        return true;
    if (!file_guarded(directory, FILE_NOT_WRITTEN, error) || !file_guarded(path, FILE_NOT_WRITTEN, error) ||
        !file_read(path, BYTES_MAX, &contents, &size, error))
        return false;
    bool ok = parse(path, contents, size, keyring, error);
    release(contents);
    return ok;
}

/* ---- writing ---- */

static bool write_all(const char *directory, const struct keyring *keyring, struct error *error) {
    char path[PATH_MAX], key[KEY_TEXT_BYTES];
    size_t room = (keyring->keys + keyring->tokens + 1) * LINE_MAX_, used;
    if (!path_join(path, sizeof path, directory, KEYRING_FILE, error))
        return false;
    char *text = allocate(1, room);
    used = (size_t)snprintf(text, room, FIRST_LINE "\n");
    for (unsigned i = 0; i < keyring->keys; i++) {
        const struct keyring_key *entry = &keyring->key[i];
        key_print(entry->key.bytes, key);
        used += (size_t)snprintf(text + used, room - used, "key %s %s %" PRId64 " %s %s\n", role_name(entry->role),
                                 entry->revoked ? "revoked" : "admitted", entry->since, key, entry->name);
    }
    for (unsigned i = 0; i < keyring->tokens; i++) {
        const struct keyring_token *token = &keyring->token[i];
        key_print(token->key.bytes, key);
        used += (size_t)snprintf(text + used, room - used, "token %s %" PRIu32 " %" PRId64 " %" PRId64 " %s\n",
                                 role_name(token->role), token->uses, token->made, token->until, key);
    }
    bool ok = file_write_private(path, text, used, error);
    release(text);
    return ok;
}

/* The descriptor that holds the lock, -1 with an error. */
static int lock(const char *directory, struct error *error) {
    char path[PATH_MAX];
    if (!directory_make(directory, error) || !path_join(path, sizeof path, directory, LOCK_NAME, error))
        return -1;
    int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int result;
    if (descriptor < 0) {
        error_set_errno(error, "%s", path);
        return -1;
    }
    while ((result = flock(descriptor, LOCK_EX)) != 0 && errno == EINTR)
        continue;
    if (result == 0)
        return descriptor;
    error_set_errno(error, "%s: lock", path);
    close(descriptor);
    return -1;
}

bool keyring_update(const char *directory, struct keyring *keyring, keyring_change *change, void *context,
                    struct error *error) {
    int descriptor = lock(directory, error);
    if (descriptor < 0)
        return false;
    bool ok = keyring_read(directory, keyring, error) && change(keyring, context, error) &&
              write_all(directory, keyring, error);
    close(descriptor); /* and with it the lock */
    return ok;
}

/* ---- looking and changing ---- */

const struct keyring_key *keyring_find(const struct keyring *keyring, const struct public_key *key) {
    for (unsigned i = 0; i < keyring->keys; i++)
        if (key_equal(&keyring->key[i].key, key))
            return &keyring->key[i];
    return NULL;
}

struct keyring_token *keyring_find_token(struct keyring *keyring, const struct public_key *key) {
    for (unsigned i = 0; i < keyring->tokens; i++)
        if (key_equal(&keyring->token[i].key, key))
            return &keyring->token[i];
    return NULL;
}

bool keyring_token_open(const struct keyring_token *token, int64_t now) {
    return token->until == 0 || now < token->until;
}

static void remove_token(struct keyring *keyring, struct keyring_token *token) {
    *token = keyring->token[--keyring->tokens];
}

bool keyring_add_token(struct keyring *keyring, const struct keyring_token *token, int64_t now, struct error *error) {
    for (unsigned i = keyring->tokens; i-- > 0;)
        if (!keyring_token_open(&keyring->token[i], now))
            remove_token(keyring, &keyring->token[i]);
    if (keyring->tokens == KEYRING_TOKENS_MAX)
        return error_set(error, ERROR_INPUT, "%d tokens are open already; revoke some", KEYRING_TOKENS_MAX);
    keyring->token[keyring->tokens] = *token;
    keyring->token[keyring->tokens++].made = now;
    return true;
}

static const struct keyring_key *holder_of_name(const struct keyring *keyring, const char *name, enum role role) {
    for (unsigned i = 0; i < keyring->keys; i++)
        if (!keyring->key[i].revoked && keyring->key[i].role == role && strcmp(keyring->key[i].name, name) == 0)
            return &keyring->key[i];
    return NULL;
}

/* A token that stays in a unit file must not bring back, on its next start, the board that it was to keep out. */
static bool revoked_since(const struct keyring *keyring, const struct keyring_key *wanted, int64_t made) {
    for (unsigned i = 0; i < keyring->keys; i++) {
        const struct keyring_key *entry = &keyring->key[i];
        if (entry->revoked && entry->role == wanted->role && entry->since > made &&
            strcmp(entry->name, wanted->name) == 0)
            return true;
    }
    return false;
}

bool keyring_make_room(struct keyring *keyring) {
    struct keyring_key *oldest = NULL;
    if (keyring->keys < KEYRING_KEYS_MAX)
        return true;
    for (unsigned i = 0; i < keyring->keys; i++)
        if (keyring->key[i].revoked && (!oldest || keyring->key[i].since < oldest->since))
            oldest = &keyring->key[i];
    if (oldest)
        *oldest = keyring->key[--keyring->keys];
    return oldest != NULL;
}

static bool may_admit(const struct keyring *keyring, const struct keyring_token *token,
                      const struct keyring_key *wanted, int64_t now, struct error *error) {
    const struct keyring_key *known = keyring_find(keyring, &wanted->key);
    if (!token || !keyring_token_open(token, now))
        return error_set(error, ERROR_INPUT, "the token has expired: have the coordinator's operator make another");
    if (token->role != wanted->role)
        return error_set(error, ERROR_INPUT, "the token is for a %s, not for a %s", role_name(token->role),
                         role_name(wanted->role));
    if (known)
        return error_set(error, ERROR_INPUT, "this key was %s before",
                         known->revoked ? "revoked" : "admitted as another");
    if (holder_of_name(keyring, wanted->name, wanted->role))
        return error_set(
            error, ERROR_INPUT,
            "a %s named %s is admitted already: choose another --name, or have the operator revoke that one "
            "('stagecoach keys revoke %s') and make a new token",
            role_name(wanted->role), wanted->name, wanted->name);
    return !revoked_since(keyring, wanted, token->made) ||
           error_set(error, ERROR_INPUT,
                     "%s was revoked after this token was made: have the coordinator's operator make another",
                     wanted->name);
}

bool keyring_admitted(const struct keyring *keyring, const struct keyring_key *wanted) {
    const struct keyring_key *known = keyring_find(keyring, &wanted->key);
    return known && !known->revoked && known->role == wanted->role && strcmp(known->name, wanted->name) == 0;
}

bool keyring_admit(struct keyring *keyring, const struct public_key *key, const struct keyring_key *wanted, int64_t now,
                   struct error *error) {
    struct keyring_token *token = keyring_find_token(keyring, key);
    if (keyring_admitted(keyring, wanted))
        return true; /* its first answer was lost, perhaps */
    if (!key_usable(&wanted->key) || keyring_find_token(keyring, &wanted->key))
        return error_set(error, ERROR_INPUT, "others can pass for the owner of this key: make a new one");
    if (!may_admit(keyring, token, wanted, now, error))
        return false;
    if (!keyring_make_room(keyring))
        return error_set(error, ERROR_INPUT, "the coordinator's list of %d keys is full", KEYRING_KEYS_MAX);
    struct keyring_key *entry = &keyring->key[keyring->keys++];
    *entry = *wanted;
    entry->revoked = false;
    entry->since = now;
    if (token->uses > 0 && --token->uses == 0)
        remove_token(keyring, token);
    return true;
}

static bool key_starts(const struct public_key *key, const char *which) {
    char text[KEY_TEXT_BYTES];
    key_print(key->bytes, text);
    return strlen(which) >= 8 && strncmp(text, which, strlen(which)) == 0;
}

bool keyring_revoke(struct keyring *keyring, const char *which, int64_t now, unsigned *count, struct error *error) {
    bool stage = holder_of_name(keyring, which, ROLE_STAGE), client = holder_of_name(keyring, which, ROLE_CLIENT);
    *count = 0;
    if (stage && client)
        return error_set(error, ERROR_USAGE,
                         "%.80s: a board and a client have that name; give the key of one, see 'stagecoach keys list'",
                         which);
    for (unsigned i = 0; i < keyring->keys; i++) {
        struct keyring_key *entry = &keyring->key[i];
        bool meant = stage || client ? strcmp(entry->name, which) == 0 : key_starts(&entry->key, which);
        if (entry->revoked || !meant)
            continue;
        entry->revoked = true;
        entry->since = now;
        ++*count;
    }
    for (unsigned i = keyring->tokens; i-- > 0;)
        if (!stage && !client && key_starts(&keyring->token[i].key, which)) {
            remove_token(keyring, &keyring->token[i]);
            ++*count;
        }
    return *count > 0 ||
           error_set(error, ERROR_USAGE, "%.80s: no admitted key, name or token; see 'stagecoach keys list'", which);
}
