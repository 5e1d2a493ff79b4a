/* Preloaded to the bundled server: kills it where it is about to send or receive this message of a hand-over. KILL_RUNNING and
   KILL_SUCCESSOR say which of the two servers, and when: "send 3" is its third message. Other sockets do not count: a server
   also talks to the processes of its streams. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A message begins with its head; what follows after a part of it does not. */
enum { HEAD_BYTES = 8 };

static int left_to_send = -1, left_to_receive = -1;

/* The socket of the hand-over: the successor gets its number, the running server makes it. */
static int socket_there = -1;

__attribute__((constructor)) static void begin(void) {
    const char *there = getenv("RR_SERVER_TAKEOVER"), *when = getenv(there ? "KILL_SUCCESSOR" : "KILL_RUNNING");
    if (there) socket_there = atoi(there);
    if (when && strncmp(when, "send ", 5) == 0) left_to_send = atoi(when + 5);
    if (when && strncmp(when, "receive ", 8) == 0) left_to_receive = atoi(when + 8);
}

/* The bundled server makes that socket, and the library all others, which go to no other program. */
int socketpair(int domain, int type, int protocol, int ends[2]) {
    int (*next)(int, int, int, int *), made;
    *(void **)&next = dlsym(RTLD_NEXT, "socketpair");
    made = next(domain, type, protocol, ends);
    if (made == 0 && (type & SOCK_CLOEXEC) == 0) socket_there = ends[0];
    return made;
}

static void count(int fd, int *left) {
    if (*left >= 0 && fd == socket_there && --*left == 0) kill(getpid(), SIGKILL);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    ssize_t (*next)(int, const struct msghdr *, int);
    int begins = message->msg_iovlen > 0 && message->msg_iov[0].iov_len == HEAD_BYTES, before = left_to_send;
    ssize_t sent;
    *(void **)&next = dlsym(RTLD_NEXT, "sendmsg");
    if (begins) count(fd, &left_to_send);
    sent = next(fd, message, flags);
    if (sent < 0) left_to_send = before; /* it is tried again */
    return sent;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags) {
    ssize_t (*next)(int, struct msghdr *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "recvmsg");
    count(fd, &left_to_receive);
    return next(fd, message, flags);
}
