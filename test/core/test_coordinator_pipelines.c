/* How one epoch follows another in the coordinator's core: beside it where boards have room for both, in a pause where
 * not, or not at all; and what becomes of that when boards fail, die or leave on the way. */
#include "test/core/coordinator_fixture.h"

/* Two stages that serve, with four items on their way, and a spare board. */
static void serve_with_spare(struct fixture *f) {
    serve(f, 2);
    join(f, "spare");
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
}

/* As if the board had asked, but its silence counts on: it has said nothing. What takes its place is prepared while it
 * serves. */
static void test_drained_board_leaves_without_loss(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    mono_t heard = f->core.board[0].heard;
    f->now = mono_after(f->now, MONO_SECOND);
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRAINED, .board = 0});
    assert_int_equal(f->core.board[0].heard.ns, heard.ns);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_string_equal(told(f, FLEET_LEAVING)->text, "it is drained");
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    struct listed others = listed(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRAINED, .board = 0});
    assert_int_equal(f->effects.count, 0); /* it leaves already */
    planned_for(f, &others);
    assert_int_equal(count_of(f, CORE_ASSIGN), 2);
    assert_true(core_pipeline_of(&f->core, f->core.epoch)->beside);
    ready(f, 1);
    ready(f, 2);
    assert_int_equal(first_of(f, CORE_SERVE)->epoch.number, 2);
    assert_string_equal(told(f, FLEET_SERVING)->text, "stage b0 is drained");
    assert_int_equal(told(f, FLEET_SERVING)->unserved_ns, 0);
    assert_int_equal(count_of(f, CORE_RELEASE), 0);
    result_in(f, 1, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(first_of(f, CORE_RETIRE)->epoch.number, 1);
    assert_int_equal(first_of(f, CORE_RELEASE)->board, 0);
    assert_int_equal(told(f, FLEET_LEFT)->board, 0);
    assert_int_equal(f->core.items_replayed, 0);
}

/* What was out of reach is tried again for a first plan, and for a better one; after a death all wait for what is
 * known. */
static void test_a_plan_after_a_death_waits_for_nothing(void **state) {
    struct fixture *f = *state;
    start(f, 0, 4);
    assert_true(core_plan_may_wait(&f->core));
    join(f, "a");
    join(f, "b");
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_true(core_plan_may_wait(&f->core));
    planned(f);
    ready(f, 0);
    ready(f, 1);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_true(core_plan_may_wait(&f->core));
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    assert_false(core_plan_may_wait(&f->core));
}

/* Where boards have no memory for two slices, the next plan waits for the last one to be done. */
static void test_no_room_beside(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    f->no_room = true;
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    planned(f);
    assert_int_equal(f->core.state, COORDINATOR_PAUSING);
    assert_string_equal(told(f, FLEET_REPLANNING)->text, "stage b0 left");
    result(f, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(first_of(f, CORE_RELEASE)->board, 0);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned(f);
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
    assert_false(core_pipeline_of(&f->core, f->core.epoch)->beside);
}

/* An open fleet of one that serves, with four items on their way, and a second board for which a plan is asked. */
static void serve_and_join(struct fixture *f) {
    start(f, 0, 4);
    join(f, "a");
    assert_int_equal(count_of(f, CORE_PLAN), 0); /* others may be about to come */
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned(f);
    ready(f, 0);
    writable(f);
    for (unsigned i = 0; i < 4; i++)
        admit(f, i);
    join(f, "b");
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(count_of(f, CORE_PLAN), 0);
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.board_count, 2);
}

/* Both epochs have microbatches under way; a result counts by its epoch, and only within one is order kept. */
static void test_a_join_costs_no_pause(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    planned(f);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    for (unsigned i = 4; i < 8; i++)
        admit(f, i);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->epoch.number, 1);
    writable(f); /* the old first stage takes another, and there is none */
    ready(f, 0);
    ready(f, 1);
    assert_int_equal(count_of(f, CORE_SERVE), 1);
    for (unsigned i = 8; i < 12; i++)
        admit(f, i);
    assert_int_equal(count_of(f, CORE_DISPATCH), 0); /* the new first stage has not said that it takes any */
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->epoch.number, 2);
    result_in(f, 2, 3, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(f->core.items_replayed, 0); /* 1 and 2 go another way */
    result_in(f, 2, 2, 4);
    assert_int_equal(f->effects.count, 0); /* of epoch 1 */
    result_in(f, 1, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    assert_int_equal(count_of(f, CORE_RETIRE), 0);
    result_in(f, 1, 2, 4);
    assert_int_equal(first_of(f, CORE_RETIRE)->epoch.number, 1);
    assert_int_equal(f->core.sent, 0);
}

static void test_a_plan_that_gains_too_little_is_not_taken(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    f->core.settings.gain = 1.5;
    planned(f);
    assert_int_equal(count_of(f, CORE_ASSIGN), 0);
    assert_non_null(strstr(told(f, FLEET_KEPT)->text, "100.0 % faster, wanted are 150.0 %"));
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 0); /* not asked again */
}

