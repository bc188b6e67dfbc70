/* What a coordinator keeps and plans with: profiles on disk, and plans made in a thread. */
#include "base/allocate.h"
#include "base/file.h"
#include "daemon/fleet_file.h"
#include "daemon/link_store.h"
#include "daemon/planner.h"
#include "daemon/profile_store.h"
#include "daemon/profiler.h"
#include "daemon/state_writer.h"
#include "test/daemon/folder.h"

#include <dirent.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define UNITS 20

static const char config_text[] =
    "{\"architectures\": [\"ViTForImageClassification\"], \"model_type\": \"vit\", \"hidden_size\": 32, "
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 2, \"intermediate_size\": 64, \"image_size\": 32, "
    "\"patch_size\": 16, \"num_channels\": 3, \"hidden_act\": \"gelu\", \"layer_norm_eps\": 1e-12, "
    "\"qkv_bias\": true, \"id2label\": {\"0\": \"a\", \"1\": \"b\"}}";

static struct model_config *make_config(void) {
    struct error error;
    struct model_config *config = model_config_new(config_text, strlen(config_text), NULL, 0, &error);
    if (!config)
        fail_msg("%s", error.text);
    assert_int_equal(model_units(config), UNITS);
    return config;
}

/* ---- the store ---- */

/* The only file there, NULL when there is none. */
static const char *only_file(char path[512]) {
    DIR *directory = opendir(folder);
    const char *found = NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            snprintf(path, 512, "%s/%.300s", folder, entry->d_name), found = path;
    if (directory)
        closedir(directory);
    return found;
}

static const struct profile_key key = {.board = "pi-3",
                                       .fingerprint = "0123456789abcdef0123456789abcdef",
                                       .version = "0.1.0",
                                       .kernels = "../ref", /* texts that a board made up */
                                       .threads = 4};

static struct profile *make_profile(unsigned microbatch, double seconds) {
    struct profile *profile = allocate(1, sizeof *profile);
    snprintf(profile->fingerprint, sizeof profile->fingerprint, "%s", key.fingerprint);
    snprintf(profile->version, sizeof profile->version, "%s", key.version);
    snprintf(profile->kernels, sizeof profile->kernels, "%s", key.kernels);
    profile->threads = key.threads;
    profile->units = 2;
    profile->sizes = 1;
    profile->times[0].microbatch = microbatch;
    profile->times[0].unit_s[0] = profile->times[0].unit_s[1] = seconds;
    return profile;
}

static void keep(const struct profile *profile) {
    struct error error;
    struct state_writer *writer = state_writer_new(folder, &error);
    char name[PROFILE_FILE_MAX];
    assert_non_null(writer);
    profile_store_name(&key, name);
    state_writer_put_take(writer, name, profile_to_json(profile), "a profile");
    state_writer_destroy(&writer);
}

static void test_a_profile_is_kept(void **state) {
    (void)state;
    struct error error;
    struct profile *profile = make_profile(8, 0.25), *read = allocate(1, sizeof *read);
    assert_false(profile_store_read(folder, &key, read, &error));
    assert_int_equal(error.code, ERROR_NONE); /* none is no fault */
    keep(profile);
    assert_true(profile_store_read(folder, &key, read, &error));
    assert_true(profile_key_fits(&key, read));
    assert_true(read->sizes == 1 && read->times[0].microbatch == 8 && read->times[0].unit_s[1] == 0.25);
    struct profile_key other = key;
    other.threads = 2;
    assert_false(profile_store_read(folder, &other, read, &error));
    assert_int_equal(error.code, ERROR_NONE);
    other = key;
    other.kernels = "../..";
    assert_false(profile_store_read(folder, &other, read, &error));
    release(profile);
    release(read);
}

