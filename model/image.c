/* Decoding of images: which format, which codec, and turning the result upright; see image.h.
 *
 * The format is told from the first bytes alone; a name or a declared type would be the sender's word. The codec
 * (image_jpeg.c or image_png.c) checks the size in the header against the limit, decodes into the first buffer, and
 * reports the orientation that the file asks for; unless that is "as stored", the pixels are turned into the second
 * buffer. Failures leave both buffers usable for the next image. The decoder owns the buffers; the caller borrows the
 * pixels until its next call. No state is shared between decoders, so threads use one each.
 */
#include "model/image_codec.h"

#include "base/allocate.h"

#include <inttypes.h>
#include <string.h>

#define KEPT_MOST ((size_t)64 << 20) /* bytes that a decoder keeps when smaller images follow: 22 million pixels */
#define CHANNELS  3
#define EDGE_MOST 1000000 /* pixels: resizing keeps up to 24 bytes of weights for each pixel along an edge */

struct image_decoder {
    struct image_buffer stored;
    struct image_buffer upright;
};

/* How a file of some format begins; a file format box (HEIC, AVIF, WebP) says what it is a few bytes in. */
struct signature {
    const char *name;
    size_t offset;
    size_t size;
    const char *bytes;
    bool (*decode)(const struct image_source *source, struct image_buffer *pixels, struct image_frame *frame,
                   struct error *error); /* NULL: known, but not supported */
};

static const struct signature signatures[] = {
    {"JPEG", 0, 3, "\xff\xd8\xff", image_jpeg_decode},
    {"PNG", 0, 8, "\x89PNG\r\n\x1a\n", image_png_decode},
    {"WebP", 8, 4, "WEBP", NULL},
    {"GIF", 0, 4, "GIF8", NULL},
    {"BMP", 0, 2, "BM", NULL},
    {"TIFF", 0, 4, "II*\0", NULL},
    {"TIFF", 0, 4, "MM\0*", NULL},
    {"AVIF", 4, 8, "ftypavif", NULL},
    {"AVIF", 4, 8, "ftypavis", NULL},
    {"HEIC", 4, 7, "ftyphei", NULL},
    {"HEIC", 4, 7, "ftyphev", NULL},
    {"HEIF", 4, 8, "ftypmif1", NULL},
    {"HEIF", 4, 8, "ftypmsf1", NULL},
    {"JPEG XL", 0, 2, "\xff\x0a", NULL},
    {"JPEG XL", 4, 4, "JXL ", NULL},
    {"JPEG 2000", 4, 4, "jP  ", NULL},
};

static const struct signature *recognise(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++) {
        const struct signature *s = &signatures[i];
        if (s->offset + s->size <= size && memcmp(bytes + s->offset, s->bytes, s->size) == 0)
            return s;
    }
    return NULL;
}

static bool refuse_format(const struct signature *signature, size_t size, struct error *error) {
    if (size == 0)
        return error_set(error, ERROR_INPUT, "empty file, want a JPEG or PNG image");
    if (!signature)
        return error_set(error, ERROR_INPUT, "not an image, want JPEG or PNG");
    return error_set(error, ERROR_UNSUPPORTED, "%s images are not supported, want JPEG or PNG", signature->name);
}

bool image_check_size(const struct image_source *source, const char *format, uint64_t width, uint64_t height,
                      struct error *error) {
    if (width == 0 || height == 0)
        return error_set(error, ERROR_INPUT, "%s: the header says %" PRIu64 "x%" PRIu64 " pixels", format, width,
                         height);
    /* by division: the product of two sizes from a header may not fit */
    if (height > source->pixel_limit / width || width > SIZE_MAX / CHANNELS / height)
        return error_set(error, ERROR_INPUT, "%s: %" PRIu64 "x%" PRIu64 " pixels, want at most %" PRIu64 " in all",
                         format, width, height, source->pixel_limit);
    if (width > EDGE_MOST || height > EDGE_MOST)
        return error_set(error, ERROR_INPUT, "%s: %" PRIu64 "x%" PRIu64 " pixels, want edges of at most %d", format,
                         width, height, EDGE_MOST);
    return true;
}

bool image_buffer_reserve(struct image_buffer *buffer, size_t bytes, struct error *error) {
    bool small_again = buffer->capacity > KEPT_MOST && bytes <= KEPT_MOST;
    if (bytes <= buffer->capacity && !small_again)
        return true;
    release(buffer->bytes); /* first, so that the old and the new never exist together */
    buffer->capacity = 0;
    buffer->bytes = try_allocate(bytes, 1);
    if (!buffer->bytes)
        return error_set(error, ERROR_SYSTEM, "no memory for %zu bytes of pixels", bytes);
    buffer->capacity = bytes;
    return true;
}

struct image_decoder *image_decoder_new(void) {
    return allocate(1, sizeof(struct image_decoder));
}

void image_decoder_destroy(struct image_decoder **decoder) {
    if (!*decoder)
        return;
    release((*decoder)->stored.bytes);
    release((*decoder)->upright.bytes);
    release(*decoder);
    *decoder = NULL;
}

bool image_decode(struct image_decoder *decoder, const void *bytes, size_t size, const struct image_limits *limits,
                  struct image *image, struct error *error) {
    const struct signature *signature = recognise(bytes, size);
    if (!signature || !signature->decode)
        return refuse_format(signature, size, error);
    const struct image_source source = {.bytes = bytes, .size = size, .pixel_limit = limits->pixels};
    struct image_frame frame = {.orientation = 1};
    if (!signature->decode(&source, &decoder->stored, &frame, error))
        return false;
    const uint8_t *pixels = decoder->stored.bytes;
    if (frame.orientation >= 2 && frame.orientation <= 8) {
        if (!image_buffer_reserve(&decoder->upright, frame.width * frame.height * CHANNELS, error))
            return false;
        image_turn_upright(&frame, pixels, decoder->upright.bytes);
        pixels = decoder->upright.bytes;
    }
    *image = (struct image){.width = frame.width, .height = frame.height, .pixels = pixels};
    return true;
}
