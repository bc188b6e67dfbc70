/* The stage daemon: start, loop, end. What a stage does when is decided by the pure core (core/stage_core.h); this file
 * turns what wakes the loop into events and hands effects to those who carry them out.
 *
 * Happy path: open the data socket, connect to the coordinator, say hello, be assigned a slice, have the loader prepare
 * it, serve until a signal asks to leave and the coordinator lets go. Failures: a coordinator that is away is waited
 * for without end; one that refuses for good, or a port that cannot be had, ends the process with the reason. Nothing
 * that a peer sends does. Threads: this one owns all sockets and the core; the compute worker and the loader are
 * reached through queues, and so is a profiler while there is one; libzmq's thread gives output parts back through
 * another. Signals arrive by descriptor. Memory: `struct stage` lives in stage_run; things are closed in the order:
 * profiler, loader, worker, sockets and libzmq (whose end gives back all output parts), engine.
 */
#include "daemon/stage_internal.h"

#include "base/log.h"
#include "daemon/signals.h"

#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WAKE_MS          1000 /* nothing depends on it: only log lines about waiting are due by it */
#define FAULT_LOG_PERIOD MONO_SECOND
#define CLOSE_LINGER_MS  500
#define ADDRESS_PAUSE_MS 2000

/* ---- the core ---- */

struct states {
    enum stage_state stage;
    enum lane_state lane[STAGE_LANES];
};

static struct states states_of(const struct stage_core *core) {
    struct states states = {.stage = core->state};
    for (unsigned i = 0; i < STAGE_LANES; i++)
        states.lane[i] = core->lane[i].state;
    return states;
}

static void log_step(const struct stage *stage, const struct states *before) {
    const struct stage_core *core = &stage->core;
    bool loaded = false;
    for (unsigned i = 0; i < STAGE_LANES; i++) {
        const struct stage_lane *lane = &core->lane[i];
        loaded = loaded || lane->filled;
        if (before->lane[i] == lane->state)
            continue;
        log_debug("lane %u: %s -> %s", i, lane_state_name(before->lane[i]), lane_state_name(lane->state));
        if (lane->state == LANE_SERVING)
            log_info("serving epoch %" PRIu64, lane->epoch.number);
    }
    if (before->stage == core->state)
        return;
    log_debug("%s -> %s", stage_state_name(before->stage), stage_state_name(core->state));
    if (core->state == STAGE_JOINING)
        log_warn("lost the coordinator%s", loaded ? "; keeping what is loaded" : "");
    if (core->state == STAGE_GONE)
        log_info(core->leaving || before->stage == STAGE_JOINING ? "leaving"
                                                                 : "drained: the coordinator let this board go");
}

/* At most one line a second, whatever strangers send: the first fault at once, the others as a number. */
static void log_faults(struct stage *stage) {
    mono_t now = mono_now();
    if (stage->faults == 0 || (stage->fault_logged.ns != 0 && mono_since(now, stage->fault_logged) < FAULT_LOG_PERIOD))
        return;
    if (stage->faults > 1)
        log_warn("dropped %s, and %u other things that are not for us", stage->fault, stage->faults - 1);
    else
        log_warn("dropped %s", stage->fault);
    stage->fault_logged = now;
    stage->faults = 0;
}

static void carry_out(struct stage *stage, const struct stage_effect *effect) {
    switch (effect->type) {
    case STAGE_SAY_HELLO:
    case STAGE_SAY_PROGRESS:
    case STAGE_SAY_READY:
    case STAGE_SAY_FAILED:
    case STAGE_SAY_HEARTBEAT:
    case STAGE_SAY_LEAVE:
        control_effect(stage, effect);
        break;
    case STAGE_LOAD:
    case STAGE_DISCARD:
    case STAGE_CANCEL:
        weights_effect(stage, effect);
        break;
    case STAGE_EXIT:
        stage->stop = true;
        break;
    default:
        data_effect(stage, effect);
        break;
    }
}

