//! The guest image of the demo VMs: built once, then taken from the cache.

use super::Planned;
use crate::flags::Flags;
use crate::guest;
use crate::install;
use crate::run::{Failure, fault, say};
use crate::tree::Tree;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The name VMs ask for it by.
const IMAGE: &str = "small";

/// Builds the guest image if the cache has none.
///
/// # Errors
/// When it cannot be built.
pub fn ensure(tree: &Tree, since: Instant) -> Result<(), Failure> {
    let folder = tree.dev.join("cache/images").join(IMAGE);
    let source = tree.root.join("guest/init.c");
    if is_newer(&folder.join("image.yaml"), &source) { Ok(()) } else { build(&folder, since) }
}

/// Whether `built` is there and not older than `source`.
fn is_newer(built: &Path, source: &Path) -> bool {
    let written = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    written(built).is_some_and(|built| written(source).is_none_or(|source| source <= built))
}

fn build(folder: &Path, since: Instant) -> Result<(), Failure> {
    say(since, "building the guest image");
    let built = guest::build(folder).or_else(|first| {
        // The list of packages may be missing or old: a fresh one is worth a second try.
        install::refresh().map_err(|_| Failure::new(first))?;
        guest::build(folder).map_err(Failure::new)
    })?;
    let mib = built.size_bytes >> 20;
    say(since, &format!("guest image {} from {}, {mib} MiB", built.dir.display(), built.kernel_package));
    Ok(())
}

/// `cargo xtask guest`: installs what building needs, then builds.
///
/// # Errors
/// As [`ensure`].
pub fn guest(tree: &Tree, _flags: &Flags) -> Result<(), Failure> {
    let since = Instant::now();
    install::ensure(since)?;
    build(&tree.dev.join("cache/images").join(IMAGE), since)
}

/// Gives every host of the list the images of the cache, as a link `images` in its data folder.
///
/// # Errors
/// When a host's configuration cannot be read or the link not made.
pub fn share(tree: &Tree, planned: &[Planned]) -> Result<(), Failure> {
    let images = tree.dev.join("cache/images");
    for entry in planned.iter().filter(|entry| entry.program == "dwcp-agentd") {
        if let Some(folder) = data_of(tree, entry)? {
            share_at(&folder, &images)?;
        }
    }
    Ok(())
}

/// The data folder of a host's agent.
///
/// # Errors
/// When its configuration cannot be read.
pub fn data_of(tree: &Tree, agent: &Planned) -> Result<Option<PathBuf>, Failure> {
    let config = agent.arguments.iter().skip_while(|argument| *argument != "--config").nth(1);
    let Some(config) = config.map(|path| tree.dev.join(path)) else { return Ok(None) };
    let text = fs::read_to_string(&config).map_err(|e| fault("cannot read", &config, &e))?;
    Ok(data_folder(&text).map(|folder| tree.dev.join(folder)))
}

/// The value of `data_dir` in a host's configuration.
fn data_folder(config: &str) -> Option<PathBuf> {
    let value = config.lines().find_map(|line| line.strip_prefix("data_dir:"))?;
    Some(PathBuf::from(value.trim().trim_matches(['"', '\''])))
}

fn share_at(folder: &Path, images: &Path) -> Result<(), Failure> {
    let link = folder.join("images");
    if link.symlink_metadata().is_ok() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|e| fault("cannot create", folder, &e))?;
    symlink(images, &link).map_err(|e| fault("cannot link", &link, &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_sees_the_images_of_the_cache_and_keeps_its_own() {
        let folder = std::env::temp_dir().join(format!("dwcp-xtask-image-{}", std::process::id()));
        let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
        fs::create_dir_all(theirs.join("images")).unwrap();
        let images = folder.join("cache/images");
        for host in [&ours, &ours, &theirs] {
            share_at(host, &images).unwrap();
        }
        assert_eq!(fs::read_link(ours.join("images")).unwrap(), images);
        assert!(fs::read_link(theirs.join("images")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_image_older_than_its_source_is_built_again() {
        let folder = std::env::temp_dir().join(format!("dwcp-xtask-newer-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (built, source) = (folder.join("built"), folder.join("source"));
        fs::write(&source, "").unwrap();
        assert!(!is_newer(&built, &source));
        fs::write(&built, "").unwrap();
        assert!(is_newer(&built, &source));
        let later = std::time::SystemTime::now() + std::time::Duration::from_secs(9);
        fs::File::options().write(true).open(&source).unwrap().set_modified(later).unwrap();
        assert!(!is_newer(&built, &source));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_data_folder_is_read_from_the_configuration() {
        let text = "host: a\nvm_addresses:\n  data_dir: no\ndata_dir: \"/a b/c\"\n";
        assert_eq!(data_folder(text), Some(PathBuf::from("/a b/c")));
        assert_eq!(data_folder("host: a\n"), None);
    }
}
