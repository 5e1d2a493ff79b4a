/* A server of librtmp in the manner of rtmpsrv: its own accept loop, a thread for each client, RTMP_Init, a preset
 * socket, RTMP_Serve and a loop of RTMP_ReadPacket. It takes connect apart property by property, answers with encoded
 * objects, plays a film to players and saves what publishers send. Prints its port and the commands of each client.
 * With a number it ends after so many clients, one after another. film_server FILM.flv SAVED.flv [CLIENTS] */
#include <arpa/inet.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONST(name) static const AVal av_##name = AVC(#name)
CONST(connect);
CONST(createStream);
CONST(getStreamLength);
CONST(releaseStream);
CONST(FCPublish);
CONST(play);
CONST(publish);
CONST(_result);
CONST(onStatus);
CONST(level);
CONST(status);
CONST(code);
CONST(details);
CONST(fmsVer);
CONST(capabilities);
CONST(objectEncoding);
static const AVal av_setDataFrame = AVC("@setDataFrame");

static const char *film_path, *saved_path;

struct client {
    int fd;
    char *connect; /* the body of connect, which Link points into */
    FILE *saved;
};

static AVal text(const char *value)
{
    AVal result;
    result.av_val = (char *)value;
    result.av_len = (int)strlen(value);
    return result;
}

/* A packet of a command over a buffer with room for the header; the body is encoded behind it. */
static char *begin(RTMPPacket *packet, char *room, const AVal *name, double transaction, int stream, char *end)
{
    char *at;
    memset(packet, 0, sizeof *packet);
    packet->m_nChannel = 3;
    packet->m_headerType = RTMP_PACKET_SIZE_MEDIUM;
    packet->m_packetType = RTMP_PACKET_TYPE_INVOKE;
    packet->m_nInfoField2 = stream;
    packet->m_body = room + RTMP_MAX_HEADER_SIZE;
    if (stream) {
        packet->m_headerType = RTMP_PACKET_SIZE_LARGE;
    }
    at = AMF_EncodeString(packet->m_body, end, name);
    return AMF_EncodeNumber(at, end, transaction);
}

static int finish(RTMP *r, RTMPPacket *packet, char *at)
{
    packet->m_nBodySize = (uint32_t)(at - packet->m_body);
    return RTMP_SendPacket(r, packet, FALSE);
}

static char *end_object(char *at, char *end)
{
    return AMF_EncodeInt24(at, end, AMF_OBJECT_END);
}

/* _result to connect: two objects, and one more in the second. */
static int welcome(RTMP *r, double transaction)
{
    char room[512], *end = room + sizeof room, *at;
    AVal value = text("FMS/3,5,1,525");
    AMFObjectProperty version, data;
    RTMPPacket packet;

    at = begin(&packet, room, &av__result, transaction, 0, end);
    *at++ = AMF_OBJECT;
    at = AMF_EncodeNamedString(at, end, &av_fmsVer, &value);
    at = AMF_EncodeNamedNumber(at, end, &av_capabilities, 31.0);
    at = end_object(at, end);
    *at++ = AMF_OBJECT;
    at = AMF_EncodeNamedString(at, end, &av_level, &av_status);
    value = text("NetConnection.Connect.Success");
    at = AMF_EncodeNamedString(at, end, &av_code, &value);
    at = AMF_EncodeNamedNumber(at, end, &av_objectEncoding, r->m_fEncoding);
    memset(&version, 0, sizeof version);
    version.p_name = text("version");
    version.p_type = AMF_STRING;
    version.p_vu.p_aval = text("3,5,1,525");
    memset(&data, 0, sizeof data);
    data.p_name = text("data");
    data.p_type = AMF_OBJECT;
    data.p_vu.p_object.o_num = 1;
    data.p_vu.p_object.o_props = &version;
    at = AMFProp_Encode(&data, at, end);
    return finish(r, &packet, end_object(at, end));
}

static int number(RTMP *r, double transaction, double value)
{
    char room[256], *end = room + sizeof room, *at;
    RTMPPacket packet;
    at = begin(&packet, room, &av__result, transaction, 0, end);
    *at++ = AMF_NULL;
    return finish(r, &packet, AMF_EncodeNumber(at, end, value));
}

static int tell(RTMP *r, const char *what)
{
    char room[512], *end = room + sizeof room, *at;
    AVal value = text(what);
    RTMPPacket packet;
    at = begin(&packet, room, &av_onStatus, 0, 1, end);
    *at++ = AMF_NULL;
    *at++ = AMF_OBJECT;
    at = AMF_EncodeNamedString(at, end, &av_level, &av_status);
    at = AMF_EncodeNamedString(at, end, &av_code, &value);
    at = AMF_EncodeNamedString(at, end, &av_details, &r->Link.playpath);
    return finish(r, &packet, end_object(at, end));
}

