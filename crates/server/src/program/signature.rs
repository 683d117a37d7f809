//! Signatures of releases: Ed25519, by keys that each region's `dwcpd.yaml` names.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dwcp_state::Release;
use dwcp_types::{Code, LEVEL, Refusal, VERSION, hex};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde_json::json;

use super::digest_of;

/// What this program runs on.
pub fn platform() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

/// Makes a key for signing releases, in a file that only its owner may read; its public part comes back.
///
/// # Errors
/// The file is there already or can't be written.
pub fn make_key(path: &Path) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let random = |_| "the system gives no randomness".to_owned();
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(random)?;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    writeln!(file, "{}", hex(document.as_ref())).and_then(|()| file.sync_all()).map_err(fail)?;
    public_key(path)
}

fn read_key(path: &Path) -> Result<Ed25519KeyPair, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let bytes = unhex(text.trim()).ok_or_else(|| format!("{} is no key for releases", path.display()))?;
    Ed25519KeyPair::from_pkcs8(&bytes).map_err(|e| format!("{} is no key for releases: {e}", path.display()))
}

/// The public part of a key.
///
/// # Errors
/// The file can't be read or is no such key.
pub fn public_key(path: &Path) -> Result<String, String> {
    Ok(hex(read_key(path)?.public_key().as_ref()))
}

/// Signs a program: the text to publish it with. Version and level are this program's own unless they are named.
///
/// # Errors
/// A file can't be read.
pub fn sign(key: &Path, program: &Path, version: Option<&str>, level: Option<u64>) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", program.display());
    let pair = read_key(key)?;
    let mut release = Release {
        version: version.unwrap_or(VERSION).trim_start_matches('v').to_owned(),
        level: level.unwrap_or(LEVEL),
        sha256: digest_of(program).map_err(fail)?,
        bytes: fs::metadata(program).map_err(fail)?.len(),
        platform: platform(),
        key: hex(pair.public_key().as_ref()),
        ..Release::default()
    };
    release.signature = hex(pair.sign(release.signed_text().as_bytes()).as_ref());
    let Release { version, level, sha256, bytes, platform, key, signature, .. } = release;
    let text = json!({
        "version": version, "level": level, "sha256": sha256, "bytes": bytes, "platform": platform, "key": key,
        "signature": signature
    });
    Ok(format!("{text:#}\n"))
}

/// Whether a server may run a release: signed by one of its keys, for its platform.
///
/// # Errors
/// Says what does not hold.
pub fn check(release: &Release, keys: &[String]) -> Result<(), Refusal> {
    let refused = |why: String| {
        let what = format!("version {} is not one to run", release.version);
        Err(Refusal::new(Code::ReleaseRefused, what).because(why).then("nothing was changed"))
    };
    if !keys.contains(&release.key) {
        let named = keys.len();
        return refused(format!(
            "it is signed by a key that is none of the {named} in dwcpd.yaml under `upgrade: keys:`"
        ));
    }
    let (Some(key), Some(signature)) = (unhex(&release.key), unhex(&release.signature)) else {
        return refused("its key or its signature is no hexadecimal text".to_owned());
    };
    let key = UnparsedPublicKey::new(&ED25519, key);
    if key.verify(release.signed_text().as_bytes(), &signature).is_err() {
        return refused("the signature does not hold: something was changed since it was signed".to_owned());
    }
    if release.platform != platform() {
        return refused(format!("it is made for {}; this is {}", release.platform, platform()));
    }
    Ok(())
}

/// Bytes of hexadecimal text.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
