/* A peer over loopback for the C test programs: as much RTMP as makes a server ask the host. */
#ifndef PEER_H
#define PEER_H

#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t text_to(unsigned char *to, const char *text) {
    size_t len = strlen(text);
    to[0] = 2;
    to[1] = 0;
    to[2] = (unsigned char)len;
    memcpy(to + 3, text, len);
    return len + 3;
}

static void all(int fd, unsigned char *bytes, size_t len, int writes) {
    ssize_t done;
    for (; len > 0; bytes += done, len -= (size_t)done) {
        done = writes ? write(fd, bytes, len) : read(fd, bytes, len);
        CHECK(done > 0);
    }
}

/* A command of one chunk: name, transaction, null or (of connect) an object with the application, and a text. */
static void command(int fd, const char *name, unsigned char stream_id, const char *text) {
    unsigned char chunk[140] = {3}, *at = chunk + 12;
    at += text_to(at, name);
    at[0] = 0;
    at[1] = 0x3f, at[2] = 0xf0;
    at += 9;
    if (strcmp(name, "connect") == 0) {
        memcpy(at, "\3\0\3app", 6);
        at += 6;
        at += text_to(at, text);
        memcpy(at, "\0\0\t", 3);
        at += 3;
    } else {
        *at++ = 5;
        at += text_to(at, text);
    }
    chunk[6] = (unsigned char)(at - chunk - 12);
    chunk[7] = 20;
    chunk[8] = stream_id;
    all(fd, chunk, (size_t)(at - chunk), 1);
}

static int dial(int port) {
    struct sockaddr_in to;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_port = htons((uint16_t)port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* A peer that has connected to the application `live`. */
static int peer(int port) {
    static unsigned char hello[1 + 2 * 1536];
    int fd = dial(port);
    memset(hello, 0, sizeof hello);
    hello[0] = 3;
    all(fd, hello, 1537, 1);
    all(fd, hello, sizeof hello, 0);
    all(fd, hello + 1, 1536, 1);
    command(fd, "connect", 0, "live");
    return fd;
}

static void publish(int fd, const char *key) {
    command(fd, "createStream", 0, "");
    command(fd, "publish", 1, key);
}

static void play(int fd, const char *key) {
    command(fd, "createStream", 0, "");
    command(fd, "play", 1, key);
}

static rr_session next_ask(rr_server *s, uint32_t type) {
    const rr_event *ev;
    do CHECK(rr_event_next(s, &ev, 20000) == 1);
    while (ev->type != type);
    return ev->session;
}

#endif