/* One property, and what is in it. */
static void show(AMFObjectProperty *property, int depth)
{
    AVal name, string;
    AMFObject object;
    int i;

    AMFProp_GetName(property, &name);
    printf("%*s%.*s", 2 * depth, "", name.av_len, name.av_len ? name.av_val : "");
    switch (AMFProp_GetType(property)) {
    case AMF_NUMBER:
        printf(" number %g\n", AMFProp_GetNumber(property));
        break;
    case AMF_BOOLEAN:
        printf(" boolean %d\n", AMFProp_GetBoolean(property));
        break;
    case AMF_STRING:
        AMFProp_GetString(property, &string);
        printf(" string %.*s\n", string.av_len, string.av_val);
        break;
    case AMF_OBJECT:
        AMFProp_GetObject(property, &object);
        printf(" object of %d\n", AMF_CountProp(&object));
        for (i = 0; i < object.o_num; i++) {
            show(AMF_GetProp(&object, NULL, i), depth + 1);
        }
        break;
    default:
        printf(" type %d\n", (int)AMFProp_GetType(property));
        break;
    }
}

/* Keeps the fields of connect: Link points into the body, which the client takes from the packet, and the arguments behind
 * the object move to Link.extras. */
static void keep(struct client *client, RTMP *r, RTMPPacket *packet, AMFObject *command)
{
    static const AVal app = AVC("app"), tcUrl = AVC("tcUrl"), encoding = AVC("objectEncoding");
    AMFObject object;
    int more = command->o_num - 3;

    client->connect = packet->m_body;
    packet->m_body = NULL;
    AMFProp_GetObject(AMF_GetProp(command, NULL, 2), &object);
    AMFProp_GetString(AMF_GetProp(&object, &app, -1), &r->Link.app);
    AMFProp_GetString(AMF_GetProp(&object, &tcUrl, -1), &r->Link.tcUrl);
    if (AMFProp_IsValid(AMF_GetProp(&object, &encoding, -1))) {
        r->m_fEncoding = AMFProp_GetNumber(AMF_GetProp(&object, &encoding, -1));
    }
    if (more > 0) {
        r->Link.extras.o_num = more;
        r->Link.extras.o_props = malloc((size_t)more * sizeof(AMFObjectProperty));
        memcpy(r->Link.extras.o_props, command->o_props + 3, (size_t)more * sizeof(AMFObjectProperty));
        command->o_num = 3;
    }
}

static int send_film(RTMP *r)
{
    unsigned char head[15];
    FILE *film = fopen(film_path, "rb");
    RTMPPacket packet;
    int good;

    memset(&packet, 0, sizeof packet);
    packet.m_nChannel = 2;
    packet.m_packetType = RTMP_PACKET_TYPE_CHUNK_SIZE;
    good = film && RTMPPacket_Alloc(&packet, 4);
    if (good) {
        AMF_EncodeInt32(packet.m_body, packet.m_body + 4, 10000);
        packet.m_nBodySize = 4;
        good = RTMP_SendPacket(r, &packet, FALSE);
        RTMPPacket_Free(&packet);
        r->m_outChunkSize = 10000;
        fseek(film, 13, SEEK_SET);
    }
    while (good && fread(head, 1, 11, film) == 11) {
        uint32_t size = AMF_DecodeInt24((char *)head + 1);
        RTMPPacket_Reset(&packet);
        packet.m_nChannel = 4;
        packet.m_packetType = head[0];
        packet.m_nTimeStamp = AMF_DecodeInt24((char *)head + 4) | (uint32_t)head[7] << 24;
        packet.m_nInfoField2 = 1;
        packet.m_hasAbsTimestamp = TRUE;
        good = RTMPPacket_Alloc(&packet, (int)size) && fread(packet.m_body, 1, size, film) == size
            && fread(head, 1, 4, film) == 4;
        packet.m_nBodySize = size;
        good = good && RTMP_SendPacket(r, &packet, FALSE);
        RTMPPacket_Free(&packet);
    }
    if (film) {
        fclose(film);
    }
    return good;
}

/* One message as a tag. */
static void save(FILE *file, uint8_t type, uint32_t time, const char *body, uint32_t size)
{
    char head[11] = { 0 }, tail[4];
    AMF_EncodeInt32(tail, tail + 4, (int)(size + sizeof head));
    head[0] = (char)type;
    AMF_EncodeInt24(head + 1, head + 4, (int)size);
    AMF_EncodeInt24(head + 4, head + 7, (int)(time & 0xffffff));
    head[7] = (char)(time >> 24);
    fwrite(head, 1, sizeof head, file);
    fwrite(body, 1, size, file);
    fwrite(tail, 1, sizeof tail, file);
    fflush(file);
}

