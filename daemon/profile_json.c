/* A profile as JSON and back; docs/FLEET.md describes the object for people.
 *
 *   {"architecture": "ViTForImageClassification", "fingerprint": "5d0c...", "units": 50, "version": "0.1.0",
 *    "kernels": "neon", "threads": 4, "memory_bytes": 3221225472, "storage_bytes_per_second": 80000000,
 *    "handling_bytes_per_second": 310000000,
 *    "microbatches": [{"microbatch": 8, "runs": 9, "spread": 0.01, "unit_s": [0.012, ...]}]}
 *
 * A profile may come from anybody, so every string fits and every number is in range before it is kept. The first
 * profiles had no fingerprint; members that are not known are left alone, so that later ones can be read too.
 */
#include "base/allocate.h"
#include "daemon/output.h"
#include "daemon/profile.h"
#include "model/json.h"

#include <inttypes.h>
#include <string.h>

#define SECONDS_LEAST 1e-12
#define SECONDS_MOST  1e9
#define RATE_MOST     1e15
#define BYTES_MOST    (INT64_C(1) << 53) /* what every JSON reader keeps */

static void print_times(FILE *to, const struct profile_times *times, unsigned units) {
    fprintf(to, "{\"microbatch\": %u, \"runs\": %u, \"spread\": ", times->microbatch, times->runs);
    json_double(to, times->spread);
    fputs(", \"unit_s\": [", to);
    for (unsigned unit = 0; unit < units; unit++) {
        fputs(unit ? ", " : "", to);
        json_double(to, times->unit_s[unit]);
    }
    fputs("]}", to);
}

static void print_text(FILE *to, const char *key, const char *text) {
    fprintf(to, "\"%s\": ", key);
    json_string(to, text);
    fputs(", ", to);
}

static void print(FILE *to, const void *what) {
    const struct profile *profile = what;
    fputc('{', to);
    if (profile->architecture[0])
        print_text(to, "architecture", profile->architecture);
    if (profile->fingerprint[0])
        print_text(to, "fingerprint", profile->fingerprint);
    if (profile->version[0])
        print_text(to, "version", profile->version);
    if (profile->kernels[0])
        print_text(to, "kernels", profile->kernels);
    if (profile->threads)
        fprintf(to, "\"threads\": %u, ", profile->threads);
    fprintf(to, "\"units\": %u, \"memory_bytes\": %" PRIu64 ", \"storage_bytes_per_second\": ", profile->units,
            profile->memory_bytes);
    json_double(to, profile->storage_bytes_per_second);
    fputs(", \"handling_bytes_per_second\": ", to);
    json_double(to, profile->handling_bytes_per_second);
    fputs(", \"microbatches\": [", to);
    for (unsigned index = 0; index < profile->sizes; index++) {
        fputs(index ? ", " : "", to);
        print_times(to, &profile->times[index], profile->units);
    }
    fputs("]}", to);
}

char *profile_to_json(const struct profile *profile) {
    return printed_text(print, profile);
}

static bool read_text(const struct json *root, const char *key, char *text, size_t size, struct error *error) {
    const char *found = NULL;
    if (!json_optional_string(root, key, &found, error))
        return false;
    if (found && strlen(found) >= size)
        return json_refuse(json_find(root, key), error, "at most %zu bytes", size - 1);
    if (found)
        memcpy(text, found, strlen(found) + 1);
    return true;
}

static bool read_fingerprint(const struct json *root, struct profile *out, struct error *error) {
    if (!read_text(root, "fingerprint", out->fingerprint, sizeof out->fingerprint, error))
        return false;
    size_t digits = strspn(out->fingerprint, "0123456789abcdef");
    return out->fingerprint[0] == '\0' || (digits == 32 && out->fingerprint[32] == '\0') ||
           json_refuse(json_find(root, "fingerprint"), error, "32 hexadecimal digits");
}

static bool read_times(const struct json *entry, unsigned units, struct profile_times *times, struct error *error) {
    int64_t microbatch, runs = 0;
    const struct json *list;
    if (!json_get_integer(entry, "microbatch", 1, MODEL_ITEMS_MAX, &microbatch, error) ||
        !json_optional_integer(entry, "runs", 0, 1000000, &runs, error) ||
        !json_optional_number(entry, "spread", 0, SECONDS_MOST, &times->spread, error) ||
        !json_get_array(entry, "unit_s", &list, error))
        return false;
    if (json_count(list) != units)
        return json_refuse(list, error, "%u times, one for each unit", units);
    for (unsigned unit = 0; unit < units; unit++)
        if (!json_as_number(json_at(list, unit), SECONDS_LEAST, SECONDS_MOST, &times->unit_s[unit], error))
            return false;
    times->microbatch = (unsigned)microbatch;
    times->runs = (unsigned)runs;
    return true;
}

static bool read_sizes(const struct json *root, struct profile *out, struct error *error) {
    const struct json *list;
    if (!json_get_array(root, "microbatches", &list, error))
        return false;
    if (json_count(list) < 1 || json_count(list) > PROFILE_MICROBATCHES)
        return json_refuse(list, error, "times of 1 to %d microbatches", PROFILE_MICROBATCHES);
    out->sizes = (unsigned)json_count(list);
    for (unsigned index = 0; index < out->sizes; index++) {
        if (!read_times(json_at(list, index), out->units, &out->times[index], error))
            return false;
        if (index > 0 && out->times[index].microbatch <= out->times[index - 1].microbatch)
            return json_refuse(json_find(json_at(list, index), "microbatch"), error, "each microbatch once, ascending");
    }
    return true;
}

static bool read_profile(const struct json *root, struct profile *out, struct error *error) {
    int64_t units, threads = 0, memory = 0;
    if (!json_as_object(root, error) ||
        !read_text(root, "architecture", out->architecture, sizeof out->architecture, error) ||
        !read_fingerprint(root, out, error) || !read_text(root, "version", out->version, sizeof out->version, error) ||
        !read_text(root, "kernels", out->kernels, sizeof out->kernels, error) ||
        !json_optional_integer(root, "threads", 1, 1024, &threads, error) ||
        !json_get_integer(root, "units", 1, PARTITIONER_UNITS_MAX, &units, error) ||
        !json_optional_integer(root, "memory_bytes", 0, BYTES_MOST, &memory, error) ||
        !json_optional_number(root, "storage_bytes_per_second", 0, RATE_MOST, &out->storage_bytes_per_second, error) ||
        !json_optional_number(root, "handling_bytes_per_second", 0, RATE_MOST, &out->handling_bytes_per_second, error))
        return false;
    if (out->handling_bytes_per_second > 0 && out->handling_bytes_per_second < 1)
        return json_refuse(json_find(root, "handling_bytes_per_second"), error, "0 or at least 1");
    out->threads = (unsigned)threads;
    out->units = (unsigned)units;
    out->memory_bytes = (uint64_t)memory;
    return read_sizes(root, out, error);
}

bool profile_from_json(const void *bytes, size_t size, const char *name, struct profile *out, struct error *error) {
    memset(out, 0, sizeof *out);
    struct json *root = json_parse(bytes, size, name, error);
    bool ok = root && read_profile(root, out, error);
    json_destroy(&root);
    return ok;
}