void stage_feed(struct stage *stage, const struct stage_event *event) {
    struct stage_effects effects;
    struct states before = states_of(&stage->core);
    stage_core_step(&stage->core, event, mono_now(), &effects);
    log_step(stage, &before);
    if (effects.fault) {
        snprintf(stage->fault, sizeof stage->fault, "%s", effects.fault);
        stage->faults++;
        log_faults(stage);
    }
    for (unsigned i = 0; i < effects.count; i++)
        carry_out(stage, &effects.effect[i]);
}

/* ---- the loop ---- */

enum wait_index { WAIT_SIGNALS, WAIT_LOADER, WAIT_COMPUTE, WAIT_LET_GO, WAIT_PEERS, WAIT_OTHERS };

/* Returns how many there are; next[] tells at which place the lanes' sockets to their next stages are, 0: nowhere. */
static unsigned fill_waits(struct stage *stage, struct net_wait waits[NET_WAITS_MAX], unsigned next[STAGE_LANES]) {
    memset(waits, 0, NET_WAITS_MAX * sizeof waits[0]);
    waits[WAIT_SIGNALS] = (struct net_wait){.descriptor = stage->signals, .readable = true};
    waits[WAIT_LOADER] = (struct net_wait){.descriptor = loader_descriptor(stage->loader), .readable = true};
    waits[WAIT_COMPUTE] = (struct net_wait){.descriptor = compute_descriptor(stage->compute), .readable = true};
    waits[WAIT_LET_GO] = (struct net_wait){.descriptor = queue_descriptor(stage->let_go), .readable = true};
    waits[WAIT_PEERS] = (struct net_wait){.socket = stage->peers, .readable = true};
    unsigned count = WAIT_OTHERS;
    for (unsigned lane = 0; lane < STAGE_LANES; lane++) {
        const struct stage_way *way = &stage->way[lane];
        waits[count++] = (struct net_wait){.socket = way->data, .readable = stage_core_receiving(&stage->core, lane)};
        next[lane] = way->next ? count : 0;
        if (way->next)
            waits[count++] = (struct net_wait){.socket = way->next, .writable = stage->core.lane[lane].blocked};
    }
    count += measure_waits(stage, &waits[count]);
    count += fetch_waits(stage, &waits[count]);
    if (stage->control)
        waits[count++] = (struct net_wait){.socket = stage->control, .readable = true};
    return count;
}

static int timeout_ms(const struct stage *stage) {
    mono_t now = mono_now(), deadline;
    int64_t wait = WAKE_MS * MONO_MS;
    mono_t probe = mono_after(now, wait);
    prober_deadline(&stage->prober, &probe);
    if (mono_since(probe, now) < wait)
        wait = mono_since(probe, now);
    if (stage_core_deadline(&stage->core, &deadline) && mono_since(deadline, now) < wait)
        wait = mono_since(deadline, now);
    if (fetch_core_deadline(&stage->fetch, &deadline) && mono_since(deadline, now) < wait)
        wait = mono_since(deadline, now);
    if (!stage->control && mono_since(stage->reconnect_at, now) < wait)
        wait = mono_since(stage->reconnect_at, now);
    return wait > 0 ? (int)((wait + MONO_MS - 1) / MONO_MS) : 0;
}

/* Everything that can be read is read; nothing here waits. Finished work goes before new work. */
static void turn(struct stage *stage, const struct net_wait *waits, const unsigned next[STAGE_LANES]) {
    if (waits[WAIT_SIGNALS].can_read && signals_read(stage->signals))
        stage_feed(stage, &(struct stage_event){.type = STAGE_SHUTDOWN});
    data_let_go(stage);
    data_computed(stage);
    weights_reports(stage);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        if (next[lane] > 0 && waits[next[lane]].can_write)
            stage_feed(stage, &(struct stage_event){.type = STAGE_WRITABLE, .lane = lane});
    control_events(stage);
    control_read(stage);
    data_events(stage);
    data_read(stage);
    fetch_turn(stage);
    peers_turn(stage);
    measure_turn(stage);
    control_revive(stage);
    data_admit(stage);
    stage_feed(stage, &(struct stage_event){.type = STAGE_TICK});
}

