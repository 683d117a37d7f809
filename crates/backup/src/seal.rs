//! The cryptography, all of it `ring`'s: AES-256-GCM under keys that seal either one message or numbered ones.

use dwcp_types::DecodeError;
use dwcp_types::codec::{Reader, Wire, Writer};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hkdf};

/// 32 bytes: a key, a digest, a chunk's id.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes32(pub [u8; 32]);

impl Wire for Bytes32 {
    fn put(&self, w: &mut Writer) {
        w.bytes(&self.0);
    }
    fn get(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = r.bytes()?;
        bytes.try_into().map(Bytes32).map_err(|_| DecodeError::Invalid("not 32 bytes"))
    }
}

impl std::fmt::Debug for Bytes32 {
    // Also keys are held in it, and logs are read by others.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("32 bytes")
    }
}

/// Random bytes of the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}

/// The bytes of lower-case hexadecimal.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(|d| d.is_ascii_digit() || (b'a'..=b'f').contains(d)) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Bytes32 {
    let mut out = Bytes32::default();
    out.0.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// HKDF-SHA256: a key for one purpose out of another key.
pub fn derive(secret: &[u8], salt: &[u8], purpose: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [purpose.as_bytes()];
    let okm = prk.expand(&info, hkdf::HKDF_SHA256).expect("a length that HKDF can give");
    okm.fill(&mut key).expect("a length that HKDF can give");
    key
}

/// An AES-256-GCM key whose messages are numbered: a number must never be used twice under one key for sealing.
pub struct Sealer(LessSafeKey);

impl Sealer {
    pub fn new(key: &[u8; 32]) -> Sealer {
        Sealer(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes")))
    }

    fn nonce(number: u64) -> Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }

    /// Seals in place and appends the tag.
    pub fn seal(&self, number: u64, context: &[u8], message: &mut Vec<u8>) {
        let sealed = self.0.seal_in_place_append_tag(Sealer::nonce(number), Aad::from(context), message);
        sealed.expect("a message below 64 GiB");
    }

    /// The message; `None` when anything of it, its number or its context is not as it was sealed.
    pub fn open(&self, number: u64, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = sealed.to_vec();
        let length = self.0.open_in_place(Sealer::nonce(number), Aad::from(context), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

/// Seals one message under `key`: a salt of 32 random bytes, then the message under a key derived with it. The derived key
/// seals nothing else, so that its nonce can't repeat however often `key` is used.
pub fn seal_alone(key: &[u8; 32], context: &[u8], message: &[u8]) -> Vec<u8> {
    let salt: [u8; 32] = random();
    let mut sealed = message.to_vec();
    Sealer::new(&derive(key, &salt, "dwcp-backup wrap")).seal(0, context, &mut sealed);
    let mut out = salt.to_vec();
    out.append(&mut sealed);
    out
}

/// Opens what [`seal_alone`] sealed.
pub fn open_alone(key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (salt, sealed) = sealed.split_at_checked(32)?;
    Sealer::new(&derive(key, salt, "dwcp-backup wrap")).open(0, context, sealed)
}
