/* What the parts of the bundled server share: its options, and who does what. */
#ifndef RR_SERVER_H
#define RR_SERVER_H

#include "rrelay.h"

#define MAX_ADDRS 16
#define MAX_CONTROLLERS 8

/* One --push: which streams, where to, and under which key. Its strings are its own. */
struct push {
    uintptr_t number;  /* its targets have it as their user pointer; none is used twice */
    char *match;       /* leading parts of the paths of the streams that it is for; NULL: of all */
    char *url;         /* scheme, host and application */
    char *key;         /* with {key} for the stream's own; NULL: that alone */
    char *ca, *pin;    /* --ca and --pin, NULL where they are not given */
    int insecure;
};

/* An option as it was given. */
struct given {
    const struct rule *rule; /* rr_server_rules.h */
    const char *value;       /* NULL where it takes none */
    unsigned line;           /* of the file; 0: of the command line */
    char *joined;            /* the value, where it was two arguments; else NULL */
};

enum form { FORM_PLAIN, FORM_JOURNAL, FORM_JSON };

/* What the command line and the file of --config say. */
struct options {
    const char *config;           /* the file's name, or NULL */
    char *text;                   /* what the file holds; values point into it */
    struct given *given;          /* every option, in order */
    size_t given_count;
    const char *addrs[MAX_ADDRS]; /* empty: all, IPv4 and IPv6 */
    size_t addr_count;
    unsigned port;
    int tls;                      /* whether rtmps is served too, on tls_port, with these files */
    unsigned tls_port;
    const char *cert, *key;
    const char *http, *https;     /* where players over HTTP are served, plain and encrypted; NULL: nowhere */
    const char *rest;             /* where control by HTTP is served, NULL: nowhere */
    const char *token_file;       /* what holds its token; NULL: a new one at each start */
    uint32_t rest_flags;          /* RR_REST_* */
    rr_hooks_config hooks;        /* who is asked and told by HTTP: those with an address */
    char *secret;                 /* what the file of --hooks-secret holds, or NULL */
    rr_controller_config controller; /* who is asked where streams go, where it has urls */
    const char *controllers[MAX_CONTROLLERS + 1];
    size_t controller_count;
    char *controller_token, *controller_secret; /* what these files hold, or NULL */
    char **access;                /* who may publish and play, as rr_server_set_access takes it; NULL: everybody */
    size_t access_count;
    const char *publish_key;      /* the file of the keys that may publish, NULL: any may */
    int proxy;                    /* whether connections begin with a PROXY header */
    struct push **pushes;
    size_t push_count;
    struct push every;            /* ca, pin and insecure of every push that has none of its own */
    int log_level;                /* RR_LOG_* of the library's lines */
    int form;                     /* FORM_* of all lines */
    int show_keys;                /* whether lines show stream keys whole */
    unsigned upgrade_drain_ms;    /* what connections may take to leave that a new server cannot take over */
    unsigned drain_ms;            /* what an orderly stop may take until everybody has the last messages */
    unsigned max_sessions, max_sessions_ip, max_streams, max_message; /* 0: the library's default, here and below */
    unsigned idle_ms;
    unsigned threads;             /* that all streams share; RR_OFF: two for each stream */
    unsigned isolate;             /* RR_ISOLATE_* */
    const char *worker;           /* the program of a stream's process; NULL: the library's own */
    uint64_t worker_memory;       /* of each such process, as the two below */
    unsigned worker_files, worker_hung_ms, worker_orphan_ms;
    const char *worker_dir;       /* where they wait for another server when this one is killed; NULL: they end */
    uint64_t mem_limit;
    rr_stream_config stream;
};

/* Where the server listens. */
struct places {
    int ports[MAX_ADDRS], tls_ports[MAX_ADDRS]; /* of each address; one of all addresses where none is given */
    int http_port, https_port, rest_port;
    int inherited;                              /* the sockets are another server's or systemd's, and the ports are not known */
    char token[RR_TOKEN_BYTES];
};

/* rr_server_options.c. options_new gives NULL where something is wrong, and in `why` what; `why` may have more lines, with
   what --help says of the option. */
enum { WHY_BYTES = 2048 };
struct options *options_new(int argc, char **argv, char why[WHY_BYTES]);
void options_free(struct options *o);
/* Whether somebody is asked or told: a hook has an address. */
int hooks_any(const rr_hooks_config *h);
/* Prints --help or --version where one is given, and gives 1. */
int options_said(int argc, char **argv);
/* The names of the changed options that need a restart: "--port, --gop". */
void options_unchanged(const struct options *before, const struct options *now, char *names, size_t size);

/* rr_server_values.c: readers of values. Each gives what is wrong, or NULL. */
const char *read_number(const char *text, long low, long high, long *out);
const char *read_bytes(const char *text, uint64_t *out);
const char *read_gop(const char *text, rr_stream_config *c);
const char *read_word(const char *text, const char *const words[], int *out);
const char *read_address(const char *text);
const char *read_pin(const char *text);
const char *read_file_name(const char *text);
const char *read_push(const char *text, struct push *out);
char *copy_of(const char *text, size_t len);
/* A file's text, to be freed; NULL with errno where it cannot be read, is too large or has a NUL in it. */
char *read_file(const char *name);

/* rr_server_push.c: adds the targets of a stream that begins, and makes those of running streams others. */
void push_follow(rr_server *s, const struct options *o, const rr_event *ev);
void push_reload(rr_server *s, const struct options *before, struct options *now);
void push_free(struct push *p);

/* rr_server_upgrade.c. An upgrade that has begun: the other end of `fd` is the new server's; -1: none has. */
struct upgrade {
    int fd;
    int64_t by_ms;
    int64_t (*now_ms)(void);
};
/* Starts the program again; 0 where it cannot, which it has printed. */
int upgrade_begin(struct upgrade *u, char **argv);
/* Hands over to the new server as soon as that is ready; 1 where it has taken over, 0 where all goes on here. */
int upgrade_go_on(rr_server *s, struct upgrade *u, const struct options *o, int ready);
/* Whether another server has started this one and waits for it to take over. */
int upgrade_is_successor(void);
/* Takes over from it; 0 where it cannot, which it has printed. */
int upgrade_take_over(rr_server *s);
/* Tells systemd a state, where that wants to know: "READY=1". */
void tell_systemd(const char *state);
/* Listens on the sockets of systemd's socket units. Gives how many there are; -1 where one cannot be used, which it has
   printed. */
int listen_on_inherited(rr_server *s, const struct options *o);

/* rr_server_out.c: whole lines to stdout and stderr, from any thread. None of these waits for who reads them. */
enum { TO_STDOUT, TO_STDERR };
int out_start(void);
void out_line(int to, const char *text, size_t len);
/* The line that stands below all others, where stdout is a terminal. */
int out_has_status(void);
void out_status(const char *text);
/* Waits until all is written, or nobody reads on. */
void out_finish(void);

/* rr_server_print.c: what the lines say. */
void print_begin(const struct options *o);
void print_start(const struct options *o, const struct places *at);
void print_event(const struct options *o, const rr_event *ev);
void print_note(int level, const char *what, const char *detail);
void print_push_error(const struct push *p, int code);
void print_status(rr_server *s);
/* An rr_log_fn: the library's lines. */
void print_log(void *user, int level, const char *module, const char *line);

#endif
