/* This library's promises beyond the original's behaviour, on sockets of its own, under valgrind: see docs/librtmp.md.
 * promises NAME; prints "good". */
#include "differ.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/time.h>
#include <time.h>

int AMF3ReadString(const char *data, AVal *text);

#define MUST(what) do { if (!(what)) { printf("line %d: %s\n", __LINE__, #what); exit(1); } } while (0)

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t received(int fd, char *bytes, size_t room)
{
    size_t got = 0;
    ssize_t n;
    while (got < room && (n = recv(fd, bytes + got, room - got, MSG_DONTWAIT)) > 0) {
        got += (size_t)n;
    }
    return got;
}

/* One packet goes to two sessions, and its body stays the same. */
static void body(void)
{
    static char one[2000], other[2000];
    RTMPPacket packet;
    RTMP *r[2];
    int far[2], i;
    uint32_t at;

    memset(&packet, 0, sizeof packet);
    MUST(RTMPPacket_Alloc(&packet, 1000));
    for (at = 0; at < 1000; at++) {
        packet.m_body[at] = (char)at;
    }
    packet.m_nChannel = 4;
    packet.m_packetType = 9;
    packet.m_nTimeStamp = 0x1000000;
    packet.m_nBodySize = 1000;
    for (i = 0; i < 2; i++) {
        r[i] = session_on_a_pair();
        far[i] = other_end;
        packet.m_headerType = 0;
        MUST(RTMP_SendPacket(r[i], &packet, FALSE));
    }
    for (at = 0; at < 1000; at++) {
        MUST(packet.m_body[at] == (char)at);
    }
    at = (uint32_t)received(far[0], one, sizeof one);
    MUST(at > 1000 && at == received(far[1], other, sizeof other) && !memcmp(one, other, at));
    RTMPPacket_Free(&packet);
    for (i = 0; i < 2; i++) {
        RTMP_Close(r[i]);
        RTMP_Free(r[i]);
        close(far[i]);
    }
}

/* A message that comes byte by byte with a time-out between any two of them is read whole. */
static void cuts(void)
{
    static const char bytes[] = "\0\6\xff\xff\xff\0\0\x8c\x9\1\0\0\0\1\0\0\0";
    char wire[300];
    const size_t head = sizeof bytes - 1;
    size_t len = head, at;
    struct timeval soon = { 0, 1000 };
    RTMP *r = session_on_a_pair();
    RTMPPacket packet;

    memset(&packet, 0, sizeof packet);
    setsockopt(r->m_sb.sb_socket, SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon);
    memcpy(wire, bytes, head);
    memset(wire + len, 'a', 128);
    len += 128;
    memcpy(wire + len, "\xc0\6\1\0\0\0", 6);
    memset(wire + len + 6, 'b', 12);
    len += 18;
    for (at = 0; at < len; at++) {
        const int whole = at + 1 == head + 128 || at + 1 == len;
        MUST(write(other_end, wire + at, 1) == 1);
        MUST(RTMP_ReadPacket(r, &packet) == whole);
        MUST(whole || (RTMP_IsTimedout(r) && RTMP_IsConnected(r)));
    }
    MUST(RTMPPacket_IsReady(&packet) && packet.m_nBodySize == 140 && packet.m_nTimeStamp == 0x1000000);
    MUST(packet.m_body[127] == 'a' && packet.m_body[128] == 'b' && packet.m_body[139] == 'b');
    RTMPPacket_Free(&packet);
    RTMP_Close(r);
    RTMP_Free(r);
    close(other_end);
}

/* Sending to a peer that does not read, and connecting to one that does not answer, end after Link.timeout. A send to a
 * peer that is gone raises no signal. */
