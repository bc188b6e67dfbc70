/* What `stagecoach status` is told: the coordinator's own figures and one row for each board it knows. The busy share
 * is that of its last ten heartbeats, five seconds; images per second are counted over the last ten whole seconds. */
#include "base/allocate.h"
#include "daemon/coordinator_internal.h"

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

static void board_row(struct coordinator *c, unsigned number, char words[100], struct board_status *row) {
    const struct core_board *board = &c->core.board[number];
    const struct message_heartbeat *last = &board->last;
    char first[40], end[40];
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
    if (board->stage < 0)
        return;
    const struct plan_stage *stage = &c->core.plan.stage[board->stage];
    row->first = stage->first;
    row->end = stage->end;
    snprintf(words, 100, "%s to %s", model_unit_name(c->config, stage->first, first),
             model_unit_name(c->config, stage->end - 1, end));
    row->units = words;
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

void status_send(struct coordinator *c, const struct net_peer *peer) {
    struct board_status rows[CORE_BOARDS_MAX];
    char words[CORE_BOARDS_MAX][100];
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
                   .state = c->shutdown ? "finishing" : coordinator_state_name(c->core.state),
                   .architecture = model_architecture(c->config),
                   .policy = c->policy,
                   .reason = c->core.reason,
                   .data_endpoint = net_endpoint(c->results),
                   .epoch = c->core.epoch,
                   .microbatch = c->options->microbatch,
                   .items_done = c->core.items_done,
                   .items_failed = c->core.items_failed,
                   .waiting = c->core.queued + c->preparing,
                   .in_flight = c->core.flights,
                   .clients = clients,
                   .items_per_second = rate_now(c),
                   .uptime_ms = (uint64_t)(mono_since(mono_now(), c->started) / MONO_MS),
                   .allocations = allocation_count(),
                   .rejected = c->rejected,
                   .boards = rows,
                   .board_count = count}};
    coordinator_send(c, peer, &message, NULL);
}
