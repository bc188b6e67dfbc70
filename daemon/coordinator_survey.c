/* The survey of boards and links, carried out: what the pure core (core/survey_core.h) asks for becomes messages to
 * boards and frames of the coordinator's own end, what they answer becomes its events.
 *
 * Surveyed are the boards of the plan that is wanted and, beside that, newcomers: boards that have no part in what
 * serves or is planned. One is seen to be reached and profiled, and its links are probed in the lane that no epoch
 * uses, before it is planned with; one out of reach is left where it is and tried again now and then. What failed is
 * tried again when the next plan is asked for, and where there is no plan, as soon as that may help. Profiles are kept
 * in memory and in the state directory, and one that fits a board that says hello is not made again; links are kept
 * there for a coordinator that starts again at once (link_store.h). Nothing a board
 * says is believed beyond its own times: the profile must be of this model, the numbers finite and positive. All of it
 * runs in the I/O thread but for the measuring itself and the writing of what was measured (state_writer.h); it is
 * read here, files of some tens of kilobytes when a board joins.
 */
#include "base/allocate.h"
#include "base/log.h"
#include "daemon/coordinator_internal.h"
#include "daemon/profile_store.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BUDGET_LEAST_S     1.0
#define BUDGET_MOST_S      20.0
#define BUDGET_SPEED       20e9 /* operations per second of a board for which a budget allows three runs of a block */
#define PROFILE_PATIENCE_S 60   /* and twenty budgets: a board may be that much slower */
#define PROBE_LIMIT_MS     10000
#define PROBE_GRACE_MS     2000
#define TICK_NS            (100 * MONO_MS)
#define BURST_MS           250
#define BURST_BYTES        (UINT64_C(32) << 20)
#define YIELD              4 /* while a pipeline serves, a burst is so much shorter: its microbatches wait meanwhile */
#define TOUCH_NS           (60 * MONO_SECOND)
#define NOBODY             UINT32_MAX
#define BRIEF_BYTES        (UINT64_C(16) << 10) /* enough to see that frames come through */
#define UNLINKED_NAMED     4                    /* names fit REACH_WORDS_MAX */

/* Long enough for each kind of unit to run a few times, and no longer: everybody waits for it. */
static double budget_seconds(const struct coordinator *c) {
    double largest = 0;
    unsigned units = model_units(c->config);
    for (unsigned unit = 0; unit + MODEL_BLOCK_UNITS <= units; unit++) { /* a block, or as much as one */
        double flops = 0;
        for (unsigned i = 0; i < MODEL_BLOCK_UNITS; i++)
            flops += model_unit_flops(c->config, unit + i);
        largest = flops > largest ? flops : largest;
    }
    double seconds = 3 * c->options->microbatch * largest / BUDGET_SPEED;
    return seconds < BUDGET_LEAST_S ? BUDGET_LEAST_S : seconds > BUDGET_MOST_S ? BUDGET_MOST_S : seconds;
}

bool survey_init(struct coordinator *c, struct error *error) {
    struct survey_settings settings = {
        .first_number = c->cluster, /* random: frames of another coordinator's probes are not taken for ours */
        .probe_limit_ns = (PROBE_LIMIT_MS + PROBE_GRACE_MS) * MONO_MS,
        .profiles = true,
        .links = true,
    };
    c->survey.needed = c->options->survey == SURVEY_ALWAYS || c->options->write_fleet ||
                       (c->options->survey == SURVEY_AUTO && strcmp(c->policy, "optimal") == 0);
    c->survey.budget_s = budget_seconds(c);
    settings.profile_limit_ns = (int64_t)(PROFILE_PATIENCE_S + 20 * c->survey.budget_s) * MONO_SECOND;
    profile_fingerprint(c->config, c->survey.fingerprint);
    c->survey.prober.keys = c->gate.on ? &c->gate.keys : NULL;
    survey_core_init(&c->survey.core, &settings);
    if (!c->survey.needed || !c->options->state_directory)
        return true;
    struct error unread;
    if (!link_list_read(c->options->state_directory, &c->survey.links, &unread))
        log_warn("what was known of links cannot be used, they will be measured anew: %s", unread.text);
    c->survey.writer = state_writer_new(c->options->state_directory, error);
    return c->survey.writer != NULL;
}

