/* What the bundled server says: how to use it, and a line for each thing that happens. What failed goes to stderr, and so do
   the library's own lines; all else to stdout. Nothing is said twice: of what an event tells, the library's line is left
   out. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A line in the making; what does not fit is cut. A byte is left for the NUL of text_of(). */
struct line {
    size_t len;
    char text[3072];
};

/* FORM_* of all lines; set once, before any thread prints. */
static int form;

static const char *const level_names[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
static const char *const json_levels[] = {"off", "error", "warn", "info", "debug", "trace"};
/* What syslog calls them, from "err" to "debug". */
static const int journal_levels[] = {3, 3, 4, 6, 7, 7};

static void add_bytes(struct line *l, const char *text, size_t len) {
    size_t room = sizeof l->text - 1 - l->len;
    if (len > room) len = room;
    memcpy(l->text + l->len, text, len);
    l->len += len;
}

/* The line so far, as a C string. */
static const char *text_of(struct line *l) {
    l->text[l->len] = '\0';
    return l->text;
}

static void add(struct line *l, const char *text) {
    add_bytes(l, text, strlen(text));
}

static void add_format(struct line *l, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    add(l, text);
}

/* Adds what peers sent, without anything that could move a terminal's cursor. */
static void add_part(struct line *l, const char *text, size_t len) {
    for (; len; len--, text++) add_bytes(l, *text >= 0x20 && *text < 0x7f ? text : "?", 1);
}

/* Most bytes of a url in a line: of a longer one the middle is left out, so that what happened has room behind it. */
enum { URL_BYTES = 512 };

/* Adds a url, or the part of one that may be long, with add_bytes() or add_part(). */
static void add_shortened(struct line *l, const char *text, size_t len,
                          void (*add_as)(struct line *, const char *, size_t)) {
    size_t half = URL_BYTES / 2;
    if (len <= URL_BYTES) {
        add_as(l, text, len);
        return;
    }
    add_as(l, text, half);
    add(l, "...");
    add_as(l, text + len - half, half);
}

static void add_peers(struct line *l, const char *text) {
    add_part(l, text, strlen(text));
}

/* "2026-11-29T12:34:56.789+01:00" */
static void add_time(struct line *l, int64_t time_us) {
    time_t seconds = (time_t)(time_us / 1000000);
    char date[32], zone[8];
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    strftime(zone, sizeof zone, "%z", &tm);
    add_format(l, "%s.%03d%.3s:%.2s", date, (int)(time_us / 1000 % 1000), zone, strlen(zone) == 5 ? zone + 3 : "00");
}

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------ */

/* A string; bytes beyond ASCII, which need not be UTF-8, as if they were Latin-1. */
static void json_string(struct line *l, const char *name, const char *value) {
    if (!*value) return;
    add_format(l, ",\"%s\":\"", name);
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '"' || c == '\\') {
            add_bytes(l, "\\", 1);
            add_bytes(l, value, 1);
        } else if (c < 0x20 || c > 0x7e) {
            add_format(l, "\\u%04x", c);
        } else {
            add_bytes(l, value, 1);
        }
        /* Room for what follows: a cut line would be no JSON. */
        if (l->len > sizeof l->text - 512) break;
    }
    add(l, "\"");
}

static void json_number(struct line *l, const char *name, long long value) {
    if (value) add_format(l, ",\"%s\":%lld", name, value);
}

/* ---- one line -------------------------------------------------------------------------------------------------------- */

static void begin(struct line *l, int to, int level, int64_t time_us) {
    l->len = 0;
    if (level < RR_LOG_OFF || level > RR_LOG_TRACE) level = RR_LOG_ERROR;
    if (form == FORM_JSON) {
        add(l, "{\"time\":\"");
        add_time(l, time_us);
        add_format(l, "\",\"level\":\"%s\"", json_levels[level]);
        return;
    }
    if (form == FORM_JOURNAL) {
        add_format(l, "<%d>", journal_levels[level]);
    } else {
        add_time(l, time_us);
        add(l, " ");
    }
    if (to == TO_STDERR) add_format(l, "%s ", level_names[level]);
}

