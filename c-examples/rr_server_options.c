/* The options of the bundled server, from the command line and from a file: one table says their names, what they take and
   what --help says of them. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How an option's value is read. */
typedef const char *reader(struct options *o, const struct rule *r, const char *value);

enum {
    AGAIN = 1, /* it may be given several times */
    LOADS = 2, /* SIGHUP loads it anew */
    BARE = 4,  /* it takes no value */
    ROLE = 8,  /* its value may begin with publish or play, on the command line as an argument of its own */
    HOOKS = 16, /* it is about hooks, and means nothing without the address of one */
    CONTROLLER = 32 /* it means nothing without a controller */
};

struct rule {
    const char *name, *value;
    reader *read;
    size_t at; /* where in struct options it goes, for readers of numbers and texts */
    long low, high;
    unsigned flags;
    const char *help;
};

static const char *const policies[] = {"reject", "takeover", "standby", NULL};
static const char *const starts[] = {"", "key", "gop", "now", NULL};
static const char *const levels[] = {"off", "error", "warn", "info", "debug", "trace", NULL};
static const char *const methods[] = {"post", "get", NULL};
static const char *const dialects[] = {"json", "nginx", NULL};
static const char *const forms[] = {"plain", "journal", "json", NULL};

/* No two pushes have one number, also not those of two readings of the file. */
static uintptr_t last_push;

static void *place(struct options *o, const struct rule *r) {
    return (char *)o + r->at;
}

static const char *take_number(struct options *o, const struct rule *r, const char *value) {
    long number;
    const char *why = read_number(value, r->low, r->high, &number);
    if (!why) *(uint32_t *)place(o, r) = (uint32_t)number;
    return why;
}

static const char *take_time(struct options *o, const struct rule *r, const char *value) {
    if (strcmp(value, "off") != 0) return take_number(o, r, value);
    *(uint32_t *)place(o, r) = RR_OFF;
    return NULL;
}

static const char *take_text(struct options *o, const struct rule *r, const char *value) {
    *(const char **)place(o, r) = value;
    return *value ? NULL : "wrong value";
}

static const char *take_config(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    o->config = value; /* whoever calls reads it */
    return *value ? NULL : "wrong value";
}

static const char *take_flag(struct options *o, const struct rule *r, const char *value) {
    (void)value;
    *(int *)place(o, r) = 1;
    return NULL;
}

static const char *take_args(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    (void)value;
    o->stream.args = RR_ARGS_KEY;
    return NULL;
}

static const char *take_bytes(struct options *o, const struct rule *r, const char *value) {
    return read_bytes(value, (uint64_t *)place(o, r));
}

static const char *take_tls(struct options *o, const struct rule *r, const char *value) {
    o->tls = 1;
    return take_number(o, r, value);
}

static const char *take_nice(struct options *o, const struct rule *r, const char *value) {
    long nice;
    const char *why = read_number(value, r->low, r->high, &nice);
    if (!why) o->stream.nice = (int32_t)nice;
    return why;
}

static const char *take_threads(struct options *o, const struct rule *r, const char *value) {
    if (strcmp(value, "stream") != 0) return take_number(o, r, value);
    o->threads = RR_OFF;
    return NULL;
}

static const char *take_addr(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    if (o->addr_count == MAX_ADDRS) return "these are too many";
    o->addrs[o->addr_count++] = value;
    return read_address(value);
}

static const char *take_place(struct options *o, const struct rule *r, const char *value) {
    *(const char **)place(o, r) = value;
    return read_address(value);
}

/* A rule as the library reads it: the option's name without its dashes, and its value. */
static const char *take_access(struct options *o, const struct rule *r, const char *value) {
    char **more = (char **)realloc(o->access, (o->access_count + 2) * sizeof *more);
    size_t size = strlen(r->name) + strlen(value);
    if (!more) return "there is no memory for it";
    o->access = more;
    more[o->access_count] = (char *)malloc(size);
    if (!more[o->access_count]) return "there is no memory for it";
    snprintf(more[o->access_count++], size, "%s %s", r->name + 2, value);
    more[o->access_count] = NULL;
    return *value ? NULL : "wrong value";
}

