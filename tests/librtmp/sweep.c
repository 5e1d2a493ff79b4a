/* Every call with NULL for each of its pointers, and with senseless numbers: on NULL sessions, and on sessions that were
 * never set up, that are not connected, and whose peer is gone. See differ.h. */
#include "differ.h"
#include <librtmp/http.h>

int AMF3ReadInteger(const char *data, int32_t *value);
int AMF3ReadString(const char *data, AVal *text);
int RTMP_FindPrefixProperty(AMFObject *object, const AVal *name, AMFObjectProperty *out);
int RTMP_TLS_Init(void);

static char room[256];
static char *const end = room + sizeof room;

/* A result that is a number, and one that is a place in `room`. */
#define NUMBER(call) CASE("%s", #call) printf("%.17g\n", (double)(call))
#define PLACE(call) CASE("%s", #call) { char *at = (call); if (at) { printf("at %ld\n", (long)(at - room)); print_hex("wrote", room, 32); } else { puts("none"); } }
#define NOTHING(call) CASE("%s", #call) { call; puts("back"); }
/* Prints an object or a property after a call. */
#define OBJECT(call) CASE("%s", #call) { AMFObject o = { 0, NULL }; printf("%d\n", (int)(call)); print_object(&o, 0); }
#define PROP(call) CASE("%s", #call) { AMFObjectProperty p; memset(&p, 0, sizeof p); printf("%d\n", (int)(call)); print_prop(&p, 0); }

static AVal none = { NULL, 0 }, empty = { "", 0 }, abc = { "abc", 3 }, lying = { NULL, 3 }, negative = { "abc", -1 };

static void encoders(void)
{
    AMFObject nothing = { 0, NULL }, lost = { 2, NULL };
    AMFObjectProperty prop;
    int type;

    memset(&prop, 0, sizeof prop);
    PLACE(AMF_EncodeString(NULL, NULL, NULL));
    PLACE(AMF_EncodeString(NULL, end, &abc));
    PLACE(AMF_EncodeString(room, NULL, &abc));
    PLACE(AMF_EncodeString(room, end, NULL));
    PLACE(AMF_EncodeString(room, end, &none));
    PLACE(AMF_EncodeString(room, end, &empty));
    PLACE(AMF_EncodeString(room, end, &lying));
    PLACE(AMF_EncodeString(room, end, &negative));
    PLACE(AMF_EncodeString(end, room, &abc));
    PLACE(AMF_EncodeNumber(NULL, NULL, 1));
    PLACE(AMF_EncodeNumber(NULL, end, 1));
    PLACE(AMF_EncodeNumber(room, NULL, 1));
    PLACE(AMF_EncodeNumber(end, room, 1));
    PLACE(AMF_EncodeNumber(room, end, -1.0 / 0.0));
    PLACE(AMF_EncodeInt16(NULL, NULL, 1));
    PLACE(AMF_EncodeInt16(room, NULL, 1));
    PLACE(AMF_EncodeInt16(end, room, 1));
    PLACE(AMF_EncodeInt24(NULL, NULL, 1));
    PLACE(AMF_EncodeInt24(room, NULL, 1));
    PLACE(AMF_EncodeInt24(end, room, 1));
    PLACE(AMF_EncodeInt24(room, end, (int)0x89abcdef));
    PLACE(AMF_EncodeInt32(NULL, NULL, 1));
    PLACE(AMF_EncodeInt32(room, NULL, 1));
    PLACE(AMF_EncodeInt32(end, room, 1));
    PLACE(AMF_EncodeBoolean(NULL, NULL, 1));
    PLACE(AMF_EncodeBoolean(room, NULL, 1));
    PLACE(AMF_EncodeBoolean(end, room, 1));
    PLACE(AMF_EncodeBoolean(room, end, -1));
    PLACE(AMF_EncodeNamedString(NULL, NULL, NULL, NULL));
    PLACE(AMF_EncodeNamedString(room, end, NULL, &abc));
    PLACE(AMF_EncodeNamedString(room, end, &abc, NULL));
    PLACE(AMF_EncodeNamedString(room, end, &none, &none));
    PLACE(AMF_EncodeNamedString(room, end, &empty, &abc));
    PLACE(AMF_EncodeNamedString(room, NULL, &abc, &abc));
    PLACE(AMF_EncodeNamedString(end, room, &abc, &abc));
    PLACE(AMF_EncodeNamedNumber(room, end, NULL, 1));
    PLACE(AMF_EncodeNamedNumber(room, end, &none, 1));
    PLACE(AMF_EncodeNamedNumber(room, NULL, &abc, 1));
    PLACE(AMF_EncodeNamedBoolean(room, end, NULL, 1));
    PLACE(AMF_EncodeNamedBoolean(room, end, &none, 1));
    PLACE(AMF_EncodeNamedBoolean(room, NULL, &abc, 1));
    PLACE(AMF_Encode(NULL, room, end));
    PLACE(AMF_Encode(&nothing, NULL, NULL));
    PLACE(AMF_Encode(&nothing, room, NULL));
    PLACE(AMF_Encode(&nothing, end, room));
    PLACE(AMF_Encode(&nothing, room, end));
    PLACE(AMF_Encode(&lost, room, end));
    PLACE(AMF_EncodeEcmaArray(NULL, room, end));
    PLACE(AMF_EncodeEcmaArray(&nothing, NULL, NULL));
    PLACE(AMF_EncodeEcmaArray(&nothing, end, room));
    PLACE(AMF_EncodeEcmaArray(&nothing, room, end));
    PLACE(AMF_EncodeArray(NULL, room, end));
    PLACE(AMF_EncodeArray(&nothing, NULL, NULL));
    PLACE(AMF_EncodeArray(&nothing, end, room));
    PLACE(AMF_EncodeArray(&nothing, room, end));
    PLACE(AMFProp_Encode(NULL, room, end));
    PLACE(AMFProp_Encode(&prop, NULL, NULL));
    PLACE(AMFProp_Encode(&prop, room, NULL));
    PLACE(AMFProp_Encode(&prop, end, room));
    for (type = -1; type < 20; type++) {
        prop.p_type = (AMFDataType)type;
        CASE("AMFProp_Encode of type %d", type) {
            char *at = AMFProp_Encode(&prop, room, end);
            printf("at %ld\n", at ? (long)(at - room) : -1);
            print_hex("wrote", room, 32);
        }
    }
}

