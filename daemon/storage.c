/* How fast this machine reads its disk; see storage.h. O_DIRECT keeps the page cache out of it, so the file may be one
 * that was just written, such as a model's shard. Sequential reads of 4 MiB, as loading weights does them. */
#include "daemon/storage.h"

#include "base/allocate.h"
#include "base/file.h"
#include "base/mono.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIECE      ((size_t)4 << 20)
#define ALIGNMENT  ((size_t)4096)
#define BYTES_MOST ((size_t)256 << 20)
#define TIME_MOST  (2 * MONO_SECOND)

/* The largest regular file of the directory `path`, or path itself when it is no directory. */
static bool find_file(const char *path, char found[PATH_MAX], struct error *error) {
    char member[PATH_MAX];
    struct stat status;
    off_t largest = -1;
    DIR *directory = opendir(path);
    if (!directory && errno != ENOTDIR)
        return error_set_errno(error, "%s", path);
    snprintf(found, PATH_MAX, "%s", path);
    if (!directory)
        return true;
    for (const struct dirent *entry; (entry = readdir(directory));) {
        if (!path_join(member, sizeof member, path, entry->d_name, NULL) || stat(member, &status) != 0 ||
            !S_ISREG(status.st_mode) || status.st_size <= largest)
            continue;
        largest = status.st_size;
        snprintf(found, PATH_MAX, "%s", member);
    }
    closedir(directory);
    return largest >= 0 || error_set(error, ERROR_USAGE, "%s: no file to read", path);
}

static bool check_file(int descriptor, const char *path, struct error *error) {
    struct stat status;
    struct statfs system;
    if (fstat(descriptor, &status) != 0 || fstatfs(descriptor, &system) != 0)
        return error_set_errno(error, "%s", path);
    if (!S_ISREG(status.st_mode) || (size_t)status.st_size < PIECE)
        return error_set(error, ERROR_USAGE, "%s: want a file of at least 4 MiB, such as a model's weights", path);
    return (system.f_type != TMPFS_MAGIC && system.f_type != RAMFS_MAGIC) ||
           error_set(error, ERROR_USAGE, "%s: lies in memory, want a file on the disk", path);
}

static bool read_pieces(int descriptor, void *piece, const char *path, double *rate, struct error *error) {
    mono_t start = mono_now();
    int64_t took = 0;
    size_t total = 0;
    for (ssize_t got = 1; got > 0 && total < BYTES_MOST && took < TIME_MOST;) {
        got = read(descriptor, piece, PIECE);
        if (got < 0)
            return error_set_errno(error, "%s: read past the page cache", path);
        total += (size_t)got;
        took = mono_since(mono_now(), start);
    }
    *rate = (double)total * 1e9 / (double)(took > 0 ? took : 1);
    return true;
}

bool storage_measure(const char *path, double *rate, struct error *error) {
    char file[PATH_MAX];
    if (!find_file(path, file, error))
        return false;
    int descriptor = open(file, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, "%s: open past the page cache", file);
    unsigned char *memory = allocate(PIECE + ALIGNMENT, 1);
    void *piece = memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) % ALIGNMENT;
    bool ok = check_file(descriptor, file, error) && read_pieces(descriptor, piece, file, rate, error);
    close(descriptor);
    release(memory);
    return ok;
}
