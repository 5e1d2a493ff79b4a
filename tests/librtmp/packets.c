/* Messages out and in on one end of a pair of sockets: the bytes sent for sequences of packets of all kinds, the packets
 * read from chunk streams whole and damaged, and a client's reaction to every message. See differ.h. */
#include "differ.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PICK(array) (array)[next_random() % COUNT(array)]

static const uint8_t types[] = { 1, 2, 3, 4, 5, 6, 8, 9, 15, 16, 17, 18, 19, 20, 22, 0, 99 };

/* ---- out */

static void packets_out(void)
{
    static const uint32_t times[] = { 0, 1, 40, 40, 80, 79, 0xfffffe, 0xffffff, 0x1000000, 0x1000001, 0x7fffffff, 0xffffffff };
    static const uint32_t sizes[] = { 0, 1, 10, 10, 127, 128, 129, 300, 1000 };
    static const int channels[] = { 2, 3, 4, 4, 4, 8, 63, 64, 319, 320, 2000 };
    static const int chunk_sizes[] = { 128, 128, 30, 60, 4096 };
    int sequence, n;

    for (sequence = 0; sequence < 60; sequence++) {
        unsigned skip = next_random() % 50;
        while (skip--) {
            next_random();
        }
        CASE("packets out %d", sequence) {
            RTMP *r = session_on_a_pair();
            r->m_outChunkSize = PICK(chunk_sizes);
            for (n = 0; n < 40; n++) {
                RTMPPacket packet;
                uint32_t size = PICK(sizes), i;
                int sent;
                memset(&packet, 0, sizeof packet);
                RTMPPacket_Alloc(&packet, size);
                for (i = 0; i < size; i++) {
                    packet.m_body[i] = (char)next_random();
                }
                packet.m_headerType = (uint8_t)(next_random() % 4);
                packet.m_packetType = PICK(types);
                packet.m_hasAbsTimestamp = (uint8_t)(next_random() % 2);
                packet.m_nChannel = PICK(channels);
                packet.m_nTimeStamp = PICK(times);
                packet.m_nInfoField2 = (int32_t)(next_random() % 3);
                packet.m_nBodySize = size;
                sent = RTMP_SendPacket(r, &packet, packet.m_packetType != 20);
                printf("%d now %d\n", sent, packet.m_headerType);
                print_sent();
            }
            print_session(r);
        }
    }
}

/* ---- in */

static void print_packet(const RTMPPacket *p)
{
    printf("header %d channel %d type %d time %u absolute %d stream %d size %u read %u body %d\n", p->m_headerType,
           p->m_nChannel, p->m_packetType, p->m_nTimeStamp, p->m_hasAbsTimestamp, p->m_nInfoField2, p->m_nBodySize,
           p->m_nBytesRead, p->m_body != NULL);
    if (p->m_chunk) {
        print_hex("header", p->m_chunk->c_header, (size_t)p->m_chunk->c_headerSize);
        printf("chunk %d\n", p->m_chunk->c_chunkSize);
    }
    if (p->m_body && RTMPPacket_IsReady(p)) {
        print_hex("body", p->m_body, p->m_nBodySize);
    }
}

/* Chunks of three messages at a time, taking turns. Only streams that have had a whole header get shorter ones. */
static size_t make_chunks(unsigned char *out, int chunk_size)
{
    unsigned left[3] = { 0, 0, 0 }, len[3], known = 0, extended[3] = { 0, 0, 0 };
    unsigned char full[3][4];
    size_t at = 0;
    int n;

    for (n = 0; n < 60; n++) {
        unsigned which = next_random() % 3, i, part;
        if (!left[which]) {
            unsigned fmt = known & 1U << which ? next_random() % 4 : 0, time = PICK(((unsigned[]) { 0, 1, 40, 1000, 0xfffffe, 0xffffff, 0x1000001 }));
            out[at++] = (unsigned char)(fmt << 6 | (4 + which));
            if (fmt < 3) {
                extended[which] = time >= 0xffffff;
                i = extended[which] ? 0xffffff : time;
                out[at++] = (unsigned char)(i >> 16);
                out[at++] = (unsigned char)(i >> 8);
                out[at++] = (unsigned char)i;
            }
            if (fmt < 2) {
                len[which] = PICK(((unsigned[]) { 1, 5, 127, 128, 129, 300 }));
                out[at++] = 0;
                out[at++] = (unsigned char)(len[which] >> 8);
                out[at++] = (unsigned char)len[which];
                out[at++] = PICK(types);
            }
            if (fmt == 0) {
                memcpy(out + at, "\1\0\0\0", 4);
                at += 4;
            }
            if (extended[which] && fmt < 3) {
                for (i = 0; i < 4; i++) {
                    full[which][i] = (unsigned char)(time >> (24 - 8 * i));
                }
            }
            if (extended[which]) {
                memcpy(out + at, full[which], 4);
                at += 4;
            }
            known |= 1U << which;
            left[which] = len[which];
        } else {
            out[at++] = (unsigned char)(0xc0 | (4 + which));
            if (extended[which]) {
                memcpy(out + at, full[which], 4);
                at += 4;
            }
        }
        part = left[which] < (unsigned)chunk_size ? left[which] : (unsigned)chunk_size;
        for (i = 0; i < part; i++) {
            out[at++] = (unsigned char)next_random();
        }
        left[which] -= part;
    }
    return at;
}

