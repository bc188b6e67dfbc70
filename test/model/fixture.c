/* See fixture.h. Everything here ends the test on failure: a fixture that half works would make tests lie. */
#include "test/model/fixture.h"

#include "base/allocate.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct folder folder_new(void) {
    struct folder folder;
    const char *parent = getenv("TMPDIR");
    snprintf(folder.path, sizeof folder.path, "%s/stagecoach-model-XXXXXX", parent && *parent ? parent : "/tmp");
    assert_non_null(mkdtemp(folder.path));
    return folder;
}

static void remove_tree(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) {
        unlink(path);
        return;
    }
    for (const struct dirent *member; (member = readdir(directory));) {
        char inner[1024];
        if (strcmp(member->d_name, ".") == 0 || strcmp(member->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof inner, "%s/%s", path, member->d_name);
        remove_tree(inner);
    }
    closedir(directory);
    rmdir(path);
}

void folder_remove(const struct folder *folder) {
    remove_tree(folder->path);
}

void folder_write(const struct folder *folder, const char *name, const void *bytes, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Knuth's 64-bit linear congruential generator; its high bits are good enough for a test. */
uint64_t dice_roll(struct dice *dice, uint64_t below) {
    dice->state = dice->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (dice->state >> 33) % below;
}

float dice_float(struct dice *dice) {
    return (float)dice_roll(dice, 20001) / 10000 - 1;
}

struct model_config *config_new(const char *json) {
    struct error error = {0};
    struct model_config *config = model_config_new(json, strlen(json), NULL, 0, &error);
    if (!config)
        fail_msg("%s", error.text);
    return config;
}

/* ---- weights ---- */

struct search {
    const char *name;
    struct tensor *found;
};

static bool match(void *context, const struct tensor *tensor) {
    struct search *search = context;
    if (strcmp(tensor->name, search->name) != 0)
        return true;
    *search->found = *tensor;
    return false;
}

static bool random_find(void *context, const char *name, struct tensor *tensor, struct error *error) {
    struct random_weights *weights = context;
    struct search search = {name, tensor};
    weights->finds++;
    if (weights->missing > 0 && --weights->missing == 0)
        return error_set(error, ERROR_INPUT, "no tensor %s", name);
    assert_false(model_tensors(weights->config, (struct slice){0, model_units(weights->config)}, match, &search));
    size_t elements = 1;
    for (unsigned i = 0; i < tensor->rank; i++)
        elements *= (size_t)tensor->shape[i];
    struct dice dice = {elements};
    for (const char *c = name; *c; c++)
        dice.state = dice.state * 31 + (unsigned char)*c;
    release(weights->data);
    weights->data = allocate(elements, sizeof(float));
    for (size_t i = 0; i < elements; i++)
        weights->data[i] = dice_float(&dice) / 2;
    tensor->name = name;
    tensor->element = ELEMENT_F32;
    tensor->data = weights->data;
    tensor->bytes = elements * sizeof(float);
    return true;
}

static void random_release(void *context, const struct tensor *tensor) {
    struct random_weights *weights = context;
    assert_ptr_equal(tensor->data, weights->data);
    release(weights->data);
    weights->data = NULL;
    weights->releases++;
}

struct tensor_source random_source(struct random_weights *weights) {
    return (struct tensor_source){.context = weights, .find = random_find, .release = random_release};
}

void assert_error(const struct error *error, const char *expected) {
    if (!strstr(error->text, expected))
        fail_msg("got \"%s\", want it to contain \"%s\"", error->text, expected);
}
