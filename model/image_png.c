/* PNG through libpng, of which this is the only user; see image_codec.h.
 *
 * The size is read from the fixed place in the header and checked before libpng sees the file. libpng is told to skip
 * every chunk but the image itself and the four that may hold an orientation (eXIf, and text with XMP or ImageMagick's
 * EXIF), with small limits on those, so that colour profiles and compressed text can neither fail nor exhaust anything.
 * Then it expands each pixel to RGB the way Pillow's convert("RGB") does: palettes looked up, alpha and transparency
 * dropped, no gamma, 16-bit colour by its high byte, but 16-bit grey clipped.
 *
 * libpng reports errors by a callback that must not return: it longjmps to decode_guarded, the only function with a
 * setjmp. All that changes after the setjmp lives in struct png_reader, whose owner, image_png_decode, destroys
 * libpng's state on every path. Once every row has been read, damage behind the pixels (a missing end chunk) no longer
 * fails the image, as in Pillow.
 */
#include "model/image_codec.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

#define CHANNELS         3
#define HEADER_BYTES     24       /* signature, IHDR's length and name, width, height */
#define TEXT_BYTES_MOST  4000000u /* of one chunk once decompressed; an XMP packet has some ten thousand */
#define TEXT_CHUNKS_MOST 64u

struct png_reader {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const struct image_source *source;
    size_t position;
    struct image_buffer *pixels;
    struct image_frame *frame;
    struct error *error;
    int passes; /* 7 for an interlaced picture, each filling in more pixels of the same rows; else 1 */
    bool pixels_complete;
};

/* ---- callbacks ---- */

static void on_error(png_structp png, png_const_charp text) {
    struct png_reader *reader = png_get_error_ptr(png);
    if (!reader->pixels_complete)
        error_set(reader->error, ERROR_INPUT, "PNG: %s", text);
    longjmp(reader->escape, 1);
}

/* What libpng warns about and goes on, Pillow accepts too. */
static void on_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep output, size_t size) {
    struct png_reader *reader = png_get_io_ptr(png);
    if (size > reader->source->size - reader->position)
        png_error(png, "the file is cut short");
    memcpy(output, reader->source->bytes + reader->position, size);
    reader->position += size;
}

/* 16-bit grey to RGB: Pillow clips at 255 where one would expect the high byte (seen in 13.0; older versions read such
 * files in other modes, with the same result). A user transform, because it then also works for interlaced files. */
static void clip_grey16(png_structp png, png_row_infop row, png_bytep data) {
    (void)png;
    for (size_t x = row->width; x-- > 0;) { /* from the right: three bytes replace two in place */
        uint8_t grey = data[2 * x] ? 255 : data[2 * x + 1];
        memset(data + CHANNELS * x, grey, CHANNELS);
    }
}

/* ---- orientation ---- */

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* ImageMagick writes EXIF as text: a line break, a name, a length, then hexadecimal digits. Decoded in place. */
static unsigned orientation_of_raw_profile(char *text) {
    for (int line = 0; line < 3; line++) {
        text = strchr(text, '\n');
        if (!text)
            return 0;
        text++;
    }
    uint8_t *bytes = (uint8_t *)text;
    size_t digits = 0;
    for (const char *at = text; *at; at++) {
        int value = hex_value(*at);
        if (value < 0)
            continue; /* line breaks */
        bytes[digits / 2] = (uint8_t)(digits % 2 ? bytes[digits / 2] | value : value << 4);
        digits++;
    }
    return image_orientation_of_exif(bytes, digits / 2);
}

/* libpng passes eXIf through as if it did not know it: it would drop one that starts with JPEG's "Exif". */
static bool orientation_of_exif_chunk(struct png_reader *reader, unsigned *orientation) {
    png_unknown_chunkp chunks = NULL;
    const int count = png_get_unknown_chunks(reader->png, reader->info, &chunks);
    bool seen = false;
    for (int i = 0; i < count; i++) {
        if (memcmp(chunks[i].name, "eXIf", 4) != 0)
            continue;
        *orientation = image_orientation_of_exif(chunks[i].data, chunks[i].size);
        seen = true;
    }
    return seen;
}

