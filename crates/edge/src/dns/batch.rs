//! Several datagrams with one call into the kernel.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{SockAddr, SockAddrStorage};

/// At most so many at a time.
const MOST: usize = 32;
/// A longer request is no question.
const LONGEST: usize = 2_048;
/// Room for the address that a datagram was sent to.
const CONTROL: usize = 64;

/// What the kernel says beside a datagram, laid as it wants it.
#[repr(align(8))]
struct Control([u8; CONTROL]);

/// One datagram: where it came from, what it said, and what is answered.
struct Slot {
    from: libc::sockaddr_storage,
    from_length: libc::socklen_t,
    control: Control,
    control_length: usize,
    request: Box<[u8]>,
    request_length: usize,
    answer: Vec<u8>,
    answered: bool,
}

impl Slot {
    fn new() -> Slot {
        Slot {
            // SAFETY: no field of it may not be zero.
            from: unsafe { std::mem::zeroed() },
            from_length: 0,
            control: Control([0; CONTROL]),
            control_length: 0,
            request: vec![0; LONGEST].into_boxed_slice(),
            request_length: 0,
            answer: Vec::with_capacity(LONGEST),
            answered: false,
        }
    }

    fn from(&self) -> Option<SocketAddr> {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: it is the system's own storage, and the kernel wrote an address of that length.
        let address = unsafe {
            *storage.view_as::<libc::sockaddr_storage>() = self.from;
            SockAddr::new(storage, self.from_length)
        };
        address.as_socket()
    }
}

/// Datagrams that came together.
pub struct Batch {
    slots: Vec<Slot>,
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { slots: (0..MOST).map(|_| Slot::new()).collect(), count: 0 }
    }
}

impl Batch {
    /// Waits for datagrams and takes what is there.
    ///
    /// # Errors
    /// Of the socket; none came in its time.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut parts: [MaybeUninit<libc::iovec>; MOST] = [const { MaybeUninit::uninit() }; MOST];
        // SAFETY: no field of it may not be zero.
        let mut heads: [libc::mmsghdr; MOST] = unsafe { std::mem::zeroed() };
        for ((slot, part), head) in self.slots.iter_mut().zip(&mut parts).zip(&mut heads) {
            slot.answered = false;
            let part = part.write(libc::iovec {
                iov_base: slot.request.as_mut_ptr().cast(),
                iov_len: slot.request.len(),
            });
            head.msg_hdr.msg_name = (&raw mut slot.from).cast();
            head.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            head.msg_hdr.msg_controllen = CONTROL as _;
        }
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_WAITFORONE);
        // SAFETY: every head points to room of the length that it says, which lives during the call.
        let came = unsafe {
            libc::recvmmsg(fd, heads.as_mut_ptr(), MOST as libc::c_uint, flags as _, std::ptr::null_mut())
        };
        self.count = 0;
        let came = usize::try_from(came).map_err(|_| io::Error::last_os_error())?.min(MOST);
        for (slot, head) in self.slots.iter_mut().zip(&heads).take(came) {
            slot.from_length = head.msg_hdr.msg_namelen;
            slot.request_length = (head.msg_len as usize).min(LONGEST);
            slot.control_length = head.msg_hdr.msg_controllen.min(CONTROL);
            if head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
                slot.request_length = 0;
            }
        }
        self.count = came;
        Ok(came)
    }

    /// Lets one be answered: the function writes the answer, or says that there is none.
    pub fn answer(&mut self, index: usize, with: impl FnOnce(&[u8], SocketAddr, &mut Vec<u8>) -> bool) {
        let Some(slot) = self.slots[..self.count].get_mut(index) else { return };
        let Some(from) = slot.from() else { return };
        slot.answered = with(&slot.request[..slot.request_length], from, &mut slot.answer);
    }

    /// Sends the answers. One that cannot be sent is left out: the client asks again.
    pub fn send(&mut self, socket: &UdpSocket) {
        let mut parts: [MaybeUninit<libc::iovec>; MOST] = [const { MaybeUninit::uninit() }; MOST];
        // SAFETY: no field of it may not be zero.
        let mut heads: [libc::mmsghdr; MOST] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        for slot in self.slots[..self.count].iter_mut().filter(|slot| slot.answered) {
            let (part, head) = (&mut parts[count], &mut heads[count]);
            let part = part
                .write(libc::iovec { iov_base: slot.answer.as_mut_ptr().cast(), iov_len: slot.answer.len() });
            head.msg_hdr.msg_name = (&raw mut slot.from).cast();
            head.msg_hdr.msg_namelen = slot.from_length;
            head.msg_hdr.msg_iov = part;
            head.msg_hdr.msg_iovlen = 1;
            if slot.control_length > 0 {
                head.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
                head.msg_hdr.msg_controllen = slot.control_length as _;
            }
            count += 1;
        }
        let mut sent = 0;
        while sent < count {
            let left = &mut heads[sent..count];
            // SAFETY: every head points to what is sent, which lives during the call.
            let went = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), left.as_mut_ptr(), left.len() as libc::c_uint, 0)
            };
            sent += usize::try_from(went).unwrap_or(1).max(1);
        }
    }
}
