/* Sessions that read from a peer of their own, a thread that writes messages in small chunks, interleaved, in pieces cut
 * anywhere. reading ahead: a server's session; every message arrives as it was, and the larger buffer that a burst was read
 * into is given back when small messages follow one by one. reading exact [unix]: a session on a
 * socket that the program polls before each message; the peer goes on only when all it wrote was read, so a session that
 * has the next message in its own memory leaves the program waiting. reading gone: a server's session whose peer has reset
 * the connection before any report of bytes read; all it said is read. */
#include <arpa/inet.h>
#include <librtmp/rtmp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGES 1400
#define EXACT_MESSAGES 400
#define GONE_MESSAGES 8
/* From and to which the peer of a session that reads ahead waits as well, and messages are small. */
#define SLOW_FROM 400
#define SLOW_TO 1000
#define CHUNK 128
#define HELLO 1536

static int peer_socket, client_first, resets;
static unsigned last;
static sem_t taken; /* messages, where the peer waits for them */
static sem_t gone;  /* the connection was reset */

static int is_slow(unsigned number)
{
    return number >= SLOW_FROM && number < SLOW_TO;
}

static unsigned size_of(unsigned number)
{
    if (is_slow(number)) {
        return number % 2000;
    }
    return number % 7 == 0 ? number % 3 : number * 2654435761u % (number % 50 == 0 ? 200000 : 9000);
}

static char byte_of(unsigned number, unsigned at)
{
    return (char)(number * 31 + at * 7 + at / 251);
}

