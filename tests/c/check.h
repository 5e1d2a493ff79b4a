/* CHECK for the C test programs: prints the line and ends the program. */
#ifndef CHECK_H
#define CHECK_H

#include "rrelay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                                      \
    do {                                                                                                 \
        if (!(what)) {                                                                                   \
            fprintf(stderr, "%s:%d: %s (last error: %s)\n", __FILE__, __LINE__, #what, rr_last_error()); \
            exit(1);                                                                                     \
        }                                                                                                \
    } while (0)

#endif
