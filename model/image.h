/* Photographs from outside: the bytes of a JPEG or PNG file to 8-bit RGB pixels.
 *
 * The pixels are those of the reference, Pillow: ImageOps.exif_transpose(Image.open(file)).convert("RGB"). That means
 * upright by the EXIF (or XMP) orientation, alpha dropped rather than blended, no gamma or colour profile applied, the
 * accurate JPEG transform with smooth chroma. From a PNG every pixel is equal; from a JPEG too where both sit on a
 * libjpeg-turbo.
 */
#ifndef MODEL_IMAGE_H
#define MODEL_IMAGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Rows from the top, pixels from the left, red green blue: height * width * 3 bytes without gaps. Borrowed. */
struct image {
    size_t width;
    size_t height;
    const uint8_t *pixels;
};

/* What an image may cost. Decoding needs up to 6 bytes a pixel here, and 8 more inside libjpeg for a progressive JPEG.
 */
struct image_limits {
    uint64_t pixels; /* width * height, checked against the header before any pixel is allocated */
};

#define IMAGE_PIXELS_DEFAULT UINT64_C(100000000)

/* Scratch memory for decoding, kept from image to image, so that after the largest image nothing is allocated here any
 * more (libjpeg, libpng and zlib allocate and free by themselves); what an image of more than 22 million pixels took is
 * given back with the next smaller one. One thread at a time per decoder. */
struct image_decoder;

struct image_decoder *image_decoder_new(void);
void image_decoder_destroy(struct image_decoder **decoder);

/* Decodes a whole file of `size` bytes into *image, whose pixels are valid until the next call with this decoder. Any
 * bytes are safe to pass. False when they are empty, cut short, damaged, of another format, or larger than the limits;
 * the error names the format and the fault but not the file, which the caller knows. */
bool image_decode(struct image_decoder *decoder, const void *bytes, size_t size, const struct image_limits *limits,
                  struct image *image, struct error *error);

#endif
