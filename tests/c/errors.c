/* Every error that a function of the header lists, provoked: each case prints the function and the error it gave, and
   the caller compares that with the header's lists. Errors that hold for every function (NULL) are null_sweep's. */
#define _GNU_SOURCE
#include "check.h"
#include "peer.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GIVES(function, error, arguments)       \
    do {                                        \
        int code = function arguments;          \
        CHECK(code == RR_ERR_##error);          \
        puts(#function " RR_ERR_" #error);      \
    } while (0)

#define NO_TEXT "\xff" /* no UTF-8 */

static char long_name[5000];
static const unsigned char picture[] = {0x17, 1, 0, 0, 0};

static void rest(void) {
    struct timespec tick = {0, 2 * 1000 * 1000};
    nanosleep(&tick, NULL);
}

static rr_server *server(const rr_server_config *c) {
    rr_server *s = NULL;
    CHECK(rr_server_new(c, &s) == RR_OK);
    return s;
}

static rr_stream stream(rr_server *s, const char *key) {
    rr_stream id = 0;
    CHECK(rr_stream_create(s, "live", key, NULL, &id) == RR_OK);
    return id;
}

static rr_target_config target(const char *url) {
    rr_target_config c;
    CHECK(RR_INIT(RR_CFG_TARGET, &c) == RR_OK);
    c.url = url;
    return c;
}

static rr_frame frame(void) {
    rr_frame f;
    CHECK(RR_INIT(RR_CFG_FRAME, &f) == RR_OK);
    f.type = RR_MSG_VIDEO;
    f.data = picture;
    f.len = sizeof picture;
    return f;
}

/* ---- the groups of the header */

static void base(void) {
    rr_frame f = frame();
    struct {
        rr_frame known;
        uint64_t later;
    } newer;
    GIVES(rr_config_init, ARG, (99, &f, sizeof f));
    f.size = 1;
    GIVES(rr_frame_parse, ARG, (RR_MSG_VIDEO, picture, sizeof picture, &f));
    CHECK(rr_config_init(RR_CFG_FRAME, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    GIVES(rr_frame_parse, VERSION, (RR_MSG_VIDEO, picture, sizeof picture, &newer.known));
}

static void workers(void) {
    char *none[] = {"program", NULL}, *orphan[] = {"program", "--rrelay-worker", "1", "9", NULL};
    GIVES(rr_worker_main, ARG, (1, none));
    GIVES(rr_worker_main, STATE, (4, orphan));
}

static void without_descriptors(void) {
    struct rlimit before, none;
    rr_server *s = server(NULL), *out;
    rr_stream id = stream(s, "show");
    rr_target_config t = target("rtmp://127.0.0.1:1/live");
    rr_target target_id;
    rr_frame f = frame();
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none = before;
    none.rlim_cur = 0;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    GIVES(rr_server_new, LIMIT, (NULL, &out));
    GIVES(rr_server_listen, IO, (s, "127.0.0.1:0", 0));
    GIVES(rr_stream_add_target, LIMIT, (s, id, &t, &target_id));
    GIVES(rr_stream_write, LIMIT, (s, id, &f));
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    rr_server_free(s);
}

static void without_memory(void) {
    struct rlimit before, none;
    rr_server *s = server(NULL);
    rr_stream id = stream(s, "show");
    rr_target_config t = target("rtmp://127.0.0.1:1/live");
    rr_target target_id;
    rr_frame f = frame();
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    none = before;
    none.rlim_cur = 4096;
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    GIVES(rr_stream_add_target, NOMEM, (s, id, &t, &target_id));
    GIVES(rr_stream_write, NOMEM, (s, id, &f));
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    rr_server_free(s);
}

/* A descriptor of the process's own, which the library closes. */
static int file(void) {
    return open("/dev/null", O_RDONLY);
}

static volatile int in_sink;
static volatile int let_go;

static void slow_sink(void *user, int level, const char *module, const char *line) {
    const rr_event *ev;
    (void)level, (void)module, (void)line;
    if (in_sink) return;
    GIVES(rr_event_next, THREAD, ((rr_server *)user, &ev, 100));
    GIVES(rr_server_handover, THREAD, ((rr_server *)user, file(), 100, 0));
    GIVES(rr_server_takeover, THREAD, ((rr_server *)user, file(), 100));
    in_sink = 1;
    while (!let_go) rest();
}

static void nothing(void *user, const rr_event *ev) {
    (void)user, (void)ev;
}

static void log_and_events(void) {
    rr_server_config c;
    rr_server *s = server(NULL), *by_callback;
    const rr_event *ev;
    GIVES(rr_server_set_log, ARG, (s, 99, NULL, NULL));
    GIVES(rr_server_log_librtmp, ARG, (s, 2));
    CHECK(rr_server_set_log(s, RR_LOG_DEBUG, slow_sink, s) == RR_OK);
    CHECK(rr_server_listen(s, "127.0.0.1:0", 0) > 0);
    while (!in_sink) rest();
    GIVES(rr_server_set_log, TIMEOUT, (s, RR_LOG_OFF, NULL, NULL));
    let_go = 1;
    CHECK(rr_server_stop(s, NULL, 0) == RR_OK);
    do CHECK(rr_event_next(s, &ev, -1) == 1);
    while (ev->type != RR_EV_SERVER || ev->state != RR_STATE_STOPPED);
    GIVES(rr_event_next, CLOSED, (s, &ev, -1));
    rr_server_free(s);

    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.on_event = nothing;
    by_callback = server(&c);
    GIVES(rr_event_fd, STATE, (by_callback));
    GIVES(rr_event_next, STATE, (by_callback, &ev, 0));
    rr_server_free(by_callback);
}

static int pair(int *kept) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    *kept = fds[0];
    return fds[1];
}

/* The other end of a hand-over: it says this and nothing more. */
static int saying(int *kept, const char *said, size_t len) {
    int fd = pair(kept);
    CHECK(write(*kept, said, len) == (ssize_t)len);
    return fd;
}

/* One that has ended. */
static int ended(void) {
    int kept, fd = pair(&kept);
    close(kept);
    return fd;
}

struct handing {
    rr_server *s;
    int fd, code;
};

static void *hand_over(void *handing) {
    struct handing *h = (struct handing *)handing;
    h->code = rr_server_handover(h->s, h->fd, 30000, 0);
    return NULL;
}

static void begin_handing(struct handing *h, pthread_t *thread, int *other) {
    *other = pair(&h->fd);
    CHECK(pthread_create(thread, NULL, hand_over, h) == 0);
}

static void upgrading(void) {
    /* A head (kind, length) and a body: an END, a greeting that reads nothing, one of a later version. */
    static const char end[] = "\2\0\0\0\0\0\0\0", bare[] = "\1\0\0\0\0\0\0\7RRup\1\x81\x80";
    static const char later[] = "\1\0\0\0\0\0\0\7RRup\2\x81\x80";
    rr_server_config c;
    rr_server *s = server(NULL), *there;
    struct handing handing = {s, -1, 0};
    pthread_t thread;
    int kept, other;
    GIVES(rr_server_handover, ARG, (s, file(), 100, 0));
    GIVES(rr_server_takeover, ARG, (s, file(), 100));
    GIVES(rr_server_handover, CLOSED, (s, ended(), 30000, 0));
    GIVES(rr_server_takeover, CLOSED, (s, ended(), 30000));
    GIVES(rr_server_handover, TIMEOUT, (s, pair(&kept), 20, 0));
    close(kept);
    GIVES(rr_server_takeover, TIMEOUT, (s, pair(&kept), 20));
    close(kept);
    GIVES(rr_server_handover, PROTOCOL, (s, saying(&kept, end, 8), 30000, 0));
    close(kept);
    GIVES(rr_server_takeover, PROTOCOL, (s, saying(&kept, end, 8), 30000));
    close(kept);
    GIVES(rr_server_handover, VERSION, (s, saying(&kept, bare, 15), 30000, 0));
    close(kept);
    GIVES(rr_server_takeover, VERSION, (s, saying(&kept, later, 15), 30000));
    close(kept);

    stream(s, "show");
    stream(s, "other");
    there = server(NULL);
    stream(there, "show");
    begin_handing(&handing, &thread, &other);
    GIVES(rr_server_takeover, EXISTS, (there, other, 30000));
    CHECK(pthread_join(thread, NULL) == 0 && handing.code == RR_ERR_EXISTS);
    rr_server_free(there);

    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.max_streams = 1;
    there = server(&c);
    begin_handing(&handing, &thread, &other);
    GIVES(rr_server_takeover, LIMIT, (there, other, 30000));
    CHECK(pthread_join(thread, NULL) == 0 && handing.code == RR_ERR_LIMIT);
    rr_server_free(there);

    there = server(NULL);
    begin_handing(&handing, &thread, &other);
    CHECK(rr_server_takeover(there, other, 30000) == RR_OK);
    CHECK(pthread_join(thread, NULL) == 0 && handing.code == RR_OK);
    CHECK(rr_server_list(there, 0, RR_KIND_STREAM, NULL, 0) == 2);
    GIVES(rr_server_handover, STATE, (s, pair(&kept), 100, 0));
    close(kept);
    GIVES(rr_server_takeover, STATE, (s, pair(&kept), 100));
    close(kept);
    rr_server_free(s);
    rr_server_free(there);
}

static void listening(void) {
    rr_server_config c;
    struct {
        rr_server_config known;
        uint64_t later;
    } newer;
    rr_server *s, *out;
    rr_id id;
    static const char *const rules[] = {"allow nobody", NULL};
    int port, kept[3], listener;
    char again[32];
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.ask = 64;
    GIVES(rr_server_new, ARG, (&c, &out));
    CHECK(rr_config_init(RR_CFG_SERVER, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    GIVES(rr_server_new, VERSION, (&newer.known, &out));

    c.ask = 0;
    c.isolate = RR_ISOLATE_PROCESS;
    c.worker_dir = "/dev/null";
    GIVES(rr_server_new, IO, (&c, &out));
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);

    c.max_sessions = 1;
    s = server(&c);
    GIVES(rr_server_listen, ARG, (s, "nowhere", 0));
    GIVES(rr_server_listen, RESOLVE, (s, "no.such.name.invalid:0", 0));
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    CHECK(port > 0);
    sprintf(again, "127.0.0.1:%d", port);
    GIVES(rr_server_listen, IO, (s, again, 0));
    GIVES(rr_server_listen, STATE, (s, "127.0.0.1:0", RR_LISTEN_TLS));
    GIVES(rr_server_listen_fd, ARG, (s, file(), 0));
    GIVES(rr_server_listen_fd, STATE, (s, file(), RR_LISTEN_TLS));
    GIVES(rr_server_accept_fd, ARG, (s, file(), NULL, 0));
    GIVES(rr_server_accept_fd, ARG, (s, pair(&kept[0]), NO_TEXT, 0));
    GIVES(rr_server_accept_fd, STATE, (s, file(), NULL, RR_LISTEN_TLS));
    CHECK(rr_server_accept_fd(s, pair(&kept[1]), NULL, 0) == RR_OK);
    while (rr_server_list(s, 0, RR_KIND_SESSION, NULL, 0) != 1) rest();
    GIVES(rr_server_accept_fd, LIMIT, (s, pair(&kept[2]), NULL, 0));
    GIVES(rr_server_set_tls, ARG, (s, NO_TEXT, "key.pem"));
    GIVES(rr_server_set_tls, CERT, (s, "/no/such/file.pem", "/no/such/file.pem"));
    GIVES(rr_server_set_access, ARG, (s, rules, NULL));
    GIVES(rr_server_set_access, IO, (s, NULL, "/no/such/file.keys"));
    GIVES(rr_server_list, ARG, (s, 0, RR_KIND_SERVER, NULL, 0));
    GIVES(rr_server_list, NOT_FOUND, (s, 1, RR_KIND_SESSION, NULL, 0));
    GIVES(rr_server_stop, ARG, (s, NO_TEXT, 0));
    CHECK(rr_server_stop(s, NULL, 0) == RR_OK);
    GIVES(rr_server_listen, STATE, (s, "127.0.0.1:0", 0));
    listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listen(listener, 1) == 0);
    GIVES(rr_server_listen_fd, STATE, (s, listener, 0));
    GIVES(rr_server_accept_fd, STATE, (s, file(), NULL, 0));
    GIVES(rr_stream_create, STATE, (s, "live", "late", NULL, &id));
    rr_server_free(s);
    close(kept[0]), close(kept[1]), close(kept[2]);
}

static void sessions(void) {
    rr_server_config c;
    struct {
        rr_decision known;
        uint64_t later;
    } newer;
    rr_decision d;
    rr_server *s;
    rr_session id;
    int port, fd;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.ask = RR_ASK_CONNECT;
    c.ask_ms = RR_OFF;
    s = server(&c);
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    CHECK(port > 0);
    fd = peer(port);
    id = next_ask(s, RR_EV_CONNECT_ASK);

    CHECK(RR_INIT(RR_CFG_DECISION, &d) == RR_OK);
    d.media = 64;
    GIVES(rr_session_allow, ARG, (s, id, &d));
    CHECK(rr_config_init(RR_CFG_DECISION, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    GIVES(rr_session_allow, VERSION, (s, id, &newer.known));
    GIVES(rr_session_deny, ARG, (s, id, NO_TEXT, NULL));
    GIVES(rr_session_redirect, ARG, (s, id, NO_TEXT));
    GIVES(rr_session_reconnect, ARG, (s, id, NULL, NO_TEXT));
    GIVES(rr_session_reconnect, UNSUPPORTED, (s, id, NULL, NULL));
    GIVES(rr_session_close, ARG, (s, id, NO_TEXT, 0));
    GIVES(rr_session_close, ARG, (s, id, NULL, 86400001));
    GIVES(rr_session_close, STATE, (s, id, NULL, 1000));
    CHECK(rr_session_allow(s, id, NULL) == RR_OK);
    for (;;) {
        rr_info info;
        CHECK(rr_info_get(s, id, &info, sizeof info) == RR_OK);
        if (info.state != RR_STATE_WAITING) break;
        rest();
    }
    GIVES(rr_session_allow, STATE, (s, id, NULL));
    GIVES(rr_session_deny, STATE, (s, id, NULL, NULL));
    GIVES(rr_session_redirect, STATE, (s, id, "rtmp://127.0.0.1/live"));
    CHECK(rr_session_close(s, id, NULL, 0) == RR_OK);
    while (rr_server_list(s, 0, RR_KIND_SESSION, NULL, 0) != 0) rest();
    GIVES(rr_session_allow, NOT_FOUND, (s, id, NULL));
    GIVES(rr_session_deny, NOT_FOUND, (s, id, NULL, NULL));
    GIVES(rr_session_redirect, NOT_FOUND, (s, id, "rtmp://127.0.0.1/live"));
    GIVES(rr_session_reconnect, NOT_FOUND, (s, id, NULL, NULL));
    GIVES(rr_session_close, NOT_FOUND, (s, id, NULL, 1000));
    close(fd);
    rr_server_free(s);
}

static void moving(void) {
    static const char *const nobody[] = {"deny publish all", NULL};
    static const char request[] = "GET /live/show.flv HTTP/1.1\r\nHost: a\r\n\r\n";
    static unsigned char blob[4096];
    rr_server_config c;
    rr_server *s, *small;
    rr_session id;
    size_t len = 0, need;
    int port, http, fd, over_http, kept[7], out;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.ask = RR_ASK_PUBLISH | RR_ASK_PLAY;
    c.ask_ms = RR_OFF;
    s = server(&c);
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    http = rr_server_listen(s, "127.0.0.1:0", RR_LISTEN_HTTP);
    CHECK(port > 0 && http > 0);
    over_http = dial(http);
    CHECK(write(over_http, request, sizeof request - 1) == sizeof request - 1);
    id = next_ask(s, RR_EV_PLAY_ASK);
    len = sizeof blob;
    GIVES(rr_session_export, UNSUPPORTED, (s, id, &out, blob, &len));
    CHECK(out == -1 && len == sizeof blob);
    CHECK(rr_session_deny(s, id, NULL, NULL) == RR_OK);

    fd = peer(port);
    publish(fd, "show");
    id = next_ask(s, RR_EV_PUBLISH_ASK);
    len = 0;
    GIVES(rr_session_export, LIMIT, (s, id, &out, NULL, &len));
    CHECK(out == -1 && len > 0 && len <= sizeof blob);
    need = len--;
    CHECK(rr_session_deny(s, id, NULL, NULL) == RR_OK);
    GIVES(rr_session_export, STATE, (s, id, &out, blob, &need));
    CHECK(rr_session_close(s, id, NULL, 0) == RR_OK);
    while (rr_server_list(s, 0, RR_KIND_SESSION, NULL, 0) != 1) rest();
    GIVES(rr_session_export, NOT_FOUND, (s, id, &out, blob, &need));
    close(fd);

    fd = peer(port);
    publish(fd, "other");
    id = next_ask(s, RR_EV_PUBLISH_ASK);
    len = sizeof blob;
    CHECK(rr_session_export(s, id, &out, blob, &len) == RR_OK && out >= 0 && len < sizeof blob);
    GIVES(rr_session_import, ARG, (s, file(), blob, len));
    GIVES(rr_session_import, ARG, (s, pair(&kept[0]), blob, len - 1));
    blob[4]++;
    GIVES(rr_session_import, VERSION, (s, pair(&kept[1]), blob, len));
    blob[4]--;
    c.max_sessions = 1;
    small = server(&c);
    CHECK(rr_session_import(small, pair(&kept[2]), blob, len) == RR_OK);
    GIVES(rr_session_import, LIMIT, (small, pair(&kept[3]), blob, len));
    CHECK(rr_server_stop(small, NULL, 0) == RR_OK);
    GIVES(rr_session_import, STATE, (small, pair(&kept[4]), blob, len));
    rr_server_free(small);
    CHECK(rr_session_import(s, out, blob, len) == RR_OK);
    id = next_ask(s, RR_EV_PUBLISH_ASK);
    CHECK(rr_session_allow(s, id, NULL) == RR_OK);
    /* Between its question and its publishing it cannot go. */
    do len = sizeof blob;
    while (rr_session_export(s, id, &out, blob, &len) == RR_ERR_STATE);
    CHECK(out >= 0 && rr_session_import(s, out, blob, len) == RR_OK);
    GIVES(rr_session_import, EXISTS, (s, pair(&kept[5]), blob, len));
    CHECK(rr_server_set_access(s, nobody, NULL) == RR_OK);
    GIVES(rr_session_import, REJECTED, (s, pair(&kept[6]), blob, len));
    for (len = 0; len < 7; len++) close(kept[len]);
    close(fd);
    close(over_http);
    rr_server_free(s);
}

static void streams(void) {
    enum { SMALLEST = 1 << 20, MOST = 4096 };
    static unsigned char large[SMALLEST], blob[64 * 1024];
    rr_server_config c;
    rr_stream_config sc;
    struct {
        rr_stream_config known;
        uint64_t later;
    } newer;
    struct {
        rr_frame known;
        uint64_t later;
    } newer_frame;
    rr_server *s, *small;
    size_t len = 0;
    rr_stream id, published, third;
    rr_frame f = frame();
    rr_session session;
    int port, fd;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.max_streams = 2;
    c.max_message = MOST;
    c.ask = RR_ASK_PUBLISH;
    s = server(&c);
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    CHECK(port > 0);
    id = stream(s, "show");
    published = stream(s, "published");
    CHECK(RR_INIT(RR_CFG_STREAM, &sc) == RR_OK);
    GIVES(rr_stream_create, EXISTS, (s, "live", "show", &sc, &third));
    GIVES(rr_stream_create, LIMIT, (s, "live", "third", NULL, &third));
    GIVES(rr_stream_create, ARG, (s, "live", long_name, NULL, &third));
    sc.start = 99;
    GIVES(rr_stream_create, ARG, (s, "live", "third", &sc, &third));
    CHECK(rr_config_init(RR_CFG_STREAM, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    GIVES(rr_stream_create, VERSION, (s, "live", "third", &newer.known, &third));
    GIVES(rr_stream_find, ARG, (s, "live", long_name, &third));
    GIVES(rr_stream_find, NOT_FOUND, (s, "live", "third", &third));

    fd = peer(port);
    publish(fd, "published");
    session = next_ask(s, RR_EV_PUBLISH_ASK);
    CHECK(rr_session_allow(s, session, NULL) == RR_OK);
    while (rr_server_list(s, published, RR_KIND_SESSION, NULL, 0) != 1) rest();
    GIVES(rr_stream_write, EXISTS, (s, published, &f));
    GIVES(rr_stream_switch, NOT_FOUND, (s, id, session));
    CHECK(rr_stream_write(s, id, &f) == RR_OK);
    f.type = 1;
    GIVES(rr_stream_write, ARG, (s, id, &f));
    CHECK(rr_config_init(RR_CFG_FRAME, &newer_frame, sizeof newer_frame) == RR_OK);
    newer_frame.later = 1;
    GIVES(rr_stream_write, VERSION, (s, id, &newer_frame.known));
    GIVES(rr_stream_stop, NOT_FOUND, (s, 0x0200000100000001u, 0));
    GIVES(rr_stream_write, NOT_FOUND, (s, 0x0200000100000001u, &f));

    GIVES(rr_stream_export, LIMIT, (s, id, 1000, NULL, &len));
    CHECK(len > 0 && len <= sizeof blob);
    len = sizeof blob;
    GIVES(rr_stream_export, ARG, (s, id, 0, blob, &len));
    GIVES(rr_stream_export, NOT_FOUND, (s, 0x0200000100000001u, 1000, blob, &len));
    CHECK(rr_stream_export(s, id, 1000, blob, &len) == RR_OK);
    GIVES(rr_stream_import, EXISTS, (s, blob, len, NULL));
    GIVES(rr_stream_import, ARG, (s, blob, len - 1, NULL));
    blob[4]++;
    GIVES(rr_stream_import, VERSION, (s, blob, len, NULL));
    blob[4]--;
    c.max_streams = 1;
    small = server(&c);
    CHECK(stream(small, "other") != 0);
    GIVES(rr_stream_import, LIMIT, (small, blob, len, NULL));
    CHECK(rr_server_stop(small, NULL, 0) == RR_OK);
    GIVES(rr_stream_import, STATE, (small, blob, len, NULL));
    rr_server_free(small);
    close(fd);
    rr_server_free(s);

    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.mem_limit = SMALLEST;
    s = server(&c);
    id = stream(s, "show");
    f = frame();
    f.data = large;
    f.len = sizeof large;
    memcpy(large, picture, sizeof picture);
    GIVES(rr_stream_write, LIMIT, (s, id, &f));
    rr_server_free(s);
}

/* While a publisher stands by behind the host, the host's stream cannot be switched; and a stream that ends takes
   nothing more: here a player that takes nothing keeps the stream from ending. */
static void host_and_end(void) {
    rr_server_config c;
    rr_stream_config sc;
    rr_server *s;
    rr_stream id;
    rr_session session;
    rr_frame f = frame();
    rr_target_config t = target("rtmp://127.0.0.1:1/live");
    rr_target target_id;
    rr_info info;
    static unsigned char filling[1 << 20];
    size_t len = 0;
    int port, fd, player, i;
    CHECK(RR_INIT(RR_CFG_STREAM, &sc) == RR_OK);
    sc.publisher_policy = RR_PUBLISHER_STANDBY;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.stream = &sc;
    c.ask = RR_ASK_PUBLISH;
    s = server(&c);
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    CHECK(port > 0);
    id = stream(s, "show");
    CHECK(rr_stream_write(s, id, &f) == RR_OK);
    fd = peer(port);
    publish(fd, "show");
    session = next_ask(s, RR_EV_PUBLISH_ASK);
    CHECK(rr_session_allow(s, session, NULL) == RR_OK);
    do {
        rest();
        CHECK(rr_info_get(s, session, &info, sizeof info) == RR_OK);
    } while (info.role != RR_ROLE_STANDBY);
    GIVES(rr_stream_switch, STATE, (s, id, session));

    player = peer(port);
    play(player, "show");
    while (rr_server_list(s, id, RR_KIND_SESSION, NULL, 0) != 2) rest();
    memcpy(filling, picture, sizeof picture);
    f.data = filling;
    f.len = sizeof filling;
    for (i = 0; i < 8; i++) {
        f.ts_ms = i;
        CHECK(rr_stream_write(s, id, &f) == RR_OK);
    }
    CHECK(rr_stream_stop(s, id, 60000) == RR_OK);
    GIVES(rr_stream_add_target, STATE, (s, id, &t, &target_id));
    GIVES(rr_stream_add_source, STATE, (s, id, &t, &target_id));
    GIVES(rr_stream_export, STATE, (s, id, 1000, NULL, &len));
    f.len = 0;
    f.flags = RR_FRAME_END;
    (void)rr_stream_write(s, id, &f);
    f = frame();
    GIVES(rr_stream_write, STATE, (s, id, &f));
    close(fd);
    close(player);
    rr_server_free(s);
}

static void targets(void) {
    struct {
        rr_target_config known;
        uint64_t later;
    } newer;
    rr_server *s = server(NULL);
    rr_stream id = stream(s, "show");
    rr_target_config plain = target("rtmp://127.0.0.1:1/live"), wrong = target("http://127.0.0.1/live");
    rr_target_config secret = target("rtmps://127.0.0.1:1/live"), slow = plain;
    rr_target out, source;
    enum { TOO_LARGE = 256 << 20 };
    unsigned char state[4096], *large = calloc(1, TOO_LARGE);
    size_t len = 0;
    int fd;
    CHECK(large != NULL);
    secret.ca_file = "/no/such/file.pem";
    slow.queue_ms = 500;
    CHECK(rr_config_init(RR_CFG_TARGET, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    CHECK(rr_stream_add_target(s, id, &plain, &out) == RR_OK);
    CHECK(rr_stream_add_source(s, id, &plain, &source) == RR_OK);
    CHECK(rr_target_find(s, id, plain.url, NULL, &out) == RR_OK && out != source);
    GIVES(rr_target_find, NOT_FOUND, (s, id, plain.url, "other", &out));
    GIVES(rr_target_find, ARG, (s, id, NULL, NULL, &out));
    GIVES(rr_stream_add_target, ARG, (s, id, &wrong, &out));
    GIVES(rr_stream_add_source, ARG, (s, id, &wrong, &out));
    GIVES(rr_target_update, ARG, (s, source, &wrong));
    GIVES(rr_stream_add_target, CERT, (s, id, &secret, &out));
    GIVES(rr_stream_add_source, CERT, (s, id, &secret, &out));
    GIVES(rr_target_update, CERT, (s, source, &secret));
    GIVES(rr_stream_add_target, VERSION, (s, id, &newer.known, &out));
    GIVES(rr_stream_add_source, VERSION, (s, id, &newer.known, &out));
    GIVES(rr_target_update, VERSION, (s, source, &newer.known));
    GIVES(rr_stream_add_source, UNSUPPORTED, (s, id, &slow, &out));
    GIVES(rr_target_update, UNSUPPORTED, (s, source, &slow));
    GIVES(rr_stream_add_target, NOT_FOUND, (s, source, &plain, &out));
    GIVES(rr_stream_add_source, NOT_FOUND, (s, source, &plain, &out));
    GIVES(rr_target_update, NOT_FOUND, (s, id, &plain));
    GIVES(rr_target_retry, NOT_FOUND, (s, id));
    GIVES(rr_target_stop, NOT_FOUND, (s, id, 0));

    GIVES(rr_target_export, LIMIT, (s, out, &fd, NULL, &len));
    CHECK(len > 0 && len <= sizeof state);
    CHECK(rr_target_export(s, out, &fd, state, &len) == RR_OK && fd == -1);
    GIVES(rr_target_export, NOT_FOUND, (s, out, &fd, state, &len));
    CHECK(rr_target_import(s, -1, state, len, &out) == RR_OK && out != 0);
    GIVES(rr_target_import, ARG, (s, -1, state, len - 1, &out));
    GIVES(rr_target_import, LIMIT, (s, -1, large, TOO_LARGE, &out));
    state[4]++;
    GIVES(rr_target_import, VERSION, (s, -1, state, len, &out));
    state[4]--;
    CHECK(rr_stream_stop(s, id, 0) == RR_OK);
    while (rr_stream_find(s, "live", "show", &id) == RR_OK) rest();
    GIVES(rr_target_import, NOT_FOUND, (s, -1, state, len, &out));
    CHECK(rr_server_stop(s, NULL, 0) == RR_OK);
    GIVES(rr_target_import, STATE, (s, -1, state, len, &out));
    free(large);
    rr_server_free(s);
}

static pthread_key_t last_words;

static void ends(void *s) {
    rr_info info;
    GIVES(rr_info_get, THREAD, ((rr_server *)s, 0, &info, sizeof info));
}

static void *thread(void *s) {
    rr_info info;
    CHECK(rr_info_get((rr_server *)s, 0, &info, sizeof info) == RR_OK);
    CHECK(pthread_setspecific(last_words, s) == 0);
    return NULL;
}

static void any_id(void) {
    rr_server *s = server(NULL);
    rr_info info;
    rr_stats stats;
    pthread_t other;
    GIVES(rr_info_get, NOT_FOUND, (s, 1, &info, sizeof info));
    GIVES(rr_info_get, ARG, (s, 0, &info, 1));
    GIVES(rr_stats_get, NOT_FOUND, (s, 1, &stats, sizeof stats));
    GIVES(rr_stats_get, ARG, (s, 0, &stats, 1));
    GIVES(rr_server_stats, ARG, (s, &stats, 1));
    CHECK(pthread_key_create(&last_words, ends) == 0);
    CHECK(pthread_create(&other, NULL, thread, s) == 0);
    CHECK(pthread_join(other, NULL) == 0);
    rr_server_free(s);
}

static void control(void) {
    rr_server *s = server(NULL);
    static const char body[256 * 1024 + 1];
    char *out;
    size_t len;
    char token[RR_TOKEN_BYTES];
    struct {
        rr_hooks_config known;
        uint64_t later;
    } newer;
    struct {
        rr_controller_config known;
        uint64_t later;
    } newer_controller;
    rr_controller_config controller;
    const char *urls[] = {"https://127.0.0.1:9/", NULL};
    rr_hooks_config hooks;
    rr_stream id;
    CHECK(RR_INIT(RR_CFG_CONTROLLER, &controller) == RR_OK);
    CHECK(rr_config_init(RR_CFG_CONTROLLER, &newer_controller, sizeof newer_controller) == RR_OK);
    newer_controller.later = 1;
    GIVES(rr_controller_set, VERSION, (s, &newer_controller.known));
    GIVES(rr_controller_set, ARG, (s, &controller));
    controller.urls = urls;
    controller.ca_file = "/no/such/file.pem";
    CHECK(RR_INIT(RR_CFG_HOOKS, &hooks) == RR_OK && rr_config_init(RR_CFG_HOOKS, &newer, sizeof newer) == RR_OK);
    newer.later = 1;
    GIVES(rr_hooks_set, VERSION, (s, &newer.known));
    GIVES(rr_hooks_set, ARG, (s, &hooks));
    hooks.on_play = "https://127.0.0.1:9/";
    hooks.flags = RR_HOOKS_FLAG_GET;
    GIVES(rr_hooks_set, UNSUPPORTED, (s, &hooks));
    hooks.flags = 0;
    hooks.ca_file = "/no/such/file.pem";
    if (rr_features() & RR_FEATURE_REST) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in taken = {0};
        socklen_t size = sizeof taken;
        char addr[32], silent[48];
        taken.sin_family = AF_INET;
        taken.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CHECK(bind(fd, (struct sockaddr *)&taken, sizeof taken) == 0 && listen(fd, 1) == 0);
        CHECK(getsockname(fd, (struct sockaddr *)&taken, &size) == 0);
        snprintf(addr, sizeof addr, "127.0.0.1:%d", ntohs(taken.sin_port));
        GIVES(rr_hooks_set, CERT, (s, &hooks));
        GIVES(rr_controller_set, CERT, (s, &controller));
        controller.ca_file = NULL;
        /* It accepts a connection and sends nothing. */
        urls[0] = strcat(strcpy(silent, "http://"), addr);
        controller.timeout_ms = 30000;
        controller.heartbeat_ms = RR_OFF;
        id = stream(s, "asked");
        GIVES(rr_controller_ask, STATE, (s, id, "moved"));
        CHECK(rr_controller_set(s, &controller) == RR_OK);
        GIVES(rr_controller_ask, ARG, (s, id, "two words"));
        GIVES(rr_controller_ask, NOT_FOUND, (s, 0x0200000100000001u, "moved"));
        CHECK(rr_controller_ask(s, id, "moved") == RR_OK);
        GIVES(rr_controller_ask, AGAIN, (s, id, "moved"));
        CHECK(rr_controller_set(s, NULL) == RR_OK);
        GIVES(rr_rest_token, ARG, (NULL, token, 8));
        GIVES(rr_rest_token, IO, ("/no/such/folder/token", token, sizeof token));
        GIVES(rr_rest_listen, ARG, (s, "nowhere", "token-of-tests", 0));
        GIVES(rr_rest_listen, IO, (s, addr, "token-of-tests", 0));
        close(fd);
        GIVES(rr_rest_handle, ARG, (s, "GET", "no path", NULL, 0, &out, &len));
        GIVES(rr_rest_handle, LIMIT, (s, "POST", "/v1/streams", body, sizeof body, &out, &len));
    } else {
        GIVES(rr_rest_token, UNSUPPORTED, (NULL, token, sizeof token));
        GIVES(rr_rest_listen, UNSUPPORTED, (s, ":0", "token-of-tests", 0));
        GIVES(rr_rest_stop, UNSUPPORTED, (s));
        GIVES(rr_controller_set, UNSUPPORTED, (s, NULL));
        GIVES(rr_controller_ask, UNSUPPORTED, (s, 1, "moved"));
        (void)id;
        GIVES(rr_rest_handle, UNSUPPORTED, (s, "GET", "/v1/stats", NULL, 0, &out, &len));
    }
    rr_server_free(s);
}

int main(void) {
    memset(long_name, 'a', sizeof long_name - 1);
    base();
    without_descriptors();
#ifdef __x86_64__ /* an emulator handles that limit differently */
    without_memory();
#else
    (void)without_memory;
#endif
    log_and_events();
    listening();
    upgrading();
    sessions();
    moving();
    streams();
    host_and_end();
    targets();
    any_id();
    control();
    workers(); /* at last: it makes the process ignore signals */
    return 0;
}
