//! The wire form of Protocol Buffers, as far as the messages of Prometheus need it (protobuf.dev, *Encoding*).
//!
//! Fields are read where they lie: text is borrowed, nothing is copied, and what a reader does not know is stepped over.

pub mod spans;

use std::fmt;

/// What can't be read, and where in the message that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireError {
    /// Bytes from the beginning of the outermost message.
    pub at: usize,
    pub why: &'static str,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.why)
    }
}

/// The fields of a message, in the order in which they lie there.
#[derive(Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    at: usize,
}

#[derive(Clone, Copy)]
enum Payload<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32,
    Bytes(&'a [u8]),
}

/// One field of a message.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    pub number: u64,
    /// Where its payload begins.
    at: usize,
    payload: Payload<'a>,
}

impl<'a> Fields<'a> {
    pub fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message, at: 0 }
    }

    /// Of a message that lies `at` bytes into the outermost one.
    pub fn inside(message: &'a [u8], at: usize) -> Fields<'a> {
        Fields { rest: message, at }
    }

    /// The next field; none at the end.
    ///
    /// # Errors
    /// It is cut off, or of a kind that is not used any more (groups).
    pub fn next(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let began = self.at;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 {
            return Err(WireError { at: began, why: "a field with the number 0" });
        }
        let at = self.at;
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(self.take(8)?.try_into().expect("8 bytes were taken")),
            2 => {
                let length = self.varint()?;
                return Ok(Some(self.delimited(number, length)?));
            }
            5 => {
                self.take(4)?;
                Payload::Fixed32
            }
            _ => return Err(WireError { at: began, why: "a field of an unknown wire type" }),
        };
        Ok(Some(Field { number, at, payload }))
    }

    /// The next message of a stream of messages, each behind its length; none at the end.
    ///
    /// # Errors
    /// It is cut off.
    pub fn next_delimited(&mut self) -> Result<Option<Fields<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let length = self.varint()?;
        self.delimited(1, length)?.message().map(Some)
    }

    fn delimited(&mut self, number: u64, length: u64) -> Result<Field<'a>, WireError> {
        let at = self.at;
        let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        Ok(Field { number, at, payload: Payload::Bytes(bytes) })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(WireError { at: self.at, why: "cut off" });
        };
        (self.rest, self.at) = (rest, self.at + length);
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let (mut value, began) = (0u64, self.at);
        for (place, &byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte holds the last bit.
            if place == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                self.take(place + 1)?;
                return Ok(value);
            }
        }
        Err(WireError {
            at: began,
            why: if self.rest.len() < 10 { "cut off" } else { "a number beyond 64 bits" },
        })
    }
}

impl<'a> Field<'a> {
    fn wrong(&self, why: &'static str) -> WireError {
        WireError { at: self.at, why }
    }

    /// The same error as a reader's own finding about this field.
    pub fn refuse<T>(&self, why: &'static str) -> Result<T, WireError> {
        Err(self.wrong(why))
    }

