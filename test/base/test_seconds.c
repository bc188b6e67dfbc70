/* Durations as text: the unit that suits them, and no exponents where people look. */
#include "base/seconds.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_units(void **state) {
    (void)state;
    static const struct {
        double seconds;
        const char *words;
    } cases[] = {{0, "0.000 ms"}, {0.0417, "41.7 ms"},   {0.00012365, "0.124 ms"}, {0.99, "990.0 ms"},
                 {1, "1.000 s"},  {12.3456, "12.346 s"}, {123456, "123456.0 s"},   {INFINITY, "endless"}};
    char text[SECONDS_WORDS_MAX];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(seconds_words(cases[i].seconds, text), cases[i].words);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_units)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
