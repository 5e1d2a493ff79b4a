/* --push: each stream gets its targets when it begins; from then on the library keeps them connected. */
#include "rr_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* `url` with {key} replaced, to be freed; NULL where there is no {key}. */
static char *with_key(const char *url, const char *key) {
    const char *mark = strstr(url, "{key}");
    size_t room = strlen(url) + strlen(key) + 1;
    char *whole;
    if (!mark || !(whole = (char *)malloc(room))) return NULL;
    memcpy(whole, url, (size_t)(mark - url));
    strcpy(whole + (mark - url), key);
    strcat(whole, mark + 5);
    return whole;
}

/* Whether the url ends with the application: then the stream's own key goes with it. */
static int has_only_app(const char *url) {
    const char *path = strchr(strstr(url, "://") + 3, '/');
    const char *next = path ? strchr(path + 1, '/') : NULL;
    return path && (!next || next[1] == '\0');
}

static void add_target(rr_server *s, const rr_event *ev, const struct push *p) {
    rr_target_config c;
    rr_target target;
    char *url = with_key(p->url, ev->key);
    int code;
    RR_INIT(RR_CFG_TARGET, &c);
    c.url = url ? url : p->url;
    if (!url && has_only_app(p->url)) c.key = ev->key;
    code = rr_stream_add_target(s, ev->stream, &c, &target);
    if (code < 0) print_push_error(p, code);
    free(url);
}

/* At a stream's first event, which comes once and before its first message: no target misses any, and there is nothing to
   remember. A target waits until the stream has media. */
void push_follow(rr_server *s, const struct options *o, const rr_event *ev) {
    size_t i;
    if (ev->type != RR_EV_STREAM || ev->prev != RR_STATE_NONE) return;
    for (i = 0; i < o->push_count; i++) {
        const struct push *p = &o->pushes[i];
        if (!p->app || strcmp(p->app, ev->app) == 0) add_target(s, ev, p);
    }
}
