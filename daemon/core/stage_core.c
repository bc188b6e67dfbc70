/* The stage's state machine; its states, slots and invariants are in stage_core.h.
 *
 * stage_core_step is the one entry: the event changes what is known (a handler per event), then advance() draws the
 * consequences: begin a load when everything is at rest, compute what waits, send what is ready. All ends of an epoch
 * go through abandon(), so what must be given up stands in one place. Frames of the data socket are judged by judge(),
 * whose verdict is NULL or what is wrong with them; whoever sent them, they are counted and dropped, and the stage
 * lives on.
 */
#include "daemon/core/stage_core.h"

#include <assert.h>
#include <string.h>

#define HELLO_PATIENCE (10 * MONO_SECOND) /* without an answer, hello is said again */
#define HELLO_PAUSE    (1 * MONO_SECOND)  /* after a refusal that asks for another hello: a name may become free */
#define LEAVE_PATIENCE (30 * MONO_SECOND)
#define CHUNK_PATIENCE (10 * MONO_SECOND) /* a coordinator that has no room for an answer drops it */
#define HEARTBEAT_MIN  (10 * MONO_MS)
#define HEARTBEAT_MAX  (60 * MONO_SECOND)

const char *stage_state_name(enum stage_state state) {
    static const char *const names[] = {"joining", "idle", "clearing", "loading", "ready", "serving", "gone"};
    return names[state];
}

void stage_core_init(struct stage_core *core) {
    memset(core, 0, sizeof *core);
    core->state = STAGE_JOINING;
}

static struct stage_effect *effect_add(struct stage_effects *effects, enum stage_effect_type type) {
    assert(effects->count < STAGE_EFFECTS_MAX);
    struct stage_effect *effect = &effects->effect[effects->count++];
    *effect = (struct stage_effect){.type = type};
    return effect;
}

static bool working(const struct stage_core *core) {
    return core->state == STAGE_READY || core->state == STAGE_SERVING;
}

static bool at_rest(const struct stage_core *core) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (core->input[i].state != STAGE_INPUT_FREE)
            return false;
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        if (core->output[i].state != STAGE_OUTPUT_FREE)
            return false;
    return !core->loader_busy;
}

/* The free input slot, or STAGE_INPUTS. */
static unsigned free_input(const struct stage_core *core) {
    unsigned i = 0;
    while (i < STAGE_INPUTS && core->input[i].state != STAGE_INPUT_FREE)
        i++;
    return i;
}

bool stage_core_receiving(const struct stage_core *core) {
    return core->state != STAGE_GONE && free_input(core) < STAGE_INPUTS;
}

/* ---- ends of an epoch ---- */

/* Gives up the load and everything of the epoch that can be given up now; what the compute worker and the network hold
 * comes back by its own event. */
static void abandon(struct stage_core *core, enum stage_state state, struct stage_effects *effects) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++) {
        if (core->input[i].state != STAGE_INPUT_WAITING)
            continue;
        core->input[i].state = STAGE_INPUT_FREE;
        effect_add(effects, STAGE_DROP)->input = i;
    }
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++)
        if (core->output[i].state == STAGE_OUTPUT_READY)
            core->output[i].state = STAGE_OUTPUT_FREE;
    if (core->loader_busy && !core->loader_cancelled) {
        core->loader_cancelled = true;
        effect_add(effects, STAGE_CANCEL);
    }
    memset(core->chunk, 0, sizeof core->chunk);
    if (core->state == STAGE_LOADING || working(core))
        effect_add(effects, STAGE_CLOSE_NEXT);
    core->blocked = false;
    core->state = state;
}

static void give_up_slice(struct stage_core *core, const char *text, struct stage_effects *effects) {
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_FAILED);
    effect->epoch = core->epoch;
    effect->text = text;
    core->active.number = 0;
    abandon(core, STAGE_IDLE, effects);
}

static void finish(struct stage_core *core, struct stage_effects *effects) {
    abandon(core, STAGE_GONE, effects);
    effect_add(effects, STAGE_EXIT);
}

/* ---- the coordinator ---- */

