//! The list of what is in a block, at its end.

use dwcp_types::DecodeError;

use crate::store::bytes::{Bytes, put_bytes, put_signed, put_varint};

/// How fine the samples of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// As they were taken in.
    Fine,
    /// The last of each window.
    Coarse,
}

/// Some bytes of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub offset: u64,
    pub length: u32,
    /// CRC-32 (IEEE) of these bytes.
    pub checksum: u32,
}

/// A page of the index: label names and values in ascending order, from the first on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostingsPage {
    pub frame: Frame,
    pub name: Box<str>,
    pub value: Box<str>,
}

/// What is in a block and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    pub tier: Tier,
    /// From here on, it included, ms.
    pub start_ms: i64,
    /// Up to here, it not included, ms.
    pub end_ms: i64,
    pub series: u32,
    pub samples: u64,
    /// Pages of samples.
    pub pages: Vec<Frame>,
    /// Pages of series, [`super::SERIES_A_PAGE`] in each but the last.
    pub series_pages: Vec<Frame>,
    pub postings: Vec<PostingsPage>,
    /// Label names in ascending order, and how many values each has.
    pub names: Vec<(Box<str>, u32)>,
}

const VERSION: u8 = 1;

impl Directory {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, self.tier as u8];
        put_signed(&mut out, self.start_ms);
        put_signed(&mut out, self.end_ms);
        put_varint(&mut out, u64::from(self.series));
        put_varint(&mut out, self.samples);
        for frames in [&self.pages, &self.series_pages] {
            put_varint(&mut out, frames.len() as u64);
            frames.iter().for_each(|frame| put_frame(frame, &mut out));
        }
        put_varint(&mut out, self.postings.len() as u64);
        for page in &self.postings {
            put_frame(&page.frame, &mut out);
            put_bytes(&mut out, page.name.as_bytes());
            put_bytes(&mut out, page.value.as_bytes());
        }
        put_varint(&mut out, self.names.len() as u64);
        for (name, values) in &self.names {
            put_bytes(&mut out, name.as_bytes());
            put_varint(&mut out, u64::from(*values));
        }
        out
    }

    /// # Errors
    /// The bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Directory, DecodeError> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != VERSION {
            return Err(DecodeError::Invalid("a block of another version"));
        }
        let tier = match bytes.byte()? {
            0 => Tier::Fine,
            1 => Tier::Coarse,
            _ => return Err(DecodeError::Invalid("a block of an unknown tier")),
        };
        let (start_ms, end_ms) = (bytes.signed()?, bytes.signed()?);
        let (series, samples) = (bytes.u32()?, bytes.varint()?);
        let mut frames = || (0..bytes.count()?).map(|_| get_frame(&mut bytes)).collect::<Result<Vec<_>, _>>();
        let (pages, series_pages) = (frames()?, frames()?);
        let mut directory = Directory {
            tier,
            start_ms,
            end_ms,
            series,
            samples,
            pages,
            series_pages,
            postings: Vec::new(),
            names: Vec::new(),
        };
        for _ in 0..bytes.count()? {
            let frame = get_frame(&mut bytes)?;
            let (name, value) = (bytes.text()?.into(), bytes.text()?.into());
            directory.postings.push(PostingsPage { frame, name, value });
        }
        for _ in 0..bytes.count()? {
            directory.names.push((bytes.text()?.into(), bytes.u32()?));
        }
        bytes.end()?;
        let pages = u64::from(series).div_ceil(super::SERIES_A_PAGE as u64);
        if start_ms >= end_ms || directory.series_pages.len() as u64 != pages {
            return Err(DecodeError::Invalid("a block that contradicts itself"));
        }
        Ok(directory)
    }

    /// How many values a label has.
    pub fn values(&self, name: &str) -> u32 {
        let at = self.names.binary_search_by(|(known, _)| (**known).cmp(name));
        at.map_or(0, |at| self.names[at].1)
    }
}

fn put_frame(frame: &Frame, out: &mut Vec<u8>) {
    put_varint(out, frame.offset);
    put_varint(out, u64::from(frame.length));
    out.extend_from_slice(&frame.checksum.to_le_bytes());
}

fn get_frame(bytes: &mut Bytes<'_>) -> Result<Frame, DecodeError> {
    Ok(Frame { offset: bytes.varint()?, length: bytes.u32()?, checksum: u32::from_le_bytes(bytes.array()?) })
}
