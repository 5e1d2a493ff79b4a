/* What the parts of the bundled server share: its options, and who prints what. */
#ifndef RR_SERVER_H
#define RR_SERVER_H

#include "rrelay.h"

#define MAX_PUSHES 64

/* One --push: where to, and of which application (NULL: of all). */
struct push {
    const char *app;
    const char *url;
};

/* What the command line says. */
struct options {
    const char *addr; /* NULL: all, IPv4 and IPv6 */
    unsigned port;
    int tls; /* whether rtmps is served too, on tls_port, with these files */
    unsigned tls_port;
    const char *cert, *key;
    struct push pushes[MAX_PUSHES];
    size_t push_count;
    int log_level; /* RR_LOG_* */
    int show_keys; /* whether lines on stdout show stream keys whole */
    unsigned drain_ms; /* what an orderly stop may take until everybody has the last messages */
    unsigned max_sessions, max_sessions_ip, max_streams, max_message; /* 0: the library's default, here and below */
    uint64_t mem_limit;
    rr_stream_config stream;
};

/* rr_server_options.c: 1 go on, 0 all is said (help), -1 wrong (said on stderr). */
int parse_options(struct options *o, int argc, char **argv);

/* rr_server_push.c: follows stream events and adds the configured targets to streams that begin. */
void push_follow(rr_server *s, const struct options *o, const rr_event *ev);

/* rr_server_print.c: all that is said, but for errors at the start. */
void print_start(const struct options *o, int port, int tls_port);
void print_event(const struct options *o, const rr_event *ev);
void print_status(rr_server *s);
void print_note(const char *what, const char *detail);
void print_push_error(const struct push *p, int code);

#endif
