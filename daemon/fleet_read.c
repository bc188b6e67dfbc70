/* YAML to fleet; the format is docs/FLEET.md, the result fleet_file.h.
 *
 * Top down, in the order in which later parts need earlier ones: what model the times are of; the link that holds where
 * nothing else is said; each entry of `boards` as one or, by its `count`, several boards; the coordinator; links from
 * what the boards said about their own ends; and at last `links`, which overrule them pair by pair, later lines over
 * earlier ones. A key that is not known, a unit that is missing, a name that is there twice or nowhere: an error with
 * file, line and column. The tree lives while it is read, the fleet copies what it keeps.
 */
#include "base/allocate.h"
#include "daemon/fleet_file.h"
#include "daemon/fleet_profile.h"
#include "daemon/fleet_quantity.h"
#include "daemon/yaml.h"

#include <math.h>
#include <string.h>

/* An entry of `boards`: a name that stands for boards [first, first + count). */
struct group {
    const char *name;
    unsigned first, count;
};

struct reader {
    const char *path;
    struct fleet_model model; /* to be planned */
    struct fleet_file *file;
    struct group group[PARTITIONER_BOARDS_MAX];
    unsigned groups;
    struct fleet_link usual;            /* where a board says nothing of its own */
    struct fleet_link port[FLEET_ENDS]; /* what each board's own end can do */
    struct error *error;
};

/* ---- pieces ---- */

/* Reads `key` of a mapping if it is there; *value keeps what it was otherwise. */
static bool optional_quantity(const struct yaml *mapping, const char *key, enum quantity quantity, double *value,
                              struct error *error) {
    const struct yaml *member = yaml_find(mapping, key);
    return !member || quantity_read(member, quantity, value, error);
}

static bool optional_size(const struct yaml *mapping, const char *key, uint64_t *bytes, struct error *error) {
    double value = (double)*bytes;
    if (!optional_quantity(mapping, key, QUANTITY_SIZE, &value, error))
        return false;
    *bytes = (uint64_t)value;
    return true;
}

static bool read_link(const struct yaml *mapping, struct fleet_link *link, struct error *error) {
    return optional_quantity(mapping, "bandwidth", QUANTITY_RATE, &link->bandwidth, error) &&
           optional_quantity(mapping, "latency", QUANTITY_TIME, &link->latency, error);
}

/* The member `link` of the file, a board or the coordinator. */
static bool read_own_link(const struct yaml *mapping, struct fleet_link *link, struct error *error) {
    static const char *const keys[] = {"bandwidth", "latency", NULL};
    const struct yaml *member = yaml_find(mapping, "link");
    return !member || (yaml_check_keys(member, keys, error) && read_link(member, link, error));
}

/* Names stand in tables and logs of one line each. */
static bool read_name(const struct yaml *node, const char **name, struct error *error) {
    if (!yaml_as_text(node, name, error))
        return false;
    for (const char *letter = *name; *letter; letter++)
        if ((unsigned char)*letter < ' ' || *letter == 0x7f)
            return yaml_refuse(node, error, "a control character in a name");
    return true;
}

/* ---- the model ---- */

static bool read_fingerprint(struct reader *reader, const struct yaml *root) {
    const struct yaml *node = yaml_find(root, "fingerprint");
    char *fingerprint = reader->file->fingerprint;
    const char *text;
    if (!node)
        return true;
    if (!yaml_as_text(node, &text, reader->error))
        return false;
    if (strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32)
        return yaml_refuse(node, reader->error, "got '%.40s', want 32 hexadecimal digits", text);
    if (reader->model.fingerprint && strcmp(text, reader->model.fingerprint) != 0)
        return yaml_refuse(node, reader->error, "these are another model's times: got %s, but --model has %s", text,
                           reader->model.fingerprint);
    memcpy(fingerprint, text, sizeof reader->file->fingerprint);
    return true;
}

