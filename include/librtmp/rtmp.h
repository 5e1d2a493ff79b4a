/* librtmp's interface, as rrelay provides it: RTMP sessions of clients and servers with blocking calls.
 *
 * A session (RTMP) is memory of the program's, or of RTMP_Alloc(), that RTMP_Init() has set up; it must not move while
 * it is connected. One call at a time per session, with one exception: RTMP_Close() may be called from another thread
 * at any time; a call that is running then fails soon and finishes the closing, and where that call is RTMP_Close() too,
 * both return when it is done. Strings given to a session are not copied and must outlive it. Functions that return int
 * give TRUE or FALSE unless they say otherwise. */
#ifndef __RTMP_H__
#define __RTMP_H__

/* The structures are the ones of a librtmp built with cryptography, always. */
#if !defined(NO_CRYPTO) && !defined(CRYPTO)
#define CRYPTO
#endif

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#include "amf.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RTMP_LIB_VERSION 0x020300 /* 2.3: the interface this is */

/* Bits of Link.protocol. */
#define RTMP_FEATURE_HTTP 0x01
#define RTMP_FEATURE_ENC 0x02
#define RTMP_FEATURE_SSL 0x04
#define RTMP_FEATURE_MFP 0x08   /* RTMFP: never done */
#define RTMP_FEATURE_WRITE 0x10 /* the session publishes */
#define RTMP_FEATURE_HTTP2 0x20 /* RTMPT of a server: never done */

#define RTMP_PROTOCOL_UNDEFINED -1
#define RTMP_PROTOCOL_RTMP 0
#define RTMP_PROTOCOL_RTMPE RTMP_FEATURE_ENC
#define RTMP_PROTOCOL_RTMPT RTMP_FEATURE_HTTP
#define RTMP_PROTOCOL_RTMPS RTMP_FEATURE_SSL
#define RTMP_PROTOCOL_RTMPTE (RTMP_FEATURE_HTTP | RTMP_FEATURE_ENC)
#define RTMP_PROTOCOL_RTMPTS (RTMP_FEATURE_HTTP | RTMP_FEATURE_SSL)
#define RTMP_PROTOCOL_RTMFP RTMP_FEATURE_MFP

#define RTMP_DEFAULT_CHUNKSIZE 128
#define RTMP_BUFFER_CACHE_SIZE (16 * 1024) /* bytes of sb_buf; where they come faster, more are read ahead */
#define RTMP_CHANNELS 65600

extern const char RTMPProtocolStringsLower[][7];
extern const AVal RTMP_DefaultFlashVer;
extern int RTMP_ctrlC; /* not 0: blocking calls of the process end; programs may write it */

/* Milliseconds of a clock that only goes forward, modulo 2^32. */
uint32_t RTMP_GetTime(void);

/* Message types. */
#define RTMP_PACKET_TYPE_CHUNK_SIZE 0x01
#define RTMP_PACKET_TYPE_BYTES_READ_REPORT 0x03
#define RTMP_PACKET_TYPE_CONTROL 0x04
#define RTMP_PACKET_TYPE_SERVER_BW 0x05
#define RTMP_PACKET_TYPE_CLIENT_BW 0x06
#define RTMP_PACKET_TYPE_AUDIO 0x08
#define RTMP_PACKET_TYPE_VIDEO 0x09
#define RTMP_PACKET_TYPE_FLEX_STREAM_SEND 0x0F
#define RTMP_PACKET_TYPE_FLEX_SHARED_OBJECT 0x10
#define RTMP_PACKET_TYPE_FLEX_MESSAGE 0x11
#define RTMP_PACKET_TYPE_INFO 0x12
#define RTMP_PACKET_TYPE_SHARED_OBJECT 0x13
#define RTMP_PACKET_TYPE_INVOKE 0x14
#define RTMP_PACKET_TYPE_FLASH_VIDEO 0x16

#define RTMP_MAX_HEADER_SIZE 18

