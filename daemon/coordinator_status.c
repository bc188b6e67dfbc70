/* What `stagecoach status` is told: the coordinator's own figures and one row for each board it knows. The busy share
 * is that of its last ten heartbeats, five seconds; images per second are counted over the last ten whole seconds.
 * Measured times are those of the epoch, for a full microbatch, beside what the plan predicted from the survey: a
 * stage's seconds from its heartbeats, the pipeline's period from the times between results while at least one
 * microbatch per stage was still under way behind them, so that neither filling nor idling counts. */
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

void status_heartbeat(struct coordinator *c, unsigned board, const struct message_heartbeat *heartbeat) {
    struct message_heartbeat *beats = c->board[board].beats;
    unsigned *count = &c->board[board].beat_count;
    if (*count > 0 && beats[(*count - 1) % BUSY_BEATS].epoch.number != heartbeat->epoch.number)
        *count = 0;
    beats[(*count)++ % BUSY_BEATS] = *heartbeat;
}

void status_result(struct coordinator *c, unsigned items) {
    mono_t now = mono_now();
    if (c->flow.epoch.number != c->core.epoch.number) {
        memset(&c->flow, 0, sizeof c->flow);
        c->flow.epoch = c->core.epoch;
    }
    if (c->flow.full) {
        c->flow.time_ns += mono_since(now, c->flow.last);
        c->flow.items += items;
    }
    c->flow.full = c->core.flights > c->core.plan.stages;
    c->flow.last = now;
}

/* Seconds between full microbatches, 0 while not known. */
static double measured_period(const struct coordinator *c) {
    if (c->flow.items == 0 || c->flow.epoch.number != c->core.epoch.number)
        return 0;
    return (double)c->flow.time_ns / 1e9 / (double)c->flow.items * c->options->microbatch;
}

/* The share of the time between the oldest and the newest kept heartbeat that the board spent computing. */
static double busy_share(struct coordinator *c, unsigned board) {
    const struct message_heartbeat *beats = c->board[board].beats;
    unsigned count = c->board[board].beat_count;
    if (count == 0)
        return 0;
    const struct message_heartbeat *newest = &beats[(count - 1) % BUSY_BEATS];
    struct message_heartbeat oldest = {0};
    if (count > 1)
        oldest = beats[count > BUSY_BEATS ? count % BUSY_BEATS : 0];
    if (newest->serving_ns <= oldest.serving_ns || newest->busy_ns < oldest.busy_ns)
        return 0;
    double share = (double)(newest->busy_ns - oldest.busy_ns) / (double)(newest->serving_ns - oldest.serving_ns);
    return share < 1 ? share : 1;
}

static void board_row(struct coordinator *c, unsigned number, char words[SLICE_WORDS_MAX], struct board_status *row) {
    const struct core_board *board = &c->core.board[number];
    const struct message_heartbeat *last = &board->last;
    *row = (struct board_status){
        .name = board->name,
        .state = board_state_name(board->state),
        .units = board->state == BOARD_UNFIT ? board->reason : "",
        .kernels = c->board[number].kernels,
        .endpoint = c->board[number].endpoint,
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
    };
    if (board->state == BOARD_IDLE && c->survey.core.board[number].profile == SURVEY_ASKED)
        row->state = "profiling";
    if (board->state == BOARD_IDLE && survey_core_probing(&c->survey.core, number))
        row->state = "probing";
    if (board->stage < 0)
        return;
    const struct plan_stage *stage = &c->core.plan.stage[board->stage];
    row->first = stage->first;
    row->end = stage->end;
    row->units = slice_words(c->config, stage->first, stage->end, words);
    row->measured_compute_s =
        last->items > 0 ? (double)last->busy_ns / 1e9 / (double)last->items * c->options->microbatch : 0;
    if (c->survey.needed) {
        row->predicted_compute_s = stage->compute_s;
        row->predicted_receive_s = stage->receive_s;
        row->predicted_send_s = stage->send_s;
    }
    if (board->state == BOARD_READY && c->core.state == COORDINATOR_SERVING)
        row->state = "serving";
}

/* Boards in the order of the pipeline, then the others. */
static unsigned pipeline_order(const struct coordinator *c, unsigned order[CORE_BOARDS_MAX]) {
    unsigned count = 0;
    for (unsigned s = 0; s < c->core.plan.stages; s++)
        order[count++] = c->core.plan.stage[s].board;
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
    char words[CORE_BOARDS_MAX][SLICE_WORDS_MAX];
    unsigned order[CORE_BOARDS_MAX];
    unsigned count = pipeline_order(c, order);
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
                   .epoch = c->core.epoch,
                   .microbatch = c->options->microbatch,
                   .items_done = c->core.items_done,
                   .items_failed = c->core.items_failed,
                   .items_replayed = c->core.items_replayed,
                   .waiting = c->core.queued + c->preparing,
                   .in_flight = c->core.flights,
                   .clients = clients,
                   .items_per_second = rate_now(c),
                   .predicted_period_s = c->survey.needed && c->core.plan.stages > 0 ? c->core.plan.period_s : 0,
                   .measured_period_s = measured_period(c),
                   .uptime_ms = (uint64_t)(mono_since(mono_now(), c->started) / MONO_MS),
                   .allocations = allocation_count(),
                   .rejected = c->rejected,
                   .boards = rows,
                   .board_count = count}};
    coordinator_send(c, peer, &message, NULL);
}
