/* Random messages for the tests of the codec, from a fixed seed. One thread. */
#ifndef TEST_PROTO_MESSAGES_H
#define TEST_PROTO_MESSAGES_H

#include "proto/message.h"

#define MESSAGE_TYPES MESSAGE_DRAINED /* the types are 1 to this */

uint64_t random_word(void);
/* 0 to end - 1 */
uint64_t random_below(uint64_t end);

/* A message of this type that is within all limits. What it borrows lives until the next one is made. */
struct message random_message(enum message_type type);
struct data_header random_header(void);
struct probe_header random_probe_header(void);

/* Fail the running test where a field differs. */
void assert_same_message(const struct message *left, const struct message *right);
void assert_same_header(const struct data_header *left, const struct data_header *right);

#endif
