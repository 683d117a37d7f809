//! How much of a connection's bytes waits at its sender.
//!
//! Whoever writes into a stream takes what fits into its buffer for sent. A program that stops a guest and expects the rest
//! to be across soon must not find tens of megabytes still waiting there, so no more is taken than the path carries now.

use std::sync::Weak;
use std::time::Duration;

use quinn::{Connection, VarInt};

/// Between two looks at what the path carries.
const LOOK: Duration = Duration::from_millis(25);
/// Taken beyond what may be on its way, so that there always is something to send, bytes.
const AHEAD_BYTES: u64 = 256 << 10;
/// Most that is taken, bytes: more than 1 Gbit/s carries in a round trip of 310 ms.
const MOST_BYTES: u64 = 64 << 20;
/// Looks without any user until a connection is closed: 30 s.
const UNUSED_LOOKS: u32 = 1200;

/// Bounds what waits until the connection ends, and closes it when nobody uses it.
pub(super) async fn keep(connection: Connection, users: Weak<()>) {
    let mut unused = 0;
    let mut before = 0;
    loop {
        tokio::select! {
            _ = connection.closed() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let window = (connection.stats().path.cwnd + AHEAD_BYTES).min(MOST_BYTES);
        if window != before {
            connection.set_send_window(window);
            before = window;
        }
        unused = if users.strong_count() > 1 { 0 } else { unused + 1 };
        if unused >= UNUSED_LOOKS {
            connection.close(VarInt::from_u32(0), b"not used");
            return;
        }
    }
}
