/* The cache of tensors; what it promises is in cache.h.
 *
 * Part files carry a lock for as long as their writer lives, so that another process that opens the cache can tell
 * those that are being written from those that a crash left behind. Between creating and locking one there is a moment
 * in which it may be taken for abandoned; the writer then finds that its file has lost its name and makes another.
 *
 * A table, sorted by hash, remembers what this process has checked and what it has mapped. Failures: everything that
 * the disk can do is an error for who writes, and absence for who reads. Memory: the cache owns the table, a part its
 * file descriptor.
 */
#include "daemon/cache.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES  4096
#define PART_SUFFIX ".part"

struct known {
    struct hash hash;
    bool checked;      /* its contents were compared with its hash */
    unsigned mappings; /* now */
};

struct cache {
    uint64_t limit_bytes;
    struct known *known; /* sorted by hash */
    size_t known_count, known_capacity;
    char directory[PATH_BYTES - HASH_HEX_BYTES - 32]; /* leaves room for any file name of ours */
};

struct cache_part {
    struct cache *cache;
    struct hash hash;
    uint64_t bytes;
    int descriptor;
    char path[PATH_BYTES];
};

/* ---- names ---- */

static void tensor_path(const struct cache *cache, const struct hash *hash, char path[PATH_BYTES]) {
    char hex[HASH_HEX_BYTES];
    hash_to_hex(hash, hex);
    snprintf(path, PATH_BYTES, "%s/%s", cache->directory, hex);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Is that the name of a tensor's file? */
static bool hash_of_name(const char *name, struct hash *hash) {
    if (strlen(name) != HASH_HEX_BYTES - 1)
        return false;
    for (size_t i = 0; i < HASH_BYTES; i++) {
        int high = hex_digit(name[2 * i]), low = hex_digit(name[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        hash->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool ends_with(const char *name, const char *suffix) {
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

/* ---- what this process knows ---- */

/* The place of a hash in the table, or where it belongs. */
static size_t known_place(const struct cache *cache, const struct hash *hash, bool *found) {
    size_t low = 0, high = cache->known_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = memcmp(&cache->known[middle].hash, hash, sizeof *hash);
        if (order == 0) {
            *found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *found = false;
    return low;
}

static struct known *known_find(struct cache *cache, const struct hash *hash) {
    bool found;
    size_t place = known_place(cache, hash, &found);
    return found ? &cache->known[place] : NULL;
}

static struct known *known_add(struct cache *cache, const struct hash *hash) {
    bool found;
    size_t place = known_place(cache, hash, &found);
    if (found)
        return &cache->known[place];
    void *memory = cache->known;
    allocate_grow(&memory, &cache->known_capacity, cache->known_count + 1, sizeof *cache->known);
    cache->known = memory;
    memmove(&cache->known[place + 1], &cache->known[place], (cache->known_count - place) * sizeof *cache->known);
    cache->known_count++;
    cache->known[place] = (struct known){.hash = *hash};
    return &cache->known[place];
}

/* ---- opening ---- */

/* Deletes a part file unless its writer lives. */
static void clean_part(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor < 0)
        return;
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        unlink(path);
    close(descriptor);
}

static void clean_entry(const struct cache *cache, const struct dirent *entry) {
    char path[PATH_BYTES];
    struct hash hash;
    struct stat status;
    int length = snprintf(path, sizeof path, "%s/%s", cache->directory, entry->d_name);
    if (length < 0 || (size_t)length >= sizeof path || lstat(path, &status) != 0)
        return;
    if (S_ISDIR(status.st_mode) || (S_ISREG(status.st_mode) && hash_of_name(entry->d_name, &hash)))
        return; /* a directory is not of our making and hurts nobody */
    if (S_ISREG(status.st_mode) && ends_with(entry->d_name, PART_SUFFIX))
        clean_part(path);
    else
        unlink(path);
}

static bool clean(const struct cache *cache, struct error *error) {
    DIR *directory = opendir(cache->directory);
    if (!directory)
        return error_set_errno(error, "%s", cache->directory);
    for (const struct dirent *entry; (entry = readdir(directory));)
        clean_entry(cache, entry);
    closedir(directory);
    return true;
}

struct cache *cache_new(const char *directory, uint64_t limit_bytes, struct error *error) {
    struct cache *cache = allocate(1, sizeof *cache);
    cache->limit_bytes = limit_bytes;
    if (path_join(cache->directory, sizeof cache->directory, directory, "tensors", error) &&
        directory_make(cache->directory, error) && clean(cache, error))
        return cache;
    error_wrap(error, "cache");
    cache_destroy(&cache);
    return NULL;
}

void cache_destroy(struct cache **pointer) {
    struct cache *cache = *pointer;
    *pointer = NULL;
    if (!cache)
        return;
    for (size_t i = 0; i < cache->known_count; i++)
        assert(cache->known[i].mappings == 0);
    release(cache->known);
    release(cache);
}

/* ---- reading ---- */

/* Are the contents those of the name? They are read, not mapped: a sector that cannot be read makes a wrong file,
 * where a mapping would end this process at each start. */
static bool contents_right(const char *path, const struct hash *hash, uint64_t bytes, struct error *error) {
    struct hash actual;
    uint64_t size;
    if (!hash_of_file(path, &actual, &size, error))
        return false;
    return (size == bytes && memcmp(&actual, hash, sizeof actual) == 0) ||
           error_set(error, ERROR_INPUT, "the bytes do not match their hash");
}

/* Returns false. */
static bool delete_wrong(const char *path, const char *why) {
    log_warn("cache: %s deleted: %s", path, why);
    unlink(path);
    return false;
}

bool cache_map(struct cache *cache, const struct hash *hash, uint64_t bytes, const void **data) {
    char path[PATH_BYTES];
    size_t size = 0;
    struct error error = {0};
    struct known *known = known_find(cache, hash);
    tensor_path(cache, hash, path);
    if (!file_exists(path))
        return false;
    bool checked = known && known->checked;
    if (!checked && !contents_right(path, hash, bytes, &error))
        return delete_wrong(path, error.text);
    /* what another process put there meanwhile is right, too: it checked it */
    if (!file_map(path, data, &size, NULL))
        return false;
    if (size != bytes) {
        file_unmap(*data, size);
        return delete_wrong(path, "its size is another");
    }
    utimensat(AT_FDCWD, path, NULL, 0); /* used now; where that is not allowed, it only goes sooner */
    known = known_add(cache, hash);
    known->checked = true;
    known->mappings++;
    return true;
}

void cache_unmap(struct cache *cache, const struct hash *hash, const void *data, uint64_t bytes) {
    struct known *known = known_find(cache, hash);
    assert(known && known->mappings > 0);
    known->mappings--;
    file_unmap(data, bytes);
}

/* ---- making room ---- */

struct resident {
    struct hash hash;
    uint64_t bytes;
    struct timespec used;
};

static int least_recent_first(const void *left_pointer, const void *right_pointer) {
    const struct resident *left = left_pointer, *right = right_pointer;
    if (left->used.tv_sec != right->used.tv_sec)
        return left->used.tv_sec < right->used.tv_sec ? -1 : 1;
    if (left->used.tv_nsec != right->used.tv_nsec)
        return left->used.tv_nsec < right->used.tv_nsec ? -1 : 1;
    return memcmp(&left->hash, &right->hash, sizeof left->hash);
}

/* All files of tensors in the folder, in memory for the caller to release; NULL when there are none. */
static struct resident *residents(const char *tensors, size_t *count, uint64_t *bytes) {
    void *list = NULL;
    size_t capacity = 0;
    *count = 0;
    *bytes = 0;
    DIR *directory = opendir(tensors);
    if (!directory)
        return NULL;
    for (const struct dirent *entry; (entry = readdir(directory));) {
        struct resident one;
        struct stat status;
        if (!hash_of_name(entry->d_name, &one.hash) || fstatat(dirfd(directory), entry->d_name, &status, 0) != 0)
            continue;
        one.bytes = (uint64_t)status.st_size;
        one.used = status.st_mtim;
        allocate_grow(&list, &capacity, *count + 1, sizeof one);
        ((struct resident *)list)[(*count)++] = one;
        *bytes += one.bytes;
    }
    closedir(directory);
    return list;
}

bool cache_make_room(struct cache *cache, uint64_t bytes, struct error *error) {
    if (cache->limit_bytes == 0)
        return true;
    size_t count;
    uint64_t held;
    struct resident *list = residents(cache->directory, &count, &held);
    if (count > 0)
        qsort(list, count, sizeof *list, least_recent_first);
    uint64_t room = bytes < cache->limit_bytes ? cache->limit_bytes - bytes : 0;
    for (size_t i = 0; i < count && held > room; i++) {
        const struct known *known = known_find(cache, &list[i].hash);
        char path[PATH_BYTES];
        tensor_path(cache, &list[i].hash, path);
        if ((known && known->mappings > 0) || (unlink(path) != 0 && errno != ENOENT)) /* another process was faster */
            continue;
        held -= list[i].bytes;
    }
    release(list);
    if (bytes <= cache->limit_bytes && held <= room)
        return true;
    return error_set(
        error, ERROR_SYSTEM,
        "cache %s: %.1f MB are needed beside the %.1f MB in use, the limit is %.1f MB: raise the cache limit",
        cache->directory, (double)bytes / 1e6, (double)held / 1e6, (double)cache->limit_bytes / 1e6);
}

/* ---- what others may have of it ---- */

struct hash *cache_list(const char *directory, size_t most, size_t *count) {
    char tensors[PATH_BYTES];
    uint64_t bytes;
    *count = 0;
    if (!path_join(tensors, sizeof tensors, directory, "tensors", NULL))
        return NULL;
    struct resident *list = residents(tensors, count, &bytes);
    if (*count > most)
        *count = most;
    if (!list)
        return NULL;
    struct hash *hashes = allocate(*count, sizeof *hashes);
    for (size_t i = 0; i < *count; i++)
        hashes[i] = list[i].hash;
    release(list);
    return hashes;
}

bool cache_lend(const char *directory, const struct hash *hash, uint64_t least, struct cache_loan *loan) {
    char path[PATH_BYTES], hex[HASH_HEX_BYTES];
    hash_to_hex(hash, hex);
    int length = snprintf(path, sizeof path, "%s/tensors/%s", directory, hex);
    if (length < 0 || (size_t)length >= sizeof path || !file_exists(path) ||
        !file_map(path, &loan->data, &loan->size, NULL))
        return false;
    if (loan->size >= least)
        return true;
    cache_loan_end(loan);
    return false;
}

void cache_loan_end(const struct cache_loan *loan) {
    file_unmap(loan->data, loan->size);
}

/* ---- writing ---- */

/* Creates and locks the part's file. */
static bool part_open(struct cache_part *part, struct error *error) {
    char hex[HASH_HEX_BYTES];
    hash_to_hex(&part->hash, hex);
    for (int attempt = 0; attempt < 16; attempt++) {
        struct stat status;
        snprintf(part->path, sizeof part->path, "%s/%s.XXXXXX" PART_SUFFIX, part->cache->directory, hex);
        part->descriptor = mkostemps(part->path, (int)strlen(PART_SUFFIX), O_CLOEXEC);
        if (part->descriptor < 0)
            return error_set_errno(error, "cache: %s", part->path);
        if (flock(part->descriptor, LOCK_EX) == 0 && fstat(part->descriptor, &status) == 0 && status.st_nlink > 0)
            return true;
        close(part->descriptor); /* another process took it for abandoned before it was locked */
        part->descriptor = -1;
    }
    return error_set(error, ERROR_SYSTEM, "cache: %s: files vanish as soon as they are made", part->cache->directory);
}

/* A file system that cannot reserve says so; then a full disk is noticed when writing. */
static bool part_reserve(const struct cache_part *part, struct error *error) {
    if (part->bytes == 0 || fallocate(part->descriptor, 0, 0, (off_t)part->bytes) == 0)
        return true;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return true;
    return error_set_errno(error, "cache: %s: no room for %.1f MB", part->cache->directory, (double)part->bytes / 1e6);
}

struct cache_part *cache_part_new(struct cache *cache, const struct hash *hash, uint64_t bytes, struct error *error) {
    struct cache_part *part = allocate(1, sizeof *part);
    part->cache = cache;
    part->hash = *hash;
    part->bytes = bytes;
    part->descriptor = -1;
    if (!part_open(part, error) || !part_reserve(part, error))
        cache_part_destroy(&part);
    return part;
}

bool cache_part_write(struct cache_part *part, uint64_t offset, const void *data, size_t size, struct error *error) {
    assert(offset <= part->bytes && size <= part->bytes - offset);
    const char *from = data;
    while (size > 0) {
        ssize_t put = pwrite(part->descriptor, from, size, (off_t)offset);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return error_set_errno(error, "cache: %s: write", part->cache->directory);
        from += put;
        offset += (uint64_t)put;
        size -= (size_t)put;
    }
    return true;
}

bool cache_part_finish(struct cache_part **pointer, struct error *error) {
    struct cache_part *part = *pointer;
    char path[PATH_BYTES];
    tensor_path(part->cache, &part->hash, path);
    /* not flushed to the disk first: what a power cut damages is noticed by its hash and fetched again */
    bool ok = contents_right(part->path, &part->hash, part->bytes, error) || error_wrap(error, "cache");
    if (ok && rename(part->path, path) != 0)
        ok = error_set_errno(error, "cache: %s", path);
    if (ok) {
        known_add(part->cache, &part->hash)->checked = true;
        close(part->descriptor);
        part->descriptor = -1;
    }
    cache_part_destroy(pointer);
    return ok;
}

void cache_part_destroy(struct cache_part **pointer) {
    struct cache_part *part = *pointer;
    *pointer = NULL;
    if (!part)
        return;
    if (part->descriptor >= 0) {
        unlink(part->path);
        close(part->descriptor);
    }
    release(part);
}
