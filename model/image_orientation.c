/* Which way up a photograph is: reading the orientation that a camera wrote, and turning the pixels by it.
 *
 * EXIF is a TIFF file inside the picture: a header with the byte order, then a directory of 12-byte entries of which
 * one (tag 274) holds the orientation. The walk follows Pillow in what it skips and where it gives up, because a wrong
 * guess turns the picture on its side; but where Pillow would refuse the whole picture for its EXIF, this ignores the
 * EXIF. Every read is checked against the end of the block. XMP is XML in which Pillow, and so this, looks for one
 * attribute. Nothing here fails, allocates or keeps state.
 */
#include "model/image_codec.h"

#include <assert.h>
#include <string.h>

#define CHANNELS        3
#define ORIENTATION_TAG 274
#define ENTRY_BYTES     12
#define TILE            32 /* pixels: a tile of the source and one of the output fit the first-level cache together */

/* A TIFF block; reads beyond its end are for the caller to exclude. */
struct tiff {
    const uint8_t *bytes;
    size_t size;
    bool big_endian;
};

/* One directory entry, with its value found and known to lie inside the block. */
struct entry {
    unsigned tag;
    unsigned type;
    uint32_t count;
    const uint8_t *value;
};

static unsigned read16(const struct tiff *tiff, const uint8_t *at) {
    return tiff->big_endian ? (unsigned)at[0] << 8 | at[1] : (unsigned)at[1] << 8 | at[0];
}

static uint32_t read32(const struct tiff *tiff, const uint8_t *at) {
    uint32_t first = read16(tiff, at);
    uint32_t second = read16(tiff, at + 2);
    return tiff->big_endian ? first << 16 | second : second << 16 | first;
}

/* Bytes per value of a TIFF type; 0: unknown, and the entry is skipped. */
static size_t type_bytes(unsigned type) {
    static const uint8_t sizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8};
    return type < sizeof sizes ? sizes[type] : 0;
}

/* The first value when it is an integer of a type that may hold an orientation; 0 otherwise. BYTE, text and raw bytes
 * are sequences to Pillow, never equal to a number. */
static unsigned integer_value(const struct tiff *tiff, const struct entry *entry) {
    switch (entry->type) {
    case 3: /* SHORT */
    case 8: /* SSHORT */
        return read16(tiff, entry->value);
    case 4:  /* LONG */
    case 9:  /* SLONG */
    case 13: /* IFD, a LONG by another name */
        return read32(tiff, entry->value);
    case 6: /* SBYTE */
        return entry->value[0];
    default:
        return 0;
    }
}

enum found { FOUND_VALUE, FOUND_NOTHING, FOUND_END };

/* Reads the entry at `at`. *total sums what lies outside the directory, which must not exceed the block. */
static enum found read_entry(const struct tiff *tiff, const uint8_t *at, uint64_t *total, struct entry *entry) {
    *entry = (struct entry){read16(tiff, at), read16(tiff, at + 2), read32(tiff, at + 4), at + 8};
    uint64_t bytes = (uint64_t)entry->count * type_bytes(entry->type);
    if (bytes == 0)
        return FOUND_NOTHING;
    if (bytes <= 4)
        return FOUND_VALUE;
    *total += bytes;
    if (*total > tiff->size)
        return FOUND_NOTHING;
    uint32_t offset = read32(tiff, at + 8);
    if (offset > tiff->size || bytes > tiff->size - offset)
        return FOUND_END;
    entry->value = tiff->bytes + offset;
    return FOUND_VALUE;
}

static unsigned find_orientation(const struct tiff *tiff, size_t directory) {
    if (directory > tiff->size || tiff->size - directory < 2)
        return 0;
    const uint8_t *at = tiff->bytes + directory + 2;
    size_t room = (tiff->size - directory - 2) / ENTRY_BYTES;
    size_t entries = read16(tiff, tiff->bytes + directory);
    uint64_t total = 0;
    for (size_t i = 0; i < entries && i < room; i++, at += ENTRY_BYTES) {
        struct entry entry;
        enum found found = read_entry(tiff, at, &total, &entry);
        if (found == FOUND_END)
            return 0;
        if (found == FOUND_VALUE && entry.tag == ORIENTATION_TAG)
            return integer_value(tiff, &entry);
    }
    return 0;
}

unsigned image_orientation_of_exif(const uint8_t *bytes, size_t size) {
    for (int i = 0; i < 2 && size >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0; i++) { /* some writers repeat the prefix */
        bytes += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0))
        return 0;
    const struct tiff tiff = {.bytes = bytes, .size = size, .big_endian = bytes[0] == 'M'};
    return find_orientation(&tiff, read32(&tiff, bytes + 4));
}

unsigned image_orientation_of_xmp(const uint8_t *bytes, size_t size) {
    static const char name[] = "tiff:Orientation";
    const size_t length = sizeof name - 1;
    const uint8_t *end = bytes + size;
    for (const uint8_t *at = bytes; (at = memmem(at, (size_t)(end - at), name, length));) {
        at += length;
        size_t left = (size_t)(end - at);
        size_t skip = left >= 2 && memcmp(at, "=\"", 2) == 0 ? 2 : left >= 1 && *at == '>' ? 1 : 0;
        if (skip && left > skip && at[skip] >= '0' && at[skip] <= '9')
            return (unsigned)(at[skip] - '0');
    }
    return 0;
}

/* Copies a tile of the output, whose pixels step through the source by `across` and `down` bytes. */
static void copy_tile(const uint8_t *source, ptrdiff_t across, ptrdiff_t down, uint8_t *output, size_t stride,
                      size_t width, size_t height) {
    for (size_t y = 0; y < height; y++) {
        const uint8_t *from = source + (ptrdiff_t)y * down;
        uint8_t *to = output + y * stride;
        for (size_t x = 0; x < width; x++, from += across, to += CHANNELS) {
            to[0] = from[0];
            to[1] = from[1];
            to[2] = from[2];
        }
    }
}

/* EXIF 2.32, tag Orientation: which source edges the rows and columns of the upright picture come from. */
void image_turn_upright(struct image_frame *frame, const uint8_t *pixels, uint8_t *output) {
    const unsigned o = frame->orientation;
    assert(o >= 1 && o <= 8);
    const bool swap = o >= 5;
    const bool from_right = o == 2 || o == 3 || o == 7 || o == 8;
    const bool from_bottom = o == 3 || o == 4 || o == 6 || o == 7;
    const ptrdiff_t row = (ptrdiff_t)(frame->width * CHANNELS);
    const ptrdiff_t step_x = from_right ? -CHANNELS : CHANNELS;
    const ptrdiff_t step_y = from_bottom ? -row : row;
    const ptrdiff_t across = swap ? step_y : step_x;
    const ptrdiff_t down = swap ? step_x : step_y;
    const size_t width = swap ? frame->height : frame->width;
    const size_t height = swap ? frame->width : frame->height;
    const uint8_t *first = pixels + (from_right ? row - CHANNELS : 0);
    first += from_bottom ? (ptrdiff_t)(frame->height - 1) * row : 0;
    for (size_t y = 0; y < height; y += TILE)
        for (size_t x = 0; x < width; x += TILE)
            copy_tile(first + (ptrdiff_t)y * down + (ptrdiff_t)x * across, across, down,
                      output + (y * width + x) * CHANNELS, width * CHANNELS, width - x < TILE ? width - x : TILE,
                      height - y < TILE ? height - y : TILE);
    *frame = (struct image_frame){.width = width, .height = height, .orientation = 1};
}
