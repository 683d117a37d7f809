//! zstd, with its working memory kept between pieces.

use dwcp_types::DecodeError;

/// Level 3 is zstd's default: on columns that are already differences higher ones gain little and cost much.
const LEVEL: i32 = 3;

/// Compresses piece by piece.
pub struct Compressor {
    context: zstd::bulk::Compressor<'static>,
    out: Vec<u8>,
}

impl Compressor {
    /// # Errors
    /// No memory.
    pub fn new() -> std::io::Result<Compressor> {
        Ok(Compressor { context: zstd::bulk::Compressor::new(LEVEL)?, out: Vec::new() })
    }

    /// # Errors
    /// No memory.
    pub fn compress(&mut self, bytes: &[u8]) -> std::io::Result<&[u8]> {
        self.out.clear();
        self.out.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        self.context.compress_to_buffer(bytes, &mut self.out)?;
        Ok(&self.out)
    }
}

/// What was compressed, which must be exactly `length` bytes.
///
/// # Errors
/// It is not.
pub fn decompress(bytes: &[u8], length: usize) -> Result<Vec<u8>, DecodeError> {
    thread_local! {
        static CONTEXT: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> =
            const { std::cell::RefCell::new(None) };
    }
    let invalid = DecodeError::Invalid("compressed bytes that are damaged");
    // Nothing is believed about a length before so many bytes really came out.
    let mut out = Vec::new();
    out.try_reserve_exact(length).map_err(|_| invalid.clone())?;
    CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(context) => context,
            empty => empty.insert(zstd::bulk::Decompressor::new().map_err(|_| invalid.clone())?),
        };
        context.decompress_to_buffer(bytes, &mut out).map_err(|_| invalid.clone())
    })?;
    if out.len() == length { Ok(out) } else { Err(invalid) }
}