static void say_hello(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    core->hello_at = mono_after(now, HELLO_PATIENCE);
    effect_add(effects, STAGE_SAY_HELLO);
}

/* Nobody knows us any more. */
static void rejoin(struct stage_core *core, struct stage_effects *effects) {
    abandon(core, STAGE_JOINING, effects);
    core->active.number = 0;
    if (core->leaving)
        finish(core, effects); /* nobody is left to ask */
}

static void on_closed(struct stage_core *core, struct stage_effects *effects) {
    core->connected = false;
    rejoin(core, effects);
}

static void on_opened(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->state != STAGE_JOINING)
        rejoin(core, effects); /* a connection was replaced without our noticing that it had closed */
    if (core->state == STAGE_GONE)
        return;
    core->connected = true;
    say_hello(core, now, effects);
}

static void on_welcomed(struct stage_core *core, const struct stage_event *event, mono_t now,
                        struct stage_effects *effects) {
    if (!core->connected || (core->state != STAGE_JOINING && event->cluster == core->cluster))
        return; /* the answer to a hello that was said twice */
    abandon(core, STAGE_IDLE, effects);
    int64_t period = event->heartbeat_ns;
    core->heartbeat_ns = period < HEARTBEAT_MIN ? HEARTBEAT_MIN : period > HEARTBEAT_MAX ? HEARTBEAT_MAX : period;
    core->heartbeat_at = now;
    core->cluster = event->cluster;
    core->epoch.number = core->active.number = 0;
}

static void on_refused(struct stage_core *core, const struct stage_event *event, mono_t now,
                       struct stage_effects *effects) {
    if (!event->again) {
        finish(core, effects); /* asking again would change nothing: another version */
        return;
    }
    if (core->state == STAGE_JOINING) {
        core->hello_at = mono_after(now, HELLO_PAUSE);
        return;
    }
    rejoin(core, effects);
    if (core->state != STAGE_GONE)
        say_hello(core, now, effects);
}

bool stage_core_accepts(const struct stage_core *core, epoch_t epoch) {
    bool welcome = core->state != STAGE_JOINING && core->state != STAGE_GONE;
    return welcome && !core->leaving && epoch.number > core->epoch.number;
}

static void on_assigned(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    if (!stage_core_accepts(core, event->epoch))
        return;
    abandon(core, STAGE_CLEARING, effects);
    core->epoch = core->active = event->epoch;
    core->first = event->first;
    core->end = event->end;
    core->microbatch = event->microbatch;
    core->newest.number = 0;
    core->microbatches = core->items = 0;
    core->busy_ns = 0;
}

static void begin_serving(struct stage_core *core, mono_t now) {
    core->state = STAGE_SERVING;
    core->serving_since = now;
}

static void on_shutdown(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->state == STAGE_JOINING || core->leaving) {
        finish(core, effects);
        return;
    }
    core->leaving = true;
    core->leave_by = mono_after(now, LEAVE_PATIENCE);
    effect_add(effects, STAGE_SAY_LEAVE);
}

/* ---- loading ---- */

/* The index of an outstanding chunk, or STAGE_CHUNKS. */
static unsigned chunk_find(const struct stage_core *core, const struct stage_chunk *chunk) {
    for (unsigned i = 0; i < STAGE_CHUNKS; i++)
        if (core->chunk[i].used && core->chunk[i].chunk.offset == chunk->offset &&
            memcmp(&core->chunk[i].chunk.hash, &chunk->hash, sizeof chunk->hash) == 0)
            return i;
    return STAGE_CHUNKS;
}

static void fetch(struct stage_core *core, unsigned index, mono_t now, struct stage_effects *effects) {
    core->chunk[index].ask_again_at = mono_after(now, CHUNK_PATIENCE);
    effect_add(effects, STAGE_FETCH)->chunk = core->chunk[index].chunk;
}

static void on_wanted(struct stage_core *core, const struct stage_event *event, mono_t now,
                      struct stage_effects *effects) {
    if (core->state != STAGE_LOADING)
        return; /* of a load that was cancelled meanwhile */
    unsigned index = 0;
    while (index < STAGE_CHUNKS && core->chunk[index].used)
        index++;
    assert(index < STAGE_CHUNKS); /* the loader keeps to the window */
    core->chunk[index].used = true;
    core->chunk[index].chunk = event->chunk;
    fetch(core, index, now, effects);
}

