/* Clients: submissions in, microbatches out to the first stage, results back, answers out.
 *
 * An item lives in one slot of c->items from its arrival to its answer: the file's frame (kept, not copied) while a
 * preparer decodes it, its pixels until the microbatch is put together, its client's name until it is answered. Slots
 * are a fixed number; beyond it a submission is answered with an error at once, and the window told in the welcome
 * keeps honest clients far from that. Pixels of a microbatch are gathered into a buffer from a free list and sent
 * without a copy; ZeroMQ gives the buffer back from its own thread. What a client that is gone still waited for is
 * withdrawn: not prepared if it waits for that, not computed if it is in no microbatch yet. The answers of the others
 * are dropped when they are sent, because their client's name leads nowhere any more; a client that comes back has a
 * new one and submits anew.
 */
#include "base/allocate.h"
#include "base/log.h"
#include "daemon/coordinator_internal.h"

#include <stdio.h>
#include <string.h>

#define FILE_BYTES_MAX ((size_t)1 << 30) /* of files that wait for a preparer; honest clients stay far below */

bool clients_init(struct coordinator *c, struct error *error) {
    struct payload payload;
    model_cut(c->config, 0, &payload);
    c->pixel_bytes = payload_bytes(&payload);
    c->answer_size = model_answer_size(c->config);
    c->answer_row = allocate(c->answer_size, sizeof(float));
    c->items = allocate(CORE_ITEMS_MAX, sizeof *c->items);
    for (unsigned i = CORE_ITEMS_MAX; i-- > 0;) {
        c->items[i].number = i;
        c->items[i].next_free = c->free_items;
        c->free_items = &c->items[i];
    }
    c->preparation = preparation_new(c->config, c->options->decoders, CORE_ITEMS_MAX, error);
    return c->preparation != NULL;
}

void clients_close(struct coordinator *c) {
    for (unsigned i = 0; c->items && i < CORE_ITEMS_MAX; i++) {
        if (c->items[i].job.file)
            net_frame_close(&c->items[i].file);
        release(c->items[i].job.pixels);
    }
    release(c->items);
    release(c->answer_row);
    while (c->free_buffers) {
        struct flight_buffer *buffer = c->free_buffers;
        c->free_buffers = buffer->next_free;
        release(buffer->pixels);
        release(buffer);
    }
}

static struct item *item_take(struct coordinator *c) {
    struct item *item = c->free_items;
    if (!item)
        return NULL;
    c->free_items = item->next_free;
    if (!item->job.pixels) /* the first time only; slots are used lowest first, so most never get any */
        item->job.pixels = allocate(1, c->pixel_bytes);
    return item;
}

static void item_release(struct coordinator *c, struct item *item) {
    struct peer *peer = peer_find(c, &item->client);
    if (peer && peer->waiting > 0)
        peer->waiting--;
    item->state = ITEM_FREE;
    item->next_free = c->free_items;
    c->free_items = item;
}

void clients_drop(struct coordinator *c, unsigned number) {
    item_release(c, &c->items[number]);
}

void clients_gone(struct coordinator *c, const struct net_peer *client) {
    for (unsigned i = 0; i < CORE_ITEMS_MAX; i++) {
        struct item *item = &c->items[i];
        if (item->state == ITEM_FREE || !net_peer_equal(&item->client, client))
            continue;
        if (item->state == ITEM_PREPARING)
            atomic_store(&item->job.withdrawn, true);
        else
            coordinator_step(c, &(struct coordinator_event){.type = CORE_ITEM_WITHDRAWN, .item = i});
    }
}

/* Enough for every stage to have a full microbatch and one on its way to it, or for as many as the plan has under way
 * and two, and some more with the preparers. It never shrinks: what clients have sent, they have sent. */
