/* The words of events; see fleet_event.h. Each kind has its own sentence, made from the members that the kind fills in.
 * Pure; any thread; what does not fit into the caller's text is cut off. */
#include "daemon/core/fleet_event.h"

#include "base/seconds.h"

#include <stdio.h>

const char *fleet_event_kind_name(enum fleet_event_kind kind) {
    static const char *const names[] = {"joined",  "lost",       "leaving",  "left",    "unfit",
                                        "drifted", "replanning", "planning", "planned", "kept",
                                        "no_plan", "serving",    "replayed", "failed"};
    return names[kind];
}

static const char *plural(unsigned count) {
    return count == 1 ? "" : "s";
}

static double seconds(int64_t ns) {
    return (double)ns / 1e9;
}

static void planned_words(const struct fleet_event *event, char *text, size_t size) {
    char predicted[64] = "", cause[512] = "", period[SECONDS_WORDS_MAX];
    if (event->text[0])
        snprintf(cause, sizeof cause, ": %.500s", event->text);
    if (event->period_s > 0)
        snprintf(predicted, sizeof predicted, ", %s per microbatch predicted", seconds_words(event->period_s, period));
    snprintf(text, size, "epoch %llu is planned after %.2f s: %u of %u boards%s; they load%s",
             (unsigned long long)event->epoch.number, seconds(event->took_ns), event->stages, event->boards, predicted,
             cause);
}

static void serving_words(const struct fleet_event *event, char *text, size_t size) {
    char paused[64] = "", cause[512] = "";
    if (event->unserved_ns > 0)
        snprintf(paused, sizeof paused, ", after a pause of %.2f s", seconds(event->unserved_ns));
    if (event->text[0])
        snprintf(cause, sizeof cause, ": %.500s", event->text);
    snprintf(text, size, "epoch %llu serves with %u stage%s%s, %.2f s after its cause%s",
             (unsigned long long)event->epoch.number, event->stages, plural(event->stages), paused,
             seconds(event->took_ns), cause);
}

static void drifted_words(const struct fleet_event *event, const char *board, char *text, size_t size) {
    if (event->pace == 1)
        snprintf(text, size, "board %s is planned with its profile again", board);
    else
        snprintf(text, size, "board %s takes %.3g times as long as its profile says", board, event->pace);
}

const char *fleet_event_words(const struct fleet_event *event, const char *board, char *text, size_t size) {
    switch (event->kind) {
    case FLEET_JOINED:
        snprintf(text, size, "board %s joined%s%s", board, event->text[0] ? ": " : "", event->text);
        break;
    case FLEET_LOST:
        snprintf(text, size, "board %s %s", board, event->text);
        break;
    case FLEET_LEAVING:
        snprintf(text, size, "board %s is to leave: %s", board, event->text);
        break;
    case FLEET_LEFT:
        snprintf(text, size, "board %s left", board);
        break;
    case FLEET_UNFIT:
        snprintf(text, size, "board %s cannot serve: %s", board, event->text);
        break;
    case FLEET_DRIFTED:
        drifted_words(event, board, text, size);
        break;
    case FLEET_REPLANNING:
        snprintf(text, size, "epoch %llu is over: %s", (unsigned long long)event->epoch.number, event->text);
        break;
    case FLEET_PLANNING:
        snprintf(text, size, "a plan for %u board%s is asked for", event->boards, plural(event->boards));
        break;
    case FLEET_PLANNED:
        planned_words(event, text, size);
        break;
    case FLEET_KEPT:
        snprintf(text, size, "the plan in force stays: %s", event->text);
        break;
    case FLEET_NO_PLAN:
        snprintf(text, size, "no plan for %u board%s: %s", event->boards, plural(event->boards), event->text);
        break;
    case FLEET_SERVING:
        serving_words(event, text, size);
        break;
    case FLEET_REPLAYED:
        snprintf(text, size, "%u item%s in %u microbatch%s sent again: %s", event->items, plural(event->items),
                 event->microbatches, event->microbatches == 1 ? "" : "es", event->text);
        break;
    case FLEET_FAILED:
        snprintf(text, size, "%u item%s failed: %s", event->items, plural(event->items), event->text);
        break;
    }
    return text;
}