    pub fn uint(&self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => self.refuse("a number is wanted here"),
        }
    }

    /// A number of at most 32 bits.
    pub fn uint32(&self) -> Result<u32, WireError> {
        u32::try_from(self.uint()?).map_err(|_| self.wrong("a number beyond 32 bits"))
    }

    /// `int64`: two's complement.
    pub fn int(&self) -> Result<i64, WireError> {
        Ok(self.uint()? as i64)
    }

    /// `sint32`: zigzag.
    pub fn sint32(&self) -> Result<i32, WireError> {
        i32::try_from(unzigzag(self.uint()?)).map_err(|_| self.wrong("a number beyond 32 bits"))
    }

    pub fn double(&self) -> Result<f64, WireError> {
        match self.payload {
            Payload::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => self.refuse("a double is wanted here"),
        }
    }

    pub fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.wrong("not UTF-8"))
    }

    pub fn message(&self) -> Result<Fields<'a>, WireError> {
        Ok(Fields::inside(self.bytes()?, self.at))
    }

    /// Bytes of a text or a message; 0 for a number.
    pub fn length(&self) -> usize {
        match self.payload {
            Payload::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }

    fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => self.refuse("a text or a message is wanted here"),
        }
    }

    /// Appends the numbers of a repeated `sint64`, be they packed or not.
    pub fn sints(&self, into: &mut Vec<i64>) -> Result<(), WireError> {
        self.varints(|value| into.push(unzigzag(value)))
    }

    /// Appends the numbers of a repeated `uint32`, be they packed or not.
    pub fn uints32(&self, into: &mut Vec<u32>) -> Result<(), WireError> {
        let mut beyond = false;
        self.varints(|value| match u32::try_from(value) {
            Ok(value) => into.push(value),
            Err(_) => beyond = true,
        })?;
        if beyond { self.refuse("a number beyond 32 bits") } else { Ok(()) }
    }

    fn varints(&self, mut each: impl FnMut(u64)) -> Result<(), WireError> {
        let Payload::Bytes(packed) = self.payload else {
            each(self.uint()?);
            return Ok(());
        };
        let mut rest = Fields::inside(packed, self.at);
        while !rest.rest.is_empty() {
            each(rest.varint()?);
        }
        Ok(())
    }

    /// Appends the numbers of a repeated `double`, be they packed or not.
    pub fn doubles(&self, into: &mut Vec<f64>) -> Result<(), WireError> {
        let Payload::Bytes(packed) = self.payload else {
            into.push(self.double()?);
            return Ok(());
        };
        let (whole, rest) = packed.as_chunks::<8>();
        if !rest.is_empty() {
            return self.refuse("doubles that are cut off");
        }
        into.extend(whole.iter().map(|bytes| f64::from_le_bytes(*bytes)));
        Ok(())
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Writes messages.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub fn uint(&mut self, number: u64, value: u64) {
        self.varint(number << 3);
        self.varint(value);
    }

    pub fn int(&mut self, number: u64, value: i64) {
        self.uint(number, value as u64);
    }

    pub fn sint(&mut self, number: u64, value: i64) {
        self.uint(number, zigzag(value));
    }

    /// `fixed64`.
    pub fn fixed64(&mut self, number: u64, value: u64) {
        self.varint(number << 3 | 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes that are no text.
    pub fn blob(&mut self, number: u64, value: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    pub fn double(&mut self, number: u64, value: f64) {
        self.varint(number << 3 | 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Nothing for an empty text: the reader takes the field's absence for that.
    pub fn text(&mut self, number: u64, value: &str) {
        if !value.is_empty() {
            self.text_or_empty(number, value);
        }
    }

    /// For a repeated text, where an empty one counts too.
    pub fn text_or_empty(&mut self, number: u64, value: &str) {
        self.blob(number, value.as_bytes());
    }

    pub fn message(&mut self, number: u64, write: impl FnOnce(&mut Writer)) {
        self.varint(number << 3 | 2);
        self.delimited(write);
    }

    /// A message behind its length.
    pub fn delimited(&mut self, write: impl FnOnce(&mut Writer)) {
        let began = self.bytes.len();
        write(self);
        let ended = self.bytes.len();
        // The length is known only now: it is written behind and turned to the front.
        self.varint((ended - began) as u64);
        let prefix = self.bytes.len() - ended;
        self.bytes[began..].rotate_right(prefix);
    }

    pub fn packed_sints(&mut self, number: u64, values: &[i64]) {
        self.packed(number, values, |writer, value| writer.varint(zigzag(*value)));
    }

    pub fn packed_uints(&mut self, number: u64, values: &[u64]) {
        self.packed(number, values, |writer, value| writer.varint(*value));
    }

    pub fn packed_fixed64(&mut self, number: u64, values: &[u64]) {
        self.packed(number, values, |writer, value| writer.bytes.extend_from_slice(&value.to_le_bytes()));
    }

    pub fn packed_doubles(&mut self, number: u64, values: &[f64]) {
        self.packed(number, values, |writer, value| writer.bytes.extend_from_slice(&value.to_le_bytes()));
    }

    fn packed<T>(&mut self, number: u64, values: &[T], write: impl Fn(&mut Writer, &T)) {
        if !values.is_empty() {
            self.message(number, |writer| values.iter().for_each(|value| write(writer, value)));
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        writer.uint(1, u64::MAX);
        writer.sint(2, -3);
        writer.double(3, 0.1);
        writer.message(4, |inner| inner.text(1, &"x".repeat(200)));
        writer.packed_sints(5, &[i64::MIN, 0, i64::MAX]);
        writer.packed_doubles(6, &[1.5, f64::INFINITY]);
        let bytes = writer.finish();
        let mut fields = Fields::new(&bytes);
        let mut next = || fields.next().expect("readable").expect("a field");
        assert_eq!(next().uint(), Ok(u64::MAX));
        assert_eq!(next().sint32(), Ok(-3));
        assert_eq!(next().double(), Ok(0.1));
        let inner = next().message().expect("a message").next().expect("readable").expect("a field");
        assert_eq!(inner.text(), Ok(&*"x".repeat(200)));
        let (mut sints, mut doubles) = (Vec::new(), Vec::new());
        next().sints(&mut sints).expect("numbers");
        next().doubles(&mut doubles).expect("numbers");
        assert_eq!((sints, doubles), (vec![i64::MIN, 0, i64::MAX], vec![1.5, f64::INFINITY]));
        assert!(fields.next().expect("readable").is_none());
    }

    #[test]
    fn what_is_cut_off_is_refused_at_every_length() {
        let mut writer = Writer::default();
        writer.message(4, |inner| inner.double(1, 2.0));
        let bytes = writer.finish();
        for length in 1..bytes.len() {
            assert!(Fields::new(&bytes[..length]).next().is_err(), "{length} bytes");
        }
        assert_eq!(Fields::new(&[0x80; 11]).next().err().map(|e| e.why), Some("a number beyond 64 bits"));
        assert!(Fields::new(&[0x0b]).next().is_err(), "a group");
    }
}
