/*
 * publish_file: publishes an FLV file with only librtmp's interface: RTMP_SetupURL with its options, RTMP_Write in
 * slices of any size, RTMP_ReadPacket for the server's messages, RTMP_Close.
 *
 * In the source tree `make examples` builds it; with a library that was installed with LIBRTMP=1:
 *
 *   cc c-examples/publish_file.c $(pkg-config --cflags --libs rrelay) -o publish_file
 */
#define _POSIX_C_SOURCE 200809L
#include <librtmp/log.h>
#include <librtmp/rtmp.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <unistd.h>

static const char help[] =
    "publish_file - publishes an FLV file by RTMP\n"
    "\n"
    "usage: publish_file [options] FILE|- URL [key=value ...]\n"
    "\n"
    "  --pace X       send X times as fast as the file plays (default: 1, real time; 0: as fast as the server takes it)\n"
    "  --slice BYTES  read and pass this many bytes at a time (default: 4096)\n"
    "  --quiet        no progress line\n"
    "  --verbose      log the conversation with the server\n"
    "\n"
    "key=value are librtmp's options, e.g. timeout=5 pubUser=me pubPasswd=secret flashver=FMLE/3.0 tlsInsecure=1\n"
    "\n"
    "Ctrl-C ends it in order. The exit code is 0 when all was published, 1 when the server could not be reached or\n"
    "refused (a message says which), 2 for wrong options, 3 when the file cannot be read or is not FLV, 4 when the\n"
    "connection was lost, 130 after Ctrl-C.\n";

enum { DONE = 0, REFUSED = 1, USAGE = 2, BAD_FILE = 3, LOST = 4, INTERRUPTED = 130 };

enum { FLV_HEAD = 13, TAG_HEAD = 11, TAG_TAIL = 4, STATUS_MS = 500, STEP_MS = 100, FLUSH_MS = 5000 };

struct options {
    double pace;
    long slice;
    int quiet, verbose;
    const char *file;
    char url[4096]; /* followed by librtmp's options; RTMP_SetupURL writes to it and keeps using it */
};

/* The position in an FLV file that is read in slices of any size. */
struct scan {
    unsigned char head[FLV_HEAD];
    unsigned have;      /* bytes of a head that have been read */
    unsigned long skip; /* bytes to go to the next head */
    int began, bad;     /* the file's own head has been read; the data is not FLV */
    uint32_t ts_ms;     /* time of the newest tag */
    uint32_t first_ms;  /* time of the first tag */
    unsigned long tags;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
    RTMP_UserInterrupt(); /* ends a call that waits for the server */
}

/* Takes bytes up to the end of the next tag's head; returns how many, and whether the head is now complete. */
static size_t scan_head(struct scan *s, const char *bytes, size_t len, int *complete) {
    size_t at = 0;
    unsigned whole = s->began ? TAG_HEAD : FLV_HEAD;

    *complete = 0;
    while (at < len && !*complete && !s->bad) {
        if (s->skip > 0) {
            size_t step = len - at < s->skip ? len - at : s->skip;
            s->skip -= step;
            at += step;
            continue;
        }
        s->head[s->have++] = (unsigned char)bytes[at++];
        if (s->have < whole) continue;
        s->have = 0;
        if (!s->began) {
            s->began = 1;
            s->bad = memcmp(s->head, "FLV", 3) != 0;
            whole = TAG_HEAD;
            continue;
        }
        s->bad = s->head[0] != RTMP_PACKET_TYPE_AUDIO && s->head[0] != RTMP_PACKET_TYPE_VIDEO &&
                 s->head[0] != RTMP_PACKET_TYPE_INFO;
        s->skip = AMF_DecodeInt24((char *)s->head + 1) + TAG_TAIL;
        s->ts_ms = AMF_DecodeInt24((char *)s->head + 4) | (uint32_t)s->head[7] << 24;
        if (s->tags++ == 0) s->first_ms = s->ts_ms;
        *complete = 1;
    }
    return at;
}

/* Whether bytes of the server are available, or come within this time. */
static int is_readable(RTMP *r, int wait_ms) {
    struct timeval wait;
    fd_set set;
    int fd = RTMP_Socket(r);

    if (r->m_sb.sb_size > 0) return 1; /* the library has read ahead */
    if (fd < 0 || fd >= FD_SETSIZE) return 0;
    wait.tv_sec = wait_ms / 1000;
    wait.tv_usec = wait_ms % 1000 * 1000;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &wait) == 1;
}

