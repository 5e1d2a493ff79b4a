/* A server of librtmp as programs write it: takes clients one by one, decodes and dumps their commands and data. Ends with
 * 0 whatever they do; tests/librtmp/hostile.rs looks for crashes and for memory errors. Prints its port.
 * server CLIENTS [certificate key] */
#include <arpa/inet.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void serve(int fd, void *tls)
{
    struct timeval patience = { 5, 0 };
    RTMPPacket packet;
    AMFObject object;
    RTMP *r = RTMP_Alloc();
    int messages = 0, names = 0;

    RTMP_Init(r);
    r->m_sb.sb_socket = fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    memset(&packet, 0, sizeof packet);
    if ((!tls || RTMP_TLS_Accept(r, tls)) && RTMP_Serve(r)) {
        while (RTMP_IsConnected(r) && RTMP_ReadPacket(r, &packet)) {
            if (!RTMPPacket_IsReady(&packet)) {
                continue;
            }
            messages++;
            if (packet.m_packetType == RTMP_PACKET_TYPE_CHUNK_SIZE && packet.m_nBodySize >= 4) {
                r->m_inChunkSize = (int)AMF_DecodeInt32(packet.m_body);
            } else if (packet.m_packetType == RTMP_PACKET_TYPE_INVOKE || packet.m_packetType == RTMP_PACKET_TYPE_INFO) {
                /* The first byte is read without a look at the length, as rtmpsrv and rtmpsuck do. */
                names += packet.m_packetType == RTMP_PACKET_TYPE_INVOKE && packet.m_body[0] == AMF_STRING;
                AMF_Decode(&object, packet.m_body, (int)packet.m_nBodySize, FALSE);
                AMF_Dump(&object);
                AMF_Reset(&object);
            } else {
                RTMP_ClientPacket(r, &packet);
            }
            RTMPPacket_Free(&packet);
        }
    }
    printf("%d messages, %d with a name\n", messages, names);
    fflush(stdout);
    RTMP_Close(r);
    RTMP_Free(r);
}

int main(int argc, char **argv)
{
    void *tls = argc > 3 ? RTMP_TLS_AllocServerContext(argv[2], argv[3]) : NULL;
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), i;

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (argc < 2 || (argc > 3 && !tls) || bind(listener, (struct sockaddr *)&address, sizeof address)
        || listen(listener, 1) || getsockname(listener, (struct sockaddr *)&address, &len)) {
        return 2;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    RTMP_LogSetLevel(RTMP_LOGDEBUG);
    for (i = 0; i < atoi(argv[1]); i++) {
        fprintf(stderr, "== %d\n", i);
        serve(accept(listener, NULL, NULL), tls);
    }
    RTMP_TLS_FreeServerContext(tls);
    close(listener);
    return 0;
}