static const char *take_gop(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_gop(value, &o->stream);
}

static const char *take_policy(struct options *o, const struct rule *r, const char *value) {
    int word = 0;
    const char *why = read_word(value, policies, &word);
    (void)r;
    o->stream.publisher_policy = (uint32_t)word;
    return why;
}

static const char *take_start(struct options *o, const struct rule *r, const char *value) {
    int word = 0;
    const char *why = *value ? read_word(value, starts, &word) : "wrong value";
    (void)r;
    o->stream.start = (uint32_t)word;
    return why;
}

static const char *take_level(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_word(value, levels, &o->log_level);
}

static const char *take_form(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_word(value, forms, &o->form);
}

static const char *take_dialect(struct options *o, const struct rule *r, const char *value) {
    int word = 0;
    const char *why = read_word(value, dialects, &word);
    (void)r;
    o->hooks.dialect = (uint32_t)word;
    return why;
}

static const char *take_hooks_flag(struct options *o, const struct rule *r, const char *value) {
    (void)value;
    o->hooks.flags |= (uint32_t)r->low;
    return NULL;
}

static const char *take_method(struct options *o, const struct rule *r, const char *value) {
    int word = 0;
    const char *why = read_word(value, methods, &word);
    (void)r;
    if (word) o->hooks.flags |= RR_HOOKS_FLAG_GET;
    return why;
}

static char *read_file(const char *name);

/* The file's text, without the white space at its end. */
static const char *read_secret(const char *file, char **text, const char **place) {
    size_t len;
    *text = read_file(file);
    if (!*text) return strerror(errno);
    for (len = strlen(*text); len && strchr(" \t\r\n", (*text)[len - 1]); len--) (*text)[len - 1] = '\0';
    *place = *text;
    return len ? NULL : "that file is empty";
}

static const char *take_secret(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_secret(value, &o->secret, &o->hooks.secret);
}

static const char *take_controller(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    if (o->controller_count == MAX_CONTROLLERS) return "these are too many";
    o->controllers[o->controller_count++] = value;
    o->controller.urls = o->controllers;
    return *value ? NULL : "wrong value";
}

static const char *take_controller_token(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_secret(value, &o->controller_token, &o->controller.token);
}

static const char *take_controller_secret(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_secret(value, &o->controller_secret, &o->controller.secret);
}

static const char *take_push(struct options *o, const struct rule *r, const char *value) {
    struct push **more = (struct push **)realloc(o->pushes, (o->push_count + 1) * sizeof *more);
    struct push *p = (struct push *)calloc(1, sizeof *p);
    (void)r;
    if (more) o->pushes = more;
    if (!more || !p) {
        free(p);
        return "there is no memory for it";
    }
    o->pushes[o->push_count++] = p;
    p->number = ++last_push;
    return read_push(value, p);
}

/* What is given before the first --push is for every one, else for the one before it. */
static struct push *push_meant(struct options *o) {
    return o->push_count ? o->pushes[o->push_count - 1] : &o->every;
}

static const char *take_ca(struct options *o, const struct rule *r, const char *value) {
    struct push *p = push_meant(o);
    (void)r;
    if (p->ca) return "this push has one already";
    p->ca = copy_of(value, strlen(value));
    return read_file_name(value);
}

static const char *take_pin(struct options *o, const struct rule *r, const char *value) {
    struct push *p = push_meant(o);
    (void)r;
    if (p->pin) return "this push has one already";
    p->pin = copy_of(value, strlen(value));
    return read_pin(value);
}

static const char *take_insecure(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    (void)value;
    push_meant(o)->insecure = 1;
    return NULL;
}

#define AT(field) offsetof(struct options, field)

