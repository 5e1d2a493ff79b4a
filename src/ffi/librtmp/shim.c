/* The three variadic functions of librtmp's log interface, and a call of a sink that wants a va_list, which stable Rust
 * cannot define. log.rs does their work. */
#include <stdarg.h>

#define HIDDEN __attribute__((visibility("hidden")))

typedef void (*rrelay_sink)(int level, const char *format, va_list arguments);

/* Defined in log.rs. A va_list reaches it as one pointer, by the calling conventions of x86_64 and aarch64 alike. */
HIDDEN void rrelay_log_message(int level, const char *format, va_list arguments);
HIDDEN void rrelay_log_print(const char *format, va_list arguments);
HIDDEN void rrelay_log_status(const char *format, va_list arguments);

HIDDEN void rrelay_shim_log(int level, const char *format, ...);
HIDDEN void rrelay_shim_print(const char *format, ...);
HIDDEN void rrelay_shim_status(const char *format, ...);
HIDDEN void rrelay_shim_sink(rrelay_sink sink, int level, const char *format, ...);

void rrelay_shim_log(int level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    rrelay_log_message(level, format, arguments);
    va_end(arguments);
}

void rrelay_shim_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    rrelay_log_print(format, arguments);
    va_end(arguments);
}

void rrelay_shim_status(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    rrelay_log_status(format, arguments);
    va_end(arguments);
}

void rrelay_shim_sink(rrelay_sink sink, int level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    sink(level, format, arguments);
    va_end(arguments);
}
