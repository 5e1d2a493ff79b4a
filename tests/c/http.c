/* A host whose players come over HTTP: it publishes by itself, decides who plays, and sees players as sessions. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static const unsigned char header[] = {0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f};
static const unsigned char picture[] = {0x17, 1, 0, 0, 0, 0xAB, 0xCD};

/* A player that has sent its request. */
static int ask_for(int port, const char *target) {
    char request[128];
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0), len;
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    len = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", target);
    CHECK(write(fd, request, (size_t)len) == (ssize_t)len);
    return fd;
}

/* Whether `what` is in the answer, which is read until it has come, or to the end. */
static int answers(int fd, const void *what, size_t what_len, unsigned char *answer, size_t size, size_t *len) {
    size_t at;
    for (;;) {
        ssize_t got;
        for (at = 0; at + what_len <= *len; at++) {
            if (memcmp(answer + at, what, what_len) == 0) return 1;
        }
        got = read(fd, answer + *len, size - *len);
        if (got <= 0) return 0;
        *len += (size_t)got;
    }
}

static int says(int fd, const char *what) {
    unsigned char answer[4096];
    size_t len = 0;
    int so = answers(fd, what, strlen(what), answer, sizeof answer, &len);
    close(fd);
    return so;
}

/* Waits for an event of this type; of a session's states, for this one. */
static rr_session wait_for(rr_server *s, uint32_t type, uint32_t state) {
    const rr_event *ev;
    while (rr_event_next(s, &ev, 30000) == 1) {
        if (ev->type == type && (type != RR_EV_SESSION || ev->state == state)) return ev->session;
    }
    CHECK(!"the event came");
    return 0;
}

static void write_frame(rr_server *s, rr_stream id, const unsigned char *body, size_t len, int64_t ts_ms) {
    rr_frame f;
    CHECK(RR_INIT(RR_CFG_FRAME, &f) == RR_OK);
    f.type = RR_MSG_VIDEO;
    f.data = body;
    f.len = len;
    f.ts_ms = ts_ms;
    CHECK(rr_stream_write(s, id, &f) == RR_OK);
}

int main(void) {
    rr_server *s;
    rr_server_config c;
    rr_stream show;
    rr_session player;
    rr_info info;
    unsigned char answer[4096];
    size_t len = 0;
    int port, fd;
    static const char *const nobody[] = {"deny play 127.0.0.1", NULL};

    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.ask = RR_ASK_PLAY;
    CHECK(rr_server_new(&c, &s) == RR_OK);
    CHECK(rr_server_listen(s, "127.0.0.1:0", RR_LISTEN_HTTP | RR_LISTEN_TLS) == RR_ERR_STATE);
    port = rr_server_listen(s, "127.0.0.1:0", RR_LISTEN_HTTP);
    CHECK(port > 0);
    CHECK(rr_stream_create(s, "live", "show", NULL, &show) == RR_OK);
    write_frame(s, show, header, sizeof header, 0);
    write_frame(s, show, picture, sizeof picture, 0);

    /* The first request is denied with a text, the next one is allowed. */
    fd = ask_for(port, "/live/show.flv");
    player = wait_for(s, RR_EV_PLAY_ASK, 0);
    CHECK(rr_session_deny(s, player, "", "not today") == RR_OK);
    CHECK(answers(fd, "not today", 9, answer, sizeof answer, &len) && memcmp(answer, "HTTP/1.1 403 ", 13) == 0);
    close(fd);
    len = 0;
    fd = ask_for(port, "/live/show.flv");
    player = wait_for(s, RR_EV_PLAY_ASK, 0);
    CHECK(rr_session_allow(s, player, NULL) == RR_OK);
    CHECK(answers(fd, picture, sizeof picture, answer, sizeof answer, &len));
    CHECK(memcmp(answer, "HTTP/1.1 200 OK\r\n", 17) == 0);
    CHECK(answers(fd, "\r\n\r\nFLV\1", 8, answer, sizeof answer, &len));
    CHECK(wait_for(s, RR_EV_SESSION, RR_STATE_IN_PROGRESS) == player);
    CHECK(rr_info_get(s, player, &info, sizeof info) == RR_OK);
    CHECK(info.role == RR_ROLE_PLAYER && info.stream == show && strcmp(info.key, "show") == 0);
    CHECK(rr_session_close(s, player, "enough", 0) == RR_OK);
    CHECK(!answers(fd, "never", 5, answer, sizeof answer, &len)); /* it ends */
    close(fd);

    /* A stream that does not exist, and a player that is denied. */
    fd = ask_for(port, "/live/none.flv");
    player = wait_for(s, RR_EV_PLAY_ASK, 0);
    CHECK(rr_session_allow(s, player, NULL) == RR_OK);
    CHECK(says(fd, "404 Not Found"));
    CHECK(says(ask_for(port, "/live/show"), "404 Not Found"));
    CHECK(rr_server_set_access(s, nobody, NULL) == RR_OK);
    CHECK(says(ask_for(port, "/live/show.flv"), "nobody may play here from this address"));
    rr_server_free(s);
    return 0;
}