static const struct rule rules[] = {
    {"--config", "FILE", take_config, 0, 0, 0, 0,
     "a file of options, one a line, as here: push live=rtmp://host/app/key\n"
     "Empty lines and those that begin with # count nothing. @FILE is the same.\n"
     "Keys stand better there than here, where ps shows them"},
    {"--addr", "ADDRESS[:PORT]", take_addr, 0, 0, 0, AGAIN,
     "listen on this address only; may be given several times (default: all,\nIPv4 and IPv6)"},
    {"--port", "PORT", take_number, AT(port), 0, 65535, 0, "listen on this port (default: 1935; 0: any free one)"},
    {"--tls", "PORT", take_tls, AT(tls_port), 0, 65535, 0,
     "serve rtmps too, on this port (443 is what programs expect; 0: any free one)"},
    {"--cert", "FILE", take_text, AT(cert), 0, 0, LOADS, "its certificate, PEM, with the chain behind it"},
    {"--key", "FILE", take_text, AT(key), 0, 0, LOADS, "the certificate's key, PEM"},
    {"--http", "[ADDRESS:]PORT", take_place, AT(http), 0, 0, 0,
     "serve players over HTTP here: http://ADDRESS:PORT/app/key.flv, by GET or as\na WebSocket (default: nowhere; a port alone is that of all addresses)"},
    {"--https", "[ADDRESS:]PORT", take_place, AT(https), 0, 0, 0, "the same encrypted, with --cert and --key"},
    {"--rest", "[ADDRESS:]PORT", take_place, AT(rest), 0, 0, 0,
     "serve control by HTTP here, with a page for people at / (default: nowhere;\na port alone is that of this machine; 0: any free one)"},
    {"--token-file", "FILE", take_text, AT(token_file), 0, 0, 0,
     "what holds the token that its requests must carry; it is made where it is\nnot there (default: a new token at each start, which is printed)"},
    {"--on-connect", "URL", take_text, AT(hooks.on_connect), 0, 0, LOADS,
     "ask this address, http:// or https://, when a peer connects: it may let it\n"
     "in, refuse it with a reason, or send it elsewhere (default: nobody is asked)"},
    {"--on-publish", "URL", take_text, AT(hooks.on_publish), 0, 0, LOADS, "likewise when one is to publish"},
    {"--on-play", "URL", take_text, AT(hooks.on_play), 0, 0, LOADS, "likewise when one is to play"},
    {"--on-publish-done", "URL", take_text, AT(hooks.on_publish_done), 0, 0, LOADS,
     "tell this address when one publishes no more (default: nobody is told)"},
    {"--on-play-done", "URL", take_text, AT(hooks.on_play_done), 0, 0, LOADS, "likewise when one plays no more"},
    {"--on-update", "URL", take_text, AT(hooks.on_update), 0, 0, LOADS,
     "tell this address again and again of each that publishes or plays; its\nanswer may end it"},
    {"--on-target-state", "URL", take_text, AT(hooks.on_target_state), 0, 0, LOADS,
     "tell this address when a push is in another state"},
    {"--hooks-timeout", "MS", take_number, AT(hooks.timeout_ms), 100, 60000, LOADS | HOOKS,
     "what an answer of these addresses may take (default: 5000)"},
    {"--hooks-fail-open", NULL, take_hooks_flag, 0, RR_HOOKS_FLAG_FAIL_OPEN, 0, BARE | LOADS | HOOKS,
     "without a good answer in time one is let in (default: refused)"},
    {"--hooks-update", "MS", take_time, AT(hooks.update_ms), 1000, 86400000, LOADS | HOOKS,
     "how often --on-update is told, or: off (default: 30000)"},
    {"--hooks-retry", "MS", take_time, AT(hooks.retry_ms), 1, 3600000, LOADS | HOOKS,
     "how long what is to be told is tried again, or: off (default: 60000)"},
    {"--hooks-requests", "N", take_number, AT(hooks.max_requests), 1, 4096, LOADS | HOOKS,
     "most requests of one hook at one time; others wait (default: 256)"},
    {"--hooks-secret", "FILE", take_secret, 0, 0, 0, LOADS | HOOKS,
     "sign requests with what this file holds (default: they are not signed)"},
    {"--hooks-ca", "FILE", take_text, AT(hooks.ca_file), 0, 0, LOADS | HOOKS,
     "roots to trust for https://, PEM (default: the system's)"},
    {"--notify", "WORD", take_dialect, 0, 0, 0, LOADS | HOOKS,
     "what these addresses speak: json; or nginx, as nginx-rtmp's on_publish and\nits like do (default: json)"},
    {"--notify-method", "WORD", take_method, 0, 0, 0, LOADS | HOOKS,
     "with nginx, requests have their fields in the body: post; or in the address:\nget (default: post)"},
    {"--notify-update-strict", NULL, take_hooks_flag, 0, RR_HOOKS_FLAG_STRICT_UPDATE, 0, BARE | LOADS | HOOKS,
     "with nginx, a redirect as the answer to an update ends the session too"},
    {"--notify-relay-redirect", NULL, take_hooks_flag, 0, RR_HOOKS_FLAG_RELAY_REDIRECT, 0, BARE | LOADS | HOOKS,
     "with nginx, a stream that is redirected to another server is named by the\nMD5 of the address"},
    {"--controller", "URL", take_controller, 0, 0, 0, AGAIN | LOADS,
     "ask this address, http:// or https://, where streams go next, where missing\n"
     "ones come from, and what takes the place of a relay that is lost; several\n"
     "are asked in their order (default: nobody is asked)"},
    {"--self", "ADDRESS", take_text, AT(controller.self_url), 0, 0, LOADS | CONTROLLER,
     "this server's address as others are to dial it, rtmp://host:port, which the\ncontroller is told (default: none)"},
    {"--controller-token", "FILE", take_controller_token, 0, 0, 0, LOADS | CONTROLLER,
     "what holds the token that goes with requests (default: nothing does)"},
    {"--controller-secret", "FILE", take_controller_secret, 0, 0, 0, LOADS | CONTROLLER,
     "sign requests with what this file holds, as --hooks-secret does"},
    {"--controller-ca", "FILE", take_text, AT(controller.ca_file), 0, 0, LOADS | CONTROLLER,
     "roots to trust for https://, PEM (default: the system's)"},
    {"--controller-timeout", "MS", take_number, AT(controller.timeout_ms), 100, 30000, LOADS | CONTROLLER,
     "what one controller may take for an answer (default: 2000)"},
    {"--controller-heartbeat", "MS", take_time, AT(controller.heartbeat_ms), 1000, 3600000, LOADS | CONTROLLER,
     "how often each is told of load and streams, or: off (default: 10000)"},
    {"--allow", "[WHAT] WHO", take_access, 0, 0, 0, AGAIN | LOADS | ROLE,
     "let these publish or play, or both where WHAT is left out: an address, a\n"
     "network (10.0.0.0/8, fd00::/8) or: all. The first --allow or --deny that\n"
     "fits decides, in the order given (default: everybody may)"},
    {"--deny", "[WHAT] WHO", take_access, 0, 0, 0, AGAIN | LOADS | ROLE,
     "refuse these: --allow publish 10.0.0.0/8 --deny publish all"},
    {"--publish-key", "FILE", take_text, AT(publish_key), 0, 0, LOADS,
     "the stream keys that may publish, one a line (default: any). Of a line\n"
     "show?pass=abc players need show alone"},
    {"--proxy", NULL, take_flag, AT(proxy), 0, 0, BARE,
     "each connection begins with a PROXY header, version 1 or 2, of a balancer;\none without is closed"},
    {"--policy", "WORD", take_policy, 0, 0, 0, 0,
     "a second publisher of a stream is refused: reject; replaces the first:\n"
     "takeover; or waits for its end: standby (default: reject)"},
    {"--silent", "MS", take_time, AT(stream.silent_ms), 1, 86400000, 0,
     "with reject, a publisher that sends nothing for this long gives way to a\n"
     "second one, or: off (default: 2000)"},
    {"--idle", "MS", take_time, AT(idle_ms), 1, 86400000, 0,
     "a publisher that sends nothing for this long is closed, or: off\n(default: 30000)"},
    {"--start", "WORD", take_start, 0, 0, 0, 0,
     "players begin at the cached group of pictures: gop; at the next key frame:\n"
     "key; or at the newest message: now (default: gop)"},
    {"--push", "[PATH=]URL", take_push, 0, 0, 0, AGAIN | LOADS,
     "push every stream (or those whose path begins with PATH: live, live/room)\n"
     "on to URL; may be given several times. rtmp://host/app gets each stream\n"
     "under its own key, rtmp://host/app/key under that key; {key} in the URL\n"
     "becomes the stream's key, which is what its path has behind PATH. // ends\n"
     "an application of several parts: rtmp://host/live/0123//key.\n"
     "rtmps:// encrypts"},
    {"--ca", "FILE", take_ca, 0, 0, 0, AGAIN | LOADS,
     "roots to trust, PEM, of the --push before it, or of every one where it\n"
     "stands before the first, as the next two (default: the system's)"},
    {"--pin", "SHA256", take_pin, 0, 0, 0, AGAIN | LOADS,
     "the public key to trust instead of roots, hex or base64 (default: none)"},
    {"--insecure", NULL, take_insecure, 0, 0, 0, AGAIN | BARE | LOADS,
     "no certificate check: whoever sits between reads and changes everything"},
    {"--keep-args", NULL, take_args, 0, 0, 0, BARE,
     "what encoders and players put behind a ? in their keys is part of the key,\n"
     "and pushed on with it (default: it is a credential: not part of the name,\n"
     "shown and pushed nowhere)"},
    {"--gop", "MS[/BYTES]", take_gop, 0, 0, 0, 0,
     "longest and largest cached group of pictures, so that players start with a\n"
     "picture at once (default: 10000/8388608), or: off"},
    {"--merge", "MS", take_number, AT(stream.merge_ms), 0, 10000, 0,
     "collect this long before sending: costs latency, saves work (default: 0)"},
    {"--grace", "MS", take_number, AT(stream.grace_ms), 0, 86400000, 0,
     "keep players and targets this long when the publisher is lost (default: 0)"},
    {"--max-sessions", "N", take_number, AT(max_sessions), 1, 1000000000, 0,
     "most connections at one time (default: 10000)"},
    {"--max-streams", "N", take_number, AT(max_streams), 1, 1000000000, 0,
     "most streams at one time (default: 1000)"},
    {"--max-sessions-ip", "N", take_number, AT(max_sessions_ip), 1, 1000000000, 0,
     "most connections of one address (default: no limit)"},
    {"--mem-limit", "BYTES", take_bytes, AT(mem_limit), 0, 0, 0,
     "most memory for media, from 1 MiB on; 64M is 64 MiB, 2G 2 GiB\n(default: no limit)"},
    {"--max-message", "N", take_number, AT(max_message), 4096, 16777215, 0,
     "largest RTMP message taken, in bytes (default: 16777215)"},
    {"--drain", "MS", take_number, AT(drain_ms), 0, 3600000, LOADS,
     "how long an orderly stop waits for players and targets to take the last\nmessages (default: 5000)"},
    {"--nice", "N", take_nice, 0, -20, 19, 0, "priority of the streams' threads, -20 to 19 (default: 0)"},
    {"--threads", "N", take_threads, AT(threads), 1, 256, 0,
     "threads that all streams share, for many small streams; without --nice; or\ntwo for each stream: stream (default: stream)"},
    {"--log", "LEVEL", take_level, 0, 0, 0, LOADS,
     "the library's lines: off, error, warn, info, debug, trace (default: warn)"},
    {"--format", "WORD", take_form, 0, 0, 0, 0,
     "lines with date and zone: plain; with journald's level in place of them:\n"
     "journal; or one JSON object each: json (default: plain)"},
    {"--show-keys", NULL, take_flag, AT(show_keys), 0, 0, BARE | LOADS,
     "show stream keys whole (default: they are hidden, as secrets: abc***#1, or\n"
     "***#1 of a short one, with the number of the stream)"},
    {"--version", NULL, NULL, 0, 0, 0, BARE, "print the version"},
    {"--help", NULL, NULL, 0, 0, 0, BARE, "print this"},
};

