//! A thread that takes no signals, so that they reach the thread that waits for them.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Stack of such a thread, bytes. The watchdog locks its memory, so the whole of it counts.
const STACK_BYTES: usize = 256 << 10;

/// Starts one.
///
/// # Errors
/// The system gives no thread.
pub fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // SAFETY: both sets are plain memory that lives through the calls; a thread inherits the mask of who starts it.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let started = Builder::new().name(name.to_string()).stack_size(STACK_BYTES).spawn(work);
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        started
    }
}
