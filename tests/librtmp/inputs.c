/* Strings and bytes: urls, options, AMF both ways. Some are made by hand, thousands put together or damaged by a fixed
 * sequence of random numbers. Bytes end where memory ends, so that reading beyond them kills the process. See differ.h. */
#include "differ.h"

int AMF3ReadInteger(const char *data, int32_t *value);
int AMF3ReadString(const char *data, AVal *text);
int RTMP_FindPrefixProperty(AMFObject *object, const AVal *name, AMFObjectProperty *out);

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define PICK(array) (array)[next_random() % COUNT(array)]

/* A string with nothing behind its end. */
static char *string_at_the_edge(const char *text)
{
    return at_the_edge(text, strlen(text) + 1);
}

/* ---- urls */

static void print_url(const char *url)
{
    int protocol = 7;
    unsigned port = 7;
    AVal host = { NULL, 0 }, playpath = { NULL, 0 }, app = { NULL, 0 };
    printf("%d", RTMP_ParseURL(string_at_the_edge(url), &protocol, &host, &port, &playpath, &app));
    printf(" protocol %d port %u\n", protocol, port);
    print_text("host", &host);
    print_text("app", &app);
    print_text("playpath", &playpath);
    free(playpath.av_val);
}

static const char *const odd_urls[] = {
    "rtmp://h/a/b", "rtmp://h/a/b/c/d/e/f", "rtmp://h/a?b/c", "rtmp://h/?a/b", "rtmp://h//", "rtmp://h///a//b", "rtmp://h/a/",
    "rtmp://h/a//", "rtmp://:1935/a/b", "rtmp:///a/b", "rtmp://h:/a/b", "rtmp://h:1935", "rtmp://h:1935/", "rtmp://h:-1/a/b",
    "rtmp://h:65535/a/b", "rtmp://h:65536/a/b", "rtmp://h:0001935/a/b", "rtmp://h:19x35/a/b", "rtmp://h: 80/a/b",
    "rtmp://a:b:c/d/e", "rtmpx://h/a/b", "rtmptsx://h/a/b", "RtMpTe://h/a/b", "://h/a/b", "rtmp:///", "rtmp:////", "rtmp:h/a/b",
    "rtmp//h/a/b", "h/a/b", "rtmp://h/a/b.flv", "rtmp://h/a/.flv", "rtmp://h/a/.mp4", "rtmp://h/a/x.mp4?y.flv", "rtmp://h/a/mp4:x",
    "rtmp://h/a/mp4:x.mp4", "rtmp://h/a/mp3:x.mp3", "rtmp://h/a/mp3:x.mp4", "rtmp://h/a/x.f4v", "rtmp://h/a/x.MP4", "rtmp://h/a/%",
    "rtmp://h/a/%4", "rtmp://h/a/%41%", "rtmp://h/a/%zz", "rtmp://h/a/%00x", "rtmp://h/a/x%2fy", "rtmp://h/ondemand/x", "rtmp://h/ondemand",
    "rtmp://h/ondemand/x/y/z.mp4", "rtmp://h/ondemandx/y", "rtmp://h/a/_definst_/x", "rtmp://h/a/?slist=", "rtmp://h/a?slist=x",
    "rtmp://h/a/b?slist=x.mp3&y=z", "rtmp://h/a?xslist=b", "rtmp://h/a/b?c=d/e/f", "rtmp://h/a/b/?c", "rtmp://u@h/a/b", "rtmp://h#x/a/b",
    "rtmp://h/a b/c d", "rtmp://h\\a\\b", "rtmp://h.example.com.:1/a/b", "http://h/a/b", "rtmfp://h:1/a/b",
};

