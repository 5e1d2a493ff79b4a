/* --push: each stream gets its targets when it begins; from then on the library keeps them connected. Nothing is remembered
   here: a target's user pointer is the number of its --push. */
#include "rr_server.h"

#include <stdlib.h>
#include <string.h>

void push_free(struct push *p) {
    free(p->match);
    free(p->url);
    free(p->key);
    free(p->ca);
    free(p->pin);
    free(p);
}

/* What is left of a stream's path behind the parts that the push is for (behind the first one, where it is for all), to be
   freed: the stream's key, however its encoder has cut the path. NULL: the push is not for it. */
static char *key_behind(const struct push *p, const char *app, const char *key) {
    size_t app_len = strlen(app), key_len, begin, named;
    char *path, *left;
    key += strspn(key, "/"); /* of live and /show the path is live/show */
    key_len = strlen(key);
    named = strcspn(key, "?"); /* --keep-args */
    path = (char *)malloc(app_len + key_len + 2);
    if (!path) return NULL;
    memcpy(path, app, app_len);
    path[app_len] = '/';
    memcpy(path + app_len + 1, key, key_len);
    path[app_len + 1 + key_len] = '\0';
    begin = p->match ? strlen(p->match) : strcspn(path, "/");
    if (p->match && begin && p->match[begin - 1] == '/') begin--;
    named += app_len + 1;
    if (begin > named || (p->match && strncmp(path, p->match, begin) != 0) ||
        (begin < named && path[begin] != '/')) {
        free(path);
        return NULL;
    }
    /* The push names this very stream: the key is the path's last part. */
    if (begin == named) {
        while (begin && path[begin - 1] != '/') begin--;
    } else {
        begin++;
    }
    left = copy_of(path + begin, strlen(path + begin));
    free(path);
    return left;
}

/* `text` with each {key} replaced, to be freed. */
static char *with_key(const char *text, const char *key) {
    const char *mark;
    size_t len = 0, count = 0, key_len = strlen(key);
    char *whole;
    for (mark = text; (mark = strstr(mark, "{key}")) != NULL; mark += 5) count++;
    whole = (char *)malloc(strlen(text) + count * key_len + 1);
    if (!whole) return NULL;
    while ((mark = strstr(text, "{key}")) != NULL) {
        memcpy(whole + len, text, (size_t)(mark - text));
        len += (size_t)(mark - text);
        memcpy(whole + len, key, key_len);
        len += key_len;
        text = mark + 5;
    }
    strcpy(whole + len, text);
    return whole;
}

/* The ids of one kind, to be freed; as many as `count` says. */
static rr_id *list(rr_server *s, rr_id parent, int kind, size_t *count) {
    rr_id *ids = NULL;
    int there;
    *count = 0;
    there = rr_server_list(s, parent, kind, NULL, 0);
    if (there <= 0 || !(ids = (rr_id *)calloc((size_t)there, sizeof *ids))) return NULL;
    *count = (size_t)there;
    there = rr_server_list(s, parent, kind, ids, *count);
    if (there < 0) there = 0;
    if ((size_t)there < *count) *count = (size_t)there;
    return ids;
}

/* Whether a stream has a target of this push: SIGHUP may have added it. */
static int has_target(rr_server *s, rr_stream stream, const struct push *p) {
    size_t i, count;
    rr_id *ids = list(s, stream, RR_KIND_TARGET, &count);
    rr_info info;
    int has = 0;
    for (i = 0; i < count && !has; i++) {
        has = rr_info_get(s, ids[i], &info, sizeof info) == RR_OK && (uintptr_t)info.user == p->number;
    }
    free(ids);
    return has;
}

/* A target of this url and key that no push has: it came along when this server took over from another one. 0: there is
   none. */
static rr_target inherited(rr_server *s, rr_stream stream, const char *url, const char *key) {
    rr_target found = 0;
    rr_info info;
    if (rr_target_find(s, stream, url, key, &found) < 0 || rr_info_get(s, found, &info, sizeof info) < 0) return 0;
    return info.user ? 0 : found;
}