void survey_close(struct coordinator *c) {
    state_writer_destroy(&c->survey.writer);
    link_list_close(&c->survey.links);
    prober_close(&c->survey.prober);
    for (unsigned board = 0; board < CORE_BOARDS_MAX; board++)
        release(c->survey.profile[board]);
}

/* ---- profiles ---- */

static struct profile_key key_of(const struct coordinator *c, unsigned board) {
    return (struct profile_key){.board = c->core.board[board].name,
                                .fingerprint = c->survey.fingerprint,
                                .version = STAGECOACH_VERSION,
                                .kernels = c->board[board].kernels,
                                .threads = c->board[board].threads};
}

static const double *seconds_in(const struct coordinator *c, const struct profile *profile) {
    for (unsigned i = 0; profile && i < profile->sizes; i++)
        if (profile->times[i].microbatch == c->options->microbatch)
            return profile->times[i].unit_s;
    return NULL;
}

const struct profile *survey_profile(const struct coordinator *c, unsigned board) {
    return c->survey.needed && seconds_in(c, c->survey.profile[board]) ? c->survey.profile[board] : NULL;
}

const double *survey_unit_seconds(const struct coordinator *c, unsigned board) {
    return seconds_in(c, survey_profile(c, board));
}

/* A profile for this board as it is now, from memory or from the state directory, into its place. */
static bool recall(struct coordinator *c, unsigned board) {
    struct error error;
    const struct profile_key key = key_of(c, board);
    struct profile *kept = c->survey.profile[board];
    bool same_board = strcmp(c->survey.profile_of[board], key.board) == 0;
    if (kept && same_board && profile_key_fits(&key, kept))
        return seconds_in(c, kept) != NULL;
    release(kept);
    kept = c->survey.profile[board] = allocate(1, sizeof *kept);
    snprintf(c->survey.profile_of[board], sizeof c->survey.profile_of[board], "%s", key.board);
    if (c->options->state_directory && profile_store_read(c->options->state_directory, &key, kept, &error) &&
        kept->units == model_units(c->config))
        return seconds_in(c, kept) != NULL; /* else of another microbatch: worth keeping beside the new times */
    if (c->options->state_directory && error.code != ERROR_NONE)
        log_warn("a kept profile cannot be used and will be made anew: %s", error.text);
    memset(kept, 0, sizeof *kept);
    return false;
}

/* Why a profile is not one of this board and model, NULL when it is. */
static const char *objection(const struct coordinator *c, unsigned board, const struct profile *profile) {
    const struct profile_key key = key_of(c, board);
    if (!profile_key_fits(&key, profile) || profile->units != model_units(c->config))
        return "it is of another model, version, kernel set or number of threads";
    return seconds_in(c, profile) ? NULL : "it has no times for this microbatch";
}

static void keep(struct coordinator *c, unsigned board, const struct profile *profile) {
    struct profile *kept = c->survey.profile[board];
    struct profile *merged = allocate(1, sizeof *merged);
    *merged = *profile;
    if (kept->sizes > 0)
        profile_merge(merged, kept);
    release(kept);
    c->survey.profile[board] = merged;
    pace_forget(c, board);
    if (!c->survey.writer)
        return;
    char name[PROFILE_FILE_MAX], what[32 + MESSAGE_NAME_MAX];
    const struct profile_key key = key_of(c, board);
    profile_store_name(&key, name);
    snprintf(what, sizeof what, "the profile of board %s", key.board);
    state_writer_put_take(c->survey.writer, name, profile_to_json(merged), what);
}

