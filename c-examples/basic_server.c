/*
 * basic_server: a server for one publisher at a time with librtmp's interface and its own main loop. It answers a
 * publisher (ffmpeg, OBS), counts messages and, on request, saves them as FLV, and shows the two bridges to the relay.
 *
 * main() reads argv, starts the control thread and the streaming, and sleeps until that has stopped. startStreaming()
 * makes the socket and gives it to serverThread(), which accepts; doServe() talks to one client: RTMP_Init(),
 * RTMP_Serve(), and ServePacket() for every packet that RTMP_ReadPacket() reads.
 *
 *   --relay PORT   ServePacket() writes messages into a stream by rr_stream_write, and players get it from PORT
 *   --hand-over    the accepted descriptor goes to rr_server_accept_fd without being read here, and the relay serves
 *                  publishers and players
 *
 * In the source tree `make examples` builds it; with a library that was installed with LIBRTMP=1:
 *
 *   cc -pthread c-examples/basic_server*.c $(pkg-config --cflags --libs rrelay) -o basic_server
 */
#define _POSIX_C_SOURCE 200809L
#include "basic_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <librtmp/log.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* A client must send its first bytes, and a publisher must send something, within this many seconds. */
enum { FIRST_WORD_S = 5, SILENCE_S = 30 };

static pthread_mutex_t stateLock = PTHREAD_MUTEX_INITIALIZER;
static volatile sig_atomic_t interrupted;

int GetState(STREAMING_SERVER *server) {
    int state;
    pthread_mutex_lock(&stateLock);
    state = server->state;
    pthread_mutex_unlock(&stateLock);
    return state;
}

/* A server that is stopping keeps that state until it has stopped. */
void SetState(STREAMING_SERVER *server, int state) {
    pthread_mutex_lock(&stateLock);
    if (server->state < STREAMING_STOPPING || state == STREAMING_STOPPED) server->state = state;
    pthread_mutex_unlock(&stateLock);
}

static int IsStopping(STREAMING_SERVER *server) {
    return GetState(server) >= STREAMING_STOPPING;
}

/* One client, from its first byte to its last. The descriptor is ours to close, by RTMP_Close(). */
static void doServe(STREAMING_SERVER *server, int fd) {
    RTMPPacket packet;
    struct timeval patience = {FIRST_WORD_S, 0}, silence = {SILENCE_S, 0};
    fd_set set;
    RTMP *r = NULL;

    memset(&packet, 0, sizeof packet);
    FD_ZERO(&set);
    if (fd < FD_SETSIZE) FD_SET(fd, &set);
    if (fd >= FD_SETSIZE || select(fd + 1, &set, NULL, NULL, &patience) <= 0 || (r = RTMP_Alloc()) == NULL) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    RTMP_Init(r);
    r->m_sb.sb_socket = fd;
    if (RTMP_Serve(r)) {
        SetState(server, STREAMING_IN_PROGRESS);
        while (!IsStopping(server) && RTMP_IsConnected(r) && RTMP_ReadPacket(r, &packet)) {
            int goes_on;
            if (!RTMPPacket_IsReady(&packet)) continue;
            goes_on = ServePacket(server, r, &packet);
            RTMPPacket_Free(&packet);
            if (!goes_on) break;
        }
        EndPublishing(server);
        SetState(server, STREAMING_ACCEPTING);
    }
    RTMPPacket_Free(&packet);
    RTMP_Close(r);
    RTMP_Free(r);
}

static void *serverThread(void *argument) {
    STREAMING_SERVER *server = argument;
    while (!IsStopping(server)) {
        int fd = accept(server->socket, NULL, NULL);
        if (fd < 0) {
            /* The cause may be a lack of descriptors, which passes; trying again at once would only cost time. */
            if (errno != EINTR && errno != ECONNABORTED && !IsStopping(server)) sleep(1);
        } else if (server->hand_over) {
            HandOver(server, fd);
        } else {
            doServe(server, fd);
        }
    }
    SetState(server, STREAMING_STOPPED);
    return NULL;
}

static int ThreadCreate(void *(*body)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument)) return FALSE;
    pthread_detach(thread);
    return TRUE;
}

/* Ends the running accept and read, and with them serverThread(). */
static void stopStreaming(STREAMING_SERVER *server) {
    SetState(server, STREAMING_STOPPING);
    RTMP_UserInterrupt();
    shutdown(server->socket, SHUT_RDWR);
}

