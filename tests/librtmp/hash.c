/* RTMP_HashSWF as programs call it: prints its result and, where that is 0, size and hash. hash URL AGE */
#include <librtmp/rtmp.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    unsigned char hash[RTMP_SWF_HASHLEN];
    unsigned int size = 0;
    int i, result;

    if (argc < 3) {
        return 2;
    }
    result = RTMP_HashSWF(argv[1], &size, hash, atoi(argv[2]));
    printf("%d", result);
    if (result == 0) {
        printf(" %u ", size);
        for (i = 0; i < RTMP_SWF_HASHLEN; i++) {
            printf("%02x", hash[i]);
        }
    }
    printf("\n");
    return 0;
}
