/* Which boards have which tensors, so that a board that loads need not get them from the coordinator.
 *
 * A board says in its hello what its cache holds, as the beginnings of hashes; what it has loaded since is known from
 * its READY. Both are hints: a cache is bounded, and a board that has not got a tensor any more says so and costs the
 * asker one round trip. An assignment names up to MESSAGE_HOLDERS_MAX boards, those that have most of what is to be
 * loaded, in another order for each asker, so that many that load at once do not all begin with the same one. Where
 * there are keys, each board is told whose to let in: those of all boards that are here, and again when that changes.
 *
 * Memory: one sorted list for each board, kept until the next board of that number says hello. I/O thread only.
 */
#include "base/allocate.h"
#include "daemon/coordinator_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static uint64_t beginning(const uint8_t bytes[MESSAGE_CACHED_BYTES]) {
    uint64_t number;
    _Static_assert(sizeof number == MESSAGE_CACHED_BYTES, "a beginning is a number");
    memcpy(&number, bytes, sizeof number);
    return number;
}

static bool has(const struct holdings *holdings, const struct hash *hash) {
    uint64_t key = beginning(hash->bytes);
    return holdings->count > 0 &&
           bsearch(&key, holdings->list, holdings->count, sizeof *holdings->list, ascending) != NULL;
}

/* ---- what is known ---- */

void holders_joined(struct coordinator *c, unsigned board, const struct message_hello *hello) {
    struct holdings *holdings = &c->holdings[board];
    release(holdings->list);
    *holdings = (struct holdings){.list = allocate(hello->cached_count, sizeof *holdings->list),
                                  .count = hello->cached_count,
                                  .capacity = hello->cached_count};
    snprintf(holdings->endpoint, sizeof holdings->endpoint, "%s", hello->weights_endpoint);
    for (size_t i = 0; i < hello->cached_count; i++)
        holdings->list[i] = beginning(&hello->cached[i * MESSAGE_CACHED_BYTES]);
    if (holdings->count > 0)
        qsort(holdings->list, holdings->count, sizeof *holdings->list, ascending);
    holders_tell_fleet(c);
}

void holders_loaded(struct coordinator *c, unsigned board, struct slice slice) {
    struct holdings *holdings = &c->holdings[board];
    const struct tensor_entry *entries;
    size_t count = manifest_slice(c->manifest, slice, &entries), known = holdings->count;
    void *memory = holdings->list;
    allocate_grow(&memory, &holdings->capacity, known + count, sizeof *holdings->list);
    holdings->list = memory;
    const struct holdings before = {.list = holdings->list, .count = known};
    for (size_t i = 0; i < count; i++)
        if (!has(&before, &entries[i].hash))
            holdings->list[holdings->count++] = beginning(entries[i].hash.bytes);
    if (holdings->count > known)
        qsort(holdings->list, holdings->count, sizeof *holdings->list, ascending);
}

void holders_close(struct coordinator *c) {
    for (unsigned i = 0; i < CORE_BOARDS_MAX; i++)
        release(c->holdings[i].list);
    release(c->tensor_holders);
}

/* ---- what boards are told ---- */

void holders_tell_fleet(struct coordinator *c) {
    struct public_key keys[CORE_BOARDS_MAX];
    struct message message = {.type = MESSAGE_FLEET, .fleet = {.keys = keys}};
    if (!c->gate.on)
        return;
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].role == ROLE_STAGE && message.fleet.key_count < CORE_BOARDS_MAX)
            keys[message.fleet.key_count++] = c->peer[i].key;
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].role == ROLE_STAGE)
            coordinator_send(c, &c->peer[i].name, &message, NULL);
}

/* Bytes of these tensors that the board has; 0 when it is not one that could lend them. */
static uint64_t bytes_at(struct coordinator *c, unsigned board, const struct tensor_entry *entries, size_t count) {
    const struct holdings *holdings = &c->holdings[board];
    uint64_t bytes = 0;
    if (c->core.board[board].state == BOARD_ABSENT || !holdings->endpoint[0] || !peer_of_board(c, board))
        return 0;
    for (size_t i = 0; i < count; i++)
        bytes += has(holdings, &entries[i].hash) ? entries[i].bytes : 0;
    return bytes;
}

/* The boards that have most, most first; returns how many. */
static unsigned choose(struct coordinator *c, unsigned asker, const struct tensor_entry *entries, size_t count,
                       unsigned chosen[MESSAGE_HOLDERS_MAX]) {
    uint64_t most[MESSAGE_HOLDERS_MAX];
    unsigned holders = 0;
    for (unsigned board = 0; board < c->core.boards; board++) {
        uint64_t bytes = board == asker ? 0 : bytes_at(c, board, entries, count);
        unsigned at = holders;
        while (at > 0 && most[at - 1] < bytes)
            at--;
        if (bytes == 0 || at == MESSAGE_HOLDERS_MAX)
            continue;
        holders += holders < MESSAGE_HOLDERS_MAX;
        for (unsigned i = holders - 1; i > at; i--) {
            most[i] = most[i - 1];
            chosen[i] = chosen[i - 1];
        }
        most[at] = bytes;
        chosen[at] = board;
    }
    return holders;
}

void holders_name(struct coordinator *c, unsigned asker, struct message_assign *assign) {
    unsigned chosen[MESSAGE_HOLDERS_MAX];
    unsigned count = choose(c, asker, assign->tensors, assign->tensor_count, chosen);
    if (count == 0)
        return;
    void *memory = c->tensor_holders;
    allocate_grow(&memory, &c->tensor_holders_capacity, assign->tensor_count, sizeof *c->tensor_holders);
    c->tensor_holders = memory;
    for (size_t i = 0; i < assign->tensor_count; i++)
        c->tensor_holders[i] = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned board = chosen[(i + asker) % count];
        boards_endpoint_for(c, asker, c->holdings[board].endpoint, c->named_endpoint[i]);
        c->named[i] = (struct message_holder){c->named_endpoint[i], gate_key_of(c, board)};
        for (size_t j = 0; j < assign->tensor_count; j++)
            if (has(&c->holdings[board], &assign->tensors[j].hash))
                c->tensor_holders[j] |= UINT32_C(1) << i;
    }
    assign->holders = c->named;
    assign->holder_count = count;
    assign->tensor_holders = c->tensor_holders;
}