static void survey_step(struct coordinator *c, const struct survey_event *event);

static double total_seconds(const struct coordinator *c, unsigned board) {
    const double *seconds = seconds_in(c, c->survey.profile[board]);
    double sum = 0;
    for (unsigned unit = 0; seconds && unit < model_units(c->config); unit++)
        sum += seconds[unit];
    return sum;
}

/* Is this the answer to the last question that the board was asked, and still of use? */
static bool asked_for(const struct coordinator *c, unsigned board, uint64_t number) {
    const struct survey_board *asked = &c->survey.core.board[board];
    bool open = asked->here && (asked->profile == SURVEY_ASKED || asked->profile == SURVEY_FAILED);
    return c->survey.needed && open && asked->number == number && number != 0;
}

void survey_told_profile(struct coordinator *c, unsigned board, const struct message_profile *message) {
    struct error error;
    struct survey_event event = {
        .type = SURVEY_PROFILED, .board = board, .number = message->survey, .busy = message->busy};
    if (!asked_for(c, board, message->survey)) {
        log_debug("a profile of board %s that is not waited for", c->core.board[board].name);
        return;
    }
    struct profile *profile = allocate(1, sizeof *profile);
    const char *name = c->core.board[board].name, *wrong = message->error;
    if (!wrong[0] && !profile_from_json(message->json, message->json_bytes, "profile", profile, &error))
        wrong = error.text;
    else if (!wrong[0])
        wrong = objection(c, board, profile);
    event.ok = wrong == NULL;
    if (wrong && event.busy)
        log_info("board %s is asked for its profile again later: %s", name, wrong);
    else if (wrong)
        log_warn("no profile of board %s: %s", name, wrong);
    else {
        keep(c, board, profile);
        log_info("board %s measured: %.1f ms for the whole model at microbatch %u", name, 1e3 * total_seconds(c, board),
                 c->options->microbatch);
    }
    release(profile);
    survey_step(c, &event);
}

/* ---- links ---- */

static struct link_end link_end(const struct coordinator *c, unsigned end) {
    struct link_end made = {.name = ""};
    if (end == SURVEY_COORDINATOR)
        return made;
    snprintf(made.name, sizeof made.name, "%s", c->core.board[end].name);
    snprintf(made.who, sizeof made.who, "%016" PRIx64 "@%s", c->board[end].instance, c->board[end].endpoint[0]);
    return made;
}

/* What was measured of the links of a board while the coordinator before this one lived; each counts once. */
static void recall_links(struct coordinator *c, unsigned board) {
    struct kept_link link;
    unsigned recalled = 0;
    const struct link_end own = link_end(c, board);
    for (unsigned end = 0; end < SURVEY_ENDS; end++) {
        bool unknown = end != SURVEY_COORDINATOR && c->board[end].instance == 0;
        if (end == board || !c->survey.core.board[end].here || unknown || c->board[board].instance == 0)
            continue;
        const struct link_end other = link_end(c, end);
        if (!link_list_take(&c->survey.links, &own, &other, &link))
            continue;
        recalled++;
        survey_step(c, &(struct survey_event){.type = SURVEY_RECALLED,
                                              .board = board,
                                              .other = end,
                                              .latency_s = link.latency_s,
                                              .bytes_per_second = link.bytes_per_second[0],
                                              .back = link.bytes_per_second[1]});
    }
    if (recalled > 0)
        log_info("board %s: %u of its links were kept", own.name, recalled);
}

/* The board of that name that is here, NOBODY when none is; *same: it is who it was then. */
static unsigned end_here(const struct coordinator *c, const struct link_end *kept, bool *same) {
    *same = true;
    if (!kept->name[0])
        return SURVEY_COORDINATOR;
    for (unsigned board = 0; board < c->core.boards; board++) {
        if (!c->survey.core.board[board].here || strcmp(c->core.board[board].name, kept->name) != 0)
            continue;
        const struct link_end now = link_end(c, board);
        *same = strcmp(now.who, kept->who) == 0;
        return board;
    }
    return NOBODY;
}

