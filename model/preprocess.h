/* From a decoded picture to what a vision transformer's first layer reads, as the model's preprocessor_config.json
 * says.
 *
 * The reference is the Pillow-backed image processor of Hugging Face transformers (ViTImageProcessorPil,
 * DeiTImageProcessorPil in 5.23): resize, centre crop, rescale, normalise. The first two give bytes, and only these
 * travel between machines; the last two are a function of one byte and its channel, so they are a table with the
 * reference's very fp32 bits.
 */
#ifndef MODEL_PREPROCESS_H
#define MODEL_PREPROCESS_H

#include "base/error.h"
#include "model/image.h"
#include "model/json.h"
#include "model/resize.h"

#define PREPROCESS_CHANNELS 3

/* What `size` means. */
enum preprocess_fit {
    PREPROCESS_EXACT,         /* to height x width, whatever that does to the aspect */
    PREPROCESS_SHORTEST,      /* the shorter edge to `shortest`, keeping the aspect */
    PREPROCESS_BETWEEN_EDGES, /* the same, but the longer edge at most `longest` */
};

struct preprocess_config {
    bool do_resize;
    enum preprocess_fit fit;
    size_t height, width; /* PREPROCESS_EXACT */
    size_t shortest, longest;
    enum resize_filter filter;
    bool do_center_crop;
    size_t crop_height, crop_width;
    bool do_rescale;
    double rescale_factor;
    bool do_normalize;
    double mean[PREPROCESS_CHANNELS], std[PREPROCESS_CHANNELS];
};

/* Whose defaults hold for what the file does not say, and for a file that does not name a processor. */
enum preprocess_family { PREPROCESS_VIT, PREPROCESS_DEIT };

/* The family's own processor, for a model directory without a file; a ViT's then resizes to height x width. */
void preprocess_default(struct preprocess_config *config, enum preprocess_family family, size_t height, size_t width);

/* Reads a parsed preprocessor_config.json, old form (ViTFeatureExtractor, size an integer) or new. `family` is that of
 * the model and counts only when the file does not name its processor. False when the file names another kind of
 * processor, or asks for something that the reference refuses or that this version does not do; the error names file
 * and member. */
bool preprocess_parse(struct preprocess_config *config, const struct json *root, enum preprocess_family family,
                      struct error *error);

/* table[c][v]: what the reference gives for byte v of channel c, rescaled and normalised, in its fp32 bits. */
void preprocess_table(const struct preprocess_config *config, float table[PREPROCESS_CHANNELS][256]);

/* A configuration (copied) with the scratch memory for running it, kept from picture to picture. One thread at a time
 * each. */
struct preprocessor;

struct preprocessor *preprocessor_new(const struct preprocess_config *config);
void preprocessor_destroy(struct preprocessor **preprocessor);

/* Resizes and crops an image to the model's height x width: height * width * 3 bytes to output, which must not overlap
 * the image. Where a crop reaches beyond the picture the bytes are 0, as in the reference, which pads before it
 * rescales. False when the configured steps give another size than height x width, which the reference's model would
 * then refuse. */
bool preprocess_run(struct preprocessor *preprocessor, const struct image *image, size_t height, size_t width,
                    uint8_t *output, struct error *error);

#endif
