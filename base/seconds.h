/* Durations as people read them. */
#ifndef BASE_SECONDS_H
#define BASE_SECONDS_H

#define SECONDS_WORDS_MAX 24

/* "41.7 ms", "0.123 ms", "12.345 s", "endless" for what is not finite; text is filled and returned. Any thread. */
const char *seconds_words(double seconds, char text[SECONDS_WORDS_MAX]);

#endif