/* May it still come true: is one of its ends yet to come back, and neither here as another? */
static bool still_of_use(const struct coordinator *c, const struct kept_link *kept) {
    bool same[2];
    unsigned left = end_here(c, &kept->end[0], &same[0]), right = end_here(c, &kept->end[1], &same[1]);
    return same[0] && same[1] && (left == NOBODY || right == NOBODY);
}

static void add_known(const struct coordinator *c, unsigned lower, unsigned higher, struct link_list *list) {
    struct kept_link link = {.end = {link_end(c, lower), link_end(c, higher)}};
    survey_core_way(&c->survey.core, lower, higher, &link.latency_s, &link.bytes_per_second[1]);
    survey_core_way(&c->survey.core, higher, lower, &link.latency_s, &link.bytes_per_second[0]);
    link_list_add(list, &link);
}

/* All links that are known now, and of those of the coordinator before what is still of use. */
static void keep_links(struct coordinator *c) {
    struct link_list kept = {0};
    for (unsigned lower = 0; lower < SURVEY_ENDS; lower++)
        for (unsigned higher = lower + 1; higher < SURVEY_ENDS; higher++)
            if (survey_core_link_known(&c->survey.core, lower, higher))
                add_known(c, lower, higher, &kept);
    for (size_t i = 0; i < c->survey.links.count && kept.count < LINKS_MOST; i++)
        if (still_of_use(c, &c->survey.links.link[i]))
            link_list_add(&kept, &c->survey.links.link[i]);
    state_writer_put_take(c->survey.writer, LINKS_FILE, link_list_print(&kept), "what was measured of links");
    link_list_close(&kept);
    c->survey.kept = mono_now();
}

/* ---- what the core wants ---- */

static const char *end_name(const struct coordinator *c, unsigned end) {
    return end == SURVEY_COORDINATOR ? "coordinator" : c->core.board[end].name;
}

static void ask_profile(struct coordinator *c, unsigned board, uint64_t number) {
    struct peer *peer = peer_of_board(c, board);
    const uint32_t size = c->options->microbatch;
    struct message message = {.type = MESSAGE_PROFILE_GET,
                              .profile_get = {.survey = number,
                                              .microbatches = &size,
                                              .microbatch_count = 1,
                                              .budget_ms = (uint32_t)(1e3 * c->survey.budget_s)}};
    model_borrow_json(c->model, &message.profile_get.config, &message.profile_get.config_bytes,
                      &message.profile_get.preprocessor, &message.profile_get.preprocessor_bytes);
    log_info("measuring board %s, about %.1f s", end_name(c, board), c->survey.budget_s);
    if (peer)
        coordinator_send(c, &peer->name, &message, NULL);
}

/* The data socket of a lane that serves may be left unread for long. */
static unsigned probe_lane(const struct coordinator *c) {
    unsigned lane = core_lane_free(&c->core);
    return lane < MESSAGE_LANES ? lane : 0;
}

