/* librtmp's log interface, as rrelay provides it. Records are of the whole process. They are looked at in this order:
 * RTMP_debuglevel, then the callback where there is one, else the output (stderr unless another was set). A host that
 * calls rr_server_log_librtmp (rrelay.h) has them in place of callback and output. */
#ifndef __RTMP_LOG_H__
#define __RTMP_LOG_H__

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    RTMP_LOGCRIT = 0,
    RTMP_LOGERROR,
    RTMP_LOGWARNING,
    RTMP_LOGINFO,
    RTMP_LOGDEBUG,
    RTMP_LOGDEBUG2,
    RTMP_LOGALL
} RTMP_LogLevel;

/* The highest level that is logged; RTMP_LOGERROR at first. Programs may write it. */
extern RTMP_LogLevel RTMP_debuglevel;

/* May be called from any thread that is inside a call of this library. */
typedef void(RTMP_LogCallback)(int level, const char *fmt, va_list);
void RTMP_LogSetCallback(RTMP_LogCallback *cb);
void RTMP_LogSetOutput(FILE *file);

#ifdef __GNUC__
#define RRELAY_PRINTF_(text, first) __attribute__((__format__(__printf__, text, first)))
#else
#define RRELAY_PRINTF_(text, first)
#endif
/* Text for the output, whatever the callback; nothing at level RTMP_LOGCRIT. After RTMP_LogStatus the next text begins
 * on a new line. */
void RTMP_LogPrintf(const char *format, ...) RRELAY_PRINTF_(1, 2);
void RTMP_LogStatus(const char *format, ...) RRELAY_PRINTF_(1, 2);
/* One record: "LEVEL: text". */
void RTMP_Log(int level, const char *format, ...) RRELAY_PRINTF_(2, 3);
#undef RRELAY_PRINTF_

void RTMP_LogHex(int level, const uint8_t *data, unsigned long len);
void RTMP_LogHexString(int level, const uint8_t *data, unsigned long len);
void RTMP_LogSetLevel(RTMP_LogLevel lvl);
RTMP_LogLevel RTMP_LogGetLevel(void);

#ifdef __cplusplus
}
#endif

#endif /* __RTMP_LOG_H__ */
