//! Text files as a tar.gz that has the same bytes for the same files, and back.

use std::collections::BTreeMap;
use std::io::Read;

use flate2::{Compression, GzBuilder, bufread::GzDecoder};

/// Text by the name of its file.
pub type Files = BTreeMap<String, String>;

/// The folder that the files unpack to.
const FOLDER: &str = "config/";
/// Most bytes of all files together, so that a small file can't become all memory.
const MOST_BYTES: u64 = 256 << 20;
/// What the gzip header calls "unknown system": the same wherever it is written.
const UNKNOWN_SYSTEM: u8 = 255;

/// One archive: names in order; no times, no owners.
pub fn pack(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, format!("{FOLDER}{name}"), text.as_bytes())?;
    }
    let plain = archive.into_inner()?;
    let mut packed = GzBuilder::new()
        .mtime(0)
        .operating_system(UNKNOWN_SYSTEM)
        .read(plain.as_slice(), Compression::best());
    let mut bytes = Vec::new();
    packed.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What is in an archive, also in one that another program packed of edited files; or what is wrong with it.
pub fn unpack(bytes: &[u8]) -> Result<Files, String> {
    let mut packed = GzDecoder::new(bytes);
    let mut plain = Vec::new();
    let read = packed.by_ref().take(MOST_BYTES + 1).read_to_end(&mut plain);
    read.map_err(|error| format!("it is no whole gzip file: {error}"))?;
    if plain.len() as u64 > MOST_BYTES {
        return Err(format!("it holds more than {} MiB", MOST_BYTES >> 20));
    }
    if !packed.into_inner().is_empty() {
        return Err("there is something behind its end".to_owned());
    }
    let damaged = |error: std::io::Error| format!("it is no whole tar archive: {error}");
    let mut files = Files::new();
    for entry in tar::Archive::new(plain.as_slice()).entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() {
            return Err(format!("{path} is neither a file nor a folder"));
        }
        let name = path.trim_start_matches("./");
        let name = name.strip_prefix(FOLDER).unwrap_or(name).to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).map_err(|error| format!("{path} is no text: {error}"))?;
        if files.insert(name, text).is_some() {
            return Err(format!("{path} is in it twice"));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Files {
        let long = format!("vms/{}.yaml", "v".repeat(120));
        let all = [("federation.yaml", "a: 1\n"), ("regions/eu.yaml", "b: ü\n"), (long.as_str(), "c: 3\n")];
        all.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn the_same_files_are_the_same_bytes_without_a_time_or_an_owner() {
        let bytes = pack(&some()).unwrap();
        assert_eq!(bytes, pack(&some()).unwrap());
        assert_eq!((&bytes[4..8], bytes[9]), (&[0; 4][..], UNKNOWN_SYSTEM), "no time, no system");
        assert_eq!(unpack(&bytes).unwrap(), some());
    }

    #[test]
    fn every_byte_that_is_lost_or_changed_is_noticed_or_harmless() {
        let bytes = pack(&some()).unwrap();
        for end in 0..bytes.len() {
            assert!(unpack(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(unpack(&changed).map_or(true, |files| files == some()), "byte {at}");
        }
        let middle = bytes.len() / 2;
        let mut changed = bytes.clone();
        changed[middle] ^= 0x10;
        assert!(unpack(&changed).is_err());
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(unpack(&longer).unwrap_err().contains("behind its end"));
    }

    #[test]
    fn links_are_refused_and_files_twice() {
        let packed = |fill: &dyn Fn(&mut tar::Builder<Vec<u8>>)| {
            let mut archive = tar::Builder::new(Vec::new());
            fill(&mut archive);
            let plain = archive.into_inner().unwrap();
            let mut bytes = Vec::new();
            GzBuilder::new().read(plain.as_slice(), Compression::fast()).read_to_end(&mut bytes).unwrap();
            unpack(&bytes)
        };
        let link = packed(&|archive| {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, "config/federation.yaml", "/etc/passwd").unwrap();
        });
        assert!(link.unwrap_err().contains("neither a file nor a folder"));
        let twice = packed(&|archive| {
            for name in ["./config/a.yaml", "config/a.yaml"] {
                let mut header = tar::Header::new_ustar();
                header.set_size(0);
                archive.append_data(&mut header, name, &b""[..]).unwrap();
            }
        });
        assert!(twice.unwrap_err().contains("twice"));
    }
}
