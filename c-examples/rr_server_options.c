/* Reads the bundled server's options from the command line and from a file, and says what is wrong with them. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server_rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- --help ---------------------------------------------------------------------------------------------------------- */

/* The column at which an option's explanation begins. */
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
        printf("rr_server - an RTMP relay: one publishes, many play, and streams are pushed on to other servers\n\n"
               "usage: rr_server [--option value | --option=value | @FILE] ...\n\n");
        for (n = 0; n < rule_count; n++) {
            char text[WHY_BYTES] = "";
            describe(&rules[n], text, sizeof text);
            fputs(text, stdout);
        }
        printf("\nCtrl-C (or SIGTERM) stops in order, a second one at once. The exit code is 0 after an orderly stop, 1 after\n"
               "a failure or an immediate stop, 2 for wrong options. Events are printed to stdout; failures, and the\n"
               "library's log lines, to stderr.\n"
               "\nSIGUSR2 replaces the running server by the program that is installed now, with the same options: streams and\n"
               "connections go on there. If the new one cannot start, this one goes on and says why.\n"
               "\nSIGHUP reads --config and the files of --cert, --key, --publish-key, --hooks-secret, --hooks-ca and\n"
               "--controller-... again; connections go on. Of the options in --config the following take effect at once,\n"
               "pushes also for the streams that run; the others need a restart:\n ");
        for (n = 0; n < rule_count; n++) {
            if (rules[n].flags & LOADS) printf(" %s", rules[n].name);
        }
        printf("\n");
        return 1;
    }
    return 0;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------- */

/* Says where an option stands: " in FILE, line 3". */
static void add_place(const struct options *o, unsigned line, char *why) {
    char text[32];
    if (!line) return;
    snprintf(text, sizeof text, ", line %u", line);
    add(why, WHY_BYTES, " in ");
    add(why, WHY_BYTES, o->config);
    add(why, WHY_BYTES, text);
}

/* Says what is wrong with an option, and what --help says of it. */
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
    for (n = 0; n < rule_count; n++) {
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
    if (!r || !r->read) return wrong(o, g, name, *name == '-' ? "unknown option; --help lists them" : "unexpected argument", why);
    if (!(r->flags & BARE) && !g->value) return wrong(o, g, name, "its value is missing", why);
    if ((r->flags & BARE) && g->value) return wrong(o, g, name, "it takes no value", why);
    for (i = 0; i < o->given_count && !(r->flags & AGAIN); i++) {
        if (o->given[i].rule != r) continue;
        wrong(o, g, name, "it is given twice, first", why);
        why[strcspn(why, "\n")] = '\0';
        add(why, WHY_BYTES, o->given[i].line ? "" : " on the command line");
        add_place(o, o->given[i].line, why);
        add(why, WHY_BYTES, "\n");
        return 0;
    }
    more = (struct given *)realloc(o->given, (o->given_count + 1) * sizeof *more);
    if (!more) return wrong(o, g, name, "out of memory", why);
    o->given = more;
    more[o->given_count++] = *g;
    reason = r->read(o, r, g->value);
    if (reason) return wrong(o, g, name, reason, why);
    return r->flags & CONFIG ? read_config(o, why) : 1;
}

/* Reads one line of the file: "push live=rtmp://host/app", "port = 1936", "--proxy". */
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
    if (strcmp(name, "--config") == 0) return wrong(o, &g, name, "a file of options cannot name another one", why);
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

/* Reads one option of the command line, and its value from the next argument or behind a "=". Gives how many arguments were
   used, 0 for a wrong one. */
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
            if (!g.joined) return wrong(o, &g, name, "out of memory", why);
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
        snprintf(why, WHY_BYTES, "out of memory\n");
        return NULL;
    }
    o->port = 1935;
    o->log_level = RR_LOG_WARN;
    o->drain_ms = 5000;
    o->upgrade_drain_ms = 60000;
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
        snprintf(why, WHY_BYTES, "--tls and --https need --cert and --key, and these need one of them; --help lists the options\n");
        options_free(o);
        return NULL;
    }
    for (n = 0; n < o->given_count; n++) {
        unsigned flags = o->given[n].rule->flags;
        const char *needed = flags & HOOKS && !hooks_any(&o->hooks)              ? "a hook such as --on-publish"
                             : flags & CONTROLLER && !o->controller_count        ? "--controller"
                             : flags & WORKER && o->isolate != RR_ISOLATE_PROCESS ? "--isolate process"
                             : flags & REST && !o->rest                          ? "--rest"
                                                                                 : NULL;
        if (!needed) continue;
        snprintf(why, WHY_BYTES, "%s needs %s; --help lists the options\n", o->given[n].rule->name, needed);
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

/* The index of the first use of this option from `from` on; given_count for none. */
static size_t next_given(const struct options *o, const struct rule *r, size_t from) {
    while (from < o->given_count && o->given[from].rule != r) from++;
    return from;
}

void options_unchanged(const struct options *before, const struct options *now, char *names, size_t size) {
    size_t n;
    *names = '\0';
    for (n = 0; n < rule_count; n++) {
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
