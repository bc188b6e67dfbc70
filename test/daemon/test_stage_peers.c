/* The port at which a board lends tensors: right bytes to those who may ask, "not here" for what is not, nothing to
 * others, and no mapping that stays behind. */
#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/cache.h"
#include "daemon/stage_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TENSOR_BYTES 300000
#define PATIENCE     (10 * MONO_SECOND)

/* A board that lends, and one that asks. */
struct world {
    struct stage stage;
    struct stage_options options;
    struct identity identity;
    struct error failure;
    char directory[64], path[192];
    struct hash hash;
    uint8_t *bytes;
    struct net *there;
    struct net_socket *asker;
    struct key_pair keys;
    struct arena *arena;
};

static void write_tensor(struct world *world) {
    struct error error = {0};
    char hex[HASH_HEX_BYTES];
    world->bytes = allocate(TENSOR_BYTES, 1);
    for (size_t i = 0; i < TENSOR_BYTES; i++)
        world->bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    world->hash = hash_of(world->bytes, TENSOR_BYTES);
    struct cache *cache = cache_new(world->directory, 0, &error);
    assert_non_null(cache);
    struct cache_part *part = cache_part_new(cache, &world->hash, TENSOR_BYTES, &error);
    assert_true(cache_part_write(part, 0, world->bytes, TENSOR_BYTES, &error) && cache_part_finish(&part, &error));
    cache_destroy(&cache);
    hash_to_hex(&world->hash, hex);
    snprintf(world->path, sizeof world->path, "%s/tensors/%s", world->directory, hex);
}

static void connect_asker(struct world *world) {
    struct error error = {0};
    const struct net_options options = {.frame_max = MESSAGE_CHUNK_MAX,
                                        .queue = 8,
                                        .keys = world->options.identity ? &world->keys : NULL,
                                        .server = &world->identity.keys.own};
    world->asker = net_connect(world->there, NET_DEALER, net_endpoint(world->stage.peers), &options, &error);
    assert_non_null(world->asker);
}