/* Has one end take part in a probe with another. */
static void begin_probe(struct coordinator *c, unsigned end, unsigned other, bool starts,
                        const struct survey_effect *effect) {
    struct error error;
    char endpoint[NET_ENDPOINT_MAX];
    bool serving = c->core.state == COORDINATOR_SERVING;
    struct message message = {
        .type = MESSAGE_PROBE,
        .probe = {.probe = effect->number,
                  .peer_endpoint = endpoint,
                  .starts = starts,
                  .limit_ms = PROBE_LIMIT_MS,
                  .burst_ms = serving ? BURST_MS / YIELD : BURST_MS,
                  .burst_bytes = effect->brief ? BRIEF_BYTES
                                 : serving     ? BURST_BYTES / YIELD
                                               : BURST_BYTES,
                  .peer_key = other == SURVEY_COORDINATOR ? gate_own_key(c) : gate_key_of(c, other)}};
    struct peer *peer = end == SURVEY_COORDINATOR ? NULL : peer_of_board(c, end);
    c->survey.probe_of[end] = effect->number;
    c->survey.fault[end][0] = '\0';
    if (other == SURVEY_COORDINATOR)
        boards_results_endpoint(c, end, endpoint);
    else if (end == SURVEY_COORDINATOR)
        snprintf(endpoint, sizeof endpoint, "%s", c->board[other].endpoint[probe_lane(c)]);
    else
        boards_endpoint_for(c, end, c->board[other].endpoint[probe_lane(c)], endpoint);
    if (peer)
        coordinator_send(c, &peer->name, &message, NULL);
    else if (end == SURVEY_COORDINATOR && !prober_begin(&c->survey.prober, c->net, &message.probe, &error))
        log_warn("probe: %s", error.text); /* its limit ends it */
}

static void link_failed(struct coordinator *c, unsigned board, unsigned other) {
    const char *own = c->survey.fault[board], *others = c->survey.fault[other];
    const char *why = own[0] ? own : others[0] ? others : "they did not say why";
    log_warn("no link between %s and %s: %s", end_name(c, board), end_name(c, other), why);
    if (other == SURVEY_COORDINATOR)
        snprintf(c->survey.unreached[board], sizeof c->survey.unreached[board], "%s", why);
}

static void carry_out(struct coordinator *c, const struct survey_effect *effect) {
    switch (effect->type) {
    case SURVEY_ASK_PROFILE:
        ask_profile(c, effect->board, effect->number);
        break;
    case SURVEY_START_PROBE:
        begin_probe(c, effect->other, effect->board, false, effect); /* so that it knows before the ping */
        begin_probe(c, effect->board, effect->other, true, effect);
        break;
    case SURVEY_STOP_PROBE:
        if (c->survey.prober.probe == effect->number)
            prober_stop(&c->survey.prober);
        break;
    case SURVEY_LINK_FAILED:
        link_failed(c, effect->board, effect->other);
        break;
    }
}

static void survey_step(struct coordinator *c, const struct survey_event *event) {
    struct survey_effects effects;
    survey_core_step(&c->survey.core, event, mono_now(), &effects);
    for (unsigned i = 0; i < effects.count; i++)
        carry_out(c, &effects.effect[i]);
}

/* ---- what boards and links say ---- */

void survey_joined(struct coordinator *c, unsigned board) {
    bool stranger = strcmp(c->survey.profile_of[board], c->core.board[board].name) != 0;
    bool known = c->survey.needed && recall(c, board);
    if (known)
        log_info("board %s: its profile was kept", c->core.board[board].name);
    c->board[board].measured = false;
    survey_step(c, &(struct survey_event){.type = SURVEY_JOINED, .board = board, .known = known, .stranger = stranger});
    recall_links(c, board);
}

void survey_told_probe(struct coordinator *c, unsigned end, const struct message_probed *probed) {
    log_debug("%s probed: latency %.3g ms, receives %.4g MB/s %s", end_name(c, end), 1e3 * probed->latency_s,
              probed->bytes_per_second / 1e6, probed->error);
    if (probed->error[0] && probed->probe == c->survey.probe_of[end])
        snprintf(c->survey.fault[end], sizeof c->survey.fault[end], "%.100s says: %.150s", end_name(c, end),
                 probed->error);
    survey_step(c, &(struct survey_event){.type = SURVEY_PROBED,
                                          .board = end,
                                          .number = probed->probe,
                                          .latency_s = probed->latency_s,
                                          .bytes_per_second = probed->bytes_per_second});
}