static void end(struct line *l, int to) {
    if (form == FORM_JSON) add(l, "}");
    out_line(to, l->text, l->len);
}

/* Failures are on stderr. */
static int way_of(int level) {
    return level <= RR_LOG_WARN ? TO_STDERR : TO_STDOUT;
}

/* "what: detail" */
static void say(int to, int level, int64_t time_us, const char *what, const char *detail) {
    struct line l;
    begin(&l, to, level, time_us);
    if (form == FORM_JSON) {
        json_string(&l, "what", what);
        json_string(&l, "message", detail);
    } else {
        add_peers(&l, what);
        add(&l, ": ");
        add_peers(&l, detail);
    }
    end(&l, to);
}

/* A line about what this program itself did. */
void print_note(int level, const char *what, const char *detail) {
    say(way_of(level), level, now_us(), what, detail);
}

/* Events tell what the library logs under these names, so their lines are left out. */
static int is_told(const char *module) {
    static const char *const told[] = {"server", "stream", "session", "target"};
    size_t i;
    for (i = 0; i < sizeof told / sizeof *told; i++) {
        if (strcmp(module, told[i]) == 0) return 1;
    }
    return 0;
}

void print_log(void *user, int level, const char *module, const char *line) {
    (void)user;
    if (level <= RR_LOG_INFO && is_told(module)) return;
    say(TO_STDERR, level, now_us(), module, line);
}

/* ---- the start ------------------------------------------------------------------------------------------------------- */

void print_begin(const struct options *o) {
    form = o->form;
}

/* Where a push goes, without login, key and query: this may end in a file that many can read. */
static void add_push(struct line *l, const struct push *p) {
    const char *host = strstr(p->url, "://") + 3;
    const char *path = host + strcspn(host, "/");
    const char *at = path;
    size_t shown = strcspn(path, "?");
    while (at > host && at[-1] != '@') at--;
    add_part(l, p->url, (size_t)(host - p->url));
    add_shortened(l, at, (size_t)(path - at) + shown, add_part);
    if (path[shown]) add(l, "?***");
    if (!p->key) return;
    add(l, memchr(path + 1, '/', shown - 1) ? "//" : "/");
    add(l, strcmp(p->key, "{key}") == 0 ? p->key : "***");
}

/* A host as it stands in a url, without a port of its own. */
static void add_host(struct line *l, const char *addr) {
    const char *colon = strchr(addr, ':'), *bracket = strchr(addr, ']');
    if (*addr == '[' && bracket) {
        add_part(l, addr, (size_t)(bracket - addr) + 1);
    } else if (colon && strchr(colon + 1, ':')) {
        add(l, "[");
        add_peers(l, addr);
        add(l, "]");
    } else {
        add_part(l, addr, strcspn(addr, ":"));
    }
}

/* "port 1935", of several addresses "port 1935 at 127.0.0.1, port 1935 at [::1]". */
static void add_ports(struct line *l, const struct options *o, const int *ports) {
    size_t i;
    for (i = 0; i == 0 || i < o->addr_count; i++) {
        add_format(l, "%sport %d", i ? ", " : "", ports[i]);
        if (o->addr_count < 2) continue;
        add(l, " at ");
        add_host(l, o->addrs[i]);
    }
}

/* Prints a line of the greeting, which has no time. */
static void greet(const char *format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    out_line(TO_STDOUT, text, strlen(text));
}

/* A url for an address that the server listens on. */
static void add_place(struct line *l, const char *scheme, const char *addr, int port) {
    const char *colon = strchr(addr, ':');
    add(l, scheme);
    if (!colon || colon == addr || strncmp(addr, "0.0.0.0", 7) == 0) {
        add(l, "127.0.0.1");
    } else if (strncmp(addr, "[::]", 4) == 0) {
        add(l, "[::1]");
    } else {
        add_host(l, addr);
    }
    add_format(l, ":%d/", port);
}

/* The page's url. Browsers do not send the part behind the #, the token. */
static void add_page(struct line *l, const struct options *o, const struct places *at) {
    add_place(l, "http://", o->rest, at->rest_port);
    if (!o->token_file) add_format(l, "#token=%s", at->token);
}

