/* Files: read whole or in pieces, map, write atomically. Errors start with the path. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* Reads a regular file of at most `limit` bytes into memory from allocate (give back with release); a zero byte follows
 * the contents and is not counted. Larger, or not a regular file: an error. */
bool file_read(const char *path, size_t limit, void **contents, size_t *size, struct error *error);

/* Reads a regular file from its beginning to its end and gives it, in order, to `take` in pieces of at most 64 KiB,
 * which are its own only during the call. What a mapping answers with SIGBUS, a sector that cannot be read, is an error
 * here. */
bool file_visit(const char *path, void (*take)(void *context, const void *piece, size_t size), void *context,
                struct error *error);

bool file_exists(const char *path);

/* What others (group or everybody) may not do with a file or directory for file_guarded. */
enum file_guard { FILE_NOT_READ = 077, FILE_NOT_WRITTEN = 022 };
/* False with ERROR_USAGE when others may, by its mode or because it is another user's (root's is nobody's else);
 * "PATH: others may write there: chmod go-w". */
bool file_guarded(const char *path, enum file_guard guard, struct error *error);

/* Maps a file read-only; a file of 0 bytes gives data NULL. The mapping outlives the descriptor. A file that is
 * shortened while mapped would raise SIGBUS: model files are not to be changed under a running daemon. */
bool file_map(const char *path, const void **data, size_t *size, struct error *error);
void file_unmap(const void *data, size_t size);
/* The pages of [data, data + size) inside a mapping may leave memory (they are read again when touched). */
void file_forget(const void *data, size_t size);

/* Writes path + ".<pid>.part", a new file, flushes it, renames it over path: readers see the old or the new file, never
 * half of one. Who may read it is as the umask says. */
bool file_write_atomic(const char *path, const void *contents, size_t size, struct error *error);
/* The same for what only its owner may read, such as keys: mode 0600. */
bool file_write_private(const char *path, const void *contents, size_t size, struct error *error);
/* The same, but never over a file that is there, also where two processes make it at once: *there is true then, and the
 * result too. */
bool file_create_private(const char *path, const void *contents, size_t size, bool *there, struct error *error);

/* Could a file be written there? To be asked before work whose result goes there. Nothing is changed or left. */
bool file_check_writable(const char *path, struct error *error);

/* mkdir -p with mode 0700 for what is new. */
bool directory_make(const char *path, struct error *error);
/* mkdir -p; who may enter what is new is as the umask says. */
bool directory_make_shared(const char *path, struct error *error);

/* Joins directory and name into out[size]; an error when it does not fit. */
bool path_join(char *out, size_t size, const char *directory, const char *name, struct error *error);

#endif
