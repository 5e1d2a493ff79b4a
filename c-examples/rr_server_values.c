/* Readers of the values of the bundled server's options. What a setting may be is mostly the library's to say; here is what
   would show only later, or where the library does not look. */
#define _POSIX_C_SOURCE 200809L
#include "rr_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char WRONG[] = "wrong value";

char *copy_of(const char *text, size_t len) {
    char *copy = (char *)malloc(len + 1);
    if (!copy) abort(); /* a few bytes, at the start or for a SIGHUP */
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

/* A file of options or of a secret is far smaller; a larger one is refused. */
enum { FILE_BYTES = 1 << 20 };

char *read_file(const char *name) {
    FILE *file = fopen(name, "r");
    char *text = (char *)malloc(FILE_BYTES + 1);
    size_t len = 0;
    if (file && text) len = fread(text, 1, FILE_BYTES + 1, file);
    if (!file || !text || ferror(file) || len > FILE_BYTES || memchr(text, 0, len)) {
        if (file && len) errno = EINVAL;
        free(text);
        text = NULL;
    } else {
        text[len] = '\0';
    }
    if (file) fclose(file);
    return text;
}

/* A whole number from `low` to `high`. */
const char *read_number(const char *text, long low, long high, long *out) {
    char *end;
    if (*text == '\0') return WRONG;
    *out = strtol(text, &end, 10);
    return *end == '\0' && *out >= low && *out <= high ? NULL : WRONG;
}

/* Bytes, or with M or G behind it MiB or GiB. */
const char *read_bytes(const char *text, uint64_t *out) {
    char *end;
    unsigned shift = 0;
    unsigned long long value;
    if (*text < '0' || *text > '9') return WRONG;
    value = strtoull(text, &end, 10);
    if (*end == 'M') shift = 20;
    if (*end == 'G') shift = 30;
    if (shift) end++;
    if (*end != '\0' || value > (1ULL << 50) >> shift) return WRONG;
    *out = (uint64_t)value << shift;
    return *out >= 1u << 20 ? NULL : WRONG;
}

/* "off", MS, or MS/BYTES. */
const char *read_gop(const char *text, rr_stream_config *c) {
    char *end;
    long ms, bytes;
    if (strcmp(text, "off") == 0) {
        c->gop_ms = c->gop_bytes = RR_OFF;
        return NULL;
    }
    ms = strtol(text, &end, 10);
    if (end == text || ms < 1 || ms > 3600000) return WRONG;
    c->gop_ms = (uint32_t)ms;
    if (*end == '\0') return NULL;
    if (*end != '/' || read_number(end + 1, 1, 1L << 30, &bytes)) return WRONG;
    c->gop_bytes = (uint32_t)bytes;
    return NULL;
}

/* One of these words, which NULL ends; gives its place. */
const char *read_word(const char *text, const char *const words[], int *out) {
    int i;
    for (i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            return NULL;
        }
    }
    return WRONG;
}

/* Whether a port from 1 on stands here, and nothing behind it. */
static int is_port(const char *text, size_t len) {
    size_t i;
    long port = 0;
    for (i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        port = port * 10 + (text[i] - '0');
        if (port > 65535) return 0;
    }
    return port > 0;
}

/* Where a port begins: behind the first colon that is not within [], but for a bare IPv6 address, which has many. The
   text's end where none is. */
static size_t port_of(const char *host, size_t len) {
    size_t at = 0;
    int bracketed = len && *host == '[';
    const char *colon;
    while (bracketed && at < len && host[at] != ']') at++;
    colon = (const char *)memchr(host + at, ':', len - at);
    if (!colon || (!bracketed && memchr(colon + 1, ':', len - (size_t)(colon + 1 - host)))) return len;
    return (size_t)(colon - host) + 1;
}

/* A name or address, with a port of its own or without. */
const char *read_address(const char *text) {
    size_t len = strlen(text), port = port_of(text, len);
    if (len == 0 || strpbrk(text, " \t/")) return WRONG;
    if (port == len || is_port(text + port, len - port) || strcmp(text + port, "0") == 0) return NULL;
    return "its port is not a number from 1 to 65535, or 0 for any free one";
}

/* SHA-256: 64 hex digits, or the 44 letters of base64. */
const char *read_pin(const char *text) {
    static const char digits[] = "0123456789abcdefABCDEF";
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);
    if (len == 64 && strspn(text, digits) == 64) return NULL;
    if (len == 44 && text[43] == '=' && strspn(text, letters) == 43) return NULL;
    return "that is no SHA-256: 64 hex digits, or base64";
}

const char *read_file_name(const char *text) {
    return *text == '\0' ? WRONG : access(text, R_OK) < 0 ? "that cannot be read" : NULL;
}

/* [PATH=]URL: the sign counts only before the scheme. The application is the first part of the url's path, or all before
   a double slash. */
const char *read_push(const char *text, struct push *out) {
    static const char no_url[] = "that is no url of the form rtmp://host/app or rtmps://host/app";
    const char *scheme = strstr(text, "://"), *sign = strchr(text, '=');
    const char *url, *host, *path, *query, *apart, *end, *login;
    size_t scheme_len, host_len, port;
    if (!scheme) return "a url is wanted, rtmp://host/app";
    if (sign && sign > scheme) sign = NULL;
    url = sign ? sign + 1 : text;
    scheme_len = strncmp(url, "rtmps://", 8) == 0 ? 8 : strncmp(url, "rtmp://", 7) == 0 ? 7 : 0;
    host = url + scheme_len;
    host_len = strcspn(host, "/");
    path = host + host_len;
    if (!scheme_len || !host_len || *path != '/' || path[1] == '\0' || path[1] == '/') return no_url;
    if (strpbrk(url, " \t\r\n")) return no_url;
    for (login = host; (login = (const char *)memchr(login, '@', (size_t)(path - login))) != NULL;) host = ++login;
    host_len = (size_t)(path - host);
    port = port_of(host, host_len);
    if (host_len == 0 || *host == ':') return no_url;
    if (port < host_len && !is_port(host + port, host_len - port)) return "its port is not a number from 1 to 65535";
    if (host[host_len - 1] == ':') return "its port is missing";
    if (sign && (sign == text || *text == '/')) return "before the = belongs a path such as live or live/room";

    query = path + strcspn(path, "?");
    apart = strstr(path + 1, "//");
    if (!apart || apart > query) apart = NULL;
    end = apart ? apart : path + 1 + strcspn(path + 1, "/?");
    if (!apart && *end == '?') end += strlen(end); /* of the application: there is no key */
    out->url = copy_of(url, (size_t)(end - url));
    if (*end) end += apart ? 2 : 1;
    out->key = *end ? copy_of(end, strlen(end)) : NULL;
    out->match = sign ? copy_of(text, (size_t)(sign - text)) : NULL;
    return NULL;
}
