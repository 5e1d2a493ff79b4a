/*
 * rrelay-worker: the program that a server starts for each stream where streams run in processes (RR_ISOLATE_PROCESS). The
 * library looks for it beside itself, in the folder rrelay there, and in PATH. A host whose own program is to be the worker
 * calls rr_worker_main as this one does, and gives its path in rr_server_config.
 */
#include "rrelay.h"

#include <stdio.h>

int main(int argc, char **argv) {
    int code = rr_worker_main(argc, argv);
    if (code >= 0) return code;
    if (code == RR_ERR_ARG) fprintf(stderr, "rrelay-worker %s: a server with --isolate process starts it\n", rr_version_string());
    else fprintf(stderr, "rrelay-worker: %s\n", rr_last_error());
    return code == RR_ERR_ARG ? 2 : 1;
}
