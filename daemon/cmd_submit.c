/* stagecoach submit: sends image files to the coordinator and prints the answers in the order of the files.
 *
 * A window of unanswered files (told by the coordinator) is kept full; files are read when their turn comes, so
 * thousands of them cost no memory. Answers come in any order; each is formatted at once and kept until those before it
 * are printed. A coordinator that goes away is waited for, and what it has not answered is sent again under the same
 * number, so that each file is answered once. While no answer comes, the coordinator is asked why, and each new reason
 * is told on stderr; patience is how long that may last. Then every file gets its line. SIGTERM and SIGINT close the
 * connection at once, upon which the coordinator drops what is queued. One thread beside libzmq's.
 */
#include "base/allocate.h"
#include "base/mono.h"
#include "daemon/client.h"
#include "daemon/commands.h"
#include "daemon/output.h"
#include "daemon/signals.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define WINDOW_BYTES ((size_t)64 << 20) /* of unanswered files, beside the window of the coordinator */
#define MEET_S       5                  /* for the first coordinator to answer */
#define TURN_MS      200
#define HELLO_PAUSE  (500 * MONO_MS) /* between two attempts to join */

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

    bool met;      /* a coordinator, ever */
    bool welcomed; /* by the one that is there now */
    bool lost;     /* the connection is to be made anew, when hello_said is long enough ago */
    bool interrupted;
    struct error failure; /* why it cannot go on; code ERROR_NONE while it can */
    int signals;
    mono_t hello_said;
    mono_t progressed;  /* the last answer, or word that the pipeline serves */
    mono_t heard;       /* the last answer */
    mono_t looked;      /* when it was last asked why there is none */
    unsigned questions; /* so often, without an answer to that either */
};

/* How long nothing may come: the first coordinator must answer soon, whatever follows is bounded by --patience. */
static unsigned limit_s(const struct session *session) {
    unsigned patience = session->values->patience_s;
    return session->met || patience < MEET_S ? patience : MEET_S;
}

/* Says why there are no answers, unless that was the last thing said. */
static void tell(struct session *session, const char *why) {
    if (!waiting_is_news(&session->client.waiting, why) || session->values->quiet)
        return;
    progress_clear(&session->progress);
    fprintf(stderr, "stagecoach: waiting up to %u s: %s\n", limit_s(session), why);
}

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

/* What was answered behind a file that will not be. */
static void print_rest(struct session *session) {
    for (size_t i = session->printed; i < session->total; i++)
        if (session->entries[i].line)
            print_entry(session, &session->entries[i]);
}

static void finish(struct session *session, size_t index, struct answer *answer) {
    struct entry *entry = &session->entries[index];
    answer->file = session->files[index % session->file_count];
    entry->line = answer_line(answer, session->values->json);
    entry->answered = true;
    session->waiting -= entry->asked;
    session->progressed = session->heard = mono_now();
    session->client.waiting.told[0] = '\0';
    session->questions = 0;
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

static void give_up(struct session *session, const char *text) {
    for (size_t i = 0; i < session->total; i++)
        if (!session->entries[i].answered)
            finish_with_error(session, i, text);
    session->sent = session->total;
}

static bool may_send(const struct session *session) {
    return session->welcomed && session->sent < session->total && session->waiting < session->window &&
           session->bytes < WINDOW_BYTES;
}

/* ---- joining, and joining again ---- */

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

static void say_hello(struct session *session) {
    const struct message hello = {
        .type = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION, .version = STAGECOACH_VERSION, .role = ROLE_CLIENT, .name = "submit"}};
    client_send(&session->client, &hello, NULL); /* taken at once: the queue is empty */
    session->hello_said = mono_now();
}

/* The coordinator is gone, or is another one: it is sent anew what it, or the one before it, has not answered. */
static void join_again(struct session *session, const char *why) {
    session->welcomed = false;
    session->lost = true;
    if (session->met) /* else it may be anything that listens there; ask_why tells */
        tell(session, why);
    forget_what_was_asked(session);
}

static void on_welcome(struct session *session, const struct message_welcome *welcome) {
    session->window = welcome->window > 0 ? welcome->window : 1;
    session->welcomed = true;
    session->questions = 0;
    if (session->met)
        return;
    session->met = true;
    session->progressed = mono_now();
    progress_start(&session->progress, session->total);
}

static void on_refuse(struct session *session, const struct message_refuse *refuse) {
    if (refuse->again) /* we talk to another coordinator than the one that knew us */
        join_again(session, "the coordinator was started anew");
    else
        error_set(&session->failure, ERROR_INPUT, "%s: refused: %s", session->client.endpoint, refuse->text);
}

/* ---- waiting ---- */

static bool overdue(mono_t since, int64_t limit) {
    return mono_since(mono_now(), since) >= limit;
}

static void on_status(struct session *session, const struct message_status *status) {
    char words[WAITING_WORDS_MAX];
    session->questions = 0;
    waiting_status_words(status, words);
    if (words[0])
        tell(session, words);
    else
        session->progressed = mono_now(); /* a pipeline may be slow; it serves */
}

/* Without an answer for so long, the coordinator is asked why; well within patience. */
static int64_t look_ns(const struct session *session) {
    int64_t quarter = session->values->patience_s * MONO_SECOND / 4;
    return quarter < MONO_SECOND ? quarter : MONO_SECOND;
}

