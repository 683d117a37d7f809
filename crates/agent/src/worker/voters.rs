//! Asks the nodes of other regions whether they lead this region's group.
//!
//! A refused connection is proof that the process does not run only because a node listens on its API address before it
//! joins its groups and stops listening after it left them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dwcp_mesh::Wan;
use dwcp_roles::agent::VoterState;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::host_config::RegionEndpoint;

/// For one node, connection and answer together.
pub(super) const LIMIT: Duration = Duration::from_millis(400);
/// Longest answer that is read, bytes.
const ANSWER_MAX: u64 = 16 << 10;

/// Asks one node whether it leads `group`, the group of `own_region`. Blocks up to [`LIMIT`].
pub(super) fn ask(
    own_region: &str,
    group: u64,
    endpoint: &RegionEndpoint,
    tls: &Arc<ClientConfig>,
    wan: Option<&Wan>,
) -> VoterState {
    // The emulated WAN works under UDP; a cut must hold for this question too, in both directions.
    let cut =
        |wan: &Wan| wan.is_cut(own_region, &endpoint.region) || wan.is_cut(&endpoint.region, own_region);
    if wan.is_some_and(cut) {
        return VoterState::Silent;
    }
    let deadline = Instant::now() + LIMIT;
    match TcpStream::connect_timeout(&endpoint.api, LIMIT) {
        Ok(stream) => leads(stream, group, endpoint, tls, deadline).unwrap_or(VoterState::Silent),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => VoterState::Dead,
        Err(_) => VoterState::Silent,
    }
}

fn leads(
    mut stream: TcpStream,
    group: u64,
    endpoint: &RegionEndpoint,
    tls: &Arc<ClientConfig>,
    deadline: Instant,
) -> Option<VoterState> {
    let name = ServerName::from(endpoint.api.ip());
    let mut session = ClientConnection::new(tls.clone(), name).ok()?;
    let limit = |stream: &TcpStream| {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        stream.set_read_timeout(Some(left)).ok()?;
        stream.set_write_timeout(Some(left)).ok()
    };
    limit(&stream)?;
    let request = format!(
        "GET /v1/leader?group={group} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        endpoint.api
    );
    let mut tls = rustls::Stream::new(&mut session, &mut stream);
    tls.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    let mut part = [0; 2048];
    loop {
        match tls.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            // Some servers end without the closing message; the length is checked by the JSON being whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(_) => return None,
        }
        if answer.len() as u64 > ANSWER_MAX || Instant::now() >= deadline {
            return None;
        }
    }
    verdict(group, &String::from_utf8_lossy(&answer))
}

/// Reads the whole HTTP answer. Only a status of 200, the group asked about and a plain `"leader": true|false`
/// count.
fn verdict(group: u64, answer: &str) -> Option<VoterState> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.starts_with("HTTP/1.1 200") {
        return None;
    }
    // A chunked body has its lengths around the object.
    let object = body.get(body.find('{')?..=body.rfind('}')?)?;
    let object: serde_json::Value = serde_json::from_str(object).ok()?;
    if object.get("group")?.as_u64()? != group {
        return None;
    }
    // A server of an earlier version does not say it.
    let led_ms = object.get("led_ms").and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX);
    Some(match object.get("leader")?.as_bool()? {
        true => VoterState::Leader { led_ms },
        false => VoterState::NotLeader { led_ms },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_answer_accounts_for_a_voter() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n";
        let said = |body: &str| verdict(3, &format!("{ok}{body}"));
        let not_leader = |led_ms| Some(VoterState::NotLeader { led_ms });
        assert_eq!(said(r#"{"group":3,"leader":false,"term":3,"led_ms":70}"#), not_leader(70));
        assert_eq!(said(r#"{"group":3,"leader":false,"term":3}"#), not_leader(u64::MAX));
        let leader = |led_ms| Some(VoterState::Leader { led_ms });
        assert_eq!(said("1f\r\n{\"group\":3,\"leader\":true}\r\n0\r\n\r\n"), leader(u64::MAX));
        assert_eq!(said(r#"{"group":3,"leader":true,"term":3,"led_ms":70}"#), leader(70));
        assert_eq!(said(r#"{"group":4,"leader":false}"#), None, "another group");
        assert_eq!(said(r#"{"group":3,"leader":"no"}"#), None);
        assert_eq!(said(r#"{"group":3,"leader":fal"#), None);
        assert_eq!(verdict(3, "HTTP/1.1 503 Busy\r\n\r\n{\"group\":3,\"leader\":false}"), None);
    }
}
