/* The bundled server's options: how the value of each is read, and the table of them all. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const policies[] = {"reject", "takeover", "standby", NULL};
static const char *const starts[] = {"", "key", "gop", "now", NULL};
static const char *const levels[] = {"off", "error", "warn", "info", "debug", "trace", NULL};
static const char *const methods[] = {"post", "get", NULL};
static const char *const dialects[] = {"json", "nginx", NULL};
static const char *const forms[] = {"plain", "journal", "json", NULL};

/* Each push gets a number of its own, also across a reload of the file. */
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
    o->config = value; /* options_new reads the file */
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

static const char *take_isolate(struct options *o, const struct rule *r, const char *value) {
    static const char *const words[] = {"threads", "process", NULL};
    int isolate = 0;
    const char *why = read_word(value, words, &isolate);
    (void)r;
    o->isolate = (unsigned)isolate;
    return why;
}

static const char *take_addr(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    if (o->addr_count == MAX_ADDRS) return "there are too many of these";
    o->addrs[o->addr_count++] = value;
    return read_address(value);
}

static const char *take_place(struct options *o, const struct rule *r, const char *value) {
    *(const char **)place(o, r) = value;
    return read_address(value);
}

/* The library reads a rule as the option's name without its dashes, and its value. */
static const char *take_access(struct options *o, const struct rule *r, const char *value) {
    char **more = (char **)realloc(o->access, (o->access_count + 2) * sizeof *more);
    size_t size = strlen(r->name) + strlen(value);
    if (!more) return "out of memory";
    o->access = more;
    more[o->access_count] = (char *)malloc(size);
    if (!more[o->access_count]) return "out of memory";
    snprintf(more[o->access_count++], size, "%s %s", r->name + 2, value);
    more[o->access_count] = NULL;
    return *value ? NULL : "wrong value";
}

static const char *take_gop(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return read_gop(value, &o->stream);
}

/* One of some words; its place in the list is its number in the library. */
static const char *take_word(const char *value, const char *const words[], uint32_t *out) {
    int word = 0;
    const char *why = *value ? read_word(value, words, &word) : "wrong value";
    *out = (uint32_t)word;
    return why;
}

static const char *take_policy(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return take_word(value, policies, &o->stream.publisher_policy);
}

static const char *take_start(struct options *o, const struct rule *r, const char *value) {
    (void)r;
    return take_word(value, starts, &o->stream.start);
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
    (void)r;
    return take_word(value, dialects, &o->hooks.dialect);
}

/* One bit of the library's flags. */
static const char *take_bit(struct options *o, const struct rule *r, const char *value) {
    (void)value;
    *(uint32_t *)place(o, r) |= (uint32_t)r->low;
    return NULL;
}

static const char *take_method(struct options *o, const struct rule *r, const char *value) {
    int word = 0;
    const char *why = read_word(value, methods, &word);
    (void)r;
    if (word) o->hooks.flags |= RR_HOOKS_FLAG_GET;
    return why;
}

/* Reads a secret: the file's text without the white space at its end. */
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
    if (o->controller_count == MAX_CONTROLLERS) return "there are too many of these";
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
        return "out of memory";
    }
    o->pushes[o->push_count++] = p;
    p->number = ++last_push;
    return read_push(value, p);
}

/* An option before the first --push is for every push, a later one for the push before it. */
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

