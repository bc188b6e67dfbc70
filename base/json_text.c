/* JSON strings; see json_text.h. One function says what a character looks like, two put it somewhere. Neither
 * allocates: the log uses them. */
#include "base/json_text.h"

#include <stdbool.h>
#include <string.h>

#define CHARACTER_MAX 8 /* an escape, or a character of UTF-8, and a zero */

/* Length of the valid UTF-8 sequence at text, 0 if there is none. */
static size_t sequence_length(const unsigned char *text) {
    size_t length = text[0] < 0x80                      ? 1
                    : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                    : text[0] >= 0xe0 && text[0] < 0xf0 ? 3
                    : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xf0 && text[1] < 0x90);
    bool outside = (text[0] == 0xed && text[1] > 0x9f) || (text[0] == 0xf4 && text[1] > 0x8f);
    return overlong || outside ? 0 : length;
}

/* What stands for the character at *text, which is moved behind it. Returns its length. */
static size_t next_character(const unsigned char **text, char to[CHARACTER_MAX]) {
    const unsigned char *at = *text;
    size_t length = sequence_length(at);
    *text += length > 0 ? length : 1;
    if (length == 0)
        return (size_t)snprintf(to, CHARACTER_MAX, "\\ufffd");
    if (*at == '"' || *at == '\\')
        return (size_t)snprintf(to, CHARACTER_MAX, "\\%c", *at);
    if (*at < 0x20 || *at == 0x7f)
        return (size_t)snprintf(to, CHARACTER_MAX, "\\u%04x", *at);
    memcpy(to, at, length);
    return length;
}

void json_string(FILE *to, const char *text) {
    char character[CHARACTER_MAX];
    fputc('"', to);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = next_character(&at, character);
        fwrite(character, 1, length, to);
    }
    fputc('"', to);
}

size_t json_quote(char *to, size_t size, const char *text) {
    char character[CHARACTER_MAX];
    size_t used = 0;
    to[used++] = '"';
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t length = next_character(&at, character);
        if (length > size - used - 2) /* the quote and the zero */
            break;
        memcpy(to + used, character, length);
        used += length;
    }
    to[used++] = '"';
    to[used] = '\0';
    return used;
}
