//! Threads and locks as this crate uses them: no poisoning, named threads with small stacks, panics caught.
//!
//! This module does not know streams or sockets.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::config::THREAD_STACK_BYTES;
use crate::error::{Failure, RRError, Result};

/// Locks, even if a thread panicked while it held the lock. Data under our locks is valid between any two statements,
/// so a panic in one thread need not cause another one here.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a thread with this name (at most 15 bytes, Linux cuts the rest) and a small stack. If `body` panics,
/// `on_panic` is called in the same thread with the panic's text.
///
/// # Errors
/// [`RRError::Limit`] if the system has no thread left.
pub(crate) fn spawn<F, P>(name: &str, body: F, on_panic: P) -> Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
    P: FnOnce(&str) + Send + 'static,
{
    spawn_with_stack(name, THREAD_STACK_BYTES, body, on_panic)
}

/// [`spawn`] with a stack of another size, in bytes.
///
/// # Errors
/// Those of [`spawn`].
pub(crate) fn spawn_with_stack<F, P>(name: &str, stack_bytes: usize, body: F, on_panic: P) -> Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
    P: FnOnce(&str) + Send + 'static,
{
    debug_assert!(name.len() <= 15, "thread name {name} is cut by the kernel");
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(stack_bytes)
        .spawn(move || {
            if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
                on_panic(panic_text(panic.as_ref()));
            }
        })
        .map_err(|error| Failure::ours(RRError::Limit, format!("no thread could be started: {error}")))
}

/// The text of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_panicking_thread_is_reported_and_poisons_nothing() {
        let shared = Arc::new(Mutex::new(String::new()));
        let (body, report) = (Arc::clone(&shared), Arc::clone(&shared));
        let thread = spawn(
            "test",
            move || {
                let _guard = locked(&body);
                panic!("as {}", "expected");
            },
            move |text| *locked(&report) = text.to_owned(),
        );
        thread.unwrap().join().unwrap();
        assert_eq!(*locked(&shared), "as expected");
    }
}