enum { RULES = sizeof rules / sizeof *rules };

/* ---- --help ---------------------------------------------------------------------------------------------------------- */

/* Where the words of an option begin. */
enum { HELP_COLUMN = 24 };

/* Appends to `out`, cutting what does not fit. */
static void add(char *out, size_t size, const char *text) {
    size_t len = strlen(out);
    if (len < size) snprintf(out + len, size - len, "%s", text);
}

static void describe(const struct rule *r, char *out, size_t size) {
    char head[64], one[2] = {0, 0};
    const char *c;
    int fits;
    snprintf(head, sizeof head, "  %s %s", r->name, r->value ? r->value : "");
    fits = strlen(head) < HELP_COLUMN;
    add(out, size, head);
    if (!fits) add(out, size, "\n");
    snprintf(head, sizeof head, "%*s", fits ? HELP_COLUMN - (int)strlen(head) : HELP_COLUMN, "");
    add(out, size, head);
    for (c = r->help; *c; c++) {
        *one = *c;
        add(out, size, one);
        if (*c != '\n') continue;
        snprintf(head, sizeof head, "%*s", HELP_COLUMN, "");
        add(out, size, head);
    }
    add(out, size, "\n");
}

int options_said(int argc, char **argv) {
    int i;
    size_t n;
    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0) {
            printf("rr_server %s\n", rr_version_string());
            return 1;
        }
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
        printf("rr_server - an RTMP relay: one publishes, many play, targets get it pushed\n\n"
               "usage: rr_server [--option value | --option=value | @FILE] ...\n\n");
        for (n = 0; n < RULES; n++) {
            char text[WHY_BYTES] = "";
            describe(&rules[n], text, sizeof text);
            fputs(text, stdout);
        }
        printf("\nCtrl-C (or SIGTERM) stops in order, a second one at once. The exit code is 0 after an orderly stop, 1 after\n"
               "a failure or a stop at once, 2 for wrong options. What happens is said on stdout; failures, and the library's\n"
               "lines, on stderr.\n"
               "\nSIGHUP reads --config and the files of --cert, --key, --publish-key, --hooks-secret, --hooks-ca and\n"
               "--controller-... anew; connections go on. Of the file's options these take effect at once, pushes for the\n"
               "streams that run too, and all others at the next start:\n ");
        for (n = 0; n < RULES; n++) {
            if (rules[n].flags & LOADS) printf(" %s", rules[n].name);
        }
        printf("\n");
        return 1;
    }
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

