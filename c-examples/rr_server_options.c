/* The command line of the bundled server. */
#include "rr_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "rr_server - an RTMP relay: one publishes, many play, targets get it pushed\n"
    "\n"
    "usage: rr_server [options]\n"
    "\n"
    "  --addr ADDRESS      listen on this address only (default: all, IPv4 and IPv6)\n"
    "  --port PORT         listen on this port (default: 1935; 0: any free one)\n"
    "  --tls PORT          serve rtmps too, on this port (443 is what programs expect; 0: any free one)\n"
    "  --cert FILE         its certificate, PEM, with the chain behind it\n"
    "  --key FILE          the certificate's key, PEM\n"
    "  --push [APP=]URL    push every stream (or those of one application) on to URL; may be given several times.\n"
    "                      rtmp://host/app gets each stream under its own key, rtmp://host/app/key under that key;\n"
    "                      {key} in the URL becomes the stream's key; rtmps:// encrypts\n"
    "  --gop MS[/BYTES]    longest and largest cached group of pictures, so that players start with a picture at\n"
    "                      once (default: 10000/8388608), or: off\n"
    "  --merge MS          collect this long before sending: costs latency, saves work (default: 0, at once)\n"
    "  --grace MS          keep players and targets this long when the publisher is lost (default: 0)\n"
    "  --max-sessions N    most connections at one time (default: 10000)\n"
    "  --max-streams N     most streams at one time (default: 1000)\n"
    "  --max-sessions-ip N most connections of one address (default: no limit)\n"
    "  --mem-limit BYTES   most memory for media, from 1 MiB on; 64M is 64 MiB, 2G 2 GiB (default: no limit)\n"
    "  --max-message N     largest RTMP message taken, in bytes (default: 16777215)\n"
    "  --keep-args         what encoders and players put behind a ? in their keys is part of the key, and pushed on\n"
    "                      with it (default: it is a credential: not part of the name, shown and pushed nowhere)\n"
    "  --drain MS          how long an orderly stop waits for players and targets to take the last messages\n"
    "                      (default: 5000)\n"
    "  --nice N            priority of the streams' threads, -20 to 19 (default: 0)\n"
    "  --log LEVEL         log to stderr: off, error, warn, info, debug, trace (default: warn)\n"
    "  --show-keys         show stream keys whole (default: they are hidden, as secrets: abc***#1, or ***#1 of a short\n"
    "                      one, with the number of the stream)\n"
    "  --version           print the version\n"
    "  --help              print this\n"
    "\n"
    "Ctrl-C (or SIGTERM) stops in order, a second one at once. The exit code is 0 after an orderly stop, 1 after a\n"
    "failure or a stop at once, 2 for wrong options. SIGHUP loads --cert and --key anew; connections go on.\n";

/* Says what is wrong with an option's value, and what --help says of the option. */
static int wrong(const char *option, const char *value, const char *why) {
    const char *at = strstr(help, "\n  --");
    size_t name = strlen(option);
    while (at && (strncmp(at + 3, option, name) != 0 || at[3 + name] != ' ')) at = strstr(at + 1, "\n  --");
    if (value) {
        fprintf(stderr, "rr_server: %s %s: %s\n", option, value, why);
    } else {
        fprintf(stderr, "rr_server: %s: its value is missing\n", option);
    }
    if (at) {
        const char *next = strstr(at + 1, "\n  --");
        fprintf(stderr, "%.*s\n", (int)(next - at - 1), at + 1); /* --help is the last one */
    }
    return -1;
}

/* A whole number from `low` to `high`. */
static int number(const char *text, long low, long high, long *out) {
    char *end;
    if (!text || !*text) return 0;
    *out = strtol(text, &end, 10);
    return *end == '\0' && *out >= low && *out <= high;
}

static int unsigned_number(const char *text, long low, long high, unsigned *out) {
    long value;
    if (!number(text, low, high, &value)) return 0;
    *out = (unsigned)value;
    return 1;
}

/* Bytes, or with M or G behind it MiB or GiB. */
static int bytes(const char *text, uint64_t *out) {
    char *end;
    unsigned shift = 0;
    unsigned long long value;
    if (!text || *text < '0' || *text > '9') return 0;
    value = strtoull(text, &end, 10);
    if (*end == 'M') shift = 20;
    if (*end == 'G') shift = 30;
    if (shift) end++;
    if (*end != '\0' || value > (1ULL << 50) >> shift) return 0;
    *out = (uint64_t)value << shift;
    return *out >= 1u << 20;
}

/* "off", MS, or MS/BYTES. */
static int gop(const char *text, rr_stream_config *c) {
    char *end;
    long ms, bytes;
    if (!text) return 0;
    if (strcmp(text, "off") == 0) {
        c->gop_ms = c->gop_bytes = RR_OFF;
        return 1;
    }
    ms = strtol(text, &end, 10);
    if (end == text || ms < 1 || ms > 3600000) return 0;
    c->gop_ms = (uint32_t)ms;
    if (*end == '\0') return 1;
    if (*end != '/' || !number(end + 1, 1, 1L << 30, &bytes)) return 0;
    c->gop_bytes = (uint32_t)bytes;
    return 1;
}

