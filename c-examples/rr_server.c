/*
 * The bundled server: an RTMP relay on the public header alone. It shows the whole use of the library: set up a config,
 * listen, take events in one's own loop, add targets, stop in order.
 *
 * In the tree `make build` makes it; where the library is installed:
 *
 *   cc c-examples/rr_server*.c $(pkg-config --cflags --libs rrelay) -o rr_server
 */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Signals become bytes here, so that the loop sees them beside the events. */
static int signal_pipe[2];

static void on_signal(int number) {
    int before = errno;
    char byte = (char)number;
    ssize_t ignored = write(signal_pipe[1], &byte, 1); /* full: then enough are waiting */
    (void)ignored;
    errno = before;
}

static int catch_signals(const struct options *o) {
    struct sigaction action;
    int i;
    if (pipe(signal_pipe) < 0) return -1;
    for (i = 0; i < 2; i++) {
        if (fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK) < 0 || fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC) < 0) return -1;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    /* Without a certificate it is what a closed terminal sends. */
    if (o->tls && sigaction(SIGHUP, &action, NULL) < 0) return -1;
    return sigaction(SIGINT, &action, NULL) < 0 || sigaction(SIGTERM, &action, NULL) < 0 ? -1 : 0;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static rr_server *make_server(const struct options *o) {
    rr_server *s = NULL;
    rr_server_config c;
    int code;
    RR_INIT(RR_CFG_SERVER, &c);
    c.stream = &o->stream;
    c.max_sessions = o->max_sessions;
    c.max_sessions_ip = o->max_sessions_ip;
    c.mem_limit = o->mem_limit;
    c.max_streams = o->max_streams;
    c.max_message = o->max_message;
    c.log_events = (uint32_t)o->log_level;
    code = rr_server_new(&c, &s);
    if (code < 0) {
        fprintf(stderr, "rr_server: %s\n", rr_last_error());
        return NULL;
    }
    return s;
}

/* Gives the port, or less than 0 with the reason said. */
static int listen_on(rr_server *s, const struct options *o, unsigned wanted, unsigned flags) {
    char addr[256];
    int port;
    const char *host = o->addr ? o->addr : "";
    int bare_v6 = strchr(host, ':') && *host != '[';
    snprintf(addr, sizeof addr, bare_v6 ? "[%s]:%u" : "%s:%u", host, wanted);
    port = rr_server_listen(s, addr, flags);
    if (port < 0) {
        fprintf(stderr, "rr_server: %s\n", rr_last_error()); /* it names the address */
        fprintf(stderr, "           --addr, --port and --tls say where to listen\n");
    }
    return port;
}

/* The same for rtmps; 0 where it is not asked for. */
static int listen_tls(rr_server *s, const struct options *o) {
    if (!o->tls) return 0;
    if (rr_server_set_tls(s, o->cert, o->key) < 0) {
        fprintf(stderr, "rr_server: no rtmps: %s\n", rr_last_error());
        return -1;
    }
    return listen_on(s, o, o->tls_port, RR_LISTEN_TLS);
}

/* SIGHUP: the files may have changed. Who is connected stays; where they are no good the certificate before stays. */
static void reload(rr_server *s, const struct options *o) {
    if (rr_server_set_tls(s, o->cert, o->key) < 0) {
        print_note("SIGHUP, the certificate before stays", rr_last_error());
    } else {
        print_note("SIGHUP", "new connections get what is in --cert and --key now");
    }
}

/* Log lines take a way of their own and may come a little after the last event, ms. */
enum { LAST_LINES_MS = 100 };

/* Takes what waits; 1 when the server has stopped, -1 when it failed. */
static int take_events(rr_server *s, const struct options *o) {
    const rr_event *ev;
    int code, stopped = 0;
    while ((code = rr_event_next(s, &ev, stopped ? LAST_LINES_MS : 0)) == 1) {
        print_event(o, ev);
        push_follow(s, o, ev);
        if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_STOPPED) stopped = 1;
        if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_FAILED) return -1;
    }
    return stopped || code == RR_ERR_CLOSED ? 1 : code < 0 ? -1 : 0;
}

/* Until the server has stopped. Gives the program's exit code. */
static int run(rr_server *s, const struct options *o) {
    struct pollfd polled[2];
    int64_t status_at = now_ms() + 1000;
    int signals = 0, state = 0;
    char byte;
    polled[0].fd = rr_event_fd(s);
    polled[1].fd = signal_pipe[0];
    polled[0].events = polled[1].events = POLLIN;
    while (state == 0) {
        int64_t wait = status_at - now_ms();
        if (poll(polled, 2, wait < 0 ? 0 : (int)wait) < 0 && errno != EINTR) return 1;
        while (read(signal_pipe[0], &byte, 1) == 1) {
            if (byte == SIGHUP) {
                reload(s, o);
                continue;
            }
            if (++signals > 1) return 1; /* at once: main frees the server */
            if (rr_server_stop(s, NULL, o->drain_ms) < 0) return 1;
        }
        state = take_events(s, o);
        if (now_ms() >= status_at) {
            print_status(s);
            status_at = now_ms() + 1000;
        }
    }
    return state == 1 ? 0 : 1;
}

int main(int argc, char **argv) {
    struct options o;
    rr_server *s;
    int code, port, tls_port;
    code = parse_options(&o, argc, argv);
    if (code <= 0) return code < 0 ? 2 : 0;
    if (catch_signals(&o) < 0) {
        perror("rr_server: signals");
        return 1;
    }
    s = make_server(&o);
    if (!s) return 1;
    code = 1;
    port = listen_on(s, &o, o.port, 0);
    tls_port = port < 0 ? -1 : listen_tls(s, &o);
    if (tls_port >= 0) {
        print_start(&o, port, tls_port);
        code = run(s, &o);
    }
    rr_server_free(s);
    return code;
}