static bool read_model(struct reader *reader, const struct yaml *root) {
    const struct yaml *model = yaml_find(root, "model"), *units = yaml_find(root, "units");
    const struct yaml *duplex = yaml_find(root, "half_duplex");
    struct fleet_file *file = reader->file;
    const char *name;
    unsigned count;
    if (model) {
        if (!yaml_as_text(model, &name, reader->error))
            return false;
        if (reader->model.architecture && strcmp(name, reader->model.architecture) != 0)
            return yaml_refuse(model, reader->error, "got '%.80s', but --model is a %s", name,
                               reader->model.architecture);
        file->architecture = allocate_string(name);
    }
    if (units) {
        if (!yaml_as_integer(units, 1, PARTITIONER_UNITS_MAX, &count, reader->error))
            return false;
        if (file->units && file->units != count)
            return yaml_refuse(units, reader->error, "got %u, but --model has %u units", count, file->units);
        file->units = count;
    }
    return read_fingerprint(reader, root) && (!duplex || yaml_as_flag(duplex, &file->half_duplex, reader->error));
}

/* ---- the times of a board ---- */

static bool read_seconds(struct reader *reader, const struct yaml *list, double seconds[PARTITIONER_UNITS_MAX]) {
    unsigned units = 0;
    if (!yaml_as_sequence(list, reader->error))
        return false;
    if (yaml_count(list) == 0 || yaml_count(list) > PARTITIONER_UNITS_MAX ||
        (reader->file->units && yaml_count(list) != reader->file->units))
        return yaml_refuse(list, reader->error, "%zu times, want one for each of the %u units", yaml_count(list),
                           reader->file->units);
    for (const struct yaml *item = yaml_first(list); item; item = yaml_next(item)) {
        if (!yaml_as_number(item, 0, INFINITY, &seconds[units], reader->error))
            return false;
        if (!(seconds[units++] > 0))
            return yaml_refuse(item, reader->error, "unit %u takes no time, want seconds above 0", units - 1);
    }
    reader->file->units = units;
    return true;
}

static bool read_one_size(struct reader *reader, const struct yaml *entry, struct fleet_board *board) {
    static const char *const keys[] = {"microbatch", "unit_seconds", NULL};
    double seconds[PARTITIONER_UNITS_MAX];
    unsigned microbatch;
    const struct yaml *size, *list;
    if (!yaml_check_keys(entry, keys, reader->error) || !(size = yaml_want(entry, "microbatch", reader->error)) ||
        !yaml_as_integer(size, 1, FLEET_MICROBATCH_MAX, &microbatch, reader->error) ||
        !(list = yaml_want(entry, "unit_seconds", reader->error)) || !read_seconds(reader, list, seconds))
        return false;
    return fleet_board_add_times(board, microbatch, seconds, reader->file->units) ||
           yaml_refuse(size, reader->error, "microbatch %u is there twice, or more than %d sizes", microbatch,
                       FLEET_MICROBATCHES);
}

static bool read_times(struct reader *reader, const struct yaml *times, struct fleet_board *board) {
    if (!yaml_as_sequence(times, reader->error))
        return false;
    for (const struct yaml *entry = yaml_first(times); entry; entry = yaml_next(entry))
        if (!read_one_size(reader, entry, board))
            return false;
    return board->time_count > 0 || yaml_refuse(times, reader->error, "is empty, want times of a microbatch");
}

static bool read_speed(struct reader *reader, const struct yaml *speed, struct fleet_board *board) {
    return quantity_read(speed, QUANTITY_SPEED, &board->speed, reader->error) &&
           (board->speed > 0 || yaml_refuse(speed, reader->error, "want more than 0"));
}

static bool read_profile(struct reader *reader, const struct yaml *profile, struct fleet_board *board) {
    const char *name;
    char where[500];
    if (!yaml_as_text(profile, &name, reader->error))
        return false;
    if (fleet_profile_read(reader->path, name, &reader->model, reader->file, board, reader->error))
        return true;
    yaml_where(profile, where, sizeof where);
    return error_wrap(reader->error, "%s", where);
}

