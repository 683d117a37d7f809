//! Looks at the bytes of an HTTP/1 connection before they are parsed, and finds what two parsers could read in two ways.
//!
//! The parser behind it accepts more than this: where a message has both a length and chunks it takes the chunks, and it takes lines
//! that end without CR. Here such a message is refused whole, so that nobody further on has to agree with us. It only ever
//! refuses; where it is wrong, a request is lost, and none is made.

/// The most digits of a length.
const DIGITS: usize = 18;
/// The first line of HTTP/2's preface.
const HTTP2: &[u8] = b"PRI * HTTP/2.0";
/// The most bytes of a line of a chunk's size, with extensions.
const CHUNK_LINE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first byte of a request.
    Between,
    RequestLine,
    Field,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailer,
    /// HTTP/2 follows.
    Http2,
    /// Nothing is looked at any more.
    Through,
}

/// What a head said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    old: bool,
    hosts: u8,
    length: Option<u64>,
    chunked: bool,
    bytes: usize,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Between,
    Head,
    Body,
}

pub(super) struct Heads {
    at: At,
    head: Head,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    most: usize,
    /// The connection may go over to HTTP/2 with its first line.
    http2: bool,
    /// Heads that came whole.
    whole: u64,
}

type Checked<T = ()> = Result<T, &'static str>;

impl Heads {
    /// Heads of at most so many bytes. With `http2` its first line may be that of HTTP/2's preface (RFC 9113, 3.4).
    pub fn new(most: usize, http2: bool) -> Heads {
        Heads { at: At::Between, head: Head::default(), line: Vec::new(), most, http2, whole: 0 }
    }

    /// The client speaks HTTP/2; nothing is looked at any more.
    pub fn is_http2(&self) -> bool {
        self.at == At::Http2
    }

    /// Nothing is looked at any more.
    pub fn let_through(&mut self) {
        self.at = At::Through;
        self.line = Vec::new();
    }

    pub fn part(&self) -> Part {
        match self.at {
            At::Between => Part::Between,
            At::RequestLine | At::Field | At::Http2 => Part::Head,
            _ => Part::Body,
        }
    }

    /// How many heads came whole.
    pub fn ended(&self) -> u64 {
        self.whole
    }

    /// More bytes came.
    ///
    /// # Errors
    /// Why the request that is being read is refused; nothing is looked at afterwards.
    pub fn see(&mut self, mut bytes: &[u8]) -> Checked {
        while !bytes.is_empty() {
            match self.step(bytes) {
                Ok(taken) => bytes = &bytes[taken.min(bytes.len())..],
                Err(why) => {
                    self.let_through();
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, bytes: &[u8]) -> Checked<usize> {
        match self.at {
            At::Through | At::Http2 => Ok(bytes.len()),
            At::Body(left) => {
                let taken = left.min(bytes.len() as u64);
                self.at = if taken == left { At::Between } else { At::Body(left - taken) };
                Ok(taken as usize)
            }
            At::Chunk(left) => {
                let taken = left.min(bytes.len() as u64);
                self.at = if taken == left { At::ChunkEnd } else { At::Chunk(left - taken) };
                Ok(taken as usize)
            }
            At::Between => {
                // Empty lines before a request are from clients of long ago.
                if matches!(bytes[0], b'\r' | b'\n') {
                    return Ok(1);
                }
                self.head = Head::default();
                self.at = At::RequestLine;
                Ok(0)
            }
            _ => self.line(bytes),
        }
    }

    /// Takes a line, or as much of it as is there.
    fn line(&mut self, bytes: &[u8]) -> Checked<usize> {
        let most = if matches!(self.at, At::ChunkSize | At::ChunkEnd) { CHUNK_LINE } else { self.most };
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            if self.line.len() + bytes.len() > most {
                return Err("a line is too long");
            }
            self.line.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        if self.line.is_empty() {
            self.whole(&bytes[..end])?;
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..end]);
            self.whole(&line)?;
            line.clear();
            // Between requests nothing is kept.
            if self.at != At::Between {
                self.line = line;
            }
        }
        Ok(end + 1)
    }

    /// A line without its LF.
    fn whole(&mut self, line: &[u8]) -> Checked {
        let Some(line) = line.strip_suffix(b"\r") else { return Err("a line ends without CR") };
        if line.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err("a control character in a head");
        }
        match self.at {
            At::RequestLine => self.request_line(line)?,
            At::Field if line.is_empty() => self.end_of_head()?,
            At::Field => self.field(line)?,
            At::ChunkSize => self.at = chunk_size(line)?,
            At::ChunkEnd if line.is_empty() => self.at = At::ChunkSize,
            At::ChunkEnd => return Err("a chunk is longer than its size"),
            At::Trailer if line.is_empty() => self.at = At::Between,
            _ => {}
        }
        self.head.bytes += line.len() + 2;
        if self.head.bytes > self.most && matches!(self.at, At::Field | At::Trailer) {
            return Err("the head is too long");
        }
        Ok(())
    }

