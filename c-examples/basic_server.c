/* basic_server: one publisher at a time over librtmp's interface alone, counted and, with a file name, saved as FLV.
 *
 *   basic_server [port [file.flv]]
 *
 * main() starts the control thread and the streaming and sleeps until it has stopped; the control thread takes 'q' from
 * the terminal; serverThread() accepts and doServe() talks to one client. */
#include <arpa/inet.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAMING_ACCEPTING = 1, STREAMING_STOPPING, STREAMING_STOPPED };

typedef struct {
    int socket;
    volatile int state;
    FILE *file;
    unsigned long messages;
    unsigned long long bytes;
} STREAMING_SERVER;

/* The method of a command and its transaction; the AVal points into the packet. */
#define IS(method, name) ((method)->av_len == (int)strlen(name) && !memcmp((method)->av_val, name, strlen(name)))

static AVal text(const char *value)
{
    AVal result;
    result.av_val = (char *)value;
    result.av_len = (int)strlen(value);
    return result;
}

/* Sends a command: name, transaction, null, and then an object of two strings, a number, or nothing. */
static int Reply(RTMP *r, int stream, const char *name, double transaction, const char *code, const double *number)
{
    char room[RTMP_MAX_HEADER_SIZE + 512], *start = room + RTMP_MAX_HEADER_SIZE, *end = room + sizeof room, *at;
    AVal method = text(name), level_name = text("level"), code_name = text("code"), level = text("status"), value;
    RTMPPacket packet;

    memset(&packet, 0, sizeof packet);
    at = AMF_EncodeString(start, end, &method);
    at = AMF_EncodeNumber(at, end, transaction);
    *at++ = AMF_NULL;
    if (code) {
        value = text(code);
        *at++ = AMF_OBJECT;
        at = AMF_EncodeNamedString(at, end, &level_name, &level);
        at = AMF_EncodeNamedString(at, end, &code_name, &value);
        at = AMF_EncodeInt24(at, end, AMF_OBJECT_END);
    }
    if (number) {
        at = AMF_EncodeNumber(at, end, *number);
    }
    packet.m_nChannel = 3;
    packet.m_packetType = RTMP_PACKET_TYPE_INVOKE;
    packet.m_nInfoField2 = stream;
    packet.m_body = start;
    packet.m_nBodySize = (uint32_t)(at - start);
    return RTMP_SendPacket(r, &packet, FALSE);
}

static int ServeInvoke(RTMP *r, RTMPPacket *packet)
{
    static const double stream = 1;
    AMFObject object;
    AVal method;
    double transaction;
    int goes_on = TRUE;

    if (packet->m_nBodySize == 0 || AMF_Decode(&object, packet->m_body, (int)packet->m_nBodySize, FALSE) < 0) {
        return FALSE;
    }
    AMFProp_GetString(AMF_GetProp(&object, NULL, 0), &method);
    transaction = AMFProp_GetNumber(AMF_GetProp(&object, NULL, 1));
    if (IS(&method, "connect")) {
        RTMP_SendServerBW(r);
        RTMP_SendClientBW(r);
        goes_on = Reply(r, 0, "_result", transaction, "NetConnection.Connect.Success", NULL);
    } else if (IS(&method, "createStream")) {
        goes_on = Reply(r, 0, "_result", transaction, NULL, &stream);
    } else if (IS(&method, "releaseStream") || IS(&method, "FCPublish")) {
        goes_on = Reply(r, 0, "_result", transaction, NULL, NULL);
    } else if (IS(&method, "publish")) {
        RTMP_SendCtrl(r, 0, 1, 0);
        goes_on = Reply(r, 1, "onStatus", 0, "NetStream.Publish.Start", NULL);
    } else if (IS(&method, "deleteStream") || IS(&method, "FCUnpublish") || IS(&method, "closeStream")) {
        goes_on = !IS(&method, "deleteStream");
    } else if (IS(&method, "play")) {
        Reply(r, 1, "onStatus", 0, "NetStream.Play.Failed", NULL);
        goes_on = FALSE;
    }
    AMF_Reset(&object);
    return goes_on;
}

/* One message as an FLV tag. */
static void Save(STREAMING_SERVER *server, const RTMPPacket *packet)
{
    char head[11], tail[4];
    AMF_EncodeInt32(tail, tail + 4, (int)(packet->m_nBodySize + sizeof head));
    head[0] = (char)packet->m_packetType;
    AMF_EncodeInt24(head + 1, head + 4, (int)packet->m_nBodySize);
    AMF_EncodeInt24(head + 4, head + 7, (int)(packet->m_nTimeStamp & 0xffffff));
    head[7] = (char)(packet->m_nTimeStamp >> 24);
    memset(head + 8, 0, 3);
    fwrite(head, 1, sizeof head, server->file);
    fwrite(packet->m_body, 1, packet->m_nBodySize, server->file);
    fwrite(tail, 1, sizeof tail, server->file);
    fflush(server->file);
}

