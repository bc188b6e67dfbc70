/* Durations as text; see seconds.h. */
#include "base/seconds.h"

#include <math.h>
#include <stdio.h>

const char *seconds_words(double seconds, char text[SECONDS_WORDS_MAX]) {
    if (!isfinite(seconds))
        snprintf(text, SECONDS_WORDS_MAX, "endless");
    else if (seconds < 1)
        snprintf(text, SECONDS_WORDS_MAX, "%.*f ms", seconds < 0.01 ? 3 : 1, 1e3 * seconds);
    else
        snprintf(text, SECONDS_WORDS_MAX, "%.*f s", seconds < 100 ? 3 : 1, seconds);
    return text;
}
