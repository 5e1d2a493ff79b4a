/* The common part of the differential drivers: cases that run in a child of their own, and printers without pointers, times
 * and random values. Each driver is compiled once and run on the distribution's librtmp and on ours; differ.rs compares
 * case by case. A case whose child dies prints only that; its earlier output is dropped. */
#ifndef DIFFER_H
#define DIFFER_H

#include <errno.h>
#include <librtmp/amf.h>
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* A case that takes longer hangs: so many milliseconds, unless CASE_MS in the environment says otherwise. */
#define CASE_MS 500

/* In the child 1; in the parent 0, after the child is gone. What the child prints comes through a pipe. */
static int begin_case(const char *format, ...)
{
    static char output[1 << 20];
    const char *given = getenv("CASE_MS");
    const long ms = given ? atol(given) : CASE_MS;
    const struct itimerval limit = { { 0, 0 }, { ms / 1000, ms % 1000 * 1000 } };
    const struct rlimit none = { 0, 0 };
    size_t len = 0;
    ssize_t got;
    va_list arguments;
    int status, pipes[2];
    pid_t child;

    printf("== ");
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    puts("");
    fflush(stdout);
    if (pipe(pipes) || (child = fork()) < 0) {
        abort();
    }
    if (child == 0) {
        dup2(pipes[1], STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        setrlimit(RLIMIT_CORE, &none);
        setitimer(ITIMER_REAL, &limit, NULL);
        return 1;
    }
    close(pipes[1]);
    while (len < sizeof output && (got = read(pipes[0], output + len, sizeof output - len)) > 0) {
        len += (size_t)got;
    }
    close(pipes[0]);
    if (waitpid(child, &status, 0) != child) {
        abort();
    }
    if (WIFEXITED(status) && !WEXITSTATUS(status)) {
        fwrite(output, 1, len, stdout);
    } else {
        puts("died");
    }
    return 0;
}

static void end_case(void)
{
    fflush(stdout);
    _exit(0);
}

#define CASE(...) if (begin_case(__VA_ARGS__)) for (;; end_case())

static void quiet(void)
{
    signal(SIGPIPE, SIG_IGN);
    RTMP_LogSetLevel(RTMP_LOGCRIT);
}

static AVal av_of(const char *text)
{
    AVal value;
    value.av_val = (char *)text;
    value.av_len = text ? (int)strlen(text) : 0;
    return value;
}

static void print_text(const char *what, const AVal *text)
{
    int i;
    printf("%s ", what);
    if (!text->av_val) {
        printf("null:%d\n", text->av_len);
        return;
    }
    for (i = 0; i < text->av_len && i < 4096; i++) {
        unsigned char c = (unsigned char)text->av_val[i];
        printf(c > 32 && c < 127 && c != '\\' ? "%c" : "\\%02x", c);
    }
    printf(" {%d}\n", text->av_len);
}

static void print_hex(const char *what, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    size_t i;
    printf("%s[%zu]", what, len);
    for (i = 0; i < len; i++) {
        printf("%s%02x", i % 4 ? "" : " ", bytes[i]);
    }
    puts("");
}

static void print_object(const AMFObject *object, int depth);

static void print_prop(const AMFObjectProperty *prop, int depth)
{
    printf("%*stype %d ", 2 * depth, "", (int)prop->p_type);
    print_text("name", &prop->p_name);
    switch (prop->p_type) {
    case AMF_NUMBER:
    case AMF_BOOLEAN:
        printf("%*s%.17g\n", 2 * depth, "", prop->p_vu.p_number);
        break;
    case AMF_DATE:
        printf("%*s%.17g %d\n", 2 * depth, "", prop->p_vu.p_number, prop->p_UTCoffset);
        break;
    case AMF_STRING:
    case AMF_XML_DOC:
        print_text("text", &prop->p_vu.p_aval);
        break;
    case AMF_OBJECT:
    case AMF_ECMA_ARRAY:
    case AMF_STRICT_ARRAY:
        print_object(&prop->p_vu.p_object, depth + 1);
        break;
    default:
        break;
    }
}

static void print_object(const AMFObject *object, int depth)
{
    int i;
    printf("%*s%d properties\n", 2 * depth, "", object->o_num);
    for (i = 0; i < object->o_num; i++) {
        print_prop(&object->o_props[i], depth);
    }
}

/* All that programs can see of a session, pointers apart. */
static void print_session(const RTMP *r)
{
    int i, open = 0;

    printf("chunks %d %d bw %d %d %d %d bytes %d sent %d buffer %d\n", r->m_inChunkSize, r->m_outChunkSize,
           r->m_nBWCheckCounter, r->m_nServerBW, r->m_nClientBW, r->m_nClientBW2, r->m_nBytesIn, r->m_nBytesInSent,
           r->m_nBufferMS);
    printf("stream %d channel %d stamp %u pause %u %d playing %d encoding %d counter %d\n", r->m_stream_id,
           r->m_mediaChannel, r->m_mediaStamp, r->m_pauseStamp, r->m_pausing, r->m_bPlaying, r->m_bSendEncoding,
           r->m_bSendCounter);
    printf("invokes %d channels %d %d codecs %g %g amf %g duration %g\n", r->m_numInvokes, r->m_channelsAllocatedIn,
           r->m_channelsAllocatedOut, r->m_fAudioCodecs, r->m_fVideoCodecs, r->m_fEncoding, r->m_fDuration);
    printf("calls %d\n", r->m_numCalls);
    for (i = 0; i < r->m_numCalls; i++) {
        printf("%d ", r->m_methodCalls[i].num);
        print_text("call", &r->m_methodCalls[i].name);
    }
    for (i = 0; i < r->m_channelsAllocatedIn; i++) {
        if (r->m_channelTimestamp[i]) {
            printf("time %d %d\n", i, r->m_channelTimestamp[i]);
        }
        open += r->m_vecChannelsIn[i] != NULL;
    }
    printf("channels in use %d\n", open);
    printf("read: held %u stamp %u type %d flags %#x status %d resume %u\n", r->m_read.buflen, r->m_read.timestamp,
           r->m_read.dataType, r->m_read.flags, r->m_read.status, r->m_read.nResumeTS);
    printf("socket %d timed out %d\n", r->m_sb.sb_socket != -1, r->m_sb.sb_timedout);
    print_text("host", &r->Link.hostname);
    print_text("socks", &r->Link.sockshost);
    print_text("playpath0", &r->Link.playpath0);
    print_text("playpath", &r->Link.playpath);
    print_text("tcUrl", &r->Link.tcUrl);
    print_text("swfUrl", &r->Link.swfUrl);
    print_text("pageUrl", &r->Link.pageUrl);
    print_text("app", &r->Link.app);
    print_text("auth", &r->Link.auth);
    print_text("flashVer", &r->Link.flashVer);
    print_text("subscribe", &r->Link.subscribepath);
    print_text("usher", &r->Link.usherToken);
    print_text("token", &r->Link.token);
    print_text("user", &r->Link.pubUser);
    print_text("password", &r->Link.pubPasswd);
    printf("depth %d seek %d stop %d flags %#x age %d protocol %#x timeout %d ports %d %d swf %u\n", r->Link.edepth,
           r->Link.seekTime, r->Link.stopTime, r->Link.lFlags, r->Link.swfAge, r->Link.protocol, r->Link.timeout,
           r->Link.socksport, r->Link.port, r->Link.SWFSize);
    print_object(&r->Link.extras, 1);
}

/* A copy of the data at the end of readable memory: reading further kills the process. */
static char *at_the_edge(const void *data, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = len / page + 1;
    char *map = mmap(NULL, (pages + 1) * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + pages * page, page, PROT_NONE)) {
        abort();
    }
    return memcpy(map + pages * page - len, data, len);
}

/* Numbers that are the same on every run. */
static unsigned next_random(void)
{
    static unsigned long long state = 88172645463325252ULL;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 32);
}

/* A session on one end of a pair of sockets; what is sent stays at the other end. */
static int other_end;

static RTMP *session_on_a_pair(void)
{
    struct timeval patience = { 0, 50000 };
    int pair[2];
    RTMP *r = RTMP_Alloc();
    RTMP_Init(r);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) {
        abort();
    }
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    r->m_sb.sb_socket = pair[0];
    other_end = pair[1];
    return r;
}

static void print_sent(void)
{
    static unsigned char bytes[1 << 20];
    size_t got = 0;
    ssize_t n;
    while (got < sizeof bytes && (n = recv(other_end, bytes + got, sizeof bytes - got, MSG_DONTWAIT)) > 0) {
        got += (size_t)n;
    }
    print_hex("sent", bytes, got);
}

#endif
