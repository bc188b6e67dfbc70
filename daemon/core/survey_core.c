/* The coordinator's survey; its rules and vocabulary are in survey_core.h.
 *
 * survey_core_step is the one entry: the event changes what is known, then advance() draws the consequences: profiles
 * while nothing is probed, then probes of pairs whose ends are both free. Links are kept once for each pair, with what
 * either end received. All that is given up waits for retry_pause, whether a profile or a link.
 */
#include "daemon/core/survey_core.h"

#include <assert.h>
#include <string.h>

#define PROFILE_ATTEMPTS 3
#define PROFILE_PAUSE    MONO_SECOND /* before asking again; doubled for each refusal of a busy board */
#define BUSY_MOST        6           /* refusals in a row, half a minute */
#define BUSY_DOUBLINGS   3
#define LINK_ATTEMPTS    2
#define LINK_GRACE       (2 * MONO_SECOND) /* for the second end when the first says that it failed */
#define LATENCY_FACTOR   2                 /* what a link may take now of what it took when it was measured, and */
#define LATENCY_SLACK_S  0.001
#define RETRY_PAUSE      (10 * MONO_SECOND) /* of what was given up; doubled each time */
#define RETRY_PAUSE_MOST (300 * MONO_SECOND)

void survey_core_init(struct survey_core *core, const struct survey_settings *settings) {
    memset(core, 0, sizeof *core);
    core->settings = *settings;
    core->number = settings->first_number;
    core->board[SURVEY_COORDINATOR] = (struct survey_board){.here = true, .wanted = true, .profile = SURVEY_KNOWN};
}

static struct survey_effect *effect_add(struct survey_effects *effects, enum survey_effect_type type) {
    assert(effects->count < SURVEY_EFFECTS_MAX);
    struct survey_effect *effect = &effects->effect[effects->count++];
    *effect = (struct survey_effect){.type = type};
    return effect;
}

static uint64_t next_number(struct survey_core *core) {
    core->number += core->number == UINT64_MAX ? 2 : 1; /* never 0 */
    return core->number;
}

static bool counts(const struct survey_core *core, unsigned end) {
    return core->board[end].here && core->board[end].wanted;
}

static bool takes_part(const struct survey_core *core, unsigned end) {
    return core->board[end].here && (core->board[end].wanted || core->board[end].newcomer);
}

static struct survey_link *link_of(struct survey_core *core, unsigned left, unsigned right) {
    return left < right ? &core->link[left][right] : &core->link[right][left];
}

static const struct survey_link *link_of_const(const struct survey_core *core, unsigned left, unsigned right) {
    return left < right ? &core->link[left][right] : &core->link[right][left];
}

static bool settled(enum survey_state state) {
    return state == SURVEY_KNOWN || state == SURVEY_FAILED;
}

/* When what was now given up, for the given_up-th time in a row, may be tried again. */
static mono_t retry_at(unsigned given_up, mono_t now) {
    int64_t pause = RETRY_PAUSE;
    for (unsigned i = 1; i < given_up && pause < RETRY_PAUSE_MOST; i++)
        pause *= 2;
    return mono_after(now, pause < RETRY_PAUSE_MOST ? pause : RETRY_PAUSE_MOST);
}

/* ---- boards ---- */

static void profile_give_up(struct survey_board *board, mono_t now) {
    board->profile = SURVEY_FAILED;
    board->at = retry_at(++board->given_up, now);
}

/* One more try of what was given up. */
static void profile_again(struct survey_board *board, mono_t now) {
    if (board->profile != SURVEY_FAILED || mono_since(now, board->at) < 0)
        return;
    board->profile = SURVEY_UNKNOWN;
    board->attempts = PROFILE_ATTEMPTS - 1;
    board->busy = BUSY_MOST - 1;
}

