/* Links on disk; see link_store.h.
 *
 *   {"links": [{"ends": ["b1", "b2"], "who": ["9f...@tcp://10.0.0.5:40001", "..."], "latency_s": 0.0003,
 *               "bytes_per_second": [1.1e8, 1.2e8]}, ...]}
 *
 * The file is the coordinator's own, but a damaged or edited one must not do harm: numbers are finite and positive,
 * texts fit, the count is bounded; else none of it is used.
 */
#include "daemon/link_store.h"

#include "base/allocate.h"
#include "base/file.h"
#include "daemon/output.h"
#include "model/json.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define BYTES_MAX   ((size_t)4 << 20)
#define LEAST       1e-12
#define SECONDS_MAX 1e6
#define RATE_MAX    1e15

void link_list_close(struct link_list *list) {
    release(list->link);
    *list = (struct link_list){0};
}

static bool in_range(double number, double most) {
    return number >= LEAST && number <= most;
}

void link_list_add(struct link_list *list, const struct kept_link *link) {
    if (!in_range(link->latency_s, SECONDS_MAX) || !in_range(link->bytes_per_second[0], RATE_MAX) ||
        !in_range(link->bytes_per_second[1], RATE_MAX))
        return;
    void *memory = list->link;
    allocate_grow(&memory, &list->capacity, list->count + 1, sizeof *list->link);
    list->link = memory;
    list->link[list->count++] = *link;
}

static bool same_end(const struct link_end *left, const struct link_end *right) {
    return strcmp(left->name, right->name) == 0 && strcmp(left->who, right->who) == 0;
}

static void swap_ends(struct kept_link *link) {
    *link = (struct kept_link){.end = {link->end[1], link->end[0]},
                               .latency_s = link->latency_s,
                               .bytes_per_second = {link->bytes_per_second[1], link->bytes_per_second[0]}};
}

bool link_list_take(struct link_list *list, const struct link_end *left, const struct link_end *right,
                    struct kept_link *link) {
    for (size_t i = 0; i < list->count; i++) {
        const struct link_end *end = list->link[i].end;
        bool other_way = same_end(&end[1], left) && same_end(&end[0], right);
        if (!other_way && !(same_end(&end[0], left) && same_end(&end[1], right)))
            continue;
        *link = list->link[i];
        list->link[i] = list->link[--list->count];
        if (other_way)
            swap_ends(link);
        return true;
    }
    return false;
}

/* ---- text ---- */

static void print_link(FILE *to, const struct kept_link *link) {
    fputs("{\"ends\": [", to);
    json_string(to, link->end[0].name);
    fputs(", ", to);
    json_string(to, link->end[1].name);
    fputs("], \"who\": [", to);
    json_string(to, link->end[0].who);
    fputs(", ", to);
    json_string(to, link->end[1].who);
    fputs("], \"latency_s\": ", to);
    json_double(to, link->latency_s);
    fputs(", \"bytes_per_second\": [", to);
    json_double(to, link->bytes_per_second[0]);
    fputs(", ", to);
    json_double(to, link->bytes_per_second[1]);
    fputs("]}", to);
}

static void print_list(FILE *to, const void *what) {
    const struct link_list *list = what;
    fputs("{\"links\": [", to);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i ? ",\n" : "\n", to);
        print_link(to, &list->link[i]);
    }
    fputs("\n]}\n", to);
}

char *link_list_print(const struct link_list *list) {
    return printed_text(print_list, list);
}

static bool read_text(const struct json *value, char *text, size_t size, struct error *error) {
    const char *found;
    if (!json_as_string(value, &found, error))
        return false;
    if (strlen(found) >= size)
        return json_refuse(value, error, "at most %zu bytes", size - 1);
    memcpy(text, found, strlen(found) + 1);
    return true;
}

static bool get_pair(const struct json *object, const char *key, const struct json **pair, struct error *error) {
    return json_get_array(object, key, pair, error) &&
           (json_count(*pair) == 2 || json_refuse(*pair, error, "two items"));
}

static bool read_link(const struct json *object, struct kept_link *link, struct error *error) {
    const struct json *names, *whos, *rates;
    bool ok = json_as_object(object, error) && get_pair(object, "ends", &names, error) &&
              get_pair(object, "who", &whos, error) && get_pair(object, "bytes_per_second", &rates, error) &&
              json_get_number(object, "latency_s", LEAST, SECONDS_MAX, &link->latency_s, error);
    for (unsigned i = 0; ok && i < 2; i++)
        ok = read_text(json_at(names, i), link->end[i].name, sizeof link->end[i].name, error) &&
             read_text(json_at(whos, i), link->end[i].who, sizeof link->end[i].who, error) &&
             json_as_number(json_at(rates, i), LEAST, RATE_MAX, &link->bytes_per_second[i], error);
    return ok;
}

static bool read_list(const struct json *root, struct link_list *list, struct error *error) {
    const struct json *links;
    if (!json_as_object(root, error) || !json_get_array(root, "links", &links, error))
        return false;
    if (json_count(links) > LINKS_MOST)
        return json_refuse(links, error, "at most %d links", LINKS_MOST);
    for (size_t i = 0; i < json_count(links); i++) {
        struct kept_link link = {0};
        if (!read_link(json_at(links, i), &link, error))
            return false;
        link_list_add(list, &link);
    }
    return true;
}

bool link_list_parse(const void *text, size_t size, const char *path, struct link_list *list, struct error *error) {
    struct json *root = json_parse(text, size, path, error);
    bool ok = root && read_list(root, list, error);
    json_destroy(&root);
    if (!ok)
        link_list_close(list);
    return ok;
}

void link_list_touch(const char *directory) {
    char path[PATH_MAX];
    if (path_join(path, sizeof path, directory, LINKS_FILE, NULL))
        utimensat(AT_FDCWD, path, NULL, 0); /* no matter if it fails: then they are measured */
}

bool link_list_read(const char *directory, struct link_list *list, struct error *error) {
    char path[PATH_MAX];
    struct stat about;
    void *contents;
    size_t size;
    if (!path_join(path, sizeof path, directory, LINKS_FILE, error))
        return false;
    if (stat(path, &about) != 0)
        return true;
    int64_t age = (int64_t)time(NULL) - about.st_mtime;
    if (age < 0 || age > LINKS_AGE_MAX_S)
        return true;
    if (!file_read(path, BYTES_MAX, &contents, &size, error))
        return false;
    bool ok = link_list_parse(contents, size, path, list, error);
    release(contents);
    return ok;
}
