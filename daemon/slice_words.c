/* Slices in words; see slice_words.h. Blocks and their parts are found by the names of units, so that no family is
 * known here. Nothing is kept; any thread. */
#include "daemon/slice_words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a unit lies: part 1 to parts of a block; block -1 for embed and head. */
struct place {
    int block;
    unsigned part, parts;
};

/* By its name, "block 3.3 MLP 1/4"; -1 when that is another. */
static int block_of(const struct model_config *config, unsigned unit) {
    char name[40];
    model_unit_name(config, unit, name);
    return strncmp(name, "block ", 6) == 0 ? (int)strtol(name + 6, NULL, 10) : -1;
}

static struct place place_of(const struct model_config *config, unsigned unit) {
    struct place place = {block_of(config, unit), 1, 1};
    for (unsigned before = unit; before > 0 && block_of(config, before - 1) == place.block; before--)
        place.part++;
    place.parts = place.part;
    for (unsigned after = unit + 1; after < model_units(config) && block_of(config, after) == place.block; after++)
        place.parts++;
    return place;
}

/* Units [first, end) that are all in blocks. A part is named only where a block is cut. */
static void block_words(const struct model_config *config, unsigned first, unsigned end, char text[56]) {
    struct place from = place_of(config, first), to = place_of(config, end - 1);
    bool whole_from = from.part == 1, whole_to = to.part == to.parts;
    char from_part[16] = "", to_part[16] = "";
    if (!whole_from || (from.block == to.block && !whole_to))
        snprintf(from_part, sizeof from_part, ".%u", from.part);
    if (!whole_to || (from.block == to.block && !whole_from))
        snprintf(to_part, sizeof to_part, ".%u", to.part);
    if (from.block == to.block && strcmp(from_part, to_part) == 0)
        snprintf(text, 56, "block %d%s", from.block, from_part);
    else
        snprintf(text, 56, "blocks %d%s-%d%s", from.block, from_part, to.block, to_part);
}

static void append_words(char buffer[SLICE_WORDS_MAX], const char *words) {
    size_t used = strlen(buffer);
    snprintf(buffer + used, SLICE_WORDS_MAX - used, "%s%s", used ? ", " : "", words);
}

const char *slice_words(const struct model_config *config, unsigned first, unsigned end, char buffer[SLICE_WORDS_MAX]) {
    char words[56];
    buffer[0] = '\0';
    if (!config) { /* PipeEdge counts layers from 1 */
        snprintf(buffer, SLICE_WORDS_MAX, end - first == 1 ? "layer %u" : "layers %u-%u", first + 1, end);
        return buffer;
    }
    if (block_of(config, first) < 0)
        append_words(buffer, model_unit_name(config, first++, words));
    bool has_tail = first < end && block_of(config, end - 1) < 0;
    if (has_tail)
        end--;
    if (first < end) {
        block_words(config, first, end, words);
        append_words(buffer, words);
    }
    if (has_tail)
        append_words(buffer, model_unit_name(config, end, words));
    return buffer;
}
