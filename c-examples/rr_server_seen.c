/* What the bundled server remembers of sessions, for its lines: when a session has ended the library does not tell any
   more what it was, and one that has ended its publish or play belongs to no stream. */
#include "rr_server.h"

#include <stdlib.h>
#include <string.h>

/* One for each place that an id can have; whoever gets the place next is another id. */
static struct seen *sessions;
static size_t room;

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

/* The entry of this place; NULL where there is no memory for it. */
static struct seen *entry(size_t place) {
    if (place >= room) {
        size_t more = place * 2 + 64;
        struct seen *all = (struct seen *)realloc(sessions, more * sizeof *all);
        if (!all) return NULL;
        memset(all + room, 0, (more - room) * sizeof *all);
        sessions = all;
        room = more;
    }
    return &sessions[place];
}

struct seen see_session(rr_server *s, const rr_event *ev) {
    struct seen now = {0, "session", 0};
    struct seen *before = entry(place_of(ev->session));
    rr_info info;
    const char *role = NULL;
    if (before && before->id == ev->session) now = *before;
    now.id = ev->session;
    if (rr_info_get(s, ev->session, &info, sizeof info) == RR_OK) role = role_name(info.role);
    if (role) now.role = role;
    if (ev->stream) now.stream = ev->stream;
    if (before) *before = now;
    return now;
}
