/* An image file's bytes to cut 0 of one item: decode, then what preprocessor_config.json says. The decoder and the
 * preprocessor keep their scratch memory from image to image; a preparer joins the two for one thread and owns both. A
 * bad image is an error of that image alone, and the preparer stays usable. */
#include "base/allocate.h"
#include "model/family.h"
#include "model/image.h"

struct preparer {
    const struct model_config *config;
    struct image_decoder *decoder;
    struct preprocessor *preprocessor;
};

struct preparer *preparer_new(const struct model_config *config) {
    struct preparer *preparer = allocate(1, sizeof *preparer);
    preparer->config = config;
    preparer->decoder = image_decoder_new();
    preparer->preprocessor = preprocessor_new(&config->preprocess);
    return preparer;
}

void preparer_destroy(struct preparer **preparer) {
    if (!*preparer)
        return;
    image_decoder_destroy(&(*preparer)->decoder);
    preprocessor_destroy(&(*preparer)->preprocessor);
    release(*preparer);
    *preparer = NULL;
}

bool prepare_image(struct preparer *preparer, const void *file, size_t bytes, uint8_t *out, struct error *error) {
    const struct image_limits limits = {.pixels = IMAGE_PIXELS_DEFAULT};
    const struct model_config *config = preparer->config;
    struct image image;
    return image_decode(preparer->decoder, file, bytes, &limits, &image, error) &&
           preprocess_run(preparer->preprocessor, &image, config->image_height, config->image_width, out, error);
}
