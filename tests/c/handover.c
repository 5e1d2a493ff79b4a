/* A process per stream by hand: a parent accepts, and gives each connection that publishes or plays to a worker, over a
   socket pair. docs/processes.md shows the parts. */
#define _GNU_SOURCE
#include "check.h"
#include "peer.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

enum { STATE_BYTES = 16 * 1024 };

/* A message of one chunk of type 0: a key frame, with words in it. */
static const unsigned char picture[] = "\6\0\0\7\0\0\46\11\1\0\0\0\27\1\0\0\0a picture out of another process.";
#define WORDS "a picture out of another process."

/* Sends a connection and its state as one message, or a stream's state with no connection (-1). What is on its way belongs
   to neither process: if nobody takes it, the system closes it. */
static void give(int to, int fd, void *state, size_t len) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec bytes;
    struct msghdr message;
    bytes.iov_base = state;
    bytes.iov_len = len;
    memset(&control, 0, sizeof control);
    memset(&message, 0, sizeof message);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
    }
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    CHECK(sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)len);
    CHECK(fd < 0 || close(fd) == 0);
}

/* Takes what `give` sent. 0: the other process has ended. */
static size_t take(int from, int *fd, void *state, size_t room) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec bytes;
    struct msghdr message;
    ssize_t len;
    bytes.iov_base = state;
    bytes.iov_len = room;
    memset(&message, 0, sizeof message);
    message.msg_iov = &bytes;
    message.msg_iovlen = 1;
    message.msg_control = &control;
    message.msg_controllen = sizeof control;
    len = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
    CHECK(len >= 0 && !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
    *fd = -1;
    if (len > 0 && message.msg_controllen > 0) {
        CHECK(message.msg_controllen > 0 && control.head.cmsg_type == SCM_RIGHTS);
        memcpy(fd, CMSG_DATA(&control.head), sizeof *fd);
    }
    return (size_t)len;
}

static rr_server *asking(void) {
    rr_server_config config;
    rr_server *server = NULL;
    CHECK(RR_INIT(RR_CFG_SERVER, &config) == RR_OK);
    config.ask = RR_ASK_PUBLISH | RR_ASK_PLAY;
    config.ask_ms = RR_OFF;
    CHECK(rr_server_new(&config, &server) == RR_OK);
    return server;
}

/* The worker: it does not listen, and imports what the parent sends until the parent is gone. */
static int work(int from) {
    rr_server *server = asking();
    struct pollfd waits[2];
    int asked = 0;
    memset(waits, 0, sizeof waits);
    waits[0].fd = from;
    waits[1].fd = rr_event_fd(server);
    waits[0].events = waits[1].events = POLLIN;
    for (;;) {
        const rr_event *ev;
        CHECK(poll(waits, 2, -1) > 0);
        while (rr_event_next(server, &ev, 0) == 1) {
            if (ev->type != RR_EV_PUBLISH_ASK && ev->type != RR_EV_PLAY_ASK) continue;
            CHECK(strcmp(ev->app, "live") == 0 && strcmp(ev->query, "token=1") == 0);
            CHECK(strcmp(ev->key, "show") == 0 || strcmp(ev->key, "film") == 0);
            CHECK(rr_session_allow(server, ev->session, NULL) == RR_OK);
            asked++;
        }
        if (waits[0].revents) {
            static unsigned char state[STATE_BYTES];
            int fd = -1;
            size_t len = take(from, &fd, state, sizeof state);
            if (len == 0) break;
            if (fd < 0) CHECK(rr_stream_import(server, state, len, NULL) == RR_OK);
            else CHECK(rr_session_import(server, fd, state, len) == RR_OK);
        }
    }
    rr_server_free(server);
    return asked == 3 ? 0 : 2;
}

/* A process of its own with the other end of `pair`. It keeps no end of the parent's: `also` is closed too. */
static pid_t spawn(int (*run)(int), int pair[2], int also) {
    pid_t child;
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(pair[0]);
        if (also >= 0) close(also);
        _exit(run(pair[1]));
    }
    CHECK(close(pair[1]) == 0);
    return child;
}

static int sleeper(int from) {
    while (pause() < 0) continue;
    return from;
}

static int descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    CHECK(folder != NULL);
    while (readdir(folder)) count++;
    CHECK(closedir(folder) == 0);
    return count;
}

/* Moves a session to another process; its last event says so. */
static void pass_session_on(rr_server *server, rr_session id, int to) {
    static unsigned char state[STATE_BYTES];
    size_t len = sizeof state;
    const rr_event *ev;
    int fd;
    CHECK(rr_session_export(server, id, &fd, state, &len) == RR_OK);
    do CHECK(rr_event_next(server, &ev, 20000) == 1);
    while (!(ev->flags & RR_EVF_LAST) || ev->session != id);
    CHECK(ev->state == RR_STATE_STOPPED && ev->error == RR_OK && ev->text[0]);
    give(to, fd, state, len);
}

