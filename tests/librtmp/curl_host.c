/* A host of librrelay that uses libcurl with rtmp:// urls in the same process. Its server takes publishers; one transfer
 * of curl plays live/outer, another live/inner, which with an input a third publishes. Each film goes to a file.
 * Says its port, and which library libcurl's calls of librtmp go to; tests/librtmp/host.rs compares the films.
 * curl_host OUTER.flv [INNER.flv INPUT.flv] */
#define _GNU_SOURCE
#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <rrelay.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct transfer {
    rr_server *server;
    const char *key, *file;
    int port, upload;
    volatile int done;
    CURLcode result;
    char words[CURL_ERROR_SIZE];
};

static void *run(void *argument)
{
    struct transfer *transfer = argument;
    char url[100];
    FILE *file = fopen(transfer->file, transfer->upload ? "rb" : "wb");
    CURL *curl = curl_easy_init();

    snprintf(url, sizeof url, "rtmp://127.0.0.1:%d/live/%s", transfer->port, transfer->key);
    if (!file || !curl) {
        exit(3);
    }
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, transfer->words);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    if (transfer->upload) {
        fseek(file, 0, SEEK_END);
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)ftell(file));
        curl_easy_setopt(curl, CURLOPT_READDATA, file);
        rewind(file);
    } else {
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, file);
    }
    transfer->result = curl_easy_perform(curl);
    curl_easy_cleanup(curl);
    fclose(file);
    transfer->done = 1;
    rr_event_wake(transfer->server);
    return NULL;
}

static int start(struct transfer *transfer, pthread_t *thread)
{
    return pthread_create(thread, NULL, run, transfer) == 0;
}

/* The file a function is in. */
static const char *home(const char *name)
{
    Dl_info info;
    void *function = dlsym(RTLD_DEFAULT, name);
    return function && dladdr(function, &info) ? info.dli_fname : "nowhere";
}

int main(int argc, char **argv)
{
    struct transfer transfers[3];
    pthread_t threads[3];
    int count = argc > 3 ? 3 : 1, left = count, begun = argc > 3 ? 2 : 1, failed = 0, port, i;
    rr_server *relay;
    const rr_event *ev;

    setvbuf(stdout, NULL, _IOLBF, 0);
    curl_global_init(CURL_GLOBAL_ALL);
    if (argc < 2 || rr_server_new(NULL, &relay) < 0 || (port = rr_server_listen(relay, "127.0.0.1:0", 0)) < 0) {
        return fprintf(stderr, "%s\n", rr_last_error()), 2;
    }
    memset(transfers, 0, sizeof transfers);
    for (i = 0; i < count; i++) {
        transfers[i].server = relay;
        transfers[i].port = port;
        transfers[i].key = i ? "inner" : "outer";
        transfers[i].file = argv[1 + i];
        transfers[i].upload = i == 2;
    }
    printf("RTMP_Read %s\n", home("RTMP_Read"));
    for (i = 0; i < begun; i++) {
        failed |= !start(&transfers[i], &threads[i]);
    }
    printf("port %d\n", port);
    while (left && !failed) {
        if (rr_event_next(relay, &ev, 1000) == 1 && ev->type == RR_EV_SESSION) {
            if (ev->state == RR_STATE_WAITING) {
                printf("%s waits\n", ev->key);
                if (begun < count && !strcmp(ev->key, "inner")) {
                    failed |= !start(&transfers[2], &threads[2]);
                    begun = count;
                }
            }
            /* curl waits for its socket although librtmp may have read the end of the stream together with the last
             * media, and then looks at neither before its socket has something more: here its end. */
            if (ev->role == RR_ROLE_PLAYER && ev->prev == RR_STATE_IN_PROGRESS) {
                rr_session_close(relay, ev->session, "the stream has ended", 0);
            }
        }
        for (i = 0, left = count; i < begun; i++) {
            left -= transfers[i].done;
        }
    }
    for (i = 0; i < begun; i++) {
        pthread_join(threads[i], NULL);
        printf("%s: %d %s\n", transfers[i].key, (int)transfers[i].result, transfers[i].words);
        failed |= transfers[i].result != CURLE_OK;
    }
    rr_server_free(relay);
    curl_global_cleanup();
    return failed;
}
