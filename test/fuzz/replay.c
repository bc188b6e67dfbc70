/* Feeds every file of the folders given on the command line to the fuzz target that it is linked with, so that the
 * corpus is a test with any compiler. A target that finds a fault aborts; then the file named last on stderr is the
 * culprit. */
#include "base/allocate.h"
#include "base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#define LARGEST ((size_t)64 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The copy is exactly as long as the file, so that the address sanitizer sees the first byte read beyond it. */
static bool replay_file(const char *path) {
    struct error error;
    void *contents;
    size_t size;
    fprintf(stderr, "%s\n", path);
    if (!file_read(path, LARGEST, &contents, &size, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    uint8_t *exact = allocate(size, 1);
    memcpy(exact, contents, size);
    release(contents);
    LLVMFuzzerTestOneInput(exact, size);
    release(exact);
    return true;
}

static bool replay_folder(const char *folder, size_t *files) {
    char path[4096];
    DIR *directory = opendir(folder);
    if (!directory) {
        perror(folder);
        return false;
    }
    bool ok = true;
    for (const struct dirent *member; (member = readdir(directory));) {
        if (member->d_name[0] == '.')
            continue;
        ok = path_join(path, sizeof path, folder, member->d_name, NULL) && replay_file(path) && ok;
        ++*files;
    }
    closedir(directory);
    return ok;
}

int main(int count, char **arguments) {
    size_t files = 0;
    bool ok = count > 1;
    for (int i = 1; i < count; i++)
        ok = replay_folder(arguments[i], &files) && ok;
    fprintf(stderr, "%zu files\n", files);
    return ok && files > 0 ? 0 : 1;
}