bool survey_arrived(struct coordinator *c, const struct net_message *received) {
    const struct net_frame *frame = &received->frame[0];
    if (!probe_header_is(net_frame_data(frame), net_frame_size(frame)))
        return false;
    arena_reset(c->decoded);
    enum prober_verdict verdict = prober_arrived(&c->survey.prober, c->decoded, received);
    c->rejected.stale += verdict == PROBER_STALE;
    c->rejected.malformed += verdict == PROBER_MALFORMED;
    return true;
}

/* ---- progress ---- */

static void want(struct coordinator *c, unsigned board) {
    if (c->survey.core.board[board].here && !c->survey.core.board[board].wanted)
        survey_step(c, &(struct survey_event){.type = SURVEY_WANTED, .board = board});
}

bool survey_ready(struct coordinator *c, const unsigned *boards, unsigned count) {
    for (unsigned i = 0; c->survey.needed && i < count; i++)
        want(c, boards[i]);
    return !c->survey.needed || survey_core_boards_done(&c->survey.core, boards, count);
}

/* What failed is tried again where the plan may wait for that; else what was out of reach before stays so, and
 * ask_for_plan sees to it where no plan is found without. */
void survey_plan_asked(struct coordinator *c) {
    c->survey.replan = false;
    if (core_plan_may_wait(&c->core))
        survey_step(c, &(struct survey_event){.type = SURVEY_AGAIN});
}

bool survey_out_of_reach(const struct coordinator *c, unsigned board, char *text, size_t size) {
    if (!c->survey.needed || !survey_core_out_of_reach(&c->survey.core, board))
        return false;
    int64_t wait = mono_since(survey_core_again_at(&c->survey.core, board), mono_now()) / MONO_SECOND;
    snprintf(text, size, "out of reach, tried again in %lld s: %s", (long long)(wait > 0 ? wait : 0),
             c->survey.unreached[board]);
    return true;
}

bool survey_unlinked(const struct coordinator *c, unsigned board, char *text, size_t size) {
    unsigned failed = 0;
    size_t used = 0;
    for (unsigned end = 0; c->survey.needed && end < SURVEY_ENDS; end++)
        if (survey_core_link_failed(&c->survey.core, board, end) && failed++ < UNLINKED_NAMED)
            used += (size_t)snprintf(text + used, size - used, "%s%s", failed == 1 ? "no link with " : ", ",
                                     end_name(c, end));
    if (failed > UNLINKED_NAMED)
        snprintf(text + used, size - used, " and %u more", failed - UNLINKED_NAMED);
    return failed > 0;
}

bool survey_busy(const struct coordinator *c) {
    return c->survey.needed && !survey_core_done(&c->survey.core);
}

void survey_words(const struct coordinator *c, char *text, size_t size) {
    struct survey_progress progress = survey_core_progress(&c->survey.core);
    snprintf(text, size, "measuring boards: %u of %u profiled, links %u of %u", progress.profiled, progress.boards,
             progress.probed, progress.links);
}

static void log_links(const struct coordinator *c) {
    double least = INFINITY, most = 0, longest = 0;
    const struct survey_core *core = &c->survey.core;
    for (unsigned from = 0; from < SURVEY_ENDS; from++)
        for (unsigned to = 0; to < SURVEY_ENDS; to++) {
            double latency, bandwidth;
            if (from == to || !core->board[from].wanted || !core->board[to].wanted)
                continue;
            survey_core_way(core, from, to, &latency, &bandwidth);
            if (bandwidth <= 0)
                continue;
            least = bandwidth < least ? bandwidth : least;
            most = bandwidth > most ? bandwidth : most;
            longest = latency > longest ? latency : longest;
        }
    if (most > 0)
        log_info("links: %.0f to %.0f Mbit/s, latency up to %.3g ms", least * 8e-6, most * 8e-6, 1e3 * longest);
}

