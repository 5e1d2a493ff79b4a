/* HTTP as librtmp has it: fetches a url with HTTP_get and hashes a player with RTMP_HashSWF, whose notes go to ~/.swfinfo.
 * Prints the results. fetch URL SECONDS-AGE-OF-THE-PLAYER */
#include "differ.h"
#include <librtmp/http.h>
#include <time.h>

static size_t total;

static size_t take(void *bytes, size_t size, size_t count, void *unused)
{
    const unsigned char *at = bytes;
    size_t i;
    (void)unused;
    for (i = 0; i < size * count; i++) {
        total = total * 31 + at[i];
    }
    return size * count;
}

int main(int argc, char **argv)
{
    static char data[8];
    struct HTTP_ctx http;
    unsigned size = 0;
    unsigned char hash[RTMP_SWF_HASHLEN];
    int got;

    if (argc < 2) {
        return 2;
    }
    quiet();
    memset(&http, 0, sizeof http);
    memset(hash, 0, sizeof hash);
    http.date = calloc(1, 64);
    http.data = data;
    got = HTTP_get(&http, argv[1], take);
    printf("get %d status %d size %d sum %zx date %s\n", got, http.status, http.size, total, http.date);
    free(http.date);
    got = RTMP_HashSWF(argv[1], &size, hash, 0);
    printf("hash %d size %u", got, size);
    print_hex("", hash, sizeof hash);
    return 0;
}
