/* FLV both ways: RTMP_Read of media messages with buffers of all sizes, resumed downloads too, and RTMP_Write of a file,
 * whole and in slices. See differ.h. */
#include "differ.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PICK(array) (array)[next_random() % COUNT(array)]

/* Puts one message on the wire, as one chunk with a full header. */
static void give(uint8_t type, uint32_t time, const void *body, size_t len)
{
    unsigned char head[16] = { (unsigned char)(type == 8 ? 5 : type == 9 ? 6 : 4) };
    size_t size = 12;
    uint32_t field = time < 0xffffff ? time : 0xffffff;
    head[1] = (unsigned char)(field >> 16);
    head[2] = (unsigned char)(field >> 8);
    head[3] = (unsigned char)field;
    head[4] = (unsigned char)(len >> 16);
    head[5] = (unsigned char)(len >> 8);
    head[6] = (unsigned char)len;
    head[7] = type;
    head[8] = 1;
    if (field == 0xffffff) {
        head[12] = (unsigned char)(time >> 24);
        head[13] = (unsigned char)(time >> 16);
        head[14] = (unsigned char)(time >> 8);
        head[15] = (unsigned char)time;
        size = 16;
    }
    if (write(other_end, head, size) != (ssize_t)size || write(other_end, body, len) != (ssize_t)len) {
        abort();
    }
}

#define GIVE(type, time, text) give(type, time, text, sizeof text - 1)
#define METADATA "\2\0\xaonMetaData\x8\0\0\0\1\0\x8" "duration\0\x40\x24\0\0\0\0\0\0\0\0\x9"
#define STOP "\2\0\x8onStatus\0\0\0\0\0\0\0\0\0\5\3\0\4code\2\0\x13NetStream.Play.Stop\0\0\x9"

static void give_stream(unsigned kind)
{
    unsigned char body[400];
    uint32_t time = kind & 1 ? 5000 : 0;
    int n;

    if (kind & 2) {
        GIVE(18, 0, METADATA);
    }
    GIVE(9, time, "\x17\0\0\0\0avcC");
    GIVE(8, time, "\xaf\0\x12\x10");
    for (n = 0; n < 30; n++) {
        size_t len = 1 + next_random() % 300, i;
        for (i = 0; i < len; i++) {
            body[i] = (unsigned char)next_random();
        }
        time += next_random() % 60;
        switch (next_random() % 8) {
        case 0:
            body[0] = 0x17;
            give(9, time, body, len);
            break;
        case 1:
        case 2:
            give(9, time, body, len);
            break;
        case 3:
            GIVE(18, time, "\2\0\5other\5");
            break;
        case 4:
            GIVE(22, time, "\x8\0\0\2\0\0\x63\0\0\0\0\xaf\1\0\0\0\xd\x9\0\0\1\0\0\x64\1\0\0\0\x17\0\0\0\xc");
            break;
        case 5:
            GIVE(4, time, "\0\0\0\0\0\1");
            break;
        default:
            give(8, time, body, len);
        }
    }
    if (kind & 4) {
        GIVE(8, 0x01000010, "\xaf\1later");
    }
    if (kind & 8) {
        GIVE(20, time, STOP);
    }
}

/* Reads to the end, and shows each call's result and all the bytes. */
static void read_all(RTMP *r, int room)
{
    static char bytes[1 << 20];
    int total = 0, n, calls = 0;

    while ((n = RTMP_Read(r, bytes + total, room)) > 0) {
        printf("%d ", n);
        total += n;
        if (++calls > 3000 || total > (int)sizeof bytes - room) {
            break;
        }
    }
    errno = 0;
    printf("then %d, again %d\n", n, RTMP_Read(r, bytes + total, room));
    print_hex("flv", bytes, (size_t)total);
    print_session(r);
}

