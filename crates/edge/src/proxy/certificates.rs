//! The certificates: a folder with `NAME.crt` (or `NAME.pem`) and `NAME.key`, or both in `NAME.pem`. A name may be `*.example.com`, also written
//! `_.example.com`, or `default` for clients that say no name or an unknown one.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;
use std::{fs, io};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;

/// The largest file that is read, bytes.
const LARGEST: u64 = 1 << 20;

/// What the files of a name looked like when they were read.
type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

#[derive(Default)]
struct Store {
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

struct Inner {
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    store: RwLock<Arc<Store>>,
    /// By name, with what was wrong then.
    read: Mutex<HashMap<String, (Stamp, Option<String>)>>,
}

/// Certificates by name. Files that change are read again; those that are broken change nothing.
#[derive(Clone)]
pub struct Certificates {
    inner: Arc<Inner>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates({})", self.inner.folder.display())
    }
}

impl Certificates {
    /// Those in a folder, and what is wrong with the others.
    ///
    /// # Errors
    /// The folder can't be read.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<(Certificates, Vec<String>)> {
        let folder = folder.into();
        fs::read_dir(&folder)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let inner = Inner { folder, provider, store: RwLock::default(), read: Mutex::default() };
        let certificates = Certificates { inner: Arc::new(inner) };
        let wrong = certificates.reload();
        Ok((certificates, wrong))
    }

    /// Reads what changed, and gives what is wrong with it, each thing once. What was there before stays in force instead.
    pub fn reload(&self) -> Vec<String> {
        let inner = &self.inner;
        let mut read = inner.read.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match stamps(&inner.folder) {
            Ok(found) => found,
            Err(error) => return vec![format!("{}: {error}", inner.folder.display())],
        };
        let mut wrong = Vec::new();
        let mut by_name = self.store().by_name.clone();
        let mut changed = false;
        by_name.retain(|name, _| {
            let stays = found.contains_key(name);
            changed |= !stays;
            stays
        });
        read.retain(|name, _| found.contains_key(name));
        for (name, stamp) in found {
            let before = read.get(&name);
            if before.is_some_and(|(known, error)| *known == stamp && error.is_none()) {
                continue;
            }
            let error = match load(&stamp, &inner.provider) {
                Ok(key) => {
                    by_name.insert(name.clone(), Arc::new(key));
                    changed = true;
                    None
                }
                Err(error) => Some(error),
            };
            if let Some(error) = &error {
                if before.and_then(|(_, told)| told.as_ref()) != Some(error) {
                    wrong.push(format!("certificate {name}: {error}"));
                }
            }
            read.insert(name, (stamp, error));
        }
        if changed {
            *inner.store.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Store { by_name });
        }
        wrong
    }

    /// The names, in no order.
    pub fn names(&self) -> Vec<String> {
        self.store().by_name.keys().cloned().collect()
    }

    fn store(&self) -> Arc<Store> {
        self.inner.store.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS 1.3 and 1.2 with these certificates, tickets, HTTP/2 and HTTP/1.1.
    pub(super) fn server(&self) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::clone(&self.inner.provider);
        let versions = [&rustls::version::TLS13, &rustls::version::TLS12];
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&versions)?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::ring::Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store().of(hello.server_name())
    }
}

impl Store {
    fn of(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let exact = name.as_ref().and_then(|name| self.by_name.get(name));
        let wildcard = || {
            let (_, rest) = name.as_ref()?.split_once('.')?;
            self.by_name.get(&format!("*.{rest}"))
        };
        exact.or_else(wildcard).or_else(|| self.by_name.get("default")).cloned()
    }
}

/// The files by name, certificate first.
fn stamps(folder: &Path) -> io::Result<HashMap<String, Stamp>> {
    let mut found: HashMap<String, Stamp> = HashMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let files = match extension {
            Some("crt") => vec![path.clone(), path.with_extension("key")],
            Some("pem") if path.with_extension("key").is_file() => {
                vec![path.clone(), path.with_extension("key")]
            }
            Some("pem") => vec![path.clone()],
            _ => continue,
        };
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let name = stem.strip_prefix('_').map_or_else(|| stem.to_owned(), |rest| format!("*{rest}"));
        let stamp = |file: PathBuf| {
            let about = fs::metadata(&file).ok();
            let changed = about.as_ref().and_then(|about| about.modified().ok());
            (file, changed, about.map_or(0, |about| about.len()))
        };
        found.insert(name.to_ascii_lowercase(), files.into_iter().map(stamp).collect());
    }
    Ok(found)
}

fn load(files: &Stamp, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let text = |path: &Path| {
        let wrong = |error: io::Error| format!("{}: {error}", path.display());
        if fs::metadata(path).map_err(wrong)?.len() > LARGEST {
            return Err(format!("{}: longer than {LARGEST} bytes", path.display()));
        }
        fs::read(path).map_err(wrong)
    };
    let (Some((first, ..)), Some((last, ..))) = (files.first(), files.last()) else {
        return Err("no file".to_owned());
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(first)?).collect();
    let chain = chain.map_err(|error| format!("{}: {error}", first.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", first.display()));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(last)?)
        .map_err(|error| format!("{}: {error}", last.display()))?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| format!("{}: {error}", first.display()))
}