static void waits(void)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), fill[8], i;
    RTMP *r = session_on_a_pair();
    RTMPPacket packet;
    double begin = now();

    signal(SIGPIPE, SIG_DFL);
    memset(&packet, 0, sizeof packet);
    r->Link.timeout = 1;
    packet.m_nChannel = 4;
    packet.m_packetType = 9;
    MUST(RTMPPacket_Alloc(&packet, 4000000));
    packet.m_nBodySize = 4000000;
    MUST(!RTMP_SendPacket(r, &packet, FALSE));
    MUST(now() - begin > 0.9 && now() - begin < 10);
    RTMP_Close(r);
    RTMP_Free(r);
    r = session_on_a_pair();
    close(other_end);
    MUST(!RTMP_SendPacket(r, &packet, FALSE) && !RTMP_IsConnected(r));
    RTMPPacket_Free(&packet);

    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MUST(!bind(listener, (struct sockaddr *)&address, sizeof address) && !listen(listener, 0));
    MUST(!getsockname(listener, (struct sockaddr *)&address, &len));
    for (i = 0; i < 8; i++) { /* nobody accepts: soon the kernel does not answer either */
        fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(fill[i], (struct sockaddr *)&address, sizeof address);
    }
    r->Link.timeout = 1;
    begin = now();
    MUST(!RTMP_Connect0(r, (struct sockaddr *)&address));
    MUST(now() - begin > 0.9 && now() - begin < 10);
    RTMP_Free(r);
    for (i = 0; i < 8; i++) {
        close(fill[i]);
    }
    close(listener);
}

static void *read_some(void *bytes)
{
    struct timespec soon = { 0, 300000000 };
    size_t got = 0;
    while (got < 64000) {
        nanosleep(&soon, NULL);
        got += received(other_end, bytes, 64000 - got);
    }
    return NULL;
}

/* A publisher whose server reads no more is closed soon, whatever its time-out. Nothing is sent after a cut message, whose
 * rest it would be taken for. */
static void goodbye(void)
{
    static char heap[1 << 20];
    RTMP *r = session_on_a_pair();
    RTMPPacket packet;
    pthread_t reader;
    size_t got, at;
    double begin;

    memset(&packet, 0, sizeof packet);
    packet.m_nChannel = 4;
    packet.m_packetType = 9;
    MUST(RTMPPacket_Alloc(&packet, 4000000));
    packet.m_nBodySize = 4000000;
    RTMP_EnableWrite(r);
    r->m_stream_id = 1;
    r->Link.timeout = 1;
    MUST(!pthread_create(&reader, NULL, read_some, heap));
    MUST(!RTMP_SendPacket(r, &packet, FALSE) && !RTMP_IsConnected(r));
    pthread_join(reader, NULL);
    got = received(other_end, heap, sizeof heap);
    MUST(got < sizeof heap);
    for (at = 0; at + 12 < got; at++) {
        MUST(memcmp(heap + at, "deleteStream", 12));
    }
    RTMPPacket_Free(&packet);
    RTMP_Close(r);
    RTMP_Free(r);
    close(other_end);

    r = session_on_a_pair();
    RTMP_EnableWrite(r);
    r->m_stream_id = 1;
    r->Link.timeout = 0;
    while (send(r->m_sb.sb_socket, heap, 4000, MSG_DONTWAIT) > 0) {
    }
    alarm(60); /* it would wait for ever */
    begin = now();
    RTMP_Close(r);
    MUST(now() - begin > 1.5);
    RTMP_Free(r);
    close(other_end);
}

static void tick(int number)
{
    (void)number;
}

