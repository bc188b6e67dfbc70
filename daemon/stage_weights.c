/* The I/O thread's side of loading: assignments and bytes of tensors go to the loader by move, its reports become
 * events. An engine is in its lane while that works; one whose lane does not may be with the loader. The core decides
 * which, and starts a load only when no slot uses what it takes. */
#include "daemon/stage_internal.h"

#include "base/allocate.h"
#include "base/log.h"

#include <inttypes.h>
#include <stdio.h>

void weights_assigned(struct stage *stage, const struct message_assign *assign) {
    if (!stage_core_accepts(&stage->core, assign->epoch)) {
        log_info("an assignment for epoch %" PRIu64 " came too late", assign->epoch.number);
        return;
    }
    log_info("epoch %" PRIu64 ": units %u-%u of %u, microbatches of %u, results to %s", assign->epoch.number,
             assign->first, assign->end - 1, assign->units, assign->microbatch, assign->next_endpoint);
    struct stage_way *way = &stage->way[epoch_lane(assign->epoch)];
    snprintf(way->next_endpoint, sizeof way->next_endpoint, "%s", assign->next_endpoint);
    if (assign->next_key)
        way->next_key = *assign->next_key;
    if (assign->previous_key)
        way->previous_key = *assign->previous_key;
    way->used = mono_now();
    data_admit(stage);
    assignment_destroy(&stage->assignment); /* an older one that was never begun */
    stage->assignment = allocate(1, sizeof *stage->assignment);
    *stage->assignment = (struct assignment){stage->decoded, *assign};
    stage->decoded = arena_new(STAGE_ARENA_LIMIT);
    stage_feed(stage, &(struct stage_event){.type = STAGE_ASSIGNED,
                                            .epoch = assign->epoch,
                                            .first = assign->first,
                                            .end = assign->end,
                                            .beside = assign->beside,
                                            .microbatch = assign->microbatch});
}

static void on_loaded(struct stage *stage, const struct stage_engine *engine) {
    struct stage_cut in = stage_engine_cut(&engine->in), out = stage_engine_cut(&engine->out);
    stage_feed(stage,
               &(struct stage_event){
                   .type = STAGE_LOADED, .weight_bytes = slice_weight_bytes(engine->model), .in = &in, .out = &out});
}

static void on_progress(struct stage *stage, const struct loader_report *report) {
    uint64_t done = report->done < report->total ? report->done : report->total; /* bytes may come twice */
    stage_feed(stage, &(struct stage_event){
                          .type = STAGE_PROGRESSED, .done = done, .total = report->total, .fetched = report->fetched});
}

static void on_report(struct stage *stage, struct loader_report *report) {
    if (report->type == LOADER_WANTS) {
        fetch_wanted(stage, &report->chunk);
        return;
    }
    on_progress(stage, report);
    if (report->type == LOADER_PROGRESS)
        return;
    stage->way[stage->core.loader_lane].engine = report->engine; /* the load is over */
    fetch_end(stage);
    if (report->type == LOADER_LOADED)
        on_loaded(stage, report->engine);
    else
        stage_feed(stage,
                   &(struct stage_event){.type = report->type == LOADER_FAILED ? STAGE_LOAD_FAILED : STAGE_LOAD_ENDED,
                                         .kept = report->engine != NULL,
                                         .text = report->error.text});
}

void weights_reports(struct stage *stage) {
    struct loader_report *report;
    while ((report = loader_take(stage->loader))) {
        on_report(stage, report);
        loader_report_destroy(&report);
    }
}

static void load(struct stage *stage, const struct stage_effect *effect) {
    struct stage_engine *old = NULL;
    if (effect->old != STAGE_LANES) {
        old = stage->way[effect->old].engine;
        stage->way[effect->old].engine = NULL;
    }
    fetch_begin(stage, &stage->assignment->message);
    loader_load_take(stage->loader, stage->assignment, old,
                     effect->beside != STAGE_LANES ? stage->way[effect->beside].engine : NULL);
    stage->assignment = NULL;
}

void weights_effect(struct stage *stage, const struct stage_effect *effect) {
    switch (effect->type) {
    case STAGE_LOAD:
        load(stage, effect);
        break;
    case STAGE_DISCARD:
        stage_engine_destroy(&stage->way[effect->lane].engine);
        break;
    case STAGE_CANCEL:
        loader_cancel(stage->loader);
        fetch_end(stage);
        break;
    default:
        break;
    }
}
