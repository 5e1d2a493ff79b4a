/*
 * The bundled server: an RTMP relay on the public header alone. It shows the whole use of the library: set up a config,
 * listen, take events in one's own loop, add targets, stop in order.
 *
 * In the tree `make build` makes it; where the library is installed:
 *
 *   cc -pthread c-examples/rr_server*.c $(pkg-config --cflags --libs rrelay) -o rr_server
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

/* stdin, stdout or stderr may have been closed before the start. A socket or pipe that got such a number would be printed
   to. */
static int fill_descriptors(void) {
    int fd;
    for (fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return -1;
    }
    return 0;
}

/* Before there is anything to reload, SIGHUP does nothing; and a reader of the output that goes ends no server. */
static int ignore_signals(void) {
    return signal(SIGHUP, SIG_IGN) == SIG_ERR || signal(SIGPIPE, SIG_IGN) == SIG_ERR ? -1 : 0;
}

static int catch_signals(void) {
    struct sigaction action;
    int i;
    if (pipe(signal_pipe) < 0) return -1;
    for (i = 0; i < 2; i++) {
        if (fcntl(signal_pipe[i], F_SETFL, O_NONBLOCK) < 0 || fcntl(signal_pipe[i], F_SETFD, FD_CLOEXEC) < 0) return -1;
    }
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    return sigaction(SIGHUP, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0 ||
                   sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGUSR2, &action, NULL) < 0
               ? -1
               : 0;
}

static int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static rr_server *make_server(const struct options *o) {
    rr_server *s = NULL;
    rr_server_config c;
    RR_INIT(RR_CFG_SERVER, &c);
    c.stream = &o->stream;
    c.max_sessions = o->max_sessions;
    c.max_sessions_ip = o->max_sessions_ip;
    c.mem_limit = o->mem_limit;
    c.max_streams = o->max_streams;
    c.max_message = o->max_message;
    c.threads = o->threads;
    c.isolate = o->isolate;
    c.worker = o->worker;
    c.worker_memory = o->worker_memory;
    c.worker_files = o->worker_files;
    if (o->worker_hung_ms) c.worker_hung_ms = o->worker_hung_ms;
    if (o->worker_orphan_ms) c.worker_orphan_ms = o->worker_orphan_ms;
    c.worker_dir = o->worker_dir;
    if (o->idle_ms) c.idle_ms = o->idle_ms;
    if (rr_server_new(&c, &s) < 0 || rr_server_set_log(s, o->log_level, print_log, NULL) < 0) {
        fprintf(stderr, "rr_server: %s\n", rr_last_error());
        rr_server_free(s);
        return NULL;
    }
    return s;
}

/* Gives the port; less than 0 where it cannot listen, which it has printed. */
static int listen_at(rr_server *s, const char *host, unsigned wanted, unsigned flags) {
    char addr[300];
    int port;
    const char *colon = strchr(host, ':');
    int bare_v6 = *host != '[' && colon && strchr(colon + 1, ':');
    int own_port = *host == '[' ? strstr(host, "]:") != NULL : colon && !bare_v6;
    /* A port in --addr is for rtmp alone: rtmps cannot share it. */
    if (own_port && !(flags & RR_LISTEN_TLS)) {
        snprintf(addr, sizeof addr, "%s", host);
    } else if (own_port) {
        snprintf(addr, sizeof addr, "%.*s:%u", (int)(strrchr(host, ':') - host), host, wanted);
    } else {
        snprintf(addr, sizeof addr, bare_v6 ? "[%s]:%u" : "%s:%u", host, wanted);
    }
    port = rr_server_listen(s, addr, flags);
    if (port < 0) {
        fprintf(stderr, "rr_server: %s\n", rr_last_error()); /* it names the address */
        fprintf(stderr, "           --addr, --port and --tls say where to listen\n");
    }
    return port;
}

/* Serves control by HTTP, where the options say so; 0 where it cannot, which it has printed. A server that has taken over
   waits until the port is free. */
static int serve_rest(rr_server *s, const struct options *o, struct places *at, int waits) {
    int64_t by_ms = now_ms() + 10000;
    struct timespec tick = {0, 20 * 1000 * 1000};
    if (!o->rest) return 1;
    if (rr_rest_token(o->token_file, at->token, sizeof at->token) == RR_OK) {
        do {
            at->rest_port = rr_rest_listen(s, o->rest, at->token, o->rest_flags);
            if (at->rest_port > 0) return 1;
        } while (waits && at->rest_port == RR_ERR_IO && now_ms() < by_ms && (nanosleep(&tick, NULL), 1));
    }
    fprintf(stderr, "rr_server: cannot serve control over HTTP: %s\n", rr_last_error());
    return 0;
}

