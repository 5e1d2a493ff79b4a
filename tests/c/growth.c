/* Programs compiled with an older or a newer header: fields that an older header lacks have their defaults, fields that
   only a newer one has are refused where they are used. */
#include "check.h"

/* A header of the future: one more field. */
struct newer_config {
    rr_server_config known;
    uint64_t later;
};

/* A script's binding: the beginning of the struct is enough. */
struct beginning {
    uint16_t size, kind;
    uint32_t flags;
    void *user;
    const char *url, *key;
};

static void newer(void) {
    struct newer_config c;
    rr_server *s = NULL;
    c.later = 9;
    CHECK(rr_config_init(RR_CFG_SERVER, &c, sizeof c) == RR_OK);
    CHECK(c.known.size == sizeof c && c.later == 0);
    CHECK(rr_server_new(&c.known, &s) == RR_OK);
    rr_server_free(s);
    c.later = 1;
    CHECK(rr_server_new(&c.known, &s) == RR_ERR_VERSION && s == NULL);
    CHECK(strstr(rr_last_error(), "rr_server_config") != NULL);
}

static void older(rr_server *s, rr_stream stream) {
    struct beginning c;
    rr_target target = 0;
    CHECK(rr_config_init(RR_CFG_TARGET, &c, sizeof c) == RR_OK);
    CHECK(c.size == sizeof c && c.url == NULL);
    c.url = "rtmp://127.0.0.1:1/live/show";
    c.key = "k?x=1&y=2";
    CHECK(rr_stream_add_target(s, stream, (const rr_target_config *)(const void *)&c, &target) == RR_OK);
    CHECK(target != 0 && rr_target_stop(s, target, 0) == RR_OK);
}

static void outputs(rr_server *s) {
    unsigned char bytes[sizeof(rr_stats) + 16];
    rr_stats *stats = (rr_stats *)(void *)bytes;
    size_t i;
    memset(bytes, 0xAA, sizeof bytes);
    CHECK(rr_server_stats(s, stats, 16) == RR_OK); /* an older host's struct */
    CHECK(bytes[16] == 0xAA);
    CHECK(rr_server_stats(s, stats, sizeof bytes) == RR_OK); /* a newer one's */
    for (i = sizeof(rr_stats); i < sizeof bytes; i++) CHECK(bytes[i] == 0);
}

static void garbage(void) {
    rr_server_config c;
    rr_server *s = NULL;
    memset(&c, 0, sizeof c);
    CHECK(rr_server_new(&c, &s) == RR_ERR_ARG); /* it was never set up */
    CHECK(strstr(rr_last_error(), "rr_config_init") != NULL);
    memset(&c, 0xFF, sizeof c);
    CHECK(rr_server_new(&c, &s) == RR_ERR_ARG);
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    CHECK(c.max_sessions == 10000 && c.event_limit == 4096);
    c.ask = 64;
    CHECK(rr_server_new(&c, &s) == RR_ERR_ARG && strstr(rr_last_error(), "ask") != NULL);
}

int main(void) {
    rr_server *s = NULL;
    rr_stream stream = 0;
    newer();
    garbage();
    CHECK(rr_server_new(NULL, &s) == RR_OK);
    CHECK(rr_stream_create(s, "live", "show", NULL, &stream) == RR_OK && stream != 0);
    older(s, stream);
    outputs(s);
    rr_server_free(s);
    return 0;
}
