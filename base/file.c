/* Files read whole or in pieces, mapped, and written atomically; see file.h. */
#include "base/file.h"
#include "base/allocate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file and tells its size. O_NONBLOCK: a FIFO given by mistake must not hang the caller. */
static int open_regular(const char *path, size_t *size, struct error *error) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        error_set_errno(error, "%s", path);
        return -1;
    }
    struct stat status;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        error_set(error, ERROR_INPUT, "%s: not a regular file", path);
        close(descriptor);
        return -1;
    }
    *size = (size_t)status.st_size;
    return descriptor;
}

static bool read_fully(int descriptor, char *to, size_t size) {
    while (size > 0) {
        ssize_t got = read(descriptor, to, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got == 0 ? EIO : errno;
            return false;
        }
        to += got;
        size -= (size_t)got;
    }
    return true;
}

bool file_read(const char *path, size_t limit, void **contents, size_t *size, struct error *error) {
    size_t bytes;
    int descriptor = open_regular(path, &bytes, error);
    if (descriptor < 0)
        return false;
    char *memory = NULL;
    bool ok = false;
    if (bytes > limit)
        error_set(error, ERROR_INPUT, "%s: %zu bytes, want at most %zu", path, bytes, limit);
    else if (!(memory = try_allocate(bytes + 1, 1)))
        error_set(error, ERROR_SYSTEM, "%s: no memory for %zu bytes", path, bytes);
    else if (!(ok = read_fully(descriptor, memory, bytes)))
        error_set_errno(error, "%s: read", path);
    close(descriptor);
    if (!ok) {
        release(memory);
        return false;
    }
    *contents = memory;
    *size = bytes;
    return true;
}

bool file_visit(const char *path, void (*take)(void *context, const void *piece, size_t size), void *context,
                struct error *error) {
    char piece[65536];
    size_t size;
    int descriptor = open_regular(path, &size, error);
    if (descriptor < 0)
        return false;
    ssize_t got;
    while ((got = read(descriptor, piece, sizeof piece)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        take(context, piece, (size_t)got);
    }
    if (got < 0)
        error_set_errno(error, "%s: read", path);
    close(descriptor);
    return got == 0;
}

bool file_exists(const char *path) {
    struct stat status;
    return stat(path, &status) == 0;
}

bool file_guarded(const char *path, enum file_guard guard, struct error *error) {
    struct stat status;
    if (stat(path, &status) != 0)
        return error_set_errno(error, "%s", path);
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return error_set(error, ERROR_USAGE,
                         "%s: belongs to another user (number %u), who could change whom to trust: chown it, or take a "
                         "directory of your own",
                         path, (unsigned)status.st_uid);
    if ((status.st_mode & (mode_t)guard) == 0)
        return true;
    if (guard == FILE_NOT_READ)
        return error_set(error, ERROR_USAGE, "%s: others may read it, and it is secret: chmod go= it", path);
    return error_set(error, ERROR_USAGE, "%s: others may write there, and it says whom to trust: chmod go-w it", path);
}

bool file_map(const char *path, const void **data, size_t *size, struct error *error) {
    int descriptor = open_regular(path, size, error);
    if (descriptor < 0)
        return false;
    void *mapped = NULL;
    if (*size > 0)
        mapped = mmap(NULL, *size, PROT_READ, MAP_SHARED, descriptor, 0);
    bool ok = mapped != MAP_FAILED;
    if (!ok)
        error_set_errno(error, "%s: mmap of %zu bytes", path, *size);
    close(descriptor);
    *data = ok ? mapped : NULL;
    return ok;
}

void file_unmap(const void *data, size_t size) {
    if (data)
        munmap((void *)(uintptr_t)data, size);
}

void file_forget(const void *data, size_t size) {
    /* whole pages inside the range only: its first and last page may hold a neighbour that is still needed */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = ((uintptr_t)data + page - 1) & ~(page - 1);
    uintptr_t end = ((uintptr_t)data + size) & ~(page - 1);
    if (end > first)
        madvise((void *)first, end - first, MADV_DONTNEED);
}

static bool write_fully(int descriptor, const char *from, size_t size) {
    while (size > 0) {
        ssize_t put = write(descriptor, from, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        from += put;
        size -= (size_t)put;
    }
    return true;
}

/* What was renamed or linked is there after a loss of power, too. Where the file system cannot promise that, it cannot.
 */
static void sync_directory_of(const char *path) {
    char directory[4096];
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash + (slash == path) - path) : 1;
    if (snprintf(directory, sizeof directory, "%.*s", length, slash ? path : ".") >= (int)sizeof directory)
        return;
    int descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return;
    fsync(descriptor);
    close(descriptor);
}

/* `there` NULL: over what is there. */
static bool write_whole(const char *path, mode_t mode, const void *contents, size_t size, bool *there,
                        struct error *error) {
    char part[4096];
    int length = snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid());
    if (length < 0 || (size_t)length >= sizeof part)
        return error_set(error, ERROR_INPUT, "%s: path too long", path);
    unlink(part); /* of a process that had our number and died; never written through, whosever it is */
    int descriptor = open(part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (descriptor < 0)
        return error_set_errno(error, "%s", part);
    bool ok = write_fully(descriptor, contents, size) && fsync(descriptor) == 0;
    ok = close(descriptor) == 0 && ok;
    if (ok && there) {
        ok = link(part, path) == 0;
        *there = !ok && errno == EEXIST;
        ok = ok || *there;
    } else if (ok)
        ok = rename(part, path) == 0;
    if (!ok)
        error_set_errno(error, "%s: write", path);
    if (!ok || there)
        unlink(part);
    if (ok)
        sync_directory_of(path);
    return ok;
}

bool file_write_atomic(const char *path, const void *contents, size_t size, struct error *error) {
    return write_whole(path, 0666, contents, size, NULL, error);
}

bool file_write_private(const char *path, const void *contents, size_t size, struct error *error) {
    return write_whole(path, 0600, contents, size, NULL, error);
}

bool file_create_private(const char *path, const void *contents, size_t size, bool *there, struct error *error) {
    return write_whole(path, 0600, contents, size, there, error);
}

bool file_check_writable(const char *path, struct error *error) {
    bool existed = file_exists(path);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (descriptor < 0)
        return error_set_errno(error, "%s", path);
    close(descriptor);
    if (!existed)
        unlink(path);
    return true;
}

static bool make_directories(const char *path, mode_t mode, struct error *error) {
    char partial[4096];
    int length = snprintf(partial, sizeof partial, "%s", path);
    if (length <= 0 || (size_t)length >= sizeof partial)
        return error_set(error, ERROR_INPUT, "%s: not a usable path", path);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, mode) != 0 && errno != EEXIST)
            return error_set_errno(error, "%s: mkdir", partial);
        *slash = '/';
    }
    if (mkdir(partial, mode) != 0 && errno != EEXIST)
        return error_set_errno(error, "%s: mkdir", path);
    return true;
}

bool directory_make(const char *path, struct error *error) {
    return make_directories(path, 0700, error);
}

bool directory_make_shared(const char *path, struct error *error) {
    return make_directories(path, 0777, error);
}

bool path_join(char *out, size_t size, const char *directory, const char *name, struct error *error) {
    int length = snprintf(out, size, "%s/%s", directory, name);
    if (length < 0 || (size_t)length >= size)
        return error_set(error, ERROR_INPUT, "%s/%s: path too long", directory, name);
    return true;
}
