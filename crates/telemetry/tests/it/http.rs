//! As much HTTP/1.1 as a scraper and a sender of remote write need, over the standard library.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A request, or an answer without its status.
#[derive(Debug, Default)]
pub struct Message {
    /// `GET /metrics HTTP/1.1`, for one.
    pub first: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    /// The value of a header; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    fn read(stream: &TcpStream) -> std::io::Result<Message> {
        let mut reader = BufReader::new(stream);
        let mut message = Message::default();
        reader.read_line(&mut message.first)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if message.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            while read_chunk(&mut reader, &mut message.body)? {}
        } else {
            let length = message.header("content-length").parse().unwrap_or(0);
            message.body.resize(length, 0);
            reader.read_exact(&mut message.body)?;
        }
        Ok(message)
    }
}

fn read_chunk(reader: &mut impl BufRead, into: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
    let began = into.len();
    into.resize(began + length, 0);
    reader.read_exact(&mut into[began..])?;
    reader.read_line(&mut line)?;
    Ok(length > 0)
}

/// Content type and body; none for what is not there.
pub type Answer = Option<(&'static str, Vec<u8>)>;

/// Answers one request after the other, until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(mut answer: impl FnMut(&Message) -> Answer + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                // Who goes away in the middle has no answer.
                let _ = serve(stream, &mut answer);
            }
        });
        Server { address, stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!panicked || std::thread::panicking(), "the server panicked");
    }
}

fn serve(mut stream: TcpStream, answer: &mut impl FnMut(&Message) -> Answer) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = Message::read(&stream)?;
    let (status, content_type, body) = match answer(&request) {
        Some((content_type, body)) => ("200 OK", content_type, body),
        None => ("404 Not Found", "text/plain", Vec::new()),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n")?;
    write!(stream, "Connection: close\r\n\r\n")?;
    stream.write_all(&body)
}

/// Asks for a path; `accept` is the header of that name.
pub fn get(address: SocketAddr, path: &str, accept: &str) -> std::io::Result<Message> {
    send(address, &format!("GET {path} HTTP/1.1\r\nAccept: {accept}\r\n"), b"")
}

/// Posts a request of remote write 1.0.
pub fn push(address: SocketAddr, path: &str, body: &[u8]) -> std::io::Result<Message> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n",
        body.len()
    );
    send(address, &head, body)
}

fn send(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{head}Host: {address}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(body)?;
    Message::read(&stream)
}
