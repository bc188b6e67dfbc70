/* Log lines; see log.h. A line is formatted into one buffer and written with one call, so that lines never mix. Nothing
 * is allocated: a log must be able to tell that there is no memory left. */
#include "base/log.h"

#include "base/json_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TEXT_MAX 1024
#define LINE_MAX (6 * TEXT_MAX + LOG_MEMBERS_MAX + 256) /* six: an escape of every byte */

static char speaker[64] = "stagecoach";
static enum log_level threshold = LOG_INFO;
static bool as_json;

void log_set_name(const char *name) {
    snprintf(speaker, sizeof speaker, "%s", name);
}

void log_set_level(enum log_level level) {
    threshold = level;
}

void log_set_json(bool json) {
    as_json = json;
}

static void print_time(char text[32]) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + used, 32 - used, ".%03ldZ", now.tv_nsec / 1000000);
}

static size_t print_text(char line[LINE_MAX], enum log_level level, const char *text) {
    static const char *const names[] = {"debug", "info ", "warn ", "error"};
    char time[32];
    print_time(time);
    return (size_t)snprintf(line, LINE_MAX, "%s %s %s: %s\n", time, names[level], speaker, text);
}

static size_t print_json(char line[LINE_MAX], enum log_level level, const char *members, const char *text) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    char time[32], name[6 * sizeof speaker + 3];
    print_time(time);
    json_quote(name, sizeof name, speaker);
    bool more = members[0] && strlen(members) <= LOG_MEMBERS_MAX;
    size_t used =
        (size_t)snprintf(line, LINE_MAX, "{\"time\": \"%s\", \"level\": \"%s\", \"speaker\": %s%s%s, \"text\": ", time,
                         names[level], name, more ? ", " : "", more ? members : "");
    used += json_quote(line + used, LINE_MAX - used - 2, text);
    line[used++] = '}';
    line[used++] = '\n';
    return used;
}

static void write_line(enum log_level level, const char *members, const char *format, va_list arguments) {
    char text[TEXT_MAX], line[LINE_MAX];
    vsnprintf(text, sizeof text, format, arguments);
    for (char *at = text; *at; at++) /* the text may quote a peer: no line breaks or escape sequences */
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    size_t size = as_json ? print_json(line, level, members, text) : print_text(line, level, text);
    ssize_t written = write(STDERR_FILENO, line, size);
    (void)written; /* nobody is left to tell */
}

void log_line(enum log_level level, const char *format, ...) {
    va_list arguments;
    if (level < threshold)
        return;
    va_start(arguments, format);
    write_line(level, "", format, arguments);
    va_end(arguments);
}

void log_members(enum log_level level, const char *members, const char *format, ...) {
    va_list arguments;
    if (level < threshold)
        return;
    va_start(arguments, format);
    write_line(level, members, format, arguments);
    va_end(arguments);
}