static bool loop(struct stage *stage, struct error *error) {
    while (!stage->stop) {
        struct net_wait waits[NET_WAITS_MAX];
        control_log_waiting(stage);
        log_faults(stage);
        strangers_turn(&stage->strangers);
        unsigned next[STAGE_LANES], count = fill_waits(stage, waits, next);
        if (!net_wait(waits, count, timeout_ms(stage), error))
            return false;
        turn(stage, waits, next);
    }
    return stage->failure->code == ERROR_NONE;
}

/* ---- start and end ---- */

/* Frames of megabytes come and go all the time. By default malloc maps and unmaps each, and the system zeroes its pages
 * anew; one arena that keeps what is freed gives the same pages again. */
static void keep_frame_memory(void) {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, 32 << 20); /* the most that glibc allows */
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
}

/* Waits until the coordinator's host can be named and reached by some route, which a board that has just been switched
 * on may lack for a while. False when told to stop meanwhile. */
static bool wait_for_network(struct stage *stage) {
    char address[64];
    struct error error;
    struct pollfd signals = {.fd = stage->signals, .events = POLLIN};
    while (!net_local_address(stage->options->coordinator, address, &error)) {
        if (waiting_is_news(&stage->waiting, error.text))
            log_info("waiting for the coordinator: %s", error.text);
        if (poll(&signals, 1, ADDRESS_PAUSE_MS) > 0)
            return false;
    }
    return true;
}

static bool start(struct stage *stage, struct error *error) {
    const struct stage_options *options = stage->options;
    const struct loader_settings loader = {.cache_directory = options->cache_directory,
                                           .cache_limit_bytes = options->cache_limit_bytes,
                                           .memory_bytes = options->memory_bytes,
                                           .threads = options->threads,
                                           .kernels = stage->kernels};
    stage->prober.keys = options->identity ? &options->identity->keys : NULL;
    stage->decoded = arena_new(STAGE_ARENA_LIMIT);
    stage->encoded = arena_new(STAGE_ARENA_LIMIT);
    return (stage->let_go = queue_new(STAGE_LANES * STAGE_OUTPUTS * MESSAGE_PARTS_MAX, error)) &&
           (stage->loader = loader_new(&loader, error)) && (stage->compute = compute_new(options->threads, error)) &&
           (stage->net = net_new(error)) && data_open(stage, error) && peers_open(stage, error) &&
           control_open(stage, error);
}

static void finish(struct stage *stage) {
    profiler_destroy(&stage->profiler);
    loader_destroy(&stage->loader);
    compute_destroy(&stage->compute);
    prober_stop(&stage->prober);
    net_close(&stage->control, CLOSE_LINGER_MS);
    net_close(&stage->peers, 0);
    data_close(stage);
    fetch_end(stage);
    if (stage->net)
        net_destroy(&stage->net, CLOSE_LINGER_MS);
    prober_close(&stage->prober);
    for (unsigned lane = 0; lane < STAGE_LANES; lane++)
        stage_engine_destroy(&stage->way[lane].engine);
    assignment_destroy(&stage->assignment);
    queue_destroy(&stage->let_go);
    arena_destroy(&stage->decoded);
    arena_destroy(&stage->encoded);
    arena_destroy(&stage->header);
    arena_destroy(&stage->request);
}

bool stage_run(const struct stage_options *options, struct error *error) {
    struct error failure = {0};
    struct stage stage = {.options = options, .failure = &failure};
    keep_frame_memory();
    random_bytes(&stage.instance, sizeof stage.instance);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the cache, not the end */
    stage_core_init(&stage.core);
    fetch_core_init(&stage.fetch);
    if (!net_endpoint_check(options->coordinator, error) || !(stage.kernels = kernels_get(options->kernels, error)) ||
        (stage.signals = signals_open(error)) < 0)
        return false;
    bool ok = true;
    if (wait_for_network(&stage)) {
        ok = start(&stage, &failure);
        if (ok)
            log_info("listening at %s and %s, lending weights at %s, %u threads, %s kernels",
                     net_endpoint(stage.way[0].data), net_endpoint(stage.way[1].data), net_endpoint(stage.peers),
                     options->threads, stage.kernels->name);
        ok = ok && loop(&stage, &failure);
        finish(&stage);
    }
    close(stage.signals);
    if (!ok)
        *error = failure;
    return ok;
}
