/* Both ways to get events: a descriptor in the host's own loop, and a callback. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <poll.h>
#include <time.h>

struct seen {
    rr_server *server;
    int accepting, stopped, after;
    void *user;
};

static void on_event(void *user, const rr_event *ev) {
    struct seen *seen = (struct seen *)user;
    if (seen->stopped) seen->after++;
    if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_ACCEPTING) seen->accepting = 1;
    if (ev->type == RR_EV_SERVER && ev->state == RR_STATE_STOPPED) {
        /* Neither call may wait for this thread. */
        rr_server_free(seen->server);
        if (strstr(rr_last_error(), rr_strerror(RR_ERR_THREAD)) != NULL) seen->stopped = 1;
    }
    seen->user = ev->user;
}

static void wait_for(const int *flag) {
    struct timespec tick = {0, 10 * 1000 * 1000};
    int i;
    for (i = 0; i < 1000 && !*(const volatile int *)flag; i++) nanosleep(&tick, NULL);
}

static void by_callback(void) {
    rr_server_config c;
    const rr_event *ev = NULL;
    static struct seen seen;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.on_event = on_event;
    c.user = &seen;
    CHECK(rr_server_new(&c, &seen.server) == RR_OK);
    CHECK(rr_event_next(seen.server, &ev, 0) == RR_ERR_STATE);
    CHECK(rr_event_fd(seen.server) == RR_ERR_STATE);
    CHECK(rr_server_listen(seen.server, "127.0.0.1:0", 0) > 0);
    wait_for(&seen.accepting);
    CHECK(seen.accepting && seen.user == &seen);
    CHECK(rr_server_stop(seen.server, NULL, 1000) == RR_OK);
    wait_for(&seen.stopped);
    CHECK(seen.stopped);
    rr_server_free(seen.server);
    CHECK(seen.after == 0);
}

static void by_descriptor(void) {
    rr_server *s = NULL;
    const rr_event *ev = NULL;
    struct pollfd p;
    int stopped = 0;
    CHECK(rr_server_new(NULL, &s) == RR_OK);
    p.fd = rr_event_fd(s);
    p.events = POLLIN;
    CHECK(p.fd >= 0);
    CHECK(rr_event_next(s, &ev, 0) == 0 && ev == NULL);
    CHECK(poll(&p, 1, 0) == 0);
    CHECK(rr_server_listen(s, "127.0.0.1:0", 0) > 0);
    CHECK(poll(&p, 1, 5000) == 1);
    CHECK(rr_event_next(s, &ev, 0) == 1);
    CHECK(ev->type == RR_EV_SERVER && ev->prev == RR_STATE_IDLE && ev->state == RR_STATE_ACCEPTING);
    CHECK(ev->error == RR_OK && ev->time_us > 0 && *ev->app == '\0');
    CHECK(rr_event_wake(s) == RR_OK);
    CHECK(poll(&p, 1, 5000) == 1);
    CHECK(rr_event_next(s, &ev, -1) == 0 && ev == NULL);
    CHECK(poll(&p, 1, 0) == 0);
    CHECK(rr_server_stop(s, NULL, 1000) == RR_OK);
    while (!stopped) {
        CHECK(rr_event_next(s, &ev, 5000) == 1);
        stopped = ev->type == RR_EV_SERVER && ev->state == RR_STATE_STOPPED;
    }
    /* Waiting for events ends with the server. */
    CHECK(rr_event_next(s, &ev, -1) == RR_ERR_CLOSED && ev == NULL);
    rr_server_free(s);
}

int main(void) {
    by_descriptor();
    by_callback();
    return 0;
}