static void greet_player(const char *scheme, const char *addr, int port) {
    struct line l;
    l.len = 0;
    add(&l, "           ffplay ");
    add_place(&l, scheme, addr, port);
    add(&l, "live/show.flv");
    out_line(TO_STDOUT, l.text, l.len);
}

void print_start(const struct options *o, const struct places *at) {
    struct line l, url;
    const char *host = o->addr_count ? o->addrs[0] : "127.0.0.1";
    size_t i;
    l.len = url.len = 0;
    if (at->inherited) {
        print_note(RR_LOG_INFO, "start", "it goes on with the sockets that it was given");
        return;
    }
    if (strncmp(host, "0.0.0.0", 7) == 0) host = "127.0.0.1";
    if (strncmp(host, "[::]", 4) == 0 || strcmp(host, "::") == 0) host = "::1";
    add(&url, "rtmp://");
    add_host(&url, host);
    add_format(&url, ":%d/live", at->ports[0]);
    add_format(&l, "rr_server %s listens on ", rr_version_string());
    add_ports(&l, o, at->ports);
    if (form != FORM_PLAIN) {
        if (o->tls) add(&l, ", rtmps on ");
        if (o->tls) add_ports(&l, o, at->tls_ports);
        if (o->http) add(&l, ", players over HTTP at ");
        if (o->http) add_place(&l, "http://", o->http, at->http_port);
        if (o->https) add(&l, ", players over HTTP at ");
        if (o->https) add_place(&l, "https://", o->https, at->https_port);
        if (o->rest) add(&l, ", control by HTTP at ");
        if (o->rest) add_page(&l, o, at);
        print_note(RR_LOG_INFO, "start", text_of(&l));
        return;
    }
    out_line(TO_STDOUT, l.text, l.len);
    greet("");
    greet("  publish  ffmpeg -re -i FILE -c copy -f flv %s/show", text_of(&url));
    greet("           OBS: server %s, stream key show", text_of(&url));
    greet("           no file? ffmpeg -re -f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine \\");
    greet("             -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv %s/show", text_of(&url));
    greet("  play     ffplay %s/show", text_of(&url));
    if (o->http) greet_player("http://", o->http, at->http_port);
    if (o->https) greet_player("https://", o->https, at->https_port);
    if (o->tls) {
        l.len = 0;
        add(&l, "  over TLS, both: rtmps://, on ");
        add_ports(&l, o, at->tls_ports);
        out_line(TO_STDOUT, l.text, l.len);
    }
    if (o->rest) {
        l.len = 0;
        add(&l, "  page     ");
        add_page(&l, o, at);
        out_line(TO_STDOUT, l.text, l.len);
        if (o->token_file) greet("           its token is in %s", o->token_file);
        if (!o->token_file) greet("           for programs: curl -H 'Authorization: Bearer %s' ...", at->token);
    }
    for (i = 0; i < o->push_count; i++) {
        const struct push *p = o->pushes[i];
        l.len = 0;
        add_format(&l, "  push     %s%s -> ", p->match ? p->match : "all streams", p->match ? "/*" : "");
        add_push(&l, p);
        out_line(TO_STDOUT, l.text, l.len);
    }
    greet("");
    if (!o->show_keys) greet("Stream keys are not shown: live/***#1 is stream 1. --show-keys shows them.");
    greet("Any application and key work in place of live/show. Ctrl-C stops.");
    greet("");
}

void print_push_error(const struct push *p, int code) {
    struct line l;
    /* The detail is this thread's; it stands until the next call that fails. */
    const char *detail = rr_last_error();
    l.len = 0;
    add(&l, "push to ");
    add_push(&l, p);
    print_note(RR_LOG_ERROR, text_of(&l), *detail ? detail : rr_strerror(code));
}

/* ---- events ---------------------------------------------------------------------------------------------------------- */

/* What is shown of a key: its first three bytes, of one under eight none. Behind it, so that streams can be told apart, the
   stream's number: the place in its id. A later stream may get it when this one has ended. */