static void on_part(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    unsigned index = chunk_find(core, &event->chunk);
    if (index == STAGE_CHUNKS) { /* asked for twice, or by a load that was cancelled, or never */
        core->rejected.stale++;
        effects->fault = "bytes of a tensor that were not asked for";
        return;
    }
    if (core->chunk[index].chunk.bytes != event->chunk.bytes) {
        core->rejected.malformed++;
        effects->fault = "bytes of a tensor, but not as many as were asked for";
        return;
    }
    core->chunk[index].used = false;
    effect_add(effects, STAGE_STORE)->chunk = event->chunk;
}

static void on_progressed(const struct stage_core *core, const struct stage_event *event,
                          struct stage_effects *effects) {
    if (core->state != STAGE_LOADING)
        return;
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_PROGRESS);
    effect->epoch = core->epoch;
    effect->done = event->done;
    effect->total = event->total;
    effect->fetched = event->fetched;
}

static void on_load_over(struct stage_core *core, const struct stage_event *event, struct stage_effects *effects) {
    bool wanted = core->state == STAGE_LOADING;
    core->loader_busy = core->loader_cancelled = false;
    memset(core->chunk, 0, sizeof core->chunk); /* after a failure some may be on their way */
    if (!wanted)
        return;
    if (event->type != STAGE_LOADED) {
        give_up_slice(core, event->text ? event->text : "loading was stopped", effects);
        return;
    }
    core->in = *event->in;
    core->out = *event->out;
    core->state = STAGE_READY;
    struct stage_effect *effect = effect_add(effects, STAGE_SAY_READY);
    effect->epoch = core->epoch;
    effect->weight_bytes = event->weight_bytes;
}

/* ---- microbatches ---- */

struct verdict {
    uint64_t *counter; /* NULL: all well */
    const char *fault;
};

static bool sequence_seen(const struct stage_core *core, sequence_t sequence) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (core->input[i].state != STAGE_INPUT_FREE && core->input[i].header.epoch.number == core->epoch.number &&
            core->input[i].header.sequence.number == sequence.number)
            return true;
    return sequence.number <= core->newest.number;
}

static bool part_equal(const struct data_part *left, const struct data_part *right) {
    if (left->type != right->type || left->rank != right->rank)
        return false;
    for (uint32_t i = 0; i < left->rank && i < MESSAGE_RANK_MAX; i++)
        if (left->shape[i] != right->shape[i])
            return false;
    return true;
}

static struct verdict judge_parts(struct stage_core *core, const struct stage_event *event) {
    struct rejected *rejected = &core->rejected;
    const struct data_header *header = event->header;
    if (header->parts != core->in.parts || event->frames != core->in.parts)
        return (struct verdict){&rejected->malformed, "a microbatch with the wrong number of parts"};
    for (uint32_t i = 0; i < core->in.parts; i++) {
        uint64_t wanted = core->in.bytes[i] * header->items;
        if (!part_equal(&header->part[i], &core->in.part[i]))
            return (struct verdict){&rejected->malformed, "a microbatch whose parts have other types or shapes"};
        if (event->sizes[i] > wanted)
            return (struct verdict){&rejected->oversized, "a microbatch with more bytes than its shape says"};
        if (event->sizes[i] < wanted)
            return (struct verdict){&rejected->malformed, "a microbatch with fewer bytes than its shape says"};
    }
    return (struct verdict){0};
}

