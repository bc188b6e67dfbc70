/* Key pairs and known coordinators in the state directory; see identity.h. Files are small, read whole and replaced
 * atomically; the main thread reads and writes them before it serves. */
#include "daemon/identity.h"

#include "base/allocate.h"
#include "base/file.h"
#include "daemon/net/net.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BYTES_MAX       ((size_t)64 << 10)
#define KNOWN_NAME      "coordinators"
#define KNOWN_FIRST     "stagecoach coordinators 1"
#define KEY_FILE_FORMAT "stagecoach key 1\npublic %s\nsecret %s\n"

/* ---- key pairs ---- */

static bool key_path(char path[PATH_MAX], const char *directory, const char *who, struct error *error) {
    char name[IDENTITY_WHO_MAX + 8];
    snprintf(name, sizeof name, "%.*s.key", IDENTITY_WHO_MAX, who);
    return path_join(path, PATH_MAX, directory, name, error);
}

static bool parse_keys(const char *path, const char *text, struct key_pair *keys, struct error *error) {
    char own[64], secret[64];
    int end = 0;
    bool ok = sscanf(text, "stagecoach key 1\npublic %63s\nsecret %63s\n%n", own, secret, &end) == 2 && end > 0 &&
              text[end] == '\0' && key_parse(own, keys->own.bytes) && key_parse(secret, keys->secret) &&
              key_pair_valid(keys);
    key_forget(secret, sizeof secret);
    return ok || error_set(error, ERROR_INPUT, "%s: damaged; remove it and join anew with a token", path);
}

bool identity_read_keys(const char *directory, const char *who, struct key_pair *keys, bool *found,
                        struct error *error) {
    char path[PATH_MAX];
    void *contents;
    size_t size;
    *found = false;
    if (!key_path(path, directory, who, error))
        return false;
    if (!file_exists(path))
        return true;
    if (!file_guarded(directory, FILE_NOT_WRITTEN, error) || !file_guarded(path, FILE_NOT_READ, error) ||
        !file_read(path, BYTES_MAX, &contents, &size, error))
        return false;
    *found = parse_keys(path, contents, keys, error);
    key_forget(contents, size);
    release(contents);
    return *found;
}

static bool make_keys(const char *directory, const char *who, struct key_pair *keys, bool *there, struct error *error) {
    char path[PATH_MAX], own[KEY_TEXT_BYTES], secret[KEY_TEXT_BYTES], text[256];
    if (!directory_make(directory, error) || !file_guarded(directory, FILE_NOT_WRITTEN, error) ||
        !key_path(path, directory, who, error))
        return false;
    key_pair_make(keys);
    key_print(keys->own.bytes, own);
    key_print(keys->secret, secret);
    int length = snprintf(text, sizeof text, KEY_FILE_FORMAT, own, secret);
    bool ok = file_create_private(path, text, (size_t)length, there, error);
    key_forget(secret, sizeof secret);
    key_forget(text, sizeof text);
    return ok;
}

bool identity_own_keys(const char *directory, const char *who, struct key_pair *keys, struct error *error) {
    bool found, there = false;
    if (!identity_read_keys(directory, who, keys, &found, error))
        return false;
    if (!found && !make_keys(directory, who, keys, &there, error))
        return false;
    return !there || (identity_read_keys(directory, who, keys, &found, error) && found) ||
           error_set(error, ERROR_INPUT, "%s: the keys of '%s' came and went", directory, who);
}

/* ---- key pairs to come ---- */

static void next_name(char next[IDENTITY_WHO_MAX + 8], const char *who) {
    snprintf(next, IDENTITY_WHO_MAX + 8, "next-%.*s", IDENTITY_WHO_MAX, who);
}

bool identity_next_keys(const char *directory, const char *who, struct key_pair *keys, struct error *error) {
    char next[IDENTITY_WHO_MAX + 8];
    next_name(next, who);
    return identity_own_keys(directory, next, keys, error);
}