static void decoders(void)
{
    static const char text[] = "\2\0\3abc";
    const char *data;
    int i;

    NUMBER(AMF_DecodeInt16(NULL));
    NUMBER(AMF_DecodeInt24(NULL));
    NUMBER(AMF_DecodeInt32(NULL));
    NUMBER(AMF_DecodeBoolean(NULL));
    NUMBER(AMF_DecodeNumber(NULL));
    NOTHING(AMF_DecodeString(NULL, NULL));
    NOTHING(AMF_DecodeString("\0\1a", NULL));
    NOTHING(AMF_DecodeLongString("\0\0\0\1a", NULL));
    CASE("AMF_DecodeString(NULL)") { AVal v = abc; AMF_DecodeString(NULL, &v); print_text("got", &v); }
    CASE("AMF_DecodeLongString(NULL)") { AVal v = abc; AMF_DecodeLongString(NULL, &v); print_text("got", &v); }
    CASE("AMF_DecodeLongString of a huge one") { AVal v = abc; AMF_DecodeLongString("\xff\xff\xff\xf0", &v); printf("%d\n", v.av_len); }
    NUMBER(AMF_Decode(NULL, NULL, 0, 0));
    for (i = -2; i < 7; i++) {
        /* Memory behind the given bytes cannot be read. */
        const size_t len = i < 0 ? 0 : (size_t)i;
        const char *values = at_the_edge("\4\1\6\3a\1\1", len), *object = at_the_edge("\12\13\1\3a\4\1\1", len);
        data = at_the_edge("\2\0\3abc", len < 6 ? len : 6);
        CASE("AMF_Decode of %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_Decode(&o, data, i, 0)); print_object(&o, 0); }
        CASE("AMF_Decode with names of %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_Decode(&o, data, i, 1)); print_object(&o, 0); }
        CASE("AMF_Decode of NULL and %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_Decode(&o, NULL, i, 0)); print_object(&o, 0); }
        CASE("AMF_DecodeArray of %d", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_DecodeArray(&o, text, 6, i, 0)); print_object(&o, 0); }
        CASE("AMF_DecodeArray with names of %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_DecodeArray(&o, data, len < 6 ? (int)len : 6, 1, 1)); print_object(&o, 0); }
        CASE("AMF_DecodeArray of NULL and %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF_DecodeArray(&o, NULL, i, 1, 0)); print_object(&o, 0); }
        CASE("AMFProp_Decode of %d bytes", i) { AMFObjectProperty p; memset(&p, 0, sizeof p); printf("%d\n", AMFProp_Decode(&p, data, i, 0)); print_text("name", &p.p_name); }
        CASE("AMFProp_Decode of NULL and %d bytes", i) { AMFObjectProperty p; memset(&p, 0, sizeof p); printf("%d\n", AMFProp_Decode(&p, NULL, i, 0)); }
        CASE("AMF3Prop_Decode of %d bytes", i) { AMFObjectProperty p; memset(&p, 0, sizeof p); printf("%d\n", AMF3Prop_Decode(&p, values, i, 0)); print_prop(&p, 0); }
        CASE("AMF3Prop_Decode of NULL and %d bytes", i) { AMFObjectProperty p; memset(&p, 0, sizeof p); printf("%d\n", AMF3Prop_Decode(&p, NULL, i, 0)); }
        CASE("AMF3_Decode of %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF3_Decode(&o, object, i, 1)); print_object(&o, 0); }
        CASE("AMF3_Decode of NULL and %d bytes", i) { AMFObject o = { 7, NULL }; printf("%d\n", AMF3_Decode(&o, NULL, i, 0)); print_object(&o, 0); }
    }
    data = text;
    NUMBER(AMFProp_Decode(NULL, data, 6, 0));
    NUMBER(AMF3Prop_Decode(NULL, data, 6, 0));
    NUMBER(AMF3_Decode(NULL, data, 6, 0));
    NUMBER(AMF_Decode(NULL, data, 6, 0));
    NUMBER(AMF_DecodeArray(NULL, data, 6, 1, 0));
    NUMBER(AMF3ReadInteger(NULL, NULL));
    NUMBER(AMF3ReadInteger("\1", NULL));
    NUMBER(AMF3ReadString(NULL, NULL));
    NUMBER(AMF3ReadString("\3a", NULL));
    CASE("AMF3ReadInteger(NULL)") { int32_t v = 5; printf("%d %d\n", AMF3ReadInteger(NULL, &v), v); }
    CASE("AMF3ReadString(NULL)") { AVal v = abc; printf("%d\n", AMF3ReadString(NULL, &v)); print_text("got", &v); }
}

static void objects(void)
{
    AMFObject nothing = { 0, NULL }, below = { -1, NULL };
    AMFObjectProperty prop;
    AMF3ClassDef class;
    int type;

    memset(&prop, 0, sizeof prop);
    memset(&class, 0, sizeof class);
    NOTHING(AMF_Dump(NULL));
    NOTHING(AMF_Dump(&nothing));
    NOTHING(AMF_Reset(NULL));
    NOTHING(AMF_Reset(&nothing));
    NOTHING(AMF_Reset(&below));
    NOTHING(AMF_AddProp(NULL, &prop));
    NOTHING(AMF_AddProp(&nothing, NULL));
    NUMBER(AMF_CountProp(NULL));
    NUMBER(AMF_CountProp(&nothing));
    NUMBER(AMF_CountProp(&below));
    NUMBER(AMF_GetProp(NULL, NULL, 0)->p_type);
    NUMBER(AMF_GetProp(NULL, NULL, -1)->p_type);
    NUMBER(AMF_GetProp(&nothing, NULL, 0)->p_type);
    NUMBER(AMF_GetProp(&nothing, NULL, -1)->p_type);
    NUMBER(AMF_GetProp(&nothing, &abc, 7)->p_type);
    NUMBER(AMF_GetProp(&nothing, &abc, -7)->p_type);
    NUMBER(AMF_GetProp(&below, &abc, -1)->p_type);
    NUMBER(AMFProp_GetType(NULL));
    NUMBER(AMFProp_IsValid(NULL));
    NUMBER(AMFProp_GetNumber(NULL));
    NUMBER(AMFProp_GetBoolean(NULL));
    NOTHING(AMFProp_GetString(NULL, NULL));
    NOTHING(AMFProp_GetString(&prop, NULL));
    NOTHING(AMFProp_GetObject(NULL, NULL));
    NOTHING(AMFProp_GetObject(&prop, NULL));
    NOTHING(AMFProp_GetName(NULL, NULL));
    NOTHING(AMFProp_GetName(&prop, NULL));
    NOTHING(AMFProp_SetName(NULL, &abc));
    NOTHING(AMFProp_SetName(&prop, NULL));
    NOTHING(AMFProp_Dump(NULL));
    NOTHING(AMFProp_Reset(NULL));
    CASE("AMFProp_GetString(NULL)") { AVal v = abc; AMFProp_GetString(NULL, &v); print_text("got", &v); }
    CASE("AMFProp_GetObject(NULL)") { AMFObject o = { 7, NULL }; AMFProp_GetObject(NULL, &o); print_object(&o, 0); }
    CASE("AMFProp_GetName(NULL)") { AVal v = abc; AMFProp_GetName(NULL, &v); print_text("got", &v); }
    for (type = -1; type < 20; type++) {
        memset(&prop, 0, sizeof prop);
        prop.p_name = abc;
        prop.p_type = (AMFDataType)type;
        CASE("a property of type %d", type) {
            AVal v = abc;
            AMFObject o = { 7, NULL };
            RTMP_LogSetLevel(RTMP_LOGALL);
            printf("%d %d %g %d\n", (int)AMFProp_GetType(&prop), AMFProp_IsValid(&prop), AMFProp_GetNumber(&prop), AMFProp_GetBoolean(&prop));
            AMFProp_GetString(&prop, &v);
            print_text("string", &v);
            AMFProp_GetObject(&prop, &o);
            print_object(&o, 0);
            AMFProp_GetName(&prop, &v);
            print_text("name", &v);
            AMFProp_Reset(&prop);
            printf("%d\n", (int)prop.p_type);
            print_text("name", &prop.p_name);
        }
    }
    NOTHING(AMF3CD_AddProp(NULL, &abc));
    NOTHING(AMF3CD_AddProp(&class, NULL));
    CASE("AMF3CD_GetProp(NULL)") { AVal *v = AMF3CD_GetProp(NULL, 0); if (v) print_text("got", v); else puts("none"); }
    CASE("AMF3CD_GetProp past the end") { AVal *v = AMF3CD_GetProp(&class, 0); if (v) print_text("got", v); else puts("none"); }
    CASE("AMF3CD_GetProp before the start") { AVal *v = AMF3CD_GetProp(&class, -1); if (v) print_text("got", v); else puts("none"); }
    NUMBER(RTMP_FindFirstMatchingProperty(NULL, &abc, &prop));
    NUMBER(RTMP_FindFirstMatchingProperty(&nothing, NULL, &prop));
    NUMBER(RTMP_FindFirstMatchingProperty(&nothing, &abc, NULL));
    NUMBER(RTMP_FindPrefixProperty(NULL, &abc, &prop));
    NUMBER(RTMP_FindPrefixProperty(&nothing, NULL, &prop));
    NUMBER(RTMP_FindPrefixProperty(&nothing, &abc, NULL));
}

static void urls_and_packets(void)
{
    int protocol = 7;
    unsigned port = 7;
    AVal host = { NULL, 0 }, playpath = { NULL, 0 }, app = { NULL, 0 };
    RTMPPacket packet;
    unsigned size = 7;
    unsigned char hash[32];
    struct HTTP_ctx http;

    memset(&packet, 0, sizeof packet);
    memset(&http, 0, sizeof http);
    NUMBER(RTMP_ParseURL(NULL, &protocol, &host, &port, &playpath, &app));
    NUMBER(RTMP_ParseURL("rtmp://h/a/b", NULL, &host, &port, &playpath, &app));
    NUMBER(RTMP_ParseURL("rtmp://h/a/b", &protocol, NULL, &port, &playpath, &app));
    NUMBER(RTMP_ParseURL("rtmp://h:1/a/b", &protocol, &host, NULL, &playpath, &app));
    NUMBER(RTMP_ParseURL("rtmp://h/a/b", &protocol, &host, &port, NULL, &app));
    NUMBER(RTMP_ParseURL("rtmp://h/a/b", &protocol, &host, &port, &playpath, NULL));
    NUMBER(RTMP_ParseURL("", &protocol, &host, &port, &playpath, &app));
    NOTHING(RTMP_ParsePlaypath(NULL, &playpath));
    NOTHING(RTMP_ParsePlaypath(&abc, NULL));
    CASE("RTMP_ParsePlaypath of none") { AVal v = abc; RTMP_ParsePlaypath(&none, &v); print_text("got", &v); }
    CASE("RTMP_ParsePlaypath of nothing") { AVal v = abc; RTMP_ParsePlaypath(&empty, &v); print_text("got", &v); }
    NOTHING(RTMPPacket_Reset(NULL));
    NOTHING(RTMPPacket_Free(NULL));
    NOTHING(RTMPPacket_Dump(NULL));
    NOTHING(RTMPPacket_Dump(&packet));
    NUMBER(RTMPPacket_Alloc(NULL, 10));
    NUMBER(RTMPPacket_Alloc(&packet, 0xffffffff));
    NUMBER(RTMPPacket_Alloc(&packet, 0xfffffff0));
    NOTHING(RTMP_Free(NULL));
    NOTHING(RTMP_Free(RTMP_Alloc()));
    NUMBER(RTMP_LibVersion());
    NOTHING(RTMP_LogSetCallback(NULL));
    NOTHING(RTMP_LogSetOutput(NULL));
    NOTHING(RTMP_LogHex(RTMP_LOGCRIT, NULL, 0));
    NOTHING(RTMP_LogHexString(RTMP_LOGCRIT, NULL, 0));
    NOTHING(RTMP_LogSetLevel((RTMP_LogLevel)-5));
    NOTHING(RTMP_LogSetLevel((RTMP_LogLevel)99));
    CASE("levels that are none") {
        RTMP_LogSetOutput(stdout);
        RTMP_LogSetLevel(RTMP_LOGALL);
        RTMP_Log(6, "six");
        printf("%d\n", (int)RTMP_LogGetLevel());
    }
    NUMBER(RTMP_HashSWF(NULL, &size, hash, 0));
    NUMBER(RTMP_HashSWF("", &size, hash, 0));
    NUMBER(RTMP_HashSWF("nothing", &size, hash, 0));
    NUMBER(RTMP_HashSWF("http://127.0.0.1:1/x.swf", NULL, hash, 0));
    NUMBER(RTMP_HashSWF("http://127.0.0.1:1/x.swf", &size, NULL, 0));
    NUMBER(RTMP_HashSWF("http://127.0.0.1:1/x.swf", &size, hash, 0));
    NUMBER(RTMP_HashSWF("https://127.0.0.1:1/x.swf", &size, hash, 0));
    NUMBER(RTMP_HashSWF("ftp://127.0.0.1:1/x.swf", &size, hash, 0));
    NUMBER(HTTP_get(NULL, "http://127.0.0.1:1/", NULL));
    NUMBER(HTTP_get(&http, NULL, NULL));
    NUMBER(HTTP_get(&http, "", NULL));
    NUMBER(HTTP_get(&http, "http://127.0.0.1:1/x", NULL));
    NUMBER(HTTP_get(&http, "http://127.0.0.1:1", NULL));
    NUMBER(HTTP_get(&http, "ftp://x/", NULL));
    NUMBER(RTMP_TLS_AllocServerContext(NULL, NULL) != NULL);
    NUMBER(RTMP_TLS_AllocServerContext("/nothing", NULL) != NULL);
    NUMBER(RTMP_TLS_AllocServerContext("/nothing", "/nothing") != NULL);
    NUMBER(RTMP_TLS_AllocServerContext("/dev/null", "/dev/null") != NULL);
    NOTHING(RTMP_TLS_FreeServerContext(NULL));
}

/* The bad states of sessions. */
static const char *const states[] = { "NULL", "never set up", "not connected", "left by its peer", "closed" };

static RTMP *session_that_is(unsigned state)
{
    RTMP *r;
    switch (state) {
    case 0:
        return NULL;
    case 1:
        return RTMP_Alloc();
    case 2:
        r = RTMP_Alloc();
        RTMP_Init(r);
        return r;
    default:
        r = session_on_a_pair();
        close(other_end);
        if (state == 4) {
            RTMP_Close(r);
        }
        return r;
    }
}

/* Makes a call on each of these sessions, and prints its result and the session afterwards. */
#define ON_EACH(call) \
    for (unsigned state = 0; state < sizeof states / sizeof *states; state++) \
        CASE("%s on a session that is %s", #call, states[state]) { \
            RTMP *r = session_that_is(state); \
            printf("%.17g\n", (double)(call)); \
            if (r) print_session(r); \
        }
#define ON_EACH_VOID(call) ON_EACH((call, 0))

static void sessions(void)
{
    static char body[18 + 16], *const data = body + 18;
    static char url[] = "rtmp://127.0.0.1:1/app/key", bad_url[] = "nothing", no_url[] = "";
    RTMPPacket packet, bodiless, odd;
    RTMPChunk chunk;

    memset(&packet, 0, sizeof packet);
    packet.m_nChannel = 4;
    packet.m_packetType = 9;
    packet.m_nBodySize = 10;
    packet.m_body = data;
    bodiless = packet;
    bodiless.m_body = NULL;
    odd = packet;
    odd.m_headerType = 9;
    memset(&chunk, 0, sizeof chunk);

    ON_EACH_VOID(RTMP_Init(r));
    ON_EACH_VOID(RTMP_Close(r));
    ON_EACH_VOID((RTMP_Close(r), RTMP_Close(r)));
    ON_EACH_VOID(RTMP_EnableWrite(r));
    ON_EACH_VOID(RTMP_SetBufferMS(r, -1));
    ON_EACH_VOID(RTMP_UpdateBufferMS(r));
    ON_EACH(RTMP_SetOpt(r, NULL, &abc));
    ON_EACH(RTMP_SetOpt(r, &none, &abc));
    ON_EACH(RTMP_SetOpt(r, &abc, &abc));
    for (int i = 0; i < 22; i++) {
        static const char *const keys[] = { "socks", "app", "tcUrl", "pageUrl", "swfUrl", "flashver", "conn", "playpath", "playlist", "live", "subscribe", "jtv", "token", "swfVfy", "swfAge", "start", "stop", "buffer", "timeout", "pubUser", "pubPasswd", "none" };
        AVal key = av_of(keys[i]);
        CASE("RTMP_SetOpt %s to NULL", keys[i]) { RTMP *r = session_that_is(2); printf("%d\n", RTMP_SetOpt(r, &key, NULL)); print_session(r); }
        CASE("RTMP_SetOpt %s to none", keys[i]) { RTMP *r = session_that_is(2); printf("%d\n", RTMP_SetOpt(r, &key, &none)); print_session(r); }
        CASE("RTMP_SetOpt %s to nothing", keys[i]) { RTMP *r = session_that_is(2); printf("%d\n", RTMP_SetOpt(r, &key, &empty)); print_session(r); }
        CASE("RTMP_SetOpt %s of NULL", keys[i]) { AVal one = av_of("1"); printf("%d\n", RTMP_SetOpt(NULL, &key, &one)); }
    }
    ON_EACH(RTMP_SetupURL(r, NULL));
    ON_EACH(RTMP_SetupURL(r, bad_url));
    ON_EACH(RTMP_SetupURL(r, no_url));
    ON_EACH(RTMP_SetupURL(r, url));
    ON_EACH_VOID(RTMP_SetupStream(r, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL, 0, 0, 0, 0));
    ON_EACH_VOID(RTMP_SetupStream(r, 0, &none, 0, &none, &none, &none, &none, &none, &none, &none, &none, 0, &none, &none, &none, 0, 0, 0, 0));
    ON_EACH_VOID(RTMP_SetupStream(r, 99, &abc, 99999, &none, &abc, NULL, NULL, NULL, &abc, NULL, NULL, 5, NULL, NULL, NULL, -5, -6, 7, -8));
    ON_EACH_VOID(RTMP_SetupStream(r, -1, &abc, 0, &abc, &abc, &abc, &abc, &abc, &abc, &abc, &abc, 0, &abc, &abc, &abc, 1, 2, -1, 1L << 40));
    ON_EACH(RTMP_Connect(r, NULL));
    ON_EACH(RTMP_Connect0(r, NULL));
    ON_EACH(RTMP_Connect1(r, NULL));
    ON_EACH(RTMP_Connect1(r, &packet));
    ON_EACH(RTMP_Serve(r));
    ON_EACH(RTMP_TLS_Accept(r, NULL));
    ON_EACH(RTMP_ReadPacket(r, NULL));
    ON_EACH(RTMP_ReadPacket(r, &bodiless));
    ON_EACH(RTMP_SendPacket(r, NULL, 0));
    ON_EACH(RTMP_SendPacket(r, &packet, 0));
    ON_EACH(RTMP_SendPacket(r, &packet, 1));
    ON_EACH(RTMP_SendPacket(r, &bodiless, 0));
    ON_EACH(RTMP_SendPacket(r, &odd, 0));
    ON_EACH(RTMP_SendChunk(r, NULL));
    ON_EACH(RTMP_SendChunk(r, &chunk));
    ON_EACH(RTMP_IsConnected(r));
    ON_EACH(RTMP_Socket(r) >= 0);
    ON_EACH(RTMP_IsTimedout(r));
    ON_EACH(RTMP_GetDuration(r));
    ON_EACH(RTMP_ToggleStream(r));
    ON_EACH(RTMP_ConnectStream(r, 0));
    ON_EACH(RTMP_ConnectStream(r, -5));
    ON_EACH(RTMP_ReconnectStream(r, 7));
    ON_EACH_VOID(RTMP_DeleteStream(r));
    ON_EACH(RTMP_GetNextMediaPacket(r, NULL));
    ON_EACH(RTMP_GetNextMediaPacket(r, &bodiless));
    ON_EACH(RTMP_ClientPacket(r, NULL));
    ON_EACH(RTMP_ClientPacket(r, &packet));
    ON_EACH(RTMP_SendCtrl(r, 3, 0, 0));
    ON_EACH(RTMP_SendCtrl(r, -1, 0xffffffff, 0xffffffff));
    ON_EACH(RTMP_SendCtrl(r, 27, 0, 0));
    ON_EACH(RTMP_SendPause(r, 1, 0));
    ON_EACH(RTMP_Pause(r, 1));
    ON_EACH(RTMP_Pause(r, 0));
    ON_EACH(RTMP_SendCreateStream(r));
    ON_EACH(RTMP_SendSeek(r, -1));
    ON_EACH(RTMP_SendServerBW(r));
    ON_EACH(RTMP_SendClientBW(r));
    ON_EACH_VOID(RTMP_DropRequest(r, 0, 0));
    ON_EACH_VOID(RTMP_DropRequest(r, -1, 1));
    ON_EACH(RTMP_Read(r, NULL, 0));
    ON_EACH(RTMP_Read(r, NULL, 10));
    ON_EACH(RTMP_Read(r, room, 0));
    ON_EACH(RTMP_Read(r, room, -1));
    ON_EACH(RTMP_Read(r, room, 100));
    ON_EACH(RTMP_Write(r, NULL, 0));
    ON_EACH(RTMP_Write(r, NULL, 10));
    ON_EACH(RTMP_Write(r, room, 0));
    ON_EACH(RTMP_Write(r, room, -1));
    ON_EACH(RTMP_Write(r, "\x9\0\0\1\0\0\0\0\0\0\0A\0\0\0\xc", 16));
    ON_EACH(RTMPSockBuf_Fill(r ? &r->m_sb : NULL));
    ON_EACH(RTMPSockBuf_Send(r ? &r->m_sb : NULL, NULL, 0));
    ON_EACH(RTMPSockBuf_Send(r ? &r->m_sb : NULL, "abc", 3));
    ON_EACH(RTMPSockBuf_Send(r ? &r->m_sb : NULL, "abc", -3));
    ON_EACH(RTMPSockBuf_Close(r ? &r->m_sb : NULL));
}

int main(void)
{
    quiet();
    if (!freopen("/dev/null", "r", stdin)) {
        return 1;
    }
    encoders();
    decoders();
    objects();
    urls_and_packets();
    sessions();
    puts("== end");
    return 0;
}
