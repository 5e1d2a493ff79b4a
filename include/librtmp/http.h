/* librtmp's HTTP interface, as rrelay provides it: one file into a callback, without redirects. https:// verifies the
 * server's certificate. */
#ifndef __RTMP_HTTP_H__
#define __RTMP_HTTP_H__

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    HTTPRES_OK,              /* the file came */
    HTTPRES_OK_NOT_MODIFIED, /* it has not changed since `date` */
    HTTPRES_NOT_FOUND,
    HTTPRES_BAD_REQUEST,    /* the url is none, or the server says 4xx */
    HTTPRES_SERVER_ERROR,   /* the server says 5xx */
    HTTPRES_REDIRECTED,     /* it lies elsewhere; that is not followed */
    HTTPRES_LOST_CONNECTION /* no connection, or it ended too early */
} HTTPResult;

struct HTTP_ctx {
    char *date; /* in: fetch only if newer, "" for always; out: Last-Modified. A buffer of 64 bytes, or NULL. */
    int size;   /* out: bytes, 0 where the server did not say */
    int status; /* out: HTTP's number */
    void *data; /* for the callback */
};

/* Gets a piece of the file; takes all of it, or the fetching ends. */
typedef size_t(HTTP_read_callback)(void *ptr, size_t size, size_t nmemb, void *stream);

HTTPResult HTTP_get(struct HTTP_ctx *http, const char *url, HTTP_read_callback *cb);

#ifdef __cplusplus
}
#endif

#endif /* __RTMP_HTTP_H__ */