static bool read_performance(struct reader *reader, const struct yaml *entry, struct fleet_board *board) {
    const struct yaml *profile = yaml_find(entry, "profile"), *speed = yaml_find(entry, "speed");
    const struct yaml *times = yaml_find(entry, "times");
    if (!!profile + !!speed + !!times != 1)
        return yaml_refuse(entry, reader->error, "board %.64s: want one of profile, speed and times", board->name);
    return profile ? read_profile(reader, profile, board)
           : speed ? read_speed(reader, speed, board)
                   : read_times(reader, times, board);
}

/* ---- boards ---- */

static bool name_taken(const struct reader *reader, const char *name) {
    bool taken = strcmp(name, FLEET_COORDINATOR_NAME) == 0;
    for (unsigned index = 0; index < reader->groups; index++)
        taken = taken || strcmp(reader->group[index].name, name) == 0;
    for (unsigned index = 0; index < reader->file->boards; index++)
        taken = taken || strcmp(reader->file->board[index].name, name) == 0;
    return taken;
}

static bool read_handling(const struct yaml *entry, struct fleet_board *board, struct error *error) {
    const struct yaml *handling = yaml_find(entry, "handling");
    if (!handling)
        return true;
    if (!quantity_read(handling, QUANTITY_RATE, &board->handling, error))
        return false;
    if (board->handling < 1)
        return yaml_refuse(handling, error,
                           "want at least 1B/s, or 'unlimited' where others than the computing processors do it");
    if (isinf(board->handling))
        board->handling = 0;
    board->noise = 0;
    return true;
}

/* What the file says about the next free board, but for its number among `count` equal ones. */
static bool read_board(struct reader *reader, const struct yaml *entry, const char *name, struct fleet_board *board) {
    const struct yaml *threads = yaml_find(entry, "threads"), *kernels = yaml_find(entry, "kernels");
    const char *text;
    bool ok = read_performance(reader, entry, board) &&
              optional_size(entry, "memory", &board->memory_bytes, reader->error) &&
              optional_size(entry, "reserve", &board->reserve_bytes, reader->error) &&
              optional_quantity(entry, "storage", QUANTITY_RATE, &board->storage, reader->error) &&
              read_handling(entry, board, reader->error) &&
              (!threads || yaml_as_integer(threads, 1, 1024, &board->threads, reader->error)) &&
              (!kernels || yaml_as_text(kernels, &text, reader->error));
    if (ok && kernels) {
        release(board->kernels);
        board->kernels = allocate_string(text);
    }
    if (ok && !yaml_find(entry, "memory") && board->memory_bytes == 0)
        return yaml_refuse(entry, reader->error, "board %.64s: 'memory' is missing", name);
    return ok;
}

/* The boards after the first of an entry: the same but for their names. */
static void copy_board(const struct fleet_file *file, const struct fleet_board *from, struct fleet_board *to) {
    char *name = to->name;
    *to = *from;
    to->name = name;
    to->kernels = from->kernels ? allocate_string(from->kernels) : NULL;
    to->time_count = 0;
    for (unsigned at = 0; at < from->time_count; at++)
        fleet_board_add_times(to, from->times[at].microbatch, from->times[at].seconds, file->units);
}

static bool add_names(struct reader *reader, const struct yaml *name_node, const char *name, unsigned count,
                      bool numbered) {
    struct fleet_file *file = reader->file;
    char full[FLEET_NAME_MAX + 16];
    if (count > PARTITIONER_BOARDS_MAX - file->boards)
        return yaml_refuse(name_node, reader->error, "more than %d boards", PARTITIONER_BOARDS_MAX);
    if (name_taken(reader, name))
        return yaml_refuse(name_node, reader->error, "the name '%s' is taken", name);
    struct group group = {name, file->boards, count};
    for (unsigned number = 1; number <= count; number++) {
        if (snprintf(full, sizeof full, numbered ? "%s-%u" : "%s", name, number) > FLEET_NAME_MAX)
            return yaml_refuse(name_node, reader->error, "want names of at most %d characters", FLEET_NAME_MAX);
        if (numbered && name_taken(reader, full))
            return yaml_refuse(name_node, reader->error, "the name '%s' is taken", full);
        file->board[file->boards++].name = allocate_string(full);
    }
    reader->group[reader->groups++] = group;
    return true;
}

