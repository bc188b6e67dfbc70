/* The first look at bytes from a peer, guided by the schema's descriptors.
 *
 * protobuf-c decodes leniently and loses what we need to know: it cuts a string at a zero byte, takes any bytes for
 * UTF-8, merges a message that is given twice, and says of a bad message only that it is bad. So the bytes are walked
 * once before: every tag, length and text is checked, every repeated message is counted before memory is taken for it,
 * and an error names the field
 * ("status: boards[2].name: not UTF-8 text ..."). What passes here can make protobuf-c fail only for want of memory.
 *
 * Nothing is allocated; the depth of the recursion is that of the schema, not of the bytes. Any thread. */
#include "proto/wire.h"

#include "base/cursor.h"
#include "proto/message.h"

#include <stdint.h>
#include <stdio.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

#define WIRE_FIELDS_MAX 32 /* fields of the largest message of the schema */

/* Where we are, from the inside out; only ever read to tell about an error. */
struct place {
    const struct place *outer;
    const char *name;
    bool repeated;
    size_t index;
};

/* One message being walked. */
struct walk {
    const ProtobufCMessageDescriptor *descriptor;
    struct cursor cursor;
    size_t repeated_max;
    struct place place;
    size_t seen[WIRE_FIELDS_MAX]; /* how often each message field has come */
    bool oneof_seen;
};

/* Prints "outer: middle[3].inner" of a place and returns the length. */
static size_t place_print(const struct place *place, char *out, size_t size) {
    size_t used = 0;
    if (place->outer) {
        used = place_print(place->outer, out, size);
        /* the outermost message is a topic, what lies inside is a path */
        used += (size_t)snprintf(out + used, size - used, "%s", place->outer->outer ? "." : ": ");
    }
    used += (size_t)snprintf(out + used, size - used, "%s", place->name);
    if (place->repeated)
        used += (size_t)snprintf(out + used, size - used, "[%zu]", place->index);
    return used;
}

static bool refuse(const struct place *place, const char *field, const char *reason, struct error *error) {
    char where[256]; /* names of the schema, four levels at the most: always enough */
    struct place inner = {place, field, false, 0};
    place_print(field ? &inner : place, where, sizeof where);
    return error_set(error, ERROR_INPUT, "%s: %s", where, reason);
}

size_t text_character(const unsigned char *bytes, size_t size) {
    static const uint32_t smallest[] = {0, 1, 0x80, 0x800, 0x10000};
    if (size == 0)
        return 0;
    size_t length = bytes[0] < 0x80       ? 1
                    : bytes[0] >> 5 == 6  ? 2
                    : bytes[0] >> 4 == 14 ? 3
                    : bytes[0] >> 3 == 30 ? 4
                                          : 0;
    if (length == 0 || length > size)
        return 0;
    uint32_t character = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (bytes[i] >> 6 != 2)
            return 0;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    bool surrogate = character >= 0xd800 && character <= 0xdfff;
    return character < smallest[length] || character > 0x10ffff || surrogate ? 0 : length;
}

bool text_valid(const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    if (size > MESSAGE_TEXT_MAX)
        return false;
    for (size_t left = size, length; left > 0; at += length, left -= length)
        if ((length = text_character(at, left)) == 0)
            return false;
    return true;
}

static uint64_t varint(struct cursor *cursor) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = cursor_u8(cursor);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    cursor->failed = true; /* more than ten bytes */
    return 0;
}

/* Does the schema's type travel as `type`? A repeated number may come one by one or packed. */
static bool type_fits(const ProtobufCFieldDescriptor *field, enum wire_type type) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return type == WIRE_LENGTH;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return type == WIRE_FIXED64;
    case PROTOBUF_C_TYPE_FLOAT:
        return type == WIRE_FIXED32;
    default:
        return type == WIRE_VARINT || (field->label == PROTOBUF_C_LABEL_REPEATED && type == WIRE_LENGTH);
    }
}

static bool walk_message(struct walk *walk, struct error *error);

/* A message inside the one that is being walked. */
static bool walk_inner(struct walk *walk, const ProtobufCFieldDescriptor *field, struct cursor bytes,
                       struct error *error) {
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    bool oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
    size_t index = walk->seen[field - walk->descriptor->fields]++;
    if (index >= (repeated ? walk->repeated_max : 1))
        return refuse(&walk->place, field->name, repeated ? "too many" : "given twice", error);
    if (oneof && walk->oneof_seen)
        return refuse(&walk->place, field->name, "a second body", error);
    walk->oneof_seen |= oneof;
    struct walk inner = {
        .descriptor = field->descriptor,
        .cursor = bytes,
        .repeated_max = walk->repeated_max,
        /* the body of an envelope is the topic of an error: "assign: ...", not "envelope: assign. ..." */
        .place = {oneof ? NULL : &walk->place, field->name, repeated, index}};
    return walk_message(&inner, error);
}

static bool walk_field(struct walk *walk, struct error *error) {
    uint64_t key = varint(&walk->cursor);
    enum wire_type type = key & 7;
    size_t size = type == WIRE_FIXED64 ? 8 : type == WIRE_FIXED32 ? 4 : 0;
    if (type == WIRE_VARINT)
        (void)varint(&walk->cursor);
    else if (type == WIRE_LENGTH)
        size = varint(&walk->cursor);
    else if (size == 0)
        return refuse(&walk->place, NULL, "unknown wire type", error);
    const uint8_t *bytes = cursor_take(&walk->cursor, size);
    if (walk->cursor.failed)
        return refuse(&walk->place, NULL, "cut short", error);
    if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return refuse(&walk->place, NULL, "impossible field number", error);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(walk->descriptor, (unsigned)(key >> 3));
    if (!field)
        return true; /* of a later version */
    if (!type_fits(field, type))
        return refuse(&walk->place, field->name, "wrong wire type", error);
    if (field->type == PROTOBUF_C_TYPE_STRING && !text_valid(bytes, size))
        return refuse(&walk->place, field->name, "not UTF-8 text of at most 1024 bytes", error);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return walk_inner(walk, field, cursor_of(bytes, size), error);
    return true;
}

static bool walk_message(struct walk *walk, struct error *error) {
    if (walk->descriptor->n_fields > WIRE_FIELDS_MAX)
        return refuse(&walk->place, NULL, "the schema has outgrown WIRE_FIELDS_MAX", error);
    while (walk->cursor.left > 0)
        if (!walk_field(walk, error))
            return false;
    return true;
}

bool wire_check(const char *name, const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
                size_t repeated_max, struct error *error) {
    struct walk walk = {.descriptor = descriptor,
                        .cursor = cursor_of(bytes, size),
                        .repeated_max = repeated_max,
                        .place = {.name = name}};
    return walk_message(&walk, error);
}
