/* Errors: a code and one line of text, wrapped outwards.
 *
 * Every function that can fail for a reason outside this program (a file, a peer, a user, the system) returns bool and
 * takes a `struct error *` as its last parameter. On true the error is untouched; on false it says what, where, what
 * was expected and, if the user can mend it, what to do: "model/config.json: hidden_size: got -3, want 1 to 65536".
 * Callers add where they were with error_wrap, so the text reads from the outside in. Our own bugs are asserts, never
 * errors.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum error_code {
    ERROR_NONE = 0,
    ERROR_INPUT,       /* bytes from a file, a peer or a user are not what they must be */
    ERROR_USAGE,       /* the command line or the configuration is wrong: exit status 2 */
    ERROR_SYSTEM,      /* the operating system said no: file, socket, memory, thread */
    ERROR_UNSUPPORTED, /* well formed, but something this version does not do */
    ERROR_INFEASIBLE,  /* no plan exists */
    ERROR_TIMEOUT,     /* a peer did not answer in time */
    ERROR_DENIED,      /* a peer does not let us in */
    ERROR_BUSY,        /* not now: what is at work holds what this would need */
};

struct error {
    enum error_code code;
    char text[480]; /* one line, UTF-8, no newline, cut at the end if too long */
};

/* Sets *error and returns false, so that a caller may `return error_set(...)`. error may be NULL. Control characters in
 * the formatted text (they may come from a peer) become '?'. */
bool error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like error_set with ": <strerror(errno)>" appended and code ERROR_SYSTEM. */
bool error_set_errno(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "<formatted>: " before the text that is there; returns false. */
bool error_wrap(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
