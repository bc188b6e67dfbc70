/* Links that a coordinator before this one has measured. */
#include "test/core/survey_fixture.h"

static struct fixture recall(double latency_then) {
    struct fixture f = start(0);
    const struct survey_event recalled = {
        .type = SURVEY_RECALLED, .board = 1, .other = 0, .latency_s = latency_then, .bytes_per_second = 5, .back = 7};
    join(&f, 0, true);
    step(&f, recalled); /* 1 is not here */
    join(&f, 1, true);
    assert_true(f.core.link[0][1].recalled.latency_s == 0);
    struct survey_event wrong = recalled;
    wrong.back = 0;
    step(&f, wrong);
    assert_true(f.core.link[0][1].recalled.latency_s == 0);
    step(&f, recalled);
    assert_false(survey_core_link_known(&f.core, 0, 1));
    want(&f, 0);
    assert_true(finish_probe(&f)); /* 0 and the coordinator */
    return f;
}

/* A link of before is known after a brief probe, with the rates of then. */
static void test_a_recalled_link_is_only_looked_at(void **state) {
    (void)state;
    double latency, rate;
    struct fixture f = recall(0.0009);
    want(&f, 1);
    while (f.core.link[0][1].state != SURVEY_ASKED)
        assert_true(finish_probe(&f));
    assert_true(f.core.link[0][1].brief);
    assert_false(survey_core_done(&f.core));
    finish_probe(&f);
    assert_true(survey_core_link_known(&f.core, 0, 1) && survey_core_link_known(&f.core, 1, 0));
    survey_core_way(&f.core, 0, 1, &latency, &rate);
    assert_true(latency == 0.0009 && rate == 5);
    survey_core_way(&f.core, 1, 0, &latency, &rate);
    assert_true(rate == 7);
    step(&f, (struct survey_event){.type = SURVEY_GONE, .board = 1});
    assert_false(survey_core_link_known(&f.core, 0, 1));
}

/* finish_probe says 1 ms: that is another link than one of a microsecond. */
static void test_a_recalled_link_that_has_changed(void **state) {
    (void)state;
    struct fixture f = recall(1e-6);
    want(&f, 1);
    while (f.core.link[0][1].state != SURVEY_ASKED)
        assert_true(finish_probe(&f));
    uint64_t number = f.core.link[0][1].number;
    step(&f, (struct survey_event){
                 .type = SURVEY_PROBED, .board = 0, .number = number, .latency_s = 0.0011, .bytes_per_second = 9});
    tell(&f, 1, number, 9);
    assert_int_equal(f.core.link[0][1].state, SURVEY_ASKED); /* measured, then */
    assert_false(f.core.link[0][1].brief);
    while (finish_probe(&f)) {
    }
    double latency, rate;
    survey_core_way(&f.core, 0, 1, &latency, &rate);
    assert_true(rate == 1);
}

/* A probe that fails is no reason to believe what was. */
static void test_a_recalled_link_that_is_none_any_more(void **state) {
    (void)state;
    struct fixture f = recall(0.001);
    want(&f, 1);
    while (f.core.link[0][1].state != SURVEY_ASKED)
        assert_true(finish_probe(&f));
    fail_link(&f, 0, 1);
    assert_int_not_equal(f.core.link[0][1].state, SURVEY_KNOWN);
    assert_true(f.core.link[0][1].recalled.latency_s == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_recalled_link_is_only_looked_at),
        cmocka_unit_test(test_a_recalled_link_that_has_changed),
        cmocka_unit_test(test_a_recalled_link_that_is_none_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
