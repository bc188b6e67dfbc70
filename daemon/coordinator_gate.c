/* Who may talk to the coordinator, and what they may say.
 *
 * Beyond loopback (or with --secure) the coordinator has a key pair, kept in the state directory, and its sockets let
 * in only keys of the list there (keyring.h): boards, clients, and the keys of open tokens. The first start makes the
 * keys and prints a token; the same user's `submit` and `status` on this machine are let in without one. Of each
 * message it is asked whose it is: a token's key may only ask to join, a client's never speaks for a board, a board
 * only under the name that it was admitted by; boards are drained by the user who runs the coordinator alone; and
 * nobody through a connection's name that another key began.
 *
 * `stagecoach keys` changes the list; the directory is watched, so a change counts in the same turn of the loop:
 * whoever is not admitted any more is disconnected, its board lost, and what it still says is dropped by net_receive; a
 * connection that had not said who it is is ended with its next word. A list that is damaged leaves the one in force as
 * it is; one that cannot be read for want of descriptors or memory, which strangers may bring about, is read again each
 * second until it can. Files are read and written here, in the I/O thread, when boards join and the list changes: some
 * kilobytes. */
#include "base/allocate.h"
#include "base/file.h"
#include "base/log.h"
#include "daemon/coordinator_internal.h"
#include "daemon/token.h"

#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define DAY             86400
#define HOUR            3600
#define IN_WATCHED_GONE (IN_DELETE_SELF | IN_MOVE_SELF)

/* ---- the list and the sockets ---- */

static unsigned keys_of(const struct keyring *keyring, bool clients, struct public_key *keys) {
    unsigned count = 0;
    for (unsigned i = 0; i < keyring->keys; i++)
        if (!keyring->key[i].revoked && (clients || keyring->key[i].role == ROLE_STAGE))
            keys[count++] = keyring->key[i].key;
    return count;
}

/* Tells the sockets whom to let in: on control all who are admitted and open tokens, on results boards. */
static void tell_sockets(struct coordinator *c) {
    const struct keyring *keyring = c->gate.keyring;
    struct public_key *keys = allocate(KEYRING_KEYS_MAX + KEYRING_TOKENS_MAX, sizeof *keys);
    net_admit(c->results, keys, keys_of(keyring, false, keys));
    unsigned count = keys_of(keyring, true, keys);
    const int64_t now = time(NULL);
    c->gate.next_expiry = 0;
    for (unsigned i = 0; i < keyring->tokens; i++) {
        const struct keyring_token *token = &keyring->token[i];
        if (!keyring_token_open(token, now))
            continue;
        keys[count++] = token->key;
        if (token->until != 0 && (c->gate.next_expiry == 0 || token->until < c->gate.next_expiry))
            c->gate.next_expiry = token->until;
    }
    net_admit(c->control, keys, count);
    release(keys);
}

static bool admitted(const struct coordinator *c, const struct public_key *key) {
    const struct keyring_key *entry = keyring_find(c->gate.keyring, key);
    return entry && !entry->revoked;
}

/* Whoever is here and not admitted any more is not here any more. */
static void expel(struct coordinator *c) {
    for (unsigned i = 0; i < c->peers;) {
        struct peer gone = c->peer[i];
        if (admitted(c, &gone.key)) {
            i++;
            continue;
        }
        const struct keyring_key *entry = keyring_find(c->gate.keyring, &gone.key);
        log_warn("%s %s is revoked and out", role_name(gone.role), entry ? entry->name : "(removed from the list)");
        peer_remove(c, &c->peer[i]);
        if (gone.connection >= 0)
            net_hang_up(gone.connection);
        peer_gone(c, &gone);
        i = 0; /* that may have removed others */
    }
}

static void reload(struct coordinator *c) {
    struct error error;
    struct gate *gate = &c->gate;
    struct keyring *fresh = allocate(1, sizeof *fresh);
    gate->read_at = mono_now();
    if (!keyring_read(c->options->state_directory, fresh, &error)) {
        gate->outdated = error.code == ERROR_SYSTEM;
        if (!gate->told)
            log_error("the list of admitted keys is kept as it was: %s", error.text);
        gate->told = true;
        release(fresh);
        return;
    }
    release(gate->keyring);
    gate->keyring = fresh;
    gate->outdated = false;
    tell_sockets(c);
    expel(c);
    holders_tell_fleet(c);
}

