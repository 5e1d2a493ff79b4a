/* What one thread pays for sending a message to many sockets: by one send() for each, or by one io_uring_enter for all.
 * The least that either costs: no library, no limits, registered descriptors, one message at a time.
 *
 *   cc -O2 -o uring uring.c && ./uring [rounds] [messages]
 *
 * Prints, for each number of sockets and each way (both on one processor, each on its own, unpinned), the time of the
 * thread for one send, and the median of the ratios of the rounds: io_uring divided by calls, below 1 is cheaper. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 200, BYTES = 3200, ENTRIES = 256, PAUSE_US = 5000 };

static char message[BYTES];
static int fds[MOST];

static void must(int good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* The ring, with the descriptors of the sockets registered. */
static struct ring {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static void make_ring(int sockets)
{
    struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    char *sq, *cq;

    must((ring.fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &params)) >= 0, "io_uring_setup");
    sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQ_RING);
    cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
              MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_CQ_RING);
    ring.sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_POPULATE, ring.fd, IORING_OFF_SQES);
    must(sq != MAP_FAILED && cq != MAP_FAILED && ring.sqes != MAP_FAILED, "mmap");
    ring.sq_tail = (unsigned *)(sq + params.sq_off.tail);
    ring.sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(sq + params.sq_off.array);
    ring.cq_head = (unsigned *)(cq + params.cq_off.head);
    ring.cq_tail = (unsigned *)(cq + params.cq_off.tail);
    ring.cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
    must(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, fds, sockets) == 0, "register");
}

static void send_by_ring(int sockets)
{
    unsigned tail = *ring.sq_tail, head = *ring.cq_head;
    int done = 0;

    for (int i = 0; i < sockets; i++, tail++) {
        unsigned at = tail & *ring.sq_mask;

        ring.sqes[at] = (struct io_uring_sqe){.opcode = IORING_OP_SEND, .flags = IOSQE_FIXED_FILE, .fd = i,
            .addr = (unsigned long)message, .len = BYTES, .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT, .user_data = (unsigned)i};
        ring.sq_array[at] = at;
    }
    __atomic_store_n(ring.sq_tail, tail, __ATOMIC_RELEASE);
    must(syscall(SYS_io_uring_enter, ring.fd, sockets, sockets, IORING_ENTER_GETEVENTS, NULL, 0) == sockets, "enter");
    for (; head != __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE); head++, done++) {
        errno = -ring.cqes[head & *ring.cq_mask].res;
        must(ring.cqes[head & *ring.cq_mask].res == BYTES, "a send of the ring");
    }
    __atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
    must(done == sockets, "completions");
}

static void send_by_calls(int sockets)
{
    for (int i = 0; i < sockets; i++)
        must(send(fds[i], message, BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) == BYTES, "send");
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    must(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

/* The players: a process that reads everything. */
static pid_t players(int port, int sockets, int cpu)
{
    static char got[1 << 16];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct epoll_event ready[MOST];
    pid_t pid = fork();
    int poll = 0;

    must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (cpu >= 0)
        pin(cpu);
    poll = epoll_create1(0);
    for (int i = 0; i < sockets; i++) {
        struct epoll_event event = {.events = EPOLLIN};

        event.data.fd = socket(AF_INET, SOCK_STREAM, 0);
        must(connect(event.data.fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
        epoll_ctl(poll, EPOLL_CTL_ADD, event.data.fd, &event);
    }
    for (;;) {
        int count = epoll_wait(poll, ready, MOST, -1);

        for (int i = 0; i < count; i++)
            if (recv(ready[i].data.fd, got, sizeof got, 0) <= 0)
                _exit(0);
    }
}

/* The time of this thread for one message to all, us. */
static double cost(void (*send_all)(int), int sockets)
{
    struct timespec from, to;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
    send_all(sockets);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
    usleep(PAUSE_US);
    return 1e6 * (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e3;
}

static int less(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static double median(double *all, int count)
{
    qsort(all, (size_t)count, sizeof *all, less);
    return (all[(count - 1) / 2] + all[count / 2]) / 2;
}

/* One way with one number of sockets, in a process of its own. */
static void measure(const char *way, int own_cpu, int their_cpu, int sockets, int rounds, int messages)
{
    double calls[64], rings[64], ratios[64];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pid_t reader;

    must(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, MOST) == 0, "listen");
    getsockname(listener, (struct sockaddr *)&at, &len);
    reader = players(ntohs(at.sin_port), sockets, their_cpu);
    if (own_cpu >= 0)
        pin(own_cpu);
    for (int i = 0; i < sockets; i++)
        must((fds[i] = accept(listener, NULL, NULL)) >= 0, "accept");
    make_ring(sockets);
    /* The first messages of a connection are acknowledged at once, and cost more. */
    for (int i = 0; i < 40; i++)
        cost(i % 2 ? send_by_ring : send_by_calls, sockets);
    for (int i = 0; i < rounds; i++) {
        calls[i] = rings[i] = 0;
        for (int j = 0; j < messages; j++) {
            calls[i] += cost(send_by_calls, sockets) / messages / sockets;
            rings[i] += cost(send_by_ring, sockets) / messages / sockets;
        }
        ratios[i] = rings[i] / calls[i];
    }
    printf("%4d sockets, %-13s calls %.2f us  io_uring %.2f us  ratio %.3f", sockets, way, median(calls, rounds),
           median(rings, rounds), median(ratios, rounds));
    printf(" (%.3f to %.3f)\n", ratios[0], ratios[rounds - 1]);
    kill(reader, SIGKILL);
    waitpid(reader, NULL, 0);
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 11, messages = argc > 2 ? atoi(argv[2]) : 100;
    const int numbers[] = {4, 50, 200};

    must(rounds > 0 && rounds <= 64 && messages > 0, "at most 64 rounds");
    for (int i = 0; i < 3; i++)
        for (int way = 0; way < 3; way++) {
            pid_t pid;
            int status = 0;

            fflush(stdout);
            pid = fork();
            must(pid >= 0, "fork");
            if (pid == 0) {
                measure(((const char *[]){"both on one", "a CPU each", "unpinned"})[way], way == 2 ? -1 : 0,
                        (const int[]){0, 1, -1}[way], numbers[i], rounds, messages);
                fflush(stdout);
                _exit(0);
            }
            waitpid(pid, &status, 0);
            must(status == 0, "a measurement has failed");
        }
    return 0;
}
