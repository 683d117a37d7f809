//! Takes what the emulator copies out of a disk: a server of the network block device protocol, as far as a copy that is
//! only ever written needs it, on a socket of this host. What it is sent goes on as words about the disk.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::super::points::{About, Head, PAYLOAD_MAX};
use super::snapshot::SOCKET;

const GREETING: &[u8; 18] = b"NBDMAGICIHAVEOPT\0\x03";
const OPTION: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const OPTION_GO: u32 = 7;
/// Longest option that is read, bytes.
const OPTION_BYTES: u32 = 4_096;
const REPLY_ACK: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
/// Takes flushes, and zeros without their bytes.
const EXPORT_FLAGS: u16 = 1 | 1 << 2 | 1 << 6;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const ZEROS: u16 = 6;
const INVALID: u32 = 22;

/// Where the emulator connects.
pub(super) struct Intake {
    listener: UnixListener,
    /// Its socket's name is short by it, however deep the folder lies.
    _dir: File,
}

impl Intake {
    pub(super) fn open(dir: &Path) -> Result<Intake, String> {
        let folder = File::open(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|e| format!("{SOCKET}: {e}"))?;
        Ok(Intake { listener, _dir: folder })
    }

    /// Takes one connection until the emulator ends it; returns how many words were sent, and where they went.
    ///
    /// # Errors
    /// The emulator says what is not understood, or what is sent goes nowhere.
    pub(super) async fn take<W: AsyncWrite + Unpin>(self, size: u64, to: W) -> Result<Sent<W>, String> {
        let (stream, _) = self.listener.accept().await.map_err(|e| format!("{SOCKET}: {e}"))?;
        serve(stream, size, to).await
    }
}

/// What was sent.
pub(super) struct Sent<W> {
    pub to: W,
    pub words: u64,
    pub bytes: u64,
}

async fn serve<W: AsyncWrite + Unpin>(mut from: UnixStream, size: u64, to: W) -> Result<Sent<W>, String> {
    let lost = |e: std::io::Error| format!("the emulator's connection: {e}");
    agree(&mut from, size).await.map_err(lost)?;
    let mut sent = Sent { to, words: 0, bytes: 0 };
    let mut piece = vec![0; PAYLOAD_MAX];
    loop {
        let magic = match from.read_u32().await {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(sent),
            magic => magic.map_err(lost)?,
        };
        if magic != REQUEST {
            return Err("the emulator said what is not understood".to_string());
        }
        let _flags = from.read_u16().await.map_err(lost)?;
        let what = from.read_u16().await.map_err(lost)?;
        let handle = from.read_u64().await.map_err(lost)?;
        let mut offset = from.read_u64().await.map_err(lost)?;
        let count = from.read_u32().await.map_err(lost)?;
        let mut error = 0;
        match what {
            WRITE => {
                let mut left = count as usize;
                while left > 0 {
                    let length = left.min(PAYLOAD_MAX);
                    from.read_exact(&mut piece[..length]).await.map_err(lost)?;
                    let head = Head { about: About::Data, length: length as u32, offset, count: 0 };
                    sent.put(&head, &piece[..length]).await?;
                    offset += length as u64;
                    left -= length;
                }
            }
            ZEROS => {
                let head = Head { about: About::Zeros, length: 0, offset, count: count.into() };
                sent.put(&head, &[]).await?;
            }
            // What was sent is on the drive only when the other host says so, which is asked at the end.
            FLUSH => {}
            DISCONNECT => return Ok(sent),
            _ => error = INVALID,
        }
        let mut reply = [0; 16];
        reply[..4].copy_from_slice(&REPLY.to_be_bytes());
        reply[4..8].copy_from_slice(&error.to_be_bytes());
        reply[8..].copy_from_slice(&handle.to_be_bytes());
        from.write_all(&reply).await.map_err(lost)?;
    }
}

impl<W: AsyncWrite + Unpin> Sent<W> {
    async fn put(&mut self, head: &Head, payload: &[u8]) -> Result<(), String> {
        let lost = |e: std::io::Error| format!("the connection to the copy: {e}");
        self.to.write_all(&head.bytes()).await.map_err(lost)?;
        self.to.write_all(payload).await.map_err(lost)?;
        self.words += 1;
        self.bytes += payload.len() as u64;
        Ok(())
    }
}

