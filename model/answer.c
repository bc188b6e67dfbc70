/* Logits to the best classes.
 *
 * The scores are those of a softmax whose sum runs in double over all classes in ascending order, so that they do not
 * depend on the kernel set that made the logits. Nothing is stored per class: one pass finds the maximum, one the sum,
 * and one keeps the best `count` in the caller's array, sorted. NaN compares with nothing; it is treated as below
 * everything and given no share. Pure; nothing allocates or fails.
 */
#include "model/model.h"

#include <math.h>
#include <string.h>

/* Whether class a of logit x comes before class b of logit y, where a > b: ties go to the lower index. */
static bool better(float x, float y) {
    return isnan(y) ? !isnan(x) : x > y;
}

/* e^(x - greatest), and 1 for the greatest itself even where that is infinite. */
static double weight(float x, float greatest) {
    if (isnan(x))
        return 0;
    return x == greatest ? 1 : exp((double)x - (double)greatest);
}

unsigned answer_top(const float *logits, unsigned classes, struct top_class *top, unsigned count) {
    unsigned filled = 0;
    float greatest = -INFINITY;
    double sum = 0;
    for (unsigned c = 0; c < classes; c++)
        greatest = logits[c] > greatest ? logits[c] : greatest;
    for (unsigned c = 0; c < classes; c++) {
        sum += weight(logits[c], greatest);
        unsigned at = filled;
        while (at > 0 && better(logits[c], logits[top[at - 1].class_index]))
            at--;
        if (at == count)
            continue;
        filled += filled < count;
        memmove(&top[at + 1], &top[at], (filled - 1 - at) * sizeof *top);
        top[at].class_index = c;
    }
    for (unsigned i = 0; i < filled; i++)
        top[i].score = sum > 0 ? (float)(weight(logits[top[i].class_index], greatest) / sum) : 0;
    return filled;
}

bool answer_finite(const float *numbers, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(numbers[i]))
            return false;
    return true;
}
