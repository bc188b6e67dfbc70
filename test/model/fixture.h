/* What the tests of models share: folders that go away, configurations without a file, weights without a checkpoint. */
#ifndef TEST_MODEL_FIXTURE_H
#define TEST_MODEL_FIXTURE_H

#include "model/model.h"

/* A new folder under $TMPDIR or /tmp; the fixture's functions fail the test when the system refuses. */
struct folder {
    char path[256];
};

struct folder folder_new(void);
void folder_remove(const struct folder *folder); /* with everything in it */
void folder_write(const struct folder *folder, const char *name, const void *bytes, size_t size);

/* A generator of its own, so that a failing test can be repeated from its seed on any machine. */
struct dice {
    uint64_t state;
};

uint64_t dice_roll(struct dice *dice, uint64_t below);
float dice_float(struct dice *dice); /* -1 to 1 */

struct model_config *config_new(const char *json);

/* Every tensor that a configuration names, filled at random but the same at every find, one in memory at a time. */
struct random_weights {
    const struct model_config *config;
    float *data;      /* of the tensor found last */
    unsigned missing; /* the n-th find from now fails; 0: none */
    size_t finds, releases;
};

struct tensor_source random_source(struct random_weights *weights);

/* The expected text is part of the error's, or the test fails saying both. */
void assert_error(const struct error *error, const char *expected);

#endif
