/* The ranges that message.h promises, checked on plain structs: what was decoded, and what is about to be encoded. */
#ifndef PROTO_CHECK_H
#define PROTO_CHECK_H

#include "base/error.h"
#include "proto/message.h"

/* The error starts with the message's name: "assign: tensors[3].bytes: got 12, want 24". */
bool message_check(const struct message *message, struct error *error);
bool data_header_check(const struct data_header *header, struct error *error);
bool probe_header_check(const struct probe_header *header, struct error *error);

#endif
