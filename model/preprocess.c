/* Preparing pictures as transformers' image processors do; see preprocess.h.
 *
 * Three parts that know little of each other: reading preprocessor_config.json over the defaults of its processor, the
 * table of fp32 values, and the run over pixels. A run works out the size after resizing, checks that the size after
 * cropping is what the model wants before it spends anything, and then resizes straight into the output, or into
 * scratch of which the crop is copied. Failures: a configuration that does not fit the model, or no memory for the
 * scratch, which the preprocessor owns. Every rounding below is Python's, found in image_transforms.py and
 * image_processing_utils.py of transformers 5.23.
 */
#include "model/preprocess.h"

#include "base/allocate.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define CHANNELS    PREPROCESS_CHANNELS
#define LARGEST     65536                /* of any edge that a configuration names */
#define PIXELS_MOST (100u * 1000 * 1000) /* after resizing: keeping the aspect of a ribbon can ask for anything */

struct preprocessor {
    struct preprocess_config config;
    struct resizer *resizer;
    uint8_t *resized;
    size_t resized_capacity;
};

/* ---- defaults ---- */

void preprocess_default(struct preprocess_config *config, enum preprocess_family family, size_t height, size_t width) {
    *config = (struct preprocess_config){
        .do_resize = true,
        .fit = PREPROCESS_EXACT,
        .height = height,
        .width = width,
        .filter = RESIZE_BILINEAR,
        .do_rescale = true,
        .rescale_factor = 1.0 / 255.0,
        .do_normalize = true,
        .mean = {0.5, 0.5, 0.5}, /* "IMAGENET_STANDARD" */
        .std = {0.5, 0.5, 0.5},
    };
    if (family == PREPROCESS_VIT)
        return;
    config->filter = RESIZE_BICUBIC;
    config->height = config->width = 256;
    config->do_center_crop = true;
    config->crop_height = config->crop_width = 224;
}

/* ---- reading preprocessor_config.json ---- */

struct processor {
    const char *name;
    enum preprocess_family family;
};

/* The Fast processors compute by torchvision; their configuration means the same, and the reference is the Pillow one.
 */
static const struct processor processors[] = {
    {"ViTImageProcessor", PREPROCESS_VIT},      {"ViTImageProcessorFast", PREPROCESS_VIT},
    {"ViTImageProcessorPil", PREPROCESS_VIT},   {"ViTFeatureExtractor", PREPROCESS_VIT},
    {"DeiTImageProcessor", PREPROCESS_DEIT},    {"DeiTImageProcessorFast", PREPROCESS_DEIT},
    {"DeiTImageProcessorPil", PREPROCESS_DEIT}, {"DeiTFeatureExtractor", PREPROCESS_DEIT},
};

/* Old files name a feature extractor under its own key, the oldest name nothing. */
static bool read_family(const struct json *root, enum preprocess_family *family, struct error *error) {
    const struct json *type = json_find(root, "image_processor_type");
    if (!type)
        type = json_find(root, "feature_extractor_type");
    if (!type)
        return json_as_object(root, error);
    const char *name = NULL;
    if (!json_as_string(type, &name, error))
        return false;
    for (size_t i = 0; i < sizeof processors / sizeof *processors; i++) {
        if (strcmp(name, processors[i].name) == 0) {
            *family = processors[i].family;
            return true;
        }
    }
    json_refuse(type, error, "the image processor of a ViT or DeiT");
    if (error)
        error->code = ERROR_UNSUPPORTED;
    return false;
}

/* A member that is null overrides the default by nothing in the reference (5.23): a step is then off. */
static bool read_step(const struct json *root, const char *key, bool *step, struct error *error) {
    const struct json *member = json_member(root, key);
    if (!member || json_kind(member) != JSON_KIND_NULL)
        return json_optional_boolean(root, key, step, error);
    *step = false;
    return true;
}

/* And a step that is on may not have its values taken away. */
static bool check_given(const struct json *root, const char *key, bool step, struct error *error) {
    const struct json *member = json_member(root, key);
    if (!step || !member || json_kind(member) != JSON_KIND_NULL)
        return true;
    return json_refuse(member, error, "a value, because the step that reads it is on");
}

