/* Numbers with units, in and out; see fleet_quantity.h.
 *
 * One table a quantity: suffix and factor, the usual ones first, because of two equally short numbers the first wins.
 * "b" is nothing here: a bit is written "bit" and a byte "B", so that nobody is off by eight. Nothing is kept or
 * allocated; any thread. Faults are errors at the node's place in its file.
 */
#include "daemon/fleet_quantity.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 16

struct unit_of_measure {
    const char *suffix;
    double factor;
};

static const struct {
    const char *noun, *example;
    struct unit_of_measure units[UNITS_MAX]; /* until one without suffix; the base unit is there too */
} tables[] = {
    [QUANTITY_SIZE] = {"a size",
                       "1.5GiB",
                       {{"GiB", 1024.0 * 1024 * 1024},
                        {"MiB", 1024.0 * 1024},
                        {"KiB", 1024},
                        {"TiB", 1024.0 * 1024 * 1024 * 1024},
                        {"B", 1},
                        {"GB", 1e9},
                        {"MB", 1e6},
                        {"kB", 1e3},
                        {"TB", 1e12}}},
    [QUANTITY_RATE] = {"a rate",
                       "100Mbit/s",
                       {{"Mbit/s", 1e6 / 8},
                        {"Gbit/s", 1e9 / 8},
                        {"kbit/s", 1e3 / 8},
                        {"bit/s", 1.0 / 8},
                        {"MB/s", 1e6},
                        {"GB/s", 1e9},
                        {"kB/s", 1e3},
                        {"B/s", 1},
                        {"GiB/s", 1024.0 * 1024 * 1024},
                        {"MiB/s", 1024.0 * 1024},
                        {"KiB/s", 1024}}},
    [QUANTITY_TIME] = {"a time", "0.3ms", {{"ms", 1e-3}, {"us", 1e-6}, {"s", 1}, {"ns", 1e-9}}},
    [QUANTITY_SPEED] = {"a speed", "17GFLOPS", {{"GFLOPS", 1e9}, {"TFLOPS", 1e12}, {"MFLOPS", 1e6}, {"FLOPS", 1}}},
};

/* The number at the start of text; its end, or NULL when there is none. Unlike strtod: decimal only, no sign. */
static const char *leading_number(const char *text, double *number) {
    char *end;
    if (strspn(text, "0123456789.") == 0 || (text[0] == '0' && (text[1] | 0x20) == 'x'))
        return NULL;
    *number = strtod(text, &end);
    return end == text || !isfinite(*number) ? NULL : end;
}

static const struct unit_of_measure *find_unit(enum quantity quantity, const char *suffix) {
    for (const struct unit_of_measure *unit = tables[quantity].units; unit->suffix; unit++)
        if (strcmp(unit->suffix, suffix) == 0)
            return unit;
    return NULL;
}

static bool refuse(const struct yaml *node, enum quantity quantity, const char *suffix, struct error *error) {
    char known[120] = "";
    size_t used = 0;
    for (const struct unit_of_measure *unit = tables[quantity].units; unit->suffix && used < sizeof known; unit++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", unit->suffix);
    const char *got = yaml_scalar_text(node);
    if (!suffix)
        return yaml_refuse(node, error, "got '%.40s', want %s such as %s", got, tables[quantity].noun,
                           tables[quantity].example);
    if (!*suffix)
        return yaml_refuse(node, error, "got '%.40s' without a unit, want %s such as %s", got, tables[quantity].noun,
                           tables[quantity].example);
    return yaml_refuse(node, error, "got '%.40s' in an unknown unit '%.20s', want one of %s", got, suffix, known);
}

bool quantity_read(const struct yaml *node, enum quantity quantity, double *value, struct error *error) {
    double number;
    const char *text = yaml_scalar_text(node);
    if (quantity == QUANTITY_RATE && (strcmp(text, "unlimited") == 0 || strcmp(text, "none") == 0)) {
        *value = text[0] == 'u' ? INFINITY : 0;
        return true;
    }
    const char *suffix = leading_number(text, &number);
    if (!suffix)
        return refuse(node, quantity, NULL, error);
    suffix += strspn(suffix, " ");
    const struct unit_of_measure *unit = find_unit(quantity, suffix);
    if (!unit && !(number == 0 && *suffix == '\0'))
        return refuse(node, quantity, suffix, error);
    number *= unit ? unit->factor : 1;
    if (!isfinite(number) || (quantity == QUANTITY_SIZE && number >= 0x1p63))
        return yaml_refuse(node, error, "got '%.40s', which is too large", text);
    *value = number;
    return true;
}

/* The shortest text whose number times factor is exactly value; false when no decimal is. More digits can be shorter:
 * 100 in one digit is "1e+02". */
static bool exact_text(double value, double factor, char buffer[QUANTITY_TEXT_MAX]) {
    char text[QUANTITY_TEXT_MAX];
    size_t shortest = QUANTITY_TEXT_MAX;
    for (int digits = 1; digits <= 17; digits++) {
        size_t length = (size_t)snprintf(text, sizeof text, "%.*g", digits, value / factor);
        if (length < shortest && strtod(text, NULL) * factor == value) {
            shortest = length;
            memcpy(buffer, text, sizeof text);
        }
    }
    return shortest < QUANTITY_TEXT_MAX;
}

const char *number_text(double number, char buffer[QUANTITY_TEXT_MAX]) {
    exact_text(number, 1, buffer);
    return buffer;
}

const char *quantity_text(enum quantity quantity, double value, char buffer[QUANTITY_TEXT_MAX]) {
    char text[QUANTITY_TEXT_MAX];
    size_t shortest = QUANTITY_TEXT_MAX;
    if (quantity == QUANTITY_RATE && (isinf(value) || value == 0)) {
        snprintf(buffer, QUANTITY_TEXT_MAX, isinf(value) ? "unlimited" : "none");
        return buffer;
    }
    for (const struct unit_of_measure *unit = tables[quantity].units; unit->suffix; unit++) {
        size_t length = exact_text(value, unit->factor, text) ? strlen(text) : shortest;
        if (length < shortest) {
            shortest = length;
            snprintf(buffer, QUANTITY_TEXT_MAX, "%.30s%.10s", text, unit->suffix);
        }
    }
    return buffer;
}

double number_rounded(double number, int digits) {
    char text[QUANTITY_TEXT_MAX];
    snprintf(text, sizeof text, "%.*e", digits - 1, number);
    return strtod(text, NULL);
}

double quantity_rounded(enum quantity quantity, double value, int digits) {
    double factor = tables[quantity].units[0].factor;
    return number_rounded(value / factor, digits) * factor;
}
