/* ServePacket(): answers a publisher's commands, and counts, saves and passes on its media. */
#define _POSIX_C_SOURCE 200809L
#include "basic_server.h"

#include <librtmp/log.h>
#include <string.h>

/* Ping request and its answer, with the numbers of RTMP_SendCtrl() and control messages. */
enum { CTRL_STREAM_BEGIN = 0, CTRL_PING = 6, CTRL_PONG = 7 };

/* The message stream that createStream returns; there is one publisher, so there is one message stream. */
enum { STREAM_ID = 1 };

static AVal text(const char *value) {
    AVal result;
    result.av_val = (char *)value;
    result.av_len = (int)strlen(value);
    return result;
}

static int is(const AVal *method, const char *name) {
    return method->av_len == (int)strlen(name) && memcmp(method->av_val, name, strlen(name)) == 0;
}

/* Copies a peer's string as a C string; FALSE if it is empty or too long, or contains a NUL, which AMF strings may. */
static int copyName(char name[NAME_BYTES], const AVal *value) {
    if (value->av_len <= 0 || value->av_len >= NAME_BYTES || memchr(value->av_val, '\0', (size_t)value->av_len)) {
        return FALSE;
    }
    memcpy(name, value->av_val, (size_t)value->av_len);
    name[value->av_len] = '\0';
    return TRUE;
}

/* Sends a command: name, transaction, null, and then an object with a status code, a number, or null again. */
static int Reply(RTMP *r, int stream, const char *name, double transaction, const char *code, const double *number) {
    char room[RTMP_MAX_HEADER_SIZE + 512], *start = room + RTMP_MAX_HEADER_SIZE, *end = room + sizeof room, *at;
    AVal method = text(name), level_name = text("level"), code_name = text("code"), level = text("status"), value;
    RTMPPacket packet;

    memset(&packet, 0, sizeof packet);
    at = AMF_EncodeString(start, end, &method);
    at = AMF_EncodeNumber(at, end, transaction);
    *at++ = AMF_NULL;
    if (number) {
        at = AMF_EncodeNumber(at, end, *number);
    } else if (code) {
        if (strstr(code, "BadName") || strstr(code, "Failed") || strstr(code, "Rejected")) level = text("error");
        value = text(code);
        *at++ = AMF_OBJECT;
        at = AMF_EncodeNamedString(at, end, &level_name, &level);
        at = AMF_EncodeNamedString(at, end, &code_name, &value);
        at = AMF_EncodeInt24(at, end, AMF_OBJECT_END);
    } else {
        *at++ = AMF_NULL;
    }
    packet.m_nChannel = 3;
    packet.m_packetType = RTMP_PACKET_TYPE_INVOKE;
    packet.m_nInfoField2 = stream;
    packet.m_body = start;
    packet.m_nBodySize = (uint32_t)(at - start);
    return RTMP_SendPacket(r, &packet, FALSE);
}

/* connect: the application's name is in the command object. */
static int ServeConnect(STREAMING_SERVER *server, RTMP *r, AMFObject *command, double transaction) {
    AMFObject object;
    AVal name = text("app"), app = {NULL, 0};

    AMFProp_GetObject(AMF_GetProp(command, NULL, 2), &object);
    AMFProp_GetString(AMF_GetProp(&object, &name, -1), &app);
    if (!copyName(server->app, &app)) {
        Reply(r, 0, "_error", transaction, "NetConnection.Connect.Rejected", NULL);
        return FALSE;
    }
    RTMP_SendServerBW(r);
    RTMP_SendClientBW(r);
    return Reply(r, 0, "_result", transaction, "NetConnection.Connect.Success", NULL);
}

static int ServePublish(STREAMING_SERVER *server, RTMP *r, AMFObject *command) {
    AVal key = {NULL, 0};

    AMFProp_GetString(AMF_GetProp(command, NULL, 3), &key);
    if (server->publishing || !server->app[0] || !copyName(server->key, &key) || !BeginStream(server) ||
        !OpenFile(server)) {
        Reply(r, STREAM_ID, "onStatus", 0, "NetStream.Publish.BadName", NULL);
        return FALSE;
    }
    server->publishing = 1;
    server->audio = server->video = server->data = server->other = 0;
    server->bytes = 0;
    Say("", server->app, server->key, " is published");
    RTMP_SendCtrl(r, CTRL_STREAM_BEGIN, STREAM_ID, 0);
    return Reply(r, STREAM_ID, "onStatus", 0, "NetStream.Publish.Start", NULL);
}

