//! One connected agent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream, VarInt};

use super::accept::{answer, turn_away};
use super::{Inner, MeshEvent};
use crate::frame::{self, FrameError, Received};
use crate::intake::{Bytes, Intake};
use crate::queue::ByteQueue;

/// An agent says hello (an empty frame) by then.
const HELLO: Duration = Duration::from_secs(3);

pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) queue: ByteQueue,
    region: String,
    host: String,
}

pub(super) async fn run(inner: &Arc<Inner>, connection: Connection, region: String, host: String) {
    let Some((send, receive)) = hello(inner, &connection).await else { return };
    let limits = &inner.limits;
    let session = Arc::new(Session {
        connection: connection.clone(),
        queue: ByteQueue::new(limits.agent_queue_bytes, limits.agent_frame_bytes),
        region: region.clone(),
        host: host.clone(),
    });
    let Some(number) = register(inner, &session) else {
        return turn_away(inner, &connection, format!("already {} agents connected", limits.agents));
    };
    let remote = connection.remote_address();
    if inner.tell(MeshEvent::AgentUp { session: number, region, host, remote }).await {
        tokio::select! {
            () = write(&session, send) => {}
            () = read(inner, &connection, number, receive) => {}
            () = answer_pings(&connection) => {}
        }
    }
    session.queue.close();
    inner.sessions.write().unwrap_or_else(|e| e.into_inner()).remove(&number);
    connection.close(VarInt::from_u32(0), b"done");
    inner.tell(MeshEvent::AgentDown { session: number }).await;
}

/// The agent opens the stream with an empty frame and gets one back: then both know that the other accepts.
async fn hello(inner: &Inner, connection: &Connection) -> Option<(SendStream, RecvStream)> {
    let exchange = async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(|e| e.to_string())?;
        frame::read(&mut receive, 0, &Intake::default()).await.map_err(|e| e.to_string())?;
        frame::write(&mut send, Vec::new()).await.map_err(|e| e.to_string())?;
        Ok::<_, String>((send, receive))
    };
    match tokio::time::timeout(HELLO, exchange).await {
        Ok(Ok(streams)) => Some(streams),
        Ok(Err(e)) => {
            // An agent that reached a better endpoint first just closes: no refusal.
            if connection.close_reason().is_none() {
                turn_away(inner, connection, e);
            }
            None
        }
        Err(_) => {
            turn_away(inner, connection, "no hello in 3 s".into());
            None
        }
    }
}

/// Numbers the session and replaces older ones of the same host; `None` when there are too many agents.
fn register(inner: &Inner, session: &Arc<Session>) -> Option<u64> {
    let mut sessions = inner.sessions.write().unwrap_or_else(|e| e.into_inner());
    for old in sessions.values() {
        if old.host == session.host && old.region == session.region {
            old.connection.close(VarInt::from_u32(0), b"replaced");
        }
    }
    if sessions.len() >= inner.limits.agents {
        return None;
    }
    session.queue.open();
    let number = inner.next_session.fetch_add(1, Ordering::Relaxed);
    sessions.insert(number, session.clone());
    Some(number)
}

async fn write(session: &Session, mut stream: SendStream) {
    loop {
        let frame = session.queue.pop().await;
        if frame::write(&mut stream, frame).await.is_err() {
            return;
        }
    }
}

async fn read(inner: &Inner, connection: &Connection, session: u64, mut stream: RecvStream) {
    let own = Some(Bytes::new(inner.limits.agent_queue_bytes));
    let intake = Intake { own, shared: Some(inner.agents_intake.clone()) };
    loop {
        match frame::read(&mut stream, inner.limits.agent_frame_bytes, &intake).await {
            Ok(Received { bytes, room, .. }) => {
                if !inner.tell(MeshEvent::AgentFrame { session, bytes, room }).await {
                    return;
                }
            }
            Err(FrameError::Read(_)) => return,
            Err(e) => return turn_away(inner, connection, e.to_string()),
        }
    }
}

async fn answer_pings(connection: &Connection) {
    while let Ok(datagram) = connection.read_datagram().await {
        answer(connection, &datagram);
    }
}