static void test_a_pause_must_pay(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    f->no_room = true;
    f->core.settings.repay_ns = 9 * MONO_SECOND; /* twice as fast makes up for 10 s of pause in 10 s */
    struct listed both = listed(f);
    planned(f);
    assert_non_null(strstr(told(f, FLEET_KEPT)->text, "cost a pause of 10.0 s"));
    f->core.settings.repay_ns = 11 * MONO_SECOND;
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRIFTED, .board = 0});
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned_for(f, &both);
    assert_int_equal(f->core.state, COORDINATOR_PAUSING);
}

/* The best plan, for which there is no memory beside the one in force, and one of that period for which there is. */
static void planned_with_step(struct fixture *f, double period_s) {
    const struct plan best = even_plan(f);
    struct plan way = best;
    way.stage[1].first = way.stage[0].end = UNITS / 2 + (period_s > best.period_s ? 1 : 0);
    way.period_s = period_s;
    step(f, (struct coordinator_event){.type = CORE_PLANNED, .plan = &best, .step = &way, .pause_s = 10});
}

/* Memory that is free only when something else serves does not make a pause: what there is memory for comes first. */
static void test_steps_instead_of_a_pause(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    struct listed both = listed(f);
    planned_with_step(f, 0.3);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(count_of(f, CORE_ASSIGN), 2);
    assert_string_equal(told(f, FLEET_PLANNED)->text, "board b joined; a step, as far as memory allows");
    ready(f, 0);
    ready(f, 1);
    assert_int_equal(count_of(f, CORE_SERVE), 1);
    assert_int_equal(count_of(f, CORE_PLAN), 0); /* its lane is not free yet */
    result_in(f, 1, 1, 4);
    assert_int_equal(first_of(f, CORE_RETIRE)->epoch.number, 1);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    planned_for(f, &both);
    assert_string_equal(told(f, FLEET_PLANNED)->text, "the last plan was a step");
    ready(f, 0);
    ready(f, 1);
    assert_int_equal(first_of(f, CORE_SERVE)->epoch.number, 3);
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 0); /* that was the last */
}

/* Else steps might go round and round. */
static void test_a_step_must_be_faster(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    f->core.settings.gain = 0;
    f->core.settings.repay_ns = MONO_SECOND;
    planned_with_step(f, 0.5);
    assert_non_null(strstr(told(f, FLEET_KEPT)->text, "cost a pause of 10.0 s"));
    assert_int_equal(f->core.wish, WISH_NONE);
}

/* Unless a board is to go: then anything is better than a pause. */
static void test_a_board_leaves_by_a_step(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    planned_with_step(f, 0.5);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_true(core_pipeline_in(&f->core, PIPELINE_PREPARING)->step);
    ready(f, 1);
    ready(f, 2);
    result_in(f, 1, 1, 4);
    assert_int_equal(first_of(f, CORE_RELEASE)->board, 0);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
}

static void test_a_crawl_is_no_step(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    planned_with_step(f, 0.51);
    assert_int_equal(f->core.state, COORDINATOR_PAUSING);
}

/* Equal boards in another order, say. */
static void test_a_step_as_good_as_the_best_is_the_last(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    planned_with_step(f, 0.25);
    assert_string_equal(told(f, FLEET_PLANNED)->text, "board b joined");
    ready(f, 0);
    ready(f, 1);
    result_in(f, 1, 1, 4);
    tick_after(f, MONO_SECOND);
    assert_int_equal(count_of(f, CORE_PLAN), 0);
}

static void test_a_failure_while_preparing_leaves_the_old_epoch(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    planned(f);
    step(f, (struct coordinator_event){
                .type = CORE_BOARD_FAILED, .board = 1, .epoch = f->core.epoch, .text = "the disk is full"});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(first_of(f, CORE_RETIRE)->epoch.number, 2);
    assert_int_equal(f->core.board[1].state, BOARD_UNFIT);
    assert_int_equal(f->core.board[0].state, BOARD_READY);
    assert_int_equal(count_of(f, CORE_PLAN), 1); /* a plan without it might be of use to others */
    planned(f);
    assert_string_equal(told(f, FLEET_KEPT)->text, "it is the best there is");
    assert_false(f->core.caused);
    result_in(f, 1, 1, 4);
    assert_int_equal(count_of(f, CORE_ANSWER), 4);
    join(f, "b"); /* with a larger disk: an epoch of the lane that is free */
    tick_after(f, MONO_SECOND);
    planned(f);
    assert_int_equal(f->core.epoch.number, 4);
}