static unsigned window(const struct coordinator *c) {
    unsigned stages = c->core.settings.stages ? c->core.settings.stages : c->core.boards + 1;
    unsigned planned = core_flights_allowed(&c->core) + 2, least = 2 * stages + 4;
    unsigned items = (planned > least ? planned : least) * c->options->microbatch + 16;
    items = items > c->window ? items : c->window;
    return items < CORE_ITEMS_MAX / 4 ? items : CORE_ITEMS_MAX / 4;
}

static struct message welcome(struct coordinator *c) {
    c->window = window(c);
    return (struct message){
        .type = MESSAGE_WELCOME,
        .welcome = {.cluster = c->cluster, .window = c->window, .architecture = model_architecture(c->config)}};
}

void clients_widen(struct coordinator *c) {
    if (c->window == window(c))
        return;
    const struct message message = welcome(c);
    for (unsigned i = 0; i < c->peers; i++)
        if (c->peer[i].role == ROLE_CLIENT)
            coordinator_send(c, &c->peer[i].name, &message, NULL);
}

void clients_hello(struct coordinator *c, const struct net_message *received, const struct message_hello *hello) {
    char text[160];
    struct message message = welcome(c);
    if (hello->protocol != PROTOCOL_VERSION) {
        snprintf(text, sizeof text,
                 "this client speaks protocol %u, the coordinator (version %s) %d: install the same version",
                 hello->protocol, STAGECOACH_VERSION, PROTOCOL_VERSION);
        message = (struct message){.type = MESSAGE_REFUSE, .refuse = {text, false}};
    } else if (!peer_add(c, received, ROLE_CLIENT))
        message = (struct message){.type = MESSAGE_REFUSE, .refuse = {"too many clients; try again later", false}};
    bool sent = coordinator_send(c, &received->peer, &message, NULL);
    struct peer *peer = peer_find(c, &received->peer);
    if (!sent && peer && peer->role == ROLE_CLIENT)
        peer_remove(c, peer); /* it is gone already, and its end may have been told before its hello was read */
}

static void answer_error(struct coordinator *c, const struct net_peer *client, uint64_t request, uint32_t position,
                         const char *text) {
    const struct message message = {.type = MESSAGE_ANSWER,
                                    .answer = {.request = request, .item = position, .error = text}};
    coordinator_send(c, client, &message, NULL);
}

void clients_submit(struct coordinator *c, struct net_message *received, const struct message_submit *submit) {
    struct peer *peer = peer_find(c, &received->peer);
    const char *refusal = NULL;
    size_t bytes = net_frame_size(&received->frame[1]);
    if (c->shutdown)
        return; /* the client sends it again to whoever comes after this one */
    if (bytes > MESSAGE_FILE_MAX) {
        c->rejected.oversized++;
        refusal = "the file is larger than 64 MiB";
    } else if (c->file_bytes + bytes > FILE_BYTES_MAX)
        refusal = "the coordinator has too many bytes of files waiting; try again later";
    else if (!c->free_items)
        refusal = "the coordinator has too many items waiting; try again later";
    else if (peer->waiting >= CORE_ITEMS_MAX / 2)
        refusal = "too many items unanswered at once";
    struct item *item = refusal ? NULL : item_take(c);
    if (!item) {
        answer_error(c, &received->peer, submit->request, submit->item, refusal);
        return;
    }
    peer->waiting++;
    item->client = received->peer;
    item->request = submit->request;
    item->position = submit->item;
    item->top = submit->top;
    item->logits = submit->logits;
    net_frame_take(&item->file, &received->frame[1]);
    item->job.file = net_frame_data(&item->file);
    item->job.file_bytes = bytes;
    atomic_store(&item->job.withdrawn, false);
    item->state = ITEM_PREPARING;
    c->file_bytes += bytes;
    c->preparing++;
    preparation_put(c->preparation, &item->job);
}

