/* JSON strings from whatever a peer may say, whole and cut. */
#include "base/json_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_quotes(void **state) {
    (void)state;
    static const struct {
        const char *text, *quoted;
    } table[] = {
        {"", "\"\""},
        {"pi-3", "\"pi-3\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"\n\x1b\x7f", "\"\\u000a\\u001b\\u007f\""},
        {"K\xc3\xa4"
         "fer",
         "\"K\xc3\xa4"
         "fer\""},
        {"\xc3(\xff", "\"\\ufffd(\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a surrogate */
    };
    char to[64], printed[64];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(json_quote(to, sizeof to, table[i].text), strlen(table[i].quoted));
        assert_string_equal(to, table[i].quoted);
        memset(printed, 0, sizeof printed);
        FILE *file = fmemopen(printed, sizeof printed, "w");
        json_string(file, table[i].text);
        fclose(file);
        assert_string_equal(printed, table[i].quoted);
    }
}

/* Whatever the room, quotes and zero are there, no escape is halved, and nothing is written behind it. */
static void test_cuts(void **state) {
    (void)state;
    const char *text = "a\"\xc3\xa4\n";
    const char *want[] = {"\"\"", "\"a\"", "\"a\"", "\"a\\\"\"", "\"a\\\"\"", "\"a\\\"\xc3\xa4\""};
    char to[16];
    for (size_t size = 3; size < 9; size++) {
        memset(to, '#', sizeof to);
        size_t length = json_quote(to, size, text);
        assert_string_equal(to, want[size - 3]);
        assert_int_equal(length, strlen(to));
        for (size_t i = size; i < sizeof to; i++)
            assert_int_equal(to[i], '#');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quotes), cmocka_unit_test(test_cuts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
