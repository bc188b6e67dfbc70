/* Which units of a model cost the same, and which models are the same to a board; see profile.h.
 *
 * Both questions are answered by one text: what decides a unit's cost, written down as decimals, so that it hashes to
 * the same on every machine: operations, the shapes of its weights, the payload that comes in and the one that goes
 * out; and of an MLP which part it is, because the parts are measured together. (The last block of a classifier is a
 * kind of its own because fewer rows leave its attention.) Pure; nothing is kept.
 */
#include "daemon/profile.h"

#include "base/allocate.h"
#include "base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct description {
    char text[4096];
    size_t used;
};

__attribute__((format(printf, 2, 3))) static void add(struct description *description, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(description->text + description->used, sizeof description->text - description->used, format,
                           arguments);
    va_end(arguments);
    assert(length >= 0 && (size_t)length < sizeof description->text - description->used);
    description->used += (size_t)length;
}

static void add_payload(struct description *description, const struct model_config *config, unsigned cut) {
    struct payload payload;
    model_cut(config, cut, &payload);
    for (unsigned p = 0; p < payload.parts; p++) {
        add(description, "%s", payload.part[p].type == PAYLOAD_U8 ? "u8" : "f32");
        for (unsigned d = 0; d < payload.part[p].rank; d++)
            add(description, " %" PRIu32, payload.part[p].shape[d]);
        add(description, ";");
    }
}

static bool add_tensor(void *context, const struct tensor *tensor) {
    struct description *description = context;
    add(description, "w");
    for (unsigned d = 0; d < tensor->rank; d++)
        add(description, " %" PRIu64, tensor->shape[d]);
    add(description, ";");
    return true;
}

static struct hash unit_hash(const struct model_config *config, unsigned unit) {
    struct description description = {.used = 0};
    struct slice same = model_same_weights(config, unit);
    add(&description, "part %u of %u;", unit - same.first, same.end - same.first);
    add(&description, "%.17g flops;", model_unit_flops(config, unit));
    model_tensors(config, (struct slice){unit, unit + 1}, add_tensor, &description);
    add_payload(&description, config, unit);
    add_payload(&description, config, unit + 1);
    return hash_of(description.text, description.used);
}

/* Kinds are few: a unit is compared with the first unit of each kind. */
void profile_kinds(const struct model_config *config, unsigned *kind) {
    unsigned units = model_units(config), kinds = 0;
    struct hash *hash = allocate(units, sizeof *hash);
    unsigned *first = allocate(units, sizeof *first);
    for (unsigned unit = 0; unit < units; unit++) {
        unsigned at = 0;
        hash[unit] = unit_hash(config, unit);
        while (at < kinds && memcmp(&hash[first[at]], &hash[unit], sizeof *hash) != 0)
            at++;
        if (at == kinds)
            first[kinds++] = unit;
        kind[unit] = first[at];
    }
    release(first);
    release(hash);
}

void profile_fingerprint(const struct model_config *config, char text[33]) {
    unsigned units = model_units(config);
    const char *architecture = model_architecture(config);
    struct hash *hash = allocate((size_t)units + 1, sizeof *hash), whole;
    char hex[HASH_HEX_BYTES];
    hash[0] = hash_of(architecture, strlen(architecture));
    for (unsigned unit = 0; unit < units; unit++)
        hash[unit + 1] = unit_hash(config, unit);
    whole = hash_of(hash, ((size_t)units + 1) * sizeof *hash);
    release(hash);
    hash_to_hex(&whole, hex);
    memcpy(text, hex, 32);
    text[32] = '\0';
}
