/* One contestant of the benchmark benches/librtmp.rs, which compiles it once and runs it on librtmp.so.1 of either
 * making: driver MODE PORT CHUNK BYTES SIZE,SIZE... It connects to the peer on PORT, reads or sends BYTES of message bodies, and
 * prints the library it ran on and the CPU time of its one thread for that: "path total_ns kernel_ns messages bytes".
 * Modes: client (a session that connected itself), server (RTMP_Serve on a socket of the program's), polled
 * (RTMP_Connect1 on such a socket, as curl does), floor (recv alone), send (RTMP_SendPacket), sendfloor (one send a
 * message, without chunks). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Sizes of the pictures that are sent, in turn: arguments. A sound comes after each. */
#define MAX_VIDEOS 64
#define MAX_VIDEO_BYTES (1 << 20)
#define AUDIO_BYTES 300
static unsigned video_bytes[MAX_VIDEOS];
static unsigned videos;

static int take_sizes(char *text)
{
    char *size;
    for (size = strtok(text, ","); size && videos < MAX_VIDEOS; size = strtok(NULL, ",")) {
        video_bytes[videos] = (unsigned)atoi(size);
        if (video_bytes[videos] == 0 || video_bytes[videos++] > MAX_VIDEO_BYTES) {
            return 0;
        }
    }
    return videos > 0;
}

#define SOCKET_BUFFER_BYTES (16 * 1024) /* the read-ahead of librtmp */

static long long cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static long long kernel_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_stime.tv_sec * 1000000000LL + usage.ru_stime.tv_usec * 1000LL;
}

static int dial(int port)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect(fd, (struct sockaddr *)&address, sizeof address) ? -1 : fd;
}

/* Reads to the end of the connection. */
static void read_packets(RTMP *r, long long *messages, long long *bytes)
{
    RTMPPacket packet;
    memset(&packet, 0, sizeof packet);
    while (RTMP_ReadPacket(r, &packet)) {
        if (RTMPPacket_IsReady(&packet)) {
            *messages += 1;
            *bytes += packet.m_nBodySize;
            RTMPPacket_Free(&packet);
        }
    }
}

static void receive(int fd, long long *messages, long long *bytes)
{
    static char buffer[SOCKET_BUFFER_BYTES];
    ssize_t got;
    while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
        *messages += 1;
        *bytes += got;
    }
}

/* The sizes of send_packets, in one system call each. */
static int send_bare(int fd, long long wanted, long long *messages, long long *bytes)
{
    static char buffer[MAX_VIDEO_BYTES];
    for (; *bytes < wanted; *messages += 1) {
        size_t size = *messages % 2 ? AUDIO_BYTES : video_bytes[*messages / 2 % videos], done = 0;
        while (done < size) {
            ssize_t sent = send(fd, buffer + done, size - done, MSG_NOSIGNAL);
            if (sent <= 0) {
                return 0;
            }
            done += (size_t)sent;
        }
        *bytes += (long long)size;
    }
    return 1;
}

/* Sends BYTES at least: a picture and a sound in turn. The library may overwrite the bodies. */
static int send_packets(RTMP *r, long long wanted, long long *messages, long long *bytes)
{
    RTMPPacket video, audio;
    unsigned time = 0;
    memset(&video, 0, sizeof video);
    memset(&audio, 0, sizeof audio);
    if (!RTMPPacket_Alloc(&video, MAX_VIDEO_BYTES) || !RTMPPacket_Alloc(&audio, AUDIO_BYTES)) {
        return 0;
    }
    for (; *bytes < wanted; time += 33, *messages += 2, *bytes += video.m_nBodySize + audio.m_nBodySize) {
        video.m_headerType = audio.m_headerType = time == 0 ? RTMP_PACKET_SIZE_LARGE : RTMP_PACKET_SIZE_MEDIUM;
        video.m_packetType = RTMP_PACKET_TYPE_VIDEO;
        audio.m_packetType = RTMP_PACKET_TYPE_AUDIO;
        video.m_nChannel = 6;
        audio.m_nChannel = 4;
        video.m_nTimeStamp = audio.m_nTimeStamp = time;
        video.m_nInfoField2 = audio.m_nInfoField2 = 1;
        video.m_nBodySize = video_bytes[*messages / 2 % videos];
        audio.m_nBodySize = AUDIO_BYTES;
        if (!RTMP_SendPacket(r, &video, FALSE) || !RTMP_SendPacket(r, &audio, FALSE)) {
            return 0;
        }
    }
    RTMPPacket_Free(&video);
    RTMPPacket_Free(&audio);
    return 1;
}

int main(int argc, char **argv)
{
    const char *mode = argv[1];
    char url[64];
    long long messages = 0, bytes = 0, total, kernel;
    Dl_info library;
    int port, chunk, good, sent = 1;
    RTMP *r = RTMP_Alloc();

    if (argc < 6 || r == NULL || !take_sizes(argv[5]) || !dladdr((void *)RTMP_ReadPacket, &library)) {
        return 2;
    }
    port = atoi(argv[2]);
    chunk = atoi(argv[3]);
    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/app/key", port);
    RTMP_LogSetLevel(RTMP_LOGCRIT); /* the end of the connection is none */
    RTMP_Init(r);
    if (strcmp(mode, "server") == 0) {
        r->m_sb.sb_socket = dial(port);
        good = RTMP_Serve(r);
    } else if (strcmp(mode, "polled") == 0) {
        good = RTMP_SetupURL(r, url);
        r->m_sb.sb_socket = dial(port);
        good = good && RTMP_Connect1(r, NULL);
        r->m_bSendCounter = TRUE;
    } else {
        good = RTMP_SetupURL(r, url) && RTMP_Connect(r, NULL);
    }
    if (!good) {
        return 3;
    }
    r->m_inChunkSize = r->m_outChunkSize = chunk;
    kernel = kernel_ns();
    total = cpu_ns();
    if (strcmp(mode, "floor") == 0) {
        receive(r->m_sb.sb_socket, &messages, &bytes);
    } else if (strcmp(mode, "sendfloor") == 0) {
        sent = send_bare(r->m_sb.sb_socket, atoll(argv[4]), &messages, &bytes);
    } else if (strcmp(mode, "send") == 0) {
        sent = send_packets(r, atoll(argv[4]), &messages, &bytes);
    } else {
        read_packets(r, &messages, &bytes);
    }
    total = cpu_ns() - total;
    kernel = kernel_ns() - kernel;
    printf("%s %lld %lld %lld %lld\n", library.dli_fname, total, kernel, messages, bytes);
    RTMP_Close(r);
    RTMP_Free(r);
    return sent ? 0 : 4;
}
