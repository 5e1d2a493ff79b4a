/* A client of librtmp as programs write it: connects, plays or publishes, reads to the end, and goes on to the next url.
 * Ends with 0 whatever the servers do; tests/librtmp/hostile.rs looks for crashes and for memory errors.
 * client play|publish URL... */
#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <stdio.h>
#include <string.h>

static void visit(const char *mode, const char *given)
{
    static char buffer[65536];
    char url[1024];
    int n, total = 0;
    RTMP *r = RTMP_Alloc();

    snprintf(url, sizeof url, "%s", given);
    RTMP_Init(r);
    if (RTMP_SetupURL(r, url)) {
        if (!strcmp(mode, "publish")) {
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
}

int main(int argc, char **argv)
{
    int i;
    if (argc < 3) {
        return 2;
    }
    RTMP_LogSetLevel(RTMP_LOGDEBUG);
    for (i = 2; i < argc; i++) {
        fprintf(stderr, "== %d\n", i - 2);
        visit(argv[1], argv[i]);
    }
    return 0;
}
