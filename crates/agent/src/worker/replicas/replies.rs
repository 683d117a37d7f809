//! Looks at what a disk's server answers, on its way to the guest's host.
//!
//! A mirror goes on after its target answered that a write failed, and the guest is told that its write is done. So such an
//! answer must never arrive: the connection is cut before it, and the write waits.

use std::fmt;

/// What the server says before options are agreed: two magics and flags.
const GREETING_BYTES: usize = 18;
/// Longest head of an answer.
const HEAD_BYTES: usize = 32;
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const OPTION_GO: u32 = 7;
const REPLY_ACK: u32 = 1;
const SIMPLE: u32 = 0x6744_6698;
const STRUCTURED: u32 = 0x668e_33ef;
const EXTENDED: u32 = 0x6e8a_278c;
/// Chunks of these types tell an error.
const ERROR_CHUNK: u16 = 1 << 15;
/// "Not supported": only ever the answer to a wish that may be refused, such as zeroing without writing.
const NOT_SUPPORTED: u32 = 95;

/// Why an answer must not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The server could not do what was asked: its error number.
    Failed(u32),
    /// Something else than an answer.
    NotUnderstood,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bad::Failed(error) => write!(f, "the replica's disk failed with error {error}"),
            Bad::NotUnderstood => f.write_str("the replica's server said what is not understood"),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Greeting,
    Option,
    Answer,
    /// The error number of an error chunk with so many bytes.
    Error(u64),
}

/// Follows one connection's answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Replies {
    state: State,
    head: Vec<u8>,
    /// Bytes of a payload that are passed over.
    skip: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]))
}

impl Replies {
    /// Looks at what comes next. After an error nothing of `bytes` may be passed on.
    pub(super) fn look(&mut self, mut bytes: &[u8]) -> Result<(), Bad> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() as u64);
                self.skip -= passed;
                bytes = &bytes[passed as usize..];
                continue;
            }
            let wanted = self.head_bytes();
            let taken = (wanted - self.head.len()).min(bytes.len());
            self.head.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            // The magic tells how long the head is.
            if self.head.len() == wanted && self.head_bytes() == wanted {
                let head = std::mem::take(&mut self.head);
                self.take(&head)?;
            }
        }
        Ok(())
    }

    /// Bytes of the head that comes now, as far as it is known.
    fn head_bytes(&self) -> usize {
        match self.state {
            State::Greeting => GREETING_BYTES,
            State::Option => 20,
            State::Error(_) => 4,
            State::Answer if self.head.len() < 4 => 4,
            State::Answer => match u32_at(&self.head, 0) {
                SIMPLE => 16,
                STRUCTURED => 20,
                EXTENDED => HEAD_BYTES,
                _ => 4,
            },
        }
    }

    fn take(&mut self, head: &[u8]) -> Result<(), Bad> {
        match self.state {
            State::Greeting => self.state = State::Option,
            State::Option => {
                if u64_at(head, 0) != OPTION_REPLY {
                    return Err(Bad::NotUnderstood);
                }
                let (option, reply) = (u32_at(head, 8), u32_at(head, 12));
                self.skip = u64::from(u32_at(head, 16));
                if option == OPTION_GO && reply == REPLY_ACK {
                    self.state = State::Answer;
                }
            }
            State::Answer => self.answer(head)?,
            State::Error(bytes) => {
                let error = u32_at(head, 0);
                if error != NOT_SUPPORTED {
                    return Err(Bad::Failed(error));
                }
                self.skip = bytes.saturating_sub(4);
                self.state = State::Answer;
            }
        }
        Ok(())
    }

    fn answer(&mut self, head: &[u8]) -> Result<(), Bad> {
        let (kind, bytes) = match u32_at(head, 0) {
            // Reads, which carry data after it, are never asked in this form.
            SIMPLE => match u32_at(head, 4) {
                0 | NOT_SUPPORTED => return Ok(()),
                error => return Err(Bad::Failed(error)),
            },
            STRUCTURED => (u16_at(head, 6), u64::from(u32_at(head, 16))),
            EXTENDED => (u16_at(head, 6), u64_at(head, 24)),
            _ => return Err(Bad::NotUnderstood),
        };
        if kind & ERROR_CHUNK == 0 {
            self.skip = bytes;
        } else if bytes >= 4 {
            self.state = State::Error(bytes);
        } else {
            return Err(Bad::NotUnderstood);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed() -> Vec<u8> {
        let mut bytes = b"NBDMAGICIHAVEOPT\0\x03".to_vec();
        for (option, reply, payload) in [(8u32, 1u32, 0u32), (7, 3, 12), (7, 1, 0)] {
            bytes.extend_from_slice(&OPTION_REPLY.to_be_bytes());
            for word in [option, reply, payload] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.extend(std::iter::repeat_n(7, payload as usize));
        }
        bytes
    }

    fn simple(error: u32) -> Vec<u8> {
        [&SIMPLE.to_be_bytes()[..], &error.to_be_bytes(), &9u64.to_be_bytes()].concat()
    }

    fn chunk(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [
            &STRUCTURED.to_be_bytes()[..],
            &1u16.to_be_bytes(),
            &kind.to_be_bytes(),
            &9u64.to_be_bytes(),
            &length,
            payload,
        ]
        .concat()
    }

    fn extended(kind: u16, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u64).to_be_bytes();
        let head = [&EXTENDED.to_be_bytes()[..], &1u16.to_be_bytes(), &kind.to_be_bytes()].concat();
        [&head[..], &9u64.to_be_bytes(), &0u64.to_be_bytes(), &length, payload].concat()
    }

    /// The result, the same in whatever pieces the bytes come.
    fn look(answers: &[Vec<u8>]) -> Result<(), Bad> {
        let all = [agreed(), answers.concat()].concat();
        let whole = Replies::default().look(&all);
        for piece in [1, 3, 19] {
            let mut replies = Replies::default();
            let in_pieces = all.chunks(piece).try_for_each(|bytes| replies.look(bytes));
            assert_eq!(in_pieces, whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn answers_that_all_is_well_pass_with_their_data() {
        let data = vec![0xff; 70_000];
        let error = [95u32.to_be_bytes().as_slice(), &[0, 3], b"no!"].concat();
        let all = [
            simple(0),
            chunk(0, &[]),
            chunk(1, &data),
            extended(6, &data),
            chunk(1 << 15 | 1, &error),
            simple(0),
        ];
        assert_eq!(look(&all), Ok(()));
    }

    #[test]
    fn a_failed_write_is_seen_in_every_form() {
        assert_eq!(look(&[simple(0), simple(28)]), Err(Bad::Failed(28)));
        let error = [5u32.to_be_bytes().as_slice(), &[0, 0]].concat();
        assert_eq!(look(&[chunk(1 << 15 | 1, &error)]), Err(Bad::Failed(5)));
        assert_eq!(look(&[chunk(1, &[1; 30]), extended(1 << 15 | 2, &error)]), Err(Bad::Failed(5)));
    }

    #[test]
    fn what_is_no_answer_is_not_passed_on() {
        assert_eq!(look(&[vec![0; 16]]), Err(Bad::NotUnderstood));
        assert_eq!(look(&[chunk(1 << 15, &[1, 2])]), Err(Bad::NotUnderstood));
        let mut replies = Replies::default();
        assert_eq!(
            replies.look(&[b"NBDMAGICIHAVEOPT\0\x03".to_vec(), vec![1; 20]].concat()),
            Err(Bad::NotUnderstood)
        );
    }
}