void clients_prepared(struct coordinator *c) {
    struct preparation_job *job;
    while ((job = preparation_take(c->preparation))) {
        struct item *item = (struct item *)job; /* the job is its first member */
        c->preparing--;
        c->file_bytes -= job->file_bytes;
        net_frame_close(&item->file);
        job->file = NULL;
        if (atomic_load(&job->withdrawn)) {
            item_release(c, item);
            continue;
        }
        if (job->ok) {
            status_prepared(c, job->seconds);
            item->state = ITEM_ADMITTED;
            coordinator_step(c, &(struct coordinator_event){.type = CORE_ITEM_ADMITTED, .item = item->number});
            continue;
        }
        answer_error(c, &item->client, item->request, item->position, job->error.text);
        item_release(c, item);
        c->core.items_failed++;
    }
}

/* ---- out to the first stage ---- */

static struct flight_buffer *buffer_take(struct coordinator *c) {
    pthread_mutex_lock(&c->buffers_lock);
    struct flight_buffer *buffer = c->free_buffers;
    if (buffer)
        c->free_buffers = buffer->next_free;
    pthread_mutex_unlock(&c->buffers_lock);
    if (buffer)
        return buffer;
    buffer = allocate(1, sizeof *buffer);
    buffer->coordinator = c;
    buffer->pixels = allocate(c->options->microbatch, c->pixel_bytes);
    return buffer;
}

/* Called by ZeroMQ's thread when the bytes are out. */
static void buffer_released(void *data, void *context) {
    (void)data;
    struct flight_buffer *buffer = context;
    struct coordinator *c = buffer->coordinator;
    pthread_mutex_lock(&c->buffers_lock);
    buffer->next_free = c->free_buffers;
    c->free_buffers = buffer;
    pthread_mutex_unlock(&c->buffers_lock);
}

static void describe_parts(const struct payload *payload, struct data_header *header) {
    header->parts = payload->parts;
    for (unsigned p = 0; p < payload->parts; p++) {
        header->part[p].type = payload->part[p].type;
        header->part[p].rank = payload->part[p].rank;
        memcpy(header->part[p].shape, payload->part[p].shape, sizeof header->part[p].shape);
    }
}

void clients_dispatch(struct coordinator *c, const struct coordinator_effect *effect) {
    const struct core_flight *flight = core_flight_find(&c->core, effect->sequence);
    struct flight_buffer *buffer = buffer_take(c);
    struct payload payload;
    unsigned number = flight->first;
    for (unsigned row = 0; row < flight->count; row++, number = c->core.next[number])
        memcpy(buffer->pixels + row * c->pixel_bytes, c->items[number].job.pixels, c->pixel_bytes);
    model_cut(c->config, 0, &payload);
    struct data_header header = {.cluster = c->cluster,
                                 .epoch = effect->epoch,
                                 .sequence = effect->sequence,
                                 .attempt = flight->attempts - 1,
                                 .items = effect->items,
                                 .checksum = checksum_of(buffer->pixels, effect->items * c->pixel_bytes, 0)};
    describe_parts(&payload, &header);
    uint8_t bytes[DATA_HEADER_MAX];
    const struct net_piece pieces[2] = {
        {.data = bytes, .size = data_header_encode(&header, bytes)},
        {.data = buffer->pixels,
         .size = effect->items * c->pixel_bytes,
         .released = buffer_released,
         .context = buffer},
    };
    if (net_send(c->first_stage[epoch_lane(effect->epoch)], NULL, pieces, 2) != NET_OK)
        log_warn("microbatch %llu could not be sent",
                 (unsigned long long)effect->sequence.number); /* the core sees it stall */
}

/* ---- back from the last stage ---- */

static bool result_matches(const struct coordinator *c, const struct net_message *received,
                           const struct data_header *header, struct error *error) {
    struct payload payload;
    model_cut(c->config, model_units(c->config), &payload);
    struct data_header want = *header;
    memset(want.part, 0, sizeof want.part);
    describe_parts(&payload, &want);
    const struct net_frame *frame = &received->frame[1];
    size_t bytes = header->items * payload_bytes(&payload);
    if (header->cut != model_units(c->config) || header->parts != payload.parts ||
        memcmp(header->part, want.part, sizeof want.part) != 0)
        return error_set(error, ERROR_INPUT, "cut %u: not the model's answer", header->cut);
    if (net_frame_size(frame) != bytes)
        return error_set(error, ERROR_INPUT, "answer: got %zu bytes, want %zu", net_frame_size(frame), bytes);
    if (checksum_of(net_frame_data(frame), bytes, 0) != header->checksum)
        return error_set(error, ERROR_INPUT, "answer: wrong checksum");
    return true;
}