/* Listens on all addresses, or goes on with the sockets of the running server or of systemd; 0 where one of them fails, which
   it has printed. */
static int listen_on(rr_server *s, const struct options *o, struct places *at) {
    size_t i;
    unsigned flags = o->proxy ? RR_LISTEN_PROXY : 0;
    memset(at, 0, sizeof *at);
    if (o->cert && rr_server_set_tls(s, o->cert, o->key) < 0) {
        fprintf(stderr, "rr_server: the certificate cannot be used: %s\n", rr_last_error());
        return 0;
    }
    if (upgrade_is_successor()) {
        at->inherited = 1;
        /* It has the streams now, so it goes on without control by HTTP rather than end. */
        if (!upgrade_take_over(s)) return 0;
        serve_rest(s, o, at, 1);
        return 1;
    }
    at->inherited = listen_on_inherited(s, o);
    if (at->inherited != 0) return at->inherited > 0 && serve_rest(s, o, at, 0);
    for (i = 0; i == 0 || i < o->addr_count; i++) {
        const char *host = o->addr_count ? o->addrs[i] : "";
        at->ports[i] = listen_at(s, host, o->port, flags);
        at->tls_ports[i] = o->tls && at->ports[i] >= 0 ? listen_at(s, host, o->tls_port, flags | RR_LISTEN_TLS) : 0;
        if (at->ports[i] < 0 || at->tls_ports[i] < 0) return 0;
    }
    at->http_port = o->http ? rr_server_listen(s, o->http, flags | RR_LISTEN_HTTP) : 0;
    at->https_port = o->https && at->http_port >= 0 ? rr_server_listen(s, o->https, flags | RR_LISTEN_HTTP | RR_LISTEN_TLS) : 0;
    if (at->http_port < 0 || at->https_port < 0) {
        fprintf(stderr, "rr_server: cannot serve players over HTTP: %s\n", rr_last_error());
        return 0;
    }
    return serve_rest(s, o, at, 0);
}

/* Gives what rr_hooks_set gives. Where no hook has a URL, there are none. */
static int set_hooks(rr_server *s, const rr_hooks_config *h) {
    int any = hooks_any(h);
    if (!any && !(rr_features() & RR_FEATURE_REST)) return RR_OK;
    return rr_hooks_set(s, any ? h : NULL);
}

/* Gives what rr_controller_set gives. */
static int set_controller(rr_server *s, const struct options *o) {
    if (!o->controller_count && !(rr_features() & RR_FEATURE_REST)) return RR_OK;
    return rr_controller_set(s, o->controller_count ? &o->controller : NULL);
}

/* Gives what rr_server_set_access gives. */
static int set_access(rr_server *s, const struct options *o) {
    return rr_server_set_access(s, (const char *const *)o->access, o->publish_key);
}

static char **arguments;
static int argument_count;

/* SIGHUP: reads the files again. Connections stay, and a file with an error changes nothing. */
static struct options *reload(rr_server *s, struct options *o) {
    char why[WHY_BYTES], names[512];
    struct options *now = options_new(argument_count, arguments, why);
    int others, failed = 0;
    if (!now) {
        why[strcspn(why, "\n")] = '\0';
        print_note(RR_LOG_ERROR, "SIGHUP, all options stay as they were", why);
        return o;
    }
    if (o->cert && now->cert) {
        if (rr_server_set_tls(s, now->cert, now->key) < 0) {
            print_note(RR_LOG_ERROR, "SIGHUP, the certificate stays as it was", rr_last_error());
        } else {
            print_note(RR_LOG_INFO, "SIGHUP", "new connections get the certificate that --cert and --key hold now");
        }
    }
    rr_server_set_log(s, now->log_level, print_log, NULL);
    if (set_access(s, now) < 0) {
        print_note(RR_LOG_ERROR, "SIGHUP, --allow, --deny and --publish-key stay as they were", rr_last_error());
    } else if (now->publish_key) {
        print_note(RR_LOG_INFO, "SIGHUP", "new publishers need a key that --publish-key holds now");
    }
    others = now->secret || now->hooks.ca_file || now->controller_token || now->controller_secret || now->controller.ca_file;
    if (set_hooks(s, &now->hooks) < 0) {
        print_note(RR_LOG_ERROR, "SIGHUP, the hooks stay as they were", rr_last_error());
        failed = 1;
    }
    if (set_controller(s, now) < 0) {
        print_note(RR_LOG_ERROR, "SIGHUP, the controllers stay as they were", rr_last_error());
        failed = 1;
    }
    push_reload(s, o, now);
    options_unchanged(o, now, names, sizeof names);
    if (*names) print_note(RR_LOG_WARN, "SIGHUP, these need a restart", names);
    if (now->config) print_note(RR_LOG_INFO, "SIGHUP, options were read from", now->config);
    if (others && !failed) print_note(RR_LOG_INFO, "SIGHUP", "the files of secrets, tokens and roots were read again");
    if (!now->config && !now->cert && !now->publish_key && !others)
        print_note(RR_LOG_INFO, "SIGHUP", "no option names a file to read again");
    options_free(o);
    return now;
}

