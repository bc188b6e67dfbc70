/* Log lines; see log.h. A line is formatted into one buffer and written with one call, so that lines never mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char speaker[64] = "stagecoach";
static enum log_level threshold = LOG_INFO;

void log_set_name(const char *name) {
    snprintf(speaker, sizeof speaker, "%s", name);
}

void log_set_level(enum log_level level) {
    threshold = level;
}

void log_line(enum log_level level, const char *format, ...) {
    static const char *const names[] = {"debug", "info ", "warn ", "error"};
    if (level < threshold)
        return;
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    char line[1024];
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used += (size_t)snprintf(line + used, sizeof line - used, ".%03ldZ %s %s: ", now.tv_nsec / 1000000, names[level],
                             speaker);
    va_list arguments;
    va_start(arguments, format);
    size_t text = used;
    int length = vsnprintf(line + used, sizeof line - used - 1, format, arguments);
    va_end(arguments);
    used = length < 0 ? used : used + (size_t)length;
    if (used > sizeof line - 2)
        used = sizeof line - 2;
    for (size_t i = text; i < used; i++) /* the text may quote a peer: no line breaks or escape sequences */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written; /* nobody is left to tell */
}
