/* The two bridges from a host's own RTMP server to the relay: the host writes the messages that it has read into a
 * stream, or hands over the connections that it has accepted. The host's main loop takes the relay's events. */
#define _POSIX_C_SOURCE 200809L
#include "basic_server.h"

#include <librtmp/log.h>
#include <string.h>

/* Longest time for the last players, and the time of one step of the main loop. */
enum { DRAIN_MS = 3000, STEP_MS = 1000 };

static int failed(const char *what) {
    fprintf(stderr, "basic_server: %s: %s\n", what, rr_last_error());
    return FALSE;
}

int StartRelay(STREAMING_SERVER *server, int port) {
    char address[32];

    if (rr_server_new(NULL, &server->relay) < 0) return failed("the relay");
    /* One log for both: the lines of librtmp's calls go to the relay's log, which goes to stderr. */
    if (rr_server_set_log(server->relay, RR_LOG_WARN, NULL, NULL) < 0 || rr_server_log_librtmp(server->relay, 1) < 0) {
        return failed("the log");
    }
    if (port < 0) return TRUE;
    snprintf(address, sizeof address, ":%d", port);
    server->relay_port = rr_server_listen(server->relay, address, 0);
    return server->relay_port >= 0 || failed(address);
}

static void tell(const rr_event *ev) {
    const char *who = NULL;

    if (ev->type == RR_EV_STREAM) who = "relay: stream ";
    if (ev->type == RR_EV_SESSION && ev->role == RR_ROLE_PLAYER) who = "relay: player of ";
    if (who) Say(who, ev->app, ev->key, " %s", rr_name(RR_NAME_STATE, (int)ev->state));
}

void TakeRelayEvents(STREAMING_SERVER *server) {
    const rr_event *ev;
    if (rr_event_next(server->relay, &ev, STEP_MS) == 1) tell(ev);
}

void StopRelay(STREAMING_SERVER *server) {
    const rr_event *ev;
    int stopped = 0;

    if (!server->relay) return;
    rr_server_stop(server->relay, NULL, DRAIN_MS);
    while (!stopped && rr_event_next(server->relay, &ev, 2 * DRAIN_MS) == 1) {
        tell(ev);
        stopped = ev->type == RR_EV_SERVER && (ev->state == RR_STATE_STOPPED || ev->state == RR_STATE_FAILED);
    }
    rr_server_free(server->relay);
    server->relay = NULL;
}

/* ---- the first bridge: messages ----------------------------------------------------------------------------------- */

int BeginStream(STREAMING_SERVER *server) {
    if (!server->relay) return TRUE;
    /* If the stream exists already, with players that wait, it is used as it is. */
    return rr_stream_create(server->relay, server->app, server->key, NULL, &server->stream) == RR_OK ||
           failed("the stream");
}

int FeedStream(STREAMING_SERVER *server, const RTMPPacket *packet) {
    rr_frame frame;

    if (!server->relay) return TRUE;
    RR_INIT(RR_CFG_FRAME, &frame);
    frame.type = packet->m_packetType;
    frame.ts_ms = packet->m_nTimeStamp;
    frame.data = (const uint8_t *)packet->m_body;
    frame.len = packet->m_nBodySize;
    return rr_stream_write(server->relay, server->stream, &frame) == RR_OK || failed("the stream");
}

/* Tells players that the stream has ended. The stream stays, so that the players wait for a later publisher. */
void EndStream(STREAMING_SERVER *server) {
    rr_frame frame;

    if (!server->relay) return;
    RR_INIT(RR_CFG_FRAME, &frame);
    frame.type = RTMP_PACKET_TYPE_VIDEO;
    frame.flags = RR_FRAME_END;
    if (rr_stream_write(server->relay, server->stream, &frame) < 0) failed("the stream's end");
}

/* ---- the second bridge: connections ------------------------------------------------------------------------------- */

void HandOver(STREAMING_SERVER *server, int fd) {
    /* The descriptor belongs to the relay, even if the call fails. */
    if (rr_server_accept_fd(server->relay, fd, NULL, 0) < 0) failed("a connection");
}