static void add_target(rr_server *s, const struct options *o, const struct push *p, rr_stream stream, const char *app,
                       const char *name) {
    rr_target_config c;
    rr_target target;
    char *own = key_behind(p, app, name), *url, *key;
    if (!own) return;
    url = with_key(p->url, own);
    key = with_key(p->key ? p->key : "{key}", own);
    RR_INIT(RR_CFG_TARGET, &c);
    c.user = (void *)p->number;
    c.url = url;
    c.key = key;
    c.ca_file = p->ca ? p->ca : o->every.ca;
    c.pin_sha256 = p->pin ? p->pin : o->every.pin;
    if (p->insecure || o->every.insecure) c.flags |= RR_TARGET_INSECURE;
    if (url && key) {
        rr_target there = inherited(s, stream, url, key);
        int code = there ? rr_target_update(s, there, &c) : rr_stream_add_target(s, stream, &c, &target);
        if (code < 0) print_push_error(p, code);
    }
    free(own);
    free(url);
    free(key);
}

/* Adds targets at a stream's first event, which comes once, before the publisher's media. A target waits until the stream
   has media. */
void push_follow(rr_server *s, const struct options *o, const rr_event *ev) {
    size_t i;
    int reloaded; /* SIGHUP came between the stream's beginning and this event */
    if (ev->type != RR_EV_STREAM || ev->prev != RR_STATE_NONE) return;
    reloaded = rr_server_list(s, ev->stream, RR_KIND_TARGET, NULL, 0) > 0;
    for (i = 0; i < o->push_count; i++) {
        if (!reloaded || !has_target(s, ev->stream, o->pushes[i])) {
            add_target(s, o, o->pushes[i], ev->stream, ev->app, ev->key);
        }
    }
}

/* ---- SIGHUP --------------------------------------------------------------------------------------------------------- */

static int same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int same_push(const struct push *a, const struct push *b) {
    return same_text(a->match, b->match) && same_text(a->url, b->url) && same_text(a->key, b->key) &&
           same_text(a->ca, b->ca) && same_text(a->pin, b->pin) && a->insecure == b->insecure;
}

/* How long the targets of a removed --push may take until they have the last messages, ms. */
enum { FLUSH_MS = 3000 };

/* A push that is in both keeps its number, and so its targets. A removed push's targets are stopped; a new push gets a target
   on every stream that it matches. */
void push_reload(rr_server *s, const struct options *before, struct options *now) {
    size_t i, j, count;
    char *kept = (char *)calloc(before->push_count + 1, 1), *fresh = (char *)calloc(now->push_count + 1, 1);
    rr_id *ids;
    rr_info info;
    /* Connections were made with these certificates: where they changed, every push is a new one. */
    int same_trust = same_text(before->every.ca, now->every.ca) && same_text(before->every.pin, now->every.pin) &&
                     before->every.insecure == now->every.insecure;
    for (i = 0; kept && fresh && i < now->push_count; i++) {
        fresh[i] = 1;
        for (j = 0; same_trust && fresh[i] && j < before->push_count; j++) {
            if (kept[j] || !same_push(before->pushes[j], now->pushes[i])) continue;
            now->pushes[i]->number = before->pushes[j]->number;
            kept[j] = 1;
            fresh[i] = 0;
        }
    }
    ids = list(s, 0, RR_KIND_TARGET, &count);
    for (i = 0; kept && i < count; i++) {
        if (rr_info_get(s, ids[i], &info, sizeof info) < 0) continue;
        for (j = 0; j < before->push_count; j++) {
            if (!kept[j] && (uintptr_t)info.user == before->pushes[j]->number) rr_target_stop(s, ids[i], FLUSH_MS);
        }
    }
    free(ids);
    ids = list(s, 0, RR_KIND_STREAM, &count);
    for (i = 0; fresh && i < count; i++) {
        char *app, *key;
        if (rr_info_get(s, ids[i], &info, sizeof info) < 0) continue;
        app = copy_of(info.app, strlen(info.app)); /* they are borrowed until the next call */
        key = copy_of(info.key, strlen(info.key));
        for (j = 0; j < now->push_count; j++) {
            if (fresh[j]) add_target(s, now, now->pushes[j], ids[i], app, key);
        }
        free(app);
        free(key);
    }
    free(ids);
    free(kept);
    free(fresh);
}
