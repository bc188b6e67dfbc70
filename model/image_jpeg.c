/* JPEG through libjpeg(-turbo), of which this is the only user; see image_codec.h.
 *
 * read_header, then the size is checked, then every row is decoded to RGB with libjpeg's defaults, which are also
 * Pillow's: accurate integer DCT, smooth ("fancy") upsampling. Grey, YCbCr and RGB are converted by libjpeg; CMYK and
 * YCCK come out as CMYK and are converted here.
 *
 * libjpeg reports errors by a callback that must not return: it longjmps to decode_guarded, the only function with a
 * setjmp. All that changes after the setjmp lives in struct jpeg_reader, whose owner, image_jpeg_decode, destroys
 * libjpeg's state on every path. Warnings that mean lost image data (a file cut short, a damaged code) are errors too:
 * an answer about a picture that is half grey would be wrong in silence. Harmless ones (stray bytes between markers, an
 * odd version number) pass. Pillow is milder with damaged data and equally strict with files cut short.
 */
#include "model/image_codec.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs FILE */
#include <string.h>

#include <jpeglib.h>

#include <jerror.h> /* after jpeglib.h, whose configuration says which messages there are */

#define CHANNELS 3

/* Real progressive files have about ten scans, and at most some 200 make sense. Each costs a pass over the whole
 * picture however few bytes it has, so a small file with thousands of them would hold a thread for hours. */
#define MOST_SCANS 500

struct jpeg_reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr messages;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    const struct image_source *source;
    struct image_buffer *pixels;
    struct image_frame *frame;
    struct error *error;
};

/* ---- callbacks ---- */

static void on_error(j_common_ptr jpeg) {
    struct jpeg_reader *reader = jpeg->client_data;
    char text[JMSG_LENGTH_MAX];
    jpeg->err->format_message(jpeg, text);
    error_set(reader->error, ERROR_INPUT, "JPEG: %s", text);
    longjmp(reader->escape, 1);
}

static void on_message(j_common_ptr jpeg, int level) {
    if (level >= 0)
        return; /* a trace, not a warning */
    switch (jpeg->err->msg_code) {
    case JWRN_ARITH_BAD_CODE:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
        on_error(jpeg);
    }
}

/* libjpeg's own writes to stderr. */
static void on_output(j_common_ptr jpeg) {
    (void)jpeg;
}

static void on_progress(j_common_ptr common) {
    struct jpeg_reader *reader = common->client_data;
    if (reader->jpeg.input_scan_number <= MOST_SCANS)
        return;
    error_set(reader->error, ERROR_INPUT, "JPEG: more than %d scans", MOST_SCANS);
    longjmp(reader->escape, 1);
}

/* ---- orientation ---- */

static bool starts_with(jpeg_saved_marker_ptr marker, const char *prefix, size_t size) {
    return marker->data_length >= size && memcmp(marker->data, prefix, size) == 0;
}

/* EXIF first; XMP only where that says nothing. Pillow reads the first EXIF and the last XMP of several. */
static unsigned find_orientation(jpeg_saved_marker_ptr markers) {
    static const char exif[] = "Exif\0"; /* the literal's own end is the second zero */
    static const char xmp[] = "http://ns.adobe.com/xap/1.0/";
    unsigned by_xmp = 0;
    bool exif_seen = false;
    for (jpeg_saved_marker_ptr marker = markers; marker; marker = marker->next) {
        if (!exif_seen && starts_with(marker, exif, sizeof exif)) {
            exif_seen = true;
            unsigned by_exif = image_orientation_of_exif(marker->data, marker->data_length);
            if (by_exif)
                return by_exif;
        } else if (starts_with(marker, xmp, sizeof xmp)) {
            by_xmp = image_orientation_of_xmp(marker->data, marker->data_length);
        }
    }
    return by_xmp;
}

/* ---- pixels ---- */

/* a * b / 255, rounded; exact for bytes */
static unsigned multiply255(unsigned a, unsigned b) {
    unsigned product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/* Four-ink JPEGs follow Adobe and store ink inverted: 255 is none. Pillow assumes so always, marker or not, and
 * computes paper white less black less ink; in the stored values that is k - (255 - c) * k / 255. */
static void convert_cmyk_row(const uint8_t *row, uint8_t *output, size_t width) {
    for (size_t x = 0; x < width; x++, row += 4, output += CHANNELS) {
        unsigned white = row[3];
        for (int channel = 0; channel < CHANNELS; channel++)
            output[channel] = (uint8_t)(white - multiply255(255u - row[channel], white));
    }
}

static void read_rows(struct jpeg_reader *reader) {
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    const size_t stride = (size_t)jpeg->output_width * CHANNELS;
    JSAMPARRAY inks = NULL; /* libjpeg's, freed with it */
    if (jpeg->out_color_space == JCS_CMYK)
        inks = jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, jpeg->output_width * 4, 1);
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *output = reader->pixels->bytes + jpeg->output_scanline * stride;
        JSAMPROW row = inks ? inks[0] : output;
        jpeg_read_scanlines(jpeg, &row, 1); /* the source never suspends: one row or an error */
        if (inks)
            convert_cmyk_row(row, output, jpeg->output_width);
    }
}

/* ---- the walk ---- */

static bool read_header(struct jpeg_reader *reader) {
    struct jpeg_decompress_struct *jpeg = &reader->jpeg;
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(jpeg, reader->source->bytes, reader->source->size);
    jpeg_read_header(jpeg, TRUE);
    if (!image_check_size(reader->source, "JPEG", jpeg->image_width, jpeg->image_height, reader->error))
        return false;
    if (jpeg->num_components != 1 && jpeg->num_components != 3 && jpeg->num_components != 4)
        return error_set(reader->error, ERROR_UNSUPPORTED, "JPEG: %d components, want 1, 3 or 4", jpeg->num_components);
    jpeg->out_color_space = jpeg->num_components == 4 ? JCS_CMYK : JCS_RGB;
    *reader->frame = (struct image_frame){
        .width = jpeg->image_width, .height = jpeg->image_height, .orientation = find_orientation(jpeg->marker_list)};
    return true;
}

/* On a longjmp this returns false; it keeps no variable of its own that could be lost with it. */
static bool decode_guarded(struct jpeg_reader *reader) {
    if (setjmp(reader->escape))
        return false;
    jpeg_create_decompress(&reader->jpeg);
    reader->jpeg.progress = &reader->progress;
    if (!read_header(reader))
        return false;
    if (!image_buffer_reserve(reader->pixels, reader->frame->width * reader->frame->height * CHANNELS, reader->error))
        return false;
    jpeg_start_decompress(&reader->jpeg);
    read_rows(reader);
    jpeg_finish_decompress(&reader->jpeg); /* reads to the end marker, so that a missing one is noticed */
    return true;
}

bool image_jpeg_decode(const struct image_source *source, struct image_buffer *pixels, struct image_frame *frame,
                       struct error *error) {
    struct jpeg_reader reader = {.source = source, .pixels = pixels, .frame = frame, .error = error};
    reader.jpeg.err = jpeg_std_error(&reader.messages);
    reader.jpeg.client_data = &reader;
    reader.messages.error_exit = on_error;
    reader.messages.emit_message = on_message;
    reader.messages.output_message = on_output;
    reader.progress.progress_monitor = on_progress;
    bool decoded = decode_guarded(&reader);
    jpeg_destroy_decompress(&reader.jpeg);
    return decoded;
}