/* Reads the server's messages and answers its pings; waits up to `wait_ms` for messages. FALSE: the connection is lost. */
static int listen_to(RTMP *r, int wait_ms) {
    RTMPPacket packet;

    /* In an HTTP tunnel the server sends only in answers to posts, which RTMP_Write makes. */
    if (r->Link.protocol & RTMP_FEATURE_HTTP) {
        struct timeval wait = {0, 0};
        wait.tv_usec = wait_ms * 1000;
        select(0, NULL, NULL, NULL, &wait);
        return RTMP_IsConnected(r);
    }
    memset(&packet, 0, sizeof packet);
    while (!interrupted && RTMP_IsConnected(r) && is_readable(r, wait_ms)) {
        if (!RTMP_ReadPacket(r, &packet)) {
            if (!RTMP_IsTimedout(r)) break;
        } else if (RTMPPacket_IsReady(&packet)) {
            RTMP_ClientPacket(r, &packet); /* closes the session if the server ends it */
            RTMPPacket_Free(&packet);
        }
        wait_ms = 0;
    }
    RTMPPacket_Free(&packet);
    return RTMP_IsConnected(r);
}

/* Waits until a tag is due. */
static int wait_until_due(RTMP *r, const struct scan *s, double pace, uint32_t began) {
    /* A tag whose time goes back is due at once. */
    int32_t since = (int32_t)(s->ts_ms - s->first_ms);
    double due_ms = since > 0 ? since / pace : 0;

    for (;;) {
        double left = due_ms - (double)(uint32_t)(RTMP_GetTime() - began);
        if (left <= 0) return TRUE;
        if (interrupted || !listen_to(r, left > STEP_MS ? STEP_MS : (int)left + 1)) return FALSE;
    }
}

static void show(const struct options *o, const struct scan *s, unsigned long long bytes, uint32_t began, int last) {
    static uint32_t shown;
    uint32_t now = RTMP_GetTime(), took = now - began;

    if (o->quiet || (!last && now - shown < STATUS_MS)) return;
    shown = now;
    RTMP_LogStatus("\r%10.3f s %12llu bytes %9.0f kbit/s", (double)(s->ts_ms - s->first_ms) / 1000, bytes,
                   (double)bytes * 8 / (took ? took : 1));
    if (last) RTMP_LogPrintf("%s", ""); /* ends the line */
}

/* Publishes one slice, in pieces if it is paced. */
static int publish_slice(RTMP *r, const struct options *o, struct scan *s, const char *slice, size_t len,
                         uint32_t began) {
    while (len > 0) {
        size_t piece = 0;
        int complete = 0;
        if (o->pace > 0) {
            piece = scan_head(s, slice, len, &complete);
        } else {
            while (piece < len && !s->bad) piece += scan_head(s, slice + piece, len - piece, &complete);
        }
        if (s->bad) {
            RTMP_Log(RTMP_LOGERROR, "%s is not an FLV file, or is damaged after tag %lu", o->file, s->tags);
            return BAD_FILE;
        }
        if (RTMP_Write(r, slice, (int)piece) != (int)piece) return LOST;
        slice += piece;
        len -= piece;
        if (complete && o->pace > 0 && !wait_until_due(r, s, o->pace, began)) return LOST;
    }
    return listen_to(r, 0) ? DONE : LOST;
}

/* Waits until the server's system has acknowledged all bytes: a close while the server's messages come in would drop
   the rest. */
static void flush(RTMP *r) {
    uint32_t began = RTMP_GetTime();
    int waiting = 0;

    while (RTMP_GetTime() - began < FLUSH_MS && !interrupted && listen_to(r, 10)) {
        if (ioctl(RTMP_Socket(r), SIOCOUTQ, &waiting) < 0 || waiting == 0) return;
    }
}

static int publish(RTMP *r, const struct options *o, int file) {
    struct scan scan;
    char *slice = malloc((size_t)o->slice);
    unsigned long long bytes = 0;
    uint32_t began = RTMP_GetTime();
    int code = slice ? DONE : BAD_FILE;

    memset(&scan, 0, sizeof scan);
    while (code == DONE && !interrupted) {
        ssize_t got = read(file, slice, (size_t)o->slice);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            RTMP_Log(RTMP_LOGERROR, "%s: %s", o->file, strerror(errno));
            code = BAD_FILE;
        }
        if (got <= 0) break;
        code = publish_slice(r, o, &scan, slice, (size_t)got, began);
        bytes += (unsigned long long)got;
        show(o, &scan, bytes, began, 0);
    }
    free(slice);
    show(o, &scan, bytes, began, 1);
    if (interrupted) return INTERRUPTED;
    if (code == LOST) RTMP_Log(RTMP_LOGERROR, "the connection is lost");
    if (code != DONE) return code;
    if (!scan.began || scan.tags == 0) {
        RTMP_Log(RTMP_LOGERROR, "%s is not an FLV file, or an empty one", o->file);
        return BAD_FILE;
    }
    if (scan.have > 0 || scan.skip > TAG_TAIL) RTMP_Log(RTMP_LOGERROR, "%s ends within a tag, which is not sent", o->file);
    flush(r);
    return DONE;
}

