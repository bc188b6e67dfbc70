/* Errors as one line of text; see error.h. Nothing here allocates, so that running out of memory can be reported too.
 */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void clean(char *text) {
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

bool error_set(struct error *error, enum error_code code, const char *format, ...) {
    if (!error)
        return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    clean(error->text);
    error->code = code;
    return false;
}

bool error_set_errno(struct error *error, const char *format, ...) {
    if (!error)
        return false;
    int number = errno;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s", strerror(number));
    clean(error->text);
    error->code = ERROR_SYSTEM;
    return false;
}

bool error_wrap(struct error *error, const char *format, ...) {
    if (!error)
        return false;
    char inner[sizeof error->text];
    memcpy(inner, error->text, sizeof inner);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s", inner);
    clean(error->text);
    return false;
}
