/* A folder of its own for each test that asks for one: FOLDER_TEST(name) in the list of tests; `folder` is its path. */
#ifndef TEST_DAEMON_FOLDER_H
#define TEST_DAEMON_FOLDER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char folder[64];

static inline void folder_path(const char *name, char path[128]) {
    snprintf(path, 128, "%s/%s", folder, name);
}

static inline int folder_make(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/stagecoach-test.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static inline int folder_remove(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

#define FOLDER_TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

#endif