/* Moves the session that waits for an answer to another process. */
static void pass_on(rr_server *server, uint32_t type, int to) { pass_session_on(server, next_ask(server, type), to); }

/* Moves a stream to another process, and then its publisher and its players. */
static void pass_stream_on(rr_server *server, const char *key, int to) {
    static unsigned char state[STATE_BYTES];
    size_t len = sizeof state;
    rr_id ids[4];
    rr_stream stream;
    int i, n;
    CHECK(rr_stream_find(server, "live", key, &stream) == RR_OK);
    CHECK(rr_stream_export(server, stream, 20000, state, &len) == RR_OK);
    give(to, -1, state, len);
    n = rr_server_list(server, stream, RR_KIND_SESSION, ids, 4);
    CHECK(n == 2);
    for (i = 0; i < n; i++) pass_session_on(server, ids[i], to);
    CHECK(rr_stream_stop(server, stream, 0) == RR_OK);
}

/* Reads until these bytes have come. */
static void hears(int fd, const char *words) {
    size_t len = strlen(words), got = 0;
    while (got < len) {
        char byte;
        CHECK(read(fd, &byte, 1) == 1);
        got = byte == words[got] ? got + 1 : byte == words[0];
    }
}

int main(void) {
    int pair[2], other[2], port, before, publisher, player, third, film, news, status, gone;
    rr_session id;
    /* The fork comes before the server, because a server's threads would not exist in the child. */
    pid_t worker = spawn(work, pair, -1), idle = spawn(sleeper, other, pair[0]);
    rr_server *server = asking();
    char byte;
    port = rr_server_listen(server, "127.0.0.1:0", 0);
    CHECK(port > 0);
    before = descriptors();

    publisher = peer(port);
    publish(publisher, "show?token=1");
    pass_on(server, RR_EV_PUBLISH_ASK, pair[0]);
    hears(publisher, "NetStream.Publish.Start");
    player = peer(port);
    play(player, "show?token=1");
    pass_on(server, RR_EV_PLAY_ASK, pair[0]);
    hears(player, "NetStream.Play.Start");
    CHECK(write(publisher, picture, sizeof picture - 1) == sizeof picture - 1);
    hears(player, WORDS);
    CHECK(rr_server_list(server, 0, RR_KIND_SESSION, NULL, 0) == 0);
    CHECK(descriptors() == before + 2); /* the peers' own */
    CHECK(close(player) == 0);

    /* One that publishes here already, and is in the middle of a message. */
    film = peer(port);
    publish(film, "film?token=1");
    id = next_ask(server, RR_EV_PUBLISH_ASK);
    CHECK(rr_session_allow(server, id, NULL) == RR_OK);
    hears(film, "NetStream.Publish.Start");
    CHECK(write(film, picture, 20) == 20);
    pass_session_on(server, id, pair[0]);
    CHECK(write(film, picture + 20, sizeof picture - 21) == sizeof picture - 21);
    player = peer(port);
    play(player, "film?token=1");
    pass_on(server, RR_EV_PLAY_ASK, pair[0]);
    hears(player, WORDS);

    /* A stream with one who plays it, in the middle of a message. */
    CHECK(close(player) == 0);
    news = peer(port);
    publish(news, "news");
    CHECK(rr_session_allow(server, next_ask(server, RR_EV_PUBLISH_ASK), NULL) == RR_OK);
    hears(news, "NetStream.Publish.Start");
    player = peer(port);
    play(player, "news");
    CHECK(rr_session_allow(server, next_ask(server, RR_EV_PLAY_ASK), NULL) == RR_OK);
    hears(player, "NetStream.Play.Start");
    CHECK(write(news, picture, sizeof picture - 1) == sizeof picture - 1);
    hears(player, WORDS);
    CHECK(write(news, picture, 20) == 20);
    pass_stream_on(server, "news", pair[0]);
    CHECK(write(news, picture + 20, sizeof picture - 21) == sizeof picture - 21);
    hears(player, WORDS);

    /* If a process is killed before it has read a connection from the socket pair, the connection is closed. */
    third = peer(port);
    publish(third, "show");
    pass_on(server, RR_EV_PUBLISH_ASK, other[0]);
    CHECK(kill(idle, SIGKILL) == 0 && waitpid(idle, &status, 0) == idle);
    CHECK(close(other[0]) == 0);
    do gone = (int)read(third, &byte, 1);
    while (gone == 1);
    CHECK(gone == 0);

    rr_server_free(server);
    CHECK(close(pair[0]) == 0);
    CHECK(waitpid(worker, &status, 0) == worker && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(publisher), close(player), close(third), close(film), close(news);
    return 0;
}
