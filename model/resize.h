/* Resizing of 8-bit RGB pictures, bit for bit as Pillow's Image.resize does it. */
#ifndef MODEL_RESIZE_H
#define MODEL_RESIZE_H

#include "base/error.h"
#include "model/image.h"

/* The numbers of Pillow's Image.Resampling, which configuration files use. */
enum resize_filter {
    RESIZE_NEAREST = 0,
    RESIZE_LANCZOS = 1,
    RESIZE_BILINEAR = 2,
    RESIZE_BICUBIC = 3,
    RESIZE_BOX = 4,
    RESIZE_HAMMING = 5,
};

#define RESIZE_FILTERS 6

/* Scratch memory, kept from picture to picture, so that after the largest one nothing is allocated. One thread at a
 * time each. */
struct resizer;

struct resizer *resizer_new(void);
void resizer_destroy(struct resizer **resizer);

/* Writes the whole input, scaled to width x height (at least 1 each), to output: height * width * 3 bytes that must not
 * overlap the input. Downscaling averages over all the pixels it covers (antialiasing). Fails only when no memory is
 * left for scratch: the picture between the two passes, and the weights, some 16 bytes for each column and row. */
bool resize(struct resizer *resizer, const struct image *input, enum resize_filter filter, size_t width, size_t height,
            uint8_t *output, struct error *error);

#endif