/* Where an option stands, in words: " in FILE, line 3". */
static void add_place(const struct options *o, unsigned line, char *why) {
    char text[32];
    if (!line) return;
    snprintf(text, sizeof text, ", line %u", line);
    add(why, WHY_BYTES, " in ");
    add(why, WHY_BYTES, o->config);
    add(why, WHY_BYTES, text);
}

/* What is wrong with an option, and what --help says of it. */
static int wrong(const struct options *o, const struct given *g, const char *name, const char *reason, char *why) {
    *why = '\0';
    add(why, WHY_BYTES, name);
    if (g->value) {
        add(why, WHY_BYTES, " ");
        add(why, WHY_BYTES, g->value);
    }
    add_place(o, g->line, why);
    add(why, WHY_BYTES, ": ");
    add(why, WHY_BYTES, reason);
    add(why, WHY_BYTES, "\n");
    if (g->rule) describe(g->rule, why, WHY_BYTES);
    return 0;
}

static const struct rule *rule_of(const char *name, size_t len) {
    size_t n;
    for (n = 0; n < RULES; n++) {
        if (strlen(rules[n].name) == len && memcmp(rules[n].name, name, len) == 0) return &rules[n];
    }
    return NULL;
}

static int read_config(struct options *o, char *why);

/* Takes one option; 0 with the reason in `why` where it is wrong. */
static int take(struct options *o, const struct given *g, const char *name, char *why) {
    const struct rule *r = g->rule;
    const char *reason;
    struct given *more;
    size_t i;
    if (!r || !r->read) return wrong(o, g, name, *name == '-' ? "no option; --help lists them" : "unexpected argument", why);
    if (!(r->flags & BARE) && !g->value) return wrong(o, g, name, "its value is missing", why);
    if ((r->flags & BARE) && g->value) return wrong(o, g, name, "it takes no value", why);
    for (i = 0; i < o->given_count && !(r->flags & AGAIN); i++) {
        if (o->given[i].rule != r) continue;
        wrong(o, g, name, "it is given twice, before that", why);
        why[strcspn(why, "\n")] = '\0';
        add(why, WHY_BYTES, o->given[i].line ? "" : " on the command line");
        add_place(o, o->given[i].line, why);
        add(why, WHY_BYTES, "\n");
        return 0;
    }
    more = (struct given *)realloc(o->given, (o->given_count + 1) * sizeof *more);
    if (!more) return wrong(o, g, name, "there is no memory for it", why);
    o->given = more;
    more[o->given_count++] = *g;
    reason = r->read(o, r, g->value);
    if (reason) return wrong(o, g, name, reason, why);
    return r->read == take_config ? read_config(o, why) : 1;
}