/// Agrees to take writes, and to nothing else that is offered.
async fn agree(stream: &mut UnixStream, size: u64) -> std::io::Result<()> {
    stream.write_all(GREETING).await?;
    let _flags = stream.read_u32().await?;
    loop {
        if stream.read_u64().await? != OPTION {
            return Err(std::io::Error::other("an option was expected"));
        }
        let option = stream.read_u32().await?;
        let length = stream.read_u32().await?;
        if length > OPTION_BYTES {
            return Err(std::io::Error::other(format!("an option of {length} bytes")));
        }
        stream.read_exact(&mut vec![0; length as usize]).await?;
        let reply = |kind: u32, payload: &[u8]| {
            let mut bytes = OPTION_REPLY.to_be_bytes().to_vec();
            for word in [option, kind, payload.len() as u32] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.extend_from_slice(payload);
            bytes
        };
        if option != OPTION_GO {
            stream.write_all(&reply(REPLY_UNSUPPORTED, &[])).await?;
            continue;
        }
        let mut export = vec![0, 0];
        export.extend_from_slice(&size.to_be_bytes());
        export.extend_from_slice(&EXPORT_FLAGS.to_be_bytes());
        stream.write_all(&[reply(REPLY_INFO, &export), reply(REPLY_ACK, &[])].concat()).await?;
        return Ok(());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::points;
    use super::*;

    fn request(what: u16, offset: u64, count: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = REQUEST.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&what.to_be_bytes());
        bytes.extend_from_slice(&9_u64.to_be_bytes());
        bytes.extend_from_slice(&offset.to_be_bytes());
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn option(number: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = OPTION.to_be_bytes().to_vec();
        bytes.extend_from_slice(&number.to_be_bytes());
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[tokio::test]
    async fn what_an_emulator_writes_goes_on_as_words_and_what_it_may_not_ask_is_refused() {
        let (mut emulator, ours) = UnixStream::pair().expect("a pair");
        let serving = tokio::spawn(serve(ours, 1 << 30, Vec::new()));
        let long = vec![7; PAYLOAD_MAX + 5];
        let said = [
            3_u32.to_be_bytes().to_vec(),
            option(8, &[]),
            option(OPTION_GO, b"\0\0\0\x07replica\0\0"),
            request(WRITE, 4_096, long.len() as u32, &long),
            request(ZEROS, 1 << 20, 1 << 31, &[]),
            request(0, 0, 512, &[]),
            request(FLUSH, 0, 0, &[]),
            request(DISCONNECT, 0, 0, &[]),
        ];
        let mut answer = Vec::new();
        let (mut from, mut to) = emulator.split();
        let say = async { to.write_all(&said.concat()).await.expect("said") };
        let (_, read) = tokio::join!(say, from.read_to_end(&mut answer));
        read.expect("answers");
        let sent = serving.await.expect("no panic").expect("served");
        assert_eq!((sent.words, sent.bytes), (3, long.len() as u64));
        let (mut from, mut payload) = (&sent.to[..], Vec::new());
        let mut next = || {
            let head = points::read(&mut from, &mut payload).expect("a word").expect("not the end");
            (head.about, head.offset, payload.len(), head.count)
        };
        assert_eq!(next(), (About::Data, 4_096, PAYLOAD_MAX, 0));
        assert_eq!(next(), (About::Data, 4_096 + PAYLOAD_MAX as u64, 5, 0));
        assert_eq!(next(), (About::Zeros, 1 << 20, 0, 1 << 31));
        // The replies: written, zeroed, not to be read, flushed.
        let errors: Vec<u8> = answer[answer.len() - 64..].chunks(16).map(|reply| reply[7]).collect();
        assert_eq!(errors, [0, 0, INVALID as u8, 0]);
        assert_eq!(answer[38 - 4..38], [0; 4], "the first option was refused without a payload");
    }

    #[tokio::test]
    async fn what_is_no_request_ends_the_connection() {
        for said in [option(9, &[0; 5_000]), [option(OPTION_GO, b""), vec![0; 28]].concat(), vec![1; 40]] {
            let (mut emulator, ours) = UnixStream::pair().expect("a pair");
            let serving = tokio::spawn(serve(ours, 1 << 30, Vec::new()));
            let _ = emulator.write_all(&[3_u32.to_be_bytes().to_vec(), said].concat()).await;
            let (mut answer, done) = (Vec::new(), serving.await.expect("no panic"));
            assert!(done.is_err());
            let _ = emulator.read_to_end(&mut answer).await;
        }
    }
}
