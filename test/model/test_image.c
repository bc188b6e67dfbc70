/* Decoding: every golden picture gives Pillow's pixels (scripts/golden_images.py), and no bytes do harm.
 *
 * The cases without golden data are about hostile files: every cut, thousands of damaged bytes, sizes that lie, endless
 * scans, compressed text, and no memory. They prove most under the sanitizers. Run from the root of the tree.
 */
#include "model/image.h"

#include "base/allocate.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA "test/data/images/"

static const struct image_limits generous = {.pixels = IMAGE_PIXELS_DEFAULT};

struct file {
    uint8_t *bytes;
    size_t size;
};

static struct file read_file(const char *folder, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s%s", folder, name);
    FILE *stream = fopen(path, "rb");
    if (!stream)
        fail_msg("cannot open %s: tests run from the root of the tree", path);
    struct file file = {.bytes = allocate(1 << 20, 1)};
    file.size = fread(file.bytes, 1, 1 << 20, stream);
    fclose(stream);
    return file;
}

/* A copy that is exactly as long as its content, so that a read beyond it is noticed. */
static uint8_t *copy_exactly(const void *bytes, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

static void assert_refused(const void *bytes, size_t size, const struct image_limits *limits, enum error_code code,
                           const char *expected) {
    struct image_decoder *decoder = image_decoder_new();
    struct image image = {0};
    struct error error = {0};
    uint8_t *copy = copy_exactly(bytes, size);
    assert_false(image_decode(decoder, copy, size, limits, &image, &error));
    if (error.code != code || !strstr(error.text, expected))
        fail_msg("got code %d, \"%s\", want code %d, \"%s\"", error.code, error.text, code, expected);
    free(copy);
    image_decoder_destroy(&decoder);
}

/* ---- golden pictures ---- */

static int largest_difference(const struct image *a, const struct image *b) {
    int largest = 0;
    for (size_t i = 0; i < a->width * a->height * 3; i++) {
        int difference = abs(a->pixels[i] - b->pixels[i]);
        largest = difference > largest ? difference : largest;
    }
    return largest;
}

/* A JPEG decoder may differ from Pillow's by one level: the standard leaves it that much freedom. */
static void assert_nearly(const char *name, const struct image *image) {
    char expected_name[64];
    snprintf(expected_name, sizeof expected_name, "%.*s.png", (int)(strchr(name, '.') - name), name);
    struct file file = read_file(DATA "expected/", expected_name);
    struct image_decoder *decoder = image_decoder_new();
    struct image expected = {0};
    struct error error = {0};
    assert_true(image_decode(decoder, file.bytes, file.size, &generous, &expected, &error));
    assert_int_equal(expected.width, image->width);
    assert_int_equal(expected.height, image->height);
    int difference = largest_difference(image, &expected);
    if (difference > 1)
        fail_msg("%s: pixels differ by up to %d", name, difference);
    image_decoder_destroy(&decoder);
    release(file.bytes);
}

static void check_picture(struct image_decoder *decoder, const char *name, size_t width, size_t height,
                          const char *expected) {
    struct file file = read_file(DATA, name);
    struct image image = {0};
    struct error error = {0};
    if (!image_decode(decoder, file.bytes, file.size, &generous, &image, &error))
        fail_msg("%s: %s", name, error.text);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    char hex[HASH_HEX_BYTES];
    struct hash hash = hash_of(image.pixels, width * height * 3);
    hash_to_hex(&hash, hex);
    if (strcmp(hex, expected) != 0) {
        if (strstr(name, ".png"))
            fail_msg("%s: the pixels differ", name);
        assert_nearly(name, &image);
    }
    release(file.bytes);
}

static void test_golden_pictures(void **state) {
    (void)state;
    FILE *list = fopen(DATA "expected.txt", "r");
    assert_non_null(list);
    struct image_decoder *decoder = image_decoder_new();
    char name[64];
    char hash[HASH_HEX_BYTES];
    size_t width;
    size_t height;
    int pictures = 0;
    while (fscanf(list, "%63s %zu %zu %64s", name, &width, &height, hash) == 4) {
        check_picture(decoder, name, width, height, hash);
        pictures++;
    }
    assert_true(pictures > 60);
    image_decoder_destroy(&decoder);
    assert_null(decoder);
    image_decoder_destroy(&decoder);
    fclose(list);
}

/* ---- what is not an image ---- */

static void test_other_formats_are_named(void **state) {
    (void)state;
    assert_refused("", 0, &generous, ERROR_INPUT, "empty file");
    assert_refused("hello, world", 12, &generous, ERROR_INPUT, "not an image, want JPEG or PNG");
    assert_refused("\xff\xd8", 2, &generous, ERROR_INPUT, "not an image");
    assert_refused("\xff\xd8\xff", 3, &generous, ERROR_INPUT, "JPEG: ");
    assert_refused("\x89PNG\r\n\x1a\n", 8, &generous, ERROR_INPUT, "PNG: the file is cut short");
    assert_refused("GIF89a......", 12, &generous, ERROR_UNSUPPORTED, "GIF images are not supported");
    assert_refused("BM..........", 12, &generous, ERROR_UNSUPPORTED, "BMP images");
    assert_refused("RIFF....WEBPVP8 ", 16, &generous, ERROR_UNSUPPORTED, "WebP images");
    assert_refused("II*\0....", 8, &generous, ERROR_UNSUPPORTED, "TIFF images");
    assert_refused("MM\0*....", 8, &generous, ERROR_UNSUPPORTED, "TIFF images");
    assert_refused("\0\0\0\x18"
                   "ftypheic....",
                   16, &generous, ERROR_UNSUPPORTED, "HEIC images");
    assert_refused("\0\0\0\x18"
                   "ftypavif....",
                   16, &generous, ERROR_UNSUPPORTED, "AVIF images");
}

/* ---- sizes that lie ---- */

static void write16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* The start-of-frame marker: baseline or progressive. */
static uint8_t *find_frame(const struct file *file) {
    for (size_t i = 0; i + 9 < file->size; i++)
        if (file->bytes[i] == 0xff && (file->bytes[i + 1] == 0xc0 || file->bytes[i + 1] == 0xc2))
            return file->bytes + i;
    fail_msg("no frame");
    return NULL;
}

static void test_header_bombs_allocate_nothing(void **state) {
    (void)state;
    struct file png = read_file(DATA, "rgb_8.png");
    memcpy(png.bytes + 16, "\0\0\xea\x60\0\0\xea\x60", 8);
    struct file jpeg = read_file(DATA, "progressive.jpg");
    write16(find_frame(&jpeg) + 5, 65500);
    write16(find_frame(&jpeg) + 7, 65500);
    struct image_decoder *decoder = image_decoder_new();
    struct image image;
    struct error error = {0};
    uint64_t before = allocation_count();
    assert_false(image_decode(decoder, png.bytes, png.size, &generous, &image, &error));
    assert_string_equal(error.text, "PNG: 60000x60000 pixels, want at most 100000000 in all");
    assert_false(image_decode(decoder, jpeg.bytes, jpeg.size, &generous, &image, &error));
    assert_string_equal(error.text, "JPEG: 65500x65500 pixels, want at most 100000000 in all");
    assert_int_equal(allocation_count(), before);
    memset(png.bytes + 16, 0, 4);
    assert_refused(png.bytes, png.size, &generous, ERROR_INPUT, "the header says 0x60000 pixels");
    memset(png.bytes + 16, 0xff, 8);
    assert_refused(png.bytes, png.size, &generous, ERROR_INPUT, "4294967295x4294967295 pixels");
    const struct image_limits unlimited = {.pixels = UINT64_MAX};
    assert_refused(png.bytes, png.size, &unlimited, ERROR_INPUT, "4294967295x4294967295 pixels");
    image_decoder_destroy(&decoder);
    release(png.bytes);
    release(jpeg.bytes);
}

/* A huge image, or what says to be one, holds no memory for those after it. */
static void test_memory_of_a_huge_image_is_given_back(void **state) {
    (void)state;
    struct file jpeg = read_file(DATA, "ycc_444.jpg"), small = read_file(DATA, "rgb_8.png");
    write16(find_frame(&jpeg) + 5, 6000);
    write16(find_frame(&jpeg) + 7, 6000);
    struct image_decoder *decoder = image_decoder_new();
    struct image image;
    struct error error;
    (void)image_decode(decoder, jpeg.bytes, jpeg.size, &generous, &image, &error);
    assert_true(allocation_bytes() > 6000 * 6000 * 3);
    assert_true(image_decode(decoder, small.bytes, small.size, &generous, &image, &error));
    assert_true(allocation_bytes() < 64 << 20);
    image_decoder_destroy(&decoder);
    release(jpeg.bytes);
    release(small.bytes);
}

/* A line of 100 million pixels is within the limit, but the weights to resize it would take gigabytes. */
static void test_ribbons_are_refused(void **state) {
    (void)state;
    struct file png = read_file(DATA, "rgb_8.png");
    memcpy(png.bytes + 16, "\5\xf5\xe1\0\0\0\0\1", 8);
    assert_refused(png.bytes, png.size, &generous, ERROR_INPUT, "100000000x1 pixels, want edges of at most 1000000");
    memcpy(png.bytes + 16, "\0\0\0\1\0\xf\x42\x41", 8);
    assert_refused(png.bytes, png.size, &generous, ERROR_INPUT, "1x1000001 pixels, want edges of at most 1000000");
    release(png.bytes);
}

static void test_the_limit_is_exact(void **state) {
    (void)state;
    struct file file = read_file(DATA, "rgb_8.png"); /* 23 x 19 */
    struct image_decoder *decoder = image_decoder_new();
    struct image image;
    struct error error;
    const struct image_limits enough = {.pixels = 23 * 19};
    const struct image_limits short_by_one = {.pixels = 23 * 19 - 1};
    assert_true(image_decode(decoder, file.bytes, file.size, &enough, &image, &error));
    assert_false(image_decode(decoder, file.bytes, file.size, &short_by_one, &image, &error));
    image_decoder_destroy(&decoder);
    release(file.bytes);
}

static void test_other_precisions_and_layers(void **state) {
    (void)state;
    struct file file = read_file(DATA, "ycc_444.jpg");
    uint8_t *frame = find_frame(&file);
    frame[4] = 12;
    assert_refused(file.bytes, file.size, &generous, ERROR_INPUT, "JPEG: ");
    frame[4] = 8;
    frame[1] = 0xc3; /* lossless */
    assert_refused(file.bytes, file.size, &generous, ERROR_INPUT, "JPEG: ");
    release(file.bytes);
}

/* ---- files that cost more than they look ---- */

static size_t find_marker(const struct file *file, size_t from, uint8_t marker) {
    while (from + 1 < file->size && (file->bytes[from] != 0xff || file->bytes[from + 1] != marker))
        from++;
    assert_true(from + 1 < file->size);
    return from;
}

/* The first scan of a progressive file, with its Huffman tables, 600 times over. */
static void test_endless_scans(void **state) {
    (void)state;
    struct file file = read_file(DATA, "progressive.jpg");
    const size_t first = find_marker(&file, 0, 0xc4);
    const size_t end = find_marker(&file, find_marker(&file, first, 0xda), 0xc4);
    uint8_t *endless = allocate(file.size + 600 * (end - first), 1);
    size_t size = end;
    memcpy(endless, file.bytes, end);
    for (int i = 0; i < 600; i++, size += end - first)
        memcpy(endless + size, file.bytes + first, end - first);
    memcpy(endless + size, file.bytes + end, file.size - end);
    assert_refused(endless, size + file.size - end, &generous, ERROR_INPUT, "JPEG: more than 500 scans");
    release(endless);
    release(file.bytes);
}

static void test_compressed_text_is_left_out(void **state) {
    (void)state;
    struct file file = read_file(DATA, "text_bomb.png");
    struct image_decoder *decoder = image_decoder_new();
    struct image image;
    struct error error;
    assert_true(image_decode(decoder, file.bytes, file.size, &generous, &image, &error));
    assert_int_equal(image.width, 5);
    image_decoder_destroy(&decoder);
    release(file.bytes);
}

/* ---- damage ---- */

/* How many of all cuts of a file decode nevertheless. */
static size_t decode_cuts(const char *name) {
    struct file file = read_file(DATA, name);
    struct image_decoder *decoder = image_decoder_new();
    size_t decoded = 0;
    for (size_t size = 0; size < file.size; size++) {
        struct image image;
        struct error error = {0};
        uint8_t *copy = copy_exactly(file.bytes, size);
        if (image_decode(decoder, copy, size, &generous, &image, &error))
            decoded++;
        else
            assert_true(error.code != ERROR_NONE && error.text[0]);
        free(copy);
    }
    image_decoder_destroy(&decoder);
    release(file.bytes);
    return decoded;
}

static void test_every_cut(void **state) {
    (void)state;
    assert_int_equal(decode_cuts("exif_6.jpg"), 0);
    assert_int_equal(decode_cuts("progressive.jpg"), 0);
    assert_int_equal(decode_cuts("cmyk.jpg"), 0);
    /* a PNG without its end chunk (12 bytes) has all its pixels, and Pillow too accepts it */
    assert_int_equal(decode_cuts("exif_6.png"), 12);
    assert_int_equal(decode_cuts("palette_4_interlaced.png"), 12);
    assert_int_equal(decode_cuts("raw_profile_6.png"), 12);
}

/* A sum over the pixels, so that a sanitizer sees them all read. */
static unsigned touch(const struct image *image) {
    unsigned sum = 0;
    for (size_t i = 0; i < image->width * image->height * 3; i++)
        sum += image->pixels[i];
    return sum;
}

static void flip_bytes(const char *name, int rounds, size_t range) {
    const struct image_limits limits = {.pixels = 1 << 18};
    struct file file = read_file(DATA, name);
    struct image_decoder *decoder = image_decoder_new();
    uint32_t random = 12345;
    range = range && range < file.size ? range : file.size;
    for (int round = 0; round < rounds; round++) {
        uint8_t *copy = copy_exactly(file.bytes, file.size);
        for (int flips = 1 + round % 4; flips > 0; flips--) {
            random = random * 1664525u + 1013904223u;
            copy[(random >> 8) % range] = (uint8_t)(random >> 3);
        }
        struct image image;
        struct error error = {0};
        if (image_decode(decoder, copy, file.size, &limits, &image, &error))
            (void)touch(&image);
        free(copy);
    }
    image_decoder_destroy(&decoder);
    release(file.bytes);
}

static void test_damaged_bytes(void **state) {
    (void)state;
    static const char *const names[] = {
        "ycc_420.jpg", "progressive.jpg",        "cmyk.jpg",
        "exif_5.jpg",  "optimized_restarts.jpg", "grey_16_interlaced.png",
        "rgba_8.png",  "palette_2.png",          "exif_7.png",
        "xmp_8.png",   "raw_profile_6.png",      "grey_1_interlaced.png",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        flip_bytes(names[i], 500, 0);
    flip_bytes("exif_6.jpg", 3000, 120); /* mostly EXIF */
    flip_bytes("xmp_6.jpg", 1000, 100);
}

/* ---- memory ---- */

static void test_no_memory(void **state) {
    (void)state;
    static const char *const names[] = {"exif_6.jpg", "exif_6.png"};
    for (size_t i = 0; i < 2; i++) {
        struct file file = read_file(DATA, names[i]);
        struct image_decoder *decoder = image_decoder_new();
        struct image image;
        for (uint64_t nth = 1; nth <= 2; nth++) { /* as stored, upright */
            struct error error = {0};
            allocate_fail_nth(nth);
            bool decoded = image_decode(decoder, file.bytes, file.size, &generous, &image, &error);
            allocate_fail_nth(0);
            assert_false(decoded);
            assert_int_equal(error.code, ERROR_SYSTEM);
            image_decoder_destroy(&decoder);
            decoder = image_decoder_new();
        }
        struct error error = {0};
        assert_true(image_decode(decoder, file.bytes, file.size, &generous, &image, &error));
        image_decoder_destroy(&decoder);
        release(file.bytes);
    }
}

static void test_nothing_is_allocated_after_the_largest(void **state) {
    (void)state;
    struct file large = read_file(DATA, "large.jpg");
    struct file small = read_file(DATA, "exif_6.jpg");
    struct file cmyk = read_file(DATA, "cmyk.jpg");
    struct image_decoder *decoder = image_decoder_new();
    struct image image;
    struct error error;
    assert_true(image_decode(decoder, large.bytes, large.size, &generous, &image, &error));
    assert_true(image_decode(decoder, small.bytes, small.size, &generous, &image, &error));
    uint64_t before = allocation_count();
    for (int i = 0; i < 3; i++) {
        assert_true(image_decode(decoder, small.bytes, small.size, &generous, &image, &error));
        assert_true(image_decode(decoder, cmyk.bytes, cmyk.size, &generous, &image, &error));
        assert_true(image_decode(decoder, large.bytes, large.size, &generous, &image, &error));
    }
    assert_int_equal(allocation_count(), before);
    image_decoder_destroy(&decoder);
    release(large.bytes);
    release(small.bytes);
    release(cmyk.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_pictures),
        cmocka_unit_test(test_other_formats_are_named),
        cmocka_unit_test(test_header_bombs_allocate_nothing),
        cmocka_unit_test(test_memory_of_a_huge_image_is_given_back),
        cmocka_unit_test(test_ribbons_are_refused),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_other_precisions_and_layers),
        cmocka_unit_test(test_endless_scans),
        cmocka_unit_test(test_compressed_text_is_left_out),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_damaged_bytes),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_nothing_is_allocated_after_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