static int write_all(const char *bytes, size_t len)
{
    while (len > 0) {
        size_t part = len > 3000 ? (size_t)(1 + rand() % 60000) : len;
        ssize_t sent = write(peer_socket, bytes, part > len ? len : part);
        if (sent <= 0) {
            return 0;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return 1;
}

static int read_all(char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t got = read(peer_socket, bytes, len);
        if (got <= 0) {
            return 0;
        }
        bytes += got;
        len -= (size_t)got;
    }
    return 1;
}

static int shake_hands(void)
{
    static char hello[1 + HELLO], own[1 + HELLO] = { 3 };
    return (client_first || read_all(hello, sizeof hello)) && write_all(own, sizeof own)
        && (!client_first || read_all(hello, sizeof hello)) && write_all(hello + 1, HELLO) && read_all(hello, HELLO);
}

/* One chunk of a message; the first one has a full header. Gives where the next one begins. */
static unsigned put_chunk(char **out, unsigned number, unsigned channel, unsigned at)
{
    unsigned size = size_of(number), end = size - at > CHUNK ? at + CHUNK : size, time = number + (channel == 7 ? 0xffffff : 0);
    unsigned field = time < 0xffffff ? time : 0xffffff;
    char head[12] = { (char)(at == 0 ? channel : 0xc0 | channel), (char)(field >> 16), (char)(field >> 8), (char)field,
        (char)(size >> 16), (char)(size >> 8), (char)size, RTMP_PACKET_TYPE_VIDEO, 1, 0, 0, 0 };
    memcpy(*out, head, sizeof head);
    *out += at == 0 ? sizeof head : 1;
    if (field == 0xffffff) {
        char extended[4] = { (char)(time >> 24), (char)(time >> 16), (char)(time >> 8), (char)time };
        memcpy(*out, extended, sizeof extended);
        *out += sizeof extended;
    }
    for (; at < end; at++) {
        *(*out)++ = byte_of(number, at);
    }
    return end;
}

static void *write_messages(void *unused)
{
    static char wire[600000];
    unsigned number, waited = 0;
    if (!shake_hands()) {
        return unused;
    }
    for (number = 0; number < last; number += 2) {
        unsigned one = 0, other = 0, begun = 0;
        char *out = wire;
        while (begun == 0 || one < size_of(number) || other < size_of(number + 1)) {
            if (begun == 0 || one < size_of(number)) {
                one = put_chunk(&out, number, 6, one);
            }
            if (begun == 0 || other < size_of(number + 1)) {
                other = put_chunk(&out, number + 1, 7, other);
            }
            begun = 1;
        }
        if (!write_all(wire, (size_t)(out - wire))) {
            return unused;
        }
        while ((!client_first || is_slow(number)) && waited < number + 2) {
            sem_wait(&taken);
            waited++;
        }
    }
    if (resets) {
        struct linger at_once = { 1, 0 };
        int left = 1;
        while (!ioctl(peer_socket, TIOCOUTQ, &left) && left > 0) {
            usleep(1000);
        }
        setsockopt(peer_socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(peer_socket);
        sem_post(&gone);
        return unused;
    }
    shutdown(peer_socket, SHUT_WR);
    return unused;
}

static int connect_pair(int *pair, int local)
{
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (local) {
        return !socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    pair[0] = socket(AF_INET, SOCK_STREAM, 0);
    return !bind(listener, (struct sockaddr *)&address, sizeof address) && !listen(listener, 1)
        && !getsockname(listener, (struct sockaddr *)&address, &len)
        && !connect(pair[0], (struct sockaddr *)&address, sizeof address) && (pair[1] = accept(listener, NULL, NULL)) >= 0;
}

/* Whether bytes read ahead lie in the session itself. */
static int is_own(const RTMPSockBuf *sb)
{
    return sb->sb_start >= sb->sb_buf && sb->sb_start <= sb->sb_buf + sizeof sb->sb_buf;
}

/* Whether the packet is a message that was sent and did not arrive before. */
static int is_sent(const RTMPPacket *packet, char *arrived)
{
    unsigned number = packet->m_nTimeStamp - (packet->m_nChannel == 7 ? 0xffffff : 0), at;
    if (number >= MESSAGES || arrived[number]++ || packet->m_nBodySize != size_of(number)) {
        return 0;
    }
    for (at = 0; at < packet->m_nBodySize; at++) {
        if (packet->m_body[at] != byte_of(number, at)) {
            return 0;
        }
    }
    return 1;
}

int main(int argc, char **argv)
{
    static char arrived[MESSAGES];
    int exact = argc > 1 && strcmp(argv[1], "exact") == 0, pair[2], messages = 0, left = 0, grew = 0;
    char url[] = "rtmp://peer/app/key";
    pthread_t writer;
    RTMPPacket packet;
    RTMP *r = RTMP_Alloc();

    if (!connect_pair(pair, argc > 2)) {
        return 2;
    }
    resets = argc > 1 && strcmp(argv[1], "gone") == 0;
    last = exact ? EXACT_MESSAGES : resets ? GONE_MESSAGES : MESSAGES;
    sem_init(&taken, 0, 0);
    sem_init(&gone, 0, 0);
    peer_socket = pair[1];
    client_first = !exact;
    RTMP_Init(r);
    r->m_sb.sb_socket = pair[0];
    pthread_create(&writer, NULL, write_messages, NULL);
    if (exact ? !RTMP_SetupURL(r, url) || !RTMP_Connect1(r, NULL) : !RTMP_Serve(r)) {
        return 3;
    }
    memset(&packet, 0, sizeof packet);
    if (resets) {
        r->m_bSendCounter = TRUE;
        r->m_nClientBW = 1000;
        sem_wait(&gone);
    }
    while (!exact && !resets && !ioctl(pair[0], FIONREAD, &left) && left < RTMP_BUFFER_CACHE_SIZE * 2) {
        usleep(1000); /* more than sb_buf holds has to come at once */
    }
    while (messages < (int)last) {
        struct pollfd ready = { pair[0], POLLIN, 0 };
        if (exact && poll(&ready, 1, 3000) != 1) {
            printf("message %d is not to be seen\n", messages);
            return 4;
        }
        do {
            if (!RTMP_ReadPacket(r, &packet)) {
                return 5;
            }
        } while (!RTMPPacket_IsReady(&packet));
        if (!is_sent(&packet, arrived)) {
            printf("message %d is not what was sent\n", messages);
            return 6;
        }
        RTMPPacket_Free(&packet);
        messages++;
        sem_post(&taken);
        grew |= !is_own(&r->m_sb);
        if (!exact && messages == SLOW_TO && (!grew || !is_own(&r->m_sb))) {
            printf(grew ? "the larger buffer is kept\n" : "no more is read at a time\n");
            return 8;
        }
    }
    pthread_join(writer, NULL);
    if (r->m_sb.sb_size != 0 || ioctl(pair[0], FIONREAD, &left) || left != 0) {
        return 7;
    }
    RTMP_Close(r);
    RTMP_Free(r);
    puts("good");
    return 0;
}
