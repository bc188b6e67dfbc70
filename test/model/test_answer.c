/* The best classes: order, ties, scores, and logits that are no numbers. */
#include "model/model.h"
#include "test/model/fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void assert_top(const struct top_class *top, unsigned class_index, double score) {
    assert_int_equal(top->class_index, class_index);
    assert_true(fabs(top->score - score) < 1e-6);
}

static void test_order_and_scores(void **state) {
    (void)state;
    const float logits[] = {0, logf(3), logf(2), logf(3), -INFINITY};
    struct top_class top[8];
    assert_int_equal(answer_top(logits, 5, top, 8), 5);
    assert_top(&top[0], 1, 3.0 / 9);
    assert_top(&top[1], 3, 3.0 / 9);
    assert_top(&top[2], 2, 2.0 / 9);
    assert_top(&top[3], 0, 1.0 / 9);
    assert_top(&top[4], 4, 0);
    assert_int_equal(answer_top(logits, 5, top, 2), 2);
    assert_top(&top[1], 3, 3.0 / 9);
    assert_int_equal(answer_top(logits, 5, top, 0), 0);
    assert_int_equal(answer_top(logits, 1, top, 3), 1);
    assert_top(&top[0], 0, 1);
}

static void test_large_logits(void **state) {
    (void)state;
    const float logits[] = {1e30F, -1e30F, 1e30F};
    struct top_class top[3];
    assert_int_equal(answer_top(logits, 3, top, 3), 3);
    assert_top(&top[0], 0, 0.5);
    assert_top(&top[1], 2, 0.5);
    assert_top(&top[2], 1, 0);
}

static void test_not_numbers(void **state) {
    (void)state;
    const float logits[] = {NAN, 1, INFINITY, NAN, -INFINITY, INFINITY};
    struct top_class top[6];
    assert_int_equal(answer_top(logits, 6, top, 6), 6);
    assert_top(&top[0], 2, 0.5);
    assert_top(&top[1], 5, 0.5);
    assert_top(&top[2], 1, 0);
    assert_top(&top[3], 4, 0);
    assert_top(&top[4], 0, 0);
    assert_top(&top[5], 3, 0);
    assert_int_equal(answer_top(logits, 1, top, 6), 1);
    assert_top(&top[0], 0, 0);
}

/* Against sorting: many random logits with many ties. */
static void test_random(void **state) {
    (void)state;
    struct dice dice = {5};
    float logits[300];
    struct top_class all[300], few[10];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 300; i++)
            logits[i] = (float)dice_roll(&dice, 50);
        assert_int_equal(answer_top(logits, 300, all, 300), 300);
        assert_int_equal(answer_top(logits, 300, few, 10), 10);
        double sum = all[0].score;
        for (unsigned i = 1; i < 300; i++) {
            float before = logits[all[i - 1].class_index], here = logits[all[i].class_index];
            assert_true(before > here || (before == here && all[i - 1].class_index < all[i].class_index));
            sum += all[i].score;
        }
        assert_true(fabs(sum - 1) < 1e-4);
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(few[i].class_index, all[i].class_index);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_scores),
        cmocka_unit_test(test_large_logits),
        cmocka_unit_test(test_not_numbers),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
