/* Conversations over TCP: a client that does what its arguments say, or a server that answers as servers do. Prints each
 * call's result and the session after it; talk.rs is the peer and keeps every byte that is sent. See differ.h.
 * talk client ACTION... | talk server */
#include "differ.h"
#include <arpa/inet.h>
#include <netinet/in.h>

/* ---- the log: the texts are each library's own, what is worth an error or a warning is not */

static int records[RTMP_LOGWARNING + 1];

static void count_record(int level, const char *format, va_list arguments)
{
    (void)format;
    (void)arguments;
    records[level] += 1;
}

static void print_records(void)
{
    printf("errors %s, warnings %d\n", records[RTMP_LOGERROR] ? "some" : "none", records[RTMP_LOGWARNING]);
}

/* ---- the client */

static RTMP *r;

static void read_tags(int calls, int room)
{
    static char bytes[1 << 16];
    int i, n;
    for (i = 0; i < calls; i++) {
        n = RTMP_Read(r, bytes, room);
        printf("read %d", n);
        print_hex("", bytes, n > 0 ? (size_t)n : 0);
    }
}

/* A small file: a head, metadata, audio and video, one tag after the other. */
static void write_file(void)
{
    static const char file[] = "FLV\1\5\0\0\0\x9\0\0\0\0\x12\0\0\xd\0\0\0\0\0\0\0\2\0\xaonMetaData\0\0\0\x18"
                               "\x9\0\0\6\0\0\0\0\0\0\0\x17\0\0\0\0A\0\0\0\x11\x8\0\0\4\0\0\0\0\0\0\0\xaf\0\x12\x10\0\0\0\xf"
                               "\x9\0\0\6\0\0\x28\0\0\0\0\x27\1\0\0\0B\0\0\0\x11\x8\0\0\3\0\0\x28\0\0\0\0\xaf\1Z\0\0\0\xe";
    printf("write %d\n", RTMP_Write(r, file, sizeof file - 1));
}

static int socket_to(const char *port)
{
    struct sockaddr_in address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)atoi(port));
    return connect(fd, (struct sockaddr *)&address, sizeof address) ? -1 : fd;
}

/* A connect command of the program's own. */
static int connect_with_packet(void)
{
    static char body[18 + 40];
    static const char command[] = "\2\0\7connect\0\x3f\xf0\0\0\0\0\0\0\3\0\3app\2\0\1a\0\0\x9";
    RTMPPacket packet;
    memset(&packet, 0, sizeof packet);
    packet.m_nChannel = 3;
    packet.m_packetType = 20;
    packet.m_nBodySize = sizeof command - 1;
    packet.m_body = memcpy(body + 18, command, sizeof command - 1);
    return RTMP_Connect(r, &packet);
}

/* Reads all that the peer still sends: a socket that is closed with unread bytes drops its unsent ones. */
static void drain(void)
{
    char bytes[4096];
    while (r->m_sb.sb_socket != -1 && recv(r->m_sb.sb_socket, bytes, sizeof bytes, 0) > 0) {
    }
}

/* One action; gives how many arguments it took. */
static int act(const char *action, char *first)
{
    const int number = first ? atoi(first) : 0;
    if (!strcmp(action, "url")) {
        printf("url %d\n", RTMP_SetupURL(r, first));
        return 2;
    }
    if (!strcmp(action, "adopt")) {
        r->m_sb.sb_socket = socket_to(first);
        r->m_bSendCounter = TRUE;
        printf("adopt %d\n", RTMP_Connect1(r, NULL));
        return 2;
    }
    if (!strcmp(action, "stream")) {
        printf("stream %d\n", RTMP_ConnectStream(r, number));
        return 2;
    }
    if (!strcmp(action, "again")) {
        printf("again %d\n", RTMP_ReconnectStream(r, number));
        return 2;
    }
    if (!strcmp(action, "read")) {
        read_tags(number, 65536);
        return 2;
    }
    if (!strcmp(action, "sip")) {
        read_tags(number, 7);
        return 2;
    }
    if (!strcmp(action, "pause")) {
        printf("pause %d\n", RTMP_Pause(r, number));
        return 2;
    }
    if (!strcmp(action, "seek")) {
        printf("seek %d\n", RTMP_SendSeek(r, number));
        return 2;
    }
    if (!strcmp(action, "bandwidth")) {
        r->m_nClientBW = number;
        return 2;
    }
    if (!strcmp(action, "swf")) {
        r->Link.SWFSize = (uint32_t)number;
        memset(r->Link.SWFHash, 0x5A, sizeof r->Link.SWFHash);
        return 2;
    }
    if (!strcmp(action, "encoding")) {
        r->m_fEncoding = number;
        r->m_bSendEncoding = TRUE;
        return 2;
    }
    if (!strcmp(action, "auth")) {
        r->Link.auth = av_of(first);
        r->Link.lFlags |= RTMP_LF_AUTH;
        return 2;
    }
    if (!strcmp(action, "usher")) {
        r->Link.usherToken = av_of(first);
        return 2;
    }
    if (!strcmp(action, "publish")) {
        RTMP_EnableWrite(r);
    } else if (!strcmp(action, "connect")) {
        printf("connect %d\n", RTMP_Connect(r, NULL));
    } else if (!strcmp(action, "connect-with")) {
        printf("connect %d\n", connect_with_packet());
    } else if (!strcmp(action, "write")) {
        write_file();
    } else if (!strcmp(action, "delete")) {
        RTMP_DeleteStream(r);
    } else if (!strcmp(action, "create")) {
        printf("create %d\n", RTMP_SendCreateStream(r));
    } else if (!strcmp(action, "buffer")) {
        RTMP_SetBufferMS(r, 4321);
        RTMP_UpdateBufferMS(r);
    } else if (!strcmp(action, "close")) {
        drain();
        RTMP_Close(r);
    } else if (!strcmp(action, "shut")) {
        RTMP_Close(r);
    } else if (!strcmp(action, "show")) {
        /* The url's strings have a port, which differs from run to run. */
        r->Link.tcUrl.av_len = r->Link.port = 0;
        if (!r->Link.playpath0.av_val) {
            r->Link.playpath = av_of(NULL);
            r->Link.playpath0.av_len = 0;
        }
        print_session(r);
    } else {
        exit(2);
    }
    return 1;
}

