/* Reads a fleet and a model in PipeEdge's scheduler format, just well enough for the files in test/data/planner. The
 * product's own reader sits on libyaml, above the partitioner; this one has to know nothing but these files, so it
 * looks keys up by their indentation. The cost model is PipeEdge's: transfers at the smaller bandwidth of the two
 * boards, free to and from the source, buffers for what is received, sent and worked on. */
#ifndef TEST_PARTITIONER_PIPEEDGE_FILES_H
#define TEST_PARTITIONER_PIPEEDGE_FILES_H

#include "base/file.h"
#include "test/partitioner/fleets.h"

#include <stdio.h>

#define PIPEEDGE_MICROBATCH 8

struct text {
    const char *at, *end;
};

static inline struct text text_line(struct text text) {
    const char *newline = memchr(text.at, '\n', (size_t)(text.end - text.at));
    return (struct text){text.at, newline ? newline + 1 : text.end};
}

static inline unsigned text_indent(struct text line) {
    unsigned indent = 0;
    while (line.at + indent < line.end && line.at[indent] == ' ')
        indent++;
    return indent;
}

/* What belongs to `key`, which stands at that indentation: the rest of its line and all lines indented deeper, or list
 * items. */
static inline bool text_section(struct text text, unsigned indent, const char *key, struct text *section) {
    size_t length = strlen(key);
    for (struct text line; text.at < text.end; text.at = line.end) {
        line = text_line(text);
        const char *start = line.at + indent;
        if (text_indent(line) != indent || (size_t)(line.end - start) <= length || memcmp(start, key, length) != 0 ||
            start[length] != ':')
            continue;
        *section = (struct text){start + length + 1, line.end};
        for (text.at = line.end; text.at < text.end; text.at = section->end = line.end) {
            line = text_line(text);
            if (text_indent(line) <= indent && line.at[text_indent(line)] != '-')
                break;
        }
        return true;
    }
    return false;
}

/* All numbers of a scalar or of a list in brackets. */
static inline unsigned text_numbers(struct text text, double *numbers, unsigned most) {
    unsigned count = 0;
    while (text.at < text.end && count < most && *text.at != ']') {
        char *after;
        double number = strtod(text.at, &after);
        if (after == text.at || after > text.end) {
            text.at++;
            continue;
        }
        numbers[count++] = number;
        text.at = after;
    }
    return count;
}

static inline double text_number(struct text text, unsigned indent, const char *key) {
    struct text section;
    double number = NAN;
    if (text_section(text, indent, key, &section))
        text_numbers(section, &number, 1);
    return number;
}

struct pipeedge_folder {
    void *models, *device_types, *devices;
    struct text models_text, device_types_text, devices_text;
};

static inline bool pipeedge_read(const char *folder, const char *name, void **contents, struct text *text) {
    char path[512];
    size_t size;
    struct error error;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!file_read(path, 1 << 24, contents, &size, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    *text = (struct text){*contents, (const char *)*contents + size};
    return true;
}

static inline bool pipeedge_open(struct pipeedge_folder *folder, const char *path) {
    memset(folder, 0, sizeof *folder);
    return pipeedge_read(path, "models.yml", &folder->models, &folder->models_text) &&
           pipeedge_read(path, "device_types.yml", &folder->device_types, &folder->device_types_text) &&
           pipeedge_read(path, "devices.yml", &folder->devices, &folder->devices_text);
}

static inline void pipeedge_close(struct pipeedge_folder *folder) {
    release(folder->models);
    release(folder->device_types);
    release(folder->devices);
}

/* The next key at the left margin; moves `text` behind its line. */
static inline bool text_next_key(struct text *text, char *key, size_t size) {
    while (text->at < text->end) {
        struct text line = text_line(*text);
        const char *colon = memchr(line.at, ':', (size_t)(line.end - line.at));
        text->at = line.end;
        if (colon && text_indent(line) == 0 && *line.at != '-') {
            snprintf(key, size, "%.*s", (int)(colon - line.at), line.at);
            return true;
        }
    }
    return false;
}

static inline unsigned text_items(struct text section) {
    unsigned items = 0;
    for (struct text line; section.at < section.end; section.at = line.end) {
        line = text_line(section);
        items += line.at[text_indent(line)] == '-';
    }
    return items;
}

static inline void pipeedge_model(struct made_fleet *made, struct text model) {
    static double values[PARTITIONER_UNITS_MAX];
    unsigned units = made->problem.units;
    struct text section;
    made->payload_bytes[0] = (uint64_t)(4 * PIPEEDGE_MICROBATCH * text_number(model, 2, "parameters_in"));
    text_section(model, 2, "parameters_out", &section);
    text_numbers(section, values, units);
    for (unsigned unit = 0; unit < units; unit++)
        made->payload_bytes[unit + 1] = (uint64_t)(4 * PIPEEDGE_MICROBATCH * values[unit]);
    text_section(model, 2, "mem_MB", &section);
    text_numbers(section, values, units);
    double sum = 0;
    for (unsigned unit = 0; unit < units; unit++) { /* rounds sums, so that no slice is off by more than a byte */
        double before = round(sum * 1048576);
        sum += values[unit];
        made->weight_bytes[unit] = (uint64_t)(round(sum * 1048576) - before);
    }
    made->problem.input_slots = made->problem.output_slots = 3; /* two to receive or send, one to work on */
    made->problem.source_slots_spared = 2;
}

static inline unsigned pipeedge_boards(const struct pipeedge_folder *folder, char names[][64]) {
    struct text devices = folder->devices_text, section;
    unsigned boards = 0;
    char type[64];
    while (text_next_key(&devices, type, sizeof type)) {
        text_section(folder->devices_text, 0, type, &section);
        for (unsigned items = text_items(section); items > 0 && boards < PARTITIONER_BOARDS_MAX; items--)
            memcpy(names[boards++], type, sizeof type);
    }
    return boards;
}

/* False when something is missing. On true, give back with made_fleet_close. */
static inline bool pipeedge_problem(const struct pipeedge_folder *folder, const char *model_name,
                                    struct made_fleet *made) {
    static char types[PARTITIONER_BOARDS_MAX][64];
    double megabits[PARTITIONER_BOARDS_MAX];
    struct text model, type, profiles, profile, times;
    if (!text_section(folder->models_text, 0, model_name, &model))
        return false;
    unsigned boards = pipeedge_boards(folder, types), units = (unsigned)text_number(model, 2, "layers");
    made_fleet_init(made, boards, units);
    pipeedge_model(made, model);
    for (unsigned board = 0; board < boards; board++) {
        if (!text_section(folder->device_types_text, 0, types[board], &type) ||
            !text_section(type, 2, "model_profiles", &profiles) || !text_section(profiles, 4, model_name, &profile) ||
            !text_section(profile, 6, "time_s", &times) ||
            text_numbers(times, made->unit_seconds + (size_t)board * units, units) != units)
            return false;
        megabits[board] = text_number(type, 2, "bw_Mbps");
        made->memory_bytes[board] =
            (uint64_t)ceil(text_number(type, 2, "mem_MB") * 1048576) - 1; /* less than, strictly */
    }
    for (unsigned from = 0; from <= boards; from++)
        for (unsigned to = 0; to <= boards; to++)
            made->bandwidth[from * (boards + 1) + to] =
                from == boards || to == boards ? INFINITY : fmin(megabits[from], megabits[to]) * 1048576 / 8;
    return true;
}

#endif