static void test_deaths_while_preparing(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    planned(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1}); /* the one that joined */
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(f->core.items_replayed, 0);
    assert_int_equal(count_of(f, CORE_PLAN), 1); /* perhaps without it there is a better one, too */
    planned(f);
    assert_string_equal(told(f, FLEET_KEPT)->text, "it is the best there is");
    join(f, "b");
    tick_after(f, MONO_SECOND);
    planned(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0}); /* the one that serves */
    assert_int_equal(f->core.items_replayed, 4);
    assert_int_equal(count_of(f, CORE_RETIRE), 2);
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
}

/* It was to go anyway: what was prepared without it serves when it is ready. */
static void test_a_leaving_board_dies(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    planned(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
    assert_int_equal(f->core.items_replayed, 4);
    assert_int_equal(count_of(f, CORE_PLAN), 0);
    ready(f, 1);
    ready(f, 2);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->epoch.number, 2);
}

static void test_a_board_of_a_draining_epoch_dies(void **state) {
    struct fixture *f = *state;
    serve_with_spare(f);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LEAVING, .board = 0});
    planned(f);
    ready(f, 1);
    ready(f, 2);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 0});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(f->core.items_replayed, 4);
    assert_int_equal(first_of(f, CORE_RETIRE)->epoch.number, 1);
    writable(f);
    assert_int_equal(first_of(f, CORE_DISPATCH)->epoch.number, 2);
}

static void test_a_stage_that_hangs_is_given_up(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->core.settings.hung_ns = 3 * MONO_SECOND;
    f->core.pipeline[1].plan.stage[0].compute_s = 1;
    join(f, "spare");
    struct message_heartbeat beat = {.epoch = f->core.epoch, .computing_ns = 9 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_SERVING); /* slow */
    beat.computing_ns = 10 * MONO_SECOND;
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    assert_int_equal(f->core.board[0].state, BOARD_UNFIT);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_non_null(strstr(told(f, FLEET_UNFIT)->text, "computing one microbatch for 10.0 s"));
    planned(f);
    ready(f, 1);
    ready(f, 2);
    beat.computing_ns = 11 * MONO_SECOND;
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.board[0].state, BOARD_UNFIT);
    beat.computing_ns = 0; /* it was slow, not dead */
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.board[0].state, BOARD_IDLE);
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    planned(f);
    ready(f, 0);
    ready(f, 2);
    f->core.pipeline[epoch_lane(f->core.epoch)].plan.stage[0].compute_s = 1;
    beat.computing_ns = 15 * MONO_SECOND; /* and is given more time now */
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
}

/* Nothing serves that would tell; and what is not hung is not judged by a smaller slice than it works on. */
static void test_a_stage_that_hangs_holds_up_no_other_epoch(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->core.settings.hung_ns = 3 * MONO_SECOND;
    f->core.pipeline[1].plan.stage[0].compute_s = 2;
    join(f, "spare");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    planned(f); /* board 0 and the spare one */
    struct message_heartbeat beat = {.computing_ns = 19 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
    beat.computing_ns = 20 * MONO_SECOND;
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    assert_int_equal(f->core.board[0].state, BOARD_UNFIT);
}

/* Its disk, say: the others do not wait for ever, and it may come back. */
static void test_a_load_that_hangs_is_given_up(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->core.settings.load_hung_ns = 60 * MONO_SECOND;
    join(f, "spare");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    planned(f); /* board 0 and the spare one */
    ready(f, 0);
    struct message_heartbeat beat = {.loading_ns = 59 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 2, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_PREPARING);
    beat.loading_ns = 60 * MONO_SECOND;
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 2, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_WAITING);
    assert_int_equal(f->core.board[2].state, BOARD_UNFIT);
    assert_string_equal(told(f, FLEET_UNFIT)->text, "has been loading for 60.0 s without getting on");
    beat = (struct message_heartbeat){.loading_ns = 61 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 2, .heartbeat = &beat});
    assert_int_equal(f->core.board[2].state, BOARD_UNFIT);
    beat.loading_ns = 0;
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 2, .heartbeat = &beat});
    assert_int_equal(f->core.board[2].state, BOARD_IDLE);
    assert_int_equal(count_of(f, CORE_PLAN), 1);
}

