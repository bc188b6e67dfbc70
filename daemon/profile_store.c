/* Profiles on disk; see profile_store.h. A file is called by the board's name, for people, and a hash of the whole key,
 * since kernels and version are texts that a board made up. What is read is held against the key again: a file that was
 * copied or edited is not believed. */
#include "daemon/profile_store.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/hash.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define PROFILE_BYTES_MAX ((size_t)4 << 20)

void profile_store_name(const struct profile_key *key, char name[PROFILE_FILE_MAX]) {
    char text[512], hex[HASH_HEX_BYTES];
    int length = snprintf(text, sizeof text, "%s\n%s\n%.100s\n%.100s\n%u", key->board, key->fingerprint, key->version,
                          key->kernels, key->threads);
    struct hash hash = hash_of(text, (size_t)length);
    hash_to_hex(&hash, hex);
    snprintf(name, PROFILE_FILE_MAX, "%.63s.%.16s.json", key->board, hex);
}

bool profile_key_fits(const struct profile_key *key, const struct profile *profile) {
    return strcmp(key->fingerprint, profile->fingerprint) == 0 && strcmp(key->version, profile->version) == 0 &&
           strcmp(key->kernels, profile->kernels) == 0 && key->threads == profile->threads;
}

bool profile_store_read(const char *directory, const struct profile_key *key, struct profile *profile,
                        struct error *error) {
    char path[PATH_MAX], name[PROFILE_FILE_MAX];
    void *contents;
    size_t size;
    *error = (struct error){0};
    profile_store_name(key, name);
    if (!path_join(path, sizeof path, directory, name, error) || !file_exists(path) ||
        !file_read(path, PROFILE_BYTES_MAX, &contents, &size, error))
        return false;
    bool ok = profile_from_json(contents, size, path, profile, error);
    release(contents);
    if (!ok)
        return false;
    return profile_key_fits(key, profile) || error_set(error, ERROR_INPUT, "%s: is the profile of another", path);
}

void profile_merge(struct profile *profile, const struct profile *older) {
    for (unsigned i = 0; i < older->sizes && profile->sizes < PROFILE_MICROBATCHES; i++) {
        unsigned place = 0;
        while (place < profile->sizes && profile->times[place].microbatch < older->times[i].microbatch)
            place++;
        if (place < profile->sizes && profile->times[place].microbatch == older->times[i].microbatch)
            continue;
        memmove(&profile->times[place + 1], &profile->times[place],
                (profile->sizes - place) * sizeof profile->times[0]);
        profile->times[place] = older->times[i];
        profile->sizes++;
    }
}