/* The checksum, the one check that reads the payload, is left to the compute worker. */
static struct verdict judge(struct stage_core *core, const struct stage_event *event) {
    const struct data_header *header = event->header;
    struct rejected *rejected = &core->rejected;
    if (!working(core))
        return (struct verdict){&rejected->stale, "a microbatch while no slice is ready"};
    if (header->cluster != core->cluster)
        return (struct verdict){&rejected->stale, "a microbatch of another cluster"};
    if (header->epoch.number != core->epoch.number)
        return (struct verdict){&rejected->stale, "a microbatch of another epoch"};
    if (header->cut != core->first)
        return (struct verdict){&rejected->malformed, "a microbatch for another cut"};
    if (header->items == 0 || header->items > core->microbatch)
        return (struct verdict){&rejected->oversized, "a microbatch of more items than agreed"};
    if (sequence_seen(core, header->sequence))
        return (struct verdict){&rejected->stale, "a microbatch that was here before"};
    return judge_parts(core, event);
}

static void on_arrived(struct stage_core *core, const struct stage_event *event, mono_t now,
                       struct stage_effects *effects) {
    unsigned index = free_input(core);
    assert(index < STAGE_INPUTS); /* else stage_core_receiving said no */
    struct verdict verdict = judge(core, event);
    if (verdict.counter) {
        ++*verdict.counter;
        effects->fault = verdict.fault;
        return;
    }
    if (core->state == STAGE_READY)
        begin_serving(core, now); /* it overtook the word that all stages are ready */
    struct stage_input *input = &core->input[index];
    input->state = STAGE_INPUT_WAITING;
    input->order = ++core->arrivals;
    input->header = *event->header;
    effect_add(effects, STAGE_KEEP)->input = index;
}

static void reject_malformed(struct stage_core *core, const char *fault, struct stage_effects *effects) {
    core->rejected.malformed++;
    effects->fault = fault;
}

/* What goes out is what came in, behind this slice. */
static void complete_header(const struct stage_core *core, struct data_header *header, uint64_t checksum) {
    header->cut = core->end;
    header->parts = core->out.parts;
    memcpy(header->part, core->out.part, sizeof header->part);
    header->checksum = checksum;
}

static void on_computed(struct stage_core *core, const struct stage_event *event, mono_t now,
                        struct stage_effects *effects) {
    struct stage_input *input = &core->input[event->input];
    struct stage_output *output = &core->output[event->output];
    assert(input->state == STAGE_INPUT_COMPUTING && output->state == STAGE_OUTPUT_COMPUTING);
    input->state = STAGE_INPUT_FREE;
    output->state = STAGE_OUTPUT_FREE;
    core->computing_since = now; /* the next one, if it is there already */
    effect_add(effects, STAGE_DROP)->input = event->input;
    if (!working(core)) /* its epoch ended; a new one does not start before this */
        return;
    if (event->damaged) {
        reject_malformed(core, "a microbatch whose checksum does not fit", effects);
        return;
    }
    if (input->header.sequence.number <= core->newest.number) { /* what follows expects order */
        core->rejected.stale++;
        effects->fault = "a microbatch that came after a newer one";
        return;
    }
    core->newest = input->header.sequence; /* only now: a damaged header must not make what follows it look old */
    core->microbatches++;
    core->items += input->header.items;
    core->busy_ns += event->busy_ns;
    complete_header(core, &output->header, event->checksum);
    output->state = STAGE_OUTPUT_READY;
}

/* The network has answered for an output: sent, or no room. */
static void on_send_answer(struct stage_core *core, const struct stage_event *event) {
    struct stage_output *output = &core->output[event->output];
    assert(output->state == STAGE_OUTPUT_SENDING);
    bool sent = event->type == STAGE_SENT;
    core->blocked = !sent && working(core);
    output->state = sent ? STAGE_OUTPUT_SENT : core->blocked ? STAGE_OUTPUT_READY : STAGE_OUTPUT_FREE;
}

static void on_let_go(struct stage_core *core, const struct stage_event *event) {
    struct stage_output *output = &core->output[event->output];
    assert(output->state == STAGE_OUTPUT_SENT);
    output->state = STAGE_OUTPUT_FREE;
}

/* The oldest waiting input, or STAGE_INPUTS. */
static unsigned oldest_waiting(const struct stage_core *core) {
    unsigned oldest = STAGE_INPUTS;
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (core->input[i].state == STAGE_INPUT_WAITING &&
            (oldest == STAGE_INPUTS || core->input[i].order < core->input[oldest].order))
            oldest = i;
    return oldest;
}

