/* Protocol-buffer bytes checked against their schema, before protobuf-c sees them. */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include "base/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

/* True when bytes are a well-formed message of this type in which every string is a text (text_valid), every known
 * field has the encoding the schema says, no singular message is given twice, no two members of a oneof are given, and
 * no repeated message comes more than repeated_max times. Unknown fields are skipped. The error starts with `name`. */
bool wire_check(const char *name, const ProtobufCMessageDescriptor *descriptor, const void *bytes, size_t size,
                size_t repeated_max, struct error *error);

/* Valid UTF-8 without zero bytes, at most MESSAGE_TEXT_MAX bytes. */
bool text_valid(const void *bytes, size_t size);
/* The bytes of the valid UTF-8 character at `bytes`, 1 to 4; 0 when there is none. A zero byte is none. */
size_t text_character(const unsigned char *bytes, size_t size);

#endif