/* A file has a line for each of its options; more than this is no such file. */
enum { CONFIG_BYTES = 1 << 20 };

static char *read_file(const char *name) {
    FILE *file = fopen(name, "r");
    char *text = (char *)malloc(CONFIG_BYTES + 1);
    size_t len = 0;
    if (file && text) len = fread(text, 1, CONFIG_BYTES + 1, file);
    if (!file || !text || ferror(file) || len > CONFIG_BYTES || memchr(text, 0, len)) {
        if (file && len) errno = EINVAL;
        free(text);
        text = NULL;
    } else {
        text[len] = '\0';
    }
    if (file) fclose(file);
    return text;
}

/* One line: "push live=rtmp://host/app", "port = 1936", "--proxy". */
static int read_line(struct options *o, char *line, unsigned number, char *why) {
    char name[64];
    struct given g = {NULL, NULL, 0, NULL};
    size_t len, end;
    g.line = number;
    line += strspn(line, " \t\r");
    for (end = strlen(line); end && strchr(" \t\r", line[end - 1]); end--) line[end - 1] = '\0';
    if (*line == '\0' || *line == '#') return 1;
    if (strncmp(line, "--", 2) == 0) line += 2;
    len = strcspn(line, " \t=");
    snprintf(name, sizeof name, "--%.*s", (int)(len < 40 ? len : 40), line);
    line += len;
    line += strspn(line, " \t");
    if (*line == '=') line += 1 + strspn(line + 1, " \t");
    if (*line) g.value = line;
    g.rule = rule_of(name, strlen(name));
    if (strcmp(name, "--config") == 0) return wrong(o, &g, name, "a file names no other one", why);
    return take(o, &g, name, why);
}