static bool read_edge(const struct json *value, size_t *edge, struct error *error) {
    int64_t number = 0;
    if (!json_as_integer(value, 1, LARGEST, &number, error))
        return false;
    *edge = (size_t)number;
    return true;
}

/* A height and a width as the two members of an object, the two items of an array, or one number for both. */
static bool read_height_width(const struct json *value, size_t *height, size_t *width, struct error *error) {
    if (json_kind(value) == JSON_KIND_NUMBER)
        return read_edge(value, height, error) && read_edge(value, width, error);
    if (json_kind(value) == JSON_KIND_ARRAY && json_count(value) == 2)
        return read_edge(json_at(value, 0), height, error) && read_edge(json_at(value, 1), width, error);
    const struct json *high = json_find(value, "height");
    const struct json *wide = json_find(value, "width");
    if (!high || !wide || json_count(value) != 2)
        return json_refuse(value, error, "a number, or height and width alone");
    return read_edge(high, height, error) && read_edge(wide, width, error);
}

/* `size` has a form of its own with the shortest edge. As the reference, an integer is a square for these processors
 * unless default_to_square says otherwise, and any other set of members is refused. */
static bool read_size(struct preprocess_config *config, const struct json *root, struct error *error) {
    bool square = true;
    const struct json *size = json_find(root, "size");
    if (!read_step(root, "default_to_square", &square, error) || !check_given(root, "size", config->do_resize, error))
        return false;
    if (!size)
        return true;
    const struct json *shortest = json_find(size, "shortest_edge");
    const struct json *longest = json_find(size, "longest_edge");
    if (json_kind(size) == JSON_KIND_NUMBER && !square) {
        config->fit = PREPROCESS_SHORTEST;
        return read_edge(size, &config->shortest, error);
    }
    if (!shortest) {
        config->fit = PREPROCESS_EXACT;
        return read_height_width(size, &config->height, &config->width, error);
    }
    if (json_count(size) != (longest ? 2u : 1u))
        return json_refuse(size, error, "shortest_edge, alone or with longest_edge");
    config->fit = longest ? PREPROCESS_BETWEEN_EDGES : PREPROCESS_SHORTEST;
    return read_edge(shortest, &config->shortest, error) && (!longest || read_edge(longest, &config->longest, error));
}

static bool read_filter(struct preprocess_config *config, const struct json *root, struct error *error) {
    int64_t filter = config->filter;
    if (!check_given(root, "resample", config->do_resize, error) ||
        !json_optional_integer(root, "resample", 0, RESIZE_FILTERS - 1, &filter, error))
        return false;
    config->filter = (enum resize_filter)filter;
    return true;
}

/* Padding a batch to one size is for detectors; a classifier's file never asks for it. */
static bool refuse_padding(const struct json *root, struct error *error) {
    bool padding = false;
    if (!json_optional_boolean(root, "do_pad", &padding, error))
        return false;
    return !padding || json_refuse(json_find(root, "do_pad"), error, "false: padding is not supported");
}

static bool read_crop(struct preprocess_config *config, const struct json *root, struct error *error) {
    const struct json *crop = json_find(root, "crop_size");
    if (!read_step(root, "do_center_crop", &config->do_center_crop, error) ||
        !check_given(root, "crop_size", config->do_center_crop, error))
        return false;
    if (crop && !read_height_width(crop, &config->crop_height, &config->crop_width, error))
        return false;
    if (config->do_center_crop && config->crop_height == 0)
        return json_refuse(json_find(root, "do_center_crop"), error, "false, or a crop_size beside it");
    return true;
}

/* One number for each channel, or one for all. */
static bool read_channels(const struct json *root, const char *key, double least, double values[CHANNELS],
                          struct error *error) {
    const struct json *value = json_find(root, key);
    if (!value)
        return true;
    const bool each = json_kind(value) == JSON_KIND_ARRAY;
    if (each && json_count(value) != CHANNELS)
        return json_refuse(value, error, "%d numbers", CHANNELS);
    for (size_t c = 0; c < CHANNELS; c++)
        if (!json_as_number(each ? json_at(value, c) : value, least, 1e6, &values[c], error))
            return false;
    return true;
}

