//! The connection to a mail server: lines in both directions, each under a time limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

/// Longest answer, bytes.
const LONGEST: usize = 16 << 10;

/// A stream that ends at a moment.
pub struct Timed {
    pub stream: TcpStream,
    pub until: Instant,
}

/// The time that is left.
///
/// # Errors
/// None is.
pub fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::Error::new(ErrorKind::TimedOut, "it took too long")) } else { Ok(left) }
}

/// What a socket says of a time limit does not read like one.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "it took too long"),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer).map_err(late)
    }
}

impl Write for Timed {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(buffer).map_err(late)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

enum Wire {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
    /// While one becomes the other.
    Gone,
}

/// A server's answer.
#[derive(Clone)]
pub struct Reply {
    pub code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// What stands for the answer of a server that was not asked.
    pub fn none() -> Reply {
        Reply { code: 550, lines: vec!["there is nobody to send to".to_owned()] }
    }

    /// On one line.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Whether an answer to EHLO has an extension, `STARTTLS`, or one with a parameter, `AUTH PLAIN`.
    pub fn offers(&self, wanted: &str) -> bool {
        self.lines.iter().any(|line| {
            let mut words = line.split([' ', '=']);
            let mut wanted = wanted.split(' ');
            let first = words.next().unwrap_or("");
            wanted.next().is_some_and(|keyword| first.eq_ignore_ascii_case(keyword))
                && wanted.all(|parameter| words.clone().any(|word| word.eq_ignore_ascii_case(parameter)))
        })
    }
}

/// Lines to and from the server.
pub struct Line {
    wire: Wire,
    /// What was read, and is no line yet.
    buffer: Vec<u8>,
}

impl Line {
    pub fn new(stream: Timed) -> Line {
        Line { wire: Wire::Plain(stream), buffer: Vec::new() }
    }

    pub fn is_secure(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// From here on with TLS.
    ///
    /// # Errors
    /// The server spoke on before TLS began: what it said could be another's. Or the handshake fails.
    pub fn secure(&mut self, tls: ClientConnection) -> io::Result<()> {
        if !self.buffer.is_empty() {
            return Err(io::Error::other("it said more before TLS began"));
        }
        match std::mem::replace(&mut self.wire, Wire::Gone) {
            Wire::Plain(stream) => {
                let mut stream = StreamOwned::new(tls, stream);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                self.wire = Wire::Tls(Box::new(stream));
                Ok(())
            }
            Wire::Tls(_) | Wire::Gone => Err(io::Error::other("TLS began already")),
        }
    }

    /// Sends a command, and reads what the server says to it.
    pub fn ask(&mut self, command: &str) -> io::Result<Reply> {
        if command.contains(['\r', '\n']) {
            return Err(io::Error::other("a command is one line"));
        }
        self.write(format!("{command}\r\n").as_bytes())?;
        self.reply()
    }

    /// Sends a mail. A line that begins with a dot gets another one, which the server takes away.
    pub fn data(&mut self, text: &str) -> io::Result<Reply> {
        let mut out = String::with_capacity(text.len() + 16);
        for line in text.lines() {
            if line.starts_with('.') {
                out.push('.');
            }
            out.push_str(line);
            out.push_str("\r\n");
        }
        out.push_str(".\r\n");
        self.write(out.as_bytes())?;
        self.reply()
    }

    /// Reads an answer, of one line or of several.
    pub fn reply(&mut self) -> io::Result<Reply> {
        let (mut lines, mut length) = (Vec::new(), 0);
        loop {
            let line = self.line()?;
            length += line.len();
            let code = line.get(..3).and_then(|digits| digits.parse::<u16>().ok());
            let Some(code) = code.filter(|code| (200..600).contains(code)) else {
                return Err(io::Error::other("it does not speak SMTP"));
            };
            lines.push(line.get(4..).unwrap_or("").to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, lines });
            }
            if length > LONGEST || lines.len() > 200 {
                return Err(io::Error::other("its answer is too long"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > LONGEST {
                return Err(io::Error::other("its answer is too long"));
            }
            let mut chunk = [0; 1_024];
            let read = match &mut self.wire {
                Wire::Plain(stream) => stream.read(&mut chunk)?,
                Wire::Tls(stream) => stream.read(&mut chunk)?,
                Wire::Gone => 0,
            };
            if read == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "it hung up"));
            }
            self.buffer.extend_from_slice(&chunk[..read]);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => Err(io::Error::other("there is no connection")),
        }
    }
}
