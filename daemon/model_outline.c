/* A model by its config.json; see model_outline.h. A directory without weights is as good as one with them: whoever
 * plans a fleet, or profiles a board, seldom has them at hand. One thread; blocking. */
#include "daemon/model_outline.h"

#include "base/allocate.h"
#include "base/file.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)

static bool has_file(const char *directory, const char *name) {
    char path[4096];
    return path_join(path, sizeof path, directory, name, NULL) && file_exists(path);
}

static bool read_config(const char *directory, struct model_outline *outline, struct error *error) {
    char path[4096];
    void *contents = NULL;
    size_t size;
    if (!path_join(path, sizeof path, directory, "config.json", error) ||
        !file_read(path, CONFIG_BYTES_MAX, &contents, &size, error))
        return false;
    outline->parsed = model_config_new(contents, size, NULL, 0, error);
    release(contents);
    outline->config = outline->parsed;
    return outline->parsed || error_wrap(error, "%s", directory);
}

bool model_outline_open(struct model_outline *outline, const char *directory, struct error *error) {
    *outline = (struct model_outline){0};
    if (!has_file(directory, "model.safetensors") && !has_file(directory, "model.safetensors.index.json"))
        return read_config(directory, outline, error);
    if (!(outline->model = model_open(directory, error)))
        return false;
    outline->config = model_borrow_config(outline->model);
    return true;
}

void model_outline_close(struct model_outline *outline) {
    model_config_destroy(&outline->parsed);
    model_close(&outline->model);
}
