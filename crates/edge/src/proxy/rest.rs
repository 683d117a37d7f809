//! A connection of HTTP/1 before its first request and between two: a socket, and no parser with its buffers of 16 KiB.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::conversation::{Conversation, FAREWELL_MS};
use super::line::Due;
use super::watched::{Came, Socket};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begins {
    Request,
    /// It is a connection of HTTP/2.
    Http2,
    /// Nothing: the connection is over.
    Nothing,
}

/// Waits until there is something to parse.
pub(super) async fn until_a_request<T>(talk: &Conversation, socket: &mut Socket<T>) -> Begins
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut leaving = pin!(talk.shared.leaving());
    let mut timer = pin!(sleep(Duration::from_millis(talk.first_ms())));
    loop {
        tokio::select! {
            biased;
            came = poll_fn(|cx| socket.poll_more(cx, &talk.line)) => match came {
                Came::Part => {}
                Came::Request => return Begins::Request,
                Came::Http2 => return Begins::Http2,
                Came::End => return Begins::Nothing,
            },
            () = leaving.as_mut() => {
                // What has begun to come is still answered.
                if !socket.is_read() {
                    return Begins::Request;
                }
                break;
            }
            () = timer.as_mut() => match talk.due() {
                Due::Later(wait_ms) => timer.as_mut().reset(Instant::now() + Duration::from_millis(wait_ms)),
                Due::Idle => break,
                Due::Cut => {
                    talk.line.admitted.slow.store(1, Relaxed);
                    return Begins::Nothing;
                }
            },
        }
    }
    // Whether or not the other side hears it.
    let _ = timeout(Duration::from_millis(FAREWELL_MS), socket.io.shutdown()).await;
    Begins::Nothing
}
