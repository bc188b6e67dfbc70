/* What boards and clients keep: key files that round-trip and are not trusted when damaged or open to others, and which
 * coordinator is known at which address. */
#include "daemon/identity.h"

#include "base/allocate.h"
#include "base/file.h"

#include "test/daemon/folder.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_keys_round_trip(void **state) {
    (void)state;
    struct key_pair made, read;
    struct error error;
    struct stat status;
    char path[128];
    bool found;
    assert_true(identity_read_keys(folder, "stage-pi-3", &read, &found, &error));
    assert_false(found);
    assert_true(identity_own_keys(folder, "stage-pi-3", &made, &error));
    assert_true(identity_read_keys(folder, "stage-pi-3", &read, &found, &error));
    assert_true(found);
    assert_memory_equal(&made, &read, sizeof made);
    assert_true(identity_own_keys(folder, "stage-pi-3", &read, &error)); /* those that are there */
    assert_memory_equal(&made, &read, sizeof made);
    folder_path("stage-pi-3.key", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(chmod(path, 0640), 0);
    assert_false(identity_read_keys(folder, "stage-pi-3", &read, &found, &error));
    assert_non_null(strstr(error.text, "others may read"));
    assert_false(identity_own_keys(folder, "stage-pi-3", &read, &error)); /* never over what is there */
}

/* New keys are one pair until they are good; until then, and where they never are, the old ones stay. */
static void test_keys_to_come(void **state) {
    (void)state;
    struct key_pair old, next, again, read;
    struct error error;
    bool found;
    assert_true(identity_own_keys(folder, "client", &old, &error));
    assert_true(identity_next_keys(folder, "client", &next, &error));
    assert_false(key_equal(&old.own, &next.own));
    assert_true(identity_next_keys(folder, "client", &again, &error));
    assert_memory_equal(&next, &again, sizeof next);
    assert_true(identity_read_keys(folder, "client", &read, &found, &error) && found);
    assert_memory_equal(&old, &read, sizeof old);
    identity_next_bad(folder, "client");
    assert_true(identity_next_keys(folder, "client", &again, &error));
    assert_false(key_equal(&next.own, &again.own));
    assert_true(identity_next_good(folder, "client", &again.own, &error));
    assert_true(identity_read_keys(folder, "client", &read, &found, &error) && found);
    assert_memory_equal(&again, &read, sizeof again);
    assert_true(identity_next_good(folder, "client", &again.own, &error)); /* as another process has said */
    assert_false(identity_next_good(folder, "client", &next.own, &error)); /* there is none any more */
    assert_true(identity_read_keys(folder, "client", &read, &found, &error) && found);
    identity_next_bad(folder, "client");
}

/* Two processes that both begin get one pair of keys: who comes second sees what the first has linked. */
static void test_keys_made_at_once(void **state) {
    (void)state;
    char path[128];
    bool there = true;
    struct error error;
    void *contents;
    size_t size;
    folder_path("one", path);
    assert_true(file_create_private(path, "first", 5, &there, &error));
    assert_false(there);
    assert_true(file_create_private(path, "second", 6, &there, &error));
    assert_true(there);
    assert_true(file_read(path, 64, &contents, &size, &error));
    assert_memory_equal(contents, "first", 5);
    assert_int_equal(size, 5);
    release(contents);
}

/* Whoever can write there can put other keys in place of ours, whatever the modes of the files. */
static void test_a_directory_that_others_may_write(void **state) {
    (void)state;
    struct key_pair made;
    struct error error;
    bool found;
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(identity_own_keys(folder, "client", &made, &error)); /* also where none were made yet */
    assert_non_null(strstr(error.text, "others may write there"));
    assert_int_equal(chmod(folder, 0755), 0);
    assert_true(identity_own_keys(folder, "client", &made, &error));
    assert_int_equal(chmod(folder, 0777), 0);
    assert_false(identity_read_keys(folder, "client", &made, &found, &error));
    assert_non_null(strstr(error.text, "others may write there"));
    assert_int_equal(error.code, ERROR_USAGE);
    assert_int_equal(chmod(folder, 0755), 0);
    assert_true(identity_read_keys(folder, "client", &made, &found, &error) && found);
    if (geteuid() != 0) /* only root can give files away */
        return;
    assert_int_equal(chown(folder, 12345, 0), 0);
    assert_false(identity_read_keys(folder, "client", &made, &found, &error));
    assert_non_null(strstr(error.text, "belongs to another user (number 12345)"));
    assert_int_equal(chown(folder, 0, 0), 0);
}