static void packets_in(void)
{
    static unsigned char bytes[200000];
    int sequence;

    for (sequence = 0; sequence < 60; sequence++) {
        int chunk_size = PICK(((int[]) { 128, 128, 60, 4096 })), raw = sequence % 2;
        size_t len = make_chunks(bytes, chunk_size);
        CASE("packets in %d", sequence) {
            RTMP *r = session_on_a_pair();
            RTMPPacket packet;
            RTMPChunk chunk;
            memset(&packet, 0, sizeof packet);
            memset(&chunk, 0, sizeof chunk);
            packet.m_chunk = raw ? &chunk : NULL;
            r->m_inChunkSize = chunk_size;
            r->m_bSendCounter = sequence % 3 == 0;
            r->m_nClientBW = 5000;
            if (write(other_end, bytes, len) != (ssize_t)len) {
                abort();
            }
            shutdown(other_end, SHUT_WR);
            while (RTMP_ReadPacket(r, &packet)) {
                print_packet(&packet);
                if (RTMPPacket_IsReady(&packet)) {
                    RTMPPacket_Free(&packet);
                }
            }
            print_sent();
            print_session(r);
        }
    }
}

/* ---- what a client does */

struct seed {
    const char *bytes;
    size_t len;
    uint8_t type;
};
#define SEED(type, text) { text, sizeof text - 1, type }
#define STATUS(code) "\2\0\x8onStatus\0\0\0\0\0\0\0\0\0\5\3\0\5level\2\0\6status\0\4code\2\0" code "\0\0\x9"

static const struct seed seeds[] = {
    SEED(1, "\0\0\x10\0"), SEED(3, "\0\0\0\1"), SEED(4, "\0\0\0\0\0\1"), SEED(4, "\0\1\0\0\0\1"), SEED(4, "\0\3\0\0\0\1\0\0\1\0"),
    SEED(4, "\0\6\1\2\3\4"), SEED(4, "\0\x1a\0"), SEED(4, "\0\x1f\0\0\0\1"), SEED(4, "\0\x20\0\0\0\1"), SEED(5, "\0\0\x30\0"),
    SEED(6, "\0\0\x40\0\1"), SEED(8, "\xaf\1x"), SEED(9, "\x17\1\0\0\0x"), SEED(15, "\0\2\0\1x"), SEED(16, "x"), SEED(19, "x"),
    SEED(17, "\0" STATUS("\x14NetStream.Play.Start")), SEED(18, "\2\0\xaonMetaData\x8\0\0\0\2\0\x8" "duration\0\x40\x24\0\0\0\0\0\0\0\xcvideocodecid\0\x40\x1c\0\0\0\0\0\0\0\xc" "audiocodecid\0\x40\x24\0\0\0\0\0\0\0\0\x9"),
    SEED(18, "\2\0\xaonMetaData\3\0\5video\0\x40\x24\0\0\0\0\0\0\0\6" "audiox\2\0\1a\0\1o\3\0\6videoy\5\0\0\x9\0\0\x9"), SEED(18, "\2\0\3foo\5"),
    SEED(20, "\2\0\7_result\0\x3f\xf0\0\0\0\0\0\0\5\3\0\4code\2\0\1x\0\0\x9"), SEED(20, "\2\0\7_result\0\x40\0\0\0\0\0\0\0\5\0\x40\x14\0\0\0\0\0\0"),
    SEED(20, "\2\0\7_result\0\x40\x08\0\0\0\0\0\0\5"), SEED(20, "\2\0\7_result\0\x40\x22\0\0\0\0\0\0\5"), SEED(20, "\2\0\6_error\0\x3f\xf0\0\0\0\0\0\0\5\3\0\xb" "description\2\0\1x\0\0\x9"),
    SEED(20, "\2\0\6_error\0\x40\x10\0\0\0\0\0\0\5\5"), SEED(20, "\2\0\x8onBWDone\0\0\0\0\0\0\0\0\0\5"), SEED(20, "\2\0\xb_onbwcheck\0\x40\x14\0\0\0\0\0\0\5"), SEED(20, "\2\0\xa_onbwdone\0\0\0\0\0\0\0\0\0\5"),
    SEED(20, "\2\0\4ping\0\x40\x14\0\0\0\0\0\0\5"), SEED(20, "\2\0\5close\0\0\0\0\0\0\0\0\0\5"), SEED(20, "\2\0\xfonFCUnsubscribe\0\0\0\0\0\0\0\0\0\5"), SEED(20, "\2\0\xdonFCSubscribe\0\0\0\0\0\0\0\0\0\5"),
    SEED(20, "\2\0\xeplaylist_ready\0\0\0\0\0\0\0\0\0\5"), SEED(20, "\2\0\3foo\0\0\0\0\0\0\0\0\0\5"), SEED(20, STATUS("\x14NetStream.Play.Start")), SEED(20, STATUS("\x17NetStream.Publish.Start")),
    SEED(20, STATUS("\x13NetStream.Play.Stop")), SEED(20, STATUS("\x17NetStream.Play.Complete")), SEED(20, STATUS("\x1eNetStream.Play.UnpublishNotify")), SEED(20, STATUS("\x1dNetStream.Play.PublishNotify")),
    SEED(20, STATUS("\x15NetStream.Seek.Notify")), SEED(20, STATUS("\x16NetStream.Pause.Notify")), SEED(20, STATUS("\x10NetStream.Failed")), SEED(20, STATUS("\x15NetStream.Play.Failed")),
    SEED(20, STATUS("\x1eNetStream.Play.StreamNotFound")), SEED(20, STATUS("\x20NetConnection.Connect.InvalidApp")), SEED(20, STATUS("\x14NetStream.Play.Reset")),
    SEED(22, "\x8\0\0\2\0\0\x63\0\0\0\0\xaf\1\0\0\0\xd\x9\0\0\1\0\0\x64\1\0\0\0\x17\0\0\0\xc"), SEED(22, "\x12\0\0\xf\0\0\0\0\0\0\0\2\0\xaonMetaData\5\5\0\0\0\x1a"), SEED(0, "x"), SEED(99, "x"),
};

