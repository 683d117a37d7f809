//! Numbers and texts as bytes: LEB128 varints, zigzag for signed ones. Reading never panics and never takes more than is there.

use dwcp_types::DecodeError;

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign become small unsigned ones.
pub fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, zigzag(value));
}

/// Length, then bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub fn put_f64(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(&number.to_bits().to_le_bytes());
}

/// Reads from the front.
#[derive(Clone)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut byte = self.byte()?;
        if byte < 0x80 {
            return Ok(u64::from(byte));
        }
        let (mut value, mut shift) = (u64::from(byte & 0x7f), 7);
        loop {
            byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Invalid("a number over 64 bits"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub fn signed(&mut self) -> Result<i64, DecodeError> {
        self.varint().map(unzigzag)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| DecodeError::Invalid("a number over 32 bits"))
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    /// Length, then bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| DecodeError::Truncated)?)
    }

    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Invalid("text that is not UTF-8"))
    }

    /// How many elements follow, each of at least a byte.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        if count > self.0.len() as u64 { Err(DecodeError::Truncated) } else { Ok(count as usize) }
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_at_the_edges_are_read_as_written() {
        let mut out = Vec::new();
        let signed = [0, -1, 1, 63, -64, 64, i64::MAX, i64::MIN];
        signed.iter().for_each(|&number| put_signed(&mut out, number));
        put_varint(&mut out, u64::MAX);
        let mut bytes = Bytes(&out);
        for number in signed {
            assert_eq!(bytes.signed(), Ok(number));
        }
        assert_eq!(bytes.varint(), Ok(u64::MAX));
        assert_eq!(bytes.end(), Ok(()));
        assert!(Bytes(&[0xff; 9]).varint().is_err() && Bytes(&[0xff; 10]).varint().is_err());
    }
}
