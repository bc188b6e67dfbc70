/* What moving payloads costs: who has to count it, and that it can be measured with keys and without. */
#include "base/allocate.h"
#include "daemon/board.h"
#include "daemon/handling.h"
#include "model/model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const char json[] =
    "{\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": 192, "
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 3, \"intermediate_size\": 768, \"image_size\": 224, "
    "\"patch_size\": 16, \"num_channels\": 3, \"layer_norm_eps\": 1e-12, \"hidden_act\": \"gelu\", \"qkv_bias\": true, "
    "\"id2label\": {\"0\": \"a\", \"1\": \"b\"}}";

/* Who computes with all it has pays for bytes by what it has; who leaves a processor free does not. */
static void test_rate(void **state) {
    (void)state;
    assert_true(handling_rate(1e9, 2, 4, 4, 4) == 4e9); /* 1e9 bytes in and 1e9 out in two seconds of a processor */
    assert_true(handling_rate(1e9, 2, 4, 3.7, 4) == 3.7e9);
    assert_true(handling_rate(1e9, 2, 4, 4, 5) == 0);
    assert_true(handling_rate(1e9, 2, 1, 1, 1) == 1e9);
    assert_true(handling_rate(1e9, 2, 1, 0.95, 2) == 0);
    assert_true(handling_rate(1e9, 2, 1, 0.1, 2) == 1e8); /* a quota, or neighbours */
    assert_true(handling_rate(1e9, 2, 4, 2, 8) == 2e9);
    assert_true(handling_rate(1e9, 2, 1, 1.01, 1) == 1e9); /* other threads of the process computed a little, too */
}

static struct profile *busy_profile(void) {
    struct profile *profile = allocate(1, sizeof *profile);
    profile->threads = board_processors();
    profile->processors = profile->threads;
    profile->sizes = 1;
    profile->times[0].microbatch = 4;
    return profile;
}

static struct model_config *config_of(const char *text) {
    struct error error = {0};
    struct model_config *config = model_config_new(text, strlen(text), NULL, 0, &error);
    if (!config)
        fail_msg("%s", error.text);
    return config;
}

static double measured_rate(const struct key_pair *keys) {
    struct model_config *config = config_of(json);
    struct profile *profile = busy_profile();
    struct error error = {0};
    const struct handling_settings settings = {.config = config, .keys = keys};
    if (!handling_measure(&settings, profile, &error))
        fail_msg("%s", error.text);
    double rate = profile->handling_bytes_per_second / profile->threads;
    if (!(rate > 1e6 && rate < 1e12))
        fail_msg("%g bytes per second of a processor", rate);
    release(profile);
    model_config_destroy(&config);
    return rate;
}

/* What is encrypted costs more: four times as much, less where sanitizers slow the checksums down. */
static void test_measured(void **state) {
    struct key_pair keys;
    (void)state;
    key_pair_make(&keys);
    double plain = measured_rate(NULL), keyed = measured_rate(&keys);
    print_message("%.0f MB/s without keys, %.0f MB/s with keys\n", plain / 1e6, keyed / 1e6);
    assert_true(keyed < 0.8 * plain);
}

static bool refuse(void *context) {
    ++*(unsigned *)context;
    return false;
}

static void test_cancelled(void **state) {
    struct model_config *config = config_of(json);
    struct profile *profile = busy_profile();
    struct error error = {0};
    unsigned asked = 0;
    const struct handling_settings settings = {.config = config, .go_on = refuse, .context = &asked};
    (void)state;
    profile->handling_bytes_per_second = 7;
    assert_false(handling_measure(&settings, profile, &error));
    assert_string_equal(error.text, "cancelled");
    assert_true(asked == 1 && profile->handling_bytes_per_second == 7);
    release(profile);
    model_config_destroy(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_measured),
        cmocka_unit_test(test_cancelled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
