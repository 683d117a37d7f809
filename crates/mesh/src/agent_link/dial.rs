//! Finding a server: the best first, the next one when it does not answer soon, whoever answers first wins.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{AgentEvent, Inner, Linked};
use crate::frame;
use crate::intake::Intake;
use crate::mesh::Peer;
use crate::seed::Seed;
use crate::transport::{self, SERVER_NAME};

/// A dial is given up after this time; by then the others have long been asked.
const GIVE_UP: Duration = Duration::from_millis(2000);

/// Dials the endpoints, each one `stagger` after the one before (at once when that one failed).
pub(super) async fn first(inner: &Arc<Inner>, endpoints: Vec<Peer>, stagger: Duration) -> Option<Linked> {
    let mut tries = JoinSet::new();
    let mut rest = endpoints.into_iter();
    loop {
        let more = match rest.next() {
            Some(server) => {
                tries.spawn(dial(inner.clone(), server));
                true
            }
            None if tries.is_empty() => return None,
            None => false,
        };
        let wait = async { if more { tokio::time::sleep(stagger).await } else { pending().await } };
        tokio::select! {
            done = tries.join_next() => {
                if let Some(Ok(Some(linked))) = done {
                    return Some(linked);
                }
            }
            () = wait => {}
        }
    }
}

/// Tries the endpoints before this region's from time to time, by the list as it is then; returns when one answers, never when
/// there is none.
pub(super) async fn better_than(inner: &Arc<Inner>, region: &str) -> Linked {
    let mut seed = Seed::lane(inner.config.seed, 0x4245);
    loop {
        let every_ms = inner.config.return_every_ms.max(1);
        tokio::time::sleep(Duration::from_millis(every_ms / 2 + seed.below(every_ms))).await;
        let better = inner.endpoints().into_iter().take_while(|server| server.region != region).collect();
        if let Some(linked) = first(inner, better, inner.answer()).await {
            return linked;
        }
    }
}

async fn dial(inner: Arc<Inner>, server: Peer) -> Option<Linked> {
    match tokio::time::timeout(GIVE_UP, connect(&inner, &server)).await {
        Ok(Ok(linked)) => Some(linked),
        Ok(Err(Some(reason))) => {
            let _ = inner.events.try_send(AgentEvent::Refused { region: server.region, reason });
            None
        }
        Ok(Err(None)) | Err(_) => None,
    }
}

/// Errors carry a reason when the server refused us or we refused it.
async fn connect(inner: &Inner, server: &Peer) -> Result<Linked, Option<String>> {
    let tls = transport::client_config(&inner.config.identity, server.identity())
        .map_err(|e| Some(e.to_string()))?;
    let connecting =
        inner.endpoint.connect_with(tls, server.address, SERVER_NAME).map_err(|e| Some(e.to_string()))?;
    let connection = connecting.await.map_err(|e| reason(&e))?;
    let opened = async {
        let (mut send, mut receive) = connection.open_bi().await.ok()?;
        frame::write(&mut send, inner.config.greeting()).await.ok()?;
        frame::read(&mut receive, 0, &Intake::default()).await.ok()?;
        Some((send, receive))
    };
    match opened.await {
        Some((send, receive)) => {
            Ok(Linked { region: server.region.clone(), connection: connection.clone(), send, receive })
        }
        None => Err(connection.close_reason().as_ref().and_then(reason)),
    }
}

fn reason(error: &quinn::ConnectionError) -> Option<String> {
    match error {
        quinn::ConnectionError::TransportError(e) => Some(e.reason.clone()),
        quinn::ConnectionError::ConnectionClosed(e) => Some(String::from_utf8_lossy(&e.reason).into_owned()),
        quinn::ConnectionError::ApplicationClosed(e) if e.error_code.into_inner() != 0 => {
            Some(String::from_utf8_lossy(&e.reason).into_owned())
        }
        _ => None,
    }
}
