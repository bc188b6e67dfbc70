/* Fleet to YAML, such that fleet_file_read finds the same numbers again; the format is docs/FLEET.md.
 *
 * Numbers are printed as the shortest decimals that are exact, in the unit that makes them shortest. The commonest link
 * becomes the default of the file and only the others are listed, so that a rack on one switch stays readable. Nothing
 * is kept; errors of the stream are the caller's to look for.
 */
#include "daemon/fleet_file.h"
#include "daemon/fleet_quantity.h"

#include <string.h>

/* The next character of valid UTF-8; *text moves behind it. Bytes that are not UTF-8 count one by one. */
static uint32_t next_character(const unsigned char **text) {
    const unsigned char *at = (*text)++;
    unsigned more = at[0] >= 0xf0 ? 3 : at[0] >= 0xe0 ? 2 : at[0] >= 0xc0 ? 1 : 0;
    uint32_t character = more ? at[0] & (0x3fU >> more) : at[0];
    for (unsigned i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return at[0];
        character = character << 6 | (at[i] & 0x3f);
    }
    *text += more;
    return character;
}

/* Quoted, so that no name can be taken for anything else; whatever YAML might fold, refuse or not show is escaped. */
static void print_text(FILE *to, const char *text) {
    const unsigned char *at = (const unsigned char *)text, *start;
    fputc('"', to);
    while (*(start = at)) {
        uint32_t character = next_character(&at);
        bool letter = character >= 0xa0 && character < 0xd800 && character != 0x2028 && character != 0x2029;
        if (character == '"' || character == '\\')
            fprintf(to, "\\%c", (char)character);
        else if ((character >= ' ' && character < 0x7f) || letter)
            fwrite(start, 1, (size_t)(at - start), to);
        else
            fprintf(to, "\\U%08X", (unsigned)character);
    }
    fputc('"', to);
}

static bool same_link(const struct fleet_link *left, const struct fleet_link *right) {
    return left->bandwidth == right->bandwidth && left->latency == right->latency;
}

static const struct fleet_link *link_at(const struct fleet_file *file, unsigned row, unsigned column) {
    return &file->link[row < file->boards ? row : FLEET_COORDINATOR]
                      [column < file->boards ? column : FLEET_COORDINATOR];
}

static unsigned count_links(const struct fleet_file *file, const struct fleet_link *link) {
    unsigned count = 0;
    for (unsigned row = 0; row <= file->boards; row++)
        for (unsigned column = 0; column <= file->boards; column++)
            count += row != column && same_link(link_at(file, row, column), link);
    return count;
}

/* A value that more than half of all links have is found by voting (Boyer and Moore, 1981); where there is none, any
 * default is as good. */
static struct fleet_link commonest_link(const struct fleet_file *file) {
    const struct fleet_link *favourite = link_at(file, 0, file->boards), *first = favourite;
    unsigned votes = 0;
    for (unsigned row = 0; row <= file->boards; row++)
        for (unsigned column = 0; column <= file->boards; column++) {
            if (row == column)
                continue;
            if (votes == 0)
                favourite = link_at(file, row, column);
            votes = same_link(favourite, link_at(file, row, column)) ? votes + 1 : votes - 1;
        }
    return count_links(file, favourite) >= count_links(file, first) ? *favourite : *first;
}

static void print_link(const struct fleet_link *link, FILE *to) {
    char bandwidth[QUANTITY_TEXT_MAX], latency[QUANTITY_TEXT_MAX];
    fprintf(to, "bandwidth: %s, latency: %s}\n", quantity_text(QUANTITY_RATE, link->bandwidth, bandwidth),
            quantity_text(QUANTITY_TIME, link->latency, latency));
}

static void print_quantity(FILE *to, const char *key, enum quantity quantity, double value) {
    char text[QUANTITY_TEXT_MAX];
    fprintf(to, "    %s: %s\n", key, quantity_text(quantity, value, text));
}

static void print_times(const struct fleet_board *board, unsigned units, FILE *to) {
    char text[QUANTITY_TEXT_MAX];
    fputs("    times:\n", to);
    for (unsigned at = 0; at < board->time_count; at++) {
        fprintf(to, "      - microbatch: %u\n        unit_seconds: [", board->times[at].microbatch);
        for (unsigned unit = 0; unit < units; unit++)
            fprintf(to, "%s%s",
                    unit == 0  ? ""
                    : unit % 8 ? ", "
                               : ",\n                       ",
                    number_text(board->times[at].seconds[unit], text));
        fputs("]\n", to);
    }
}

static void print_board(const struct fleet_board *board, unsigned units, FILE *to) {
    fputs("  - name: ", to);
    print_text(to, board->name);
    fputc('\n', to);
    print_quantity(to, "memory", QUANTITY_SIZE, (double)board->memory_bytes);
    if (board->reserve_bytes)
        print_quantity(to, "reserve", QUANTITY_SIZE, (double)board->reserve_bytes);
    if (board->storage > 0)
        print_quantity(to, "storage", QUANTITY_RATE, board->storage);
    if (board->handling > 0 && !board->profile)
        print_quantity(to, "handling", QUANTITY_RATE, board->handling);
    if (board->kernels) {
        fputs("    kernels: ", to);
        print_text(to, board->kernels);
        fputc('\n', to);
    }
    if (board->threads)
        fprintf(to, "    threads: %u\n", board->threads);
    if (board->profile) {
        fputs("    profile: ", to);
        print_text(to, board->profile);
        fputc('\n', to);
    } else if (board->time_count > 0)
        print_times(board, units, to);
    else
        print_quantity(to, "speed", QUANTITY_SPEED, board->speed);
}

static void print_end(const struct fleet_file *file, unsigned index, FILE *to) {
    print_text(to, index < file->boards ? file->board[index].name : FLEET_COORDINATOR_NAME);
}

static void print_other_links(const struct fleet_file *file, const struct fleet_link *usual, FILE *to) {
    bool any = false;
    for (unsigned row = 0; row <= file->boards; row++)
        for (unsigned column = 0; column <= file->boards; column++) {
            const struct fleet_link *link = link_at(file, row, column);
            if (row == column || same_link(link, usual))
                continue;
            fputs(any ? "  - {from: " : "links:\n  - {from: ", to);
            print_end(file, row, to);
            fputs(", to: ", to);
            print_end(file, column, to);
            fputs(", ", to);
            print_link(link, to);
            any = true;
        }
}

void fleet_file_print(const struct fleet_file *file, FILE *to) {
    struct fleet_link usual = commonest_link(file);
    if (file->architecture) {
        fputs("model: ", to);
        print_text(to, file->architecture);
        fputc('\n', to);
    }
    if (file->units)
        fprintf(to, "units: %u\n", file->units);
    if (file->fingerprint[0])
        fprintf(to, "fingerprint: \"%s\"\n", file->fingerprint);
    if (file->half_duplex)
        fputs("half_duplex: true\n", to);
    fputs("link: {", to);
    print_link(&usual, to);
    fputs("boards:\n", to);
    for (unsigned index = 0; index < file->boards; index++)
        print_board(&file->board[index], file->units, to);
    print_other_links(file, &usual, to);
}
