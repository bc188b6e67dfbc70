/* What happens to the fleet, told: in the log, to `status`, and to whoever asked that a board be drained.
 *
 * The core's events are dated, kept (event_log.h) and logged: as words, and where the log is JSON with their members.
 * A drain is asked for by a client, answered at once when the board is on its way out, and again when the core says
 * that it has left, or was lost first. A board that the others cannot do without is kept unless it is forced. One
 * client at a time waits for a board; who asks later takes its place. */
#include "base/allocate.h"
#include "base/log.h"
#include "daemon/coordinator_internal.h"
#include "daemon/output.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t unix_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static enum log_level level_of(enum fleet_event_kind kind) {
    bool bad = kind == FLEET_LOST || kind == FLEET_UNFIT || kind == FLEET_NO_PLAN || kind == FLEET_REPLAYED ||
               kind == FLEET_FAILED;
    return bad ? LOG_WARN : LOG_INFO;
}

static void print_members(FILE *to, const void *event) {
    event_print_members(to, event);
}

static void log_event(const struct fleet_event *event, const struct event_status *told) {
    char *members = printed_text(print_members, told);
    size_t length = strlen(members);
    members[length > 2 ? length - 2 : 0] = '\0'; /* the last ", " */
    log_members(level_of(event->kind), members, "%s", told->text);
    release(members);
}

/* ---- drains ---- */

static void refuse(struct coordinator *c, const struct net_peer *peer, const char *text) {
    coordinator_send(c, peer, &(struct message){.type = MESSAGE_REFUSE, .refuse = {text, false}}, NULL);
}

static void say_drained(struct coordinator *c, const struct net_peer *peer, bool left) {
    coordinator_send(c, peer, &(struct message){.type = MESSAGE_DRAINED, .drained = {left}}, NULL);
}

/* The board of that name if it is here, else NULL. */
static const struct core_board *board_here(const struct coordinator *c, const char *name) {
    for (unsigned i = 0; i < c->core.boards; i++)
        if (strcmp(c->core.board[i].name, name) == 0 && c->core.board[i].state != BOARD_ABSENT)
            return &c->core.board[i];
    return NULL;
}

void events_drain(struct coordinator *c, const struct net_message *received, const struct message_drain *drain) {
    char text[200];
    const struct core_board *board = board_here(c, drain->board);
    if (!board) {
        snprintf(text, sizeof text, "no board named %.63s is here", drain->board);
        refuse(c, &received->peer, text);
        return;
    }
    unsigned number = (unsigned)(board - c->core.board);
    if (!drain->force && !coordinator_core_spares(&c->core, number)) {
        snprintf(
            text, sizeof text,
            "without %.63s there would be too few boards, and nothing would be served; --force drains it all the same",
            drain->board);
        refuse(c, &received->peer, text);
        return;
    }
    if (c->board[number].drained)
        refuse(c, &c->board[number].drained_by, "somebody else waits for this board now");
    c->board[number].drained = true;
    c->board[number].drained_by = received->peer;
    say_drained(c, &received->peer, false);
    coordinator_step(c, &(struct coordinator_event){.type = CORE_BOARD_DRAINED, .board = number});
}

/* Does this end somebody's waiting? */
static void tell_drainer(struct coordinator *c, const struct fleet_event *event) {
    bool gone = event->kind == FLEET_LEFT || event->kind == FLEET_LOST;
    if (!gone || !c->board[event->board].drained)
        return;
    c->board[event->board].drained = false;
    if (event->kind == FLEET_LEFT)
        say_drained(c, &c->board[event->board].drained_by, true);
    else
        refuse(c, &c->board[event->board].drained_by, "the board was lost before it could leave");
}

void events_tell(struct coordinator *c, const struct fleet_event *event) {
    struct fleet_event known = *event;
    if (!c->survey.needed)
        known.period_s = 0; /* the plan was made without times */
    const char *board = event->board == FLEET_NO_BOARD ? "" : c->core.board[event->board].name;
    log_event(&known, event_log_add(&c->events, &known, board, unix_ms()));
    tell_drainer(c, event);
}