    fn request_line(&mut self, line: &[u8]) -> Checked {
        if line == HTTP2 && self.http2 && self.whole == 0 {
            self.at = At::Http2;
            return Ok(());
        }
        if line.contains(&b'\t') || line.iter().filter(|byte| **byte == b' ').count() != 2 {
            return Err("spaces in the request line");
        }
        self.head.old = match line.rsplit(|byte| *byte == b' ').next() {
            Some(b"HTTP/1.1") => false,
            Some(b"HTTP/1.0") => true,
            _ => return Err("no version that is spoken here"),
        };
        self.at = At::Field;
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Checked {
        if matches!(line[0], b' ' | b'\t') {
            return Err("a folded header line");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err("a header line without colon");
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(|byte| !is_token(*byte)) {
            return Err("a header name with characters that names don't have");
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.head.length.is_some() {
                return Err("more than one Content-Length");
            }
            self.head.length = Some(number(value, 10).ok_or("a Content-Length that is no number")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding other than chunked");
            }
            self.head.chunked = true;
        } else if name.eq_ignore_ascii_case(b"host") {
            self.head.hosts = self.head.hosts.saturating_add(1);
        }
        Ok(())
    }

    fn end_of_head(&mut self) -> Checked {
        let head = self.head;
        if head.chunked && head.length.is_some() {
            return Err("both Content-Length and Transfer-Encoding");
        }
        if head.chunked && head.old {
            return Err("a Transfer-Encoding in HTTP/1.0");
        }
        if head.hosts > 1 {
            return Err("more than one Host");
        }
        if head.hosts == 0 && !head.old {
            return Err("no Host");
        }
        self.head.bytes = 0;
        self.whole += 1;
        self.at = match head.length {
            _ if head.chunked => At::ChunkSize,
            Some(0) | None => At::Between,
            Some(length) => At::Body(length),
        };
        Ok(())
    }
}

fn chunk_size(line: &[u8]) -> Checked<At> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = number(digits.trim_ascii_end(), 16).ok_or("a chunk size that is no number")?;
    Ok(if size == 0 { At::Trailer } else { At::Chunk(size) })
}

fn number(digits: &[u8], base: u32) -> Option<u64> {
    let known = |digit: &u8| char::from(*digit).is_digit(base);
    if digits.is_empty() || digits.len() > DIGITS || !digits.iter().all(known) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, base).ok().filter(|number| *number < 1 << 62)
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(bytes: &[u8], step: usize) -> (Checked, Part) {
        let mut heads = Heads::new(4096, false);
        for piece in bytes.chunks(step) {
            if let Err(why) = heads.see(piece) {
                return (Err(why), heads.part());
            }
        }
        (Ok(()), heads.part())
    }

    #[test]
    fn however_the_bytes_come_requests_end_where_they_end() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nG\nT \n\
            PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nab\ncd\r\n0\r\nX: y\r\n\r\n\
            GET /d HTTP/1.0\r\n\r\n";
        let text: Vec<u8> = text.to_vec();
        let text = String::from_utf8(text).unwrap().replace("4;x=y\r\nab\ncd", "5;x=y\r\nab\ncd");
        for step in 1..text.len() {
            assert_eq!(seen(text.as_bytes(), step), (Ok(()), Part::Between), "in pieces of {step}");
        }
    }

    #[test]
    fn only_the_first_line_may_say_that_http2_follows() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0";
        for step in 1..preface.len() {
            let mut heads = Heads::new(4096, true);
            assert!(preface.chunks(step).all(|piece| heads.see(piece).is_ok()) && heads.is_http2());
        }
        assert!(seen(preface, 5).0.is_err(), "it is not spoken here");
        let mut heads = Heads::new(4096, true);
        heads.see(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(heads.see(preface).is_err() && !heads.is_http2());
    }

    #[test]
    fn a_chunk_that_is_longer_or_shorter_than_it_says_is_refused() {
        for body in
            ["3\r\nabcd\r\n0\r\n\r\n", "5\r\nabc\r\n0\r\n\r\n", "-1\r\n", "0x3\r\nabc\r\n", "3\nabc\r\n"]
        {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            for step in 1..text.len() {
                assert!(seen(text.as_bytes(), step).0.is_err(), "{body:?} in pieces of {step}");
            }
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_than_the_limit() {
        let mut heads = Heads::new(1000, false);
        assert!(heads.see(b"GET / HTTP/1.1\r\nHost: a\r\nx: ").is_ok());
        let refused = (0..100).find(|_| heads.see(&[b'a'; 100]).is_err());
        assert_eq!(refused, Some(9));
    }
}
