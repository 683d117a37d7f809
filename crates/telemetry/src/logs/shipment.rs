//! Records on their way to another region.

use dwcp_types::codec::{Reader, Writer};

use super::block::{Builder, Header};
use super::log::entries;
use super::{Origin, Record};

/// A run of records of one log. A number between `from` and `through` that none of them has is one of which the
/// sender knows that it has no record any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub origin: Origin,
    pub from: u64,
    pub through: u64,
    /// In ascending order of their numbers.
    pub records: Vec<Record>,
}

/// What every shipment begins with.
const VERSION: u64 = 1;
/// Most plain bytes of a shipment: what is longer is not read.
const PLAIN_BYTES: usize = 64 << 20;

impl Shipment {
    /// Whether its numbers are in order; why not, otherwise.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.from == 0 || self.from > self.through || self.through == u64::MAX {
            return Err(format!("records {} to {} are none", self.from, self.through));
        }
        let ordered = self.records.windows(2).all(|pair| pair[0].seq < pair[1].seq);
        let inside = |record: &Record| {
            record.origin == self.origin && (self.from..=self.through).contains(&record.seq)
        };
        match ordered && self.records.iter().all(inside) {
            true => Ok(()),
            false => Err(format!("records of {} out of order", self.origin)),
        }
    }

    /// As bytes, compressed.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.varint(VERSION);
        w.bytes(self.origin.as_str().as_bytes());
        w.varint(self.from);
        w.varint(self.through);
        let (mut blocks, mut builder, mut from) = (Vec::new(), Builder::default(), self.from);
        for record in &self.records {
            if builder.is_full() {
                blocks.extend(builder.finish(from, record.seq - 1, true));
                from = record.seq;
            }
            builder.push(record.seq, &record.entry);
        }
        blocks.extend(builder.finish(from, self.through, true));
        w.bytes(&blocks);
        w.into_bytes()
    }

    /// Of its bytes.
    ///
    /// # Errors
    /// Why they are none.
    pub fn decode(bytes: &[u8]) -> Result<Shipment, String> {
        let r = &mut Reader::new(bytes);
        let wrong = |error: dwcp_types::DecodeError| error.to_string();
        if r.varint().map_err(wrong)? != VERSION {
            return Err("a shipment of another version".into());
        }
        let origin = Origin::parse(r.text().map_err(wrong)?).ok_or("the name of no log")?;
        let (from, through) = (r.varint().map_err(wrong)?, r.varint().map_err(wrong)?);
        let mut blocks = r.bytes().map_err(wrong)?;
        if !r.is_empty() {
            return Err("bytes behind a shipment".into());
        }
        let (mut records, mut room, mut plain_bytes) = (Vec::new(), Vec::new(), 0);
        while !blocks.is_empty() {
            let header = Header::read(blocks).ok_or("a damaged block")?;
            plain_bytes += header.plain;
            if plain_bytes > PLAIN_BYTES {
                return Err("a shipment that is too long".into());
            }
            let stored = blocks.get(header.length..header.block()).ok_or("a block that is cut")?;
            let plain = header.open(stored, &mut room).ok_or("a damaged block")?;
            let before = records.len();
            let record = |(seq, entry)| Record { origin: origin.clone(), seq, entry };
            records.extend(entries(&header, plain).map(record));
            if records.len() - before != header.records as usize {
                return Err("a block with fewer records than it says".into());
            }
            blocks = &blocks[header.block()..];
        }
        let shipment = Shipment { origin, from, through, records };
        shipment.check()?;
        Ok(shipment)
    }
}
