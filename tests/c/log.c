/* librtmp's log and a server's: apart until the host joins them, then one function serves both; and the other way, by a
 * log function that calls RTMP_Log. Lines that are expected elsewhere come to stderr, which the caller reads. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>

enum { MOST = 64, THREADS = 3, ROUNDS = 2000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char lines[MOST][160]; /* what a server's log function got: level, module, line */
static int count;
static char called[MOST][160]; /* what librtmp's callback got */
static int calls;

static void keep(void *user, int level, const char *module, const char *line) {
    (void)user;
    pthread_mutex_lock(&lock);
    if (count < MOST) snprintf(lines[count++], sizeof lines[0], "%d %s: %s", level, module, line);
    pthread_mutex_unlock(&lock);
}

static void keep_call(int level, const char *format, va_list arguments) {
    char text[2048];
    vsnprintf(text, sizeof text, format, arguments);
    pthread_mutex_lock(&lock);
    if (calls < MOST) snprintf(called[calls++], sizeof called[0], "%d %.100s", level, text);
    pthread_mutex_unlock(&lock);
}

/* Passes a server's lines to librtmp's callback. */
static void pass_on(void *user, int level, const char *module, const char *line) {
    (void)user;
    RTMP_Log(level, "%s: %s", module, line);
}

static int is_there(char (*of)[160], const int *number, const char *what) {
    int i, found = 0;
    pthread_mutex_lock(&lock);
    for (i = 0; i < *number && !found; i++) found = strcmp(of[i], what) == 0;
    pthread_mutex_unlock(&lock);
    return found;
}

/* Waits for a line, which comes by the server's own thread. */
static int comes(char (*of)[160], const int *number, const char *what) {
    struct timespec tick = {0, 5 * 1000 * 1000};
    int i;
    for (i = 0; i < 2000; i++) {
        if (is_there(of, number, what)) return 1;
        nanosleep(&tick, NULL);
    }
    return 0;
}

static rr_server *server_with_log(int level, rr_log_fn fn) {
    rr_server *s = NULL;
    CHECK(rr_server_new(NULL, &s) == RR_OK);
    CHECK(rr_server_set_log(s, level, fn, NULL) == RR_OK);
    return s;
}

/* More arguments of either kind than a machine has registers for. */
#define MANY 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5, 9L, 9.5, "end"
#define OF_MANY "%d %g %d %g %d %g %d %g %d %g %d %g %d %g %d %g %ld %g %s"
#define MADE_OF_MANY "1 1.5 2 2.5 3 3.5 4 4.5 5 5.5 6 6.5 7 7.5 8 8.5 9 9.5 end"

static void all_arguments_arrive_however_many_they_are(void) {
    rr_server *s = server_with_log(RR_LOG_TRACE, keep);
    RTMP_LogSetLevel(RTMP_LOGALL);
    RTMP_LogSetCallback(keep_call);
    RTMP_Log(RTMP_LOGERROR, "called " OF_MANY, MANY);
    CHECK(is_there(called, &calls, "1 called " MADE_OF_MANY));
    CHECK(rr_server_log_librtmp(s, 1) == RR_OK);
    RTMP_Log(RTMP_LOGERROR, "logged " OF_MANY, MANY);
    RTMP_LogPrintf("printed " OF_MANY "\n", MANY);
    RTMP_LogStatus("status " OF_MANY, MANY);
    CHECK(comes(lines, &count, "1 librtmp: logged " MADE_OF_MANY));
    CHECK(comes(lines, &count, "3 librtmp: printed " MADE_OF_MANY));
    CHECK(comes(lines, &count, "4 librtmp: status " MADE_OF_MANY));
    rr_server_free(s);
    calls = 0;
    count = 0;
}

static void one_function_serves_both(void) {
    rr_server *s = server_with_log(RR_LOG_TRACE, keep);
    RTMP_LogSetLevel(RTMP_LOGALL);
    RTMP_LogSetCallback(keep_call);
    RTMP_Log(RTMP_LOGERROR, "apart %d", 1);
    CHECK(is_there(called, &calls, "1 apart 1"));
    CHECK(rr_server_log_librtmp(s, 1) == RR_OK);
    RTMP_Log(RTMP_LOGCRIT, "crit");
    RTMP_Log(RTMP_LOGERROR, "error %s %d", "with", 2);
    RTMP_Log(RTMP_LOGWARNING, "warning");
    RTMP_Log(RTMP_LOGINFO, "info");
    RTMP_Log(RTMP_LOGDEBUG, "debug\nof two lines");
    RTMP_Log(RTMP_LOGDEBUG2, "debug2 \x1b");
    RTMP_LogPrintf("printed %.1f\n", 0.5);
    RTMP_LogStatus("\rstatus %d", 3);
    RTMP_LogHex(RTMP_LOGDEBUG, (const uint8_t *)"\x01\xff", 2);
    CHECK(comes(lines, &count, "1 librtmp: crit"));
    CHECK(comes(lines, &count, "1 librtmp: error with 2"));
    CHECK(comes(lines, &count, "2 librtmp: warning"));
    CHECK(comes(lines, &count, "3 librtmp: info"));
    CHECK(comes(lines, &count, "4 librtmp: debug"));
    CHECK(comes(lines, &count, "4 librtmp: of two lines"));
    CHECK(comes(lines, &count, "5 librtmp: debug2 \\u{1b}"));
    CHECK(comes(lines, &count, "3 librtmp: printed 0.5"));
    CHECK(comes(lines, &count, "4 librtmp: status 3"));
    CHECK(comes(lines, &count, "4 librtmp: 01 ff "));
    /* The library logs too: this text is not a url. */
    CHECK(!RTMP_ParseURL("nonsense", NULL, NULL, NULL, NULL, NULL));
    RTMP_LogSetLevel(RTMP_LOGERROR);
    RTMP_Log(RTMP_LOGWARNING, "below librtmp's level");
    CHECK(rr_server_set_log(s, RR_LOG_ERROR, keep, NULL) == RR_OK);
    RTMP_LogSetLevel(RTMP_LOGALL);
    RTMP_Log(RTMP_LOGINFO, "below the server's level");
    CHECK(calls == 1);
    CHECK(rr_server_log_librtmp(s, 0) == RR_OK);
    RTMP_Log(RTMP_LOGERROR, "apart again");
    CHECK(is_there(called, &calls, "1 apart again"));
    rr_server_free(s);
    CHECK(!is_there(lines, &count, "2 librtmp: below librtmp's level"));
    CHECK(!is_there(lines, &count, "3 librtmp: below the server's level"));
    CHECK(!is_there(lines, &count, "1 librtmp: apart again"));
}

