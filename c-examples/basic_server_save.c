/* Saves published streams as FLV: an RTMP message differs from an FLV tag only in its head. */
#define _POSIX_C_SOURCE 200809L
#include "basic_server.h"

#include <string.h>

/* Publishers put this before metadata, so that servers keep it for players that join later. A file has only the metadata. */
static const char setDataFrame[] = "\x02\x00\x0d@setDataFrame";

int OpenFile(STREAMING_SERVER *server) {
    static const char head[13] = {'F', 'L', 'V', 1, 5, 0, 0, 0, 9, 0, 0, 0, 0};
    char name[4096];

    if (!server->file_name) return TRUE;
    if (server->files == 0) {
        snprintf(name, sizeof name, "%s", server->file_name);
    } else {
        snprintf(name, sizeof name, "%s.%u", server->file_name, server->files);
    }
    server->files++;
    server->file = fopen(name, "wb");
    if (!server->file || fwrite(head, 1, sizeof head, server->file) != sizeof head) {
        perror(name);
        CloseFile(server);
        return FALSE;
    }
    return TRUE;
}

void SavePacket(STREAMING_SERVER *server, const RTMPPacket *packet) {
    char head[11], tail[4];
    const char *body = packet->m_body;
    unsigned size = packet->m_nBodySize;
    int type = packet->m_packetType;

    if (!server->file) return;
    if (type == RTMP_PACKET_TYPE_FLEX_STREAM_SEND) {
        type = RTMP_PACKET_TYPE_INFO;
        if (size > 0 && *body == 0) body++, size--;
    }
    if (type == RTMP_PACKET_TYPE_INFO && size >= sizeof setDataFrame - 1 &&
        memcmp(body, setDataFrame, sizeof setDataFrame - 1) == 0) {
        body += sizeof setDataFrame - 1;
        size -= sizeof setDataFrame - 1;
    }
    if (size == 0) return;
    head[0] = (char)type;
    AMF_EncodeInt24(head + 1, head + 4, (int)size);
    AMF_EncodeInt24(head + 4, head + 7, (int)(packet->m_nTimeStamp & 0xffffff));
    head[7] = (char)(packet->m_nTimeStamp >> 24);
    memset(head + 8, 0, 3);
    AMF_EncodeInt32(tail, tail + sizeof tail, (int)(size + sizeof head));
    if (fwrite(head, 1, sizeof head, server->file) != sizeof head || fwrite(body, 1, size, server->file) != size ||
        fwrite(tail, 1, sizeof tail, server->file) != sizeof tail) {
        perror("saving");
        CloseFile(server);
    }
}

void CloseFile(STREAMING_SERVER *server) {
    if (server->file && fclose(server->file)) perror("saving");
    server->file = NULL;
}