static struct world *world_new(bool keyed) {
    struct error error = {0};
    struct world *world = allocate(1, sizeof *world);
    struct stage *stage = &world->stage;
    snprintf(world->directory, sizeof world->directory, "/tmp/stagecoach-test-peers-XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    write_tensor(world);
    key_pair_make(&world->identity.keys);
    key_pair_make(&world->keys);
    world->options =
        (struct stage_options){.cache_directory = world->directory, .identity = keyed ? &world->identity : NULL};
    stage->options = &world->options;
    stage->failure = &world->failure;
    stage_core_init(&stage->core);
    stage->encoded = arena_new(1 << 20);
    stage->net = net_new(&error);
    snprintf(stage->listen, sizeof stage->listen, "tcp://127.0.0.1:0");
    if (!peers_open(stage, &error))
        fail_msg("%s", error.text);
    world->there = net_new(&error);
    world->arena = arena_new(1 << 20);
    connect_asker(world);
    return world;
}

static void world_destroy(struct world *world) {
    char tensors[96];
    struct stage *stage = &world->stage;
    net_close(&world->asker, 0);
    net_destroy(&world->there, 0);
    net_close(&stage->peers, 0);
    net_destroy(&stage->net, 0);
    arena_destroy(&stage->encoded);
    arena_destroy(&stage->request);
    arena_destroy(&world->arena);
    unlink(world->path);
    snprintf(tensors, sizeof tensors, "%s/tensors", world->directory);
    rmdir(tensors);
    rmdir(world->directory);
    release(world->bytes);
    release(world);
}

/* Both boards live for a moment. */
static void turn(struct world *world) {
    struct net_wait here = {.socket = world->stage.peers, .readable = true};
    struct net_wait there = {.socket = world->asker, .readable = true};
    assert_true(net_wait(&here, 1, 5, NULL));
    peers_turn(&world->stage);
    assert_true(net_wait(&there, 1, 5, NULL));
}

static void say(struct world *world, const struct message *message) {
    struct error error = {0};
    struct net_piece piece = {0};
    arena_reset(world->arena);
    assert_true(message_encode(world->arena, message, &piece.data, &piece.size, &error));
    assert_int_equal(net_send(world->asker, NULL, &piece, 1), NET_OK);
}

static void ask(struct world *world, const struct hash *hash, uint64_t offset, uint32_t bytes) {
    say(world, &(struct message){.type = MESSAGE_TENSOR_GET, .tensor_get = {*hash, offset, bytes}});
}

/* The answer; *raw must be closed. False when none comes for so long. */
static bool answered(struct world *world, int64_t patience, struct message *message, struct net_message *raw) {
    struct error error = {0};
    mono_t start = mono_now();
    while (net_receive(world->asker, raw) != NET_OK) {
        if (mono_since(mono_now(), start) > patience)
            return false;
        turn(world);
    }
    arena_reset(world->arena);
    if (!message_decode(world->arena, net_frame_data(&raw->frame[0]), net_frame_size(&raw->frame[0]), message, &error))
        fail_msg("%s", error.text);
    return true;
}

static void assert_lent(struct world *world, uint64_t offset, uint32_t bytes) {
    struct message message;
    struct net_message raw;
    ask(world, &world->hash, offset, bytes);
    assert_true(answered(world, PATIENCE, &message, &raw));
    assert_int_equal(message.type, MESSAGE_TENSOR_PART);
    assert_int_equal(message.tensor_part.offset, offset);
    assert_memory_equal(&message.tensor_part.hash, &world->hash, sizeof world->hash);
    assert_int_equal(raw.count, 2);
    assert_int_equal(net_frame_size(&raw.frame[1]), bytes);
    assert_memory_equal(net_frame_data(&raw.frame[1]), world->bytes + offset, bytes);
    net_message_close(&raw);
}

static void assert_absent(struct world *world, const struct hash *hash, uint64_t offset, uint32_t bytes) {
    struct message message;
    struct net_message raw;
    ask(world, hash, offset, bytes);
    assert_true(answered(world, PATIENCE, &message, &raw));
    assert_int_equal(message.type, MESSAGE_TENSOR_ABSENT);
    assert_memory_equal(&message.tensor_absent.hash, hash, sizeof *hash);
    assert_int_equal(raw.count, 1);
    net_message_close(&raw);
}

/* ---- tests ---- */

static void test_what_is_here(void **state) {
    (void)state;
    struct world *world = world_new(false);
    assert_lent(world, 0, TENSOR_BYTES);
    assert_lent(world, 12345, 1);
    assert_lent(world, TENSOR_BYTES - 7, 7);
    world_destroy(world);
}

static void test_what_is_not_here(void **state) {
    (void)state;
    struct world *world = world_new(false);
    struct hash other = hash_of("other", 5);
    assert_absent(world, &other, 0, 1);
    assert_absent(world, &world->hash, 0, TENSOR_BYTES + 1);
    assert_absent(world, &world->hash, TENSOR_BYTES, 1);
    assert_absent(world, &world->hash, UINT64_MAX - 1, 1);
    unlink(world->path);
    assert_absent(world, &world->hash, 0, 1);
    world_destroy(world);
}

/* What was lent is given back when it was sent, and when the asker is gone. */
static void test_loans_end(void **state) {
    (void)state;
    uint64_t before = allocation_bytes();
    struct world *world = world_new(false);
    for (unsigned i = 0; i < FETCH_CHUNKS; i++)
        ask(world, &world->hash, i, TENSOR_BYTES - 100);
    for (unsigned i = 0; i < 20; i++)
        turn(world);
    world_destroy(world);
    assert_int_equal(allocation_bytes(), before);
}

static void test_nonsense(void **state) {
    (void)state;
    struct world *world = world_new(false);
    const struct net_piece two[2] = {{"x", 1, NULL, NULL}, {"y", 1, NULL, NULL}};
    mono_t start = mono_now();
    assert_int_equal(net_send(world->asker, NULL, two, 1), NET_OK);
    assert_int_equal(net_send(world->asker, NULL, two, 2), NET_OK);
    say(world, &(struct message){.type = MESSAGE_STATUS_GET});
    while (world->stage.core.rejected.malformed < 3 && mono_since(mono_now(), start) < PATIENCE)
        turn(world);
    assert_int_equal(world->stage.core.rejected.malformed, 3);
    assert_lent(world, 0, 10);
    world_destroy(world);
}

static void test_who_may_ask(void **state) {
    (void)state;
    struct world *world = world_new(true);
    struct message message;
    struct net_message raw;
    struct key_pair other;
    key_pair_make(&other);
    ask(world, &world->hash, 0, 10);
    assert_false(answered(world, MONO_SECOND / 2, &message, &raw)); /* nobody was named yet */
    peers_admit(&world->stage, &(struct message_fleet){&other.own, 1});
    assert_false(answered(world, MONO_SECOND / 2, &message, &raw));
    const struct public_key fleet[] = {other.own, world->keys.own};
    peers_admit(&world->stage, &(struct message_fleet){fleet, 2});
    assert_true(answered(world, PATIENCE, &message, &raw));
    net_message_close(&raw);
    assert_lent(world, 5, 50);
    peers_admit(&world->stage, &(struct message_fleet){&other.own, 1}); /* it was revoked: its connection is no use */
    ask(world, &world->hash, 0, 10);
    assert_false(answered(world, MONO_SECOND / 2, &message, &raw));
    world_destroy(world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_here), cmocka_unit_test(test_what_is_not_here), cmocka_unit_test(test_loans_end),
        cmocka_unit_test(test_nonsense),     cmocka_unit_test(test_who_may_ask),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