/* Nor does a load beside what serves: that goes on, and so does the board that serves and loads. */
static void test_a_load_beside_that_hangs_is_given_up(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    f->core.settings.load_hung_ns = 60 * MONO_SECOND;
    planned(f);
    struct message_heartbeat beat = {.loading_ns = 60 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 1, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_null(core_pipeline_in(&f->core, PIPELINE_PREPARING));
    assert_int_equal(f->core.board[1].state, BOARD_UNFIT);
    assert_int_equal(count_of(f, CORE_PLAN), 1); /* others may do without it */
    planned(f);
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
}

static void test_what_serves_outlives_a_load_that_hangs(void **state) {
    struct fixture *f = *state;
    serve_and_join(f);
    f->core.settings.load_hung_ns = 60 * MONO_SECOND;
    planned(f);
    struct message_heartbeat beat = {.epoch = {1}, .loading_ns = 60 * MONO_SECOND};
    ready(f, 1);
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 1, .heartbeat = &beat});
    assert_non_null(core_pipeline_in(&f->core, PIPELINE_PREPARING)); /* said before it was ready */
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_null(core_pipeline_in(&f->core, PIPELINE_PREPARING));
    assert_int_equal(f->core.board[0].state, BOARD_READY);
    assert_int_equal(f->core.items_replayed, 0);
    beat.loading_ns = 6000 * MONO_SECOND; /* nobody waits for that load any more */
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(f->core.state, COORDINATOR_SERVING);
    assert_int_equal(f->core.board[0].state, BOARD_READY);
    assert_null(told(f, FLEET_UNFIT));
}

/* It keeps its wish, is let go, and is not planned with again. */
static void test_a_leaving_stage_hangs(void **state) {
    struct fixture *f = *state;
    serve(f, 2);
    f->core.settings.hung_ns = 3 * MONO_SECOND;
    join(f, "spare");
    step(f, (struct coordinator_event){.type = CORE_BOARD_DRAINED, .board = 0});
    struct message_heartbeat beat = {.epoch = f->core.epoch, .computing_ns = 9 * MONO_SECOND};
    step(f, (struct coordinator_event){.type = CORE_HEARTBEAT, .board = 0, .heartbeat = &beat});
    assert_int_equal(first_of(f, CORE_RELEASE)->board, 0);
    assert_int_equal(f->core.board[0].state, BOARD_ABSENT);
}

/* Others must not wait for a board that is being measured; unless they cannot do without it. */
static void test_an_unmeasured_board_is_planned_with_in_need(void **state) {
    struct fixture *f = *state;
    start(f, 0, 4);
    f->core.settings.measured_first = true;
    join(f, "a");
    join(f, "b");
    tick_after(f, MONO_SECOND);
    planned(f);
    ready(f, 0);
    ready(f, 1);
    join(f, "c");
    step(f, (struct coordinator_event){.type = CORE_BOARD_LOST, .board = 1});
    tick_after(f, MONO_SECOND);
    assert_int_equal(f->effects.board_count, 1);
    assert_int_equal(f->effects.boards[0], 0);
    step(f, (struct coordinator_event){.type = CORE_PLANNED, .text = "too little memory"});
    assert_int_equal(count_of(f, CORE_PLAN), 1);
    assert_int_equal(f->effects.board_count, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_drained_board_leaves_without_loss),
        TEST(test_a_plan_after_a_death_waits_for_nothing),
        TEST(test_no_room_beside),
        TEST(test_a_join_costs_no_pause),
        TEST(test_a_plan_that_gains_too_little_is_not_taken),
        TEST(test_a_pause_must_pay),
        TEST(test_steps_instead_of_a_pause),
        TEST(test_a_step_must_be_faster),
        TEST(test_a_board_leaves_by_a_step),
        TEST(test_a_crawl_is_no_step),
        TEST(test_a_step_as_good_as_the_best_is_the_last),
        TEST(test_a_failure_while_preparing_leaves_the_old_epoch),
        TEST(test_deaths_while_preparing),
        TEST(test_a_leaving_board_dies),
        TEST(test_a_board_of_a_draining_epoch_dies),
        TEST(test_a_stage_that_hangs_is_given_up),
        TEST(test_a_stage_that_hangs_holds_up_no_other_epoch),
        TEST(test_a_load_that_hangs_is_given_up),
        TEST(test_a_load_beside_that_hangs_is_given_up),
        TEST(test_what_serves_outlives_a_load_that_hangs),
        TEST(test_a_leaving_stage_hangs),
        TEST(test_an_unmeasured_board_is_planned_with_in_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