static void profile_failed(struct survey_board *board, mono_t now) {
    board->profile = SURVEY_UNKNOWN;
    board->at = mono_after(now, PROFILE_PAUSE);
    if (++board->attempts >= PROFILE_ATTEMPTS)
        profile_give_up(board, now);
}

static void profile_refused(struct survey_board *board, mono_t now) {
    unsigned doublings = board->busy < BUSY_DOUBLINGS ? board->busy : BUSY_DOUBLINGS;
    board->profile = SURVEY_UNKNOWN;
    board->at = mono_after(now, PROFILE_PAUSE << doublings);
    if (++board->busy >= BUSY_MOST)
        profile_give_up(board, now);
}

static void on_gone(struct survey_core *core, unsigned number, mono_t now, struct survey_effects *effects) {
    struct survey_board *board = &core->board[number];
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        if (end == number)
            continue;
        struct survey_link *link = link_of(core, number, end);
        if (link->state == SURVEY_ASKED && end == SURVEY_COORDINATOR)
            effect_add(effects, SURVEY_STOP_PROBE)->number = link->number;
        *link = (struct survey_link){0};
    }
    if (board->profile == SURVEY_ASKED) /* it may have died of it */
        profile_failed(board, now);
    *board = (struct survey_board){
        .profile = board->profile == SURVEY_FAILED ? SURVEY_FAILED : SURVEY_UNKNOWN,
        .attempts = board->attempts,
        .given_up = board->given_up,
        .at = board->profile == SURVEY_FAILED ? board->at : now,
    };
}

static void on_joined(struct survey_core *core, const struct survey_event *event, mono_t now,
                      struct survey_effects *effects) {
    struct survey_board *board = &core->board[event->board];
    on_gone(core, event->board, now, effects);
    if (event->stranger)
        *board = (struct survey_board){.at = now};
    board->here = true;
    profile_again(board, now);
    if (event->known || !core->settings.profiles)
        board->profile = SURVEY_KNOWN;
}

static void on_profiled(struct survey_board *board, const struct survey_event *event, mono_t now) {
    if (!board->here || event->number != board->number || board->profile == SURVEY_KNOWN)
        return;
    if (event->ok) { /* also when it was given up already */
        board->profile = SURVEY_KNOWN;
        board->attempts = board->busy = board->given_up = 0;
    } else if (board->profile == SURVEY_ASKED && event->busy)
        profile_refused(board, now);
    else if (board->profile == SURVEY_ASKED)
        profile_failed(board, now);
}

/* ---- links ---- */

/* How many of its links with those that take part have failed, and is any known? */
static unsigned failed_links(const struct survey_core *core, unsigned end, bool *any_known) {
    unsigned failed = 0;
    *any_known = false;
    for (unsigned other = 0; other < SURVEY_ENDS; other++) {
        if (other == end || !takes_part(core, other))
            continue;
        enum survey_state state = link_of_const(core, end, other)->state;
        failed += state == SURVEY_FAILED;
        *any_known = *any_known || state == SURVEY_KNOWN;
    }
    return failed;
}

/* Is it not worth a second attempt: something with this end has failed, and nothing succeeded? */
static bool suspect(const struct survey_core *core, unsigned end) {
    bool any_known;
    return failed_links(core, end, &any_known) > 0 && !any_known;
}

bool survey_core_out_of_reach(const struct survey_core *core, unsigned board) {
    bool any_known;
    if (board == SURVEY_COORDINATOR || core->link[board][SURVEY_COORDINATOR].state != SURVEY_FAILED)
        return false;
    return core->board[board].newcomer || (failed_links(core, board, &any_known) > 1 && !any_known);
}

/* Neither under way nor to be begun. */
static bool link_settled(const struct survey_core *core, unsigned left, unsigned right) {
    enum survey_state state = link_of_const(core, left, right)->state;
    return settled(state) ||
           (state == SURVEY_UNKNOWN && (survey_core_out_of_reach(core, left) || survey_core_out_of_reach(core, right)));
}

