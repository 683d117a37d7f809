//! A bucket of a real server on loopback: moto, from Python's registry, in a virtual environment under `target/`.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use dwcp_backup::destination::s3::{Credentials, Place, S3};
use dwcp_backup::destination::{Destination, Trouble};
use dwcp_backup::{FederationKey, Kind, Retention};
use dwcp_types::Wall;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::states::{HOUR_MS, backup, change, new, open, restored, state, whole};

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn target() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| manifest.join("../../target"), PathBuf::from)
}

/// The server's program; installs it where it is missing. Says why there is none.
fn program() -> Result<PathBuf, String> {
    let folder = target().join("moto");
    let program = folder.join("bin/moto_server");
    let works = |program: &Path| {
        Command::new(program).arg("--help").output().is_ok_and(|output| output.status.success())
    };
    if works(&program) {
        return Ok(program);
    }
    let run = |command: &mut Command| {
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{command:?}: {said}")) }
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "--retries=1", "moto[server]"]))?;
    if works(&program) { Ok(program) } else { Err(format!("{} does not run", program.display())) }
}

/// A server; with a certificate and its key it speaks TLS.
fn server(tls: Option<(&Path, &Path)>) -> Option<Server> {
    let program = match program() {
        Ok(program) => program,
        Err(why) => {
            eprintln!(
                "NOT TESTED against an S3 server: moto[server] can't be had from Python's registry: {why}"
            );
            return None;
        }
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program);
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    if let Some((certificate, key)) = tls {
        command.arg("--ssl").arg("--ssl-cert").arg(certificate).arg("--ssl-key").arg(key);
    }
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let errors = BufReader::new(child.stderr.take().unwrap());
    // Read all of it, or the server stands still one day.
    thread::spawn(move || errors.lines().map_while(Result::ok).for_each(drop));
    let server = Server { child, port };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < Duration::from_secs(120), "the S3 server does not listen");
        thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

fn bucket(server: &Server, bucket: &str, prefix: &str) -> S3 {
    at(format!("http://127.0.0.1:{}", server.port), bucket, prefix, None)
}

fn at(endpoint: String, bucket: &str, prefix: &str, ca: Option<PathBuf>) -> S3 {
    let place = Place {
        endpoint,
        region: "us-east-1".to_owned(),
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        ca,
    };
    let who =
        Credentials { access_key: "test".to_owned(), secret_key: "test".to_owned(), session_token: None };
    S3::new(place, who).unwrap()
}

/// An authority of its own, and a certificate for 127.0.0.1 by it: three files.
fn authority(folder: &Path) -> [PathBuf; 3] {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&leaf_key, &Issuer::new(params, key)).unwrap();
    let files = ["ca.pem", "leaf.pem", "leaf.key"].map(|name| folder.join(name));
    for (file, text) in files.iter().zip([root.pem(), leaf.pem(), leaf_key.serialize_pem()]) {
        std::fs::write(file, text).unwrap();
    }
    files
}

