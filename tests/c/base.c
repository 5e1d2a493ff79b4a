/* Group 0 as a C program sees it: version, names, errors; every struct and constant of the header is used once. */
#include "check.h"

static void on_event(void *user, const rr_event *ev) {
    (void)user;
    (void)ev;
}

static void on_log(void *user, int level, const char *module, const char *line) {
    (void)user;
    (void)level;
    (void)module;
    (void)line;
}

int main(void) {
    char text[32];
    rr_event_fn event_fn = on_event;
    rr_log_fn log_fn = on_log;
    rr_event ev;
    rr_info info;
    rr_stats stats;
    rr_frame frame;
    rr_server *server = NULL;
    rr_stream stream = 0;
    rr_session session = 0;
    rr_target target = 0;
    static const uint8_t avc_key[] = {0x17, 1, 0, 0, 40, 0, 0, 0, 0};
    static const uint8_t avc_header[] = {0x17, 0, 0, 0, 0, 1};

    memset(&ev, 0, sizeof ev);
    memset(&info, 0, sizeof info);
    memset(&stats, 0, sizeof stats);
    CHECK(event_fn && log_fn && !server && !stream && !session && !target && !ev.type && !info.id && !stats.targets);

    CHECK(rr_version() == RR_VERSION);
    sprintf(text, "%u.%u.%u", RR_VERSION >> 16, RR_VERSION >> 8 & 255, RR_VERSION & 255);
    CHECK(strcmp(rr_version_string(), text) == 0);
    CHECK(rr_features() & RR_FEATURE_EVENT_FD);
    CHECK(strcmp(rr_last_error(), "") == 0);
    CHECK(strcmp(rr_strerror(RR_ERR_ARG), "invalid argument") == 0);
    CHECK(strcmp(rr_name(RR_NAME_STATE, RR_STATE_IN_PROGRESS), "IN_PROGRESS") == 0);
    CHECK(strcmp(rr_name(RR_NAME_EVENT, RR_EV_PUBLISH_ASK), "PUBLISH_ASK") == 0);
    CHECK(strcmp(rr_name(RR_NAME_ROLE, RR_ROLE_SOURCE), "source") == 0);
    CHECK(strcmp(rr_name(RR_NAME_KIND, RR_KIND_TARGET), "target") == 0);
    CHECK(strcmp(rr_name(RR_NAME_CODEC, 0x61766331), "H.264") == 0);
    CHECK(strcmp(rr_name(RR_NAME_CODEC, 0x6d703461), "AAC") == 0);
    CHECK(strcmp(rr_name(RR_NAME_CODEC, 0), "UNKNOWN") == 0 && strcmp(rr_name(RR_NAME_ROLE, 6), "UNKNOWN") == 0);
    CHECK(strcmp(rr_name(RR_NAME_KIND, -1), "UNKNOWN") == 0 && strcmp(rr_name(99, 1), "UNKNOWN") == 0);

    CHECK(RR_INIT(RR_CFG_FRAME, &frame) == RR_OK && frame.size == sizeof frame);
    CHECK(rr_frame_parse(RR_MSG_VIDEO, avc_key, sizeof avc_key, &frame) == RR_OK);
    CHECK(frame.flags == RR_FRAME_KEY && frame.codec == 0x61766331 && frame.cts_ms == 40);
    CHECK(frame.data == avc_key && frame.len == sizeof avc_key && frame.size == sizeof frame);
    CHECK(rr_frame_parse(9, avc_header, sizeof avc_header, &frame) == RR_OK && (frame.flags & RR_FRAME_SEQ));
    CHECK(rr_frame_parse(9, NULL, 0, &frame) == RR_OK && frame.codec == 0);
    frame.size = 0;
    CHECK(rr_frame_parse(9, NULL, 0, &frame) == RR_ERR_ARG);
    CHECK(strstr(rr_last_error(), "rr_config_init") != NULL);
    return 0;
}
