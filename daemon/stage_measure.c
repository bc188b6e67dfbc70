/* The stage's part in being measured: it makes a profile when it is asked for one, and takes part in probes of links.
 *
 * A profile is made beside the I/O thread (profiler.h), one at a time, and only while the stage owns no slice: an
 * assignment, the wish to leave or a coordinator that is gone cancel it. While it would disturb, the answer is an error
 * that says "busy", and the coordinator asks again later without holding it against the board. Probes share the data
 * socket with microbatches and may run beside them; frames of a probe that is none of ours are counted and dropped. All
 * of it runs in the I/O thread.
 */
#include "daemon/stage_internal.h"

#include "base/log.h"

static bool may_profile(const struct stage *stage) {
    return stage_core_idle(&stage->core) && !stage->core.leaving;
}

static void refuse(struct stage *stage, uint64_t survey, const char *why, bool busy) {
    control_say(stage,
                &(struct message){.type = MESSAGE_PROFILE, .profile = {.survey = survey, .error = why, .busy = busy}});
}

void measure_profile_get(struct stage *stage, const struct message_profile_get *get) {
    struct error error;
    const struct identity *identity = stage->options->identity;
    const struct profiler_settings settings = {.threads = stage->options->threads,
                                               .kernels = stage->kernels,
                                               .memory_bytes = stage->options->memory_bytes,
                                               .keys = identity ? &identity->keys : NULL};
    if (!may_profile(stage)) {
        refuse(stage, get->survey, "busy with a slice", true);
        return;
    }
    if (stage->profiler) { /* of a question that was given up; the next one finds it gone */
        profiler_cancel(stage->profiler);
        refuse(stage, get->survey, "busy with another profile", true);
        return;
    }
    stage->profiler = profiler_new(get, &settings, &error);
    if (stage->profiler)
        log_info("measuring for about %.1f s of processor time", get->budget_ms / 1e3);
    else
        refuse(stage, get->survey, error.text, false);
}

static void turn_profiler(struct stage *stage) {
    struct message message = {.type = MESSAGE_PROFILE};
    if (!stage->profiler)
        return;
    if (!may_profile(stage))
        profiler_cancel(stage->profiler);
    if (!profiler_finished(stage->profiler, &message.profile))
        return;
    message.profile.busy = message.profile.error[0] && !may_profile(stage);
    if (message.profile.error[0])
        log_warn("no profile: %s", message.profile.error);
    if (stage->core.state != STAGE_JOINING) /* else whoever asked is gone */
        control_say(stage, &message);
    profiler_destroy(&stage->profiler);
}

void measure_probe(struct stage *stage, const struct message_probe *probe) {
    struct error error;
    if (prober_begin(&stage->prober, stage->net, probe, &error)) {
        data_admit(stage);
        return;
    }
    const struct message_probed failed = {.probe = probe->probe, .error = error.text};
    control_say(stage, &(struct message){.type = MESSAGE_PROBED, .probed = failed});
}

bool measure_arrived(struct stage *stage, const struct net_message *received) {
    const struct net_frame *frame = &received->frame[0];
    if (!probe_header_is(net_frame_data(frame), net_frame_size(frame)))
        return false;
    enum prober_verdict verdict = prober_arrived(&stage->prober, stage->header, received);
    if (verdict == PROBER_STALE)
        stage_feed(stage, &(struct stage_event){.type = STAGE_STRAY, .text = "a frame of another probe"});
    if (verdict == PROBER_MALFORMED)
        stage_feed(stage, &(struct stage_event){.type = STAGE_UNREADABLE, .text = "a frame that is no probe's"});
    return true;
}

static void turn_prober(struct stage *stage) {
    struct message message = {.type = MESSAGE_PROBED};
    if (stage->core.state == STAGE_JOINING)
        prober_stop(&stage->prober);
    if (prober_turn(&stage->prober, &message.probed))
        control_say(stage, &message);
}

void measure_turn(struct stage *stage) {
    turn_profiler(stage);
    turn_prober(stage);
}

unsigned measure_waits(struct stage *stage, struct net_wait waits[]) {
    unsigned count = 0;
    if (stage->profiler)
        waits[count++] = (struct net_wait){.descriptor = profiler_descriptor(stage->profiler), .readable = true};
    count += prober_wait(&stage->prober, &waits[count]);
    return count;
}