#[test]
fn a_bucket_holds_backups_as_a_folder_does() {
    let Some(server) = server(None) else { return };
    let missing = bucket(&server, "backups", "dwcp").list("").unwrap_err();
    assert!(missing.to_string().contains("NoSuchBucket"), "{missing}");
    // A bucket is made by a put of its name.
    assert!(bucket(&server, "backups", "").put_new("", b"").unwrap());
    let s3 = Arc::new(bucket(&server, "backups", "dwcp/state"));
    assert!(s3.put_new("log/1", b"one").unwrap());
    assert!(!s3.put_new("log/1", b"two").unwrap(), "put-if-absent is kept to");
    assert_eq!(s3.get("log/1", 3).unwrap().unwrap(), b"one");
    assert_eq!(s3.get("log/1", 2).unwrap_err().trouble, Trouble::TooLong);
    assert!(s3.get("log/2", 9).unwrap().is_none());
    s3.delete("log/1").unwrap();
    assert!(s3.list("").unwrap().is_empty());

    let key = FederationKey::random();
    let repository = new(&s3, &key);
    let mut records = state(61, 1_000);
    let full = backup(&repository, Kind::Full, 1, &records).unwrap().backup;
    change(&mut records, 30..60);
    let part = backup(&repository, Kind::Incremental, 2, &records).unwrap();
    assert!(part.backup.written_bytes * 5 < full.written_bytes);
    let repository = open(&s3, &key).unwrap().expecting(part.head);
    assert_eq!(restored(&repository, None).unwrap(), records);
    whole(&repository);
    // Writers at once.
    thread::scope(|scope| {
        for seed in 70..73 {
            let repository = open(&s3, &key).unwrap();
            scope.spawn(move || backup(&repository, Kind::Incremental, seed, &state(seed, 50)).unwrap());
        }
    });
    assert_eq!(repository.list().unwrap().backups.len(), 5);
    // A neighbour under another prefix is not seen, and not touched.
    let other = Arc::new(bucket(&server, "backups", "dwcp/state-2"));
    backup(&new(&other, &key), Kind::Full, 1, &records).unwrap();
    let keep = Retention { keep_last: 1, keep_within: Duration::ZERO };
    assert_eq!(repository.prune(keep, Wall(99 * HOUR_MS)).unwrap().removed.len(), 4);
    let (opened, _) = repository.rewrap(FederationKey::random(), Wall(99 * HOUR_MS)).unwrap();
    assert_eq!(opened.verify().unwrap().remarks, []);
    whole(&opened);
    whole(&open(&other, &key).unwrap());
}

#[test]
fn over_tls_nobody_is_spoken_to_but_a_server_of_the_authority_that_is_named() {
    let folder = std::env::temp_dir().join(format!("dwcp-backup-tls-{}", std::process::id()));
    let (ours, others) = (folder.join("ours"), folder.join("others"));
    for folder in [&ours, &others] {
        std::fs::create_dir_all(folder).unwrap();
    }
    let [ca, certificate, key] = authority(&ours);
    let [other, ..] = authority(&others);
    if let Some(server) = server(Some((&certificate, &key))) {
        let endpoint = |scheme: &str| format!("{scheme}://127.0.0.1:{}", server.port);
        assert!(at(endpoint("https"), "backups", "", Some(ca.clone())).put_new("", b"").unwrap());
        let s3 = at(endpoint("https"), "backups", "dwcp", Some(ca));
        assert!(s3.put_new("log/1", b"one").unwrap());
        assert_eq!(s3.get("log/1", 3).unwrap().unwrap(), b"one");
        for (scheme, ca) in [("https", Some(other)), ("http", None)] {
            let error = at(endpoint(scheme), "backups", "dwcp", ca).put_new("log/2", b"two").unwrap_err();
            assert_eq!(error.trouble, Trouble::NoAnswer, "{scheme}: {error}");
        }
        assert_eq!(s3.list("").unwrap().len(), 1, "nobody else has written");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_listing_of_several_pages_is_whole() {
    let Some(server) = server(None) else { return };
    assert!(bucket(&server, "pages", "").put_new("", b"").unwrap());
    let s3 = bucket(&server, "pages", "p");
    thread::scope(|scope| {
        for part in 0..4 {
            let s3 = &s3;
            scope.spawn(move || {
                for n in 0..260 {
                    assert!(s3.put_new(&format!("log/{part}-{n}"), b"x").unwrap());
                }
            });
        }
    });
    assert_eq!(s3.list("log/").unwrap().len(), 1_040);
}

#[test]
fn an_endpoint_that_gives_no_answer_is_told_apart() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let place = Place {
        endpoint: format!("http://127.0.0.1:{port}"),
        region: "us-east-1".to_owned(),
        bucket: "b".to_owned(),
        prefix: String::new(),
        ca: None,
    };
    let who = Credentials { access_key: "a".into(), secret_key: "b".into(), session_token: None };
    let error = S3::new(place.clone(), who.clone()).unwrap().get("log/1", 9).unwrap_err();
    assert_eq!(error.trouble, Trouble::NoAnswer);
    assert!(S3::new(Place { prefix: "a//b".into(), ..place.clone() }, who.clone()).is_err());
    assert!(S3::new(Place { endpoint: "s3.example.com".into(), ..place }, who).is_err());
}
