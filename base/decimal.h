/* Whole numbers as people and files write them. */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/* Of a text that is digits from its first to its last character and at most `most`: true, and *number. Else false, and
 * *number is as it was. No sign, blank, base or rounding, unlike strtoul and sscanf. Any thread. */
bool decimal_parse(const char *text, uint64_t most, uint64_t *number);

#endif
