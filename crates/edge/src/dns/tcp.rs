//! Questions over TCP, several on a connection (RFC 7766).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::HEADER;
use super::answer::{Responder, Way};

/// A client that says nothing, or reads nothing, for so long is gone.
const IDLE: Duration = Duration::from_secs(10);
/// Connections at a time.
const CONNECTIONS: u32 = 1_000;
/// Of one client.
const PER_CLIENT: u32 = 50;
/// The longest request.
const LONGEST: usize = 4_096;
/// Answers are collected up to about so many bytes while more questions are there already.
const COLLECTED: usize = 16 << 10;

/// Connections by client.
#[derive(Default)]
struct Open {
    all: u32,
    by_client: HashMap<IpAddr, u32>,
}

/// A place among the connections; free again when it is dropped.
struct Seat {
    open: Arc<Mutex<Open>>,
    client: IpAddr,
}

impl Seat {
    fn take(open: &Arc<Mutex<Open>>, client: IpAddr) -> Option<Seat> {
        let mut all = open.lock().unwrap_or_else(PoisonError::into_inner);
        if all.all >= CONNECTIONS || all.by_client.get(&client).is_some_and(|own| *own >= PER_CLIENT) {
            return None;
        }
        all.all += 1;
        *all.by_client.entry(client).or_default() += 1;
        Some(Seat { open: Arc::clone(open), client })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        all.all -= 1;
        if let Some(own) = all.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                all.by_client.remove(&self.client);
            }
        }
    }
}

/// Answers on every connection that comes.
pub async fn serve(listeners: Vec<TcpListener>, responder: Arc<Responder>) {
    let open = Arc::new(Mutex::new(Open::default()));
    let mut all = tokio::task::JoinSet::new();
    for listener in listeners {
        let (open, responder) = (Arc::clone(&open), Arc::clone(&responder));
        all.spawn(async move {
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => {
                        let Some(seat) = Seat::take(&open, from.ip().to_canonical()) else { continue };
                        let responder = Arc::clone(&responder);
                        tokio::spawn(async move {
                            // It ended, in whichever way.
                            let _ = converse(stream, from, &responder).await;
                            drop(seat);
                        });
                    }
                    // Such as no more files.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
    }
    while all.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, from: SocketAddr, responder: &Responder) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    let (mut request, mut answer, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        if !timeout(IDLE, next(&mut read, &mut request)).await.unwrap_or(Ok(false))? {
            return Ok(());
        }
        if !responder.respond(&responder.routes(), &request, from, Way::Tcp, &mut answer) {
            return Ok(());
        }
        answers.extend_from_slice(&(answer.len() as u16).to_be_bytes());
        answers.extend_from_slice(&answer);
        if answers.len() >= COLLECTED || !whole(read.buffer()) {
            timeout(IDLE, write.write_all(&answers)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            answers.clear();
        }
    }
}

/// Reads a request; false: there is none any more, or it is longer or shorter than any is.
async fn next(read: &mut (impl AsyncReadExt + Unpin), request: &mut Vec<u8>) -> io::Result<bool> {
    let length = match read.read_u16().await {
        Ok(length) => usize::from(length),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    if !(HEADER..=LONGEST).contains(&length) {
        return Ok(false);
    }
    request.resize(length, 0);
    read.read_exact(request).await?;
    Ok(true)
}

/// Whether a whole request lies in a buffer.
fn whole(buffer: &[u8]) -> bool {
    let Some((length, rest)) = buffer.split_first_chunk::<2>() else { return false };
    rest.len() >= usize::from(u16::from_be_bytes(*length))
}