static void ask_why(struct session *session) {
    const struct message question = {.type = MESSAGE_STATUS_GET};
    char words[WAITING_WORDS_MAX];
    if (!overdue(session->heard, look_ns(session)) || !overdue(session->looked, look_ns(session)))
        return;
    session->looked = mono_now();
    if (!session->welcomed || session->questions >= 3)
        tell(session, client_waits_because(&session->client, words));
    if (!session->welcomed)
        return;
    session->questions++;
    client_send(&session->client, &question, NULL);
}

static void on_patience_over(struct session *session) {
    char words[WAITING_WORDS_MAX];
    if (!session->met) {
        client_unanswered(&session->client, &session->failure);
        return;
    }
    snprintf(words, sizeof words, "%s", session->client.waiting.told);
    error_set(&session->failure, ERROR_TIMEOUT, "no answer within %u s (--patience)%s%.300s",
              session->values->patience_s, words[0] ? ": " : "", words);
}

static void look_around(struct session *session) {
    struct error error;
    if (signals_read(session->signals))
        session->interrupted = true;
    if (session->lost && overdue(session->hello_said, HELLO_PAUSE)) {
        session->lost = false;
        if (!client_reopen(&session->client, &error))
            session->failure = error;
        else
            say_hello(session);
    }
    ask_why(session);
    if (session->failure.code == ERROR_NONE && overdue(session->progressed, limit_s(session) * MONO_SECOND))
        on_patience_over(session);
}

/* ---- the whole ---- */

static void on_message(struct session *session, const struct net_message *received, const struct message *message) {
    if (message->type == MESSAGE_ANSWER)
        on_answer(session, received, &message->answer);
    else if (message->type == MESSAGE_WELCOME)
        on_welcome(session, &message->welcome);
    else if (message->type == MESSAGE_STATUS)
        on_status(session, &message->status);
    else if (message->type == MESSAGE_REFUSE && (session->welcomed || !message->refuse.again))
        on_refuse(session, &message->refuse);
}

static void receive(struct session *session) {
    struct net_message received;
    struct message message;
    struct error error;
    if (client_receive(&session->client, TURN_MS, &received, &message, &error)) {
        on_message(session, &received, &message);
        net_message_close(&received);
    } else if (error.code == ERROR_SYSTEM)
        join_again(session, error.text);
    else if (error.code != ERROR_TIMEOUT)
        session->failure = error;
}

static void stream(struct session *session) {
    say_hello(session);
    session->progressed = session->heard = session->looked = mono_now();
    while (session->answered < session->total && !session->interrupted && session->failure.code == ERROR_NONE) {
        while (may_send(session) && send_next(session))
            continue;
        if (session->met)
            progress_draw(&session->progress, session->answered, false);
        if (session->answered == session->total)
            break;
        receive(session);
        look_around(session);
    }
    if (session->met && session->failure.code != ERROR_NONE)
        give_up(session, session->failure.text);
    print_rest(session);
    if (session->met)
        progress_draw(&session->progress, session->answered, true);
}

static void report(const struct session *session) {
    double seconds = (double)mono_now().ns / 1e9 - session->progress.started;
    size_t done = session->answered - session->failed;
    if (session->interrupted)
        fprintf(stderr, "stagecoach: interrupted: %zu of %zu image%s answered\n", done, session->total,
                session->total == 1 ? "" : "s");
    if (session->interrupted || session->values->quiet)
        return;
    fprintf(stderr, "%zu image%s in %.2f s: %.1f images/s", done, done == 1 ? "" : "s", seconds,
            seconds > 0 ? (double)done / seconds : 0.0);
    if (session->failed > 0)
        fprintf(stderr, ", %zu failed", session->failed);
    fputc('\n', stderr);
}

/* Keys are at hand before signals wait for the loop: asking for them has its own time limit. */
static bool open_session(struct session *session, struct error *error) {
    struct identity identity;
    bool keyed;
    const char *coordinator = coordinator_endpoint(session->values->coordinator);
    bool ok = command_join(&session->values->key, coordinator, NULL, &identity, &keyed, error) &&
              (session->signals = signals_open(error)) >= 0 &&
              client_open(&session->client, coordinator, keyed ? &identity : NULL, error);
    key_forget(&identity, sizeof identity);
    if (!ok)
        return false;
    return getrandom(&session->request, sizeof session->request, 0) == (ssize_t)sizeof session->request ||
           error_set_errno(error, "getrandom");
}

static int run(const void *options, char **files, unsigned count) {
    struct session session = {.values = options, .files = files, .file_count = count, .signals = -1};
    struct error error;
    session.total = (size_t)count * session.values->repeat;
    if (!open_session(&session, &error))
        return command_fail(&error);
    session.entries = allocate(session.total, sizeof *session.entries);
    stream(&session);
    client_close(&session.client); /* at once: whatever is still queued there is dropped with the connection */
    if (session.met || session.interrupted)
        report(&session);
    close(session.signals);
    release(session.entries);
    if (!session.met && session.failure.code != ERROR_NONE)
        return command_fail(&session.failure);
    return session.failed > 0 || session.answered < session.total ? EXIT_ITEMS_FAILED : 0;
}

static const struct option options[] = {
    COORDINATOR_OPTION,
    ANSWER_OPTIONS,
    {"repeat", OPTION_NUMBER, FIELD(repeat), "N", "1", 1, 1000000, "send the list of files N times"},
    {"patience", OPTION_NUMBER, FIELD(patience_s), "SECONDS", "60", 1, 86400,
     "how long to wait without an answer: for a coordinator that went away (for the first one 5 s at most), for boards "
     "that are missing, for a pipeline that does not serve"},
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
    COMMAND_PARTS,
};
