/* What the bundled server says: how to use it, one line for each event, on a terminal one for its state; log lines go
   to stderr. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Whether the status line stands on the terminal and must make room. */
static int status_shown;

/* What peers sent, without anything that could move a terminal's cursor. */
static void put_part(const char *text, size_t len) {
    for (; len; len--, text++) putchar(*text >= 0x20 && *text < 0x7f ? *text : '?');
}

static void put(const char *text) {
    put_part(text, strlen(text));
}

/* "12:34:56" */
static const char *clock_of(int64_t time_us, char text[16]) {
    time_t seconds = (time_t)(time_us / 1000000);
    struct tm tm;
    localtime_r(&seconds, &tm);
    strftime(text, 16, "%H:%M:%S", &tm);
    return text;
}

/* What the log shows of a key: its first three bytes, of one under eight none. Behind it, so that streams can be told
   apart, the stream's number: the place in its id. A later stream may get it when this one has ended. */
static void put_key(const struct options *o, const char *key, rr_id stream) {
    if (o->show_keys || !*key) {
        put(key);
        return;
    }
    if (strlen(key) >= 8) put_part(key, 3);
    printf("***");
    if (stream) printf("#%lu", (unsigned long)(stream & 0xffffffffu));
}

/* Where something goes: the library leaves the key out, and a query may be a secret too. */
static void put_url(const struct options *o, const char *url) {
    size_t shown = o->show_keys ? strlen(url) : strcspn(url, "?");
    put_part(url, shown);
    if (url[shown]) printf("?***");
}

static void clear_status(void) {
    if (status_shown) fputs("\r\033[K", stdout);
    status_shown = 0;
}

static void begin_line(int64_t time_us) {
    char text[16];
    clear_status();
    printf("%s ", clock_of(time_us, text));
}

static void end_line(void) {
    putchar('\n');
    fflush(stdout);
}

/* Where a push goes, without login, key and query: this may end in a file that many can read. */
static void put_push(const char *url) {
    const char *host = strstr(url, "://") + 3;
    const char *path = host + strcspn(host, "/");
    const char *at = path, *rest;
    while (at > host && at[-1] != '@') at--;
    rest = path + 1 + strcspn(path + 1, "/?");
    printf("%.*s", (int)(host - url), url);
    printf("%.*s", (int)(rest - at), at);
    if (strcmp(rest, "/{key}") == 0) {
        printf("%s", rest);
    } else if (*rest && rest[1]) {
        printf("%c***", *rest);
    }
}

void print_start(const struct options *o, int port, int tls_port) {
    const char *host = o->addr ? o->addr : "127.0.0.1";
    int v6 = strchr(host, ':') && *host != '[';
    char url[256];
    size_t i;
    if (strcmp(host, "0.0.0.0") == 0) host = "127.0.0.1";
    snprintf(url, sizeof url, "rtmp://%s%s%s:%d/live", v6 ? "[" : "", host, v6 ? "]" : "", port);
    printf("rr_server %s listens on port %d\n\n", rr_version_string(), port);
    printf("  publish  ffmpeg -re -i FILE -c copy -f flv %s/show\n", url);
    printf("           OBS: server %s, stream key show\n", url);
    printf("           no file? ffmpeg -re -f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine \\\n");
    printf("             -c:v libx264 -g 50 -pix_fmt yuv420p -c:a aac -f flv %s/show\n", url);
    printf("  play     ffplay %s/show\n", url);
    if (tls_port) printf("  encrypted, either of them: rtmps://, on port %d\n", tls_port);
    for (i = 0; i < o->push_count; i++) {
        const struct push *p = &o->pushes[i];
        printf("  push     %s%s -> ", p->app ? p->app : "all streams", p->app ? "/*" : "");
        put_push(p->url);
        putchar('\n');
    }
    putchar('\n');
    if (!o->show_keys) printf("Stream keys are not shown: live/***#1 is stream 1. --show-keys shows them.\n");
    printf("Any application and key will do in place of live/show. Ctrl-C stops.\n\n");
    fflush(stdout);
}

/* What the program itself did, and how it went. */
void print_note(const char *what, const char *detail) {
    begin_line((int64_t)time(NULL) * 1000000);
    printf("%s: ", what);
    put(detail);
    end_line();
}

void print_push_error(const struct push *p, int code) {
    /* The detail is this thread's; say it before anything else is called. */
    const char *detail = rr_last_error();
    begin_line((int64_t)time(NULL) * 1000000);
    printf("push to ");
    put_push(p->url);
    printf(": ");
    put(*detail ? detail : rr_strerror(code));
    end_line();
}

