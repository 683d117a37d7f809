//! Damages an input in ways that decoders meet: flipped bits, lost and doubled pieces, numbers at their limits.

use dwcp_types::Rng;

const LIMITS: [&[u8]; 8] = [
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
    &[0x00],
    &[0x7f],
    b"18446744073709551615",
    b"-1",
    b"1e309",
];

pub fn mutate(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=rng.below(6) {
        if input.is_empty() {
            input.push(rng.next_u64() as u8);
        }
        let at = rng.below(input.len() as u64) as usize;
        let length = (1 + rng.below(16) as usize).min(input.len() - at);
        match rng.below(9) {
            0 => input[at] ^= 1 << rng.below(8),
            1 => input[at] = rng.next_u64() as u8,
            2 => drop(input.drain(at..at + length)),
            3 => input.insert(at, rng.next_u64() as u8),
            4 => {
                let piece = input[at..at + length].to_vec();
                input.splice(at..at, piece);
            }
            5 => input.truncate(at),
            6 => {
                let limit = LIMITS[rng.below(LIMITS.len() as u64) as usize];
                input.splice(at..at + length, limit.iter().copied());
            }
            7 if !other.is_empty() => {
                let from = rng.below(other.len() as u64) as usize;
                let to = from + rng.below((other.len() - from) as u64 + 1) as usize;
                input.splice(at..at + length, other[from..to].iter().copied());
            }
            _ => input[at] = input[at].wrapping_add(1),
        }
    }
}