static void add_key(struct line *l, const struct options *o, const rr_event *ev) {
    if (o->show_keys || !*ev->key) {
        add(l, ev->key);
        return;
    }
    if (strlen(ev->key) >= 8) add_bytes(l, ev->key, 3);
    add(l, "***");
    if (ev->stream) add_format(l, "#%lu", (unsigned long)(ev->stream & 0xffffffffu));
}

/* Where something goes: the library leaves the key out, and a query may be a secret too. */
static void add_url(struct line *l, const struct options *o, const char *url) {
    size_t shown = o->show_keys ? strlen(url) : strcspn(url, "?");
    add_shortened(l, url, shown, add_bytes);
    if (url[shown]) add(l, "?***");
}

/* The level of an event's line; RR_LOG_OFF: no line. */
static int level_of(const rr_event *ev) {
    switch (ev->type) {
    case RR_EV_SERVER:
        if (ev->state == RR_STATE_FAILED) return RR_LOG_ERROR;
        /* The first and the last session have lines of their own. */
        if (ev->state == RR_STATE_STOPPING) return RR_LOG_INFO;
        return ev->state == RR_STATE_IN_PROGRESS || ev->prev == RR_STATE_IN_PROGRESS ? RR_LOG_OFF : RR_LOG_INFO;
    case RR_EV_SESSION:
        if (ev->state == RR_STATE_FAILED) return RR_LOG_WARN;
        /* A session that has not said yet what it wants, or has left without: a health probe. */
        if (ev->prev == RR_STATE_NONE) return RR_LOG_OFF;
        return ev->role == RR_ROLE_NONE && !*ev->app ? RR_LOG_OFF : RR_LOG_INFO;
    case RR_EV_TARGET:
        if (ev->state == RR_STATE_FAILED) return RR_LOG_ERROR;
        return ev->state == RR_STATE_RECOVERING ? RR_LOG_WARN : RR_LOG_INFO;
    case RR_EV_STREAM: return ev->state == RR_STATE_FAILED ? RR_LOG_ERROR : RR_LOG_INFO;
    case RR_EV_SLOW: return ev->state == RR_STATE_NONE ? RR_LOG_INFO : RR_LOG_WARN;
    case RR_EV_CLOCK:
    case RR_EV_OVERFLOW: return RR_LOG_WARN;
    case RR_EV_NEXT: return ev->error == RR_OK ? RR_LOG_INFO : RR_LOG_WARN;
    case RR_EV_LOG: return RR_LOG_OFF; /* they come to print_log */
    default: return RR_LOG_INFO;
    }
}

/* Whose event it is: "player", "target", "stream". */
static const char *subject_of(const rr_event *ev) {
    if (ev->type == RR_EV_NEXT) return rr_name(RR_NAME_KIND, RR_KIND_STREAM);
    if (ev->target || (ev->session && ev->role != RR_ROLE_NONE)) return rr_name(RR_NAME_ROLE, (int)ev->role);
    return rr_name(RR_NAME_KIND, ev->session ? RR_KIND_SESSION : ev->stream ? RR_KIND_STREAM : RR_KIND_SERVER);
}

static int is_state(const rr_event *ev) {
    return ev->type >= RR_EV_SERVER && ev->type <= RR_EV_TARGET;
}

static void json_event(struct line *l, const struct options *o, const rr_event *ev) {
    struct line part;
    json_string(l, "event", rr_name(RR_NAME_EVENT, (int)ev->type));
    json_string(l, "who", subject_of(ev));
    json_string(l, "state", is_state(ev) ? rr_name(RR_NAME_STATE, (int)ev->state) : "");
    json_string(l, "app", ev->app);
    part.len = 0;
    add_key(&part, o, ev);
    json_string(l, "key", text_of(&part));
    json_number(l, "stream", (long long)(ev->stream & 0xffffffffu));
    json_number(l, "session", (long long)(ev->session & 0xffffffffu));
    json_number(l, "target", (long long)(ev->target & 0xffffffffu));
    json_string(l, "addr", ev->addr);
    part.len = 0;
    if (ev->target || ev->type == RR_EV_NEXT) add_url(&part, o, ev->url);
    json_string(l, "url", text_of(&part));
    json_number(l, "value", (long long)ev->value);
    json_string(l, "error", ev->error != RR_OK ? rr_strerror(ev->error) : "");
    json_string(l, "text", ev->text);
}

