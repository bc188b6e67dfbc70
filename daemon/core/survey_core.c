/* The coordinator's survey; its rules and vocabulary are in survey_core.h.
 *
 * survey_core_step is the one entry: the event changes what is known, then advance() draws the consequences: profiles
 * while nothing is probed, then probes of pairs whose ends are both free. Links are kept once for each pair, with what
 * either end received.
 */
#include "daemon/core/survey_core.h"

#include <assert.h>
#include <string.h>

#define PROFILE_ATTEMPTS 3
#define PROFILE_PAUSE    MONO_SECOND /* before asking again: it may be busy for a moment */
#define LINK_ATTEMPTS    2
#define LINK_GRACE       (2 * MONO_SECOND) /* for the second end when the first says that it failed */

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

static struct survey_link *link_of(struct survey_core *core, unsigned left, unsigned right) {
    return left < right ? &core->link[left][right] : &core->link[right][left];
}

static const struct survey_link *link_of_const(const struct survey_core *core, unsigned left, unsigned right) {
    return left < right ? &core->link[left][right] : &core->link[right][left];
}

static bool settled(enum survey_state state) {
    return state == SURVEY_KNOWN || state == SURVEY_FAILED;
}

/* ---- boards ---- */

static void on_gone(struct survey_core *core, unsigned number, struct survey_effects *effects) {
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        if (end == number)
            continue;
        struct survey_link *link = link_of(core, number, end);
        if (link->state == SURVEY_ASKED && end == SURVEY_COORDINATOR)
            effect_add(effects, SURVEY_STOP_PROBE)->number = link->number;
        *link = (struct survey_link){0};
    }
    core->board[number] = (struct survey_board){0};
}

static void on_joined(struct survey_core *core, unsigned number, bool known, mono_t now,
                      struct survey_effects *effects) {
    on_gone(core, number, effects);
    struct survey_board *board = &core->board[number];
    board->here = true;
    board->profile = known || !core->settings.profiles ? SURVEY_KNOWN : SURVEY_UNKNOWN;
    board->at = now;
}

static void profile_failed(struct survey_board *board, mono_t now) {
    board->profile = ++board->attempts < PROFILE_ATTEMPTS ? SURVEY_UNKNOWN : SURVEY_FAILED;
    board->at = mono_after(now, PROFILE_PAUSE);
}

static void on_profiled(struct survey_board *board, const struct survey_event *event, mono_t now) {
    if (!board->here || event->number != board->number || board->profile == SURVEY_KNOWN)
        return;
    if (event->ok)
        board->profile = SURVEY_KNOWN; /* also when it was given up already */
    else if (board->profile == SURVEY_ASKED)
        profile_failed(board, now);
}

/* ---- links ---- */

static void link_over(struct survey_core *core, unsigned lower, unsigned higher, struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    bool good = link->latency_s > 0 && link->bytes_per_second[0] > 0 && link->bytes_per_second[1] > 0;
    link->state = good ? SURVEY_KNOWN : ++link->attempts < LINK_ATTEMPTS ? SURVEY_UNKNOWN : SURVEY_FAILED;
    if (link->state != SURVEY_FAILED)
        return;
    struct survey_effect *effect = effect_add(effects, SURVEY_LINK_FAILED);
    effect->board = lower;
    effect->other = higher;
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
        link_over(core, lower, higher, effects);
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

static void start_probe(struct survey_core *core, unsigned lower, unsigned higher, mono_t now,
                        struct survey_effects *effects) {
    struct survey_link *link = &core->link[lower][higher];
    *link = (struct survey_link){
        .state = SURVEY_ASKED, .attempts = link->attempts, .number = next_number(core), .since = now};
    struct survey_effect *effect = effect_add(effects, SURVEY_START_PROBE);
    effect->board = lower;
    effect->other = higher;
    effect->number = link->number;
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

static bool askable(const struct survey_core *core, unsigned number, mono_t now) {
    const struct survey_board *board = &core->board[number];
    return counts(core, number) && board->profile == SURVEY_UNKNOWN && mono_since(now, board->at) >= 0;
}

/* Is a profile being made or due? */
static bool profiling(const struct survey_core *core, mono_t now) {
    for (unsigned i = 0; i < SURVEY_ENDS; i++)
        if (core->board[i].profile == SURVEY_ASKED || askable(core, i, now))
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

static void start_probes(struct survey_core *core, mono_t now, struct survey_effects *effects) {
    bool busy[SURVEY_ENDS];
    for (unsigned end = 0; end < SURVEY_ENDS; end++)
        busy[end] = !counts(core, end) || survey_core_probing(core, end);
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS && !busy[lower]; higher++)
            if (!busy[higher] && core->link[lower][higher].state == SURVEY_UNKNOWN) {
                start_probe(core, lower, higher, now, effects);
                busy[lower] = busy[higher] = true;
            }
}

static void advance(struct survey_core *core, mono_t now, struct survey_effects *effects) {
    if (!any_probe(core))
        ask_profiles(core, now, effects);
    if (core->settings.links && !core->held && !profiling(core, now))
        start_probes(core, now, effects);
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
                link_over(core, lower, higher, effects);
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
        else if (counts(core, i) && board->profile == SURVEY_UNKNOWN && board->attempts > 0)
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
    assert(event->board < SURVEY_ENDS);
    switch (event->type) {
    case SURVEY_JOINED:
        on_joined(core, event->board, event->known, now, effects);
        break;
    case SURVEY_GONE:
        on_gone(core, event->board, effects);
        break;
    case SURVEY_WANTED:
        core->board[event->board].wanted = core->board[event->board].here;
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
        if (end != board && counts(core, end) && !settled(link_of_const(core, board, end)->state))
            return false;
    return true;
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
            progress.probed += counts(core, other) && settled(core->link[end][other].state);
        }
    }
    return progress;
}

void survey_core_way(const struct survey_core *core, unsigned from, unsigned to, double *latency_s,
                     double *bytes_per_second) {
    const struct survey_link *link = link_of_const(core, from, to);
    *latency_s = link->latency_s;
    *bytes_per_second = settled(link->state) ? link->bytes_per_second[to > from] : 0;
}

const char *survey_core_broken(const struct survey_core *core) {
    bool asked = false, probed = false;
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        unsigned probes = 0;
        asked = asked || core->board[end].profile == SURVEY_ASKED;
        for (unsigned other = 0; other < SURVEY_ENDS; other++)
            probes += other != end && link_of_const(core, end, other)->state == SURVEY_ASKED;
        if (probes > 1)
            return "an end is in two probes";
        if (probes > 0 && !counts(core, end))
            return "an end is probed that is not here or not wanted";
        if (core->board[end].profile == SURVEY_ASKED && !counts(core, end))
            return "a board is profiled that is not here or not wanted";
        probed = probed || probes > 0;
    }
    return asked && probed ? "profiles and probes at the same time" : NULL;
}
