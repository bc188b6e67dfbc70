/* Signals by descriptor; see signals.h. Blocking them in the main thread makes every thread that it starts block them
 * too. But some libraries start threads before main (OpenBLAS does), which do not: the system may hand them the signal,
 * and its default action would end the process. So there is also a handler, which runs in such threads alone and passes
 * the signal on to the main thread, where it stays pending until the descriptor is read. */
#include "daemon/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The main thread's number is that of the process. */
static void pass_to_main_thread(int number) {
    int before = errno;
    syscall(SYS_tgkill, getpid(), getpid(), number);
    errno = before;
}

int signals_open(struct error *error) {
    const struct sigaction action = {.sa_handler = pass_to_main_thread, .sa_flags = SA_RESTART};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    int descriptor = -1;
    /* blocked before handled: the main thread itself must never run the handler */
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || sigaction(SIGTERM, &action, NULL) != 0 ||
        sigaction(SIGINT, &action, NULL) != 0 || (descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        error_set_errno(error, "signals");
    return descriptor;
}

bool signals_read(int descriptor) {
    struct signalfd_siginfo one;
    return read(descriptor, &one, sizeof one) == (ssize_t)sizeof one;
}