static bool read_entry(struct reader *reader, const struct yaml *entry) {
    static const char *const keys[] = {"name",    "count", "memory",  "reserve", "storage", "handling", "threads",
                                       "kernels", "link",  "profile", "speed",   "times",   NULL};
    struct fleet_file *file = reader->file;
    const struct yaml *name_node, *count_node = yaml_find(entry, "count");
    const char *name;
    unsigned count = 1, first = file->boards;
    struct fleet_link port = reader->usual;
    if (!yaml_check_keys(entry, keys, reader->error) || !(name_node = yaml_want(entry, "name", reader->error)) ||
        !read_name(name_node, &name, reader->error) ||
        (count_node && !yaml_as_integer(count_node, 1, PARTITIONER_BOARDS_MAX, &count, reader->error)) ||
        !add_names(reader, name_node, name, count, count_node != NULL) ||
        !read_board(reader, entry, name, &file->board[first]) || !read_own_link(entry, &port, reader->error))
        return false;
    for (unsigned index = first; index < first + count; index++) {
        reader->port[index] = port;
        if (index > first)
            copy_board(file, &file->board[first], &file->board[index]);
    }
    return true;
}

static bool read_boards(struct reader *reader, const struct yaml *root) {
    const struct yaml *boards = yaml_want(root, "boards", reader->error);
    if (!boards || !yaml_as_sequence(boards, reader->error))
        return false;
    for (const struct yaml *entry = yaml_first(boards); entry; entry = yaml_next(entry))
        if (!read_entry(reader, entry))
            return false;
    return reader->file->boards > 0 || yaml_refuse(boards, reader->error, "no boards, want at least one");
}

static bool read_coordinator(struct reader *reader, const struct yaml *root) {
    static const char *const keys[] = {"link", NULL};
    const struct yaml *coordinator = yaml_find(root, FLEET_COORDINATOR_NAME);
    struct fleet_link *port = &reader->port[FLEET_COORDINATOR];
    *port = reader->usual;
    return !coordinator ||
           (yaml_check_keys(coordinator, keys, reader->error) && read_own_link(coordinator, port, reader->error));
}

/* ---- links ---- */

static unsigned end_at(const struct fleet_file *file, unsigned index) {
    return index < file->boards ? index : FLEET_COORDINATOR;
}

/* A transfer is as fast as the slower of its two ends and as late as the later. */
static void join_ports(struct reader *reader) {
    struct fleet_file *file = reader->file;
    for (unsigned row = 0; row <= file->boards; row++)
        for (unsigned column = 0; column <= file->boards; column++) {
            unsigned from = end_at(file, row), to = end_at(file, column);
            if (from != to)
                file->link[from][to] = (struct fleet_link){
                    fmin(reader->port[from].bandwidth, reader->port[to].bandwidth),
                    fmax(reader->port[from].latency, reader->port[to].latency),
                };
        }
}

/* A name to the ends it stands for: a board, all boards of an entry with `count`, or the coordinator. */
static bool find_ends(const struct reader *reader, const struct yaml *node, struct group *ends) {
    const struct fleet_file *file = reader->file;
    if (!yaml_as_text(node, &ends->name, reader->error))
        return false;
    ends->count = 1;
    ends->first = FLEET_COORDINATOR;
    if (strcmp(ends->name, FLEET_COORDINATOR_NAME) == 0)
        return true;
    for (ends->first = 0; ends->first < file->boards; ends->first++)
        if (strcmp(file->board[ends->first].name, ends->name) == 0)
            return true;
    for (unsigned index = 0; index < reader->groups; index++)
        if (strcmp(reader->group[index].name, ends->name) == 0) {
            *ends = reader->group[index];
            return true;
        }
    return yaml_refuse(node, reader->error, "no board is called '%.64s'", ends->name);
}

