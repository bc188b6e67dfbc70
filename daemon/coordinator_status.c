/* What `stagecoach status` is told: the coordinator's own figures and one row for each board it knows. The busy share
 * is that of its last ten heartbeats, five seconds; images per second are counted over the last ten whole seconds.
 * Measured times are those of the epoch, for a full microbatch, beside what the plan predicted from the survey: a
 * stage's seconds from its heartbeats, the pipeline's period from the times between results while at least one
 * microbatch per stage was still under way behind them, so that neither filling nor idling counts. Images are prepared
 * by the coordinator's own threads; what that takes is a mean over the last images. */
#include "base/allocate.h"
#include "daemon/coordinator_internal.h"
#include "daemon/slice_words.h"

#include <stdio.h>
#include <string.h>

/* Moves the window of counted seconds up to now. */
static void rate_advance(struct coordinator *c) {
    int64_t second = mono_now().ns / MONO_SECOND;
    for (int64_t s = c->rate_second + 1; s <= second && s <= c->rate_second + RATE_SECONDS; s++)
        c->rate[s % RATE_SECONDS] = 0;
    c->rate_second = second;
}

void status_count_answer(struct coordinator *c) {
    rate_advance(c);
    c->rate[c->rate_second % RATE_SECONDS]++;
}

/* The current second is not over, so it is left out. */
static double rate_now(struct coordinator *c) {
    rate_advance(c);
    unsigned sum = 0;
    for (int i = 0; i < RATE_SECONDS; i++)
        if (i != c->rate_second % RATE_SECONDS)
            sum += c->rate[i];
    int64_t seconds = mono_since(mono_now(), c->started) / MONO_SECOND;
    seconds = seconds < 1 ? 1 : seconds > RATE_SECONDS - 1 ? RATE_SECONDS - 1 : seconds;
    return (double)sum / (double)seconds;
}

/* The last heartbeat, NULL while there is none. */
static const struct message_heartbeat *newest_beat(const struct coordinator *c, unsigned board) {
    unsigned count = c->board[board].beat_count;
    return count > 0 ? &c->board[board].beats[(count - 1) % BUSY_BEATS] : NULL;
}

void status_prepared(struct coordinator *c, double seconds) {
    c->prepared_s[c->prepared++ % PREPARED_IMAGES] = seconds;
}

/* Seconds between full microbatches if nothing but preparation took any, 0 while not known. */
static double preparation_period(const struct coordinator *c) {
    unsigned count = c->prepared < PREPARED_IMAGES ? (unsigned)c->prepared : PREPARED_IMAGES;
    double sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += c->prepared_s[i];
    return count > 0 ? sum / count * c->options->microbatch / c->options->decoders : 0;
}

void status_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat) {
    unsigned *count = &c->board[board].beat_count;
    const struct message_heartbeat *last = newest_beat(c, board);
    if (last && last->epoch.number != heartbeat->epoch.number) {
        c->board[board].busy_before_ns += last->busy_ns;
        c->board[board].serving_before_ns += last->serving_ns;
        *count = 0;
    }
    c->board[board].beats[(*count)++ % BUSY_BEATS] = *heartbeat;
}

void status_result(struct coordinator *c, unsigned items) {
    mono_t now = mono_now();
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    bool drains = core_pipeline_in(&c->core, PIPELINE_DRAINING) != NULL; /* then two share the boards */
    if (serving && c->flow.epoch.number != serving->epoch.number) {
        memset(&c->flow, 0, sizeof c->flow);
        c->flow.epoch = serving->epoch;
    }
    if (c->flow.full) {
        c->flow.time_ns += mono_since(now, c->flow.last);
        c->flow.items += items;
    }
    c->flow.full = serving && !drains && c->core.flights > serving->plan.stages;
    c->flow.last = now;
}