static int read_config(struct options *o, char *why) {
    char *line, *next;
    unsigned number = 1;
    o->text = read_file(o->config);
    if (!o->text) {
        snprintf(why, WHY_BYTES, "--config %s: %s\n", o->config, strerror(errno));
        return 0;
    }
    for (line = o->text; line; line = next, number++) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        if (!read_line(o, line, number, why)) return 0;
    }
    return 1;
}

/* One of the command line, and its value behind it or behind a "=". Gives how many arguments that were, 0 for wrong. */
static int read_argument(struct options *o, int argc, char **argv, int i, char *why) {
    static const char config[] = "--config";
    const char *name = argv[i];
    size_t len = strcspn(name, "=");
    struct given g = {NULL, NULL, 0, NULL};
    int used = 1;
    if (*name == '@') {
        g.rule = rule_of(config, strlen(config));
        g.value = name + 1;
        return take(o, &g, config, why);
    }
    g.rule = rule_of(name, len);
    if (name[len] == '=') {
        g.value = name + len + 1;
    } else if (g.rule && !(g.rule->flags & BARE) && i + 1 < argc) {
        g.value = argv[i + 1];
        used = 2;
        if ((g.rule->flags & ROLE) && i + 2 < argc && (!strcmp(g.value, "publish") || !strcmp(g.value, "play"))) {
            size_t size = strlen(g.value) + strlen(argv[i + 2]) + 2;
            g.joined = (char *)malloc(size);
            if (!g.joined) return wrong(o, &g, name, "there is no memory for it", why);
            snprintf(g.joined, size, "%s %s", g.value, argv[i + 2]);
            g.value = g.joined;
            used = 3;
        }
    }
    return take(o, &g, g.rule ? g.rule->name : name, why) ? used : 0;
}

