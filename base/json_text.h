/* Text as a JSON string (RFC 8259), with its quotes. What is not UTF-8 becomes U+FFFD, control characters are escaped;
 * so whatever a file or a peer said, one line of valid JSON comes of it. Any thread. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <stddef.h>
#include <stdio.h>

void json_string(FILE *to, const char *text);

/* The same into to[size], size at least 3; text that does not fit is cut off between characters, and the quote and a
 * zero still stand at its end. Returns the length without the zero. */
size_t json_quote(char *to, size_t size, const char *text);

#endif