/* Seconds between full microbatches, 0 while not known. */
static double measured_period(const struct coordinator *c) {
    const struct core_pipeline *serving = core_pipeline_in(&c->core, PIPELINE_SERVING);
    if (c->flow.items == 0 || !serving || c->flow.epoch.number != serving->epoch.number)
        return 0;
    return (double)c->flow.time_ns / 1e9 / (double)c->flow.items * c->options->microbatch;
}

/* The share of the time between the oldest and the newest kept heartbeat that the board spent computing. */
static double busy_share(struct coordinator *c, unsigned board) {
    const struct message_heartbeat *beats = c->board[board].beats;
    unsigned count = c->board[board].beat_count;
    const struct message_heartbeat *newest = newest_beat(c, board);
    if (!newest)
        return 0;
    struct message_heartbeat oldest = {0};
    if (count > 1)
        oldest = beats[count > BUSY_BEATS ? count % BUSY_BEATS : 0];
    if (newest->serving_ns <= oldest.serving_ns || newest->busy_ns < oldest.busy_ns)
        return 0;
    double share = (double)(newest->busy_ns - oldest.busy_ns) / (double)(newest->serving_ns - oldest.serving_ns);
    return share < 1 ? share : 1;
}

static void board_row(struct coordinator *c, unsigned number, char words[REACH_WORDS_MAX], struct board_status *row) {
    const struct core_board *board = &c->core.board[number];
    const struct message_heartbeat *last = &board->last;
    struct payload payload;
    *row = (struct board_status){
        .name = board->name,
        .state = board_state_name(board->state),
        .units = board->state == BOARD_UNFIT ? board->reason : "",
        .kernels = c->board[number].kernels,
        .endpoint = c->board[number].endpoint[0],
        .threads = c->board[number].threads,
        .items = last->items,
        .microbatches = last->microbatches,
        .busy = busy_share(c, number),
        .weight_bytes = c->board[number].weight_bytes,
        .memory_bytes = board->memory_bytes,
        .loaded = c->board[number].progress.done,
        .load_total = c->board[number].progress.total,
        .fetched = c->board[number].progress.fetched,
        .allocations = last->allocations,
        .rejected = last->rejected,
        .pace = c->survey.needed ? pace_factor(c, number) : 0,
    };
    const struct message_heartbeat *beat = newest_beat(c, number);
    row->busy_ns = c->board[number].busy_before_ns + (beat ? beat->busy_ns : 0);
    row->serving_ns = c->board[number].serving_before_ns + (beat ? beat->serving_ns : 0);
    row->memory_used = beat ? beat->memory_used : 0;
    row->silent_ms = (uint64_t)(mono_since(mono_now(), board->heard) / MONO_MS);
    if (board->state == BOARD_IDLE)
        row->state = core_pipeline_in_force(&c->core) ? "spare" : "waiting";
    if (board->state == BOARD_IDLE && c->survey.core.board[number].profile == SURVEY_ASKED)
        row->state = "profiling";
    if (board->state == BOARD_IDLE && survey_core_probing(&c->survey.core, number))
        row->state = "probing";
    else if (board->state == BOARD_IDLE && survey_out_of_reach(c, number, words, REACH_WORDS_MAX)) {
        row->state = "unreached";
        row->units = words;
    } else if (board->state == BOARD_IDLE && survey_unlinked(c, number, words, REACH_WORDS_MAX))
        row->units = words;
    const struct core_pipeline *pipeline = core_pipeline_in_force(&c->core);
    if (board->stage < 0 || !pipeline)
        return;
    const struct plan_stage *stage = &pipeline->plan.stage[board->stage];
    row->first = stage->first;
    row->end = stage->end;
    row->endpoint = c->board[number].endpoint[epoch_lane(pipeline->epoch)];
    row->planned_memory_bytes = stage->memory_bytes;
    model_cut(c->config, stage->end, &payload);
    row->payload_bytes = payload_bytes(&payload);
    row->units = slice_words(c->config, stage->first, stage->end, words);
    row->measured_compute_s =
        last->items > 0 ? (double)last->busy_ns / 1e9 / (double)last->items * c->options->microbatch : 0;
    if (c->survey.needed) {
        row->predicted_compute_s = pace_compute_seconds(c, pipeline->epoch, stage);
        row->predicted_receive_s = stage->receive_s;
        row->predicted_send_s = stage->send_s;
    }
    if (board->state == BOARD_READY && c->core.state == COORDINATOR_SERVING)
        row->state = "serving";
}

