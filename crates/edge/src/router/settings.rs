//! `router.yaml`, with paths made whole.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dwcp_config::router::{MOST_OF_A_HOST, RouterConfig};

/// Settings of a router, ready for use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As the file says.
    pub config: RouterConfig,
    pub pki: PathBuf,
    /// Others of this host serve at the same addresses.
    pub further: bool,
    pub data_dir: PathBuf,
    pub wan_file: Option<PathBuf>,
    pub certificates: PathBuf,
    pub geo: Option<PathBuf>,
    /// What all routers of the federation share.
    pub secret: [u8; 32],
}

impl Settings {
    /// Reads and checks the file. Relative paths are taken from the file's directory. With a number these are the settings of the
    /// n-th further router at the same addresses.
    ///
    /// # Errors
    /// Every complaint, one a line, with the file, line and column.
    pub fn load(path: &Path, further: Option<u8>) -> Result<Settings, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut config = RouterConfig::parse(&text).map_err(|complaints| {
            let all = complaints.to_string();
            all.lines().map(|line| format!("{}: {line}", path.display())).collect::<Vec<_>>().join("\n")
        })?;
        let full = std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let base = full.parent().unwrap_or(Path::new("/"));
        let mut data_dir = base.join(&config.data_dir);
        if let Some(further) = further {
            config.number = match config.number.checked_add(further) {
                Some(number) if u64::from(number) < MOST_OF_A_HOST => number,
                _ => return Err(format!("{}: a host has {MOST_OF_A_HOST} routers at most", path.display())),
            };
            data_dir.push(config.number.to_string());
            // An interface has one program and one set of queues: the first router's, who hears of this one's blocks.
            config.xdp.clear();
            config.shape.clear();
            config.dpdk = None;
            // The port of the link is the first router's.
            config.bind = config.bind.map(|bind| SocketAddr::new(bind.ip(), 0));
        }
        Ok(Settings {
            pki: base.join(&config.pki.dir),
            further: further.is_some(),
            data_dir,
            wan_file: config.wan_file.as_ref().map(|file| base.join(file)),
            certificates: base.join(&config.certificates),
            geo: config.geo.as_ref().map(|folder| base.join(folder)),
            secret: secret(&base.join(&config.secret))?,
            config,
        })
    }
}

impl Settings {
    /// What the key is made of that signs the zone.
    pub(super) fn signing_seed(&self) -> [u8; 32] {
        super::shielded::derived(&self.secret, "dnssec")
    }

    /// What the zone above is to say of that key: a line of its zone file.
    ///
    /// # Errors
    /// The zone is not signed.
    pub fn ds(&self) -> Result<String, String> {
        match self.config.dnssec {
            true => crate::dns::ds(&self.config.zone, &self.signing_seed()),
            false => Err("the zone is not signed: `dnssec: true` in the settings signs it".to_owned()),
        }
    }
}

fn secret(path: &Path) -> Result<[u8; 32], String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let text = text.trim();
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !digits {
        return Err(format!("{}: not 64 hexadecimal digits", path.display()));
    }
    let mut secret = [0; 32];
    for (byte, at) in secret.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).unwrap_or_default();
    }
    Ok(secret)
}