/* Was the list, or the whole directory, changed since it was asked last? */
static bool changed(struct coordinator *c) {
    _Alignas(struct inotify_event) char bytes[4096];
    bool found = false;
    ssize_t got;
    while ((got = read(c->gate.watch, bytes, sizeof bytes)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *event = (const struct inotify_event *)(const void *)(bytes + at);
            found = found || (event->len > 0 && strcmp(event->name, KEYRING_FILE) == 0) || event->mask & IN_Q_OVERFLOW;
            if (event->mask & IN_WATCHED_GONE)
                log_error("%s is gone: changes of the list of admitted keys are seen after a restart only",
                          c->options->state_directory);
            at += (ssize_t)sizeof *event + event->len;
        }
    return found;
}

void gate_turn(struct coordinator *c) {
    struct gate *gate = &c->gate;
    if (!gate->on)
        return;
    bool now = changed(c);
    if (now)
        gate->told = false;
    if (now || (gate->outdated && mono_since(mono_now(), gate->read_at) >= MONO_SECOND))
        reload(c);
    if (gate->next_expiry != 0 && time(NULL) >= gate->next_expiry)
        tell_sockets(c);
}

/* ---- the first start, and every other ---- */

static bool watch(struct coordinator *c, struct error *error) {
    const char *directory = c->options->state_directory;
    c->gate.watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return (c->gate.watch >= 0 && inotify_add_watch(c->gate.watch, directory,
                                                    IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_WATCHED_GONE) >= 0) ||
           error_set_errno(error, "%s: cannot be watched", directory);
}

bool gate_prepare(struct coordinator *c, struct error *error) {
    const struct coordinator_options *options = c->options;
    c->gate.watch = -1;
    c->gate.on = options->secure || (!options->insecure && !net_is_loopback(options->listen));
    if (!c->gate.on && !net_is_loopback(options->listen))
        log_warn("--insecure: without keys; whoever reaches %s can read, submit and join", options->listen);
    if (!c->gate.on)
        return true;
    if (!options->state_directory)
        return error_set(error, ERROR_USAGE,
                         "--listen %s: beyond loopback there must be keys, and --state DIR to keep them in; --insecure "
                         "does without, on a network you trust",
                         options->listen);
    c->gate.keyring = allocate(1, sizeof *c->gate.keyring);
    return identity_own_keys(options->state_directory, "coordinator", &c->gate.keys, error) && watch(c, error) &&
           keyring_read(options->state_directory, c->gate.keyring, error);
}

void gate_close(struct coordinator *c) {
    release(c->gate.keyring);
    key_forget(&c->gate.keys, sizeof c->gate.keys);
    if (c->gate.watch > 0)
        close(c->gate.watch);
}

/* The first token, and the client on this machine that needs none. */
struct beginning {
    struct keyring_token token;
    struct keyring_key client;
    bool token_made;
};

static bool begin(struct keyring *keyring, void *context, struct error *error) {
    struct beginning *beginning = context;
    bool stages = keyring->tokens > 0, client = false;
    for (unsigned i = 0; i < keyring->keys; i++) {
        stages = stages || keyring->key[i].role == ROLE_STAGE;
        client = client || key_equal(&keyring->key[i].key, &beginning->client.key) ||
                 (!keyring->key[i].revoked && keyring->key[i].role == ROLE_CLIENT &&
                  strcmp(keyring->key[i].name, beginning->client.name) == 0);
    }
    if (!client && keyring_make_room(keyring))
        keyring->key[keyring->keys++] = beginning->client;
    beginning->token_made = !stages;
    return stages || keyring_add_token(keyring, &beginning->token, time(NULL), error);
}

static void print_token(struct coordinator *c, const struct token *token, const struct keyring_token *made) {
    char text[TOKEN_TEXT_MAX], host[256] = "COORDINATOR";
    const char *endpoint = net_endpoint(c->control), *port = strrchr(endpoint, ':');
    bool everywhere = net_is_everywhere(endpoint);
    token_print(token, text);
    gethostname(host, sizeof host - 1);
    fprintf(stderr,
            "\nFirst start: keys were made in %s.\nThis token lets in %u board%s within %s, and is shown only now:\n\n"
            "  stagecoach stage --coordinator %s%s%s --token %s\n\n"
            "More: 'stagecoach keys token --state %s', for clients on other machines with --role client.\n\n",
            c->options->state_directory, made->uses, made->uses == 1 ? "" : "s",
            made->until > time(NULL) + HOUR ? "a day" : "an hour", everywhere ? "tcp://" : endpoint,
            everywhere ? host : "", everywhere ? port : "", text, c->options->state_directory);
    key_forget(text, sizeof text);
}

/* Makes what a first start makes, as far as it is missing. */
static bool first_start(struct coordinator *c, struct error *error) {
    const char *directory = c->options->state_directory;
    struct key_pair pair, client;
    struct token token;
    struct beginning beginning = {.client = {.role = ROLE_CLIENT, .since = time(NULL), .name = KEYRING_LOCAL_CLIENT}};
    unsigned stages = c->options->cut_count ? c->options->cut_count + 1 : c->options->stages;
    if (!identity_own_keys(directory, "client", &client, error))
        return false;
    beginning.client.key = c->gate.owner = client.own;
    key_forget(&client, sizeof client);
    token_make(ROLE_STAGE, &c->gate.keys.own, &token, &pair);
    beginning.token =
        (struct keyring_token){.key = pair.own, .role = ROLE_STAGE, .uses = stages, .until = time(NULL) + DAY};
    if (stages == 0) { /* nobody knows how many there will be: as many as a fleet has, but not for long */
        beginning.token.uses = MESSAGE_BOARDS_MAX;
        beginning.token.until = time(NULL) + HOUR;
    }
    key_forget(&pair, sizeof pair);
    bool ok = keyring_update(directory, c->gate.keyring, begin, &beginning, error);
    if (ok && beginning.token_made)
        print_token(c, &token, &beginning.token);
    else if (ok)
        log_info("boards and clients need keys; 'stagecoach keys token --state %s' makes a token", directory);
    key_forget(&token, sizeof token);
    return ok;
}

/* How this machine reaches the coordinator. */
static void local_endpoint(const struct coordinator *c, char out[NET_ENDPOINT_MAX]) {
    const char *endpoint = net_endpoint(c->control);
    bool everywhere = net_is_everywhere(endpoint);
    snprintf(out, NET_ENDPOINT_MAX, "%s%s", everywhere ? "tcp://127.0.0.1" : endpoint,
             everywhere ? strrchr(endpoint, ':') : "");
}

bool gate_open(struct coordinator *c, struct error *error) {
    char endpoint[NET_ENDPOINT_MAX];
    struct public_key known;
    bool found = false;
    const char *directory = c->options->state_directory;
    local_endpoint(c, endpoint);
    if (!c->gate.on) { /* commands on this machine must not look for keys that were here before */
        if (directory && identity_known(directory, endpoint, &known, &found, error) && found)
            identity_remember(directory, endpoint, NULL, error);
        return true;
    }
    if (!first_start(c, error) || !identity_remember(directory, endpoint, &c->gate.keys.own, error))
        return false;
    tell_sockets(c);
    return true;
}

/* ---- messages ---- */

/* Counts what may not be said and logs it with the address, at most once a second. */
static void deny(struct coordinator *c, const struct net_message *received, const char *what) {
    char key[KEY_TEXT_BYTES], address[NET_ADDRESS_MAX];
    const struct keyring_key *entry = keyring_find(c->gate.keyring, &received->key);
    mono_t now = mono_now();
    c->rejected.denied++;
    if (mono_since(now, c->gate.denied_logged) < MONO_SECOND)
        return;
    c->gate.denied_logged = now;
    key_print(received->key.bytes, key);
    net_peer_address(received->connection, address);
    log_warn("denied %s: %s, by %s %s (key %s)", address, what, entry ? role_name(entry->role) : "a token's bearer,",
             entry ? entry->name : "", key);
}

static void refuse(struct coordinator *c, const struct net_message *received, const char *text) {
    coordinator_send(c, &received->peer, &(struct message){.type = MESSAGE_REFUSE, .refuse = {text, false}}, NULL);
    deny(c, received, text);
}

struct admission {
    struct public_key token;
    struct keyring_key wanted;
};

static bool admit(struct keyring *keyring, void *context, struct error *error) {
    const struct admission *admission = context;
    return keyring_admit(keyring, &admission->token, &admission->wanted, time(NULL), error);
}

static void on_join(struct coordinator *c, const struct net_message *received, const struct message_join *join) {
    struct error error;
    char text[256];
    if (join->protocol != PROTOCOL_VERSION) { /* it would be refused afterwards, and the token gone */
        snprintf(text, sizeof text,
                 "%s speaks protocol %u, this coordinator (version %s) %d: install the same version on every board",
                 join->name, join->protocol, STAGECOACH_VERSION, PROTOCOL_VERSION);
        refuse(c, received, text);
        return;
    }
    struct admission admission = {.token = received->key, .wanted = {.key = *join->key, .role = join->role}};
    snprintf(admission.wanted.name, sizeof admission.wanted.name, "%s", join->name);
    if (keyring_admitted(c->gate.keyring,
                         &admission.wanted)) { /* the answer was lost, perhaps; nothing to be written */
        coordinator_send(c, &received->peer, &(struct message){.type = MESSAGE_JOINED}, NULL);
        return;
    }
    struct keyring *fresh = allocate(1, sizeof *fresh);
    if (keyring_update(c->options->state_directory, fresh, admit, &admission, &error)) {
        release(c->gate.keyring);
        c->gate.keyring = fresh;
        tell_sockets(c);
        log_info("%s %s is admitted by a token", role_name(join->role), join->name);
        coordinator_send(c, &received->peer, &(struct message){.type = MESSAGE_JOINED}, NULL);
        return;
    }
    release(fresh);
    refuse(c, received, error.text);
}

/* Why a hello may not be said by that key, NULL when it may. */
static const char *hello_objection(const struct keyring_key *entry, const struct message_hello *hello, char text[256]) {
    if (hello->role != entry->role) {
        snprintf(text, 256, "a %s's key cannot act as a %s", role_name(entry->role), role_name(hello->role));
        return text;
    }
    if (hello->role != ROLE_STAGE || strcmp(hello->name, entry->name) == 0)
        return NULL;
    snprintf(text, 256, "this board was admitted as %s, and says it is %s", entry->name, hello->name);
    return text;
}

bool gate_passes(struct coordinator *c, const struct net_message *received, const struct message *message) {
    char text[256];
    const char *objection = NULL;
    if (!c->gate.on) {
        c->rejected.malformed += message->type == MESSAGE_JOIN;
        return message->type != MESSAGE_JOIN;
    }
    const struct keyring_key *entry = keyring_find(c->gate.keyring, &received->key);
    const struct peer *peer = peer_find(c, &received->peer);
    if (!entry && message->type == MESSAGE_JOIN) {
        on_join(c, received, &message->join);
        return false;
    }
    if (!entry || entry->revoked)
        objection = "a message that is no request to join";
    else if (message->type == MESSAGE_JOIN)
        objection = "a request to join by one who is in";
    else if (peer && !key_equal(&peer->key, &received->key))
        objection = "a message in the name of another";
    else if (message->type == MESSAGE_HELLO)
        objection = hello_objection(entry, &message->hello, text);
    else if (message->type == MESSAGE_DRAIN && !key_equal(&received->key, &c->gate.owner))
        objection = "only the user who runs the coordinator may drain boards, on its machine";
    if (!objection)
        return true;
    refuse(c, received, objection);
    return false;
}

void gate_denied(struct coordinator *c, const struct net_message *received) {
    deny(c, received, "a message of a key that is not admitted any more");
    if (received->connection >= 0)
        net_hang_up(received->connection); /* it never said hello, or expel() would have */
}

bool gate_passes_result(struct coordinator *c, const struct net_message *received, epoch_t epoch) {
    if (!c->gate.on || key_equal(&received->key, &c->gate.last_stage[epoch_lane(epoch)]))
        return true;
    deny(c, received, "a result that is not of the last stage");
    return false;
}

const struct public_key *gate_key_of(const struct coordinator *c, unsigned board) {
    return c->gate.on ? &c->board[board].key : NULL;
}

const struct public_key *gate_own_key(const struct coordinator *c) {
    return c->gate.on ? &c->gate.keys.own : NULL;
}
