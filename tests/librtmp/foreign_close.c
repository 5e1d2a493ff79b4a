/* RTMP_Close from another thread while a call is running or one call follows the other, and RTMP_UserInterrupt: the call
 * ends soon, nothing is used after it is freed, and the session can be used again, or freed, as soon as a thread's own
 * RTMP_Close has returned. Prints "good". */
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 60

static RTMP r;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *close_soon(void *unused)
{
    (void)unused;
    usleep((useconds_t)(rand() % 20000));
    RTMP_Close(&r);
    return NULL;
}

static void *interrupt_soon(void *unused)
{
    (void)unused;
    usleep(50000);
    RTMP_UserInterrupt();
    return NULL;
}

static void send_one(void)
{
    RTMPPacket packet;
    memset(&packet, 0, sizeof packet);
    if (RTMPPacket_Alloc(&packet, 100000)) {
        packet.m_nBodySize = 100000;
        packet.m_nChannel = 4;
        packet.m_packetType = RTMP_PACKET_TYPE_VIDEO;
        RTMP_SendPacket(&r, &packet, FALSE);
        RTMPPacket_Free(&packet);
    }
}

/* Writes chunks of one endless message until the other end is closed. */
static void *feed(void *fd)
{
    static char chunks[129 * 1000];
    static const char header[12] = { 6, 0, 0, 0, '\x7f', '\xff', '\xff', 9, 1, 0, 0, 0 };
    int i;
    for (i = 0; i < 1000; i++) {
        chunks[129 * i] = '\xc6';
    }
    if (send(*(int *)fd, header, sizeof header, MSG_NOSIGNAL) > 0 && send(*(int *)fd, chunks + 1, 128, MSG_NOSIGNAL) > 0) {
        while (send(*(int *)fd, chunks, sizeof chunks, MSG_NOSIGNAL) > 0) {
        }
    }
    return NULL;
}

/* A session on one end of a connection whose other end is ours. */
static int session_on(RTMP *session, int pair[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
        return 0;
    }
    RTMP_Init(session);
    session->m_sb.sb_socket = pair[0];
    return 1;
}

/* A thread reads what comes without end, call after call, and another closes between two calls or within one. */
static int busy_round(void)
{
    int pair[2];
    pthread_t other, feeder;
    RTMPPacket packet;

    if (!session_on(&r, pair)) {
        return 0;
    }
    memset(&packet, 0, sizeof packet);
    pthread_create(&feeder, NULL, feed, &pair[1]);
    pthread_create(&other, NULL, close_soon, NULL);
    while (RTMP_ReadPacket(&r, &packet)) {
        if (RTMPPacket_IsReady(&packet)) {
            RTMPPacket_Free(&packet);
        }
    }
    pthread_join(other, NULL);
    RTMP_Close(&r);
    pthread_join(feeder, NULL);
    close(pair[1]);
    return !RTMP_IsConnected(&r);
}

/* A pause of a second between two commands ends sooner, too: a close that does not end it never makes a round that is
 * shorter than the pause, while one that does may be late on a busy machine. */
static int toggle_round(void)
{
    int pair[2];
    double begin;
    pthread_t other;

    if (!session_on(&r, pair)) {
        return 0;
    }
    begin = now();
    pthread_create(&other, NULL, close_soon, NULL);
    RTMP_ToggleStream(&r);
    pthread_join(other, NULL);
    RTMP_Close(&r);
    close(pair[1]);
    return now() - begin < 0.9;
}

/* One round: a thread reads or writes for ever, another closes. */
static int round_of(int writing, void *(*end)(void *))
{
    int pair[2];
    double begin;
    pthread_t other;
    RTMPPacket packet;

    if (!session_on(&r, pair)) {
        return 0;
    }
    memset(&packet, 0, sizeof packet);
    begin = now();
    pthread_create(&other, NULL, end, NULL);
    do {
        if (writing) {
            send_one();
        } else if (RTMP_ReadPacket(&r, &packet)) {
            RTMPPacket_Free(&packet);
        }
    } while (RTMP_IsConnected(&r) && !RTMP_ctrlC);
    pthread_join(other, NULL);
    RTMP_ctrlC = 0;
    RTMP_Close(&r);
    close(pair[1]);
    return now() - begin < 25 && !RTMP_IsConnected(&r); /* a call gives up by itself after 30 s */
}

/* A close has begun; it is inside the log function. */
static volatile int has_begun, is_closing;

/* A log function that is slow: a close that logs its commands gives others time to come. */
static void slow_log(int level, const char *format, va_list arguments)
{
    (void)level;
    (void)format;
    (void)arguments;
    is_closing = 1;
    has_begun = 1;
    usleep(100000);
    is_closing = 0;
}

static void *close_it(void *session)
{
    RTMP_Close(session);
    return NULL;
}

/* A thread closes, slowly; this one comes to it and closes too, or only frees. */
static int closes_meet(int frees)
{
    int pair[2], good;
    pthread_t other;
    RTMP *session = RTMP_Alloc();

    if (!session_on(session, pair)) {
        return 0;
    }
    session->m_stream_id = 1;
    RTMP_LogSetLevel(RTMP_LOGDEBUG);
    RTMP_LogSetCallback(slow_log);
    has_begun = 0;
    pthread_create(&other, NULL, close_it, session);
    while (!has_begun) {
        usleep(1000);
    }
    if (frees) {
        RTMP_Free(session);
        good = !is_closing;
    } else {
        RTMP_Close(session);
        good = !is_closing && !RTMP_IsConnected(session);
        RTMP_Init(session); /* as GStreamer does, to connect anew */
        good = good && RTMP_SendCtrl(session, 3, 1, 1) == 0;
    }
    pthread_join(other, NULL);
    RTMP_LogSetCallback(NULL);
    RTMP_LogSetLevel(RTMP_LOGCRIT);
    if (!frees) {
        good = good && RTMP_SendCtrl(session, 3, 1, 1) == 0;
        RTMP_Close(session);
        RTMP_Free(session);
    }
    close(pair[1]);
    return good;
}

int main(void)
{
    int i;
    alarm(600);
    RTMP_LogSetLevel(RTMP_LOGCRIT);
    for (i = 0; i < ROUNDS; i++) {
        if (!round_of(i % 2, close_soon)) {
            return 1;
        }
    }
    for (i = 0; i < ROUNDS; i++) {
        if (!busy_round()) {
            return 3;
        }
    }
    if (!round_of(0, interrupt_soon) || !round_of(1, interrupt_soon)) {
        return 2;
    }
    for (i = 0; !toggle_round(); i++) {
        if (i == 30) {
            return 5;
        }
    }
    if (!closes_meet(0) || !closes_meet(1)) {
        return 4;
    }
    puts("good");
    return 0;
}
