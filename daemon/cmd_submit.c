/* stagecoach submit: sends image files to the coordinator and prints the answers in the order of the files.
 *
 * A window of unanswered files (told by the coordinator) is kept full; files are read when their turn comes, so
 * thousands of them cost no memory. Answers come in any order; each is formatted at once and kept until those before it
 * are printed. A coordinator that goes away is waited for, and what it has not answered is sent again under the same
 * number, so that each file is answered once. Whatever happens, every file gets its line.
 */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/client.h"
#include "daemon/commands.h"
#include "daemon/output.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define WINDOW_BYTES ((size_t)64 << 20) /* of unanswered files, beside the window of the coordinator */

struct values {
    const char *coordinator;
    bool json, logits, quiet, unordered;
    unsigned top, repeat, patience_s;
    struct key_values key;
};

/* One submission of one file. */
struct entry {
    char *line;                   /* formatted answer until it is printed */
    size_t bytes;                 /* of the file, while it is unanswered */
    bool asked, answered, failed; /* asked: of the coordinator that is there now */
};

struct session {
    const struct values *values;
    struct client client;
    char **files;
    size_t file_count, total;
    struct entry *entries; /* [total] */
    uint64_t request;
    size_t window, sent, answered, printed, failed;
    size_t waiting, bytes; /* entries that were sent and not answered, and the size of their files */
    struct progress progress;
};

static void print_entry(struct session *session, struct entry *entry) {
    progress_clear(&session->progress);
    fputs(entry->line, entry->failed && !session->values->json ? stderr : stdout);
    release(entry->line);
    entry->line = NULL;
}

/* Prints the entry that was just answered, or, to keep the order of the files, all up to the first that is not. */
static void print_ready(struct session *session, struct entry *answered) {
    if (session->values->unordered)
        print_entry(session, answered);
    for (; session->printed < session->total && session->entries[session->printed].answered; session->printed++)
        if (session->entries[session->printed].line)
            print_entry(session, &session->entries[session->printed]);
    fflush(stdout); /* answers stream, also into a pipe */
}

static void finish(struct session *session, size_t index, struct answer *answer) {
    struct entry *entry = &session->entries[index];
    answer->file = session->files[index % session->file_count];
    entry->line = answer_line(answer, session->values->json);
    entry->answered = true;
    session->waiting -= entry->asked;
    session->bytes -= entry->bytes;
    entry->bytes = 0;
    entry->failed = answer->error && answer->error[0];
    session->answered++;
    session->failed += entry->failed;
    print_ready(session, entry);
}

static void finish_with_error(struct session *session, size_t index, const char *text) {
    struct answer answer = {.error = text};
    finish(session, index, &answer);
}

static void file_released(void *data, void *context) {
    (void)context;
    release(data);
}

/* False when the socket takes no more at the moment. */
static bool send_next(struct session *session) {
    void *bytes;
    size_t size, index = session->sent;
    struct error error;
    if (!net_writable(session->client.socket))
        return false;
    session->sent++;
    if (session->entries[index].answered) /* by a coordinator before this one */
        return true;
    if (!command_read_file(session->files[index % session->file_count], &bytes, &size, &error)) {
        finish_with_error(session, index, error.text);
        return true;
    }
    const struct message message = {.type = MESSAGE_SUBMIT,
                                    .submit = {.request = session->request,
                                               .item = (uint32_t)index,
                                               .top = session->values->top,
                                               .logits = session->values->logits}};
    const struct net_piece raw = {.data = bytes, .size = size, .released = file_released};
    session->entries[index].bytes = size;
    session->entries[index].asked = true;
    session->bytes += size;
    session->waiting++;
    if (client_send(&session->client, &message, &raw) != NET_OK)
        finish_with_error(session, index, "could not be sent to the coordinator");
    return true;
}

static void on_answer(struct session *session, const struct net_message *received,
                      const struct message_answer *message) {
    if (message->request != session->request || message->item >= session->total ||
        !session->entries[message->item].asked || session->entries[message->item].answered)
        return;
    struct answer answer = {
        .error = message->error, .top = message->top, .top_count = message->top_count, .embedding = message->embedding};
    float *numbers = NULL;
    if (received->count == 2 && net_frame_size(&received->frame[1]) % sizeof(float) == 0) {
        answer.number_count = net_frame_size(&received->frame[1]) / sizeof(float);
        numbers = allocate(answer.number_count + 1, sizeof(float));
        memcpy(numbers, net_frame_data(&received->frame[1]), answer.number_count * sizeof(float));
        answer.numbers = numbers;
    }
    finish(session, message->item, &answer);
    release(numbers);
}

static bool may_send(const struct session *session) {
    return session->sent < session->total && session->waiting < session->window && session->bytes < WINDOW_BYTES;
}

static void give_up(struct session *session, const char *text) {
    for (size_t i = 0; i < session->total; i++)
        if (!session->entries[i].answered)
            finish_with_error(session, i, text);
    session->sent = session->total;
}

static bool say_hello(struct session *session, struct error *error) {
    struct net_message received;
    struct message answer;
    const struct message hello = {
        .type = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION, .version = STAGECOACH_VERSION, .role = ROLE_CLIENT, .name = "submit"}};
    if (!client_ask(&session->client, &hello, MESSAGE_WELCOME, &received, &answer, error))
        return false;
    session->window = answer.welcome.window > 0 ? answer.welcome.window : 1;
    net_message_close(&received);
    return true;
}

