//! One connected agent, or one controller replica of a host.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream, VarInt};

use super::accept::{answer, turn_away};
use super::{Class, Inner, MeshEvent};
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
    /// The replica's number among its host's; none: the agent.
    replica: Option<u8>,
}

pub(super) async fn run(inner: &Arc<Inner>, connection: Connection, region: String, host: String) {
    let closed = inner.closed_to_agents.read().unwrap_or_else(|e| e.into_inner()).clone();
    if let Some(reason) = closed {
        return turn_away(inner, &connection, reason);
    }
    let Some((send, receive, replica)) = hello(inner, &connection).await else { return };
    let limits = &inner.limits;
    let (queue_bytes, frame_bytes) = match replica {
        None => (limits.agent_queue_bytes, limits.agent_frame_bytes),
        Some(_) => (limits.queue_bytes[Class::Bulk.index()], limits.frame_bytes),
    };
    let session = Arc::new(Session {
        connection: connection.clone(),
        queue: ByteQueue::new(queue_bytes, frame_bytes),
        region: region.clone(),
        host: host.clone(),
        replica,
    });
    let Some(number) = register(inner, &session) else {
        return turn_away(inner, &connection, format!("already {} agents connected", limits.agents));
    };
    let remote = connection.remote_address();
    let up = match replica {
        None => MeshEvent::AgentUp { session: number, region, host, remote },
        Some(slot) => MeshEvent::ReplicaUp { session: number, region, host, slot },
    };
    if inner.tell(up).await {
        let (own, replica) = (Some(Bytes::new(queue_bytes)), replica.is_some());
        // Replicas are few and are not held up by what all agents send.
        let shared = (!replica).then(|| inner.agents_intake.clone());
        let intake = Intake { own, shared };
        tokio::select! {
            () = write(&session, send) => {}
            () = read(inner, &connection, (number, replica, frame_bytes), (receive, intake)) => {}
            () = answer_pings(&connection) => {}
        }
    }
    session.queue.close();
    inner.sessions.write().unwrap_or_else(|e| e.into_inner()).remove(&number);
    connection.close(VarInt::from_u32(0), b"done");
    let down = match replica {
        None => MeshEvent::AgentDown { session: number },
        Some(_) => MeshEvent::ReplicaDown { session: number },
    };
    inner.tell(down).await;
}

/// The agent opens the stream with an empty frame, a replica with its number, and gets an empty one back: then both know that the
/// other accepts.
async fn hello(inner: &Inner, connection: &Connection) -> Option<(SendStream, RecvStream, Option<u8>)> {
    let exchange = async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(|e| e.to_string())?;
        let greeting = frame::read(&mut receive, 1, &Intake::default()).await.map_err(|e| e.to_string())?;
        frame::write(&mut send, Vec::new()).await.map_err(|e| e.to_string())?;
        Ok::<_, String>((send, receive, greeting.bytes.first().copied()))
    };
    match tokio::time::timeout(HELLO, exchange).await {
        Ok(Ok(opened)) => Some(opened),
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
        let same = old.host == session.host && old.region == session.region;
        if same && old.replica == session.replica {
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

async fn read(
    inner: &Inner,
    connection: &Connection,
    (session, replica, frame_bytes): (u64, bool, usize),
    (mut stream, intake): (RecvStream, Intake),
) {
    loop {
        match frame::read(&mut stream, frame_bytes, &intake).await {
            Ok(Received { bytes, room, .. }) => {
                let event = match replica {
                    false => MeshEvent::AgentFrame { session, bytes, room },
                    true => MeshEvent::ReplicaFrame { session, bytes, room },
                };
                if !inner.tell(event).await {
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