static int wrong(const char *what) {
    fprintf(stderr, "publish_file: %s: wrong or missing; --help lists the options\n", what);
    return USAGE;
}

/* Prints why publishing could not begin, and how to see the library's log. */
static int failed(const char *what, int verbose) {
    if (interrupted) return INTERRUPTED;
    RTMP_Log(RTMP_LOGERROR, "%s%s", what, verbose ? "" : " (--verbose shows the conversation)");
    return REFUSED;
}

/* Checks the beginning of a file before connecting; the beginning of a pipe is checked later. */
static int is_flv(int file) {
    char head[3];
    ssize_t got = pread(file, head, sizeof head, 0);
    return got < 0 ? errno == ESPIPE : got == sizeof head && memcmp(head, "FLV", sizeof head) == 0;
}

/* Returns DONE, USAGE, or -1 if --help has been printed. */
static int parse_options(struct options *o, int argc, char **argv) {
    int i;
    char *end;

    memset(o, 0, sizeof *o);
    o->pace = 1;
    o->slice = 4096;
    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return -1;
        }
        if (strcmp(argv[i], "--quiet") == 0) {
            o->quiet = 1;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            o->verbose = 1;
        } else if (strcmp(argv[i], "--pace") == 0) {
            o->pace = strtod(value, &end);
            if (end == value || *end || !(o->pace >= 0 && o->pace <= 1e6)) return wrong(argv[i]);
            i++;
        } else if (strcmp(argv[i], "--slice") == 0) {
            o->slice = strtol(value, &end, 10);
            if (end == value || *end || o->slice < 1 || o->slice > 1 << 24) return wrong(argv[i]);
            i++;
        } else {
            return wrong(argv[i]);
        }
    }
    if (argc - i < 2) return wrong("FILE and URL");
    o->file = argv[i++];
    for (; i < argc; i++) {
        size_t len = strlen(o->url);
        if (len + strlen(argv[i]) + 2 > sizeof o->url) return wrong(argv[i]);
        snprintf(o->url + len, sizeof o->url - len, "%s%s", len ? " " : "", argv[i]);
    }
    return DONE;
}

/* If the program is started with stdin, stdout or stderr closed, a socket would get its number, and output would go there. */
static int fill_descriptors(void) {
    int fd;
    for (fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return 0;
    }
    return 1;
}

int main(int argc, char **argv) {
    static struct options o;
    struct sigaction action;
    int file, code;
    RTMP *r;

    if (!fill_descriptors()) return BAD_FILE;
    code = parse_options(&o, argc, argv);
    if (code != DONE) return code < 0 ? 0 : code;
    RTMP_LogSetLevel(o.verbose ? RTMP_LOGDEBUG : RTMP_LOGERROR);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    file = strcmp(o.file, "-") == 0 ? 0 : open(o.file, O_RDONLY);
    if (file < 0) {
        RTMP_Log(RTMP_LOGERROR, "%s: %s", o.file, strerror(errno));
        return BAD_FILE;
    }
    if (!is_flv(file)) {
        RTMP_Log(RTMP_LOGERROR, "%s is not an FLV file", o.file);
        return BAD_FILE;
    }
    r = RTMP_Alloc();
    if (!r) return REFUSED;
    RTMP_Init(r);
    if (!RTMP_SetupURL(r, o.url)) {
        code = wrong("URL");
    } else {
        RTMP_EnableWrite(r);
        /* The library gives the reason only by RTMP_Log: no field of RTMP has it. */
        if (!RTMP_Connect(r, NULL)) {
            code = failed("the server cannot be reached", o.verbose);
        } else if (!RTMP_ConnectStream(r, 0)) {
            code = failed("the server was reached, but it refused the publish or did not answer", o.verbose);
        } else {
            code = publish(r, &o, file);
        }
    }
    RTMP_Close(r); /* tells the server that publishing has ended, also after Ctrl-C */
    RTMP_Free(r);
    close(file);
    return code;
}