static int ServePacket(STREAMING_SERVER *server, RTMP *r, RTMPPacket *packet)
{
    switch (packet->m_packetType) {
    case RTMP_PACKET_TYPE_CHUNK_SIZE:
        if (packet->m_nBodySize >= 4 && (int)AMF_DecodeInt32(packet->m_body) > 0) {
            r->m_inChunkSize = (int)AMF_DecodeInt32(packet->m_body);
        }
        break;
    case RTMP_PACKET_TYPE_INVOKE:
        return ServeInvoke(r, packet);
    case RTMP_PACKET_TYPE_AUDIO:
    case RTMP_PACKET_TYPE_VIDEO:
        server->messages++;
        server->bytes += packet->m_nBodySize;
        if (server->file && packet->m_nBodySize) {
            Save(server, packet);
        }
        break;
    default:
        break;
    }
    return TRUE;
}

static void doServe(STREAMING_SERVER *server, int fd)
{
    RTMPPacket packet;
    struct timeval patience = { 5, 0 };
    RTMP *r = RTMP_Alloc();
    fd_set set;

    memset(&packet, 0, sizeof packet);
    FD_ZERO(&set);
    FD_SET(fd, &set);
    if (!r || select(fd + 1, &set, NULL, NULL, &patience) <= 0) {
        close(fd);
        RTMP_Free(r);
        return;
    }
    RTMP_Init(r);
    r->m_sb.sb_socket = fd;
    if (RTMP_Serve(r)) {
        while (server->state == STREAMING_ACCEPTING && RTMP_IsConnected(r) && RTMP_ReadPacket(r, &packet)) {
            int goes_on;
            if (!RTMPPacket_IsReady(&packet)) {
                continue;
            }
            goes_on = ServePacket(server, r, &packet);
            RTMPPacket_Free(&packet);
            if (!goes_on) {
                break;
            }
        }
    }
    RTMP_LogPrintf("%lu messages, %llu bytes\n", server->messages, server->bytes);
    RTMP_Close(r);
    RTMP_Free(r);
}

static void *serverThread(void *argument)
{
    STREAMING_SERVER *server = argument;
    while (server->state == STREAMING_ACCEPTING) {
        int fd = accept(server->socket, NULL, NULL);
        if (fd >= 0) {
            doServe(server, fd);
        }
    }
    server->state = STREAMING_STOPPED;
    return NULL;
}

static int ThreadCreate(void *(*body)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, body, argument)) {
        return FALSE;
    }
    pthread_detach(thread);
    return TRUE;
}

static void stopStreaming(STREAMING_SERVER *server)
{
    if (server->state == STREAMING_ACCEPTING) {
        server->state = STREAMING_STOPPING;
        RTMP_UserInterrupt();
        shutdown(server->socket, SHUT_RDWR);
    }
}

static void *controlServerThread(void *argument)
{
    int key;
    while ((key = getchar()) != EOF && key != 'q') {
    }
    if (key == 'q') {
        stopStreaming(argument);
    }
    return NULL;
}

static int startStreaming(STREAMING_SERVER *server, int port)
{
    struct sockaddr_in address;
    int on = 1;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((unsigned short)port);
    server->socket = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    setsockopt(server->socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server->socket, (struct sockaddr *)&address, sizeof address) || listen(server->socket, 10)) {
        perror("bind");
        return FALSE;
    }
    server->state = STREAMING_ACCEPTING;
    return ThreadCreate(serverThread, server);
}

static void CleanupSockets(STREAMING_SERVER *server)
{
    close(server->socket);
    if (server->file) {
        fclose(server->file);
    }
}

int main(int argc, char **argv)
{
    static const char flv[13] = { 'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0 };
    static STREAMING_SERVER server;

    signal(SIGPIPE, SIG_IGN);
    if (argc > 2) {
        server.file = fopen(argv[2], "wb");
        if (!server.file) {
            perror(argv[2]);
            return 1;
        }
        fwrite(flv, 1, sizeof flv, server.file);
    }
    if (!startStreaming(&server, argc > 1 ? atoi(argv[1]) : 1935)) {
        return 1;
    }
    ThreadCreate(controlServerThread, &server);
    while (server.state != STREAMING_STOPPED) {
        sleep(1);
    }
    CleanupSockets(&server);
    return 0;
}