/* Header types: how much of a chunk's header is there. */
#define RTMP_PACKET_SIZE_LARGE 0
#define RTMP_PACKET_SIZE_MEDIUM 1
#define RTMP_PACKET_SIZE_SMALL 2
#define RTMP_PACKET_SIZE_MINIMUM 3

/* One chunk as it came, for programs that pass chunks on. The payload lies in the message's body. */
typedef struct RTMPChunk {
    int c_headerSize;
    int c_chunkSize;
    char *c_chunk;
    char c_header[RTMP_MAX_HEADER_SIZE];
} RTMPChunk;

/* One message. A body has RTMP_MAX_HEADER_SIZE bytes before it that belong to it: it is freed from there. */
typedef struct RTMPPacket {
    uint8_t m_headerType;
    uint8_t m_packetType;
    uint8_t m_hasAbsTimestamp; /* it came with a time, not with a difference */
    int m_nChannel;            /* chunk stream id */
    uint32_t m_nTimeStamp;     /* milliseconds */
    int32_t m_nInfoField2;     /* message stream id */
    uint32_t m_nBodySize;
    uint32_t m_nBytesRead;
    RTMPChunk *m_chunk; /* not NULL: RTMP_ReadPacket() fills it with the chunk it read */
    char *m_body;
} RTMPPacket;

typedef struct RTMPSockBuf {
    int sb_socket;  /* -1: none */
    int sb_size;    /* bytes that were read ahead */
    char *sb_start; /* the first of them, in sb_buf or in memory of the library's */
    char sb_buf[RTMP_BUFFER_CACHE_SIZE];
    int sb_timedout; /* the last read ended because nothing came */
    void *sb_ssl;
} RTMPSockBuf;

void RTMPPacket_Reset(RTMPPacket *p);
void RTMPPacket_Dump(RTMPPacket *p);
/* A zeroed body of nSize bytes; m_nBodySize is the caller's to set. */
int RTMPPacket_Alloc(RTMPPacket *p, uint32_t nSize);
void RTMPPacket_Free(RTMPPacket *p);

/* Whether all of a message has come. */
#define RTMPPacket_IsReady(a) ((a)->m_nBytesRead == (a)->m_nBodySize)

/* Where a session goes and what it says there. */
typedef struct RTMP_LNK {
    AVal hostname;
    AVal sockshost;

    AVal playpath0; /* from the url: the library's own */
    AVal playpath;
    AVal tcUrl;
    AVal swfUrl;
    AVal pageUrl;
    AVal app;
    AVal auth;
    AVal flashVer;
    AVal subscribepath;
    AVal usherToken;
    AVal token;
    AVal pubUser;
    AVal pubPasswd;
    AMFObject extras; /* appended to the connect command */
    int edepth;

    int seekTime; /* milliseconds */
    int stopTime; /* milliseconds */

#define RTMP_LF_AUTH 0x0001 /* auth is sent */
#define RTMP_LF_LIVE 0x0002
#define RTMP_LF_SWFV 0x0004 /* the player is verified */
#define RTMP_LF_PLST 0x0008 /* a playlist is set before play */
#define RTMP_LF_BUFX 0x0010 /* pause and go on when the server's buffer is empty */
#define RTMP_LF_FTCU 0x0020 /* tcUrl is the library's */
#define RTMP_LF_FAPU 0x0040 /* app is the library's */
    int lFlags;

    int swfAge; /* days */

    int protocol;
    int timeout; /* seconds: connecting, sending, and reading from a socket the library made */

    int pFlags; /* the library's */

    unsigned short socksport;
    unsigned short port;

#ifdef CRYPTO
#define RTMP_SWF_HASHLEN 32
    void *dh;
    void *rc4keyIn;
    void *rc4keyOut;

    uint32_t SWFSize;
    uint8_t SWFHash[RTMP_SWF_HASHLEN];
    char SWFVerificationResponse[RTMP_SWF_HASHLEN + 10];
#endif
} RTMP_LNK;

