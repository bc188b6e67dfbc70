/* What moving payloads costs the processors that compute: the overhead o of LogP (Culler et al., PPoPP 1993, section
 * 3). A board all of whose processors compute stands still while they receive and send, which a plan has to count. */
#ifndef DAEMON_HANDLING_H
#define DAEMON_HANDLING_H

#include "base/key.h"
#include "daemon/profile.h"

/* All borrowed for the call. */
struct handling_settings {
    const struct model_config *config;
    const struct key_pair *keys;  /* NULL: the board's sockets have none */
    bool (*go_on)(void *context); /* may be NULL; asked between messages, false ends it with an error "cancelled" */
    void *context;
};

/* Fills in profile->handling_bytes_per_second, of a profile that profile_measure has filled: how many bytes this board
 * receives, or sends, in a second in which it does nothing else. Payloads of the model go over the loopback interface
 * for some 50 ms of processor time or eight payloads, with their checksums, encrypted where there are keys, and what
 * the whole process uses is counted; drivers of a network card are not in it. 0 where computing leaves a processor
 * free, or for a model of one unit. Blocks, for 5 s at most; opens a net of its own, so any thread. On errors the
 * profile stays as it was.
 */
bool handling_measure(const struct handling_settings *settings, struct profile *profile, struct error *error);

/* The same without measuring: receiving and sending that many bytes took so many seconds of one processor, `threads`
 * threads compute and got that many processors' time for it, on a board where there are so many. */
double handling_rate(double bytes, double seconds, unsigned threads, double got, unsigned there);

#endif
