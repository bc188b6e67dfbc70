/* Log lines on stderr: "2026-01-31T12:00:00.123Z info  coordinator: text", or, where the log is JSON, an object each:
 * {"time": "2026-01-31T12:00:00.123Z", "level": "info", "speaker": "coordinator", "text": "text"}. One write per line;
 * any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Who is speaking ("stage pi-3"), copied; set once before threads start. */
void log_set_name(const char *name);

/* Lines below this level are dropped. Default LOG_INFO; set once before threads start. */
void log_set_level(enum log_level level);

/* Lines are JSON objects from now on; set once before threads start. */
void log_set_json(bool json);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line that has more to it where the log is JSON: members, such as "\"event\": \"lost\", \"board\": \"pi-3\"", which
 * stand before the text. They are left out where they do not fit (LOG_MEMBERS_MAX bytes always do). */
#define LOG_MEMBERS_MAX 4096
void log_members(enum log_level level, const char *members, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

#endif
