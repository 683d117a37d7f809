//! Whether an address of another host is reached from here, and how fast.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_millis(1_500);
/// Datagrams are lost now and then: so many are sent, one after the other.
const TRIES: u32 = 3;
/// What a server of QUIC answers at least: a datagram that could begin a connection (RFC 9000, 14.1).
const QUIC_INITIAL: usize = 1_200;

/// The round trip, or why there was none; none: there is nothing to reach.
pub type Way = Option<Result<Duration, String>>;

fn address(text: &str) -> Option<Result<SocketAddr, String>> {
    (!text.is_empty()).then(|| text.parse().map_err(|_| format!("{text} is no address")))
}

/// A connection over TCP.
pub async fn over_tcp(at: &str) -> Way {
    let address = match address(at)? {
        Ok(address) => address,
        Err(why) => return Some(Err(why)),
    };
    let began = Instant::now();
    Some(match timeout(LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(began.elapsed()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} ms", LIMIT.as_millis())),
    })
}

/// A datagram that is given back.
pub async fn over_udp(at: &str) -> Way {
    let probe = b"dwcp: reached?".to_vec();
    let sent = probe.clone();
    datagram(at, &probe, move |back| back == sent).await
}

/// An answer of a server of QUIC: to a version that nobody speaks it says which ones it does (RFC 9000, 6).
pub async fn quic(at: &str) -> Way {
    let mut initial = vec![0; QUIC_INITIAL];
    // A long header, version 0x?a?a?a?a, which is kept for this, and two connection ids of eight bytes.
    initial[..6].copy_from_slice(&[0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8]);
    initial[6..14].copy_from_slice(b"preflght");
    initial[14] = 8;
    initial[15..23].copy_from_slice(b"dwcp-cli");
    let negotiates = |back: &[u8]| back.len() > 7 && back[0] & 0x80 != 0 && back[1..5] == [0; 4];
    datagram(at, &initial, negotiates).await
}

async fn datagram(at: &str, probe: &[u8], is_answer: impl Fn(&[u8]) -> bool) -> Way {
    let address = match address(at)? {
        Ok(address) => address,
        Err(why) => return Some(Err(why)),
    };
    Some(exchange(address, probe, is_answer).await)
}

async fn exchange(
    address: SocketAddr,
    probe: &[u8],
    is_answer: impl Fn(&[u8]) -> bool,
) -> Result<Duration, String> {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.map_err(|e| e.to_string())?;
    socket.connect(address).await.map_err(|e| e.to_string())?;
    let mut why = format!("no answer within {} ms", LIMIT.as_millis());
    for _ in 0..TRIES {
        let began = Instant::now();
        socket.send(probe).await.map_err(|e| e.to_string())?;
        let mut back = [0; 1_500];
        match timeout(LIMIT / TRIES, socket.recv(&mut back)).await {
            Ok(Ok(length)) if is_answer(&back[..length]) => return Ok(began.elapsed()),
            Ok(Ok(length)) => why = format!("{length} bytes came back that are no answer"),
            Ok(Err(error)) => why = error.to_string(),
            Err(_) => {}
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_listens_is_reached_and_what_does_not_is_said() {
        let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(over_tcp(&tcp.local_addr().unwrap().to_string()).await.unwrap().is_ok());
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = udp.local_addr().unwrap().to_string();
        assert!(over_udp(&at).await.unwrap().is_err(), "nobody gives it back");
        let echo = tokio::spawn(async move {
            let mut back = [0; 1_500];
            loop {
                let (length, from) = udp.recv_from(&mut back).await.unwrap();
                udp.send_to(&back[..length], from).await.unwrap();
            }
        });
        assert!(over_udp(&at).await.unwrap().is_ok());
        assert!(quic(&at).await.unwrap().is_err(), "what came back is no server's answer");
        echo.abort();
        assert!(over_tcp("").await.is_none());
        assert!(over_tcp("here").await.unwrap().is_err());
    }
}