static int log_level(const char *text, int *out) {
    static const char *const levels[] = {"off", "error", "warn", "info", "debug", "trace"};
    int i;
    for (i = RR_LOG_OFF; text && i <= RR_LOG_TRACE; i++) {
        if (strcmp(text, levels[i]) == 0) {
            *out = i;
            return 1;
        }
    }
    return 0;
}

/* rtmp://host/app or more; the rest is the library's to judge. */
static int is_url(const char *text) {
    size_t scheme = strncmp(text, "rtmps://", 8) == 0 ? 8 : strncmp(text, "rtmp://", 7) == 0 ? 7 : 0;
    size_t host = scheme ? strcspn(text + scheme, "/") : 0;
    const char *app = text + scheme + host;
    return host && app[0] == '/' && app[1] != '\0' && app[1] != '/' && !strpbrk(text, " \t\r\n");
}

/* URL, or APP=URL: the sign counts only before the scheme. Gives what is wrong with it, NULL for nothing. */
static const char *push(struct options *o, char *text) {
    char *scheme = text ? strstr(text, "://") : NULL;
    char *sign = text ? strchr(text, '=') : NULL;
    struct push *p = &o->pushes[o->push_count];
    if (!scheme) return "a url is wanted, rtmp://host/app";
    if (o->push_count == MAX_PUSHES) return "these are too many";
    if (sign && sign > scheme) sign = NULL;
    p->app = sign ? text : NULL;
    p->url = sign ? sign + 1 : text;
    if (!is_url(p->url)) return "that is no url of the form rtmp://host/app or rtmps://host/app";
    if (sign) *sign = '\0';
    o->push_count++;
    return NULL;
}

int parse_options(struct options *o, int argc, char **argv) {
    long nice;
    int i, good;
    memset(o, 0, sizeof *o);
    o->port = 1935;
    o->log_level = RR_LOG_WARN;
    o->drain_ms = 5000;
    RR_INIT(RR_CFG_STREAM, &o->stream);
    for (i = 1; i < argc; i++) {
        const char *name = argv[i];
        char *value = i + 1 < argc ? argv[i + 1] : NULL;
        const char *why = "wrong value";
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (strcmp(name, "--version") == 0) {
            printf("rr_server %s\n", rr_version_string());
            return 0;
        }
        if (strcmp(name, "--show-keys") == 0) {
            o->show_keys = 1;
            continue;
        }
        if (strcmp(name, "--keep-args") == 0) {
            o->stream.args = RR_ARGS_KEY;
            continue;
        }
        if (strcmp(name, "--addr") == 0) {
            o->addr = value;
            good = value && *value;
        } else if (strcmp(name, "--port") == 0) {
            good = unsigned_number(value, 0, 65535, &o->port);
        } else if (strcmp(name, "--tls") == 0) {
            good = o->tls = unsigned_number(value, 0, 65535, &o->tls_port);
        } else if (strcmp(name, "--cert") == 0) {
            o->cert = value;
            good = value && *value;
        } else if (strcmp(name, "--key") == 0) {
            o->key = value;
            good = value && *value;
        } else if (strcmp(name, "--push") == 0) {
            why = push(o, value);
            good = !why;
        } else if (strcmp(name, "--gop") == 0) {
            good = gop(value, &o->stream);
        } else if (strcmp(name, "--merge") == 0) {
            good = unsigned_number(value, 0, 10000, &o->stream.merge_ms);
        } else if (strcmp(name, "--grace") == 0) {
            good = unsigned_number(value, 0, 86400000, &o->stream.grace_ms);
        } else if (strcmp(name, "--max-sessions") == 0) {
            good = unsigned_number(value, 1, 1000000000, &o->max_sessions);
        } else if (strcmp(name, "--max-streams") == 0) {
            good = unsigned_number(value, 1, 1000000000, &o->max_streams);
        } else if (strcmp(name, "--max-sessions-ip") == 0) {
            good = unsigned_number(value, 1, 1000000000, &o->max_sessions_ip);
        } else if (strcmp(name, "--mem-limit") == 0) {
            good = bytes(value, &o->mem_limit);
        } else if (strcmp(name, "--max-message") == 0) {
            good = unsigned_number(value, 4096, 16777215, &o->max_message);
        } else if (strcmp(name, "--drain") == 0) {
            good = unsigned_number(value, 0, 3600000, &o->drain_ms);
        } else if (strcmp(name, "--nice") == 0) {
            good = number(value, -20, 19, &nice);
            if (good) o->stream.nice = (int32_t)nice;
        } else if (strcmp(name, "--log") == 0) {
            good = log_level(value, &o->log_level);
        } else {
            const char *what = *name == '-' ? "no option" : "unexpected argument";
            fprintf(stderr, "rr_server: %s %s; --help lists the options\n", what, name);
            return -1;
        }
        if (!good) return wrong(name, value, why);
        i++;
    }
    if (o->tls != (o->cert != NULL) || o->tls != (o->key != NULL)) {
        fprintf(stderr, "rr_server: --tls, --cert and --key go together; --help lists the options\n");
        return -1;
    }
    return 1;
}