static unsigned free_output(const struct stage_core *core) {
    unsigned i = 0;
    while (i < STAGE_OUTPUTS && core->output[i].state != STAGE_OUTPUT_FREE)
        i++;
    return i;
}

static bool computing(const struct stage_core *core) {
    for (unsigned i = 0; i < STAGE_INPUTS; i++)
        if (core->input[i].state == STAGE_INPUT_COMPUTING)
            return true;
    return false;
}

static void compute_waiting(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    for (;;) {
        unsigned input = oldest_waiting(core), output = free_output(core);
        if (input == STAGE_INPUTS || output == STAGE_OUTPUTS)
            return;
        if (!computing(core))
            core->computing_since = now;
        core->input[input].state = STAGE_INPUT_COMPUTING;
        core->output[output].state = STAGE_OUTPUT_COMPUTING;
        core->output[output].order = core->input[input].order;
        core->output[output].header = core->input[input].header;
        struct stage_effect *effect = effect_add(effects, STAGE_COMPUTE);
        effect->input = input;
        effect->output = output;
    }
}

/* One at a time: its answer decides about the next. */
static void send_ready(struct stage_core *core, struct stage_effects *effects) {
    unsigned oldest = STAGE_OUTPUTS;
    for (unsigned i = 0; i < STAGE_OUTPUTS; i++) {
        if (core->output[i].state == STAGE_OUTPUT_SENDING)
            return;
        if (core->output[i].state == STAGE_OUTPUT_READY &&
            (oldest == STAGE_OUTPUTS || core->output[i].order < core->output[oldest].order))
            oldest = i;
    }
    if (oldest == STAGE_OUTPUTS || core->blocked)
        return;
    core->output[oldest].state = STAGE_OUTPUT_SENDING;
    effect_add(effects, STAGE_SEND)->output = oldest;
}

/* ---- time ---- */

static bool due(mono_t at, mono_t now) {
    return mono_since(now, at) >= 0;
}

static void ask_again(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    for (unsigned i = 0; i < STAGE_CHUNKS; i++)
        if (core->chunk[i].used && due(core->chunk[i].ask_again_at, now))
            fetch(core, i, now, effects);
}

static void on_tick(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->leaving && due(core->leave_by, now)) {
        finish(core, effects);
        return;
    }
    if (core->state == STAGE_JOINING) {
        if (core->connected && due(core->hello_at, now))
            say_hello(core, now, effects);
        return;
    }
    if (due(core->heartbeat_at, now)) {
        core->heartbeat_at = mono_after(now, core->heartbeat_ns);
        effect_add(effects, STAGE_SAY_HEARTBEAT);
    }
    ask_again(core, now, effects);
}

static void earlier(mono_t *deadline, mono_t at) {
    if (mono_since(*deadline, at) > 0)
        *deadline = at;
}

bool stage_core_deadline(const struct stage_core *core, mono_t *deadline) {
    if (core->state == STAGE_GONE || (core->state == STAGE_JOINING && !core->connected))
        return false;
    *deadline = core->state == STAGE_JOINING ? core->hello_at : core->heartbeat_at;
    if (core->leaving)
        earlier(deadline, core->leave_by);
    for (unsigned i = 0; i < STAGE_CHUNKS; i++)
        if (core->chunk[i].used)
            earlier(deadline, core->chunk[i].ask_again_at);
    return true;
}

/* What is being computed counts as far as it is: a coordinator that sees no progress takes a microbatch for lost, and
 * on a slow board one takes longer than that. */
struct message_heartbeat stage_core_heartbeat(const struct stage_core *core, mono_t now) {
    bool serving = core->state == STAGE_SERVING;
    int64_t under_way = serving && computing(core) ? mono_since(now, core->computing_since) : 0;
    return (struct message_heartbeat){
        .epoch = core->active,
        .microbatches = core->microbatches,
        .items = core->items,
        .busy_ns = (uint64_t)(core->busy_ns + under_way),
        .serving_ns = serving ? (uint64_t)mono_since(now, core->serving_since) : 0,
        .rejected = core->rejected,
    };
}

