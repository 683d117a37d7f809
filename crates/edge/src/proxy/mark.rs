//! What is sent carries its service's class: for the networks on its way (DSCP), and for this machine's own queues (the priority
//! that [`crate::kernel::Shaper`] sorts by).

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use dwcp_decide::route::{Qos, RoutingPolicy};
use socket2::SockRef;
use tokio::net::TcpStream;

use crate::kernel::Shaper;

/// Of a socket: a class and a DSCP. As sockets are by themselves: of the standard class, and 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark(u8);

/// How a connection's packets are to be marked; each request says it anew.
#[derive(Debug, Default)]
pub(super) struct Marked(AtomicU8);

impl Mark {
    pub fn of(class: Qos, policy: &RoutingPolicy) -> Mark {
        let (class, dscp) = match class {
            Qos::Standard => (0, policy.dscp.standard),
            Qos::Critical => (1, policy.dscp.critical),
            Qos::Bulk => (2, policy.dscp.bulk),
        };
        Mark(class << 6 | dscp & 63)
    }

    fn class(self) -> Qos {
        [Qos::Standard, Qos::Critical, Qos::Bulk, Qos::Standard][usize::from(self.0 >> 6)]
    }

    /// Marks what the socket sends from now on. What the kernel refuses stays as it was: nothing is lost but the mark.
    pub fn put(self, tcp: &TcpStream) {
        let (socket, tos) = (SockRef::from(tcp), u32::from(self.0 & 63) << 2);
        let by_v6 = tcp.local_addr().is_ok_and(|address| address.ip().to_canonical().is_ipv6());
        let _ = if by_v6 { socket.set_tclass_v6(tos) } else { socket.set_tos_v4(tos) };
        // After the mark, which sets the priority, too. Without the right to administer the network there are no queues of ours.
        Shaper::sort(&socket, self.class());
    }
}

impl Marked {
    pub fn set(&self, mark: Mark) {
        self.0.store(mark.0, Relaxed);
    }

    pub fn get(&self) -> Mark {
        Mark(self.0.load(Relaxed))
    }
}
