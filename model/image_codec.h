/* What image.c and its codecs (image_jpeg.c, image_png.c, image_orientation.c) share; nobody else includes this. */
#ifndef MODEL_IMAGE_CODEC_H
#define MODEL_IMAGE_CODEC_H

#include "model/image.h"

/* Memory that is kept from image to image and only grows. */
struct image_buffer {
    uint8_t *bytes;
    size_t capacity;
};

/* One file on its way in. */
struct image_source {
    const uint8_t *bytes;
    size_t size;
    uint64_t pixel_limit;
};

/* What a codec found: as stored, not yet upright. */
struct image_frame {
    size_t width;
    size_t height;
    unsigned orientation; /* 1 to 8 as in EXIF; anything else means 1 */
};

/* Makes room for `bytes`; what was there is lost. */
bool image_buffer_reserve(struct image_buffer *buffer, size_t bytes, struct error *error);

/* Refuses a size that is zero, beyond the limit of the source, or of a length that no picture has. format ("PNG")
 * starts the error. */
bool image_check_size(const struct image_source *source, const char *format, uint64_t width, uint64_t height,
                      struct error *error);

/* Decode a file whose first bytes are those of the format: RGB pixels into *pixels, their shape into *frame. */
bool image_jpeg_decode(const struct image_source *source, struct image_buffer *pixels, struct image_frame *frame,
                       struct error *error);
bool image_png_decode(const struct image_source *source, struct image_buffer *pixels, struct image_frame *frame,
                      struct error *error);

/* The orientation in an EXIF block (a TIFF header and directory, perhaps after "Exif\0\0"), or 0 when there is none. A
 * malformed block is no fault of the picture: 0. */
unsigned image_orientation_of_exif(const uint8_t *bytes, size_t size);

/* The orientation in an XMP packet, or 0. */
unsigned image_orientation_of_xmp(const uint8_t *bytes, size_t size);

/* Writes the pixels of a frame upright to output, of the same number of bytes, and changes the frame to say so. */
void image_turn_upright(struct image_frame *frame, const uint8_t *pixels, uint8_t *output);

#endif