static void link_give_up(struct survey_core *core, unsigned lower, unsigned higher, mono_t now,
                         struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    link->state = SURVEY_FAILED;
    link->reached = false;
    link->since = retry_at(++link->given_up, now);
    struct survey_effect *effect = effect_add(effects, SURVEY_LINK_FAILED);
    effect->board = lower;
    effect->other = higher;
}

/* One more try of what was given up. */
static void link_again(struct survey_link *link, mono_t now) {
    if (link->state != SURVEY_FAILED || mono_since(now, link->since) < 0)
        return;
    link->state = SURVEY_UNKNOWN;
    link->attempts = LINK_ATTEMPTS - 1;
}

static void link_over(struct survey_core *core, unsigned lower, unsigned higher, mono_t now,
                      struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    unsigned attempts = suspect(core, lower) || suspect(core, higher) ? 1 : LINK_ATTEMPTS;
    bool good = link->latency_s > 0 && link->bytes_per_second[0] > 0 && link->bytes_per_second[1] > 0;
    bool as_before = good && link->latency_s <= LATENCY_FACTOR * link->recalled.latency_s + LATENCY_SLACK_S;
    link->state = SURVEY_UNKNOWN;
    if (good) {
        link->state = link->brief ? SURVEY_UNKNOWN : SURVEY_KNOWN;
        link->reached = true;
        link->attempts = link->given_up = 0;
    } else if (++link->attempts >= attempts)
        link_give_up(core, lower, higher, now, effects);
    if (link->brief) /* too little to be called a measurement */
        link->latency_s = link->bytes_per_second[0] = link->bytes_per_second[1] = 0;
    if (link->recalled.latency_s > 0 && as_before) {
        link->state = SURVEY_KNOWN;
        link->latency_s = link->recalled.latency_s;
        memcpy(link->bytes_per_second, link->recalled.bytes_per_second, sizeof link->bytes_per_second);
    }
    link->recalled.latency_s = 0;
}

static void on_told(struct survey_core *core, unsigned lower, unsigned higher, const struct survey_event *event,
                    mono_t now, struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    bool upper = event->board == higher;
    link->told[upper] = true;
    link->bytes_per_second[upper] = event->bytes_per_second;
    if (!upper) /* it started */
        link->latency_s = event->latency_s;
    mono_t soon = mono_after(now, LINK_GRACE - core->settings.probe_limit_ns);
    if (event->bytes_per_second <= 0 && mono_since(link->since, soon) > 0)
        link->since = soon; /* it failed; the other end has not much more to say */
    if (link->told[0] && link->told[1])
        link_over(core, lower, higher, now, effects);
}

static void on_probed(struct survey_core *core, const struct survey_event *event, mono_t now,
                      struct survey_effects *effects) {
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        if (end == event->board)
            continue;
        const struct survey_link *link = link_of(core, event->board, end);
        if (link->state != SURVEY_ASKED || link->number != event->number)
            continue;
        if (end < event->board)
            on_told(core, end, event->board, event, now, effects);
        else
            on_told(core, event->board, end, event, now, effects);
        return;
    }
}

static void on_recalled(struct survey_core *core, const struct survey_event *event) {
    struct survey_link *link = link_of(core, event->board, event->other);
    bool lower = event->board < event->other;
    bool good = event->latency_s > 0 && event->bytes_per_second > 0 && event->back > 0;
    if (link->state != SURVEY_UNKNOWN || !core->board[event->board].here || !core->board[event->other].here || !good)
        return;
    link->recalled.latency_s = event->latency_s;
    link->recalled.bytes_per_second[0] = lower ? event->bytes_per_second : event->back;
    link->recalled.bytes_per_second[1] = lower ? event->back : event->bytes_per_second;
}

