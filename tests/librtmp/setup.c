/* The log lines about a session's settings at RTMP_LOGDEBUG: RTMP_SetupStream with everything, with little and with a hash,
 * and RTMP_SetupURL. Prints each record with its level. */
#include "differ.h"

static void print_record(int level, const char *format, va_list arguments)
{
    printf("%d ", level);
    vprintf(format, arguments);
    puts("");
}

static RTMP *session(const char *what)
{
    RTMP *r = RTMP_Alloc();
    RTMP_Init(r);
    puts(what);
    return r;
}

int main(void)
{
    static AVal host = AVC("host"), socks = AVC("socks:99"), playpath = AVC("play"), tc_url = AVC("rtmp://host/app");
    static AVal swf_url = AVC("http://host/player.swf"), page_url = AVC("http://host/"), app = AVC("app"), auth = AVC("auth");
    static AVal version = AVC("WIN 1,2"), subscribe = AVC("sub"), usher = AVC("usher"), none = { NULL, 0 };
    static char bytes[RTMP_SWF_HASHLEN], url[] = "rtmp://host:1936/app/play socks=proxy live=1 timeout=3";
    AVal hash = { bytes, RTMP_SWF_HASHLEN };

    memset(bytes, 0xAB, sizeof bytes - 1);
    RTMP_LogSetCallback(print_record);
    RTMP_LogSetLevel(RTMP_LOGDEBUG);
    RTMP_SetupStream(session("all"), RTMP_PROTOCOL_RTMP, &host, 0, &socks, &playpath, &tc_url, &swf_url, &page_url, &app, &auth,
                     &hash, 1234, &version, &subscribe, &usher, 5, 9, TRUE, 30);
    RTMP_SetupStream(session("little"), RTMP_PROTOCOL_RTMPTE, &host, 1935, &none, &playpath, &none, &none, &none, &none, &none,
                     &none, 0, &none, &none, &none, 0, 0, FALSE, 7);
    RTMP_SetupStream(session("a hash"), RTMP_PROTOCOL_RTMPS, &host, 1935, &none, &playpath, &none, &none, &none, &none, &none,
                     &hash, 7, &none, &none, &none, 0, 0, FALSE, 7);
    RTMP_SetupURL(session("a url"), url);
    return 0;
}