/* RTMP_Read()'s state. A download is resumed by setting RTMP_READ_RESUME and what the file ends with. */
typedef struct RTMP_READ {
    char *buf;
    char *bufpos;
    unsigned int buflen;
    uint32_t timestamp;
    uint8_t dataType; /* 1: video was seen, 4: audio */
    uint8_t flags;
#define RTMP_READ_HEADER 0x01
#define RTMP_READ_RESUME 0x02
#define RTMP_READ_NO_IGNORE 0x04
#define RTMP_READ_GOTKF 0x08
#define RTMP_READ_GOTFLVK 0x10
#define RTMP_READ_SEEKING 0x20
    int8_t status;
#define RTMP_READ_COMPLETE -3
#define RTMP_READ_ERROR -2
#define RTMP_READ_EOF -1
#define RTMP_READ_IGNORE 0

    uint8_t initialFrameType;
    uint32_t nResumeTS;
    char *metaHeader;
    char *initialFrame;
    uint32_t nMetaHeaderSize;
    uint32_t nInitialFrameSize;
    uint32_t nIgnoredFrameCounter;
    uint32_t nIgnoredFlvFrameCounter;
} RTMP_READ;

/* A call that waits for its answer. */
typedef struct RTMP_METHOD {
    AVal name;
    int num;
} RTMP_METHOD;

typedef struct RTMP {
    int m_inChunkSize;  /* servers set it when a Set Chunk Size comes; for clients RTMP_ClientPacket() does */
    int m_outChunkSize; /* the program tells the peer itself */
    int m_nBWCheckCounter;
    int m_nBytesIn;
    int m_nBytesInSent;
    int m_nBufferMS;
    int m_stream_id; /* -1: none */
    int m_mediaChannel;
    uint32_t m_mediaStamp;
    uint32_t m_pauseStamp;
    int m_pausing;
    int m_nServerBW;
    int m_nClientBW;
    uint8_t m_nClientBW2;
    uint8_t m_bPlaying;
    uint8_t m_bSendEncoding;
    uint8_t m_bSendCounter; /* reads report what has come */

    int m_numInvokes; /* the last transaction */
    int m_numCalls;
    RTMP_METHOD *m_methodCalls;

    int m_channelsAllocatedIn;
    int m_channelsAllocatedOut;
    RTMPPacket **m_vecChannelsIn;
    RTMPPacket **m_vecChannelsOut;
    int *m_channelTimestamp; /* the last message's time, by chunk stream */

    double m_fAudioCodecs;
    double m_fVideoCodecs;
    double m_fEncoding; /* 0 or 3: AMF */

    double m_fDuration; /* seconds, from the metadata */

    int m_msgCounter;
    int m_polling;
    int m_resplen;
    int m_unackd;
    AVal m_clientID; /* the library's */

    RTMP_READ m_read;
    RTMPPacket m_write;
    RTMPSockBuf m_sb;
    RTMP_LNK Link;
} RTMP;

/* What a url says. host and app point into it; playpath is from malloc() and the caller's to free. */
int RTMP_ParseURL(const char *url, int *protocol, AVal *host, unsigned int *port, AVal *playpath, AVal *app);

/* out is from malloc(). */
void RTMP_ParsePlaypath(AVal *in, AVal *out);
void RTMP_SetBufferMS(RTMP *r, int size);
void RTMP_UpdateBufferMS(RTMP *r);

int RTMP_SetOpt(RTMP *r, const AVal *opt, AVal *arg);
/* "url key=value ...". The string is written to, and stays in use. */
int RTMP_SetupURL(RTMP *r, char *url);
void RTMP_SetupStream(RTMP *r, int protocol, AVal *hostname, unsigned int port, AVal *sockshost, AVal *playpath,
                      AVal *tcUrl, AVal *swfUrl, AVal *pageUrl, AVal *app, AVal *auth, AVal *swfSHA256Hash,
                      uint32_t swfSize, AVal *flashVer, AVal *subscribepath, AVal *usherToken, int dStart, int dStop,
                      int bLiveStream, long int timeout);

/* Connects to Link's server. cp, if any, is sent in place of the connect command. */
int RTMP_Connect(RTMP *r, RTMPPacket *cp);
struct sockaddr;
/* The two halves: the socket, and all that follows on it. The second also works on a socket of the program's in
 * m_sb.sb_socket, which can then be polled: it is readable as long as there is something that was not handed out. */
