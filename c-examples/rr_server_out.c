/* Lines on their way out. A pipe that nobody empties, a stopped terminal or a full disk must not stop the loop that takes
   events and signals: lines go into a bounded buffer, and a thread for each of stdout and stderr writes them and waits
   alone. What does not fit is dropped, counted, and told of when there is room again.

   A thread, and not a descriptor made non-blocking: O_NONBLOCK belongs to the open file, which whoever started this program
   shares, and would change it for them. And not poll() before each write: another process can fill the pipe between the
   two. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 256 * 1024, /* a few thousand lines */
    WRITE_BYTES = 4096,        /* at one time: what a pipe takes as a whole, and no line is longer */
    STATUS_BYTES = 256,
    RETRY_MS = 1000,           /* between looks at a descriptor that somebody has made non-blocking */
    FINISH_MS = 300,           /* out_finish: who takes nothing for this long takes nothing more */
    FINISH_ROUNDS = 7          /* and so often it waits for who takes something */
};

struct output {
    int fd;
    int has_status;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* there is something to write, or all is written */
    char bytes[BUFFER_BYTES];
    size_t begin, len; /* of what waits */
    unsigned long dropped; /* lines since the last one that went into the buffer */
    unsigned long written; /* how often something went out, or was given up */
    int writing;
    char status[STATUS_BYTES]; /* "" for none */
    int status_new, status_shown;
};

static struct output outputs[2];
/* The output of each. stdout and stderr share one where they are one file: two threads would mix up the order of lines. */
static struct output *ways[2];

/* Copies into the buffer what has room there. */
static void put(struct output *o, const char *text, size_t len) {
    size_t at = (o->begin + o->len) % BUFFER_BYTES;
    size_t first = len < BUFFER_BYTES - at ? len : BUFFER_BYTES - at;
    memcpy(o->bytes + at, text, first);
    memcpy(o->bytes, text + first, len - first);
    o->len += len;
}

/* The next lines, whole ones, at most WRITE_BYTES of them. */
static size_t next_lines(struct output *o, char *out) {
    size_t len = o->len < (size_t)WRITE_BYTES ? o->len : (size_t)WRITE_BYTES;
    size_t first = len < BUFFER_BYTES - o->begin ? len : BUFFER_BYTES - o->begin;
    memcpy(out, o->bytes + o->begin, first);
    memcpy(out + first, o->bytes, len - first);
    while (len && out[len - 1] != '\n') len--;
    o->begin = (o->begin + len) % BUFFER_BYTES;
    o->len -= len;
    return len;
}

/* Writes all, and waits as long as that takes. 0 where it never will: the reader has gone, or the disk is full. */
static int write_all(int fd, const char *text, size_t len) {
    while (len) {
        ssize_t got = write(fd, text, len);
        if (got > 0) {
            text += got;
            len -= (size_t)got;
        } else if (got < 0 && errno == EAGAIN) {
            struct pollfd polled;
            polled.fd = fd;
            polled.events = POLLOUT;
            poll(&polled, 1, RETRY_MS);
        } else if (got == 0 || errno != EINTR) {
            return 0;
        }
    }
    return 1;
}

static unsigned long lines_in(const char *text, size_t len) {
    unsigned long lines = 0;
    size_t i;
    for (i = 0; i < len; i++) lines += text[i] == '\n';
    return lines;
}

static void *write_lines(void *way) {
    static const char clear[] = "\r\033[K";
    struct output *o = (struct output *)way;
    char text[WRITE_BYTES + STATUS_BYTES + sizeof clear];
    pthread_mutex_lock(&o->lock);
    for (;;) {
        size_t head = 0, len;
        int good, shows;
        while (!o->len && !o->status_new) {
            o->writing = 0;
            pthread_cond_broadcast(&o->changed);
            pthread_cond_wait(&o->changed, &o->lock);
        }
        o->writing = 1;
        if (o->status_shown) {
            memcpy(text, clear, sizeof clear - 1);
            head = sizeof clear - 1;
        }
        len = next_lines(o, text + head);
        shows = o->has_status && !o->len && *o->status;
        if (shows) strcpy(text + head + len, o->status);
        if (!o->len) o->status_new = 0;
        pthread_mutex_unlock(&o->lock);
        good = write_all(o->fd, text, head + len + (shows ? strlen(text + head + len) : 0));
        pthread_mutex_lock(&o->lock);
        o->status_shown = shows;
        o->written++;
        if (!good) o->dropped += lines_in(text + head, len);
    }
    return NULL;
}

static int same_file(int a, int b) {
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int out_start(void) {
    sigset_t all, before;
    int i, failed = 0;
    /* Signals are the main thread's, and one for a reader that has gone is nobody's: write() says it too. */
    signal(SIGPIPE, SIG_IGN);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (i = 0; i < 2; i++) {
        struct output *o = &outputs[i];
        pthread_t thread;
        if (i && same_file(STDOUT_FILENO, STDERR_FILENO)) {
            ways[i] = ways[0];
            break;
        }
        ways[i] = o;
        o->fd = i ? STDERR_FILENO : STDOUT_FILENO;
        o->has_status = !i && isatty(o->fd);
        failed |= pthread_mutex_init(&o->lock, NULL) || pthread_cond_init(&o->changed, NULL) ||
                  pthread_create(&thread, NULL, write_lines, o);
        if (!failed) pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed ? -1 : 0;
}

void out_line(int to, const char *text, size_t len) {
    struct output *o = ways[to];
    char lost[64] = "";
    size_t lost_len = 0;
    if (len >= WRITE_BYTES) len = WRITE_BYTES - 1;
    pthread_mutex_lock(&o->lock);
    if (o->dropped) lost_len = (size_t)snprintf(lost, sizeof lost, "(%lu lines were dropped here)\n", o->dropped);
    if (o->len + lost_len + len + 1 > BUFFER_BYTES) {
        o->dropped++;
    } else {
        put(o, lost, lost_len);
        put(o, text, len);
        put(o, "\n", 1);
        o->dropped = 0;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
}

int out_has_status(void) {
    return outputs[0].has_status;
}

void out_status(const char *text) {
    struct output *o = &outputs[0];
    pthread_mutex_lock(&o->lock);
    snprintf(o->status, sizeof o->status, "%s", text);
    o->status_new = 1;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
}

/* Waits as long as lines go out. */
static void finish(struct output *o) {
    unsigned long written;
    int rounds = 0;
    pthread_mutex_lock(&o->lock);
    do {
        struct timespec until;
        int late = 0;
        written = o->written;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += FINISH_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        while ((o->len || o->writing) && !late) late = pthread_cond_timedwait(&o->changed, &o->lock, &until) == ETIMEDOUT;
    } while ((o->len || o->writing) && o->written != written && ++rounds < FINISH_ROUNDS);
    pthread_mutex_unlock(&o->lock);
}

void out_finish(void) {
    if (out_has_status()) out_status("");
    finish(ways[TO_STDOUT]);
    if (ways[TO_STDERR] != ways[TO_STDOUT]) finish(ways[TO_STDERR]);
}