static void test_a_file_that_cannot_be_used(void **state) {
    (void)state;
    struct error error;
    char path[512];
    struct profile *profile = make_profile(8, 0.25), *read = allocate(1, sizeof *read);
    keep(profile);
    profile->threads = 1; /* as if it was copied from another board */
    char *json = profile_to_json(profile);
    assert_true(file_write_atomic(only_file(path), json, strlen(json), &error));
    assert_false(profile_store_read(folder, &key, read, &error));
    assert_int_equal(error.code, ERROR_INPUT);
    assert_true(file_write_atomic(path, "{\"half", 6, &error));
    assert_false(profile_store_read(folder, &key, read, &error));
    assert_int_not_equal(error.code, ERROR_NONE);
    release(json);
    release(profile);
    release(read);
}

static void test_times_of_other_sizes_are_kept(void **state) {
    (void)state;
    struct profile *newer = make_profile(4, 1), *older = make_profile(8, 2);
    profile_merge(newer, older);
    release(older);
    older = make_profile(1, 3);
    profile_merge(newer, older);
    profile_merge(newer, older); /* its own size counts for nothing now */
    assert_int_equal(newer->sizes, 3);
    const unsigned sizes[] = {1, 4, 8};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(newer->times[i].microbatch, sizes[i]);
    assert_true(newer->times[1].unit_s[0] == 1);
    for (unsigned size = 100; size < 120; size++) {
        release(older);
        older = make_profile(size, 3);
        profile_merge(newer, older);
    }
    assert_int_equal(newer->sizes, PROFILE_MICROBATCHES);
    release(newer);
    release(older);
}

/* What was put is written when the writer has ended, the later of two profiles of one board over the earlier. */
static void test_a_thread_keeps_profiles(void **state) {
    (void)state;
    struct error error;
    char directory[80], path[512];
    struct profile *profile = make_profile(8, 0.25), *read = allocate(1, sizeof *read);
    struct state_writer *writer = state_writer_new(folder, &error);
    char name[PROFILE_FILE_MAX];
    profile_store_name(&key, name);
    assert_non_null(writer);
    state_writer_put_take(writer, name, profile_to_json(profile), "a profile");
    profile->times[0].unit_s[1] = 0.5;
    state_writer_put_take(writer, name, profile_to_json(profile), "a profile");
    release(profile);
    state_writer_destroy(&writer);
    assert_null(writer);
    state_writer_destroy(&writer);
    assert_true(profile_store_read(folder, &key, read, &error));
    assert_true(read->times[0].unit_s[1] == 0.5);
    release(read);
    assert_non_null(only_file(path));
    snprintf(directory, sizeof directory, "%.60s/x/y", path); /* below a file: nothing can be kept there */
    writer = state_writer_new(directory, &error);
    state_writer_put_take(writer, name, allocate_string("{}"), "a profile"); /* a line in the log */
    state_writer_destroy(&writer);
}

/* ---- links ---- */

static const struct link_end left = {"b1", "0123456789abcdef@tcp://10.0.0.5:40001"}, right = {"b \"2\"", "x"},
                             coordinator;

static void test_links_read_back(void **state) {
    (void)state;
    struct error error;
    struct link_list list = {0}, read = {0};
    struct kept_link link;
    link_list_add(&list, &(struct kept_link){{left, right}, 0.0003, {1.0 / 3, 1e9}});
    link_list_add(&list, &(struct kept_link){{coordinator, left}, 1e-5, {7, 8}});
    char *text = link_list_print(&list);
    assert_true(link_list_parse(text, strlen(text), "links", &read, &error));
    assert_int_equal(read.count, 2);
    assert_true(link_list_take(&read, &left, &right, &link));
    assert_true(link.latency_s == 0.0003 && link.bytes_per_second[0] == 1.0 / 3 && link.bytes_per_second[1] == 1e9);
    const struct link_end moved = {"b1", "0123456789abcdef@tcp://10.0.0.6:40001"};
    assert_false(link_list_take(&read, &moved, &coordinator, &link));
    assert_true(link_list_take(&read, &left, &coordinator, &link)); /* the other way round */
    assert_true(link.bytes_per_second[0] == 8 && link.bytes_per_second[1] == 7);
    assert_string_equal(link.end[0].name, "b1");
    assert_int_equal(read.count, 0);                                             /* each once */
    link_list_add(&read, &(struct kept_link){{left, right}, 0.0003, {1e99, 1}}); /* would not be read back */
    assert_int_equal(read.count, 0);
    release(text);
    link_list_close(&list);
    link_list_close(&read);
    assert_true(link_list_read("/nonexistent", &read, &error)); /* none yet */
    assert_int_equal(read.count, 0);
}