int hooks_any(const rr_hooks_config *h) {
    return h->on_connect || h->on_publish || h->on_play || h->on_publish_done || h->on_play_done || h->on_update ||
           h->on_target_state;
}

struct options *options_new(int argc, char **argv, char why[WHY_BYTES]) {
    struct options *o = (struct options *)calloc(1, sizeof *o);
    int i, used, encrypts;
    size_t n;
    if (!o) {
        snprintf(why, WHY_BYTES, "there is no memory for options\n");
        return NULL;
    }
    o->port = 1935;
    o->log_level = RR_LOG_WARN;
    o->drain_ms = 5000;
    RR_INIT(RR_CFG_STREAM, &o->stream);
    RR_INIT(RR_CFG_HOOKS, &o->hooks);
    RR_INIT(RR_CFG_CONTROLLER, &o->controller);
    for (i = 1; i < argc; i += used) {
        used = read_argument(o, argc, argv, i, why);
        if (!used) {
            options_free(o);
            return NULL;
        }
    }
    encrypts = o->tls || o->https;
    if (encrypts != (o->cert != NULL) || encrypts != (o->key != NULL)) {
        snprintf(why, WHY_BYTES, "--tls or --https, --cert and --key go together; --help lists the options\n");
        options_free(o);
        return NULL;
    }
    for (n = 0; n < o->given_count && !hooks_any(&o->hooks); n++) {
        if (!(o->given[n].rule->flags & HOOKS)) continue;
        snprintf(why, WHY_BYTES, "%s goes with --on-publish and its like; --help lists the options\n", o->given[n].rule->name);
        options_free(o);
        return NULL;
    }
    for (n = 0; n < o->given_count && !o->controller_count; n++) {
        if (!(o->given[n].rule->flags & CONTROLLER)) continue;
        snprintf(why, WHY_BYTES, "%s goes with --controller; --help lists the options\n", o->given[n].rule->name);
        options_free(o);
        return NULL;
    }
    if (o->token_file && !o->rest) {
        snprintf(why, WHY_BYTES, "--token-file goes with --rest; --help lists the options\n");
        options_free(o);
        return NULL;
    }
    return o;
}

void options_free(struct options *o) {
    size_t i;
    for (i = 0; i < o->push_count; i++) push_free(o->pushes[i]);
    free(o->pushes);
    free(o->every.ca);
    free(o->every.pin);
    for (i = 0; i < o->access_count; i++) free(o->access[i]);
    free(o->access);
    for (i = 0; i < o->given_count; i++) free(o->given[i].joined);
    free(o->given);
    free(o->secret);
    free(o->controller_token);
    free(o->controller_secret);
    free(o->text);
    free(o);
}

/* ---- SIGHUP ----------------------------------------------------------------------------------------------------------- */

/* The next place from `from` on where this option is given; given_count for none. */
static size_t next_given(const struct options *o, const struct rule *r, size_t from) {
    while (from < o->given_count && o->given[from].rule != r) from++;
    return from;
}

void options_unchanged(const struct options *before, const struct options *now, char *names, size_t size) {
    size_t n;
    *names = '\0';
    for (n = 0; n < RULES; n++) {
        const struct rule *r = &rules[n];
        size_t a = next_given(before, r, 0), b = next_given(now, r, 0);
        int same = 1;
        if (r->flags & LOADS) continue;
        while (same && a < before->given_count && b < now->given_count) {
            const char *x = before->given[a].value, *y = now->given[b].value;
            same = x == y || (x && y && strcmp(x, y) == 0);
            a = next_given(before, r, a + 1);
            b = next_given(now, r, b + 1);
        }
        if (same && a == before->given_count && b == now->given_count) continue;
        if (*names) add(names, size, ", ");
        add(names, size, r->name);
    }
}