static void the_last_that_asked_has_them_until_it_is_freed(void) {
    rr_server *one = server_with_log(RR_LOG_ERROR, keep), *other = server_with_log(RR_LOG_ERROR, NULL);
    CHECK(rr_server_log_librtmp(other, 1) == RR_OK && rr_server_log_librtmp(one, 1) == RR_OK);
    CHECK(rr_server_log_librtmp(other, 0) == RR_OK); /* it no longer gets them */
    RTMP_Log(RTMP_LOGERROR, "for one");
    CHECK(comes(lines, &count, "1 librtmp: for one"));
    rr_server_free(one);
    RTMP_Log(RTMP_LOGERROR, "for nobody");
    CHECK(is_there(called, &calls, "1 for nobody"));
    rr_server_free(other);
}

static void a_log_function_brings_lines_to_librtmp(void) {
    rr_server *s = server_with_log(RR_LOG_TRACE, pass_on);
    int port;
    pthread_mutex_lock(&lock);
    calls = 0;
    pthread_mutex_unlock(&lock);
    CHECK(rr_server_log_librtmp(s, 1) == RR_OK); /* even then no line runs in a circle */
    RTMP_Log(RTMP_LOGWARNING, "there and back");
    CHECK(comes(called, &calls, "2 librtmp: there and back"));
    port = rr_server_listen(s, "127.0.0.1:0", 0);
    CHECK(port > 0);
    rr_server_free(s);
    CHECK(calls < MOST);
}

static void on_event(void *user, const rr_event *ev) {
    (void)user;
    if (ev->type == RR_EV_LOG) RTMP_Log(RTMP_LOGERROR, "event %s", ev->text);
}

static void a_line_that_comes_as_an_event_can_be_logged(void) {
    rr_server *s = NULL;
    rr_server_config c;
    CHECK(RR_INIT(RR_CFG_SERVER, &c) == RR_OK);
    c.on_event = on_event;
    c.log_events = RR_LOG_WARN;
    CHECK(rr_server_new(&c, &s) == RR_OK);
    CHECK(rr_server_log_librtmp(s, 1) == RR_OK);
    RTMP_Log(RTMP_LOGWARNING, "told");
    CHECK(comes(called, &calls, "1 event librtmp: told"));
    rr_server_free(s);
    CHECK(!is_there(called, &calls, "1 event librtmp: event librtmp: told"));
}

static void the_default_output_is_as_it_was(void) {
    RTMP_LogSetCallback(NULL);
    RTMP_LogSetLevel(RTMP_LOGINFO);
    RTMP_LogStatus("a status");
    RTMP_Log(RTMP_LOGINFO, "plain %s", "record");
    RTMP_LogPrintf("printed\n");
    RTMP_Log(RTMP_LOGDEBUG, "unwanted");
}

static void *log_much(void *unused) {
    int i;
    (void)unused;
    for (i = 0; i < ROUNDS; i++) {
        RTMP_Log(RTMP_LOGERROR, "line %d", i);
        RTMP_LogPrintf("line %d\n", i);
    }
    return NULL;
}

static void servers_come_and_go_while_others_log(void) {
    pthread_t threads[THREADS];
    FILE *nowhere = fopen("/dev/null", "w");
    int i;
    CHECK(nowhere != NULL);
    RTMP_LogSetOutput(nowhere);
    for (i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, log_much, NULL) == 0);
    for (i = 0; i < 10; i++) {
        rr_server *s = server_with_log(RR_LOG_ERROR, i % 2 ? keep : pass_on);
        CHECK(rr_server_log_librtmp(s, 1) == RR_OK);
        if (i % 3 == 0) CHECK(rr_server_log_librtmp(s, 0) == RR_OK);
        CHECK(rr_server_set_log(s, RR_LOG_INFO, keep, NULL) == RR_OK);
        rr_server_free(s);
    }
    for (i = 0; i < THREADS; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    RTMP_LogSetOutput(NULL);
    fclose(nowhere);
}

int main(void) {
    the_default_output_is_as_it_was();
    all_arguments_arrive_however_many_they_are();
    one_function_serves_both();
    the_last_that_asked_has_them_until_it_is_freed();
    a_log_function_brings_lines_to_librtmp();
    a_line_that_comes_as_an_event_can_be_logged();
    servers_come_and_go_while_others_log();
    return 0;
}
