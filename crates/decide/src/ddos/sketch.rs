//! Counting in bounded memory: how often ([`Counts`]), who most ([`Heavy`]), how many different ([`Distinct`]).
//!
//! All take hashes of a seed that is handed in, so that nobody outside can choose keys that meet.

mod counts;
mod distinct;
mod heavy;

pub use counts::Counts;
pub use distinct::Distinct;
pub use heavy::{Heaviest, Heavy};

/// A number that differs for different values, and that nobody foresees who does not know the seed. (The folded
/// multiplication of wyhash.)
pub fn hash(seed: u64, value: u128) -> u64 {
    let fold = |a: u64, b: u64| {
        let wide = u128::from(a) * u128::from(b);
        (wide as u64) ^ ((wide >> 64) as u64)
    };
    let low = (value as u64) ^ seed ^ 0xa076_1d64_78bd_642f;
    let high = ((value >> 64) as u64) ^ seed.rotate_left(29) ^ 0xe703_7ed1_a0b4_28db;
    fold(fold(low, high) ^ low.rotate_left(32) ^ seed, 0x8ebc_6af0_9c88_c6e3 ^ high)
}
