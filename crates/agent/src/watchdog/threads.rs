//! The threads of a process, told one by one.

use std::io::Write;

/// The kernel's record of an entry of a directory: where its length and its name are.
const LENGTH_AT: usize = 16;
const NAME_AT: usize = 19;

/// Sends a signal to each thread of a child that was not waited for. Takes no memory of this process and waits for no
/// disk; the kernel makes the list, and may wait for memory of its own. What can't be listed or is gone is passed over.
pub(super) fn signal_each(pid: libc::pid_t, signal: libc::c_int) {
    let mut path = [0; 48];
    // The last byte stays zero.
    let _ = write!(&mut path[..47], "/proc/{pid}/task");
    // SAFETY: the path ends with a zero and lives through the call.
    let list =
        unsafe { libc::open(path.as_ptr().cast(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if list < 0 {
        return;
    }
    let mut entries = [0u8; 4_096];
    loop {
        // SAFETY: the buffer is as long as said and lives through the call.
        let count = unsafe { libc::syscall(libc::SYS_getdents64, list, entries.as_mut_ptr(), entries.len()) };
        let Some(read) = usize::try_from(count).ok().filter(|count| *count > 0) else { break };
        for thread in Names(&entries[..read.min(entries.len())]).filter_map(number) {
            // SAFETY: plain numbers. The child was not waited for, so its number and the pair can't be others'.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
        }
    }
    // SAFETY: opened above, and nobody else has it.
    unsafe { libc::close(list) };
}

/// The names in a piece of a directory.
struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.0.get(LENGTH_AT..LENGTH_AT + 2)?;
        let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
        let (entry, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        entry.get(NAME_AT..)?.split(|byte| *byte == 0).next()
    }
}

fn number(name: &[u8]) -> Option<libc::pid_t> {
    std::str::from_utf8(name).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_of_a_process_is_listed() {
        let entry = |name: &str, length: u16| {
            let mut entry = vec![0; usize::from(length)];
            entry[LENGTH_AT..LENGTH_AT + 2].copy_from_slice(&length.to_ne_bytes());
            entry[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
            entry
        };
        let piece = [entry(".", 24), entry("..", 24), entry("17", 24), entry("4194304", 32)].concat();
        assert_eq!(Names(&piece).filter_map(number).collect::<Vec<_>>(), [17, 4_194_304]);
        assert_eq!(Names(&piece[..60]).filter_map(number).count(), 0, "what is cut off is passed over");
        assert_eq!(Names(&[0; 64]).take(3).filter_map(number).count(), 0);
    }
}