static void forget_what_was_asked(struct session *session) {
    size_t first = session->total;
    for (size_t i = session->total; i-- > 0;) {
        struct entry *entry = &session->entries[i];
        if (entry->answered)
            continue;
        entry->asked = false;
        entry->bytes = 0;
        first = i;
    }
    session->waiting = session->bytes = 0;
    session->sent = first < session->sent ? first : session->sent;
}

/* The coordinator is gone: waits for it, or another at its address, and starts again with what is unanswered. */
static void reconnect(struct session *session, const char *why) {
    struct error error;
    mono_t deadline = mono_after(mono_now(), session->values->patience_s * MONO_SECOND);
    bool back = false;
    progress_clear(&session->progress);
    if (!session->values->quiet && session->values->patience_s > 0)
        fprintf(stderr, "stagecoach: %s; waiting up to %u s for it to come back\n", why, session->values->patience_s);
    error_set(&error, ERROR_TIMEOUT, "%s", why);
    while (!back && error.code == ERROR_TIMEOUT && mono_since(deadline, mono_now()) > 0)
        back = client_reopen(&session->client, &error) && say_hello(session, &error);
    if (back)
        forget_what_was_asked(session);
    else
        give_up(session, error.code == ERROR_TIMEOUT ? why : error.text);
}

static void stream(struct session *session) {
    struct net_message received;
    struct message message;
    struct error error;
    char why[sizeof error.text];
    while (session->answered < session->total) {
        while (may_send(session) && send_next(session))
            continue;
        progress_draw(&session->progress, session->answered, false);
        if (session->answered == session->total)
            break;
        if (client_receive(&session->client, 200, &received, &message, &error)) {
            if (message.type == MESSAGE_ANSWER)
                on_answer(session, &received, &message.answer);
            bool unknown = message.type == MESSAGE_REFUSE; /* to another coordinator than the one that knew us */
            if (unknown)
                snprintf(why, sizeof why, "%s", message.refuse.text);
            net_message_close(&received);
            if (unknown)
                reconnect(session, why);
        } else if (error.code != ERROR_TIMEOUT) {
            snprintf(why, sizeof why, "%s", error.text);
            reconnect(session, why);
        }
    }
    progress_draw(&session->progress, session->answered, true);
}

static void report(const struct session *session) {
    double seconds = (double)mono_now().ns / 1e9 - session->progress.started;
    size_t done = session->answered - session->failed;
    if (session->values->quiet)
        return;
    fprintf(stderr, "%zu image%s in %.2f s: %.1f images/s", done, done == 1 ? "" : "s", seconds,
            seconds > 0 ? (double)done / seconds : 0.0);
    if (session->failed > 0)
        fprintf(stderr, ", %zu failed", session->failed);
    fputc('\n', stderr);
}

static int run(const void *options, char **files, unsigned count) {
    struct session session = {.values = options, .files = files, .file_count = count};
    struct identity identity;
    bool keyed;
    struct error error;
    session.total = (size_t)count * session.values->repeat;
    const char *coordinator = coordinator_endpoint(session.values->coordinator);
    if (!command_join(&session.values->key, coordinator, NULL, &identity, &keyed, &error) ||
        !client_open(&session.client, coordinator, keyed ? &identity : NULL, &error))
        return command_fail(&error);
    bool numbered = getrandom(&session.request, sizeof session.request, 0) == (ssize_t)sizeof session.request ||
                    error_set_errno(&error, "getrandom");
    bool greeted = numbered && say_hello(&session, &error);
    if (greeted) {
        session.entries = allocate(session.total, sizeof *session.entries);
        progress_start(&session.progress, session.total);
        stream(&session);
        report(&session);
        release(session.entries);
    }
    client_close(&session.client);
    if (!greeted)
        return command_fail(&error);
    return session.failed > 0 ? EXIT_ITEMS_FAILED : 0;
}

#define FIELD(name) offsetof(struct values, name)
static const struct option options[] = {
    {"coordinator", OPTION_TEXT, FIELD(coordinator), "tcp://HOST:PORT", NULL, 0, 0,
     "where the coordinator listens (default $STAGECOACH_COORDINATOR, then tcp://127.0.0.1:7600)"},
    {"json", OPTION_FLAG, FIELD(json), NULL, NULL, 0, 0, "one JSON object per file"},
    {"logits", OPTION_FLAG, FIELD(logits), NULL, NULL, 0, 0, "print the logits too"},
    {"top", OPTION_NUMBER, FIELD(top), "K", "5", 0, MESSAGE_TOP_MAX, "how many labels"},
    {"repeat", OPTION_NUMBER, FIELD(repeat), "N", "1", 1, 1000000, "send the list of files N times"},
    {"patience", OPTION_NUMBER, FIELD(patience_s), "SECONDS", "60", 0, 86400,
     "how long to wait for a coordinator that went away"},
    KEY_OPTIONS,
    {"unordered", OPTION_FLAG, FIELD(unordered), NULL, NULL, 0, 0,
     "print answers as they come, not in the order of files"},
    {"quiet", OPTION_FLAG, FIELD(quiet), NULL, NULL, 0, 0, "no summary on stderr"},
};

const struct command command_submit = {
    .name = "submit",
    .summary = "send image files to the coordinator and print what they show",
    .operands = "FILE...",
    .operands_min = 1,
    .operands_max = UINT32_MAX,
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .values_size = sizeof(struct values),
    .run = run,
};