static void test_damaged_links(void **state) {
    (void)state;
#define LINK(ends, who, latency, rates)                                                                                \
    "{\"links\": [{\"ends\": " ends ", \"who\": " who ", \"latency_s\": " latency ", \"bytes_per_second\": " rates "}" \
    "]"                                                                                                                \
    "}"
    static const char *const texts[] = {
        "",
        "{\"links\": [",
        "[]",
        "{\"links\": [3]}",
        LINK("[\"a\"]", "[\"a\", \"b\"]", "1", "[1, 1]"),
        LINK("[\"a\", 3]", "[\"a\", \"b\"]", "1", "[1, 1]"),
        LINK("[\"a\", \"b\"]", "[\"a\", \"b\", \"c\"]", "1", "[1, 1]"),
        LINK("[\"a\", \"b\"]", "[\"a\", \"b\"]", "0", "[1, 1]"),
        LINK("[\"a\", \"b\"]", "[\"a\", \"b\"]", "1", "[1, -1]"),
        LINK("[\"a\", \"b\"]", "[\"a\", \"b\"]", "1", "[1, 1e300]"),
        LINK("[\"a\", \"0123456789012345678901234567890123456789012345678901234567890123\"]", "[\"a\", \"b\"]", "1",
             "[1, 1]"),
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct error error;
        struct link_list list = {0};
        if (link_list_parse(texts[i], strlen(texts[i]), "links.json", &list, &error))
            fail_msg("taken: %s", texts[i]);
        assert_non_null(strstr(error.text, "links.json"));
        assert_int_equal(list.count, 0);
    }
    struct error error;
    struct link_list list = {0};
    static const char good[] = LINK("[\"a\", \"b\"]", "[\"a\", \"b\"]", "1", "[1, 1]");
    assert_true(link_list_parse(good, sizeof good - 1, "links.json", &list, &error));
    assert_int_equal(list.count, 1);
    link_list_close(&list);
}

/* ---- the planner ---- */

static struct fleet_file *make_fleet(unsigned boards, uint64_t memory_of_the_last) {
    struct fleet_file *fleet = fleet_file_new();
    char name[16];
    fleet->units = UNITS;
    fleet->boards = boards;
    for (unsigned i = 0; i < boards; i++) {
        snprintf(name, sizeof name, "b%u", i);
        fleet->board[i].name = allocate_string(name);
        fleet->board[i].speed = 1e9;
        fleet->board[i].memory_bytes = i + 1 < boards ? (uint64_t)1 << 30 : memory_of_the_last;
    }
    return fleet;
}

static struct planner_result wait_for(struct planner *planner) {
    struct planner_result result;
    struct pollfd wait = {.fd = planner_descriptor(planner), .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 20000), 1);
    assert_true(planner_finished(planner, &result));
    assert_true(planner_finished(planner, &result)); /* as often as one likes */
    return result;
}

static void test_a_plan_over_all_boards(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = make_config();
    const struct planner_settings settings = {
        .config = config, .microbatch = 4, .policy = "optimal", .time_limit_s = 5};
    struct planner *planner = planner_new_take(make_fleet(3, 1 << 30), &settings, &error);
    struct planner_result result = wait_for(planner);
    assert_true(result.ok && result.plan->optimal && result.plan->stages == 3 && result.left_out == 0);
    planner_destroy(&planner);
    assert_null(planner);
    model_config_destroy(&config);
}

static void test_a_board_too_small_is_left_out(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = make_config();
    struct planner_settings settings = {.config = config, .microbatch = 4, .policy = "even", .time_limit_s = 5};
    struct planner *planner = planner_new_take(make_fleet(3, 1000), &settings, &error);
    struct planner_result result = wait_for(planner);
    assert_false(result.ok);
    assert_non_null(strstr(result.error->text, "b2"));
    planner_destroy(&planner);
    settings.leave_out = true;
    planner = planner_new_take(make_fleet(3, 1000), &settings, &error);
    result = wait_for(planner);
    assert_true(result.ok && result.plan->stages == 2 && result.left_out == 1);
    assert_int_equal(result.plan->stage[0].board, 0);
    assert_int_equal(result.plan->stage[1].board, 1);
    planner_destroy(&planner);
    model_config_destroy(&config);
}