/* ---- the server */

static void reply(uint8_t type, int channel, int header, uint32_t time, int stream, const char *body, size_t len)
{
    RTMPPacket packet;
    memset(&packet, 0xAA, sizeof packet); /* as rtmpsrv's are: what is not set is garbage */
    packet.m_body = NULL;
    RTMPPacket_Alloc(&packet, (uint32_t)len);
    memcpy(packet.m_body, body, len);
    packet.m_nBodySize = (uint32_t)len;
    packet.m_packetType = type;
    packet.m_nChannel = channel;
    packet.m_headerType = (uint8_t)header;
    packet.m_nTimeStamp = time;
    packet.m_nInfoField2 = stream;
    packet.m_hasAbsTimestamp = 0;
    printf("reply %d\n", RTMP_SendPacket(r, &packet, FALSE));
    RTMPPacket_Free(&packet);
}

static void result(double transaction, double stream)
{
    static const AVal name = AVC("_result"), code = AVC("code"), good = AVC("NetConnection.Connect.Success");
    char body[256], *end = body + sizeof body, *at = AMF_EncodeString(body, end, &name);
    at = AMF_EncodeNumber(at, end, transaction);
    *at++ = AMF_NULL;
    if (stream > 0) {
        at = AMF_EncodeNumber(at, end, stream);
    } else {
        *at++ = AMF_OBJECT;
        at = AMF_EncodeNamedString(at, end, &code, &good);
        at = AMF_EncodeInt24(at, end, AMF_OBJECT_END);
    }
    reply(20, 3, 1, 0, 0, body, (size_t)(at - body));
}

static void answer(RTMPPacket *packet)
{
    static const AVal connect = AVC("connect"), create = AVC("createStream"), play = AVC("play"), publish = AVC("publish");
    static const char start[] = "\2\0\x8onStatus\0\0\0\0\0\0\0\0\0\5\3\0\4code\2\0\x14NetStream.Play.Start\0\0\x9";
    static char media[700];
    AMFObject object;
    AVal method;
    double transaction;
    uint32_t i;

    printf("type %d channel %d time %u stream %d\n", packet->m_packetType, packet->m_nChannel, packet->m_nTimeStamp, packet->m_nInfoField2);
    print_hex("body", packet->m_body, packet->m_nBodySize);
    if (packet->m_packetType == 1) {
        r->m_inChunkSize = (int)AMF_DecodeInt32(packet->m_body);
    }
    if (packet->m_packetType != 20) {
        printf("client packet %d\n", RTMP_ClientPacket(r, packet));
        return;
    }
    printf("decoded %d\n", AMF_Decode(&object, packet->m_body, (int)packet->m_nBodySize, FALSE));
    print_object(&object, 0);
    AMFProp_GetString(AMF_GetProp(&object, NULL, 0), &method);
    transaction = AMFProp_GetNumber(AMF_GetProp(&object, NULL, 1));
    if (AVMATCH(&method, &connect)) {
        RTMP_SendServerBW(r);
        RTMP_SendClientBW(r);
        RTMP_SendCtrl(r, 0, 0, 0);
        result(transaction, 0);
    } else if (AVMATCH(&method, &create)) {
        result(transaction, 1);
    } else if (AVMATCH(&method, &play) || AVMATCH(&method, &publish)) {
        RTMP_SendCtrl(r, 0, 1, 0);
        reply(20, 5, 0, 0, 1, start, sizeof start - 1);
        for (i = 0; i < 12; i++) {
            memset(media, (int)i, sizeof media);
            reply(i % 3 ? 9 : 8, i % 3 ? 6 : 4, i ? 1 : 0, i == 11 ? 0x1000000 : i * 40, 1, media, i % 4 == 3 ? 600 : 20);
        }
        RTMP_SendCtrl(r, 1, 1, 0);
    }
    AMF_Reset(&object);
}

static int server(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    RTMPPacket packet;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *)&address, &len)) {
        return 2;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    r->m_sb.sb_socket = accept(listener, NULL, NULL);
    printf("serve %d\n", RTMP_Serve(r));
    memset(&packet, 0, sizeof packet);
    while (RTMP_IsConnected(r) && RTMP_ReadPacket(r, &packet)) {
        if (RTMPPacket_IsReady(&packet)) {
            if (packet.m_nBodySize) {
                answer(&packet);
            }
            RTMPPacket_Free(&packet);
        }
    }
    print_session(r);
    RTMP_Close(r);
    return 0;
}

int main(int argc, char **argv)
{
    int i = 2;
    RTMP_LogSetCallback(count_record);
    RTMP_LogSetLevel(RTMP_LOGWARNING);
    alarm(20);
    r = RTMP_Alloc();
    RTMP_Init(r);
    if (argc > 1 && !strcmp(argv[1], "server")) {
        return server();
    }
    while (i < argc) {
        i += act(argv[i], i + 1 < argc ? argv[i + 1] : NULL);
    }
    drain();
    RTMP_Close(r);
    RTMP_Free(r);
    print_records();
    return 0;
}
