/* A config struct that is set up as another one: C11 and C++ see it in RR_INIT; in C99 the function that takes the
   struct sees it. */
#include "check.h"

#if defined(__cplusplus) || __STDC_VERSION__ >= 201112L
#define TYPES_ARE_KNOWN 1
#else
#define TYPES_ARE_KNOWN 0
#endif

/* Checks the result of RR_INIT with a wrong kind: the same error with the same text, or success where types are not
   known. */
static void is_seen(int code, const char *kind, const char *type) {
    if (!TYPES_ARE_KNOWN) {
        CHECK(code == RR_OK);
        return;
    }
    CHECK(code == RR_ERR_ARG && strstr(rr_last_error(), kind) && strstr(rr_last_error(), type));
}

static int evaluated;

static rr_frame *once(rr_frame *frame) {
    evaluated++;
    return frame;
}

/* A host's own struct that begins with one of ours, and a script's bytes: their types say nothing about the kind. */
struct own {
    rr_frame frame;
    uint64_t more;
};

int main(void) {
    rr_server_config server;
    rr_stream_config stream;
    rr_target_config target;
    rr_decision decision;
    rr_frame frame;
    rr_hooks_config hooks;
    rr_controller_config controller;
    struct own own;
    unsigned char bytes[64];
    rr_server *s = NULL;
    rr_id id = 0;

    CHECK(RR_INIT(RR_CFG_SERVER, &server) == RR_OK && server.kind == RR_CFG_SERVER && server.size == sizeof server);
    CHECK(RR_INIT(RR_CFG_STREAM, &stream) == RR_OK && stream.kind == RR_CFG_STREAM);
    CHECK(RR_INIT(RR_CFG_TARGET, &target) == RR_OK && target.kind == RR_CFG_TARGET);
    CHECK(RR_INIT(RR_CFG_DECISION, &decision) == RR_OK && decision.kind == RR_CFG_DECISION);
    CHECK(RR_INIT(RR_CFG_HOOKS, &hooks) == RR_OK && hooks.kind == RR_CFG_HOOKS && hooks.size == sizeof hooks);
    CHECK(RR_INIT(RR_CFG_CONTROLLER, &controller) == RR_OK && controller.kind == RR_CFG_CONTROLLER);
    CHECK(RR_INIT(RR_CFG_FRAME, once(&frame)) == RR_OK && frame.kind == RR_CFG_FRAME && evaluated == 1);
    CHECK(RR_INIT(RR_CFG_FRAME, &own) == RR_OK && own.frame.size == sizeof own);
    CHECK(rr_config_init(RR_CFG_FRAME, bytes, sizeof bytes) == RR_OK);
    CHECK(rr_server_new(&server, &s) == RR_OK);

    server.kind = RR_CFG_STREAM; /* as C99 leaves it after a wrong call */
    CHECK(rr_server_new(&server, &s) == RR_ERR_ARG && s == NULL);
    CHECK(strstr(rr_last_error(), "it was set up as rr_stream_config") != NULL);
    is_seen(RR_INIT(RR_CFG_STREAM, &server), "rr_stream_config", "rr_server_config");
    CHECK(rr_server_new(&server, &s) == RR_ERR_ARG && s == NULL);

    CHECK(RR_INIT(RR_CFG_SERVER, &server) == RR_OK);
    is_seen(RR_INIT(RR_CFG_SERVER, &stream), "rr_server_config", "rr_stream_config");
    stream.kind = RR_CFG_SERVER;
    server.stream = &stream;
    CHECK(rr_server_new(&server, &s) == RR_ERR_ARG && s == NULL);
    server.stream = NULL;
    CHECK(rr_server_new(&server, &s) == RR_OK);

    CHECK(rr_stream_create(s, "live", "show", &stream, &id) == RR_ERR_ARG);
    CHECK(rr_stream_create(s, "live", "show", NULL, &id) == RR_OK);
    is_seen(RR_INIT(RR_CFG_DECISION, &target), "rr_decision", "rr_target_config");
    target.kind = RR_CFG_DECISION;
    CHECK(rr_stream_add_target(s, id, &target, &id) == RR_ERR_ARG);
    is_seen(RR_INIT(RR_CFG_TARGET, &frame), "rr_target_config", "rr_frame");
    frame.kind = RR_CFG_TARGET;
    CHECK(rr_stream_write(s, id, &frame) == RR_ERR_ARG);
    CHECK(rr_frame_parse(RR_MSG_VIDEO, NULL, 0, &frame) == RR_ERR_ARG);
    is_seen(RR_INIT(RR_CFG_FRAME, &decision), "rr_frame", "rr_decision");
    decision.kind = RR_CFG_FRAME;
    CHECK(rr_session_allow(s, 1, &decision) == RR_ERR_ARG);
    CHECK(RR_INIT(6, &frame) == RR_ERR_ARG && strstr(rr_last_error(), "kind") != NULL);
    rr_server_free(s);
    return 0;
}
