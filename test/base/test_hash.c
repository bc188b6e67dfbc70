/* Hashes: BLAKE2b-256 against known answers (Python's hashlib), and a checksum that sees every bit. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The same from a file; larger than what is read at once, too. */
static void test_blake2b_of_a_file(void **state) {
    (void)state;
    static uint8_t bytes[200001];
    static const size_t sizes[] = {0, 3, 65536, sizeof bytes};
    char path[] = "/tmp/stagecoach-hash-XXXXXX";
    int descriptor = mkstemp(path);
    assert_true(descriptor >= 0);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + i / 251);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct hash of_file, of_memory = hash_of(bytes, sizes[i]);
        uint64_t size = 7;
        assert_int_equal(pwrite(descriptor, bytes, sizes[i], 0), sizes[i]);
        assert_true(hash_of_file(path, &of_file, &size, NULL));
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(&of_file, &of_memory, sizeof of_memory);
    }
    close(descriptor);
    unlink(path);
}

/* The first page of any process cannot be read: the system answers as it does for a bad sector. */
static void test_a_file_that_cannot_be_read(void **state) {
    (void)state;
    struct hash hash;
    uint64_t size;
    struct error error = {0};
    assert_false(hash_of_file("/proc/self/mem", &hash, &size, &error));
    assert_int_equal(error.code, ERROR_SYSTEM);
    assert_string_equal(error.text, "/proc/self/mem: read: Input/output error");
    assert_false(hash_of_file("/nowhere/at-all", &hash, &size, &error));
    assert_string_equal(error.text, "/nowhere/at-all: No such file or directory");
}

static void assert_hash(const void *bytes, size_t size, const char *expected) {
    struct hash hash = hash_of(bytes, size);
    char hex[HASH_HEX_BYTES];
    hash_to_hex(&hash, hex);
    assert_string_equal(hex, expected);
}

static void test_blake2b(void **state) {
    (void)state;
    uint8_t bytes[1024];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    assert_hash("", 0, "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
    assert_hash("abc", 3, "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    assert_hash(bytes, sizeof bytes, "f1551feeb252c7e60bb362205bd1ac2f70b145260a91d41e8c5d0a187549a5f2");
}

/* Sizes around the 32-byte step: every bit, the length and the seed change the value. */
static void test_checksum_sees_every_bit(void **state) {
    (void)state;
    uint8_t bytes[128];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint64_t sum = checksum_of(bytes, size, 5);
        assert_true(checksum_of(bytes, size, 5) == sum);
        assert_true(checksum_of(bytes, size, 6) != sum);
        if (size > 0)
            assert_true(checksum_of(bytes, size - 1, 5) != sum);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_true(checksum_of(bytes, size, 5) != sum);
            bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    }
}

static void test_checksum_sees_zeros_and_order(void **state) {
    (void)state;
    static const uint8_t zeros[128];
    uint8_t first[64] = {0}, second[64] = {0};
    for (size_t size = 1; size < sizeof zeros; size++)
        assert_true(checksum_of(zeros, size, 0) != checksum_of(zeros, size + 1, 0));
    for (size_t step = 8; step < sizeof first; step += 8) { /* two words change places */
        memset(first, 0, sizeof first);
        memset(second, 0, sizeof second);
        first[0] = 1;
        second[step] = 1;
        assert_true(checksum_of(first, sizeof first, 0) != checksum_of(second, sizeof second, 0));
    }
}

static void test_checksum_ignores_alignment(void **state) {
    (void)state;
    uint8_t bytes[200];
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t i = 0; i < 100; i++)
            bytes[offset + i] = (uint8_t)(i * 11);
        uint8_t aligned[100];
        memcpy(aligned, bytes + offset, sizeof aligned);
        assert_true(checksum_of(bytes + offset, 100, 1) == checksum_of(aligned, 100, 1));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blake2b),
        cmocka_unit_test(test_blake2b_of_a_file),
        cmocka_unit_test(test_a_file_that_cannot_be_read),
        cmocka_unit_test(test_checksum_sees_every_bit),
        cmocka_unit_test(test_checksum_sees_zeros_and_order),
        cmocka_unit_test(test_checksum_ignores_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