static int invoke(struct client *client, RTMP *r, RTMPPacket *packet, int offset)
{
    static const char flv[13] = { 'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0 };
    AMFObject object;
    AVal method;
    double transaction;
    int i, good = TRUE;

    if ((int)packet->m_nBodySize <= offset) {
        return FALSE;
    }
    if (AMF_Decode(&object, packet->m_body + offset, (int)packet->m_nBodySize - offset, FALSE) < 0) {
        AMF_Reset(&object);
        return FALSE;
    }
    AMFProp_GetString(AMF_GetProp(&object, NULL, 0), &method);
    transaction = AMFProp_GetNumber(AMF_GetProp(&object, NULL, 1));
    flockfile(stdout);
    printf("%.*s\n", method.av_len, method.av_val);
    for (i = 2; i < object.o_num; i++) {
        show(AMF_GetProp(&object, NULL, i), 1);
    }
    funlockfile(stdout);
    if (AVMATCH(&method, &av_connect) && !client->connect) {
        keep(client, r, packet, &object);
        RTMP_SendServerBW(r);
        RTMP_SendClientBW(r);
        good = welcome(r, transaction);
    } else if (AVMATCH(&method, &av_createStream)) {
        good = number(r, transaction, 1);
    } else if (AVMATCH(&method, &av_getStreamLength)) {
        good = number(r, transaction, 10);
    } else if (AVMATCH(&method, &av_releaseStream) || AVMATCH(&method, &av_FCPublish)) {
        good = number(r, transaction, 0);
    } else if (AVMATCH(&method, &av_play)) {
        AMFProp_GetString(AMF_GetProp(&object, NULL, 3), &r->Link.playpath);
        good = RTMP_SendCtrl(r, 0, 1, 0) && tell(r, "NetStream.Play.Start") && send_film(r) && RTMP_SendCtrl(r, 1, 1, 0)
            && tell(r, "NetStream.Play.Stop");
        r->Link.playpath.av_val = NULL;
        r->Link.playpath.av_len = 0;
    } else if (AVMATCH(&method, &av_publish) && !client->saved) {
        client->saved = fopen(saved_path, "wb");
        good = client->saved && fwrite(flv, 1, sizeof flv, client->saved) == sizeof flv && RTMP_SendCtrl(r, 0, 1, 0)
            && tell(r, "NetStream.Publish.Start");
    }
    AMF_Reset(&object);
    return good;
}

static int serve_packet(struct client *client, RTMP *r, RTMPPacket *packet)
{
    /* A data message of a publisher begins with the name of what is to be done with it. */
    uint32_t skip = packet->m_packetType == RTMP_PACKET_TYPE_INFO ? (uint32_t)av_setDataFrame.av_len + 3 : 0;
    switch (packet->m_packetType) {
    case RTMP_PACKET_TYPE_CHUNK_SIZE:
        r->m_inChunkSize = (int)AMF_DecodeInt32(packet->m_body);
        break;
    case RTMP_PACKET_TYPE_FLEX_MESSAGE:
        return invoke(client, r, packet, 1);
    case RTMP_PACKET_TYPE_INVOKE:
        return invoke(client, r, packet, 0);
    case RTMP_PACKET_TYPE_INFO:
    case RTMP_PACKET_TYPE_AUDIO:
    case RTMP_PACKET_TYPE_VIDEO:
        if (client->saved && packet->m_nBodySize > skip) {
            save(client->saved, packet->m_packetType, packet->m_nTimeStamp, packet->m_body + skip,
                 packet->m_nBodySize - skip);
        }
        break;
    default:
        break;
    }
    return TRUE;
}

static void *serve(void *argument)
{
    struct client *client = argument;
    RTMP *r = RTMP_Alloc();
    RTMPPacket packet, body;
    int good = TRUE;

    memset(&packet, 0, sizeof packet);
    memset(&body, 0, sizeof body);
    RTMP_Init(r);
    r->m_sb.sb_socket = client->fd;
    if (RTMP_Serve(r)) {
        r->m_bSendCounter = TRUE; /* the publisher is told what has arrived */
        while (good && RTMP_IsConnected(r) && RTMP_ReadPacket(r, &packet)) {
            if (RTMPPacket_IsReady(&packet)) {
                good = serve_packet(client, r, &packet);
                RTMPPacket_Free(&packet);
            }
        }
        puts("gone");
    } else {
        puts("no handshake");
    }
    RTMP_Close(r);
    AMF_Reset(&r->Link.extras);
    r->Link.app.av_val = r->Link.tcUrl.av_val = NULL;
    body.m_body = client->connect;
    RTMPPacket_Free(&body);
    RTMP_Free(r);
    if (client->saved) {
        fclose(client->saved);
    }
    free(client);
    return NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fd, clients = argc > 3 ? atoi(argv[3]) : 0;
    pthread_t thread;

    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (argc < 3 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 10)
        || getsockname(listener, (struct sockaddr *)&address, &len)) {
        return 2;
    }
    film_path = argv[1];
    saved_path = argv[2];
    printf("port %d\n", ntohs(address.sin_port));
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        struct client *client = calloc(1, sizeof *client);
        client->fd = fd;
        if (pthread_create(&thread, NULL, serve, client)) {
            return 3;
        }
        if (!clients) {
            pthread_detach(thread);
        } else if (pthread_join(thread, NULL) || --clients == 0) {
            close(listener);
            return 0;
        }
    }
    return 1;
}