static void urls(void)
{
    static const char *const parts[] = { "rtmp://", "rtmpt://", "rtmps://", "h", "host.example", ":", "/", "//", "?", "1935", "a", "app", "ondemand", ".mp4", ".flv", ".f4v", ".mp3", "mp4:", "mp3:", "slist=", "%41", "&", "=", "x", " ", "@", "_definst_" };
    size_t i;
    for (i = 0; i < COUNT(odd_urls); i++) {
        CASE("url %s", odd_urls[i]) print_url(odd_urls[i]);
    }
    for (i = 0; i < 500; i++) {
        char url[400] = "rtmp://h";
        unsigned n = next_random() % 12;
        if (i % 5 == 0) {
            url[0] = 0;
        }
        while (n--) {
            strcat(url, PICK(parts));
        }
        CASE("url %s", url) print_url(url);
    }
    for (i = 0; i < 300; i++) {
        char path[400] = "";
        unsigned n = next_random() % 9;
        while (n--) {
            strcat(path, parts[4 + next_random() % (COUNT(parts) - 4)]);
        }
        CASE("playpath %s", path) {
            AVal in = { string_at_the_edge(path), (int)strlen(path) }, out = { NULL, 0 };
            RTMP_ParsePlaypath(&in, &out);
            print_text("playpath", &out);
        }
    }
}

/* ---- options */

static const char *const keys[] = { "socks", "app", "tcUrl", "pageUrl", "swfUrl", "flashver", "conn", "playpath", "playlist", "live", "subscribe", "jtv", "token", "swfVfy", "swfAge", "start", "stop", "buffer", "timeout", "pubUser", "pubPasswd", "APP", "LiVe", "none", "" };
static const char *const values[] = { "", "0", "1", "-1", "on", "yes", "true", "TRUE", "On", "off", "2", "0x10", "010", "99999999999", "-99999999999", "1.5", " 7", "7 ", "x", "h:99", "h:", ":9", "h:99999", "B:1", "B:0", "B:2", "B:", "S:str", "S:", "N:1.5", "N:x", "N:", "Z:", "O:1", "O:0", "NB:k:1", "NS:k:v", "NN:k:2", "NO:k:1", "X:1", "NX:k:1", "B", "NB", "NB:k", "b:1", "O:", "mp4:x.mp4" };

static void options(void)
{
    size_t key, value;
    for (key = 0; key < COUNT(keys); key++) {
        for (value = 0; value < COUNT(values); value++) {
            CASE("option %s=%s", keys[key], values[value]) {
                RTMP *r = RTMP_Alloc();
                AVal name = av_of(keys[key]), text = { string_at_the_edge(values[value]), (int)strlen(values[value]) };
                RTMP_Init(r);
                printf("%d\n", RTMP_SetOpt(r, &name, &text));
                print_session(r);
            }
        }
    }
    for (key = 0; key < 150; key++) {
        char line[1000] = "";
        unsigned n = 1 + next_random() % 6, i;
        for (i = 0; i < n; i++) {
            strcat(line, " conn=");
            strcat(line, values[23 + next_random() % 22]);
        }
        CASE("objects%s", line) {
            RTMP *r = RTMP_Alloc();
            char url[1100] = "rtmp://h/a/b";
            RTMP_Init(r);
            strcat(url, line);
            printf("%d\n", RTMP_SetupURL(r, string_at_the_edge(url)));
            print_session(r);
        }
    }
    for (key = 0; key < 400; key++) {
        static const char *const parts[] = { " ", " ", " ", "=", "=", "\\20", "\\5c", "\\", "\\zz", "\\4", "live", "timeout", "app", "token", "buffer", "conn", "tcUrl", "playpath", "1", "7", "on", "x", "B:1", "S:a", "rtmp://z/y", "none" };
        char url[1000];
        unsigned n = next_random() % 14;
        strcpy(url, odd_urls[next_random() % 20]);
        while (n--) {
            strcat(url, PICK(parts));
        }
        CASE("setup %s", url) {
            RTMP *r = RTMP_Alloc();
            RTMP_Init(r);
            printf("%d\n", RTMP_SetupURL(r, string_at_the_edge(url)));
            print_session(r);
            RTMP_Close(r);
            /* The old playpath was the library's, which has freed it. */
            r->Link.playpath = r->Link.playpath0 = av_of(NULL);
            print_session(r);
        }
    }
}

/* ---- AMF */

