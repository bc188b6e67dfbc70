/* Answers as text or JSON, and the progress bar; see output.h. Floats are printed with nine significant digits, which
 * is what it takes to read any fp32 back to the same bits. */
#include "daemon/output.h"

#include "base/allocate.h"
#include "base/mono.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

void json_float(FILE *to, float number) {
    if (isfinite(number))
        fprintf(to, "%.9g", (double)number);
    else
        fputs("null", to);
}

void json_double(FILE *to, double number) {
    if (isfinite(number))
        fprintf(to, "%.17g", number);
    else
        fputs("null", to);
}

static void json_numbers(FILE *to, const char *name, const float *numbers, size_t count) {
    fprintf(to, ", \"%s\": [", name);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? ", " : "", to);
        json_float(to, numbers[i]);
    }
    fputc(']', to);
}

static void print_json(FILE *to, const struct answer *answer) {
    fputs("{\"file\": ", to);
    json_string(to, answer->file);
    if (answer->error && answer->error[0]) {
        fputs(", \"error\": ", to);
        json_string(to, answer->error);
        fputs("}\n", to);
        return;
    }
    if (!answer->embedding) {
        fputs(", \"top\": [", to);
        for (size_t i = 0; i < answer->top_count; i++) {
            fprintf(to, "%s{\"class\": %u, \"label\": ", i ? ", " : "", answer->top[i].class_index);
            json_string(to, answer->top[i].label);
            fputs(", \"score\": ", to);
            json_float(to, answer->top[i].score);
            fputc('}', to);
        }
        fputc(']', to);
    }
    if (answer->numbers)
        json_numbers(to, answer->embedding ? "embedding" : "logits", answer->numbers, answer->number_count);
    fputs("}\n", to);
}

/* Labels are a model's, which may come from anywhere: one line stays one line, and a terminal is told nothing. */
static void print_printable(FILE *to, const char *text) {
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, to);
}

static void print_text(FILE *to, const struct answer *answer) {
    fprintf(to, "%s:", answer->file);
    if (answer->error && answer->error[0]) {
        fputs(" error: ", to);
        print_printable(to, answer->error);
        fputc('\n', to);
        return;
    }
    for (size_t i = 0; i < answer->top_count; i++) {
        fputs(i ? ", " : " ", to);
        print_printable(to, answer->top[i].label);
        fprintf(to, " %.1f %%", 100.0 * (double)answer->top[i].score);
    }
    for (size_t i = 0; answer->numbers && i < answer->number_count; i++)
        fprintf(to, " %.9g", (double)answer->numbers[i]);
    fputc('\n', to);
}

void answer_print(FILE *to, const struct answer *answer, bool json) {
    if (json)
        print_json(to, answer);
    else
        print_text(to, answer);
}

/* A stream that grows memory of ours; open_memstream's would have to be given to free. */
struct memory_stream {
    char *text;
    size_t capacity, used;
};

static ssize_t memory_write(void *cookie, const char *bytes, size_t size) {
    struct memory_stream *stream = cookie;
    allocate_grow((void **)&stream->text, &stream->capacity, stream->used + size + 1, 1);
    memcpy(stream->text + stream->used, bytes, size);
    stream->used += size;
    stream->text[stream->used] = '\0';
    return (ssize_t)size;
}

char *printed_text(void (*print)(FILE *to, const void *what), const void *what) {
    struct memory_stream stream = {0};
    FILE *to = fopencookie(&stream, "w", (cookie_io_functions_t){.write = memory_write});
    if (to) {
        print(to, what);
        fclose(to);
    }
    return stream.text ? stream.text : allocate_string("");
}

struct answer_as {
    const struct answer *answer;
    bool json;
};

static void print_as(FILE *to, const void *what) {
    const struct answer_as *as = what;
    answer_print(to, as->answer, as->json);
}

char *answer_line(const struct answer *answer, bool json) {
    const struct answer_as as = {answer, json};
    return printed_text(print_as, &as);
}

static double seconds_now(void) {
    return (double)mono_now().ns / 1e9;
}

void progress_start(struct progress *progress, size_t total) {
    *progress = (struct progress){.total = total, .started = seconds_now(), .terminal = isatty(STDERR_FILENO) == 1};
}

void progress_draw(struct progress *progress, size_t done, bool last) {
    double now = seconds_now();
    if (!progress->terminal || (!last && now - progress->drawn < 0.1))
        return;
    progress->drawn = now;
    char bar[31];
    size_t filled = progress->total ? done * 30 / progress->total : 0;
    memset(bar, ' ', 30);
    memset(bar, '=', filled);
    bar[30] = '\0';
    double elapsed = now - progress->started;
    fprintf(stderr, "\r[%s] %zu/%zu  %.1f images/s\033[K%s", bar, done, progress->total,
            elapsed > 0 ? (double)done / elapsed : 0.0, last ? "\n" : "");
    fflush(stderr);
}

void progress_clear(struct progress *progress) {
    if (progress->terminal)
        fputs("\r\033[K", stderr);
}
