/* Tensors that a board has fetched, as files named by their content: DIRECTORY/tensors/<64 hexadecimal digits>.
 *
 * Several processes may share a directory: files appear whole (a locked part file, renamed when its hash is right) and
 * are removed by name only, so whoever has one mapped keeps its bytes. A file is believed after its hash was checked
 * once in this process; one that does not match its name, or cannot be read, is deleted and counts as absent. The
 * file's time of change is when it was last opened: what was not opened for longest goes first when room is needed,
 * never something this process has mapped. Everything else that lies in DIRECTORY/tensors is deleted when a cache is
 * opened, but for part files that are being written.
 *
 * Threads: one at a time for a struct cache; cache_list and the loans need none and may be used beside it. Nothing here
 * keeps tensors in memory: mappings are of clean pages that the system may drop.
 */
#ifndef DAEMON_CACHE_H
#define DAEMON_CACHE_H

#include "base/error.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;

/* Opens, and makes if need be, the cache below `directory`, which is to hold at most limit_bytes (0: no limit). */
struct cache *cache_new(const char *directory, uint64_t limit_bytes, struct error *error);
/* Everything must have been unmapped. *cache becomes NULL. */
void cache_destroy(struct cache **cache);

/* Maps the tensor of that hash: true, and *data to its bytes (NULL when bytes is 0), until cache_unmap. False when it
 * is not there, or was there with other contents (and now is not). */
bool cache_map(struct cache *cache, const struct hash *hash, uint64_t bytes, const void **data);
/* For each cache_map that returned true. */
void cache_unmap(struct cache *cache, const struct hash *hash, const void *data, uint64_t bytes);

/* Deletes files, least recently opened first and none that is mapped here, until `bytes` more fit the limit. False when
 * they cannot. The error says how much is missing. */
bool cache_make_room(struct cache *cache, uint64_t bytes, struct error *error);

/* ---- what others may have of it ---- */

/* The hashes of all tensors below `directory`, at most `most`, in memory for the caller to release; NULL when there are
 * none. Their contents are not looked at. */
struct hash *cache_list(const char *directory, size_t most, size_t *count);

/* A tensor that is lent: mapped, whatever happens to its file meanwhile. */
struct cache_loan {
    const void *data; /* of the tensor's file */
    size_t size;
};
/* Maps the tensor of that hash below `directory`; false when it is not there, or has fewer bytes than `least`. Its
 * contents are not compared with its hash: whoever borrows does that. Reads nothing, so that it takes microseconds. */
bool cache_lend(const char *directory, const struct hash *hash, uint64_t least, struct cache_loan *loan);
void cache_loan_end(const struct cache_loan *loan);

/* ---- writing ---- */

/* A tensor on its way into the cache. */
struct cache_part;

/* Takes room on the disk for all of it, so that a full disk is known before anything is fetched. */
struct cache_part *cache_part_new(struct cache *cache, const struct hash *hash, uint64_t bytes, struct error *error);
/* [offset, offset + size) must lie inside. Any order. */
bool cache_part_write(struct cache_part *part, uint64_t offset, const void *data, size_t size, struct error *error);
/* All bytes were written: checks the hash and puts the file in its place. *part becomes NULL in any case. False with
 * ERROR_INPUT when the hash is wrong. */
bool cache_part_finish(struct cache_part **part, struct error *error);
/* Gives it up. NULL is fine. */
void cache_part_destroy(struct cache_part **part);

#endif
