/* The basic server's state, and the functions of its parts. */
#ifndef BASIC_SERVER_H
#define BASIC_SERVER_H

#include "rrelay.h"

#include <librtmp/rtmp.h>
#include <stdio.h>

enum { STREAMING_ACCEPTING = 1, STREAMING_IN_PROGRESS, STREAMING_STOPPING, STREAMING_STOPPED };

/* Size of the longest accepted application and stream key, with the NUL. */
enum { NAME_BYTES = 256 };

typedef struct {
    int socket; /* the listening socket */
    int port;
    int state; /* STREAMING_*; use GetState and SetState */

    /* The stream that is being published, and its messages and bytes so far. */
    char app[NAME_BYTES], key[NAME_BYTES];
    int publishing;
    unsigned long audio, video, data, other; /* messages */
    unsigned long long bytes;

    /* Saving; NULL means off. */
    const char *file_name;
    FILE *file;
    unsigned files;

    /* The bridges; NULL means off. */
    rr_server *relay;
    rr_stream stream;
    int relay_port;
    int hand_over; /* accepted connections go to the relay */
} STREAMING_SERVER;

/* basic_server.c */
int GetState(STREAMING_SERVER *server);
void SetState(STREAMING_SERVER *server, int state);
/* Prints a line about a stream: `before`, then "app/key" as a peer sent it, without anything that could move a terminal's
   cursor, then the rest. */
void Say(const char *before, const char *app, const char *key, const char *format, ...);

/* basic_server_packets.c: handles one message. FALSE: the conversation is over. */
int ServePacket(STREAMING_SERVER *server, RTMP *r, RTMPPacket *packet);
/* Called when the publisher is gone, or never came. */
void EndPublishing(STREAMING_SERVER *server);

/* basic_server_save.c: an FLV file for each publisher: NAME, then NAME.1, NAME.2 ... */
int OpenFile(STREAMING_SERVER *server);
void SavePacket(STREAMING_SERVER *server, const RTMPPacket *packet);
void CloseFile(STREAMING_SERVER *server);

/* basic_server_relay.c: both bridges to rr_server. port < 0: the relay does not listen itself. */
int StartRelay(STREAMING_SERVER *server, int port);
void StopRelay(STREAMING_SERVER *server);
/* The first bridge: the messages that ServePacket reads become a stream. */
int BeginStream(STREAMING_SERVER *server);
int FeedStream(STREAMING_SERVER *server, const RTMPPacket *packet);
void EndStream(STREAMING_SERVER *server);
/* The second bridge: the connection belongs to the relay from now on. */
void HandOver(STREAMING_SERVER *server, int fd);
/* Prints the relay's events, for at most a second. */
void TakeRelayEvents(STREAMING_SERVER *server);

#endif
