/* The table of the bundled server's options: what each is called, takes and does, and what --help says of it. */
#ifndef RR_SERVER_RULES_H
#define RR_SERVER_RULES_H

#include "rr_server.h"

#include <stddef.h>

/* Puts an option's value into `o`; gives what is wrong with the value, or NULL. */
typedef const char *reader(struct options *o, const struct rule *r, const char *value);

enum {
    AGAIN = 1,       /* it may be given several times */
    LOADS = 2,       /* SIGHUP loads it anew */
    BARE = 4,        /* it takes no value */
    ROLE = 8,        /* its value may begin with publish or play, on the command line as an argument of its own */
    HOOKS = 16,      /* it needs the URL of a hook beside it */
    CONTROLLER = 32, /* it needs --controller beside it */
    CONFIG = 64,     /* it names the file of options */
    WORKER = 128,    /* it needs --isolate process beside it */
    REST = 256       /* it needs --rest beside it */
};

struct rule {
    const char *name, *value;
    reader *read;
    size_t at; /* the offset in struct options, for readers of numbers and texts */
    long low, high;
    unsigned flags;
    const char *help;
};

/* rr_server_rules.c */
extern const struct rule rules[];
extern const size_t rule_count;

#endif