static void put_name(const struct options *o, const rr_event *ev) {
    if (!*ev->app && !*ev->key) return;
    putchar(' ');
    put(ev->app);
    putchar('/');
    put_key(o, ev->key, ev->stream);
}

static void put_subject(const struct options *o, const rr_event *ev) {
    if (ev->target) {
        printf("target ");
        put_url(o, ev->url);
        printf(" of");
    } else if (ev->session) {
        printf("%s ", ev->role == RR_ROLE_NONE ? "session" : rr_name(RR_NAME_ROLE, (int)ev->role));
        put(ev->addr);
    } else {
        printf(ev->stream ? "stream" : "server");
    }
    put_name(o, ev);
}

/* Log lines come as events, so that they and the status line do not cross. They hold no control characters. */
static void print_log(const rr_event *ev) {
    static const char *const levels[] = {"OFF", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"};
    char text[16];
    clear_status();
    fflush(stdout);
    fprintf(stderr, "%s %s %s\n", clock_of(ev->time_us, text), levels[ev->level % 6], ev->text);
}

void print_event(const struct options *o, const rr_event *ev) {
    if (ev->type == RR_EV_LOG) {
        print_log(ev);
        return;
    }
    /* The sessions' own lines say that. */
    if (ev->type == RR_EV_SERVER && (ev->state == RR_STATE_IN_PROGRESS || ev->prev == RR_STATE_IN_PROGRESS) &&
        ev->state != RR_STATE_STOPPING && ev->state != RR_STATE_FAILED)
        return;
    begin_line(ev->time_us);
    put_subject(o, ev);
    switch (ev->type) {
    case RR_EV_SERVER:
    case RR_EV_STREAM:
    case RR_EV_SESSION:
    case RR_EV_TARGET:
        printf(": %s", rr_name(RR_NAME_STATE, (int)ev->state));
        if (ev->type == RR_EV_TARGET && ev->state == RR_STATE_RECOVERING) {
            printf(", next try in %lld ms", (long long)ev->value);
        }
        break;
    case RR_EV_TRACKS:
        printf(": tracks ");
        put(ev->text);
        end_line();
        return;
    case RR_EV_SLOW:
        printf(": %lld messages skipped, it is slow", (long long)ev->value);
        break;
    case RR_EV_OVERFLOW:
        printf(": %lld events were folded or lost", (long long)ev->value);
        break;
    case RR_EV_RECONNECT:
        printf(": asked to reconnect to ");
        put_url(o, *ev->url ? ev->url : "the same place");
        break;
    case RR_EV_CLOCK:
        printf(": the publisher's time jumped by %lld ms", (long long)ev->value);
        break;
    default: /* the value means nothing there */
        printf(": %s", rr_name(RR_NAME_EVENT, (int)ev->type));
    }
    if (ev->error != RR_OK) printf(" (%s)", rr_strerror(ev->error));
    if (*ev->text) {
        printf(": ");
        put(ev->text);
    }
    end_line();
}

/* How many sessions play; those that have ended a play belong to no stream. */
static int count_players(rr_server *s) {
    static rr_session *ids;
    static size_t room;
    rr_info info;
    int i, players = 0;
    int count = rr_server_list(s, 0, RR_KIND_SESSION, ids, room);
    if (count > 0 && (size_t)count > room) {
        rr_session *more = (rr_session *)realloc(ids, (size_t)count * sizeof *ids);
        if (!more) return 0;
        ids = more;
        room = (size_t)count;
        count = rr_server_list(s, 0, RR_KIND_SESSION, ids, room);
    }
    for (i = 0; i < count && (size_t)i < room; i++) {
        if (rr_info_get(s, ids[i], &info, sizeof info) == RR_OK) players += info.stream && info.role == RR_ROLE_PLAYER;
    }
    return players;
}

void print_status(rr_server *s) {
    rr_stats stats;
    int streams = rr_server_list(s, 0, RR_KIND_STREAM, NULL, 0);
    if (!isatty(STDOUT_FILENO) || rr_server_stats(s, &stats, sizeof stats) < 0) return;
    printf("\r\033[K%d streams, %d players, %u targets, %u kbit/s in, %u kbit/s out, %llu messages skipped",
           streams < 0 ? 0 : streams, count_players(s), stats.targets, stats.kbps_in, stats.kbps_out,
           (unsigned long long)stats.dropped_msgs);
    fflush(stdout);
    status_shown = 1;
}