/* A standard deviation of 0 would give infinities, which the reference passes on to the model. */
static bool read_arithmetic(struct preprocess_config *config, const struct json *root, struct error *error) {
    return read_step(root, "do_rescale", &config->do_rescale, error) &&
           check_given(root, "rescale_factor", config->do_rescale, error) &&
           json_optional_number(root, "rescale_factor", -1e6, 1e6, &config->rescale_factor, error) &&
           read_step(root, "do_normalize", &config->do_normalize, error) &&
           check_given(root, "image_mean", config->do_normalize, error) &&
           check_given(root, "image_std", config->do_normalize, error) &&
           read_channels(root, "image_mean", -1e6, config->mean, error) &&
           read_channels(root, "image_std", 1e-6, config->std, error);
}

bool preprocess_parse(struct preprocess_config *config, const struct json *root, enum preprocess_family family,
                      struct error *error) {
    bool convert_rgb = true; /* read for its type alone: every picture here is RGB already */
    struct preprocess_config read;
    if (!read_family(root, &family, error))
        return false;
    preprocess_default(&read, family, 224, 224);
    if (!read_step(root, "do_resize", &read.do_resize, error) || !read_size(&read, root, error) ||
        !read_filter(&read, root, error) || !read_crop(&read, root, error) || !read_arithmetic(&read, root, error) ||
        !refuse_padding(root, error) || !json_optional_boolean(root, "do_convert_rgb", &convert_rgb, error))
        return false;
    *config = read;
    return true;
}

/* ---- the table ---- */

/* The reference multiplies in double and rounds once to float; mean and standard deviation are rounded to float before
 * they are used, and the subtraction and the division round to float each. */
void preprocess_table(const struct preprocess_config *config, float table[PREPROCESS_CHANNELS][256]) {
    for (int c = 0; c < CHANNELS; c++) {
        const float mean = (float)config->mean[c];
        const float std = (float)config->std[c];
        for (int v = 0; v < 256; v++) {
            float value = config->do_rescale ? (float)((double)v * config->rescale_factor) : (float)v;
            if (config->do_normalize) {
                const float centred = value - mean;
                value = centred / std;
            }
            table[c][v] = value;
        }
    }
}

/* ---- the run ---- */

struct shape {
    size_t height;
    size_t width;
};

/* Python's int(a * b / c) for positive numbers */
static size_t scaled(double a, double b, double c) {
    return (size_t)(a * b / c);
}

/* get_resize_output_image_size: the longer edge follows the shorter one */
static struct shape fit_shortest(size_t height, size_t width, size_t shortest) {
    if (width <= height)
        return (struct shape){scaled((double)shortest, (double)height, (double)width), shortest};
    return (struct shape){shortest, scaled((double)shortest, (double)width, (double)height)};
}

/* get_size_with_aspect_ratio: the shorter edge to size, but less where the longer one would exceed its bound */
static struct shape fit_between(size_t height, size_t width, size_t shortest, size_t longest) {
    const double least = (double)(height < width ? height : width);
    const double most = (double)(height < width ? width : height);
    double size = (double)shortest;
    double exact = size; /* size before it is rounded to whole pixels, half to even */
    if (most / least * size > (double)longest) {
        exact = (double)longest * least / most;
        size = nearbyint(exact);
    }
    if ((double)(height < width ? height : width) == size)
        return (struct shape){height, width};
    if (width < height)
        return (struct shape){scaled(exact, (double)height, (double)width), (size_t)size};
    return (struct shape){(size_t)size, scaled(exact, (double)width, (double)height)};
}

static struct shape shape_resized(const struct preprocess_config *config, const struct image *image) {
    if (!config->do_resize)
        return (struct shape){image->height, image->width};
    switch (config->fit) {
    case PREPROCESS_SHORTEST:
        return fit_shortest(image->height, image->width, config->shortest);
    case PREPROCESS_BETWEEN_EDGES:
        return fit_between(image->height, image->width, config->shortest, config->longest);
    case PREPROCESS_EXACT:
        break;
    }
    return (struct shape){config->height, config->width};
}

