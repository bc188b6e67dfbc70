/* Keys, tokens and the list of whom the coordinator lets in: round trips, typing errors, damaged files, and every way
 * in which a token must not work. */
#include "daemon/keyring.h"
#include "daemon/token.h"

#include "base/allocate.h"
#include "base/file.h"

#include "test/daemon/folder.h"

#include <string.h>
#include <sys/stat.h>

#define NOW 1000000

static void test_key_text(void **state) {
    (void)state;
    struct key_pair pair;
    struct public_key read;
    char text[KEY_TEXT_BYTES];
    key_pair_make(&pair);
    assert_true(key_pair_valid(&pair));
    key_print(pair.own.bytes, text);
    assert_int_equal(strlen(text), 43);
    assert_true(key_parse(text, read.bytes));
    assert_true(key_equal(&read, &pair.own));
    text[42] = '\0';
    assert_false(key_parse(text, read.bytes));
    assert_false(key_parse("", read.bytes));
    assert_false(key_parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB", read.bytes)); /* bits beyond the last byte */
    pair.own.bytes[3] ^= 1;
    assert_false(key_pair_valid(&pair));
}

/* `keys revoke KEY` must work for every key that we made: none may look like an option. */
static void test_keys_are_no_options(void **state) {
    (void)state;
    struct key_pair pair, coordinator;
    struct token token;
    char text[KEY_TEXT_BYTES];
    key_pair_make(&coordinator);
    for (unsigned i = 0; i < 500; i++) {
        key_pair_make(&pair);
        key_print(pair.own.bytes, text);
        assert_int_not_equal(text[0], '-');
        token_make(ROLE_STAGE, &coordinator.own, &token, &pair);
        key_print(pair.own.bytes, text);
        assert_int_not_equal(text[0], '-');
    }
    assert_false(key_handy(&(struct public_key){{0xf8}}));
    assert_true(key_handy(&(struct public_key){{0}}));
}

static void test_token_text(void **state) {
    (void)state;
    struct key_pair coordinator, pair, again;
    struct token token, read;
    struct error error;
    char text[TOKEN_TEXT_MAX], spaced[TOKEN_TEXT_MAX + 4];
    key_pair_make(&coordinator);
    token_make(ROLE_STAGE, &coordinator.own, &token, &pair);
    token_print(&token, text);
    assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"), strlen(text));
    snprintf(spaced, sizeof spaced, " %s\r\n", text);
    assert_true(token_parse(spaced, &read, &error));
    assert_int_equal(read.role, ROLE_STAGE);
    assert_true(key_equal(&read.coordinator, &coordinator.own));
    key_pair_from_seed(read.seed, &again);
    assert_true(key_equal(&again.own, &pair.own));
    assert_true(key_pair_valid(&again));
}

/* Every single wrong character is told, as is every cut and every swap of neighbours. */
static void test_token_typing_errors(void **state) {
    (void)state;
    struct key_pair coordinator, pair;
    struct token token, read;
    struct error error;
    char text[TOKEN_TEXT_MAX], wrong[TOKEN_TEXT_MAX];
    key_pair_make(&coordinator);
    token_make(ROLE_CLIENT, &coordinator.own, &token, &pair);
    token_print(&token, text);
    for (size_t i = 0; i < strlen(text); i++) {
        snprintf(wrong, sizeof wrong, "%s", text);
        wrong[i] = wrong[i] == 'A' ? 'B' : 'A';
        assert_false(token_parse(wrong, &read, &error));
        assert_int_equal(error.code, ERROR_USAGE);
        assert_null(strstr(error.text, wrong + 10)); /* it may be nearly right: never in a log */
        snprintf(wrong, sizeof wrong, "%.*s", (int)i, text);
        assert_false(token_parse(wrong, &read, &error));
        snprintf(wrong, sizeof wrong, "%s", text);
        if (i + 1 < strlen(text) && text[i] != text[i + 1]) {
            wrong[i] = text[i + 1];
            wrong[i + 1] = text[i];
            assert_false(token_parse(wrong, &read, &error));
        }
    }
    assert_false(
        token_parse("sc1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                    "AAAAAAAAAAAAAA",
                    &read, &error));
}

/* ---- the list ---- */

static struct keyring_token token_of(enum role role, uint32_t uses, int64_t until) {
    struct key_pair pair;
    key_pair_make(&pair);
    return (struct keyring_token){.key = pair.own, .role = role, .uses = uses, .until = until};
}

static struct keyring_key key_of(enum role role, const char *name) {
    struct key_pair pair;
    struct keyring_key key = {.role = role};
    key_pair_make(&pair);
    key.key = pair.own;
    snprintf(key.name, sizeof key.name, "%s", name);
    return key;
}

static struct keyring *keyring_with(const struct keyring_token *token) {
    struct error error;
    struct keyring *keyring = allocate(1, sizeof *keyring);
    assert_true(keyring_add_token(keyring, token, NOW, &error));
    return keyring;
}

static void test_token_used_once(void **state) {
    (void)state;
    struct error error;
    const struct keyring_token token = token_of(ROLE_STAGE, 1, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key first = key_of(ROLE_STAGE, "pi-1"), second = key_of(ROLE_STAGE, "pi-2");
    assert_true(keyring_admit(keyring, &token.key, &first, NOW, &error));
    assert_int_equal(keyring->tokens, 0);
    assert_false(keyring_admit(keyring, &token.key, &second, NOW, &error));
    assert_null(keyring_find(keyring, &second.key));
    assert_true(keyring_admit(keyring, &token.key, &first, NOW, &error)); /* it asks again: its answer was lost */
    assert_int_equal(keyring_find(keyring, &first.key)->since, NOW);
    release(keyring);
}

static void test_token_until(void **state) {
    (void)state;
    struct error error;
    const struct keyring_token token = token_of(ROLE_STAGE, 0, NOW + 10);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key first = key_of(ROLE_STAGE, "pi-1"), second = key_of(ROLE_STAGE, "pi-2");
    struct keyring_key late = key_of(ROLE_STAGE, "pi-3");
    assert_true(keyring_admit(keyring, &token.key, &first, NOW, &error));
    assert_true(keyring_admit(keyring, &token.key, &second, NOW + 9, &error));
    assert_false(keyring_admit(keyring, &token.key, &late, NOW + 10, &error));
    assert_non_null(strstr(error.text, "expired"));
    assert_int_equal(keyring->keys, 2);
    release(keyring);
}

static void test_what_a_token_does_not_do(void **state) {
    (void)state;
    struct error error;
    unsigned count;
    const struct keyring_token token = token_of(ROLE_CLIENT, 0, 0), unknown = token_of(ROLE_CLIENT, 0, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key stage = key_of(ROLE_STAGE, "pi-1"), laptop = key_of(ROLE_CLIENT, "laptop");
    struct keyring_key imposter = key_of(ROLE_CLIENT, "laptop"), renamed;
    assert_false(keyring_admit(keyring, &unknown.key, &laptop, NOW, &error));
    assert_false(keyring_admit(keyring, &token.key, &stage, NOW, &error));
    assert_non_null(strstr(error.text, "for a client"));
    assert_true(keyring_admit(keyring, &token.key, &laptop, NOW, &error));
    assert_false(keyring_admit(keyring, &token.key, &imposter, NOW, &error));
    assert_non_null(strstr(error.text, "admitted already"));
    renamed = laptop;
    snprintf(renamed.name, sizeof renamed.name, "other");
    assert_false(keyring_admit(keyring, &token.key, &renamed, NOW, &error));
    assert_true(keyring_revoke(keyring, "laptop", NOW, &count, &error));
    assert_int_equal(count, 1);
    assert_false(keyring_admit(keyring, &token.key, &laptop, NOW, &error)); /* a revoked key never comes back */
    assert_non_null(strstr(error.text, "revoked"));
    assert_true(keyring_admit(keyring, &token.key, &imposter, NOW, &error)); /* but its name may */
    release(keyring);
}

/* Keys whose secret is no secret: that of a token, which others may have been given too, and those of small order,
 * which have none. */
static void test_a_key_that_others_have(void **state) {
    (void)state;
    struct error error;
    const struct keyring_token token = token_of(ROLE_STAGE, 0, 0), other = token_of(ROLE_STAGE, 1, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key board = key_of(ROLE_STAGE, "pi-1");
    assert_true(keyring_add_token(keyring, &other, NOW, &error));
    assert_true(key_usable(&board.key));
    board.key = token.key;
    assert_false(keyring_admit(keyring, &token.key, &board, NOW, &error));
    assert_non_null(strstr(error.text, "make a new one"));
    board.key = other.key;
    assert_false(keyring_admit(keyring, &token.key, &board, NOW, &error));
    board.key = (struct public_key){{0}};
    assert_false(key_usable(&board.key));
    assert_false(keyring_admit(keyring, &token.key, &board, NOW, &error));
    board.key.bytes[0] = 1;
    assert_false(keyring_admit(keyring, &token.key, &board, NOW, &error));
    assert_int_equal(keyring->keys, 0);
    assert_int_equal(keyring->token[1].uses, 1);
    release(keyring);
}

static void test_revoke(void **state) {
    (void)state;
    struct error error;
    unsigned count;
    char text[KEY_TEXT_BYTES];
    const struct keyring_token token = token_of(ROLE_STAGE, 0, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key one = key_of(ROLE_STAGE, "one"), two = key_of(ROLE_STAGE, "two");
    assert_true(keyring_admit(keyring, &token.key, &one, NOW, &error));
    assert_true(keyring_admit(keyring, &token.key, &two, NOW, &error));
    assert_false(keyring_revoke(keyring, "three", NOW, &count, &error));
    assert_int_equal(error.code, ERROR_USAGE);
    key_print(two.key.bytes, text);
    text[7] = '\0'; /* too short to be meant */
    assert_false(keyring_revoke(keyring, text, NOW, &count, &error));
    key_print(two.key.bytes, text);
    text[12] = '\0';
    assert_true(keyring_revoke(keyring, text, NOW + 5, &count, &error));
    assert_true(keyring_find(keyring, &two.key)->revoked);
    assert_int_equal(keyring_find(keyring, &two.key)->since, NOW + 5);
    assert_false(keyring_find(keyring, &one.key)->revoked);
    key_print(token.key.bytes, text);
    assert_true(keyring_revoke(keyring, text, NOW, &count, &error));
    assert_int_equal(keyring->tokens, 0);
    release(keyring);
}

/* A board that was revoked starts again with the token that is in its unit file: that lets others in, and not it. */
static void test_a_token_older_than_the_revocation(void **state) {
    (void)state;
    struct error error;
    unsigned count;
    const struct keyring_token token = token_of(ROLE_STAGE, 0, 0), newer = token_of(ROLE_STAGE, 1, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key before = key_of(ROLE_STAGE, "pi-1"), after = key_of(ROLE_STAGE, "pi-1");
    struct keyring_key other = key_of(ROLE_STAGE, "pi-2");
    assert_true(keyring_admit(keyring, &token.key, &before, NOW + 1, &error));
    assert_true(keyring_revoke(keyring, "pi-1", NOW + 5, &count, &error));
    assert_false(keyring_admit(keyring, &token.key, &after, NOW + 6, &error));
    assert_non_null(strstr(error.text, "pi-1 was revoked after this token was made"));
    assert_true(keyring_admit(keyring, &token.key, &other, NOW + 6, &error));
    assert_true(keyring_add_token(keyring, &newer, NOW + 5, &error)); /* within the same second */
    assert_true(keyring_admit(keyring, &newer.key, &after, NOW + 7, &error));
    release(keyring);
}

/* A name is what is meant, if anyone has it; a board may not pass for the client, or for another's key. */
static void test_who_is_meant(void **state) {
    (void)state;
    struct error error;
    unsigned count;
    const struct keyring_token stages = token_of(ROLE_STAGE, 0, 0), clients = token_of(ROLE_CLIENT, 0, 0);
    struct keyring *keyring = keyring_with(&stages);
    struct keyring_key client = key_of(ROLE_CLIENT, "local"), board = key_of(ROLE_STAGE, "local");
    struct keyring_key victim = key_of(ROLE_STAGE, "pi-1"), thief = key_of(ROLE_STAGE, "thief");
    char text[KEY_TEXT_BYTES];
    key_print(victim.key.bytes, text);
    snprintf(thief.name, sizeof thief.name, "%.8s", text);
    assert_true(keyring_add_token(keyring, &clients, NOW, &error));
    assert_true(keyring_admit(keyring, &clients.key, &client, NOW, &error));
    assert_true(keyring_admit(keyring, &stages.key, &board, NOW, &error));
    assert_true(keyring_admit(keyring, &stages.key, &victim, NOW, &error));
    assert_true(keyring_admit(keyring, &stages.key, &thief, NOW, &error));
    assert_true(keyring_admitted(keyring, &victim));
    assert_false(keyring_revoke(keyring, "local", NOW, &count, &error));
    assert_int_equal(count, 0);
    assert_non_null(strstr(error.text, "a board and a client have that name"));
    assert_true(keyring_revoke(keyring, thief.name, NOW, &count, &error));
    assert_int_equal(count, 1);
    assert_true(keyring_admitted(keyring, &victim));
    assert_false(keyring_admitted(keyring, &thief));
    key_print(board.key.bytes, text);
    assert_true(keyring_revoke(keyring, text, NOW, &count, &error));
    assert_true(keyring_admitted(keyring, &client));
    release(keyring);
}

/* A list that is full of revoked keys takes new ones; one that is full of boards does not. */
static void test_a_full_list(void **state) {
    (void)state;
    struct error error;
    unsigned count;
    const struct keyring_token token = token_of(ROLE_STAGE, 0, 0);
    struct keyring *keyring = keyring_with(&token);
    struct keyring_key board = key_of(ROLE_STAGE, "new");
    char name[16];
    for (unsigned i = 0; i < KEYRING_KEYS_MAX; i++) {
        keyring->key[i] = (struct keyring_key){.role = ROLE_STAGE, .since = NOW};
        keyring->key[i].key.bytes[0] = (uint8_t)(i >> 8);
        keyring->key[i].key.bytes[1] = (uint8_t)i;
        snprintf(keyring->key[i].name, sizeof keyring->key[i].name, "pi-%u", i);
    }
    keyring->keys = KEYRING_KEYS_MAX;
    assert_false(keyring_admit(keyring, &token.key, &board, NOW, &error));
    assert_non_null(strstr(error.text, "is full"));
    for (unsigned i = 20; i < 23; i++) {
        snprintf(name, sizeof name, "pi-%u", i);
        assert_true(keyring_revoke(keyring, name, NOW + (i == 21 ? 1 : 2), &count, &error));
    }
    assert_true(keyring_admit(keyring, &token.key, &board, NOW + 3, &error));
    assert_int_equal(keyring->keys, KEYRING_KEYS_MAX);
    assert_true(keyring_admitted(keyring, &board));
    unsigned revoked = 0, oldest = 0;
    for (unsigned i = 0; i < keyring->keys; i++) {
        revoked += keyring->key[i].revoked;
        oldest += strcmp(keyring->key[i].name, "pi-21") == 0;
    }
    assert_int_equal(revoked, 2);
    assert_int_equal(oldest, 0);
    release(keyring);
}

static void test_tokens_that_are_past_make_room(void **state) {
    (void)state;
    struct error error;
    struct keyring *keyring = allocate(1, sizeof *keyring);
    for (int i = 0; i < KEYRING_TOKENS_MAX; i++) {
        const struct keyring_token token = token_of(ROLE_STAGE, 0, i % 2 ? 0 : NOW + 10);
        assert_true(keyring_add_token(keyring, &token, NOW, &error));
    }
    const struct keyring_token more = token_of(ROLE_STAGE, 1, 0);
    assert_false(keyring_add_token(keyring, &more, NOW, &error));
    assert_true(keyring_add_token(keyring, &more, NOW + 10, &error));
    assert_int_equal(keyring->tokens, KEYRING_TOKENS_MAX / 2 + 1);
    release(keyring);
}

/* ---- the file ---- */

static bool add_one(struct keyring *keyring, void *context, struct error *error) {
    return keyring_add_token(keyring, context, NOW, error);
}

static bool admit_one(struct keyring *keyring, void *context, struct error *error) {
    return keyring_admit(keyring, &keyring->token[0].key, context, NOW, error);
}

static bool think_better_of_it(struct keyring *keyring, void *context, struct error *error) {
    (void)context;
    keyring->keys = keyring->tokens = 0;
    return error_set(error, ERROR_INPUT, "no");
}

static void test_file(void **state) {
    (void)state;
    struct error error;
    struct stat status;
    char path[128];
    struct keyring *written = allocate(1, sizeof *written), *read = allocate(1, sizeof *read);
    struct keyring_token token = token_of(ROLE_STAGE, 3, NOW + 100);
    struct keyring_key key = key_of(ROLE_STAGE, "pi-1");
    assert_true(keyring_read(folder, read, &error)); /* none yet: empty */
    assert_int_equal(read->keys + read->tokens, 0);
    assert_true(keyring_update(folder, written, add_one, &token, &error));
    assert_true(keyring_update(folder, written, admit_one, &key, &error));
    assert_false(keyring_update(folder, read, think_better_of_it, NULL, &error));
    assert_true(keyring_read(folder, read, &error));
    assert_memory_equal(read, written, sizeof *read);
    assert_int_equal(read->token[0].uses, 2);
    folder_path("admitted", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(chmod(path, 0620), 0); /* others could let themselves in */
    assert_false(keyring_read(folder, read, &error));
    assert_non_null(strstr(error.text, "others may write there"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_true(keyring_read(folder, read, &error));
    assert_int_equal(chmod(folder, 0770), 0);
    assert_false(keyring_read(folder, read, &error));
    release(written);
    release(read);
}

/* Whatever is wrong with the file, nobody is let in by guessing, and nothing crashes. */
static void test_damaged_file(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "\n",
        "something else\n",
        "stagecoach admitted 1\n",
        "stagecoach admitted 2", /* cut short */
        "stagecoach admitted 2\nkey stage admitted 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\nkey stage admitted 5 AAAA one\n",
        "stagecoach admitted 2\nkey stage allowed 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one\n",
        "stagecoach admitted 2\nkey king admitted 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one\n",
        "stagecoach admitted 2\nkey stage admitted 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one two\n",
        "stagecoach admitted 2\nkey stage admitted 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA ../one\n",
        ("stagecoach admitted 2\nkey stage revoked 5 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one\n"
         "key stage admitted 6 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA one\n"), /* which of the two? */
        "stagecoach admitted 2\ntoken stage 1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\ntoken stage 1 0 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\ntoken stage 1 5 0 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", /* cut short */
        "stagecoach admitted 2\ntoken stage 4294967296 5 0 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\ntoken stage 1 5 9223372036854775808 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\ntoken stage -1 5 0 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
        "stagecoach admitted 2\n\n",
    };
    struct error error;
    char path[128];
    struct keyring *keyring = allocate(1, sizeof *keyring);
    folder_path("admitted", path);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(file_write_atomic(path, bad[i], strlen(bad[i]), &error));
        if (keyring_read(folder, keyring, &error))
            fail_msg("file %zu was read", i);
        assert_non_null(strstr(error.text, path));
    }
    assert_true(file_write_atomic(path, "stagecoach admitted 2\nkey \0\n", 28, &error));
    assert_false(keyring_read(folder, keyring, &error));
    release(keyring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_text),
        cmocka_unit_test(test_keys_are_no_options),
        cmocka_unit_test(test_token_text),
        cmocka_unit_test(test_token_typing_errors),
        cmocka_unit_test(test_token_used_once),
        cmocka_unit_test(test_token_until),
        cmocka_unit_test(test_what_a_token_does_not_do),
        cmocka_unit_test(test_a_key_that_others_have),
        cmocka_unit_test(test_revoke),
        cmocka_unit_test(test_a_token_older_than_the_revocation),
        cmocka_unit_test(test_who_is_meant),
        cmocka_unit_test(test_a_full_list),
        cmocka_unit_test(test_tokens_that_are_past_make_room),
        FOLDER_TEST(test_file),
        FOLDER_TEST(test_damaged_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
