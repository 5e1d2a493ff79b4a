/* A client of librtmp as programs write it: connects, plays or publishes, reads to the end. Ends with 0 whatever the
 * server does; tests/librtmp/hostile.rs looks for crashes and for memory errors. client URL [publish] */
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    static char buffer[65536];
    char url[1024];
    RTMP *r;
    int n, total = 0;

    if (argc < 2) {
        return 2;
    }
    snprintf(url, sizeof url, "%s", argv[1]);
    RTMP_LogSetLevel(RTMP_LOGDEBUG);
    r = RTMP_Alloc();
    RTMP_Init(r);
    if (RTMP_SetupURL(r, url)) {
        if (argc > 2) {
            RTMP_EnableWrite(r);
        }
        if (RTMP_Connect(r, NULL) && RTMP_ConnectStream(r, 0)) {
            while (total < (1 << 26) && (n = RTMP_Read(r, buffer, sizeof buffer)) > 0) {
                total += n;
            }
        }
    }
    printf("read %d\n", total);
    RTMP_Close(r);
    RTMP_Free(r);
    return 0;
}