/* ---- the one entry ---- */

/* Draws the consequences of whatever has changed. */
static void advance(struct stage_core *core, mono_t now, struct stage_effects *effects) {
    if (core->state == STAGE_CLEARING && at_rest(core)) {
        core->state = STAGE_LOADING;
        core->loader_busy = true;
        effect_add(effects, STAGE_LOAD);
        effect_add(effects, STAGE_OPEN_NEXT);
    }
    if (!working(core))
        return;
    compute_waiting(core, now, effects);
    send_ready(core, effects);
}

static void apply_control_event(struct stage_core *core, const struct stage_event *event, mono_t now,
                                struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_OPENED:
        on_opened(core, now, effects);
        break;
    case STAGE_CLOSED:
        on_closed(core, effects);
        break;
    case STAGE_WELCOMED:
        on_welcomed(core, event, now, effects);
        break;
    case STAGE_REFUSED:
        on_refused(core, event, now, effects);
        break;
    case STAGE_ASSIGNED:
        on_assigned(core, event, effects);
        break;
    case STAGE_TOLD_SERVE:
        if (core->state == STAGE_READY && event->epoch.number == core->epoch.number)
            begin_serving(core, now);
        break;
    case STAGE_RELEASED:
        if (core->leaving)
            finish(core, effects);
        break;
    case STAGE_SHUTDOWN:
        on_shutdown(core, now, effects);
        break;
    default:
        on_tick(core, now, effects);
        break;
    }
}

static void apply_loader_event(struct stage_core *core, const struct stage_event *event, mono_t now,
                               struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_PART:
        on_part(core, event, effects);
        break;
    case STAGE_WANTED:
        on_wanted(core, event, now, effects);
        break;
    case STAGE_PROGRESSED:
        on_progressed(core, event, effects);
        break;
    case STAGE_NEXT_FAILED:
        if (core->state == STAGE_LOADING)
            give_up_slice(core, event->text, effects);
        break;
    default:
        on_load_over(core, event, effects);
        break;
    }
}

static void apply_data_event(struct stage_core *core, const struct stage_event *event, mono_t now,
                             struct stage_effects *effects) {
    switch (event->type) {
    case STAGE_ARRIVED:
        on_arrived(core, event, now, effects);
        break;
    case STAGE_UNREADABLE:
        reject_malformed(core, event->text ? event->text : "bytes that are no microbatch", effects);
        break;
    case STAGE_STRAY:
        core->rejected.stale++;
        effects->fault = event->text;
        break;
    case STAGE_DENIED:
        core->rejected.denied++;
        effects->fault = event->text;
        break;
    case STAGE_HANDSHAKE:
        core->rejected.handshake++;
        break;
    case STAGE_COMPUTED:
        on_computed(core, event, now, effects);
        break;
    case STAGE_WRITABLE:
        core->blocked = false;
        break;
    case STAGE_LET_GO:
        on_let_go(core, event);
        break;
    default:
        on_send_answer(core, event);
        break;
    }
}

void stage_core_step(struct stage_core *core, const struct stage_event *event, mono_t now,
                     struct stage_effects *effects) {
    effects->count = 0;
    effects->fault = NULL;
    if (core->state == STAGE_GONE)
        return;
    switch (event->type) {
    case STAGE_PART:
    case STAGE_WANTED:
    case STAGE_PROGRESSED:
    case STAGE_NEXT_FAILED:
    case STAGE_LOADED:
    case STAGE_LOAD_FAILED:
    case STAGE_LOAD_ENDED:
        apply_loader_event(core, event, now, effects);
        break;
    case STAGE_ARRIVED:
    case STAGE_UNREADABLE:
    case STAGE_STRAY:
    case STAGE_DENIED:
    case STAGE_HANDSHAKE:
    case STAGE_COMPUTED:
    case STAGE_SENT:
    case STAGE_BLOCKED:
    case STAGE_WRITABLE:
    case STAGE_LET_GO:
        apply_data_event(core, event, now, effects);
        break;
    default:
        apply_control_event(core, event, now, effects);
        break;
    }
    advance(core, now, effects);
}