/* Boards in the order of the pipeline, then the others. */
static unsigned pipeline_order(const struct coordinator *c, unsigned order[CORE_BOARDS_MAX]) {
    unsigned count = 0;
    const struct core_pipeline *pipeline = core_pipeline_in_force(&c->core);
    for (unsigned s = 0; pipeline && s < pipeline->plan.stages; s++)
        order[count++] = pipeline->plan.stage[s].board;
    for (unsigned b = 0; b < c->core.boards; b++)
        if (c->core.board[b].stage < 0)
            order[count++] = b;
    return count;
}

/* What it does while no plan is there, more closely than the core knows. */
static const char *state_words(struct coordinator *c, char reason[CORE_REASON_MAX]) {
    snprintf(reason, CORE_REASON_MAX, "%s", c->core.reason);
    if (c->shutdown)
        return "finishing";
    if (c->core.state == COORDINATOR_WAITING && c->plan_work.planner) {
        snprintf(reason, CORE_REASON_MAX, "looking for the best plan");
        return "planning";
    }
    if (c->core.state == COORDINATOR_WAITING && c->plan_work.wanted && survey_busy(c)) {
        survey_words(c, reason, CORE_REASON_MAX);
        return "measuring";
    }
    if (c->core.state == COORDINATOR_WAITING && c->plan_work.wanted)
        snprintf(reason, CORE_REASON_MAX, "reading the model");
    return coordinator_state_name(c->core.state);
}

void status_send(struct coordinator *c, const struct net_peer *peer) {
    char reason[CORE_REASON_MAX];
    struct board_status rows[CORE_BOARDS_MAX];
    char words[CORE_BOARDS_MAX][REACH_WORDS_MAX];
    struct event_status events[EVENT_LOG_MAX];
    size_t event_count = event_log_list(&c->events, events);
    unsigned order[CORE_BOARDS_MAX];
    unsigned count = pipeline_order(c, order);
    const struct core_pipeline *pipeline = core_pipeline_in_force(&c->core);
    for (unsigned i = 0; i < count; i++)
        board_row(c, order[i], words[i], &rows[i]);
    unsigned clients = 0;
    for (unsigned i = 0; i < c->peers; i++)
        clients += c->peer[i].role == ROLE_CLIENT;
    const struct message message = {
        .type = MESSAGE_STATUS,
        .status = {.version = STAGECOACH_VERSION,
                   .state = state_words(c, reason),
                   .architecture = model_architecture(c->config),
                   .policy = c->policy,
                   .reason = reason,
                   .data_endpoint = net_endpoint(c->results),
                   .epoch = pipeline ? pipeline->epoch : c->core.epoch,
                   .microbatch = c->options->microbatch,
                   .items_done = c->core.items_done,
                   .items_failed = c->core.items_failed,
                   .items_replayed = c->core.items_replayed,
                   .weights_sent = c->weights_sent,
                   .waiting = c->core.queued + c->preparing,
                   .in_flight = c->core.flights,
                   .clients = clients,
                   .items_per_second = rate_now(c),
                   .predicted_period_s = c->survey.needed && pipeline ? pace_period_seconds(c, pipeline) : 0,
                   .measured_period_s = measured_period(c),
                   .preparation_period_s = preparation_period(c),
                   .uptime_ms = (uint64_t)(mono_since(mono_now(), c->started) / MONO_MS),
                   .allocations = allocation_count(),
                   .rejected = c->rejected,
                   .boards = rows,
                   .board_count = count,
                   .events = events,
                   .event_count = event_count}};
    coordinator_send(c, peer, &message, NULL);
}