static bool set_links(struct reader *reader, const struct yaml *entry, struct group from, struct group to) {
    for (unsigned row = from.first; row < from.first + from.count; row++)
        for (unsigned column = to.first; column < to.first + to.count; column++)
            if (row != column && !read_link(entry, &reader->file->link[row][column], reader->error))
                return false;
    return true;
}

static bool read_pair(struct reader *reader, const struct yaml *entry) {
    static const char *const keys[] = {"from", "to", "between", "bandwidth", "latency", NULL};
    struct group left, right;
    if (!yaml_check_keys(entry, keys, reader->error))
        return false;
    const struct yaml *from = yaml_find(entry, "from"), *to = yaml_find(entry, "to");
    const struct yaml *between = yaml_find(entry, "between");
    bool both = between && !from && !to && yaml_count(between) == 2 && yaml_kind(between) == YAML_KIND_SEQUENCE;
    if (!both && (between || !from || !to))
        return yaml_refuse(entry, reader->error, "want 'from' and 'to', or 'between: [a, b]' for both directions");
    if (!yaml_find(entry, "bandwidth") && !yaml_find(entry, "latency"))
        return yaml_refuse(entry, reader->error, "want a bandwidth or a latency");
    if (both) {
        from = yaml_first(between);
        to = yaml_next(from);
    }
    if (!find_ends(reader, from, &left) || !find_ends(reader, to, &right))
        return false;
    if (left.first == right.first && left.count == 1 && right.count == 1)
        return yaml_refuse(to, reader->error, "a link from '%.64s' to itself", left.name);
    return set_links(reader, entry, left, right) && (!both || set_links(reader, entry, right, left));
}

static bool read_pairs(struct reader *reader, const struct yaml *root) {
    const struct yaml *links = yaml_find(root, "links");
    if (!links)
        return true;
    if (!yaml_as_sequence(links, reader->error))
        return false;
    for (const struct yaml *entry = yaml_first(links); entry; entry = yaml_next(entry))
        if (!read_pair(reader, entry))
            return false;
    return true;
}

/* ---- the file ---- */

static bool read_fleet(struct reader *reader, const struct yaml *root) {
    static const char *const keys[] = {"model",  "units", "fingerprint", "half_duplex", "link", FLEET_COORDINATOR_NAME,
                                       "boards", "links", NULL};
    if (!yaml_check_keys(root, keys, reader->error) || !read_model(reader, root) ||
        !read_own_link(root, &reader->usual, reader->error) || !read_boards(reader, root) ||
        !read_coordinator(reader, root))
        return false;
    join_ports(reader);
    return read_pairs(reader, root);
}

/* Takes the tree in any case. */
static struct fleet_file *read_tree(struct yaml *root, const char *path, const struct fleet_model *model,
                                    struct error *error) {
    struct reader *reader = allocate(1, sizeof *reader);
    *reader = (struct reader){
        .path = path, .model = model ? *model : (struct fleet_model){0}, .file = fleet_file_new(), .error = error};
    reader->usual.bandwidth = INFINITY;
    reader->file->units = reader->model.units;
    if (!read_fleet(reader, root))
        fleet_file_destroy(&reader->file);
    struct fleet_file *file = reader->file;
    release(reader);
    yaml_destroy(&root);
    return file;
}

struct fleet_file *fleet_file_parse(const void *bytes, size_t size, const char *path, const struct fleet_model *model,
                                    struct error *error) {
    struct yaml *root = yaml_parse(bytes, size, path, error);
    return root ? read_tree(root, path, model, error) : NULL;
}

struct fleet_file *fleet_file_read(const char *path, const struct fleet_model *model, struct error *error) {
    struct yaml *root = yaml_read(path, error);
    return root ? read_tree(root, path, model, error) : NULL;
}