/* The eXIf chunk, or else ImageMagick's text; XMP only where that says nothing. */
static unsigned find_orientation(struct png_reader *reader) {
    unsigned orientation = 0;
    bool exif_seen = orientation_of_exif_chunk(reader, &orientation);
    png_textp texts = NULL;
    int count = 0;
    png_get_text(reader->png, reader->info, &texts, &count);
    for (int i = 0; i < count && !exif_seen && !orientation; i++)
        if (strcmp(texts[i].key, "Raw profile type exif") == 0 && texts[i].text)
            orientation = orientation_of_raw_profile(texts[i].text);
    for (int i = 0; i < count && !orientation; i++)
        if (strcmp(texts[i].key, "XML:com.adobe.xmp") == 0 && texts[i].text)
            orientation = image_orientation_of_xmp((const uint8_t *)texts[i].text, strlen(texts[i].text));
    return orientation;
}

/* ---- the walk ---- */

static uint32_t read32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static bool check_header(const struct image_source *source, struct error *error) {
    if (source->size < HEADER_BYTES)
        return error_set(error, ERROR_INPUT, "PNG: the file is cut short");
    if (memcmp(source->bytes + 12, "IHDR", 4) != 0)
        return error_set(error, ERROR_INPUT, "PNG: the first chunk is not IHDR");
    return image_check_size(source, "PNG", read32(source->bytes + 16), read32(source->bytes + 20), error);
}

static void bound_chunks(png_structp png) {
    static const uint8_t texts[] = "iTXt\0tEXt\0zTXt";
    static const uint8_t exif[] = "eXIf";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_AS_DEFAULT, texts, 3);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_ALWAYS, exif, 1);
    png_set_chunk_malloc_max(png, TEXT_BYTES_MOST);
    png_set_chunk_cache_max(png, TEXT_CHUNKS_MOST);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* check_header has bounded the size */
}

/* Chooses the steps that make 8-bit RGB of whatever the file holds. */
static void convert_to_rgb(struct png_reader *reader) {
    png_structp png = reader->png;
    const int type = png_get_color_type(png, reader->info);
    const int depth = png_get_bit_depth(png, reader->info);
    if (type == PNG_COLOR_TYPE_GRAY && depth == 16) {
        png_set_read_user_transform_fn(png, clip_grey16);
        png_set_user_transform_info(png, NULL, 8, CHANNELS);
        return;
    }
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY)
        png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16)
        png_set_strip_16(png);
    if (!(type & PNG_COLOR_MASK_COLOR))
        png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
}

static void read_rows(struct png_reader *reader, size_t stride) {
    for (int pass = 0; pass < reader->passes; pass++)
        for (size_t y = 0; y < reader->frame->height; y++)
            png_read_row(reader->png, reader->pixels->bytes + y * stride, NULL);
    reader->pixels_complete = true;
}

static bool read_picture(struct png_reader *reader) {
    png_structp png = reader->png;
    png_set_read_fn(png, reader, on_read);
    bound_chunks(png);
    png_read_info(png, reader->info);
    *reader->frame = (struct image_frame){.width = png_get_image_width(png, reader->info),
                                          .height = png_get_image_height(png, reader->info)};
    const size_t stride = reader->frame->width * CHANNELS;
    if (!image_buffer_reserve(reader->pixels, reader->frame->height * stride, reader->error))
        return false;
    convert_to_rgb(reader);
    reader->passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    if (png_get_rowbytes(png, reader->info) != stride)
        png_error(png, "unexpected pixel layout");
    read_rows(reader, stride);
    png_read_end(png, reader->info); /* text and eXIf may follow the pixels */
    return true;
}

/* On a longjmp the second return of setjmp decides; there is no variable of its own that could be lost with it. */
static bool decode_guarded(struct png_reader *reader) {
    if (setjmp(reader->escape))
        return reader->pixels_complete;
    reader->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning);
    reader->info = reader->png ? png_create_info_struct(reader->png) : NULL;
    if (!reader->info)
        return error_set(reader->error, ERROR_SYSTEM, "PNG: no memory");
    return read_picture(reader);
}

bool image_png_decode(const struct image_source *source, struct image_buffer *pixels, struct image_frame *frame,
                      struct error *error) {
    if (!check_header(source, error))
        return false;
    struct png_reader reader = {.source = source, .pixels = pixels, .frame = frame, .error = error};
    bool decoded = decode_guarded(&reader);
    if (decoded)
        frame->orientation = find_orientation(&reader);
    if (reader.png)
        png_destroy_read_struct(&reader.png, &reader.info, NULL);
    return decoded;
}
