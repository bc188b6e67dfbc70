/* What was measured of links, kept in a file so that a coordinator that starts again at once need not measure them all
 * before it serves: with sixteen boards there are 136. Losing it costs that.
 *
 * An end is known by its name and by `who` it was: the process that said hello and where it takes microbatches. The
 * coordinator touches the file while it runs, so that its age is for how long nobody looked: who changes the network
 * meanwhile wants it measured, and what is old is not read.
 */
#ifndef DAEMON_LINK_STORE_H
#define DAEMON_LINK_STORE_H

#include "base/error.h"
#include "proto/message.h"

#include <stdbool.h>

#define LINKS_FILE      "links.json"
#define LINK_WHO_MAX    288
#define LINKS_AGE_MAX_S 600
#define LINKS_MOST      ((MESSAGE_BOARDS_MAX + 1) * MESSAGE_BOARDS_MAX / 2) /* that a file may have */

struct link_end {
    char name[MESSAGE_NAME_MAX + 1]; /* empty: the coordinator */
    char who[LINK_WHO_MAX];          /* of the coordinator: empty */
};

struct kept_link {
    struct link_end end[2];
    double latency_s;
    double bytes_per_second[2]; /* received by end 0, by end 1 */
};

struct link_list {
    size_t count, capacity;
    struct kept_link *link; /* owned */
};

/* Reads the directory's file into the list, which is empty. True without any where there is none, or it is older than
 * LINKS_AGE_MAX_S; false with an error, and none, when what is there cannot be used. */
bool link_list_read(const char *directory, struct link_list *list, struct error *error);
/* The file, if there is one, is as of now. */
void link_list_touch(const char *directory);
/* The same for the file's text; path is for errors. */
bool link_list_parse(const void *text, size_t size, const char *path, struct link_list *list, struct error *error);
/* Numbers that link_list_parse would refuse are left out. */
void link_list_add(struct link_list *list, const struct kept_link *link);
void link_list_close(struct link_list *list);

/* Takes the link between these two out of the list, as seen from the left: end 0 is `left`. False when it is not there.
 */
bool link_list_take(struct link_list *list, const struct link_end *left, const struct link_end *right,
                    struct kept_link *link);

/* The list as text for the file; give it back with release. */
char *link_list_print(const struct link_list *list);

#endif