static void start_probe(struct survey_core *core, unsigned lower, unsigned higher, bool brief, mono_t now,
                        struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    *link = (struct survey_link){.state = SURVEY_ASKED,
                                 .brief = brief || link->recalled.latency_s > 0,
                                 .reached = link->reached,
                                 .attempts = link->attempts,
                                 .given_up = link->given_up,
                                 .number = next_number(core),
                                 .since = now,
                                 .recalled = link->recalled};
    struct survey_effect *effect = effect_add(effects, SURVEY_START_PROBE);
    effect->board = lower;
    effect->other = higher;
    effect->number = link->number;
    effect->brief = link->brief;
}

/* ---- what is next ---- */

bool survey_core_probing(const struct survey_core *core, unsigned end) {
    for (unsigned other = 0; other < SURVEY_ENDS; other++)
        if (other != end && link_of_const(core, end, other)->state == SURVEY_ASKED)
            return true;
    return false;
}

static bool any_probe(const struct survey_core *core) {
    for (unsigned end = 0; end < SURVEY_ENDS; end++)
        if (survey_core_probing(core, end))
            return true;
    return false;
}

/* Does the coordinator reach it, as far as that is to be seen? */
static bool reached(const struct survey_core *core, unsigned board) {
    const struct survey_link *link = &core->link[board][SURVEY_COORDINATOR];
    return !core->settings.links || link->state == SURVEY_KNOWN || link->reached;
}

static bool askable(const struct survey_core *core, unsigned number, mono_t now) {
    const struct survey_board *board = &core->board[number];
    return takes_part(core, number) && board->profile == SURVEY_UNKNOWN && mono_since(now, board->at) >= 0 &&
           (board->wanted || reached(core, number));
}

/* Is a profile of a wanted board being made or due? */
static bool profiling(const struct survey_core *core, mono_t now) {
    for (unsigned i = 0; i < SURVEY_ENDS; i++)
        if (core->board[i].wanted && (core->board[i].profile == SURVEY_ASKED || askable(core, i, now)))
            return true;
    return false;
}

static void ask_profiles(struct survey_core *core, mono_t now, struct survey_effects *effects) {
    for (unsigned i = 0; i < SURVEY_COORDINATOR; i++) {
        struct survey_board *board = &core->board[i];
        if (!askable(core, i, now))
            continue;
        board->profile = SURVEY_ASKED;
        board->at = now;
        board->number = next_number(core);
        struct survey_effect *effect = effect_add(effects, SURVEY_ASK_PROFILE);
        effect->board = i;
        effect->number = board->number;
    }
}

/* Is the pair to be probed, and free for it? */
static bool probe_due(const struct survey_core *core, const bool busy[SURVEY_ENDS], unsigned lower, unsigned higher) {
    return !busy[lower] && !busy[higher] && core->link[lower][higher].state == SURVEY_UNKNOWN &&
           !link_settled(core, lower, higher);
}

/* Pairs of wanted ends, as many as there are free ones; those with the coordinator first: they tell soonest whether a
 * board is reached at all. */
static void measure_links(struct survey_core *core, bool busy[SURVEY_ENDS], mono_t now,
                          struct survey_effects *effects) {
    for (unsigned column = SURVEY_ENDS; column > 0; column--)
        for (unsigned higher = column - 1, lower = 0; lower < higher; lower++) {
            if (!counts(core, lower) || !counts(core, higher) || !probe_due(core, busy, lower, higher))
                continue;
            start_probe(core, lower, higher, false, now, effects);
            busy[lower] = busy[higher] = true;
        }
}

static void check_newcomers(struct survey_core *core, bool busy[SURVEY_ENDS], mono_t now,
                            struct survey_effects *effects) {
    for (unsigned board = 0; board < SURVEY_COORDINATOR; board++) {
        if (!core->board[board].newcomer || reached(core, board) || !probe_due(core, busy, board, SURVEY_COORDINATOR))
            continue;
        start_probe(core, board, SURVEY_COORDINATOR, true, now, effects);
        busy[board] = busy[SURVEY_COORDINATOR] = true;
    }
}