/* Adds whose event it is and what happened, for people. */
static void plain_event(struct line *l, const struct options *o, const rr_event *ev) {
    long long value = (long long)ev->value;
    add(l, subject_of(ev));
    if (ev->type == RR_EV_NEXT) {
        /* The url says where the stream is to go or come from. */
    } else if (ev->target) {
        add(l, " ");
        add_url(l, o, ev->url);
        add(l, ev->role == RR_ROLE_SOURCE ? " for" : " of");
    } else if (ev->session) {
        add(l, " ");
        add(l, ev->addr);
    }
    if (*ev->app || *ev->key) {
        add(l, " ");
        add(l, ev->app);
        add(l, "/");
        add_key(l, o, ev);
    }
    switch (ev->type) {
    case RR_EV_SERVER:
    case RR_EV_STREAM:
    case RR_EV_SESSION:
    case RR_EV_TARGET:
        add_format(l, ": %s", rr_name(RR_NAME_STATE, (int)ev->state));
        if (ev->type == RR_EV_TARGET && ev->state == RR_STATE_RECOVERING) add_format(l, ", next try in %lld ms", value);
        break;
    case RR_EV_TRACKS: add(l, ": tracks"); break;
    case RR_EV_SLOW: add_format(l, ": %lld messages skipped, it is slow", value); break;
    case RR_EV_OVERFLOW: add_format(l, ": %lld events were folded or lost", value); break;
    case RR_EV_RECONNECT:
        add(l, ": asked to reconnect to ");
        add_url(l, o, *ev->url ? ev->url : "the same place");
        break;
    case RR_EV_NEXT:
        add(l, ": controller");
        if (*ev->url) {
            add(l, ", ");
            add_url(l, o, ev->url);
        }
        break;
    case RR_EV_CLOCK: add_format(l, ": the publisher's time jumped by %lld ms", value); break;
    default: add_format(l, ": %s", rr_name(RR_NAME_EVENT, (int)ev->type)); /* their value means nothing */
    }
    if (ev->error != RR_OK) add_format(l, " (%s)", rr_strerror(ev->error));
    if (*ev->text) {
        add(l, ev->type == RR_EV_TRACKS ? " " : ": ");
        add(l, ev->text);
    }
}

void print_event(const struct options *o, const rr_event *ev) {
    int level = level_of(ev), to = way_of(level);
    struct line l, words;
    if (level == RR_LOG_OFF) return;
    begin(&l, to, level, ev->time_us);
    if (form == FORM_JSON) {
        json_event(&l, o, ev);
    } else {
        words.len = 0;
        plain_event(&words, o, ev);
        add_part(&l, words.text, words.len); /* names are peers' bytes */
    }
    end(&l, to);
}

/* ---- the status ------------------------------------------------------------------------------------------------------ */

/* Counts the sessions that play now; one that has ended its play belongs to no stream. */
static int count_players(rr_server *s) {
    rr_info info;
    int i, players = 0, count = rr_server_list(s, 0, RR_KIND_SESSION, NULL, 0);
    rr_session *ids = count > 0 ? (rr_session *)calloc((size_t)count, sizeof *ids) : NULL;
    int there = ids ? rr_server_list(s, 0, RR_KIND_SESSION, ids, (size_t)count) : 0;
    for (i = 0; i < there && i < count; i++) {
        if (rr_info_get(s, ids[i], &info, sizeof info) == RR_OK) players += info.stream && info.role == RR_ROLE_PLAYER;
    }
    free(ids);
    return players;
}

void print_status(rr_server *s) {
    rr_stats stats;
    char text[256];
    int streams = rr_server_list(s, 0, RR_KIND_STREAM, NULL, 0);
    if (!out_has_status() || rr_server_stats(s, &stats, sizeof stats) < 0) return;
    snprintf(text, sizeof text,
             "%d streams, %d players, %u targets, %u kbit/s in, %u kbit/s out, %llu messages skipped",
             streams < 0 ? 0 : streams, count_players(s), stats.targets, stats.kbps_in, stats.kbps_out,
             (unsigned long long)stats.dropped_msgs);
    out_status(text);
}