/* Copies the part of row `from` (NULL: all beyond the picture) that a crop of `width` shows; the rest is 0. */
static void crop_row(const uint8_t *from, size_t from_width, size_t width, uint8_t *output) {
    const size_t skip = from_width > width ? (from_width - width) / 2 : 0;
    const size_t pad = width > from_width ? (width - from_width + 1) / 2 : 0;
    const size_t shown = from_width < width ? from_width : width;
    memset(output, 0, width * CHANNELS);
    if (from)
        memcpy(output + pad * CHANNELS, from + skip * CHANNELS, shown * CHANNELS);
}

/* center_crop: where an odd pixel is left over, a crop loses it at the end and a margin gains it at the start. */
static void crop_centre(const struct image *image, struct shape crop, uint8_t *output) {
    const size_t skip = image->height > crop.height ? (image->height - crop.height) / 2 : 0;
    const size_t pad = crop.height > image->height ? (crop.height - image->height + 1) / 2 : 0;
    for (size_t y = 0; y < crop.height; y++) {
        const bool inside = y >= pad && y - pad < image->height;
        const uint8_t *row = inside ? image->pixels + (y - pad + skip) * image->width * CHANNELS : NULL;
        crop_row(row, image->width, crop.width, output + y * crop.width * CHANNELS);
    }
}

/* Resizes into scratch, to be cropped from there. */
static bool resize_to_scratch(struct preprocessor *preprocessor, const struct image *image, struct shape shape,
                              struct image *resized, struct error *error) {
    const size_t bytes = shape.height * shape.width * CHANNELS;
    if (bytes > preprocessor->resized_capacity) {
        release(preprocessor->resized);
        preprocessor->resized_capacity = 0;
        preprocessor->resized = try_allocate(bytes, 1);
        if (!preprocessor->resized)
            return error_set(error, ERROR_SYSTEM, "preprocess: no memory for %zu bytes", bytes);
        preprocessor->resized_capacity = bytes;
    }
    *resized = (struct image){.width = shape.width, .height = shape.height, .pixels = preprocessor->resized};
    return resize(preprocessor->resizer, image, preprocessor->config.filter, shape.width, shape.height,
                  preprocessor->resized, error);
}

struct preprocessor *preprocessor_new(const struct preprocess_config *config) {
    struct preprocessor *preprocessor = allocate(1, sizeof *preprocessor);
    preprocessor->config = *config;
    preprocessor->resizer = resizer_new();
    return preprocessor;
}

void preprocessor_destroy(struct preprocessor **preprocessor) {
    if (!*preprocessor)
        return;
    resizer_destroy(&(*preprocessor)->resizer);
    release((*preprocessor)->resized);
    release(*preprocessor);
    *preprocessor = NULL;
}

/* The sizes along the way, or why they do not lead to the model. */
static bool check_shapes(const struct preprocess_config *config, struct shape resized, struct shape wanted,
                         struct error *error) {
    if (resized.height == 0 || resized.width == 0 || resized.height > PIXELS_MOST / resized.width)
        return error_set(error, ERROR_INPUT, "preprocess: resizing would give %zux%zu pixels", resized.width,
                         resized.height);
    struct shape last = resized;
    if (config->do_center_crop)
        last = (struct shape){config->crop_height, config->crop_width};
    if (last.height != wanted.height || last.width != wanted.width)
        return error_set(
            error, ERROR_INPUT,
            "preprocess: preprocessor_config.json gives %zux%zu pixels for this image, the model wants %zux%zu",
            last.width, last.height, wanted.width, wanted.height);
    return true;
}

bool preprocess_run(struct preprocessor *preprocessor, const struct image *image, size_t height, size_t width,
                    uint8_t *output, struct error *error) {
    const struct preprocess_config *config = &preprocessor->config;
    assert(image->height > 0 && image->width > 0);
    const struct shape wanted = {height, width};
    const struct shape shape = shape_resized(config, image);
    if (!check_shapes(config, shape, wanted, error))
        return false;
    if (!config->do_center_crop) /* the same size, when nothing is to be resized, is a copy */
        return resize(preprocessor->resizer, image, config->filter, width, height, output, error);
    struct image resized = *image;
    if (config->do_resize && !resize_to_scratch(preprocessor, image, shape, &resized, error))
        return false;
    crop_centre(&resized, wanted, output);
    return true;
}
