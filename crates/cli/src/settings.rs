//! Files of the operator: contexts, and which endpoint answered last.

use std::io::Write;
use std::path::{Path, PathBuf};

use dwcp_config::cli::CliConfig;

use crate::failure::Failure;

fn folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let given = std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(in_home));
    given.or_else(home)
}

/// `$XDG_CONFIG_HOME/dwcp/config.yaml`, or under `~/.config`.
pub fn config_path() -> Result<PathBuf, Failure> {
    folder("XDG_CONFIG_HOME", ".config").map(|folder| folder.join(dwcp_config::cli::FILE)).ok_or_else(|| {
        Failure::usage(
            "the folder of the configuration is not known: neither HOME nor XDG_CONFIG_HOME is set",
        )
    })
}

/// Reads the contexts; a file that is not there has none.
pub fn load() -> Result<CliConfig, Failure> {
    let path = config_path()?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(CliConfig::default()),
        Err(error) => return Err(Failure::usage(format!("{} can't be read: {error}", path.display()))),
    };
    CliConfig::parse(&text).map_err(|complaints| {
        complaints
            .0
            .iter()
            .fold(Failure::usage(format!("{} is not right", path.display())), |failure, complaint| {
                failure.because(complaint.to_string())
            })
            .suggest(format!("dwcp-cli config check {}", path.display()))
    })
}

/// Writes the contexts, readable by their owner only.
pub fn save(config: &CliConfig) -> Result<PathBuf, Failure> {
    let path = config_path()?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::usage(format!("{} can't be made: {error}", folder.display())))?;
    }
    write_atomically(&path, config.to_yaml().as_bytes(), 0o600)
        .map_err(|error| Failure::usage(format!("{} can't be written: {error}", path.display())))?;
    Ok(path)
}

/// Writes beside the file, syncs, renames: a reader sees the old file or the new one, never half of it.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = path.file_name().ok_or_else(|| std::io::Error::other("it names no file"))?;
    if path.is_dir() {
        return Err(std::io::Error::other("it is a folder"));
    }
    let mut beside = name.to_owned();
    beside.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

fn last_good_path() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state").map(|folder| folder.join("dwcp/last-endpoint"))
}

/// The endpoint that answered last, of those given.
pub fn last_good(endpoints: &[String]) -> Option<String> {
    let text = std::fs::read_to_string(last_good_path()?).ok()?;
    text.lines().map(str::to_owned).find(|line| endpoints.contains(line))
}

/// Remembers which endpoint answered. Forgetting it costs one attempt, so a failure is no error.
pub fn remember_good(endpoint: &str, endpoints: &[String]) {
    let Some(path) = last_good_path() else { return };
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    // One line a federation: those of other federations stay.
    let others = known.lines().filter(|line| !endpoints.iter().any(|e| e == line)).take(31);
    let mut text = format!("{endpoint}\n");
    others.for_each(|line| text.push_str(&format!("{line}\n")));
    if text != known && path.parent().is_some_and(|folder| std::fs::create_dir_all(folder).is_ok()) {
        let _ = write_atomically(&path, text.as_bytes(), 0o600);
    }
}