bool identity_next_good(const char *directory, const char *who, const struct public_key *own, struct error *error) {
    char next[IDENTITY_WHO_MAX + 8], from[PATH_MAX], to[PATH_MAX];
    struct key_pair keys;
    bool found;
    next_name(next, who);
    if (!key_path(from, directory, next, error) || !key_path(to, directory, who, error))
        return false;
    if (rename(from, to) == 0)
        return true;
    bool taken = errno == ENOENT;
    error_set_errno(error, "%s", to);
    bool already =
        taken && identity_read_keys(directory, who, &keys, &found, NULL) && found && key_equal(&keys.own, own);
    key_forget(&keys, sizeof keys);
    return already;
}

void identity_next_bad(const char *directory, const char *who) {
    char next[IDENTITY_WHO_MAX + 8], path[PATH_MAX];
    next_name(next, who);
    if (key_path(path, directory, next, NULL))
        unlink(path);
}

/* ---- known coordinators ---- */

/* A line of the file: "ENDPOINT KEY". */
struct known {
    char endpoint[NET_ENDPOINT_MAX];
    struct public_key key;
};

/* The next line after the first; false when there are no more. Damaged lines are passed over: what is lost here costs
 * a token, and lets nobody in. */
static bool known_next(const char **text, struct known *known) {
    while (**text) {
        char line[256], key[64];
        int length = (int)strcspn(*text, "\n");
        snprintf(line, sizeof line, "%.*s", length, *text);
        *text += length + ((*text)[length] == '\n');
        if (sscanf(line, "%127s %63s", known->endpoint, key) == 2 && key_parse(key, known->key.bytes) &&
            net_endpoint_check(known->endpoint, NULL))
            return true;
    }
    return false;
}

/* The file's contents, from allocate; empty when there is no file. */
static char *known_read(const char *directory, char path[PATH_MAX], struct error *error) {
    void *contents;
    size_t size;
    if (!path_join(path, PATH_MAX, directory, KNOWN_NAME, error))
        return NULL;
    if (!file_exists(path))
        return allocate_string("");
    return file_read(path, BYTES_MAX, &contents, &size, error) ? contents : NULL;
}

bool identity_known(const char *directory, const char *endpoint, struct public_key *key, bool *found,
                    struct error *error) {
    char path[PATH_MAX];
    struct known known;
    struct public_key only = {{0}};
    unsigned different = 0;
    char *contents = known_read(directory, path, error);
    const char *text = contents;
    *found = false;
    if (!contents)
        return false;
    while (!*found && known_next(&text, &known)) {
        *found = strcmp(known.endpoint, endpoint) == 0;
        different += different == 0 || !key_equal(&only, &known.key);
        only = known.key;
    }
    release(contents);
    *key = only;
    *found = *found || (different == 1 && !net_is_loopback(endpoint));
    return true;
}

bool identity_remember(const char *directory, const char *endpoint, const struct public_key *key, struct error *error) {
    char path[PATH_MAX], word[KEY_TEXT_BYTES];
    struct known known;
    if (!directory_make(directory, error))
        return false;
    char *contents = known_read(directory, path, error);
    if (!contents)
        return false;
    size_t room = strlen(contents) + 512;
    char *text = allocate(1, room);
    size_t used = (size_t)snprintf(text, room, KNOWN_FIRST "\n");
    for (const char *at = contents; known_next(&at, &known);) {
        if (strcmp(known.endpoint, endpoint) == 0)
            continue;
        key_print(known.key.bytes, word);
        used += (size_t)snprintf(text + used, room - used, "%s %s\n", known.endpoint, word);
    }
    if (key) {
        key_print(key->bytes, word);
        used += (size_t)snprintf(text + used, room - used, "%s %s\n", endpoint, word);
    }
    bool ok = file_write_private(path, text, used, error);
    release(text);
    release(contents);
    return ok;
}