/* Keeps the lines of AMF_Dump alone: other texts differ between the libraries. */
static void dumped(int level, const char *format, va_list arguments)
{
    char text[4096];
    vsnprintf(text, sizeof text, format, arguments);
    printf("%d %s\n", level, text);
}

/* Reads decoded properties by every function, and encodes them into rooms of many sizes. */
static void use_object(AMFObject *object)
{
    static const char *const names[] = { "a", "k", "app", "", "none", "dur", "video" };
    char room[2048];
    size_t i;
    int n;

    print_object(object, 1);
    RTMP_LogSetCallback(dumped);
    RTMP_LogSetLevel(RTMP_LOGALL);
    AMF_Dump(object);
    quiet();
    for (i = 0; i < COUNT(names); i++) {
        AMFObjectProperty found;
        AVal name = av_of(names[i]);
        memset(&found, 0, sizeof found);
        printf("%d\n", (int)AMFProp_GetType(AMF_GetProp(object, &name, -1)));
        if (RTMP_FindFirstMatchingProperty(object, &name, &found)) {
            print_prop(&found, 2);
        }
        memset(&found, 0, sizeof found);
        if (RTMP_FindPrefixProperty(object, &name, &found)) {
            print_prop(&found, 2);
        }
    }
    for (n = 0; n < (int)sizeof room; n += n < 80 ? 1 : 500) {
        char *end;
        memset(room, 0xEE, sizeof room);
        end = AMF_Encode(object, room, room + n);
        printf("%d %ld", n, end ? (long)(end - room) : -1);
        end = AMF_EncodeEcmaArray(object, room, room + n);
        printf(" %ld", end ? (long)(end - room) : -1);
        end = AMF_EncodeArray(object, room, room + n);
        printf(" %ld\n", end ? (long)(end - room) : -1);
    }
    memset(room, 0xEE, sizeof room);
    AMF_Encode(object, room, room + sizeof room);
    print_hex("object", room, 300);
    memset(room, 0xEE, sizeof room);
    AMF_EncodeEcmaArray(object, room, room + sizeof room);
    print_hex("array", room, 300);
    memset(room, 0xEE, sizeof room);
    AMF_EncodeArray(object, room, room + sizeof room);
    print_hex("strict", room, 300);
}

static void use_bytes(const void *bytes, size_t len)
{
    const char *data = at_the_edge(bytes, len);
    AMFObject object = { 0, NULL };
    AMFObjectProperty prop;

    print_hex("bytes", bytes, len);
    printf("AMF_Decode %d\n", AMF_Decode(&object, data, (int)len, FALSE));
    use_object(&object);
    AMF_Reset(&object);
    printf("%d %d\n", object.o_num, object.o_props == NULL);
    memset(&prop, 0, sizeof prop);
    printf("AMFProp_Decode %d\n", AMFProp_Decode(&prop, data, (int)len, FALSE));
    AMFProp_Reset(&prop);
}

static void use_named_bytes(const void *bytes, size_t len)
{
    const char *data = at_the_edge(bytes, len);
    AMFObject object = { 0, NULL };
    print_hex("bytes", bytes, len);
    printf("AMF_Decode %d\n", AMF_Decode(&object, data, (int)len, TRUE));
    print_object(&object, 1);
    AMF_Reset(&object);
    printf("AMF_DecodeArray %d\n", AMF_DecodeArray(&object, data, (int)len, 3, TRUE));
    print_object(&object, 1);
    AMF_Reset(&object);
}

static void use_bytes3(const void *bytes, size_t len)
{
    AMFObject object = { 0, NULL };
    print_hex("bytes", bytes, len);
    printf("AMF3_Decode %d\n", AMF3_Decode(&object, at_the_edge(bytes, len), (int)len, TRUE));
    print_object(&object, 1);
    AMF_Reset(&object);
}

struct seed {
    const char *bytes;
    size_t len;
};
#define SEED(text) { text, sizeof text - 1 }

