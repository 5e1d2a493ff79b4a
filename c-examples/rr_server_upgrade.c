/* How the bundled server is replaced by a new one while it runs (SIGUSR2): it starts its own program again, hands over, and
   ends when the rest has left. Also what it tells systemd, and the sockets that it gets from there. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Names the descriptor over which a new server takes over. */
#define TAKEOVER "RR_SERVER_TAKEOVER"

/* How long a new server may take until it is ready, and then to take over. */
enum { READY_MS = 30000, WITHIN_MS = 10000 };

extern char **environ;

static pid_t successor;

/* ---- the running server ----------------------------------------------------------------------------------------------- */

/* The environment of the new server: this one's, with the descriptor. It is made before the fork: behind it, no memory may be
   allocated. systemd's sockets are handed over, so the new one has none of its own. */
static char **environment(char *takeover) {
    size_t count = 0, kept = 0, i;
    char **made;
    while (environ[count]) count++;
    made = (char **)calloc(count + 2, sizeof *made);
    if (!made) return NULL;
    for (i = 0; i < count; i++) {
        if (strncmp(environ[i], TAKEOVER "=", sizeof TAKEOVER) == 0 || strncmp(environ[i], "LISTEN_", 7) == 0) continue;
        made[kept++] = environ[i];
    }
    made[kept] = takeover;
    return made;
}

int upgrade_begin(struct upgrade *u, char **argv) {
    char takeover[64];
    char **environment_there;
    sigset_t none;
    int ends[2];
    if (u->fd >= 0) {
        print_note(RR_LOG_WARN, "SIGUSR2", "a new server is just starting");
        return 0;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0) {
        print_note(RR_LOG_ERROR, "SIGUSR2, this server goes on", strerror(errno));
        return 0;
    }
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    snprintf(takeover, sizeof takeover, TAKEOVER "=%d", ends[1]);
    environment_there = environment(takeover);
    successor = environment_there ? fork() : -1;
    if (successor == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        environ = environment_there;
        execvp(argv[0], argv);
        _exit(127);
    }
    free(environment_there);
    close(ends[1]);
    if (successor < 0) {
        print_note(RR_LOG_ERROR, "SIGUSR2, this server goes on", strerror(errno));
        close(ends[0]);
        return 0;
    }
    print_note(RR_LOG_INFO, "SIGUSR2", "a new server starts");
    u->fd = ends[0];
    u->by_ms = u->now_ms() + READY_MS;
    return 1;
}

/* Ends a new server that has not taken over. */
static void give_up(const char *why) {
    int status = 0;
    char text[512];
    kill(successor, SIGKILL); /* one that has ended is not reaped yet */
    while (waitpid(successor, &status, 0) < 0 && errno == EINTR) {}
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) why = "its program cannot be started";
    snprintf(text, sizeof text, "this server goes on: %s", why);
    print_note(RR_LOG_ERROR, "the new server did not take over", text);
}

int upgrade_go_on(rr_server *s, struct upgrade *u, const struct options *o, int ready) {
    int fd = u->fd;
    char text[64];
    if (!ready && u->now_ms() < u->by_ms) return 0;
    u->fd = -1;
    if (!ready) {
        close(fd);
        give_up("it was not ready in time");
        return 0;
    }
    if (rr_server_handover(s, fd, WITHIN_MS, o->upgrade_drain_ms) < 0) {
        give_up(rr_last_error());
        return 0;
    }
    rr_rest_stop(s); /* the new server waits for the port */
    snprintf(text, sizeof text, "MAINPID=%ld", (long)successor);
    tell_systemd(text);
    unsetenv("NOTIFY_SOCKET"); /* the end of this process is not that of the service */
    print_note(RR_LOG_INFO, "upgrade", "the new server has taken over; this one ends when all have left");
    return 1;
}

/* ---- the new server ---------------------------------------------------------------------------------------------------- */

int upgrade_is_successor(void) {
    return getenv(TAKEOVER) != NULL;
}

int upgrade_take_over(rr_server *s) {
    int fd = atoi(getenv(TAKEOVER));
    unsetenv(TAKEOVER);
    if (rr_server_takeover(s, fd, WITHIN_MS) == RR_OK) return 1;
    fprintf(stderr, "rr_server: cannot take over from the running server: %s\n", rr_last_error());
    return 0;
}

/* ---- systemd ----------------------------------------------------------------------------------------------------------- */

void tell_systemd(const char *state) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to;
    size_t len = path ? strlen(path) : 0;
    int fd;
    if (len < 2 || len >= sizeof to.sun_path || (*path != '/' && *path != '@')) return;
    memset(&to, 0, sizeof to);
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, path, len);
    if (*path == '@') to.sun_path[0] = '\0'; /* a name that is no file */
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0) return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        print_note(RR_LOG_WARN, "systemd was not told", strerror(errno));
    close(fd);
}

/* Whether this name is in a list with colons, at this place. */
static int is_named(const char *names, int place, const char *name) {
    size_t len;
    for (; names && place > 0; place--) {
        names = strchr(names, ':');
        if (names) names++;
    }
    if (!names) return 0;
    len = strcspn(names, ":");
    return len == strlen(name) && strncmp(names, name, len) == 0;
}

int listen_on_inherited(rr_server *s, const struct options *o) {
    const char *count = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    int i, total = count ? atoi(count) : 0;
    if (total <= 0 || !pid || atol(pid) != (long)getpid()) return 0;
    for (i = 0; i < total; i++) {
        unsigned flags = o->proxy ? RR_LISTEN_PROXY : 0;
        if (is_named(names, i, "rtmps") || is_named(names, i, "https")) flags |= RR_LISTEN_TLS;
        if (is_named(names, i, "http") || is_named(names, i, "https")) flags |= RR_LISTEN_HTTP;
        if (rr_server_listen_fd(s, 3 + i, flags) < 0) {
            fprintf(stderr, "rr_server: a socket from systemd cannot be used: %s\n", rr_last_error());
            return -1;
        }
    }
    return total;
}