/* Takes all waiting events; 1 when the server has stopped, -1 when it failed. */
static int take_events(rr_server *s, const struct options *o) {
    const rr_event *ev;
    int code;
    while ((code = rr_event_next(s, &ev, 0)) == 1) {
        print_event(o, ev);
        push_follow(s, o, ev);
        if (ev->type == RR_EV_UPGRADE) on_signal(SIGUSR2);
        if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_STOPPED) return 1;
        if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_FAILED) return -1;
    }
    return code == RR_ERR_CLOSED ? 1 : code < 0 ? -1 : 0;
}

/* The main loop, until the server has stopped. Gives the program's exit code. */
static int run(rr_server *s, struct options **o) {
    struct pollfd polled[3];
    struct upgrade upgrade = {-1, 0, now_ms};
    int64_t status_at = now_ms() + 1000;
    int signals = 0, state = 0;
    char byte;
    polled[0].fd = rr_event_fd(s);
    polled[1].fd = signal_pipe[0];
    polled[0].events = polled[1].events = polled[2].events = POLLIN;
    while (state == 0) {
        int64_t wait = status_at - now_ms();
        polled[2].fd = upgrade.fd;
        polled[2].revents = 0;
        if (poll(polled, 3, wait < 0 ? 0 : (int)wait) < 0 && errno != EINTR) return 1;
        while (read(signal_pipe[0], &byte, 1) == 1) {
            if (byte == SIGHUP) {
                *o = reload(s, *o);
                continue;
            }
            if (byte == SIGUSR2) {
                if (rr_server_state(s) == RR_STATE_STOPPING) print_note(RR_LOG_WARN, "SIGUSR2", "this server stops already");
                else if (upgrade_begin(&upgrade, arguments)) polled[2].revents = 0;
                continue;
            }
            if (++signals > 1) return 1; /* at once: main frees the server */
            if (rr_server_stop(s, NULL, (*o)->drain_ms) < 0) return 1;
        }
        if (upgrade.fd >= 0) upgrade_go_on(s, &upgrade, *o, polled[2].fd == upgrade.fd && polled[2].revents != 0);
        state = take_events(s, *o);
        if (now_ms() >= status_at) {
            print_status(s);
            status_at = now_ms() + 1000;
        }
    }
    return state == 1 ? 0 : 1;
}

int main(int argc, char **argv) {
    struct options *o;
    rr_server *s;
    struct places at;
    char why[WHY_BYTES];
    int code = 1;
    if (fill_descriptors() < 0 || ignore_signals() < 0) return 1;
    if (options_said(argc, argv)) return 0;
    arguments = argv;
    argument_count = argc;
    o = options_new(argc, argv, why);
    if (!o) {
        fprintf(stderr, "rr_server: %s", why);
        return 2;
    }
    print_begin(o);
    if (catch_signals() < 0 || out_start() < 0) {
        perror("rr_server: signals and threads");
        return 1;
    }
    s = make_server(o);
    if (s && set_access(s, o) < 0) {
        fprintf(stderr, "rr_server: --allow, --deny, --publish-key: %s\n", rr_last_error());
        rr_server_free(s);
        s = NULL;
    }
    if (s && set_hooks(s, &o->hooks) < 0) {
        fprintf(stderr, "rr_server: cannot use the hooks: %s\n", rr_last_error());
        rr_server_free(s);
        s = NULL;
    }
    if (s && set_controller(s, o) < 0) {
        fprintf(stderr, "rr_server: cannot use the controllers: %s\n", rr_last_error());
        rr_server_free(s);
        s = NULL;
    }
    if (s && listen_on(s, o, &at)) {
        print_start(o, &at);
        tell_systemd("READY=1");
        code = run(s, &o);
        tell_systemd("STOPPING=1");
    } else if (s && o->worker_dir) {
        /* The processes of streams that have come already go on, for the next server. Freed, the server would stop them. */
        out_finish();
        _exit(1);
    }
    rr_server_free(s);
    out_finish();
    options_free(o);
    return code;
}