/* Every byte that is changed, and every cut, is noticed: a key that is not quite one would fail only at the handshake.
 */
static void test_damaged_keys(void **state) {
    (void)state;
    struct key_pair pair, read;
    struct error error;
    char path[128];
    void *contents;
    size_t size;
    bool found;
    assert_true(identity_own_keys(folder, "client", &pair, &error));
    folder_path("client.key", path);
    assert_true(file_read(path, 4096, &contents, &size, &error));
    char *text = contents;
    for (size_t i = 0; i < size; i += 3) {
        char before = text[i];
        text[i] = before == 'x' ? 'y' : 'x';
        assert_true(file_write_atomic(path, text, size, &error));
        bool ok = identity_read_keys(folder, "client", &read, &found, &error);
        if (ok && memcmp(&read, &pair, sizeof pair) != 0)
            fail_msg("byte %zu was changed and believed", i);
        text[i] = before;
        assert_true(file_write_atomic(path, text, i, &error));
        assert_false(identity_read_keys(folder, "client", &read, &found, &error));
        assert_false(found);
    }
    release(contents);
}

static void test_known_coordinators(void **state) {
    (void)state;
    struct key_pair one, two;
    struct public_key key;
    struct error error = {0};
    bool found;
    key_pair_make(&one);
    key_pair_make(&two);
    assert_true(identity_known(folder, "tcp://10.0.0.1:7600", &key, &found, &error));
    assert_false(found);
    assert_true(identity_remember(folder, "tcp://127.0.0.1:7600", &one.own, &error));
    assert_true(identity_known(folder, "tcp://127.0.0.1:7600", &key, &found, &error));
    assert_true(found && key_equal(&key, &one.own));
    /* where it is reached may change, but a coordinator on loopback may well be another one, without keys */
    assert_true(identity_known(folder, "tcp://10.0.0.1:7600", &key, &found, &error));
    assert_true(found && key_equal(&key, &one.own));
    assert_true(identity_known(folder, "tcp://127.0.0.1:7601", &key, &found, &error));
    assert_false(found);
    assert_true(identity_remember(folder, "tcp://10.0.0.2:7600", &two.own, &error));
    assert_true(identity_known(folder, "tcp://10.0.0.2:7600", &key, &found, &error));
    assert_true(found && key_equal(&key, &two.own));
    assert_true(identity_known(folder, "tcp://10.0.0.1:7600", &key, &found, &error)); /* which of the two? */
    assert_false(found);
    assert_true(identity_remember(folder, "tcp://10.0.0.2:7600", &one.own, &error)); /* in place of the other */
    assert_true(identity_known(folder, "tcp://10.0.0.2:7600", &key, &found, &error));
    assert_true(found && key_equal(&key, &one.own));
    assert_true(identity_remember(folder, "tcp://10.0.0.2:7600", NULL, &error));
    assert_true(identity_remember(folder, "tcp://127.0.0.1:7600", NULL, &error));
    assert_true(identity_known(folder, "tcp://10.0.0.2:7600", &key, &found, &error));
    assert_false(found);
}

static void test_damaged_coordinators(void **state) {
    (void)state;
    static const char text[] = "anything\ntcp://10.0.0.1:7600 AAAA\n\n\ntcp://10.0.0.1:7600\nudp://x y\n"
                               "tcp://10.0.0.3:7600 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    struct public_key key;
    struct error error;
    char path[128];
    bool found;
    folder_path("coordinators", path);
    assert_true(file_write_atomic(path, text, strlen(text), &error));
    assert_true(identity_known(folder, "tcp://10.0.0.3:7600", &key, &found, &error));
    assert_true(found);
    assert_true(identity_remember(folder, "tcp://10.0.0.4:7600", &key, &error));
    assert_true(identity_known(folder, "tcp://127.0.0.1:7600", &key, &found, &error));
    assert_false(found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_keys_round_trip),      FOLDER_TEST(test_keys_to_come),
        FOLDER_TEST(test_keys_made_at_once),    FOLDER_TEST(test_a_directory_that_others_may_write),
        FOLDER_TEST(test_damaged_keys),         FOLDER_TEST(test_known_coordinators),
        FOLDER_TEST(test_damaged_coordinators),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
