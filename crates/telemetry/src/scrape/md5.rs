//! MD5 (RFC 1321): what `hashmod` hashes with, so that shards are those of a Prometheus. For nothing that needs to be safe.

/// How far each step turns, by round and step modulo 4 (RFC 1321, 3.4).
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The sum of a message.
pub fn md5(message: &[u8]) -> [u8; 16] {
    let constants: [u32; 64] =
        std::array::from_fn(|step| (((step + 1) as f64).sin().abs() * 2f64.powi(32)) as u32);
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize((padded.len() + 8).next_multiple_of(64) - 8, 0);
    padded.extend_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.as_chunks::<64>().0 {
        let words = block.as_chunks::<4>().0;
        let word = |place: usize| u32::from_le_bytes(words[place % 16]);
        let [mut a, mut b, mut c, mut d]: [u32; 4] = state;
        for (step, constant) in constants.iter().enumerate() {
            let (mixed, place) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let sum = a.wrapping_add(mixed).wrapping_add(*constant).wrapping_add(word(place));
            let turned = b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4]));
            (a, b, c, d) = (d, turned, b, c);
        }
        for (kept, new) in state.iter_mut().zip([a, b, c, d]) {
            *kept = kept.wrapping_add(new);
        }
    }
    let mut sum = [0; 16];
    for (bytes, word) in sum.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::md5;

    #[test]
    fn sums_are_those_of_the_rfc() {
        let cases = [
            ("", 0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128),
            ("abc", 0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                0x57ed_f4a2_2be3_c955_ac49_da2e_2107_b67a,
            ),
        ];
        for (message, wanted) in cases {
            assert_eq!(u128::from_be_bytes(md5(message.as_bytes())), wanted, "{message}");
        }
        // One block is full, then the length needs another.
        for length in 54..=65 {
            assert_ne!(md5(&vec![b'a'; length]), md5(&vec![b'a'; length + 1]));
        }
    }
}