/* A client that has said connect, createStream and play, or publish, and waits for the answers. */
static RTMP *waiting_session(unsigned kind)
{
    static const char *const calls[] = { "\2\0\7connect\0\x3f\xf0\0\0\0\0\0\0\5", "\2\0\xc" "createStream\0\x40\0\0\0\0\0\0\0\5", "\2\0\4play\0\x40\x08\0\0\0\0\0\0\5" };
    static const size_t lens[] = { 20, 25, 17 };
    RTMP *r = session_on_a_pair();
    size_t i;

    r->Link.playpath = av_of("key");
    r->Link.app = av_of("app");
    r->Link.tcUrl = av_of("rtmp://h/app");
    r->m_stream_id = 1;
    r->m_numInvokes = 3;
    if (kind & 1) {
        r->Link.protocol |= RTMP_FEATURE_WRITE;
    }
    if (kind & 2) {
        r->Link.lFlags |= RTMP_LF_LIVE | RTMP_LF_PLST | RTMP_LF_BUFX;
        r->m_pausing = (int)(kind / 4 % 4);
        r->m_read.flags |= RTMP_READ_SEEKING;
    }
    if (kind & 4) {
        r->Link.subscribepath = av_of("sub");
        r->Link.usherToken = av_of("usher");
        r->Link.seekTime = 500;
        r->Link.stopTime = 2500;
    }
    if (kind & 8) {
        r->Link.SWFSize = 5;
        memset(r->Link.SWFVerificationResponse, 7, sizeof r->Link.SWFVerificationResponse);
    }
    for (i = 0; i < COUNT(calls); i++) {
        RTMPPacket packet;
        memset(&packet, 0, sizeof packet);
        RTMPPacket_Alloc(&packet, (uint32_t)lens[i]);
        memcpy(packet.m_body, calls[i], lens[i]);
        packet.m_nBodySize = (uint32_t)lens[i];
        packet.m_nChannel = 3;
        packet.m_packetType = 20;
        RTMP_SendPacket(r, &packet, TRUE);
    }
    print_sent();
    return r;
}

static void client_gets(RTMP *r, uint8_t type, const void *bytes, size_t len)
{
    RTMPPacket packet;
    memset(&packet, 0, sizeof packet);
    packet.m_packetType = type;
    packet.m_nChannel = 4;
    packet.m_nTimeStamp = 1234;
    packet.m_nBodySize = packet.m_nBytesRead = (uint32_t)len;
    packet.m_body = at_the_edge(bytes, len);
    printf("%d\n", RTMP_ClientPacket(r, &packet));
    print_sent();
    print_session(r);
}

static void client(void)
{
    static const unsigned char odd[] = { 0, 1, 2, 3, 5, 8, 9, 10, 0x7f, 0xff };
    unsigned char bytes[200];
    size_t i, kind;
    for (kind = 0; kind < 16; kind++) {
        for (i = 0; i < COUNT(seeds); i++) {
            CASE("client %zu gets message %zu", kind, i) client_gets(waiting_session((unsigned)kind), seeds[i].type, seeds[i].bytes, seeds[i].len);
        }
    }
    for (i = 0; i < 600; i++) {
        const struct seed *seed = &PICK(seeds);
        unsigned changes = next_random() % 3;
        memcpy(bytes, seed->bytes, seed->len);
        while (changes--) {
            bytes[next_random() % seed->len] = PICK(odd);
        }
        kind = next_random() % 16;
        CASE("client gets damaged message %zu", i) {
            size_t len = next_random() % 3 ? seed->len : next_random() % (seed->len + 1);
            printf("type %d ", seed->type);
            print_hex("bytes", bytes, len);
            client_gets(waiting_session((unsigned)kind), seed->type, bytes, len);
        }
    }
}

int main(void)
{
    quiet();
    packets_out();
    packets_in();
    client();
    puts("== end");
    return 0;
}