void clients_result(struct coordinator *c, struct net_message *received) {
    struct data_header header;
    struct error error;
    arena_reset(c->decoded);
    if (received->count != 2) {
        c->rejected.malformed++;
        coordinator_complain(c, "a result with a wrong number of frames", NULL);
        return;
    }
    if (!data_header_decode(c->decoded, net_frame_data(&received->frame[0]), net_frame_size(&received->frame[0]),
                            &header, &error)) {
        c->rejected.malformed++;
        coordinator_complain(c, "a result", &error);
        return;
    }
    if (header.cluster != c->cluster || !core_pipeline_of(&c->core, header.epoch) ||
        !core_flight_find(&c->core, header.sequence)) {
        c->rejected.stale++;
        return;
    }
    if (!gate_passes_result(c, received, header.epoch))
        return;
    if (!result_matches(c, received, &header, &error)) {
        c->rejected.malformed++;
        coordinator_complain(c, "a result", &error);
        return;
    }
    c->result_rows = net_frame_data(&received->frame[1]);
    coordinator_step(
        c, &(struct coordinator_event){
               .type = CORE_RESULT, .epoch = header.epoch, .sequence = header.sequence, .items = header.items});
    c->result_rows = NULL;
    status_result(c, header.items);
}

static size_t top_classes(struct coordinator *c, const struct item *item, const float *logits,
                          struct answer_class answers[MESSAGE_TOP_MAX], char labels[MESSAGE_TOP_MAX][24]) {
    struct top_class top[MESSAGE_TOP_MAX];
    unsigned wanted = item->top < MESSAGE_TOP_MAX ? item->top : MESSAGE_TOP_MAX;
    unsigned count = answer_top(logits, (unsigned)c->answer_size, top, wanted);
    for (unsigned i = 0; i < count; i++) {
        const char *label = model_label(c->config, top[i].class_index);
        if (!label)
            snprintf(labels[i], sizeof labels[i], "LABEL_%u", top[i].class_index);
        answers[i] = (struct answer_class){top[i].class_index, label ? label : labels[i], top[i].score};
    }
    return count;
}

void clients_answer(struct coordinator *c, unsigned number, unsigned row) {
    struct item *item = &c->items[number];
    float *numbers = c->answer_row; /* aligned, which bytes of a frame need not be */
    memcpy(numbers, c->result_rows + row * c->answer_size * sizeof(float), c->answer_size * sizeof(float));
    if (!answer_finite(numbers, c->answer_size)) {
        clients_fail(c, number, "the model's answer is not a number");
        return;
    }
    struct answer_class answers[MESSAGE_TOP_MAX];
    char labels[MESSAGE_TOP_MAX][24];
    bool embedding = model_answer_kind(c->config) == ANSWER_EMBEDDING;
    struct message message = {.type = MESSAGE_ANSWER,
                              .answer = {.request = item->request, .item = item->position, .embedding = embedding}};
    if (!embedding) {
        message.answer.top = answers;
        message.answer.top_count = top_classes(c, item, numbers, answers, labels);
    }
    const struct net_piece raw = {.data = numbers, .size = c->answer_size * sizeof(float)};
    coordinator_send(c, &item->client, &message, embedding || item->logits ? &raw : NULL);
    status_count_answer(c);
    item_release(c, item);
}

void clients_fail(struct coordinator *c, unsigned number, const char *text) {
    struct item *item = &c->items[number];
    answer_error(c, &item->client, item->request, item->position, text);
    item_release(c, item);
}
