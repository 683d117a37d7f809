//! Questions in datagrams: every thread has a socket of its own, and the kernel spreads the questions over them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::answer::{Responder, Way};
use super::batch::Batch;

/// Whether it is to stop is looked at so often.
const LOOK: Duration = Duration::from_millis(200);
/// Room for questions that come while others are answered, bytes.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket beside others at the same address.
///
/// # Errors
/// The address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if address.ip().is_unspecified() {
        keep_destination(&socket)?;
    }
    // Without the right to more the kernel gives what it allows.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket.into())
}

/// The kernel tells with every datagram which address it was sent to, and that is where the answer comes from.
fn keep_destination(socket: &Socket) -> io::Result<()> {
    let (level, name) = match socket.domain()? {
        Domain::IPV6 => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        _ => (libc::IPPROTO_IP, libc::IP_PKTINFO),
    };
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to an integer of that length, and lives during the call.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Answers until it is to stop.
pub fn serve(socket: &UdpSocket, responder: &Arc<Responder>, stop: &AtomicBool) {
    let mut batch = Batch::default();
    while !stop.load(Relaxed) {
        let count = match batch.receive(socket) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                continue;
            }
            Err(_) => {
                // Such as no memory in the kernel: it is tried again, but not without a breath.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
        };
        let routes = responder.routes();
        for index in 0..count {
            batch
                .answer(index, |request, from, out| responder.respond(&routes, request, from, Way::Udp, out));
        }
        batch.send(socket);
    }
}