static void advance(struct survey_core *core, mono_t now, struct survey_effects *effects) {
    bool busy[SURVEY_ENDS];
    if (!any_probe(core))
        ask_profiles(core, now, effects);
    if (!core->settings.links)
        return;
    for (unsigned end = 0; end < SURVEY_ENDS; end++)
        busy[end] = !takes_part(core, end) || survey_core_probing(core, end);
    if (!core->held && !profiling(core, now))
        measure_links(core, busy, now, effects);
    check_newcomers(core, busy, now, effects);
}

/* ---- what is asked of it ---- */

static void on_wanted(struct survey_board *board) {
    board->wanted = board->here;
    board->newcomer = false;
}

static void on_newcomer(struct survey_core *core, unsigned number, mono_t now) {
    struct survey_board *board = &core->board[number];
    if (number == SURVEY_COORDINATOR || !board->here)
        return;
    board->wanted = false;
    board->newcomer = true;
    link_again(&core->link[number][SURVEY_COORDINATOR], now);
}

static void on_again(struct survey_core *core, mono_t now) {
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++) {
        if (!counts(core, lower))
            continue;
        profile_again(&core->board[lower], now);
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (counts(core, higher))
                link_again(&core->link[lower][higher], now);
    }
}

/* ---- time ---- */

static void on_tick(struct survey_core *core, mono_t now, struct survey_effects *effects) {
    for (unsigned i = 0; i < SURVEY_COORDINATOR; i++)
        if (core->board[i].profile == SURVEY_ASKED &&
            mono_since(now, core->board[i].at) >= core->settings.profile_limit_ns)
            profile_failed(&core->board[i], now);
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (core->link[lower][higher].state == SURVEY_ASKED &&
                mono_since(now, core->link[lower][higher].since) >= core->settings.probe_limit_ns)
                link_over(core, lower, higher, now, effects);
}

static void earlier(bool *any, mono_t *deadline, mono_t at) {
    if (!*any || mono_since(*deadline, at) > 0)
        *deadline = at;
    *any = true;
}

bool survey_core_deadline(const struct survey_core *core, mono_t *deadline) {
    bool any = false;
    for (unsigned i = 0; i < SURVEY_COORDINATOR; i++) {
        const struct survey_board *board = &core->board[i];
        if (board->profile == SURVEY_ASKED)
            earlier(&any, deadline, mono_after(board->at, core->settings.profile_limit_ns));
        else if (takes_part(core, i) && board->profile == SURVEY_UNKNOWN && (board->attempts > 0 || board->busy > 0))
            earlier(&any, deadline, board->at);
    }
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (core->link[lower][higher].state == SURVEY_ASKED)
                earlier(&any, deadline, mono_after(core->link[lower][higher].since, core->settings.probe_limit_ns));
    return any;
}

/* ---- the entry ---- */

void survey_core_step(struct survey_core *core, const struct survey_event *event, mono_t now,
                      struct survey_effects *effects) {
    effects->count = 0;
    assert(event->board < SURVEY_ENDS && event->other < SURVEY_ENDS);
    switch (event->type) {
    case SURVEY_JOINED:
        on_joined(core, event, now, effects);
        break;
    case SURVEY_GONE:
        on_gone(core, event->board, now, effects);
        break;
    case SURVEY_RECALLED:
        on_recalled(core, event);
        break;
    case SURVEY_WANTED:
        on_wanted(&core->board[event->board]);
        break;
    case SURVEY_NEWCOMER:
        on_newcomer(core, event->board, now);
        break;
    case SURVEY_AGAIN:
        on_again(core, now);
        break;
    case SURVEY_PROFILED:
        on_profiled(&core->board[event->board], event, now);
        break;
    case SURVEY_PROBED:
        on_probed(core, event, now, effects);
        break;
    case SURVEY_HOLD:
        core->held = event->ok;
        break;
    case SURVEY_TICK:
        on_tick(core, now, effects);
        break;
    }
    advance(core, now, effects);
}