const struct rule rules[] = {
    {"--config", "FILE", take_config, 0, 0, 0, CONFIG,
     "read options from this file, one a line: push live=rtmp://host/app/key\n"
     "Empty lines and lines that begin with # are ignored. @FILE does the same.\n"
     "Put keys there: ps shows everybody the command line"},
    {"--addr", "ADDRESS[:PORT]", take_addr, 0, 0, 0, AGAIN,
     "listen on this address only; may be given several times (default: all,\nIPv4 and IPv6)"},
    {"--port", "PORT", take_number, AT(port), 0, 65535, 0, "listen on this port (default: 1935; 0: any free one)"},
    {"--tls", "PORT", take_tls, AT(tls_port), 0, 65535, 0,
     "serve rtmps too, on this port (443 is what programs expect; 0: any free one)"},
    {"--cert", "FILE", take_text, AT(cert), 0, 0, LOADS, "the certificate, PEM, followed by its chain"},
    {"--key", "FILE", take_text, AT(key), 0, 0, LOADS, "the certificate's private key, PEM"},
    {"--http", "[ADDRESS:]PORT", take_place, AT(http), 0, 0, 0,
     "serve players over HTTP here: http://ADDRESS:PORT/app/key.flv, by GET or as\na WebSocket (default: nowhere; a port alone means all addresses)"},
    {"--https", "[ADDRESS:]PORT", take_place, AT(https), 0, 0, 0, "likewise over TLS, with --cert and --key (default: nowhere)"},
    {"--rest", "[ADDRESS:]PORT", take_place, AT(rest), 0, 0, 0,
     "serve the control API over HTTP here, and a page for people at /\n(default: nowhere; a port alone means 127.0.0.1; 0: any free one)"},
    {"--token-file", "FILE", take_text, AT(token_file), 0, 0, REST,
     "the file with the token that requests to --rest must carry; it is created if\nmissing (default: a new token at each start, printed)"},
    {"--rest-open-readers", NULL, take_bit, AT(rest_flags), RR_REST_OPEN_READERS, 0, BARE | REST,
     "/metrics, /stat and /noalbs need no token: whoever reaches --rest can read\nthem"},
    {"--rest-key-labels", NULL, take_bit, AT(rest_flags), RR_REST_KEY_LABELS, 0, BARE | REST,
     "/metrics also shows applications and keys (default: only ids, as keys are\nsecrets)"},
    {"--on-connect", "URL", take_text, AT(hooks.on_connect), 0, 0, LOADS,
     "ask this URL, http:// or https://, when a peer connects: the answer lets it\n"
     "in, refuses it with a reason, or redirects it (default: nobody is asked)"},
    {"--on-publish", "URL", take_text, AT(hooks.on_publish), 0, 0, LOADS, "likewise when a session wants to publish"},
    {"--on-play", "URL", take_text, AT(hooks.on_play), 0, 0, LOADS, "likewise when a session wants to play"},
    {"--on-publish-done", "URL", take_text, AT(hooks.on_publish_done), 0, 0, LOADS,
     "tell this URL when a publish has ended (default: nobody is told)"},
    {"--on-play-done", "URL", take_text, AT(hooks.on_play_done), 0, 0, LOADS, "likewise when a play has ended"},
    {"--on-update", "URL", take_text, AT(hooks.on_update), 0, 0, LOADS,
     "tell this URL at intervals of each publisher and player; the answer may\nend the session"},
    {"--on-target-state", "URL", take_text, AT(hooks.on_target_state), 0, 0, LOADS,
     "tell this URL when a push changes its state"},
    {"--hooks-timeout", "MS", take_number, AT(hooks.timeout_ms), 100, 60000, LOADS | HOOKS,
     "how long an answer of a hook may take (default: 5000)"},
    {"--hooks-fail-open", NULL, take_bit, AT(hooks.flags), RR_HOOKS_FLAG_FAIL_OPEN, 0, BARE | LOADS | HOOKS,
     "without a valid answer in time the session is let in (default: refused)"},
    {"--hooks-update", "MS", take_time, AT(hooks.update_ms), 1000, 86400000, LOADS | HOOKS,
     "how often --on-update is told, or: off (default: 30000)"},
    {"--hooks-retry", "MS", take_time, AT(hooks.retry_ms), 1, 3600000, LOADS | HOOKS,
     "how long a failed notification is retried, or: off (default: 60000)"},
    {"--hooks-requests", "N", take_number, AT(hooks.max_requests), 1, 4096, LOADS | HOOKS,
     "most requests of one hook at a time; others wait (default: 256)"},
    {"--hooks-secret", "FILE", take_secret, 0, 0, 0, LOADS | HOOKS,
     "sign requests with the secret in this file (default: they are not signed)"},
    {"--hooks-ca", "FILE", take_text, AT(hooks.ca_file), 0, 0, LOADS | HOOKS,
     "roots to trust for https://, PEM (default: the system's)"},
    {"--notify", "WORD", take_dialect, 0, 0, 0, LOADS | HOOKS,
     "the form of hook requests: json; or nginx, the form of nginx-rtmp's\non_publish and the like (default: json)"},
    {"--notify-method", "WORD", take_method, 0, 0, 0, LOADS | HOOKS,
     "with nginx, requests have their fields in the body: post; or in the URL:\nget (default: post)"},
    {"--notify-update-strict", NULL, take_bit, AT(hooks.flags), RR_HOOKS_FLAG_STRICT_UPDATE, 0, BARE | LOADS | HOOKS,
     "with nginx, a redirect as the answer to an update ends the session too"},
    {"--notify-relay-redirect", NULL, take_bit, AT(hooks.flags), RR_HOOKS_FLAG_RELAY_REDIRECT, 0, BARE | LOADS | HOOKS,
     "with nginx, a stream that is redirected to another server is named by the\nMD5 of its URL"},
    {"--controller", "URL", take_controller, 0, 0, 0, AGAIN | LOADS,
     "ask this URL, http:// or https://, where a stream is pushed to, where a\n"
     "missing one is pulled from, and what replaces a lost relay; given several\n"
     "times, they are asked in order (default: nobody is asked)"},
    {"--self", "ADDRESS", take_text, AT(controller.self_url), 0, 0, LOADS | CONTROLLER,
     "the URL at which other servers reach this one, rtmp://host:port, for the\ncontroller (default: none)"},
    {"--controller-token", "FILE", take_controller_token, 0, 0, 0, LOADS | CONTROLLER,
     "the file with the token that requests carry (default: nothing does)"},
    {"--controller-secret", "FILE", take_controller_secret, 0, 0, 0, LOADS | CONTROLLER,
     "sign requests with the secret in this file, as --hooks-secret does"},
    {"--controller-ca", "FILE", take_text, AT(controller.ca_file), 0, 0, LOADS | CONTROLLER,
     "roots to trust for https://, PEM (default: the system's)"},
    {"--controller-timeout", "MS", take_number, AT(controller.timeout_ms), 100, 30000, LOADS | CONTROLLER,
     "how long an answer of one controller may take (default: 2000)"},
    {"--controller-heartbeat", "MS", take_time, AT(controller.heartbeat_ms), 1000, 3600000, LOADS | CONTROLLER,
     "how often each is told the load and the streams, or: off (default: 10000)"},
    {"--allow", "[WHAT] WHO", take_access, 0, 0, 0, AGAIN | LOADS | ROLE,
     "let WHO (an address, a network such as 10.0.0.0/8 or fd00::/8, or: all)\n"
     "publish or play, or both without WHAT. The first --allow or --deny that\n"
     "matches decides, in the order given (default: everybody may)"},
    {"--deny", "[WHAT] WHO", take_access, 0, 0, 0, AGAIN | LOADS | ROLE,
     "refuse WHO, as in: --allow publish 10.0.0.0/8 --deny publish all"},
    {"--publish-key", "FILE", take_text, AT(publish_key), 0, 0, LOADS,
     "a file of the stream keys that may publish, one a line (default: any). With\n"
     "a line show?pass=abc, players still play show, except with --keep-args"},
    {"--proxy", NULL, take_flag, AT(proxy), 0, 0, BARE,
     "each connection begins with a balancer's PROXY header, version 1 or 2;\nconnections without one are closed"},
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
     "roots to trust, PEM, for the --push before this option; before the first\n"
     "--push, for all of them. So do the next two (default: the system's)"},
    {"--pin", "SHA256", take_pin, 0, 0, 0, AGAIN | LOADS,
     "trust this public key instead of roots, hex or base64 (default: none)"},
    {"--insecure", NULL, take_insecure, 0, 0, 0, AGAIN | BARE | LOADS,
     "do not check certificates: whoever sits in between can read and change all"},
    {"--keep-args", NULL, take_args, 0, 0, 0, BARE,
     "what stands behind a ? in a key is part of the key, and is pushed on with it\n"
     "(default: it is a credential: not part of the name, shown and pushed\n"
     "nowhere)"},
    {"--gop", "MS[/BYTES]", take_gop, 0, 0, 0, 0,
     "longest and largest cached group of pictures, so that players start with a\n"
     "picture at once (default: 10000/8388608), or: off"},
    {"--merge", "MS", take_number, AT(stream.merge_ms), 0, 10000, 0,
     "collect media this long before sending: saves CPU, costs latency (default: 0)"},
    {"--grace", "MS", take_number, AT(stream.grace_ms), 0, 86400000, 0,
     "keep players and targets this long after the publisher is lost (default: 0)"},
    {"--max-sessions", "N", take_number, AT(max_sessions), 1, 1000000000, 0,
     "most connections at a time (default: 10000)"},
    {"--max-streams", "N", take_number, AT(max_streams), 1, 1000000000, 0,
     "most streams at a time (default: 1000)"},
    {"--max-sessions-ip", "N", take_number, AT(max_sessions_ip), 1, 1000000000, 0,
     "most connections from one address (default: no limit)"},
    {"--mem-limit", "BYTES", take_bytes, AT(mem_limit), 0, 0, 0,
     "most memory for media, at least 1 MiB; 64M is 64 MiB, 2G is 2 GiB\n(default: no limit)"},
    {"--max-message", "N", take_number, AT(max_message), 4096, 16777215, 0,
     "largest RTMP message accepted, in bytes (default: 16777215)"},
    {"--drain", "MS", take_number, AT(drain_ms), 0, 3600000, LOADS,
     "how long an orderly stop waits until players and targets have the last\nmessages (default: 5000)"},
    {"--upgrade-drain", "MS", take_number, AT(upgrade_drain_ms), 0, 86400000, LOADS,
     "after a SIGUSR2, how long connections that the new server cannot take may\nstay (default: 60000)"},
    {"--nice", "N", take_nice, 0, -20, 19, 0, "priority of the streams' threads, -20 to 19 (default: 0)"},
    {"--threads", "N", take_threads, AT(threads), 1, 256, 0,
     "number of threads that all streams share, for many small streams; not with\n--nice; or: stream, two threads for each stream (default: stream)"},
    {"--relay-threads", "N", take_number, AT(stream.relay_threads), 0, 16, 0,
     "most threads that send to one stream's players, or 0: 1, and for a stream\nof more than 500 players up to 4, with one processor left; more than 1 not\nwith --threads N (default: 0)"},
    {"--isolate", "WORD", take_isolate, 0, 0, 0, 0,
     "where streams run: threads of this process, or each in a process of its own:\nprocess; then --threads are those that talk to the processes, 1 unless it is\ngiven (default: threads)"},
    {"--worker", "FILE", take_text, AT(worker), 0, 0, WORKER,
     "the program of a stream's process (default: rrelay-worker, beside the\nlibrary or in PATH)"},
    {"--worker-memory", "BYTES", take_bytes, AT(worker_memory), 0, 0, WORKER,
     "most memory of each process, at least 32M (default: no limit)"},
    {"--worker-files", "N", take_number, AT(worker_files), 64, 1048576, WORKER,
     "most files that each process can have open, connections too (default: as many\nas this one)"},
    {"--worker-hung", "MS", take_time, AT(worker_hung_ms), 2000, 600000, WORKER,
     "a process that does not answer for this long is killed (default: 10000), or:\noff"},
    {"--worker-dir", "DIR", take_text, AT(worker_dir), 0, 0, WORKER,
     "processes go on when this server is killed, and wait for the next one in this\nfolder, which belongs to this user alone (default: they end too)"},
    {"--worker-orphan", "MS", take_number, AT(worker_orphan_ms), 1000, 86400000, WORKER,
     "how long they wait (default: 60000)"},
    {"--log", "LEVEL", take_level, 0, 0, 0, LOADS,
     "which log lines of the library are printed: off, error, warn, info, debug,\ntrace (default: warn)"},
    {"--format", "WORD", take_form, 0, 0, 0, 0,
     "how lines begin: plain, with date and zone; journal, with journald's level\n"
     "instead; or each line a JSON object: json (default: plain)"},
    {"--show-keys", NULL, take_flag, AT(show_keys), 0, 0, BARE | LOADS,
     "print stream keys whole (default: they are secrets, and hidden: abc***#1, or\n"
     "***#1 of a short one, with the number of the stream)"},
    {"--version", NULL, NULL, 0, 0, 0, BARE, "print the version"},
    {"--help", NULL, NULL, 0, 0, 0, BARE, "print this"},
};

const size_t rule_count = sizeof rules / sizeof *rules;
