//! Unpacks what the kernel's build packed with `lz4 -l`: blocks of at most 8 MiB, each with its packed length before it.

/// How a legacy LZ4 stream begins.
pub(super) const MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const BLOCK_MAX: usize = 8 << 20;
/// Far above any kernel; a damaged stream can't take more memory than this.
const TOTAL_MAX: usize = 512 << 20;

/// Unpacks a stream that starts with [`MAGIC`]; `None` when it is damaged.
pub(super) fn unpack(stream: &[u8]) -> Option<Vec<u8>> {
    let mut rest = stream.strip_prefix(&MAGIC)?;
    let mut out = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (packed, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let start = out.len();
        block(packed, start, &mut out)?;
        if out.len() - start > BLOCK_MAX || out.len() > TOTAL_MAX {
            return None;
        }
        rest = after;
    }
    Some(out)
}

fn length(first: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut total = usize::from(first);
    if first == 15 {
        loop {
            let (&more, after) = rest.split_first()?;
            *rest = after;
            total += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(total)
}

/// One block: literal bytes, then a copy of earlier output, and so on; the last sequence has no copy.
fn block(mut packed: &[u8], start: usize, out: &mut Vec<u8>) -> Option<()> {
    while let Some((&token, rest)) = packed.split_first() {
        packed = rest;
        let literals = length(token >> 4, &mut packed)?;
        let (bytes, rest) = packed.split_at_checked(literals)?;
        out.extend_from_slice(bytes);
        let Some((distance, rest)) = rest.split_first_chunk::<2>() else {
            return rest.is_empty().then_some(());
        };
        packed = rest;
        let distance = usize::from(u16::from_le_bytes(*distance));
        let count = length(token & 15, &mut packed)? + 4;
        if distance == 0 || distance > out.len() - start || out.len() - start + count > BLOCK_MAX {
            return None;
        }
        // The copy may overlap what it writes: that is how runs are packed.
        for _ in 0..count {
            out.push(out[out.len() - distance]);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(block: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &(block.len() as u32).to_le_bytes(), block].concat()
    }

    #[test]
    fn runs_and_literals_are_unpacked() {
        // "ab", then 19 bytes copied from 2 back (4 + 15 + 0), then "!".
        let packed = stream(&[0x2f, b'a', b'b', 2, 0, 0, 0x10, b'!']);
        assert_eq!(unpack(&packed).as_deref(), Some(&b"ababababababababababa!"[..]));
    }

    #[test]
    fn a_damaged_stream_is_refused() {
        for block in [&[0x2f, b'a'][..], &[0x10, b'a', 9, 0, 0x00], &[0xf0, 255]] {
            assert_eq!(unpack(&stream(block)), None, "{block:?}");
        }
        assert_eq!(unpack(b"none"), None);
    }
}