/* A line when something is new, at most one a second, and one at the end. */
static void log_progress(struct coordinator *c) {
    char text[128];
    bool busy = survey_busy(c);
    mono_t now = mono_now();
    if (busy && mono_since(now, c->survey.logged) >= MONO_SECOND) {
        survey_words(c, text, sizeof text);
        if (strcmp(text, c->survey.words) != 0)
            log_info("%s", text);
        snprintf(c->survey.words, sizeof c->survey.words, "%s", text);
        c->survey.logged = now;
    }
    if (c->survey.was_busy && !busy) {
        log_links(c);
        if (c->survey.writer)
            keep_links(c);
    }
    c->survey.was_busy = busy;
}

/* A board that has no part in what serves or is planned: seen to be reached, measured, then planned with. */
static void measure_newcomer(struct coordinator *c, unsigned board) {
    if (c->board[board].measured || c->core.board[board].state != BOARD_IDLE || plan_includes(c, board))
        return;
    survey_step(c, &(struct survey_event){.type = SURVEY_NEWCOMER, .board = board});
    if (!survey_core_newcomer_done(&c->survey.core, board))
        return;
    want(c, board);
    if (!survey_core_board_done(&c->survey.core, board))
        return;
    c->board[board].measured = c->survey.replan = true;
    coordinator_step(c, &(struct coordinator_event){.type = CORE_BOARD_MEASURED, .board = board});
}

/* Frames of probes need a lane in which no microbatches wait: that of no epoch. */
static bool may_probe(const struct coordinator *c) {
    enum coordinator_state state = c->core.state;
    return state == COORDINATOR_WAITING || (state == COORDINATOR_SERVING && core_lane_free(&c->core) < MESSAGE_LANES);
}

/* Has the core ask for a plan where it waits for boards to come or go, though there is something new to plan with: a
 * newcomer that the last plan did not wait for, or a failure that may have healed while there is no plan. */
static void ask_for_plan(struct coordinator *c) {
    bool idle = c->core.state == COORDINATOR_WAITING && !c->core.changed && !c->core.planning;
    if (!idle)
        return;
    bool again = survey_core_may_try_again(&c->survey.core, mono_now());
    if (again)
        survey_step(c, &(struct survey_event){.type = SURVEY_AGAIN});
    if (again || c->survey.replan)
        coordinator_step(c, &(struct coordinator_event){.type = CORE_PLANNED, .stale = true});
}

/* Whatever waits for its time. */
static void survey_tick(struct coordinator *c) {
    c->survey.ticked = mono_now();
    if (c->survey.writer && mono_since(c->survey.ticked, c->survey.kept) >= TOUCH_NS) {
        link_list_touch(c->options->state_directory);
        c->survey.kept = c->survey.ticked;
    }
    survey_step(c, &(struct survey_event){.type = SURVEY_TICK});
    for (unsigned board = 0; board < c->core.boards; board++) {
        bool waiting = c->core.state == COORDINATOR_WAITING && !c->core.changed; /* else they may all be planned with */
        if (waiting || c->core.state == COORDINATOR_SERVING)
            measure_newcomer(c, board);
    }
    ask_for_plan(c);
    log_progress(c);
}

void survey_turn(struct coordinator *c) {
    struct message_probed probed;
    if (!c->survey.needed)
        return;
    bool held = !may_probe(c);
    if (held != c->survey.core.held)
        survey_step(c, &(struct survey_event){.type = SURVEY_HOLD, .ok = held});
    for (unsigned board = 0; board < c->core.boards; board++) {
        enum board_state state = c->core.board[board].state;
        if (c->survey.core.board[board].here && (state == BOARD_ABSENT || state == BOARD_LEAVING))
            survey_step(c, &(struct survey_event){.type = SURVEY_GONE, .board = board});
    }
    if (prober_turn(&c->survey.prober, &probed))
        survey_told_probe(c, SURVEY_COORDINATOR, &probed);
    if (mono_since(mono_now(), c->survey.ticked) >= TICK_NS) /* probes turn the loop much faster */
        survey_tick(c);
}
