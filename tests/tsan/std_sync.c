/*
 * Tells ThreadSanitizer of the locks in Rust's standard library, for a toolchain without the library's source, where the
 * library was compiled without ThreadSanitizer. Library code that is inlined into instrumented code is seen; calls into the
 * compiled part are not, and the order that they make would be missing. The linker puts each function here in the place of
 * the library's (--wrap); it calls the original and tells ThreadSanitizer of the order that the call made.
 *
 * tests/tsan.sh finds the functions' names in the library, since they differ from one toolchain to the next.
 * tests/sanitizer.rs, which runs first, shows that the arguments are passed in the right way.
 */
#include <stdbool.h>
#include <stdint.h>

extern void __tsan_acquire(void *addr);
extern void __tsan_release(void *addr);

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define WRAP(name) JOIN(__wrap_, name)
#define REAL(name) JOIN(__real_, name)

/* Mutex: locking without contention is inlined; this function is for contention. The lock's word lies at its address. */
void REAL(MUTEX_LOCK)(void *mutex);
void WRAP(MUTEX_LOCK)(void *mutex) {
    REAL(MUTEX_LOCK)(mutex);
    __tsan_acquire(mutex);
}

/* RwLock: its word is the first or the second of two. */
void REAL(RWLOCK_READ)(void *lock);
void WRAP(RWLOCK_READ)(void *lock) {
    REAL(RWLOCK_READ)(lock);
    __tsan_acquire(lock);
    __tsan_acquire((char *)lock + 4);
}

void REAL(RWLOCK_WRITE)(void *lock);
void WRAP(RWLOCK_WRITE)(void *lock) {
    REAL(RWLOCK_WRITE)(lock);
    __tsan_acquire(lock);
    __tsan_acquire((char *)lock + 4);
}

/* Condvar: the mutex is let go and taken inside. */
void REAL(CONDVAR_WAIT)(void *condvar, void *mutex);
void WRAP(CONDVAR_WAIT)(void *condvar, void *mutex) {
    __tsan_release(mutex);
    REAL(CONDVAR_WAIT)(condvar, mutex);
    __tsan_acquire(mutex);
}

bool REAL(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanos);
bool WRAP(CONDVAR_WAIT_TIMEOUT)(void *condvar, void *mutex, uint64_t seconds, uint32_t nanos) {
    bool in_time;
    __tsan_release(mutex);
    in_time = REAL(CONDVAR_WAIT_TIMEOUT)(condvar, mutex, seconds, nanos);
    __tsan_acquire(mutex);
    return in_time;
}

/* Once, which is inside OnceLock and LazyLock: ThreadSanitizer must learn of the closure's writes before the word says that
   they are done, so the closure is called through one of ours. A `&mut dyn FnMut(&OnceState)` is its data and its table:
   drop, size, alignment, call_once, call_mut. */
struct closure {
    void *data;
    void *const *table;
    void *once;
};

static void run_closure(struct closure *closure, void *state) {
    ((void (*)(void *, void *))closure->table[4])(closure->data, state);
    __tsan_release(closure->once);
}

void REAL(ONCE_CALL)(void *once, bool even_if_poisoned, void *data, void *const *table);
void WRAP(ONCE_CALL)(void *once, bool even_if_poisoned, void *data, void *const *table) {
    static void *const ours[5] = {0, (void *)sizeof(struct closure), (void *)sizeof(void *), 0, (void *)run_closure};
    struct closure closure = {data, table, once};
    REAL(ONCE_CALL)(once, even_if_poisoned, &closure, ours);
    __tsan_acquire(once);
}

bool REAL(BARRIER_WAIT)(void *barrier);
bool WRAP(BARRIER_WAIT)(void *barrier) {
    bool is_leader;
    __tsan_release(barrier);
    is_leader = REAL(BARRIER_WAIT)(barrier);
    __tsan_acquire(barrier);
    return is_leader;
}

/* The end of a thread of std::thread::scope. Its count is one of the words. */
void REAL(SCOPE_END)(char *scope, bool panicked);
void WRAP(SCOPE_END)(char *scope, bool panicked) {
    int word;
    for (word = 0; word < 3; word++) __tsan_release(scope + word * 8);
    REAL(SCOPE_END)(scope, panicked);
}

/* Arc counts down with Release, and the last one fences with Acquire before it drops what it holds. ThreadSanitizer knows
   no fences: here the count itself acquires too (as it does in a library that is compiled for ThreadSanitizer). */
enum { RELEASE = 3, ACQ_REL = 4 };

int64_t REAL(__tsan_atomic64_fetch_sub)(volatile int64_t *word, int64_t by, int order);
int64_t WRAP(__tsan_atomic64_fetch_sub)(volatile int64_t *word, int64_t by, int order) {
    return REAL(__tsan_atomic64_fetch_sub)(word, by, order == RELEASE ? ACQ_REL : order);
}