/* The signals of a timer that fires all the time make no wait shorter. */
static void signals(void)
{
    struct itimerval often = { { 0, 5000 }, { 0, 5000 } }, never = { { 0, 0 }, { 0, 0 } };
    struct timeval second = { 1, 0 };
    RTMP *r = session_on_a_pair();
    RTMPPacket packet;
    double begin;

    signal(SIGALRM, tick);
    setsockopt(r->m_sb.sb_socket, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    memset(&packet, 0, sizeof packet);
    setitimer(ITIMER_REAL, &often, NULL);
    begin = now();
    MUST(!RTMP_ReadPacket(r, &packet) && RTMP_IsTimedout(r) && RTMP_IsConnected(r));
    MUST(now() - begin > 0.9 && now() - begin < 10);
    setitimer(ITIMER_REAL, &never, NULL);
    RTMP_Close(r);
    RTMP_Free(r);
    close(other_end);
}

/* RTMP_Free leaves a program's socket open and loses no memory of a session that was never closed. */
static void freed(void)
{
    static char url[] = "rtmp://h/app/key.mp4 conn=B conn=O:1 conn=NO:o:1 conn=NS:s:v conn=O:0 app=other", tags[] = "\x9\0\0\7\0\0\0\0\0\0\0";
    RTMP *r = session_on_a_pair();
    RTMPPacket packet;
    int fd = r->m_sb.sb_socket;

    memset(&packet, 0, sizeof packet);
    RTMP_SetupURL(r, url);
    r->m_stream_id = 1;
    MUST(RTMP_SendCreateStream(r) && r->m_numCalls == 1);
    MUST(RTMP_Write(r, tags, sizeof tags - 1) == sizeof tags - 1);
    MUST(write(other_end, "\6\0\0\0\0\1\0\x9\1\0\0\0half", 16) == 16);
    MUST(!RTMP_ReadPacket(r, &packet));
    AMF_Reset(&r->Link.extras);
    RTMP_Free(r);
    MUST(write(fd, "x", 1) == 1);
    close(fd);
    close(other_end);
}

/* The setters that librtmp declares and does not have; long lists of names and properties. */
static void properties(void)
{
    AVal text = AVC("text");
    AMFObject object = { 0, NULL }, inner = { 0, NULL };
    AMFObjectProperty prop;
    AMF3ClassDef class;
    int i;

    memset(&prop, 0, sizeof prop);
    memset(&class, 0, sizeof class);
    AMFProp_SetName(&prop, &text);
    for (i = 0; i < 100; i++) {
        AMF3CD_AddProp(&class, &text);
        AMFProp_SetNumber(&prop, i);
        AMF_AddProp(&inner, &prop);
    }
    MUST(class.cd_num == 100 && AMF3CD_GetProp(&class, 99)->av_len == 4 && AMF3CD_GetProp(&class, 100)->av_len == 0);
    AMFProp_SetObject(&prop, &inner);
    AMF_AddProp(&object, &prop);
    AMFProp_SetString(&prop, &text);
    AMF_AddProp(&object, &prop);
    AMFProp_SetBoolean(&prop, 5);
    AMF_AddProp(&object, &prop);
    MUST(AMF_CountProp(&object) == 3 && AMFProp_GetType(AMF_GetProp(&object, NULL, 0)) == AMF_OBJECT);
    AMFProp_GetObject(AMF_GetProp(&object, &text, -1), &inner);
    MUST(AMFProp_GetNumber(AMF_GetProp(&inner, NULL, 99)) == 99 && AMFProp_GetBoolean(AMF_GetProp(&object, NULL, 2)) == 1);
    AMF_Reset(&object);
    free(class.cd_props);
}

/* Calls that nobody answers are forgotten in the end, the oldest first. */
static void calls(void)
{
    RTMP *r = session_on_a_pair();
    static char heap[1 << 20];
    int i;

    for (i = 0; i < 3000; i++) {
        MUST(RTMP_SendPause(r, i & 1, i));
        received(other_end, heap, sizeof heap);
    }
    MUST(r->m_numCalls == 1024 && r->m_methodCalls[1023].num == r->m_numInvokes);
    MUST(r->m_methodCalls[0].num == r->m_numInvokes - 1023);
    RTMP_Close(r);
    RTMP_Free(r);
    close(other_end);
}

/* A value that is no number is read as 0, and not as its address: servers send a peer's numbers back. */
static void numbers(void)
{
    static const char bytes[] = "\2\0\3abc" "\3\0\1a\5\0\0\x9" "\x8\0\0\0\1\0\1a\5\0\0\x9" "\xa\0\0\0\1\5" "\xf\0\0\0\1x"
                                "\0\x40\0\0\0\0\0\0\0" "\1\1" "\xb\x40\0\0\0\0\0\0\0\0\0";
    AMFObject object;
    int i;

    MUST(AMF_Decode(&object, bytes, sizeof bytes - 1, FALSE) == sizeof bytes - 1 && AMF_CountProp(&object) == 8);
    for (i = 0; i < 5; i++) {
        MUST(AMFProp_GetNumber(AMF_GetProp(&object, NULL, i)) == 0);
    }
    MUST(AMFProp_GetNumber(AMF_GetProp(&object, NULL, 5)) == 2 && AMFProp_GetNumber(AMF_GetProp(&object, NULL, 6)) == 1);
    MUST(AMFProp_GetNumber(AMF_GetProp(&object, NULL, 7)) == 2);
    AMF_Reset(&object);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = { { "body", body }, { "cuts", cuts }, { "waits", waits }, { "goodbye", goodbye }, { "signals", signals }, { "freed", freed }, { "calls", calls }, { "numbers", numbers }, { "properties", properties } };
    size_t i;
    quiet();
    for (i = 0; argc > 1 && i < sizeof all / sizeof *all; i++) {
        if (!strcmp(argv[1], all[i].name)) {
            all[i].run();
            puts("good");
            return 0;
        }
    }
    return 2;
}