static const struct seed seeds[] = {
    SEED("\2\0\7connect\0\x3f\xf0\0\0\0\0\0\0\3\0\3app\2\0\4live\0\1n\0\x40\x10\0\0\0\0\0\0\0\1b\1\1\0\1z\5\0\1o\3\0\1k\2\0\1v\0\0\x9\0\0\x9\5"),
    SEED("\2\0\xaonMetaData\x8\0\0\0\2\0\x8" "duration\0\x40\x24\0\0\0\0\0\0\0\xcvideocodecid\0\x40\x1c\0\0\0\0\0\0\0\0\x9"),
    SEED("\xa\0\0\0\3\0\x3f\xf0\0\0\0\0\0\0\2\0\1x\5"),
    SEED("\xb\x42\x72\x3a\x4b\x5c\0\0\0\1\x2c\xc\0\0\0\3xyz\xf\0\0\0\3<a>"),
    SEED("\5\6\xd\1\0\1\1\2\0\0\3\0\0\x9\x8\0\0\0\0\0\0\x9\xa\0\0\0\0"),
    SEED("\3\0\1a\3\0\1a\3\0\1a\3\0\1a\5\0\0\x9\0\0\x9\0\0\x9\0\0\x9"),
    SEED("\x11\xa\xb\1\3a\6\7xyz\3b\4\5\3c\3\3d\2\1"),
};

static const struct seed seeds3[] = {
    SEED("\xa\xb\1\3a\6\7xyz\3b\4\5\3c\3\3d\2\3e\1\3f\5\x3f\xf8\0\0\0\0\0\0\1"),
    SEED("\xa\x23\1\3p\3q\4\7\6\5hi"),
    SEED("\xa\x2b\7cls\3p\3q\2\3\3x\xa\xb\1\3y\4\1\1\1"),
    SEED("\xa\x7\1\6\5hi"),
};

/* Damages one of the seeds: changes some bytes, and cuts it now and then. */
static size_t damage(const struct seed *seed, unsigned char *out)
{
    static const unsigned char odd[] = { 0, 1, 2, 3, 5, 8, 9, 10, 11, 12, 15, 16, 17, 0x7f, 0x80, 0xff };
    size_t len = seed->len;
    unsigned changes = next_random() % 4;
    memcpy(out, seed->bytes, len);
    while (changes--) {
        out[next_random() % len] = PICK(odd);
    }
    return next_random() % 3 ? len : next_random() % (len + 1);
}

static void amf(void)
{
    unsigned char bytes[500];
    size_t i, len;
    for (i = 0; i < COUNT(seeds); i++) {
        CASE("AMF seed %zu", i) use_bytes(seeds[i].bytes, seeds[i].len);
    }
    for (i = 0; i < 800; i++) {
        len = damage(&PICK(seeds), bytes);
        CASE("AMF %zu", i) use_bytes(bytes, len);
    }
    for (i = 0; i < 400; i++) {
        len = damage(&PICK(seeds), bytes);
        memmove(bytes + 3, bytes, len);
        memcpy(bytes, "\0\1k", 3);
        CASE("named AMF %zu", i) use_named_bytes(bytes, len + 3);
    }
    for (i = 0; i < COUNT(seeds3); i++) {
        CASE("AMF3 seed %zu", i) use_bytes3(seeds3[i].bytes, seeds3[i].len);
    }
    for (i = 0; i < 400; i++) {
        len = damage(&PICK(seeds3), bytes);
        CASE("AMF3 %zu", i) use_bytes3(bytes, len);
    }
    for (i = 0; i < 100; i++) {
        unsigned value = next_random();
        CASE("AMF3 integer %08x", value) {
            int32_t number = 5;
            AVal text = { NULL, 0 };
            unsigned char head[4] = { (unsigned char)(value >> 24), (unsigned char)(value >> 16), (unsigned char)(value >> 8), (unsigned char)value };
            printf("%d %d\n", AMF3ReadInteger((char *)head, &number), number);
            head[0] = (unsigned char)(1 + 2 * (value % 20));
            printf("%d\n", AMF3ReadString(at_the_edge(memcpy(bytes, head, 1), 1 + value % 20), &text));
            printf("%d\n", text.av_len);
        }
    }
}

int main(void)
{
    quiet();
    urls();
    options();
    amf();
    puts("== end");
    return 0;
}
