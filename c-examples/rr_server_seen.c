/* What the bundled server remembers of sessions and streams, for its lines: when a session has ended the library does not
   tell any more what it was, and one that has ended its publish or play belongs to no stream; the tracks of a stream are
   told with each change of its metadata. */
#include "rr_server.h"

#include <stdlib.h>
#include <string.h>

/* The tracks of a stream as they were last shown. */
struct tracks {
    rr_stream id;
    char text[TRACKS_TEXT];
};

/* One for each place that an id can have; whoever gets the place next is another id. */
static struct seen *sessions;
static struct tracks *streams;
static size_t session_room, stream_room;

size_t place_of(rr_id id) {
    return (size_t)(id & 0xffffffffu);
}

static const char *role_name(uint32_t role) {
    switch (role) {
    case RR_ROLE_PUBLISHER: return "publisher";
    case RR_ROLE_STANDBY: return "standby";
    case RR_ROLE_PLAYER: return "player";
    default: return NULL;
    }
}

/* A table with this place in it, new ones zeroed; NULL where there is no memory for it, then the old one stays. */
static void *with_place(void *table, size_t *room, size_t size, size_t place) {
    size_t more = place * 2 + 64;
    char *all;
    if (place < *room) return table;
    all = (char *)realloc(table, more * size);
    if (!all) return NULL;
    memset(all + *room * size, 0, (more - *room) * size);
    *room = more;
    return all;
}

struct seen see_session(rr_server *s, const rr_event *ev) {
    struct seen now = {0, "session", 0};
    size_t place = place_of(ev->session);
    struct seen *all = (struct seen *)with_place(sessions, &session_room, sizeof *all, place);
    rr_info info;
    const char *role = NULL;
    if (all) sessions = all;
    if (all && all[place].id == ev->session) now = all[place];
    now.id = ev->session;
    if (rr_info_get(s, ev->session, &info, sizeof info) == RR_OK) role = role_name(info.role);
    if (role) now.role = role;
    if (ev->stream) now.stream = ev->stream;
    if (all) all[place] = now;
    return now;
}

int see_tracks(rr_server *s, const rr_event *ev, char text[TRACKS_TEXT]) {
    size_t place = place_of(ev->stream), at = 0;
    struct tracks *all = (struct tracks *)with_place(streams, &stream_room, sizeof *all, place);
    rr_info info;
    uint32_t i;
    int byte;
    text[0] = '\0';
    /* The table may lie elsewhere from here on, also where the stream has ended meanwhile and nothing is told of it. */
    if (all) streams = all;
    if (rr_info_get(s, ev->stream, &info, sizeof info) < 0) return 0;
    for (i = 0; i < info.track_count && i < 8; i++) {
        if (i) text[at++] = ',';
        for (byte = 24; byte >= 0; byte -= 8) {
            char c = (char)(info.codecs[i] >> byte);
            text[at++] = c >= 0x20 && c < 0x7f ? c : '?';
        }
    }
    text[at] = '\0';
    if (!all) return *text != '\0';
    if (all[place].id != ev->stream) all[place].text[0] = '\0';
    all[place].id = ev->stream;
    if (strcmp(all[place].text, text) == 0) return 0;
    strcpy(all[place].text, text);
    return 1;
}