static void reading(void)
{
    static const int rooms[] = { 1, 2, 4, 11, 13, 100, 128, 4096, 65536 };
    size_t room;
    unsigned kind;

    for (kind = 0; kind < 16; kind++) {
        for (room = 0; room < COUNT(rooms); room++) {
            next_random();
            CASE("read stream %u by %d", kind, rooms[room]) {
                RTMP *r = session_on_a_pair();
                r->m_inChunkSize = 65536;
                r->Link.lFlags |= kind % 3 ? 0 : RTMP_LF_LIVE;
                r->m_pausing = kind % 5 == 4 ? 3 : 0;
                r->m_mediaStamp = 5100;
                give_stream(kind);
                shutdown(other_end, SHUT_WR);
                read_all(r, rooms[room]);
            }
        }
    }
    for (kind = 0; kind < 16; kind++) {
        CASE("resume stream %u", kind) {
            static char metadata[] = METADATA, frame[] = "\x17\0\0\0\0avcC", other[] = "\x17\0\0\0\0avcX", tag[] = "\x17";
            RTMP *r = session_on_a_pair();
            r->m_inChunkSize = 65536;
            r->m_read.flags |= RTMP_READ_RESUME;
            r->m_read.nResumeTS = 4000;
            r->m_read.timestamp = 4000;
            r->m_read.initialFrameType = kind & 4 ? 8 : 9;
            r->m_read.metaHeader = metadata;
            r->m_read.nMetaHeaderSize = sizeof metadata - 1 - (kind & 1);
            r->m_read.initialFrame = kind & 8 ? other : kind & 4 ? tag : frame;
            r->m_read.nInitialFrameSize = kind & 4 && !(kind & 8) ? 1 : 9;
            give_stream(kind & 2);
            shutdown(other_end, SHUT_WR);
            read_all(r, 65536);
        }
    }
}

/* ---- write */

static unsigned char file[60000];
static size_t tags[100], tag_count, file_len;

static void make_file(int with_head)
{
    static const uint8_t types[] = { 8, 9, 9, 8, 18 };
    uint32_t time = 0;
    size_t at = 0;
    int n;

    tag_count = 0;
    if (with_head) {
        memcpy(file, "FLV\1\5\0\0\0\x9\0\0\0\0", 13);
        at = 13;
    }
    for (n = 0; n < 60; n++) {
        unsigned len = n % 7 ? next_random() % 700 : next_random() % 3, i;
        uint8_t type = PICK(types);
        if (type == 18 && len < 20) {
            len = 20;
        }
        tags[tag_count++] = at;
        file[at++] = type;
        file[at++] = 0;
        file[at++] = (unsigned char)(len >> 8);
        file[at++] = (unsigned char)len;
        file[at++] = (unsigned char)(time >> 16);
        file[at++] = (unsigned char)(time >> 8);
        file[at++] = (unsigned char)time;
        file[at++] = (unsigned char)(time >> 24);
        memset(file + at, 0, 3);
        at += 3;
        for (i = 0; i < len; i++) {
            file[at++] = (unsigned char)next_random();
        }
        if (type == 18) {
            memcpy(file + at - len, "\2\0\xaonMetaData", 13);
        }
        file[at++] = 0;
        file[at++] = 0;
        file[at++] = (unsigned char)((len + 11) >> 8);
        file[at++] = (unsigned char)(len + 11);
        time += n == 40 ? 0xfffff0 : next_random() % 3 * 20;
    }
    tags[tag_count] = file_len = at;
}

static RTMP *publisher(void)
{
    RTMP *r = session_on_a_pair();
    r->m_stream_id = 1;
    r->Link.protocol |= RTMP_FEATURE_WRITE;
    return r;
}

static void writing(void)
{
    static const size_t slices[] = { 1, 2, 3, 7, 11, 15, 100, 1000, 16384 };
    size_t i, at;
    int head;

    for (head = 0; head < 2; head++) {
        make_file(head);
        CASE("file %d in whole tags", head) {
            RTMP *r = publisher();
            for (i = 0; i < tag_count; i++) {
                size_t from = i ? tags[i] : 0;
                if (RTMP_Write(r, (char *)file + from, (int)(tags[i + 1] - from)) <= 0) {
                    puts("refused");
                }
            }
            print_sent();
        }
        CASE("file %d at once", head) {
            RTMP *r = publisher();
            printf("%d\n", RTMP_Write(r, (char *)file, (int)file_len));
            print_sent();
        }
        CASE("file %d cut in bodies", head) {
            RTMP *r = publisher();
            for (i = at = 0; i < tag_count; i++) {
                size_t len = tags[i + 1] - tags[i] - 15, to = tags[i] + 11 + (len > 4 ? len / 2 : len + 4);
                if (len > 4) {
                    printf("%d ", RTMP_Write(r, (char *)file + at, (int)(to - at)));
                    at = to;
                }
            }
            printf("%d\n", RTMP_Write(r, (char *)file + at, (int)(file_len - at)));
            print_sent();
            print_session(r);
        }
        for (i = 0; i < COUNT(slices); i++) {
            CASE("file %d in slices of %zu", head, slices[i]) {
                RTMP *r = publisher();
                for (at = 0; at < file_len; at += slices[i]) {
                    size_t len = file_len - at < slices[i] ? file_len - at : slices[i];
                    if (RTMP_Write(r, (char *)file + at, (int)len) != (int)len) {
                        puts("refused");
                        break;
                    }
                }
                print_sent();
            }
        }
    }
}

int main(void)
{
    quiet();
    reading();
    writing();
    puts("== end");
    return 0;
}