static int ServeInvoke(STREAMING_SERVER *server, RTMP *r, const char *body, unsigned size) {
    static const double stream = STREAM_ID;
    AMFObject command;
    AVal method = {NULL, 0};
    double transaction;
    int goes_on = TRUE;

    if (size == 0) return FALSE;
    if (AMF_Decode(&command, body, (int)size, FALSE) < 0) {
        AMF_Reset(&command); /* frees what was decoded before the error */
        return FALSE;
    }
    AMFProp_GetString(AMF_GetProp(&command, NULL, 0), &method);
    transaction = AMFProp_GetNumber(AMF_GetProp(&command, NULL, 1));
    if (is(&method, "connect")) {
        goes_on = ServeConnect(server, r, &command, transaction);
    } else if (is(&method, "createStream")) {
        goes_on = Reply(r, 0, "_result", transaction, NULL, &stream);
    } else if (is(&method, "publish")) {
        goes_on = ServePublish(server, r, &command);
    } else if (is(&method, "play")) {
        Reply(r, STREAM_ID, "onStatus", 0, "NetStream.Play.Failed", NULL);
        goes_on = FALSE;
    } else if (is(&method, "FCUnpublish") || is(&method, "closeStream")) {
        EndPublishing(server);
    } else if (is(&method, "deleteStream")) {
        goes_on = FALSE;
    } else if (transaction > 0 && !is(&method, "_result") && !is(&method, "_error")) {
        goes_on = Reply(r, 0, "_result", transaction, NULL, NULL); /* releaseStream, FCPublish, _checkbw ... */
    }
    AMF_Reset(&command);
    return goes_on;
}

static int ServeMedia(STREAMING_SERVER *server, const RTMPPacket *packet, unsigned long *count) {
    ++*count;
    server->bytes += packet->m_nBodySize;
    if (!server->publishing) return TRUE;
    SavePacket(server, packet);
    return FeedStream(server, packet);
}

int ServePacket(STREAMING_SERVER *server, RTMP *r, RTMPPacket *packet) {
    const char *body = packet->m_body;
    unsigned size = packet->m_nBodySize;

    switch (packet->m_packetType) {
    case RTMP_PACKET_TYPE_CHUNK_SIZE:
        if (size >= 4 && (int)AMF_DecodeInt32(body) > 0) r->m_inChunkSize = (int)AMF_DecodeInt32(body);
        return TRUE;
    case RTMP_PACKET_TYPE_CONTROL:
        if (size >= 6 && AMF_DecodeInt16(body) == CTRL_PING) RTMP_SendCtrl(r, CTRL_PONG, AMF_DecodeInt32(body + 2), 0);
        return TRUE;
    case RTMP_PACKET_TYPE_INVOKE:
        return ServeInvoke(server, r, body, size);
    case RTMP_PACKET_TYPE_FLEX_MESSAGE: /* the same after a byte with the AMF version, 0 */
        return size < 1 || ServeInvoke(server, r, body + 1, size - 1);
    case RTMP_PACKET_TYPE_AUDIO:
        return ServeMedia(server, packet, &server->audio);
    case RTMP_PACKET_TYPE_VIDEO:
        return ServeMedia(server, packet, &server->video);
    case RTMP_PACKET_TYPE_INFO:
    case RTMP_PACKET_TYPE_FLEX_STREAM_SEND:
        return ServeMedia(server, packet, &server->data);
    default:
        server->other++;
        return TRUE;
    }
}

void EndPublishing(STREAMING_SERVER *server) {
    if (!server->publishing) return;
    server->publishing = 0;
    EndStream(server);
    CloseFile(server);
    Say("", server->app, server->key, " has ended: %lu audio, %lu video, %lu data messages, %llu bytes; %lu others",
        server->audio, server->video, server->data, server->bytes, server->other);
}