/* ---- questions ---- */

bool survey_core_board_done(const struct survey_core *core, unsigned board) {
    if (!settled(core->board[board].profile))
        return false;
    for (unsigned end = 0; core->settings.links && end < SURVEY_ENDS; end++)
        if (end != board && counts(core, end) && !link_settled(core, board, end))
            return false;
    return true;
}

bool survey_core_boards_done(const struct survey_core *core, const unsigned *boards, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (!counts(core, boards[i]))
            continue; /* nothing more will be known of it */
        if (!settled(core->board[boards[i]].profile) ||
            (core->settings.links && !link_settled(core, boards[i], SURVEY_COORDINATOR)))
            return false;
        for (unsigned j = 0; core->settings.links && j < i; j++)
            if (counts(core, boards[j]) && !link_settled(core, boards[i], boards[j]))
                return false;
    }
    return true;
}

bool survey_core_newcomer_done(const struct survey_core *core, unsigned board) {
    return core->board[board].here && settled(core->board[board].profile) && reached(core, board);
}

mono_t survey_core_again_at(const struct survey_core *core, unsigned board) {
    return core->link[board][SURVEY_COORDINATOR].since;
}

bool survey_core_may_try_again(const struct survey_core *core, mono_t now) {
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++) {
        if (!counts(core, lower))
            continue;
        if (core->board[lower].profile == SURVEY_FAILED && mono_since(now, core->board[lower].at) >= 0)
            return true;
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (counts(core, higher) && core->link[lower][higher].state == SURVEY_FAILED &&
                mono_since(now, core->link[lower][higher].since) >= 0)
                return true;
    }
    return false;
}

bool survey_core_done(const struct survey_core *core) {
    for (unsigned board = 0; board < SURVEY_COORDINATOR; board++)
        if (counts(core, board) && !survey_core_board_done(core, board))
            return false;
    return true;
}

struct survey_progress survey_core_progress(const struct survey_core *core) {
    struct survey_progress progress = {0};
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        if (!counts(core, end))
            continue;
        progress.boards += end != SURVEY_COORDINATOR;
        progress.profiled += end != SURVEY_COORDINATOR && settled(core->board[end].profile);
        for (unsigned other = end + 1; core->settings.links && other < SURVEY_ENDS; other++) {
            progress.links += counts(core, other);
            progress.probed += counts(core, other) && link_settled(core, end, other);
        }
    }
    return progress;
}

bool survey_core_link_known(const struct survey_core *core, unsigned left, unsigned right) {
    return left != right && link_of_const(core, left, right)->state == SURVEY_KNOWN;
}

bool survey_core_link_failed(const struct survey_core *core, unsigned left, unsigned right) {
    return left != right && link_of_const(core, left, right)->state == SURVEY_FAILED;
}

void survey_core_way(const struct survey_core *core, unsigned from, unsigned to, double *latency_s,
                     double *bytes_per_second) {
    const struct survey_link *link = link_of_const(core, from, to);
    *latency_s = link->latency_s;
    *bytes_per_second = settled(link->state) ? link->bytes_per_second[to > from] : 0;
}

const char *survey_core_broken(const struct survey_core *core) {
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        const struct survey_board *board = &core->board[end];
        unsigned probes = 0;
        for (unsigned other = 0; other < SURVEY_ENDS; other++)
            probes += other != end && link_of_const(core, end, other)->state == SURVEY_ASKED;
        if (probes > 1)
            return "an end is in two probes";
        if (board->wanted && board->newcomer)
            return "a board is wanted and a newcomer";
        if (probes > 0 && !takes_part(core, end))
            return "an end is probed that is not here or not asked for";
        if (board->profile == SURVEY_ASKED && !takes_part(core, end))
            return "a board is profiled that is not here or not asked for";
    }
    return NULL;
}
