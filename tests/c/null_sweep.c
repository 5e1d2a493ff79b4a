/* NULL, and ids of nothing, for every pointer of every function: an error number or nothing, never a crash. */
#include "check.h"

#include <unistd.h>

static const rr_id nobody[] = {0, 1, 0x0200000100000001u, 0x0300000100000001u, 0x0400000100000001u, ~(uint64_t)0};

static void without_a_server(void) {
    const rr_event *ev = NULL;
    rr_server *out = NULL;
    rr_id id = 0;
    rr_info info;
    rr_stats stats;
    rr_frame frame;
    char *text = NULL;
    size_t len = 0;
    int fds[2];

    CHECK(rr_server_new(NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_worker_main(0, NULL) == RR_ERR_ARG && rr_worker_main(3, NULL) == RR_ERR_ARG);
    rr_server_free(NULL);
    CHECK(rr_server_listen(NULL, "127.0.0.1:0", 0) == RR_ERR_ARG);
    CHECK(rr_server_listen_fd(NULL, -1, 0) == RR_ERR_ARG);
    CHECK(rr_server_accept_fd(NULL, -1, NULL, 0) == RR_ERR_ARG);
    CHECK(rr_server_handover(NULL, -1, 1, 0) == RR_ERR_ARG);
    CHECK(rr_server_takeover(NULL, -1, 1) == RR_ERR_ARG);
    CHECK(rr_server_stop(NULL, NULL, 0) == RR_ERR_ARG);
    CHECK(rr_server_state(NULL) == RR_ERR_ARG);
    CHECK(rr_server_stats(NULL, &stats, sizeof stats) == RR_ERR_ARG);
    CHECK(rr_server_set_tls(NULL, "a", "b") == RR_ERR_ARG);
    CHECK(rr_server_set_access(NULL, NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_server_set_log(NULL, RR_LOG_INFO, NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_server_log_librtmp(NULL, 1) == RR_ERR_ARG);
    CHECK(rr_server_list(NULL, 0, RR_KIND_STREAM, &id, 1) == RR_ERR_ARG);
    CHECK(rr_event_fd(NULL) == RR_ERR_ARG);
    CHECK(rr_event_next(NULL, &ev, 0) == RR_ERR_ARG);
    CHECK(rr_event_wake(NULL) == RR_ERR_ARG);
    CHECK(rr_session_allow(NULL, 1, NULL) == RR_ERR_ARG);
    CHECK(rr_session_deny(NULL, 1, NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_session_redirect(NULL, 1, "rtmp://127.0.0.1/a") == RR_ERR_ARG);
    CHECK(rr_session_close(NULL, 1, NULL, 0) == RR_ERR_ARG);
    CHECK(rr_session_reconnect(NULL, 1, NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_session_export(NULL, 1, NULL, NULL, &len) == RR_ERR_ARG);
    CHECK(rr_session_export(NULL, 1, fds, NULL, &len) == RR_ERR_ARG && fds[0] == -1);
    CHECK(rr_session_import(NULL, -1, "", 0) == RR_ERR_ARG);
    CHECK(rr_stream_create(NULL, "live", "show", NULL, &id) == RR_ERR_ARG);
    CHECK(rr_stream_find(NULL, "live", "show", &id) == RR_ERR_ARG);
    CHECK(rr_target_find(NULL, 1, "rtmp://host/app", "show", &id) == RR_ERR_ARG);
    CHECK(rr_stream_stop(NULL, 1, 0) == RR_ERR_ARG);
    CHECK(rr_stream_export(NULL, 1, 1000, NULL, &len) == RR_ERR_ARG);
    CHECK(rr_stream_import(NULL, "", 0, &id) == RR_ERR_ARG);
    CHECK(rr_stream_write(NULL, 1, &frame) == RR_ERR_ARG);
    CHECK(rr_rest_listen(NULL, ":0", "token-of-tests", 0) == RR_ERR_ARG);
    CHECK(rr_rest_stop(NULL) == RR_ERR_ARG);
    CHECK(rr_rest_handle(NULL, "GET", "/v1/stats", NULL, 0, &text, &len) == RR_ERR_ARG);
    CHECK(rr_controller_set(NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_controller_ask(NULL, 1, "moved") == RR_ERR_ARG);
    rr_free(NULL);
    CHECK(rr_stream_switch(NULL, 1, 1) == RR_ERR_ARG);
    CHECK(rr_stream_add_target(NULL, 1, NULL, &id) == RR_ERR_ARG);
    CHECK(rr_target_update(NULL, 1, NULL) == RR_ERR_ARG);
    CHECK(rr_stream_add_source(NULL, 1, NULL, &id) == RR_ERR_ARG);
    CHECK(rr_target_retry(NULL, 1) == RR_ERR_ARG);
    CHECK(rr_target_stop(NULL, 1, 0) == RR_ERR_ARG);
    CHECK(rr_target_export(NULL, 1, NULL, NULL, &len) == RR_ERR_ARG);
    CHECK(rr_target_export(NULL, 1, fds, NULL, &len) == RR_ERR_ARG && fds[0] == -1);
    CHECK(rr_target_import(NULL, -1, "", 0, &id) == RR_ERR_ARG);
    CHECK(rr_info_get(NULL, 1, &info, sizeof info) == RR_ERR_ARG);
    CHECK(rr_stats_get(NULL, 1, &stats, sizeof stats) == RR_ERR_ARG);
    CHECK(rr_config_init(RR_CFG_SERVER, NULL, 96) == RR_ERR_ARG);
    CHECK(rr_frame_parse(9, NULL, 4, &frame) == RR_ERR_ARG);
    CHECK(rr_frame_parse(9, "abcd", 4, NULL) == RR_ERR_ARG);
    CHECK(strstr(rr_last_error(), "NULL") != NULL);
    CHECK(out == NULL && rr_version() && rr_version_string() && rr_features() && rr_strerror(-1) && rr_name(0, 0));

    /* A descriptor belongs to the library at once, even where the call fails. */
    CHECK(pipe(fds) == 0);
    CHECK(rr_server_accept_fd(NULL, fds[0], NULL, 0) == RR_ERR_ARG);
    CHECK(rr_session_import(NULL, fds[1], NULL, 0) == RR_ERR_ARG);
    CHECK(close(fds[0]) == -1 && close(fds[1]) == -1);
    CHECK(pipe(fds) == 0);
    CHECK(rr_target_import(NULL, fds[0], NULL, 0, NULL) == RR_ERR_ARG);
    CHECK(close(fds[0]) == -1 && close(fds[1]) == 0);
}

static void with_a_server(rr_server *s) {
    const rr_event *ev = (const rr_event *)&s;
    static const char *const rules[] = {"allow publish 10.0.0.0/8", "deny fd00::/8", NULL};
    rr_id id = 7;
    rr_info info;
    rr_stats stats;
    rr_frame frame;
    rr_decision decision;
    rr_hooks_config hooks;
    rr_controller_config controller;
    const char *urls[] = {"http://127.0.0.1:9/", NULL};
    rr_target_config target;
    char *text = NULL;
    size_t len = 0;
    int fds[2];
    size_t i;

    CHECK(rr_server_listen(s, NULL, 0) == RR_ERR_ARG);
    CHECK(rr_server_listen(s, "127.0.0.1:0", RR_LISTEN_TLS) == RR_ERR_STATE);
    CHECK(rr_server_set_tls(s, NULL, "key.pem") == RR_ERR_ARG);
    CHECK(rr_server_set_tls(s, "cert.pem", NULL) == RR_ERR_ARG);
    CHECK(rr_server_set_tls(s, "/nowhere/cert.pem", "/nowhere/key.pem") == RR_ERR_CERT);
    CHECK(rr_server_set_access(s, rules, NULL) == RR_OK && rr_server_set_access(s, NULL, NULL) == RR_OK);
    CHECK(rr_server_listen(s, "127.0.0.1:0", 1u << 31) == RR_ERR_ARG);
    CHECK(rr_server_listen(s, "not an address", 0) < 0);
    CHECK(rr_server_listen_fd(s, -1, 0) == RR_ERR_ARG);
    CHECK(rr_server_accept_fd(s, 1000000, NULL, 0) == RR_ERR_ARG);
    CHECK(pipe(fds) == 0);
    CHECK(rr_server_accept_fd(s, fds[0], NULL, 0) < 0);
    CHECK(rr_server_listen_fd(s, fds[1], 0) < 0);
    CHECK(close(fds[0]) == -1 && close(fds[1]) == -1);
    CHECK(rr_session_import(s, -1, "", 0) == RR_ERR_ARG);
    CHECK(rr_stream_import(s, NULL, 0, NULL) == RR_ERR_ARG);
    CHECK(rr_stream_import(s, NULL, 1, NULL) == RR_ERR_ARG);
    CHECK(rr_target_import(s, -1, NULL, 1, NULL) == RR_ERR_ARG);
    CHECK(rr_target_import(s, -2, "", 0, NULL) == RR_ERR_ARG);
    CHECK(pipe(fds) == 0);
    CHECK(rr_session_import(s, fds[0], NULL, 0) == RR_ERR_ARG);
    CHECK(rr_session_import(s, fds[1], NULL, 1) == RR_ERR_ARG);
    CHECK(close(fds[0]) == -1 && close(fds[1]) == -1);
    CHECK(rr_server_state(s) == RR_STATE_IDLE);
    CHECK(rr_server_set_log(s, 99, NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_server_set_log(s, RR_LOG_OFF, NULL, NULL) == RR_OK);
    CHECK(rr_server_log_librtmp(s, 2) == RR_ERR_ARG && rr_server_log_librtmp(s, 0) != RR_ERR_ARG);
    CHECK(rr_server_list(s, 0, RR_KIND_STREAM, NULL, 0) == 0);
    CHECK(rr_server_list(s, 0, RR_KIND_STREAM, NULL, 1) == RR_ERR_ARG);
    CHECK(rr_server_list(s, 0, 99, &id, 1) == RR_ERR_ARG);
    CHECK(rr_server_stats(s, NULL, sizeof stats) == RR_ERR_ARG);
    CHECK(rr_server_stats(s, &stats, 1) == RR_ERR_ARG);
    CHECK(rr_server_stats(s, &stats, sizeof stats) == RR_OK);
    CHECK(rr_event_fd(s) >= 0);
    CHECK(rr_event_next(s, NULL, 0) == RR_ERR_ARG);
    while (rr_event_next(s, &ev, 0) == 1) CHECK(ev->app && ev->key && ev->addr && ev->url && ev->text);
    CHECK(ev == NULL);

    CHECK(rr_stream_create(s, NULL, "show", NULL, &id) == RR_ERR_ARG);
    CHECK(rr_stream_create(s, "live", NULL, NULL, &id) == RR_ERR_ARG);
    CHECK(rr_stream_create(s, "live", "show", NULL, NULL) == RR_ERR_ARG);
    CHECK(rr_stream_find(s, NULL, "show", &id) == RR_ERR_ARG);
    CHECK(rr_stream_find(s, "live", NULL, &id) == RR_ERR_ARG);
    CHECK(rr_stream_find(s, "live", "show", NULL) == RR_ERR_ARG);
    CHECK(rr_target_find(s, 1, NULL, "show", &id) == RR_ERR_ARG);
    CHECK(rr_target_find(s, 1, "rtmp://host/app", "show", NULL) == RR_ERR_ARG);
    CHECK(rr_target_find(s, 1, "rtmp://host/app", NULL, &id) == RR_ERR_NOT_FOUND && id == 7);
    CHECK(rr_stream_find(s, "live", "nobody", &id) == RR_ERR_NOT_FOUND && id == 7);

    if (rr_features() & RR_FEATURE_REST) {
        char token[RR_TOKEN_BYTES];
        CHECK(rr_rest_token(NULL, NULL, sizeof token) == RR_ERR_ARG);
        CHECK(rr_rest_token(NULL, token, 0) == RR_ERR_ARG);
        CHECK(rr_rest_token(NULL, token, sizeof token) == RR_OK && rr_rest_listen(s, ":0", token, 0) > 0);
        CHECK(rr_rest_listen(s, NULL, "token-of-tests", 0) == RR_ERR_ARG);
        CHECK(rr_rest_listen(s, ":0", NULL, 0) == RR_ERR_ARG);
        CHECK(rr_rest_listen(s, ":0", "short", 0) == RR_ERR_ARG);
        CHECK(rr_rest_listen(s, "nowhere", "token-of-tests", 0) == RR_ERR_ARG);
        CHECK(rr_rest_listen(s, ":0", "token-of-tests", 1u << 31) == RR_ERR_ARG);
        CHECK(rr_rest_listen(s, ":0", "token-of-tests", RR_REST_OPEN_READERS) > 0);
        CHECK(rr_rest_stop(s) == RR_OK && rr_rest_stop(s) == RR_OK);
        CHECK(rr_hooks_set(s, NULL) == RR_OK && RR_INIT(RR_CFG_HOOKS, &hooks) == RR_OK);
        CHECK(rr_hooks_set(s, &hooks) == RR_ERR_ARG && strstr(rr_last_error(), "no hook has a url") != NULL);
        hooks.on_play = "ftp://host/";
        CHECK(rr_hooks_set(s, &hooks) == RR_ERR_ARG && strstr(rr_last_error(), "on_play") != NULL);
        hooks.on_play = "https://127.0.0.1:9/";
        hooks.ca_file = "/nowhere/ca.pem";
        CHECK(rr_hooks_set(s, &hooks) == RR_ERR_CERT);
        hooks.ca_file = NULL;
        hooks.flags = RR_HOOKS_FLAG_GET;
        CHECK(rr_hooks_set(s, &hooks) == RR_ERR_UNSUPPORTED);
        hooks.on_play = "http://127.0.0.1:9/";
        hooks.dialect = RR_HOOKS_NGINX;
        CHECK(rr_hooks_set(s, &hooks) == RR_OK && rr_hooks_set(s, &hooks) == RR_OK && rr_hooks_set(s, NULL) == RR_OK);
        CHECK(rr_controller_set(s, NULL) == RR_OK && RR_INIT(RR_CFG_CONTROLLER, &controller) == RR_OK);
        CHECK(rr_controller_ask(s, 1, "moved") == RR_ERR_STATE);
        CHECK(rr_controller_set(s, &controller) == RR_ERR_ARG && strstr(rr_last_error(), "urls") != NULL);
        controller.urls = urls;
        controller.heartbeat_ms = RR_OFF;
        CHECK(rr_controller_set(s, &controller) == RR_OK && rr_controller_set(s, &controller) == RR_OK);
        CHECK(rr_controller_ask(s, 1, NULL) == RR_ERR_ARG);
        for (i = 0; i < sizeof nobody / sizeof *nobody; i++) CHECK(rr_controller_ask(s, nobody[i], "moved") == RR_ERR_NOT_FOUND);
        CHECK(rr_controller_set(s, NULL) == RR_OK);
        CHECK(rr_rest_handle(s, NULL, "/", NULL, 0, &text, &len) == RR_ERR_ARG && !text);
        CHECK(rr_rest_handle(s, "GET", NULL, NULL, 0, &text, &len) == RR_ERR_ARG && !text);
        CHECK(rr_rest_handle(s, "GET", "/v1/stats", NULL, 1, &text, &len) == RR_ERR_ARG && !text);
        CHECK(rr_rest_handle(s, "GET", "/v1/stats", NULL, 0, NULL, &len) == RR_ERR_ARG);
        CHECK(rr_rest_handle(s, "GET", "/v1/stats", NULL, 0, &text, NULL) == RR_ERR_ARG);
        CHECK(rr_rest_handle(s, "GET", "/v1/none", NULL, 0, &text, &len) == 404 && text && strlen(text) == len);
        rr_free(text);
        CHECK(rr_rest_handle(s, "GET", "/v1/stats", "", 0, &text, &len) == 200 && text && *text == '{');
        rr_free(text);
    } else {
        CHECK(rr_rest_listen(s, ":0", "token-of-tests", 0) == RR_ERR_UNSUPPORTED);
        CHECK(rr_rest_stop(s) == RR_ERR_UNSUPPORTED);
        CHECK(rr_rest_handle(s, "GET", "/v1/stats", NULL, 0, &text, &len) == RR_ERR_UNSUPPORTED);
    }

    CHECK(RR_INIT(RR_CFG_FRAME, &frame) == RR_OK);
    CHECK(RR_INIT(RR_CFG_DECISION, &decision) == RR_OK);
    CHECK(RR_INIT(RR_CFG_TARGET, &target) == RR_OK);
    frame.type = 9;
    for (i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        rr_id gone = nobody[i];
        CHECK(rr_session_allow(s, gone, NULL) == RR_ERR_NOT_FOUND);
        CHECK(rr_session_allow(s, gone, &decision) == RR_ERR_NOT_FOUND);
        CHECK(rr_session_deny(s, gone, NULL, NULL) == RR_ERR_NOT_FOUND);
        CHECK(rr_session_redirect(s, gone, NULL) == RR_ERR_ARG);
        CHECK(rr_session_redirect(s, gone, "rtmp://127.0.0.1/a") == RR_ERR_NOT_FOUND);
        CHECK(rr_session_close(s, gone, NULL, 0) == RR_ERR_NOT_FOUND);
        CHECK(rr_session_reconnect(s, gone, NULL, NULL) == RR_ERR_NOT_FOUND);
        len = sizeof frame;
        CHECK(rr_session_export(s, gone, NULL, &frame, &len) == RR_ERR_ARG);
        CHECK(rr_session_export(s, gone, fds, NULL, &len) == RR_ERR_ARG);
        CHECK(rr_session_export(s, gone, fds, &frame, NULL) == RR_ERR_ARG);
        CHECK(rr_session_export(s, gone, fds, &frame, &len) == RR_ERR_NOT_FOUND && fds[0] == -1);
        CHECK(rr_target_export(s, gone, NULL, &frame, &len) == RR_ERR_ARG);
        CHECK(rr_target_export(s, gone, fds, NULL, &len) == RR_ERR_ARG);
        CHECK(rr_target_export(s, gone, fds, &frame, NULL) == RR_ERR_ARG);
        CHECK(rr_target_export(s, gone, fds, &frame, &len) == RR_ERR_NOT_FOUND && fds[0] == -1);
        CHECK(rr_stream_stop(s, gone, 0) == RR_ERR_NOT_FOUND);
        CHECK(rr_stream_export(s, gone, 1000, NULL, &len) == RR_ERR_ARG);
        CHECK(rr_stream_export(s, gone, 1000, &frame, NULL) == RR_ERR_ARG);
        CHECK(rr_stream_export(s, gone, 1000, &frame, &len) == RR_ERR_NOT_FOUND);
        CHECK(rr_stream_switch(s, gone, 1) == RR_ERR_NOT_FOUND);
        CHECK(rr_stream_write(s, gone, NULL) == RR_ERR_ARG);
        CHECK(rr_stream_write(s, gone, &frame) == RR_ERR_NOT_FOUND);
        CHECK(rr_stream_add_target(s, gone, NULL, &id) == RR_ERR_ARG);
        CHECK(rr_stream_add_source(s, gone, NULL, &id) == RR_ERR_ARG);
        target.url = NULL;
        CHECK(rr_stream_add_target(s, gone, &target, &id) == RR_ERR_ARG);
        CHECK(rr_stream_add_source(s, gone, &target, &id) == RR_ERR_ARG);
        target.url = "rtmp://127.0.0.1:1/live/show";
        CHECK(rr_stream_add_target(s, gone, &target, NULL) == RR_ERR_ARG);
        CHECK(rr_stream_add_source(s, gone, &target, NULL) == RR_ERR_ARG);
        CHECK(rr_stream_add_target(s, gone, &target, &id) == RR_ERR_NOT_FOUND);
        CHECK(rr_target_update(s, gone, NULL) == RR_ERR_ARG);
        CHECK(rr_target_update(s, gone, &target) == RR_ERR_NOT_FOUND);
        CHECK(rr_stream_add_source(s, gone, &target, &id) == RR_ERR_NOT_FOUND);
        CHECK(rr_target_retry(s, gone) == RR_ERR_NOT_FOUND);
        CHECK(rr_target_stop(s, gone, 0) == RR_ERR_NOT_FOUND);
        if (gone != 0) { /* 0 is the server */
            CHECK(rr_info_get(s, gone, &info, sizeof info) == RR_ERR_NOT_FOUND);
            CHECK(rr_stats_get(s, gone, &stats, sizeof stats) == RR_ERR_NOT_FOUND);
        }
    }
    CHECK(rr_info_get(s, 0, NULL, sizeof info) == RR_ERR_ARG);
    CHECK(rr_stats_get(s, 0, NULL, sizeof stats) == RR_ERR_ARG);
    frame.len = 5; /* and no data */
    CHECK(rr_stream_write(s, 1, &frame) == RR_ERR_ARG);
}

int main(void) {
    rr_server *s = (rr_server *)&s;
    without_a_server();
    CHECK(rr_server_new(NULL, &s) == RR_OK && s);
    with_a_server(s);
    rr_server_free(s);
    return 0;
}
