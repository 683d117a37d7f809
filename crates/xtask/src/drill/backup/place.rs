//! Where backups lie, reached behind the federation's back: a folder, or a bucket of a real S3 server on loopback.

use crate::run::{Failure, command, fault, wait_until};
use crate::tree::Tree;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

/// Every object by its name.
pub type Objects = BTreeMap<String, Vec<u8>>;

/// The bucket of the drill.
const BUCKET: &str = "backups";
/// Longest wait for an answer of the S3 server, and until it listens.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place that can be looked at and damaged.
pub enum Place {
    /// A folder that every server sees.
    Folder(PathBuf),
    /// A bucket of a server at this port.
    Bucket(u16),
}

impl Place {
    /// As it is configured.
    pub fn destination(&self) -> String {
        match self {
            Place::Folder(root) => format!("file://{}", root.display()),
            Place::Bucket(_) => format!("s3://{BUCKET}/state"),
        }
    }

    /// Everything that lies there.
    ///
    /// # Errors
    /// It can't be read.
    pub fn read(&self) -> Result<Objects, Failure> {
        let mut objects = Objects::new();
        match self {
            Place::Folder(root) => gather(root, root, &mut objects)?,
            Place::Bucket(port) => {
                for name in listed(&ask(*port, "GET", &format!("/{BUCKET}?list-type=2&prefix=state/"), b"")?)
                {
                    let bytes = ask(*port, "GET", &format!("/{BUCKET}/state/{name}"), b"")?;
                    objects.insert(name, bytes);
                }
            }
        }
        Ok(objects)
    }

    /// Makes the place hold just these objects.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, objects: &Objects) -> Result<(), Failure> {
        let now = self.read()?;
        for name in now.keys().filter(|name| !objects.contains_key(*name)) {
            match self {
                Place::Folder(root) => {
                    let path = root.join(name);
                    fs::remove_file(&path).map_err(|e| fault("cannot remove", &path, &e))?;
                }
                Place::Bucket(port) => {
                    ask(*port, "DELETE", &format!("/{BUCKET}/state/{name}"), b"")?;
                }
            }
        }
        for (name, bytes) in objects.iter().filter(|(name, bytes)| now.get(*name) != Some(bytes)) {
            match self {
                Place::Folder(root) => {
                    let path = root.join(name);
                    let folder = path.parent().unwrap_or(root);
                    fs::create_dir_all(folder).map_err(|e| fault("cannot make", folder, &e))?;
                    fs::write(&path, bytes).map_err(|e| fault("cannot write", &path, &e))?;
                }
                Place::Bucket(port) => {
                    ask(*port, "PUT", &format!("/{BUCKET}/state/{name}"), bytes)?;
                }
            }
        }
        Ok(())
    }
}

fn gather(root: &Path, folder: &Path, objects: &mut Objects) -> Result<(), Failure> {
    let failed = |e| fault("cannot read", folder, &e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            gather(root, &path, objects)?;
            continue;
        }
        let bytes = fs::read(&path).map_err(|e| fault("cannot read", &path, &e))?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        objects.insert(name, bytes);
    }
    Ok(())
}

/// The names in a listing of a bucket.
fn listed(answer: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(answer).into_owned();
    let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.filter_map(|key| key.strip_prefix("state/")).map(str::to_owned).collect()
}

/// Stands where a signature would (AWS signature version 4). The server answers nobody without one, and checks none.
const SIGNED: &str = "Authorization: AWS4-HMAC-SHA256 Credential=drill/20260101/us-east-1/s3/aws4_request, \
                      SignedHeaders=host, Signature=0";

/// Asks the S3 server.
fn ask(port: u16, method: &str, path: &str, body: &[u8]) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::new(format!("the S3 server: {method} {path}: {why}"));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|e| failed(e.to_string()))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| failed(e.to_string()))?;
    let length = body.len();
    let host = format!("Host: 127.0.0.1:{port}");
    let mut request =
        format!("{method} {path} HTTP/1.0\r\n{host}\r\n{SIGNED}\r\nContent-Length: {length}\r\n\r\n")
            .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request).map_err(|e| failed(e.to_string()))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|e| failed(e.to_string()))?;
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let end = end.ok_or_else(|| failed("no answer".to_owned()))?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    match head.split(' ').nth(1) {
        Some(code) if code.starts_with('2') => Ok(answer.split_off(end + 4)),
        _ => Err(failed(head.lines().next().unwrap_or_default().to_owned())),
    }
}

/// A file system with next to no room, that goes with the drill.
pub struct Small {
    /// Where it is mounted.
    pub root: PathBuf,
}

impl Small {
    /// Mounts it; none where that is not allowed.
    ///
    /// # Errors
    /// The folder can't be made.
    pub fn mount(root: &Path) -> Result<Option<Small>, Failure> {
        fs::create_dir_all(root).map_err(|e| fault("cannot create", root, &e))?;
        let mut mount = command("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs"]).arg(root);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        Ok(mounted.then(|| Small { root: root.to_owned() }))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = command("umount").arg("-l").arg(&self.root).status();
    }
}

/// A real S3 server, moto of Python's registry, that ends with the drill.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it with an empty bucket; none where it is not installed (the tests of `crates/backup` install it).
    ///
    /// # Errors
    /// It does not listen.
    pub fn start(tree: &Tree) -> Result<Option<Server>, Failure> {
        let program = tree.root.join("target/moto/bin/moto_server");
        if !program.is_file() {
            return Ok(None);
        }
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|e| Failure::new(format!("no free port: {e}")))?.port();
        let child = command(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| fault("cannot start", &program, &e))?;
        let server = Server { child, port };
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !wait_until(PATIENCE, Duration::from_millis(100), listens) {
            return Err(Failure::new("the S3 server does not listen"));
        }
        ask(port, "PUT", &format!("/{BUCKET}"), b"")?;
        Ok(Some(server))
    }

    /// What `dwcpd.yaml` says of it, below `backup:`.
    pub fn settings(&self, credentials: &Path) -> String {
        format!(
            "  s3:\n    endpoint: http://127.0.0.1:{}\n    region: us-east-1\n    credentials_file: {}\n",
            self.port,
            credentials.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_a_listing() {
        let answer =
            b"<Contents><Key>state/log/1</Key></Contents><Contents><Key>other/log/1</Key></Contents>";
        assert_eq!(listed(answer), ["log/1"]);
    }

    #[test]
    fn a_folder_is_made_to_hold_just_what_it_is_told() {
        let root = std::env::temp_dir().join(format!("dwcp-drill-place-{}", std::process::id()));
        let place = Place::Folder(root.clone());
        fs::create_dir_all(root.join("log")).unwrap();
        fs::write(root.join("log/1"), b"one").unwrap();
        let before = place.read().unwrap();
        fs::write(root.join("log/1"), b"two").unwrap();
        fs::write(root.join("stray"), b"").unwrap();
        place.write(&before).unwrap();
        assert_eq!(place.read().unwrap(), before);
        fs::remove_dir_all(root).unwrap();
    }
}