int RTMP_Connect0(RTMP *r, struct sockaddr *svc);
int RTMP_Connect1(RTMP *r, RTMPPacket *cp);
/* The server's side of a handshake on m_sb.sb_socket. RTMP_Server is another name for it. */
int RTMP_Serve(RTMP *r);
int RTMP_Server(RTMP *r);
int RTMP_TLS_Accept(RTMP *r, void *ctx);

/* Reads one chunk; a message is there when RTMPPacket_IsReady(), and its body is then the caller's. FALSE with
 * RTMP_IsTimedout(): nothing came, and nothing is lost. */
int RTMP_ReadPacket(RTMP *r, RTMPPacket *packet);
/* Sends one message in one system call. The header type is changed to the shortest that serves; the body is only read. */
int RTMP_SendPacket(RTMP *r, RTMPPacket *packet, int queue);
int RTMP_SendChunk(RTMP *r, RTMPChunk *chunk);
int RTMP_IsConnected(RTMP *r);
int RTMP_Socket(RTMP *r);
int RTMP_IsTimedout(RTMP *r);
double RTMP_GetDuration(RTMP *r);
int RTMP_ToggleStream(RTMP *r);

int RTMP_ConnectStream(RTMP *r, int seekTime);
int RTMP_ReconnectStream(RTMP *r, int seekTime);
void RTMP_DeleteStream(RTMP *r);
/* 1: packet holds media. 2: the stream has ended. 0: nothing more. */
int RTMP_GetNextMediaPacket(RTMP *r, RTMPPacket *packet);
/* What a client does with a message; the same numbers, 0 for a message that was not media. */
int RTMP_ClientPacket(RTMP *r, RTMPPacket *packet);

void RTMP_Init(RTMP *r);
/* Strings and chunk sizes stay. Any thread may call it. */
void RTMP_Close(RTMP *r);
RTMP *RTMP_Alloc(void);
/* A socket of the program's stays open. */
void RTMP_Free(RTMP *r);
void RTMP_EnableWrite(RTMP *r);

/* A certificate chain and its key, in PEM files. NULL where they cannot be used. */
void *RTMP_TLS_AllocServerContext(const char *cert, const char *key);
void RTMP_TLS_FreeServerContext(void *ctx);

int RTMP_LibVersion(void);
/* Ends the blocking calls of the process: sets RTMP_ctrlC. */
void RTMP_UserInterrupt(void);

int RTMP_SendCtrl(RTMP *r, short nType, unsigned int nObject, unsigned int nTime);

/* RTMP_Pause() knows the time of the media itself. */
int RTMP_SendPause(RTMP *r, int DoPause, int dTime);
int RTMP_Pause(RTMP *r, int DoPause);

int RTMP_FindFirstMatchingProperty(AMFObject *obj, const AVal *name, AMFObjectProperty *p);

int RTMPSockBuf_Fill(RTMPSockBuf *sb);
int RTMPSockBuf_Send(RTMPSockBuf *sb, const char *buf, int len);
int RTMPSockBuf_Close(RTMPSockBuf *sb);

int RTMP_SendCreateStream(RTMP *r);
int RTMP_SendSeek(RTMP *r, int dTime);
int RTMP_SendServerBW(RTMP *r);
int RTMP_SendClientBW(RTMP *r);
void RTMP_DropRequest(RTMP *r, int i, int freeit);
/* The stream as an FLV file: the bytes read, 0 at its end, -1 on an error. */
int RTMP_Read(RTMP *r, char *buf, int size);
/* An FLV file in any slices: all of size is taken, or -1. */
int RTMP_Write(RTMP *r, const char *buf, int size);

/* 0, with the size and SHA-256 (HMAC) of a player; -1 where it cannot be fetched. Hashes are kept in ~/.swfinfo. */
int RTMP_HashSWF(const char *url, unsigned int *size, unsigned char *hash, int age);

#ifdef __cplusplus
}
#endif

#endif /* __RTMP_H__ */