/* Reads 'q' from the terminal; without a terminal, signals stop the server. */
static void *controlServerThread(void *argument) {
    int key;
    while ((key = getchar()) != EOF && key != 'q') {
    }
    if (key == 'q') SetState(argument, STREAMING_STOPPING); /* main() does the rest */
    return NULL;
}

static void onSignal(int number) {
    (void)number;
    interrupted = 1;
}

static int startStreaming(STREAMING_SERVER *server) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int on = 1;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    address.sin_port = htons((unsigned short)server->port);
    server->socket = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    setsockopt(server->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server->socket, (struct sockaddr *)&address, sizeof address) || listen(server->socket, 10) ||
        getsockname(server->socket, (struct sockaddr *)&address, &length)) {
        perror("basic_server: the port");
        return FALSE;
    }
    server->port = ntohs(address.sin_port);
    SetState(server, STREAMING_ACCEPTING);
    return ThreadCreate(serverThread, server);
}

static void CleanupSockets(STREAMING_SERVER *server) {
    if (server->socket >= 0) close(server->socket);
}

static void printPart(const char *text) {
    for (; *text; text++) putchar(*text >= 0x20 && *text < 0x7f ? *text : '?');
}

/* Two threads print lines, so each line is written in one piece. */
void Say(const char *before, const char *app, const char *key, const char *format, ...) {
    va_list values;

    va_start(values, format);
    flockfile(stdout);
    fputs(before, stdout);
    printPart(app);
    putchar('/');
    printPart(key);
    vprintf(format, values);
    putchar('\n');
    funlockfile(stdout);
    va_end(values);
}

static void sayHello(const STREAMING_SERVER *server) {
    printf("publish to rtmp://127.0.0.1:%d/live/show\n", server->port);
    if (server->relay) {
        printf("play       rtmp://127.0.0.1:%d/live/show\n", server->hand_over ? server->port : server->relay_port);
    }
    printf("q and Return, or Ctrl-C, stop it\n");
}

static const char help[] =
    "usage: basic_server [--port PORT] [--save FILE.flv] [--relay PORT | --hand-over]\n"
    "\n"
    "  --port PORT      take publishers on this port, one at a time (default: 1935; 0: any free one)\n"
    "  --save FILE.flv  save published streams\n"
    "  --relay PORT     also feed them into a relay, and serve players on this other port (0: any free one)\n"
    "  --hand-over      give accepted connections to the relay, which serves publishers and players; nothing is saved\n"
    "  --help           print this\n";

/* The program may be started with stdin, stdout or stderr closed: a client's socket with such a number would be printed
   to. And it must go on when the reader of its output goes. */
static int needNoOutput(void) {
    int fd;
    for (fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) return 0;
    }
    return signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

static int usage(void) {
    fputs(help, stderr);
    return 2;
}

int main(int argc, char **argv) {
    static STREAMING_SERVER server;
    struct sigaction action;
    int i, relay_port = -1, code = 0, told = 0;

    if (!needNoOutput()) return 1;
    server.port = 1935;
    server.socket = -1;
    for (i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        if (strcmp(argv[i], "--hand-over") == 0) {
            server.hand_over = 1;
            continue;
        }
        if (!value) return usage();
        if (strcmp(argv[i], "--port") == 0) {
            server.port = atoi(value);
        } else if (strcmp(argv[i], "--save") == 0) {
            server.file_name = value;
        } else if (strcmp(argv[i], "--relay") == 0) {
            relay_port = atoi(value);
        } else {
            return usage();
        }
        i++;
    }
    /* Connections that are handed over are not read here, so their media can neither be saved nor fed to a stream. */
    if (server.hand_over && (server.file_name || relay_port >= 0)) return usage();
    memset(&action, 0, sizeof action);
    action.sa_handler = onSignal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    RTMP_LogSetLevel(RTMP_LOGWARNING);

    if ((server.hand_over || relay_port >= 0) && !StartRelay(&server, relay_port)) return 1;
    if (!ThreadCreate(controlServerThread, &server) || !startStreaming(&server)) {
        SetState(&server, STREAMING_STOPPED);
        code = 1;
    } else {
        sayHello(&server);
    }
    while (GetState(&server) != STREAMING_STOPPED) {
        if (!told && (interrupted || IsStopping(&server))) {
            stopStreaming(&server);
            told = 1;
        }
        if (server.relay) {
            TakeRelayEvents(&server);
        } else {
            sleep(1);
        }
    }
    StopRelay(&server);
    CleanupSockets(&server);
    return code;
}
