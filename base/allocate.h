/* Memory: the only place that calls malloc and free, so that it can be counted and made to fail.
 *
 * Two kinds of request. allocate() is for sizes the program itself decides: when the system has no memory left it ends
 * the process with one line, because no caller could do better. try_allocate() is for sizes that come from a file, a
 * peer or a user: it returns NULL and the caller reports an error. Threads: all functions may be called from any
 * thread.
 */
#ifndef BASE_ALLOCATE_H
#define BASE_ALLOCATE_H

#include <stddef.h>
#include <stdint.h>

/* count * size bytes, zeroed, aligned to 64 bytes; never NULL. A product that overflows is no memory. */
void *allocate(size_t count, size_t size);

/* The same, but NULL when the product overflows or no memory is left. A size of 0 gives a valid pointer. */
void *try_allocate(size_t count, size_t size);

/* Grows *memory (NULL or from here) from *capacity to at least `wanted` elements of `size` bytes, doubling; contents
 * are kept and the new part is zeroed. Never fails (ends the process when no memory is left). */
void allocate_grow(void **memory, size_t *capacity, size_t wanted, size_t size);

/* A copy of a string; never NULL. */
char *allocate_string(const char *text);

/* Gives back what came from here; NULL is fine. */
void release(void *memory);

/* How many allocations this process has made through here since it started. The hot path keeps it constant. */
uint64_t allocation_count(void);
/* How many bytes were handed out from here and have not been given back, as they were asked for. */
uint64_t allocation_bytes(void);

/* Fault injection for tests: the nth try_allocate from now returns NULL (0: never). */
void allocate_fail_nth(uint64_t nth);

#endif