static void test_a_fleet_file_that_cannot_be_written_costs_no_plan(void **state) {
    (void)state;
    struct error error;
    struct model_config *config = make_config();
    const struct planner_settings settings = {.config = config,
                                              .microbatch = 4,
                                              .policy = "even",
                                              .time_limit_s = 5,
                                              .fleet_path = "/nowhere/at/all/fleet.yaml"};
    struct planner *planner = planner_new_take(make_fleet(2, 1 << 30), &settings, &error);
    struct planner_result result = wait_for(planner);
    assert_true(result.ok && result.write_error);
    planner_destroy(&planner);
    model_config_destroy(&config);
}

/* ---- the profiler ---- */

static bool finished_within(struct profiler *profiler, int milliseconds, struct message_profile *answer) {
    struct pollfd wait = {.fd = profiler_descriptor(profiler), .events = POLLIN};
    return poll(&wait, 1, milliseconds) == 1 && profiler_finished(profiler, answer);
}

static struct profiler *start_profiler(const char *config, uint32_t budget_ms) {
    static const uint32_t size = 2;
    struct error error;
    const struct profiler_settings settings = {
        .threads = 1, .kernels = kernels_get("ref", NULL), .memory_bytes = 1 << 20};
    const struct message_profile_get get = {.survey = 5,
                                            .config = config,
                                            .config_bytes = strlen(config),
                                            .microbatches = &size,
                                            .microbatch_count = 1,
                                            .budget_ms = budget_ms};
    struct profiler *profiler = profiler_new(&get, &settings, &error);
    assert_non_null(profiler);
    return profiler;
}

static void test_a_profile_is_made(void **state) {
    (void)state;
    struct error error;
    struct message_profile answer;
    struct profile *profile = allocate(1, sizeof *profile);
    struct profiler *profiler = start_profiler(config_text, 50);
    assert_true(finished_within(profiler, 20000, &answer));
    assert_true(answer.survey == 5 && answer.error[0] == '\0');
    assert_true(profile_from_json(answer.json, answer.json_bytes, "profile", profile, &error));
    assert_true(profile->units == UNITS && profile->times[0].microbatch == 2 && profile->memory_bytes == 1 << 20);
    profiler_destroy(&profiler);
    release(profile);
}

static void test_a_profile_can_be_cancelled_or_impossible(void **state) {
    (void)state;
    struct message_profile answer;
    struct profiler *profiler = start_profiler(config_text, 600000);
    profiler_cancel(profiler);
    assert_true(finished_within(profiler, 20000, &answer));
    assert_true(answer.error[0] && answer.json_bytes == 0);
    profiler_destroy(&profiler);
    profiler = start_profiler("{\"architectures\": [\"Nothing\"]}", 1000);
    assert_true(finished_within(profiler, 20000, &answer));
    assert_true(answer.error[0]);
    profiler_destroy(&profiler);
    profiler = start_profiler(config_text, 600000);
    profiler_destroy(&profiler); /* in the middle */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_a_profile_is_kept),
        FOLDER_TEST(test_a_file_that_cannot_be_used),
        FOLDER_TEST(test_a_thread_keeps_profiles),
        cmocka_unit_test(test_links_read_back),
        cmocka_unit_test(test_damaged_links),
        cmocka_unit_test(test_times_of_other_sizes_are_kept),
        cmocka_unit_test(test_a_plan_over_all_boards),
        cmocka_unit_test(test_a_board_too_small_is_left_out),
        cmocka_unit_test(test_a_fleet_file_that_cannot_be_written_costs_no_plan),
        cmocka_unit_test(test_a_profile_is_made),
        cmocka_unit_test(test_a_profile_can_be_cancelled_or_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
