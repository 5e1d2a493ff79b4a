/* A program whose peers are slow; it says with 0 that a call ended in time and as it should. tests/librtmp/slow.rs
 * slow serve           takes one client, whose handshake does not come to its end; prints its port
 * slow interrupt URL   is interrupted while it hashes the player behind the url, and while it fetches it
 * slow ticks URL       hashes it, however slow the server, while a timer's signals come all the time */
#include <arpa/inet.h>
#include <librtmp/http.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int serve(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), good;
    RTMP *r = RTMP_Alloc();

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *)&address, &len)) {
        return 2;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    RTMP_Init(r);
    r->Link.timeout = 1;
    r->m_sb.sb_socket = accept(listener, NULL, NULL);
    good = !RTMP_Serve(r);
    RTMP_Close(r);
    RTMP_Free(r);
    return good ? 0 : 1;
}

static void *interrupt(void *unused)
{
    usleep(300000);
    RTMP_UserInterrupt();
    return unused;
}

static size_t take(void *bytes, size_t size, size_t count, void *data)
{
    (void)bytes;
    (void)data;
    return size * count;
}

static int interrupted(const char *url)
{
    unsigned char hash[RTMP_SWF_HASHLEN];
    unsigned size;
    struct HTTP_ctx http;
    pthread_t other;
    double begin;
    int i, good = 1;

    for (i = 0; i < 2; i++) {
        memset(&http, 0, sizeof http);
        RTMP_ctrlC = FALSE;
        begin = now();
        pthread_create(&other, NULL, interrupt, NULL);
        good = good && (i ? HTTP_get(&http, url, take) != HTTPRES_OK : RTMP_HashSWF(url, &size, hash, 0) != 0);
        good = good && now() - begin > 0.25 && now() - begin < 4;
        pthread_join(other, NULL);
    }
    return good ? 0 : 1;
}

static void tick(int number)
{
    (void)number;
}

static int ticks(const char *url)
{
    struct itimerval often = { { 0, 20000 }, { 0, 20000 } };
    unsigned char hash[RTMP_SWF_HASHLEN];
    unsigned size = 0;
    struct HTTP_ctx http;

    memset(&http, 0, sizeof http);
    signal(SIGALRM, tick);
    setitimer(ITIMER_REAL, &often, NULL);
    return RTMP_HashSWF(url, &size, hash, 0) || size != 500 || HTTP_get(&http, url, take) != HTTPRES_OK;
}

int main(int argc, char **argv)
{
    alarm(60);
    if (argc > 2 && !strcmp(argv[1], "interrupt")) {
        return interrupted(argv[2]);
    }
    if (argc > 2 && !strcmp(argv[1], "ticks")) {
        return ticks(argv[2]);
    }
    return argc > 1 ? serve() : 2;
}
